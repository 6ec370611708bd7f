"""The middleware, the SDK and a real Chromium together: one cookie, which ends when the click says."""

from collections.abc import Callable, Iterator
from socketserver import ThreadingMixIn
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest
from django.core.handlers.wsgi import WSGIHandler
from playwright.sync_api import BrowserContext, Page

from tests.server_helpers import pages
from tests.server_helpers.cases import CLICK, DAY, GOOD, NOW, SECOND, VISITOR
from tests.server_helpers.sites import django_settings

pytestmark = pytest.mark.browser

OTHER_CLICK = "0123456789abcdef0123456789abcdef"
END = (NOW - 20 * DAY + 90 * DAY) // SECOND
IN_SEVEN_DAYS = NOW // SECOND + 7 * 24 * 60 * 60


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address() -> Iterator[str]:
    """Yield the address of the shop under Django. Chromium finds every name under localhost on this machine."""
    pages.late_asked.clear()
    pages.late_answered.clear()
    with django_settings(), make_server("127.0.0.1", 0, WSGIHandler(), _Server, _Quiet) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://www.shop.localhost:{server.server_port}/shop"
        server.shutdown()
        thread.join()


@pytest.fixture
def jar(context: BrowserContext) -> Callable[[], dict[str, Any]]:
    """Return a look at the one cookie of the name in the browser; two of them fail the test."""

    def look() -> dict[str, Any]:
        (cookie,) = (cookie for cookie in context.cookies() if cookie.get("name") == "_convultra")
        return dict(cookie)

    return look


@pytest.fixture
def returning(context: BrowserContext) -> None:
    """Give the browser a cookie that a script once set and that Safari left seven days of."""
    context.add_cookies(
        [{"name": "_convultra", "value": GOOD, "domain": ".shop.localhost", "path": "/", "expires": IN_SEVEN_DAYS}]
    )


@pytest.mark.usefixtures("returning")
class TestAReturningVisitor:
    def test_the_cookie_lives_as_long_as_the_server_said(
        self, page: Page, address: str, jar: Callable[[], dict[str, Any]]
    ) -> None:
        page.goto(address)
        assert jar()["expires"] == pytest.approx(END, abs=2)
        assert (jar()["value"], jar()["httpOnly"]) == (GOOD, False)

    def test_the_sdk_goes_on_reading_it(self, page: Page, address: str) -> None:
        page.goto(address)
        assert page.evaluate("[Convultra.visitorId(), Convultra.clickId()]") == [VISITOR, CLICK]

    def test_of_two_cookies_the_sdk_takes_the_newest_click_and_the_server_none(
        self, page: Page, address: str, context: BrowserContext
    ) -> None:
        newer = f"{VISITOR}.{NOW - DAY}.{OTHER_CLICK}.{NOW - DAY}"
        context.add_cookies(
            [{"name": "_convultra", "value": newer, "domain": ".www.shop.localhost", "path": "/", "expires": END}]
        )
        answer = page.goto(address)
        assert answer
        assert answer.header_value("set-cookie") is None
        assert page.evaluate("Convultra.clickId()") == OTHER_CLICK

    def test_a_refusal_stays_a_refusal(self, page: Page, address: str, context: BrowserContext) -> None:
        page.goto(address)
        page.evaluate("Convultra.consent({ad_storage: 'denied'})")
        page.wait_for_function("!document.cookie.includes('_convultra=')")
        page.add_init_script("window.Convultra = [['consent', {ad_storage: 'denied'}]]")
        page.goto(address)
        assert [cookie for cookie in context.cookies() if cookie.get("name") == "_convultra"] == []

    def test_an_answer_to_an_older_request_does_not_cost_the_newer_click(
        self, page: Page, address: str, jar: Callable[[], dict[str, Any]]
    ) -> None:
        page.goto(address)
        page.evaluate("() => { window.late = fetch('/late') }")
        assert pages.late_asked.wait(30)
        page.evaluate(f"history.pushState({{}}, '', '?msclkid={OTHER_CLICK}')")
        page.wait_for_function(f"document.cookie.includes('{OTHER_CLICK}')")
        with page.expect_response("**/late") as late:
            pages.late_answered.set()
        # It puts the older back, until the script looks again.
        assert (late.value.header_value("set-cookie") or "").startswith(f"_convultra={GOOD};")
        page.evaluate("window.late.then(() => null)")
        page.goto(address)
        assert page.evaluate("Convultra.clickId()") == OTHER_CLICK
        assert OTHER_CLICK in jar()["value"]


class TestANewVisitor:
    def test_what_the_sdk_sets_the_next_page_sets_again_as_one_cookie(
        self, page: Page, address: str, jar: Callable[[], dict[str, Any]]
    ) -> None:
        page.goto(f"{address}?msclkid={CLICK}")
        page.wait_for_function(f"document.cookie.includes('{CLICK}')")
        written = jar()
        answer = page.goto(address)
        assert answer
        assert (answer.header_value("set-cookie") or "").startswith(f"_convultra={written['value']};")
        # `secure` follows the request, which is plain http; scripts may take this machine's names for secure ones.
        assert jar() == written | {"expires": pytest.approx(written["expires"], abs=2), "secure": False}
