"""`python -m tests.door.soak`: a steady rate of requests with forwarding on; then three books are compared.

What senders were told, our rows and Microsoft's books have to name the same events. docs/testing.md says more.
"""

import argparse
import signal
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import quantiles
from types import FrameType
from typing import NoReturn
from urllib.parse import urlsplit

import psycopg

from tests.bench import databases
from tests.bench.processes import Microsoft, microsoft, product, worker
from tests.door.senders import Sender, backend, purchase

RATE, MINUTES = 200.0, 5.0
MAX_RATE, MAX_MINUTES = 1000.0, 60.0
THREADS = 32
LONGEST_SECONDS = 300.0  # until everything is forwarded
LEAD_SECONDS, POLL_SECONDS = 0.5, 0.25
SPARE_SECONDS = 120
SUFFIX = "_soak"


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer; `seconds` count from when the request was due, so that a queue at the sender's shows too."""

    event_id: str
    status: int
    seconds: float
    at: float


@dataclass(frozen=True, slots=True)
class Books:
    """What there is afterwards: stored and delivered by our rows, booked by Microsoft and when."""

    stored: Sequence[str]
    delivered: int
    booked: Sequence[tuple[str, float]]
    forwarded_after: float


def main() -> int:
    """Run, say what came out, and return 1 when a promise was broken."""
    given = _arguments()
    _end_after(given.minutes * 60 + LONGEST_SECONDS + SPARE_SECONDS)
    with databases.postgres(given.postgres, SUFFIX) as url:
        told, books = _run(url, given.rate, round(given.rate * given.minutes * 60))
    broken = violations(told, books)
    for line in [*report(told, books, given.rate), *(f"  BROKEN     {each}" for each in broken)]:
        print(line)
    return int(bool(broken))


def violations(told: Sequence[Answer], books: Books) -> list[str]:
    """Return each promise that was broken, in words."""
    acknowledged = {each.event_id for each in told if each.status == 202}
    clicks = [click for click, _ in books.booked]
    found = [
        f"{number} requests were answered {status}" if status else f"{number} requests were not answered"
        for status, number in sorted(_statuses(told).items())
        if status != 202
    ]
    return found + [
        f"{len(several)} events {what}"
        for several, what in (
            (acknowledged - set(books.stored), "were acknowledged and are not stored"),
            (acknowledged - set(clicks), "were acknowledged and never booked"),
            (set(clicks) - set(books.stored), "were booked and are not stored"),
            (_twice(books.stored), "are stored twice"),
            (_twice(clicks), "were booked twice"),
        )
        if several
    ]


def report(told: Sequence[Answer], books: Books, rate: float) -> list[str]:
    """Return what there was, and how fast."""
    waits = [each.seconds * 1000 for each in told]
    at = {each.event_id: each.at for each in told}
    lags = [moment - at[click] for click, moment in books.booked if click in at]
    answers = ", ".join(f"{number:,} × {status or 'none'}" for status, number in sorted(_statuses(told).items()))
    acknowledged, stored = _statuses(told)[202], len(books.stored)
    delivered, booked = books.delivered, len(books.booked)
    return [
        f"  asked      {len(told):,} requests, {rate:g} a second",
        f"  answers    {answers}; {_spread(waits, 'ms')}",
        f"  books      {acknowledged:,} acknowledged, {stored:,} stored, {delivered:,} delivered, {booked:,} booked",
        f"  forwarded  {books.forwarded_after:.1f} s after the last answer; until booked: {_spread(lags, 's')}",
    ]


def _run(url: str, rate: float, count: int) -> tuple[list[Answer], Books]:
    with ExitStack() as stack:
        at = stack.enter_context(microsoft())
        clerk = stack.enter_context(worker(url, at.address))
        clerk.do("migrate")
        server_key = clerk.do("open_shop")["server_key"]
        web = stack.enter_context(product(url, at.address))
        told = _send(urlsplit(web).port or 0, server_key, rate, count)
        return told, _settle(url, at, sum(each.status == 202 for each in told))


def _send(port: int, server_key: str, rate: float, count: int) -> list[Answer]:
    """Send every event at its moment, however long others take."""
    told: list[Answer] = []
    numbers = iter(range(count))
    began = time.monotonic() + LEAD_SECONDS

    def work() -> None:
        with Sender(backend(port, server_key), _order) as sender:
            for number in numbers:
                due = began + number / rate
                time.sleep(max(0.0, due - time.monotonic()))
                answer = sender.post(uuid.uuid4().hex)
                told.append(Answer(answer.event_id, answer.status, time.monotonic() - due, time.time()))

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return told


def _order(event_id: str) -> dict[str, str]:
    # A second of the past, so that nobody's clock is behind it.
    at = datetime.fromtimestamp(int(time.time()) - 1, UTC).isoformat()
    return purchase(event_id) | {"occurred_at": at, "transaction_id": event_id, "msclkid": event_id}


def _settle(url: str, at: Microsoft, acknowledged: int) -> Books:
    """Wait until everything was forwarded, or too long, and read the books."""
    began = time.monotonic()
    with psycopg.connect(url, autocommit=True) as connection:
        while (delivered := _delivered(connection)) < acknowledged and time.monotonic() - began < LONGEST_SECONDS:
            time.sleep(POLL_SECONDS)
        forwarded_after = time.monotonic() - began
        stored = [event_id for (event_id,) in connection.execute("SELECT event_id FROM ingest_event")]
    return Books(stored, delivered, at.booked(), forwarded_after)


def _delivered(connection: psycopg.Connection) -> int:
    [(delivered,)] = connection.execute("SELECT count(*) FROM forwarding_delivery WHERE status = 'delivered'")
    return int(delivered)


def _statuses(told: Sequence[Answer]) -> Counter[int]:
    return Counter(each.status for each in told)


def _twice(names: Sequence[str]) -> set[str]:
    return {name for name, count in Counter(names).items() if count > 1}


def _spread(values: Sequence[float], unit: str) -> str:
    if len(values) < 2:
        return "too few to tell"
    cuts = quantiles(values, n=100, method="inclusive")
    return f"p50 {cuts[49]:.2f}, p99 {cuts[98]:.2f}, worst {max(values):.2f} {unit}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.door.soak", description=__doc__)
    parser.add_argument("--postgres", required=True, metavar="URL", help=f"a server to make the database *{SUFFIX} on")
    parser.add_argument("--rate", type=float, default=RATE, help="requests a second, of one event each")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="how long")
    given = parser.parse_args()
    if not 0 < given.minutes <= MAX_MINUTES or not 0 < given.rate <= MAX_RATE:
        parser.error(f"at most {MAX_MINUTES:g} minutes and {MAX_RATE:g} requests a second")
    return given


def _end_after(seconds: float) -> None:
    """Leave in order on SIGTERM and when it takes too long, so that whatever was started is ended."""

    def leave(number: int, _frame: FrameType | None) -> NoReturn:
        sys.exit("It took too long." if number == signal.SIGALRM else "It was stopped.")

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGALRM, leave)
    signal.alarm(int(seconds))


if __name__ == "__main__":
    sys.exit(main())
