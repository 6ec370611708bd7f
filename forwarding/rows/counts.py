"""The roll-ups behind every figure on a page, kept in the same transaction as the rows they count.

`DailyCount` has a day's conversions by what became of them, `AcceptedDay` those that Microsoft accepted on a day. What
corrections changed of the value of what was delivered stands in rows of its own, so all that is delivered adds up to
what counts now. What has a goal is counted under the name of its event: those names a person chose. Of the others
`own_names.py` decides.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple

from django.db import transaction
from django.db.models import Case, CharField, Count, DecimalField, Expression, F, Q, QuerySet, Sum, Value, When
from django.db.models.functions import Cast, Coalesce, TruncDate

from forwarding.models import ADJUSTED, AcceptedDay, DailyCount, Delivery, Kind, Status
from forwarding.rows.adding import add_sums, make_anew
from forwarding.rows.own_names import named_as, named_in_sql, own_names_in
from forwarding.rows.upload_rows import UploadRow, among
from ingest.models import Event

_KEYS = ("account_id", "day", "event_name", "goal_name", "status", "error", "with_click", "currency")
_KEYS_OF_ACCEPTED = ("account_id", "day", "goal_id", "event_name", "currency")

_Key = tuple[int, str, str, str, str, str, bool, str]
_KeyOfAccepted = tuple[int, str, int, str, str]
_MONEY = DecimalField(max_digits=21, decimal_places=3)
_IS_CONVERSION = Q(kind=Kind.CONVERSION, is_test=False)


class Move(NamedTuple):
    """A delivery that changed its status; `before` is None for one that comes, `after` for one that goes."""

    delivery: Delivery | UploadRow
    before: str | None
    after: str | None


class _Alike(NamedTuple):
    """What moves have in common that change the same rows of the roll-ups. `accepted_on` is "" where nothing is."""

    account_id: int
    day: str
    event_name: str
    goal_id: int | None
    goal_name: str
    skip_reason: str
    error: str
    with_click: bool
    currency: str
    accepted_on: str
    before: str | None
    after: str | None


def record_moves(moves: Iterable[Move], now: datetime) -> None:
    """Add what came and take away what went, in a statement a roll-up. Call it inside the transaction of the change.

    Conversions are counted, corrections by what they change of their conversion's value. Tests are counted nowhere:
    they are no customer's order, and most are taken back.
    """
    conversion = Kind.CONVERSION.value
    changed = (move for move in moves if move.before != move.after)
    counted = [move for move in changed if move.delivery.kind == conversion and not move.delivery.is_test]
    if not counted:
        return
    sums: dict[_Key, tuple[int, Decimal]] = {}
    accepted: Counter[_KeyOfAccepted] = Counter()
    for alike, (count, value, adjustment) in _alike(counted, now).items():
        for status, sign in ((alike.before, -1), (alike.after, 1)):
            if status is None:
                continue
            is_accepted = status == Status.DELIVERED
            _add(sums, _key(alike, status), sign * count, sign * (value if is_accepted else value + adjustment))
            if is_accepted and adjustment:
                _add(sums, _key(alike, status, ADJUSTED), 0, sign * adjustment)
            if is_accepted and alike.goal_id is not None:
                of = alike.account_id, alike.accepted_on, alike.goal_id, alike.event_name, alike.currency
                accepted[of] += sign * count
    add_sums(DailyCount, _KEYS, ("count", "value"), sums, now)
    add_sums(AcceptedDay, _KEYS_OF_ACCEPTED, ("count",), {key: (count,) for key, count in accepted.items()}, now)


def _add(sums: dict[_Key, tuple[int, Decimal]], key: _Key, count: int, value: Decimal) -> None:
    before = sums.get(key, (0, Decimal(0)))
    sums[key] = before[0] + count, before[1] + value


def _key(alike: _Alike, status: str, error: str = "") -> _Key:
    return (
        alike.account_id,
        alike.day,
        alike.event_name,
        alike.skip_reason if status == Status.SKIPPED else alike.goal_name,
        status,
        alike.error if status == Status.FAILED else error,
        alike.with_click,
        alike.currency,
    )


def _alike(moves: Iterable[Move], now: datetime) -> dict[_Alike, tuple[int, Decimal, Decimal]]:
    """Count the conversions that moved alike and add up their values and adjustments: of a thousand, most do."""
    alike: dict[tuple[object, ...], tuple[int, Decimal, Decimal]] = {}
    rows = [row for row, _, _ in moves if isinstance(row, Delivery)]
    names = _event_names(rows)
    own = own_names_in({(row.account_id, names[row.event_id]) for row in rows if row.goal_id is None})
    days: dict[datetime, str] = {}  # one moment for all that was planned together
    nothing, today = (0, Decimal(0), Decimal(0)), _day(now)
    failed, delivered = Status.FAILED.value, Status.DELIVERED.value
    for row, before, after in moves:
        if isinstance(row, UploadRow):
            day, event_name = row.day, row.event_name
        else:
            day = days.get(row.created_at) or days.setdefault(row.created_at, _day(row.created_at))
            event_name = names[row.event_id]
            if row.goal_id is None:
                event_name = named_as(event_name, own.get((row.account_id, event_name)), row.created_at)
        move = (
            row.account_id,
            day,
            event_name,
            row.goal_id,
            row.goal_name,
            row.skip_reason,
            _error(row) if failed in (before, after) else "",
            bool(row.msclkid),
            row.currency,
            _accepted_on(row, today) if delivered in (before, after) else "",
            before,
            after,
        )
        count, value, adjustment = alike.get(move, nothing)
        alike[move] = count + 1, value + (row.value or 0), adjustment + _adjustment(row)
    return {_Alike._make(move): sums for move, sums in alike.items()}


def _adjustment(row: Delivery | UploadRow) -> Decimal:
    """Return what corrections added to a conversion's value; less than zero is what they took from it."""
    if isinstance(row, UploadRow):
        return Decimal(0)  # what is being sent has not been corrected yet
    if row.retracted_at is not None:
        return -(row.value or Decimal(0))
    return Decimal(0) if row.restated_value is None else row.restated_value - (row.value or 0)


