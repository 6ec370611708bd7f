"""A worker that dies between Microsoft's answer and our mark: real processes, a real socket, a real SIGKILL."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import requests
from django.conf import settings
from django.db import connection
from django.test import TransactionTestCase
from django.utils import timezone

from dashboard.demo.seeding import connect
from forwarding.models import Delivery, Upload
from integrations.connecting import add_accounts
from integrations.mapping import Rule, set_mapping
from integrations.microsoft_ads.emulator.world import SEARCH_US
from tests.cast import make_site, make_user, store_event


class TestKilledBetweenSendAndMark(TransactionTestCase):
    def test_the_same_bytes_go_out_again_and_are_booked_once(self) -> None:
        with emulator() as base:
            self.set_up_account(base)
            died = self.sweep(base, FAILPOINT="after_send")
            self.assertEqual(died.returncode, -signal.SIGKILL, died.stderr)
            self.assertEqual([row.status for row in Delivery.objects.all()], ["pending"] * 3)
            Upload.objects.update(leased_until=timezone.now())
            went_on = self.sweep(base)
            self.assertEqual(went_on.returncode, 0, went_on.stderr)
            calls, booked = sent_and_booked(base)
        self.assertEqual([row.status for row in Delivery.objects.all()], ["delivered"] * 3)
        self.assertEqual((len(calls), len(set(calls)), len(booked)), (2, 1, 3))
        self.assertEqual(Upload.objects.get().takeovers, 1)

    def set_up_account(self, base: str) -> None:
        """Connect Alice's site through the emulator's own sign-in, and store three orders."""
        alice = make_user("alice")
        site = make_site("Harbor & Pine", alice)
        with self.settings(PUBLIC_URL="http://127.0.0.1:8000", **addresses(base)):
            now = timezone.now()
            [account] = add_accounts(connect(site, alice, now), [SEARCH_US], alice, now)
        set_mapping(account, "purchase", Rule(account.goals.get(name="Purchase").goal_id), alice, timezone.now())
        for order in range(3):
            store_event(site, transaction_id=f"HP-{order}", occurred_at=timezone.now() - timedelta(hours=2))

    def sweep(self, base: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run `manage.py sweep` in a process of its own on this test's database."""
        given = {
            **os.environ,
            **addresses(base),
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "DATABASE_URL": database_url(),
            "UPLOAD_LINGER_SECONDS": "0",
            **environment,
        }
        command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "sweep"]
        return subprocess.run(command, env=given, capture_output=True, text=True, check=False, timeout=60)


def addresses(base: str) -> dict[str, str]:
    return {f"MICROSOFT_{name}_URL": base for name in ("LOGIN", "CAMPAIGN", "CUSTOMER")}


def database_url() -> str:
    """Return the address of the test's own database, for another process."""
    given = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{given['NAME']}"
    place = f"{given['HOST']}:{given['PORT']}" if given["PORT"] else given["HOST"]
    return f"postgres://{given['USER']}@{place}/{given['NAME']}"


@contextmanager
def emulator() -> Iterator[str]:
    """Run the emulator in a process of its own on a free port; give its address."""
    command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "emulator", "--port", "0"]
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            match = re.search(r"http://[\d.]+:\d+", line)
            assert match is not None, line
            yield match[0]
        finally:
            process.terminate()


def sent_and_booked(base: str) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the SHA-256 of every upload that Microsoft received, and what it booked."""
    ledger = requests.get(f"{base}/_emulator/ledger.json", params={"account_id": SEARCH_US}, timeout=5).json()
    by_call = {row["tracking_id"]: row["body_sha256"] for row in ledger["received"]}
    return list(by_call.values()), ledger["booked"]
