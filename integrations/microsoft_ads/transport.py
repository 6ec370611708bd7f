"""Deadlines, caps, and what a broken connection proves.

`requests` bounds each wait for a byte, and neither the whole exchange nor the size of an answer. Both are bounded here:
a timer cuts the connection of an answer that trickles past its deadline, and no body is read past 8 MiB.
"""

import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from socket import SHUT_RDWR
from threading import TIMEOUT_MAX, Timer

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import (
    ConnectTimeoutError,
    DecodeError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
    ReadTimeoutError,
)

from integrations.microsoft_ads.endpoints import is_loopback
from integrations.microsoft_ads.errors import ConnectionFailed, MicrosoftAdsError, NoAnswer, UnexpectedAnswer, WhatToDo

CONNECT_TIMEOUT_SECONDS = 10.0
MAX_ANSWER_BYTES = 8 * 1024 * 1024  # 1,000 refusals of a few hundred bytes each are far below one
_PIECE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment on the monotonic clock by which an exchange has to be over."""

    ends_at: float

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        """Return the deadline that many seconds from now."""
        return cls(time.monotonic() + seconds)

    @property
    def seconds_left(self) -> float:
        """Return what is left, never less than zero."""
        return max(0.0, self.ends_at - time.monotonic())

    @property
    def timeouts(self) -> tuple[float, float]:
        """Return requests' pair of timeouts. It refuses zero, so an exchange that is over gets a moment to fail."""
        left = max(0.001, self.seconds_left)
        return min(CONNECT_TIMEOUT_SECONDS, left), left


def open_session() -> requests.Session:
    """Return a session whose connections are cut when the head of an answer outlasts the read timeout."""
    session = requests.Session()
    session.mount("https://", WatchedAdapter())
    session.mount("http://", WatchedAdapter())
    return session


class WatchedAdapter(HTTPAdapter):
    """An HTTPAdapter that gives the whole head of an answer as much time as requests gives to each of its bytes."""

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: object) -> None:
        super().init_poolmanager(connections, maxsize, block, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _WatchedHTTPPool, "https": _WatchedHTTPSPool}


def send(session: requests.Session, request: requests.PreparedRequest, deadline: Deadline) -> requests.Response:
    """Send a request once and return its streamed answer; redirects are not followed.

    Raises ConnectionFailed if nothing can have been taken, else NoAnswer.
    """
    failure: MicrosoftAdsError
    try:
        settings = session.merge_environment_settings(request.url, {}, True, None, None)
        if is_loopback(str(request.url)):
            settings["proxies"] = {}  # an emulator here is not where the environment's proxy would look for it
        return session.send(request, timeout=deadline.timeouts, allow_redirects=False, **settings)
    except requests.RequestException as error:
        failure = connection_error(error)
    raise failure  # outside, so that it does not carry the error, which holds the request and with it the token


def read_body(response: requests.Response, deadline: Deadline) -> bytes:
    """Read a streamed answer to its end, decoded, and close it.

    Raises NoAnswer when it stops short, breaks off or outlasts the deadline; UnexpectedAnswer when it is larger than
    8 MiB or not encoded as it claims.
    """
    try:
        with closing(response), _cutting_after(deadline.seconds_left, lambda: response.raw.shutdown()):
            body = b"".join(_capped(response))
    except DecodeError:
        raise _unexpected(response, "The answer is not encoded as it says") from None
    except (HTTPError, requests.RequestException, OSError) as error:
        raise _no_answer(error, response.status_code) from None
    if not deadline.seconds_left:  # a cut connection can look like a body's proper end
        raise NoAnswer(
            "The answer did not end in time",
            what_to_do=WhatToDo.RETRY,
            outcome_unknown=True,
            http_status=response.status_code,
        )
    return body


