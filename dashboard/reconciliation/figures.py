"""What the page of reconciliation is made from: the roll-ups of one account, and the clicks of its site. No HTML.

A conversion is counted once for each account, because it may be taken by one and refused by another: so a page is
about one account. Nothing here counts deliveries or events.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.db.models import Sum

from dashboard.attribution import UploadDay, added_by_day
from dashboard.reconciliation.funnel import Action, Funnel, Row, Stop, build
from forwarding.errors import account_stop
from forwarding.models import AcceptedDay, Attribution, DailyCount, EventDay, Hold
from forwarding.unattributed import Gap
from ingest.models import REFUND_EVENT, Site
from integrations.models import AdAccount, GoalMapping

USUAL_EVENT = "purchase"
_PASSES_BY_ITSELF = {Hold.THROTTLED, Hold.UNAVAILABLE}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a page is about: an event's conversions in an account, of one currency or of all (""), and how many days."""

    event: str
    currency: str
    days: int

    def dates(self, now: datetime, since: date | None = None) -> list[date]:
        """Return the days of UTC, oldest first, today last; those before `since`, when nothing could come, left out."""
        days = [now.date() - timedelta(days=ago) for ago in range(self.days - 1, -1, -1)]
        return [day for day in days if since is None or day >= since] or days[-1:]


@dataclass(frozen=True, slots=True)
class Captured:
    """How many of a day's conversions came with a click id, or were given one, of all that the site received."""

    day: date
    received: int
    with_click: int


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """One account's funnel. `currencies` are those of the event, `sharing` what else went to the same goals."""

    funnel: Funnel
    currencies: Sequence[str]
    sharing: Sequence[str]


def event_names(account: AdAccount, asked_for: str = "") -> list[str]:
    """Return the events that may be chosen: those that are mapped in the account, the usual one first."""
    mapped = GoalMapping.objects.filter(account=account, is_active=True).exclude(event_name=REFUND_EVENT)
    names = {*mapped.values_list("event_name", flat=True), *([asked_for] if asked_for else [])} or {USUAL_EVENT}
    return sorted(names, key=lambda name: (name != USUAL_EVENT, name))


def first_day(site: Site) -> date | None:
    """Return the day of the site's first event; None where none ever came. The beginning of an index."""
    return EventDay.objects.filter(site=site, count__gt=0).order_by("day").values_list("day", flat=True).first()


def read(account: AdAccount, asked: Asked, now: datetime, heard_since: date | None = None) -> Reconciliation:
    """Return the account's funnel, in three queries. Reads `account.connection`.

    It begins with the day on which the account was connected and the site heard, or with its first row.
    """
    days = asked.dates(now)
    found = _rows(account, asked.event, days)
    mine = [row for row in found if asked.currency in ("", row.currency)]
    accepted, goals, sharing = _accepted(account, asked, days)
    uploads = _uploads(account, accepted, goals, days)
    began = max(account.created_at.date(), heard_since or days[0])
    days = asked.dates(now, min([began, *uploads, *(row.day for row in found)]))
    funnel = build(
        mine,
        uploads,
        days,
        now,
        read_at=account.report_read_at,
        stop=stop_of(account),
        is_told_apart=not sharing,
    )
    return Reconciliation(funnel, sorted({row.currency for row in found if row.currency}), sharing)


def captured(site: Site, asked: Asked, now: datetime, heard_since: date | None = None) -> list[Captured]:
    """Return how many of the event's conversions had a click, by day, the site's whole, in one query."""
    days = asked.dates(now, heard_since)
    rows = EventDay.objects.filter(site=site, name=asked.event, day__range=(days[0], days[-1]))
    if asked.currency:
        rows = rows.filter(currency=asked.currency)
    sums = {
        day: (count, clicks)
        for day, count, clicks in rows.values_list("day").annotate(Sum("count"), Sum("with_click")).order_by()
    }
    return [Captured(day, *sums.get(day, (0, 0))) for day in days]


def stop_of(account: AdAccount) -> Stop | None:
    """Return why nothing of the account is sent now, and what to do about it. Reads `account.connection`."""
    words = account_stop(account)
    if words is None:
        return None
    if account.paused_at is not None:
        return Stop(words, Gap.RECOVERABLE, Action.RESUME)
    if not account.connection.is_usable:
        return Stop(words, Gap.FIX, Action.RECONNECT)
    by_itself = account.hold_reason in _PASSES_BY_ITSELF
    return Stop(words, Gap.WAITING if by_itself else Gap.FIX, Action.LOGS)


def _rows(account: AdAccount, event: str, days: Sequence[date]) -> list[Row]:
    rows = (
        DailyCount.objects.filter(account=account, day__range=(days[0], days[-1]), event_name=event)
        .values_list("day", "status", "goal_name", "error", "with_click", "currency")
        .annotate(number=Sum("count"), worth=Sum("value"))
        .order_by()
    )
    return [Row(*row) for row in rows if row[6] or row[7]]


def _accepted(
    account: AdAccount, asked: Asked, days: Sequence[date]
) -> tuple[dict[tuple[date, str], int], set[str], list[str]]:
    """Return what was accepted by day and Microsoft's id of its goal, these goals, and what else went to those."""
    rows = list(
        AcceptedDay.objects.filter(account=account, day__range=(days[0], days[-1]))
        .values_list("day", "goal__goal_id", "event_name", "currency")
        .annotate(number=Sum("count"))
        .order_by()
    )
    accepted: Counter[tuple[date, str]] = Counter()
    for day, goal, event, currency, number in rows:
        if event == asked.event and asked.currency in ("", currency) and number:
            accepted[day, goal] += number
    goals = {goal for _, goal in accepted}
    other_events = {event for _, goal, event, _, number in rows if goal in goals and number and event != asked.event}
    other_currencies = {
        currency or "no currency"
        for _, goal, event, currency, number in rows
        if goal in goals and number and event == asked.event and asked.currency not in ("", currency)
    }
    return dict(accepted), goals, [*sorted(other_events), *sorted(other_currencies)]


def _uploads(
    account: AdAccount, accepted: Mapping[tuple[date, str], int], goals: Collection[str], days: Sequence[date]
) -> dict[date, UploadDay]:
    told = Attribution.objects.filter(account=account, day__range=(days[0], days[-1]), goal_id__in=goals)
    return added_by_day(accepted, told.only("day", "goal_id", "success", "reasons"))
