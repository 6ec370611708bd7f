"""Corrections of orders come from backends, before their order or after it, and are judged by what is known of it."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import time_machine
from django.db import connection, transaction
from django.http import HttpResponse
from django.test.utils import CaptureQueriesContext

from ingest.models import Adjustment, Event, ServerKey, Site, Source
from ingest.parsing import AdjustmentRow
from ingest.signals import event_accepted
from ingest.storing import store_adjustments
from tests.cast import NOON, store_event
from tests.ingest.calls import ADJUSTMENT, CallsTestCase, statuses
from tests.ingest.test_judging import row


def restated(adjustment_id: str, **members: Any) -> dict[str, Any]:
    """Return a new total of order 1042."""
    return ADJUSTMENT | {"adjustment_id": adjustment_id} | members


def retracted(adjustment_id: str, **members: Any) -> dict[str, Any]:
    """Return a retraction of order 1042."""
    return {"adjustment_id": adjustment_id, "transaction_id": "1042", "type": "retract"} | members


def by_event(item: dict[str, Any], event_id: str) -> dict[str, Any]:
    """Return the adjustment with its order named by an event."""
    return {name: value for name, value in item.items() if name != "transaction_id"} | {"event_id": event_id}


def codes(response: HttpResponse) -> list[list[str]]:
    """Return the codes with which each item of a batch was refused."""
    return [[error["code"] for error in result["errors"]] for result in json.loads(response.content)["results"]]


class AdjustmentTests(CallsTestCase):
    def test_a_new_total_is_accepted_and_stored_as_it_was_said(self) -> None:
        with time_machine.travel(NOON, tick=False):
            response = self.post_adjustments(ADJUSTMENT)
        self.assertEqual((response.status_code, response["Cache-Control"]), (202, "no-store"))
        result = {"adjustment_id": "a-1", "status": "accepted", "errors": []}
        self.assertEqual(json.loads(response.content), {"results": [result]})
        stored = Adjustment.objects.get()
        self.assertEqual((stored.site, stored.type, stored.transaction_id), (self.site, "restate", "1042"))
        self.assertEqual((stored.value, stored.currency), (Decimal("59.990"), "EUR"))
        self.assertEqual(stored.occurred_at, datetime(2026, 11, 21, 11, tzinfo=UTC))
        self.assertEqual((stored.received_at, stored.created_at, stored.planned_at), (NOON, NOON, None))

    def test_every_column_is_kept(self) -> None:
        said = row("a’s", transaction_id="1042’s", currency="EUR", occurred_at=NOON.replace(microsecond=5))
        said = AdjustmentRow(
            **({name: getattr(said, name) for name in said.__struct_fields__} | {"site_id": self.site.pk})
        )
        store_adjustments([said])
        stored = Adjustment.objects.get()
        for column in AdjustmentRow.__struct_fields__:
            self.assertEqual(getattr(stored, column), getattr(said, column), column)

    def test_a_retraction_has_no_value(self) -> None:
        self.assertEqual(self.post_adjustments(retracted("a-1", value=None)).status_code, 202)
        stored = Adjustment.objects.get()
        self.assertEqual((stored.type, stored.value, stored.currency), ("retract", None, ""))

    def test_a_total_of_nothing_is_a_total(self) -> None:
        self.post_adjustments(restated("a-1", value=0), restated("a-2", value="0.00"))
        self.assertEqual(list(Adjustment.objects.values_list("value", flat=True)), [Decimal(0), Decimal(0)])

    def test_a_value_without_currency_is_in_the_sites(self) -> None:
        self.post_adjustments(restated("a-1", currency=None))
        self.assertEqual(Adjustment.objects.get().currency, "USD")

    def test_without_a_time_it_happened_when_it_arrived(self) -> None:
        with time_machine.travel(NOON, tick=False):
            self.post_adjustments(retracted("a-1"))
        self.assertEqual(Adjustment.objects.get().occurred_at, NOON)

    def test_an_order_may_be_named_by_its_event(self) -> None:
        self.post_adjustments(by_event(ADJUSTMENT, "e-1"), restated("a-2", event_id=""))
        orders = Adjustment.objects.order_by("pk").values_list("transaction_id", "event_id")
        self.assertEqual(list(orders), [("", "e-1"), ("1042", "")])

    def test_ids_follow_the_order_of_the_batch(self) -> None:
        self.post_adjustments(restated("c"), restated("a"), restated("b"))
        self.assertEqual(
            list(Adjustment.objects.order_by("pk").values_list("adjustment_id", flat=True)), ["c", "a", "b"]
        )

    def test_good_items_are_taken_whatever_becomes_of_the_others(self) -> None:
        response = self.post_adjustments(restated("a-1", value=-1), restated("a-2"), restated("a/3"))
        self.assertEqual(statuses(response), ["refused", "accepted", "refused"])
        labels = [result["adjustment_id"] for result in json.loads(response.content)["results"]]
        self.assertEqual(labels, ["a-1", "a-2", None])
        self.assertEqual(Adjustment.objects.get().adjustment_id, "a-2")

    def test_it_is_announced_once_inside_the_transaction(self) -> None:
        heard: list[tuple[object, object, object, bool]] = []

        def listen(sender: object, site_id: int, count: int, **_: object) -> None:
            heard.append((sender, site_id, count, connection.in_atomic_block))

        event_accepted.connect(listen)
        self.addCleanup(event_accepted.disconnect, listen)
        self.post_adjustments(restated("a-1"), restated("a-2"))
        self.post_adjustments(restated("a-1"))
        self.assertEqual(heard, [(Adjustment, self.site.pk, 2, True)])


class KeyTests(CallsTestCase):
    def test_it_takes_a_server_key(self) -> None:
        for given in ("", f"Bearer {self.site.write_key}", "Bearer sk_" + "A" * 43):
            self.assert_problem(self.post_adjustments(ADJUSTMENT, Authorization=given), 401, "unauthorized")
        self.assert_nothing_is_stored()

    def test_it_takes_none_from_a_page(self) -> None:
        response = self.post_adjustments(ADJUSTMENT, Origin="https://shop.example")
        self.assert_problem(response, 403, "server_key_in_browser")
        self.assert_nothing_is_stored()

    def test_a_key_corrects_orders_of_its_own_site_only(self) -> None:
        charlies = Site.objects.exclude(pk=self.site.pk).get()
        _, secret = ServerKey.objects.mint(charlies)
        self.post_adjustments(retracted("a-1"))
        response = self.post_adjustments(restated("a-1"), Authorization=f"Bearer {secret}")
        self.assertEqual(statuses(response), ["accepted"])
        self.assertEqual(charlies.adjustments.get().type, "restate")


class RepeatTests(CallsTestCase):
    def test_the_same_again_is_a_duplicate(self) -> None:
        self.post_adjustments(restated("a-1", value=79.9))
        for value in (79.9, "79.90", "79.900"):
            again = self.post_adjustments(restated("a-1", value=value, occurred_at="2026-11-21T12:00:00+01:00"))
            self.assertEqual((again.status_code, statuses(again)), (202, ["duplicate"]))
        self.assertEqual(Adjustment.objects.count(), 1)

    def test_a_repeat_is_one_under_another_site_currency_too(self) -> None:
        self.post_adjustments(restated("a-1", currency=None))
        Site.objects.update(currency="CAD")
        self.assertEqual(statuses(self.post_adjustments(restated("a-1", currency=None))), ["duplicate"])

    def test_another_body_under_the_same_id_is_a_conflict_and_the_first_stays(self) -> None:
        self.post_adjustments(ADJUSTMENT)
        for other in (restated("a-1", value=1), retracted("a-1"), by_event(ADJUSTMENT, "1042")):
            said = self.assert_problem(self.post_adjustments(other), 409, "conflict")
            self.assertEqual(said["errors"][0]["field"], "adjustments[0].adjustment_id")
        self.assertEqual(Adjustment.objects.get().value, Decimal("59.990"))

    def test_a_batch_may_repeat_and_contradict_itself(self) -> None:
        response = self.post_adjustments(ADJUSTMENT, ADJUSTMENT, restated("a-1", value=1), restated("a-2"))
        self.assertEqual(statuses(response), ["accepted", "duplicate", "conflict", "accepted"])
        self.assertEqual(codes(response), [[], [], ["conflict"], []])

    def test_a_whole_batch_may_be_sent_again(self) -> None:
        batch = [restated("a-1"), retracted("a-2"), restated("a-3"), retracted("a-4")]
        first, second = self.post_adjustments(*batch), self.post_adjustments(*batch)
        self.assertEqual(statuses(first), ["accepted", "accepted", "refused", "duplicate"])
        self.assertEqual(statuses(second), ["duplicate", "duplicate", "refused", "duplicate"])
        self.assertEqual(Adjustment.objects.count(), 2)


class RetractionTests(CallsTestCase):
    def assert_retracted(self, *names: dict[str, Any]) -> None:
        """Check that the order under each of its names takes no new total and no second retraction."""
        stored = Adjustment.objects.count()
        for said in names:
            problem = self.assert_problem(self.post_adjustments(restated("late") | said), 409, "conflict")
            [error] = problem["errors"]
            self.assertEqual((error["field"], error["code"]), ("adjustments[0].type", "already_retracted"))
            response = self.post_adjustments(retracted("again") | said)
            self.assertEqual((response.status_code, statuses(response)), (202, ["duplicate"]))
        self.assertEqual(Adjustment.objects.count(), stored)

    def test_nothing_follows_a_retraction(self) -> None:
        self.post_adjustments(retracted("a-1"))
        self.assert_retracted({"transaction_id": "1042"})
        self.assertEqual(self.post_adjustments(restated("a-2", transaction_id="1043")).status_code, 202)

    def test_an_order_that_was_retracted_by_an_event_is_known_by_its_other_names(self) -> None:
        store_event(self.site, event_id="e-1", transaction_id="1042", currency="EUR")
        store_event(self.site, event_id="e-2", transaction_id="1042", currency="EUR")
        self.post_adjustments(by_event(retracted("a-1"), "e-1"))
        self.assert_retracted(
            {"transaction_id": "1042"},
            {"transaction_id": None, "event_id": "e-1"},
            {"transaction_id": None, "event_id": "e-2"},
        )

    def test_an_order_that_was_retracted_by_its_id_is_known_by_its_events(self) -> None:
        self.post_adjustments(retracted("a-1"))
        store_event(self.site, event_id="e-1", transaction_id="1042", currency="EUR")
        self.assert_retracted({"transaction_id": None, "event_id": "e-1"})

    def test_an_order_without_a_transaction_is_its_event(self) -> None:
        self.post_adjustments(by_event(retracted("a-1"), "e-1"))
        self.assert_retracted({"transaction_id": None, "event_id": "e-1"})
        self.assertEqual(self.post_adjustments(restated("a-2", transaction_id="e-1")).status_code, 202)

    def test_beside_an_item_that_is_wrong_in_itself_the_batch_is_wrong(self) -> None:
        self.post_adjustments(retracted("a-1"))
        response = self.post_adjustments(restated("a-2"), restated("a-3", value=-1))
        said = self.assert_problem(response, 422, "nothing_accepted")
        self.assertEqual([error["code"] for error in said["errors"]], ["already_retracted", "value_negative"])

    def test_all_that_contradicts_what_was_accepted_is_one_conflict(self) -> None:
        self.post_adjustments(retracted("a-1"))
        said = self.assert_problem(self.post_adjustments(restated("a-1"), restated("a-2")), 409, "conflict")
        self.assertEqual([error["code"] for error in said["errors"]], ["conflict", "already_retracted"])

    def test_the_retraction_of_another_site_is_its_own(self) -> None:
        charlies = Site.objects.exclude(pk=self.site.pk).get()
        Adjustment.objects.create(
            site=charlies, adjustment_id="c", transaction_id="1042", type="retract", occurred_at=NOON, received_at=NOON
        )
        self.assertEqual(self.post_adjustments(restated("a-1")).status_code, 202)


class RefundTests(CallsTestCase):
    """Order 1042 was of 49.90 EUR, and its new total is said an hour after the refunds."""

    def setUp(self) -> None:
        store_event(self.site, event_id="e-1", transaction_id="1042", currency="EUR")

    def refund(self, value: str | None, **fields: Any) -> None:
        amount = {"value": None if value is None else Decimal(value), "currency": "" if value is None else "EUR"}
        store_event(self.site, "refund", **({"transaction_id": "1042", "source": Source.SERVER} | amount | fields))

    def assert_gone(self) -> None:
        for item in (restated("late"), by_event(restated("late"), "e-1")):
            [error] = self.assert_problem(self.post_adjustments(item), 409, "conflict")["errors"]
            self.assertEqual((error["field"], error["code"]), ("adjustments[0].type", "already_retracted"))

    def assert_not_gone(self, **members: Any) -> None:
        self.assertEqual(statuses(self.post_adjustments(restated("in-time", **members))), ["accepted"])

    def test_no_total_follows_a_full_refund_whenever_it_was(self) -> None:
        for source in (Source.SERVER, Source.IMPORT):
            with self.subTest(source), transaction.atomic():
                self.refund(None, source=source, occurred_at=NOON + timedelta(days=1))
                self.assert_gone()
                transaction.set_rollback(True)

    def test_a_full_refund_may_come_before_its_order(self) -> None:
        Event.objects.all().delete()
        self.refund(None)
        self.assertEqual(self.post_adjustments(restated("late")).status_code, 409)

    def test_no_total_follows_refunds_that_add_up_to_the_order(self) -> None:
        self.refund("40")
        self.refund("9.90")
        self.assert_gone()

    def test_a_retraction_after_them_is_stored(self) -> None:
        self.refund(None)
        self.assertEqual(statuses(self.post_adjustments(retracted("a-1"))), ["accepted"])

    def test_a_total_may_follow_refunds_that_left_something(self) -> None:
        self.refund("40")
        self.refund("0")
        self.assert_not_gone()

    def test_what_a_page_says_takes_no_order_back(self) -> None:
        self.refund(None, source=Source.BROWSER)
        self.refund("49.90", source=Source.BROWSER)
        self.assert_not_gone()

    def test_a_total_of_a_time_before_the_refunds_is_taken(self) -> None:
        self.refund("49.90")
        self.assert_not_gone(occurred_at="2026-11-21T09:00:00Z")

    def test_of_a_new_total_something_may_be_left(self) -> None:
        self.post_adjustments(by_event(restated("more", value=80, occurred_at="2026-11-21T09:00:00Z"), "e-1"))
        self.refund("49.90")
        self.assert_not_gone()

    def test_of_the_dearer_of_two_events_something_is_left(self) -> None:
        store_event(self.site, transaction_id="1042", currency="EUR", value=Decimal(60))
        self.refund("49.90")
        self.assert_not_gone()

    def test_refunds_in_another_currency_or_of_an_order_in_two_are_not_added_up(self) -> None:
        self.refund("49.90", currency="GBP")
        self.assert_not_gone()
        store_event(self.site, transaction_id="1043", currency="EUR")
        store_event(self.site, transaction_id="1043", currency="GBP")
        self.refund("49.90", transaction_id="1043")
        self.assertEqual(self.post_adjustments(restated("a-2", transaction_id="1043")).status_code, 202)

    def test_an_order_of_nothing_is_gone_by_no_refund_of_nothing(self) -> None:
        Event.objects.update(value=0)
        self.refund("0")
        self.assert_not_gone()


class CurrencyTests(CallsTestCase):
    def assert_differs(self, item: dict[str, Any], detail: str) -> None:
        said = self.assert_problem(self.post_adjustments(item), 422, "nothing_accepted")
        [error] = said["errors"]
        self.assertEqual((error["field"], error["code"]), ("adjustments[0].currency", "currency_differs"))
        self.assertIn(detail, error["detail"])
        self.assertFalse(Adjustment.objects.exists())

    def test_a_total_is_in_the_currency_of_its_order(self) -> None:
        store_event(self.site, event_id="e-1", transaction_id="1042", currency="GBP")
        self.assert_differs(ADJUSTMENT, "GBP, not EUR")
        self.assert_differs(by_event(ADJUSTMENT, "e-1"), "GBP, not EUR")
        self.assertEqual(self.post_adjustments(restated("a-1", currency="GBP"), retracted("a-2")).status_code, 202)

    def test_so_is_a_total_that_names_no_currency(self) -> None:
        store_event(self.site, transaction_id="1042", currency="GBP")
        self.assert_differs(restated("a-1", currency=None), "GBP, not USD")

    def test_an_order_of_one_event_is_in_that_events_currency(self) -> None:
        store_event(self.site, event_id="e-1", currency="GBP")
        self.assert_differs(by_event(ADJUSTMENT, "e-1"), "GBP, not EUR")

    def test_an_event_without_value_says_no_currency(self) -> None:
        store_event(self.site, event_id="e-1", transaction_id="1042", value=None, currency="GBP")
        store_event(self.site, event_id="e-2", value=None, currency="GBP")
        response = self.post_adjustments(ADJUSTMENT, by_event(restated("a-2"), "e-2"))
        self.assertEqual(statuses(response), ["accepted", "accepted"])

    def test_an_order_of_another_site_says_nothing(self) -> None:
        store_event(Site.objects.exclude(pk=self.site.pk).get(), transaction_id="1042", currency="GBP")
        self.assertEqual(self.post_adjustments(ADJUSTMENT).status_code, 202)


class CostTests(CallsTestCase):
    def setUp(self) -> None:
        for n in range(6):
            store_event(self.site, event_id=f"e-{n}", transaction_id=f"t-{n}", currency="EUR")
            store_event(self.site, "refund", transaction_id=f"t-{n}", source=Source.SERVER, currency="EUR", value=1)
        Event.objects.filter(event_id="e-5").update(transaction_id="")
        self.post_adjustments(retracted("a-0", transaction_id="t-0"), by_event(retracted("a-1"), "e-1"))

    def statements(self, count: int) -> int:
        """Send a batch that meets every road of the look-ups; return how many statements it took."""
        named = [restated(f"n-{count}-{n}", transaction_id=f"t-{n}") for n in range(count)]
        events = [by_event(restated(f"v-{count}-{n}"), f"e-{n}") for n in range(count)]
        self.post_adjustments(restated("seen", transaction_id="other"))
        with CaptureQueriesContext(connection) as captured:
            response = self.post_adjustments(restated("seen", transaction_id="other"), *named, *events)
        self.assertEqual(statuses(response)[0], "duplicate")
        return len(captured)

    def test_a_thousand_adjustments_cost_as_many_statements_as_a_few(self) -> None:
        few = self.statements(3)
        self.assertEqual(self.statements(499), few)
        self.assertLessEqual(few, 20)

    def test_nothing_to_store_asks_the_database_nothing(self) -> None:
        with CaptureQueriesContext(connection) as captured:
            self.assertEqual(store_adjustments([]), [])
        self.assertEqual(len(captured), 0)
