"""What held conversions back is gone: they are due, and a sweep is rung for, in the same moment."""

from collections.abc import Callable
from datetime import timedelta
from unittest import mock

import time_machine
from django.utils import timezone

from forwarding.goal_changes import read_goals
from forwarding.hands import actions
from forwarding.hands.rules import Action
from forwarding.models import Attempt, Delivery, Hold, Status, Upload
from ingest.models import AuditEntry
from integrations.account_settings import pause, resume
from integrations.connecting import add_accounts, disconnect, remove_account
from integrations.mapping import Rule, set_mapping
from integrations.microsoft_ads.emulator.world import SEARCH_US
from integrations.models import AdAccount, Connection
from tests.cast import NOON
from tests.road.road import RoadTestCase, purchase

PURCHASE_ID = "90010001"


class ReleaseTestCase(RoadTestCase):
    """Two purchases of noon, and something that keeps them from being sent."""

    def setUp(self) -> None:
        self.enterContext(time_machine.travel(NOON, tick=False))
        super().setUp()
        self.ring = self.enterContext(mock.patch("forwarding.ringing.async_task"))

    def wait(self) -> None:
        """Report the purchases; the workers do what they can, which is not to send them."""
        self.post(purchase(), purchase())
        self.go()
        self.assertEqual(self.microsoft.bookings, [])

    def release(self, act: Callable[[], object]) -> None:
        """Do what releases them; at its commit a sweep is rung for, and that one sends them, at their first attempt."""
        with self.captureOnCommitCallbacks(execute=True):
            act()
        self.ring.assert_called_with("forwarding.tasks.sweep")
        self.go()
        self.assertEqual(len(self.microsoft.bookings), 2)
        self.assertEqual(set(Delivery.objects.values_list("status", "attempts")), {(Status.DELIVERED, 1)})


class TestAtOnce(ReleaseTestCase):
    def test_resuming_a_paused_account(self) -> None:
        pause(self.account, self.alice, timezone.now())
        self.wait()
        self.release(lambda: resume(self.account, self.alice, timezone.now()))

    def test_lifting_an_accounts_hold(self) -> None:
        later = NOON + timedelta(hours=1)
        AdAccount.objects.update(hold_reason=Hold.PERMISSION, held_until=later, next_sync_at=later)
        self.wait()
        self.release(self.account.lift_hold)

    def test_reconnecting(self) -> None:
        disconnect(self.account.connection, self.alice, timezone.now())
        self.wait()
        self.release(lambda: self.microsoft.connect(self.site, self.alice))

    def test_adding_an_account_again(self) -> None:
        AdAccount.objects.update(paused_at=NOON)
        self.wait()
        AdAccount.objects.update(paused_at=None)
        remove_account(self.account, self.alice, timezone.now())
        connection = Connection.objects.get()
        self.release(lambda: add_accounts(connection, [SEARCH_US], self.alice, timezone.now()))

    def test_a_goal_that_is_active_again(self) -> None:
        self.microsoft.control("goals", {"id": PURCHASE_ID, "status": "Paused"})
        read_goals(self.account, timezone.now())
        self.wait()
        self.microsoft.control("goals", {"id": PURCHASE_ID, "status": "Active"})
        self.release(lambda: read_goals(self.account, timezone.now()))

    def test_releasing_what_a_person_held(self) -> None:
        pause(self.account, self.alice, timezone.now())
        self.wait()
        actions.apply(Action.HOLD, Delivery.objects.all(), self.alice, timezone.now())
        resume(self.account, self.alice, timezone.now())
        self.ring.reset_mock()
        self.release(lambda: actions.apply(Action.RELEASE, Delivery.objects.all(), self.alice, timezone.now()))


class TestAnotherGoal(ReleaseTestCase):
    """The goal of purchases is paused at Microsoft, and somebody maps purchases to another one."""

    def setUp(self) -> None:
        super().setUp()
        self.microsoft.control("goals", {"id": PURCHASE_ID, "status": "Paused"})
        read_goals(self.account, timezone.now())

    def remap(self) -> None:
        other = self.account.goals.exclude(goal_id=PURCHASE_ID).filter(status="Active").order_by("pk")[0]
        set_mapping(self.account, "purchase", Rule(other.goal_id), self.alice, timezone.now())

    def test_what_waits_for_the_goal_goes_to_the_new_one(self) -> None:
        self.wait()
        self.release(self.remap)
        mapping = self.account.mappings.get()
        self.assertEqual({booking.goal_id for booking in self.microsoft.bookings}, {mapping.goal.goal_id})
        self.assertEqual(set(Delivery.objects.values_list("goal", "goal_name")), {(mapping.goal_id, mapping.goal.name)})

    def test_the_audit_log_says_how_many_followed(self) -> None:
        self.wait()
        with self.captureOnCommitCallbacks(execute=True):
            self.remap()
        entry = AuditEntry.objects.get(action="delivery.retry")
        self.assertEqual((entry.actor, entry.details["deliveries"]), (self.alice, 2))
        self.assertEqual(entry.details["scope"], "mapping of purchase")

    def test_more_than_one_go_bears_follow_in_several(self) -> None:
        self.wait()
        with mock.patch.object(actions, "MOST_AT_ONCE", 1):
            self.release(self.remap)

    def test_what_may_be_at_microsoft_keeps_its_goal(self) -> None:
        self.wait()
        sent = Delivery.objects.order_by("pk")[0]
        upload = Upload.objects.create(
            account=self.account, delivery_ids=[sent.pk], started_at=NOON, leased_until=NOON, finished_at=NOON
        )
        Attempt.objects.create(delivery=sent, upload=upload, outcome=Attempt.Outcome.UNKNOWN, created_at=NOON)
        Delivery.objects.filter(pk=sent.pk).update(attempts=1)
        with self.captureOnCommitCallbacks(execute=True):
            self.remap()
        sent.refresh_from_db()
        self.assertEqual((sent.goal_name, sent.hold_reason), ("Purchase", Hold.GOAL_MISSING))
        self.assertEqual(Delivery.objects.exclude(goal_name="Purchase").count(), 1)

    def test_what_was_refused_for_the_old_goal_goes_to_the_new_one(self) -> None:
        self.wait()
        Delivery.objects.update(status=Status.FAILED, error_code=5606, hold_reason="", next_attempt_at=None)
        self.release(self.remap)

    def test_another_events_conversions_stay_where_they_are(self) -> None:
        self.wait()
        other = self.account.goals.exclude(goal_id=PURCHASE_ID).filter(status="Active").order_by("pk")[0]
        with self.captureOnCommitCallbacks(execute=True):
            set_mapping(self.account, "lead", Rule(other.goal_id), self.alice, timezone.now())
        self.assertEqual(set(Delivery.objects.values_list("hold_reason", flat=True)), {Hold.GOAL_MISSING})
