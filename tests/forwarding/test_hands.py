"""What a person does by hand, from the rows to Microsoft's books."""

from datetime import timedelta
from decimal import Decimal
from typing import Any
from unittest import mock

from django.db import connection
from django.db.models import QuerySet, Sum
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from forwarding.goal_changes import read_goals
from forwarding.hands import actions, rules
from forwarding.hands.actions import Tally
from forwarding.hands.rules import Action, WhyNot
from forwarding.models import Attempt, DailyCount, Delivery, Hold, Kind, Operation, Skip, Status
from forwarding.rows import counts
from forwarding.sending.claims import claim
from ingest.models import AuditEntry
from integrations.models import AdAccount
from tests.road.road import RoadTestCase, purchase

SYMBOLS = {
    5604: "OfflineConversionMicrosoftClickIdInvalid",
    5606: "OfflineConversionNameInvalid",
}
CONVERSIONS, ADJUSTMENTS = "OfflineConversions/Apply", "OfflineConversionAdjustments/Apply"


class HandsTestCase(RoadTestCase):
    """Alice's site, whose corrections settle at once, and what she does by hand."""

    def setUp(self) -> None:
        super().setUp()
        self.enterContext(self.settings(ADJUSTMENT_SETTLE_SECONDS=0))
        self.microsoft.books.settings.adjustment_settle = timedelta(0)

    def do(self, action: Action, *rows: Delivery, value: Decimal | None = None, **more: Any) -> Tally:
        keys = [row.pk for row in rows]
        deliveries = Delivery.objects.filter(pk__in=keys) if rows else Delivery.objects.all()
        return actions.apply(action, deliveries, self.alice, timezone.now(), value, **more)

    def buy(self, **changes: Any) -> Delivery:
        """Report an order and let the workers do what is due; return its conversion."""
        event = purchase(**changes)
        self.post(event)
        self.go()
        return Delivery.objects.get(event__event_id=event["event_id"])

    def waiting(self) -> Delivery:
        """Return an order that waits for its click to settle."""
        with self.settings(CLICK_SETTLE_SECONDS=7200):
            return self.buy()

    def refused(self, code: int, **changes: Any) -> Delivery:
        """Return an order that Microsoft refused."""
        self.microsoft.fault(CONVERSIONS, "partial_error", indexes=[0], code=code, error_code=SYMBOLS[code])
        return self.buy(**changes)

    def unknown(self) -> Delivery:
        """Return an order whose call brought no answer: Microsoft has it."""
        self.microsoft.fault(CONVERSIONS, "close_after")
        return self.buy()

    def counted(self) -> dict[tuple[str, str], tuple[int, Decimal]]:
        """Return what the roll-up says, having checked that counting anew says the same."""
        rows = self._roll_up()
        counts.rebuild(timezone.now())
        self.assertEqual(rows, self._roll_up())
        return rows

    def _roll_up(self) -> dict[tuple[str, str], tuple[int, Decimal]]:
        rows = DailyCount.objects.exclude(count=0, value=0).values_list("status", "goal_name").order_by()
        return {tuple(key): (n, worth) for *key, n, worth in rows.annotate(Sum("count"), Sum("value"))}

    def assert_refused(self, tally: Tally, reason: WhyNot) -> None:
        self.assertEqual((tally.able, dict(tally.refused)), (0, {reason: 1}))


