"""What a crash leads to at each place where it hurts most: real processes, a real socket, a real SIGKILL."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import requests
from django.conf import settings
from django.test import TransactionTestCase
from django.utils import timezone

from convultra import failpoints
from dashboard.demo.seeding import connect
from forwarding.models import Attempt, DailyCount, Delivery, Upload
from forwarding.rows.counts import rebuild
from ingest.models import Event, ServerKey, Site
from integrations.connecting import add_accounts
from integrations.mapping import Rule, set_mapping
from integrations.microsoft_ads.emulator.books import Books
from integrations.microsoft_ads.emulator.books import Settings as Microsofts
from integrations.microsoft_ads.emulator.server import Server, bind
from integrations.microsoft_ads.emulator.world import SEARCH_US, demo_books
from integrations.models import Connection
from tests.cast import make_site, make_user, store_event
from tests.support.databases import database_url

ORDERS = 3
APPLY = "OfflineConversions/Apply"


class CrashTestCase(TransactionTestCase):
    """Alice's site, connected to a Microsoft on a socket, with three orders stored and nothing planned."""

    books: Books
    site: Site

    def setUp(self) -> None:
        self.base, self.books = self.enterContext(microsoft())
        self.enterContext(self.settings(PUBLIC_URL="http://127.0.0.1:8000", **addresses(self.base)))
        alice = make_user("alice")
        self.site = make_site("Harbor & Pine", alice)
        now = timezone.now()
        [account] = add_accounts(connect(self.site, alice, now), [SEARCH_US], alice, now)
        set_mapping(account, "purchase", Rule(account.goals.get(name="Purchase").goal_id), alice, now)
        for order in range(ORDERS):
            store_event(self.site, transaction_id=f"HP-{order}", occurred_at=now - timedelta(hours=2))

    def die(self, failpoint: str) -> None:
        """Run `manage.py sweep` up to a failpoint."""
        died = self._sweep(FAILPOINT=failpoint)
        self.assertEqual(died.returncode, -signal.SIGKILL, died.stderr)

    def go_on(self) -> None:
        """Run `manage.py sweep` once the dead process's leases have ended."""
        Upload.objects.update(leased_until=timezone.now())
        Connection.objects.update(refreshing_until=None)
        ended = self._sweep()
        self.assertEqual(ended.returncode, 0, ended.stderr)

    def _sweep(self, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "sweep"]
        given = on_this_database(self.base) | environment
        return subprocess.run(command, env=given, capture_output=True, text=True, check=False, timeout=600)

    def assert_untouched(self) -> None:
        """Assert that no delivery was marked in any way."""
        self.assertEqual(set(Delivery.objects.values_list("status", "attempts")), {("pending", 0)})
        self.assertEqual(Attempt.objects.count(), 0)
        self.assert_counted()

    def assert_delivered_once(self) -> None:
        """Assert that every order is delivered, and booked by Microsoft once."""
        statuses = Delivery.objects.order_by("transaction_id").values_list("transaction_id", "status")
        self.assertEqual(list(statuses), [(f"HP-{order}", "delivered") for order in range(ORDERS)])
        self.assertEqual(len(self.books.bookings), ORDERS)
        self.assert_counted()

    def assert_counted(self) -> None:
        """Assert that the roll-up is what counting anew gives."""
        kept = counts()
        rebuild(timezone.now())
        self.assertEqual(kept, counts())

    def calls(self, operation: str = APPLY) -> list[str]:
        """Return the SHA-256 of each call's body, in order."""
        return [call.body_sha256 for call in self.books.calls if call.operation == operation]


class TestKilledBeforeTheAnswer(CrashTestCase):
    def test_what_was_committed_is_told_a_repeat_and_stored_once(self) -> None:
        _, secret = ServerKey.objects.mint(self.site)
        purchase = {"name": "purchase", "event_id": str(uuid.uuid4()), "value": "49.90", "currency": "USD"}
        told: dict[str, Any] = {"json": {"events": [purchase]}, "headers": {"Authorization": f"Bearer {secret}"}}
        with web(self.base, FAILPOINT=failpoints.AFTER_INGEST) as (process, address):
            with self.assertRaises(requests.ConnectionError):
                requests.post(f"{address}/v1/events", timeout=30, **told)
            self.assertEqual(process.wait(30), -signal.SIGKILL)
        with web(self.base) as (_, address):
            again = requests.post(f"{address}/v1/events", timeout=30, **told)
        self.assertEqual((again.status_code, again.json()["results"][0]["status"]), (202, "duplicate"))
        self.assertEqual(Event.objects.filter(event_id=purchase["event_id"]).count(), 1)


