"""From an empty page to green checks: a real shop on another origin, the real SDK, the real door."""

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from django.test import override_settings
from django.utils import timezone
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect
from pytest_django.live_server_helper import LiveServer

from dashboard.install import snippets
from dashboard.install.snippets import Installation
from ingest import blocked_origins
from ingest.models import ConsentPolicy, Site
from tests.cast import make_site, make_user
from tests.structure.sources import ROOT
from tests.support.chromium import Console
from tests.support.signing_in import sign_in

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

SDK = ROOT / "static/sdk/convultra.v1.js"
BUY = 'Convultra.trackPurchase({value: 79.99, currency: "USD", transaction_id: "T-1"})'
PATIENT = 45_000  # the page asks every three seconds


class Shop(ThreadingHTTPServer):
    """A shop on an origin of its own, whose pages all have the same head. Browsers know *.localhost without asking."""

    head = ""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Pages)
        self.origin = f"http://shop.localhost:{self.server_address[1]}"


class _Pages(BaseHTTPRequestHandler):
    server: Shop

    def do_GET(self) -> None:
        page = f"<!doctype html><title>Shop</title><link rel=icon href=data:>{self.server.head}".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_args: object) -> None:
        """Say nothing."""


@pytest.fixture
def shop() -> Iterator[Shop]:
    """Yield a shop that is open."""
    with Shop() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def site(live_server: LiveServer) -> Iterator[Site]:
    """Yield Alice's site; this server is where its snippets say."""
    with override_settings(PUBLIC_URL=live_server.url):
        yield make_site("Harbor & Pine", make_user("alice"))


@pytest.fixture
def home(page: Page, live_server: LiveServer, site: Site) -> Page:
    """Return a page on which Alice has signed in and opened Install SDK; nothing on it moves."""
    page.emulate_media(reduced_motion="reduce")
    sign_in(page, live_server.url, f"/s/{site.public_id}/install/")
    expect(page.get_by_role("heading", name="Install SDK")).to_be_visible()
    return page


def allow(site: Site, *origins: str) -> None:
    """Let pages of these origins only send."""
    site.allowed_origins = list(origins)
    site.save()


def follow_open(context: BrowserContext, home: Page) -> Page:
    """Press Open and return the shop's page in its new tab, the install page in front again."""
    with context.expect_page() as opened:
        home.get_by_role("link", name="Open", exact=True).click()
    opened.value.wait_for_load_state()
    home.bring_to_front()
    return opened.value


def test_the_checks_turn_green_one_after_the_other(
    context: BrowserContext, home: Page, site: Site, shop: Shop, console: Console
) -> None:
    console.expect_error("CORS")
    console.expect_error("ERR_FAILED")  # the browser's second word on it
    checks, said = home.get_by_role("list", name="Checks"), home.locator("#checks-summary")
    expect(said).to_have_text("0 of 6 done")
    expect(checks).to_contain_text("Waiting for the script")
    shop.head = home.locator("#snippet-html").inner_text()
    allow(site, shop.origin, "http://old.localhost")
    home.get_by_label("Page to check").fill(f"{shop.origin}/sale?color=green")
    link = home.get_by_role("link", name="Open", exact=True)
    expect(link).to_have_attribute("href", re.compile("sale.color=green&msclkid="))

    allow(site, "http://old.localhost")
    page = follow_open(context, home)
    expect(checks).to_contain_text("Origin blocked", timeout=PATIENT)
    home.get_by_role("button", name=f"Allow this origin: {shop.origin}").click()
    expect(home.get_by_text(f"{shop.origin} is allowed")).to_be_visible()
    expect(checks).to_contain_text("No origin blocked")

    page.reload()
    expect(checks).to_contain_text("Test click captured", timeout=PATIENT)
    expect(said).to_have_text("5 of 6 done")

    page.goto(f"{shop.origin}/thanks")
    page.evaluate(BUY)
    expect(checks).to_contain_text("msclkid captured and kept", timeout=PATIENT)
    expect(checks).to_contain_text("purchase received")
    expect(said).to_have_text("6 of 6 done")


