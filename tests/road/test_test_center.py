"""Test conversions on the whole road: sent once, never again, and taken back."""

import uuid
from datetime import timedelta
from decimal import Decimal
from typing import Any
from unittest import mock

import time_machine
from django.utils import timezone

from forwarding import tasks
from forwarding.errors import explain
from forwarding.hands.actions import apply
from forwarding.hands.rules import IS_TEST, Action
from forwarding.models import DailyCount, Delivery, Kind, Status, TestConversion, Upload
from forwarding.rows.counts import rebuild
from forwarding.test_center.sending import Wish, begin, dry_run, give_up
from ingest.models import AuditEntry, Event
from integrations.goals import sync_goals
from integrations.microsoft_ads.emulator.world import SEARCH_US, SHOPPING_US
from integrations.models import AdAccount, Connection
from tests.road.road import RoadTestCase, purchase

APPLY = "OfflineConversions/Apply"
HOUR = timedelta(hours=1)


class TestCenterCase(RoadTestCase):
    def wish(self, **changes: Any) -> Wish:
        goal = self.account.goals.get(name=changes.pop("goal", "Purchase"))
        given: dict[str, Any] = {"value": Decimal("1.00"), "currency": "USD", "msclkid": uuid.uuid4().hex}
        return Wish(goal, **({"event_name": "purchase"} | given | changes))

    def begin(self, **changes: Any) -> TestConversion:
        return begin(self.account, self.wish(**changes), uuid.uuid4(), self.alice, timezone.now())

    def send(self, **changes: Any) -> Delivery:
        """Begin a test, let a worker do it, and return what became of it."""
        return self.done(self.begin(**changes))

    def done(self, test: TestConversion) -> Delivery:
        tasks.send_test(test.pk)
        test.refresh_from_db()
        assert test.delivery is not None
        return test.delivery

    def last_check(self) -> dict[str, Any]:
        check: dict[str, Any] = TestConversion.objects.latest("pk").checks[-1]
        return check

    def sweep_for_a_day(self) -> None:
        for _ in range(4):
            with time_machine.travel(timezone.now() + 6 * HOUR, tick=False):
                tasks.read_goals(self.account.pk)
                self.go()
                give_up(timezone.now())


class GreenTests(TestCenterCase):
    def test_it_is_booked_once_alone_and_taken_back(self) -> None:
        delivery = self.send()
        self.assertEqual((delivery.status, delivery.is_test), (Status.DELIVERED, True))
        assert delivery.last_upload is not None
        self.assertEqual((delivery.last_upload.delivery_ids, delivery.last_upload.is_test), ([delivery.pk], True))
        [booking] = self.microsoft.bookings
        self.assertEqual((booking.goal_name, booking.value), ("Purchase", Decimal(1)))
        self.go()
        self.assertTrue(booking.retracted)
        self.assertEqual(len(self.microsoft.bookings), 1)

    def test_it_ends_no_search_for_a_row_that_spoils_its_call(self) -> None:
        for trouble in ("", "500"):
            AdAccount.objects.update(batch_limit=500, limited_rows=1000)
            if trouble:
                self.microsoft.fault(APPLY, trouble)
            with mock.patch.object(tasks, "claim", return_value=None):  # the suspects wait their turn
                self.send()
            account = AdAccount.objects.get(pk=self.account.pk)
            self.assertEqual((account.batch_limit, account.limited_rows), (500, 1000), trouble)

    def test_the_retraction_waits_until_microsoft_has_processed_it(self) -> None:
        with self.settings(ADJUSTMENT_SETTLE_SECONDS=6 * 3600):
            delivery = self.send()
        [retraction] = delivery.adjustments.all()
        assert delivery.delivered_at is not None
        self.assertEqual(
            (retraction.kind, retraction.next_attempt_at), (Kind.RETRACT, delivery.delivered_at + 6 * HOUR)
        )
        self.assertEqual(retraction.correction.said_by, self.alice)

    def test_it_stays_where_nobody_wants_it_back(self) -> None:
        delivery = self.send(retract_after=False)
        self.go()
        self.assertFalse(delivery.adjustments.exists())
        self.assertFalse(self.microsoft.bookings[0].retracted)

    def test_the_same_form_sent_twice_sends_one(self) -> None:
        token, wish = uuid.uuid4(), self.wish()
        first = begin(self.account, wish, token, self.alice, timezone.now())
        second = begin(self.account, wish, token, self.alice, timezone.now())
        self.assertEqual(first, second)
        self.done(first)
        tasks.send_test(first.pk)
        self.go()
        self.assertEqual((len(self.microsoft.bookings), Event.objects.count()), (1, 1))
        self.assertEqual(AuditEntry.objects.filter(action="test.send").count(), 1)

    def test_no_other_account_of_the_site_gets_it(self) -> None:
        other = AdAccount.objects.create(
            site=self.site,
            connection=self.account.connection,
            account_id=SHOPPING_US,
            customer_id="251093876",
            name="S",
        )
        sync_goals(other, timezone.now())
        self.send()
        self.go()
        self.assertEqual([row.account_id for row in Delivery.objects.filter(kind=Kind.CONVERSION)], [self.account.pk])

    def test_figures_leave_it_out(self) -> None:
        self.send()
        self.assertFalse(DailyCount.objects.exists())
        rebuild(timezone.now())
        self.assertFalse(DailyCount.objects.exists())

    def test_what_waits_beside_it_goes_in_another_call(self) -> None:
        self.post(purchase())
        self.send()
        self.go()
        self.assertEqual([len(upload.delivery_ids) for upload in Upload.objects.order_by("pk")][:2], [1, 1])

    def test_while_a_call_is_on_its_way_it_waits_for_its_end(self) -> None:
        test = self.begin()
        now = timezone.now()
        ahead = Upload.objects.create(
            account=self.account, operation="conversions", delivery_ids=[], started_at=now, leased_until=now + HOUR
        )
        self.assertEqual(self.done(test).status, Status.PENDING)
        ahead.delete()
        tasks.deliver(self.account.pk)
        self.assertEqual(self.done(test).status, Status.DELIVERED)

    def test_a_renamed_goal_is_sent_under_its_new_name(self) -> None:
        self.microsoft.books.goals["90010001"].name = "Purchase (web)"
        self.assertEqual(self.send().goal_name, "Purchase (web)")
        self.assertEqual(self.microsoft.bookings[0].goal_name, "Purchase (web)")

    def test_a_refused_access_that_was_mended_is_found_out(self) -> None:
        until = timezone.now() + HOUR
        AdAccount.objects.filter(pk=self.account.pk).update(hold_reason="permission", held_until=until)
        self.assertEqual(self.send().status, Status.DELIVERED)
        self.account.refresh_from_db()
        self.assertEqual(self.account.hold_reason, "")


