"""Cells of a spreadsheet are read exactly, or refused in words: never guessed."""

from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from django.test import SimpleTestCase
from hypothesis import given
from hypothesis import strategies as st

from ingest.imports.problems import PROBLEMS, told
from ingest.imports.reading import FileFacts, Original, Reading, Surroundings, read_row, readings_of
from ingest.imports.times import TimeRefused, read_moment, zone_named
from ingest.refusals import REFUSALS
from tests.cast import CLICK_ID, NOON

CHICAGO = ZoneInfo("America/Chicago")
OURS = FileFacts("convultra", UTC, "", ",", "USD")
MICROSOFTS = FileFacts("microsoft", UTC, "", ",", "USD")
MOMENTS = st.integers(631_152_000, 4_102_444_800).map(lambda at: datetime.fromtimestamp(at, UTC).replace(tzinfo=None))
COLUMNS = (
    "name", "occurred_at", "value", "currency", "msclkid", "adjustment_type", "adjustment_time", "adjustment_value",
    "event_id", "consent", "transaction_id",
)  # fmt: skip


def found(*event_ids: str) -> Surroundings:
    """Return what a file meets where every correction names these conversions."""
    events = {"Purchase": {"purchase"}, "Lead form": {"lead", "signup"}, "Trade": {"Demo"}, "Sale": {"demo"}}
    events |= {"visit": {"visit", "tour"}}
    return Surroundings(events, lambda originals: [list(event_ids) for _ in originals], NOON - timedelta(days=90))


def read(file: FileFacts = OURS, **cells: str) -> Reading:
    given_cells = {"name": "purchase", "occurred_at": "2026-11-20 10:00", "msclkid": CLICK_ID} | cells
    return read_row([2, {name: text for name, text in given_cells.items() if text}, []], file, found(), NOON)


