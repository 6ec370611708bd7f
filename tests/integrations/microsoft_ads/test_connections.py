"""What a connection that breaks, stalls or trickles proves about the rows it carried."""

import os
import time
from socket import create_server, socket
from threading import Event
from unittest.mock import patch

from django.test import SimpleTestCase

from integrations.microsoft_ads.errors import ConnectionFailed, MicrosoftAdsError, NoAnswer, WhatToDo
from tests.integrations.microsoft_ads.canned import PURCHASE, make_client
from tests.support.peer import BODY, HEAD, WHOLE, Behaviour, answering, peer, resetting, silent, trickling

DEADLINE_SECONDS = 0.25
SOON = 5  # on a busy machine; the peer goes on for ten


def send_to(base: str, timeout_seconds: float = DEADLINE_SECONDS) -> MicrosoftAdsError | None:
    """Send a row to an address; return the error, None if it was accepted."""
    try:
        make_client(base, timeout_seconds=timeout_seconds).apply_offline_conversions([PURCHASE])
    except MicrosoftAdsError as error:
        return error
    return None


class BrokenConnectionTests(SimpleTestCase):
    def assert_outcome_unknown(self, behaviour: Behaviour) -> None:
        started = time.monotonic()
        with peer(behaviour) as base:
            error = send_to(base)
        self.assertIsInstance(error, NoAnswer)
        assert error
        self.assertEqual((error.outcome_unknown, error.what_to_do), (True, WhatToDo.RETRY))
        self.assertLess(time.monotonic() - started, SOON)

    def test_silence_after_sending(self) -> None:
        self.assert_outcome_unknown(silent)

    def test_a_reset_after_sending(self) -> None:
        self.assert_outcome_unknown(resetting)

    def test_a_hang_up_without_a_word(self) -> None:
        self.assert_outcome_unknown(answering())

    def test_a_body_shorter_than_promised(self) -> None:
        self.assert_outcome_unknown(answering(HEAD + b"Content-Length: 500\r\n\r\n" + BODY))

    def test_chunks_that_do_not_end(self) -> None:
        self.assert_outcome_unknown(answering(HEAD + b"Transfer-Encoding: chunked\r\n\r\n14\r\n" + BODY))

    def test_a_body_that_trickles_past_the_deadline(self) -> None:
        self.assert_outcome_unknown(trickling(HEAD + b"Content-Length: 100000\r\n\r\n", b" "))

    def test_a_body_without_length_that_trickles_past_the_deadline(self) -> None:
        self.assert_outcome_unknown(trickling(HEAD + b"\r\n" + BODY, b" "))

    def test_a_head_that_trickles_past_the_deadline(self) -> None:
        self.assert_outcome_unknown(trickling(HEAD + b"X-Endless: ", b"x"))

    def test_what_is_not_http(self) -> None:
        self.assert_outcome_unknown(answering(b"220 mail.example ESMTP\r\n"))


class UnreachedTests(SimpleTestCase):
    def test_a_closed_port_took_nothing(self) -> None:
        with create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        error = send_to(f"http://127.0.0.1:{port}")
        self.assertIsInstance(error, ConnectionFailed)
        assert error
        self.assertEqual((error.outcome_unknown, error.what_to_do), (False, WhatToDo.RETRY))

    def test_an_earlier_failure_proves_nothing_about_a_later_one(self) -> None:
        with create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        with peer(resetting) as base:
            try:
                make_client(f"http://127.0.0.1:{port}").get_user()
            except ConnectionFailed:
                error = send_to(base)
        self.assertIsInstance(error, NoAnswer)


class WholeConnectionTests(SimpleTestCase):
    def test_a_whole_answer_is_read(self) -> None:
        with peer(answering(WHOLE)) as base:
            self.assertIsNone(send_to(base, 5))

    def test_an_answer_in_small_pieces_is_read(self) -> None:
        with peer(answering(*(bytes([byte]) for byte in WHOLE))) as base:
            self.assertIsNone(send_to(base, 5))

    def test_a_chunked_answer_is_read(self) -> None:
        chunks = HEAD + b"Transfer-Encoding: chunked\r\n\r\n14\r\n" + BODY + b"\r\n0\r\n\r\n"
        with peer(answering(chunks)) as base:
            self.assertIsNone(send_to(base, 5))

    def test_a_proxy_of_the_environment_is_not_asked_for_an_emulator_here(self) -> None:
        with patch.dict(os.environ, http_proxy="http://127.0.0.1:1", no_proxy=""), peer(answering(WHOLE)) as base:
            self.assertIsNone(send_to(base, 5))

    def test_one_connection_serves_many_calls(self) -> None:
        def twice(connection: socket, over: Event) -> None:
            answering(WHOLE)(connection, over)
            answering(WHOLE)(connection, over)

        with peer(twice) as base:
            client = make_client(base)
            for _ in range(2):
                self.assertTrue(client.apply_offline_conversions([PURCHASE]).items[0].accepted)
