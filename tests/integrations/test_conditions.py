"""The little language of a mapping's `when`: what it says, and what it refuses to read."""

from decimal import Decimal
from typing import Any

from django.test import SimpleTestCase
from hypothesis import given
from hypothesis import strategies as st

from ingest.models import Event
from integrations.conditions import Condition, ConditionError, parse_condition


def event(**fields: Any) -> Event:
    return Event(**({"name": "purchase", "source": "browser"} | fields))


class MatchesTest(SimpleTestCase):
    def assert_matches(self, text: str, **fields: Any) -> None:
        self.assertTrue(parse_condition(text).matches(event(**fields)), text)

    def assert_leaves_out(self, text: str, **fields: Any) -> None:
        self.assertFalse(parse_condition(text).matches(event(**fields)), text)

    def test_no_condition_takes_every_event(self) -> None:
        self.assertEqual(parse_condition("  "), Condition())
        self.assert_matches("")

    def test_numbers_are_compared_as_numbers(self) -> None:
        self.assert_matches("value >= 50", value=Decimal("50.00"))
        self.assert_leaves_out("value >= 50", value=Decimal("49.999"))
        self.assert_matches("value == 9.5", value=Decimal("9.500"))
        self.assert_matches("value < 100", value=Decimal(9))
        self.assert_leaves_out("value > 9", value=Decimal(9))
        self.assert_matches("value <= 9", value=Decimal(9))

    def test_texts_are_compared_exactly(self) -> None:
        self.assert_matches('currency == "EUR"', currency="EUR")
        self.assert_leaves_out('currency == "eur"', currency="EUR")
        self.assert_matches('source != "test"', source="server")

    def test_properties_are_looked_up_by_their_path(self) -> None:
        self.assert_matches('properties.plan == "pro"', properties={"plan": "pro"})
        self.assert_matches("properties.cart.items > 2", properties={"cart": {"items": 3}})
        self.assert_matches("properties.is_new == true", properties={"is_new": True})
        self.assert_leaves_out("properties.cart.items > 2", properties={"cart": 3})

    def test_every_comparison_joined_by_and_must_hold(self) -> None:
        text = 'value >= 50 and currency == "EUR" AND properties.plan != "trial"'
        self.assert_matches(text, value=Decimal(60), currency="EUR", properties={})
        self.assert_leaves_out(text, value=Decimal(60), currency="USD", properties={})

    def test_what_an_event_lacks_satisfies_only_not_equal(self) -> None:
        for text in ("value >= 0", "value < 0", "value == 0", 'properties.plan == "pro"', "properties.a.b == false"):
            with self.subTest(text):
                self.assert_leaves_out(text)
        for text in ("value != 0", 'properties.plan != "pro"', 'transaction_id != "A"'):
            with self.subTest(text):
                self.assert_matches(text)

    def test_numbers_texts_and_truth_are_never_mixed_up(self) -> None:
        self.assert_leaves_out("properties.count == 1", properties={"count": True})
        self.assert_leaves_out("properties.count == 1", properties={"count": "1"})
        self.assert_leaves_out("properties.flag == true", properties={"flag": 1})
        self.assert_leaves_out('properties.flag == "true"', properties={"flag": True})
        self.assert_leaves_out("properties.count > 1", properties={"count": "2"})

    def test_a_decimal_property_is_compared_as_it_is_written(self) -> None:
        self.assert_matches("properties.rate == 0.1", properties={"rate": 0.1})


class UnmetTest(SimpleTestCase):
    def test_it_names_the_first_comparison_that_an_event_misses(self) -> None:
        for condition, words in {
            "value >= 50": "value below 50",
            "value > 40 and value < 49": "value not below 49",
            'currency == "EUR"': "currency is not EUR",
            'currency != "USD"': "currency is USD",
            "properties.trial == true": "no properties.trial",
            "properties.plan > 3": "properties.plan is no number",
            "properties.vip == true": "properties.vip is not true",
            "value >= 1": "",
        }.items():
            with self.subTest(condition=condition):
                seen = event(value=Decimal("49.90"), currency="USD", properties={"plan": "pro", "vip": False})
                self.assertEqual(parse_condition(condition).unmet(seen), words)


class RefusedTest(SimpleTestCase):
    def test_what_cannot_be_read_is_refused_with_what_would_be_right(self) -> None:
        for text, words in {
            "value": "comes one of ==",
            "value >=": "comes a number",
            "value > 50 or value < 9": "joined by `and`",
            "value >> 50": "comes a number",
            "value = 50": "cannot be read from character 7",
            "(value > 50)": "cannot be read from character 1",
            "price > 50": "A comparison begins with value, currency",
            "properties. > 50": "cannot be read",
            "properties > 50": "not with `properties`",
            'value > "50"': "`value` is a number",
            "currency == EUR": 'a "text" in double quotes',
            "currency == 5": "`currency` is a text",
            'currency > "EUR"': "compares numbers",
            "properties.a > true": "compares numbers",
            "value > 1e5": "cannot be read",
            "value > 50,5": "cannot be read",
            "value > 5 and": "or properties.<name>, but the condition ends there.",
            "value >": "true or false, but the condition ends there.",
            "currency": "<, <=, >, >=, but the condition ends there.",
            'currency == "EUR': "cannot be read",
            "value > 50\nand value < 60": "one line",
            "value > \0": "one line",
            "__import__('os').system('true')": "cannot be read",
            "value > 1" + " " * 200: "at most 200",
        }.items():
            with self.subTest(text), self.assertRaisesMessage(ConditionError, words):
                parse_condition(text)

    @given(st.text(max_size=60))
    def test_any_text_is_read_or_refused(self, text: str) -> None:
        try:
            parse_condition(text).matches(event())
        except ConditionError:
            return

    @given(st.lists(st.sampled_from(["value", "and", ">=", "5", '"x"', "properties.a", "==", "true", "currency"])))
    def test_any_order_of_its_words_is_read_or_refused(self, words: list[str]) -> None:
        try:
            parse_condition(" ".join(words)).matches(event())
        except ConditionError:
            return
