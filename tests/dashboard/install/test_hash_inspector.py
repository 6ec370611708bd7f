"""The hash inspector: the SDK's rules letter by letter, Microsoft's results, and nothing that leaves the page."""

import re
from collections.abc import Callable

import pytest
from django.test import SimpleTestCase
from django.urls import reverse
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from dashboard.install.views import COUNTRIES
from ingest.hashing import hash_email, hash_phone
from ingest.models import Membership, Role, Site
from tests.cast import CastTestCase, make_site, make_user
from tests.ingest.test_hashing import EMAILS, JOHN, NO_EMAILS, PHONES
from tests.structure.sources import read
from tests.support import signing_in

SDK, INSPECTOR = "static/sdk/source/convultra.v1.js", "static/js/hash-inspector.js"
SHARED = (
    r"const PHONES = .*",
    r"const PARTS =\s+/.*",
    r"function normalEmail\(raw\) \{.*?\n  \}",
    r"function normalPhone\(raw, country\) \{.*?\n  \}",
)


class TestTheRules(SimpleTestCase):
    def test_they_are_the_sdks_letter_by_letter(self) -> None:
        for pattern in SHARED:
            with self.subTest(pattern):
                flags = re.DOTALL if pattern.startswith("function") else 0
                (of_sdk,), (ours,) = (re.findall(pattern, read(path), flags) for path in (SDK, INSPECTOR))
                self.assertEqual(ours, of_sdk)

    def test_the_countries_are_the_sdks(self) -> None:
        (table,) = re.findall(r'const PHONES = "([^"]+)"', read(SDK))
        self.assertEqual([code for code, _ in COUNTRIES], re.findall(r"[A-Z]{2}", table))


class TestThePage(CastTestCase):
    def setUp(self) -> None:
        self.url = reverse("dashboard:hash-inspector", args=[self.site.public_id])

    def test_what_is_typed_cannot_be_submitted(self) -> None:
        self.client.force_login(self.alice)
        page = self.client.get(self.url).content.decode()
        inspector = page[page.index("data-hash-inspector") : page.index("</main>")]
        self.assertNotIn("<form", inspector)
        self.assertNotIn(" name=", inspector)
        self.assertNotIn("hx-", inspector)

    def test_without_scripts_it_says_why_it_needs_them(self) -> None:
        self.client.force_login(self.alice)
        (said,) = re.findall(r"<noscript>(.*?)</noscript>", self.client.get(self.url).content.decode(), re.DOTALL)
        self.assertIn("This page needs JavaScript", said)
        self.assertIn("nothing you type is sent", said)

    def test_every_role_sees_it_and_a_stranger_does_not(self) -> None:
        self.client.force_login(self.bob)
        for role in Role:
            Membership.objects.filter(user=self.bob).update(role=role)
            self.assertEqual(self.client.get(self.url).status_code, 200)
        self.client.force_login(self.charlie)
        self.assertEqual(self.client.get(self.url).status_code, 404)

    def test_install_and_the_accounts_settings_lead_to_it(self) -> None:
        self.client.force_login(self.alice)
        account = [self.site.public_id, self.account.account_id]
        for url in (
            reverse("dashboard:install", args=account[:1]),
            reverse("dashboard:account-settings", args=account),
        ):
            self.assertContains(self.client.get(url), self.url)


NASTY_EMAILS = [
    "İPEK@example.com",
    "straße@example.de",
    "jose\u0301@example.com",
    "JOSÉ@example.com",
    "jane\u00a0doe@example.com",
    "jane\u200bdoe@example.com",
    "a@b@example.com",
    "jane@exämple.de",
    "jane+@example.com",
    "jane+a+b@example.com",
    "ΣΊΣΥΦΟΣ@example.gr",
    "ｊａｎｅ@example.com",
    "jane@example.com.",
    "😀@example.com",
    "jane doe@example.com",
    "jane@exa mple.com",
    "<jane@example.com>",
    "mailto:jane@example.com",
    "jane..doe@example.com",
]
# The SDK leaves out what it cannot read without a table of all countries; the server reads most of it.
NASTY_PHONES = [
    "+1 425 555 1234",
    "+1.425.555/1234",
    "+1 (425) 555-1234 x5",
    "+1-425-555-1234 EXT 12",
    "＋14255551234",
    "+1 ４２５ 555 1234",
    "+1 ٤٢٥ 555 1234",
    "+14255551234\u200f",
    "+1\u00a0425\u2011555\u20111234",
    "tel:+14255551234",
    "++14255551234",
    "+0 123 456 789",
    "+1",
    "+44 (0) 7911 123456",
    "+1234567890123456",
]


