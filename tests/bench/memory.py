"""Memory: what the web processes hold after a tenth of the events, and after all of them."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

from tests.bench import load, tools, usage
from tests.bench.frame import MOST_GROWTH_MIB, against
from tests.bench.ingest import ORIGIN, check_rows
from tests.bench.processes import NOWHERE, web, worker

EVENTS = 1_000_000
EVENTS_A_REQUEST = 50  # a page's body may have 64 KiB
CONNECTIONS = 16
SLICE_SECONDS = 2
LONGEST_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Memory:
    """MiB of the web processes by then, and how many events there were."""

    early_events: int
    early_mib: float
    events: int
    mib: float


def bench(database_url: str, events: int, said: Callable[[str], object]) -> Memory:
    """Send so many events and say what the web processes held. Raises VoidRunError and MissingToolError."""
    tools.wrk()
    with worker(database_url, NOWHERE) as clerk:
        clerk.do("migrate")
        key = clerk.do("open_door", origin=ORIGIN)["write_key"]
        with web(database_url) as server:
            address, prefix = f"{server.address}/v1/{key}/events", uuid4().hex[:8]
            give_up = time.monotonic() + LONGEST_SECONDS
            early_events, slices = _send_until(events // 10, address, prefix, 0, 0, give_up)
            early_mib = usage.resident_mib(server.pid)
            sent, slices = _send_until(events, address, prefix, early_events, slices, give_up)
            taken = Memory(early_events, early_mib, sent, usage.resident_mib(server.pid))
        stored = clerk.do("count_events", prefix=prefix)["rows"]
    check_rows(stored, sent, slices * CONNECTIONS * EVENTS_A_REQUEST)
    said(report(taken, events))
    return taken


def report(taken: Memory, wanted: int) -> str:
    """Return the line that sums up a run."""
    growth = taken.mib - taken.early_mib
    goal = against(growth <= MOST_GROWTH_MIB, f"at most {MOST_GROWTH_MIB}")
    if taken.events < wanted:
        goal = f"   after {LONGEST_SECONDS} s it was given up: {wanted:,} were wanted"
    return (
        f"  memory of the web processes: {taken.early_mib:.1f} MiB after {taken.early_events:,} events,"
        f" {taken.mib:.1f} MiB after {taken.events:,}: {growth:+.1f} MiB{goal}"
    )


def _send_until(wanted: int, address: str, prefix: str, sent: int, slices: int, give_up: float) -> tuple[int, int]:
    """Send until so many events got a 2xx; return how many that were in the end, and in how many slices."""
    while sent < wanted and time.monotonic() < give_up:
        slices += 1
        answered = load.send(
            address,
            f"{prefix}-{slices}",
            events=EVENTS_A_REQUEST,
            connections=CONNECTIONS,
            seconds=SLICE_SECONDS,
        )
        sent += answered.requests * EVENTS_A_REQUEST
    return sent, slices
