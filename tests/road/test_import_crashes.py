"""An import whose worker is killed, or that two workers work on at once: nothing is lost and nothing is doubled."""

import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from django.conf import settings
from django.db import connections
from django.test import TransactionTestCase
from django.utils import timezone

from convultra import failpoints
from forwarding import importing
from ingest.imports import working
from ingest.imports.uploading import FileOptions, take_file
from ingest.models import Event, Import, Site
from tests.cast import make_site, make_user
from tests.support.databases import database_url

ROWS = 3500


class ImportCrashTestCase(TransactionTestCase):
    """A file of four chunks, uploaded to Alice's site."""

    site: Site
    source: Import

    def setUp(self) -> None:
        self.site = make_site("Harbor & Pine", make_user("alice"))
        at = f"{timezone.now() - timedelta(hours=2):%Y-%m-%dT%H:%M:%SZ}"
        lines = [f"deal-{number},purchase,{at},{number:032x}" for number in range(ROWS)]
        file = io.BytesIO("\n".join(["event_id,name,occurred_at,msclkid", *lines]).encode())
        self.source = take_file(self.site, file, "deals.csv", FileOptions(), None, timezone.now())

    def confirmed(self) -> None:
        """Check the file and confirm it."""
        importing.check(self.source)
        self.source.refresh_from_db()
        self.assertEqual(self.source.verdicts, {"new": ROWS})
        self.assertTrue(working.confirm(self.source, None, timezone.now()))

    def sweep(self, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run `manage.py sweep`, as cron does."""
        Import.objects.update(rung_at=None)
        command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "sweep"]
        given = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "DATABASE_URL": database_url()}
        return subprocess.run(
            command, env=given | environment, capture_output=True, text=True, check=False, timeout=600
        )

    def assert_stored_once(self) -> None:
        """Assert that every row is an event, and counted once."""
        self.source.refresh_from_db()
        self.assertEqual((self.source.status, self.source.outcomes), ("done", {"accepted": ROWS}))
        self.assertEqual((Event.objects.count(), self.source.stored_rows), (ROWS, ROWS))


class TestKilled(ImportCrashTestCase):
    def test_half_a_chunk_is_none_and_the_next_sweep_stores_every_row_once(self) -> None:
        self.confirmed()
        importing.store(self.source, until=0)
        died = self.sweep(FAILPOINT=failpoints.HALF_IMPORTED)
        self.assertEqual(died.returncode, -signal.SIGKILL, died.stderr)
        self.assertEqual(Event.objects.count(), 1000)
        ended = self.sweep()
        self.assertEqual(ended.returncode, 0, ended.stderr)
        self.assert_stored_once()


class TestAtOnce(ImportCrashTestCase):
    def at_once(self, work: Callable[[], object]) -> None:
        """Do it in two threads, each with its own connection to the database."""

        def run(_: int) -> None:
            try:
                work()
            finally:
                connections.close_all()

        with ThreadPoolExecutor(2) as threads:
            list(threads.map(run, range(2)))

    def test_two_workers_check_each_row_once(self) -> None:
        self.at_once(lambda: importing.work_on(self.source.pk))
        self.source.refresh_from_db()
        self.assertEqual((self.source.status, self.source.verdicts), ("checked", {"new": ROWS}))

    def test_two_workers_store_each_row_once(self) -> None:
        self.confirmed()
        self.at_once(lambda: importing.work_on(self.source.pk))
        self.assert_stored_once()


class TestQueue(ImportCrashTestCase):
    def test_nobody_is_asked_twice_while_somebody_is_at_it(self) -> None:
        now = timezone.now()
        self.assertEqual([importing.ring_for_imports(now) for _ in range(3)], [1, 0, 0])
        self.assertEqual(importing.ring_for_imports(now + importing.LOST_AFTER), 1)

    def test_an_import_that_waits_for_a_person_wakes_nobody(self) -> None:
        importing.check(self.source)
        self.assertEqual(importing.ring_for_imports(timezone.now() + timedelta(days=1)), 0)