def _or_nothing(hashed: Callable[[str], str], text: str) -> str:
    try:
        return hashed(text)
    except ValueError:
        return ""


@pytest.fixture
def site() -> Site:
    """Return Alice's site."""
    return make_site("Harbor & Pine", make_user("alice"))


def sign_in(page: Page, live_server: LiveServer, site: Site) -> None:
    """Sign Alice in and open the inspector."""
    signing_in.sign_in(page, live_server.url, f"/s/{site.public_id}/hash-inspector/")
    expect(page.get_by_role("heading", name="Hash inspector")).to_be_visible()


@pytest.mark.browser
@pytest.mark.django_db(transaction=True)
class TestInChromium:
    def test_it_says_what_the_door_would_store_and_sends_nothing(
        self, page: Page, live_server: LiveServer, site: Site
    ) -> None:
        sign_in(page, live_server, site)
        page.wait_for_load_state("networkidle")
        requests: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        for text, _, sha256 in [*EMAILS, (JOHN.upper(), "", JOHN)]:
            page.get_by_label("Email address").press_sequentially(text)
            expect(page.locator("#email-sha256")).to_have_text(sha256)
            page.get_by_label("Email address").fill("")
        for text, country, _, sha256 in PHONES[:-1]:
            page.get_by_label("Country").select_option(country)
            page.get_by_label("Phone number").fill(text)
            expect(page.locator("#phone-sha256")).to_have_text(sha256)
        assert requests == []
        assert page.url.endswith("/hash-inspector/")

    def test_of_an_address_as_people_write_it_it_says_what_the_server_says(
        self, page: Page, live_server: LiveServer, site: Site
    ) -> None:
        sign_in(page, live_server, site)
        for text in NASTY_EMAILS:
            page.get_by_label("Email address").fill(text)
            if sha256 := _or_nothing(hash_email, text):
                expect(page.locator("#email-sha256"), text).to_have_text(sha256)
            else:
                expect(page.locator("#email-none"), text).to_be_visible()
                expect(page.locator("#email-sha256"), text).to_be_hidden()

    def test_of_a_number_it_says_what_the_server_says_or_nothing(
        self, page: Page, live_server: LiveServer, site: Site
    ) -> None:
        sign_in(page, live_server, site)
        found, none = page.locator("#phone-sha256"), page.locator("#phone-none")
        for text in NASTY_PHONES:
            page.get_by_label("Phone number").fill(text)
            expect(page.locator("#phone-sha256:visible, #phone-none:visible"), text).to_have_count(1)
            assert none.is_visible() or found.inner_text() == _or_nothing(hash_phone, text), text
            page.get_by_label("Phone number").fill("")
            expect(page.locator("#phone-sha256:visible, #phone-none:visible")).to_have_count(0)

    def test_what_has_no_hash_says_so(self, page: Page, live_server: LiveServer, site: Site) -> None:
        sign_in(page, live_server, site)
        for text in (each for each in NO_EMAILS if each.isprintable() and 0 < len(each) < 320):
            page.get_by_label("Email address").fill(text)
            expect(page.get_by_text("This is no email address")).to_be_visible()
            expect(page.locator("#email-sha256")).to_be_hidden()
        page.get_by_label("Phone number").fill("(425) 555-1234")
        expect(page.get_by_text("The SDK leaves this number out")).to_be_visible()

    def test_each_step_is_shown_and_ends_with_what_is_hashed(
        self, page: Page, live_server: LiveServer, site: Site
    ) -> None:
        sign_in(page, live_server, site)
        for text, normalised, _ in EMAILS:
            page.get_by_label("Email address").fill(text)
            expect(page.locator("[data-kind=email] [data-steps] li").last).to_contain_text(normalised)
        page.get_by_label("Country").select_option("GB")
        page.get_by_label("Phone number").fill("07911 123456")
        steps = page.locator("[data-kind=phone] [data-steps] .mono")
        expect(steps).to_have_text(["07911123456", "+4407911123456", "+447911123456"])

    def test_without_scripts_there_is_nothing_to_type_into(
        self, browser: Browser, live_server: LiveServer, site: Site
    ) -> None:
        context = browser.new_context(java_script_enabled=False)
        page = context.new_page()
        sign_in(page, live_server, site)
        expect(page.get_by_label("Email address")).to_be_hidden()
        context.close()
