"""CSV files that people download: written piece by piece, in cells that no spreadsheet runs.

Spreadsheets run what looks like a formula, so no cell begins like one; what turns the direction of text is left out.
"""

import io
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from datetime import UTC, datetime

from asgiref.sync import sync_to_async
from defusedcsv import csv
from django.core.handlers.asgi import ASGIRequest
from django.db import connection
from django.http import HttpRequest, StreamingHttpResponse
from django.utils.text import slugify

# What stands before the first row: the mark by which Excel knows UTF-8.
BYTE_ORDER_MARK = "\ufeff"
# Characters that nobody sees: controls, and those that turn the direction of what follows.
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]+")
# How a formula begins, also after blanks and in the wide letters that some spreadsheets read as the narrow ones.
_FORMULA = re.compile(r"\s*[=+\-@|%\uff1d\uff0b\uff0d\uff20]")
_PLAIN_NUMBER = re.compile(r"-?[0-9.,]+", re.ASCII)


def file_name(owner: str, owner_id: str, what: str, now: datetime) -> str:
    """Name a file after whose it is, what is in it and the day: `search-us-forward-logs-2026-11-21.csv`.

    An owner whose name has no Latin letter is called by its id.
    """
    return f"{slugify(owner) or owner_id}-{what}-{now.astimezone(UTC):%Y-%m-%d}.csv"


def streamed(request: HttpRequest, chunks: Iterator[str], name: str) -> StreamingHttpResponse:
    """Answer a file piece by piece, as its reader takes it. `name` needs no escaping."""
    # A server that is asynchronous would read a plain iterator whole before it sends the first byte.
    content = _in_threads(chunks) if isinstance(request, ASGIRequest) else chunks
    return StreamingHttpResponse(
        content,
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def head(names: Sequence[str]) -> str:
    """Return how a file begins: its mark, and the row that names the columns."""
    return BYTE_ORDER_MARK + written([names])


def written(rows: Iterable[Sequence[str]]) -> str:
    """Write rows as lines of CSV. No cell is run: defusedcsv sees to formulas, `safe` also to what begins oddly."""
    text = io.StringIO()
    csv.writer(text).writerows([safe(cell) for cell in row] for row in rows)
    return text.getvalue()


def safe(text: str) -> str:
    """Return a text as a spreadsheet shows it and never runs it."""
    seen = _UNSEEN.sub(" ", text)
    return f"'{seen}" if _FORMULA.match(seen) and not _PLAIN_NUMBER.fullmatch(seen) else seen


def moment(at: datetime | None) -> str:
    """Write a moment of a row, in UTC; nothing for none."""
    return "" if at is None else f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def give_back() -> None:
    """Let others have the connection while the reader takes what was read: a slow one may take minutes."""
    if not connection.in_atomic_block:
        connection.close()


async def _in_threads(chunks: Iterator[str]) -> AsyncIterator[str]:
    """Read the next piece only when the one before was taken, beside the server's loop."""
    while (chunk := await _next(chunks)) is not None:
        yield chunk


@sync_to_async
def _next(chunks: Iterator[str]) -> str | None:
    return next(chunks, None)