class RedTests(TestCenterCase):
    def assert_never_sent_again(self, calls: int) -> None:
        self.sweep_for_a_day()
        self.assertEqual(len(self.microsoft.calls(APPLY)), calls)

    def test_a_goal_that_is_gone_is_refused_by_name_and_never_tried_again(self) -> None:
        self.microsoft.books.goals["90010001"].name = "purchase"
        self.microsoft.books.goals["90010001"].id = "90019999"
        self.microsoft.books.goals["90019999"] = self.microsoft.books.goals.pop("90010001")
        delivery = self.send()
        words = explain(delivery)
        assert words is not None
        self.assertEqual((delivery.status, delivery.error_code), (Status.FAILED, 5606))
        self.assertIn("does not know a goal called “Purchase”", words.title)
        self.assertIn("Only upper and lower case differ", self.last_check()["fix"])
        self.assertFalse(delivery.adjustments.exists())
        self.assert_never_sent_again(1)

    def test_a_goal_that_comes_back_does_not_bring_it_back(self) -> None:
        self.microsoft.books.goals["90010001"].status = "Deleted"
        delivery = self.send()
        self.microsoft.books.goals["90010001"].status = "Active"
        self.assert_never_sent_again(1)
        delivery.refresh_from_db()
        self.assertEqual(delivery.status, Status.FAILED)

    def test_an_error_of_the_server_ends_it(self) -> None:
        for kind, more in (("status", {"status": 503}), ("close_after", {}), ("html", {})):
            with self.subTest(kind):
                before = len(self.microsoft.calls(APPLY))
                self.microsoft.fault(APPLY, kind, **more)
                delivery = self.send()
                self.assertEqual(delivery.status, Status.FAILED)
                self.sweep_for_a_day()
                self.assertEqual(len(self.microsoft.calls(APPLY)), before + 1)

    def test_what_may_have_arrived_is_taken_back_too(self) -> None:
        self.microsoft.fault(APPLY, "close_after")
        delivery = self.send()
        words = explain(delivery)
        assert words is not None
        self.assertIn("A test is sent once and never again", words.cause)
        self.go(timezone.now() + HOUR)
        self.assertEqual([booking.retracted for booking in self.microsoft.bookings], [True])
        self.assertEqual(delivery.adjustments.get().status, Status.DELIVERED)

    def test_a_refusal_of_the_account_ends_it_and_holds_the_account(self) -> None:
        self.microsoft.fault(APPLY, "fault_code", code=106, error_code="UserIsNotAuthorized")
        delivery = self.send()
        self.assertEqual((delivery.status, delivery.error_code), (Status.FAILED, 106))
        self.account.refresh_from_db()
        self.assertEqual(self.account.hold_reason, "permission")
        self.assert_never_sent_again(1)

    def test_a_worker_that_died_over_it_is_not_succeeded(self) -> None:
        test = self.begin()
        with mock.patch.object(tasks, "send"):
            tasks.send_test(test.pk)
        with time_machine.travel(timezone.now() + HOUR):
            self.go()
        delivery = self.done(test)
        self.assertEqual((delivery.status, delivery.error_symbol), (Status.FAILED, "WorkerDied"))
        self.assertEqual(self.microsoft.calls(APPLY), [])
        self.assertEqual(delivery.adjustments.get().kind, Kind.RETRACT)

    def test_one_that_no_worker_came_to_is_given_up(self) -> None:
        test = self.begin()
        self.assertEqual(give_up(timezone.now()), 0)
        later = timezone.now() + timedelta(minutes=6)
        self.assertEqual((give_up(later), give_up(later)), (1, 0))
        with time_machine.travel(later):
            delivery = self.done(test)
        self.assertEqual((delivery.status, delivery.error_symbol), (Status.FAILED, "TestNotSent"))
        self.assertEqual(self.microsoft.calls(APPLY), [])


