"""The staff's pages in a real browser: whatever the Content-Security-Policy forbids there would be an error here."""

from typing import Literal

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from forwarding.planning.planner import plan_all
from ingest.models import Site
from tests.cast import NOON, PASSWORD, make_account, make_site, make_user, store_event

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

INK = {"light": "rgb(24, 32, 44)", "dark": "rgb(228, 232, 238)"}


@pytest.fixture
def staff(page: Page, live_server: LiveServer) -> Page:
    """Sign a member of staff in, with one delivery in the tables."""
    User.objects.create_superuser("staff@example.com", "staff@example.com", PASSWORD)
    site = make_site("Harbor & Pine", make_user("alice"))
    make_account(site)
    store_event(site, transaction_id="HP-1")
    plan_all(NOON)
    page.goto(f"{live_server.url}/admin/")
    page.get_by_label("Username").fill("staff@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("link", name="Work on a ticket").click()
    page.get_by_label("Ticket number").fill("SUP-1042")
    page.get_by_role("button", name="Continue").click()
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_start_list_and_row_wear_the_theme(staff: Page, scheme: Literal["light", "dark"]) -> None:
    staff.emulate_media(color_scheme=scheme)
    expect(staff.get_by_role("heading", name="Operations")).to_have_css("color", INK[scheme])
    expect(staff.get_by_label("Operations now")).to_contain_text("Last sweep")
    staff.get_by_role("link", name="Deliveries", exact=True).click()
    expect(staff.get_by_role("row", name="HP-1")).to_contain_text("Not forwarded")
    staff.get_by_role("link", name="HP-1").click()
    expect(staff.get_by_text("Explanation")).to_be_visible()


def test_a_phone_shows_a_list_without_sideways_scroll(staff: Page) -> None:
    staff.set_viewport_size({"width": 390, "height": 800})
    staff.get_by_role("link", name="Deliveries", exact=True).click()
    expect(staff.locator("#searchbar")).to_be_visible()
    assert staff.evaluate("document.documentElement.scrollWidth") == 390
    assert staff.evaluate("document.querySelector('#changelist .changelist-form-container').clientWidth") > 300


def test_a_desk_shows_every_column_of_the_deliveries(staff: Page) -> None:
    store_event(Site.objects.get(), transaction_id="W" * 64, value="999999999999.999", currency="USD")
    plan_all(NOON)
    staff.set_viewport_size({"width": 1440, "height": 900})
    staff.get_by_role("link", name="Deliveries", exact=True).click()
    expect(staff.get_by_role("columnheader", name="Upload")).to_be_visible()
    hidden = "document.querySelector('.results').scrollWidth - document.querySelector('.results').clientWidth"
    assert staff.evaluate(hidden) == 0
