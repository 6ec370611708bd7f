"""One run on one database: everything is started, troubled, healed, and judged when it has come to rest."""

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import requests
from django.core.management import call_command
from django.db import DatabaseError, connection
from redis import RedisError

from tests.chaos import customers, verdict
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
MOST_NAMED = 12

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
        rng = random.Random(plan.seed)
        self.microsoft = Microsoft(f"http://127.0.0.1:{plan.emulator_port}", rng, plan.timeout_seconds)
        self._start()
        later = min(MOST_LATER_SECONDS, plan.seconds / 3)
        stories = Stories(self.ledger, random.Random(plan.seed), lambda: datetime.now(UTC), later)
        traffic = Traffic(self._web, self.keys, self.ledger, stories, random.Random(plan.seed), plan.rate)
        self.trouble = Trouble(
            machine=self.machine,
            roles=Roles(self.machine, workers=WORKERS),
            microsoft=self.microsoft,
            wipe_queue=self._wipe,
            rng=rng,
            every=plan.every_seconds,
            lease_seconds=plan.lease_seconds,
        )
        began = time.monotonic()
        traffic.start()
        self._trouble(began)
        traffic.stop()
        healed = time.monotonic()
        answered = traffic.finish(plan.rest_seconds)
        rested = self._rest(healed + plan.rest_seconds)
        found = [] if answered else ["the web did not answer everything in time"]
        found += [] if rested else [f"the product did not come to rest: {customers.unfinished()}"]
        self._tell_traffic(traffic)
        return found + self._judge(time.monotonic() - healed)

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
        self.microsoft.let_tokens_live(TOKEN_SECONDS)
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
        while (now := time.monotonic()) < began + plan.seconds - TAIL_SECONDS:
            self._tend()
            trouble.step(now)
            if not trouble.key_changes and now > began + plan.seconds / 2:
                trouble.change_key()
            time.sleep(TICK_SECONDS)
        trouble.end_hits()
        while time.monotonic() < began + plan.seconds:
            self._tend()
            time.sleep(TICK_SECONDS)
        self._until(self.microsoft.is_up, "the emulator did not come back")
        self.microsoft.heal()

    def _tend(self) -> None:
        for service in self.machine.tend():
            if service.name == "emulator":
                self._until(self.microsoft.is_up, "the emulator did not come back")
                self.microsoft.let_tokens_live(TOKEN_SECONDS)

    def _wipe(self) -> None:
        with suppress(DatabaseError, RedisError):
            customers.wipe_queue(self.plan.environment.get("REDIS_URL", ""))

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

    def _judge(self, rest: float) -> list[str]:
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
        found = self.ledger.complaints + list(verdict.violations(evidence))
        found += customers.miscounts() + customers.broken_sign_ins()
        found += self._tell_resumption(evidence)
        self._tell_books(evidence, rest)
        return found

    def _tell_traffic(self, traffic: Traffic) -> None:
        facts = list(self.ledger.facts())
        answers = ", ".join(f"{count:,} × {what}" for what, count in traffic.answers.most_common())
        self.say(f"  traffic    {len(facts):,} facts of {self.ledger.size:,} orders; requests: {answers}")
        trouble = self.trouble
        roles = ", ".join(f"{role} {count}" for role, count in sorted(trouble.by_role().items()))
        stops = sum(hit.stopped_seconds is not None for hit in trouble.hits)
        self.say(f"  hits       {len(trouble.hits)}, {stops} of them stops: {roles}")
        self.say(
            f"  besides    {trouble.wipes} queue wipes, {trouble.expirations} token expirations,"
            f" {trouble.key_changes} change of SECRET_KEY, {customers.takeovers()} uploads taken over"
        )

    def _tell_resumption(self, evidence: Evidence) -> list[str]:
        hits = self.trouble.hits
        gaps = verdict.resumptions([hit.at for hit in hits], [one.at for one in evidence.booked], datetime.now(UTC))
        if gaps:
            worst = max(zip(gaps, hits, strict=True), key=lambda pair: pair[0])
            self.say(f"  resumed    {median(gaps):.1f} s after a hit (median), {worst[0]:.1f} s at most ({worst[1]})")
        late = verdict.RESUMED_WITHIN_SECONDS
        return [f"resumed late: {gap:.0f} s after {hit}" for gap, hit in zip(gaps, hits, strict=True) if gap > late]

    def _tell_books(self, evidence: Evidence, rest: float) -> None:
        calls = list(self.microsoft.rows("calls"))
        faulty = Counter(call["fault"] for call in calls if call["fault"])
        share = sum(faulty.values()) / max(1, len(calls))
        self.say(f"  Microsoft  {len(calls):,} calls, {share:.1%} with a fault: {_listed(faulty)}")
        self.say(f"             rows: {_listed(Counter(one.outcome for one in evidence.received))}")
        statuses = Counter(f"{row.kind} {row.status}" for row in evidence.rows)
        self.say(f"  ours       {_listed(statuses)}; at rest {rest:.0f} s after the last hit ({connection.vendor})")
        ledger, books = verdict.sums_of_ledger(evidence.expected), verdict.sums_of_books(evidence.booked)
        for key in sorted(ledger.keys() | books.keys()):
            due, there = ledger.get(key, (0, 0)), books.get(key, (0, 0))
            sign = "=" if due == there else "≠"
            self.say(
                f"  {' / '.join(key):44} ledger {due[0]:>6,} {due[1]:>14,} {sign} books {there[0]:>6,} {there[1]:>14,}"
            )


def _listed(counts: Mapping[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{count:,} {what}" for what, count in ordered) or "none"


def told(found: list[str]) -> list[str]:
    """Return the lines of the verdict: at most a dozen of each kind of violation, by the word before the colon."""
    if not found:
        return ["  verdict    0 lost, 0 counted twice, 0 wrong values, 0 wrong statuses, 0 miscounts"]
    kinds: dict[str, list[str]] = {}
    for sentence in found:
        kinds.setdefault(sentence.partition(":")[0], []).append(sentence)
    lines = [f"  VIOLATED   {_listed({kind: len(its) for kind, its in kinds.items()})}"]
    for its in kinds.values():
        lines += [f"    {sentence}" for sentence in its[:MOST_NAMED]]
        lines += [f"    … and {len(its) - MOST_NAMED:,} more"] if len(its) > MOST_NAMED else []
    return lines
