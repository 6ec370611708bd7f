"""A backlog: stored events are planned, and what is due is sent to a Microsoft that only swallows.

ceiling            building and posting the same calls from memory, without a database
drain, 1 worker    `forwarding.tasks.deliver` over all accounts, one after the other
drain, 2 workers   the same, half of the accounts each
plan               `forwarding.planning.planner.plan_all` over as many events
"""

import math
from collections.abc import Callable
from contextlib import ExitStack
from statistics import median
from typing import Any

from tests.bench.frame import Ratio, Round, Run, VoidRunError, report, take_rounds
from tests.bench.processes import Sink, Worker, sink, worker

ACCOUNTS = 4
CALL_ROWS = 1000
CEILING, PLAN, DRAIN_1, DRAIN_2 = "ceiling", "plan", "drain, 1 worker", "drain, 2 workers"
RATIOS = (Ratio(DRAIN_1, CEILING, 0.10), Ratio(DRAIN_2, DRAIN_1, 1.6), Ratio(PLAN, DRAIN_1, 1.0))


def shares(rows: int) -> list[int]:
    """Split the rows over the accounts: not in whole calls, and yet as much for each of two workers."""
    quarter = rows // ACCOUNTS
    odd, odder = quarter // 37, quarter // 83
    return [quarter + odd, quarter - odd, quarter + odder, rows - 3 * quarter - odder]


def bench(database_url: str, rows: int, rounds: int, said: Callable[[str], object]) -> list[Round[Run]]:
    """Take the rounds on one database and say what came out. Raises VoidRunError for rows that do not add up."""
    with ExitStack() as stack:
        microsoft = stack.enter_context(sink())
        clerk, first, second = (stack.enter_context(worker(database_url, microsoft.address)) for _ in range(3))
        clerk.do("migrate")
        case = _Backlog(microsoft, clerk, first, second, shares(rows))
        runs = {CEILING: case.ceiling, PLAN: case.plan, DRAIN_1: case.drain_by_one, DRAIN_2: case.drain_by_two}
        taken = take_rounds(runs, rounds, said)
    for line in report(taken, RATIOS):
        said(line)
    return taken


class _Backlog:
    """The runs of one database. `plan` leaves due what `drain_by_one` sends; `drain_by_two` prepares its own.

    The clerk stores, plans and counts, so that the two others' memory is that of sending alone.
    """

    def __init__(self, microsoft: Sink, clerk: Worker, first: Worker, second: Worker, share: list[int]) -> None:
        self._microsoft, self._clerk, self._first, self._second = microsoft, clerk, first, second
        self._shares = share
        self._rows = sum(share)
        self._calls = [math.ceil(rows / CALL_ROWS) for rows in share]
        self._accounts: list[int] = []

    def ceiling(self) -> Run:
        before = self._microsoft.swallowed()
        run = _run(self._first.do("ceiling", shares=self._shares))
        self._check_sink(before)
        return run

    def plan(self) -> Run:
        self._accounts = self._clerk.do("seed", shares=self._shares)["accounts"]
        self._clerk.do("analyze")
        run = _run(self._clerk.do("plan"))
        _check("events planned", run.rows, self._rows)
        _check("deliveries by status", self._clerk.do("count")["statuses"], {"pending": self._rows})
        self._clerk.do("analyze")
        return run

    def drain_by_one(self) -> Run:
        return self._drain([(self._first, self._accounts)])

    def drain_by_two(self) -> Run:
        self.plan()
        half = len(self._accounts) // 2
        return self._drain([(self._first, self._accounts[:half]), (self._second, self._accounts[half:])])

    def _drain(self, parts: list[tuple[Worker, list[int]]]) -> Run:
        before = self._microsoft.swallowed()
        for one, accounts in parts:
            one.begin("drain", accounts=accounts)
        run = _run(*[one.answer() for one, _ in parts])
        counted = self._clerk.do("count")
        _check("deliveries by status", counted["statuses"], {"delivered": self._rows})
        _check("calls by account", counted["calls"], self._calls)
        _check("rows accepted by uploads", counted["accepted"], self._rows)
        _check("rows in the roll-up", counted["rolled_up"], self._rows)
        self._check_sink(before)
        return run

    def _check_sink(self, before: tuple[int, int]) -> None:
        calls, rows = self._microsoft.swallowed()
        _check(
            "calls and rows that Microsoft saw", (calls - before[0], rows - before[1]), (sum(self._calls), self._rows)
        )


def _check(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise VoidRunError(f"{what}: {found}, and not {wanted}")


def _run(*parts: dict[str, Any]) -> Run:
    """Make one run of what its workers measured at the same time."""
    rows = sum(part["rows"] for part in parts)
    seconds = max(part["ended_at"] for part in parts) - min(part["began_at"] for part in parts)
    phases = {
        phase: median(part["phases"][phase] / part["rows"] * 1e6 for part in parts) for phase in parts[0]["phases"]
    }
    cpu_seconds = sum(part["cpu_seconds"] for part in parts)
    growths = [part["growth_mib"] for part in parts if "growth_mib" in part]
    resident = max(part["resident_mib"] for part in parts)
    return Run(rows, seconds, cpu_seconds, phases, resident, max(growths, default=None))
