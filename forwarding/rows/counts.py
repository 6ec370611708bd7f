"""The roll-up behind every figure on a page: `DailyCount`, kept in the same transaction as the rows it counts."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple

from django.db import connection, transaction
from django.db.models import Case, Count, DecimalField, F, Sum, Value, When
from django.db.models.functions import Coalesce, TruncDate

from forwarding.models import DailyCount, Delivery, Kind, Status
from forwarding.rows.upload_rows import UploadRow

_Key = tuple[int, str, str, str, str]  # account, day, goal name, status, currency
# account, day, goal name, skip reason, currency, status before and after
_Move = tuple[int, str, str, str, str, str | None, str | None]


class Move(NamedTuple):
    """A delivery that changed its status; `before` is None for one that comes, `after` for one that goes."""

    delivery: Delivery | UploadRow
    before: str | None
    after: str | None


def record_moves(moves: Iterable[Move], now: datetime) -> None:
    """Add what came and take away what went, in one statement. Call it inside the transaction of the change.

    Conversions are counted; a correction moves the value of its conversion.
    """
    sums: dict[_Key, tuple[int, Decimal]] = defaultdict(lambda: (0, Decimal(0)))
    for (account, day, goal, skip, currency, before, after), (count, value) in _alike(moves).items():
        for status, sign in ((before, -1), (after, 1)):
            if status is not None:
                key = account, day, skip if status == Status.SKIPPED else goal, status, currency
                sums[key] = sums[key][0] + sign * count, sums[key][1] + sign * value
    # Sorted, so that two writers take the same rows in the same order and cannot wait for each other in a ring.
    rows = [(*key, count, value) for key, (count, value) in sorted(sums.items()) if count or value]
    if rows:
        _add(rows, now)


def _alike(moves: Iterable[Move]) -> dict[_Move, tuple[int, Decimal]]:
    """Count the conversions that moved alike and add up their value: of a thousand, most do."""
    alike: dict[_Move, tuple[int, Decimal]] = {}
    nothing, conversion = (0, Decimal(0)), Kind.CONVERSION.value
    for row, before, after in moves:
        if before != after and row.kind == conversion:
            move = row.account_id, _day(row), row.goal_name, row.skip_reason, row.currency, before, after
            count, value = alike.get(move, nothing)
            alike[move] = count + 1, value + (row.value or 0)
    return alike


def _day(row: Delivery | UploadRow) -> str:
    return row.day if isinstance(row, UploadRow) else row.created_at.astimezone(UTC).date().isoformat()


def _add(rows: list[tuple[int, str, str, str, str, int, Decimal]], now: datetime) -> None:
    ops = connection.ops
    places = ", ".join(["(%s, %s, %s, %s, %s, %s, %s, %s)"] * len(rows))
    given: list[int | str | Decimal | None] = []
    for account, day, goal, status, currency, count, value in rows:
        given += [account, day, goal, status, currency, count]
        given += [ops.adapt_decimalfield_value(value, 21, 3), ops.adapt_datetimefield_value(now)]
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO forwarding_dailycount (account_id, day, goal_name, status, currency, count, value, created_at)"  # noqa: S608
            f" VALUES {places} ON CONFLICT (account_id, day, goal_name, status, currency) DO UPDATE SET"
            " count = forwarding_dailycount.count + excluded.count,"
            # Rounded, because SQLite adds floats: what came and went has to leave nothing.
            " value = round(forwarding_dailycount.value + excluded.value, 3)",
            given,
        )


def rebuild(now: datetime) -> int:
    """Count every delivery anew; return how many rows the roll-up has now. A repair, not needed in daily life."""
    with transaction.atomic():
        DailyCount.objects.all().delete()
        counted = Case(
            When(retracted_at__isnull=False, then=Value(Decimal(0))),
            default=Coalesce(F("restated_value"), F("value")),
            output_field=DecimalField(max_digits=21, decimal_places=3),
        )
        rows = (
            Delivery.objects.filter(kind=Kind.CONVERSION)
            .annotate(day=TruncDate("created_at", tzinfo=UTC))
            .values("account_id", "day", "goal_name", "skip_reason", "status", "currency")
            .annotate(count=Count("pk"), total=Sum(counted))
        )
        sums: dict[_Key, tuple[int, Decimal]] = defaultdict(lambda: (0, Decimal(0)))
        for row in rows.iterator():
            goal = row["skip_reason"] if row["status"] == Status.SKIPPED else row["goal_name"]
            key = (row["account_id"], row["day"].isoformat(), goal, row["status"], row["currency"])
            count, value = sums[key]
            sums[key] = count + row["count"], value + (row["total"] or Decimal(0))
        if sums:
            _add([(*key, count, value) for key, (count, value) in sorted(sums.items())], now)
    return len(sums)
