"""The figures of an account's overview, from the roll-up. No HTML here."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db.models import Case, Count, F, Min, Sum, Value, When

from dashboard import wording
from dashboard.attribution import Fates, Match, fates, is_settled, match_rate
from dashboard.charts import DayFigures, empty_days
from dashboard.health import WINDOW_DAYS
from dashboard.overview.failures import Cause, Failures
from dashboard.uploads import Uploads, uploads_of
from forwarding.errors import SKIPS, account_stop, words_of_hold
from forwarding.models import WAITING, DailyCount, Delivery, Kind, Skip, Status
from forwarding.money import Money, add_money
from forwarding.unattributed import Reason, last_settled_day
from integrations.models import AdAccount, GoalMapping

DAYS = 14
MAX_COUNTED = 10_000
LATER = "Later"


@dataclass
class GoalFigures:
    """What a goal received, under the name that was sent."""

    name: str
    delivered: int = 0
    failed: int = 0
    values: Money = field(default_factory=dict)
    mappings: list[GoalMapping] = field(default_factory=list)


@dataclass(frozen=True)
class Figures:
    """Fourteen days of an account; `before` is what was delivered in the fourteen days before them.

    `causes` are why conversions of the last seven days failed, the most common first, each in one place.
    """

    days: list[DayFigures]
    goals: list[GoalFigures]
    skipped: list[tuple[str, int]]
    values: Money
    before: int
    causes: list[Cause]

    @property
    def delivered(self) -> int:
        """Return how many conversions Microsoft accepted."""
        return sum(day.delivered for day in self.days)

    @property
    def failed(self) -> int:
        """Return how many were refused, or too old."""
        return sum(day.failed for day in self.days)

    @property
    def total(self) -> int:
        """Return how many were forwarded, whatever became of them."""
        return sum(day.total for day in self.days)

    @property
    def finished(self) -> int:
        """Return what the success rate is a share of."""
        return self.delivered + self.failed

    @property
    def not_forwarded(self) -> int:
        """Return how many events were not forwarded."""
        return sum(count for _, count in self.skipped)

    @property
    def change(self) -> str:
        """Write how much more was delivered than in the fourteen days before; "" when there was nothing then."""
        return wording.change(self.delivered, self.before)


class WhyWaiting(NamedTuple):
    """Why some of an account's conversions wait, how many, and when the first of them goes where that is known."""

    reason: str
    number: int
    next_at: datetime | None


@dataclass(frozen=True)
class Waiting:
    """What waits now, by why, the most first; `until` is when the first of it becomes too old for Microsoft."""

    reasons: list[WhyWaiting]
    until: datetime | None

    @property
    def count(self) -> int:
        """Return how many wait, counted up to one more than MAX_COUNTED."""
        return sum(one.number for one in self.reasons)


def figures(account: AdAccount, mappings: list[GoalMapping], now: datetime) -> Figures:
    """Return the figures of today and the thirteen days before it, in one query. `mappings` have their goals."""
    days = empty_days(DAYS, now)
    first = min(days)
    goals: dict[str, GoalFigures] = {}
    for mapping in mappings:
        goals.setdefault(mapping.goal.name, GoalFigures(mapping.goal.name)).mappings.append(mapping)
    skipped: dict[str, int] = defaultdict(int)
    values: Money = {}
    before = 0
    failures, lately = Failures(), now.date() - timedelta(days=WINDOW_DAYS - 1)
    rows = DailyCount.objects.filter(account=account, day__gte=first - timedelta(days=DAYS))
    rows = rows.annotate(why=Case(When(status=Status.FAILED, then=F("error")), default=Value("")))
    alike = rows.values("day", "goal_name", "status", "currency", "why")
    for row in alike.annotate(number=Sum("count"), worth=Sum("value")):
        day, status, number = days.get(row["day"]), row["status"], row["number"]
        if day is None:
            before += number if status == Status.DELIVERED and row["day"] < first else 0
            continue
        if status == Status.SKIPPED:
            skipped[row["goal_name"]] += number
            continue
        day.add(status, number)
        goal = goals.setdefault(row["goal_name"], GoalFigures(row["goal_name"]))
        if status == Status.DELIVERED:
            goal.delivered += number
            for sums in (values, goal.values) if number else ():
                add_money(sums, row["currency"], row["worth"])
        elif status == Status.FAILED:
            goal.failed += number
            if row["day"] >= lately:
                failures.add(row["why"], account, number)
    reasons = [(SKIPS[Skip(reason)].title, count) for reason, count in skipped.items() if count > 0]
    return Figures(
        list(days.values()),
        sorted(goals.values(), key=lambda goal: (not goal.mappings, -goal.delivered, goal.name)),
        sorted(reasons, key=lambda pair: -pair[1]),
        values,
        before,
        failures.causes(),
    )


def waiting(account: AdAccount, now: datetime) -> Waiting:
    """Return what waits now. At most MAX_COUNTED + 1 rows are looked at, those that expire first among them."""
    rows = Delivery.objects.filter(account=account, kind=Kind.CONVERSION, status__in=WAITING)
    first = rows.order_by("expires_at").values("pk")[: MAX_COUNTED + 1]
    counted = (
        Delivery.objects.filter(pk__in=first)
        .annotate(is_later=Case(When(next_attempt_at__gt=now, then=Value(True)), default=Value(False)))
        .values("hold_reason", "status", "is_later", "error_code", "error_symbol")
        .annotate(number=Count("pk"), oldest=Min("expires_at"), next_at=Min("next_attempt_at"))
        .order_by()
    )
    stop = account_stop(account)
    reasons: dict[str, int] = defaultdict(int)
    later: dict[str, datetime] = {}
    ends = []
    for row in counted:
        why = stop.title if stop else _why(row)
        reasons[why] += row["number"]
        if why == LATER:
            later[why] = min(later.get(why, row["next_at"]), row["next_at"])
        if row["oldest"] is not None:
            ends.append(row["oldest"])
    found = [WhyWaiting(why, count, later.get(why)) for why, count in reasons.items()]
    return Waiting(sorted(found, key=lambda one: -one.number), min(ends, default=None))


@dataclass(frozen=True)
class Attributed:
    """What became at Microsoft of what it accepted in a fortnight of settled days: the match, and why not, most first.

    The reasons add up to what is not attributed.
    """

    match: Match
    reasons: list[tuple[Reason, int]]
    uploads: Uploads
    read_at: datetime | None

    def match_of(self, goal: GoalFigures) -> Match:
        """Return the match of the goals that a name stands for now."""
        goal_ids = {mapping.goal.goal_id for mapping in goal.mappings}
        return match_rate(self.uploads.by_day_of(goal_ids), self.read_at)


def said_by_microsoft(account: AdAccount, now: datetime) -> Attributed:
    """Return what Microsoft said of the last DAYS settled days, and of those that settle, in two queries."""
    first = last_settled_day(now) - timedelta(days=DAYS - 1)
    uploads = uploads_of([account.pk], first, now.date())[account.pk]
    days, read_at = uploads.by_day(), account.report_read_at
    found: Fates = Counter()
    for one in days:
        if is_settled(one.day, read_at):
            found.update(fates(one, now, read_at))
    reasons = [(reason, count) for reason, count in found.most_common() if reason is not None and count]
    return Attributed(match_rate(days, read_at), reasons, uploads, read_at)


def _why(row: Mapping[str, Any]) -> str:
    if row["hold_reason"]:
        return words_of_hold(row["hold_reason"], row["error_code"], row["error_symbol"]).title
    if row["status"] == Status.RETRYING:
        return "Tried again after a failure"
    return LATER if row["is_later"] else "Next batch"