class TestRetry(HandsTestCase):
    def test_a_refused_conversion_goes_out_again(self) -> None:
        delivery = self.refused(5606)
        self.assertEqual(delivery.status, Status.FAILED)
        self.assertEqual(self.do(Action.RETRY).able, 1)
        self.go()
        delivery.refresh_from_db()
        self.assertEqual((delivery.status, delivery.error_code), (Status.DELIVERED, None))
        self.assertEqual(len(self.microsoft.bookings), 1)
        self.assertEqual(self.counted(), {("delivered", "Purchase"): (1, Decimal("49.90"))})

    def test_a_retrying_one_goes_out_now_with_the_same_bytes(self) -> None:
        delivery = self.unknown()
        self.assertEqual(self.do(Action.RETRY).able, 1)
        self.go()
        delivery.refresh_from_db()
        self.assertEqual(delivery.status, Status.DELIVERED)
        first, second = self.microsoft.calls(CONVERSIONS)
        self.assertEqual(first.body_sha256, second.body_sha256)
        self.assertEqual(len(self.microsoft.bookings), 1)

    def test_what_would_be_refused_again_stays_and_is_told(self) -> None:
        delivery = self.refused(5604)
        tally = self.do(Action.RETRY)
        self.assert_refused(tally, WhyNot("click ID is not valid", would_fail_again=True))
        delivery.refresh_from_db()
        self.assertEqual(delivery.status, Status.FAILED)

    def test_a_remapped_event_goes_to_its_new_goal(self) -> None:
        delivery = self.refused(5606)
        self.map("purchase", "Qualified Lead")
        tally = actions.preview(Action.RETRY, Delivery.objects.all(), timezone.now())
        self.assertEqual((tally.able, tally.moved), (1, {"Qualified Lead": 1}))
        self.do(Action.RETRY)
        self.go()
        [booking] = self.microsoft.bookings
        self.assertEqual(booking.goal_name, "Qualified Lead")
        delivery.refresh_from_db()
        self.assertEqual(delivery.goal_name, "Qualified Lead")
        self.assertEqual(self.counted(), {("delivered", "Qualified Lead"): (1, Decimal("49.90"))})

    def test_an_order_that_the_new_goal_has_already_stays(self) -> None:
        refused = self.refused(5606, transaction_id="HP-1")
        self.map("purchase", "Qualified Lead")
        self.buy(transaction_id="HP-1")
        self.assert_refused(self.do(Action.RETRY, refused), rules.PLACE_TAKEN)

    def test_one_that_meets_another_of_its_click_at_the_new_goal_moves_a_second_on(self) -> None:
        same = {"msclkid": "f" * 32, "occurred_at": (timezone.now() - timedelta(hours=2)).isoformat()}
        refused = self.refused(5606, **same)
        self.map("purchase", "Qualified Lead")
        other = self.buy(**same)
        self.do(Action.RETRY, refused)
        self.go()
        refused.refresh_from_db()
        self.assertEqual(refused.status, Status.DELIVERED)
        self.assertNotEqual(refused.conversion_time, other.conversion_time)
        self.assertEqual([booking.counted for booking in self.microsoft.bookings], [True, True])

    def test_a_goal_that_is_away_is_not_asked_again(self) -> None:
        self.refused(5606)
        self.account.goals.update(gone_at=timezone.now())
        self.assert_refused(self.do(Action.RETRY), rules.GOAL_MISSING)

    def test_it_waits_where_microsoft_would_lose_it(self) -> None:
        delivery = self.refused(5606)
        with self.settings(CLICK_SETTLE_SECONDS=7200):
            self.do(Action.RETRY)
        delivery.refresh_from_db()
        self.assertEqual((delivery.status, delivery.hold_reason), (Status.PENDING, Hold.CLICK_SETTLING))

    def test_what_was_refunded_meanwhile_is_not_sent(self) -> None:
        self.map("refund", "Purchase")
        delivery = self.refused(5606, transaction_id="HP-1")
        self.post(purchase(name="refund", transaction_id="HP-1", value=None, currency=None, msclkid=None))
        self.go()
        self.do(Action.RETRY, delivery)
        self.go()
        delivery.refresh_from_db()
        self.assertEqual((delivery.status, delivery.skip_reason), (Status.SKIPPED, Skip.CANCELLED))
        self.assertEqual(self.microsoft.bookings, [])
        self.counted()

    def test_a_paused_accounts_conversions_are_counted_apart(self) -> None:
        self.refused(5606)
        AdAccount.objects.update(paused_at=timezone.now())
        tally = actions.preview(Action.RETRY, Delivery.objects.all(), timezone.now())
        self.assertEqual(tally.stopped, {"Forwarding is paused": 1})


