"""The Test Center in a real browser: it follows a test by itself, and it works without scripts."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from forwarding import tasks
from forwarding.models import TestConversion
from ingest.models import Click
from integrations.connecting import add_accounts
from integrations.mapping import Rule, set_mapping
from integrations.microsoft_ads.emulator.world import SEARCH_US
from integrations.models import AdAccount
from tests.cast import make_site, make_user
from tests.support import signing_in
from tests.support.chromium import Console
from tests.support.microsoft import EmulatedMicrosoft

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

PURCHASE = "90010001"
CLICK = "dd4afc0000000000000000000006f1c0"


@pytest.fixture
def account() -> Iterator[AdAccount]:
    """Yield Alice's account at a Microsoft of its own, with a click that its site caught."""
    with EmulatedMicrosoft() as microsoft:
        alice = make_user("alice")
        site = make_site("Harbor & Pine", alice)
        (account,) = add_accounts(microsoft.connect(site, alice), [SEARCH_US], alice, timezone.now())
        set_mapping(account, "purchase", Rule(PURCHASE), alice, timezone.now())
        caught_at = timezone.now() - timedelta(hours=3)
        Click.objects.create(site=site, msclkid=CLICK, visitor_id="v", captured_at=caught_at)
        yield account


def sign_in(page: Page, live_server: LiveServer, account: AdAccount) -> None:
    """Sign Alice in and open the account's Test Center."""
    signing_in.sign_in(page, live_server.url, f"/s/{account.site.public_id}/accounts/{account.account_id}/test/")


def test_the_result_comes_by_itself_and_has_the_focus(page: Page, live_server: LiveServer, account: AdAccount) -> None:
    sign_in(page, live_server, account)
    page.get_by_role("button", name="Send test conversion").click()
    expect(page.get_by_role("heading", name="Checking…")).to_be_visible()
    tasks.send_test(TestConversion.objects.get().pk)
    heading = page.get_by_role("heading", name="Microsoft accepted the test conversion")
    expect(heading).to_be_focused()
    expect(page.locator("#recent-tests")).to_contain_text("Delivered")
    page.get_by_text("What we sent").click()
    expect(page.locator("#treq")).to_contain_text(CLICK)
    page.reload()
    expect(heading).to_be_visible()
    assert TestConversion.objects.count() == 1


def test_pasting_a_click_shows_its_field(
    page: Page, live_server: LiveServer, account: AdAccount, console: Console
) -> None:
    console.expect_error("422")
    sign_in(page, live_server, account)
    pasted = page.get_by_label("Another click ID or landing page URL")
    expect(pasted).to_be_hidden()
    page.get_by_label("Click ID", exact=True).select_option("pasted")
    expect(pasted).to_be_focused()
    pasted.fill("hello")
    page.get_by_role("button", name="Show what would be sent").click()
    expect(pasted).to_have_value("hello")
    expect(page.get_by_text("This is no click ID.")).to_be_visible()


def test_without_scripts_a_link_looks_again(browser: Browser, live_server: LiveServer, account: AdAccount) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    sign_in(page, live_server, account)
    page.get_by_role("button", name="Send test conversion").click()
    tasks.send_test(TestConversion.objects.get().pk)
    page.get_by_role("link", name="Look again").click()
    expect(page.get_by_role("heading", name="Microsoft accepted the test conversion")).to_be_visible()
    context.close()
