"""Refunds and adjustments on the whole road: what the business says at our door, Microsoft's books at the other end."""

import uuid
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.utils import timezone

from forwarding.hands.actions import apply
from forwarding.hands.rules import Action
from forwarding.models import DailyCount, Delivery, Hold, Kind, Skip, Status
from forwarding.rows.counts import rebuild
from ingest.models import Adjustment
from integrations.connecting import add_accounts, remove_account
from integrations.mapping import Rule, set_mapping
from integrations.microsoft_ads.emulator.world import SEARCH_US, SHOPPING_US
from tests.road.road import RoadTestCase, purchase

ORDER = "HP-1"


class CorrectionsTestCase(RoadTestCase):
    """Refunds are mapped to the goal of the purchases."""

    def setUp(self) -> None:
        super().setUp()
        self.map("refund", "Purchase")
        self.clock = timezone.now() - timedelta(minutes=50)

    def buy(self, **changes: Any) -> None:
        self.post(purchase(transaction_id=ORDER, value="100.00", **changes))

    def refund(self, value: str | None, **changes: Any) -> str:
        """Report a refund of the order; return its event's id."""
        event_id = str(uuid.uuid4())
        given: dict[str, Any] = {
            "name": "refund",
            "event_id": event_id,
            "transaction_id": ORDER,
            "occurred_at": self.a_minute_later().isoformat(),
        }
        if value is not None:
            given |= {"value": value, "currency": "USD"}
        self.post(given | changes)
        return event_id

    def a_minute_later(self) -> datetime:
        """Return when the next thing happened: each a minute after the one before."""
        self.clock += timedelta(minutes=1)
        return self.clock

    def adjust(self, kind: str, value: str | None = None, **changes: Any) -> None:
        """Say an adjustment as the API stores it."""
        at = self.a_minute_later()
        given: dict[str, Any] = {
            "adjustment_id": str(uuid.uuid4()),
            "transaction_id": ORDER,
            "currency": "" if value is None else "USD",
            "fingerprint": "0" * 64,
        }
        Adjustment.objects.create(
            site=self.site,
            type=kind,
            value=None if value is None else Decimal(value),
            occurred_at=at,
            received_at=at,
            **(given | changes),
        )

    def booked(self) -> list[Decimal | None]:
        """Return what each conversion in Microsoft's books counts for now; None for a retracted one."""
        return [None if row.retracted else row.effective_value() for row in self.microsoft.bookings]

    def sent(self) -> list[str]:
        """Return every correction that Microsoft received."""
        rows = [row.row for row in self.microsoft.books.received if "Adjustments" in row.operation]
        return [f"{row['AdjustmentType']} {row.get('AdjustmentValue', '')}".strip() for row in rows if row]

    def fate(self, event_id: str) -> tuple[str, str]:
        row = Delivery.objects.get(event__event_id=event_id)
        return row.status, row.skip_reason


