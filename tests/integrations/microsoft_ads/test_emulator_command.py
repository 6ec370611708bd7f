"""`manage.py emulator`: what it refuses, and that it starts, says where it is, and stops at once."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import requests
from django.core.management import CommandError, call_command
from django.test import SimpleTestCase

from integrations.microsoft_ads.emulator.server import is_loopback

ROOT = Path(__file__).resolve().parents[3]


class RefusalTests(SimpleTestCase):
    def test_it_serves_this_machine_only(self) -> None:
        for host in ("0.0.0.0", "192.0.2.1", "example.com", "::", ""):  # noqa: S104 - refused
            with self.assertRaisesMessage(CommandError, "not a loopback address"):
                call_command("emulator", host=host)

    def test_loopback_has_several_names(self) -> None:
        for host in ("127.0.0.1", "127.0.0.2", "localhost", "::1", "[::1]"):
            self.assertTrue(is_loopback(host), host)

    def test_a_taken_port_is_one_clear_sentence(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            with self.assertRaisesMessage(CommandError, "Choose another with --port."):
                call_command("emulator", port=taken.getsockname()[1])

    def test_a_port_that_cannot_be_is_refused(self) -> None:
        with self.assertRaisesMessage(CommandError, "Port 70000"):
            call_command("emulator", port=70000)

    def test_nonsense_is_refused(self) -> None:
        with self.assertRaisesMessage(CommandError, "--landing-url"):
            call_command("emulator", landing_url="shop")
        with self.assertRaisesMessage(CommandError, "seconds from 0"):
            call_command("emulator", goal_settle_seconds=-1)

    def test_a_damaged_state_file_is_refused(self) -> None:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "state.jsonl"
            path.write_text("nonsense\n")
            with self.assertRaisesMessage(CommandError, "state file cannot be used"):
                call_command("emulator", state=path)


class ProcessTests(SimpleTestCase):
    def test_it_serves_and_stops_at_a_signal(self) -> None:
        with TemporaryDirectory() as folder:
            for number in (signal.SIGTERM, signal.SIGINT):
                process = self.start(Path(folder) / "state.jsonl")
                assert process.stdout is not None
                first = process.stdout.readline()
                address = first.split(" on ")[1].split(" ")[0]
                r = requests.get(f"{address}/_emulator/ledger", timeout=30)
                self.assertEqual((r.status_code, "Ledger" in r.text), (200, True))
                process.send_signal(number)
                rest, _ = process.communicate(timeout=30)
                self.assertEqual(process.returncode, 0, rest)
                self.assertNotIn("Traceback", rest)

    def start(self, state: Path) -> subprocess.Popen[str]:
        command = [sys.executable, "manage.py", "emulator", "--port", "0", "--state", str(state)]
        environ = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings"}
        process = subprocess.Popen(
            command, cwd=ROOT, env=environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self.addCleanup(process.kill)
        return process
