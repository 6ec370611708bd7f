"""Backends and pages at work: threads that post one event a request and remember what each was told."""

import http.client
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

THREADS = 8
BATCH = 500
# More than any answer may take, so that a late one is seen as what it is.
TIMEOUT_SECONDS = 20.0
# Between two requests of a thread, so that the machine has room for the other end.
PAUSE_SECONDS = 0.01
PAUSE_AFTER_SILENCE_SECONDS = 0.05
SILENCE = 0


@dataclass(frozen=True, slots=True)
class Told:
    """What became of one event at one request: `status` is SILENCE when the connection broke or none was made."""

    event_id: str
    status: int
    outcome: str
    retry_after: str | None
    seconds: float
    at: float

    @property
    def is_acknowledged(self) -> bool:
        """Say whether the sender may forget the event."""
        return self.status == 202 and self.outcome in ("accepted", "duplicate")


@dataclass(frozen=True, slots=True)
class Door:
    """Where a sender posts, and with which key: a backend's in a header, or a page's in the path."""

    port: int
    path: str
    headers: dict[str, str]


def backend(port: int, secret: str) -> Door:
    """Return the door of a backend with its server key."""
    return Door(port, "/v1/events", {"Authorization": f"Bearer {secret}"})


def page(port: int, write_key: str, origin: str = "https://shop.example") -> Door:
    """Return the door of a site's pages."""
    return Door(port, f"/v1/{write_key}/events", {"Origin": origin})


class Sender:
    """One sender, on one connection that it makes anew when it broke. A context: it hangs up after it."""

    def __init__(self, door: Door, event: Callable[[str], dict[str, str]] | None = None) -> None:
        self._door, self._event = door, event or purchase
        self._connection = http.client.HTTPConnection("127.0.0.1", door.port, timeout=TIMEOUT_SECONDS)

    def __enter__(self) -> "Sender":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def post(self, event_id: str) -> Told:
        """Post an event."""
        began = time.monotonic()
        try:
            status, retry_after, body = self._ask([event_id])
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return Told(event_id, SILENCE, "", None, time.monotonic() - began, began)
        outcome = body["results"][0]["status"] if status == 202 else body["type"].rpartition("/")[2]
        return Told(event_id, status, outcome, retry_after, time.monotonic() - began, began)

    def post_batch(self, event_ids: Sequence[str]) -> dict[str, str]:
        """Post events in one request; return what became of each, nothing when they were put off."""
        status, _, body = self._ask(event_ids)
        return {one["event_id"]: one["status"] for one in body["results"]} if status == 202 else {}

    def _ask(self, event_ids: Sequence[str]) -> tuple[int, str | None, Any]:
        headers = {"Content-Type": "application/json"} | self._door.headers
        body = json.dumps({"events": [self._event(event_id) for event_id in event_ids]})
        self._connection.request("POST", self._door.path, body, headers)
        answer = self._connection.getresponse()
        return answer.status, answer.headers["Retry-After"], json.loads(answer.read())


class Load:
    """Threads that post events for as long as the `with` lasts, each until it is taken and then the next."""

    def __init__(self, door: Door, threads: int = THREADS) -> None:
        self.told: list[Told] = []
        self._door = door
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._send, daemon=True) for _ in range(threads)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Wait for the last answers."""
        self._is_over.set()
        for thread in self._threads:
            thread.join(TIMEOUT_SECONDS + 5)

    @property
    def acknowledged(self) -> set[str]:
        """The events that a sender was told are safe."""
        return {each.event_id for each in self.told if each.is_acknowledged}

    @property
    def sent(self) -> set[str]:
        """Every event that was sent, whatever came back."""
        return {each.event_id for each in self.told}

    def statuses(self) -> set[int]:
        """Return which answers there were."""
        return {each.status for each in self.told}

    def count(self, status: int) -> int:
        """Return how often there was this answer."""
        return sum(each.status == status for each in list(self.told))

    def has_asked_since(self, moment: float) -> bool:
        """Say whether anybody asked after a moment of the monotonic clock, and was answered."""
        return any(each.at > moment for each in list(self.told))

    def _send(self) -> None:
        with Sender(self._door) as sender:
            event_id = uuid.uuid4().hex
            while not self._is_over.is_set():
                told = sender.post(event_id)
                self.told.append(told)
                if told.is_acknowledged:
                    event_id = uuid.uuid4().hex
                self._is_over.wait(PAUSE_SECONDS if told.status != SILENCE else PAUSE_AFTER_SILENCE_SECONDS)


def resend(door: Door, event_ids: Iterable[str]) -> dict[str, str]:
    """Post events again, many in a request; return what became of each."""
    ids = list(event_ids)
    outcomes: dict[str, str] = {}
    with Sender(door) as sender:
        for start in range(0, len(ids), BATCH):
            outcomes |= sender.post_batch(ids[start : start + BATCH])
    return outcomes


def purchase(event_id: str) -> dict[str, str]:
    """Return the one body of an event."""
    return {"name": "purchase", "event_id": event_id, "value": "49.90", "currency": "USD"}
