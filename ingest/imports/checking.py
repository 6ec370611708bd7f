"""The verdict on each row of a chunk, by the API's own rules, before anything is stored."""

import enum
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import msgspec
from django.db.models import QuerySet

from ingest.imports.columns import HASHED
from ingest.imports.problems import LEFT_OUT
from ingest.imports.reading import (
    Fault,
    FileFacts,
    Reading,
    Surroundings,
    ids_of_its_minute,
    ids_read_otherwise,
    is_content_id,
    readings_of,
)
from ingest.imports.times import zone_named
from ingest.judging import Outcome, Refusal, judge
from ingest.known_orders import known_orders
from ingest.models import REFUND_EVENT, Adjustment, Click, Consent, Event, Import, ImportFormat
from ingest.parsing import IMPORT, AdjustmentRow, EventRow, Item, SiteFacts, parse_adjustments, parse_events

# Enough of a SHA-256 to tell two contents under one id apart.
FINGERPRINT_CHARS = 16
# In how many other ways the site's latest imports were read that are looked at.
OTHER_WAYS = 4
_LATEST_IMPORTS = 200
_IDS_AT_ONCE = 10_000  # SQLite takes 32,766 parameters


class Verdict(enum.StrEnum):
    """What will become of a row. Only `NEW` ones are stored; `REPEATED` ones stand further up in the same file."""

    NEW = "new"
    DUPLICATE = "duplicate"
    REPEATED = "repeated"
    CONFLICT = "conflict"
    FIX = "fix"
    TOO_OLD = "too_old"
    NO_IDENTIFIER = "no_identifier"
    # Known once storing was tried, and no earlier.
    LEFT_OUT = "left_out"
    NOT_STORABLE = "not_storable"


@dataclass(frozen=True)
class Judged:
    """A row with its verdict; `row` is there when the API's rules let it pass."""

    number: int
    verdict: Verdict
    row: EventRow | AdjustmentRow | None
    faults: Sequence[Fault] = ()
    notes: Sequence[Fault] = ()

    @property
    def own_id(self) -> str:
        """The event's or the adjustment's id; empty without a row."""
        return "" if self.row is None else id_of(self.row)

    def written(self) -> dict[str, Any]:
        """Return what a chunk keeps of it."""
        said = {
            "verdict": self.verdict.value,
            "id": self.own_id,
            "mark": "" if self.row is None else mark_of(self.row),
            "faults": list(self.faults),
            "notes": list(self.notes),
        }
        return {name: value for name, value in said.items() if value}


def id_of(row: EventRow | AdjustmentRow | Event | Adjustment) -> str:
    """Return a row's own id."""
    return row.event_id if isinstance(row, EventRow | Event) else row.adjustment_id


def mark_of(row: EventRow | AdjustmentRow | Event | Adjustment) -> str:
    """Return what two rows with one id have in common if they say the same.

    An id that was made of the content says it all but the value; any other id says nothing.
    """
    if not is_content_id(id_of(row)):
        return row.fingerprint[:FINGERPRINT_CHARS]
    return "" if row.value is None else f"{row.value.normalize():f} {row.currency}"


def judge_rows(
    rows: Iterable[Sequence[Any]],
    source: Import,
    surroundings: Surroundings,
    seen: MutableMapping[str, str],
    now: datetime,
) -> list[Judged]:
    """Return the verdict on each row of a chunk. `seen` has the mark of each id above it, and is added to.

    A bounded number of queries, whatever the rows.
    """
    understood = passed(rows, source, surroundings, now)
    events = [row for _, row in understood if isinstance(row, EventRow)]
    adjustments = [row for _, row in understood if isinstance(row, AdjustmentRow)]
    others = _alike(rows, understood, source, surroundings)
    stored = _stored(source, events, adjustments, {own_id for ids in others.values() for own_id in ids})
    findable = _findable(source, events)
    by_orders = iter(_judge_adjustments(adjustments))
    judged = []
    for reading, row in understood:
        faults, verdict = list(reading.faults), Verdict.FIX
        refusal = next(by_orders) if isinstance(row, AdjustmentRow) else None
        if row is not None:
            verdict, why = _standing(row, others.get(reading.number, {}), seen, stored)
            faults += why
        if verdict is Verdict.NEW and isinstance(row, EventRow):
            verdict = _use(row, findable, surroundings.oldest)
        elif verdict is Verdict.NEW and isinstance(refusal, Refusal):
            verdict = Verdict.FIX
            faults.append((f"adjustment_{refusal.member}", refusal.code))
        elif verdict is Verdict.NEW and refusal is not None:
            verdict = Verdict.DUPLICATE
        if verdict is Verdict.NO_IDENTIFIER:
            left_out: list[Fault] = [note for note in reading.notes if note[1] in LEFT_OUT]
            faults += left_out or [("", "no_identifier")]
        notes = _notes(verdict, row, reading, seen, surroundings)
        judged.append(Judged(reading.number, verdict, row, faults, [] if faults else notes))
        if verdict is Verdict.NEW and row is not None:
            seen[id_of(row)] = mark_of(row)
    return judged


