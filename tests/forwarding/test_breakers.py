"""Who does not serve us is left alone, for longer each time, and asked by one call whether it is over."""

from datetime import timedelta
from typing import Any

from django.db import connection
from django.test import SimpleTestCase
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from forwarding.models import Breaker, Delivery, Hold, Operation, Status, Upload
from forwarding.planning.planner import plan_all
from forwarding.rows.upload_rows import rows_of
from forwarding.sending import developer_token
from forwarding.sending.account_holds import hold, hold_account
from forwarding.sending.breaker import account_wait, token_wait
from forwarding.sending.claims import accounts_to_serve, claim
from forwarding.sending.marking import record_answer, record_failure
from integrations.microsoft_ads.errors import (
    ClientMisconfigured,
    ConnectionFailed,
    Fault,
    MicrosoftAdsError,
    NoAnswer,
    TokenEndpointUnavailable,
    UnexpectedAnswer,
    WhatToDo,
)
from integrations.microsoft_ads.shapes import ApplyResult, ItemResult
from integrations.models import AdAccount, GoalMapping
from tests.cast import NOON, CastTestCase, make_account, make_goal, store_event
from tests.forwarding.backlog import BacklogTestCase

MINUTE = timedelta(minutes=1)
DOWN = UnexpectedAnswer("No JSON", what_to_do=WhatToDo.RETRY, outcome_unknown=True, http_status=503)


def middling() -> float:
    return 0.5


class TestWaits(SimpleTestCase):
    def test_an_accounts_wait_begins_with_the_fifth_failure_and_doubles_to_half_an_hour(self) -> None:
        self.assertEqual([account_wait(failed, uniform=middling) for failed in (1, 4)], [None, None])
        waits = [account_wait(failed, uniform=middling) for failed in (5, 6, 7, 10, 11, 12, 5000)]
        seconds = [wait.total_seconds() for wait in waits if wait is not None]
        self.assertEqual(seconds, [30, 60, 120, 960, 1800, 1800, 1800])

    def test_what_microsoft_asks_for_comes_first_from_the_first_failure_on(self) -> None:
        self.assertEqual(account_wait(1, 90, middling), timedelta(seconds=90))
        self.assertEqual(account_wait(5, 10, middling), timedelta(seconds=30))

    def test_the_tokens_wait_begins_with_the_third_account_and_doubles_to_a_quarter_of_an_hour(self) -> None:
        self.assertIsNone(token_wait(2, middling))
        waits = [token_wait(refusals, middling) for refusals in (3, 4, 6, 7, 5000)]
        self.assertEqual(waits, [MINUTE, 2 * MINUTE, 8 * MINUTE, 15 * MINUTE, 15 * MINUTE])

    @given(st.integers(5, 500), st.floats(0, 1))
    def test_jitter_is_a_fifth_at_most(self, failed: int, chance: float) -> None:
        wait, middle = account_wait(failed, uniform=lambda: chance), account_wait(failed, uniform=middling)
        assert wait is not None
        assert middle is not None
        self.assertTrue(0.799 * middle <= wait <= 1.201 * middle)


