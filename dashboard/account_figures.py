"""The figures of an account's overview, from the roll-up. No HTML here."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal

from django.db.models import Count, Min, Sum

from forwarding.errors import HOLDS, SKIPS, account_stop
from forwarding.models import WAITING, DailyCount, Delivery, Hold, Kind, Skip, Status
from integrations.models import AdAccount, GoalMapping

DAYS = 14
MAX_COUNTED = 10_000
CHART_WIDTH, CHART_HEIGHT, BAR_WIDTH = 700, 150, 30


@dataclass
class DayFigures:
    """What became of one day's conversions so far."""

    day: date
    delivered: int = 0
    waiting: int = 0
    failed: int = 0

    @property
    def total(self) -> int:
        """Return all of the day's conversions that were forwarded."""
        return self.delivered + self.waiting + self.failed


@dataclass
class GoalFigures:
    """What a goal received, under the name that was sent."""

    name: str
    delivered: int = 0
    failed: int = 0
    values: dict[str, Decimal] = field(default_factory=dict)
    mappings: list[GoalMapping] = field(default_factory=list)


@dataclass(frozen=True)
class Bar:
    """A part of a day's column in the chart, in its units."""

    css: str
    x: float
    y: float
    height: float


@dataclass(frozen=True)
class Figures:
    """Fourteen days of an account; `before` is what was delivered in the fourteen days before them."""

    days: list[DayFigures]
    goals: list[GoalFigures]
    skipped: list[tuple[str, int]]
    values: dict[str, Decimal]
    before: int

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
        if not self.before:
            return ""
        percent = (self.delivered - self.before) * 100 / self.before
        return f"{'−' if percent < 0 else '+'}{abs(percent):,.1f}%"

    @property
    def highest(self) -> int:
        """Return the largest day's total, at least 1: the chart's scale."""
        return max(1, *(day.total for day in self.days))

    def bars(self) -> list[Bar]:
        """Return the chart: a column per day, delivered at the foot, failed on top."""
        step = CHART_WIDTH / DAYS
        drawn = []
        for index, day in enumerate(self.days):
            y = float(CHART_HEIGHT)
            for css, count in (("ok", day.delivered), ("wait", day.waiting), ("bad", day.failed)):
                # A failure among thousands is still worth a pixel.
                height = max(count / self.highest * CHART_HEIGHT, 2.0) if count else 0.0
                y -= height
                if count:
                    drawn.append(Bar(css, index * step + (step - BAR_WIDTH) / 2, round(y, 1), round(height, 1)))
        return drawn


@dataclass(frozen=True)
class Waiting:
    """What waits now, by why, the most first; `until` is when the first of it becomes too old for Microsoft."""

    reasons: list[tuple[str, int]]
    until: datetime | None

    @property
    def count(self) -> int:
        """Return how many wait, counted up to one more than MAX_COUNTED."""
        return sum(count for _, count in self.reasons)


def figures(account: AdAccount, mappings: list[GoalMapping], now: datetime) -> Figures:
    """Return the figures of today and the thirteen days before it, in one query. `mappings` have their goals."""
    first = now.date() - timedelta(days=DAYS - 1)
    days = {first + timedelta(days=number): DayFigures(first + timedelta(days=number)) for number in range(DAYS)}
    goals: dict[str, GoalFigures] = {}
    for mapping in mappings:
        goals.setdefault(mapping.goal.name, GoalFigures(mapping.goal.name)).mappings.append(mapping)
    skipped: dict[str, int] = defaultdict(int)
    values: dict[str, Decimal] = defaultdict(Decimal)
    before = 0
    rows = DailyCount.objects.filter(account=account, day__gte=first - timedelta(days=DAYS))
    for row in rows.values("day", "goal_name", "status", "currency").annotate(number=Sum("count"), worth=Sum("value")):
        day, status, number = days.get(row["day"]), row["status"], row["number"]
        if day is None:
            before += number if status == Status.DELIVERED and row["day"] < first else 0
            continue
        if status == Status.SKIPPED:
            skipped[row["goal_name"]] += number
            continue
        goal = goals.setdefault(row["goal_name"], GoalFigures(row["goal_name"]))
        if status == Status.DELIVERED:
            day.delivered += number
            goal.delivered += number
            if row["currency"] and row["worth"]:
                values[row["currency"]] += row["worth"]
                goal.values[row["currency"]] = goal.values.get(row["currency"], Decimal(0)) + row["worth"]
        elif status == Status.FAILED:
            day.failed += number
            goal.failed += number
        else:
            day.waiting += number
    reasons = [(SKIPS[Skip(reason)].title, count) for reason, count in skipped.items() if count > 0]
    return Figures(
        list(days.values()),
        sorted(goals.values(), key=lambda goal: (not goal.mappings, -goal.delivered, goal.name)),
        sorted(reasons, key=lambda pair: -pair[1]),
        dict(values),
        before,
    )


def waiting(account: AdAccount) -> Waiting:
    """Return what waits now. At most MAX_COUNTED + 1 rows are looked at, those that expire first among them."""
    rows = Delivery.objects.filter(account=account, kind=Kind.CONVERSION, status__in=WAITING)
    first = rows.order_by("expires_at").values("pk")[: MAX_COUNTED + 1]
    counted = (
        Delivery.objects.filter(pk__in=first)
        .values("hold_reason", "status")
        .annotate(number=Count("pk"), oldest=Min("expires_at"))
        .order_by()
    )
    stop = account_stop(account)
    reasons: dict[str, int] = defaultdict(int)
    ends = []
    for row in counted:
        reasons[stop.title if stop else _why(row["status"], row["hold_reason"])] += row["number"]
        if row["oldest"] is not None:
            ends.append(row["oldest"])
    return Waiting(sorted(reasons.items(), key=lambda pair: -pair[1]), min(ends, default=None))


def _why(status: str, hold: str) -> str:
    if hold:
        return HOLDS[Hold(hold)].title
    return "Tried again after a failure" if status == Status.RETRYING else "Next batch"
