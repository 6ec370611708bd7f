"""One run on one database: everything is started, troubled, healed, and judged when it has come to rest."""

import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import requests
from django.core.management import call_command
from django.db import DatabaseError, connection
from redis import RedisError

from tests.chaos import customers, report, verdict
from tests.chaos.ledger import Ledger
from tests.chaos.machine import Machine, manage
from tests.chaos.microsoft import PASSING, Microsoft
from tests.chaos.plan import EMULATOR_SETTLE_SECONDS, WORKERS, Plan
from tests.chaos.roles import Roles
from tests.chaos.stories import Stories
from tests.chaos.traffic import Traffic
from tests.chaos.trouble import Trouble
from tests.chaos.verdict import Evidence

SERVICES = 2  # workers, each with a watchdog of its own
START_SECONDS = 60.0
TAIL_SECONDS = 6.0  # of traffic after the last hit, so that a booking can follow it
TICK_SECONDS = 0.05
MOST_LATER_SECONDS = 30.0  # after an order was told, what else is said of it: some before it is sent, most after
# Less than six minutes, so that a token is renewed while the run lasts: that is done five minutes before its end.
TOKEN_SECONDS = 350
# What a call takes at least, so that there is nearly always one on its way to be hit.
UPLOAD_MILLISECONDS = 400

Say = Callable[[str], object]


@dataclass
class Run:
    """A run under way. `directory` takes logs and Microsoft's books."""

    plan: Plan
    machine: Machine
    directory: Path
    say: Say
    ledger: Ledger = field(default_factory=Ledger)

    def go(self) -> list[str]:
        """Do all of it; return the violations. Whoever calls ends the machine."""
        plan = self.plan
        self.microsoft = Microsoft(
            f"http://127.0.0.1:{plan.emulator_port}", random.Random(plan.seed), plan.timeout_seconds, plan.passes
        )
        self._start()
        later = min(MOST_LATER_SECONDS, plan.seconds / 3)
        stories = Stories(self.ledger, random.Random(plan.seed), lambda: datetime.now(UTC), later)
        traffic = Traffic(self._web, self.keys, self.ledger, stories, random.Random(plan.seed), plan.rate)
        self.trouble = Trouble(
            machine=self.machine,
            roles=Roles(self.machine, workers=WORKERS),
            microsoft=self.microsoft,
            wipe_queue=self._wipe,
            rng=random.Random(plan.seed),
            every=plan.every_seconds,
            lease_seconds=plan.lease_seconds,
        )
        began = time.monotonic()
        traffic.start()
        self._trouble(began)
        traffic.stop()
        self.lifted = customers.lift_holds()
        healed = time.monotonic()
        unrest = [] if traffic.finish(plan.rest_seconds) else ["the web did not answer everything in time"]
        if not self._rest(healed + plan.rest_seconds):
            unrest.append(f"the product did not come to rest: {customers.unfinished()}")
        self.say(f"  rest       {time.monotonic() - healed:.0f} s after the last trouble")
        return unrest + self._judge(traffic)

    @property
    def _web(self) -> str:
        return f"http://127.0.0.1:{self.plan.web_port}"

    def _start(self) -> None:
        environment, state = self.plan.environment, self.directory / "microsoft.jsonl"
        settle = str(EMULATOR_SETTLE_SECONDS)
        if self.plan.redis_port is not None:
            address = ["--bind", "127.0.0.1", "--port", str(self.plan.redis_port)]
            self.machine.start("redis", ["/usr/bin/env", "redis-server", *address, "--save", ""], environment)
        command = ["emulator", "--port", str(self.plan.emulator_port), "--state", str(state)]
        command += ["--goal-settle-seconds", "0", "--adjustment-settle-seconds", settle]
        self.machine.start("emulator", manage(*command), environment)
        call_command("migrate", verbosity=0)
        self._until(self.microsoft.is_up, "the emulator did not start")
        self.microsoft.set_times(TOKEN_SECONDS, UPLOAD_MILLISECONDS)
        self.keys = customers.set_up()
        self.machine.start("web", manage("web", "--port", str(self.plan.web_port)), environment)
        for number in range(SERVICES):
            # Not alone: what a killed watchdog leaves behind has to end by itself, or do no harm.
            self.machine.start(f"worker-{number + 1}", manage("worker"), environment, alone=False)
        self._until(self._web_answers, "the web did not start")

    def _web_answers(self) -> bool:
        with suppress(requests.RequestException):
            return requests.get(f"{self._web}/healthz", timeout=2).ok
        return False

    def _until(self, is_true: Callable[[], bool], otherwise: str) -> None:
        give_up = time.monotonic() + START_SECONDS
        while not is_true():
            self.machine.tend()
            if time.monotonic() > give_up:
                raise RuntimeError(otherwise)
            time.sleep(TICK_SECONDS)

    def _trouble(self, began: float) -> None:
        """Make trouble for the plan's time, and none during the last seconds of it."""
        plan, trouble = self.plan, self.trouble
        trouble.begin()
        while (now := time.monotonic()) < began + plan.seconds - TAIL_SECONDS:
            self._tend()
            trouble.step(now)
            if not trouble.key_changes and now > began + plan.seconds / 2:
                trouble.change_key()
            time.sleep(TICK_SECONDS)
        trouble.end()
        while time.monotonic() < began + plan.seconds:
            self._tend()
            time.sleep(TICK_SECONDS)
        self._until(self.microsoft.is_up, "the emulator did not come back")
        self.microsoft.heal()

    def _tend(self) -> None:
        for service in self.machine.tend():
            if service.name == "emulator":
                self._until(self.microsoft.is_up, "the emulator did not come back")
                self.microsoft.set_times(TOKEN_SECONDS, UPLOAD_MILLISECONDS)

    def _wipe(self) -> None:
        with suppress(DatabaseError, RedisError):
            customers.wipe_queue(self.plan.environment["REDIS_URL"])
        connection.close()  # this thread's own

    def _rest(self, give_up: float) -> bool:
        """Wait until nothing is under way any more; say whether that came in time."""
        while time.monotonic() < give_up:
            self.machine.tend()
            with suppress(DatabaseError):
                if not customers.unfinished():
                    return True
            time.sleep(0.5)
        return False

    # The verdict

    def _judge(self, traffic: Traffic) -> list[str]:
        evidence = Evidence(
            expected=list(self.ledger.expected()),
            facts=list(self.ledger.facts()),
            stored=customers.stored_ids(),
            rows=list(customers.rows()),
            booked=[verdict.booked_of(row) for row in self.microsoft.rows("booked")],
            received=[verdict.received_of(row) for row in self.microsoft.rows("received")],
            planned_refusals={symbol for _, symbol in PASSING},
            untold=self.ledger.untold(),
        )
        resumed, late = report.of_resumption(self.trouble.hits, evidence, datetime.now(UTC))
        for line in (
            *report.of_traffic(self.ledger, traffic.answers),
            *report.of_trouble(self.trouble, customers.takeovers(), self.lifted),
            *resumed,
            *report.of_books(evidence, list(self.microsoft.rows("calls"))),
        ):
            self.say(line)
        return [
            *self.ledger.complaints,
            *verdict.violations(evidence),
            *late,
            *customers.hidden(),
            *customers.miscounts(),
            *customers.broken_sign_ins(),
        ]
