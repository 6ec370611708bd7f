"""The verdict on each row as CSV, in which no cell is a formula."""

import io
from collections.abc import Iterator
from typing import Any

from defusedcsv import csv

from ingest.imports.checking import Verdict
from ingest.imports.columns import HASHED, PLAIN, in_order
from ingest.imports.problems import told, told_note
from ingest.models import Import

# Rows that a person can do something about.
TO_FIX = (Verdict.FIX, Verdict.NO_IDENTIFIER, Verdict.CONFLICT, Verdict.LEFT_OUT, Verdict.NOT_STORABLE)
WORDS = {
    Verdict.NEW: "will be stored",
    Verdict.DUPLICATE: "stored before",
    Verdict.REPEATED: "repeated in this file",
    Verdict.CONFLICT: "something else has this ID",
    Verdict.FIX: "needs a fix",
    Verdict.TOO_OLD: "older than 90 days",
    Verdict.NO_IDENTIFIER: "no click ID, email or phone",
    Verdict.LEFT_OUT: "changed since the check",
    Verdict.NOT_STORABLE: "refused by the database",
}


def report(source: Import, verdicts: tuple[Verdict, ...] = tuple(Verdict)) -> Iterator[str]:
    """Yield the lines of a CSV file: each row with one of these verdicts, its problems, and its cells as kept.

    Hashes are left out, and of rows that were stored the cells are gone: they are events by now.
    """
    columns = [field for field in in_order(source.labels) if field not in (*PLAIN, *HASHED)]
    yield _line(["row", "verdict", "problem", "how to fix", *(source.labels[field] for field in columns)])
    chunks = source.chunks.filter(checked_at__isnull=False).order_by("number")
    for rows, said in chunks.values_list("rows", "verdicts").iterator(chunk_size=1):
        for (number, cells, _), verdict in zip(rows, said, strict=True):
            if verdict["verdict"] in verdicts:
                yield _line([number, *_told(source, verdict), *(cells.get(field, "") for field in columns)])


def _told(source: Import, said: dict[str, Any]) -> list[str]:
    words = [told(code, source.labels.get(column, column), *rest) for column, code, *rest in said.get("faults", [])]
    words += [told_note(code, source.labels.get(column, column)) for column, code in said.get("notes", [])]
    return [
        WORDS[Verdict(said["verdict"])],
        "; ".join(problem.title for problem in words),
        " ".join(problem.fix for problem in words),
    ]


def _line(cells: list[Any]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue()
