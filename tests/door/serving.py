"""The web server as processes of their own, on a port that it keeps when it is started again."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import requests
from django.conf import settings

from tests.road.test_worker import children

START_SECONDS = 60
STOP_SECONDS = 30


class Web:
    """`manage.py web` on a database. A context: its processes, orphans too, are gone after it."""

    def __init__(self, database_url: str, log: Path, *options: str, **environment: str) -> None:
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self._command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "web", "--port", str(self.port)]
        self._command += options
        self._environment = {"DJANGO_SETTINGS_MODULE": "tests.settings", "DATABASE_URL": database_url} | environment
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Web":
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self, **environment: str) -> None:
        """Start it, and wait until it answers."""
        given = {**os.environ, **self._environment, **environment}
        with self._log.open("ab") as log:
            # A session of its own, as the processes that it starts do not end with it when it is killed.
            self._process = subprocess.Popen(
                self._command, env=given, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
        give_up = time.monotonic() + START_SECONDS
        while not self.is_up():
            if time.monotonic() > give_up or self._process.poll() is not None:
                raise AssertionError(f"The web server did not start: {self._log.read_text()[-2000:]}")
            time.sleep(0.05)

    def is_up(self) -> bool:
        """Say whether it answers."""
        with suppress(requests.RequestException):
            return requests.get(f"{self.address}/healthz", timeout=5).ok
        return False

    def kill(self) -> None:
        """Kill all its processes at once, as `kill -9` or a machine that goes does."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(STOP_SECONDS)

    def kill_one_child(self) -> int:
        """Kill one of the processes that serve; return its id."""
        pid = self.serving()[0]
        os.kill(pid, signal.SIGKILL)
        return pid

    def serving(self) -> list[int]:
        """Return the ids of the processes that serve, where there are several."""
        assert self._process is not None
        return [pid for pid in children(self._process.pid) if b"spawn_main" in _command(pid)]

    def ask_to_stop(self) -> None:
        """Ask it to stop in order, as a deploy does."""
        assert self._process is not None
        self._process.terminate()

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """Wait until it has ended; return its exit code."""
        assert self._process is not None
        return self._process.wait(seconds)

    def errors(self) -> list[str]:
        """Return what it logged of errors, and whatever broke out of the log's format."""
        return [line for line in self._log.read_text().splitlines() if _is_error(line)]


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_error(line: str) -> bool:
    try:
        said = json.loads(line)
    except ValueError:
        return line.startswith("Traceback")
    return said["level"] in ("error", "critical") or "exception" in said


def _command(pid: int) -> bytes:
    """Return a process's command line, nothing where it has ended meanwhile."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""
