"""Walking along the deliveries of a filter, a stretch at a time, newest or oldest first, however many there are.

An index leads along an account's rows by their moment. A stretch ends when it has as many rows as were asked for, or
when so many were looked at that the next one has to go on: so no question takes long, and what has not been looked at
is said. Nothing is skipped over and nothing is counted whole.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any, NamedTuple, TypeVar

from django.db.models import DateTimeField, F, IntegerField, Model, Q, QuerySet, Subquery, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Coalesce

from forwarding.filters import TESTS, WITH_CLICK, WITHOUT_ORDER, Wanted, lanes, narrowed, of_lane
from forwarding.models import OTHER_NAMES, DailyCount, Delivery, Status
from integrations.models import AdAccount

Row = TypeVar("Row", bound=Model)
_Places = QuerySet[Any, tuple[int, datetime, int]]

# How many rows of a lane are looked at: a few first, as most filters find a page's worth among them.
LOOKS = (2_000, 50_000)
# Counting reads every row that it looks at, where a list stops at its page's worth.
COUNT_CAP = COUNT_LOOK = 10_000
MAX_PK = 10**18 - 1
_EPOCH, _LAST_MOMENT = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# What stands in the place of a row's key where a look tells of something else.
_EDGE, _DAY = 0, -1
_CURSOR = re.compile(r"([0-9]{1,17})-([0-9]{1,18})", re.ASCII)


@dataclass(frozen=True, order=True)
class Cursor:
    """A row's place in the list: by its moment, and the later written after the earlier among those of one moment."""

    created_at: datetime
    pk: int

    def __str__(self) -> str:
        return f"{micros(self.created_at)}-{self.pk}"

    @classmethod
    def of(cls, delivery: Delivery) -> "Cursor":
        """Return where a delivery stands."""
        return cls(delivery.created_at, delivery.pk)

    @classmethod
    def parse(cls, text: str) -> "Cursor | None":
        """Read a cursor from an address; None for anything else."""
        found = _CURSOR.fullmatch(text)
        return cls(_EPOCH + int(found[1]) * _MICROSECOND, int(found[2])) if found else None


@dataclass(frozen=True)
class Stretch:
    """Rows that the filter means, in order, and where the next stretch begins; `end` is None where nothing is left."""

    rows: list[Cursor]
    end: Cursor | None
    # The first look was not enough: of those looked at, few are meant.
    is_sparse: bool = False

    @property
    def pks(self) -> list[int]:
        """Return the keys of the rows, in their order."""
        return [row.pk for row in self.rows]


@dataclass(frozen=True)
class Counted:
    """How many rows there are, or at least are: `is_more` when counting ended before the rows did."""

    number: int
    is_more: bool


class _Lane(NamedTuple):
    """What a look at a lane found: up to `limit` rows in order, and the moment at which it ended before the lane."""

    rows: list[Cursor]
    edge: datetime | None
    limit: int

    @property
    def is_cut_short(self) -> bool:
        """Say whether another row could be found by looking further."""
        return self.edge is not None and len(self.rows) < self.limit

    def end(self, upwards: bool) -> Cursor | None:
        """Return where the next look begins; None where nothing is left."""
        if len(self.rows) == self.limit:
            return self.rows[-1]
        return None if self.edge is None else Cursor(self.edge, MAX_PK if upwards else 0)


class _Edge(Subquery):
    """The last of so many moments, null where there are fewer."""

    template = "(SELECT CASE WHEN COUNT(*) = %(look)s THEN %(last)s(created_at) END FROM (%(subquery)s) AS seen)"


class _Number(Subquery):
    """How many rows there are."""

    template = "(SELECT COUNT(*) FROM (%(subquery)s) AS counted)"
    empty_result_set_value = 0


def stretch(
    account: AdAccount, wanted: Wanted, limit: int, start: Cursor | None = None, *, upwards: bool = False
) -> Stretch:
    """Return up to `limit` rows beyond `start`, newest first; upwards the oldest first. A query a look, two at most."""
    found: dict[str, _Lane] = {}
    left = lanes(wanted)
    looks = [look for look in LOOKS if look > limit or look == LOOKS[-1]]
    for look in looks:
        seen, day = _look(account, wanted, left, limit, start, look, upwards)
        found |= seen
        left = [lane for lane, its in seen.items() if its.is_cut_short]
        if not left:
            break
        if _has_days(wanted):
            if day is None:
                found |= {lane: found[lane]._replace(edge=None) for lane in left}
                break
            start = _from_day(day, start, upwards)
    rows = sorted((row for its in found.values() for row in its.rows), reverse=not upwards)
    ends = [end for its in found.values() if (end := its.end(upwards)) is not None]
    end = (min(ends) if upwards else max(ends)) if ends else None
    if end is not None:
        # One lane ends here, so what another one has beyond is the next stretch's.
        rows = [row for row in rows if (row <= end if upwards else row >= end)]
    if len(rows) > limit:
        rows = rows[:limit]
        end = rows[-1]
    return Stretch(rows, end, is_sparse=look != looks[0])


def count(account: AdAccount, wanted: Wanted, cap: int = COUNT_CAP) -> Counted:
    """Count the rows of a filter up to `cap`, among the newest COUNT_LOOK of each lane. One query."""
    asked = []
    for lane in lanes(wanted):
        rows = of_lane(account, wanted, lane)
        edge = _edge(rows, wanted, COUNT_LOOK, upwards=False)
        # In the order of its index, or PostgreSQL may take another one that leads through everybody's rows.
        meant = narrowed(_until(rows, edge, upwards=False), wanted, lane).order_by("-created_at", "-pk")
        asked += [_Number(meant.values("pk")[: cap + 1], output_field=IntegerField()), edge]
    (told,) = AdAccount.objects.filter(pk=account.pk).values_list(*asked)
    number, is_more = sum(told[::2]), any(edge is not None for edge in told[1::2])
    return Counted(min(number, cap), is_more or number > cap)


