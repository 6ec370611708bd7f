"""Keeps grants, goals, accounts, clicks and bookings across restarts: an append-only file of JSON lines.

Each line is one changed row, `["Goal", {...}]`, and the last line of an identity wins. The first line says when the
books were opened, so that a goal which was 27 minutes old then ages on. A line is flushed before the answer leaves. A
torn last line, the mark of a kill, is cut off on opening; any other damage stops the start.
"""

import json
from collections.abc import Callable
from dataclasses import fields
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from types import UnionType
from typing import TypeAlias, cast

from integrations.microsoft_ads.emulator.books import (
    Account,
    Booking,
    Books,
    Call,
    Click,
    Goal,
    Grant,
    MatchKey,
    Received,
    Row,
    Settings,
)
from integrations.microsoft_ads.emulator.wire import JsonObject, format_moment
from integrations.microsoft_ads.emulator.world import demo_books

KEPT: dict[str, type[Row]] = {kind.__name__: kind for kind in (Account, Goal, Click, Grant, Booking, Received, Call)}
Annotation: TypeAlias = type | UnionType | str


class DamagedJournalError(Exception):
    """A line of the journal cannot be read, and it is not the last."""


def open_books(path: Path, now: datetime, settings: Settings | None = None) -> Books:
    """Return the demo's books with everything the journal says, recording what comes.

    Raises DamagedJournalError, OSError.
    """
    lines = _whole_lines(path)
    books = demo_books(_opened_at(lines[0]) if lines else now, settings)
    for number, line in enumerate(lines[1:], start=2):
        try:
            books.place(_row(line))
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedJournalError(f"{path}, line {number} cannot be read: {error}") from error
    file = path.open("a", encoding="utf-8")
    if not lines:
        file.write(json.dumps(["opened", format_moment(now)]) + "\n")
        file.flush()

    def record(row: Row) -> None:
        if type(row).__name__ in KEPT:
            file.write(json.dumps([type(row).__name__, _to_json(row)], default=_plain) + "\n")
            file.flush()

    books.recorder = record
    books.close = file.close
    return books


def _whole_lines(path: Path) -> list[str]:
    if not path.exists():
        return []
    raw = path.read_bytes()
    whole = raw[: raw.rfind(b"\n") + 1]
    if len(whole) < len(raw):
        with path.open("r+b") as file:
            file.truncate(len(whole))
    return whole.decode("utf-8", "replace").split("\n")[:-1]


def _opened_at(line: str) -> datetime:
    try:
        kind, moment = json.loads(line)
        if kind != "opened":
            raise ValueError(f"{kind!r} is not where a journal begins")
        return datetime.fromisoformat(moment)
    except (ValueError, TypeError) as error:
        raise DamagedJournalError(f"its first line cannot be read: {error}") from error


def _to_json(row: Row) -> JsonObject:
    values: JsonObject = {field.name: getattr(row, field.name) for field in fields(row)}
    # Our own amounts are kept as text; numbers inside an uploaded row stay numbers.
    return {name: str(value) if isinstance(value, Decimal) else value for name, value in values.items()}


def _plain(value: object) -> str | float:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(f"{type(value).__name__} cannot be kept")


def _row(line: str) -> Row:
    name, values = json.loads(line, parse_float=Decimal)
    kind = KEPT[name]
    build = cast("Callable[..., Row]", kind)
    return build(**{field.name: _read(field.type, values[field.name]) for field in fields(kind)})


def _read(annotation: Annotation, value: object) -> object:
    if value is None:
        return None
    if annotation in (datetime, datetime | None):
        return datetime.fromisoformat(str(value))
    if annotation in (Decimal, Decimal | None):
        return Decimal(str(value))
    if annotation == MatchKey:
        return _read_key(value)
    if annotation == tuple[str, ...] and isinstance(value, list):
        return tuple(str(item) for item in value)
    return value


def _read_key(value: object) -> MatchKey:
    if not isinstance(value, list) or len(value) != 6:
        raise ValueError("a match key has six parts")
    customer_id, click_id, name, moment, email_hash, phone_hash = (str(part) for part in value)
    return customer_id, click_id, name, datetime.fromisoformat(moment), email_hash, phone_hash
