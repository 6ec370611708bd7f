"""Stores the rows of one request, or of many, in one commit: two statements on PostgreSQL and on SQLite.

The unique constraint decides what is new, never a look beforehand: two requests with one event at the same moment
both get here, and exactly one of them stores it. All rows travel as one JSON parameter that the database takes apart,
which is the fastest insert that still tells a repeat (no parameter per column to adapt).

Raises django.db.OperationalError and its kin while the database is away or locked; then nothing is stored.
"""

import enum
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, get_type_hints

import msgspec
from django.db import connection, transaction
from msgspec import Struct

from ingest.models import Click, Event
from ingest.parsing import ClickRow, EventRow
from ingest.signals import event_accepted

# A request waits this long for a locked table. On SQLite the connection's own timeout does it.
LOCK_TIMEOUT_MS = 3000


class Outcome(enum.Enum):
    """What became of a row."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"


def store_events(rows: Sequence[EventRow]) -> list[Outcome]:
    """Store events of any sites; return what became of each, in order.

    A row whose site and event_id are taken is a duplicate if the stored event said the same, else a conflict. Sends
    `event_accepted` once per site with something new, inside the transaction.
    """
    with transaction.atomic():
        stored = _insert(_EVENTS, rows)
        taken = _fingerprints(row for row in rows if (row.site_id, row.event_id) not in stored)
        for site_id, count in Counter(site_id for site_id, _ in stored).items():
            event_accepted.send(sender=Event, site_id=site_id, count=count)
    return [_outcome(row, stored, taken) for row in rows]


def store_clicks(rows: Sequence[ClickRow]) -> list[Outcome]:
    """Store clicks of any sites; return what became of each, in order. A visitor's click is stored once."""
    with transaction.atomic():
        stored = _insert(_CLICKS, rows)
    outcomes = []
    for row in rows:
        is_new = (row.site_id, row.msclkid, row.visitor_id) in stored
        stored.discard((row.site_id, row.msclkid, row.visitor_id))
        outcomes.append(Outcome.ACCEPTED if is_new else Outcome.DUPLICATE)
    return outcomes


def _outcome(row: EventRow, stored: set[tuple[object, ...]], taken: dict[tuple[object, ...], str]) -> Outcome:
    """Judge a row and remember it, so that its like further down the same batch is a repeat."""
    key = (row.site_id, row.event_id)
    if key in stored:
        stored.remove(key)
        taken[key] = row.fingerprint
        return Outcome.ACCEPTED
    return Outcome.DUPLICATE if taken[key] == row.fingerprint else Outcome.CONFLICT


def _fingerprints(rows: Iterable[EventRow]) -> dict[tuple[object, ...], str]:
    """Return the fingerprints of the events that are stored under these rows' ids, in one query."""
    losers = list(rows)
    if not losers:
        return {}
    found = Event.objects.filter(
        site_id__in={row.site_id for row in losers}, event_id__in=[row.event_id for row in losers]
    )
    return {
        (site_id, event_id): said for site_id, event_id, said in found.values_list("site_id", "event_id", "fingerprint")
    }


# One table's statement, from the row's fields. jsonb_to_recordset has to be told PostgreSQL's types.
_TYPES: dict[object, str] = {
    int: "bigint",
    str: "text",
    datetime: "timestamptz",
    Decimal | None: "numeric",
    dict[str, Any]: "jsonb",
}


class _Insert:
    def __init__(self, table: str, row: type[Struct], key: tuple[str, ...]) -> None:
        types = {name: _TYPES[kind] for name, kind in get_type_hints(row).items()}
        names, keys = ", ".join(types), ", ".join(key)
        once = f"ON CONFLICT ({keys}) DO NOTHING RETURNING {keys}"
        typed = ", ".join(f"{name} {kind}" for name, kind in types.items())
        # Sorted by key, so that two batches never wait for each other's rows in a circle; numbered before that, so
        # that ids follow the order in which the events were sent.
        self.postgresql = f"""
            INSERT INTO {table} (id, {names})
            SELECT id, {names} FROM (
                SELECT nextval('{table}_id_seq') AS id, said.* FROM jsonb_to_recordset(%s::jsonb) AS said({typed})
            ) AS numbered ORDER BY {keys} {once}"""  # noqa: S608  # names of ours, no input
        extracted = ", ".join(_sqlite_column(name, kind) for name, kind in types.items())
        # "WHERE true" tells SQLite's parser that ON belongs to the insert, not to a join.
        self.sqlite = f"INSERT INTO {table} ({names}) SELECT {extracted} FROM json_each(%s) WHERE true {once}"  # noqa: S608


def _sqlite_column(name: str, kind: str) -> str:
    extracted = f"json_extract(value, '$.{name}')"
    # Django keeps times as text without a zone, and compares them as text.
    return f"rtrim(replace({extracted}, 'T', ' '), 'Z')" if kind == "timestamptz" else extracted


_EVENTS = _Insert(Event._meta.db_table, EventRow, ("site_id", "event_id"))
_CLICKS = _Insert(Click._meta.db_table, ClickRow, ("site_id", "msclkid", "visitor_id"))


def _insert(statement: _Insert, rows: Sequence[EventRow] | Sequence[ClickRow]) -> set[tuple[object, ...]]:
    """Insert what is new; return the keys of what was."""
    if not rows:
        return set()
    said = msgspec.json.encode(rows).decode()
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [str(LOCK_TIMEOUT_MS)])
        cursor.execute(statement.postgresql if connection.vendor == "postgresql" else statement.sqlite, [said])
        return set(cursor.fetchall())
