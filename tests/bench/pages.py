"""Pages over millions of rows: how long the server takes for each, and how many queries.

Asked through Django's own test client in the worker's process, so that it is the server's time alone: middleware, view,
queries and template. PostgreSQL only, which such a customer has.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.bench.frame import VoidRunError, against
from tests.bench.processes import NOWHERE, worker

ROWS = 5_000_000
TIMES = 15
GOAL_MILLISECONDS, GOAL_QUERIES = 50.0, 10


@dataclass(frozen=True, slots=True)
class Opened:
    """A page: its median in milliseconds, the slowest of them, our own CPU's share, and its queries."""

    title: str
    milliseconds: float
    slowest: float
    busy: float
    queries: int


def bench(database_url: str, rows: int, said: Callable[[str], object]) -> list[Opened]:
    """Fill the database and say of each page how long it took. Raises VoidRunError when a page was not answered."""
    with worker(database_url, NOWHERE) as clerk:
        clerk.do("migrate")
        began = time.monotonic()
        clerk.do("fill_millions", rows=rows)
        said(f"  {rows:,} events and as many deliveries, made in {time.monotonic() - began:.0f} s")
        answer = clerk.do("open_pages", times=TIMES)
    if "refused" in answer:
        raise VoidRunError(answer["refused"])
    pages = [Opened(**page) for page in answer["pages"]]
    for line in report(pages):
        said(line)
    return pages


def report(pages: list[Opened]) -> list[str]:
    """Return a line for each page."""
    return [
        f"  {page.title}: {page.milliseconds:.1f} ms (slowest {page.slowest:.1f}), {page.busy:.1f} of them ours,"
        f" {page.queries} queries"
        + against(
            page.milliseconds <= GOAL_MILLISECONDS and page.queries <= GOAL_QUERIES,
            f"{GOAL_MILLISECONDS:g} ms and {GOAL_QUERIES} queries",
        )
        for page in pages
    ]