class TestTimes(SimpleTestCase):
    def test_each_way_of_writing_names_the_same_moment(self) -> None:
        for text in (
            "2026-11-18T14:05:00-06:00", "2026-11-18 14:05:00 -0600", "2026-11-18 14:05", "2026/11/18 14:05:00",
            "11/18/2026 2:05 PM", "18.11.2026 14:05", "Nov 18, 2026 2:05:00 PM", "November 18 2026 14:05",
            "2026-11-18 20:05:00Z", "2026-11-18 14:05:00 America/Chicago", "2026-11-18T20:05:00.250+00:00",
        ):  # fmt: skip
            with self.subTest(text):
                self.assertEqual(read_moment(text, CHICAGO), datetime(2026, 11, 18, 20, 5, tzinfo=UTC))

    def test_a_date_that_could_be_two_is_refused_until_the_file_says_which(self) -> None:
        with self.assertRaisesMessage(TimeRefused, "date_unclear"):
            read_moment("03/04/2026 10:00", UTC)
        self.assertEqual(read_moment("03/04/2026 10:00", UTC, "day-first"), datetime(2026, 4, 3, 10, tzinfo=UTC))
        self.assertEqual(read_moment("03/04/2026 10:00", UTC, "month-first"), datetime(2026, 3, 4, 10, tzinfo=UTC))
        self.assertEqual(read_moment("04/04/2026 10:00", UTC), datetime(2026, 4, 4, 10, tzinfo=UTC))

    def test_a_chosen_order_holds_for_every_row(self) -> None:
        with self.assertRaisesMessage(TimeRefused, "time_malformed"):
            read_moment("11/18/2026 10:00", UTC, "day-first")

    def test_what_is_no_moment_is_refused(self) -> None:
        for text in (
            "",
            "soon",
            "2026-02-30 10:00",
            "2026-11-18 25:00",
            "13:00 PM",
            "1763474700",
            "45979.58",
            "18.11.26",
        ):
            with self.subTest(text), self.assertRaises(TimeRefused):
                read_moment(text, UTC)

    def test_a_date_alone_is_the_end_of_its_day(self) -> None:
        self.assertEqual(read_moment("2026-11-18", CHICAGO), datetime(2026, 11, 19, 5, 59, 59, tzinfo=UTC))

    def test_an_hour_that_the_clock_skips_is_refused_and_the_later_of_two_is_taken(self) -> None:
        with self.assertRaisesMessage(TimeRefused, "time_skipped"):
            read_moment("2026-03-08 02:30", CHICAGO)
        self.assertEqual(read_moment("2026-11-01 01:30", CHICAGO), datetime(2026, 11, 1, 7, 30, tzinfo=UTC))

    def test_an_unknown_zone_is_refused(self) -> None:
        for text in ("2026-11-18 10:00 Mars/Olympus", "2026-11-18 10:00 +99:00"):
            with self.subTest(text), self.assertRaisesMessage(TimeRefused, "zone_unknown"):
                read_moment(text, UTC)
        for name in ("", "America", "../etc/passwd", "EST5", "\0"):
            with self.subTest(name), self.assertRaises(ValueError):
                zone_named(name)

    @given(MOMENTS, st.integers(-12 * 60, 14 * 60 - 1))
    def test_what_is_written_with_its_zone_is_read_back(self, at: datetime, minutes: int) -> None:
        zone = zone_named(f"{'+' if minutes >= 0 else '-'}{abs(minutes) // 60:02}{abs(minutes) % 60:02}")
        moment = at.replace(tzinfo=zone)
        self.assertEqual(read_moment(moment.isoformat(), UTC), moment)
        self.assertEqual(read_moment(f"{at:%d/%m/%Y %H:%M:%S}", zone, "day-first"), moment)
        self.assertEqual(read_moment(f"{at:%m/%d/%Y %I:%M:%S %p}", zone, "month-first"), moment)

    @given(
        st.text(max_size=40) | st.from_regex(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}( \d{1,2}:\d{2})?.{0,8}", fullmatch=True)
    )
    def test_any_text_is_a_moment_or_refused(self, text: str) -> None:
        try:
            self.assertEqual(read_moment(text, CHICAGO).tzinfo, UTC)
        except TimeRefused as refused:
            self.assertIn(refused.code, PROBLEMS)


class TestValues(SimpleTestCase):
    def test_only_digits_and_a_full_stop_are_a_value(self) -> None:
        for text, code in (
            ("1250", ""), ("1250.5", ""), ("0.001", ""), ("-3", ""), ("1,250.00", "value_separators"),
            ("1 250,00", "value_separators"), ("49,99", "value_separators"), ("$12", "value_separators"),
            ("12 EUR", "value_separators"), ("12.50 €", "value_separators"), ("1.2E+5", "value_separators"),
            ("unknown", "value_malformed"), ("٣", "value_separators"),
        ):  # fmt: skip
            with self.subTest(text):
                self.assertEqual(read(value=text).faults, [("value", code)] if code else [])

    def test_a_full_stop_that_may_be_for_thousands_is_refused(self) -> None:
        semicolons = FileFacts("convultra", UTC, "", ";", "USD")
        self.assertEqual(read(semicolons, value="1.250").faults, [("value", "value_unclear")])
        self.assertEqual(read(semicolons, value="1250.50").faults, [])
        self.assertEqual(read(value="1.250").faults, [])


