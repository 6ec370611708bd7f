"""A shop that uses the SDK and the door its events arrive at, both made up and served by Playwright, no server."""

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import BrowserContext, Page, Request, Route

from tests.support.chromium import Console

SDK = Path(__file__).parents[2] / "static/sdk/convultra.v1.js"
MANUAL = SDK.parents[2] / "docs/sdk.md"
(STUB,) = re.findall(r"^<script>window.Convultra=.*</script>$", MANUAL.read_text(), re.MULTILINE)
SCRIPT = '<script src="https://convultra.test/sdk/convultra.v1.js" data-key="wk_test"></script>'
CLICK = "f894f652ea334e739002f7167ab8f8e3"
OTHER_CLICK = "0123456789abcdef0123456789abcdef"

CORS = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "Retry-After"}

Json = dict[str, Any]


class Answer(NamedTuple):
    """What the door answers to one request; status 0 is a connection that breaks."""

    status: int
    body: Json = {}
    headers: dict[str, str] = {}


@dataclass
class Shop:
    """One browser profile on the shop's pages, and everything that the SDK sent from them."""

    context: BrowserContext
    page: Page
    console: Console
    head: str = SCRIPT
    requests: list[Request] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.context.route(lambda url: (urlsplit(url).hostname or "").endswith("shop.test"), self._serve_page)
        self.context.route("https://convultra.test/sdk/*", lambda route: route.fulfill(path=SDK))
        self.context.route("https://convultra.test/v1/**", self._take)

    def _serve_page(self, route: Route) -> None:
        route.fulfill(body=f"<!doctype html><title>Shop</title>{self.head}", content_type="text/html")

    def _take(self, route: Route) -> None:
        self.requests.append(route.request)
        answer = self.answers.pop(0) if self.answers else Answer(202, {"results": []})
        if answer.status == 0:
            route.abort("connectionfailed")
        else:
            route.fulfill(status=answer.status, json=answer.body, headers=CORS | answer.headers)

    def visit(self, address: str = "https://shop.test/", page: Page | None = None) -> None:
        """Open a page of the shop and wait until what it does at once is done."""
        (page or self.page).goto(address)
        self.settle(page)

    def do(self, script: str) -> Any:
        """Run JavaScript on the page, wait until what it does at once is done, and return its value."""
        value = self.page.evaluate(script)
        self.settle()
        return value

    def settle(self, page: Page | None = None) -> None:
        """Wait until the page's hashing is over and all it has sent has been answered.

        The digest queues behind the SDK's own, and the page's fetch behind those of the SDK.
        """
        (page or self.page).evaluate(
            """async () => {
                for (let round = 0; round < 3; round++) {
                    if (crypto.subtle) await crypto.subtle.digest("SHA-256", new Uint8Array(64));
                    await fetch("/settled");
                }
            }"""
        )

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Let the browser go on until the condition holds; fail after half a minute."""
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline, "what was waited for did not come"
            self.page.wait_for_timeout(20)

    def wind_until(self, condition: Callable[[], bool]) -> None:
        """Wind the page's stopped clock until the condition holds; fail after ten minutes of it.

        By two seconds each time: nine that pass at once would end a request before it has left.
        """
        for _ in range(300):
            self.page.clock.run_for(2_000)
            self.page.wait_for_timeout(20)
            if condition():
                return
        raise AssertionError("what was waited for did not come")

    def sent(self, kind: str) -> list[Json]:
        """Return the items of all requests of a kind (`events` or `clicks`), in the order of sending."""
        return [item for request in self.posts(kind) for item in self.body(request)[kind]]

    def posts(self, kind: str) -> list[Request]:
        """Return the requests of a kind, in the order of sending."""
        return [request for request in self.requests if urlsplit(request.url).path.endswith(f"/{kind}")]

    @staticmethod
    def body(request: Request) -> Json:
        """Return the JSON object that a request carried."""
        body: Json = json.loads(request.post_data or "")
        return body

    def stored(self) -> Json:
        """Return everything that the shop's origin keeps in the browser."""
        return {
            "cookies": [dict(cookie) for cookie in self.context.cookies()],
            "local": self.page.evaluate("({...localStorage})"),
            "session": self.page.evaluate("({...sessionStorage})"),
        }

    def cookie(self) -> Json:
        """Return the SDK's one cookie with its attributes."""
        (cookie,) = (cookie for cookie in self.context.cookies() if cookie.get("name") == "_convultra")
        return dict(cookie)


@pytest.fixture
def shop(context: BrowserContext, page: Page, console: Console) -> Shop:
    """Return the shop, open in a fresh browser profile."""
    return Shop(context, page, console)
