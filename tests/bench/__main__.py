"""`python -m tests.bench`: measures this machine's Convultra against ceilings of the same run. docs/performance.md."""

import argparse
import os
import platform
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

import django

from tests.bench import backlog, databases, freshness, ingest, memory, pages
from tests.bench.frame import VoidRunError
from tests.bench.tools import MissingToolError

MIN_ROUNDS = 3
QUICK_ROWS, MAX_ROWS = 2_000, 200_000
QUICK_FRESHNESS_SECONDS, QUICK_INGEST_SECONDS, QUICK_EVENTS = 3, 1, 5_000
QUICK_PAGE_ROWS = 20_000
QUICK_SECONDS, FULL_SECONDS = 120, 3_600
CASES = ("backlog", "freshness", "ingest", "memory", "pages")
# Its rows are made by PostgreSQL, which a customer with millions of them has.
POSTGRES_ONLY = ("pages",)
SQLITE = "SQLite"
SOAK = "soak"  # five minutes on each database, so only when it is asked for


def main() -> int:
    """Run every case on every database; return 1 when a run was void or a program is missing."""
    given = _arguments()
    _end_after(QUICK_SECONDS if given.quick else FULL_SECONDS)
    print(
        f"{given.rows:,} conversions, {backlog.ACCOUNTS} accounts, {given.rounds} rounds; {os.cpu_count()} processors,"
        f" Python {platform.python_version()}, Django {django.__version__}"
    )
    missing = False
    for case in given.case:
        title, bench = _cases(given)[case]
        for name, url in _databases(given):
            if case in POSTGRES_ONLY and name == SQLITE:
                continue
            _say(f"{name}: {title}")
            try:
                bench(url)
            except VoidRunError as error:
                print(f"VOID: {error}", file=sys.stderr)
                return 1
            except MissingToolError as error:
                print(f"MISSING: {error}", file=sys.stderr)
                missing = True
    if given.quick:
        print("A quick run shows that the bench works. It measures nothing: leave --quick out for that.")
    return int(missing)


def _cases(given: argparse.Namespace) -> dict[str, tuple[str, Callable[[str], object]]]:
    """Return each case's title and what runs it on a database."""
    fresh, soak, asked, events = freshness.SECONDS, freshness.SOAK_SECONDS, ingest.SECONDS, memory.EVENTS
    page_rows = pages.ROWS
    if given.quick:
        fresh = soak = QUICK_FRESHNESS_SECONDS
        asked, events, page_rows = QUICK_INGEST_SECONDS, QUICK_EVENTS, QUICK_PAGE_ROWS
    return {
        "backlog": ("planning and draining a backlog", lambda url: backlog.bench(url, given.rows, given.rounds, _say)),
        "freshness": ("from accepted to booked", lambda url: freshness.bench(url, fresh, _say)),
        SOAK: (
            f"{freshness.SOAK_RATE} events a second for {soak:g} s, forwarded meanwhile",
            lambda url: freshness.bench(url, soak, _say, freshness.SOAK_RATE),
        ),
        "ingest": ("events at the door", lambda url: ingest.bench(url, asked, given.rounds, _say)),
        "pages": (f"pages over {page_rows:,} deliveries", lambda url: pages.bench(url, page_rows, _say)),
        "memory": (f"memory over {events:,} events", lambda url: memory.bench(url, events, _say)),
    }


def _say(line: str) -> None:
    print(line, flush=True)


def _databases(given: argparse.Namespace) -> Iterator[tuple[str, str]]:
    if not given.skip_sqlite:
        with databases.sqlite() as url:
            yield SQLITE, url
    if given.postgres:
        with databases.postgres(given.postgres) as url:
            yield "PostgreSQL", url


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--postgres", default="", metavar="URL", help="a server to make the database *_bench on")
    parser.add_argument("--skip-sqlite", action="store_true", help="measure PostgreSQL only")
    parser.add_argument("--rows", type=int, default=MAX_ROWS, help=f"conversions a run, at most {MAX_ROWS:,}")
    parser.add_argument("--case", choices=(*CASES, SOAK), action="append", help="one case only; may be given again")
    parser.add_argument("--rounds", type=int, default=MIN_ROUNDS, help=f"at least {MIN_ROUNDS}")
    parser.add_argument("--quick", action="store_true", help="one small round, to see that the bench itself works")
    given = parser.parse_args()
    given.case = given.case or CASES
    if not QUICK_ROWS <= given.rows <= MAX_ROWS:
        parser.error(f"--rows takes {QUICK_ROWS:,} to {MAX_ROWS:,}")
    if given.rounds < MIN_ROUNDS:
        parser.error(f"--rounds takes {MIN_ROUNDS} or more: a median of fewer says nothing")
    if given.quick:
        given.rows, given.rounds = QUICK_ROWS, 1
    return given


def _end_after(seconds: int) -> None:
    """Leave in order on SIGTERM and after `seconds`, so that whatever was started is ended."""

    def leave(number: int, _frame: FrameType | None) -> NoReturn:
        sys.exit(f"The bench took longer than {seconds} s." if number == signal.SIGALRM else "The bench was stopped.")

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGALRM, leave)
    signal.alarm(seconds)


if __name__ == "__main__":
    sys.exit(main())
