"""A file of conversions on the whole road: uploaded, checked, confirmed, stored by a worker, booked at Microsoft."""

import io
import uuid
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch
from zoneinfo import ZoneInfo

import time_machine
from django.db import DataError, connection
from django.utils import timezone

from forwarding.importing import check, count_results, results_of, store, surroundings_of
from forwarding.planning.planner import plan_all
from ingest import storing
from ingest.imports import checking, uploading, working
from ingest.imports.checking import Judged, judge_rows
from ingest.imports.report import TO_FIX, report
from ingest.imports.uploading import FileOptions, take_file
from ingest.models import Event, Import, Source
from integrations.mapping import set_mapping
from tests.road.road import RoadTestCase

OURS = "event_id,name,occurred_at,value,currency,transaction_id,msclkid"
MICROSOFTS = "Microsoft Click ID,Conversion Name,Conversion Time,Conversion Value,Conversion Currency"


class ImportTestCase(RoadTestCase):
    """The road with a file at its beginning."""

    def upload(self, *lines: str, **options: str) -> Import:
        """Take a file in, as Alice."""
        file = io.BytesIO("\r\n".join(lines).encode())
        return take_file(self.site, file, "deals.csv", FileOptions(**options), self.alice, timezone.now())

    def checked(self, *lines: str, **options: str) -> Import:
        """Take a file in and check it."""
        source = self.upload(*lines, **options)
        check(source)
        source.refresh_from_db()
        return source

    def imported(self, *lines: str, **options: str) -> Import:
        """Take a file in, check it, confirm it, and store its rows."""
        source = self.checked(*lines, **options)
        self.assertEqual(working.confirm(source, self.alice, timezone.now()), bool(source.to_store))
        store(source)
        source.refresh_from_db()
        return source


def an_hour_ago() -> str:
    return f"{timezone.now() - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"


def deal(number: int = 1, value: str = "100.00", name: str = "purchase", click: str = "", at: str = "") -> str:
    """Return a row of our template with a click id of its own."""
    return f"deal-{number},{name},{at or an_hour_ago()},{value},USD,D-{number},{click or uuid.uuid4().hex}"


class TestFromFileToMicrosoft(ImportTestCase):
    def test_every_row_of_ours_is_booked_once(self) -> None:
        source = self.imported(OURS, *(deal(number) for number in range(3)))
        self.assertEqual((source.status, source.outcomes), ("done", {"accepted": 3}))
        self.go()
        self.assertEqual(len(self.microsoft.bookings), 3)
        self.assertEqual(results_of([source]), {source.pk: {"delivered": 3}})

    def test_what_became_of_it_is_counted_again_and_again_until_nothing_changes_any_more(self) -> None:
        source = self.imported(OURS, deal())
        now = timezone.now()
        for later, results in ((0, {"pending": 1}), (5, {"pending": 1}), (200, {"delivered": 1})):
            if later == 0:
                plan_all(now)
            elif later == 200:
                self.go()
            count_results(now + timedelta(seconds=later))
            source.refresh_from_db()
            self.assertEqual(source.results, results)
        count_results(now + timedelta(days=95))
        source.refresh_from_db()
        self.assertIsNone(source.count_at)

    def test_microsofts_own_template_goes_to_the_goal_it_names(self) -> None:
        click, at = uuid.uuid4().hex, f"{timezone.now() - timedelta(hours=1):%Y-%m-%d %H:%M:%S}"
        self.imported("Parameters:TimeZone=+0000", MICROSOFTS, f"{click},Purchase,{at},49.90,USD")
        self.go()
        [event] = Event.objects.all()
        self.assertEqual((event.name, event.source, event.msclkid), ("purchase", Source.IMPORT, click))
        self.assertEqual(len(self.microsoft.bookings), 1)

    def test_nothing_is_stored_before_somebody_confirms(self) -> None:
        source = self.checked(OURS, deal())
        self.assertEqual((source.status, source.verdicts), ("checked", {"new": 1}))
        self.assertFalse(store(source) and Event.objects.exists())

    def test_the_same_file_twice_stores_nothing_twice(self) -> None:
        lines = [deal(1), deal(2)]
        self.imported(OURS, *lines)
        again = self.imported(OURS, *lines)
        self.assertEqual((again.verdicts, again.outcomes), ({"duplicate": 2}, {}))
        self.go()
        self.assertEqual((Event.objects.count(), len(self.microsoft.bookings)), (2, 2))

    def test_a_row_without_an_id_is_known_by_its_content(self) -> None:
        lines = ["name,occurred_at,value,msclkid", f"purchase,{an_hour_ago()},5,{uuid.uuid4().hex}"]
        self.assertEqual(self.imported(*lines, lines[1]).verdicts, {"new": 1, "repeated": 1})
        self.assertEqual(self.imported(*lines).verdicts, {"duplicate": 1})


