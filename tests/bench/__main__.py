"""`python -m tests.bench`: measures this machine's Convultra against ceilings of the same run. docs/performance.md."""

import argparse
import os
import platform
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

import django

from tests.bench import backlog, databases, freshness
from tests.bench.frame import VoidRunError

MIN_ROUNDS = 3
QUICK_ROWS, MAX_ROWS = 2_000, 200_000
QUICK_FRESHNESS_SECONDS = 3
QUICK_SECONDS, FULL_SECONDS = 120, 3_600
CASES = ("backlog", "freshness")


def main() -> int:
    """Run every case on every database; return 1 when a run was void."""
    given = _arguments()
    _end_after(QUICK_SECONDS if given.quick else FULL_SECONDS)
    rows, rounds = (QUICK_ROWS, 1) if given.quick else (given.rows, given.rounds)
    seconds = QUICK_FRESHNESS_SECONDS if given.quick else freshness.SECONDS
    print(
        f"{rows:,} conversions, {backlog.ACCOUNTS} accounts, {rounds} rounds; {os.cpu_count()} processors,"
        f" Python {platform.python_version()}, Django {django.__version__}"
    )
    try:
        for name, url in _databases(given):
            if "backlog" in given.case:
                print(f"{name}: planning and draining a backlog", flush=True)
                backlog.bench(url, rows, rounds, lambda line: print(line, flush=True))
        for name, url in _databases(given):
            if "freshness" in given.case:
                print(f"{name}: from accepted to booked", flush=True)
                freshness.bench(url, seconds, lambda line: print(line, flush=True))
    except VoidRunError as error:
        print(f"VOID: {error}", file=sys.stderr)
        return 1
    if given.quick:
        print("A quick run shows that the bench works. It measures nothing: leave --quick out for that.")
    return 0


def _databases(given: argparse.Namespace) -> Iterator[tuple[str, str]]:
    if not given.skip_sqlite:
        with databases.sqlite() as url:
            yield "SQLite", url
    if given.postgres:
        with databases.postgres(given.postgres) as url:
            yield "PostgreSQL", url


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--postgres", default="", metavar="URL", help="a server to make the database *_bench on")
    parser.add_argument("--skip-sqlite", action="store_true", help="measure PostgreSQL only")
    parser.add_argument("--rows", type=int, default=MAX_ROWS, help=f"conversions a run, at most {MAX_ROWS:,}")
    parser.add_argument("--case", choices=CASES, action="append", help="one case only; may be given again")
    parser.add_argument("--rounds", type=int, default=MIN_ROUNDS, help=f"at least {MIN_ROUNDS}")
    parser.add_argument("--quick", action="store_true", help="one small round, to see that the bench itself works")
    given = parser.parse_args()
    given.case = given.case or CASES
    if not QUICK_ROWS <= given.rows <= MAX_ROWS:
        parser.error(f"--rows takes {QUICK_ROWS:,} to {MAX_ROWS:,}")
    if given.rounds < MIN_ROUNDS:
        parser.error(f"--rounds takes {MIN_ROUNDS} or more: a median of fewer says nothing")
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