class TestCancel(HandsTestCase):
    def test_a_cancelled_order_is_never_sent_and_stays_taken(self) -> None:
        delivery = self.waiting()
        key = delivery.dedupe_key
        self.assertEqual(self.do(Action.CANCEL).able, 1)
        self.buy(transaction_id=delivery.transaction_id)
        delivery.refresh_from_db()
        self.assertEqual((delivery.status, delivery.skip_reason), (Status.SKIPPED, Skip.CALLED_OFF))
        self.assertEqual(delivery.dedupe_key, key)
        self.assertEqual(self.microsoft.bookings, [])
        self.assertEqual(self.counted()["skipped", Skip.CALLED_OFF], (1, Decimal("49.90")))

    def test_what_microsoft_may_have_is_not_cancelled(self) -> None:
        delivery = self.unknown()
        self.assertEqual(delivery.attempt_rows.get().outcome, Attempt.Outcome.UNKNOWN)
        self.assert_refused(self.do(Action.CANCEL), rules.PERHAPS_THERE)

    def test_what_is_on_its_way_belongs_to_its_upload(self) -> None:
        delivery = self.waiting()
        Delivery.objects.update(next_attempt_at=timezone.now() - timedelta(minutes=5), hold_reason="")
        assert claim(self.account.pk, Operation.CONVERSIONS, timezone.now()) is not None
        for action in (Action.CANCEL, Action.HOLD, Action.RETRY):
            with self.subTest(action=action):
                self.assert_refused(self.do(action, delivery), rules.ON_ITS_WAY)

    def test_a_correction_that_waits_is_called_off_and_the_one_before_it_counts_again(self) -> None:
        with self.settings(ADJUSTMENT_SETTLE_SECONDS=3600):
            delivery = self.buy()
            self.do(Action.RESTATE, delivery, value=Decimal(30))
            self.do(Action.RESTATE, delivery, value=Decimal(20))
            newest = Delivery.objects.filter(kind=Kind.RESTATE, status=Status.PENDING).get()
            self.assertEqual(newest.value, Decimal(20))
            self.assertEqual(self.do(Action.CANCEL, newest).able, 1)
            again = Delivery.objects.filter(kind=Kind.RESTATE, status=Status.PENDING).get()
        self.assertEqual(again.value, Decimal(30))


class TestHoldAndRelease(HandsTestCase):
    def test_a_held_conversion_is_not_sent_until_somebody_releases_it(self) -> None:
        delivery = self.waiting()
        self.do(Action.HOLD)
        delivery.refresh_from_db()
        assert delivery.expires_at is not None
        self.assertEqual(delivery.hold_reason, Hold.BY_HAND)
        self.go(timezone.now() + timedelta(hours=3))
        self.assertEqual(self.microsoft.bookings, [])
        self.do(Action.RELEASE)
        self.go()
        self.assertEqual(len(self.microsoft.bookings), 1)

    def test_a_release_waits_for_the_click_all_the_same(self) -> None:
        delivery = self.waiting()
        with self.settings(CLICK_SETTLE_SECONDS=7200):
            self.do(Action.HOLD)
            self.do(Action.RELEASE)
        delivery.refresh_from_db()
        self.assertEqual(delivery.hold_reason, Hold.CLICK_SETTLING)

    def test_a_release_goes_on_waiting_for_the_backend(self) -> None:
        self.site.confirm_mode = "require"
        self.site.save(update_fields=["confirm_mode"])
        delivery = self.waiting()
        Delivery.objects.update(order_source="browser", hold_reason=Hold.CONFIRMATION)
        delivery.event.source = "browser"
        delivery.event.save()
        self.do(Action.HOLD)
        self.do(Action.RELEASE)
        delivery.refresh_from_db()
        self.assertEqual(delivery.hold_reason, Hold.CONFIRMATION)
        self.assertEqual(delivery.next_attempt_at, delivery.created_at + self.site.confirm_wait)

    def test_a_goal_that_is_away_is_no_way_around_the_backends_word(self) -> None:
        self.site.confirm_mode = "require"
        self.site.save(update_fields=["confirm_mode"])
        delivery = self.waiting()
        Delivery.objects.update(order_source="browser", hold_reason=Hold.CONFIRMATION)
        delivery.event.source = "browser"
        delivery.event.save()
        self.account.goals.update(status="Paused")
        for action in (Action.HOLD, Action.RELEASE):
            self.do(action)
        delivery.refresh_from_db()
        self.assertEqual(delivery.hold_reason, Hold.CONFIRMATION)

    def test_a_reading_of_the_goals_lifts_no_hold_of_a_persons(self) -> None:
        delivery = self.waiting()
        self.do(Action.HOLD)
        self.account.goals.update(status="Paused")
        with mock.patch("forwarding.goal_changes.sync_goals"):
            read_goals(self.account, timezone.now())
            self.account.goals.update(status="Active")
            read_goals(self.account, timezone.now())
        delivery.refresh_from_db()
        self.assertEqual(delivery.hold_reason, Hold.BY_HAND)

    def test_what_was_set_aside_goes_out_again(self) -> None:
        delivery = self.waiting()
        Delivery.objects.update(status=Status.RETRYING, hold_reason=Hold.OPERATOR)
        self.assertEqual(self.do(Action.RELEASE).able, 1)
        self.go()
        delivery.refresh_from_db()
        self.assertEqual(delivery.status, Status.DELIVERED)

    def test_a_refund_without_its_order_goes_on_waiting_for_it(self) -> None:
        self.map("refund", "Purchase")
        refund = self.buy(name="refund", transaction_id="HP-1", value=None, currency=None, msclkid=None)
        before = (refund.hold_reason, refund.next_attempt_at)
        self.do(Action.HOLD)
        self.do(Action.RELEASE)
        refund.refresh_from_db()
        self.assertEqual((refund.hold_reason, refund.next_attempt_at), before)

    def test_a_correction_is_held_back_and_let_go_too(self) -> None:
        delivery = self.buy()
        with self.settings(ADJUSTMENT_SETTLE_SECONDS=3600):
            self.do(Action.RETRACT, delivery)
            correction = Delivery.objects.get(kind=Kind.RETRACT)
            self.do(Action.HOLD, correction)
        self.go()
        self.assertFalse(self.microsoft.bookings[0].retracted)
        self.do(Action.RELEASE, correction)
        self.go()
        self.assertTrue(self.microsoft.bookings[0].retracted)


