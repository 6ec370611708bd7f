"""The roll-up: what goes leaves nothing behind, to the last cent."""

from decimal import Decimal

from forwarding.models import DailyCount, Delivery
from forwarding.rows.counts import Move, record_moves
from tests.cast import NOON, CastTestCase, store_event


class DailyCountTests(CastTestCase):
    def worth(self, value: str) -> Delivery:
        event = store_event(self.site)
        row = Delivery(account=self.account, event=event, goal_name="Purchase", currency="USD", created_at=NOON)
        row.value = Decimal(value)
        return row

    def test_what_came_and_went_one_by_one_is_worth_nothing(self) -> None:
        rows = [self.worth(value) for value in ("0.10", "0.20", "234.81")]
        for row in rows:
            record_moves([Move(row, None, "pending")], NOON)
        for row in rows:
            record_moves([Move(row, "pending", "delivered")], NOON)
        self.assertEqual(DailyCount.objects.get(status="pending", count=0, value=0).value, 0)
        self.assertEqual(DailyCount.objects.get(status="delivered").value, Decimal("235.11"))
