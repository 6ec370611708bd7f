"""Lists, dialogs and the navigation of narrow screens, by mouse and by keyboard, in a real browser."""

import pytest
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from tests.cast import make_account, make_connection, make_site, make_user
from tests.support.signing_in import sign_in

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def path() -> str:
    """Return the address of the integrations of Alice's site, which has one account."""
    site = make_site("Harbor & Pine", make_user("alice"))
    make_account(site, connection=make_connection(site))
    return f"/s/{site.public_id}/integrations/"


@pytest.fixture
def home(page: Page, live_server: LiveServer, path: str) -> Page:
    """Return a page on which Alice has signed in and opened her integrations; nothing on it moves."""
    page.emulate_media(reduced_motion="reduce")
    sign_in(page, live_server.url, path)
    expect(page.get_by_role("heading", name="Integrations")).to_be_visible()
    return page


class TestAList:
    def test_arrows_walk_through_it_and_escape_gives_the_focus_back(self, home: Page) -> None:
        switch, menu = home.locator("summary.switch-btn"), home.locator(".app-side .dropdown-menu")
        switch.focus()
        home.keyboard.press("ArrowDown")
        expect(menu.get_by_role("link", name="Harbor & Pine")).to_be_focused()
        home.keyboard.press("ArrowDown")
        expect(menu.get_by_role("link", name="All sites")).to_be_focused()
        home.keyboard.press("Escape")
        expect(menu).to_be_hidden()
        expect(switch).to_be_focused()

    def test_a_click_elsewhere_closes_it(self, home: Page) -> None:
        home.locator("summary.switch-btn").click()
        expect(home.locator(".app-side .dropdown-menu")).to_be_visible()
        home.get_by_role("heading", name="Integrations").click()
        expect(home.locator(".app-side .dropdown-menu")).to_be_hidden()

    def test_the_focus_elsewhere_closes_it(self, home: Page) -> None:
        home.locator("summary.switch-btn").press("Enter")
        expect(home.locator(".app-side .dropdown-menu")).to_be_visible()
        home.get_by_role("link", name="Overview").focus()
        expect(home.locator(".app-side .dropdown-menu")).to_be_hidden()


class TestADialog:
    def test_it_has_a_name_the_focus_and_nothing_beside_it(self, home: Page) -> None:
        home.get_by_role("button", name="Connect another sign-in").click()
        dialog = home.get_by_role("dialog", name="Connect Microsoft Advertising")
        expect(dialog).to_be_focused()
        for _ in range(6):
            home.keyboard.press("Tab")
            assert home.evaluate(
                "document.activeElement === document.body || !!document.activeElement.closest('dialog')"
            )

    @pytest.mark.parametrize("way", ["Escape", "Close", "Cancel", "beside"])
    def test_every_way_out_gives_the_focus_back(self, home: Page, way: str) -> None:
        button = home.get_by_role("button", name="Connect another sign-in")
        button.click()
        dialog = home.get_by_role("dialog")
        if way == "Escape":
            home.keyboard.press(way)
        elif way == "beside":
            home.mouse.click(5, 5)
        else:
            dialog.get_by_role("button", name=way).click()
        expect(dialog).to_be_hidden()
        expect(button).to_be_focused()

    def test_selecting_its_text_to_the_outside_leaves_it_open(self, home: Page) -> None:
        home.get_by_role("button", name="Connect another sign-in").click()
        home.get_by_text("You will sign in on Microsoft").hover()
        home.mouse.down()
        home.mouse.move(5, 5)
        home.mouse.up()
        expect(home.get_by_role("dialog")).to_be_visible()


class TestTheNavigationOfAPhone:
    @pytest.fixture
    def phone(self, home: Page) -> Page:
        """Return the page on a phone, with its navigation open."""
        home.set_viewport_size({"width": 390, "height": 844})
        home.get_by_role("button", name="Open navigation").click()
        expect(home.get_by_role("complementary", name="Main navigation")).to_be_focused()
        return home

    def test_the_page_beside_it_cannot_be_reached(self, phone: Page) -> None:
        for _ in range(30):
            phone.keyboard.press("Tab")
            assert not phone.evaluate("!!document.activeElement.closest('main, header')")

    @pytest.mark.parametrize("way", ["Escape", "button"])
    def test_closing_it_gives_the_focus_back(self, phone: Page, way: str) -> None:
        if way == "Escape":
            phone.keyboard.press(way)
        else:
            phone.get_by_role("button", name="Close navigation").click()
        expect(phone.get_by_role("complementary", name="Main navigation")).to_be_hidden()
        expect(phone.get_by_role("button", name="Open navigation")).to_be_focused()

    def test_turning_the_phone_leaves_no_page_that_cannot_be_reached(self, phone: Page) -> None:
        phone.set_viewport_size({"width": 1200, "height": 844})
        phone.get_by_role("button", name="Switch between light and dark").click(timeout=2000)

    def test_it_opens_without_scripts(self, browser: Browser, live_server: LiveServer, phone: Page) -> None:
        with browser.new_context(
            java_script_enabled=False,
            viewport={"width": 390, "height": 844},
            storage_state=phone.context.storage_state(),
        ) as context:
            page = context.new_page()
            page.goto(phone.url)
            page.get_by_role("button", name="Open navigation").click()
            page.locator("summary.switch-btn").click()
            page.get_by_role("link", name="All sites").click()
            expect(page).to_have_url(f"{live_server.url}/sites/")


def test_a_new_site_is_asked_for_in_place(home: Page, live_server: LiveServer) -> None:
    home.goto(f"{live_server.url}/sites/")
    button = home.locator("a[role=button]", has_text="Add site")
    expect(button).to_have_attribute("aria-expanded", "false")
    button.click()
    expect(button).to_have_attribute("aria-expanded", "true")
    expect(home.locator("#new-site").get_by_label("Website address")).to_be_visible()
    button.click()
    expect(home.locator("#new-site")).to_be_hidden()
