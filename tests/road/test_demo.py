"""The demo as a newcomer meets it: one command, a purchase in a real browser, one Ctrl-C."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.conf import settings
from playwright.sync_api import Page, expect

from dashboard.demo.__main__ import OWNER, PASSWORD
from tests.support.databases import scratch_database

CLICK_ID = re.compile(r"msclkid=([0-9a-f]{32})")
START_SECONDS = 90.0
DELIVERED_MILLISECONDS = 60_000


@dataclass
class Demo:
    """A running demo."""

    process: "subprocess.Popen[str]"
    directory: Path
    database_url: str
    web: str
    emulator: str


def start(directory: Path, database_url: str, *ports: int | str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "dashboard.demo", "--directory", str(directory), "--database-url", database_url]
    command += [f"--port={ports[0]}", f"--emulator-port={ports[1]}"]
    return subprocess.Popen(command, cwd=settings.BASE_DIR, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def until_it_runs(process: "subprocess.Popen[str]") -> str:
    """Read what it prints up to the line that says how to stop; fail when it ends first."""
    said = ""
    give_up = time.monotonic() + START_SECONDS
    assert process.stdout is not None
    for line in process.stdout:
        said += line
        if "Stop: Ctrl-C" in line:
            return said
        assert time.monotonic() < give_up, said
    raise AssertionError(f"The demo ended by itself: {said}")


def wait_until(is_true: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 90
    while not is_true():
        assert time.monotonic() < give_up
        time.sleep(0.1)


def free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


def processes_of(directory: Path) -> list[str]:
    """Return the command lines of running processes that know the demo's directory by their environment."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environment, command = (entry / "environ").read_bytes(), (entry / "cmdline").read_bytes()
        except OSError:
            continue  # ended meanwhile
        if str(directory).encode() in environment + command:
            found.append(command.replace(b"\0", b" ").decode())
    return found


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """Run the demo on a database of its own, of the kind that the suite runs on."""
    directory = tmp_path_factory.mktemp(f"demo-{uuid.uuid4().hex}")
    with scratch_database(directory) as database_url:
        web, emulator = free_ports()
        with start(directory, database_url, web, emulator) as process:
            try:
                until_it_runs(process)
                yield Demo(process, directory, database_url, f"http://127.0.0.1:{web}", f"http://127.0.0.1:{emulator}")
            finally:
                process.send_signal(signal.SIGINT)
                process.wait(timeout=60)


@pytest.mark.browser
class TestPurchase:
    def test_it_travels_from_the_ad_into_forward_logs_and_microsofts_books(self, demo: Demo, page: Page) -> None:
        page.goto(f"{demo.emulator}/_emulator/search")
        page.get_by_role("link", name="Harbor & Pine").first.click()
        match = CLICK_ID.search(page.url)
        assert match is not None, page.url
        expect(page.locator("#click")).to_contain_text(f"click ID {match[1]}")  # the SDK is there, and caught it
        page.get_by_role("button", name="Buy the garden bench").click()
        expect(page.locator("#order")).to_contain_text("Order HP-")
        order = re.search(r"HP-\w+", page.locator("#order").inner_text())
        assert order is not None

        page.get_by_role("link", name="Forward Logs").click()
        page.get_by_label("Email").fill(OWNER)
        page.get_by_label("Password", exact=True).fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        row = page.get_by_role("row").filter(has_text=order[0])
        expect(row).to_contain_text("Delivered", timeout=DELIVERED_MILLISECONDS)
        expect(row).to_contain_text("$129.95")

        page.goto(f"{demo.emulator}/_emulator/ledger")
        booked = page.get_by_role("row").filter(has_text=match[1])
        expect(booked.first).to_contain_text("129.95")


class TestTerminal:
    def test_a_taken_port_is_named_in_one_sentence(self, demo: Demo, tmp_path: Path) -> None:
        port = int(demo.web.rpartition(":")[2])
        with start(tmp_path, "", port, free_ports()[0]) as second:
            said, _ = second.communicate(timeout=30)
        assert second.returncode == 1
        assert said == f"demo: port {port} is taken. Stop what uses it, or choose another: make demo PORT={port + 10}\n"

    def test_two_demos_do_not_share_a_directory(self, demo: Demo) -> None:
        with start(demo.directory, demo.database_url, *free_ports()) as second:
            said, _ = second.communicate(timeout=30)
        assert second.returncode == 1
        assert said.startswith(f"demo: an earlier demo still runs in {demo.directory}. Stop it with Ctrl-C, or with: ")
        assert str(demo.process.pid) in said

    def test_what_is_no_port_is_told_in_words(self, tmp_path: Path) -> None:
        for ports in (("99999", "9201"), ("-1", "9201"), ("80x", "9201"), ("8000", "8000")):
            with start(tmp_path, "", *ports) as process:
                said, _ = process.communicate(timeout=30)
            assert process.returncode == 1
            assert said.startswith("demo: ")
            assert "Traceback" not in said

    def test_one_ctrl_c_leaves_no_process_and_a_second_run_keeps_the_data(self, tmp_path: Path) -> None:
        directory = tmp_path / f"demo-{uuid.uuid4().hex}"
        sites = []
        for _ in range(2):
            with start(directory, "", *free_ports()) as process:
                until_it_runs(process)
                assert len(processes_of(directory)) >= 4
                process.send_signal(signal.SIGINT)
                process.wait(timeout=60)
            assert process.returncode == 0
            assert processes_of(directory) == []
            sites.append((directory / "secrets").read_text())
        assert sites[0] == sites[1]

    def test_what_a_killed_demo_left_behind_is_named_and_ends_as_told(self, tmp_path: Path) -> None:
        directory = tmp_path / f"demo-{uuid.uuid4().hex}"
        with start(directory, "", *free_ports()) as killed:
            until_it_runs(killed)
            killed.kill()
        with start(directory, "", *free_ports()) as second:
            said, _ = second.communicate(timeout=30)
        left = [int(number) for number in said.rpartition("kill ")[2].split()]
        assert killed.pid in left
        for process_id in left:
            with suppress(ProcessLookupError):
                os.kill(process_id, signal.SIGTERM)
        wait_until(lambda: not processes_of(directory))

    def test_a_damaged_directory_is_told_in_words(self, tmp_path: Path) -> None:
        (tmp_path / "secrets").write_text("half a line")
        with start(tmp_path, "", *free_ports()) as process:
            said, _ = process.communicate(timeout=30)
        assert process.returncode == 1
        assert "is damaged. Delete the directory" in said
        assert "Traceback" not in said
