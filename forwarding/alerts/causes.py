"""Why somebody should be told, at this moment: every cause is found from the rows alone. Reads only, bounded queries.

A cause has a key that stays the same while it lasts, the people whom it concerns, and words as on the pages, without
personal data. `forwarding/alerts/alerts.py` tells them.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import Count, Exists, Min, OuterRef, Prefetch, Q, QuerySet, Sum
from django.urls import reverse

from forwarding.errors import HOLDS, NO_ANSWER, Words, account_stop, held_for_somebody, words_of_hold
from forwarding.models import WAITING, Breaker, Delivery, Heartbeat, Hold, Kind, Status, Upload
from forwarding.money import Money, add_money
from forwarding.sending.claims import accounts_to_serve
from forwarding.stops import read_stops
from forwarding.worker.heartbeats import SWEEP_HEARTBEAT
from ingest.models import Event, Site
from integrations.models import AdAccount, Connection

# The key of the warning about an account is this and the account's key.
EXPIRING = "expiring:"
# The day-80 warning: what waits in the last ten of its 90 days.
EXPIRING_WITHIN = timedelta(days=10)
# What goes out by itself does so within an hour, but for the holds that follow.
GOES_OUT_WITHIN = timedelta(hours=1)
ENDS_BY_ITSELF = (
    Hold.THROTTLED,
    Hold.GOAL_TOO_NEW,
    Hold.CLICK_SETTLING,
    Hold.ORIGINAL_PENDING,
    Hold.CONFIRMATION,
)
# An account's hold is asked about every hour, and most have ended by then.
HELD_FOR = timedelta(hours=1)
LATE = timedelta(minutes=10)
# An account that may send again has old rows due for a moment: only what stays so is told.
STAYS_LATE = timedelta(minutes=5)
# Longer than an upgrade takes.
WORKER_AWAY = timedelta(minutes=5)
REFUSED_WITHIN = timedelta(days=1)
MAX_NAMES = 10


@dataclass(frozen=True, slots=True)
class Cause:
    """Something that a person should know. `organisation_id` is None where it concerns the operator of this server.

    It is told once it has lasted for `patience`. `level` is logging's.
    """

    key: str
    organisation_id: int | None
    subject: str
    text: str
    level: int = logging.WARNING
    patience: timedelta = timedelta(0)


@dataclass(slots=True)
class Expiring:
    """Conversions of an account that are not going out and soon too old: worth what by currency, waiting for what.

    `first_at` is when the first of them is lost.
    """

    count: int
    first_at: datetime
    values: Money = field(default_factory=dict)
    why: dict[str, int] = field(default_factory=dict)

    @property
    def reasons(self) -> list[str]:
        """Return what they wait for, the most common first."""
        return sorted(self.why, key=lambda title: (-self.why[title], title))


def causes(now: datetime) -> Iterator[Cause]:
    """Yield every cause of this moment."""
    yield from _sign_ins()
    yield from _registration()
    yield from _refused_calls(now)
    yield from _expiring(now)
    yield from _refused_corrections(now)
    yield from _set_aside()
    yield from _held_accounts(now)
    yield from _late(now)
    yield from _worker(now)


def expiring(accounts: Sequence[AdAccount], now: datetime) -> dict[int, Expiring]:
    """Return what is about to be too old, per account's key; accounts without are left out.

    Reads the rows that expire within ten days and still wait: none, as long as everything goes out. Reads each
    account's connection.
    """
    rows = (
        _about_to_expire(now)
        .filter(account__in=accounts)
        .order_by()
        .values("account_id", "currency", "hold_reason", "error_code", "error_symbol")
        .annotate(number=Count("pk"), worth=Sum("value"), first=Min("expires_at"))
    )
    by_key = {account.pk: account for account in accounts}
    read_stops(accounts)
    found: dict[int, Expiring] = {}
    for row in rows:
        account = by_key[row["account_id"]]
        one = found.setdefault(account.pk, Expiring(0, row["first"]))
        one.count += row["number"]
        one.first_at = min(one.first_at, row["first"])
        if row["worth"]:
            add_money(one.values, row["currency"], row["worth"])
        title = (account_stop(account) or _row_words(row)).title
        one.why[title] = one.why.get(title, 0) + row["number"]
    return found


def _about_to_expire(now: datetime) -> QuerySet[Delivery]:
    waiting = Delivery.objects.filter(status__in=WAITING, next_attempt_at__isnull=False)
    waiting = waiting.exclude(~Q(kind=Kind.CONVERSION), original=None)  # a refund without its order expires quietly
    soon = waiting.filter(expires_at__gt=now, expires_at__lte=now + EXPIRING_WITHIN)
    return soon.filter(created_at__lte=now - GOES_OUT_WITHIN).exclude(hold_reason__in=ENDS_BY_ITSELF)


def _row_words(row: Mapping[str, Any]) -> Words:
    hold = row["hold_reason"]
    return words_of_hold(hold, row["error_code"], row["error_symbol"]) if hold else NO_ANSWER


# What customers are told


def _sign_ins() -> Iterator[Cause]:
    """Those that Microsoft ended; whoever disconnects one here knows it, and `failed_at` is empty then."""
    needing = Connection.objects.filter(status=Connection.Status.NEEDS_RECONNECT, failed_at__isnull=False)
    words = HOLDS[Hold.RECONNECT]
    concerned = Prefetch("ad_accounts", AdAccount.objects.active().order_by("name"))
    for connection in needing.select_related("site").prefetch_related(concerned).order_by("pk"):
        if names := [account.name for account in connection.ad_accounts.all()]:
            yield Cause(
                f"reconnect:{connection.pk}",
                connection.site.organisation_id,
                f"{connection.site.name}: {words.title}",
                _paragraphs(
                    f"{words.cause} Nothing goes out to {_listed(names)} until somebody signs in again. "
                    "Conversions are kept, and each can be sent until it is 90 days old.",
                    words.fix,
                    _page("integrations", connection.site),
                ),
            )


def _expiring(now: datetime) -> Iterator[Cause]:
    concerned = _about_to_expire(now).order_by().values("account_id").distinct()
    accounts = list(_active().filter(pk__in=concerned).order_by("pk"))
    for account_id, found in sorted(expiring(accounts, now).items()):
        account = next(account for account in accounts if account.pk == account_id)
        day = f"{found.first_at.astimezone(ZoneInfo(account.site.time_zone)):%B %-d, %Y}"
        worth = f", worth {_listed(_sums(found.values))}," if found.values else ""
        yield Cause(
            f"{EXPIRING}{account_id}",
            account.site.organisation_id,
            f"{account.site.name}: {found.count:,} {_plural('conversion', found.count)} about to expire",
            _paragraphs(
                f"{found.count:,} {_plural('conversion', found.count)} of {account.name}{worth} will soon be 90 days "
                f"old, and Microsoft counts none that is older. The first is lost after {day}.",
                f"Why: {'; '.join(found.reasons)}.",
                _account_page(account),
            ),
            logging.ERROR,
        )


def _held_accounts(now: datetime) -> Iterator[Cause]:
    accounts = list(_held(now, Hold.PERMISSION, Hold.ACCOUNT_INACTIVE, Hold.OPERATOR))
    read_stops(accounts)
    for account in accounts:
        words = held_for_somebody(account)
        if words is None:
            continue
        yield Cause(
            f"{account.hold_reason}:{account.pk}",
            account.site.organisation_id,
            f"{account.site.name}: {words.title}",
            _paragraphs(
                f"{account.name}: {words.cause} Its conversions are kept, and each can be sent until it is 90 days "
                "old. Convultra asks Microsoft again every hour or sooner.",
                words.fix,
                _page("integrations", account.site) if words.page == "integrations" else _account_page(account),
            ),
            patience=HELD_FOR,
        )


# What the operator is told


def _registration() -> Iterator[Cause]:
    waiting = Connection.objects.filter(status=Connection.Status.NEEDS_OPERATOR)
    count = waiting.count()
    if count:
        said = waiting.order_by("-failed_at").values_list("last_error", flat=True)[0]
        yield Cause(
            "registration",
            None,
            f"{count} Microsoft {_plural('sign-in', count)} cannot be renewed",
            _paragraphs(
                f"{said} Nobody is disconnected and conversions wait. Look at MICROSOFT_CLIENT_ID and "
                "MICROSOFT_CLIENT_SECRET: a secret ends on the day that was chosen when it was made.",
                "Once it is right, everything goes on by itself within minutes.",
                _staff_page("integrations_connection", "status__exact=needs_operator"),
            ),
            logging.ERROR,
        )


def _refused_calls(now: datetime) -> Iterator[Cause]:
    names = [str(account) for account in _held(now, Hold.OPERATOR)[: MAX_NAMES + 1]]
    is_stopped = Breaker.objects.filter(open_until__isnull=False).exists()
    if names or is_stopped:
        words = HOLDS[Hold.OPERATOR]
        whom = "any account" if is_stopped else _listed(names)
        yield Cause(
            "refused-calls",
            None,
            words.title,
            _paragraphs(
                f"{words.cause} Nothing goes out to {whom}, but for a call now and then that tries again. Conversions "
                "wait, and go on by themselves when one succeeds.",
                "Look at MICROSOFT_DEVELOPER_TOKEN, MICROSOFT_ENVIRONMENT and FIELD_ENCRYPTION_KEYS, and at "
                "Microsoft's answers to the last uploads.",
                _staff_page("forwarding_upload", "state=failed"),
            ),
            logging.ERROR,
        )


def _set_aside() -> Iterator[Cause]:
    held = Delivery.objects.filter(status__in=WAITING, next_attempt_at__isnull=False, hold_reason=Hold.OPERATOR)
    counted = dict(held.order_by().values_list("account_id").annotate(number=Count("pk")))
    for account in AdAccount.objects.filter(pk__in=counted).select_related("site").order_by("pk"):
        count = counted[account.pk]
        yield Cause(
            f"review:{account.pk}",
            None,
            f"{count:,} {_plural('conversion', count)} to look at: {account}",
            _paragraphs(
                f"{count:,} {_plural('conversion', count)} of {account} went wrong in a way that nobody has foreseen: "
                "Microsoft refused it twice for a reason that is not documented, or a worker died over it every time. "
                "Each is kept, and goes out once more before it is 90 days old.",
                "Its page has Microsoft's own words.",
                _staff_page("forwarding_delivery", "hold_reason__exact=operator"),
            ),
            logging.ERROR,
        )


def _refused_corrections(now: datetime) -> Iterator[Cause]:
    """Of the last day: Microsoft counts a value that the business has taken back."""
    refused = Delivery.objects.filter(status=Status.FAILED, changed_at__gt=now - REFUSED_WITHIN)
    counts = refused.exclude(kind=Kind.CONVERSION).order_by().values_list("account").annotate(number=Count("pk"))
    by_key = dict(counts)
    for account in AdAccount.objects.active().filter(pk__in=by_key).select_related("site").order_by("pk"):
        count = by_key[account.pk]
        yield Cause(
            f"corrections:{account.pk}",
            account.site.organisation_id,
            f"{count:,} {_plural('correction', count)} not taken: {account.name}",
            _paragraphs(
                f"{count:,} {_plural('correction', count)} of {account.name} failed in the last day, so Microsoft "
                "still counts what was refunded or restated.",
                "Each conversion's row says why, and what can be done.",
                _account_page(account),
            ),
        )


def _late(now: datetime) -> Iterator[Cause]:
    late = Delivery.objects.due(now - LATE).filter(account=OuterRef("pk"), expires_at__gt=now)
    late = late.exclude(hold_reason=Hold.CONFIRMATION).order_by()
    served = Upload.objects.filter(account=OuterRef("pk"), started_at__gt=now - LATE)
    idle = AdAccount.objects.filter(Exists(late), pk__in=accounts_to_serve(now)).exclude(Exists(served)).count()
    unplanned = Event.objects.unplanned().filter(received_at__lte=now - LATE).exists()
    if idle or unplanned:
        what = [f"{idle} {_plural('account', idle)} had conversions due and sent none"] if idle else []
        what += ["events wait to be planned"] if unplanned else []
        yield Cause(
            "late",
            None,
            "Conversions are not going out",
            _paragraphs(
                f"For more than ten minutes, {_listed(what)}. Nothing is lost; it goes out when workers do their work.",
                "Look at the worker's log: is it running, and does it say what stops it?",
                _address(reverse("admin:index")),
            ),
            logging.ERROR,
            STAYS_LATE,
        )


def _worker(now: datetime) -> Iterator[Cause]:
    """Found by cron's `manage.py sweep`; where no worker was ever started there is none to miss."""
    beat = Heartbeat.objects.filter(name=SWEEP_HEARTBEAT, beat_at__lte=now - WORKER_AWAY).first()
    if beat is not None:
        yield Cause(
            "worker",
            None,
            "The worker is away",
            _paragraphs(
                f"No sweep of the worker has come back since {beat.beat_at:%H:%M} UTC. Where cron runs "
                "manage.py sweep, conversions go on, only slower.",
                "Start manage.py worker, or look at its log.",
                _address(reverse("admin:index")),
            ),
            logging.ERROR,
        )


