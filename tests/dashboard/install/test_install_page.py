"""The install page: what to copy, what is checked, and who may let an origin in."""

import re
import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from unittest import mock

import time_machine
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from dashboard.install import facts as installation_facts
from dashboard.install import snippets
from dashboard.install.snippets import Installation
from ingest import sdk
from ingest.click_ids import TEST_PREFIX, is_click_id, new_test_click_id
from ingest.models import AuditEntry, BlockedOrigin, Click, ConsentPolicy, Membership, Role, ServerKey, Site, Source
from tests.cast import CLICK_ID, NOON, CastTestCase, store_event

OTHER = "https://www.shop.example"
HTMX = {"HX-Request": "true"}


class InstallCase(CastTestCase):
    def setUp(self) -> None:
        self.enterContext(time_machine.travel(NOON, tick=False))
        self.client.force_login(self.alice)
        self.url = self.of("install")

    def of(self, name: str) -> str:
        """Return the address of a page of the site."""
        return reverse(f"dashboard:{name}", args=[self.site.public_id])

    def page(self, **query: str) -> str:
        """Return the page as Alice sees it."""
        return self.client.get(self.url, query).content.decode()

    def be(self, role: Role) -> None:
        Membership.objects.filter(user=self.bob).update(role=role)
        self.client.force_login(self.bob)

    def block(self, origin: str = OTHER) -> BlockedOrigin:
        return BlockedOrigin.objects.create(site=self.site, origin=origin, first_at=NOON, last_at=NOON)

    def click(self, msclkid: str, **fields: str) -> Click:
        given = {"visitor_id": "v-1", "landing_url": "https://shop.example/sale"}
        return Click.objects.create(
            site=self.site, msclkid=msclkid, captured_at=NOON - timedelta(hours=1), **(given | fields)
        )


class Copying(InstallCase):
    def test_the_snippet_has_the_sites_key_and_this_servers_address(self) -> None:
        page = self.page()
        self.assertIn(f'data-key=<span class="s">&quot;{self.site.write_key}&quot;</span>', page)
        self.assertIn("http://testserver/sdk/convultra.v1.js", page)
        self.assertNotIn("data-consent", page)

    def test_a_site_that_needs_consent_starts_denied_and_says_how_it_is_granted(self) -> None:
        Site.objects.filter(pk=self.site.pk).update(consent_policy=ConsentPolicy.REQUIRE)
        page = self.page()
        self.assertIn('data-consent=<span class="s">&quot;denied&quot;</span>', page)
        self.assertIn("When the visitor agrees, on every page", page)

    def test_it_says_how_large_the_file_is_as_it_is_served(self) -> None:
        served = self.client.get("/sdk/convultra.v1.js", headers={"accept-encoding": "gzip"})
        self.assertIn(f"{len(served.content) / 1000:.1f} kB, loads", self.page())

    def test_the_newest_version_can_be_pinned_by_its_hash(self) -> None:
        with tempfile.TemporaryDirectory() as folder, override_settings(BASE_DIR=Path(folder)):
            versions = Path(folder, "static", "sdk", "versions")
            versions.mkdir(parents=True)
            (versions / "convultra.v1.2.3.js").write_bytes(b"window.Convultra = {};")
            page = self.page()
            self.assertIn(sdk.integrity("1.2.3"), page)
        self.assertIn("Pin version 1.2.3", page)
        self.assertIn('crossorigin=<span class="s">&quot;anonymous&quot;</span>', page)

    def test_every_platform_can_be_chosen_without_scripts(self) -> None:
        for key, words in (("gtm", "Custom HTML"), ("shopify", "theme.liquid"), ("woocommerce", "functions.php")):
            with self.subTest(key):
                page = self.page(platform=key)
                self.assertRegex(page, rf'id="panel-{key}" aria-labelledby="tab-{key}">[^\0]*{words}')
                self.assertIn('id="panel-html" aria-labelledby="tab-html" hidden', page)

    def test_an_unknown_platform_shows_the_first(self) -> None:
        self.assertIn('id="panel-html" aria-labelledby="tab-html">', self.page(platform="<x>"))

    def test_the_example_for_a_shell_is_taken_as_it_stands(self) -> None:
        _, secret = ServerKey.objects.mint(self.site)
        body = snippets.curl(Installation("http://testserver", self.site.write_key, "USD")).partition(" -d '")[2][:-1]
        headers = {"Authorization": f"Bearer {secret}"}
        answer = self.client.post("/v1/events", body, content_type="application/json", headers=headers)
        self.assertEqual(answer.json()["results"], [{"event_id": "T-55555-paid", "status": "accepted", "errors": []}])
        self.assertFalse(is_click_id(self.site.events.get().msclkid))

    def test_no_secret_is_in_the_page(self) -> None:
        self.assertNotRegex(self.page(), r"sk_[A-Za-z0-9_-]{8}")


