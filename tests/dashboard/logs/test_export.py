"""The export of Forward Logs: every row of the filter once, nothing that a spreadsheet runs, nothing about people."""

import asyncio
import csv
import io
import threading
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from typing import Any
from unittest import mock
from uuid import uuid4

from django.db.models import Sum
from django.http import StreamingHttpResponse
from django.test import SimpleTestCase
from django.utils import timezone

from dashboard import csv_files
from dashboard.csv_files import safe, written
from dashboard.logs import export
from dashboard.logs.export import HEADER
from forwarding import stretches
from forwarding.models import Attempt, DailyCount, Kind, Status, Upload
from forwarding.rows.counts import rebuild
from tests.dashboard.accounts import AccountTestCase

HOSTILE = '=HYPERLINK("http://evil.example")\n\t<script>\u202egnp.exe'


class ExportTestCase(AccountTestCase):
    def setUp(self) -> None:
        self.client.force_login(self.alice)

    def answer(self, query: str = "") -> Any:
        return self.client.get(f"{self.url('account-logs-export')}{query}")

    def rows(self, query: str = "") -> list[dict[str, str]]:
        text = b"".join(self.answer(query).streaming_content).decode("utf-8-sig")
        return list(csv.DictReader(io.StringIO(text)))


class TestFile(ExportTestCase):
    def test_it_is_a_file_of_the_account_and_the_day(self) -> None:
        answer = self.answer()
        self.assertEqual(answer.headers["Content-Type"], "text/csv; charset=utf-8")
        name = f'attachment; filename="search-us-forward-logs-{timezone.now():%Y-%m-%d}.csv"'
        self.assertEqual(answer.headers["Content-Disposition"], name)
        self.assertEqual(b"".join(answer.streaming_content).decode(), "\ufeff" + ",".join(HEADER) + "\r\n")

    def test_a_row_has_everything_that_the_page_shows(self) -> None:
        at = timezone.now() - timedelta(hours=2)
        upload = Upload.objects.create(
            account=self.account, operation="conversions", delivery_ids=[], started_at=at, leased_until=at,
            tracking_id="6f0c1c9e-0000-4000-8000-000000000001",
        )  # fmt: skip
        row = self.deliver(Status.FAILED, at=at, error_code=5604, last_upload=upload, click_source="visitor")
        [told] = self.rows()
        wanted = {
            "Received (UTC)": f"{at:%Y-%m-%dT%H:%M:%SZ}",
            "Conversion goal": "Purchase",
            "Transaction ID": row.transaction_id,
            "Value": "49.90",
            "Currency": "USD",
            "Click ID found by": "Same visitor",
            "Status": "Failed",
            "Error code": "5604",
            "What happened": "Click ID is not valid",
            "TrackingId": upload.tracking_id,
        }
        self.assertEqual({name: told[name] for name in wanted}, wanted)

    def test_what_is_done_to_a_row_later_does_not_change_when_it_was_sent(self) -> None:
        at = timezone.now() - timedelta(hours=2)
        upload = Upload.objects.create(
            account=self.account,
            operation="conversions",
            delivery_ids=[],
            started_at=at,
            leased_until=at,
            finished_at=at,
        )
        row = self.deliver(Status.FAILED, at=at - timedelta(hours=1), error_code=5604, changed_at=timezone.now())
        for hours, outcome in ((1, "retry"), (0, "refused")):
            upload.pk, upload.public_id = None, uuid4()
            upload.save()
            tried_at = at - timedelta(hours=hours)
            Attempt.objects.create(delivery=row, upload=upload, outcome=outcome, created_at=tried_at)
        [told] = self.rows()
        self.assertEqual(told["Sent (UTC)"], f"{at:%Y-%m-%dT%H:%M:%SZ}")

    def test_amounts_are_written_as_the_page_shows_them(self) -> None:
        for value, currency, written_as in (
            ("129.9", "USD", "129.90"),
            ("4182", "JPY", "4182"),
            ("1.005", "KWD", "1.005"),
        ):
            with self.subTest(currency):
                row = self.deliver(value=Decimal(value), currency=currency, restated_value=Decimal(value))
                told = next(one for one in self.rows() if one["Conversion ID"] == str(row.public_id))
                self.assertEqual((told["Value"], told["Value after corrections"]), (written_as, written_as))

    def test_a_test_is_marked_as_one(self) -> None:
        self.deliver(transaction_id="HP-TEST", is_test=True)
        self.deliver()
        self.assertEqual([row["Test"] for row in self.rows()], ["no"])
        self.assertEqual([row["Test"] for row in self.rows("?kind=test")], ["yes"])
        self.assertEqual([row["Test"] for row in self.rows("?q=HP-TEST")], ["yes"])

    def test_what_customers_wrote_runs_in_no_spreadsheet(self) -> None:
        self.deliver(transaction_id=HOSTILE, goal_name="@SUM(1)", email_sha256="a" * 64, phone_sha256="b" * 64)
        [told] = self.rows()
        self.assertTrue(told["Transaction ID"].startswith("'="))
        self.assertNotIn("\u202e", told["Transaction ID"])
        self.assertEqual(told["Conversion goal"], "'@SUM(1)")
        self.assertNotIn("a" * 64, "".join(told.values()))
        self.assertNotIn("b" * 64, "".join(told.values()))

    def test_a_correction_is_told_on_its_conversion(self) -> None:
        original = self.deliver(restated_value=Decimal("19.9"))
        self.deliver(kind=Kind.RESTATE, original=original, event=original.event)
        [told] = self.rows()
        self.assertEqual((told["Correction"], Decimal(told["Value after corrections"])), ("Restated", Decimal("19.9")))

    def test_the_column_of_what_counts_now_adds_up_to_the_revenue_forwarded(self) -> None:
        self.deliver()
        self.deliver(restated_value=Decimal("19.9"))
        retracted = self.deliver(retracted_at=timezone.now(), restated_value=Decimal(5))
        self.deliver(value=None, currency="")
        for status in (Status.FAILED, Status.PENDING):
            self.deliver(status)
        self.deliver(transaction_id="HP-TEST", is_test=True)
        rebuild(timezone.now())
        told = {row["Conversion ID"]: row["Value after corrections"] for row in self.rows()}
        self.assertEqual(told[str(retracted.public_id)], "0.00")
        delivered = DailyCount.objects.filter(status=Status.DELIVERED, currency="USD")
        revenue = delivered.aggregate(Sum("value"))["value__sum"]
        self.assertEqual(sum(Decimal(value) for value in told.values() if value), revenue)
        self.assertEqual([row["Value after corrections"] for row in self.rows("?kind=test")], [""])

    def test_the_filter_is_kept_to(self) -> None:
        wanted = self.deliver(Status.FAILED, error_code=5606)
        self.deliver()
        self.assertEqual([row["Conversion ID"] for row in self.rows("?status=failed")], [str(wanted.public_id)])

    def test_nonsense_in_the_filter_is_never_an_error(self) -> None:
        for query in ("?status=gone&since=x", "?q=%00", "?error=%27&goal=" + "g" * 500):
            self.assertEqual(self.answer(query).status_code, 200)

    def test_whoever_sees_the_page_may_take_it_along_and_a_stranger_may_not(self) -> None:
        self.client.force_login(self.bob)
        self.assertEqual(self.answer().status_code, 200)
        self.client.force_login(self.charlie)
        self.assertEqual(self.answer().status_code, 404)