@pytest.mark.parametrize("snippet", ["gtm", "pinned"])
def test_the_other_snippets_catch_the_click_too(
    context: BrowserContext, home: Page, site: Site, shop: Shop, tmp_path: Path, snippet: str
) -> None:
    folder = tmp_path / "static" / "sdk" / "versions"
    folder.mkdir(parents=True)
    for name in ("../convultra.v1.js", "convultra.v1.0.0.js"):
        (folder / name).write_bytes(SDK.read_bytes())
    allow(site, shop.origin)
    with override_settings(BASE_DIR=tmp_path):
        home.reload()
        shop.head = home.locator(f"#snippet-{snippet}").text_content() or ""
        follow_open(context, home)
        expect(home.get_by_role("list", name="Checks")).to_contain_text("Test click captured", timeout=PATIENT)


def test_where_consent_is_needed_the_grant_of_a_page_arrives(
    context: BrowserContext, home: Page, site: Site, shop: Shop
) -> None:
    site.consent_policy = ConsentPolicy.REQUIRE
    allow(site, shop.origin)
    home.reload()
    shop.head = home.locator("#snippet-html").inner_text()
    page = follow_open(context, home)
    page.evaluate(home.locator("#snippet-grant").inner_text())
    page.evaluate(BUY)
    expect(home.get_by_role("list", name="Checks")).to_contain_text("Consent signal found", timeout=PATIENT)
    expect(home.locator("#checks-summary")).to_have_text("6 of 6 done")


def test_a_grant_before_the_tag_manager_s_tag_is_kept(
    context: BrowserContext, home: Page, site: Site, shop: Shop
) -> None:
    site.consent_policy = ConsentPolicy.REQUIRE
    allow(site, shop.origin)
    home.reload()
    shop.head = f"{snippets.STUB}<script>{snippets.GRANT}</script>"
    shop.head += home.locator("#snippet-gtm").text_content() or ""
    follow_open(context, home)
    expect(home.get_by_role("list", name="Checks")).to_contain_text("Consent signal found", timeout=PATIENT)


def test_where_the_script_is_blocked_its_ids_are_asked_in_vain_and_nothing_breaks(page: Page, shop: Shop) -> None:
    shop.head = snippets.STUB
    page.goto(shop.origin)
    assert page.evaluate("[Convultra.clickId(), Convultra.visitorId(), Convultra.length]") == [None, None, 0]


class Cart:
    """The cart of a Shopify shop, as its theme's scripts read and write it."""

    def __init__(self, context: BrowserContext) -> None:
        self.attributes: dict[str, str] = {}
        self.writes = 0
        context.route("**/shopify/cart.js", lambda route: route.fulfill(json={"attributes": self.attributes}))
        context.route("**/shopify/cart/update.js", self._update)

    def _update(self, route: Route) -> None:
        self.attributes |= json.loads(route.request.post_data or "")["attributes"]
        self.writes += 1
        route.fulfill(json={})


def test_with_late_consent_a_shopify_cart_gets_its_visitor_once(
    context: BrowserContext, page: Page, live_server: LiveServer, site: Site, shop: Shop
) -> None:
    allow(site, shop.origin)
    cart, page_of = Cart(context), Installation(live_server.url, site.write_key, "USD", asks_first=True)
    root = '<script>Shopify = {routes: {root: "/shopify/"}}</script>'
    shop.head = snippets.html(page_of) + root + snippets.SHOPIFY_CART
    page.clock.install()
    page.goto(shop.origin)
    page.clock.run_for(60_000)
    assert cart.writes == 0
    page.evaluate(snippets.GRANT)
    with page.expect_response("**/cart/update.js"):
        page.clock.run_for(1000)
    assert cart.attributes == {"convultra_visitor": page.evaluate("Convultra.visitorId()")}

    page.goto(f"{shop.origin}/next")
    page.evaluate(snippets.GRANT)
    with page.expect_response("**/cart.js"):
        page.clock.run_for(1000)
    page.evaluate("fetch('/settled')")
    assert cart.writes == 1

    cart.attributes = {}  # the order was placed: Shopify begins another
    with page.expect_response("**/cart/update.js"):
        page.goto(f"{shop.origin}/thanks")
        page.evaluate(snippets.GRANT)
        page.clock.run_for(1000)


