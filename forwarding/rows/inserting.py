"""Inserts new deliveries: a whole batch in one statement, as one JSON parameter that the database takes apart.

`bulk_create` adapts each of a delivery's columns on its own, which costs three times as much (docs/performance.md).
"""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec
from django.db import connection
from django.db.models import Field

from forwarding.models import Delivery

_TYPES = {
    "BooleanField": "boolean",
    "CharField": "text",
    "DateTimeField": "timestamptz",
    "DecimalField": "numeric",
    "ForeignKey": "bigint",
    "IntegerField": "bigint",
    "PositiveIntegerField": "bigint",
    "UUIDField": "uuid",
}


class _Column(NamedTuple):
    name: str
    kind: str  # PostgreSQL's type of it
    default: object  # what a row holds that says nothing of it
    literal: str  # the same in SQL


def _column(field: "Field[Any, Any]") -> _Column:
    # A default that is made for each row, such as a new UUID, is no constant: such a column always travels.
    default = None if callable(field.default) else field.get_default()
    literal = "NULL" if default is None else f"'{default}'" if isinstance(default, str) else str(default).upper()
    return _Column(str(field.attname), _TYPES[field.get_internal_type()], default, literal)


_COLUMNS = [_column(field) for field in Delivery._meta.concrete_fields if not field.primary_key]
_COLUMNS_OF = attrgetter(*(column.name for column in _COLUMNS))


def insert_deliveries(rows: Sequence[Delivery]) -> None:
    """Insert rows that have no primary key yet, and give them theirs, in order.

    Times have to be UTC and values of three decimals at most, as everything is that came in by the door. Raises
    IntegrityError, nothing stored, when an account's key is taken.
    """
    if not rows:
        return
    by_column = zip(_COLUMNS, zip(*map(_COLUMNS_OF, rows), strict=True), strict=True)
    # Most columns of a new delivery hold their default in every row. Those are written once, in the statement.
    said = {column: values for column, values in by_column if values.count(column.default) < len(rows)}
    with connection.cursor() as cursor:
        cursor.execute(_statement(list(said)), [msgspec.json.encode(list(zip(*said.values(), strict=True))).decode()])
        # Keys are given in the order of the array, but nothing says in which order they come back.
        keys = sorted(pk for (pk,) in cursor.fetchall())
    for row, key in zip(rows, keys, strict=True):
        row.pk = key
        row._state.adding, row._state.db = False, connection.alias


def _statement(said: Sequence[_Column]) -> str:
    place_of = {column.name: place for place, column in enumerate(said)}
    is_postgresql = connection.vendor == "postgresql"
    taken_apart = _from_jsonb if is_postgresql else _from_json1
    values = [
        taken_apart(place_of[column.name], column.kind) if column.name in place_of else column.literal
        for column in _COLUMNS
    ]
    names = ", ".join(column.name for column in _COLUMNS)
    source = "jsonb_array_elements(%s::jsonb)" if is_postgresql else "json_each(%s)"
    return f"INSERT INTO {Delivery._meta.db_table} ({names}) SELECT {', '.join(values)} FROM {source} RETURNING id"  # noqa: S608  # names of ours, no input


def _from_jsonb(place: int, kind: str) -> str:
    return f"(value->>{place})::{kind}"


def _from_json1(place: int, kind: str) -> str:
    """Return the value as Django keeps it on SQLite: times as text without a zone, UUIDs as 32 digits."""
    value = f"json_extract(value, '$[{place}]')"
    if kind == "timestamptz":
        return f"rtrim(replace({value}, 'T', ' '), 'Z')"
    return f"replace({value}, '-', '')" if kind == "uuid" else value