class TestAgain(ImportTestCase):
    """One sale in two files, without an id of its own."""

    HEADER = "name,occurred_at,value,currency,msclkid"

    def setUp(self) -> None:
        super().setUp()
        self.click, self.at = uuid.uuid4().hex, timezone.now().replace(second=33, microsecond=0) - timedelta(hours=2)
        self.row = f"purchase,{self.at:%Y-%m-%dT%H:%M:%SZ},100.00,USD,{self.click}"
        self.imported(self.HEADER, self.row)

    def test_written_in_another_way_it_is_booked_once(self) -> None:
        in_chicago = self.at.astimezone(ZoneInfo("America/Chicago"))
        for header, row, options in (
            (self.HEADER, self.row.replace("100.00", "100"), {}),
            (self.HEADER, self.row.replace("USD", ""), {}),
            (self.HEADER, self.row.replace(self.click, self.click.upper()), {}),
            ("msclkid,value,occurred_at,name", f"{self.click},100.0,{self.at.isoformat()},purchase", {}),
            (self.HEADER, f"purchase,{in_chicago:%m/%d/%Y %I:%M:%S %p},100,USD,{self.click}",
             {"time_zone": "America/Chicago", "dates": "month-first"}),
            (MICROSOFTS, f"{self.click},Purchase,{self.at:%Y-%m-%d %H:%M:%S},100,USD", {"time_zone": "UTC"}),
            (MICROSOFTS, f"{self.click},purchase,{self.at:%Y-%m-%d %H:%M:%S}Z,100,", {}),
        ):  # fmt: skip
            with self.subTest(row):
                self.assertEqual(self.imported(header, row, **options).verdicts, {"duplicate": 1})
        self.go()
        self.assertEqual((Event.objects.count(), len(self.microsoft.bookings)), (1, 1))

    def test_with_another_value_it_is_told_and_not_booked_again(self) -> None:
        source = self.checked(self.HEADER, self.row.replace("100.00", "120"))
        self.assertEqual((source.verdicts, list(source.problems)), ({"conflict": 1}, ["imported_otherwise:value"]))

    def test_twice_in_a_file_whatever_the_value_it_is_stored_once(self) -> None:
        row = self.row.replace(self.click, uuid.uuid4().hex)
        source = self.imported(self.HEADER, row, row.replace("100.00", "100"), row.replace("100.00", "120"))
        self.assertEqual((source.verdicts, source.outcomes), ({"new": 1, "repeated": 2}, {"accepted": 1}))
        self.assertEqual(list(source.problems), ["repeated_otherwise:value:note"])

    def test_orders_of_one_second_are_told_apart_by_their_id(self) -> None:
        rows = [f"{self.row},D-{number}" for number in range(2)]
        self.assertEqual(self.checked(f"{self.HEADER},transaction_id", *rows).verdicts, {"new": 2})

    def test_read_in_another_way_it_is_not_booked_again(self) -> None:
        lines = ["name,occurred_at,msclkid", f"purchase,{self.at:04/03/%Y %H:%M:%S},{self.click}"]
        with time_machine.travel(datetime(self.at.year, 5, 1, tzinfo=UTC), tick=False):
            self.imported(*lines, time_zone="UTC", dates="day-first")
            for options in ({"dates": "month-first"}, {"time_zone": "Europe/Berlin", "dates": "day-first"}):
                source = self.checked(*lines, **({"time_zone": "UTC"} | options))
                self.assertEqual(
                    (source.verdicts, list(source.problems)), ({"conflict": 1}, ["read_otherwise:occurred_at"])
                )

    def test_a_goal_that_was_mapped_anew_books_nothing_again(self) -> None:
        set_mapping(self.account, "purchase", None, self.alice, timezone.now())
        self.map("order", "Purchase")
        source = self.checked(MICROSOFTS, f"{self.click},Purchase,{self.at:%Y-%m-%d %H:%M:%S}Z,100,USD")
        self.assertEqual((source.verdicts, list(source.problems)), ({"conflict": 1}, ["read_otherwise:occurred_at"]))

    def test_without_its_seconds_it_is_told_and_not_booked_again(self) -> None:
        source = self.checked(self.HEADER, self.row.replace(":33Z", "Z"))
        self.assertEqual((source.verdicts, list(source.problems)), ({"conflict": 1}, ["seconds_differ:occurred_at"]))

    def test_with_the_seconds_that_it_lost_before_it_is_told_and_not_booked_again(self) -> None:
        row = self.row.replace(self.click, uuid.uuid4().hex)
        self.imported(self.HEADER, row.replace(":33Z", "Z"))
        source = self.checked(self.HEADER, row, row.replace(":33Z", ":34Z"))
        self.assertEqual((source.verdicts, list(source.problems)), ({"conflict": 2}, ["seconds_differ:occurred_at"]))

    def test_two_in_one_minute_whose_seconds_are_said_are_two(self) -> None:
        self.assertEqual(self.imported(self.HEADER, self.row.replace(":33Z", ":34Z")).verdicts, {"new": 1})

    def test_an_order_is_known_by_its_id_whatever_its_seconds(self) -> None:
        header, row = f"{self.HEADER},transaction_id", f"{self.row.replace(self.click, uuid.uuid4().hex)},D-1"
        self.imported(header, row)
        self.assertEqual(self.imported(header, row.replace(":33Z", "Z")).verdicts, {"new": 1})
        self.go()
        self.assertEqual(len(self.microsoft.bookings), 2)  # the order, and the sale of every test

    def test_two_files_that_were_checked_before_either_was_confirmed_book_it_once(self) -> None:
        row = self.row.replace(self.click, uuid.uuid4().hex)
        sources = [self.checked(self.HEADER, row), self.checked(self.HEADER, row.replace(":33Z", "Z"))]
        for source in sources:
            working.confirm(source, self.alice, timezone.now())
            store(source)
            source.refresh_from_db()
        self.assertEqual([source.outcomes for source in sources], [{"accepted": 1}, {"refused": 1}])

    def test_two_of_one_minute_in_one_file_are_two_in_whatever_chunks(self) -> None:
        row = self.row.replace(self.click, uuid.uuid4().hex)
        with patch.object(uploading, "CHUNK_ROWS", 1):
            source = self.imported(self.HEADER, row.replace(":33Z", ":00Z"), row)
        self.assertEqual(source.outcomes, {"accepted": 2})

    def test_many_are_looked_up_in_parts(self) -> None:
        with patch.object(checking, "_IDS_AT_ONCE", 7):
            self.assertEqual(self.checked(self.HEADER, self.row.replace(":33Z", "Z")).verdicts, {"conflict": 1})

    def test_a_refund_that_lost_its_seconds_is_told_and_not_taken_again(self) -> None:
        header, row = "name,occurred_at,value,transaction_id", f"refund,{self.at:%Y-%m-%dT%H:%M:%SZ},10,D-1"
        self.imported(header, row)
        source = self.checked(header, row.replace(":33Z", "Z"), row.replace("10,D-1", "20,D-1"))
        self.assertEqual(source.verdicts, {"conflict": 1, "new": 1})


