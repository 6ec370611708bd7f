"""A person's hands and the workers at the same moment: what was cancelled is not at Microsoft, whoever wins."""

from decimal import Decimal

from django.contrib.auth.models import User
from django.utils import timezone

from forwarding.hands import actions
from forwarding.hands.rules import Action
from forwarding.models import Delivery, Kind, Skip, Status
from forwarding.planning.planner import plan_all
from forwarding.tasks import deliver
from tests.road import test_races

ROUNDS, ORDERS = 5, 20


class TestHandsAgainstWorkers(test_races.RaceTestCase):
    def do(self, action: Action, value: Decimal | None = None) -> None:
        rows = Delivery.objects.filter(kind=Kind.CONVERSION)
        actions.apply(action, rows, User.objects.get(), timezone.now(), value)

    def round(self, number: int, action: Action, value: Decimal | None = None) -> None:
        """Let new orders be sent, and something be done to all of them, at once and twice."""
        for order in range(number * ORDERS + 1, (number + 1) * ORDERS + 1):
            self.report("purchase", order, Decimal(100))
        plan_all(timezone.now())
        self.at_once(lambda: deliver(self.account.pk), lambda: self.do(action, value), lambda: self.do(action, value))

    def test_an_order_is_either_booked_or_cancelled(self) -> None:
        for number in range(ROUNDS):
            self.round(number, Action.CANCEL)
        self.settle()
        cancelled = Delivery.objects.filter(skip_reason=Skip.CALLED_OFF).count()
        delivered = Delivery.objects.filter(status=Status.DELIVERED).values_list("msclkid", flat=True)
        self.assertEqual(len(delivered) + cancelled, ROUNDS * ORDERS)
        self.assert_counted({int(click_id, 16): Decimal(100) for click_id in delivered})

    def test_a_new_value_counts_once_before_the_send_or_after_it(self) -> None:
        for number in range(ROUNDS):
            self.round(number, Action.RESTATE, Decimal(30))
        self.do(Action.RESTATE, Decimal(30))  # those whose turn a locked database took
        self.settle()
        self.assert_counted(dict.fromkeys(range(1, ROUNDS * ORDERS + 1), Decimal(30)))
