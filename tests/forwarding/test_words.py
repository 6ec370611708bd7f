"""What a person is told about a delivery."""

from datetime import UTC, datetime, timedelta

from django.test import SimpleTestCase

from forwarding.errors import account_stop, explain, filterable_codes, send_until, what_next, words_for, words_of
from forwarding.models import Delivery, Hold, Kind, Skip, Status
from integrations.microsoft_ads.errors import CLICK_REFUSED
from integrations.models import AdAccount, Connection, ConversionGoal

NOON = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


def an_account(status: str = Connection.Status.CONNECTED, **fields: object) -> AdAccount:
    return AdAccount(name="Search – US", connection=Connection(status=status), **fields)


def a_delivery(**fields: object) -> Delivery:
    given: dict[str, object] = {
        "account": an_account(),
        "goal_name": "Trade Lead",
        "status": Status.FAILED,
        "expires_at": NOON + timedelta(days=80),
    }
    return Delivery(**(given | fields))


def goal(**fields: object) -> ConversionGoal:
    return ConversionGoal(**({"name": "Trade Lead", "status": "Active"} | fields))


def clock(moment: datetime) -> str:
    return f"{moment:%H:%M}"


def day(moment: datetime) -> str:
    return f"{moment:%b} {moment.day}"


class TestWords(SimpleTestCase):
    def title_of(self, delivery: Delivery) -> str:
        words = words_of(delivery)
        assert words is not None
        return words.title

    def test_what_stops_the_account_comes_before_the_rows_own_reason(self) -> None:
        waiting = a_delivery(
            account=an_account(Connection.Status.NEEDS_RECONNECT),
            status=Status.PENDING,
            hold_reason=Hold.CLICK_SETTLING,
        )
        self.assertEqual(self.title_of(waiting), "Needs reconnect")

    def test_whoever_holds_it_comes_before_its_last_error(self) -> None:
        words = words_of(a_delivery(status=Status.RETRYING, hold_reason=Hold.BY_HAND, error_code=117))
        assert words is not None
        self.assertEqual(words.title, "Held by a person")

    def test_a_failure_keeps_its_own_reason_whatever_stops_the_account(self) -> None:
        failed = a_delivery(account=an_account(paused_at=NOON), error_code=5604)
        self.assertEqual(self.title_of(failed), "Click ID is not valid")

    def test_every_skip_hold_and_listed_code_has_words(self) -> None:
        for skip in Skip:
            self.assertTrue(self.title_of(a_delivery(status=Status.SKIPPED, skip_reason=skip)))
        for hold in Hold:
            self.assertTrue(self.title_of(a_delivery(status=Status.PENDING, hold_reason=hold)))
        for code, title in filterable_codes():
            number = int(code) if code.isdigit() else None
            self.assertEqual(words_for(number, "" if code.isdigit() else code).title, title)

    def test_what_only_making_a_goal_is_refused_for_is_no_filter_of_conversions(self) -> None:
        codes = {code for code, _ in filterable_codes()}
        self.assertTrue(codes.isdisjoint({"5317", "5326", "5327"}))
        self.assertIn("5604", codes)

    def test_every_kind_of_stop_is_named(self) -> None:
        stops = {
            "Account was removed": an_account(is_active=False),
            "Forwarding is paused": an_account(paused_at=NOON),
            "Needs reconnect": an_account(Connection.Status.NEEDS_RECONNECT),
            "Convultra's own set-up is wrong": an_account(Connection.Status.NEEDS_OPERATOR),
            "No permission for this account": an_account(hold_reason=Hold.PERMISSION),
        }
        for title, account in stops.items():
            stop = account_stop(account)
            assert stop is not None
            self.assertEqual(stop.title, title)
        self.assertIsNone(account_stop(an_account()))

    def test_a_delivered_row_needs_no_words(self) -> None:
        self.assertIsNone(words_of(a_delivery(status=Status.DELIVERED)))