class TestVerdicts(ImportTestCase):
    def verdict(self, row: str, header: str = OURS, **options: str) -> tuple[str, list[str]]:
        source = self.checked(header, row, **options)
        [verdict] = source.verdicts
        return verdict, [key.partition(":")[0] for key in source.problems]

    def test_each_row_is_judged_by_the_rules_of_the_api(self) -> None:
        old = f"{timezone.now() - timedelta(days=91):%Y-%m-%dT%H:%M:%SZ}"
        for row, verdict, codes in (
            (deal(value="-5"), "fix", ["value_negative"]),
            (deal(value='"1,250.00"'), "fix", ["value_separators"]),
            (deal(value="1,250.00"), "fix", ["too_many_cells"]),
            (deal(value="much"), "fix", ["value_malformed"]),
            (deal(name="Ä"), "fix", ["name_malformed"]),
            (deal(click="1.23457E+31"), "fix", ["click_id_malformed"]),
            (deal(at="03/04/2026 10:00"), "fix", ["date_unclear"]),
            (deal(at="2036-01-01T00:00:00Z"), "fix", ["time_in_future"]),
            (deal(at=old), "too_old", []),
            (deal().rpartition(",")[0], "no_identifier", ["no_identifier"]),
            (deal(), "new", []),
        ):
            with self.subTest(row):
                self.assertEqual(self.verdict(row), (verdict, codes))

    def test_a_note_is_not_the_reason_why_a_row_is_not_taken(self) -> None:
        row = f"purchase,{timezone.now() - timedelta(days=2):%Y-%m-%d},5"
        self.assertEqual(self.verdict(row, "name,occurred_at,value"), ("no_identifier", ["no_identifier"]))

    def test_another_content_under_a_known_id_is_a_contradiction(self) -> None:
        self.imported(OURS, deal(1, "100.00"))
        self.assertEqual(self.verdict(deal(1, "200.00")), ("conflict", ["conflict"]))

    def test_a_file_that_is_read_in_another_time_zone_is_not_counted_again(self) -> None:
        lines = ["name,occurred_at,msclkid", f"purchase,2026-11-20 10:00,{uuid.uuid4().hex}"]
        now = datetime(2026, 11, 21, tzinfo=UTC)
        with time_machine.travel(now, tick=False):
            self.imported(*lines, time_zone="UTC")
            self.assertEqual(self.checked(*lines, time_zone="America/Chicago").verdicts, {"conflict": 1})

    def test_a_row_whose_order_had_a_click_needs_none(self) -> None:
        self.imported(OURS, deal(1))
        row = deal(2).rpartition(",")[0].replace("D-2", "D-1")
        self.assertEqual(self.verdict(row), ("new", []))

    def test_an_order_id_that_a_spreadsheet_has_spoilt_merges_no_orders(self) -> None:
        rows = [deal(number).replace(f"D-{number}", "1.23457E+11") for number in range(2)]
        source = self.checked(OURS, *rows)
        self.assertEqual((source.verdicts, source.problems["id_spoilt:transaction_id"]["count"]), ({"fix": 2}, 2))

    def test_names_that_differ_only_in_case_go_each_to_its_own_goal(self) -> None:
        self.map("Demo", "Purchase")
        self.map("demo", "Qualified Lead")
        click, at = uuid.uuid4().hex, an_hour_ago()
        self.imported(MICROSOFTS, *(f"{click},{name},{at},5,USD" for name in ("Demo", "demo")))
        self.assertEqual(Counter(Event.objects.values_list("name", flat=True)), {"Demo": 1, "demo": 1})
        source = self.checked(MICROSOFTS, f"{uuid.uuid4().hex},DEMO,{at},5,USD")
        self.assertEqual(list(source.problems), ["goal_of_several:name:Demo, demo"])

    def test_refunds_of_the_same_goal_leave_no_doubt_about_a_conversion(self) -> None:
        self.map("refund", "Purchase")
        self.imported(MICROSOFTS, f"{uuid.uuid4().hex},Purchase,{an_hour_ago()},5,USD")
        self.assertEqual(list(Event.objects.values_list("name", flat=True)), ["purchase"])

    def test_what_is_mapped_to_no_goal_is_told_before_it_is_stored(self) -> None:
        source = self.checked(OURS, deal(1, name="visit"), deal(2))
        self.assertEqual((source.verdicts, list(source.problems)), ({"new": 2}, ["not_mapped:name:note"]))

    def test_a_goal_that_nothing_is_mapped_to_is_told(self) -> None:
        row = f"{uuid.uuid4().hex},Newsletter,{an_hour_ago()},,"
        self.assertEqual(self.verdict(row, MICROSOFTS), ("fix", ["goal_unknown"]))

    def test_our_own_name_of_an_event_is_taken_in_microsofts_template(self) -> None:
        row = f"{uuid.uuid4().hex},purchase,{an_hour_ago()},5,USD"
        self.assertEqual(self.verdict(row, MICROSOFTS), ("new", []))

    def test_a_mistyped_email_costs_the_row_only_where_nothing_else_is_known(self) -> None:
        header, row = f"{OURS},email", f"{deal()},jane at example"
        self.assertEqual(self.verdict(row, header), ("new", ["email_malformed"]))
        bare = f"{deal().rpartition(',')[0]},,jane at example"
        self.assertEqual(self.verdict(bare, header), ("no_identifier", ["email_malformed"]))


