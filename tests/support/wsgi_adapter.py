"""Carries requests to a WSGI program in this process: `session.mount("http://microsoft.test", WSGIAdapter(app))`.

About 0.1 ms a call, against 1.2 ms over loopback. What happens on a socket happens here as the same exceptions of
`requests`: a dropped connection, a body cut short, a wait beyond the read timeout. Nobody sleeps.
"""

from collections.abc import Mapping
from io import BytesIO
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPHeaderDict, HTTPResponse

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment


class WSGIAdapter(HTTPAdapter):
    """A transport adapter whose other end is a WSGI callable."""

    def __init__(self, app: "WSGIApplication") -> None:
        super().__init__()
        self._app = app

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: float | tuple[float, float] | tuple[float, None] | None = None,
        verify: bool | str = True,
        cert: bytes | str | tuple[bytes | str, bytes | str] | None = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Answer a request. Raises ConnectionError, ReadTimeout, and on reading a short body ChunkedEncodingError."""
        started: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], _exc_info: object = None) -> "_Write":
            started.append((status, headers))
            return _refuse_to_write

        try:
            body = b"".join(self._app(_environ(request, timeout), start_response))
        except TimeoutError as error:
            raise requests.ReadTimeout(error, request=request) from error
        except ConnectionError as error:
            raise requests.ConnectionError(error, request=request) from error
        status, headers = started[0]
        code, _, reason = status.partition(" ")
        raw = HTTPResponse(BytesIO(body), HTTPHeaderDict(headers), int(code), reason=reason, preload_content=False)
        return self.build_response(request, raw)


class _Write:
    def __call__(self, _data: bytes) -> None:
        raise NotImplementedError("The program is to return its body.")


_refuse_to_write = _Write()


def _environ(request: requests.PreparedRequest, timeout: object) -> "WSGIEnvironment":
    body = request.body or b""
    raw = body.encode() if isinstance(body, str) else bytes(body)
    parts = urlsplit(str(request.url))
    environ: WSGIEnvironment = {
        "REQUEST_METHOD": str(request.method),
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote(parts.path, "latin-1"),
        "QUERY_STRING": parts.query,
        "CONTENT_TYPE": request.headers.get("Content-Type", ""),
        "CONTENT_LENGTH": str(len(raw)),
        "SERVER_NAME": parts.hostname or "",
        "SERVER_PORT": str(parts.port or 80),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": parts.scheme,
        "wsgi.input": BytesIO(raw),
        "wsgi.errors": None,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "emulator.sleep": _Patience(timeout),
    }
    for name, value in request.headers.items():
        if name.lower() not in ("content-type", "content-length"):
            environ[f"HTTP_{name.upper().replace('-', '_')}"] = (
                value if isinstance(value, str) else value.decode("latin-1")
            )
    return environ


class _Patience:
    """Waits no time at all, and gives up where a socket's reader would."""

    def __init__(self, timeout: object) -> None:
        read_timeout = timeout[1] if isinstance(timeout, tuple) else timeout
        self._seconds = read_timeout if isinstance(read_timeout, int | float) else None

    def __call__(self, seconds: float) -> None:
        if self._seconds is not None and seconds >= self._seconds:
            raise TimeoutError(f"no answer within {self._seconds} s")
