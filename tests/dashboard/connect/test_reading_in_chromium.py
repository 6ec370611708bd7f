"""Reading goals from Microsoft in a real browser: how many accounts are read, while the others are still asked for."""

import threading
from collections.abc import Iterator
from datetime import datetime
from unittest import mock

import pytest
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from dashboard.connect import integrations
from dashboard.mapping import views as mapping_views
from ingest.models import Site
from integrations.goals import GoalSync
from integrations.models import AdAccount
from tests.cast import make_account, make_connection, make_site, make_user
from tests.support.signing_in import sign_in

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
GENEROUS = 60


class Held:
    """A Microsoft whose last answer comes when the test says so."""

    def __init__(self, last: str) -> None:
        self.last, self.goes_on = last, threading.Event()

    def read(self, account: AdAccount, now: datetime) -> GoalSync:
        if account.name == self.last:
            self.goes_on.wait(GENEROUS)
        AdAccount.objects.filter(pk=account.pk).update(goals_synced_at=now)
        return GoalSync((), (), (), (), (), 0)


@pytest.fixture
def held() -> Iterator[Held]:
    """Let a reading stop before the account called Last."""
    one = Held("Last")
    with (
        mock.patch.object(integrations, "read_goals", one.read),
        mock.patch.object(mapping_views, "read_goals", one.read),
    ):
        yield one
        one.goes_on.set()


@pytest.fixture
def site() -> Site:
    """Return Alice's site, with two accounts of one sign-in."""
    site = make_site("Harbor & Pine", make_user("alice"))
    connection = make_connection(site)
    for n, name in enumerate(("First", "Last")):
        make_account(site, connection=connection, account_id=f"10{n}", name=name)
    return site


# Playwright looks at no page whose next one is on its way, so the page itself says what it shows.
TELLING = """() => new MutationObserver(() => {
  const bar = [...document.querySelectorAll("main [role=progressbar]")].find((one) => one.checkVisibility());
  if (bar) console.log(`bar ${bar.getAttribute("aria-label")}: ${bar.getAttribute("aria-valuenow")}`);
}).observe(document.body, {subtree: true, childList: true, attributes: true})"""


def press(page: Page, button: str, says: str) -> None:
    """Press a button and wait until the page shows a bar that says it."""
    page.evaluate(TELLING)
    with page.expect_console_message(lambda message: message.text == says, timeout=GENEROUS * 500):
        page.get_by_role("button", name=button, exact=True).click(no_wait_after=True)


def test_the_bar_says_how_many_accounts_are_read(page: Page, live_server: LiveServer, site: Site, held: Held) -> None:
    sign_in(page, live_server.url, f"/s/{site.public_id}/integrations/")
    press(page, "Sync", "bar Reading goals of ads@harborpine.example: 50")
    held.goes_on.set()
    expect(page.get_by_text("Accounts synced")).to_be_visible(timeout=GENEROUS * 500)
    expect(page.get_by_role("progressbar")).to_have_count(0)


def test_one_account_has_a_bar_without_a_number(page: Page, live_server: LiveServer, site: Site, held: Held) -> None:
    sign_in(page, live_server.url, f"/s/{site.public_id}/accounts/101/mapping/")
    expect(page.get_by_role("progressbar")).to_be_hidden()
    press(page, "Sync goals", "bar Reading the goals of Last: null")
    held.goes_on.set()
    expect(page.get_by_text("Goals synced", exact=True)).to_be_visible(timeout=GENEROUS * 500)