class TestAdjustments(ImportTestCase):
    HEADER = f"{MICROSOFTS},Adjustment Type,Adjustment Time,Adjustment Value,Adjustment Currency"

    def setUp(self) -> None:
        super().setUp()
        self.click, self.at = uuid.uuid4().hex, an_hour_ago()
        self.imported(OURS, deal(1, click=self.click, at=self.at))
        self.go()

    def adjust(self, rest: str, goal: str = "Purchase", at: str = "") -> Import:
        return self.checked(self.HEADER, f"{self.click},{goal},{at or self.at},,,{rest}")

    def go_on(self, source: Import) -> None:
        working.confirm(source, self.alice, timezone.now())
        store(source)
        source.refresh_from_db()
        self.go()

    def test_a_restatement_reaches_the_conversion_it_names(self) -> None:
        source = self.adjust(f"Restate,{an_hour_ago()},60.00,USD")
        self.assertEqual(source.verdicts, {"new": 1})
        self.go_on(source)
        self.assertEqual(results_of([source]), {source.pk: {"restated": 1}})

    def test_a_retraction_is_taken_once(self) -> None:
        source = self.adjust(f"Retract,{an_hour_ago()},,")
        self.go_on(source)
        self.assertEqual(results_of([source]), {source.pk: {"retracted": 1}})
        self.assertEqual(self.adjust(f"Retract,{an_hour_ago()},,").verdicts, {"duplicate": 1})

    def test_what_names_no_conversion_of_ours_is_refused(self) -> None:
        source = self.adjust(f"Retract,{an_hour_ago()},,", at="2026-11-01T00:00:00Z")
        self.assertEqual(list(source.problems), ["original_unknown:"])

    def test_names_that_differ_only_in_case_name_different_conversions(self) -> None:
        self.map("Demo", "Purchase")
        self.map("demo", "Qualified Lead")
        self.imported(OURS, deal(2, name="demo", click=self.click, at=self.at))
        self.go()
        for name, verdicts in (("Demo", {"fix": 1}), ("demo", {"new": 1})):
            self.assertEqual(self.adjust(f"Retract,{an_hour_ago()},,", goal=name).verdicts, verdicts)

    def test_a_correction_is_taken_once_however_it_is_written(self) -> None:
        at = timezone.now() - timedelta(hours=1)
        self.go_on(self.adjust(f"Restate,{at:%Y-%m-%dT%H:%M:%SZ},60.00,USD"))
        again = self.adjust(f"RESTATE,{at:%Y-%m-%d %H:%M:%S}+0000,60,", goal="purchase")
        self.assertEqual(again.verdicts, {"duplicate": 1})

    def test_a_restatement_says_its_new_total(self) -> None:
        self.assertEqual(list(self.adjust(f"Restate,{an_hour_ago()},,").problems), ["required:adjustment_value"])


