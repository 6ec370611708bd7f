"""Whatever happens in whatever order: nothing accepted is lost, nothing is counted twice, nothing is hidden."""

import os

from django.test import TransactionTestCase
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.machine import SEEN, Conversions, Corrections
from tests.model.stage import build

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "100"))
STEPS = int(os.environ.get("MODEL_STEPS", "60"))
UNWANTED = {Phase.explain, *([Phase.shrink] if "MODEL_NO_SHRINKING" in os.environ else ())}
PROFILE = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    derandomize="MODEL_EXAMPLES" not in os.environ,
    deadline=None,
    print_blob=True,
    report_multiple_bugs=False,
    phases=[phase for phase in Phase if phase not in UNWANTED],
    suppress_health_check=list(HealthCheck),
)


# What the examples have to come across, or the machine would prove little.
OF_CONVERSIONS = {
    *("died after_claim", "died after_send", "died half_marked", "died half_planned"),
    *("ended conversion delivered", "ended conversion failed Expired", "ended conversion skipped same_order"),
    *("ended conversion skipped no_consent", "ended conversion skipped not_mapped"),
}
OF_CORRECTIONS = {
    *("ended restate delivered", "ended retract delivered", "ended restate skipped applied"),
    *("ended conversion skipped cancelled", "ended restate skipped superseded", "ended retract skipped retracted"),
}


class ModelTests(TransactionTestCase):
    def run_machine(self, machine: type[Conversions], wanted: set[str]) -> None:
        machine.stage = build()
        SEEN.clear()
        run_state_machine_as_test(machine, settings=PROFILE)
        if PROFILE.derandomize:
            self.assertEqual(wanted - set(SEEN), set())

    def test_conversions(self) -> None:
        self.run_machine(Conversions, OF_CONVERSIONS)

    def test_corrections(self) -> None:
        self.run_machine(Corrections, OF_CORRECTIONS)
