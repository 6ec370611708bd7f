"""How well forwarding does: of an account, of a site, in one word, one shape and one sentence."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import cast

from django.db.models import (
    BooleanField,
    CharField,
    Count,
    Exists,
    ExpressionWrapper,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Sum,
    Value,
)
from django.db.models.expressions import Combinable
from django.db.models.functions import Cast, Coalesce, Concat

from forwarding.alerts.causes import EXPIRING
from forwarding.errors import account_stop
from forwarding.models import WAITING, Alert, DailyCount, Delivery, EventDay, Status, Upload
from forwarding.money import Money, add_money, added_money
from forwarding.stops import read_stops
from forwarding.times import CONVERSION_LIFE
from ingest.models import REFUND_EVENT
from integrations.models import AdAccount, Connection, GoalMapping

WINDOW_DAYS = 7
# Of the conversions that came to an end in the window, the share that may fail before somebody should look.
MAX_FAILING = 0.05
# A site that has been heard and is silent for so many full days needs a look.
SILENT_DAYS = 2


@dataclass(frozen=True)
class Health:
    """A look (`ok`, `warn`, `bad`, `paused`, `off`: the dot's shape), its word, and the exact reason; worst first.

    Each word has one look. What `is_urgent` comes as early as the worst, though its word is a milder one's.
    """

    look: str
    word: str
    reason: str
    is_urgent: bool = False
    # Where it is mended, or the causes are: "mapping", "logs", "integrations", or "" for neither.
    page: str = ""
    # What to do about it, where the reason alone does not say.
    fix: str = ""

    @property
    def rank(self) -> int:
        """Return how urgent it is, 0 the most."""
        return 0 if self.is_urgent else ("bad", "warn", "paused", "off", "ok").index(self.look)

    @property
    def needs_someone(self) -> bool:
        """Say whether a person has to do something."""
        return self.look in {"bad", "warn"}


def with_health(accounts: "QuerySet[AdAccount]", now: datetime) -> list[AdAccount]:
    """Return the active accounts, by name, each with what `account_health` reads, in one query.

    Where one is held, two or three more tell why.

    `misses_refunds` says that refunds came of late and are not mapped. `mapped` and `broken` count goals,
    `accepted_at` is when Microsoft last accepted something, `failed_lately` and `delivered_lately` are of the last
    seven days.
    """
    working = Q(mappings__is_active=True)
    unusable = Q(mappings__goal__gone_at__isnull=False) | ~Q(mappings__goal__status="Active")
    found: list[AdAccount] = list(
        accounts.filter(is_active=True)
        .select_related("connection")
        .annotate(
            mapped=Count("mappings__goal", filter=working, distinct=True),
            broken=Count("mappings__goal", filter=working & unusable, distinct=True),
            expires_soon=Exists(_warned_of_expiry()),
            misses_refunds=_misses_refunds(now),
            accepted_at=newest_accepted(),
            failed_lately=_counted_since(now.date() - timedelta(days=WINDOW_DAYS - 1), Status.FAILED),
            delivered_lately=_counted_since(now.date() - timedelta(days=WINDOW_DAYS - 1), Status.DELIVERED),
        )
        .order_by("name", "pk")
    )
    read_stops(found)
    return found


def _misses_refunds(now: datetime) -> Combinable:
    """Return, for a query of accounts, whether refunds came within the window to an account that does not map them."""
    mapped = GoalMapping.objects.filter(account=OuterRef("pk"), event_name=REFUND_EVENT, is_active=True)
    # Each day by itself is a look into the index, whatever other names came.
    days = [now.astimezone(UTC).date() - timedelta(days=number) for number in range(WINDOW_DAYS + 1)]
    came = EventDay.objects.filter(site=OuterRef("site"), name=REFUND_EVENT, day__in=days)
    return ExpressionWrapper(~Exists(mapped) & Exists(came), output_field=BooleanField())


def _counted_since(day: date, status: Status) -> Coalesce:
    counted = DailyCount.objects.filter(account=OuterRef("pk"), day__gte=day, status=status)
    total = counted.order_by().values("account").annotate(total=Sum("count")).values("total")
    return Coalesce(Subquery(total), 0)


def _warned_of_expiry() -> "QuerySet[Alert]":
    """Return the open day-80 warning of an account: found every minute, so that no page has to look for it."""
    key = Concat(Value(EXPIRING), Cast(OuterRef("pk"), CharField()))
    return Alert.objects.filter(cause=key, resolved_at__isnull=True)


def account_health(account: AdAccount) -> Health:
    """Judge an account that came from `with_health`."""
    mapped, broken = cast(int, account.mapped), cast(int, account.broken)  # type: ignore[attr-defined]
    if account.connection.status == Connection.Status.NEEDS_RECONNECT:
        return Health("bad", "Needs reconnect", f"{account.name} needs reconnect")
    if account.connection.status == Connection.Status.NEEDS_OPERATOR:
        return Health("warn", "Needs attention", f"{account.name} waits for the operator of this server")
    if account.expires_soon:  # type: ignore[attr-defined]
        return Health("warn", "Needs attention", f"Conversions of {account.name} are about to expire", is_urgent=True)
    if account.paused_at is not None:
        return Health("paused", "Paused", f"{account.name} is paused")
    if account.hold_reason:
        stop = account_stop(account)
        assert stop is not None  # the hold is one
        return Health("warn", "Needs attention", f"{account.name}: {stop.title}", page=stop.page, fix=stop.fix)
    if broken:
        reason = f"{broken} of {mapped} goals {'needs' if broken == 1 else 'need'} mapping in {account.name}"
        return Health("warn", "Needs attention", reason, page="mapping")
    if not mapped:
        return Health("off", "Setting up", f"Map an event to a goal in {account.name}", page="mapping")
    failed, delivered = cast(int, account.failed_lately), cast(int, account.delivered_lately)  # type: ignore[attr-defined]
    if failed > MAX_FAILING * (failed + delivered):
        reason = f"{failed} of {failed + delivered} conversions of {WINDOW_DAYS} days failed in {account.name}"
        return Health("warn", "Needs attention", reason, page="logs")
    return Health("ok", "Healthy", "Healthy")


def site_health(accounts: Iterable[AdAccount]) -> Health:
    """Judge a site by the worst of its accounts."""
    healths = [account_health(account) for account in accounts]
    if not healths:
        return Health("off", "Setting up", "Setting up: connect Microsoft Advertising")
    return min(healths, key=lambda health: health.rank)


def is_silent(last_day: date | None, now: datetime) -> bool:
    """Say whether a site that was heard on `last_day`, a day of UTC, and not since needs a look."""
    return last_day is not None and last_day < now.date() - timedelta(days=SILENT_DAYS)


@dataclass
class Figures:
    """What became of conversions in a window of days. `values` are sums of what was delivered, by currency."""

    delivered: int = 0
    failed: int = 0
    values: Money = field(default_factory=dict)
    # Delivered per full day, oldest first; today is left out because it is not over.
    by_day: list[int] = field(default_factory=lambda: [0] * WINDOW_DAYS)

    @property
    def finished(self) -> int:
        """Return what the success rate is a share of."""
        return self.delivered + self.failed


def figures_by_account(accounts: Iterable[AdAccount], now: datetime) -> dict[int, Figures]:
    """Return the figures of today and the six days before it, and the seven full days' line, per account's key."""
    found = {account.pk: Figures() for account in accounts}
    first = now.date() - timedelta(days=WINDOW_DAYS)
    rows = (
        DailyCount.objects.filter(account_id__in=found, day__gte=first, status__in=(Status.DELIVERED, Status.FAILED))
        .values_list("account_id", "day", "status", "currency")
        .annotate(count_sum=Sum("count"), value_sum=Sum("value"))
    )
    for account_id, day, status, currency, count, value in rows:
        _add(found[account_id], (day - first).days, status, currency, count, value)
    return found


def _add(figures: Figures, index: int, status: str, currency: str, count: int, value: Decimal) -> None:
    if status == Status.DELIVERED and index < WINDOW_DAYS:
        figures.by_day[index] += count
    if index == 0:
        return  # a full day of the line, but before the window of the sums
    if status == Status.FAILED:
        figures.failed += count
        return
    figures.delivered += count
    if count:
        add_money(figures.values, currency, value)


def added(several: Iterable[Figures]) -> Figures:
    """Return figures added up; sums of different currencies stay apart."""
    found = list(several)
    return Figures(
        delivered=sum(one.delivered for one in found),
        failed=sum(one.failed for one in found),
        values=added_money(one.values for one in found),
        by_day=[sum(day) for day in zip(*(one.by_day for one in found), strict=True)] or Figures().by_day,
    )


@dataclass(frozen=True)
class Held:
    """Conversions that wait for a person: how many, worth what, and when the oldest becomes too old for Microsoft.

    `by_account` has how many per account's key; of accounts that are not stopped nothing is held.
    """

    count: int
    values: Money
    until: datetime | None
    by_account: dict[int, int]


def held_by(accounts: Iterable[AdAccount], now: datetime) -> Held:
    """Tell what waits in accounts that are paused, or whose sign-in or own state stops them.

    From the roll-up, and one row of an index per account: what waits for a person may be millions.
    """
    stopped = [account.pk for account in accounts if is_stopped(account)]
    # A row is made after its conversion, so one of an earlier day is too old for Microsoft already.
    first = (now - CONVERSION_LIFE).date()
    counted = DailyCount.objects.filter(account_id__in=stopped, day__gte=first, status__in=WAITING)
    values: Money = {}
    by_account = dict.fromkeys(stopped, 0)
    rows = counted.values_list("account_id", "currency").annotate(n=Sum("count"), worth=Sum("value"))
    for account_id, currency, number, worth in rows:
        by_account[account_id] += number
        if number:
            add_money(values, currency, worth)
    count = sum(by_account.values())
    return Held(count, values, _first_to_expire(stopped) if count else None, by_account)


def _first_to_expire(account_ids: list[int]) -> datetime | None:
    return min(first_to_expire(account_ids).values(), default=None)


def first_to_expire(account_ids: Iterable[int]) -> dict[int, datetime]:
    """Return when the first that waits in an account becomes too old for Microsoft, per account's key.

    One row of an index per account; accounts in which nothing waits are left out.
    """
    waiting = Delivery.objects.filter(account_id=OuterRef("pk"), next_attempt_at__isnull=False, status__in=WAITING)
    first = Subquery(waiting.order_by("expires_at").values("expires_at")[:1])
    ends = AdAccount.objects.filter(pk__in=account_ids).annotate(end=first).values_list("pk", "end")
    return {pk: end for pk, end in ends if end is not None}


def is_stopped(account: AdAccount) -> bool:
    """Say whether an account sends nothing until a person does something."""
    return account.paused_at is not None or bool(account.hold_reason) or not account.connection.is_usable


def last_accepted(accounts: Iterable[AdAccount]) -> dict[int, datetime]:
    """Return when Microsoft last accepted something, per account's key; accounts without are left out.

    Read from the newest call that had a row accepted: one row of an index per account, however long the history.
    """
    rows = (
        AdAccount.objects.filter(pk__in=[account.pk for account in accounts])
        .annotate(last=newest_accepted())
        .values_list("pk", "last")
    )
    return {account_id: last for account_id, last in rows if last}


def newest_accepted() -> Subquery:
    """Return when Microsoft last accepted something, as a column for a query of accounts."""
    newest = Upload.objects.filter(account_id=OuterRef("pk"), accepted__gt=0).order_by("-started_at")
    return Subquery(newest.values("finished_at")[:1])
