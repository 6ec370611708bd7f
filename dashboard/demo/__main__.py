"""Run the demo: database, demo site, emulator, web server and worker; end all of them with one Ctrl-C.

Everything it makes lies in one directory (`.demo`), so that a second run starts in seconds and keeps the data, and
deleting the directory starts anew. Knows nothing of Django: it only starts `manage.py` with the right environment.
"""

import argparse
import fcntl
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

from cryptography.fernet import Fernet

ROOT = Path(__file__).resolve().parent.parent.parent
HOST = "127.0.0.1"
READY_SECONDS = 30.0
STOP_SECONDS = 40.0  # longer than the worker gives its own cluster
OWNER, PASSWORD = "maya@harborpine.example", "harbor-and-pine"

BANNER = """
  Convultra is running.   {web}/
  Sign in as              {owner}   password  {password}

  1. Be a visitor: open   {emulator}/_emulator/search
     and follow the first ad to the demo shop; its address now carries a Microsoft click id (msclkid). Buy something.
     (The second ad is of an account that is not connected yet: its clicks are booked, but not attributed.)
  2. Watch it arrive:     {web}/   Harbor & Pine > Search - US > Forward Logs
  3. See Microsoft's own  {emulator}/_emulator/ledger
     books: the conversion is there with its own time, value and click id.
  4. Connect another      Harbor & Pine Outlet > Integrations > Connect; the sign-in page is the local Microsoft's.

  This Microsoft is an emulator on your machine: the waits of an hour after a click and two hours after a new goal
  are set to zero here, so that all this takes seconds. Nothing leaves your machine.

  Logs: {logs}      Stop: Ctrl-C
"""


def fail(sentence: str) -> NoReturn:
    """End with one sentence that says what to do."""
    print(f"demo: {sentence}", file=sys.stderr)
    raise SystemExit(1)


