"""What a worker does with an import: one chunk at a time, each in one transaction, under the lock of the import.

Killed anywhere, the next worker goes on with the first chunk that is not done; two at once take turns or give way.
"""

from collections import ChainMap, Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from django.db import transaction

from convultra import failpoints
from ingest import storing
from ingest.committing import store_isolating
from ingest.imports.checking import (
    Judged,
    Verdict,
    add_problem,
    add_up,
    id_of,
    imported_meanwhile,
    judge_rows,
    mark_of,
    passed,
)
from ingest.imports.reading import Reading, Surroundings
from ingest.imports.uploading import note
from ingest.judging import Outcome, Refusal
from ingest.models import Import, ImportChunk
from ingest.parsing import AdjustmentRow, EventRow

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.db.models import QuerySet

Status = Import.Status
# Beside the outcomes of the API: understood in another way than it was confirmed, and refused by the database.
REFUSED = "refused"
NOT_STORABLE = "not_storable"
# Outcomes after which a row is no event, against what its check had promised.
_LEFT_OUT = {
    REFUSED: Verdict.LEFT_OUT,
    Outcome.CONFLICT.value: Verdict.LEFT_OUT,
    NOT_STORABLE: Verdict.NOT_STORABLE,
}


class Checker:
    """Checks an import chunk after chunk. Remembers the ids of the rows above, and looks them up where it cannot.

    One of another status than CHECKING keeps it: that is a dry run.
    """

    def __init__(self, status: str = Status.CHECKING) -> None:
        self._status = status
        self._seen: dict[str, str] = {}
        self._upto = 0

    def check(self, import_id: int, surroundings: Surroundings, now: datetime) -> bool:
        """Check the next chunk; return whether there may be another.

        It is judged before the transaction: SQLite has one write lock, and everybody else waits for it.
        """
        source = Import.objects.select_related("site").filter(pk=import_id, status=self._status).first()
        if source is None:
            return False
        chunk = _unchecked(source).first()
        judged: list[Judged] = []
        # What this chunk adds to the rows above is known once it is committed: another worker may come first.
        seen: ChainMap[str, str] = ChainMap({}, self._seen)
        if chunk is not None:
            self._remember(source, chunk.number)
            judged = judge_rows(chunk.rows, source, surroundings, seen, now)
        with transaction.atomic():
            source = _locked(import_id, self._status)
            if source is None:
                return False
            if _unchecked(source).values_list("pk", flat=True).first() != (chunk and chunk.pk):
                return True
            if chunk is None:
                if self._status == Status.CHECKING:
                    _end_check(source, now)
                return False
            chunk.verdicts, chunk.checked_at = [each.written() for each in judged], now
            chunk.save(update_fields=["verdicts", "checked_at"])
            add_up(source, judged, chunk.rows)
            source.checked_rows += len(judged)
            source.save(update_fields=["checked_rows", "verdicts", "problems"])
        self._seen |= seen.maps[0]
        self._upto = chunk.number + 1
        return True

    def _remember(self, source: Import, number: int) -> None:
        """Know every row above a chunk, also those that another worker has checked."""
        above = source.chunks.filter(number__gte=self._upto, number__lt=number).order_by("number")
        for verdicts in above.values_list("verdicts", flat=True).iterator(chunk_size=1):
            for said in verdicts:
                if said["verdict"] == Verdict.NEW:
                    self._seen[said["id"]] = said.get("mark", "")


def _unchecked(source: Import) -> "QuerySet[ImportChunk]":
    return source.chunks.filter(checked_at__isnull=True).order_by("number")


def _end_check(source: Import, now: datetime) -> None:
    """Let the import wait for a person, or end it where there is nothing to confirm."""
    ended = {"status": Status.CHECKED} if source.to_store else {"status": Status.DONE, "finished_at": now}
    Import.objects.filter(pk=source.pk).update(**ended)


