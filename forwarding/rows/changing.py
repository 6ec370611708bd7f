"""Writing back many loaded deliveries at once: `bulk_update` builds a branch per row and takes a second a thousand."""

import json
from collections.abc import Collection, Sequence
from typing import Any

from django.db import connection
from django.db.models import Field

from forwarding.models import Delivery

_TABLE = Delivery._meta.db_table


def change_deliveries(rows: Collection[Delivery], fields: Sequence[str]) -> None:
    """Write these fields of rows that were loaded and changed, in one statement whatever their number."""
    if not rows:
        return
    columns = [field for field in Delivery._meta.concrete_fields if field.name in fields]
    said = [{"id": row.pk, **{column.column: _plain(row, column) for column in columns}} for row in rows]
    write = _postgresql if connection.vendor == "postgresql" else _sqlite
    with connection.cursor() as cursor:
        cursor.execute(write(columns), [json.dumps(said, default=str)])


def _plain(row: Delivery, column: "Field[Any, Any]") -> Any:
    return column.get_db_prep_save(getattr(row, column.attname), connection)


def _postgresql(columns: "Sequence[Field[Any, Any]]") -> str:
    typed = ", ".join(f"{column.column} {column.db_type(connection)}" for column in columns)
    given = f"jsonb_to_recordset(%s::jsonb) AS said(id bigint, {typed})"
    return f"UPDATE {_TABLE} SET {_assignments(columns)} FROM {given} WHERE {_TABLE}.id = said.id"  # noqa: S608


def _sqlite(columns: "Sequence[Field[Any, Any]]") -> str:
    names = ", ".join(f"json_extract(value, '$.{name}') AS {name}" for name in ["id", *(c.column for c in columns)])
    given = f"(SELECT {names} FROM json_each(%s)) AS said"  # noqa: S608
    return f"UPDATE {_TABLE} SET {_assignments(columns)} FROM {given} WHERE {_TABLE}.id = said.id"  # noqa: S608


def _assignments(columns: "Sequence[Field[Any, Any]]") -> str:
    return ", ".join(f"{column.column} = said.{column.column}" for column in columns)
