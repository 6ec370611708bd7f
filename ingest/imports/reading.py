"""From a kept row to what the API would have been sent: an event, or a correction of one. Pure."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from decimal import Decimal
from functools import cached_property
from typing import Any

import msgspec

from ingest.click_ids import is_click_id
from ingest.imports.problems import LEFT_OUT
from ingest.imports.times import TimeRefused, read_moment, zone_named
from ingest.models import REFUND_EVENT, AdjustmentType, Import, ImportFormat

_NUMBER = re.compile(r"-?[0-9]{1,64}(\.[0-9]{1,64})?", re.ASCII)
CURRENCY_CHARS = 3
_THOUSANDS_OR_DECIMALS = re.compile(r"-?[0-9]{1,3}\.[0-9]{3}", re.ASCII)
# A time without its seconds and a date without its time are read alike; only the latter has no colon.
_HAS_TIME = re.compile(r"\d:\d\d")
_HAS_SECONDS = re.compile(r"\d:\d\d:\d\d")
# How a spreadsheet shows a long number, and then saves it: without the digits that told it from others.
_SPOILT = re.compile(r"[0-9]([.,][0-9]+)?E\+[0-9]{2,3}", re.ASCII | re.IGNORECASE)
_IDS = ("event_id", "transaction_id", "external_id", "visitor_id", "session_id")
# By whom a conversion is known where nothing of its own tells it from others: the first of these that there is.
_WHO = ("msclkid", "email_sha256", "phone_sha256", "external_id", "visitor_id", "session_id")
_CONTENT_ID = re.compile(r"csv-[0-9a-f]{40}", re.ASCII)

# A column, a code of `problems.py`, and for some the names that a person may choose from.
Fault = tuple[str, str] | tuple[str, str, str]


@dataclass(frozen=True)
class FileFacts:
    """What all rows of a file have in common."""

    format: str
    zone: tzinfo
    date_order: str
    delimiter: str
    currency: str  # of values that name none

    @classmethod
    def of(cls, source: Import) -> "FileFacts":
        """Return an import's."""
        zone = zone_named(source.time_zone)
        return cls(source.format, zone, source.date_order, source.delimiter, source.site.currency)


@dataclass(frozen=True)
class Original:
    """The conversion that a correction names: by its goal, its click id, and its time to the second."""

    goal_name: str
    msclkid: str
    occurred_at: datetime


@dataclass(frozen=True)
class Surroundings:
    """What a file meets that ingest does not know of, handed in: what it may be matched with at Microsoft."""

    # The events mapped to each goal in the site's active accounts.
    events_of_goal: Mapping[str, Collection[str]]
    # The event ids of the conversions that each of these names.
    find: Callable[[Sequence[Original]], Sequence[Sequence[str]]]
    # Since when Microsoft takes conversions.
    oldest: datetime
    # The events that were ever mapped to each goal, by the goal's name without regard to case.
    ever_of_goal: Mapping[str, Collection[str]] = field(default_factory=dict)

    @cached_property
    def events(self) -> frozenset[str]:
        """The events that are forwarded to any account."""
        return frozenset(event for events in self.events_of_goal.values() for event in events)

    def meant_by(self, name: str) -> list[str]:
        """Return the events that a goal's or an event's own name may mean, sorted.

        The exact spelling decides, a goal's before an event's; only a name that nothing is spelled like may differ in
        case.
        """
        exact = self.events_of_goal.get(name)
        if exact is not None and name not in exact:
            return sorted(exact)
        return [name] if name in self.events else self._meant_in_any_case.get(name.casefold(), [])

    @cached_property
    def _meant_in_any_case(self) -> dict[str, list[str]]:
        meant: dict[str, set[str]] = defaultdict(set)
        for goal, events in self.events_of_goal.items():
            meant[goal.casefold()].update(events)
        for event in self.events:
            meant[event.casefold()].add(event)
        return {name: sorted(events) for name, events in meant.items()}


@dataclass
class Reading:
    """A row as it was understood: what the API is sent, or why there is nothing to send."""

    number: int
    event: dict[str, Any] | None = None
    adjustment: dict[str, Any] | None = None
    original: Original | None = None
    faults: list[Fault] = field(default_factory=list)
    notes: list[Fault] = field(default_factory=list)


