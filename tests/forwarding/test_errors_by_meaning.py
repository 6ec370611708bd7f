"""What becomes of rows and accounts for every error that Microsoft documents, all the way from its answer.

The classes are Microsoft's own words on each code, read a second time from the pages (guides/operation-error-codes,
cm/dailysummary), and not from our table: R try again later, T renew the token, C the person signs in again, P final
for this row, F somebody has to fix something.
"""

import uuid
from collections.abc import Iterator
from datetime import timedelta

from django.utils import timezone

from forwarding.errors import words_of
from forwarding.models import Attempt, Breaker, Delivery, Hold, Status, Upload
from ingest.models import Event
from integrations.microsoft_ads.errors import KNOWN_ERRORS, what_to_do
from integrations.models import AdAccount, Connection
from tests.cast import store_event
from tests.road.road import RoadTestCase

APPLY = "OfflineConversions/Apply"

R = (0, 202, 1010, 2928, 4149, 5612)
R_WHEN_GOAL_IS_OLD_ENOUGH = (5615, "OfflineConversionGoalTooRecent")
R_WHEN_TIME_HAS_PASSED = (5614, 5622)
R_AFTER_A_MINUTE = (117, 207)
T = (105, 109)
C = (108, 120, 122, 123, 124, 125, 126, 1001)
P = (
    *(113, 5603, 5604, 5607, 5608, 5609, 5610, 5611, 5616, 5617, 5620, 5621, 5623, 5627),
    *("OfflineConversionMSClickIdNullOrEmpty", "OfflineConversionMSClickIdInvalid"),
    "ExternalAttributionCreditValueInvalid",
)
# F, by who fixes what: access to the account, its state, the mapping or the goal, a smaller batch, or we.
F_ACCESS = (106,)
F_ACCOUNT = (208, 1008, 5613, 5313, 5326, 5327)
F_GOAL = (
    *(5605, 5606, "NotEligibleForEnhancedConversions", "ExternalAttributionRequiredFieldEmpty"),
    *(5314, 5317, 5319, 5320, 5328, 5331, 5332, 5333, 5337, 5347, 5351, 5352, 5355, 5356),
)
F_SPLIT = (5601, "OfflineConversionBatchSizeExceedsLimit")
# Ours, in the call: its headers, its version, its operation.
F_CALL = (100, 116, 204, 205, 210, 303, 474, 513, 514, 515, 516, 517, 1029, 1030, 1031, 1102, 1490, 5600)
# Ours, in a row.
F_ROW = (
    *(201, 203, 206, 5602, 5618, 5619, 5624, 5625, 5626, 8004),
    *("ConversionEmailAddressIsNotHashed", "ConversionPhoneNumberIsNotHashed"),
    *("GoalNotEligibleForExternalAttribution", "ExternalAttributionModelTooLong"),
)
# Of operations that no conversion goes with.
F_ELSEWHERE = (
    *(5315, 5316, 5318, 5321, 5322, 5323, 5324, 5325, 5329, 6608, 6609, 6610),
    *(*range(5300, 5313), 5330),
)
SYMBOL_ONLY = 99_999  # the number of what Microsoft publishes a symbol for only

Error = tuple[int, str]