def connection_error(error: requests.RequestException) -> MicrosoftAdsError:
    """Say what a failed exchange proves: ConnectionFailed if nothing can have been taken, else NoAnswer."""
    if any(isinstance(cause, _NEVER_REACHED) for cause in _causes(error)):
        return ConnectionFailed(f"Microsoft could not be reached ({type(error).__name__})", what_to_do=WhatToDo.RETRY)
    return _no_answer(error, None)


def retry_after_seconds(response: requests.Response) -> float | None:
    """Return how long Microsoft asks us to wait, at most a day, or None if it does not say so clearly.

    A date is measured against the answer's own `Date`, as our clock may differ from theirs.
    """
    wish = response.headers.get("Retry-After", "").strip()
    if wish.isascii() and wish.isdigit():
        return min(float(wish[:9]), _DAY_SECONDS)
    try:
        wait = parsedate_to_datetime(wish) - parsedate_to_datetime(response.headers.get("Date", ""))
    except (ValueError, TypeError):  # TypeError: one has a zone and the other none
        return None
    return min(max(wait.total_seconds(), 0.0), _DAY_SECONDS)


class _WatchedHTTPConnection(HTTPConnection):
    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]  # as in urllib3
        with _cutting_after(self.timeout, lambda: self.sock.shutdown(SHUT_RDWR)):
            return super().getresponse()


class _WatchedHTTPSConnection(HTTPSConnection):
    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]  # as in urllib3
        with _cutting_after(self.timeout, lambda: self.sock.shutdown(SHUT_RDWR)):
            return super().getresponse()


class _WatchedHTTPPool(HTTPConnectionPool):
    ConnectionCls = _WatchedHTTPConnection


class _WatchedHTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _WatchedHTTPSConnection


@contextmanager
def _cutting_after(seconds: float | None, cut: Callable[[], None]) -> Iterator[None]:
    def cut_quietly() -> None:
        with suppress(AttributeError, ValueError, OSError):  # closed by now, or an answer without a socket
            cut()

    timer = Timer(TIMEOUT_MAX if seconds is None else seconds, cut_quietly)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


_DAY_SECONDS = 86_400.0
_NEVER_REACHED = (
    NameResolutionError,
    NewConnectionError,
    ConnectTimeoutError,
    ssl.SSLCertVerificationError,
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidProxyURL,
    ProxyError,
)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it was made of: urllib3 wraps in `reason`, requests in `args`.

    Not its context: that may be an earlier exchange, when the caller is handling one.
    """
    seen: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        cause = waiting.pop()
        if isinstance(cause, BaseException) and not any(cause is other for other in seen):
            seen.append(cause)
            waiting += [*cause.args, getattr(cause, "reason", None), cause.__cause__]
            yield cause


def _capped(response: requests.Response) -> Iterator[bytes]:
    size = 0
    for piece in _pieces(response):
        size += len(piece)
        if size > MAX_ANSWER_BYTES:
            raise _unexpected(response, "The answer is larger than 8 MiB")
        yield piece


def _pieces(response: requests.Response) -> Iterator[bytes]:
    raw = response.raw
    if not isinstance(raw, urllib3.HTTPResponse):  # an adapter without sockets
        yield from response.iter_content(_PIECE_BYTES)
        return
    # read1 returns what has come; read and stream would wait for a whole piece.
    while piece := raw.read1(_PIECE_BYTES, decode_content=True):
        yield piece


def _unexpected(response: requests.Response, message: str) -> UnexpectedAnswer:
    return UnexpectedAnswer(
        message, what_to_do=WhatToDo.UNKNOWN, outcome_unknown=True, http_status=response.status_code
    )


def _no_answer(error: Exception, http_status: int | None) -> NoAnswer:
    is_late = any(isinstance(cause, ReadTimeoutError | TimeoutError) for cause in _causes(error))
    message = "No answer in time" if is_late else f"The connection broke before a whole answer ({type(error).__name__})"
    return NoAnswer(message, what_to_do=WhatToDo.RETRY, outcome_unknown=True, http_status=http_status)