class TestRestateAndRetract(HandsTestCase):
    def test_a_restatement_replaces_the_value(self) -> None:
        delivery = self.buy()
        tally = self.do(Action.RESTATE, delivery, value=Decimal("19.90"))
        self.assertEqual((tally.able, tally.values), (1, {"USD": Decimal("49.90")}))
        self.go()
        delivery.refresh_from_db()
        self.assertEqual(delivery.restated_value, Decimal("19.90"))
        self.assertEqual(self.microsoft.bookings[0].restated_value, Decimal("19.9"))
        self.assertEqual(self.counted(), {("delivered", "Purchase"): (1, Decimal("19.90"))})

    def test_a_retraction_takes_it_back_for_good(self) -> None:
        delivery = self.buy()
        self.assertEqual(self.do(Action.RETRACT, delivery).able, 1)
        self.assert_refused(self.do(Action.RESTATE, delivery, value=Decimal(5)), rules.RETRACTED)
        self.go()
        delivery.refresh_from_db()
        self.assertIsNotNone(delivery.retracted_at)
        self.assertTrue(self.microsoft.bookings[0].retracted)
        self.assert_refused(self.do(Action.RETRACT, delivery), rules.RETRACTED)
        self.assertEqual(self.counted(), {("delivered", "Purchase"): (1, Decimal(0))})

    def test_what_was_not_sent_goes_out_with_the_new_value(self) -> None:
        delivery = self.waiting()
        self.assert_refused(self.do(Action.RETRACT, delivery), rules.NOT_SENT)
        self.assertEqual(self.do(Action.RESTATE, delivery, value=Decimal(20)).able, 1)
        Delivery.objects.filter(kind=Kind.CONVERSION).update(next_attempt_at=timezone.now())
        self.go()
        [booking] = self.microsoft.bookings
        self.assertEqual((booking.value, self.microsoft.calls(ADJUSTMENTS)), (Decimal(20), []))

    def test_an_unknown_outcome_is_corrected_once_it_is_known(self) -> None:
        delivery = self.unknown()
        self.assertEqual(self.do(Action.RETRACT, delivery).able, 1)
        self.assertEqual(self.microsoft.calls(ADJUSTMENTS), [])
        self.do(Action.RETRY, delivery)
        self.go()
        self.go()
        self.assertTrue(self.microsoft.bookings[0].retracted)

    def test_the_same_value_twice_is_told_the_second_time(self) -> None:
        delivery = self.buy()
        self.do(Action.RESTATE, delivery, value=Decimal(20))
        self.assert_refused(self.do(Action.RESTATE, delivery, value=Decimal("20.00")), rules.SAME_VALUE)


class TestARefusedCorrection(HandsTestCase):
    def refused_restatement(self) -> Delivery:
        delivery = self.buy()
        self.microsoft.fault(ADJUSTMENTS, "partial_error", indexes=[0], code=5606, error_code=SYMBOLS[5606])
        self.do(Action.RESTATE, delivery, value=Decimal(30))
        self.go()
        return Delivery.objects.get(kind=Kind.RESTATE)

    def test_it_goes_out_again(self) -> None:
        failed = self.refused_restatement()
        self.assertEqual(failed.status, Status.FAILED)
        self.do(Action.RETRY, failed)
        self.go()
        self.assertEqual(self.microsoft.bookings[0].restated_value, Decimal(30))

    def test_it_changes_nothing_when_a_newer_one_came(self) -> None:
        failed = self.refused_restatement()
        original = Delivery.objects.get(kind=Kind.CONVERSION)
        self.do(Action.RESTATE, original, value=Decimal(20))
        self.go()
        self.do(Action.RETRY, failed)
        self.go()
        self.assertEqual(self.microsoft.bookings[0].restated_value, Decimal(20))


