"""What people do to a whole list: the forecast, who may, the card of the job and what came of it."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from typing import Any
from unittest import mock

from django.db import DataError, connections
from django.test import TransactionTestCase
from django.utils import timezone

from forwarding.hands import actions, bulk
from forwarding.hands.rules import Action
from forwarding.models import BulkJob, Delivery, Hold, Kind, Status
from ingest.models import AuditEntry, Membership, Role
from tests.cast import make_account, make_site, make_user
from tests.dashboard.accounts import AccountTestCase

HTMX = {"HX-Request": "true"}


class BulkTestCase(AccountTestCase):
    def setUp(self) -> None:
        self.client.force_login(self.alice)

    def ask(self, action: Action, query: str = "?status=failed") -> Any:
        return self.client.get(f"{self.url(f'account-logs-{action}')}{query}", headers=HTMX)

    def do(self, action: Action, query: str = "?status=failed", **fields: str) -> Any:
        """Confirm in the dialog."""
        return self.client.post(f"{self.url(f'account-logs-{action}')}{query}", fields, headers=HTMX)

    def work(self) -> BulkJob:
        """Let a worker go on with the newest job; return it as it is then."""
        job = BulkJob.objects.latest("pk")
        bulk.work_on(job.pk)
        job.refresh_from_db()
        return job

    def be(self, role: Role) -> None:
        Membership.objects.filter(user=self.bob).update(role=role)
        self.client.force_login(self.bob)


class TestRetryAll(BulkTestCase):
    def setUp(self) -> None:
        super().setUp()
        for code in (5606, 5606, 5604):
            self.deliver(Status.FAILED, error_code=code)
        self.deliver(Status.FAILED, error_code=5606, expires_at=timezone.now() - timedelta(days=3))

    def test_the_forecast_says_what_can_succeed(self) -> None:
        page = self.ask(Action.RETRY)
        for words in (
            "Retry 4 failed conversions?", "2 can succeed", "$99.80", "1 will fail again", "1 cannot be retried",
            "older than 90 days", "Retry the 2 that can succeed",
        ):  # fmt: skip
            self.assertContains(page, words)
        self.assertFalse(Delivery.objects.filter(status=Status.PENDING).exists())

    def test_a_worker_retries_those_and_says_why_not_the_others(self) -> None:
        answer = self.do(Action.RETRY)
        self.assertContains(answer, "Retrying 4 conversions")
        self.assertIn("closeModal", json.loads(answer.headers["HX-Trigger"]))
        job = self.work()
        self.assertEqual((job.status, job.seen, job.changed), ("done", 4, 2))
        self.assertEqual(job.refused, {"click ID is not valid": 1, "older than 90 days": 1})
        self.assertEqual(Delivery.objects.filter(status=Status.PENDING).count(), 2)
        entries = AuditEntry.objects.order_by("pk").values_list("action", "details__scope")
        self.assertEqual(list(entries), [("bulk.start", "?status=failed"), ("delivery.retry", "?status=failed")])

    def test_the_filter_is_kept_to(self) -> None:
        other = self.deliver(Status.FAILED, error_code=5606, goal_name="Trade Lead")
        self.do(Action.RETRY, "?goal=Trade+Lead&status=failed")
        self.assertEqual(self.work().seen, 1)
        self.assertEqual(list(Delivery.objects.filter(status=Status.PENDING)), [other])

    def test_what_comes_after_the_start_is_not_its_business(self) -> None:
        self.do(Action.RETRY)
        self.deliver(Status.FAILED, error_code=5606, at=timezone.now() + timedelta(seconds=1))
        self.assertEqual(self.work().seen, 4)

    def test_what_nobody_can_retry_has_nothing_to_confirm_and_starts_nothing(self) -> None:
        page = self.ask(Action.RETRY, "?error=5604")
        self.assertContains(page, "None of them can succeed now.")
        self.assertNotContains(page, 'type="submit"')
        self.do(Action.RETRY, "?error=5604")
        self.assertFalse(BulkJob.objects.exists())

    def test_delivered_and_waiting_conversions_are_no_part_of_it(self) -> None:
        self.deliver()
        self.deliver(Status.PENDING)
        self.assertContains(self.ask(Action.RETRY, ""), "Retry 4 failed or retrying conversions?")

    def test_a_second_click_starts_no_second_job(self) -> None:
        self.do(Action.RETRY)
        toast = json.loads(self.do(Action.RETRY).headers["HX-Trigger"])["toast"]
        self.assertEqual(toast["title"], "Nothing was started")
        self.assertEqual(BulkJob.objects.count(), 1)

    def test_a_filter_too_long_to_be_kept_starts_nothing(self) -> None:
        goal, order = "目" * 100, "単" * 120
        self.deliver(Status.FAILED, error_code=5606, goal_name=goal, transaction_id=order)
        answer = self.do(Action.RETRY, f"?status=failed&goal={goal}&q={order}")
        self.assertEqual(json.loads(answer.headers["HX-Trigger"])["toast"]["title"], "Nothing was started")
        self.assertFalse(BulkJob.objects.exists())

    def test_without_scripts_it_asks_on_a_page_and_leads_back_to_the_list(self) -> None:
        url = f"{self.url('account-logs-retry')}?status=failed"
        self.assertContains(self.client.get(url), "<html")
        page = self.client.post(url, follow=True)
        self.assertEqual(page.redirect_chain[-1][0], f"{self.url('account-logs')}?status=failed")
        self.assertContains(page, "Retrying started")
        self.assertContains(page, "0 of 4")


class TestOtherActions(BulkTestCase):
    def test_a_new_value_is_asked_for_once_and_every_one_gets_it(self) -> None:
        rows = [self.deliver(), self.deliver(value=Decimal(5))]
        page = self.ask(Action.RESTATE, "?status=delivered")
        self.assertContains(page, "Every one of these conversions gets the same new value")
        self.assertEqual(self.do(Action.RESTATE, "?status=delivered", value="x").status_code, 422)
        self.do(Action.RESTATE, "?status=delivered", value="19.90")
        self.assertEqual(self.work().changed, 2)
        restated = Delivery.objects.filter(kind=Kind.RESTATE).values_list("original", "value")
        self.assertEqual(set(restated), {(row.pk, Decimal("19.90")) for row in rows})

    def test_what_is_wrong_with_a_value_is_said_once(self) -> None:
        self.deliver()
        page = self.do(Action.RESTATE, "?status=delivered", value="99999999999999999")
        self.assertContains(page, "Microsoft takes 999,999,999,999 at most.", 1, status_code=422)

    def test_a_retraction_wants_the_accounts_name_typed(self) -> None:
        self.deliver()
        refused = self.do(Action.RETRACT, "?status=delivered", name="Search")
        self.assertContains(refused, f"Type {self.account.name} exactly as it is written here.", status_code=422)
        self.assertFalse(BulkJob.objects.exists())
        self.do(Action.RETRACT, "?status=delivered", name=self.account.name)
        self.work()
        self.assertEqual(Delivery.objects.filter(kind=Kind.RETRACT).count(), 1)

    def test_what_waits_is_held_released_and_cancelled(self) -> None:
        row = self.deliver(Status.PENDING)
        for action, status, hold in (
            (Action.HOLD, Status.PENDING, Hold.BY_HAND),
            (Action.RELEASE, Status.PENDING, None),
            (Action.CANCEL, Status.SKIPPED, ""),
        ):
            with self.subTest(action=action):
                self.do(action, "?status=pending")
                self.assertEqual(self.work().changed, 1)
                row.refresh_from_db()
                self.assertEqual(row.status, status)
                self.assertEqual(row.hold_reason == Hold.BY_HAND, hold == Hold.BY_HAND)

    def test_a_status_that_has_none_of_it_is_answered_and_not_an_error(self) -> None:
        self.deliver()
        self.assertContains(self.ask(Action.HOLD, "?status=delivered"), "None of them can be held.")

    def test_nonsense_in_the_filter_is_never_an_error(self) -> None:
        for query in ("?status=gone&q=%00", "?since=9999-99-99&until=0001-01-01", "?error=%27--&goal=" + "g" * 500):
            for action in Action:
                with self.subTest(query=query[:30], action=action):
                    self.assertEqual(self.ask(action, query).status_code, 200)


class TestDoors(BulkTestCase):
    def test_each_role_does_what_it_may_and_no_more(self) -> None:
        for role in Role:
            self.be(role)
            for action in Action:
                allowed = role in (Role.OWNER, Role.ADMIN, Role.MARKETER) or (
                    role == Role.DEVELOPER and not action.corrects
                )
                with self.subTest(role=role, action=action):
                    self.assertEqual(self.ask(action, "").status_code, 200 if allowed else 403)
                    self.assertEqual(self.do(action, "").status_code == 403, not allowed)

    def test_a_developer_stops_no_corrections_wholesale(self) -> None:
        self.be(Role.DEVELOPER)
        for query in ("?kind=loose", "?q=HP-1"):
            self.assertEqual(self.ask(Action.CANCEL, query).status_code, 403)

    def test_a_stranger_finds_neither_lists_nor_jobs(self) -> None:
        self.deliver(Status.FAILED, error_code=5606)
        self.do(Action.RETRY)
        job = BulkJob.objects.get()
        self.client.force_login(self.charlie)
        self.assertEqual(self.ask(Action.RETRY).status_code, 404)
        self.assertEqual(self.client.get(self.url("account-job", job.public_id)).status_code, 404)
        for name in ("account-job-stop", "account-job-dismiss"):
            self.assertEqual(self.client.post(self.url(name, job.public_id)).status_code, 404)

    def test_another_accounts_job_is_not_found_through_ones_own(self) -> None:
        job = bulk.start(make_account(self.site, "138204422"), Action.HOLD, "", self.alice, timezone.now())
        assert job is not None
        self.assertEqual(self.client.get(self.url("account-job", job.public_id)).status_code, 404)

    def test_a_viewer_sees_the_card_and_cannot_stop_it(self) -> None:
        self.deliver(Status.FAILED, error_code=5606)
        self.do(Action.RETRY)
        self.be(Role.VIEWER)
        job = BulkJob.objects.get()
        self.assertContains(self.client.get(self.url("account-logs")), "disabled title=")
        self.assertEqual(self.client.post(self.url("account-job-stop", job.public_id)).status_code, 403)

    def test_a_list_offers_what_its_rows_can_have_done(self) -> None:
        for status in (Status.FAILED, Status.PENDING, Status.DELIVERED):
            self.deliver(status, error_code=5606 if status == Status.FAILED else None)
        for query, offered in {
            "": set(),
            "?status=failed": {"retry"},
            "?error=5606": {"retry", "hold", "release", "cancel"},
            "?status=pending": {"hold", "release", "cancel"},
            "?status=delivered": {"restate", "retract"},
            "?goal=Purchase": set(Action.values),
        }.items():
            page = self.client.get(self.url("account-logs") + query).content.decode()
            with self.subTest(query):
                self.assertEqual({a.value for a in Action if self.url(f"account-logs-{a}") in page}, offered)


class TestAtOnce(TransactionTestCase):
    def test_five_who_start_the_same_at_one_moment_start_one_job(self) -> None:
        alice = make_user("alice")
        account = make_account(make_site("Harbor & Pine", alice))
        begin_together = threading.Barrier(5)

        def start(_: int) -> bool:
            begin_together.wait(timeout=60)
            try:
                now = timezone.now()
                return bulk.start(account, Action.HOLD, "?status=pending", alice, now) is not None
            finally:
                connections.close_all()

        with ThreadPoolExecutor(5) as people:
            self.assertEqual(sorted(people.map(start, range(5))), [False] * 4 + [True])
        self.assertEqual(BulkJob.objects.count(), 1)
        self.assertEqual(AuditEntry.objects.filter(action="bulk.start").count(), 1)


class TestCard(BulkTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.deliver(Status.FAILED, error_code=5606)
        self.do(Action.RETRY)
        self.job = BulkJob.objects.get()

    def card(self, query: str = "") -> str:
        return self.client.get(self.url("account-job", self.job.public_id) + query, headers=HTMX).content.decode()

    def test_it_asks_for_itself_until_the_job_has_ended(self) -> None:
        self.assertIn('hx-trigger="every 1s"', self.card())
        BulkJob.objects.update(created_at=timezone.now() - timedelta(minutes=1))
        self.assertIn('hx-trigger="every 3s"', self.card())
        self.work()
        self.assertNotIn("hx-trigger", self.card())
        self.assertIn("1 retried.", self.card())

    def test_one_that_finds_nothing_left_to_do_says_why(self) -> None:
        Delivery.objects.update(status=Status.DELIVERED)
        self.work()
        self.assertIn("Nothing was left to do: another action had changed these conversions before.", self.card())

    def test_the_end_is_said_aloud_once(self) -> None:
        self.work()
        self.assertIn("hx-swap-oob", self.card("?was=0"))
        for was in ("100", "", "x", "٣", "9" * 50):
            self.assertNotIn("hx-swap-oob", self.card(f"?was={was}"))

    def test_stopping_it_leaves_the_rest_as_it_is(self) -> None:
        answer = self.client.post(self.url("account-job-stop", self.job.public_id), headers=HTMX)
        self.assertContains(answer, "The others stay as they are.")
        self.assertEqual(self.work().status, "stopped")
        self.assertFalse(Delivery.objects.filter(status=Status.PENDING).exists())

    def break_off(self, times: int) -> None:
        """Let the next batch raise so many times."""
        for _ in range(times):
            with mock.patch.object(actions, "apply_to_batch", side_effect=DataError), self.assertRaises(DataError):
                bulk.work_on(self.job.pk)

    def test_one_whose_batch_always_raises_fails_and_rings_no_more(self) -> None:
        BulkJob.objects.update(rung_at=None)
        self.break_off(bulk.MOST_FAILURES - 1)
        self.assertEqual(bulk.idle_jobs(timezone.now()), [self.job.pk])
        self.break_off(1)
        self.assertEqual(bulk.idle_jobs(timezone.now()), [])
        for words in ("Failed: retrying 1 conversion", "start it again for the rest"):
            self.assertIn(words, self.card())

    def test_what_was_done_before_it_failed_stays_done_and_counted(self) -> None:
        for minutes in (3, 2):
            self.deliver(Status.FAILED, error_code=5606, at=self.job.created_at - timedelta(minutes=minutes))
        with mock.patch.object(actions, "BATCH", 1):
            bulk.do_batch(self.job.pk, timezone.now())
            self.break_off(bulk.MOST_FAILURES)
        self.job.refresh_from_db()
        self.assertEqual((self.job.status, self.job.seen, self.job.changed), ("failed", 1, 1))
        self.assertIn("1 retried.", self.card())

    def test_a_batch_that_passes_forgets_those_that_did_not(self) -> None:
        self.break_off(bulk.MOST_FAILURES - 1)
        self.assertEqual((self.work().status, BulkJob.objects.get().failures), ("done", 0))

    def test_its_result_stays_until_it_is_dismissed(self) -> None:
        self.work()
        page = self.client.get(self.url("account-logs"))
        self.assertContains(page, "1 retried.")
        answer = self.client.post(self.url("account-job-dismiss", self.job.public_id), follow=True)
        self.assertNotContains(answer, "1 retried.")

    def test_a_running_job_is_not_dismissed(self) -> None:
        self.client.post(self.url("account-job-dismiss", self.job.public_id))
        self.assertContains(self.client.get(self.url("account-logs")), "0 of 1")
