"""Asking for a sweep before its time. A queue that is away costs seconds: the next sweep finds the rows as well."""

from django.db import transaction
from django_q.tasks import async_task


def ring_for_sweep() -> None:
    """Ask a worker to sweep now."""
    async_task("forwarding.tasks.sweep")


def sweep_soon() -> None:
    """Ask a worker to sweep once the transaction, if there is one, is committed."""
    transaction.on_commit(ring_for_sweep, robust=True)
