"""Adding to the roll-ups that pages read: many sums in one statement, for rows that are there and rows that are not."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

from django.db import connection
from django.db.models import DecimalField, Model

Key = TypeVar("Key", bound=tuple[object, ...])
Sums = TypeVar("Sums", bound=tuple[int | Decimal, ...])

# Far below the 32,766 parameters that SQLite takes. A batch has some ten rows, unless somebody sends random names.
_MOST_AT_ONCE = 1000


def add_sums(
    model: type[Model], keys: Sequence[str], sums: Sequence[str], rows: Mapping[Key, Sums], now: datetime
) -> None:
    """Add to the rows of a roll-up, each named by its key; what is not there begins with these sums.

    `keys` are the columns of the roll-up's one unique constraint, `sums` those that are added to: whole numbers, or
    Decimals of three places. Call it at the end of the transaction: who has these rows waits for no others.
    """
    # Sorted, so that two writers take the same rows in the same order and cannot wait for each other in a ring.
    ordered = [(*key, *added) for key, added in sorted(rows.items()) if any(added)]
    for start in range(0, len(ordered), _MOST_AT_ONCE):
        _upsert(model, keys, sums, ordered[start : start + _MOST_AT_ONCE], now)


def make_anew(*models: type[Model]) -> None:
    """Empty roll-ups that are counted anew in this transaction; until it ends nobody else adds to them.

    What somebody added between the emptying and the counting would be there twice. Whoever adds meanwhile waits, no
    longer than any statement may, so stop the workers first.
    """
    if connection.vendor == "postgresql":  # SQLite has one writer, and no such limit
        tables = ", ".join(model._meta.db_table for model in models)
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = 0")  # counting everything takes longer than a page may
            cursor.execute(f"LOCK TABLE {tables} IN SHARE ROW EXCLUSIVE MODE")
    for model in models:
        model._base_manager.all().delete()


def _upsert(
    model: type[Model], keys: Sequence[str], sums: Sequence[str], rows: Sequence[tuple[Any, ...]], now: datetime
) -> None:
    ops, table = connection.ops, model._meta.db_table
    columns = [*keys, *sums, "created_at"]
    place = f"({', '.join(['%s'] * len(columns))})"
    written = ops.adapt_datetimefield_value(now)
    given: list[Any] = []
    for row in rows:
        given += [ops.adapt_decimalfield_value(one, 21, 3) if isinstance(one, Decimal) else one for one in row]
        given.append(written)
    added = ", ".join(_addition(model, name) for name in sums)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([place] * len(rows))}"  # noqa: S608  # names of ours
            f" ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {added}",
            given,
        )


def _addition(model: type[Model], name: str) -> str:
    both = f"{model._meta.db_table}.{name} + excluded.{name}"
    # Rounded, because SQLite adds floats: what came and went has to leave nothing.
    return f"{name} = round({both}, 3)" if isinstance(model._meta.get_field(name), DecimalField) else f"{name} = {both}"
