"""`manage.py import_conversions`: the page's road on the command line."""

import io
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import time_machine
from django.core.management import CommandError, call_command
from django.utils import timezone

from forwarding import importing
from forwarding.management.commands.import_conversions import Command
from ingest.imports import working
from ingest.models import AuditEntry, Event, Import
from tests.cast import CLICK_ID, CastTestCase

HEADER = "event_id,name,occurred_at,value,msclkid"


class TestImportConversions(CastTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def file(self, *lines: str) -> str:
        path = self.folder / "deals.csv"
        path.write_text("\n".join(lines))
        return str(path)

    def row(self, number: int, value: str = "5", at: str = "") -> str:
        at = at or f"{timezone.now() - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
        return f"deal-{number},purchase,{at},{value},{CLICK_ID}"

    def run_it(self, file: str, **options: Any) -> str:
        out = io.StringIO()
        call_command("import_conversions", file, site=str(self.site.public_id), stdout=out, stderr=out, **options)
        return out.getvalue()

    def test_it_stores_what_it_checked_and_says_so(self) -> None:
        told = self.run_it(self.file(HEADER, self.row(1), self.row(2)))
        self.assertIn("2 rows stored", told)
        self.assertIn("2 of 2 rows checked", told)
        self.assertEqual(Event.objects.filter(source="import").count(), 2)
        self.assertEqual(AuditEntry.objects.filter(action="import.confirm").get().actor_name, "Convultra")

    def test_run_again_it_stores_nothing_twice(self) -> None:
        file = self.file(HEADER, self.row(1), self.row(2))
        self.run_it(file)
        self.assertIn("2 stored before", self.run_it(file))
        self.assertEqual(Event.objects.count(), 2)

    def test_a_dry_run_stores_nothing_and_its_report_has_every_row(self) -> None:
        report = self.folder / "report.csv"
        with self.assertRaisesMessage(CommandError, "1 of 2 rows cannot be taken"):
            self.run_it(self.file(HEADER, self.row(1), self.row(2, "=1+1")), dry_run=True, report=str(report))
        lines = report.read_text().splitlines()
        self.assertEqual(len(lines), 3)
        self.assertTrue(lines[1].startswith("2,will be stored"))
        self.assertIn("'=1+1", lines[2])
        self.assertEqual((Event.objects.count(), Import.objects.count(), AuditEntry.objects.count()), (0, 0, 0))

    def test_a_dry_run_that_was_killed_is_never_offered_to_anybody(self) -> None:
        file = self.file(HEADER, self.row(1))
        with patch.object(Command, "_tell_verdicts", side_effect=KeyboardInterrupt), patch.object(Import, "delete"):
            self.assertRaises(KeyboardInterrupt, self.run_it, file, dry_run=True)
        [left] = Import.objects.all()
        importing.work_on(left.pk)
        self.assertEqual((left.checked_rows, left.status), (1, "reading"))
        self.assertEqual((Import.objects.shown().count(), importing.idle_imports(timezone.now())), (0, []))
        with time_machine.travel(timezone.now() + timedelta(hours=2)):
            self.run_it(file, dry_run=True)
        self.assertFalse(Import.objects.exists())

    def test_an_import_that_is_cancelled_meanwhile_ends_with_an_error(self) -> None:
        first_chunk = importing.store
        file = self.file(HEADER, *(self.row(number) for number in range(1001)))

        def cancelled(source: Import, **_: object) -> bool:
            if source.status == Import.Status.IMPORTING:
                first_chunk(source, until=0)
            return working.cancel(source, None, timezone.now())

        for step, stored in (("check", "0 rows were stored"), ("store", "1,000 rows were stored")):
            with patch.object(importing, step, cancelled), self.assertRaisesMessage(CommandError, stored):
                self.run_it(file)

    def test_good_rows_are_stored_and_the_others_end_it_with_an_error(self) -> None:
        with self.assertRaisesMessage(CommandError, "1 of 2 rows"):
            self.run_it(self.file(HEADER, self.row(1), self.row(2, "much")))
        self.assertEqual(Event.objects.get().event_id, "deal-1")

    def test_day_first_is_said_for_the_whole_file(self) -> None:
        at = f"{timezone.now() - timedelta(days=1):%d/%m/%Y 10:00}"
        self.run_it(self.file(HEADER, self.row(1, at=at)), dates="day-first", time_zone="Europe/Berlin")
        self.assertEqual(Event.objects.get().occurred_at.day, (timezone.now() - timedelta(days=1)).day)

    def test_what_cannot_be_read_is_said(self) -> None:
        with self.assertRaisesMessage(CommandError, "no header"):
            self.run_it(self.file("a,b", "1,2"))
        with self.assertRaisesMessage(CommandError, "cannot be read"):
            self.run_it(str(self.folder / "nowhere.csv"))
        with self.assertRaisesMessage(CommandError, "Mars is unknown"):
            self.run_it(self.file(HEADER, self.row(1)), time_zone="Mars")
        with self.assertRaisesMessage(CommandError, "There is no site"):
            call_command("import_conversions", self.file(HEADER), site="nowhere")
