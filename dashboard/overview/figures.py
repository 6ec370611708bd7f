"""A site's figures, from the roll-ups: two queries, however many rows there are behind them. No HTML here.

Days are UTC's, as the roll-ups'. What is said of a period is of today and the days before it.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from django.db.models import Case, Count, F, OuterRef, Q, Subquery, Sum, Value, When
from django.db.models.functions import Coalesce

from dashboard.charts import ConversionsByDay, DayFigures, empty_days
from dashboard.overview.failures import Cause, Failures
from forwarding.errors import SKIPS
from forwarding.models import WAITING, DailyCount, EventDay, Skip, Status
from forwarding.money import Money, add_money
from forwarding.times import CONVERSION_LIFE
from ingest.models import REFUND_EVENT, Site
from integrations.models import AdAccount, GoalMapping

# Today, and with the days before it: the roll-ups know no hours.
PERIODS = (1, 7, 30, 90)
DEFAULT_PERIOD = 30
# A goal whose conversions failed within so many days needs somebody: the default period of Forward Logs.
FAILED_WITHIN_DAYS = 7
# The roll-up is read so far back, to say since when none came.
HEARD_WITHIN_DAYS = 30


@dataclass(slots=True)
class AccountFigures:
    """What became of an account's conversions in the period; waiting is all that waits, of whatever day."""

    account: AdAccount
    delivered: int = 0
    failed: int = 0
    waiting: int = 0
    # Those of the period.
    retrying: int = 0
    values: Money = field(default_factory=dict)
    waiting_values: Money = field(default_factory=dict)
    # Delivered per full day of the period.
    line: list[int] = field(default_factory=list)

    @property
    def finished(self) -> int:
        """Return what the success rate is a share of."""
        return self.delivered + self.failed


class FailingGoal(NamedTuple):
    """A goal's conversions that failed of late."""

    account: AdAccount
    goal_name: str
    failed: int


@dataclass(slots=True)
class Forwarded:
    """What became of a site's conversions in the period, and in the one before it. Sums are by currency."""

    days: list[DayFigures]
    accounts: list[AccountFigures]
    values: Money = field(default_factory=dict)
    # Value per full day, by currency.
    value_lines: dict[str, list[Decimal]] = field(default_factory=dict)
    delivered_before: int = 0
    values_before: Money = field(default_factory=dict)
    # Events by why they were not forwarded, the most first, counted for each account.
    skipped: list[tuple[str, int]] = field(default_factory=list)
    failing: list[FailingGoal] = field(default_factory=list)
    causes: list[Cause] = field(default_factory=list)

    @property
    def delivered(self) -> int:
        """Return how many conversions of the period Microsoft accepted."""
        return sum(account.delivered for account in self.accounts)

    @property
    def failed(self) -> int:
        """Return how many of the period were refused, or too old."""
        return sum(account.failed for account in self.accounts)

    @property
    def finished(self) -> int:
        """Return what the success rate is a share of."""
        return self.delivered + self.failed

    @property
    def waiting(self) -> int:
        """Return how many wait now."""
        return sum(account.waiting for account in self.accounts)

    @property
    def not_forwarded(self) -> int:
        """Return how many events of the period were not forwarded, counted for each account."""
        return sum(count for _, count in self.skipped)

    @property
    def forwarded(self) -> int:
        """Return how many conversions of the period were forwarded, whatever became of them."""
        return sum(day.total for day in self.days)

    @property
    def received(self) -> int:
        """Return how many events of the period there were, counted for each account: each ended as one of the above."""
        return self.forwarded + self.not_forwarded

    @property
    def retrying(self) -> int:
        """Return how many of the period are being tried again."""
        return sum(day.retrying for day in self.days)

    @property
    def is_empty(self) -> bool:
        """Say whether there is nothing at all to show."""
        return not (self.forwarded or self.not_forwarded or self.waiting or self.delivered_before)

    @property
    def by_day(self) -> ConversionsByDay:
        """Return the charts."""
        return ConversionsByDay(self.days)

    @property
    def line(self) -> list[int]:
        """Return how many were delivered per full day."""
        return [day.delivered for day in self.days[:-1]]


class _Row(NamedTuple):
    account_id: int
    day: date
    status: str
    currency: str
    label: str
    error: str
    number: int
    value: Decimal


