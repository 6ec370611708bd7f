"""Which deliveries a person may do what to: the rules alone, without a database."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.test import SimpleTestCase
from django.utils import timezone

from forwarding.hands import rules
from forwarding.hands.rules import Action, Facts, WhyNot, goal_to_send_to, value_now, why_not
from forwarding.models import Delivery, Hold, Kind, Skip, Status
from integrations.models import AdAccount, ConversionGoal, ValueRule

NOW = timezone.now().replace(microsecond=0)
LATER = NOW + timedelta(hours=1)
GOAL = ConversionGoal(pk=1, goal_id="9001", name="Purchase")
ENQUIRY = ConversionGoal(pk=2, goal_id="9002", name="Trade enquiry")


def row(status: Status = Status.DELIVERED, **fields: Any) -> Delivery:
    """Return a conversion of $49.90, two hours old."""
    given = {
        "account": AdAccount(is_active=True),
        "goal": GOAL,
        "goal_name": GOAL.name,
        "conversion_time": f"{NOW - timedelta(hours=2):%Y-%m-%dT%H:%M:%SZ}",
        "value": Decimal("49.90"),
        "currency": "USD",
        "status": status,
        "next_attempt_at": LATER if status in (Status.PENDING, Status.RETRYING) else None,
        "expires_at": NOW + timedelta(days=89),
    }
    return Delivery(**(given | fields))


def judged(action: Action, delivery: Delivery, value: Decimal | None = None, **facts: Any) -> WhyNot | None:
    """Return why an action cannot be done to a row, given what else is known."""
    return why_not(action, delivery, Facts(**facts), NOW, value)


class TestRetry(SimpleTestCase):
    def test_a_failed_conversion_whose_cause_can_be_mended_goes_again(self) -> None:
        for code in (106, 5606, 5613, 99999):
            self.assertIsNone(judged(Action.RETRY, row(Status.FAILED, error_code=code)))

    def test_what_microsoft_refuses_for_good_would_fail_again(self) -> None:
        for code, because in ((5604, "click ID is not valid"), (5609, "older than 90 days"), (5616, "conversion earl")):
            reason = judged(Action.RETRY, row(Status.FAILED, error_code=code))
            assert reason is not None
            self.assertTrue(reason.would_fail_again)
            self.assertIn(because, reason.because)

    def test_a_conversion_of_ninety_days_is_too_old(self) -> None:
        for status in (Status.FAILED, Status.RETRYING):
            self.assertEqual(judged(Action.RETRY, row(status, expires_at=NOW)), rules.TOO_OLD)

    def test_a_retrying_one_goes_now(self) -> None:
        self.assertIsNone(judged(Action.RETRY, row(Status.RETRYING, error_code=0)))
        self.assertIsNone(judged(Action.RETRY, row(Status.RETRYING, hold_reason=Hold.OPERATOR)))

    def test_what_is_due_needs_nobody(self) -> None:
        self.assertEqual(judged(Action.RETRY, row(Status.PENDING, next_attempt_at=NOW)), rules.DUE)

    def test_what_microsoft_would_lose_now_is_left_to_wait(self) -> None:
        for hold in (
            Hold.CLICK_SETTLING,
            Hold.GOAL_TOO_NEW,
            Hold.THROTTLED,
            Hold.ORIGINAL_PENDING,
            Hold.CONFIRMATION,
            Hold.UNAVAILABLE,
        ):
            with self.subTest(hold=hold):
                self.assertIsNotNone(judged(Action.RETRY, row(Status.PENDING, hold_reason=hold)))

    def test_what_a_person_holds_is_not_sent_by_another_ones_retry(self) -> None:
        reason = judged(Action.RETRY, row(Status.PENDING, hold_reason=Hold.BY_HAND))
        self.assertEqual(reason, WhyNot("held by a person"))

    def test_a_conversion_of_the_future_waits_for_its_time(self) -> None:
        ahead = row(Status.RETRYING, conversion_time=f"{LATER:%Y-%m-%dT%H:%M:%SZ}")
        self.assertEqual(judged(Action.RETRY, ahead), rules.TIME_AHEAD)

    def test_what_is_delivered_skipped_on_its_way_or_of_a_removed_account_is_refused(self) -> None:
        removed = row(Status.FAILED, account=AdAccount(is_active=False))
        self.assertEqual(judged(Action.RETRY, removed), rules.REMOVED)
        self.assertEqual(judged(Action.RETRY, row(Status.RETRYING), is_on_its_way=True), rules.ON_ITS_WAY)
        for status in (Status.DELIVERED, Status.SKIPPED):
            self.assertIsNotNone(judged(Action.RETRY, row(status)))


class TestRetryAfterTheGoalWasTheTrouble(SimpleTestCase):
    def test_a_goal_that_is_gone_or_paused_would_be_refused_again(self) -> None:
        for goal in (ConversionGoal(pk=1, name="Purchase", gone_at=NOW), ConversionGoal(pk=1, status="Paused")):
            for refused in (
                row(Status.FAILED, error_code=5606, goal=goal),
                row(Status.PENDING, hold_reason="goal_missing", goal=goal),
            ):
                self.assertEqual(judged(Action.RETRY, refused), rules.GOAL_MISSING)

    def test_it_goes_to_the_goal_that_its_event_is_mapped_to_now(self) -> None:
        refused = row(Status.FAILED, error_code=5606)
        self.assertIsNone(judged(Action.RETRY, refused, mapped_goal=ENQUIRY))
        self.assertEqual(goal_to_send_to(refused, Facts(mapped_goal=ENQUIRY)), ENQUIRY)

    def test_another_refusal_keeps_its_goal_whatever_the_mapping_says(self) -> None:
        self.assertEqual(goal_to_send_to(row(Status.FAILED, error_code=5613), Facts(mapped_goal=ENQUIRY)), GOAL)

    def test_it_never_moves_when_microsoft_may_have_it_under_the_old_goal(self) -> None:
        reason = judged(Action.RETRY, row(Status.FAILED, error_code=5606), mapped_goal=ENQUIRY, has_arrived=True)
        self.assertEqual(reason, rules.PERHAPS_THERE)
        renamed = row(Status.FAILED, error_code=5613, goal_name="Order")
        self.assertEqual(judged(Action.RETRY, renamed, has_arrived=True), rules.PERHAPS_THERE)

    def test_it_never_moves_onto_its_own_order(self) -> None:
        reason = judged(Action.RETRY, row(Status.FAILED, error_code=5606), mapped_goal=ENQUIRY, is_place_taken=True)
        self.assertEqual(reason, rules.PLACE_TAKEN)


class TestCancelAndHold(SimpleTestCase):
    def test_what_waits_and_was_surely_not_sent_can_be_both(self) -> None:
        for action in (Action.CANCEL, Action.HOLD):
            for status in (Status.PENDING, Status.RETRYING):
                self.assertIsNone(judged(action, row(status)))

    def test_what_may_be_at_microsoft_is_never_cancelled_but_may_be_held(self) -> None:
        self.assertEqual(judged(Action.CANCEL, row(Status.RETRYING), has_arrived=True), rules.PERHAPS_THERE)
        self.assertIsNone(judged(Action.HOLD, row(Status.RETRYING), has_arrived=True))

    def test_what_is_on_its_way_or_over_can_be_neither(self) -> None:
        for action in (Action.CANCEL, Action.HOLD):
            on_its_way = judged(action, row(Status.PENDING), is_on_its_way=True, has_arrived=True)
            self.assertEqual(on_its_way, rules.ON_ITS_WAY)
            for status in (Status.DELIVERED, Status.FAILED, Status.SKIPPED):
                self.assertIsNotNone(judged(action, row(status)))

    def test_a_held_one_is_not_held_again(self) -> None:
        self.assertEqual(judged(Action.HOLD, row(Status.PENDING, hold_reason=Hold.BY_HAND)), rules.HELD)


class TestRelease(SimpleTestCase):
    def test_what_a_person_holds_or_is_set_aside_is_released(self) -> None:
        for hold in (Hold.BY_HAND, Hold.OPERATOR):
            self.assertIsNone(judged(Action.RELEASE, row(Status.RETRYING, hold_reason=hold)))

    def test_no_other_hold_is_a_persons_to_lift(self) -> None:
        for hold in ("", Hold.CLICK_SETTLING, Hold.CONFIRMATION, Hold.GOAL_MISSING):
            self.assertEqual(judged(Action.RELEASE, row(Status.PENDING, hold_reason=hold)), rules.NOT_HELD)

    def test_what_grew_too_old_meanwhile_is_not(self) -> None:
        held = row(Status.PENDING, hold_reason=Hold.BY_HAND, expires_at=NOW)
        self.assertEqual(judged(Action.RELEASE, held), rules.TOO_OLD)


class TestRestateAndRetract(SimpleTestCase):
    def test_a_delivered_conversion_takes_both(self) -> None:
        self.assertIsNone(judged(Action.RESTATE, row(), Decimal(20), has_arrived=True))
        self.assertIsNone(judged(Action.RETRACT, row(), has_arrived=True))

    def test_what_may_have_arrived_takes_both(self) -> None:
        for action in (Action.RESTATE, Action.RETRACT):
            self.assertIsNone(judged(action, row(Status.RETRYING), has_arrived=True))

    def test_what_was_surely_not_sent_is_restated_itself_and_cancelled_instead_of_retracted(self) -> None:
        self.assertIsNone(judged(Action.RESTATE, row(Status.PENDING), Decimal(20)))
        self.assertEqual(judged(Action.RETRACT, row(Status.PENDING)), rules.NOT_SENT)

    def test_nothing_follows_a_retraction_not_even_one_on_its_way(self) -> None:
        for action in (Action.RESTATE, Action.RETRACT):
            retracted = judged(action, row(retracted_at=NOW), has_arrived=True)
            coming = judged(action, row(), coming=row(Status.PENDING, kind=Kind.RETRACT), has_arrived=True)
            self.assertEqual((retracted, coming), (rules.RETRACTED, rules.RETRACTED))

    def test_what_microsoft_does_not_have_or_would_not_take_is_refused(self) -> None:
        for action in (Action.RESTATE, Action.RETRACT):
            self.assertEqual(judged(action, row(expires_at=NOW), has_arrived=True), rules.TOO_OLD)
            self.assertEqual(judged(action, row(kind=Kind.RESTATE), has_arrived=True), rules.CORRECTION)
            for status in (Status.FAILED, Status.SKIPPED):
                self.assertIsNotNone(judged(action, row(status)))

    def test_only_a_value_of_the_orders_own_can_be_restated(self) -> None:
        fixed = judged(Action.RESTATE, row(value_rule=ValueRule.FIXED), has_arrived=True)
        none = judged(Action.RESTATE, row(value=None, currency=""), has_arrived=True)
        self.assertEqual((fixed, none), (rules.FIXED_VALUE, rules.NO_VALUE))
        self.assertIsNone(judged(Action.RETRACT, row(value_rule=ValueRule.FIXED), has_arrived=True))

    def test_the_value_that_counts_already_is_not_stated_again(self) -> None:
        self.assertEqual(judged(Action.RESTATE, row(), Decimal("49.9"), has_arrived=True), rules.SAME_VALUE)

    def test_what_counts_is_the_newest_correction(self) -> None:
        coming = row(Status.PENDING, kind=Kind.RESTATE, value=Decimal(10))
        self.assertEqual(value_now(row(restated_value=Decimal(30)), Facts()), Decimal(30))
        self.assertEqual(value_now(row(restated_value=Decimal(30)), Facts(coming=coming)), Decimal(10))
        self.assertIsNone(value_now(row(retracted_at=NOW), Facts()))

    def test_the_reasons_of_every_action_read_on(self) -> None:
        skipped = row(Status.SKIPPED, skip_reason=Skip.NO_CONSENT)
        for action in Action:
            reason = judged(action, skipped)
            assert reason is not None
            self.assertEqual(reason.because, "not forwarded")