# Accounts


def _active() -> QuerySet[AdAccount]:
    return AdAccount.objects.active().select_related("site", "connection")


def _held(now: datetime, *reasons: Hold) -> QuerySet[AdAccount]:
    """Return the accounts that are held for one of these and have something to send; the others bother nobody."""
    due = Delivery.objects.due(now).filter(account=OuterRef("pk")).order_by()
    return _active().filter(Exists(due), hold_reason__in=reasons, paused_at__isnull=True).order_by("name", "pk")


# Words and addresses


def _paragraphs(*parts: str) -> str:
    return "\n\n".join(parts)


def _plural(noun: str, count: int) -> str:
    return noun if count == 1 else f"{noun}s"


def _sums(values: Money) -> list[str]:
    return [f"{value:,.2f} {currency}" for currency, value in sorted(values.items())]


def _listed(names: Iterable[str]) -> str:
    """Return `A`, `A and B`, `A, B and C`; beyond ten names the rest is "more"."""
    *first, last = [*names]
    if len(first) >= MAX_NAMES:
        first, last = first[:MAX_NAMES], "more"
    return f"{', '.join(first)} and {last}" if first else last


def _address(path: str) -> str:
    return f"{settings.PUBLIC_URL}{path}"


def _page(name: str, site: Site) -> str:
    # Pages are named in words only: nothing of the dashboard is known here.
    return _address(reverse(f"dashboard:{name}", args=[site.public_id]))


def _account_page(account: AdAccount) -> str:
    return _address(reverse("dashboard:account-overview", args=[account.site.public_id, account.account_id]))


def _staff_page(rows: str, query: str) -> str:
    return _address(f"{reverse(f'admin:{rows}_changelist')}?{query}")