def _notes(
    verdict: Verdict,
    row: EventRow | AdjustmentRow | None,
    reading: Reading,
    seen: Mapping[str, str],
    surroundings: Surroundings,
) -> list[Fault]:
    """Return what is worth knowing of a row that needs no fix."""
    if verdict is Verdict.REPEATED and row is not None:
        return [("value", "repeated_otherwise")] if seen[id_of(row)] != mark_of(row) else []
    if verdict is not Verdict.NEW or not isinstance(row, EventRow):
        return []
    is_forwarded = row.name in surroundings.events or row.name == REFUND_EVENT or row.consent == Consent.DENIED
    return reading.notes if is_forwarded else [("name", "not_mapped"), *reading.notes]


def imported_meanwhile(
    rows: Iterable[Sequence[Any]],
    understood: Sequence[tuple[Reading, EventRow | AdjustmentRow | None]],
    source: Import,
    surroundings: Surroundings,
) -> set[int]:
    """Return the numbers of the rows that another file has brought since the check, written in another way."""
    assert source.confirmed_at is not None
    others = _alike(rows, understood, source, surroundings)
    by_others = Event.objects.exclude(received_at=source.confirmed_at)
    stored = _marks(by_others, source, [own_id for ids in others.values() for own_id in ids])
    return {number for number, ids in others.items() if not stored.keys().isdisjoint(ids)}


def _alike(
    rows: Iterable[Sequence[Any]],
    understood: Sequence[tuple[Reading, EventRow | AdjustmentRow | None]],
    source: Import,
    surroundings: Surroundings,
) -> dict[int, dict[str, str]]:
    """Return the ids that the same conversion may be stored under, for rows without one, and what then is the fault."""
    cells = {number: texts for number, texts, _ in rows}
    imports = source.site.imports.filter(confirmed_at__isnull=False).exclude(pk=source.pk).order_by("-pk")
    ways = dict.fromkeys(imports.values_list("time_zone", "date_order")[:_LATEST_IMPORTS])
    ways.pop((source.time_zone, source.date_order), None)
    mine = FileFacts.of(source)
    files = [replace(mine, zone=zone_named(zone), date_order=order) for zone, order in list(ways)[:OTHER_WAYS]]
    others = {}
    for reading, row in understood:
        if isinstance(row, EventRow) and reading.event is not None:
            its = cells[reading.number]
            names = (
                surroundings.ever_of_goal.get(its["name"].casefold(), ())
                if source.format == ImportFormat.MICROSOFT
                else ()
            )
            others[reading.number] = {
                **dict.fromkeys(ids_of_its_minute(its, reading.event), "seconds_differ"),
                **dict.fromkeys(ids_read_otherwise(its, reading.event, files, names), "read_otherwise"),
            }
    return others


def passed(
    rows: Iterable[Sequence[Any]], source: Import, surroundings: Surroundings, now: datetime
) -> list[tuple[Reading, EventRow | AdjustmentRow | None]]:
    """Send a chunk's rows through the API's door; return each with what it would store, its faults completed."""
    readings = readings_of(rows, FileFacts.of(source), surroundings, now)
    site = SiteFacts(source.site_id, source.site.currency)
    result: dict[int, EventRow | AdjustmentRow | None] = {}
    events = [reading for reading in readings if reading.event is not None]
    if events:
        body = msgspec.json.encode({"events": [reading.event for reading in events]})
        items: Sequence[Item[EventRow]] = parse_events(body, site, IMPORT, now)
        for reading, item in zip(events, items, strict=True):
            result[reading.number] = item.row
            reading.faults += _faults(item, "")
    corrections = [reading for reading in readings if reading.adjustment is not None]
    if corrections:
        body = msgspec.json.encode({"adjustments": [reading.adjustment for reading in corrections]})
        for reading, its in zip(corrections, parse_adjustments(body, site, IMPORT, now), strict=True):
            result[reading.number] = its.row
            reading.faults += _faults(its, "adjustment_")
    return [(reading, result.get(reading.number)) for reading in readings]


def _faults(item: Item[EventRow] | Item[AdjustmentRow], prefix: str) -> list[Fault]:
    """Return what the door said of an item by the columns of a file."""
    if item.row is not None:
        return []  # nothing of a file is left out there: what could be was hashed before
    members = [error.field.removeprefix(f"{item.path}.").rpartition(".")[2] for error in item.errors]
    columns = [_COLUMNS.get(prefix + member, prefix + member) for member in members]
    return [(column, error.code) for column, error in zip(columns, item.errors, strict=True)]


# Members whose column has another name.
_COLUMNS = {"ad_storage": "consent", "adjustment_occurred_at": "adjustment_time"}


