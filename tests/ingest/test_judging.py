"""What is known of an order speaks for or against an adjustment of it."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.test import SimpleTestCase

from ingest.judging import Outcome, Refusal, judge
from ingest.known_orders import ALWAYS, KnownOrders, Order
from ingest.parsing import AdjustmentRow
from tests.cast import NOON

RETRACTED = Refusal("type", "already_retracted")
DUPLICATE = Outcome.DUPLICATE
NOTHING = KnownOrders()


def row(adjustment_id: str, value: str | None = "5", **fields: Any) -> AdjustmentRow:
    """Return a new total of order 1042 in EUR, or with no value its retraction."""
    given: dict[str, Any] = {
        "site_id": 1,
        "adjustment_id": adjustment_id,
        "transaction_id": "" if "event_id" in fields else "1042",
        "event_id": "",
        "type": "retract" if value is None else "restate",
        "value": None if value is None else Decimal(value),
        "currency": "" if value is None else "EUR",
        "occurred_at": NOON,
        "received_at": NOON,
        "created_at": NOON,
        "fingerprint": "a" * 64,
    }
    return AdjustmentRow(**(given | fields))


class RetractionTests(SimpleTestCase):
    def test_of_an_unknown_order_everything_is_stored(self) -> None:
        self.assertEqual(judge([row("a"), row("b", "0"), row("c", None)], NOTHING), [None, None, None])

    def test_nothing_follows_a_retraction(self) -> None:
        known = KnownOrders(retracted={Order("1042")})
        self.assertEqual(judge([row("a"), row("b", None)], known), [RETRACTED, DUPLICATE])
        self.assertEqual(judge([row("c", transaction_id="1043")], known), [None])

    def test_the_items_of_a_batch_count_in_their_order(self) -> None:
        batch = [row("a"), row("b", None), row("c"), row("d", None), row("e", transaction_id="1043")]
        self.assertEqual(judge(batch, NOTHING), [None, None, RETRACTED, DUPLICATE, None])

    def test_an_order_is_the_same_however_it_is_named(self) -> None:
        known = KnownOrders(transaction_of={"e-1": "1042"})
        self.assertEqual(judge([row("a", None, event_id="e-1"), row("b")], known), [None, RETRACTED])
        self.assertEqual(judge([row("a", None), row("b", event_id="e-1")], known), [None, RETRACTED])
        self.assertEqual(judge([row("a", None, event_id="1042"), row("b")], known), [None, None])

    def test_a_repeat_is_left_to_the_unique_constraint(self) -> None:
        known = KnownOrders(adjustment_ids={"a", "b"}, retracted={Order("1042")})
        self.assertEqual(judge([row("a"), row("b", None), row("c")], known), [None, None, RETRACTED])
        self.assertEqual(judge([row("a"), row("b", None), row("a")], NOTHING), [None, None, None])

    def test_a_contradiction_retracts_nothing(self) -> None:
        known = KnownOrders(adjustment_ids={"a"})
        self.assertEqual(judge([row("a", None), row("b")], known), [None, None])
        self.assertEqual(judge([row("a", transaction_id="1"), row("a", None), row("b")], NOTHING), [None, None, None])

    def test_what_is_refused_does_not_take_its_id(self) -> None:
        known = KnownOrders(retracted={Order("1042")})
        self.assertEqual(judge([row("a"), row("a", transaction_id="1043")], known), [RETRACTED, None])


class RefundTests(SimpleTestCase):
    def test_no_total_follows_refunds_that_left_nothing_but_a_retraction_does(self) -> None:
        for since in (ALWAYS, NOON):
            known = KnownOrders(refunded_since={Order("1042"): since})
            self.assertEqual(judge([row("a"), row("b", None), row("c", None)], known), [RETRACTED, None, DUPLICATE])

    def test_a_total_of_a_time_before_them_may_leave_something_and_so_may_all_that_follow_it(self) -> None:
        known = KnownOrders(refunded_since={Order("1042"): NOON})
        before = row("a", "80", occurred_at=NOON - timedelta(hours=1))
        self.assertEqual(judge([row("b"), before, row("c")], known), [RETRACTED, None, None])


class CurrencyTests(SimpleTestCase):
    def test_a_total_is_in_its_orders_currency(self) -> None:
        known = KnownOrders(currencies={Order("1042"): {"EUR"}})
        self.assertEqual(judge([row("a"), row("b", None)], known), [None, None])
        refusal = Refusal("currency", "currency_differs", "EUR, not USD")
        self.assertEqual(judge([row("a", currency="USD")], known), [refusal])

    def test_a_retraction_has_no_value_and_so_no_currency_that_matters(self) -> None:
        known = KnownOrders(currencies={Order("1042"): {"EUR"}})
        self.assertEqual(judge([row("a", None, currency="USD")], known), [None])

    def test_where_an_orders_events_disagree_any_of_their_currencies_will_do(self) -> None:
        known = KnownOrders(currencies={Order("1042"): {"GBP", "EUR"}})
        batch = [row("a"), row("b", currency="GBP"), row("c", currency="USD")]
        refusal = Refusal("currency", "currency_differs", "EUR or GBP, not USD")
        self.assertEqual(judge(batch, known), [None, None, refusal])

    def test_an_order_without_a_value_has_no_currency(self) -> None:
        self.assertEqual(judge([row("a")], KnownOrders(currencies={Order("1043"): {"USD"}})), [None])
