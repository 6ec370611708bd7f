"""The bytes of a batch: exact, ordered, and the same every time."""

import json
from dataclasses import replace
from decimal import Decimal

from django.test import SimpleTestCase
from hypothesis import given
from hypothesis import strategies as st

from integrations.microsoft_ads.shapes import OfflineConversion, OfflineConversionAdjustment
from integrations.microsoft_ads.wire import adjustments_body, conversions_body
from tests.integrations.microsoft_ads.canned import PURCHASE, RETRACTION

amounts = st.decimals(min_value=0, max_value=10**12, allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"]))
conversions = st.builds(
    OfflineConversion, texts, texts, texts, texts, texts, st.none() | amounts, st.sampled_from(["", "EUR"])
)


class ConversionsBodyTests(SimpleTestCase):
    def test_it_writes_microsofts_names_in_a_fixed_order(self) -> None:
        row = OfflineConversion("Kauf €", "2026-11-21T09:30:00Z", "c1", "e1", "p1", Decimal("49.90"), "EUR")
        expected = (
            '{"OfflineConversions":[{"ConversionName":"Kauf €","ConversionTime":"2026-11-21T09:30:00Z",'
            '"ConversionValue":49.9,"ConversionCurrencyCode":"EUR","MicrosoftClickId":"c1",'
            '"HashedEmailAddress":"e1","HashedPhoneNumber":"p1"}]}'
        )
        self.assertEqual(conversions_body([row]), expected.encode())

    def test_it_leaves_out_what_is_empty(self) -> None:
        row = json.loads(conversions_body([PURCHASE]))["OfflineConversions"][0]
        self.assertEqual(list(row), ["ConversionName", "ConversionTime", "MicrosoftClickId"])

    def test_it_sends_a_value_of_nothing(self) -> None:
        self.assertIn(b'"ConversionValue":0,', conversions_body([replace(PURCHASE, value=Decimal("-0.00"))]))

    def test_it_writes_large_numbers_in_full(self) -> None:
        self.assertIn(b'"ConversionValue":100,', conversions_body([replace(PURCHASE, value=Decimal("1E+2"))]))

    def test_it_refuses_what_is_no_number(self) -> None:
        with self.assertRaisesMessage(ValueError, "finite"):
            conversions_body([replace(PURCHASE, value=Decimal("NaN"))])

    def test_it_takes_a_thousand_rows_and_no_more(self) -> None:
        self.assertEqual(len(json.loads(conversions_body([PURCHASE] * 1_000))["OfflineConversions"]), 1_000)
        with self.assertRaisesMessage(ValueError, "not 1001"):
            conversions_body([PURCHASE] * 1_001)

    def test_it_refuses_an_empty_batch(self) -> None:
        with self.assertRaisesMessage(ValueError, "not 0"):
            conversions_body([])

    @given(st.lists(conversions, min_size=1, max_size=5))
    def test_equal_rows_give_equal_bytes(self, rows: list[OfflineConversion]) -> None:
        self.assertEqual(conversions_body(rows), conversions_body([replace(row) for row in rows]))

    @given(conversions)
    def test_every_field_arrives_as_it_was(self, row: OfflineConversion) -> None:
        (sent,) = json.loads(conversions_body([row]), parse_float=Decimal, parse_int=Decimal)["OfflineConversions"]
        self.assertEqual(sent.get("ConversionName", ""), row.goal_name)
        self.assertEqual(sent.get("MicrosoftClickId", ""), row.click_id)
        self.assertEqual(sent.get("ConversionValue"), row.value)

    @given(amounts)
    def test_a_number_has_no_exponent_and_no_idle_digits(self, amount: Decimal) -> None:
        number = (
            conversions_body([replace(PURCHASE, value=amount)]).partition(b'"ConversionValue":')[2].partition(b",")[0]
        )
        self.assertRegex(number.decode(), r"\A(0|[1-9][0-9]*)(\.[0-9]*[1-9])?\Z")


class AdjustmentsBodyTests(SimpleTestCase):
    def test_it_retracts_without_a_value(self) -> None:
        expected = (
            '{"OfflineConversionAdjustments":[{"AdjustmentType":"Retract","AdjustmentTime":"2026-11-22T08:00:00Z",'
            '"ConversionName":"Convultra Purchase","ConversionTime":"2026-11-21T09:30:00Z",'
            '"MicrosoftClickId":"f894f652ea334e739002f7167ab8f8e3"}]}'
        )
        self.assertEqual(adjustments_body([RETRACTION]), expected.encode())

    def test_it_restates_to_a_new_total_in_its_currency(self) -> None:
        row = OfflineConversionAdjustment("Restate", "t2", "Purchase", "t1", "c1", "", "", Decimal("20.0"), "EUR")
        (sent,) = json.loads(adjustments_body([row]), parse_float=Decimal)["OfflineConversionAdjustments"]
        self.assertEqual((sent["AdjustmentValue"], sent["AdjustmentCurrencyCode"]), (20, "EUR"))
