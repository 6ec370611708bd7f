"""The worker's watchdog: django-q2's cluster in a process group of its own, asked to sweep every few seconds.

A cluster that ends is started anew at once, and so is one whose process was killed while it waited (`cluster.py`). The
sweep is the canary too: whatever else makes a cluster hang, what counts is that sweeps come back. When none has for
WATCHDOG_SECONDS the whole group is killed and a new one started. What it was doing is taken over from the rows.

While the queue itself is away, sweeps run in a process of their own, one after the other.
"""

import ctypes
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from types import FrameType

from django.conf import settings
from django.db import DatabaseError, close_old_connections
from django.utils import timezone
from django_q.tasks import async_task
from redis import RedisError

from forwarding.models import Heartbeat
from forwarding.sending.leases import CLUSTER, end_leases, new_cluster
from forwarding.worker.heartbeats import SWEEP_HEARTBEAT

STOP_SECONDS = 30.0
TICK_SECONDS = 0.1
# A cluster that cannot start, as while Redis is away, is not started more often.
LEAST_LIFE_SECONDS = 3.0
PR_SET_PDEATHSIG = 1  # linux/prctl.h
MANAGE = str(settings.BASE_DIR / "manage.py")

logger = logging.getLogger(__name__)


def _end_with_parent() -> None:
    """Have the kernel ask the cluster to stop when the watchdog is killed, so that it leaves no orphans (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Watchdog:
    """Runs until SIGTERM or SIGINT; a second signal does not hurry it."""

    def __init__(self, say: Callable[[str], object]) -> None:
        self.say = say
        self.stopping = False
        self.cluster: subprocess.Popen[bytes] | None = None
        self.cluster_name = ""
        self.started_at = time.monotonic()
        self.stand_in: subprocess.Popen[bytes] | None = None

    def run(self) -> None:
        """Keep a cluster running and sweeping until told to stop."""
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        try:
            self._start()
            next_sweep = 0.0
            while not self.stopping:
                self._restart_if_ended()
                if time.monotonic() >= next_sweep:
                    next_sweep = time.monotonic() + settings.SWEEP_SECONDS
                    self._sweep()
                time.sleep(TICK_SECONDS)
        finally:
            self._end()
        self.say("Worker stopped.")

    def _restart_if_ended(self) -> None:
        assert self.cluster is not None
        if self.cluster.poll() is not None and time.monotonic() >= self.started_at + LEAST_LIFE_SECONDS:
            logger.error("The task cluster ended with %s; starting it anew", self.cluster.returncode)
            self._restart()

    def _sweep(self) -> None:
        try:
            close_old_connections()
            if self._is_stuck():
                logger.error("No sweep came back for %s s; starting the cluster anew", settings.WATCHDOG_SECONDS)
                self._restart()
            async_task("forwarding.tasks.sweep")
        except DatabaseError as error:
            # Rows wait; so do we.
            logger.warning("Could not ask for a sweep: %s", error)
        except RedisError as error:
            logger.warning("The queue is away, so sweeps do without it: %s", error)
            self._sweep_without_queue()

    def _is_stuck(self) -> bool:
        patience = settings.WATCHDOG_SECONDS
        if time.monotonic() - self.started_at < patience:
            return False
        oldest_good = timezone.now() - timedelta(seconds=patience)
        return not Heartbeat.objects.filter(name=SWEEP_HEARTBEAT, beat_at__gt=oldest_good).exists()

    def _sweep_without_queue(self) -> None:
        if self.stand_in is None or self.stand_in.poll() is not None:
            self.stand_in = subprocess.Popen([sys.executable, MANAGE, "sweep"], stdout=subprocess.DEVNULL)

    def _start(self) -> None:
        self.started_at = time.monotonic()
        self.cluster_name = new_cluster()
        self.cluster = subprocess.Popen(
            [sys.executable, MANAGE, "worker", "--cluster"],
            env={**os.environ, CLUSTER: self.cluster_name},
            start_new_session=True,
            preexec_fn=_end_with_parent,
        )
        self.say(f"Worker started, sweeping every {settings.SWEEP_SECONDS:g} s.")

    def _restart(self) -> None:
        self._kill_group()
        self._start()

    def _end(self) -> None:
        """End the cluster kindly, then whatever is left of its process group by force, so that no orphan goes on.

        Only its main process is asked: when all of a group get the signal at once, django-q2 waits for itself.
        """
        if self.cluster is None:
            return
        self.cluster.terminate()
        try:
            self.cluster.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            logger.warning("The task cluster did not stop within %s s", STOP_SECONDS)
        self._kill_group()
        self._end_stand_in()

    def _end_stand_in(self) -> None:
        if self.stand_in is None:
            return
        try:
            self.stand_in.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.stand_in.terminate()
            self.stand_in.wait()

    def _kill_group(self) -> None:
        assert self.cluster is not None
        with suppress(ProcessLookupError):  # all of it is gone
            os.killpg(self.cluster.pid, signal.SIGKILL)
        self.cluster.wait()
        try:
            end_leases(self.cluster_name, timezone.now())
        except DatabaseError as error:
            logger.warning("The leases of the cluster end by themselves: %s", error)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self.stopping = True
