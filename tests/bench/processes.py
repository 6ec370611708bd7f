"""The processes of a run: the emulator as Microsoft, and workers that do what they are told. Ended with the `with`."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import requests

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS, STOP_SECONDS = 30, 20
NOWHERE = "http://127.0.0.1:9"  # discard: where a run has no Microsoft
# Limits are counted as in production, and reached by nobody.
UNREACHED_LIMIT = "100000000"


@dataclass(frozen=True, slots=True)
class Server:
    """A web server: where it listens, and the process above its processes."""

    address: str
    pid: int


class Microsoft:
    """The emulator as a process."""

    def __init__(self, address: str) -> None:
        self.address = address

    def booked(self) -> list[tuple[str, float]]:
        """Return the click of each booked conversion and when it came, in seconds since 1970."""
        return [
            (row["click_id"], datetime.fromisoformat(row["received_at"]).timestamp()) for row in self._rows("booked")
        ]

    def calls(self) -> int:
        """Return how many calls brought conversions."""
        return sum(call["operation"] == "OfflineConversions/Apply" for call in self._rows("calls"))

    def _rows(self, kind: str) -> Iterator[dict[str, Any]]:
        after: int | None = 0
        while after is not None:
            page = requests.get(f"{self.address}/_emulator/page.json?of={kind}&after={after}", timeout=10).json()
            yield from page["rows"]
            after = page["next"]


class Sink(Microsoft):
    """The emulator in sink mode: it checks JSON and batch size, counts, and books nothing."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        requests.post(f"{address}/_emulator/settings", json={"sink": True}, timeout=10).raise_for_status()

    def swallowed(self) -> tuple[int, int]:
        """Return how many calls and rows it has seen since its start."""
        ledger = requests.get(f"{self.address}/_emulator/ledger.json", timeout=10).json()
        return ledger["sink"]["calls"], ledger["sink"]["rows"]


class Worker:
    """A process with Django on the bench's database, started once and told what to do by lines of JSON."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def begin(self, order: str, **arguments: object) -> None:
        """Tell it what to do, without waiting."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"order": order, "arguments": arguments}) + "\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """Wait until it is done. Raises RuntimeError when it died instead; its own words are on stderr."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"A bench worker ended with {self._process.wait(STOP_SECONDS)}.")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def do(self, order: str, **arguments: object) -> dict[str, Any]:
        """Tell it what to do and wait for it."""
        self.begin(order, **arguments)
        return self.answer()


@contextmanager
def sink() -> Iterator[Sink]:
    """Run the emulator on a free loopback port, swallowing."""
    with microsoft() as started:
        yield Sink(started.address)


@contextmanager
def microsoft() -> Iterator[Microsoft]:
    """Run the emulator on a free loopback port, with its books. Goals are old enough from the start."""
    command = manage("emulator", "--port", "0", "--goal-settle-seconds", "0")
    with _process(command, {"PYTHONUNBUFFERED": "1"}) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        address = re.search(r"http://[\d.]+:\d+", line)
        if address is None:
            raise RuntimeError(f"The emulator did not start: {line}")
        yield Microsoft(address[0])


@contextmanager
def worker(database_url: str, microsoft: str) -> Iterator[Worker]:
    """Run a worker on a database, which sends to `microsoft`."""
    command = [sys.executable, "-m", "tests.bench.worker"]
    with _process(command, _environment(database_url, microsoft)) as process:
        yield Worker(process)


@contextmanager
def product(database_url: str, microsoft: str) -> Iterator[str]:
    """Run the web server and the worker as they ship; give the server's address once it answers."""
    environment = _environment(database_url, microsoft)
    with web(database_url, microsoft) as server, _process(manage("worker"), environment, stdout=subprocess.DEVNULL):
        yield server.address


@contextmanager
def web(database_url: str, microsoft: str = NOWHERE) -> Iterator[Server]:
    """Run the web server as it ships, its limits out of reach; give it once it answers."""
    with _server(manage("web"), _environment(database_url, microsoft)) as server:
        yield server


@contextmanager
def served(
    application: str, database_url: str, workers: int, interface: str = "asgi3", settings: str = "tests.settings"
) -> Iterator[Server]:
    """Run another application on the same web server."""
    command = [sys.executable, "-m", "tests.bench.served", application]
    command += ["--workers", str(workers), "--interface", interface]
    with _server(command, _environment(database_url, NOWHERE) | {"DJANGO_SETTINGS_MODULE": settings}) as server:
        yield server


@contextmanager
def _server(command: list[str], environment: dict[str, str]) -> Iterator[Server]:
    port = _free_port()
    address = f"http://127.0.0.1:{port}"
    with _process([*command, "--port", str(port)], environment, stdout=subprocess.DEVNULL) as process:
        give_up = time.monotonic() + START_SECONDS
        while not _answers(f"{address}/healthz"):
            if process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError("The web server did not start.")
            time.sleep(0.1)
        yield Server(address, process.pid)


def manage(*arguments: str) -> list[str]:
    """Return the command line of a command of the product."""
    return [sys.executable, str(ROOT / "manage.py"), *arguments]


def _environment(database_url: str, microsoft: str) -> dict[str, str]:
    """Return settings with which what is accepted goes out at once: nothing settles, nothing lingers."""
    waits = ("UPLOAD_LINGER", "CLICK_SETTLE", "GOAL_SETTLE", "ADJUSTMENT_SETTLE")
    return {
        "DATABASE_URL": database_url,
        "PUBLIC_URL": "http://127.0.0.1:8000",  # the emulator takes any loopback address as the way back
        **{f"MICROSOFT_{name}_URL": microsoft for name in ("LOGIN", "CAMPAIGN", "CUSTOMER")},
        **{f"{name}_SECONDS": "0" for name in waits},
        **{f"{name}_REQUESTS_PER_SECOND": UNREACHED_LIMIT for name in ("KEY", "ADDRESS")},
        "BEHIND_PROXY": "True",  # the load comes from many addresses, and each is counted
        "LOG_LEVEL": "WARNING",
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(url: str) -> bool:
    with suppress(requests.RequestException):
        return requests.get(url, timeout=2).ok
    return False


@contextmanager
def _process(
    command: list[str], environment: Mapping[str, str], stdout: int = subprocess.PIPE
) -> Iterator[subprocess.Popen[str]]:
    given = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", **environment}
    process = subprocess.Popen(command, cwd=ROOT, env=given, stdin=subprocess.PIPE, stdout=stdout, text=True)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
