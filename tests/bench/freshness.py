"""Freshness: how long it takes from the 2xx of an event until Microsoft has booked its conversion.

Everything is real and a process of its own: the web server, the worker with its queue, and the emulator, this time with
its books. Nothing settles and nothing lingers, so what is measured is the machinery alone.
"""

import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from statistics import quantiles
from threading import local

import requests

from tests.bench.frame import VoidRunError, against
from tests.bench.processes import Microsoft, microsoft, product, worker

RATE = 50  # events a second
SECONDS = 60
# A long run under a load that a busy customer has: is there an answer that is no 2xx, does anything fall behind?
SOAK_RATE = 200
SOAK_SECONDS = 300
THREADS = 8
GOAL_P95_SECONDS = 2.0
BOOKED_WITHIN_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Freshness:
    """Seconds from accepted to booked, of every conversion, and in how many calls they went.

    `answered` are the seconds that each 202 took; `behind` is how long after the last of them all was booked.
    """

    rate: float
    seconds: Sequence[float]
    answered: Sequence[float]
    behind: float
    calls: int


def percentile(seconds: Sequence[float], percent: int) -> float:
    """Return what so many of a hundred were not later than."""
    return quantiles(seconds, n=100, method="inclusive")[percent - 1]


@dataclass(frozen=True, slots=True)
class _Accepted:
    at: float
    took: float


def bench(database_url: str, seconds: float, said: Callable[[str], object], rate: float = RATE) -> Freshness:
    """Send events for so many seconds and say how fresh Microsoft's books were.

    Raises VoidRunError when an answer was no 202, or when Microsoft did not book exactly what was accepted.
    """
    with ExitStack() as stack:
        at = stack.enter_context(microsoft())
        clerk = stack.enter_context(worker(database_url, at.address))
        clerk.do("migrate")
        server_key = clerk.do("open_shop")["server_key"]
        door = stack.enter_context(product(database_url, at.address))
        events = f"{door}/v1/events"
        first = _send(events, server_key, 1, rate)  # until it is booked, processes may still be starting
        _wait_until_booked(at, 1)
        calls = at.calls()
        accepted = _send(events, server_key, round(rate * seconds), rate)
        booked = _wait_until_booked(at, 1 + len(accepted))
        calls = at.calls() - calls
    if sorted(click for click, _ in booked) != sorted(first | accepted):
        raise VoidRunError(f"{1 + len(accepted)} conversions were accepted and {len(booked)} booked, or others")
    taken = Freshness(
        rate,
        [moment - accepted[click].at for click, moment in booked if click in accepted],
        [each.took for each in accepted.values()],
        max(moment for _, moment in booked) - max(each.at for each in accepted.values()),
        calls,
    )
    for line in report(taken):
        said(line)
    return taken


def report(taken: Freshness) -> list[str]:
    """Return the lines that sum up a run."""
    p50, p95, p99 = (percentile(taken.seconds, percent) for percent in (50, 95, 99))
    quick, slow = (percentile(taken.answered, percent) * 1e3 for percent in (50, 99))
    waits = f"p50 {p50:.2f} s, p95 {p95:.2f} s, p99 {p99:.2f} s"
    goal = against(p95 <= GOAL_P95_SECONDS, f"p95 at most {GOAL_P95_SECONDS:g} s")
    return [
        f"  accepted to booked, {taken.rate:g} events a second: {waits}{goal}",
        f"  {len(taken.seconds):,} conversions in {taken.calls:,} calls, the slowest after {max(taken.seconds):.2f} s",
        f"  every answer a 202: p50 {quick:.1f} ms, p99 {slow:.1f} ms; all booked {taken.behind:.2f} s after the last",
    ]


def _send(address: str, server_key: str, count: int, rate: float) -> dict[str, _Accepted]:
    """Send `count` events, each at its moment however long others take; return by click when it was accepted."""
    own = local()

    def send_one(number: int) -> tuple[str, _Accepted]:
        if not hasattr(own, "session"):
            own.session = requests.Session()
            own.session.headers["Authorization"] = f"Bearer {server_key}"
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
        click, asked_at = uuid.uuid4().hex, time.time()
        answer = own.session.post(address, json={"events": [_purchase(click)]}, timeout=30)
        if answer.status_code != 202:
            raise VoidRunError(f"The door answered {answer.status_code}: {answer.text[:200]}")
        now = time.time()
        return click, _Accepted(now, now - asked_at)

    began = time.monotonic()
    with ThreadPoolExecutor(THREADS) as threads:
        return dict(threads.map(send_one, range(count)))


def _purchase(click: str) -> dict[str, object]:
    # A second of the past, so that nobody's clock is behind it.
    at = datetime.fromtimestamp(int(time.time()) - 1).astimezone().isoformat()
    return {
        "name": "purchase",
        "event_id": click,
        "occurred_at": at,
        "value": "49.90",
        "currency": "USD",
        "transaction_id": click,
        "msclkid": click,
    }


def _wait_until_booked(at: Microsoft, count: int) -> list[tuple[str, float]]:
    """Return each booked click and its moment, once there are so many or it took too long."""
    give_up = time.monotonic() + BOOKED_WITHIN_SECONDS
    while len(booked := at.booked()) < count and time.monotonic() < give_up:
        time.sleep(1)
    return booked
