"""Asking for a sweep before its time. A queue that is away costs seconds: the next sweep finds the rows as well."""

from datetime import timedelta
from functools import partial

from django.db import transaction
from django.utils import timezone
from django_q.tasks import async_task

from forwarding.worker.heartbeats import ASKED_HEARTBEAT, beat, forget

# A sweep that was asked for and has not begun after so long is taken for lost.
LOST_AFTER = timedelta(seconds=10)


def ring_for_sweep() -> None:
    """Ask a worker to sweep now, unless one was asked to and has not begun: it will find what there is by then.

    So one sweep waits in the queue at most, and a machine that is too slow for its traffic sweeps less often instead
    of later and later.
    """
    if beat(ASKED_HEARTBEAT, timezone.now(), LOST_AFTER):
        async_task("forwarding.tasks.sweep")


def sweep_begins() -> None:
    """Let the next sweep be asked for. Call it before any row is read."""
    forget(ASKED_HEARTBEAT)


def test_soon(test_id: int) -> None:
    """Ask a worker to send a test conversion once the transaction is committed. A lost task is a test not sent."""
    transaction.on_commit(partial(async_task, "forwarding.tasks.send_test", test_id), robust=True)


def sweep_soon() -> None:
    """Ask a worker to sweep once the transaction, if there is one, is committed."""
    transaction.on_commit(ring_for_sweep, robust=True)
