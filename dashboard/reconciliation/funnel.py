"""From the orders that came to those that Microsoft attributed, and where the difference went. Pure, no HTML.

Each conversion of the period is in exactly one place: it got all the way, or it is in one gap with one reason. So the
parts of every step add up to the step before it, whatever the rows are.

The last step is Microsoft's: its report counts a goal's uploads by the day of the upload, and knows neither event nor
currency. It can tell about the conversions here as long as nothing else went to the same goals.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

from dashboard.attribution import (
    ATTRIBUTED,
    NOT_REPORTED,
    Fates,
    Match,
    UploadDay,
    fates,
    is_settled,
    match_rate,
    waits_for,
)
from forwarding.errors import SKIPS, Words, words_for
from forwarding.models import ADJUSTED, WAITING, Skip, Status
from forwarding.money import Money, add_money, added_money
from forwarding.sending.claims import EXPIRED_SYMBOL
from forwarding.unattributed import Gap, Reason
from integrations.microsoft_ads.errors import WhatToDo, what_to_do

NOT_TOLD_APART = Reason(
    "Not told apart by Microsoft", "Its report is by goal, and other conversions went there too.", Gap.AT_MICROSOFT
)

_SKIP_GAPS: Mapping[str, Gap] = {
    Skip.NOT_MAPPED: Gap.FIX,
    Skip.SAME_SECOND: Gap.FIX,
    Skip.TOO_OLD: Gap.LOST,
}
_WAITING_TITLES = {Status.PENDING: "Waiting to be sent", Status.RETRYING: "Being tried again"}


class Action(StrEnum):
    """What a person may do about a gap, or where its rows are listed."""

    LOGS = "logs"
    SEND = "send"
    MAPPING = "mapping"
    RESUME = "resume"
    RECONNECT = "reconnect"


@dataclass(frozen=True, slots=True)
class Row:
    """Conversions of one day that fared alike, summed: `reason` is the skip reason of what is not forwarded.

    With the error ADJUSTED it has none of them, and is worth what corrections changed of what was accepted.
    """

    day: date
    status: str
    reason: str
    error: str
    with_click: bool
    currency: str
    count: int
    value: Decimal


@dataclass(frozen=True, slots=True)
class Stop:
    """Why nothing of the account is sent now, in words, and what kind of gap that makes."""

    words: Words
    gap: Gap
    action: Action


@dataclass(slots=True)
class Loss:
    """A reason why conversions did not reach the next step. `values` are by currency; None where nobody knows them.

    `is_at_most` is set where they are worth that at most. `error`, `reason`, `status` and `with_click` narrow Forward
    Logs to its rows; without a status, these are of the two that wait.
    """

    title: str
    gap: Gap
    action: Action = Action.LOGS
    advice: str = ""
    error: str = ""
    reason: str = ""
    status: str = ""
    # None where it does not tell the rows from those of another gap.
    with_click: bool | None = None
    orders: int = 0
    values: Money | None = field(default_factory=dict)
    is_at_most: bool = False
    # Microsoft's own reason, or what its word waits for.
    told: Reason | None = None

    def add(self, row: Row) -> None:
        """Count conversions in."""
        self.orders += row.count
        self.status = row.status if self.status == row.status else ""
        if self.values is not None:
            _add(self.values, row)


@dataclass(frozen=True, slots=True)
class Group:
    """What was lost between two steps, by reason, the most first."""

    title: str
    losses: Sequence[Loss]

    @property
    def orders(self) -> int:
        """Return how many conversions did not reach the next step."""
        return sum(loss.orders for loss in self.losses)


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the funnel. `values` is None where nobody knows what it is worth."""

    title: str
    orders: int
    values: Money | None


@dataclass(slots=True)
class Day:
    """A day's conversions by the step they reached. `uploaded` and `attributed` are of what was uploaded on it.

    `attributed` is None while Microsoft has not told it, and moves until the day `is_settled`.
    """

    day: date
    received: int = 0
    matched: int = 0
    forwarded: int = 0
    accepted: int = 0
    uploaded: int = 0
    attributed: int | None = None
    is_settled: bool = False
    # What was accepted of the day's conversions, and what corrections changed of it since.
    worth: Money = field(default_factory=dict)
    adjusted: Money = field(default_factory=dict)

    @property
    def net(self) -> Money:
        """Return what Microsoft counts now of what it accepted."""
        return added_money([self.worth, self.adjusted])