def forwarded(accounts: Sequence[AdAccount], days: int, now: datetime) -> Forwarded:
    """Return what became of the conversions of these accounts in one query."""
    by_day = empty_days(days, now)
    found = Forwarded(list(by_day.values()), [AccountFigures(account, line=[0] * (days - 1)) for account in accounts])
    by_account = {one.account.pk: one for one in found.accounts}
    today, first = max(by_day), min(by_day)
    skipped: dict[str, int] = defaultdict(int)
    failing: dict[tuple[int, str], int] = defaultdict(int)
    failures = Failures()
    for row in _rows(by_account, first, days, now):
        account, full_day = by_account[row.account_id], (row.day - first).days
        if row.status in WAITING:
            account.waiting += row.number
            _add(account.waiting_values, row)
            if row.status == Status.RETRYING and row.day >= first:
                account.retrying += row.number
        if row.status == Status.FAILED and row.day > today - timedelta(days=FAILED_WITHIN_DAYS):
            failing[row.account_id, row.label] += row.number
        if row.day < first:
            if row.status == Status.DELIVERED and row.day >= first - timedelta(days=days):
                found.delivered_before += row.number
                _add(found.values_before, row)
            continue
        if row.status == Status.SKIPPED:
            skipped[row.label] += row.number
            continue
        by_day[row.day].add(row.status, row.number)
        if row.status == Status.FAILED:
            account.failed += row.number
            failures.add(row.error, account.account, row.number)
        elif row.status == Status.DELIVERED:
            account.delivered += row.number
            _add(account.values, row)
            _add(found.values, row)
            if row.day < today:
                account.line[full_day] += row.number
                line = found.value_lines.setdefault(row.currency, [Decimal(0)] * (days - 1))
                line[full_day] += row.value
    reasons = [(SKIPS[Skip(reason)].title, count) for reason, count in skipped.items() if count > 0]
    found.skipped = sorted(reasons, key=lambda pair: -pair[1])
    found.causes = failures.causes()
    found.failing = [
        FailingGoal(by_account[pk].account, goal, count)
        for (pk, goal), count in sorted(failing.items(), key=lambda pair: -pair[1])
        if count > 0
    ]
    return found


def _rows(account_ids: "dict[int, AccountFigures]", first: date, days: int, now: datetime) -> list[_Row]:
    in_period = Q(day__gte=min(first, now.date() - timedelta(days=FAILED_WITHIN_DAYS - 1)))
    before = Q(day__gte=first - timedelta(days=days), status=Status.DELIVERED)
    # A row is made after its conversion, so one that waits since an earlier day is too old for Microsoft already.
    waits = Q(day__gte=(now - CONVERSION_LIFE).date(), status__in=WAITING)
    # A day that began since `now` has no place in the period.
    rows = (
        DailyCount.objects.filter(in_period | before | waits, account_id__in=account_ids, day__lte=now.date())
        .annotate(
            label=Case(When(status__in=(Status.FAILED, Status.SKIPPED), then=F("goal_name")), default=Value("")),
            code=Case(When(status=Status.FAILED, then=F("error")), default=Value("")),
        )
        .values_list("account_id", "day", "status", "currency", "label", "code")
        .annotate(count_sum=Sum("count"), value_sum=Sum("value"))
        .order_by()
    )
    return [_Row(*row) for row in rows]


def _add(sums: Money, row: _Row) -> None:
    if row.number:
        add_money(sums, row.currency, row.value)


@dataclass(frozen=True, slots=True)
class Received:
    """What a site received in the period: events that are mapped to a goal in the accounts, and how many have a click.

    Refunds are no conversions, and nobody looks for their click. `most_accounts` is how many accounts one of these
    events is mapped in at most: above, an order counts once for each that it went to.
    `last_day` is the newest day with any event, mapped or not; None where none ever came.
    """

    conversions: int
    with_click: int
    last_day: date | None
    most_accounts: int = 0


def received(site: Site, accounts: Sequence[AdAccount], days: int, now: datetime) -> Received:
    """Return what the site received: one query, and another one for a site that was not heard for long."""
    today = now.date()
    first = today - timedelta(days=days - 1)
    mapped = GoalMapping.objects.filter(account__in=accounts, is_active=True, event_name=OuterRef("name"))
    by_name = mapped.exclude(event_name=REFUND_EVENT).order_by().values("event_name")
    takers = Subquery(by_name.annotate(takers=Count("account", distinct=True)).values("takers"))
    rows = list(
        EventDay.objects.filter(site=site, day__gte=min(first, today - timedelta(days=HEARD_WITHIN_DAYS - 1)))
        .annotate(accounts=Coalesce(takers, 0))
        .values_list("day", "accounts")
        .annotate(count_sum=Sum("count"), click_sum=Sum("with_click"))
        .order_by()
    )
    conversions = [row for row in rows if row[1] and row[0] >= first]
    return Received(
        sum(row[2] for row in conversions),
        sum(row[3] for row in conversions),
        max((row[0] for row in rows if row[2]), default=None) or _last_day(site),
        max((row[1] for row in conversions if row[2]), default=0),
    )


def _last_day(site: Site) -> date | None:
    """Return the newest day with an event; the end of an index, however long ago that is."""
    newest = site.events.order_by("-received_at", "-pk").values_list("received_at", flat=True).first()
    return None if newest is None else newest.astimezone(UTC).date()