class OpeningAPage(InstallCase):
    def href(self, page: str) -> str:
        found = re.search(r'id="open-page" href="([^"]*)" target="_blank" rel="noopener noreferrer"', page)
        return found[1] if found else ""

    def test_the_sites_first_page_is_offered_with_a_fresh_test_click(self) -> None:
        first, second = self.href(self.page()), self.href(self.page())
        self.assertRegex(first, rf"^https://shop\.example/\?msclkid={TEST_PREFIX}[0-9a-f]{{16}}$")
        self.assertNotEqual(first, second)

    def test_another_page_may_be_typed_without_scripts(self) -> None:
        self.assertIn("https://shop.example/sale?msclkid=", self.href(self.page(page="shop.example/sale")))

    def test_htmx_gets_the_link_and_what_is_wrong_with_it(self) -> None:
        answer = self.client.get(self.of("install-page"), {"page": "https://evil.example/"}, headers=HTMX)
        self.assertEqual(self.href(answer.content.decode()), "")
        self.assertContains(answer, "takes events from https://shop.example only")
        self.assertNotContains(answer, "<html")

    def test_a_site_without_a_list_waits_for_an_address(self) -> None:
        Site.objects.filter(pk=self.site.pk).update(allowed_origins=[])
        self.assertEqual(self.href(self.page()), "")
        self.assertIn("https://any.example/?msclkid=", self.href(self.page(page="any.example")))

    def test_what_was_typed_stays_text(self) -> None:
        self.assertNotIn("<script>alert", self.page(page='"><script>alert(1)</script>'))


class Checking(InstallCase):
    def test_a_test_click_is_seen(self) -> None:
        self.click(new_test_click_id(NOON))
        page = self.page()
        for words in (
            "Script loaded",
            "On https://shop.example.",
            "Test click captured",
            "Waiting for a test purchase",
        ):
            self.assertIn(words, page)

    def test_a_purchase_of_that_visitor_shows_that_the_click_is_kept(self) -> None:
        test_click = self.click(new_test_click_id(NOON)).msclkid
        store_event(self.site, msclkid=test_click, visitor_id="v-1", occurred_at=NOON, transaction_id="T-1")
        page = self.page()
        self.assertIn("msclkid captured and kept", page)
        self.assertIn("purchase received", page)

    def test_an_event_before_the_click_has_not_lost_it(self) -> None:
        self.click(CLICK_ID)
        store_event(self.site, msclkid="", visitor_id="v-1", occurred_at=NOON - timedelta(hours=2))
        self.assertNotIn("then lost", self.page())
        store_event(self.site, msclkid="", visitor_id="v-1", occurred_at=NOON)
        self.assertIn("msclkid captured, then lost", self.page())

    def test_an_event_of_the_backend_has_not_lost_it_either(self) -> None:
        self.click(CLICK_ID)
        store_event(self.site, msclkid="", visitor_id="v-1", occurred_at=NOON, source=Source.SERVER)
        self.assertNotIn("then lost", self.page())

    def test_test_clicks_alone_are_no_clicks_of_ads(self) -> None:
        store_event(self.site, msclkid=new_test_click_id(NOON))
        self.assertIn("No click ID ever seen", self.page())

    def test_a_refund_is_no_conversion(self) -> None:
        store_event(self.site, "refund")
        self.assertIn("Waiting for a test purchase", self.page())

    def test_another_sites_events_and_clicks_count_for_nothing(self) -> None:
        other = Site.objects.exclude(pk=self.site.pk).get()
        store_event(other)
        Click.objects.create(site=other, msclkid=new_test_click_id(NOON), visitor_id="v-1", captured_at=NOON)
        self.assertIn("0 of 6 done", self.page())

    def test_of_more_than_it_reads_it_says_so(self) -> None:
        for number in range(4):
            store_event(self.site, msclkid="", visitor_id=f"v-{number}")
        with mock.patch.object(installation_facts, "LOOKED_AT", 3):
            self.assertIn("No click ID in the newest 3 events", self.page())

    def test_among_many_test_clicks_one_of_an_ad_is_found(self) -> None:
        for number in range(5):
            self.click(new_test_click_id(NOON), visitor_id=f"v-{number}")
        self.click(CLICK_ID)
        with mock.patch.object(installation_facts, "LOOKED_AT", 3):
            self.assertTrue(installation_facts.read_facts(self.site, NOON).has_click_id)

    def test_the_number_of_queries_does_not_grow(self) -> None:
        self.click(new_test_click_id(NOON))
        store_event(self.site, visitor_id="v-1")
        with CaptureQueriesContext(connection) as few:
            self.page()
        for number in range(10):
            self.click(new_test_click_id(NOON), visitor_id=f"v-{number}")
            store_event(self.site, visitor_id=f"v-{number}")
        with CaptureQueriesContext(connection) as many:
            self.page()
        self.assertEqual(len(many), len(few))

    def test_an_open_page_is_answered_only_when_something_changed(self) -> None:
        answer = self.client.get(self.of("install-checks"), headers=HTMX)
        seen = re.search(r"\?seen=([0-9a-f]+)", answer.content.decode())
        assert seen is not None
        self.assertEqual(self.client.get(self.of("install-checks"), {"seen": seen[1]}).status_code, 204)
        store_event(self.site, "lead")
        self.assertContains(self.client.get(self.of("install-checks"), {"seen": seen[1]}), "lead received")


