"""The programs of docs/examples do what they say, each against a running server, and count nothing twice."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
import unittest
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests
from django.conf import settings
from django.test import SimpleTestCase, TransactionTestCase

from ingest.hashing import hash_email, hash_phone
from ingest.models import Adjustment, Event, ServerKey, Site
from tests.cast import make_site, make_user
from tests.road.test_crashes import web

EXAMPLES = settings.BASE_DIR / "docs" / "examples"
PAGE = (settings.BASE_DIR / "docs" / "ingest-api.md").read_text(encoding="utf-8")
RUNTIMES = {
    "orders.sh": "sh",
    "orders.py": sys.executable,
    "orders_plain.py": sys.executable,
    "orders.mjs": "node",
    "orders.php": "php",
}
NOBODY = "http://127.0.0.1:9"  # discard: the server must not reach Microsoft
SAID = """order-1042-paid: {first}
order-1043-paid: accepted
order-1044-paid: refused
  events[1].currency: Write it in capital letters: EUR.
1042-returned-one: accepted
not planned yet
"""


class RoughRoad(ThreadingHTTPServer):
    """A proxy that hands the first request on and loses its answer, refuses the second, and lets the others through."""

    def __init__(self, server: str) -> None:
        super().__init__(("127.0.0.1", 0), _Hop)
        self.server, self.came = server, list[float]()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Hop(BaseHTTPRequestHandler):
    server: RoughRoad

    def do_GET(self) -> None:
        self._hand_on()

    def do_POST(self) -> None:
        self._hand_on()

    def _hand_on(self) -> None:
        self.server.came.append(time.monotonic())
        turn = len(self.server.came)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if turn == 2:
            self._answer(429, b"{}", "0")
            return
        headers = {name: self.headers[name] for name in ("Authorization", "Content-Type") if name in self.headers}
        answer = requests.request(self.command, self.server.server + self.path, data=body, headers=headers, timeout=30)
        if turn == 1:
            self._answer(503, b"{}", "1")
        else:
            self._answer(answer.status_code, answer.content)

    def _answer(self, status: int, body: bytes, retry_after: str = "") -> None:
        self.send_response(status)
        if retry_after:
            self.send_header("Retry-After", retry_after)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        """Keep the suite's output clean."""


@contextmanager
def rough_road(server: str) -> Iterator[RoughRoad]:
    """Put the proxy before a server."""
    with RoughRoad(server) as road:
        thread = threading.Thread(target=road.serve_forever)
        thread.start()
        try:
            yield road
        finally:
            road.shutdown()
            thread.join()


class ExampleTests(TransactionTestCase):
    def setUp(self) -> None:
        _, self.address = self.enterContext(web(NOBODY))

    def test_each_does_what_it_says(self) -> None:
        for name in RUNTIMES:
            with self.subTest(name):
                site, secret = self.open(name)
                self.check(name, self.run_example(name, self.address, secret), "accepted")
                self.check_rows(site)

    def test_each_sends_the_same_again_when_it_is_told_to(self) -> None:
        for name in RUNTIMES:
            with self.subTest(name), rough_road(self.address) as road:
                site, secret = self.open(name)
                said = self.run_example(name, road.address, secret)
                self.check(name, said, "duplicate")
                self.check_rows(site)
                self.assertGreaterEqual(road.came[1] - road.came[0], 0.99)  # as Retry-After said

    def test_each_ends_with_what_was_wrong(self) -> None:
        for name in RUNTIMES:
            with self.subTest(name):
                _, secret = self.open(name)
                ended = self.execute(name, self.address, f"{secret[:-4]}none")
                self.assertNotEqual(ended.returncode, 0)
                self.assertIn("A server key is needed", ended.stdout + ended.stderr)

    def open(self, name: str) -> tuple[Site, str]:
        """Return a site of its own and its server key."""
        if shutil.which(RUNTIMES[name]) is None and "CI" not in os.environ:
            raise unittest.SkipTest(f"{RUNTIMES[name]} is not installed")
        site = make_site(name, make_user(name))
        return site, ServerKey.objects.mint(site)[1]

    def run_example(self, name: str, address: str, secret: str) -> str:
        """Run a program to its good end; return what it printed."""
        ended = self.execute(name, address, secret)
        self.assertEqual(ended.returncode, 0, ended.stdout + ended.stderr)
        return ended.stdout

    def execute(self, name: str, address: str, secret: str) -> "subprocess.CompletedProcess[str]":
        given = {"PATH": os.environ["PATH"], "CONVULTRA_URL": address, "CONVULTRA_SERVER_KEY": secret}
        command = [RUNTIMES[name], str(EXAMPLES / name)]
        return subprocess.run(command, env=given, capture_output=True, text=True, check=False, timeout=600)

    def check(self, name: str, said: str, first: str) -> None:
        """Check what was printed; the shell prints the answers themselves."""
        if name != "orders.sh":
            self.assertEqual(said, SAID.format(first=first))
            return
        answers = [json.loads(line) for line in said.replace("}{", "}\n{").splitlines() if line not in ("", "{}")]
        told = [result["status"] for answer in answers for result in answer.get("results", ())]
        self.assertEqual(told, [first, "accepted", "refused", "accepted"])
        self.assertEqual(answers[-1]["event_id"], "order-1042-paid")

    def check_rows(self, site: Site) -> None:
        """Check that the database holds two orders and a correction, and the buyer hashed."""
        paid, other = Event.objects.filter(site=site).order_by("event_id")
        self.assertEqual((paid.value, paid.currency, other.transaction_id), (Decimal("79.990"), "EUR", "1043"))
        self.assertEqual(paid.email_sha256, hash_email("jane@example.com"))
        self.assertEqual(paid.phone_sha256, hash_phone("(425) 555-1234", "US"))
        self.assertEqual(Adjustment.objects.get(site=site).value, Decimal("59.990"))


class PageTests(SimpleTestCase):
    def test_the_page_shows_every_example_as_it_is(self) -> None:
        for path in EXAMPLES.iterdir():
            self.assertIn(path.name, RUNTIMES)
            self.assertIn(f"\n{path.read_text(encoding='utf-8')}```\n", PAGE, path.name)
