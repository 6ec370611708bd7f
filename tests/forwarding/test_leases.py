"""Who holds an upload can be read from its token, so that the dead are succeeded at once and nobody else is."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from multiprocessing.process import BaseProcess
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock
from uuid import UUID

from django.test import SimpleTestCase

from forwarding.models import Upload
from forwarding.sending.leases import CLUSTER, end_leases, holder, new_cluster, new_token
from forwarding.worker.cluster import Sentinel
from tests.cast import NOON, CastTestCase, make_account

LATER = NOON + timedelta(minutes=3)


class TestTokens(CastTestCase):
    def open_by(self, cluster: str, pid: int) -> Upload:
        """Open an upload as that process would."""
        with mock.patch.dict(os.environ, {CLUSTER: cluster}), mock.patch("os.getpid", return_value=pid):
            token = new_token()
        account = make_account(self.site, account_id=f"{token.int}"[:30])
        return Upload.objects.create(
            account=account, delivery_ids=[1], started_at=NOON, leased_until=LATER, lease_token=token
        )

    def ended(self, *uploads: Upload) -> list[bool]:
        """Say of each upload whether it may be taken over."""
        return [Upload.objects.get(pk=upload.pk).leased_until == NOON for upload in uploads]

    def test_a_token_names_the_process_and_no_two_are_alike(self) -> None:
        self.assertEqual(holder(new_token()), os.getpid())
        self.assertNotEqual(new_token(), new_token())

    def test_a_dead_process_holds_nothing_and_its_neighbours_keep_theirs(self) -> None:
        cluster = new_cluster()
        below, dead, above = (self.open_by(cluster, pid) for pid in (6, 7, 8))
        self.assertEqual(end_leases(cluster, NOON, 7), 1)
        self.assertEqual(self.ended(below, dead, above), [False, True, False])

    def test_a_dead_cluster_holds_nothing_and_other_clusters_keep_theirs(self) -> None:
        first, last = self.open_by("f" * 15 + "e", 1), self.open_by("f" * 15 + "e", 2**32 - 1)
        below, above = self.open_by("f" * 15 + "d", 7), self.open_by("f" * 16, 7)
        self.assertEqual(end_leases("f" * 15 + "e", NOON), 2)
        self.assertEqual(self.ended(first, last, below, above), [True, True, False, False])

    def test_what_is_finished_stays_as_it_is(self) -> None:
        upload = self.open_by("1" * 16, 7)
        Upload.objects.filter(pk=upload.pk).update(finished_at=NOON)
        self.assertEqual(end_leases("1" * 16, NOON), 0)

    def test_every_process_of_a_cluster_has_its_name(self) -> None:
        say = "from forwarding.sending.leases import new_token; print(new_token())"
        boot = "import django; django.setup(); "
        given = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", CLUSTER: "ab" * 8}
        said = subprocess.run([sys.executable, "-c", boot + say], env=given, capture_output=True, text=True, check=True)
        self.assertTrue(str(UUID(said.stdout.strip()).hex).startswith("ab" * 8))


class TestWhoEndsTheCluster(SimpleTestCase):
    """A process that was killed while it waited may have the queue's lock; no other death is a reason."""

    @contextmanager
    def watched(self) -> Iterator[Any]:
        with (
            mock.patch("forwarding.worker.cluster.end_leases") as self.ended,
            mock.patch("forwarding.worker.cluster.os._exit", side_effect=SystemExit) as self.given_up,
            mock.patch("django_q.cluster.Sentinel.reincarnate") as replaced,
            mock.patch("forwarding.worker.cluster.logger"),
        ):
            yield replaced

    def see(self, exitcode: int, seconds_left: float | None) -> None:
        """Let the sentinel see how a process ended; the pusher and the monitor have no timer."""
        process = SimpleNamespace(pid=7, exitcode=exitcode)
        if seconds_left is not None:
            process.timer = SimpleNamespace(value=seconds_left)
        Sentinel.__new__(Sentinel).reincarnate(cast(BaseProcess, process))

    def test_a_worker_that_waited(self) -> None:
        with self.watched() as replaced, self.assertRaises(SystemExit):
            self.see(-9, -1)
        replaced.assert_not_called()

    def test_the_monitor_or_the_pusher(self) -> None:
        with self.watched(), self.assertRaises(SystemExit):
            self.see(-9, None)

    def test_not_a_worker_over_its_task_but_its_lease_ends(self) -> None:
        with self.watched() as replaced:
            self.see(-9, 120)
        replaced.assert_called_once()
        self.assertEqual(self.ended.call_args.args[2], 7)

    def test_not_a_worker_that_was_recycled_or_ran_out_of_time(self) -> None:
        for timer in (-2, 0):
            with self.watched() as replaced:
                self.see(0, timer)
            replaced.assert_called_once()
            self.ended.assert_not_called()

    def test_not_a_pusher_that_gave_up_because_the_queue_is_away(self) -> None:
        with self.watched() as replaced:
            self.see(0, None)
        replaced.assert_called_once()