class Refusing(InstallCase):
    def post(self, **members: object) -> int:
        """Post a purchase as a page does; return the status of the answer."""
        event = {"name": "purchase", "event_id": "e-1", "value": 5, "currency": "USD"} | members
        headers = {"Origin": "https://shop.example"}
        address = f"/v1/{self.site.write_key}/events"
        return self.client.post(
            address, {"events": [event]}, content_type="application/json", headers=headers
        ).status_code

    def cap(self, first_at: datetime, last_at: datetime, source: Source = Source.BROWSER) -> None:
        self.site.refused_items.create(
            source=source, what="events", code="daily_cap_reached", first_at=first_at, last_at=last_at
        )

    def test_a_purchase_that_was_refused_is_shown_with_its_rule_and_without_its_value(self) -> None:
        self.assertEqual(self.post(currency="Galleons"), 422)
        page = self.page()
        for words in (
            "Script loaded",
            "Key belongs to this site",
            "Events of your pages are refused",
            "currency</code>",
        ):
            self.assertIn(words, page)
        self.assertIn("it must be a code of ISO 4217", page)
        self.assertNotIn("Galleons", page)

    def test_the_name_of_an_unknown_member_stays_text(self) -> None:
        self.site.refused_items.create(
            source="browser", what="events", member="<b>", code="unknown_member", first_at=NOON, last_at=NOON
        )
        self.assertIn("&lt;b&gt;", self.page())

    def test_what_was_not_refused_for_a_day_is_mended(self) -> None:
        self.post(currency="Galleons")
        for hours, is_shown in ((23, True), (24, False)):
            with time_machine.travel(NOON + timedelta(hours=hours), tick=False):
                self.client.force_login(self.alice)
                self.assertEqual("are refused" in self.page(), is_shown, hours)

    def test_another_sites_are_not_shown(self) -> None:
        other = Site.objects.exclude(pk=self.site.pk).get()
        other.refused_items.create(source="browser", what="events", code="invalid_json", first_at=NOON, last_at=NOON)
        self.assertNotIn("are refused", self.page())

    def test_a_daily_cap_is_shown_until_midnight(self) -> None:
        Site.objects.filter(pk=self.site.pk).update(time_zone="America/Chicago", daily_event_cap=1)
        with self.assertLogs("ingest.refused_items", "WARNING"):
            self.assertEqual([self.post(event_id="e-1"), self.post(event_id="e-2")], [202, 429])
        for hours, is_shown in ((17, True), (18, False)):
            with time_machine.travel(NOON + timedelta(hours=hours), tick=False):
                self.client.force_login(self.alice)
                self.assertEqual("sent since 06:00 was turned away" in self.page(), is_shown, hours)

    def test_a_cap_that_was_raised_is_reached_no_longer(self) -> None:
        self.cap(NOON - timedelta(hours=2), NOON - timedelta(hours=1))
        store_event(self.site, received_at=NOON - timedelta(minutes=30), source=Source.SERVER)
        self.assertIn("daily cap is reached", self.page())
        store_event(self.site, received_at=NOON - timedelta(minutes=30))
        self.assertNotIn("daily cap is reached", self.page())