def store(import_id: int, surroundings: Surroundings, now: datetime) -> bool:
    """Store the next chunk of a confirmed import; return whether there was one.

    Its rows and its mark are one commit. A row that would now be understood in another way than it was confirmed, as
    its goal was mapped anew, is refused, and so is one that another file has brought since. One that the database
    refuses holds up no other.
    """
    with transaction.atomic():
        source = _locked(import_id, Status.IMPORTING)
        if source is None:
            return False
        assert source.confirmed_at is not None
        chunk = source.chunks.filter(stored_at__isnull=True).order_by("number").first()
        if chunk is None:
            Import.objects.filter(pk=source.pk).update(status=Status.DONE, finished_at=now)
            return False
        promised = {
            row[0]: (said["id"], said.get("mark", ""))
            for row, said in zip(chunk.rows, chunk.verdicts, strict=True)
            if said["verdict"] == Verdict.NEW
        }
        rows = [row for row in chunk.rows if row[0] in promised]
        storing.take_turn(source.site_id)  # or two files with one sale could both be the first
        understood = passed(rows, source, surroundings, source.confirmed_at)
        late = imported_meanwhile(rows, understood, source, surroundings)
        outcomes = _store([(reading, row) for reading, row in understood if reading.number not in late], promised)
        failpoints.reach(failpoints.HALF_IMPORTED)
        counts = Counter(source.outcomes)
        counts.update(outcomes.values())
        source.outcomes, source.stored_rows = dict(counts), source.stored_rows + len(promised)
        left_out = {number: _LEFT_OUT[outcome] for number, outcome in outcomes.items() if outcome in _LEFT_OUT}
        _tell_left_out(source, chunk, left_out)
        source.save(update_fields=["outcomes", "stored_rows", "problems"])
        # What was taken is an event by now; kept is only what a person may want to see again.
        taken = promised.keys() - left_out
        chunk.rows = [[*row[:1], {}, []] if row[0] in taken else row for row in chunk.rows]
        chunk.stored_at = now
        chunk.save(update_fields=["rows", "verdicts", "stored_at"])
    return True


def confirm(source: Import, actor: "User | None", now: datetime) -> bool:
    """Let the rows that can be stored be stored; False when the import does not wait for that any more."""
    with transaction.atomic():
        confirmed = Import.objects.filter(pk=source.pk, status=Status.CHECKED)
        if not confirmed.update(status=Status.IMPORTING, confirmed_at=now, rung_at=None, count_at=now):
            return False
        note(source, "import.confirm", actor, now, {"rows": source.verdicts.get(Verdict.NEW, 0)})
    return True


def cancel(source: Import, actor: "User | None", now: datetime) -> bool:
    """End an import; what is stored by then stays. False when it has ended before."""
    with transaction.atomic():
        running = Import.objects.filter(pk=source.pk, status__in=(Status.CHECKING, Status.CHECKED, Status.IMPORTING))
        if not running.update(status=Status.CANCELLED, finished_at=now):
            return False
        source.refresh_from_db()
        source.chunks.filter(stored_at__isnull=True).delete()
        note(source, "import.cancel", actor, now, {"stored": source.outcomes.get(Outcome.ACCEPTED.value, 0)})
    return True


def _locked(import_id: int, status: str) -> Import | None:
    """Return the import for this worker alone; None where another has it or it is in another state.

    SQLite has no row locks and needs none: its transaction began by taking the one write lock.
    """
    free = Import.objects.select_for_update(skip_locked=True, of=("self",)).select_related("site")
    return free.filter(pk=import_id, status=status).first()


def _store(
    understood: Sequence[tuple[Reading, EventRow | AdjustmentRow | None]], promised: Mapping[int, tuple[str, str]]
) -> dict[int, str]:
    """Return the outcome of each row by its number."""
    kept = set(promised.values())
    rows = [(reading.number, row) for reading, row in understood if row is not None and _promise(row) in kept]
    events = [(number, row) for number, row in rows if isinstance(row, EventRow)]
    adjustments = [(number, row) for number, row in rows if isinstance(row, AdjustmentRow)]
    outcomes = [
        *store_isolating(storing.store_events, [row for _, row in events]),
        *store_isolating(storing.store_adjustments, [row for _, row in adjustments]),
    ]
    numbers = [number for number, _ in (*events, *adjustments)]
    told = {number: _told(outcome) for number, outcome in zip(numbers, outcomes, strict=True)}
    return dict.fromkeys(promised, REFUSED) | told


def _told(outcome: Outcome | Refusal) -> str:
    if isinstance(outcome, Outcome):
        return outcome.value
    return NOT_STORABLE if outcome.code == NOT_STORABLE else REFUSED


def _tell_left_out(source: Import, chunk: ImportChunk, left_out: Mapping[int, Verdict]) -> None:
    """Give the rows that were not stored after all their verdict; the import and the chunk are not saved."""
    for place, (number, cells, _) in enumerate(chunk.rows):
        if verdict := left_out.get(number):
            chunk.verdicts[place] |= {"verdict": verdict.value, "faults": [("", verdict.value)]}
            add_problem(source, number, cells, ("", verdict.value))


def _promise(row: EventRow | AdjustmentRow) -> tuple[str, str]:
    return id_of(row), mark_of(row)