@dataclass(frozen=True, slots=True)
class Funnel:
    """Five steps, the four gaps between them, the days, oldest first, and the match rate's parts.

    `without_click` are those that were forwarded by a hashed e-mail address or phone number. `beyond` is how many
    conversions from before the period were uploaded in it.
    """

    steps: Sequence[Step]
    groups: Sequence[Group]
    days: Sequence[Day]
    match: Match
    without_click: int
    beyond: int
    is_told_apart: bool

    @property
    def adjusted(self) -> Money:
        """Return what corrections added to what was accepted, or took from it."""
        return added_money(day.adjusted for day in self.days)

    @property
    def net(self) -> Money:
        """Return what Microsoft counts now of what it accepted."""
        return added_money(day.net for day in self.days)

    @property
    def recoverable(self) -> Sequence[Loss]:
        """Return what can still be sent when somebody says so, the most first."""
        found = [loss for group in self.groups for loss in group.losses if loss.gap == Gap.RECOVERABLE]
        return sorted(found, key=lambda loss: -loss.orders)


def build(
    rows: Sequence[Row],
    uploads: Mapping[date, UploadDay],
    days: Sequence[date],
    now: datetime,
    *,
    read_at: datetime | None = None,
    stop: Stop | None = None,
    is_told_apart: bool = True,
) -> Funnel:
    """Return the funnel of the period's rows.

    `days` are all of the period's, oldest first; `uploads` may lack those without any. `read_at` is when Microsoft's
    report was read last. `is_told_apart` is False when other conversions went to the same goals.
    """
    by_day = {day: Day(day) for day in days}
    losses: tuple[dict[str, Loss], ...] = ({}, {}, {})
    reached = [0, 0, 0, 0]
    values: list[Money] = [{} for _ in range(4)]
    without_click = 0
    for row in rows:
        _count(by_day[row.day], row)
    for row in _without_days(row for row in rows if row.error != ADJUSTED):
        level = _level(row)
        for step in range(level + 1):
            reached[step] += row.count
            _add(values[step], row)
        if level < 3:
            _loss(losses[level], row, stop).add(row)
        if level >= 2 and not row.with_click:
            without_click += row.count
    accepted = reached[3]
    told = _told(uploads, days, now, read_at) if is_told_apart else None
    for day in by_day.values():
        day.uploaded = uploads[day.day].accepted if day.day in uploads else 0
        if told is not None:
            day.is_settled = is_settled(day.day, read_at)
            day.attributed = None if read_at is None else told[day.day][ATTRIBUTED]
    attributed, at_microsoft = _at_microsoft(told, accepted)
    _say_worth(at_microsoft, rows, uploads, now, read_at)
    titles = ("Received", "With a Microsoft click", "Forwarded", "Accepted by Microsoft")
    steps = [Step(title, reached[at], values[at]) for at, title in enumerate(titles)]
    groups = [Group(title, _sorted(found)) for title, found in zip(_GROUPS, losses, strict=False)]
    return Funnel(
        steps=[*steps, Step("Attributed by Microsoft", attributed, None)],
        groups=[*groups, Group(_GROUPS[3], at_microsoft)],
        days=list(by_day.values()),
        match=Match() if told is None else match_rate(uploads.values(), read_at),
        without_click=without_click,
        beyond=max(0, sum(one.accepted for one in uploads.values()) - accepted),
        is_told_apart=is_told_apart,
    )


_GROUPS = ("No Microsoft click", "Not forwarded", "Not accepted", "Not attributed")


def _without_days(rows: Iterable[Row]) -> list[Row]:
    """Return the rows that fared alike on all days as one: a quarter has thousands, and thirty of these."""
    sums: dict[tuple[str, str, str, bool, str], Row] = {}
    for row in rows:
        alike = row.status, row.reason, row.error, row.with_click, row.currency
        known = sums.get(alike)
        count, value = (row.count, row.value) if known is None else (known.count + row.count, known.value + row.value)
        sums[alike] = Row(row.day, *alike, count, value)
    return list(sums.values())


def _level(row: Row) -> int:
    """Return the last step that conversions reached, from 0."""
    if row.status == Status.SKIPPED:
        return 1 if row.with_click else 0
    return 3 if row.status == Status.DELIVERED else 2


def _count(day: Day, row: Row) -> None:
    if row.error == ADJUSTED:
        add_money(day.adjusted, row.currency, row.value)
        return
    level, count = _level(row), row.count
    if level >= 3:
        _add(day.worth, row)
    day.received += count
    day.matched += count if level >= 1 else 0
    day.forwarded += count if level >= 2 else 0
    day.accepted += count if level >= 3 else 0


def _add(values: Money, row: Row) -> None:
    # What came without a value has a currency at most; what was delivered has one only with a value.
    if row.count and (row.value or row.status == Status.DELIVERED):
        add_money(values, row.currency, row.value)