def test_the_live_label_says_how_often_it_asks(home: Page) -> None:
    every = re.search(r"every (\d+)s", home.get_by_role("list", name="Checks").get_attribute("hx-trigger") or "")
    assert every
    expect(home.locator("[data-live-note]")).to_have_text(f"· updates every {every[1]} s")


def test_a_purchase_that_is_refused_is_said_and_nothing_waits_for_the_script(
    home: Page, site: Site, shop: Shop, context: BrowserContext, console: Console
) -> None:
    console.expect_error("422")
    allow(site, shop.origin)
    shop.head = home.locator("#snippet-html").inner_text()
    page = context.new_page()
    page.goto(shop.origin)
    page.evaluate('Convultra.trackPurchase({value: 79.99, currency: "$", transaction_id: "T-1"})')
    home.bring_to_front()
    checks = home.get_by_role("list", name="Checks")
    expect(checks).to_contain_text("Events of your pages are refused", timeout=PATIENT)
    expect(checks).to_contain_text("Event of a page, currency")
    expect(checks).to_contain_text("Script loaded")
    expect(home.locator("#checks-summary")).to_have_text("3 of 7 done, 1 to fix")


def test_a_tab_is_chosen_without_leaving_the_page(home: Page) -> None:
    address = home.url
    home.get_by_role("tab", name="WooCommerce").click()
    expect(home.get_by_role("tabpanel", name="WooCommerce")).to_contain_text("woocommerce_thankyou")
    expect(home.get_by_role("tabpanel", name="HTML")).to_be_hidden()
    home.keyboard.press("Home")
    expect(home.get_by_role("tabpanel", name="HTML")).to_be_visible()
    assert home.url == address


def test_an_address_of_elsewhere_cannot_be_opened(home: Page) -> None:
    home.get_by_label("Page to check").fill("https://evil.example/")
    expect(home.locator("#page-refusal")).to_contain_text("takes events from https://shop.example only")
    expect(home.locator("#open-page")).not_to_have_attribute("href", re.compile("."))


def test_it_works_without_scripts(browser: Browser, home: Page, context: BrowserContext, site: Site) -> None:
    state = context.storage_state()
    with browser.new_context(java_script_enabled=False, storage_state=state) as plain:
        page = plain.new_page()
        page.goto(home.url)
        page.get_by_role("tab", name="Shopify").click()
        expect(page.get_by_role("tabpanel", name="Shopify")).to_be_visible()
        page.get_by_label("Page to check").fill("shop.example/sale")
        page.get_by_label("Page to check").press("Enter")
        expect(page.locator("#open-page")).to_have_attribute(
            "href", re.compile(r"^https://shop\.example/sale\?msclkid=")
        )
        blocked_origins.note(site.pk, "https://www.shop.example", timezone.now())
        page.reload()
        page.get_by_role("button", name="Allow this origin: https://www.shop.example").click()
        expect(page.get_by_text("No origin blocked")).to_be_visible()


@pytest.mark.parametrize("width", [320, 768, 1440])
def test_it_never_scrolls_sideways(home: Page, width: int) -> None:
    home.set_viewport_size({"width": width, "height": 800})
    for platform in ("html", "gtm", "shopify", "woocommerce"):
        home.goto(f"{home.url.partition('?')[0]}?platform={platform}&place=curl")
        assert home.evaluate("document.documentElement.scrollWidth <= innerWidth"), platform
