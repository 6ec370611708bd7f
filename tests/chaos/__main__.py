"""`python -m tests.chaos`: the whole product as processes, killed at random while Microsoft fails; then the books.

Without `--database` it makes a database for each kind and runs once on each. docs/testing.md says more.
"""

import argparse
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

import django

from tests.bench.databases import postgres, sqlite
from tests.chaos.machine import ROOT, Machine
from tests.chaos.plan import make_plan

SUFFIX = "_chaos"
MAX_MINUTES, MAX_RATE = 120.0, 500.0
QUICK_SECONDS, QUICK_RATE = 25.0, 15.0
# Than the troubled time and the rest after it: for starting, judging and ending.
LONGER_SECONDS = 300
ENDING_SECONDS = 40


def main() -> int:
    """Run on the database that is named, or on each kind; return 1 when anything was violated."""
    given = _arguments()
    _end_in_order()
    if given.database:
        return _run_here(given)
    code = 0
    for name, database in _databases(given):
        with database as url:
            print(f"{name}: {given.minutes:g} min, {given.rate:g} messages a second, seed {given.seed}", flush=True)
            code |= _run_apart(given, url)
    return code


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--postgres", default="", metavar="URL", help=f"a server to make the database *{SUFFIX} on")
    parser.add_argument("--skip-sqlite", action="store_true", help="run on PostgreSQL only")
    parser.add_argument("--database", default="", metavar="URL", help="run on this empty database only")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long there is traffic and trouble")
    parser.add_argument("--rate", type=float, default=50.0, help="messages a second")
    parser.add_argument("--seed", type=int, default=None, help="of everything that is random; printed")
    parser.add_argument("--redis", action="store_true", help="queue in a redis-server of its own")
    parser.add_argument("--shipped-waits", action="store_true", help="leave timeout, lease and watchdog as they ship")
    parser.add_argument("--quick", action="store_true", help="half a minute, to see that this itself works")
    parser.add_argument("--keep", action="store_true", help="keep the directory with the logs")
    parser.add_argument("--mark", default=secrets.token_hex(8), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.quick:
        given.minutes, given.rate = QUICK_SECONDS / 60, QUICK_RATE
    if not 0 < given.minutes <= MAX_MINUTES or not 0 < given.rate <= MAX_RATE:
        parser.error(f"at most {MAX_MINUTES:g} minutes and {MAX_RATE:g} messages a second")
    if given.seed is None:
        given.seed = secrets.randbelow(1_000_000)
    return given


def _databases(given: argparse.Namespace) -> Iterator[tuple[str, AbstractContextManager[str]]]:
    if given.postgres:
        yield "PostgreSQL", postgres(given.postgres, SUFFIX)
    if not given.skip_sqlite:
        yield "SQLite", sqlite(SUFFIX)


def _run_apart(given: argparse.Namespace, url: str) -> int:
    """Run in a process of its own, as Django knows one database; whatever becomes of it, end what it began."""
    command = [sys.executable, "-m", "tests.chaos", f"--database={url}", f"--mark={given.mark}"]
    command += [f"--minutes={given.minutes}", f"--rate={given.rate}", f"--seed={given.seed}"]
    flags = ("redis", "shipped_waits", "quick", "keep")
    command += [f"--{flag.replace('_', '-')}" for flag in flags if getattr(given, flag)]
    with subprocess.Popen(command, cwd=ROOT) as process:
        try:
            return process.wait()
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(ENDING_SECONDS)
            process.kill()
            Machine(given.mark, Path()).end()


def _run_here(given: argparse.Namespace) -> int:
    """Run on the database that was named; return 1 when anything was violated."""
    plan = make_plan(
        given.database,
        given.minutes * 60,
        given.rate,
        given.seed,
        is_quick=given.quick,
        has_redis=given.redis,
        is_shipped=given.shipped_waits,
    )
    os.environ.update(plan.environment)
    django.setup()
    from tests.chaos.report import of_verdict
    from tests.chaos.run import Run

    signal.alarm(int(plan.seconds + plan.rest_seconds + LONGER_SECONDS))
    directory = Path(tempfile.mkdtemp(prefix="convultra-chaos-"))
    machine = Machine(given.mark, directory)
    found = ["the run did not come to a verdict"]
    try:
        found = Run(plan, machine, directory, _say).go()
    finally:
        machine.end()
        for line in of_verdict(found):
            _say(line)
        if found or given.keep:
            _say(f"  kept       {directory}")
        else:
            shutil.rmtree(directory)
    return int(bool(found))


def _say(line: str) -> None:
    print(line, flush=True)


def _end_in_order() -> None:
    """Leave in order on SIGTERM and when it takes too long, so that whatever was started is ended."""

    def leave(number: int, _frame: FrameType | None) -> NoReturn:
        sys.exit("It took too long." if number == signal.SIGALRM else "It was stopped.")

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGALRM, leave)


if __name__ == "__main__":
    sys.exit(main())