class TestGoalNotFound(SimpleTestCase):
    def cause_with(self, found: ConversionGoal | None) -> str:
        words = explain(a_delivery(error_code=5606, goal=found))
        assert words is not None
        self.assertEqual(words.title, "Microsoft does not know a goal called “Trade Lead”")
        return words.cause

    def test_a_renamed_goal_is_named(self) -> None:
        self.assertIn("called “Trade enquiry” now", self.cause_with(goal(name="Trade enquiry")))

    def test_a_goal_that_is_gone_is_said_to_be(self) -> None:
        self.assertIn("no longer exists", self.cause_with(goal(gone_at=NOON)))

    def test_a_paused_goal_is_said_to_be(self) -> None:
        words = explain(a_delivery(error_code=5606, goal=goal(status="Paused")))
        assert words is not None
        self.assertEqual((words.title, words.page), ("The goal “Trade Lead” is paused", "mapping"))

    def test_a_goal_that_looks_right_gets_the_general_words(self) -> None:
        self.assertIn("renamed, deleted, or is of another type", self.cause_with(goal()))


class TestWhatNext(SimpleTestCase):
    def said(self, **fields: object) -> str:
        return what_next(a_delivery(**fields), NOON, clock, day)

    def test_a_retry_names_its_time_and_its_last_day(self) -> None:
        said = self.said(status=Status.RETRYING, error_code=117, next_attempt_at=NOON + timedelta(minutes=4))
        self.assertEqual(said, "The next attempt is at 12:04, and we go on until Feb 9.")

    def test_what_is_due_goes_with_the_next_batch(self) -> None:
        self.assertIn("next batch", self.said(status=Status.PENDING, next_attempt_at=NOON))

    def test_a_stopped_account_names_only_the_last_day(self) -> None:
        said = self.said(status=Status.PENDING, next_attempt_at=NOON, account=an_account(paused_at=NOON))
        self.assertEqual(said, "It is kept, and can be sent until Feb 9.")

    def test_what_waits_for_a_person_names_no_moment(self) -> None:
        for hold in (Hold.BY_HAND, Hold.GOAL_MISSING):
            said = self.said(status=Status.PENDING, hold_reason=hold, next_attempt_at=NOON + timedelta(days=80))
            self.assertEqual(said, "It is kept, and can be sent until Feb 9.")

    def test_a_failure_that_can_be_mended_says_until_when_it_counts(self) -> None:
        self.assertIn("until Feb 9", self.said(error_code=5606))

    def test_a_final_refusal_says_that_nothing_can_be_sent_again(self) -> None:
        for code in (5609, 5610):
            self.assertEqual(self.said(error_code=code), "This conversion cannot be sent again.")
        said = self.said(error_code=5620, kind=Kind.RESTATE, original_id=1)
        self.assertEqual(said, "This correction cannot be sent again.")

    def test_what_was_refused_for_its_click_says_how_another_one_is_sent_and_until_when(self) -> None:
        for code in CLICK_REFUSED:
            said = self.said(error_code=code, transaction_id="HP-7")
            self.assertTrue(
                said.startswith("Report order HP-7 again with another click ID, under a new event ID"), said
            )
            self.assertTrue(said.endswith("That works until Feb 9."), said)
        self.assertIn("report it as a new event", self.said(error_code=5604, transaction_id=""))

    def test_it_offers_no_other_click_to_a_removed_account_or_too_late(self) -> None:
        self.assertIn("cannot be sent again", self.said(error_code=5604, account=an_account(is_active=False)))
        self.assertEqual(self.said(error_code=5604, expires_at=NOON), "")

    def test_what_is_too_old_promises_nothing(self) -> None:
        self.assertEqual(self.said(error_code=5606, expires_at=NOON), "")


class TestSendUntil(SimpleTestCase):
    def test_what_can_be_mended_has_its_last_day(self) -> None:
        for code in (5606, 5604, 5616):
            self.assertEqual(send_until(a_delivery(error_code=code), NOON, day), "Feb 9")

    def test_what_is_final_or_too_old_has_none(self) -> None:
        self.assertEqual(send_until(a_delivery(error_code=5610), NOON, day), "Never")
        self.assertEqual(send_until(a_delivery(error_code=5609), NOON, day), "Too late")
        self.assertEqual(send_until(a_delivery(error_code=5606, expires_at=NOON), NOON, day), "Too late")

    def test_what_did_not_fail_says_nothing(self) -> None:
        self.assertEqual(send_until(a_delivery(status=Status.DELIVERED), NOON, day), "")
