"""Conversions that wait follow their goal to a new name; what was sent keeps the old one."""

from django.utils import timezone

from forwarding.claims import claim
from forwarding.counts import rebuild
from forwarding.goal_changes import read_goals
from forwarding.models import DailyCount, Delivery, Operation
from forwarding.planning import plan_all
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

    def test_the_counts_move_with_it(self) -> None:
        self.post(purchase())
        plan_all(timezone.now())
        self.rename()
        expected = list(DailyCount.objects.exclude(count=0).values_list("goal_name", "status", "count"))
        rebuild(timezone.now())
        self.assertEqual(list(DailyCount.objects.values_list("goal_name", "status", "count")), expected)
        self.assertEqual(expected, [("Web purchase", "pending", 1)])

    def test_the_sweep_reads_an_accounts_goals_once_an_hour(self) -> None:
        for _ in range(3):
            self.go()
        self.assertEqual(len(self.microsoft.calls("ConversionGoals/QueryByIds")), 2)  # when it was added, and now
