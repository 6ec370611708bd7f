"""What the pages' scripts do, in a real browser under the real security policy."""

import re

import pytest
from playwright.sync_api import BrowserContext, Page, expect
from pytest_django.live_server_helper import LiveServer

from ingest.models import Site
from tests.cast import make_account, make_connection, make_site, make_user
from tests.support.chromium import Console
from tests.support.signing_in import sign_in

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def site() -> Site:
    """Return Alice's site with one account."""
    site = make_site("Harbor & Pine", make_user("alice"))
    make_account(site, connection=make_connection(site))
    return site


@pytest.fixture
def home(page: Page, live_server: LiveServer, site: Site) -> Page:
    """Return a page on which Alice has signed in and opened her integrations; nothing on it moves."""
    page.emulate_media(reduced_motion="reduce")
    sign_in(page, live_server.url, f"/s/{site.public_id}/integrations/")
    expect(page.get_by_role("heading", name="Integrations")).to_be_visible()
    return page


def test_a_password_can_be_shown(page: Page, live_server: LiveServer) -> None:
    page.goto(f"{live_server.url}/login/")
    page.get_by_label("Password", exact=True).fill("secret")
    page.get_by_role("button", name="Show password").click()
    expect(page.locator("#pw")).to_have_attribute("type", "text")
    expect(page.get_by_role("button", name="Hide password")).to_be_visible()


def test_the_theme_is_switched_and_kept(home: Page) -> None:
    before = home.locator("html").get_attribute("data-bs-theme")
    home.get_by_role("button", name="Switch between light and dark").click()
    after = "light" if before == "dark" else "dark"
    expect(home.locator("html")).to_have_attribute("data-bs-theme", after)
    home.reload()
    expect(home.locator("html")).to_have_attribute("data-bs-theme", after)


def test_connect_asks_first_and_then_leaves_for_microsoft(home: Page) -> None:
    home.route("http://127.0.0.1:9/**", lambda route: route.fulfill(body="Microsoft's sign-in page"))
    home.get_by_role("button", name="Connect another sign-in").click()
    expect(home.get_by_role("dialog", name="Connect Microsoft Advertising")).to_be_visible()
    home.get_by_role("button", name="Continue to Microsoft").click()
    expect(home).to_have_url(re.compile(r"^http://127\.0\.0\.1:9/common/oauth2/v2\.0/authorize\?"))


def test_disconnect_opens_a_dialog_that_escape_closes(home: Page) -> None:
    home.get_by_role("button", name="Disconnect ads@harborpine.example").click()
    dialog = home.get_by_role("dialog", name="Disconnect ads@harborpine.example?")
    expect(dialog).to_be_focused()  # it is fully there: while it fades in, no key closes it
    home.keyboard.press("Escape")
    expect(dialog).to_be_hidden()


def test_help_opens_over_the_page_and_gives_the_focus_back(home: Page) -> None:
    control = home.get_by_role("link", name="Help", exact=True)
    control.press("Enter")
    dialog = home.get_by_role("dialog", name="Help with integrations")
    expect(dialog).to_be_focused()  # it is fully there: while it fades in, no key closes it
    home.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(control).to_be_focused()


def test_a_session_that_ended_leads_the_whole_window_to_the_sign_in(
    home: Page, context: BrowserContext, console: Console
) -> None:
    console.expect_error("401")
    context.clear_cookies()
    home.get_by_role("button", name="Disconnect ads@harborpine.example").click()
    expect(home).to_have_url(re.compile(r"/login/\?next=/s/[0-9a-f-]+/integrations/"))


def test_signing_out_says_so_in_a_toast_that_can_be_dismissed(home: Page) -> None:
    home.get_by_role("button", name="Sign out").click()
    toast = home.get_by_text("Signed out")
    expect(toast).to_be_visible()
    home.get_by_role("button", name="Dismiss").click()
    expect(toast).to_be_hidden()


@pytest.mark.parametrize("width", [320, 768, 1440])
def test_no_page_scrolls_sideways(home: Page, live_server: LiveServer, width: int) -> None:
    home.set_viewport_size({"width": width, "height": 800})
    for path in ("/sites/", home.url.removeprefix(live_server.url)):
        home.goto(live_server.url + path)
        assert home.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
