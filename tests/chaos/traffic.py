"""Customers at work: threads that send messages over HTTP until each was answered, and note what was said.

They do what the SDK and a decent backend do: no answer, or one that asks for it, means the same message again.
"""

import heapq
import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import requests

from tests.chaos.ledger import Ledger
from tests.chaos.stories import Door, Message, Sending, Stories
from tests.chaos.world import Keys, Shop

THREADS = 8
TIMEOUT_SECONDS = 6.0
MOST_AT_ONCE = {Door.BACKEND: 40, Door.BROWSER: 5, Door.ADJUSTMENTS: 20}
NAMES = {Door.BACKEND: "events", Door.BROWSER: "events", Door.ADJUSTMENTS: "adjustments"}
TAKEN = ("accepted", "duplicate")
AWAY = (429, 503)  # the answers that ask for the same again


class Traffic:
    """Sends stories at `rate` messages a second, from `start` until `stop`; `finish` waits for the last answers."""

    def __init__(
        self, base: str, keys: Mapping[str, Keys], ledger: Ledger, stories: Stories, rng: random.Random, rate: float
    ) -> None:
        self._base, self._keys, self._ledger, self._stories, self._rng = base, keys, ledger, stories, rng
        self._rate = rate
        self._queue: list[tuple[float, int, Message]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._under_way = 0
        self._is_over = self._has_ended = False
        self._threads = [threading.Thread(target=self._send_all, daemon=True) for _ in range(THREADS)]
        self._teller = threading.Thread(target=self._tell, daemon=True)
        self.answers: Counter[str] = Counter()

    def start(self) -> None:
        """Begin to tell and to send."""
        for thread in (*self._threads, self._teller):
            thread.start()

    def stop(self) -> None:
        """Begin no more stories; what was begun goes on."""
        self._is_over = True
        self._teller.join(5)

    def finish(self, seconds: float) -> bool:
        """Wait until everything was answered, for so long at most; return whether it was. Nothing is sent after."""
        give_up = time.monotonic() + seconds
        with self._changed:
            while (self._queue or self._under_way) and time.monotonic() < give_up:
                self._changed.wait(0.2)
            is_done = not (self._queue or self._under_way)
            self._has_ended = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(TIMEOUT_SECONDS + 2)
        return is_done

    def _tell(self) -> None:
        due = time.monotonic()
        while not self._is_over:
            story = self._stories.next()
            self._plan(story)
            due += len(story) / self._rate
            time.sleep(max(0.0, due - time.monotonic()))

    def _plan(self, sendings: Sequence[Sending]) -> None:
        now = time.monotonic()
        with self._changed:
            for one in sendings:
                at = now + one.delay
                # To the half second, so that what goes the same way travels in batches.
                due = at if one.message.alone else round(at * 2 + 0.5) / 2
                heapq.heappush(self._queue, (due, next(self._numbers), one.message))
            self._changed.notify_all()

    def _send_all(self) -> None:
        with requests.Session() as session:
            while batch := self._take():
                try:
                    self._send(session, batch)
                finally:
                    with self._changed:
                        self._under_way -= len(batch)
                        self._changed.notify_all()

    def _take(self) -> list[Message]:
        """Wait for what is due next, and what goes the same way now; nothing once it has ended."""
        with self._changed:
            while not self._has_ended:
                wait = self._queue[0][0] - time.monotonic() if self._queue else 1.0
                if self._queue and wait <= 0:
                    return self._batch()
                self._changed.wait(min(wait, 1.0))
        return []

    def _batch(self) -> list[Message]:
        first = heapq.heappop(self._queue)[2]
        batch, others = [first], []
        most = 1 if first.alone else self._rng.randint(1, MOST_AT_ONCE[first.door])
        while self._queue and self._queue[0][0] <= time.monotonic() and len(batch) < most:
            entry = heapq.heappop(self._queue)
            message = entry[2]
            goes_along = message.shop is first.shop and message.door is first.door and not message.alone
            if goes_along:
                batch.append(message)
            else:
                others.append(entry)
        for entry in others:
            heapq.heappush(self._queue, entry)
        self._under_way += len(batch)
        return batch

    def _send(self, session: requests.Session, batch: list[Message]) -> None:
        first = batch[0]
        body: dict[str, object] = {NAMES[first.door]: [message.body for message in batch]}
        try:
            answer = self._post(session, first.shop, first.door, body)
        except requests.RequestException as error:
            self.answers[type(error).__name__] += 1
            self._again(batch)
            return
        self.answers[str(answer.status_code)] += 1
        if answer.status_code in AWAY:
            self._again(batch)
        elif answer.status_code == 202:
            for message, result in zip(batch, answer.json()["results"], strict=True):
                self._judge(message, result["status"], str(result))
        elif answer.status_code == 409:
            for message in batch:
                self._judge(message, "conflict", answer.text)
        else:
            self._ledger.complain(f"{answer.status_code} for {len(batch)} {NAMES[first.door]}: {answer.text[:300]}")
            if answer.status_code >= 500:
                self._again(batch)

    def _post(self, session: requests.Session, shop: Shop, door: Door, body: dict[str, object]) -> requests.Response:
        keys = self._keys[shop.name]
        if door is Door.BROWSER:
            body["sent_at"] = datetime.now(UTC).isoformat()
            return session.post(f"{self._base}/v1/{keys.write_key}/events", json=body, timeout=TIMEOUT_SECONDS)
        headers = {"Authorization": f"Bearer {keys.server_key}"}
        return session.post(f"{self._base}/v1/{NAMES[door]}", json=body, headers=headers, timeout=TIMEOUT_SECONDS)

    def _again(self, batch: list[Message]) -> None:
        self._plan([Sending(message, self._rng.uniform(0.5, 3)) for message in batch])

    def _judge(self, message: Message, status: str, told: str) -> None:
        wanted = ("conflict",) if message.is_conflict else TAKEN
        if status not in wanted:
            self._ledger.complain(f"{message.fact.id} was answered {status}: {told[:300]}")
            return
        with self._changed:
            then, message.then = message.then, []
            message.fact.acked |= status in TAKEN
            message.fact.accepted += status == "accepted"
        self._plan(then)
