"""How numbers, money, times and ids are written."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.test import SimpleTestCase

from dashboard import wording
from tests.cast import CLICK_ID, NOON

CHICAGO = ZoneInfo("America/Chicago")


class Numbers(SimpleTestCase):
    def test_counts_have_separators_and_are_shortened_from_ten_million(self) -> None:
        self.assertEqual(wording.thousands(9_999_999), "9,999,999")
        self.assertEqual(wording.thousands(12_400_000), "12.4M")

    def test_a_large_figure_of_money_is_shortened_from_ten_million(self) -> None:
        for written, short in (
            ("$9,999,999", "$9,999,999"),
            ("$10,000,000", "$10.0M"),
            ("−CA$1,234,567,890 + €12", "−CA$1.2B + €12"),
            ("$2,000,000,031,309", "$2.0T"),
            ("No value", "No value"),
        ):
            with self.subTest(written=written):
                self.assertEqual(wording.brief(written), short)

    def test_a_capped_count_says_so(self) -> None:
        self.assertEqual((wording.capped(10_000), wording.capped(10_001)), ("10,000", "10,000+"))

    def test_rates_never_lie_at_the_edges(self) -> None:
        cases = [
            (0, 0, "–"),
            (0, 9, "0.0%"),
            (1, 10_000, "<0.1%"),
            (2, 3, "66.7%"),
            (9999, 10_000, "99.9%"),
            (5, 5, "100.0%"),
        ]
        for part, whole, written in cases:
            with self.subTest(part=part, whole=whole):
                self.assertEqual(wording.rate(part, whole), written)

    def test_a_change_is_a_share_of_what_was_before(self) -> None:
        for now, before, written in (
            (108, 100, "+8.0%"),
            (50, 100, "−50.0%"),
            (Decimal("2.5"), 1, "+150.0%"),
            (5, 0, ""),
        ):
            with self.subTest(written=written):
                self.assertEqual(wording.change(now, before), written)


class Money(SimpleTestCase):
    def test_a_value_is_written_to_the_cent_in_its_currency(self) -> None:
        cases = [
            ("129.95", "USD", "USD", "$129.95"), ("4182", "CAD", "USD", "CA$4,182.00"),
            ("4182", "CAD", "CAD", "$4,182.00"),
            ("12.5", "CHF", "USD", "CHF 12.50"), ("300", "JPY", "USD", "¥300"), ("0.125", "USD", "USD", "$0.125"),
            ("1E+3", "EUR", "USD", "€1,000.00"), ("-3", "GBP", "", "−£3.00"), ("7", "", "", "7.00"),
        ]  # fmt: skip
        for value, currency, home, written in cases:
            with self.subTest(value=value, currency=currency):
                self.assertEqual(wording.money(Decimal(value), currency, home), written)

    def test_no_value_is_not_zero(self) -> None:
        self.assertEqual(wording.money(None, "USD"), "No value")
        self.assertEqual(wording.amount(None, "USD"), "")

    def test_a_program_reads_the_same_decimals_and_no_separators(self) -> None:
        for value, currency, written in (
            ("4182.900", "USD", "4182.90"),
            ("300.000", "JPY", "300"),
            ("-3", "GBP", "-3.00"),
        ):
            self.assertEqual(wording.amount(Decimal(value), currency), written)

    def test_a_figure_drops_cents_from_a_thousand(self) -> None:
        self.assertEqual(wording.figure(Decimal("999.99"), "USD"), "$999.99")
        self.assertEqual(wording.figure(Decimal("284906.4"), "USD"), "$284,906")

    def test_currencies_are_listed_never_added(self) -> None:
        self.assertEqual(wording.sums({"CAD": Decimal(21450), "USD": Decimal(284906)}, "USD"), "$284,906 + CA$21,450")
        self.assertEqual(wording.sums({}), "–")

    def test_what_was_taken_back_is_subtracted_and_no_negative_is_added(self) -> None:
        taken = {"USD": Decimal("-12.75"), "EUR": Decimal("-5.995"), "JPY": Decimal("-500.50")}
        self.assertEqual(wording.sums(taken, "USD"), "−$12.75 − €5.995 − ¥500.50")
        self.assertEqual(wording.sums(taken | {"EUR": Decimal(0)}, "EUR"), "€0.00 − ¥500.50 − $12.75")


class Times(SimpleTestCase):
    def test_today_is_a_clock_and_older_has_its_day(self) -> None:
        cases = [
            (NOON - timedelta(hours=3), "03:00:00"),
            (NOON - timedelta(days=2), "Nov 19, 06:00:00"),
            (datetime(2025, 3, 1, 12, tzinfo=UTC), "Mar 1, 2025, 06:00:00"),
        ]
        for moment, written in cases:
            with self.subTest(written=written):
                self.assertEqual(wording.clock(moment, CHICAGO, NOON), written)

    def test_today_is_the_sites_day_not_utcs(self) -> None:
        late = datetime(2026, 11, 21, 3, tzinfo=UTC)  # still the 20th in Chicago
        self.assertEqual(wording.clock(late, CHICAGO, NOON), "Nov 20, 21:00:00")

    def test_the_whole_moment_names_zone_and_offset(self) -> None:
        self.assertEqual(wording.full(NOON, CHICAGO), "Nov 21, 2026, 06:00:00 CST (UTC-06:00)")
        self.assertEqual(wording.full(NOON, ZoneInfo("Asia/Kolkata")), "Nov 21, 2026, 17:30:00 IST (UTC+05:30)")

    def test_the_last_something_is_relative_for_a_day(self) -> None:
        cases = [(0, "now"), (38, "38 s ago"), (754, "12 min ago"), (10_320, "2 h 52 min ago"), (90_000, "on Nov 20")]
        for seconds, written in cases:
            with self.subTest(seconds=seconds):
                self.assertEqual(wording.ago(NOON - timedelta(seconds=seconds), CHICAGO, NOON), written)

    def test_durations_use_two_units(self) -> None:
        cases = [
            (0.412, "412 ms"),
            (38, "38 s"),
            (130, "2 min 10 s"),
            (120, "2 min"),
            (10_320, "2 h 52 min"),
            (97_200, "1 d 3 h"),
        ]
        for seconds, written in cases:
            with self.subTest(seconds=seconds):
                self.assertEqual(wording.duration(seconds), written)


class Names(SimpleTestCase):
    def test_a_click_id_keeps_its_ends(self) -> None:
        self.assertEqual(wording.short_click_id(CLICK_ID), "f894f6…8f8e3")
        self.assertEqual(wording.short_click_id("short"), "short")

    def test_initials_are_two_letters(self) -> None:
        for name, letters in (
            ("Harbor & Pine", "HP"),
            ("Tallis", "TA"),
            ("maya@x.example", "MX"),
            ("&", "?"),
            ("", "?"),
        ):
            with self.subTest(name=name):
                self.assertEqual(wording.initials(name), letters)

    def test_names_are_joined_as_a_sentence_does(self) -> None:
        self.assertEqual(wording.listed(["A", "B", "C"]), "A, B and C")
        self.assertEqual((wording.listed(["A"]), wording.listed([])), ("A", ""))