class AllowingAnOrigin(InstallCase):
    def allow(self, origin: str = OTHER, **headers: str) -> str:
        return self.client.post(
            self.of("install-allow"), {"origin": origin}, follow=True, headers=headers
        ).content.decode()

    def origins(self) -> list[str]:
        return list(Site.objects.get(pk=self.site.pk).allowed_origins)

    def test_a_blocked_origin_is_named_with_its_button(self) -> None:
        self.block()
        page = self.page()
        self.assertIn("Origin blocked", page)
        self.assertIn(f'aria-label="Allow this origin: {OTHER}"', page)

    def test_allowing_it_lets_its_pages_send_and_is_audited(self) -> None:
        self.block()
        self.assertIn(f"{OTHER} is allowed", self.allow())
        self.assertEqual(self.origins(), ["https://shop.example", OTHER])
        self.assertFalse(BlockedOrigin.objects.exists())
        entry = AuditEntry.objects.get(action="site.allow_origin")
        self.assertEqual((entry.actor, entry.site, entry.target), (self.alice, self.site, OTHER))

    def test_its_pages_are_answered_at_once(self) -> None:
        self.block()
        self.assertEqual(self.send_from_page(), 403)
        self.allow()
        self.assertEqual(self.send_from_page(), 422)  # taken in, and found empty

    def send_from_page(self) -> int:
        address = f"/v1/{self.site.write_key}/events"
        headers = {"Origin": OTHER}
        return self.client.post(address, {"events": []}, content_type="application/json", headers=headers).status_code

    def test_htmx_gets_the_checks_as_they_are_now(self) -> None:
        self.block()
        answer = self.client.post(self.of("install-allow"), {"origin": OTHER}, headers=HTMX)
        self.assertContains(answer, "No origin blocked")
        self.assertIn("is allowed", answer.headers["HX-Trigger"])

    def test_an_origin_that_nobody_tried_is_not_let_in(self) -> None:
        self.assertIn("Nothing was changed", self.allow("https://evil.example"))
        self.assertEqual((self.origins(), AuditEntry.objects.count()), (["https://shop.example"], 0))

    def test_the_first_entry_of_a_list_never_shuts_out_all_others(self) -> None:
        self.block()
        Site.objects.filter(pk=self.site.pk).update(allowed_origins=[])
        self.allow()
        self.assertEqual(self.origins(), [])

    def test_an_origin_that_was_listed_meanwhile_is_blocked_no_longer(self) -> None:
        self.block()
        Site.objects.filter(pk=self.site.pk).update(allowed_origins=["https://shop.example", OTHER])
        self.assertNotIn("Origin blocked", self.page())

    def test_another_sites_blocked_origin_cannot_be_let_in_here(self) -> None:
        BlockedOrigin.objects.create(
            site=Site.objects.exclude(pk=self.site.pk).get(), origin=OTHER, first_at=NOON, last_at=NOON
        )
        self.allow()
        self.assertEqual(self.origins(), ["https://shop.example"])


class Doors(InstallCase):
    PAGES = ("install", "install-checks", "install-page")

    def test_every_role_sees_it(self) -> None:
        for role in Role:
            for name in self.PAGES:
                with self.subTest(role=role, page=name):
                    self.be(role)
                    self.assertEqual(self.client.get(self.of(name)).status_code, 200)

    def test_a_stranger_finds_nothing(self) -> None:
        self.client.force_login(self.charlie)
        for name in self.PAGES:
            with self.subTest(name):
                self.assertEqual(self.client.get(self.of(name)).status_code, 404)
        self.assertEqual(self.client.post(self.of("install-allow"), {"origin": OTHER}).status_code, 404)

    def test_owners_admins_and_developers_may_allow_an_origin(self) -> None:
        for role in Role:
            with self.subTest(role):
                self.be(role)
                BlockedOrigin.objects.all().delete()
                self.block(f"https://{role}.example")
                may = role in {Role.OWNER, Role.ADMIN, Role.DEVELOPER}
                self.assertEqual("Allow this origin:" in self.page(), may)
                self.assertEqual("needs the Owner, Admin or Developer role" in self.page(), not may)
                answer = self.client.post(self.of("install-allow"), {"origin": f"https://{role}.example"})
                self.assertEqual(answer.status_code, 302 if may else 403)

    def test_it_stands_in_the_navigation(self) -> None:
        page = self.client.get(self.of("integrations")).content.decode()
        self.assertRegex(page, rf'Set up</li>\s*<li>\s*<a href="{self.url}">')