class TestRows(SimpleTestCase):
    def test_a_row_becomes_what_the_api_is_sent(self) -> None:
        event = read(value="9.50", currency="USD", transaction_id="D-1", event_id="one", email_sha256="a" * 64).event
        self.assertEqual(
            event,
            {
                "event_id": "one", "name": "purchase", "occurred_at": "2026-11-20T10:00:00+00:00", "value": "9.50",
                "currency": "USD", "transaction_id": "D-1", "msclkid": CLICK_ID,
                "user_data": {"email_sha256": "a" * 64},
            },
        )  # fmt: skip

    def test_an_id_that_a_spreadsheet_has_spoilt_is_refused(self) -> None:
        for column in ("event_id", "transaction_id", "external_id", "visitor_id", "session_id"):
            for text in ("1.23457E+11", "1,23457E+11", "1E+15", "1.23457e+011"):
                with self.subTest(column=column, text=text):
                    self.assertEqual(read(OURS, **{column: text}).faults, [(column, "id_spoilt")])
        for text in ("4E12", "E+11", "SO-1.5E+11", "12.3E+11", "123456789012"):
            with self.subTest(text):
                self.assertEqual(read(transaction_id=text).faults, [])

    def test_a_goals_name_becomes_its_event(self) -> None:
        for name, event, code in (
            ("Purchase", "purchase", ""),
            ("PURCHASE", "purchase", ""),
            ("lead", "lead", ""),
            ("Lead form", "", "lead, signup"),
            ("LEAD FORM", "", "lead, signup"),
            ("visit", "visit", ""),
            ("VISIT", "", "tour, visit"),
            ("Demo", "Demo", ""),
            ("demo", "demo", ""),
            ("DEMO", "", "Demo, demo"),
        ):
            with self.subTest(name):
                reading = read(MICROSOFTS, name=name)
                self.assertEqual((reading.event or {"name": ""})["name"], event)
                self.assertEqual(reading.faults, [("name", "goal_of_several", code)] if code else [])

    def test_a_goal_that_nothing_is_mapped_to_is_refused(self) -> None:
        self.assertEqual(read(MICROSOFTS, name="Other").faults, [("name", "goal_unknown")])

    def test_a_date_without_a_time_is_noted_where_nothing_else_knows_the_row(self) -> None:
        noted = [("occurred_at", "date_without_time")]
        cases: list[tuple[dict[str, str], list[tuple[str, str]]]] = [
            ({}, noted),
            ({"occurred_at": "2026-11-20 10:00"}, []),
            ({"event_id": "one"}, []),
            ({"transaction_id": "D-1"}, []),
            ({"transaction_id": "D-1", "name": "refund"}, noted),
        ]
        for cells, notes in cases:
            with self.subTest(cells):
                self.assertEqual(read(OURS, **({"occurred_at": "2026-11-20"} | cells)).notes, notes)

    def test_a_correction_needs_exactly_one_conversion(self) -> None:
        cells = {
            "name": "Purchase", "occurred_at": "2026-11-20 10:00", "msclkid": CLICK_ID, "adjustment_type": "Restate",
            "adjustment_time": "2026-11-21 10:00", "adjustment_value": "5", "adjustment_currency": "EUR",
        }  # fmt: skip
        rows: list[list[Any]] = [[3, cells, []]]
        [reading] = readings_of(rows, MICROSOFTS, found("the-one"), NOON)
        self.assertEqual(reading.original, Original("Purchase", CLICK_ID, datetime(2026, 11, 20, 10, tzinfo=UTC)))
        assert reading.adjustment is not None
        self.assertEqual((reading.adjustment["event_id"], reading.adjustment["type"]), ("the-one", "restate"))
        for event_ids, code in ((("a", "b"), "original_unclear"), ((), "original_unknown")):
            [reading] = readings_of(rows, MICROSOFTS, found(*event_ids), NOON)
            self.assertEqual((reading.adjustment, reading.faults), (None, [("", code)]))

    @given(
        st.dictionaries(
            st.sampled_from(COLUMNS),
            st.text(min_size=1, max_size=20) | st.sampled_from(["Restate", "Retract", "purchase", "2026-11-20", "5"]),
        ),
        st.sampled_from([OURS, MICROSOFTS]),
    )  # fmt: skip
    def test_any_cells_are_understood_or_refused_in_words(self, cells: dict[str, str], file: FileFacts) -> None:
        [reading] = readings_of([[2, cells, []]], file, found("the-one"), NOON)
        self.assertEqual(bool(reading.faults), reading.event is None and reading.adjustment is None)
        self.assertLessEqual({code for _, code, *_ in reading.faults}, set(PROBLEMS))