def _standing(
    row: EventRow | AdjustmentRow, others: Mapping[str, str], seen: Mapping[str, str], stored: Mapping[str, str]
) -> tuple[Verdict, list[Fault]]:
    """Compare a row with what has its id, stored or further up in the file."""
    own, mark = id_of(row), mark_of(row)
    if own in stored:
        if stored[own] == mark:
            return Verdict.DUPLICATE, []
        fault = ("value", "imported_otherwise") if is_content_id(own) else ("event_id", "conflict")
        return Verdict.CONFLICT, [fault]
    if own in seen:
        if seen[own] == mark or is_content_id(own):
            return Verdict.REPEATED, []
        return Verdict.CONFLICT, [("event_id", "conflict")]
    code = next((others[other] for other in others if other in stored), "")
    return (Verdict.CONFLICT, [("occurred_at", code)]) if code else (Verdict.NEW, [])


def _use(row: EventRow, findable: "_Findable", oldest: datetime) -> Verdict:
    """Say whether Microsoft could count an event that nothing else speaks against."""
    if row.name == REFUND_EVENT or row.consent == Consent.DENIED:
        return Verdict.NEW
    if row.occurred_at <= oldest:
        return Verdict.TOO_OLD
    if row.msclkid or row.email_sha256 or row.phone_sha256 or findable.has_click_of(row):
        return Verdict.NEW
    return Verdict.NO_IDENTIFIER


def _judge_adjustments(rows: Sequence[AdjustmentRow]) -> list[Refusal | Outcome | None]:
    return judge(rows, known_orders(rows)) if rows else []


def _stored(
    source: Import, events: Sequence[EventRow], adjustments: Sequence[AdjustmentRow], others: Collection[str]
) -> dict[str, str]:
    """Return the marks of what is stored under the rows' ids, or under others."""
    stored = _marks(Event.objects.all(), source, [*map(id_of, events), *others])
    if adjustments:
        said = Adjustment.objects.filter(site=source.site_id, adjustment_id__in=[*map(id_of, adjustments)])
        for each in said.only("adjustment_id", "fingerprint", "value", "currency"):
            stored[each.adjustment_id] = mark_of(each)
    return stored


def _marks(events: QuerySet[Event], source: Import, ids: Sequence[str]) -> dict[str, str]:
    """Return the marks of those of the events that have these ids."""
    marks = {}
    for first in range(0, len(ids), _IDS_AT_ONCE):
        found = events.filter(site=source.site_id, event_id__in=ids[first : first + _IDS_AT_ONCE])
        for event in found.only("event_id", "fingerprint", "value", "currency"):
            marks[event.event_id] = mark_of(event)
    return marks


@dataclass(frozen=True)
class _Findable:
    """The ids of rows without a click id under which the site knows one."""

    by: Mapping[str, set[str]]

    def has_click_of(self, row: EventRow) -> bool:
        return any(getattr(row, column) in ids for column, ids in self.by.items())


def _findable(source: Import, rows: Sequence[EventRow]) -> _Findable:
    without = [row for row in rows if not (row.msclkid or row.email_sha256 or row.phone_sha256)]
    if not without:
        return _Findable({})
    wanted = {
        column: {getattr(row, column) for row in without} - {""}
        for column in ("transaction_id", "external_id", "visitor_id", "session_id")
    }
    clicks, events = Click.objects.filter(site=source.site_id), Event.objects.filter(site=source.site_id)
    found: dict[str, set[str]] = {}
    for column in ("transaction_id", "external_id"):
        ids = events.filter(**{f"{column}__in": wanted[column]}).exclude(**{column: ""}).exclude(msclkid="")
        found[column] = set(ids.values_list(column, flat=True)) if wanted[column] else set()
    for column in ("visitor_id", "session_id"):
        caught = clicks.filter(**{f"{column}__in": wanted[column]}).exclude(**{column: ""})
        found[column] = set(caught.values_list(column, flat=True)) if wanted[column] else set()
    return _Findable(found)


def add_up(source: Import, judged: Sequence[Judged], rows: Iterable[Sequence[Any]]) -> None:
    """Add a chunk's verdicts and problems to its import, which is not saved."""
    counts = Counter(source.verdicts)
    counts.update(each.verdict.value for each in judged)
    source.verdicts = dict(counts)
    cells = {number: texts for number, texts, _ in rows}
    for each in judged:
        for fault in each.faults[:1]:
            add_problem(source, each.number, cells[each.number], fault)
        for note in each.notes:
            add_problem(source, each.number, cells[each.number], note, is_note=True)


def add_problem(source: Import, number: int, cells: Mapping[str, str], fault: Fault, *, is_note: bool = False) -> None:
    """Count a row to its problem, of which it is the example if it is the first. The import is not saved."""
    column, code, *choices = fault
    group = source.problems.setdefault(
        ":".join((code, column, *choices, *["note"] * is_note)),
        {
            "code": code, "column": column, "choices": choices, "is_note": is_note,
            "count": 0, "row": number, "example": _example(cells, column),
        },
    )  # fmt: skip
    group["count"] += 1


def _example(cells: Mapping[str, str], column: str) -> str:
    """Return what a person recognises a row by: the cell at fault, or the order's id."""
    names = ("transaction_id", "event_id") if column in HASHED else (column, "transaction_id", "event_id")
    return next((cells[name] for name in names if cells.get(name)), "")[:60]
