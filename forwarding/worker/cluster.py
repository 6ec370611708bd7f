"""The task cluster's own process: django-q2's, but that it notices at once what it would not survive.

A process that is killed while it waits for the queue takes the queue's lock along, and the cluster hangs for ever while
it looks healthy (django-q2 issues 23, 339, 346). So such a death ends the cluster, and its watchdog starts a new one. A
worker that is killed over its task holds no lock: it is replaced, and what it was sending is taken over.
"""

import logging
import os
from multiprocessing.process import BaseProcess

from django.db import DatabaseError
from django.utils import timezone
from django_q import cluster as django_q_cluster

from forwarding.sending.leases import end_leases, own_cluster

logger = logging.getLogger(__name__)


def run_cluster() -> None:
    """Run the cluster until it is told to stop."""
    django_q_cluster.Sentinel = Sentinel  # it has no other way in
    django_q_cluster.Cluster().start()


class Sentinel(django_q_cluster.Sentinel):  # type: ignore[misc]  # untyped
    """The process that keeps the cluster's others: two or more workers, the pusher and the monitor."""

    def reincarnate(self, process: BaseProcess) -> None:
        """Replace a process that ended, or end the whole cluster when it may hang by that death."""
        if was_killed(process):
            logger.error("Process %s of the task cluster was killed (%s)", process.pid, process.exitcode)
            self._end_leases_of(process)
            if not was_busy(process):
                os._exit(1)  # nothing that waits for the queue would let go of it
        super().reincarnate(process)

    def _end_leases_of(self, process: BaseProcess) -> None:
        try:
            end_leases(own_cluster(), timezone.now(), process.pid)
        except DatabaseError as error:
            logger.warning("The leases of process %s end by themselves: %s", process.pid, error)


def was_killed(process: BaseProcess) -> bool:
    """Say whether a signal ended it. Whoever ends by itself is recycled, and has let go of everything."""
    return process.exitcode is not None and process.exitcode < 0


def was_busy(process: BaseProcess) -> bool:
    """Say whether a worker was doing a task: its timer counts the seconds that are left for it."""
    timer = getattr(process, "timer", None)
    return timer is not None and timer.value > 0