def read_row(kept: Sequence[Any], file: FileFacts, surroundings: Surroundings, now: datetime) -> Reading:
    """Understand one row of an `ImportChunk`."""
    number, cells, faults = kept
    reading = Reading(number)
    for column, code in faults:
        (reading.notes if code in LEFT_OUT else reading.faults).append((column, code))
    reading.faults += [(column, "id_spoilt") for column in _IDS if _SPOILT.fullmatch(cells.get(column, ""))]
    if cells.get("adjustment_type"):
        _read_adjustment(reading, cells, file, surroundings, now)
    else:
        _read_event(reading, cells, file, surroundings, now)
    return reading


def _read_event(
    reading: Reading, cells: Mapping[str, str], file: FileFacts, surroundings: Surroundings, now: datetime
) -> None:
    faults = reading.faults
    event: dict[str, Any] = {
        "event_id": cells.get("event_id"),
        "name": _name(cells, file, surroundings, faults),
        "occurred_at": _time("occurred_at", cells, file, now, faults),
        "value": _value("value", cells, file, faults),
        "currency": cells.get("currency"),
        "consent": {"ad_storage": cells["consent"].lower()} if cells.get("consent") else None,
        "user_data": {name: cells[name] for name in ("email_sha256", "phone_sha256") if name in cells} or None,
    }
    for column in ("transaction_id", "external_id", "visitor_id", "session_id", "msclkid"):
        event[column] = cells.get(column)
    if cells.get("msclkid") and not is_click_id(cells["msclkid"]):
        faults.append(("msclkid", "click_id_malformed"))
    if event["name"] == REFUND_EVENT and not cells.get("transaction_id"):
        faults.append(("transaction_id", "refund_without_order"))
    if faults:
        return
    reading.event = {member: said for member, said in event.items() if said is not None}
    if "event_id" not in cells:
        reading.event["event_id"] = content_id(reading.event)
        if not _is_told_by_order(reading.event) and not _HAS_TIME.search(cells["occurred_at"]):
            reading.notes.append(("occurred_at", "date_without_time"))


def _read_adjustment(
    reading: Reading, cells: Mapping[str, str], file: FileFacts, surroundings: Surroundings, now: datetime
) -> None:
    faults = reading.faults
    kind = cells["adjustment_type"].lower()
    if kind not in AdjustmentType.values:
        faults.append(("adjustment_type", "type_unknown"))
    _name(cells, file, surroundings, faults)
    happened_at = _time("occurred_at", cells, file, now, faults)
    adjusted_at = _time("adjustment_time", cells, file, now, faults)
    value = _value("adjustment_value", cells, file, faults)
    if kind == AdjustmentType.RESTATE and value is None and "adjustment_value" not in cells:
        faults.append(("adjustment_value", "required"))
    if not is_click_id(cells.get("msclkid", "")):
        faults.append(("msclkid", "click_id_malformed" if cells.get("msclkid") else "required"))
    if faults:
        return
    reading.original = Original(cells["name"], cells["msclkid"], datetime.fromisoformat(happened_at))
    adjustment = {
        "type": kind,
        "value": value,
        "currency": (cells.get("adjustment_currency") or file.currency) if value is not None else None,
        "occurred_at": adjusted_at,
    }
    reading.adjustment = {member: said for member, said in adjustment.items() if said is not None}


def content_id(event: Mapping[str, Any]) -> str:
    """Return the id of an event that has none: the same for the same conversion, however a file writes it.

    It is made of what makes one conversion to Microsoft, name, second and whose it is, and of the order. Not of the
    value: another one is told, and is no second conversion. But refunds of an order may share a second: theirs counts.
    """
    person = {**event, **event.get("user_data", {})}
    who = next(([column, person[column].lower()] for column in _WHO if column in person), [])
    said = [event["name"], event["occurred_at"], event.get("transaction_id"), who]
    if event["name"] == REFUND_EVENT:
        said[3] = _amount(event)
    return _id_of(said)


def is_content_id(own_id: str) -> bool:
    """Say whether an id was made of what its row says."""
    return _CONTENT_ID.fullmatch(own_id) is not None


def ids_read_otherwise(
    cells: Mapping[str, str], event: Mapping[str, Any], files: Iterable[FileFacts], names: Iterable[str]
) -> set[str]:
    """Return what a row's id would be with its time read as in these files, or its event of one of these names.

    None for a row that brings its id.
    """
    if not is_content_id(event["event_id"]):
        return set()
    times = {event["occurred_at"]}
    for file in files:
        with suppress(TimeRefused):
            times.add(read_moment(cells["occurred_at"], file.zone, file.date_order).isoformat())
    named = {event["name"], *names}
    return {content_id({**event, "name": name, "occurred_at": at}) for name in named for at in times} - {
        event["event_id"]
    }


