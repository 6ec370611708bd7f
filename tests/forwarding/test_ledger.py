"""The running value of an order: the pure sums behind restatements and retractions."""

from datetime import timedelta
from decimal import Decimal
from itertools import permutations
from typing import Any

from django.test import SimpleTestCase
from hypothesis import given
from hypothesis import strategies as st

from forwarding.corrections.ledger import Line, Order, Settlement, Told, settle
from forwarding.models import Said, Skip
from integrations.models import ValueRule
from tests.cast import NOON

HUNDRED = Decimal(100)
SENT = Told(HUNDRED)
RETRACTED = Told(None, is_retracted=True)


def order(**changes: Any) -> Order:
    """Return an order of 100 USD that Microsoft has with its full value."""
    given_order: dict[str, Any] = {
        "worth": HUNDRED,
        "currency": "USD",
        "rule": ValueRule.EVENT,
        "own_value": HUNDRED,
        "told": SENT,
    }
    return Order(**(given_order | changes))


def line(pk: int, said: Said, value: int | None = None, currency: str = "USD") -> Line:
    """Return a line whose number is its minute too."""
    return Line(pk, said, None if value is None else Decimal(value), currency, NOON + timedelta(minutes=pk))


def refund(pk: int, value: int | None, currency: str = "USD") -> Line:
    return line(pk, Said.REFUND, value, currency)


class TestRunningValue(SimpleTestCase):
    def settled(self, *lines: Line, closed: tuple[int, ...] = (), **changes: Any) -> Settlement:
        return settle(order(**changes), lines, closed)

    def test_a_partial_refund_leaves_the_rest(self) -> None:
        settled = self.settled(refund(1, 30))
        self.assertEqual((settled.wanted, settled.carrier), (Told(Decimal(70)), 1))

    def test_refunds_add_up_and_the_newest_carries_the_total(self) -> None:
        settled = self.settled(refund(1, 30), refund(2, 20))
        self.assertEqual((settled.wanted, settled.carrier), (Told(Decimal(50)), 2))
        self.assertEqual(settled.skips, {1: Skip.SUPERSEDED})

    def test_a_full_refund_retracts(self) -> None:
        for lines in ([refund(1, None)], [refund(1, 100)], [refund(1, 60), refund(2, 40)], [refund(1, 250)]):
            with self.subTest(lines):
                self.assertEqual(self.settled(*lines).wanted, RETRACTED)

    def test_nothing_counts_after_a_retraction(self) -> None:
        settled = self.settled(refund(1, None), line(2, Said.RESTATE, 80), refund(3, 5))
        self.assertEqual((settled.wanted, settled.carrier), (RETRACTED, 1))
        self.assertEqual(settled.skips, {2: Skip.RETRACTED, 3: Skip.RETRACTED})

    def test_a_retraction_that_microsoft_has_stays_the_last_word(self) -> None:
        settled = self.settled(refund(1, None), refund(2, 5), closed=(1,), told=RETRACTED)
        self.assertEqual((settled.carrier, settled.skips), (None, {2: Skip.RETRACTED}))

    def test_a_restatement_sets_the_total_that_later_refunds_reduce(self) -> None:
        settled = self.settled(refund(1, 30), line(2, Said.RESTATE, 120), refund(3, 20))
        self.assertEqual(settled.wanted, Told(HUNDRED))
        self.assertEqual(settled.skips[3], Skip.NO_CHANGE)

    def test_a_restatement_to_nothing_keeps_the_count(self) -> None:
        self.assertEqual(self.settled(line(1, Said.RESTATE, 0)).wanted, Told(Decimal(0)))

    def test_another_currency_cannot_be_added_up(self) -> None:
        settled = self.settled(refund(1, 30, "EUR"), refund(2, 10))
        self.assertEqual((settled.wanted, settled.skips), (Told(Decimal(90)), {1: Skip.OTHER_CURRENCY}))

    def test_all_of_an_order_is_given_back_in_whatever_currency(self) -> None:
        self.assertEqual(self.settled(line(1, Said.RETRACT, None, "EUR")).wanted, RETRACTED)

    def test_part_of_an_unknown_worth_is_unknown(self) -> None:
        settled = self.settled(refund(1, 30), worth=None, own_value=None, told=Told(None))
        self.assertEqual((settled.carrier, settled.skips), (None, {1: Skip.NO_CHANGE}))

    def test_a_restatement_gives_a_worth_and_its_currency_to_an_order_without(self) -> None:
        settled = self.settled(line(1, Said.RESTATE, 30, "EUR"), worth=None, currency="", told=Told(None))
        self.assertEqual((settled.wanted, settled.currency, settled.carrier), (Told(Decimal(30)), "EUR", 1))

    def test_a_goal_with_its_own_value_feels_a_full_refund_only(self) -> None:
        fixed: dict[str, Any] = {"rule": ValueRule.FIXED, "own_value": Decimal(5), "told": Told(Decimal(5))}
        self.assertEqual(self.settled(refund(1, 30), **fixed).skips, {1: Skip.NO_CHANGE})
        self.assertEqual(self.settled(refund(1, 30), refund(2, 70), **fixed).wanted, RETRACTED)

    def test_before_it_was_sent_the_order_itself_is_corrected(self) -> None:
        settled = self.settled(refund(1, 30), told=None)
        self.assertEqual((settled.wanted, settled.carrier), (Told(Decimal(70)), None))
        self.assertEqual(settled.skips, {1: Skip.APPLIED})

    def test_an_order_that_is_never_sent_has_nothing_to_correct(self) -> None:
        settled = self.settled(refund(1, 30), told=None, will_be_sent=False)
        self.assertEqual((settled.carrier, settled.skips), (None, {1: Skip.NOT_FORWARDED}))

    def test_the_backends_value_is_told_when_microsoft_has_another(self) -> None:
        settled = self.settled(line(1, Said.ORDER, 110), worth=Decimal(110))
        self.assertEqual((settled.wanted, settled.carrier), (Told(Decimal(110)), 1))

    def test_a_line_that_is_on_its_way_is_not_decided_again(self) -> None:
        settled = self.settled(refund(1, 30), refund(2, 20), closed=(1,), told=Told(Decimal(70)))
        self.assertEqual((settled.wanted, settled.carrier, settled.skips), (Told(Decimal(50)), 2, {}))


class TestAnyOrderOfArrival(SimpleTestCase):
    def test_the_total_is_the_same(self) -> None:
        lines = [refund(1, 30), line(2, Said.RESTATE, 90), refund(3, 15, "EUR"), refund(4, 40)]
        totals = {settle(order(), arrived, ()).wanted for arrived in permutations(lines)}
        self.assertEqual(totals, {Told(Decimal(50))})

    @given(st.lists(st.tuples(st.sampled_from(Said), st.none() | st.integers(0, 150)), max_size=8))
    def test_every_open_line_is_the_carrier_or_has_a_reason(self, said: list[tuple[Said, int | None]]) -> None:
        lines = [
            line(pk, what, 10 if value is None and what != Said.REFUND else value)
            for pk, (what, value) in enumerate(said)
        ]
        settled = settle(order(), lines, ())
        told = set(settled.skips) | ({settled.carrier} - {None})
        self.assertEqual(told, {each.pk for each in lines})
        self.assertTrue(settled.wanted.is_retracted or (settled.wanted.value or 0) >= 0)
