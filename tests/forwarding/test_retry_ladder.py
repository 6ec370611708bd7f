"""When a delivery is tried again, and when it is given up."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.test import SimpleTestCase
from hypothesis import given
from hypothesis import strategies as st

from forwarding.models import Hold, Status
from forwarding.sending.retry import FAILED, Verdict, Waits, after_no_answer, after_refusal, wait_seconds
from forwarding.times import expires_at
from integrations.microsoft_ads.errors import WhatToDo
from tests.cast import NOON

WAITS = Waits(ladder=(30, 60, 120), throttle=60, goal_settle=7200)
CONVERSION = NOON - timedelta(hours=2)


def always(fraction: float) -> Any:
    """Return a stand-in for chance that always draws `fraction`."""
    return lambda: fraction


def refused(what: WhatToDo, attempts: int = 1, **fields: Any) -> Verdict:
    given_fields = {
        "is_repeat": attempts > 1,
        "now": NOON,
        "conversion_at": CONVERSION,
        "waits": WAITS,
        "uniform": always(1.0),
    }
    return after_refusal(what, attempts=attempts, **(given_fields | fields))


class TestLadder(SimpleTestCase):
    def test_it_climbs_a_step_with_each_attempt_and_stays_on_the_last(self) -> None:
        waits = [wait_seconds(WAITS.ladder, attempts, always(1.0)) for attempts in (1, 2, 3, 4, 400)]
        self.assertEqual(waits, [30, 60, 120, 120, 120])

    @given(st.integers(1, 1000), st.floats(0, 1))
    def test_jitter_never_leaves_the_step(self, attempts: int, chance: float) -> None:
        wait = wait_seconds(WAITS.ladder, attempts, always(chance))
        self.assertTrue(0.5 <= wait <= WAITS.ladder[min(attempts, 3) - 1])

    def test_the_products_ladder_reaches_a_day_before_its_last_step(self) -> None:
        *steps, last = settings.RETRY_LADDER_SECONDS
        self.assertEqual(last, 6 * 3600)
        self.assertTrue(23 * 3600 < sum(steps) < 25 * 3600)

    def test_no_answer_means_the_same_again_by_the_ladder(self) -> None:
        verdict = after_no_answer(2, NOON, WAITS, always(1.0))
        self.assertEqual(verdict, Verdict(Status.RETRYING, NOON + timedelta(seconds=60)))


class TestRefusals(SimpleTestCase):
    def test_what_is_permanent_or_to_be_fixed_at_the_goal_fails(self) -> None:
        for what in (WhatToDo.REFUSE, WhatToDo.EXPIRED, WhatToDo.GOAL):
            with self.subTest(what):
                self.assertEqual(refused(what), FAILED)

    def test_what_is_the_accounts_or_the_sign_ins_fault_waits_an_hour_however_often_and_burns_no_attempt(self) -> None:
        holds = {WhatToDo.PERMISSION: Hold.PERMISSION, WhatToDo.ACCOUNT: Hold.ACCOUNT_INACTIVE}
        for what, hold in (holds | {WhatToDo.RECONNECT: Hold.RECONNECT}).items():
            with self.subTest(what):
                in_an_hour = Verdict(Status.PENDING, NOON + timedelta(hours=1), hold, burns_attempt=False)
                self.assertEqual([refused(what), refused(what, attempts=9)], [in_an_hour] * 2)

    def test_microsofts_own_trouble_is_tried_again_however_often(self) -> None:
        verdict = refused(WhatToDo.RETRY, attempts=500)
        self.assertEqual(verdict, Verdict(Status.RETRYING, NOON + timedelta(seconds=120)))

    def test_a_goal_that_is_too_new_waits_and_burns_no_attempt(self) -> None:
        verdict = refused(WhatToDo.GOAL_TOO_NEW)
        self.assertEqual(verdict.hold, Hold.GOAL_TOO_NEW)
        self.assertEqual(verdict.next_attempt_at, NOON + timedelta(hours=2))
        self.assertFalse(verdict.burns_attempt)

    def test_a_throttled_row_waits_at_least_the_throttle(self) -> None:
        verdict = refused(WhatToDo.THROTTLE, uniform=always(0.0))
        self.assertEqual((verdict.hold, verdict.next_attempt_at), (Hold.THROTTLED, NOON + timedelta(seconds=60)))

    def test_a_time_ahead_of_microsofts_clock_is_tried_once_when_it_has_passed(self) -> None:
        ahead = NOON + timedelta(minutes=10)
        first = refused(WhatToDo.WAIT_FOR_TIME, conversion_at=ahead)
        self.assertEqual(first.next_attempt_at, ahead + timedelta(minutes=1))
        self.assertEqual(refused(WhatToDo.WAIT_FOR_TIME, attempts=2), FAILED)

    def test_another_trouble_before_does_not_count_against_a_time_or_an_unknown_code(self) -> None:
        for what in (WhatToDo.WAIT_FOR_TIME, WhatToDo.UNKNOWN):
            self.assertEqual(refused(what, attempts=7, is_repeat=False).status, Status.RETRYING)

    def test_in_its_last_minute_an_unknown_code_is_final(self) -> None:
        last_minute = expires_at(CONVERSION) - timedelta(seconds=30)
        self.assertEqual(refused(WhatToDo.UNKNOWN, attempts=2, now=last_minute), FAILED)

    def test_microsofts_own_wish_goes_before_the_ladder(self) -> None:
        verdict = after_no_answer(1, NOON, WAITS, always(1.0), at_least=900)
        self.assertEqual(verdict.next_attempt_at, NOON + timedelta(seconds=900))

    def test_an_unknown_code_is_tried_after_an_hour_then_held_for_a_person(self) -> None:
        first, second = refused(WhatToDo.UNKNOWN), refused(WhatToDo.UNKNOWN, attempts=2)
        self.assertEqual(first, Verdict(Status.RETRYING, NOON + timedelta(hours=1)))
        self.assertEqual(second.hold, Hold.OPERATOR)
        self.assertEqual(second.next_attempt_at, expires_at(CONVERSION) - timedelta(minutes=1))

    def test_every_thing_to_do_has_a_verdict_that_never_waits_without_a_moment(self) -> None:
        for what in WhatToDo:
            with self.subTest(what):
                verdict = refused(what)
                self.assertEqual(verdict.next_attempt_at is None, verdict.status == Status.FAILED)