class TestManyRows(ExportTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.enterContext(mock.patch.object(export, "ROWS_AT_ONCE", 3))
        self.enterContext(mock.patch.object(stretches, "LOOKS", (2, 4)))
        at = timezone.now() - timedelta(hours=1)
        # Rows of one moment fall on both sides of an edge, and rows that do not match fill whole stretches.
        for number in range(20):
            status = Status.FAILED if number % 7 == 0 else Status.DELIVERED
            self.deliver(status, at=at + timedelta(seconds=number // 6), error_code=5606 if number % 7 == 0 else None)

    def test_every_row_is_there_once_and_the_newest_comes_first(self) -> None:
        rows = self.rows()
        self.assertEqual(len({row["Conversion ID"] for row in rows}), 20)
        self.assertEqual(len(rows), 20)
        received = [row["Received (UTC)"] for row in rows]
        self.assertEqual(received, sorted(received, reverse=True))

    def test_rows_far_between_are_all_found(self) -> None:
        for query in ("?error=5606", "?status=failed", "?goal=Purchase&error=5606&period=all"):
            with self.subTest(query):
                self.assertEqual(len(self.rows(query)), 3)

    def test_a_stretch_costs_the_same_whatever_went_before(self) -> None:
        pieces = iter(self.answer().streaming_content)
        next(pieces)
        with self.assertNumQueries(2):
            next(pieces)


class TestUnderAsgi(ExportTestCase):
    def test_the_servers_loop_reads_one_piece_at_a_time_beside_itself(self) -> None:
        """An asynchronous server gets an asynchronous iterator, and the next piece is read when it asks."""
        read: list[str] = []

        def pieces() -> Any:
            for piece in ("a", "b"):
                read.append(f"{piece}{threading.current_thread() is threading.main_thread()}")
                yield piece

        async def take() -> list[str]:
            iterator: AsyncIterator[str] = csv_files._in_threads(pieces())
            first = await anext(iterator)
            assert len(read) == 1
            return [first, *[piece async for piece in iterator]]

        taken: list[list[str]] = []
        thread = threading.Thread(target=lambda: taken.append(asyncio.run(take())))
        thread.start()
        thread.join()
        self.assertEqual(taken, [["a", "b"]])
        self.assertEqual(read, ["aFalse", "bFalse"])

    def test_the_answer_is_asynchronous_only_there(self) -> None:
        answer = self.answer()
        assert isinstance(answer, StreamingHttpResponse)
        self.assertFalse(answer.is_async)


class TestSafe(SimpleTestCase):
    def test_a_formula_is_marked_as_text_however_it_hides(self) -> None:
        for text in (
            "=cmd()",
            "=1",
            "+1+1",
            "-1+cmd",
            "@x",
            "|x",
            "%x",
            "\t=1",
            "\r\n=1",
            " =1",
            "\u200b=1",
            "＝1",
            "＠x",
        ):
            with self.subTest(text):
                self.assertTrue(safe(text).startswith("'"), safe(text))

    def test_what_is_none_stays_as_it_is(self) -> None:
        for text in ("HP-48211", "", "Zürich 日本", "-12.50", "a=b"):
            self.assertEqual(safe(text), text)

    def test_no_cell_of_a_file_is_run(self) -> None:
        for text in ("=cmd()", "+1+1", "-1+cmd", "@x", "\t=1"):
            [[cell]] = csv.reader(io.StringIO(written([[text]])))
            self.assertTrue(cell.startswith("'"), cell)