def _loss(found: dict[str, Loss], row: Row, stop: Stop | None) -> Loss:
    loss = _reason(row, stop)
    return found.setdefault(f"{loss.title} {loss.error} {loss.reason}", loss)


def _reason(row: Row, stop: Stop | None) -> Loss:
    if row.status == Status.SKIPPED:
        words = SKIPS[Skip(row.reason)] if row.reason in Skip.values else Words("Not forwarded", "")
        action = Action.MAPPING if words.page == "mapping" else Action.LOGS
        gap = _SKIP_GAPS.get(row.reason, Gap.EXPECTED)
        return Loss(
            words.title, gap, action, words.cause, reason=row.reason, status=Status.SKIPPED, with_click=row.with_click
        )
    if row.status in WAITING:
        if stop is not None:
            return Loss(stop.words.title, stop.gap, stop.action, stop.words.cause, status=row.status)
        status = Status(row.status)
        return Loss(_WAITING_TITLES[status], Gap.WAITING, Action.LOGS, "Nothing to do.", status=status)
    return _refusal(row.error)


def _refusal(error: str) -> Loss:
    code, symbol = (int(error), "") if error.isdecimal() else (None, error)
    words = words_for(code, symbol)
    what = WhatToDo.EXPIRED if symbol == EXPIRED_SYMBOL else what_to_do(code, symbol)
    if what is WhatToDo.EXPIRED:
        gap, action = Gap.LOST, Action.LOGS
    elif what.permanent:
        gap, action = Gap.FIX, Action.LOGS
    else:
        gap, action = Gap.RECOVERABLE, Action.SEND
    return Loss(words.title, gap, action, words.fix or words.cause, error=error, status=Status.FAILED)


def _told(
    uploads: Mapping[date, UploadDay], days: Sequence[date], now: datetime, read_at: datetime | None
) -> dict[date, Fates]:
    """Return how each day's uploads fared by Microsoft's word. A day's numbers add up to what was accepted on it."""
    return {day: fates(uploads.get(day, UploadDay(day)), now, read_at) for day in days}


def _at_microsoft(told: Mapping[date, Fates] | None, accepted: int) -> tuple[int, list[Loss]]:
    """Return how many of the accepted conversions are attributed, and the reasons of all others.

    What was uploaded in the period may be from before it. Those conversions are left out of the days they were
    uploaded on at the earliest, from the largest part of each, because nobody knows which they are.
    """
    if told is None:
        return 0, [_of(NOT_TOLD_APART, accepted)] if accepted else []
    beyond = sum(pools.total() for pools in told.values()) - accepted
    totals: Fates = Counter()
    for day in sorted(told):
        pools = told[day]
        while beyond > 0 and pools.total() > 0:
            [(largest, count)] = pools.most_common(1)
            taken = min(beyond, count)
            pools = pools - Counter({largest: taken})
            beyond -= taken
        totals.update(pools)
    totals[NOT_REPORTED] += max(0, -beyond)
    attributed = totals.pop(ATTRIBUTED, 0)
    losses = [_of(reason, count) for reason, count in totals.items() if reason is not None and count]
    return attributed, sorted(losses, key=lambda loss: (-loss.orders, loss.title))


def _of(reason: Reason, orders: int) -> Loss:
    return Loss(
        reason.title,
        reason.gap,
        advice=reason.advice,
        status=Status.DELIVERED,
        orders=orders,
        values=None,
        told=reason,
    )


def _say_worth(
    losses: Sequence[Loss],
    rows: Sequence[Row],
    uploads: Mapping[date, UploadDay],
    now: datetime,
    read_at: datetime | None,
) -> None:
    """Say what conversions of days that are not settled are worth: Microsoft's report has no values, but the rows have.

    They are known as long as everything that was accepted on these days was planned on them, and exact as long as none
    is attributed: what was planned on them was accepted on them, so equal numbers are the same conversions.
    """
    accepted = [row for row in rows if row.error != ADJUSTED and _level(row) == 3 and waits_for(row.day, now, read_at)]
    uploaded = sum(one.accepted for one in uploads.values() if waits_for(one.day, now, read_at))
    if sum(row.count for row in accepted) != uploaded:
        return
    for loss in losses:
        mine = [row for row in accepted if waits_for(row.day, now, read_at) == loss.told]
        if mine:
            loss.values = {}
            for row in mine:
                _add(loss.values, row)
            loss.is_at_most = sum(row.count for row in mine) > loss.orders


def _sorted(found: Mapping[str, Loss]) -> list[Loss]:
    losses = [loss for loss in found.values() if loss.orders]
    return sorted(losses, key=lambda loss: (-loss.orders, loss.title, loss.error))
