"""The machine that a run happens on: processes that are started, found, started again, and all ended in the end.

Every process of a run carries its mark in its environment, which forks inherit and nobody else has. So what is ended
is what this run began, by its number, however it came to be orphaned.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MARK = "CONVULTRA_CHAOS"
STOP_SECONDS = 20.0
# Becomes the program that it is given, which the kernel ends when the run itself is killed (linux/prctl.h, 1 and 9).
END_WITH_PARENT = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); os.execv(sys.argv[1], sys.argv[1:])"


@dataclass(frozen=True, slots=True)
class Process:
    """A running process as /proc has it. `ticks` is the processor time it used; `began` tells it from a later one."""

    pid: int
    parent: int
    began: int
    ticks: int
    command: str


@dataclass(slots=True)
class Service:
    """A program that is kept running. Its whole session is ended before it is started again when `alone`."""

    name: str
    command: Sequence[str]
    environment: dict[str, str]
    alone: bool = True
    process: "subprocess.Popen[bytes] | None" = None
    starts: int = 0


@dataclass
class Machine:
    """Keeps services running, as systemd would: what ends is started again at once."""

    mark: str
    logs: Path
    services: dict[str, Service] = field(default_factory=dict)

    def start(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], *, alone: bool = True
    ) -> Service:
        """Start a program and keep it running."""
        service = Service(name, command, {**os.environ, **environment, MARK: self.mark}, alone)
        self.services[name] = service
        self._launch(service)
        return service

    def tend(self) -> list[Service]:
        """Start again what has ended; return which that was."""
        ended = [one for one in self.services.values() if one.process is not None and one.process.poll() is not None]
        for service in ended:
            if service.alone:
                self._kill_session(service)
            self._launch(service)
        return ended

    def processes(self) -> dict[int, Process]:
        """Return every running process of this run by its number, orphans included."""
        return {one.pid: one for one in _marked(f"{MARK}={self.mark}".encode())}

    def end(self) -> list[str]:
        """End everything, asked first and then by force; return what had to be forced though it was asked."""
        services = [one for one in self.services.values() if one.process is not None]
        self.services = {}
        for one in self.processes().values():
            send(one.pid, signal.SIGCONT)
        for service in services:
            assert service.process is not None
            send(service.process.pid, signal.SIGTERM)
        give_up = time.monotonic() + STOP_SECONDS
        stubborn = []
        for service in services:
            assert service.process is not None
            try:
                service.process.wait(max(0.1, give_up - time.monotonic()))
            except subprocess.TimeoutExpired:
                stubborn.append(service.name)
                send(service.process.pid, signal.SIGKILL)
                service.process.wait()
        while left := self.processes():
            for pid in left:
                send(pid, signal.SIGKILL)
            time.sleep(0.05)
        return stubborn

    def _launch(self, service: Service) -> None:
        service.starts += 1
        with (self.logs / f"{service.name}.log").open("ab") as log:
            service.process = subprocess.Popen(
                [sys.executable, "-c", END_WITH_PARENT, *service.command],
                cwd=ROOT,
                env=service.environment,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def _kill_session(self, service: Service) -> None:
        assert service.process is not None
        with suppress(ProcessLookupError):
            os.killpg(service.process.pid, signal.SIGKILL)


def manage(*arguments: str) -> list[str]:
    """Return the command line of a command of the product."""
    return [sys.executable, str(ROOT / "manage.py"), *arguments]


def send(pid: int, number: signal.Signals) -> bool:
    """Send a signal; False when the process is gone."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)
        return True
    return False


def _marked(mark: bytes) -> Iterator[Process]:
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                yield _read(entry)


def _read(entry: Path) -> Process:
    # man 5 proc: the name may hold anything but ends at the last parenthesis; parent, times and start follow it.
    fields = (entry / "stat").read_text().rpartition(")")[2].split()
    command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    return Process(int(entry.name), int(fields[1]), int(fields[19]), int(fields[11]) + int(fields[12]), command)
