"""The processes of a run: the emulator as Microsoft, and workers that do what they are told. Ended with the `with`."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

ROOT = Path(__file__).resolve().parents[2]
STOP_SECONDS = 10


class Sink:
    """The emulator in sink mode: it checks JSON and batch size, counts, and books nothing."""

    def __init__(self, address: str) -> None:
        self.address = address
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
    command = [sys.executable, str(ROOT / "manage.py"), "emulator", "--port", "0"]
    with _process(command, {"PYTHONUNBUFFERED": "1"}) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        address = re.search(r"http://[\d.]+:\d+", line)
        if address is None:
            raise RuntimeError(f"The emulator did not start: {line}")
        yield Sink(address[0])


@contextmanager
def worker(database_url: str, microsoft: str) -> Iterator[Worker]:
    """Run a worker on a database, which sends to `microsoft` at once: nothing settles, nothing lingers."""
    environment = {
        "DATABASE_URL": database_url,
        **{f"MICROSOFT_{name}_URL": microsoft for name in ("LOGIN", "CAMPAIGN", "CUSTOMER")},
        "UPLOAD_LINGER_SECONDS": "0",
        "CLICK_SETTLE_SECONDS": "0",
        "ADJUSTMENT_SETTLE_SECONDS": "0",
        "GOAL_SETTLE_SECONDS": "0",
        "LOG_LEVEL": "WARNING",
    }
    with _process([sys.executable, "-m", "tests.bench.worker"], environment) as process:
        yield Worker(process)


@contextmanager
def _process(command: list[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    given = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", **environment}
    process = subprocess.Popen(command, cwd=ROOT, env=given, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.stdout.close()