class TestManyRows(HandsTestCase):
    def many(self, count: int) -> QuerySet[Delivery]:
        with self.settings(CLICK_SETTLE_SECONDS=7200):
            self.post(*(purchase() for _ in range(count)))
            self.go()
        return Delivery.objects.all()

    def test_a_preview_changes_nothing_and_says_what_apply_then_does(self) -> None:
        rows = self.many(5)
        held = rows[0]
        self.do(Action.HOLD, held)
        before = list(rows.order_by("pk").values())
        forecast = actions.preview(Action.HOLD, rows, timezone.now())
        self.assertEqual(list(rows.order_by("pk").values()), before)
        self.assertEqual((forecast.able, forecast.refused), (4, {rules.HELD: 1}))
        self.assertEqual(forecast.values, {"USD": Decimal("199.60")})
        self.assertEqual(self.do(Action.HOLD), forecast)

    def test_rows_are_taken_in_bounded_transactions_each_with_its_entry(self) -> None:
        rows = self.many(5)
        with mock.patch.object(actions, "BATCH", 2):
            actions.apply(Action.HOLD, rows, self.alice, timezone.now(), scope="?status=pending")
        entries = AuditEntry.objects.filter(action="delivery.hold").order_by("pk")
        self.assertEqual([entry.details["deliveries"] for entry in entries], [2, 2, 1])
        self.assertEqual({entry.details["scope"] for entry in entries}, {"?status=pending"})

    def test_no_more_rows_are_looked_at_than_a_request_can_bear(self) -> None:
        rows = self.many(3)
        with mock.patch.object(actions, "MOST_AT_ONCE", 2):
            tally = self.do(Action.HOLD)
        self.assertEqual((tally.able, tally.is_all), (2, False))
        self.assertEqual(rows.filter(hold_reason=Hold.BY_HAND).count(), 2)

    def test_it_asks_as_much_for_many_rows_as_for_few(self) -> None:
        for action in (Action.HOLD, Action.RELEASE, Action.CANCEL):
            with self.subTest(action=action):
                few = self.queries(action, 2)
                self.assertEqual(self.queries(action, 12), few)

    def queries(self, action: Action, count: int) -> int:
        Delivery.objects.all().delete()
        rows = self.many(count)
        if action is Action.RELEASE:
            self.do(Action.HOLD)
        with CaptureQueriesContext(connection) as captured:
            self.assertEqual(actions.apply(action, rows, self.alice, timezone.now()).able, count)
        return len(captured)


class TestAudit(HandsTestCase):
    def test_one_delivery_is_named_with_what_it_was_and_is(self) -> None:
        delivery = self.refused(5606, transaction_id="HP-1")
        self.do(Action.RETRY)
        entry = AuditEntry.objects.get(action="delivery.retry")
        self.assertEqual((entry.actor, entry.site, entry.organisation), (self.alice, self.site, self.site.organisation))
        self.assertEqual(entry.target, "HP-1")
        self.assertEqual(entry.details["delivery"], str(delivery.public_id))
        self.assertEqual((entry.details["before"], entry.details["after"]), ({"failed": 1}, {"pending": 1}))

    def test_money_is_named_by_currency(self) -> None:
        self.do(Action.RESTATE, self.buy(), value=Decimal("19.90"), by_staff=True)
        details = AuditEntry.objects.get(action="delivery.restate").details
        self.assertEqual((details["before"], details["after"]), ({"USD": "49.900"}, {"USD": "19.90"}))
        self.assertTrue(details["by_staff"])

    def test_what_did_nothing_writes_nothing(self) -> None:
        self.do(Action.RELEASE, self.buy())
        self.assertFalse(AuditEntry.objects.filter(action__startswith="delivery.").exists())

    def test_what_fails_half_way_leaves_neither_change_nor_entry(self) -> None:
        self.waiting()
        with mock.patch("ingest.audit.record", side_effect=RuntimeError), self.assertRaises(RuntimeError):
            self.do(Action.CANCEL)
        self.assertFalse(Delivery.objects.filter(status=Status.SKIPPED).exists())
