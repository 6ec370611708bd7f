"""Opening an upload is the claim: who gets which rows, and when."""

from datetime import timedelta
from typing import Any
from unittest import skipUnless

from django.conf import settings
from django.db import connection
from django.db.models import QuerySet
from django.test import override_settings

from forwarding.models import Delivery, Hold, Kind, Operation, Status, Upload
from forwarding.planning.planner import plan_all
from forwarding.sending.claims import accounts_to_serve, claim, expire
from forwarding.times import LAST_DAYS
from integrations.models import AdAccount, Connection
from tests.cast import NOON, CastTestCase, store_event

SECOND = timedelta(seconds=1)
NOW = NOON + timedelta(minutes=5)  # the rows have lingered


class ClaimTestCase(CastTestCase):
    def due(self, number: int) -> list[int]:
        """Plan some orders at noon; return their deliveries in the order in which they are due."""
        for order in range(number):
            store_event(self.site, transaction_id=f"HP-{order}")
        plan_all(NOON)
        return list(Delivery.objects.order_by("pk").values_list("pk", flat=True))

    def claim(self, at: Any = NOW) -> Upload | None:
        return claim(self.account.pk, Operation.CONVERSIONS, at)

    def claimed(self, at: Any = NOW) -> Upload:
        upload = self.claim(at)
        assert upload is not None
        return upload


class TestClaim(ClaimTestCase):
    def test_it_lists_the_due_rows_in_order_and_writes_none_of_them(self) -> None:
        rows = self.due(3)
        before = list(Delivery.objects.order_by("pk").values())
        self.assertEqual(self.claimed().delivery_ids, rows)
        self.assertEqual(list(Delivery.objects.order_by("pk").values()), before)

    def test_an_open_upload_is_nobody_elses(self) -> None:
        self.due(1)
        self.claimed()
        self.assertIsNone(self.claim())
        self.assertEqual(accounts_to_serve(NOW), [])

    def test_a_call_never_has_more_than_a_thousand_rows(self) -> None:
        event = store_event(self.site)
        plan_all(NOON)
        row = Delivery.objects.get()
        copies = [Delivery(account=self.account, event=event, dedupe_key=f"k{n}") for n in range(1000)]
        for copy in copies:
            copy.created_at = copy.changed_at = copy.next_attempt_at = NOON
            copy.expires_at = row.expires_at
        Delivery.objects.bulk_create(copies)
        self.assertEqual(len(self.claimed().delivery_ids), 1000)

    @override_settings(UPLOAD_LINGER_SECONDS=30)
    def test_a_short_batch_waits_for_company(self) -> None:
        self.due(1)
        self.assertIsNone(self.claim(NOON + 29 * SECOND))
        self.assertIsNotNone(self.claim(NOON + 30 * SECOND))

    def test_nothing_is_claimed_for_an_account_that_may_not_send(self) -> None:
        self.due(1)
        for model, fields in (
            (AdAccount, {"is_active": False}),
            (AdAccount, {"is_active": True, "held_until": NOW + SECOND}),
            (Connection, {"status": Connection.Status.NEEDS_RECONNECT}),
        ):
            with self.subTest(fields):
                model._default_manager.update(**fields)
                self.assertIsNone(self.claim())
                self.assertEqual(accounts_to_serve(NOW), [])
        AdAccount.objects.update(held_until=NOW)
        Connection.objects.update(status=Connection.Status.CONNECTED)
        self.assertIsNotNone(self.claim())

    def test_a_paused_account_keeps_its_rows(self) -> None:
        self.due(1)
        AdAccount.objects.update(paused_at=NOW)
        self.assertIsNone(self.claim())
        self.assertEqual(accounts_to_serve(NOW), [])

    def test_a_test_that_was_sent_since_does_not_take_the_suspects_turn(self) -> None:
        self.due(1)
        AdAccount.objects.update(batch_limit=1, limited_rows=3)
        for operation, is_test in ((Operation.ADJUSTMENTS, False), (Operation.CONVERSIONS, True)):
            Upload.objects.create(
                account=self.account, operation=operation, is_test=is_test, delivery_ids=[], leased_until=NOON,
                started_at=NOON + is_test * SECOND, finished_at=NOON,
            )  # fmt: skip
        self.assertIsNone(self.claim())

    def test_a_call_of_conversions_carries_no_adjustment(self) -> None:
        conversion, adjustment = self.due(2)
        Delivery.objects.filter(pk=adjustment).update(kind=Kind.RESTATE)
        self.assertEqual(self.claimed().delivery_ids, [conversion])