def beyond(
    rows: "QuerySet[Row]", start: Cursor | None, moment: str = "created_at", *, upwards: bool = False
) -> "QuerySet[Row]":
    """Return the rows after a place in a list that is in the order of a moment. The last condition bounds the scan."""
    if start is None:
        return rows
    than, bound = ("gt", "gte") if upwards else ("lt", "lte")
    one_after = Q(**{f"{moment}__{than}": start.created_at}) | Q(**{f"pk__{than}": start.pk})
    return rows.filter(one_after, **{f"{moment}__{bound}": start.created_at})


def micros(moment: datetime) -> int:
    """Write a moment as a number: microseconds since 1970."""
    return (moment - _EPOCH) // _MICROSECOND


def _has_days(wanted: Wanted) -> bool:
    """Say whether the roll-up knows on which days there is something to find. It knows nothing of tests."""
    is_counted = not wanted.search and wanted.kind not in (WITHOUT_ORDER, TESTS)
    return is_counted and bool(_goal_with_days(wanted) or wanted.event)


def _goal_with_days(wanted: Wanted) -> str:
    """Return the goal that is asked for; what was not forwarded is counted under its reason, and under no goal."""
    return "" if wanted.reason or wanted.status == Status.SKIPPED else wanted.goal


def _day_of(account: AdAccount, wanted: Wanted, start: Cursor | None, upwards: bool) -> Subquery:
    """Return as a column the nearest day that has conversions of a goal or event, beginning with the day of `start`."""
    days = DailyCount.objects.filter(account=account, count__gt=0)
    if goal := _goal_with_days(wanted):
        days = days.filter(goal_name=goal)
    if wanted.event:
        # A name without rows of its own is counted with the others.
        days = days.filter(event_name__in=(wanted.event, OTHER_NAMES))
    if wanted.status:
        days = days.filter(status=wanted.status)
    if wanted.reason:
        days = days.filter(goal_name=wanted.reason, status=Status.SKIPPED)
    if wanted.click:
        days = days.filter(with_click=wanted.click == WITH_CLICK)
    if start is not None:
        day = start.created_at.astimezone(UTC).date()
        days = days.filter(day__gte=day) if upwards else days.filter(day__lte=day)
    return Subquery(days.order_by("day" if upwards else "-day").values("day")[:1], output_field=DateTimeField())


def _from_day(day: datetime, start: Cursor | None, upwards: bool) -> Cursor:
    """Return where a day begins, or `start` where that lies in it."""
    if upwards:
        edge = Cursor(day, 0)
        return edge if start is None else max(start, edge)
    edge = Cursor(datetime.combine(day, time.max, UTC), MAX_PK)
    return edge if start is None else min(start, edge)


def _look(
    account: AdAccount, wanted: Wanted, of: Sequence[str], limit: int, start: Cursor | None, look: int, upwards: bool
) -> tuple[dict[str, _Lane], datetime | None]:
    """Look at so many rows of each lane: what is found there, and the next day of the goal or event asked for."""
    order = ("created_at", "pk") if upwards else ("-created_at", "-pk")
    mine = AdAccount.objects.filter(pk=account.pk).order_by()
    parts: list[_Places] = []
    for place, lane in enumerate(of):
        rows = beyond(of_lane(account, wanted, lane), start, upwards=upwards)
        edge = _edge(rows, wanted, look, upwards=upwards)
        meant = narrowed(_until(rows, edge, upwards=upwards), wanted, lane).order_by(*order).values("pk")[:limit]
        parts.append(_places(Delivery.objects.filter(pk__in=meant), place, F("created_at"), F("pk")))
        parts.append(_places(mine, place, edge, Value(_EDGE)))
    if _has_days(wanted):
        parts.append(_places(mine, 0, _day_of(account, wanted, start, upwards), Value(_DAY)))
    told = list(parts[0].union(*parts[1:], all=True))
    found = {
        lane: _Lane(
            sorted((Cursor(at, pk) for of, at, pk in told if of == place and pk > 0), reverse=not upwards),
            next(at for of, at, pk in told if of == place and pk == _EDGE),
            limit,
        )
        for place, lane in enumerate(of)
    }
    return found, next((at for _, at, pk in told if pk == _DAY), None)


def _places(rows: "QuerySet[Any]", lane: int, at: Combinable, pk: Combinable) -> _Places:
    """Return rows as a lane's number, a moment and a key, so that a union has all of them."""
    places: _Places = rows.annotate(_lane=Value(lane), _at=at, _key=pk).values_list("_lane", "_at", "_key")
    return places


def _edge(rows: "QuerySet[Delivery]", wanted: Wanted, look: int, *, upwards: bool) -> Combinable:
    """Return as a column the moment of the `look`-th row, null where there are fewer, and of a search, which is short.

    An index alone answers this.
    """
    if wanted.search:
        return Value(None, output_field=DateTimeField())
    seen = rows.order_by("created_at", "pk") if upwards else rows.order_by("-created_at", "-pk")
    last = "MAX" if upwards else "MIN"
    return _Edge(seen.values("created_at")[:look], output_field=DateTimeField(), look=look, last=last)


def _until(rows: "QuerySet[Delivery]", edge: Combinable, *, upwards: bool) -> "QuerySet[Delivery]":
    if isinstance(edge, Value):
        return rows
    if upwards:
        return rows.filter(created_at__lte=Coalesce(edge, Value(_LAST_MOMENT)))
    return rows.filter(created_at__gte=Coalesce(edge, Value(_EPOCH)))
