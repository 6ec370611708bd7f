"""Imports in a real browser: a file is chosen, the page follows the worker by itself, and a click confirms."""

import re
import uuid
from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from forwarding.importing import check, store
from ingest.models import Import, Site
from tests.cast import make_account, make_connection, make_site, make_user
from tests.support.signing_in import sign_in

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def home(page: Page, live_server: LiveServer) -> Page:
    """Return the Imports page of Alice's site; nothing on it moves."""
    site: Site = make_site("Harbor & Pine", make_user("alice"))
    make_account(site, connection=make_connection(site))
    page.emulate_media(reduced_motion="reduce")
    sign_in(page, live_server.url, f"/s/{site.public_id}/imports/")
    expect(page.get_by_role("heading", name="No file was imported yet")).to_be_visible()
    return page


def upload(page: Page) -> Import:
    """Choose a file with two good rows and a bad one in the dialog, and send it."""
    at = f"{timezone.now() - timedelta(hours=1):%Y-%m-%d %H:%M:%S}"
    rows = [
        f"deal-{number},purchase,{at},{value},{uuid.uuid4().hex}" for number, value in enumerate(("5", "6", "7.5$"))
    ]
    file = "\n".join(["event_id,name,occurred_at,value,msclkid", *rows])
    page.get_by_role("button", name="Import a file").first.click()
    dialog = page.get_by_role("dialog", name="Import a file")
    dialog.get_by_label("CSV file").set_input_files(
        {"name": "deals.csv", "mimeType": "text/csv", "buffer": file.encode()}
    )
    dialog.get_by_role("button", name="Check the file").click()
    expect(page).to_have_url(re.compile(r"/imports/[0-9a-f-]{36}/$"))
    return Import.objects.get()


def test_the_page_follows_the_worker_and_asks_before_anything_is_stored(home: Page) -> None:
    source = upload(home)
    expect(home.get_by_text("0 of 3 rows checked")).to_be_visible()
    check(source)
    expect(home.get_by_role("cell", name="Value has separators or a sign")).to_be_visible()
    home.get_by_role("button", name="Import 2 rows").click()
    expect(home.get_by_text("0 of 2 rows imported")).to_be_visible()
    store(source)
    expect(home.get_by_text("2 rows imported")).to_be_visible()


@pytest.mark.parametrize("width", [320, 768, 1440])
def test_it_does_not_scroll_sideways(home: Page, width: int) -> None:
    check(upload(home))
    home.set_viewport_size({"width": width, "height": 800})
    expect(home.get_by_role("button", name="Import 2 rows")).to_be_visible()
    assert home.evaluate("document.documentElement.scrollWidth <= innerWidth")
