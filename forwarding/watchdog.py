"""The worker's watchdog: django-q2's cluster in a process group of its own, asked to sweep every few seconds.

The sweep is the canary too. A cluster whose idle worker was killed can hold its queue's lock for ever while looking
healthy (django-q2 issues 23, 339, 346), so what counts is that sweeps come back: when none has for WATCHDOG_SECONDS
the whole group is killed and a new one started. What it was doing is taken over from the rows.
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

from forwarding.heartbeats import SWEEP_HEARTBEAT
from forwarding.models import Heartbeat

STOP_SECONDS = 30.0
TICK_SECONDS = 0.1
PR_SET_PDEATHSIG = 1  # linux/prctl.h

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
        self.started_at = time.monotonic()

    def run(self) -> None:
        """Keep a cluster running and sweeping until told to stop."""
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        try:
            self._start()
            next_sweep = 0.0
            while not self.stopping:
                if time.monotonic() >= next_sweep:
                    next_sweep = time.monotonic() + settings.SWEEP_SECONDS
                    self._tick()
                time.sleep(TICK_SECONDS)
        finally:
            self._end()
        self.say("Worker stopped.")

    def _tick(self) -> None:
        assert self.cluster is not None
        if self.cluster.poll() is not None:
            logger.error("The task cluster ended with %s; starting it anew", self.cluster.returncode)
            self._restart()
        try:
            close_old_connections()
            if self._is_stuck():
                logger.error("No sweep came back for %s s; starting the cluster anew", settings.WATCHDOG_SECONDS)
                self._restart()
            async_task("forwarding.tasks.sweep")
        except (DatabaseError, RedisError) as error:
            # The database or Redis is away. Rows wait; so do we.
            logger.warning("Could not ask for a sweep: %s", error)

    def _is_stuck(self) -> bool:
        patience = settings.WATCHDOG_SECONDS
        if time.monotonic() - self.started_at < patience:
            return False
        oldest_good = timezone.now() - timedelta(seconds=patience)
        return not Heartbeat.objects.filter(name=SWEEP_HEARTBEAT, beat_at__gt=oldest_good).exists()

    def _start(self) -> None:
        self.started_at = time.monotonic()
        self.cluster = subprocess.Popen(
            [sys.executable, str(settings.BASE_DIR / "manage.py"), "qcluster"],
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

    def _kill_group(self) -> None:
        assert self.cluster is not None
        with suppress(ProcessLookupError):  # all of it is gone
            os.killpg(self.cluster.pid, signal.SIGKILL)
        self.cluster.wait()

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self.stopping = True
