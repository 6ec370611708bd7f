"""What goes wrong in a run, and when: kills, stops, wiped queues, Microsoft's faults, a changed SECRET_KEY. Seeded."""

import random
import secrets
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

import requests

from tests.chaos.machine import Machine, Process, send
from tests.chaos.microsoft import Microsoft
from tests.chaos.roles import WORKER, Roles, Target

IDLE, BUSY = "idle worker", "busy worker"
KILL_SHARE = 0.7  # of all hits; the others stop a process for a while
LOOK_SECONDS = 0.15  # at who of the workers works
FEED_EVERY_SECONDS = 1.0
ENDING_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Hit:
    """A process that was killed, or stopped for so many seconds."""

    at: datetime
    role: str
    service: str
    stopped_seconds: float | None

    def __str__(self) -> str:
        what = "killed" if self.stopped_seconds is None else f"stopped for {self.stopped_seconds:.0f} s"
        return f"{self.at:%H:%M:%S} {self.role} of {self.service} {what}"


@dataclass
class Trouble:
    """Makes trouble. `every` are seconds between hits; a stop may outlast `lease_seconds`.

    Hits come from whoever calls `step`; faults and wiped queues from threads of their own, which may have to wait for
    what was hit.
    """

    machine: Machine
    roles: Roles
    microsoft: Microsoft
    wipe_queue: Callable[[], None]
    rng: random.Random
    every: tuple[float, float]
    lease_seconds: float
    hits: list[Hit] = field(default_factory=list)
    wipes: int = 0
    key_changes: int = 0
    _stopped: list[tuple[float, Process]] = field(default_factory=list)
    _next_hit: float | None = None
    _is_over: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def begin(self) -> None:
        """Begin to feed Microsoft with faults and to wipe the queue."""
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._feed, self._wipe)]
        for thread in self._threads:
            thread.start()

    def step(self, now: float) -> None:
        """Hit, or let go on, what is due at a moment of the monotonic clock."""
        self._go_on(now)
        if self._next_hit is None or now >= self._next_hit:
            if self._next_hit is not None:
                self._hit(now)
            self._next_hit = now + self.rng.uniform(*self.every)

    def change_key(self) -> None:
        """Give the workers another SECRET_KEY than the web: what either queues, the other cannot read."""
        key = secrets.token_urlsafe(50)
        for service in self.machine.services.values():
            if service.name.startswith("worker") and service.process is not None:
                service.environment["SECRET_KEY"] = key
                send(service.process.pid, signal.SIGTERM)
        self.key_changes += 1

    def end(self) -> None:
        """Let everything go on that stands still, and make no more trouble."""
        self._is_over.set()
        self._go_on(float("inf"))
        for thread in self._threads:
            thread.join(ENDING_SECONDS)

    def by_role(self) -> Counter[str]:
        """Return how often each role was hit."""
        return Counter(hit.role for hit in self.hits)

    def _feed(self) -> None:
        while not self._is_over.wait(FEED_EVERY_SECONDS):
            with suppress(requests.RequestException):  # Microsoft is what was hit
                self.microsoft.feed()

    def _wipe(self) -> None:
        rng = random.Random(self.rng.random())
        while not self._is_over.wait(2 * rng.uniform(*self.every)):
            self.wipe_queue()
            self.wipes += 1

    def _go_on(self, now: float) -> None:
        for entry in [entry for entry in self._stopped if entry[0] <= now]:
            self._stopped.remove(entry)
            if self._is_same(entry[1]):
                send(entry[1].pid, signal.SIGCONT)

    def _is_same(self, process: Process) -> bool:
        """Say whether the number still belongs to it, and not to another by now."""
        there = self.machine.processes().get(process.pid)
        return there is not None and there.began == process.began

    def _hit(self, now: float) -> None:
        target = self._choose()
        if target is None:
            return
        seconds = None if self.rng.random() < KILL_SHARE else self._how_long()
        if not send(target.process.pid, signal.SIGKILL if seconds is None else signal.SIGSTOP):
            return
        if seconds is not None:
            self._stopped.append((now + seconds, target.process))
        self.hits.append(Hit(datetime.now(UTC), target.role, target.service, seconds))

    def _how_long(self) -> float:
        short, past_the_lease = self.rng.uniform(1, 4), self.lease_seconds + self.rng.uniform(1, 4)
        return self.rng.choice((short, past_the_lease))

    def _choose(self) -> Target | None:
        """Choose a role first, so that each has the same chance however many processes have it."""
        before = self.roles.targets()
        roles = sorted({target.role for target in before} - {WORKER})
        if any(target.role == WORKER for target in before):
            roles += [IDLE, BUSY]
        if not roles:
            return None
        role = self.rng.choice(roles)
        if role in (IDLE, BUSY):
            return self._by_work(before, role)
        return self.rng.choice([target for target in before if target.role == role])

    def _by_work(self, before: list[Target], role: str) -> Target | None:
        """Return the worker that used the most processor time, or the least, during a short look."""
        time.sleep(LOOK_SECONDS)
        after = self.machine.processes()
        workers = [target for target in before if target.role == WORKER and target.process.pid in after]
        self.rng.shuffle(workers)
        workers.sort(key=lambda target: after[target.process.pid].ticks - target.process.ticks)
        if not workers:
            return None
        chosen = workers[-1 if role == BUSY else 0]
        return Target(role, chosen.service, chosen.process)
