"""A Microsoft for tests: `with EmulatedMicrosoft() as microsoft:` and the product talks to it, in this process.

Nothing but the transport is replaced, so what is tested is the product's own client, tokens and sign-in. In a test
case, `self.enterContext(EmulatedMicrosoft())`.
"""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING
from unittest import mock
from urllib.parse import parse_qsl, urlsplit

import requests
from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.backends.db import SessionStore
from django.utils import timezone

from ingest.models import Site
from integrations import connecting, microsoft
from integrations.microsoft_ads.emulator.app import Emulator
from integrations.microsoft_ads.emulator.books import Booking, Books, Call
from integrations.microsoft_ads.emulator.faults import FaultQueue
from integrations.microsoft_ads.emulator.wire import Json
from integrations.microsoft_ads.emulator.world import MARKETER, demo_books
from integrations.models import Connection
from tests.support.wsgi_adapter import WSGIAdapter

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

BASE = "http://microsoft.test"


class EmulatedMicrosoft(AbstractContextManager["EmulatedMicrosoft"]):
    """An emulator of its own per `with`. `books` is its state, `faults` what goes wrong next, `paths` what was called.

    Its clock is Django's, so that a test which stops time stops Microsoft's too.
    """

    def __init__(self, books: Books | None = None) -> None:
        self.books = books or demo_books(timezone.now())
        self.books.settings.redirect_uris = (f"{settings.PUBLIC_URL}{microsoft.CALLBACK_PATH}",)
        self._emulator = Emulator(self.books, timezone.now, lambda _seconds: None)
        self.faults: FaultQueue = self._emulator.faults
        self.paths: list[str] = []
        self._adapter = WSGIAdapter(self._app)
        self._seam = mock.patch.object(microsoft, "transport_adapter", return_value=self._adapter)

    def __enter__(self) -> "EmulatedMicrosoft":
        microsoft.forget_sessions()
        self._seam.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._seam.stop()
        microsoft.forget_sessions()

    def fault(self, operation: str, kind: str, times: int = 1, **members: Json) -> None:
        """Make the next `times` calls of an operation (`OfflineConversions/Apply`, `token`, `*`) go wrong in one way.

        `emulator/faults.py` has the kinds and what each takes.
        """
        self.control("faults", {"operation": operation, "fault": kind, "times": times, **members})

    def control(self, name: str, members: dict[str, Json]) -> None:
        """Send one of the emulator's control calls (`expire-tokens`, `revoke`, `goals`, …)."""
        with self._session() as session:
            answer = session.post(f"{BASE}/_emulator/{name}", json=members)
        assert answer.ok, answer.text

    def sign_in(self, url: str, user_name: str = MARKETER, accept: bool = True) -> dict[str, str]:
        """Choose a user on the sign-in page, accept or cancel; return the query that comes back to our callback."""
        with self._session() as session:
            page = session.get(url)
            assert page.ok, page.text
            fields = dict(parse_qsl(urlsplit(url).query))
            answer = session.post(
                url.partition("?")[0],
                data=fields | {"user": user_name, "decision": "accept" if accept else "cancel"},
                allow_redirects=False,
            )
        return dict(parse_qsl(urlsplit(answer.headers["Location"]).query))

    def connect(
        self, site: Site, user: User, user_name: str = MARKETER, session: SessionBase | None = None
    ) -> Connection:
        """Go the whole way from Connect to a connection with tokens that this Microsoft knows."""
        session = session if session is not None else SessionStore()
        now = timezone.now()
        query = self.sign_in(connecting.begin(session, user, site, now), user_name)
        return connecting.finish(session, user, query, now)

    def calls(self, operation: str) -> list[Call]:
        """Return the calls of an operation, in order."""
        return [call for call in self.books.calls if call.operation == operation]

    @property
    def bookings(self) -> list[Booking]:
        """The conversions in Microsoft's books."""
        return self.books.bookings

    @property
    def token_calls(self) -> int:
        """How often tokens were asked for, codes and renewals alike."""
        return sum(path.endswith("/token") for path in self.paths)

    def expire_tokens(self) -> None:
        """End every access token now, leaving refresh tokens alone."""
        self.books.expire_access_tokens(timezone.now())

    def _session(self) -> requests.Session:
        session = requests.Session()
        session.mount("http://", self._adapter)
        return session

    def _app(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        self.paths.append(str(environ["PATH_INFO"]))
        return self._emulator(environ, start_response)