class TestInterrupted(ImportTestCase):
    def test_a_worker_that_dies_between_chunks_loses_and_doubles_nothing(self) -> None:
        lines = [deal(number) for number in range(2500)]
        source = self.checked(OURS, *lines, lines[0])
        self.assertEqual(source.verdicts, {"new": 2500, "repeated": 1})
        working.confirm(source, self.alice, timezone.now())
        store(source, until=0)  # the first chunk only
        self.assertEqual(Event.objects.count(), 1000)
        store(source)
        source.refresh_from_db()
        self.assertEqual((source.status, source.outcomes), ("done", {"accepted": 2500}))
        self.assertEqual(Counter(Event.objects.values_list("source", flat=True)), {"import": 2500})

    def test_checking_goes_on_where_it_was_left_and_knows_the_rows_above(self) -> None:
        lines = [deal(number) for number in range(1000)]
        source = self.upload(OURS, *lines, lines[0])
        check(source, until=0)
        check(source)
        source.refresh_from_db()
        self.assertEqual((source.status, source.verdicts), ("checked", {"new": 1000, "repeated": 1}))

    def test_what_takes_long_about_a_check_holds_no_lock(self) -> None:
        source = self.upload(OURS, deal(1))
        depths: list[int] = []

        def judge(*about: Any) -> list[Judged]:
            depths.append(len(connection.savepoint_ids))
            return judge_rows(*about)

        with patch.object(working, "judge_rows", judge):
            check(source)
        self.assertEqual(depths, [len(connection.savepoint_ids)])

    def test_a_chunk_that_another_worker_checked_meanwhile_is_checked_once(self) -> None:
        first = deal(1)
        with patch.object(uploading, "CHUNK_ROWS", 1):
            source = self.upload(OURS, first, deal(2), first)
        others = [working.Checker()]

        def judge(*about: Any) -> list[Judged]:
            if others:
                others.pop().check(source.pk, surroundings_of(self.site, timezone.now()), timezone.now())
            return judge_rows(*about)

        with patch.object(working, "judge_rows", judge):
            check(source)
        source.refresh_from_db()
        self.assertEqual((source.checked_rows, source.verdicts), (3, {"new": 2, "repeated": 1}))

    def test_stopping_keeps_what_is_stored_and_nothing_else(self) -> None:
        source = self.checked(OURS, *(deal(number) for number in range(1001)))
        working.confirm(source, self.alice, timezone.now())
        store(source, until=0)
        self.assertTrue(working.cancel(source, self.alice, timezone.now()))
        store(source)
        self.assertEqual(
            (Event.objects.count(), source.status, source.outcomes), (1000, "cancelled", {"accepted": 1000})
        )

    def test_a_row_that_the_database_refuses_holds_up_no_other(self) -> None:
        insert = storing._insert

        def refusing(statement: Any, rows: Sequence[Any]) -> Any:
            if any(row.transaction_id == "D-3" for row in rows):
                raise DataError("value too long")
            return insert(statement, rows)

        with patch.object(storing, "_insert", refusing), self.assertLogs("ingest.committing", "ERROR"):
            source = self.imported(OURS, *(deal(number) for number in range(7)))
        self.assertEqual((source.status, source.outcomes), ("done", {"accepted": 6, "not_storable": 1}))
        self.assertEqual(Event.objects.count(), 6)
        [line] = list(report(source, TO_FIX))[1:]
        self.assertTrue(line.startswith("5,refused by the database"))
        self.assertIn("D-3", line)

    def test_a_goal_that_is_mapped_anew_after_the_check_stores_nothing_else_than_was_confirmed(self) -> None:
        source = self.checked(MICROSOFTS, f"{uuid.uuid4().hex},Purchase,{an_hour_ago()},5,USD")
        set_mapping(self.account, "purchase", None, self.alice, timezone.now())
        self.map("order", "Purchase")
        working.confirm(source, self.alice, timezone.now())
        store(source)
        source.refresh_from_db()
        self.assertEqual((Event.objects.count(), source.outcomes), (0, {"refused": 1}))
        [line] = list(report(source, TO_FIX))[1:]
        self.assertTrue(line.startswith("2,changed since the check,"))
        self.assertIn("Purchase", line)