class Demo:
    """The processes of one run, in the order in which they are started."""

    def __init__(self, directory: Path, port: int, emulator_port: int, database_url: str = "") -> None:
        self.directory = directory
        self.database_url = database_url or f"sqlite:///{directory / 'convultra.sqlite3'}"
        self.port, self.emulator_port = port, emulator_port
        self.logs = directory / "logs"
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.is_stopping = False

    def run(self) -> None:
        """Start everything, say where it is, and wait for Ctrl-C or for a part that ends by itself."""
        self._demand_alone()
        for name, port in (("PORT", self.port), ("EMULATOR_PORT", self.emulator_port)):
            self._demand_free(name, port)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        environment = self._environment()
        try:
            self._start_parts(environment)
            print(
                BANNER.format(web=self._web, emulator=self._emulator, owner=OWNER, password=PASSWORD, logs=self.logs),
                flush=True,
            )
            self._wait()
        except KeyboardInterrupt:
            print("\ndemo: stopping.", flush=True)
        finally:
            self._stop()

    def _start_parts(self, environment: dict[str, str]) -> None:
        self._start(
            "emulator",
            [
                *("emulator", "--port", str(self.emulator_port), "--state", str(self.directory / "microsoft.jsonl")),
                *("--goal-settle-seconds", "0", "--adjustment-settle-seconds", "5"),
                *("--landing-url", f"{self._web}/demo/shop/"),
            ],
            environment,
        )
        self._until_it_answers("emulator", f"{self._emulator}/_emulator/")
        self._step("migrate", ["migrate", "--verbosity", "0"], environment)
        self._step("seed", ["seed_demo", "--owner", OWNER, "--password", PASSWORD], environment)
        self._start("web", ["web", "--port", str(self.port)], environment)
        self._start("worker", ["worker"], environment)
        self._until_it_answers("web", f"{self._web}/healthz")

    @property
    def _web(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def _emulator(self) -> str:
        return f"http://{HOST}:{self.emulator_port}"

    def _demand_free(self, name: str, port: int) -> None:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                fail(f"port {port} is taken. Stop what uses it, or choose another: make demo {name}={port + 10}")

    def _demand_alone(self) -> None:
        """Lock the directory until this process and all that it starts have ended, however they end.

        They hold the lock with it, so that what a killed demo left behind is not mistaken for nothing.
        """
        try:
            self.logs.mkdir(parents=True, exist_ok=True)
            self.lock = (self.directory / "lock").open("a+")
        except OSError as error:
            fail(f"{error.filename} cannot be used: {error.strerror}. Delete the directory {self.directory}.")
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.lock.seek(0)
            numbers = " ".join(self.lock.read().split())
            fail(f"an earlier demo still runs in {self.directory}. Stop it with Ctrl-C, or with: kill {numbers}")
        self.lock.truncate(0)
        self._note(os.getpid())

    def _note(self, process_id: int) -> None:
        self.lock.write(f"{process_id}\n")
        self.lock.flush()

    def _environment(self) -> dict[str, str]:
        """Return the settings of the demo; the secrets are made once and kept beside the data they protect."""
        secrets_file = self.directory / "secrets"
        if not secrets_file.exists():
            unfinished = secrets_file.with_suffix(".new")
            unfinished.touch(mode=0o600)
            unfinished.write_text(f"{secrets.token_urlsafe(50)}\n{Fernet.generate_key().decode()}\n")
            unfinished.replace(secrets_file)
        lines = secrets_file.read_text().split()
        if len(lines) != 2:
            fail(f"{secrets_file} is damaged. Delete the directory {self.directory} and start again.")
        return {
            **os.environ,
            "SECRET_KEY": lines[0],
            "FIELD_ENCRYPTION_KEYS": lines[1],
            "DEBUG": "False",
            "DEMO": "True",
            "PUBLIC_URL": self._web,
            "ALLOWED_HOSTS": f"{HOST},localhost",
            "DATABASE_URL": self.database_url,
            "MICROSOFT_CLIENT_ID": "emulator-client",
            "MICROSOFT_CLIENT_SECRET": "emulator-secret",
            "MICROSOFT_DEVELOPER_TOKEN": "emulator-developer-token",
            "MICROSOFT_LOGIN_URL": self._emulator,
            "MICROSOFT_CAMPAIGN_URL": self._emulator,
            "MICROSOFT_CUSTOMER_URL": self._emulator,
            "CLICK_SETTLE_SECONDS": "0",
            "ADJUSTMENT_SETTLE_SECONDS": "6",  # the emulator takes five
            "GOAL_SETTLE_SECONDS": "0",
            "UPLOAD_LINGER_SECONDS": "1",
            "SWEEP_SECONDS": "1",
            "PYTHONUNBUFFERED": "1",
        }

    def _start(self, name: str, arguments: Sequence[str], environment: dict[str, str]) -> None:
        # A session of its own: Ctrl-C reaches this process alone, which then ends the others in order.
        with (self.logs / f"{name}.log").open("wb") as log:
            self.running[name] = subprocess.Popen(
                _manage(arguments),
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=ROOT,
                pass_fds=(self.lock.fileno(),),
            )
        self._note(self.running[name].pid)

    def _step(self, name: str, arguments: Sequence[str], environment: dict[str, str]) -> None:
        done = subprocess.run(
            _manage(arguments), env=environment, capture_output=True, text=True, check=False, cwd=ROOT
        )
        if done.returncode:
            (self.logs / f"{name}.log").write_text(done.stdout + done.stderr)
            last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
            fail(
                f"the step {name} failed: {last}\n      The whole story is in {self.logs / name}.log. If an earlier run"
                f" was cut short, delete the directory {self.directory} and start again."
            )

    def _until_it_answers(self, name: str, address: str) -> None:
        give_up = time.monotonic() + READY_SECONDS
        while time.monotonic() < give_up:
            self._demand_alive()
            try:
                with urllib.request.urlopen(address, timeout=2):  # noqa: S310 - our own address
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        fail(f"the {name} did not answer at {address} within {READY_SECONDS:.0f} s. See {self.logs / name}.log.")

    def _wait(self) -> None:
        while True:
            self._demand_alive()
            time.sleep(0.5)

    def _demand_alive(self) -> None:
        for name, process in self.running.items():
            if process.poll() is not None:
                fail(
                    f"the {name} ended by itself with {process.returncode}. See {self.logs / name}.log. If an earlier"
                    f" run was cut short, delete the directory {self.directory} and start again."
                )

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if not self.is_stopping:  # an impatient second Ctrl-C must not leave half of the processes behind
            raise KeyboardInterrupt

    def _stop(self) -> None:
        """End every part and everything it started: asked first, then by force."""
        self.is_stopping = True
        for process in self.running.values():
            _signal_group(process, signal.SIGTERM)
        give_up = time.monotonic() + STOP_SECONDS
        for process in self.running.values():
            with suppress(subprocess.TimeoutExpired):  # the force below ends it
                process.wait(timeout=max(0.1, give_up - time.monotonic()))
        for process in self.running.values():
            _signal_group(process, signal.SIGKILL)
            process.wait()


def _manage(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, str(ROOT / "manage.py"), *arguments]


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return  # all of it is gone


def _port(text: str) -> int:
    """Read a port; an `argparse` type."""
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
        fail(f"{text!r} is no port. A port is a number from 1 to 65535.")
    return int(text)


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m dashboard.demo", description="Run Convultra's demo.")
    parser.add_argument("--directory", type=Path, default=ROOT / ".demo")
    parser.add_argument("--port", type=_port, default=8000)
    parser.add_argument("--emulator-port", type=_port, default=9201)
    parser.add_argument("--database-url", default="", help="default: a SQLite file in the directory")
    given = parser.parse_args()
    if given.port == given.emulator_port:
        fail("the web server and the emulator need a port each; these are the same.")
    try:
        given.directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fail(f"the directory {given.directory} cannot be used: {error.strerror}.")
    Demo(given.directory.resolve(), given.port, given.emulator_port, given.database_url).run()


if __name__ == "__main__":
    main()