def ids_of_its_minute(cells: Mapping[str, str], event: Mapping[str, Any]) -> set[str]:
    """Return what a row's id would be if a spreadsheet had not cut its seconds off, or had cut them off.

    None for a row that brings its id, or an order's.
    """
    if _is_told_by_order(event) or not is_content_id(event["event_id"]) or not _HAS_TIME.search(cells["occurred_at"]):
        return set()
    at = datetime.fromisoformat(event["occurred_at"])
    seconds = (0,) if _HAS_SECONDS.search(cells["occurred_at"]) else range(1, 60)
    times = [at.replace(second=second).isoformat() for second in seconds]
    return {content_id({**event, "occurred_at": time}) for time in times} - {event["event_id"]}


def _is_told_by_order(event: Mapping[str, Any]) -> bool:
    """Say whether events of the same order are one conversion, whenever they say that they happened."""
    return "transaction_id" in event and event["name"] != REFUND_EVENT


def _adjustment_id(adjustment: Mapping[str, Any]) -> str:
    said = [adjustment.get(member) for member in ("type", "event_id", "occurred_at", "currency")]
    return _id_of([*said, _amount(adjustment)])


def _amount(said: Mapping[str, Any]) -> str | None:
    return str(Decimal(said["value"]).normalize()) if "value" in said else None


def _id_of(said: Sequence[object]) -> str:
    return f"csv-{hashlib.sha256(msgspec.json.encode(said)).hexdigest()[:40]}"


def _name(cells: Mapping[str, str], file: FileFacts, surroundings: Surroundings, faults: list[Fault]) -> str:
    """Return the event's name. In Microsoft's template a goal is named, whose event is wanted."""
    name = cells.get("name", "")
    if not name:
        _missing("name", faults)
        return ""
    if file.format != ImportFormat.MICROSOFT:
        return name
    events = surroundings.meant_by(name)
    if len(events) == 1:
        return events[0]
    faults.append(("name", "goal_of_several", ", ".join(events)) if events else ("name", "goal_unknown"))
    return ""


def _time(column: str, cells: Mapping[str, str], file: FileFacts, now: datetime, faults: list[Fault]) -> str:
    """Return a moment in ISO 8601 with its zone; empty after a fault."""
    text = cells.get(column, "")
    if not text:
        _missing(column, faults)
        return ""
    try:
        moment = read_moment(text, file.zone, file.date_order)
    except TimeRefused as refused:
        faults.append((column, refused.code))
        return ""
    if moment > now and not _HAS_TIME.search(text):
        faults.append((column, "day_not_over"))
    return moment.isoformat()


def _value(column: str, cells: Mapping[str, str], file: FileFacts, faults: list[Fault]) -> str | None:
    """Return a number as it was written. What a separator could make ten times as much is never guessed."""
    text = cells.get(column, "")
    if not text:
        return None
    if _NUMBER.fullmatch(text) is None:
        looks_like_money = any(map(str.isdigit, text)) and sum(map(str.isalpha, text)) <= CURRENCY_CHARS
        faults.append((column, "value_separators" if looks_like_money else "value_malformed"))
    elif file.delimiter != "," and _THOUSANDS_OR_DECIMALS.fullmatch(text):
        # Where spreadsheets separate cells by anything else, the comma is for decimals and the full stop for thousands.
        faults.append((column, "value_unclear"))
    return text


def _missing(column: str, faults: list[Fault]) -> None:
    """Say that a cell is empty, unless it only seems so because what it held cannot be kept."""
    if not any(column == faulty for faulty, *_ in faults):
        faults.append((column, "required"))


def readings_of(
    rows: Iterable[Sequence[Any]], file: FileFacts, surroundings: Surroundings, now: datetime
) -> list[Reading]:
    """Understand the rows of a chunk, and find the conversions that its corrections name."""
    readings = [read_row(row, file, surroundings, now) for row in rows]
    named = [(reading, reading.original) for reading in readings if reading.original is not None]
    found = surroundings.find([original for _, original in named]) if named else []
    for (reading, _), event_ids in zip(named, found, strict=True):
        assert reading.adjustment is not None
        if len(event_ids) == 1:
            reading.adjustment["event_id"] = event_ids[0]
            reading.adjustment["adjustment_id"] = _adjustment_id(reading.adjustment)
        else:
            reading.adjustment = None
            reading.faults.append(("", "original_unclear" if event_ids else "original_unknown"))
    return readings