class ByHandTests(TestCenterCase):
    def test_nobody_sends_a_failed_test_again_by_hand(self) -> None:
        self.microsoft.fault(APPLY, "status", status=503)
        delivery = self.send()
        for action in (Action.RETRY, Action.HOLD, Action.RELEASE, Action.CANCEL):
            tally = apply(action, Delivery.objects.filter(pk=delivery.pk), self.alice, timezone.now())
            self.assertEqual(list(tally.refused), [IS_TEST], action)
        self.go()
        self.assertEqual(len(self.microsoft.calls(APPLY)), 1)

    def test_a_new_mapping_does_not_bring_it_back(self) -> None:
        self.microsoft.books.goals["90010001"].status = "Deleted"
        delivery = self.send()
        with self.captureOnCommitCallbacks(execute=True):
            self.map("purchase", "Trade enquiry")
        delivery.refresh_from_db()
        self.assertEqual((delivery.status, delivery.goal_name), (Status.FAILED, "Purchase"))


class StoppedTests(TestCenterCase):
    def assert_stopped(self, title: str, note: str) -> None:
        delivery = self.send()
        self.assertEqual((delivery.status, delivery.error_symbol), (Status.FAILED, "TestStopped"))
        self.assertEqual((self.last_check()["title"], self.last_check()["state"]), (title, "bad"))
        self.assertIn(note, str(self.last_check()["note"]))
        self.sweep_for_a_day()
        self.assertEqual(self.microsoft.calls(APPLY), [])

    def test_a_sign_in_that_microsoft_refuses(self) -> None:
        Connection.objects.update(status=Connection.Status.NEEDS_RECONNECT)
        self.assert_stopped("Signed in to Microsoft", "Needs reconnect")

    def test_an_account_that_is_paused_at_microsoft(self) -> None:
        self.microsoft.books.accounts[SEARCH_US].status = "Suspended"
        self.assert_stopped("Account takes conversions", "Account is suspended at Microsoft")

    def test_a_goal_of_the_last_two_hours(self) -> None:
        self.account.goals.filter(name="Purchase").update(first_seen_at=timezone.now() - HOUR)
        with self.settings(GOAL_SETTLE_SECONDS=7200):
            self.assert_stopped("Goal is old enough", "Goal is too new")
        self.assertIsNotNone(self.last_check()["until"])

    def test_a_paused_goal_which_microsoft_would_lose_in_silence(self) -> None:
        self.microsoft.books.goals["90010001"].status = "Paused"
        self.assert_stopped("Goal exists", "is paused")

    def test_forwarding_that_a_person_paused(self) -> None:
        AdAccount.objects.update(paused_at=timezone.now())
        self.assert_stopped("Account takes conversions", "Forwarding is paused")


class DryRunTests(TestCenterCase):
    def test_it_makes_the_same_delivery_and_stores_nothing(self) -> None:
        called = len(self.microsoft.paths)
        delivery = dry_run(self.account, self.wish(), timezone.now())
        self.assertEqual((delivery.goal_name, delivery.value, delivery.pk), ("Purchase", Decimal("1.00"), None))
        self.assertEqual((Event.objects.count(), Delivery.objects.count(), TestConversion.objects.count()), (0, 0, 0))
        self.go()
        self.assertNotIn(APPLY, "".join(self.microsoft.paths[called:]))