class TestIndexes(ClaimTestCase):
    def plan_of(self, rows: "QuerySet[Delivery] | QuerySet[Upload]") -> str:
        """Return how the database would find the rows, were the table too long to be read through."""
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off")
        return rows.explain()

    def test_history_costs_a_claim_nothing(self) -> None:
        due = Delivery.objects.due(NOW).filter(account=self.account, kind__in=[Kind.CONVERSION])
        self.assertIn("delivery_due", self.plan_of(due[:1000]))
        last_days = due.filter(expires_at__gt=NOW, expires_at__lte=NOW + LAST_DAYS).order_by("expires_at", "pk")
        self.assertRegex(self.plan_of(last_days[:1000]), "delivery_expiring|delivery_due")

    @skipUnless(connection.vendor == "postgresql", "SQLite does not look into parameters, so no condition is proven")
    def test_calls_that_failed_cost_the_newest_accepted_nothing(self) -> None:
        accepted = Upload.objects.filter(account=self.account, accepted__gt=0).order_by("-started_at")
        self.assertIn("upload_newest_accepted", self.plan_of(accepted[:1]))

    def test_history_costs_a_sweep_nothing(self) -> None:
        self.assertIn("delivery_expiring", self.plan_of(Delivery.objects.too_old(NOW)[:1000]))


class TestTakeOver(ClaimTestCase):
    def test_it_keeps_the_same_rows_in_the_same_order_under_a_new_lease(self) -> None:
        self.due(3)
        first = self.claimed()
        self.assertEqual(accounts_to_serve(first.leased_until), [self.account.pk])
        second = self.claimed(first.leased_until)
        self.assertEqual((second.pk, second.delivery_ids), (first.pk, first.delivery_ids))
        self.assertNotEqual(second.lease_token, first.lease_token)
        self.assertEqual(second.takeovers, 1)

    def test_what_a_killed_worker_left_goes_on_within_two_minutes(self) -> None:
        self.due(1)
        left = self.claimed()
        self.assertLessEqual(left.leased_until - NOW + settings.SWEEP_SECONDS * SECOND, timedelta(minutes=2))


class TestLastDays(ClaimTestCase):
    def expiring_in(self, **days: int) -> list[int]:
        """Let the planned rows expire in so many days, in the order in which they are due; return their keys."""
        rows = self.due(len(days))
        for pk, left in zip(rows, days.values(), strict=True):
            Delivery.objects.filter(pk=pk).update(expires_at=NOW + timedelta(days=left))
        return rows

    def test_what_expires_within_ten_days_goes_first_the_oldest_before_the_others(self) -> None:
        longest, tenth, rest, ninth = self.expiring_in(longest=80, tenth=10, rest=11, ninth=9)
        self.assertEqual(self.claimed().delivery_ids, [ninth, tenth, longest, rest])

    def test_it_fills_a_batch_and_the_others_take_what_is_left(self) -> None:
        longest, last, _, first = self.expiring_in(longest=80, last=5, rest=11, first=4)
        AdAccount.objects.update(batch_limit=3)
        self.assertEqual(self.claimed().delivery_ids, [first, last, longest])

    def test_what_is_not_due_yet_waits_all_the_same(self) -> None:
        waiting, due = self.expiring_in(waiting=2, due=80)
        Delivery.objects.filter(pk=waiting).update(next_attempt_at=NOW + SECOND)
        self.assertEqual(self.claimed().delivery_ids, [due])


class TestHeldByAPerson(ClaimTestCase):
    def test_it_is_never_sent_not_even_in_its_last_minute(self) -> None:
        [row] = self.due(1)
        Delivery.objects.filter(pk=row).update(hold_reason=Hold.BY_HAND)
        self.assertIsNone(self.claim())
        self.assertEqual(accounts_to_serve(NOW), [])

    def test_it_fails_as_expired_in_the_end(self) -> None:
        [row] = self.due(1)
        later = NOON + timedelta(days=90)
        Delivery.objects.filter(pk=row).update(hold_reason=Hold.BY_HAND, next_attempt_at=later)
        self.assertEqual(expire(later), 1)
        self.assertEqual(Delivery.objects.get().error_symbol, "Expired")


class TestExpiry(ClaimTestCase):
    def test_what_waited_too_long_fails_and_says_so(self) -> None:
        self.due(1)
        later = NOON + timedelta(days=90)
        self.assertIsNone(self.claim(later))
        self.assertEqual(expire(later), 1)
        row = Delivery.objects.get()
        self.assertEqual((row.status, row.error_symbol, row.next_attempt_at), (Status.FAILED, "Expired", None))

    def test_what_is_on_its_way_is_left_alone(self) -> None:
        self.due(1)
        self.claimed()
        self.assertEqual(expire(NOON + timedelta(days=90)), 0)