class TestKilledWhilePlanning(CrashTestCase):
    def test_nothing_is_half_planned_and_each_order_is_planned_once(self) -> None:
        self.die(failpoints.HALF_PLANNED)
        self.assertEqual((Delivery.objects.count(), DailyCount.objects.count()), (0, 0))
        self.assertEqual(Event.objects.unplanned().count(), ORDERS)
        self.go_on()
        self.assert_delivered_once()


class TestKilledBetweenClaimAndSend(CrashTestCase):
    def test_the_next_worker_sends_what_was_claimed(self) -> None:
        self.die(failpoints.AFTER_CLAIM)
        self.assert_untouched()
        self.assertEqual(self.calls(), [])
        self.go_on()
        self.assert_delivered_once()
        self.assertEqual((len(self.calls()), Upload.objects.get().takeovers), (1, 1))


class TestKilledBetweenSendAndMark(CrashTestCase):
    def test_the_same_bytes_go_out_again_and_are_booked_once(self) -> None:
        self.die(failpoints.AFTER_SEND)
        self.assert_untouched()
        self.go_on()
        self.assert_delivered_once()
        self.assertEqual((len(self.calls()), len(set(self.calls()))), (2, 1))
        self.assertEqual(Upload.objects.get().takeovers, 1)


class TestKilledWhileMarking(CrashTestCase):
    def test_no_row_is_marked_without_the_others(self) -> None:
        fault = {"operation": APPLY, "fault": "partial_error", "indexes": [0], "code": 5612}
        requests.post(f"{self.base}/_emulator/faults", json=fault, timeout=30).raise_for_status()
        self.die(failpoints.HALF_MARKED)
        self.assert_untouched()
        self.assertEqual(len(self.books.bookings), ORDERS - 1)
        self.go_on()
        self.assert_delivered_once()


class TestKilledBetweenTokensAndSaving(CrashTestCase):
    def test_the_old_pair_still_works_and_nobody_has_to_sign_in_again(self) -> None:
        Connection.objects.update(expires_at=timezone.now() - timedelta(minutes=1))
        self.die(failpoints.AFTER_TOKENS)
        self.assert_untouched()
        self.go_on()
        self.assert_delivered_once()
        self.assertEqual(Connection.objects.get().status, Connection.Status.CONNECTED)
        self.assertEqual(len(self.calls("token")), 3)  # the sign-in, the renewal that was lost, and another one

    def test_a_microsoft_that_forgets_used_tokens_asks_for_a_sign_in_and_loses_nothing(self) -> None:
        self.books.settings.strict_rotation = True
        Connection.objects.update(expires_at=timezone.now() - timedelta(minutes=1))
        self.die(failpoints.AFTER_TOKENS)
        self.go_on()
        self.assertEqual(Connection.objects.get().status, Connection.Status.NEEDS_RECONNECT)
        self.assert_untouched()


def counts() -> list[tuple[object, ...]]:
    """Return the roll-up, but for rows that count nothing any more."""
    rows = DailyCount.objects.order_by("account", "day", "goal_name", "status", "currency")
    return list(
        rows.exclude(count=0, value=0).values_list(
            "account", "day", "goal_name", "status", "currency", "count", "value"
        )
    )


def addresses(base: str) -> dict[str, str]:
    return {f"MICROSOFT_{name}_URL": base for name in ("LOGIN", "CAMPAIGN", "CUSTOMER")}


def on_this_database(base: str) -> dict[str, str]:
    """Return the environment of a process on this test's database that talks to the Microsoft at `base`."""
    return {
        **os.environ,
        **addresses(base),
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "DATABASE_URL": database_url(),
        "UPLOAD_LINGER_SECONDS": "0",
    }


@contextmanager
def microsoft() -> Iterator[tuple[str, Books]]:
    """Serve an emulator on a free port, in a thread; give its address and its books."""
    books = demo_books(timezone.now(), Microsofts())
    server = Server(books, bind("127.0.0.1", 0))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}", books
    finally:
        server.stop()
        thread.join(10)


@contextmanager
def web(base: str, **environment: str) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """Run `manage.py web` as one process on a free port; give it and its address once it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "web", "--port", str(port), "--workers", "1"]
    with subprocess.Popen(command, env=on_this_database(base) | environment) as process:
        try:
            until_it_answers(f"http://127.0.0.1:{port}/healthz")
            yield process, f"http://127.0.0.1:{port}"
        finally:
            process.kill()


def until_it_answers(address: str) -> None:
    give_up = time.monotonic() + 30
    while time.monotonic() < give_up:
        with suppress(requests.ConnectionError):
            requests.get(address, timeout=30).raise_for_status()
            return
        time.sleep(0.05)
    raise AssertionError(f"Nothing answered at {address}.")