class TestContentIds(SimpleTestCase):
    ROW: ClassVar[dict[str, str]] = {
        "name": "purchase", "occurred_at": "2026-11-20 10:00:00", "msclkid": CLICK_ID, "value": "100",
    }  # fmt: skip

    def id_of(self, changes: dict[str, str], file: FileFacts = OURS) -> str:
        reading = read(file, **(self.ROW | changes))
        assert reading.event is not None, reading.faults
        return str(reading.event["event_id"])

    def test_however_it_is_written_one_conversion_has_one_id(self) -> None:
        one = self.id_of({})
        self.assertRegex(one, r"^csv-[0-9a-f]{40}$")
        for changes in (
            {"value": "100.00"}, {"occurred_at": "2026-11-20 10:00"}, {"occurred_at": "2026-11-20T05:00:00-05:00"},
            {"occurred_at": "20.11.2026 10:00"}, {"msclkid": CLICK_ID.upper()}, {"currency": "USD"},
            {"value": "120"}, {"email_sha256": "a" * 64}, {"consent": "granted"}, {"country": "US"},
        ):  # fmt: skip
            with self.subTest(changes):
                self.assertEqual(self.id_of(changes), one)
        self.assertEqual(self.id_of({"name": "PURCHASE"}, MICROSOFTS), one)

    def test_another_conversion_has_another_id(self) -> None:
        changed: list[dict[str, str]] = [
            {}, {"name": "lead"}, {"occurred_at": "2026-11-20 10:00:01"}, {"msclkid": "b" * 32},
            {"transaction_id": "D-1"}, {"transaction_id": "D-2"}, {"msclkid": "", "email_sha256": "a" * 64},
            {"msclkid": "", "external_id": "a" * 64},
        ]  # fmt: skip
        self.assertEqual(len({self.id_of(changes) for changes in changed}), len(changed))

    def test_two_refunds_of_an_order_on_one_day_differ_by_their_value(self) -> None:
        refund = {"name": "refund", "transaction_id": "D-1", "occurred_at": "2026-11-20"}
        one = self.id_of(refund | {"value": "10"})
        self.assertEqual(self.id_of(refund | {"value": "10.00", "msclkid": ""}), one)
        self.assertNotEqual(self.id_of(refund | {"value": "20"}), one)

    def test_a_correction_is_the_same_however_it_is_written(self) -> None:
        cells = {
            **self.ROW,
            "adjustment_type": "Restate",
            "adjustment_time": "2026-11-21 9:00",
            "adjustment_value": "5",
        }

        def adjustment_id(**changes: str) -> str:
            [reading] = readings_of([[3, cells | changes, []]], MICROSOFTS, found("the-one"), NOON)
            assert reading.adjustment is not None
            return str(reading.adjustment["adjustment_id"])

        same = adjustment_id(
            adjustment_value="5.00", adjustment_currency="USD", adjustment_type="RESTATE", name="Purchase"
        )
        self.assertEqual(same, adjustment_id())
        self.assertNotEqual(adjustment_id(adjustment_value="6"), adjustment_id())


class TestWords(SimpleTestCase):
    # What a row cannot meet: it is sent as JSON that we write, with nothing of these in it.
    NOT_IN_FILES = {
        "wrong_type", "unknown_member", "duplicate_member", "empty_batch", "too_many_keys", "too_deep",
        "number_out_of_range", "consent_denied", "url_malformed",
    }  # fmt: skip

    def test_every_refusal_of_the_api_that_a_row_can_meet_has_its_words(self) -> None:
        self.assertEqual(set(REFUSALS) - self.NOT_IN_FILES - set(PROBLEMS), set())

    def test_the_column_is_named_as_the_file_does(self) -> None:
        self.assertEqual(told("required", "Conversion Time").title, "Conversion Time is missing")
        self.assertEqual(told("required", "occurred_at").fix, "Fill the column occurred_at.")
