"""A bulk action whose worker is killed, or that two workers work on at once: every row once, none left out."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from django.conf import settings
from django.contrib.auth.models import User
from django.db import connections
from django.test import TransactionTestCase
from django.utils import timezone

from convultra import failpoints
from forwarding.hands import bulk
from forwarding.hands.rules import Action
from forwarding.models import BulkJob, Delivery, Kind, Status
from ingest.models import AuditEntry, Event
from tests.cast import make_account, make_goal, make_site, make_user
from tests.support.databases import database_url

ROWS = 2500


class BulkCrashTestCase(TransactionTestCase):
    """Alice retracts a list of three batches, many rows of one moment among them."""

    alice: User
    job: BulkJob

    def setUp(self) -> None:
        self.alice = make_user("alice")
        account = make_account(make_site("Harbor & Pine", self.alice))
        goal = make_goal(account, "Purchase")
        at = timezone.now() - timedelta(hours=9)
        events = Event.objects.bulk_create(
            Event(
                site=account.site, event_id=str(number), name="purchase", occurred_at=at, received_at=at,
                planned_at=at, source="server", value=10, currency="USD", fingerprint="0" * 64,
            )
            for number in range(ROWS)
        )  # fmt: skip
        Delivery.objects.bulk_create(
            Delivery(
                account=account, event=event, goal=goal, goal_name="Purchase", dedupe_key=event.event_id,
                conversion_time=f"{at:%Y-%m-%dT%H:%M:%SZ}", msclkid=f"{number:032x}", value=10, currency="USD",
                order_value=10, order_currency="USD", status=Status.DELIVERED, attempts=1, delivered_at=at,
                expires_at=at + timedelta(days=89), changed_at=at, created_at=at + timedelta(seconds=number // 900),
            )
            for number, event in enumerate(events)
        )  # fmt: skip
        job = bulk.start(account, Action.RETRACT, "?status=delivered", self.alice, timezone.now(), total=ROWS)
        assert job is not None
        self.job = job

    def sweep_as_cron(self, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run `manage.py sweep`, which does the work itself."""
        BulkJob.objects.update(rung_at=None)
        command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "sweep"]
        given = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "DATABASE_URL": database_url()}
        return subprocess.run(
            command, env=given | environment, capture_output=True, text=True, check=False, timeout=600
        )

    def assert_done_once(self) -> None:
        """Assert that each conversion has one retraction, and that the books say the same."""
        self.job.refresh_from_db()
        self.assertEqual((self.job.status, self.job.seen, self.job.changed), ("done", ROWS, ROWS))
        retracted = Delivery.objects.filter(kind=Kind.RETRACT).values_list("original", flat=True)
        self.assertEqual((len(retracted), len(set(retracted))), (ROWS, ROWS))
        told = AuditEntry.objects.filter(action="delivery.retract").values_list("details__deliveries", flat=True)
        self.assertEqual(sum(told), ROWS)


class TestKilled(BulkCrashTestCase):
    def test_half_a_batch_is_none_and_the_next_worker_goes_on_where_the_last_commit_ended(self) -> None:
        bulk.do_batch(self.job.pk, timezone.now())
        died = self.sweep_as_cron(FAILPOINT=failpoints.HALF_BULK)
        self.assertEqual(died.returncode, -signal.SIGKILL, died.stderr)
        self.assertEqual(Delivery.objects.filter(kind=Kind.RETRACT).count(), 1000)
        ended = self.sweep_as_cron()
        self.assertEqual(ended.returncode, 0, ended.stderr)
        self.assert_done_once()


class TestAtOnce(BulkCrashTestCase):
    def test_two_workers_do_no_row_twice(self) -> None:
        def run(_: int) -> None:
            try:
                bulk.work_on(self.job.pk)
            finally:
                connections.close_all()

        with ThreadPoolExecutor(2) as threads:
            list(threads.map(run, range(2)))
        bulk.work_on(self.job.pk)  # whoever found it taken gave way
        self.assert_done_once()