def _event_names(rows: Iterable[Delivery]) -> Mapping[int, str]:
    """Return the names of the rows' events, in one query for those that are not at hand."""
    names: dict[int, str] = {}
    unknown: set[int] = set()
    for row in rows:
        event = row._state.fields_cache.get("event")
        if event is None:
            unknown.add(row.event_id)
        else:
            names[row.event_id] = event.name
    unknown -= names.keys()
    if unknown:
        names.update(Event.objects.filter(pk__in=among(list(unknown))).values_list("pk", "name"))
    return names


def _day(moment: datetime) -> str:
    return moment.astimezone(UTC).date().isoformat()


def _error(row: Delivery | UploadRow) -> str:
    return row.error_symbol if row.error_code is None else str(row.error_code)


def _accepted_on(row: Delivery | UploadRow, today: str) -> str:
    if isinstance(row, UploadRow) or row.delivered_at is None:
        return today  # what is in an upload becomes delivered now
    return _day(row.delivered_at)


def rebuild(now: datetime) -> int:
    """Count every delivery anew; return how many rows `DailyCount` has now. A repair, not needed in daily life."""
    with transaction.atomic():
        make_anew(DailyCount, AcceptedDay)
        sums = _counted_anew()
        add_sums(DailyCount, _KEYS, ("count", "value"), sums, now)
        add_sums(AcceptedDay, _KEYS_OF_ACCEPTED, ("count",), _accepted_anew(), now)
    return len(sums)


def _counted_anew() -> dict[_Key, tuple[int, Decimal]]:
    given = Coalesce(F("value"), Value(Decimal(0)), output_field=_MONEY)
    counts_now = Case(
        When(retracted_at__isnull=False, then=Value(Decimal(0))),
        default=Coalesce(F("restated_value"), given, output_field=_MONEY),
        output_field=_MONEY,
    )
    named = Coalesce(Cast("error_code", CharField()), F("error_symbol"))
    of_failed = Case(When(status=Status.FAILED, then=named), default=Value(""))
    conversions = Delivery.objects.filter(_IS_CONVERSION)
    worth = Case(When(status=Status.DELIVERED, then=given), default=counts_now, output_field=_MONEY)
    sums = _grouped(conversions, of_failed, Count("pk"), Sum(worth))
    is_adjusted = Q(retracted_at__isnull=False) | Q(restated_value__isnull=False)
    adjusted = conversions.filter(is_adjusted, status=Status.DELIVERED)
    return sums | _grouped(adjusted, Value(ADJUSTED), Value(0), Sum(counts_now - given))


def _grouped(
    conversions: "QuerySet[Delivery]", error: Expression, count: Expression, worth: Expression
) -> dict[_Key, tuple[int, Decimal]]:
    rows = (
        conversions.annotate(
            day=TruncDate("created_at", tzinfo=UTC),
            goal_or_reason=Case(When(status=Status.SKIPPED, then=F("skip_reason")), default=F("goal_name")),
            error=error,
            with_click=Case(When(msclkid="", then=Value(False)), default=Value(True)),
            named=named_in_sql("account__site", "event__name", "created_at", always=Q(goal__isnull=False)),
        )
        .values_list("account_id", "day", "named", "goal_or_reason", "status", "error", "with_click", "currency")
        .annotate(count=count, total=worth)
        .order_by()
    )
    return {
        (account, day.isoformat(), *named): (count, total or Decimal(0))
        for account, day, *named, count, total in rows.iterator()
    }


def _accepted_anew() -> dict[_KeyOfAccepted, tuple[int]]:
    rows = (
        Delivery.objects.filter(_IS_CONVERSION, status=Status.DELIVERED, goal__isnull=False)
        .annotate(day=TruncDate("delivered_at", tzinfo=UTC))
        .values_list("account_id", "day", "goal_id", "event__name", "currency")
        .annotate(count=Count("pk"))
        .order_by()
    )
    return {(account, day.isoformat(), *named): (count,) for account, day, *named, count in rows.iterator() if day}
