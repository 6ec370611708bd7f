"""Serves the emulator on a loopback port with waitress: threads, keep-alive, an end at once."""

import ipaddress
import signal
import socket
import threading
from contextlib import suppress
from types import FrameType
from typing import NoReturn

from waitress.server import create_server
from waitress.wasyncore import close_all

from integrations.microsoft_ads.emulator.app import MAX_BODY, create_app, now_utc
from integrations.microsoft_ads.emulator.books import Books

THREADS = 16
SHUTDOWN_SECONDS = 2


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine only. Names other than localhost are not looked up."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises OSError when the port is taken, OverflowError when there is no such port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host.strip("[]"), port))
        bound.listen(1024)
    except (OSError, OverflowError):
        bound.close()
        raise
    return bound


class Server:
    """One emulator on one socket. `run` serves until `stop`, from any thread."""

    def __init__(self, books: Books, bound: socket.socket) -> None:
        self.books = books
        self._stopping = threading.Event()
        app = create_app(books, now_utc, self._stopping.wait)
        self._channels: dict[int, object] = {}
        self._server = create_server(
            app,
            map=self._channels,
            sockets=[bound],
            threads=THREADS,
            max_request_body_size=MAX_BODY,
            # Without this, waitress answers 500 where the emulator drops a connection.
            log_socket_errors=False,
            clear_untrusted_proxy_headers=True,
            ident="emulator",
        )
        self.port = int(bound.getsockname()[1])

    def run(self) -> None:
        self._server.run()
        self._server.task_dispatcher.shutdown(timeout=SHUTDOWN_SECONDS)

    def stop(self) -> None:
        """End `run` from another thread, waits included; calls that are being answered are broken off."""
        self._stopping.set()
        # The loop ends when it has no channels left, and only its own thread may close them.
        with suppress(OSError):  # it has ended by itself meanwhile
            self._server.trigger.pull_trigger(lambda: close_all(self._channels))

    def run_until_signalled(self) -> None:
        """Serve until SIGTERM or Ctrl-C. For the main thread of a process."""

        def leave(_signal: int, _frame: FrameType | None) -> NoReturn:
            self._stopping.set()
            raise SystemExit(0)

        signal.signal(signal.SIGTERM, leave)
        signal.signal(signal.SIGINT, leave)
        self.run()
