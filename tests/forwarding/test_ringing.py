"""Sweeps are asked for as often as wanted, and one waits at most."""

from datetime import timedelta
from unittest import mock

import time_machine
from django.test import TestCase

from forwarding.ringing import LOST_AFTER, ring_for_sweep
from forwarding.sweeping import SweepReport
from forwarding.tasks import sweep
from tests.cast import NOON

SECOND = timedelta(seconds=1)


class TestRinging(TestCase):
    def setUp(self) -> None:
        self.clock = self.enterContext(time_machine.travel(NOON, tick=False))
        self.asked = self.enterContext(mock.patch("forwarding.ringing.async_task"))

    def test_one_sweep_waits_at_most(self) -> None:
        for _ in range(3):
            ring_for_sweep()
        self.asked.assert_called_once_with("forwarding.tasks.sweep")

    def test_once_it_has_begun_the_next_may_be_asked_for(self) -> None:
        ring_for_sweep()
        sweep()
        ring_for_sweep()
        self.assertEqual(self.asked.call_count, 2)

    def test_one_that_is_asked_for_while_another_is_at_work_is_not_lost(self) -> None:
        def at_work(*_: object) -> SweepReport:
            ring_for_sweep()
            return SweepReport(0, 0, 0, 0)

        ring_for_sweep()
        with mock.patch("forwarding.tasks.sweep_rows", at_work):
            sweep()
        self.assertEqual(self.asked.call_count, 2)

    def test_one_that_got_lost_is_asked_for_again(self) -> None:
        ring_for_sweep()
        for wait, calls in ((LOST_AFTER - SECOND, 1), (SECOND, 2)):
            self.clock.shift(wait)
            ring_for_sweep()
            self.assertEqual(self.asked.call_count, calls)
