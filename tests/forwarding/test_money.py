"""Money by currency: what is added up, and what never is."""

from decimal import Decimal

from django.test import SimpleTestCase

from forwarding.money import Money, add_money, added_money


class TestMoney(SimpleTestCase):
    def test_each_currency_has_a_sum_of_its_own(self) -> None:
        sums: Money = {}
        for currency, value in (("USD", "10.10"), ("CAD", "5"), ("USD", "0.905")):
            add_money(sums, currency, Decimal(value))
        self.assertEqual(sums, {"USD": Decimal("11.005"), "CAD": Decimal(5)})

    def test_what_was_taken_back_is_worth_nothing_and_what_has_no_currency_is_no_money(self) -> None:
        sums: Money = {}
        add_money(sums, "USD", Decimal(0))
        add_money(sums, "", None)
        self.assertEqual(sums, {"USD": Decimal(0)})

    def test_several_sums_are_added_up_and_stay_as_they_were(self) -> None:
        one, other = {"USD": Decimal(1)}, {"USD": Decimal(2), "EUR": Decimal(3)}
        self.assertEqual(added_money([one, other]), {"USD": Decimal(3), "EUR": Decimal(3)})
        self.assertEqual(one, {"USD": Decimal(1)})