class MeaningTestCase(RoadTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.enterContext(self.settings(GOAL_SETTLE_SECONDS=7200))

    def each(self, *groups: tuple[int | str, ...]) -> Iterator[Error]:
        """Yield the code and symbol of every error in a fresh start."""
        for named in (name for group in groups for name in group):
            for error in _spelled(named):
                self.start_over()
                with self.subTest(error):
                    yield error

    def start_over(self) -> None:
        for model in (Upload, Delivery, Event, Breaker):
            model._default_manager.all().delete()
        AdAccount.objects.update(
            hold_reason="",
            held_until=None,
            failed_calls=0,
            batch_limit=None,
            limited_rows=None,
            next_sync_at=timezone.now() + timedelta(hours=1),
        )
        Connection.objects.update(status=Connection.Status.CONNECTED)
        self.microsoft.faults.clear()

    def order(self) -> None:
        an_hour_ago = (timezone.now() - timedelta(hours=1)).replace(microsecond=0)
        store_event(self.site, transaction_id=uuid.uuid4().hex, msclkid=uuid.uuid4().hex, occurred_at=an_hour_ago)

    def row(self) -> Delivery:
        return Delivery.objects.select_related("account__connection").get()

    def statuses(self) -> list[str]:
        return sorted(Delivery.objects.values_list("status", flat=True))

    def held_for(self) -> str:
        self.account.refresh_from_db()
        is_held = self.account.held_until is not None and self.account.held_until > timezone.now()
        return self.account.hold_reason if is_held else ""

    def go_once_more(self) -> None:
        AdAccount.objects.update(held_until=None)
        Delivery.objects.filter(next_attempt_at__isnull=False).update(next_attempt_at=timezone.now())
        self.go()

    def assert_due_in(self, wait: timedelta, tolerance: float = 5) -> None:
        moment = self.row().next_attempt_at
        assert moment is not None
        self.assertLess(abs((moment - timezone.now() - wait).total_seconds()), tolerance)

    def assert_waits_with(self, code: int | None, symbol: str) -> None:
        """Assert that no attempt was burned, and that each row has what Microsoft said and in which call."""
        self.assertEqual(set(Delivery.objects.values_list("status", "attempts")), {(Status.PENDING, 0)})
        noted = [*Attempt.objects.values_list("delivery", "upload", "error_code", "error_symbol").order_by("pk")]
        on_rows = Delivery.objects.values_list("pk", "last_upload", "error_code", "error_symbol").order_by("pk")
        self.assertEqual(noted, [*on_rows])
        # A fault in the shape that has numbers only has no symbol.
        self.assertLessEqual({row[2:] for row in noted}, {(code, symbol), (code, symbol.replace("OfNoName", ""))})
        self.assertEqual({row[1] for row in noted}, {Upload.objects.latest("pk").pk})


def _spelled(named: int | str) -> list[Error]:
    """Return a code with each of its symbols, or a symbol without a published code."""
    if isinstance(named, str):
        return [(SYMBOL_ONLY, named)]
    [known] = [known for known in KNOWN_ERRORS if known.code == named]
    return [(named, symbol) for symbol in known.symbols[:1]] or [(named, "OfNoName")]


class TestEveryErrorIsHere(MeaningTestCase):
    def test_no_code_and_no_symbol_of_the_table_is_left_out(self) -> None:
        groups = (R, R_WHEN_GOAL_IS_OLD_ENOUGH, R_WHEN_TIME_HAS_PASSED, R_AFTER_A_MINUTE, T, C, P, F_ACCESS, F_ACCOUNT)
        more = (F_GOAL, F_SPLIT, F_CALL, F_ROW, F_ELSEWHERE)
        listed = [name for group in (*groups, *more) for name in group]
        self.assertEqual(len(listed), len(set(listed)))
        codes = {known.code for known in KNOWN_ERRORS if known.code is not None}
        self.assertEqual({name for name in listed if isinstance(name, int)}, codes)
        spellings = {
            symbol for known in KNOWN_ERRORS for symbol in known.symbols[1:] or known.symbols * (known.code is None)
        }
        self.assertEqual({name for name in listed if isinstance(name, str)}, spellings)


class TestOneRowRefused(MeaningTestCase):
    """The error stands in PartialErrors, for the one row of the call."""

    def refuse(self, error: Error) -> None:
        code, symbol = error
        self.order()
        self.microsoft.fault(APPLY, "partial_error", code=code, error_code=symbol, indexes=[0])
        self.go()

    def refuse_again(self, error: Error) -> None:
        code, symbol = error
        self.microsoft.fault(APPLY, "partial_error", code=code, error_code=symbol, indexes=[0])
        self.go_once_more()

    def test_r_climbs_the_ladder_and_keeps_the_error(self) -> None:
        for error in self.each(R, T, F_SPLIT):
            self.refuse(error)
            row = self.row()
            self.assertEqual((row.status, row.attempts, row.hold_reason), (Status.RETRYING, 1, ""))
            self.assertEqual((row.error_code, row.error_symbol), error)
            self.assert_due_in(timedelta(seconds=15), tolerance=15.5)

    def test_r_of_a_young_goal_waits_two_hours(self) -> None:
        for error in self.each(R_WHEN_GOAL_IS_OLD_ENOUGH):
            self.refuse(error)
            self.assertEqual((self.row().status, self.row().hold_reason), (Status.PENDING, Hold.GOAL_TOO_NEW))
            self.assert_due_in(timedelta(hours=2))

    def test_r_of_a_time_ahead_goes_out_once_more_and_then_fails(self) -> None:
        for error in self.each(R_WHEN_TIME_HAS_PASSED):
            self.refuse(error)
            self.assertEqual(self.row().status, Status.RETRYING)
            self.assert_due_in(timedelta(minutes=1))
            self.refuse_again(error)
            self.assertEqual(self.row().status, Status.FAILED)

    def test_r_of_a_throttle_holds_the_account_for_a_minute_at_least(self) -> None:
        for error in self.each(R_AFTER_A_MINUTE):
            self.refuse(error)
            self.assertEqual(self.held_for(), Hold.THROTTLED)
            self.assert_waits_with(*error)

    def test_c_asks_the_person_to_sign_in_and_keeps_the_row(self) -> None:
        for error in self.each(C):
            self.refuse(error)
            self.assertEqual(Connection.objects.get().status, Connection.Status.NEEDS_RECONNECT)
            self.assert_waits_with(*error)

    def test_p_fails_for_good_with_its_reason_in_words(self) -> None:
        for error in self.each(P):
            self.refuse(error)
            row = self.row()
            self.assertEqual((row.status, row.next_attempt_at, row.attempts), (Status.FAILED, None, 1))
            self.assertTrue(what_to_do(row.error_code, row.error_symbol).permanent)
            words = words_of(row)
            assert words is not None
            self.assertTrue(words.title)

    def test_f_of_access_or_account_holds_the_account_and_keeps_the_row(self) -> None:
        for hold, group in ((Hold.PERMISSION, F_ACCESS), (Hold.ACCOUNT_INACTIVE, F_ACCOUNT)):
            for error in self.each(group):
                self.refuse(error)
                self.assertEqual(self.held_for(), hold)
                self.assert_waits_with(*error)

    def test_f_of_a_goal_fails_until_it_is_fixed_and_has_the_goals_read_anew(self) -> None:
        for error in self.each(F_GOAL):
            self.refuse(error)
            row = self.row()
            self.assertEqual(row.status, Status.FAILED)
            self.assertFalse(what_to_do(row.error_code, row.error_symbol).permanent)
            self.assertLessEqual(row.account.next_sync_at, timezone.now())

    def test_f_of_ours_goes_out_after_an_hour_and_is_then_kept_for_the_operator(self) -> None:
        for error in self.each(F_CALL, F_ROW, F_ELSEWHERE):
            self.refuse(error)
            self.assertEqual((self.row().status, self.row().hold_reason), (Status.RETRYING, ""))
            self.assert_due_in(timedelta(hours=1))
            self.refuse_again(error)
            self.assertEqual((self.row().status, self.row().hold_reason), (Status.RETRYING, Hold.OPERATOR))

    def test_a_code_of_no_page_goes_out_after_an_hour_and_is_then_kept_with_microsofts_own_words(self) -> None:
        error = (987_654, "NeverSeen")
        self.refuse(error)
        self.assert_due_in(timedelta(hours=1))
        self.assertEqual(self.row().error_message, "A fault that was asked for.")
        self.refuse_again(error)
        row = self.row()
        self.assertEqual((row.hold_reason, row.error_code, row.error_symbol), (Hold.OPERATOR, *error))
        self.assertEqual(row.next_attempt_at, (row.expires_at or timezone.now()) - timedelta(minutes=1))

    def test_a_row_refused_for_its_account_waits_alone_beside_others_that_were_taken(self) -> None:
        groups = ((Hold.PERMISSION, F_ACCESS), (Hold.ACCOUNT_INACTIVE, F_ACCOUNT[:2]), (Hold.RECONNECT, C[:1]))
        for hold, error in ((hold, error) for hold, group in groups for error in self.each(group)):
            self.order()
            self.refuse(error)
            self.assertEqual((self.statuses(), self.held_for()), (["delivered", "pending"], ""))
            waiting = Delivery.objects.filter(status=Status.PENDING, attempts=0, hold_reason=hold)
            [moment] = waiting.values_list("next_attempt_at", flat=True)
            assert moment is not None
            self.assertLess(abs(moment - timezone.now() - timedelta(hours=1)), timedelta(seconds=5))
            self.go_once_more()
            self.assertEqual((self.statuses(), waiting.exists()), (["delivered"] * 2, False))


class TestWholeCallRefused(MeaningTestCase):
    """The error is a fault of the whole call, which carries two rows."""

    def refuse(self, error: Error, times: int = 1, status: int = 400) -> None:
        code, symbol = error
        shape = "ApiFault" if symbol == "OfNoName" else "AdApiFaultDetail"
        self.order()
        self.order()
        self.microsoft.fault(APPLY, "fault_code", times, code=code, error_code=symbol, shape=shape, status=status)
        self.go()

    def test_r_sends_both_again_by_the_ladder_as_their_outcome_is_not_known(self) -> None:
        for error in self.each(R):
            self.refuse(error, status=500)
            self.assertEqual(set(Delivery.objects.values_list("status", "attempts")), {(Status.RETRYING, 1)})
            self.assertEqual(set(Attempt.objects.values_list("outcome", flat=True)), {Attempt.Outcome.UNKNOWN})
            self.assertEqual(AdAccount.objects.get().failed_calls, 1)

    def test_r_of_a_throttle_holds_the_account(self) -> None:
        for error in self.each(R_AFTER_A_MINUTE):
            self.refuse(error, status=429)
            self.assertEqual(self.held_for(), Hold.THROTTLED)
            self.assert_waits_with(*error)

    def test_r_of_a_young_goal_holds_all_of_its_rows_by_one_more_call(self) -> None:
        for error in self.each(R_WHEN_GOAL_IS_OLD_ENOUGH):
            calls = len(self.microsoft.calls(APPLY))
            self.refuse(error, times=2, status=500)
            held = set(Delivery.objects.values_list("status", "hold_reason"))
            self.assertEqual(held, {(Status.PENDING, Hold.GOAL_TOO_NEW)})
            self.assertEqual(len(self.microsoft.calls(APPLY)) - calls, 2)

    def test_t_renews_the_token_and_makes_the_same_call_again(self) -> None:
        for error in self.each(T):
            before = self.microsoft.token_calls
            self.refuse(error, status=401)
            self.assertEqual(self.statuses(), ["delivered"] * 2)
            self.assertEqual(self.microsoft.token_calls - before, 1)

    def test_t_refused_again_with_a_new_token_is_ours_and_disconnects_nobody(self) -> None:
        for error in self.each(T):
            self.refuse(error, times=2, status=401)
            self.assertEqual(self.held_for(), Hold.OPERATOR)
            self.assertEqual(Connection.objects.get().status, Connection.Status.CONNECTED)
            self.assertEqual(Breaker.objects.get().failures, 1)
            self.assert_waits_with(*error)

    def test_c_asks_the_person_to_sign_in(self) -> None:
        for error in self.each(C):
            self.refuse(error)
            self.assertEqual(Connection.objects.get().status, Connection.Status.NEEDS_RECONNECT)
            self.assert_waits_with(*error)

    def test_p_is_looked_for_and_fails_alone(self) -> None:
        for error in self.each(P):
            self.refuse(error, times=2)
            self.assertEqual(self.statuses(), ["delivered", "failed"])

    def test_f_of_a_goal_is_looked_for_and_fails_alone(self) -> None:
        for error in self.each(F_GOAL[:4]):
            self.refuse(error, times=2, status=500)
            self.assertEqual(self.statuses(), ["delivered", "failed"])
            self.assertLessEqual(AdAccount.objects.get().next_sync_at, timezone.now())

    def test_r_of_a_time_ahead_and_a_batch_too_large_are_narrowed_down(self) -> None:
        for error in self.each(R_WHEN_TIME_HAS_PASSED, F_SPLIT):
            self.refuse(error, times=2)
            self.assertEqual(self.statuses(), ["delivered", "retrying"])

    def test_f_of_access_or_account_holds_the_account(self) -> None:
        for hold, group in ((Hold.PERMISSION, F_ACCESS), (Hold.ACCOUNT_INACTIVE, F_ACCOUNT[:3])):
            for error in self.each(group):
                self.refuse(error)
                self.assertEqual(self.held_for(), hold)
                self.assert_waits_with(*error)

    def test_f_of_the_call_holds_the_account_for_the_operator_whatever_its_status(self) -> None:
        for status in (400, 500):
            for error in self.each(F_CALL):
                self.refuse(error, status=status)
                self.assertEqual(self.held_for(), Hold.OPERATOR)
                self.assert_waits_with(*error)

    def test_f_of_a_row_is_looked_for_and_the_other_goes_on(self) -> None:
        for status in (400, 500):
            for error in self.each(F_ROW):
                self.refuse(error, times=2, status=status)
                AdAccount.objects.update(held_until=None)
                self.go()
                self.assertEqual(self.statuses(), ["delivered", "retrying"])

    def test_a_refusal_without_a_name_goes_by_its_status(self) -> None:
        for status, hold in ((403, Hold.PERMISSION), (429, Hold.THROTTLED), (405, Hold.OPERATOR), (401, Hold.OPERATOR)):
            self.start_over()
            with self.subTest(status):
                self.order()
                self.microsoft.fault(APPLY, str(status), 2)
                self.go()
                self.assertEqual(self.held_for(), hold)
                self.assert_waits_with(None, "")


class TestTurkishLira(MeaningTestCase):
    """Microsoft lists the lira as TRL (guides/currencies), and ISO as TRY."""

    def buy(self) -> None:
        an_hour_ago = timezone.now() - timedelta(hours=1)
        store_event(self.site, transaction_id="HP-1", currency="TRY", occurred_at=an_hour_ago)
        self.go()

    def test_it_is_sent_as_try_and_once_more_as_trl(self) -> None:
        self.buy()
        sent = [(row.row or {})["ConversionCurrencyCode"] for row in self.microsoft.books.received]
        self.assertEqual(sent, ["TRY", "TRL"])
        self.assertEqual((self.row().status, self.row().currency), (Status.DELIVERED, "TRY"))

    def test_refused_under_both_names_it_fails(self) -> None:
        self.microsoft.fault(APPLY, "partial_error", 2, code=5611, error_code="X", indexes=[0])
        self.buy()
        self.assertEqual((self.row().status, self.row().attempts), (Status.FAILED, 2))
