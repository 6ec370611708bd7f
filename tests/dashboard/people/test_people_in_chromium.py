"""People in a real browser: somebody is invited in the dialog, joins by the link, and signs in with two steps."""

import re
import time

import pytest
from django.core import mail
from django.core.cache import cache
from playwright.sync_api import BrowserContext, Page, expect
from pytest_django.live_server_helper import LiveServer

from ingest.models import Invitation, Membership, Role, Site
from tests.cast import PASSWORD, make_site, make_user
from tests.dashboard.people.test_two_step import code_of

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def sign_in(page: Page, live_server: LiveServer, path: str) -> None:
    """Sign Alice in and go on to a page."""
    page.emulate_media(reduced_motion="reduce")
    page.goto(f"{live_server.url}/login/?next={path}")
    page.get_by_label("Email").fill("alice@example.com")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


def test_somebody_is_invited_to_one_site_and_joins(
    page: Page, live_server: LiveServer, context: BrowserContext
) -> None:
    site: Site = make_site("Harbor & Pine", make_user("alice"))
    Site.objects.create(organisation=site.organisation, name="Outlet")
    sign_in(page, live_server, "/org/team/")
    page.get_by_role("button", name="Invite").click()
    dialog = page.get_by_role("dialog", name="Invite someone")
    dialog.get_by_label("Work email").fill("dora@example.com")
    dialog.get_by_label("Role").select_option(Role.MARKETER)
    dialog.get_by_label("Outlet").check()  # choosing a site also chooses "Only these"
    dialog.get_by_role("button", name="Send invitation").click()
    expect(page.get_by_role("status").get_by_text("Invitation sent")).to_be_visible()
    assert [one.name for one in Invitation.objects.get().sites.all()] == ["Outlet"]

    link = re.search(r"/invite/\S+", str(mail.outbox[0].body))
    assert link
    context.clear_cookies()
    page.goto(live_server.url + link[0])
    page.get_by_label("Your name").fill("Dora Ito")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Join the team").click()
    expect(page.get_by_role("heading", name="Sites")).to_be_visible()
    expect(page.get_by_role("link", name="Outlet").first).to_be_visible()
    expect(page.get_by_role("link", name="Harbor & Pine")).to_have_count(0)
    assert Membership.objects.get(user__email="dora@example.com").role == Role.MARKETER


def test_two_steps_are_turned_on_with_the_key_that_the_page_shows(page: Page, live_server: LiveServer) -> None:
    cache.clear()
    make_site("Harbor & Pine", make_user("alice"))
    sign_in(page, live_server, "/me/")
    page.get_by_role("link", name="Turn on").click()
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("img", name="QR code for your authenticator app")).to_be_visible()
    secret = page.locator("#totp-key").inner_text()
    page.get_by_label("Code", exact=True).fill(code_of(secret, time.time()))
    page.get_by_role("button", name="Turn it on").click()
    expect(page.get_by_text("10 of 10 are left")).to_be_visible()
    code = page.locator("#codes").inner_text().split()[0]
    page.get_by_role("link", name="I keep them safe").click()
    page.get_by_role("button", name="Sign out", exact=True).click()
    sign_in(page, live_server, "/me/")
    page.get_by_label("Code").fill(code)
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("heading", name="Your account")).to_be_visible()
