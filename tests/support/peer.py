"""A peer on loopback that speaks raw bytes, for what a well-behaved server cannot show: silence, resets, trickles."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from socket import SO_LINGER, SOL_SOCKET, create_server, socket
from struct import pack
from threading import Event, Thread

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
BODY = b'{"PartialErrors":[]}'
WHOLE = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY

Behaviour = Callable[[socket, Event], None]


@contextmanager
def peer(*behaviours: Behaviour) -> Iterator[str]:
    """Serve one connection per behaviour on loopback; yield the address."""
    over = Event()
    with create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for behave in behaviours:
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    behave(connection, over)

        thread = Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        over.set()
        thread.join(2)


def take(connection: socket) -> None:
    """Receive one whole request."""
    received = b""
    while not received.endswith(b"]}"):
        received += connection.recv(65_536)


def answering(*pieces: bytes) -> Behaviour:
    """Return a peer that takes the request, says this, and hangs up."""

    def behave(connection: socket, _: Event) -> None:
        take(connection)
        for piece in pieces:
            connection.sendall(piece)

    return behave


def trickling(start: bytes, drop: bytes) -> Behaviour:
    """Return a peer that never falls silent long enough for a timeout, until it hangs up after ten seconds."""

    def behave(connection: socket, over: Event) -> None:
        take(connection)
        connection.sendall(start)
        for _ in range(500):
            if over.wait(0.02):
                return
            connection.sendall(drop)

    return behave


def resetting(connection: socket, _: Event) -> None:
    """Take the request and reset the connection."""
    take(connection)
    connection.setsockopt(SOL_SOCKET, SO_LINGER, pack("ii", 1, 0))


def silent(connection: socket, over: Event) -> None:
    """Take the request and say nothing."""
    take(connection)
    over.wait(10)
