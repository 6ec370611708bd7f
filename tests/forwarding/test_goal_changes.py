"""Conversions that wait follow their goal to a new name; what was sent keeps the old one."""

from datetime import timedelta

from django.utils import timezone

from forwarding.errors import explain
from forwarding.goal_changes import read_goals
from forwarding.models import DailyCount, Delivery, Hold, Operation, Status, Upload
from forwarding.planning.planner import plan_all
from forwarding.rows.counts import rebuild
from forwarding.sending.claims import claim
from forwarding.sweeping import sweep
from integrations.goals import sync_goals
from integrations.models import AdAccount, Connection
from tests.road.road import RoadTestCase, purchase

GOAL_ID = "90010001"


class TestRenamedGoal(RoadTestCase):
    def rename(self) -> None:
        self.microsoft.control("goals", {"id": GOAL_ID, "name": "Web purchase"})
        read_goals(self.account, timezone.now())

    def test_what_waits_goes_out_under_the_new_name(self) -> None:
        self.post(purchase())
        plan_all(timezone.now())
        self.rename()
        self.go()
        [received] = self.microsoft.books.received
        self.assertEqual((received.row or {})["ConversionName"], "Web purchase")

    def test_what_is_on_its_way_keeps_its_key(self) -> None:
        self.post(purchase())
        plan_all(timezone.now())
        claim(self.account.pk, Operation.CONVERSIONS, timezone.now())
        self.rename()
        self.assertEqual(Delivery.objects.get().goal_name, "Purchase")

    def test_what_was_refused_under_the_old_name_goes_out_under_the_new_one(self) -> None:
        self.go()  # the hour's reading comes before the renaming
        self.microsoft.control("goals", {"id": GOAL_ID, "name": "Web purchase"})
        self.post(purchase())
        self.go()
        self.assertEqual(Delivery.objects.get().error_code, 5606)
        self.go()  # the refusal made the goals due for a reading
        self.go()
        self.assertEqual(Delivery.objects.get().status, "delivered")

    def test_access_that_is_given_back_is_tried_at_the_next_reading(self) -> None:
        later = timezone.now() + timedelta(hours=1)
        AdAccount.objects.update(hold_reason=Hold.PERMISSION, held_until=later)
        self.post(purchase())
        for _ in range(2):
            self.go()
        self.assertEqual(Delivery.objects.get().status, "delivered")
        self.account.refresh_from_db()
        self.assertEqual(self.account.hold_reason, "")

    def test_what_waits_for_somebodys_word_is_not_released_with_its_goal(self) -> None:
        for hold in (Hold.CONFIRMATION, Hold.OPERATOR, Hold.BY_HAND):
            with self.subTest(hold):
                self.post(purchase())
                plan_all(timezone.now())
                row = Delivery.objects.latest("pk")
                Delivery.objects.filter(pk=row.pk).update(hold_reason=hold)
                for status in ("Paused", "Active"):
                    self.microsoft.control("goals", {"id": GOAL_ID, "status": status})
                    read_goals(self.account, timezone.now())
                row.refresh_from_db()
                self.assertEqual(row.hold_reason, hold)

    def test_what_was_refused_while_the_goal_was_gone_goes_out_when_it_is_back(self) -> None:
        self.go()  # the hour's reading comes before
        self.microsoft.control("goals", {"id": GOAL_ID, "name": "Something else"})
        self.post(purchase())
        self.go()
        self.microsoft.control("goals", {"id": GOAL_ID, "status": "Deleted"})
        read_goals(self.account, timezone.now())
        self.assertEqual(Delivery.objects.get().error_code, 5606)
        self.microsoft.control("goals", {"id": GOAL_ID, "status": "Active", "name": "Purchase"})
        read_goals(self.account, timezone.now())
        self.go()
        self.assertEqual(Delivery.objects.get().status, "delivered")

    def test_a_refusal_that_a_reading_does_not_explain_is_not_repeated_for_ever(self) -> None:
        self.go()
        self.microsoft.fault(
            "OfflineConversions/Apply",
            "partial_error",
            code=5606,
            error_code="OfflineConversionNameInvalid",
            indexes=[0],
        )
        self.post(purchase())
        for _ in range(3):
            self.go()
        self.assertEqual(
            (Delivery.objects.get().status, len(self.microsoft.calls("OfflineConversions/Apply"))), ("failed", 1)
        )

    def test_a_correction_waits_for_the_name_that_its_conversion_was_sent_with(self) -> None:
        event = purchase(value="100.00")
        self.post(event)
        self.map("refund", "Purchase")
        self.go()
        self.microsoft.control("goals", {"id": GOAL_ID, "name": "Web purchase"})
        self.post(purchase(name="refund", transaction_id=event["transaction_id"], value="30.00", msclkid=None))
        self.go()
        read_goals(self.account, timezone.now())
        refund = Delivery.objects.get(kind="restate")
        words = explain(refund)
        self.assertEqual(refund.status, "failed")
        self.assertIn("Call the goal “Purchase” again", words.fix if words else "")
        self.microsoft.control("goals", {"id": GOAL_ID, "name": "Purchase"})
        read_goals(self.account, timezone.now())
        self.go()
        self.assertEqual([row.effective_value() for row in self.microsoft.bookings], [70])

    def test_the_counts_move_with_it(self) -> None:
        self.post(purchase())
        plan_all(timezone.now())
        self.rename()
        expected = list(DailyCount.objects.exclude(count=0).values_list("goal_name", "status", "count"))
        rebuild(timezone.now())
        self.assertEqual(list(DailyCount.objects.values_list("goal_name", "status", "count")), expected)
        self.assertEqual(expected, [("Web purchase", "pending", 1)])

    def test_a_reading_that_was_cut_short_is_made_up_for(self) -> None:
        self.post(purchase())
        plan_all(timezone.now())
        self.microsoft.control("goals", {"id": GOAL_ID, "name": "Web purchase"})
        sync_goals(self.account, timezone.now())  # and the worker died here
        read_goals(self.account, timezone.now())
        self.assertEqual(Delivery.objects.get().goal_name, "Web purchase")

    def test_what_may_have_been_sent_keeps_its_key(self) -> None:
        self.post(purchase())
        plan_all(timezone.now())
        Delivery.objects.update(attempts=1)
        self.rename()
        self.assertEqual(Delivery.objects.get().goal_name, "Purchase")

    def test_what_a_dead_worker_sent_keeps_its_key_whatever_came_of_it_later(self) -> None:
        event = purchase()
        self.post(event)
        plan_all(timezone.now())
        claim(self.account.pk, Operation.CONVERSIONS, timezone.now())  # its worker dies, perhaps after sending
        Upload.objects.update(leased_until=timezone.now())
        self.microsoft.fault("OfflineConversions/Apply", "throttled")
        self.go()
        for refused in ({}, {"status": Status.FAILED, "error_code": 5606}):
            Delivery.objects.update(**refused)
            self.rename()
            self.assertEqual(Delivery.objects.get().goal_name, "Purchase")

    def test_what_waits_for_a_goal_that_is_paused_goes_on_when_it_is_back(self) -> None:
        self.post(purchase())
        plan_all(timezone.now())
        for status, hold in (("Paused", Hold.GOAL_MISSING), ("Active", "")):
            self.microsoft.control("goals", {"id": GOAL_ID, "status": status})
            read_goals(self.account, timezone.now())
            self.assertEqual(Delivery.objects.get().hold_reason, hold)
        self.go()
        self.assertEqual(len(self.microsoft.bookings), 1)

    def test_a_fresh_click_is_waited_for_although_the_goal_is_back(self) -> None:
        self.microsoft.control("goals", {"id": GOAL_ID, "status": "Paused"})
        read_goals(self.account, timezone.now())
        self.post(purchase())
        plan_all(timezone.now())
        Delivery.objects.update(clicked_at=timezone.now())
        self.microsoft.control("goals", {"id": GOAL_ID, "status": "Active"})
        with self.settings(CLICK_SETTLE_SECONDS=3600):
            read_goals(self.account, timezone.now())
        row = Delivery.objects.get()
        wait = (row.next_attempt_at or timezone.now()) - timezone.now()
        self.assertEqual((row.hold_reason, round(wait / timedelta(hours=1))), (Hold.CLICK_SETTLING, 1))

    def test_a_conversion_dated_ahead_keeps_its_time_when_the_goal_is_back(self) -> None:
        tomorrow = timezone.now() + timedelta(hours=20)
        self.post(purchase(occurred_at=tomorrow.isoformat()))
        plan_all(timezone.now())
        planned = Delivery.objects.get().next_attempt_at
        for status in ("Paused", "Active"):
            self.microsoft.control("goals", {"id": GOAL_ID, "status": status})
            read_goals(self.account, timezone.now())
        self.assertEqual(Delivery.objects.get().next_attempt_at, planned)
        self.assertGreater(planned or tomorrow, tomorrow)

    def test_the_goals_of_a_sign_in_that_needs_a_person_are_not_read(self) -> None:
        AdAccount.objects.update(next_sync_at=timezone.now())
        Connection.objects.update(status=Connection.Status.NEEDS_RECONNECT)
        read: list[int] = []
        sweep(timezone.now(), read.append, read.append)
        self.assertEqual(read, [])

    def test_the_sweep_reads_an_accounts_goals_once_an_hour(self) -> None:
        for _ in range(3):
            self.go()
        self.assertEqual(len(self.microsoft.calls("ConversionGoals/QueryByIds")), 2)  # when it was added, and now
