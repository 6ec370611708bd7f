"""The roll-up: what goes leaves nothing behind, to the last cent."""

from decimal import Decimal
from unittest import mock, skipUnless

from django.db import connection

from forwarding.models import DailyCount, Delivery
from forwarding.rows import counts
from forwarding.rows.counts import Move, rebuild, record_moves
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

    @skipUnless(connection.vendor == "postgresql", "SQLite has one writer")
    def test_nobody_adds_to_what_is_counted_anew_and_counting_takes_as_long_as_it_takes(self) -> None:
        seen: set[tuple[str, str]] = set()

        def count() -> dict[counts._Key, tuple[int, Decimal]]:
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT relation::regclass::text, current_setting('statement_timeout') FROM pg_locks"
                    " WHERE pid = pg_backend_pid() AND mode = 'ShareRowExclusiveLock'"
                )
                seen.update(cursor.fetchall())
            return {}

        with mock.patch.object(counts, "_counted_anew", count):
            rebuild(NOON)
        self.assertEqual(seen, {("forwarding_dailycount", "0"), ("forwarding_acceptedday", "0")})
