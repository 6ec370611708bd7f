"""The world behind a server of its own, with a clock that stands still, and its people's sessions."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from types import SimpleNamespace
from unittest import mock

from allauth.mfa.totp.internal import auth as totp
from django.conf import settings
from django.http import HttpResponseBase
from django.test import Client, override_settings
from django.utils import timezone
from playwright.sync_api import Browser, BrowserContext
from pytest_django.live_server_helper import LiveServer

from tests.pages.routes import Route, routes
from tests.pages.world import World, build
from tests.support.microsoft import EmulatedMicrosoft
from tests.support.signing_in import work_on_ticket

# A Saturday afternoon in Chicago, where Harbor & Pine is.
NOW = datetime(2026, 11, 21, 20, 32, 8, tzinfo=UTC)
BACKEND = "allauth.account.auth_backends.AuthenticationBackend"
# States that no address shows by itself: a name, the route, what differs from the world's own row, the query.
STATES: tuple[tuple[str, str, dict[str, str], str], ...] = (
    ("logs-failed", "account-logs", {}, "?status=failed"),
    ("logs-no-match", "account-logs", {}, "?q=no-such-order"),
    ("reconciliation-us", "reconciliation", {}, "?account=138204417"),
    ("account-paused", "account-overview", {"account_id": "138204422"}, ""),
    ("account-needs-reconnect", "account-overview", {"account_id": "138204460"}, ""),
    ("account-empty-logs", "account-logs", {"account_id": "138204460"}, ""),
    ("account-empty-mapping", "account-mapping", {"account_id": "138204460"}, ""),
    ("install-server", "install", {}, "?code=curl&how=gtm"),
)


@dataclass(frozen=True)
class PageAt:
    """A page to look at: its name for people, its route and its address."""

    name: str
    key: str
    path: str


@dataclass
class Served:
    """A running server, what is behind it, and a session for each person."""

    url: str
    world: World
    microsoft: EmulatedMicrosoft

    def client(self, name: str) -> Client:
        """Return a client in which somebody is signed in; "nobody" is not."""
        client = Client(raise_request_exception=False)
        if name != "nobody":
            client.force_login(self.world.people[name], backend=BACKEND)
        if name == "sam":
            work_on_ticket(client)
        return client

    def context(self, browser: Browser, name: str, **options: object) -> BrowserContext:
        """Return a browser profile in which somebody is signed in, and nothing moves."""
        context = browser.new_context(reduced_motion="reduce", **options)  # type: ignore[arg-type]  # Playwright's own
        context.set_default_timeout(15_000)
        self.hand_over(self.client(name), context)
        return context

    def hand_over(self, client: Client, context: BrowserContext) -> None:
        """Let a browser profile go on where a client is, with its cookies and no others."""
        context.clear_cookies()
        context.add_cookies(
            [{"name": key, "value": morsel.value, "url": self.url} for key, morsel in client.cookies.items()]
        )

    def pages(self) -> list[PageAt]:
        """Return every page that the owner can open: those of the busy site, the outlet's empty ones, and states."""
        client = self.client("maya")
        offered = (page for route in routes() if is_walked(route) for page in self._pages_of(route))
        return [PageAt("not-found", "404", "/nowhere/"), *(page for page in offered if _is_page(client, page))]

    def _pages_of(self, route: Route) -> Iterator[PageAt]:
        name, own = route.key.rpartition(":")[2], self.world.own
        query = f"?sign_in={own['connection_id']}" if name.startswith("connect-") else ""
        yield PageAt(name, route.key, route.url(own) + query)
        if route.parameters == ("site_id",) and not query:
            yield PageAt(f"{name}-empty", route.key, route.url({"site_id": self.world.outlet.public_id}))
        if name == "account-delivery":
            for state, row in self.world.deliveries.items():
                yield PageAt(f"{name}-{state}", route.key, route.url(own | {"delivery_id": row.public_id}))
        if name == "import":
            done = self.world.imports["done"].public_id
            yield PageAt("import-done", route.key, route.url(own | {"import_id": done}))
        if name == "account-test":
            for state, test in self.world.tests.items():
                yield PageAt(f"{name}-{state}", route.key, f"{route.url(own)}?test={test.public_id}")
        for state, key, changes, asked in STATES:
            if key == name:
                yield PageAt(state, route.key, route.url(own | changes) + asked)


@contextmanager
def serve(now: datetime = NOW, *, is_hostile: bool = True) -> Iterator[Served]:
    """Fill an empty database and serve it until the end of the `with`."""
    apps_clock = mock.patch.object(totp, "time", SimpleNamespace(time=now.timestamp))
    with mock.patch.object(timezone, "now", return_value=now), apps_clock, EmulatedMicrosoft() as microsoft:
        logging.disable()
        try:
            world = build(microsoft, now, is_hostile=is_hostile)
            server = LiveServer("127.0.0.1")
            try:
                with override_settings(
                    PUBLIC_URL=server.url, ALLOWED_HOSTS=["127.0.0.1", "testserver"], MICROSOFT_LOGIN_URL=server.url
                ):
                    yield Served(server.url, world, microsoft)
            finally:
                server.stop()
        finally:
            logging.disable(logging.NOTSET)


def is_walked(route: Route) -> bool:
    """Say whether an address is one of the customers' pages, and known well enough to be opened."""
    return not route.is_admins and route.can_be_filled


def is_whole_page(answer: HttpResponseBase) -> bool:
    """Say whether an answer is a page and not a fragment, a file or a redirect."""
    is_html = answer.headers.get("Content-Type", "").startswith("text/html")
    return is_html and not answer.streaming and b"<html" in answer.content  # type: ignore[attr-defined]  # it is whole


def _is_page(client: Client, page: PageAt) -> bool:
    answer = client.get(page.path)
    return answer.status_code == 200 and is_whole_page(answer)


assert settings.SESSION_COOKIE_NAME == "session", "cookies are set for plain http"
