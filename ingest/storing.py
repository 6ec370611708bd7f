"""Stores the rows of one request, or of many, with one statement in one commit.

The unique constraint decides what is new, never a look beforehand: two requests with one event at the same moment
both get here, and exactly one of them stores it. All rows travel as one JSON parameter that the database takes apart,
which is the fastest insert that still tells a repeat (no parameter per column to adapt). Adjustments are judged first
by what is known of their orders (`ingest/judging.py`).

Raises django.db.OperationalError and its kin while the database is away or locked; then nothing is stored.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from operator import attrgetter
from typing import Any, get_type_hints

import msgspec
from django.db import connection, transaction
from msgspec import Struct

from ingest.judging import Outcome, Refusal, judge
from ingest.known_orders import known_orders
from ingest.models import Adjustment, Click, Event, Site
from ingest.parsing import AdjustmentRow, ClickRow, EventRow
from ingest.signals import event_accepted

# A request waits this long for a locked table: it is to be answered within three seconds.
LOCK_TIMEOUT_MS = 2500

_Key = tuple[object, ...]


def store_events(rows: Sequence[EventRow]) -> list[Outcome]:
    """Store events of any sites; return what became of each, in order.

    A row whose site and event_id are taken is a duplicate if the stored event said the same, else a conflict. Sends
    `event_accepted` once per site with something new, inside the transaction.
    """
    with transaction.atomic():
        return _store(_EVENTS, rows)


def store_adjustments(rows: Sequence[AdjustmentRow]) -> list[Outcome | Refusal]:
    """Store the adjustments of one site that nothing known speaks against; return what became of each, in order.

    Requests of one site take turns, so that what was judged is still true when it is stored. Sends `event_accepted`
    as for events.
    """
    if not rows:
        return []
    with transaction.atomic():
        take_turn(rows[0].site_id)
        verdicts = judge(rows, known_orders(rows))
        fitting = [row for row, verdict in zip(rows, verdicts, strict=True) if verdict is None]
        outcomes = iter(_store(_ADJUSTMENTS, fitting))
        return [next(outcomes) if verdict is None else verdict for verdict in verdicts]


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


def be_impatient() -> None:
    """Let this connection wait for SQLite's lock no longer than a request may, instead of for ten seconds.

    Past Django's cursor: it is no query. Raises django.db.OperationalError when there is no database.
    """
    if connection.vendor == "sqlite":
        connection.ensure_connection()
        connection.connection.execute(f"PRAGMA busy_timeout = {LOCK_TIMEOUT_MS}")


def take_turn(site_id: int) -> None:
    """Wait for the adjustments or the file of the site that are being stored. Its events are not held up, nor hold up.

    SQLite has no row locks and needs none: its transaction began by taking the one write lock.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(_patience())
    Site.objects.select_for_update(no_key=True).filter(pk=site_id).values_list("pk").first()


def _patience() -> str:
    """Return the statement after which PostgreSQL lets this transaction wait for nobody's lock for long."""
    return f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS:d}"


def _store(statement: "_Insert", rows: Sequence[EventRow] | Sequence[AdjustmentRow]) -> list[Outcome]:
    """Insert what is new, announce it site by site, and tell repeats from contradictions."""
    stored = _insert(statement, rows)
    taken = _fingerprints(statement, (row for row in rows if statement.key_of(row) not in stored))
    for site_id, count in Counter(site_id for site_id, _ in stored).items():
        event_accepted.send(sender=statement.model, site_id=site_id, count=count)
    return [_outcome(statement.key_of(row), row.fingerprint, stored, taken) for row in rows]


def _outcome(key: _Key, fingerprint: str, stored: set[_Key], taken: dict[_Key, str]) -> Outcome:
    """Judge a row and remember it, so that its like further down the same batch is a repeat."""
    if key in stored:
        stored.remove(key)
        taken[key] = fingerprint
        return Outcome.ACCEPTED
    return Outcome.DUPLICATE if taken[key] == fingerprint else Outcome.CONFLICT


def _fingerprints(statement: "_Insert", rows: Iterable[EventRow | AdjustmentRow]) -> dict[_Key, str]:
    """Return the fingerprints of what is stored under these rows' keys, in one query."""
    keys = [statement.key_of(row) for row in rows]
    if not keys:
        return {}
    site, own_id = statement.key
    found = statement.model._default_manager.filter(
        **{f"{site}__in": {site_id for site_id, _ in keys}, f"{own_id}__in": [its_id for _, its_id in keys]}
    )
    return {(site_id, its_id): said for site_id, its_id, said in found.values_list(site, own_id, "fingerprint")}


# One table's statement, from the row's fields. jsonb_to_recordset has to be told PostgreSQL's types.
_TYPES: dict[object, str] = {
    int: "bigint",
    str: "text",
    datetime: "timestamptz",
    Decimal | None: "numeric",
    dict[str, Any]: "jsonb",
}


class _Insert:
    def __init__(self, model: type[Event | Click | Adjustment], row: type[Struct], key: tuple[str, ...]) -> None:
        self.model, self.key, self.key_of = model, key, attrgetter(*key)
        table = model._meta.db_table
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


_EVENTS = _Insert(Event, EventRow, ("site_id", "event_id"))
_CLICKS = _Insert(Click, ClickRow, ("site_id", "msclkid", "visitor_id"))
_ADJUSTMENTS = _Insert(Adjustment, AdjustmentRow, ("site_id", "adjustment_id"))


def _insert(statement: _Insert, rows: Sequence[EventRow] | Sequence[ClickRow] | Sequence[AdjustmentRow]) -> set[_Key]:
    """Insert what is new; return the keys of what was."""
    if not rows:
        return set()
    said = msgspec.json.encode(rows).decode()
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(statement.sqlite, [said])
        else:
            # Both travel at once, and each answers: what is waited for here is paid by all who are waiting.
            cursor.execute(f"{_patience()}; {statement.postgresql}", [said])
            cursor.nextset()
        return set(cursor.fetchall())