class TestAfterTheSend(CorrectionsTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.buy()
        self.go()

    def test_a_partial_refund_restates_to_what_is_left(self) -> None:
        self.refund("30.00")
        self.go()
        self.assertEqual((self.booked(), self.sent()), ([Decimal(70)], ["Restate 70"]))

    def test_a_full_refund_retracts(self) -> None:
        self.refund(None)
        self.go()
        self.assertEqual((self.booked(), self.sent()), ([None], ["Retract"]))

    def test_the_purchase_tells_its_corrections_and_what_microsoft_counts(self) -> None:
        self.refund("30.00")
        self.go()
        told = self.status(Delivery.objects.get(kind=Kind.CONVERSION).event.event_id)
        self.assertEqual(told["deliveries"][0]["value_at_microsoft"], "70.000")
        self.assertEqual([(row["type"], row["value"]) for row in told["adjustments"]], [("restate", "70.000")])

    def test_refunds_one_by_one_end_in_a_retraction(self) -> None:
        for part in ("30.00", "50.00", "20.00"):
            self.refund(part)
            self.go()
        self.assertEqual((self.booked(), self.sent()), ([None], ["Restate 70", "Restate 20", "Retract"]))

    def test_refunds_that_come_together_are_told_once(self) -> None:
        first, second = self.refund("30.00"), self.refund("50.00")
        self.go()
        self.assertEqual((self.booked(), self.sent()), ([Decimal(20)], ["Restate 20"]))
        self.assertEqual(self.fate(first), (Status.SKIPPED, Skip.SUPERSEDED))
        self.assertEqual(self.fate(second)[0], Status.DELIVERED)

    def test_more_than_was_paid_is_a_full_refund(self) -> None:
        self.refund("130.00")
        self.go()
        self.assertEqual(self.booked(), [None])

    def test_a_refund_in_another_currency_is_told_to_nobody_and_says_why(self) -> None:
        event_id = self.refund("30.00", currency="EUR")
        self.go()
        self.assertEqual((self.booked(), self.fate(event_id)), ([Decimal(100)], ("skipped", "other_currency")))

    def test_nothing_follows_a_retraction(self) -> None:
        self.refund(None)
        self.go()
        late = self.refund("5.00")
        self.go()
        self.assertEqual((self.sent(), self.fate(late)), (["Retract"], ("skipped", "retracted")))

    def test_an_adjustment_sets_the_new_total(self) -> None:
        self.adjust("restate", "80.00")
        self.go()
        self.assertEqual(self.booked(), [Decimal(80)])

    def test_a_persons_word_is_the_last_one_also_where_an_earlier_line_is_dated_ahead(self) -> None:
        self.clock = timezone.now() + timedelta(minutes=5)
        self.adjust("restate", "80.00")
        self.go()
        apply(Action.RESTATE, Delivery.objects.filter(kind=Kind.CONVERSION), self.alice, timezone.now(), Decimal(60))
        newest = Delivery.objects.filter(kind=Kind.RESTATE, status=Status.PENDING)
        self.assertEqual([row.value for row in newest], [Decimal(60)])

    def test_a_later_adjustment_is_sent_after_an_earlier_one(self) -> None:
        for total in ("80.00", "60.00"):
            self.adjust("restate", total)
            self.go()
        times = [str(row.row["AdjustmentTime"]) for row in self.microsoft.books.received[1:] if row.row]
        self.assertEqual((self.booked(), times), ([Decimal(60)], sorted(set(times))))

    def test_the_same_total_is_not_told_again(self) -> None:
        self.adjust("restate", "100.00")
        self.go()
        self.assertEqual((self.sent(), Delivery.objects.get(kind=Kind.RESTATE).skip_reason), ([], Skip.NO_CHANGE))

    def test_a_correction_repeats_the_key_that_was_sent(self) -> None:
        self.refund("30.00")
        self.go()
        original, correction = (row.row or {} for row in self.microsoft.books.received)
        key = ("ConversionName", "ConversionTime", "MicrosoftClickId")
        self.assertEqual([original[name] for name in key], [correction[name] for name in key])

    def test_the_figures_follow_and_a_recount_agrees(self) -> None:
        self.refund("30.00")
        self.go()
        delivered = (
            DailyCount.objects.filter(status="delivered").order_by("error").values_list("error", "count", "value")
        )
        self.assertEqual(list(delivered), [("", 1, Decimal(100)), ("Adjusted", 0, Decimal(-30))])
        rebuild(timezone.now())
        self.assertEqual(list(delivered.all()), [("", 1, Decimal(100)), ("Adjusted", 0, Decimal(-30))])

    def test_an_adjustment_of_an_event_without_a_transaction_is_found_by_its_id(self) -> None:
        event = purchase(transaction_id=None, value="40.00")
        self.post(event)
        self.go()
        self.adjust("retract", transaction_id="", event_id=event["event_id"])
        self.go()
        self.assertEqual(self.booked(), [Decimal(100), None])


class TestBeforeTheSend(CorrectionsTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.enterContext(self.settings(CLICK_SETTLE_SECONDS=7200))
        self.buy()
        self.go()
        self.later = timezone.now() + timedelta(hours=3)

    def test_a_partial_refund_changes_the_conversion_itself(self) -> None:
        event_id = self.refund("30.00")
        self.go()
        self.go(self.later)
        self.assertEqual((self.fate(event_id), self.sent()), (("skipped", "applied"), []))
        self.assertEqual(Delivery.objects.get(kind=Kind.CONVERSION).value, Decimal(70))

    def test_a_cancellation_that_is_taken_back_waits_as_before(self) -> None:
        apply(Action.HOLD, Delivery.objects.all(), self.alice, timezone.now())
        self.adjust("restate", "40.00")
        earlier = self.clock
        self.refund("100.00")
        self.go()
        self.assertEqual(Delivery.objects.get(kind=Kind.CONVERSION).skip_reason, Skip.CANCELLED)
        self.clock = earlier - timedelta(seconds=30)
        self.adjust("restate", "150.00")
        self.go()
        row = Delivery.objects.get(kind=Kind.CONVERSION)
        self.assertEqual((row.status, row.value, row.hold_reason), (Status.PENDING, Decimal(50), Hold.BY_HAND))

    def test_a_full_refund_cancels_it_and_the_order_stays_taken(self) -> None:
        self.refund(None)
        self.go()
        self.buy()
        self.go()
        reasons = Delivery.objects.filter(kind=Kind.CONVERSION).order_by("pk").values_list("skip_reason", flat=True)
        self.assertEqual(list(reasons), [Skip.CANCELLED, Skip.SAME_ORDER])


class TestWhoMayCorrect(CorrectionsTestCase):
    def test_a_page_cannot_refund(self) -> None:
        self.buy()
        self.go()
        event = purchase(name="refund", transaction_id=ORDER, value=None, currency=None, msclkid=None)
        url, headers = f"/v1/{self.site.write_key}/events", {"Origin": "https://shop.example"}
        self.client.post(url, {"events": [event]}, content_type="application/json", headers=headers)
        self.go()
        self.assertEqual((self.booked(), self.fate(event["event_id"])), ([Decimal(100)], ("skipped", "public_key")))


class TestWhichConversion(CorrectionsTestCase):
    def test_a_refund_without_a_currency_is_in_its_orders(self) -> None:
        self.buy(currency="EUR")
        self.go()
        self.refund("30.00", currency=None)
        self.go()
        self.assertEqual(self.booked(), [Decimal(70)])

    def test_a_refund_corrects_its_order_in_whatever_goal_it_went_to(self) -> None:
        self.map("refund", "Trade enquiry")
        self.buy()
        self.go()
        event_id = self.refund("30.00")
        self.go()
        self.assertEqual((self.booked(), self.fate(event_id)[0]), ([Decimal(70)], Status.DELIVERED))

    def test_a_refund_corrects_its_order_in_every_goal_whichever_came_first(self) -> None:
        self.map("qualified_lead", "Trade enquiry")
        for names in (("qualified_lead", "purchase"), ("purchase", "qualified_lead")):
            with self.subTest(first=names[0]):
                order = uuid.uuid4().hex
                self.post(purchase(name=names[0], transaction_id=order, value="100.00"))
                self.go()
                self.refund("30.00", transaction_id=order)
                self.go()
                self.post(purchase(name=names[1], transaction_id=order, value="100.00"))
                self.go()
                counted = {row.goal_name: row.effective_value() for row in self.microsoft.bookings[-2:]}
                self.assertEqual(counted, {"Purchase": Decimal(70), "Trade enquiry": Decimal(70)})

    def test_a_refund_of_an_order_in_two_goals_is_told_of_each_once(self) -> None:
        self.buy()
        self.go()
        self.map("purchase", "Trade enquiry")
        self.buy()
        self.go()
        self.refund("30.00")
        for _ in range(2):
            self.go()
        self.buy()
        self.go()
        self.assertEqual((self.booked(), self.sent()), ([Decimal(70)] * 2, ["Restate 70"] * 2))

    def test_a_refund_that_a_person_called_off_corrects_no_later_conversion(self) -> None:
        self.enterContext(self.settings(ADJUSTMENT_SETTLE_SECONDS=3600))
        self.map("qualified_lead", "Trade enquiry")
        self.buy()
        self.go()
        event_id = self.refund("30.00")
        self.go()
        refund = Delivery.objects.filter(event__event_id=event_id)
        apply(Action.CANCEL, refund, self.alice, timezone.now())
        self.buy(name="qualified_lead")
        self.go()
        self.assertEqual((refund.count(), self.booked()), (1, [Decimal(100)] * 2))

    def test_a_refund_corrects_its_order_in_each_account(self) -> None:
        [other] = add_accounts(self.account.connection, [SHOPPING_US], self.alice, timezone.now())
        for name, goal in (("purchase", "Shopping Purchase"), ("refund", "shopping purchase")):
            set_mapping(other, name, Rule(other.goals.get(name=goal).goal_id), self.alice, timezone.now())
        self.buy()
        self.go()
        self.refund("30.00")
        self.go()
        self.assertEqual(self.booked(), [Decimal(70)] * 2)

    def test_a_refund_follows_its_order_to_a_goal_that_was_mapped_before(self) -> None:
        self.buy()
        self.go()
        for name in ("purchase", "refund"):
            self.map(name, "Trade enquiry")
        self.refund("30.00")
        self.go()
        self.assertEqual(self.booked(), [Decimal(70)])

    def test_an_adjustment_names_an_order_by_any_of_its_events(self) -> None:
        first = purchase(transaction_id=ORDER, msclkid=None)
        self.post(first)
        self.adjust("retract", transaction_id="", event_id=first["event_id"])
        self.go()
        self.buy()
        self.go()
        self.assertEqual(self.microsoft.bookings, [])

    def test_what_comes_while_its_account_is_removed_is_sent_when_it_is_added_again(self) -> None:
        self.buy()
        self.go()
        remove_account(self.account, self.alice, timezone.now())
        self.refund("30.00")
        self.adjust("restate", "90.00")
        self.go()
        self.assertEqual(self.booked(), [Decimal(100)])
        add_accounts(self.account.connection, [SEARCH_US], self.alice, timezone.now())
        self.go()
        self.assertEqual(self.booked(), [Decimal(90)])


class TestBeforeTheOrder(CorrectionsTestCase):
    def test_a_refund_waits_for_its_order_and_is_counted_in(self) -> None:
        event_id = self.refund("30.00")
        self.go()
        self.assertEqual(Delivery.objects.get().hold_reason, Hold.ORIGINAL_PENDING)
        self.buy()
        self.go()
        self.assertEqual((self.booked(), self.fate(event_id)), ([Decimal(70)], ("skipped", "applied")))

    def test_an_adjustment_waits_for_its_order(self) -> None:
        self.adjust("restate", "80.00")
        self.go()
        self.buy()
        self.go()
        self.assertEqual(self.booked(), [Decimal(80)])

    def test_an_order_that_is_not_forwarded_leaves_nothing_to_correct(self) -> None:
        event_id = self.refund("30.00")
        self.buy(msclkid=None)
        self.go()
        self.assertEqual(self.fate(event_id), ("skipped", "not_forwarded"))

    def test_a_refund_whose_order_never_comes_is_no_failure(self) -> None:
        event_id = self.refund("30.00")
        self.go()
        self.go(timezone.now() + timedelta(days=91))
        self.assertEqual(self.fate(event_id), ("skipped", "not_forwarded"))

    def test_a_refund_that_names_no_order_says_so(self) -> None:
        event_id = self.refund("30.00", transaction_id=None)
        self.go()
        self.assertEqual(self.fate(event_id), ("skipped", "no_order"))


class TestSequence(CorrectionsTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.enterContext(self.settings(ADJUSTMENT_SETTLE_SECONDS=3600))

    def correction(self) -> Delivery:
        return Delivery.objects.get(kind=Kind.RESTATE, status=Status.PENDING)

    def test_it_waits_until_microsoft_has_processed_the_conversion(self) -> None:
        self.buy()
        self.go()
        self.refund("30.00")
        self.go()
        row = self.correction()
        waits = (row.next_attempt_at or row.created_at) - timezone.now()
        self.assertEqual((row.hold_reason, self.sent()), (Hold.ORIGINAL_PENDING, []))
        self.assertAlmostEqual(waits / timedelta(hours=1), 1, places=1)

    def test_it_goes_when_a_conversion_of_unknown_outcome_is_delivered_at_last(self) -> None:
        self.microsoft.fault("OfflineConversions/Apply", "close_after")
        self.buy()
        self.go()
        self.refund("30.00")
        self.go()
        self.assertEqual((self.correction().value, self.booked()), (Decimal(70), [Decimal(100)]))
        Delivery.objects.filter(kind=Kind.CONVERSION).update(next_attempt_at=timezone.now())
        with self.settings(ADJUSTMENT_SETTLE_SECONDS=0):
            self.go()
            self.go()
        self.assertEqual(self.booked(), [Decimal(70)])

    def refuse(self) -> None:
        """Have the conversion refused for good now, whatever became of it before."""
        self.microsoft.fault("OfflineConversions/Apply", "partial_error", code=5610, error_code="X", indexes=[0])
        Delivery.objects.filter(kind=Kind.CONVERSION).update(next_attempt_at=timezone.now())
        self.go()

    def test_it_is_dropped_when_its_conversion_was_refused_for_good(self) -> None:
        self.enterContext(self.settings(CLICK_SETTLE_SECONDS=7200))
        self.buy()
        self.go()
        self.refuse()
        event_id = self.refund("30.00")
        self.go()
        self.assertEqual(self.fate(event_id), ("skipped", "not_forwarded"))

    def test_it_goes_out_when_its_conversion_was_refused_after_microsoft_had_booked_it(self) -> None:
        self.enterContext(self.settings(ADJUSTMENT_SETTLE_SECONDS=0))
        self.microsoft.fault("OfflineConversions/Apply", "close_after")
        self.buy()
        self.go()
        self.refund("30.00")
        self.go()
        self.refuse()
        self.go()
        self.assertEqual(self.booked(), [Decimal(70)])

    def test_what_a_person_holds_back_is_not_let_go_by_a_newer_refund(self) -> None:
        self.buy()
        self.go()
        self.refund("30.00")
        self.go()
        apply(Action.HOLD, Delivery.objects.filter(kind=Kind.RESTATE), self.alice, timezone.now())
        self.refund("10.00")
        self.go()
        self.assertEqual((self.correction().hold_reason, self.correction().value), (Hold.BY_HAND, Decimal(60)))

    def test_a_newer_one_waits_while_an_older_one_is_in_the_dark(self) -> None:
        self.enterContext(self.settings(ADJUSTMENT_SETTLE_SECONDS=0))
        self.buy()
        self.go()
        self.microsoft.fault("OfflineConversionAdjustments/Apply", "close_before")
        self.refund("30.00")
        self.go()
        self.refund("20.00")
        self.go()
        self.assertEqual(self.sent(), [])
        Delivery.objects.filter(status=Status.RETRYING).update(next_attempt_at=timezone.now())
        self.go()
        self.assertEqual((self.sent(), self.booked()), (["Restate 70", "Restate 50"], [Decimal(50)]))
