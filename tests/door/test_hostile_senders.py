"""Slow and hostile senders against the real server: each gets its answer or none, and nobody else notices."""

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from tests.door.cases import DoorTestCase
from tests.door.senders import Sender, page, purchase
from tests.door.serving import Web

BODY_SECONDS = 10
IDLERS = 200
PATIENCE_SECONDS = 20.0
KIBIBYTE = 1024


class HostileSenderTests(DoorTestCase):
    """What is wrong with each sender differs; that the server lives on and logs no error is true of all."""

    def test_nobody_takes_the_server_from_the_others(self) -> None:
        with self.web("--workers", "1") as web:
            for offend in (self.garbage, self.half_a_body, self.endless_chunks, self.too_much, self.slow_and_idle):
                with self.subTest(offend.__name__):
                    offend(web)
                    self.assert_serves(web)
            self.assertEqual(web.errors(), [])
        self.assertEqual([each for each in self.stored() if each.startswith("half")], [])

    def garbage(self, web: Web) -> None:
        for rubbish in (
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"GET\r\n\r\n",
            os.urandom(KIBIBYTE),
            b"\0" * KIBIBYTE,
        ):
            with calling(web) as caller:
                caller.sendall(rubbish + b"\r\n\r\n")
                self.assertIn(status(caller), (400, None))

    def half_a_body(self, web: Web) -> None:
        body = self.body("half")
        with calling(web) as caller:
            caller.sendall(self.head(f"Content-Length: {len(body)}") + body[: len(body) // 2])

    def endless_chunks(self, web: Web) -> None:
        chunk = b"ffff\r\n" + b" " * 0xFFFF + b"\r\n"
        with calling(web) as caller:
            caller.sendall(self.head("Transfer-Encoding: chunked"))
            with suppress(ConnectionError):
                for _ in range(40):
                    caller.sendall(chunk)
            self.assertEqual(status(caller), 413)

    def too_much(self, web: Web) -> None:
        with calling(web) as caller:
            caller.sendall(self.head(f"Content-Length: {10**12}"))
            self.assertEqual(status(caller), 413)

    def slow_and_idle(self, web: Web) -> None:
        """Send a body byte by byte, beside connections on which nothing is sent; others are served meanwhile."""
        with ExitStack() as stack:
            slow, *_ = (stack.enter_context(calling(web)) for _ in range(1 + IDLERS))
            began = time.monotonic()
            slow.sendall(self.head("Content-Length: 1000000"))
            while time.monotonic() - began < BODY_SECONDS - 1:
                slow.sendall(b" ")
                self.assert_serves(web)
            self.assertEqual(status(slow), 408)
            self.assertLess(time.monotonic() - began, BODY_SECONDS + 8)
            self.assertEqual(slow.recv(1), b"")  # else it would hold its connection for as long as it sends

    def test_requests_sent_before_the_first_is_answered_are_answered_in_their_order(self) -> None:
        bodies = [self.body("one"), b"no JSON", self.body("two")]
        asked = b"".join(self.head(f"Content-Length: {len(body)}") + body for body in bodies)
        with self.web("--workers", "1") as web, calling(web) as caller:
            caller.sendall(asked)
            self.assertEqual([status(caller) for _ in bodies], [202, 400, 202])
            self.assertEqual(web.errors(), [])
        self.assertEqual(sorted(self.stored()), ["one", "two"])

    def assert_serves(self, web: Web) -> None:
        """Assert that a page's event is taken at once."""
        with Sender(page(web.port, self.site.write_key)) as sender:
            told = sender.post(f"served-{time.monotonic_ns()}")
        self.assertEqual(told.status, 202)
        self.assertLess(told.seconds, 5)

    def head(self, length: str) -> bytes:
        lines = ["POST /v1/events HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {self.secret}"]
        return "\r\n".join([*lines, "Content-Type: application/json", length, "", ""]).encode()

    def body(self, event_id: str) -> bytes:
        return json.dumps({"events": [purchase(event_id)]}).encode()


@contextmanager
def calling(web: Web) -> Iterator[socket.socket]:
    """Open a connection on which anything may be sent."""
    with socket.create_connection(("127.0.0.1", web.port), PATIENCE_SECONDS) as caller:
        yield caller


def status(caller: socket.socket) -> int | None:
    """Read one answer to its end and return its status; None when there is none."""
    answer = b""
    with suppress(ConnectionError):
        while b"\r\n\r\n" not in answer:
            if not (piece := caller.recv(1)):
                return None
            answer += piece
        head = answer.decode("latin-1").lower()
        left = int(head.partition("content-length:")[2].split()[0]) if "content-length:" in head else 0
        while left and (piece := caller.recv(left)):
            left -= len(piece)
    return int(answer.split()[1]) if answer else None