class TestAccount(BacklogTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.queue(30)
        AdAccount.objects.update(batch_limit=3)  # so that every call has rows of its own

    def end_with(self, error: MicrosoftAdsError = DOWN, times: int = 1) -> None:
        for _ in range(times):
            upload = self.claimed()
            assert upload is not None
            self.answer(upload, error)

    def test_four_failures_in_a_row_stop_nothing(self) -> None:
        self.end_with(times=4)
        self.assertEqual((self.reloaded().failed_calls, self.account.hold_reason), (4, ""))

    def test_the_fifth_holds_it_for_about_half_a_minute(self) -> None:
        self.end_with(times=5)
        account = self.reloaded()
        self.assertEqual(account.hold_reason, Hold.UNAVAILABLE)
        assert account.held_until is not None
        self.assertTrue(24 <= (account.held_until - self.now).total_seconds() <= 36)
        self.assertIsNone(self.claimed())

    def test_everything_that_was_not_served_counts(self) -> None:
        unserved = (
            NoAnswer("No answer in time", what_to_do=WhatToDo.RETRY, outcome_unknown=True),
            ConnectionFailed("Could not be reached", what_to_do=WhatToDo.RETRY),
            Fault("Read only", what_to_do=WhatToDo.RETRY, code=1010, outcome_unknown=True),
            UnexpectedAnswer("HTML", what_to_do=WhatToDo.UNKNOWN, outcome_unknown=True, http_status=200),
            TokenEndpointUnavailable("away"),
        )
        for error in unserved:
            self.end_with(error)
        self.assertEqual(self.reloaded().hold_reason, Hold.UNAVAILABLE)

    def test_one_call_is_let_through_and_the_next_wait_is_longer(self) -> None:
        self.end_with(times=5)
        self.now = self.reloaded().held_until or self.now
        self.end_with()
        account = self.reloaded()
        assert account.held_until is not None
        self.assertTrue(48 <= (account.held_until - self.now).total_seconds() <= 72)
        self.assertIsNone(self.claimed())

    def test_no_second_call_goes_out_beside_the_one_that_asks(self) -> None:
        self.end_with(times=5)
        self.now = self.reloaded().held_until or self.now
        self.assertIsNotNone(self.claimed())
        self.assertIsNone(claim(self.account.pk, Operation.ADJUSTMENTS, self.now))

    def test_a_call_that_is_served_closes_it(self) -> None:
        self.end_with(times=5)
        self.now = self.reloaded().held_until or self.now
        upload = self.claimed()
        assert upload is not None
        self.answer(upload)
        account = self.reloaded()
        self.assertEqual((account.failed_calls, account.hold_reason, account.held_until), (0, "", None))
        self.assertIsNotNone(self.claimed())

    def test_a_refusal_of_the_content_is_an_answer_too(self) -> None:
        self.end_with(times=4)
        self.end_with(Fault("Bad date", what_to_do=WhatToDo.REFUSE, code=113, http_status=400))
        self.assertEqual(self.reloaded().failed_calls, 0)

    def test_a_wish_of_microsofts_is_obeyed_at_once(self) -> None:
        self.end_with(UnexpectedAnswer("Away", what_to_do=WhatToDo.RETRY, http_status=503, retry_after_seconds=300))
        self.assertEqual(self.reloaded().held_until, self.now + timedelta(seconds=300))

    def test_a_shorter_hold_of_all_accounts_of_the_sign_in_leaves_a_longer_one_as_it_is(self) -> None:
        another = make_account(self.site, "7001")
        self.end_with(UnexpectedAnswer("Away", what_to_do=WhatToDo.RETRY, http_status=503, retry_after_seconds=3600))
        throttled = Fault("Slow", what_to_do=WhatToDo.THROTTLE, code=117, retry_after_seconds=60)
        hold_account(another, WhatToDo.THROTTLE, throttled, self.now)
        account = self.reloaded()
        self.assertEqual(account.held_until, self.now + timedelta(hours=1))
        self.assertEqual(account.hold_reason, Hold.UNAVAILABLE)
        another.refresh_from_db()
        self.assertEqual(another.hold_reason, Hold.THROTTLED)

    def test_a_longer_hold_goes_before_a_shorter_one(self) -> None:
        throttled = Fault("Slow", what_to_do=WhatToDo.THROTTLE, code=117, retry_after_seconds=60)
        hold_account(self.account, WhatToDo.THROTTLE, throttled, self.now)
        hold_account(self.account, WhatToDo.PERMISSION, None, self.now)
        account = self.reloaded()
        self.assertEqual((account.hold_reason, account.held_until), (Hold.PERMISSION, self.now + timedelta(hours=1)))

    def test_lifting_the_hold_by_hand_starts_the_count_anew(self) -> None:
        self.end_with(times=5)
        self.assertTrue(self.reloaded().lift_hold())
        self.end_with()
        self.assertEqual((self.reloaded().failed_calls, self.account.hold_reason), (1, ""))

    def test_a_served_call_of_a_healthy_account_writes_nothing_of_it(self) -> None:
        AdAccount.objects.update(batch_limit=None)
        upload = self.claimed()
        assert upload is not None
        with CaptureQueriesContext(connection) as captured:
            self.answer(upload)
        touched = [query["sql"] for query in captured if "adaccount" in query["sql"] or "breaker" in query["sql"]]
        self.assertEqual(touched, [])


class TestDeveloperToken(CastTestCase):
    REFUSED = Fault("Invalid", what_to_do=WhatToDo.RENEW_TOKEN, code=105, http_status=401)
    NOW = NOON + timedelta(minutes=5)

    @classmethod
    def setUpTestData(cls) -> None:
        super().setUpTestData()
        cls.accounts = [cls.account, *(cls.another(number) for number in range(4))]
        for order in range(3):
            store_event(cls.site, transaction_id=f"HP-{order}")
        plan_all(NOON)

    accounts: list[AdAccount]

    @classmethod
    def another(cls, number: int) -> AdAccount:
        account = make_account(cls.site, f"70{number}")
        goal = make_goal(account, "Purchase")
        GoalMapping.objects.create(account=account, event_name="purchase", goal=goal)
        return account

    def send(self, account: AdAccount, error: MicrosoftAdsError | None, now: Any = NOW) -> bool:
        """Make the account's next call; return whether there was one."""
        upload = claim(account.pk, Operation.CONVERSIONS, now)
        if upload is None:
            return False
        self.end(upload, error, now)
        return True

    def end(self, upload: Upload, error: MicrosoftAdsError | None, now: Any = NOW) -> None:
        rows = rows_of(upload)
        if error is None:
            record_answer(upload, rows, ApplyResult((ItemResult(None),) * len(rows), "", 200, ""), 0.1, now)
        else:
            record_failure(upload, rows, error, 0.1, now)

    def refuse_three(self) -> Any:
        """Let three accounts be refused; return until when nobody sends."""
        for account in self.accounts[:3]:
            self.assertTrue(self.send(account, self.REFUSED))
        return Breaker.objects.get().open_until

    def test_two_accounts_stop_only_themselves(self) -> None:
        for account in self.accounts[:2]:
            self.send(account, self.REFUSED)
        self.assertEqual(accounts_to_serve(self.NOW), [account.pk for account in self.accounts[2:]])

    def test_the_third_in_a_row_stops_everybody_for_about_a_minute(self) -> None:
        open_until = self.refuse_three()
        self.assertTrue(48 <= (open_until - self.NOW).total_seconds() <= 72)
        self.assertEqual(accounts_to_serve(self.NOW), [])
        self.assertFalse(self.send(self.accounts[4], None))

    def test_a_success_between_them_starts_the_count_anew(self) -> None:
        for account in self.accounts[:2]:
            self.send(account, self.REFUSED)
        self.send(self.accounts[2], None)
        self.send(self.accounts[3], self.REFUSED)
        self.assertEqual(Breaker.objects.get().failures, 1)
        self.assertTrue(self.send(self.accounts[4], None))

    def test_one_account_refused_again_and_again_is_one_account(self) -> None:
        for hour in range(5):
            self.send(self.account, self.REFUSED, self.NOW + timedelta(hours=hour))
        self.assertEqual(Breaker.objects.get().failures, 1)

    def test_whoever_comes_first_makes_the_one_call_that_asks(self) -> None:
        after = self.refuse_three()
        self.assertEqual(len(accounts_to_serve(after)), 1)
        self.assertIsNotNone(claim(self.accounts[4].pk, Operation.CONVERSIONS, after))
        self.assertEqual(accounts_to_serve(after), [])
        self.assertIsNone(claim(self.accounts[3].pk, Operation.CONVERSIONS, after))

    def test_a_call_that_asked_and_died_leaves_the_question_to_the_next(self) -> None:
        after = self.refuse_three()
        asking = claim(self.accounts[4].pk, Operation.CONVERSIONS, after)
        assert asking is not None
        self.assertTrue(self.send(self.accounts[3], None, asking.leased_until))

    def test_its_success_lets_everybody_go_on(self) -> None:
        after = self.refuse_three()
        self.send(self.accounts[4], None, after)
        breaker = Breaker.objects.get()
        self.assertEqual((breaker.failures, breaker.open_until, breaker.probing_until), (0, None, None))
        self.assertIn(self.accounts[3].pk, accounts_to_serve(after))

    def test_its_failure_makes_the_next_wait_longer(self) -> None:
        after = self.refuse_three()
        self.send(self.accounts[2], self.REFUSED, after)  # held no longer than everybody
        wait = Breaker.objects.get().open_until - after
        self.assertTrue(96 <= wait.total_seconds() <= 144)

    def test_an_account_that_waits_for_something_longer_is_not_brought_forward_to_ask(self) -> None:
        in_an_hour = self.NOW + timedelta(hours=1)
        calls = [claim(account.pk, Operation.CONVERSIONS, self.NOW) for account in self.accounts[:3]]
        hold(AdAccount.objects.filter(pk=self.accounts[2].pk), Hold.UNAVAILABLE, in_an_hour)
        for upload in filter(None, calls):
            self.end(upload, self.REFUSED)
        self.assertEqual(AdAccount.objects.get(pk=self.accounts[2].pk).held_until, in_an_hour)
        self.assertEqual(Breaker.objects.get().failures, 3)

    def test_the_rows_wait_and_burn_no_attempt(self) -> None:
        self.refuse_three()
        self.assertEqual(set(Delivery.objects.values_list("status", "attempts")), {(Status.PENDING, 0)})

    def test_what_is_ours_is_told_from_what_is_an_accounts(self) -> None:
        ours = [Fault("?", what_to_do=WhatToDo.OPERATOR, code=code) for code in (116, 204, 205, 303)]
        for error in [*ours, self.REFUSED, ClientMisconfigured("MICROSOFT_DEVELOPER_TOKEN is not set.")]:
            self.assertTrue(developer_token.is_ours(error), error)
        for code, what in ((106, WhatToDo.PERMISSION), (1102, WhatToDo.OPERATOR), (5600, WhatToDo.OPERATOR)):
            self.assertFalse(developer_token.is_ours(Fault("?", what_to_do=what, code=code)))
