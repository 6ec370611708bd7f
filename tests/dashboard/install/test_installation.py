"""What the install page says of a site, by what is known of it."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from urllib.parse import unquote

from django.test import SimpleTestCase

from dashboard.install import snippets
from dashboard.install.checklist import (
    Blocked,
    Check,
    Conversion,
    Facts,
    PageLink,
    Refused,
    State,
    checks,
    page_link,
    summary,
)
from dashboard.install.snippets import Installation
from ingest.click_ids import is_click_id
from tests.cast import NOON
from tests.structure.sources import ROOT

NOTHING = Facts(write_key="wk_0123456789abcdef0123456789abcdef", currency="USD", needs_consent=False)
LISTED = replace(NOTHING, allowed_origins=["https://shop.example"])
HEARD = replace(LISTED, is_heard=True, heard_at=NOON, events=3)
WORKING = replace(
    HEARD,
    test_click_at=NOON,
    kept=2,
    granted=2,
    conversion=Conversion("purchase", NOON, Decimal("79.99"), "USD", "T-1"),
)
SCRIPT, KEY, ORIGINS, CLICK, CONSENT, CONVERSION = range(6)


class CheckTests(SimpleTestCase):
    def check(self, number: int, facts: Facts, state: State, title: str) -> Check:
        """Return one of the checks, which has this state and this title."""
        found = checks(facts)[number]
        self.assertEqual((found.state, found.title), (state, title))
        return found

    def test_where_nothing_came_everything_waits(self) -> None:
        self.assertEqual([check.state for check in checks(NOTHING)], ["wait"] * 6)
        self.assertEqual(summary(checks(NOTHING)), "0 of 6 done")

    def test_where_everything_came_everything_is_done(self) -> None:
        self.assertEqual([check.state for check in checks(WORKING)], ["ok"] * 6)
        self.assertEqual(summary(checks(WORKING)), "6 of 6 done")

    def test_events_of_the_backend_alone_show_no_script(self) -> None:
        found = self.check(SCRIPT, replace(LISTED, events=3), "wait", "Waiting for the script")
        self.assertIn("Your backend’s events arrive", found.text)

    def test_a_script_that_waits_for_consent_says_so(self) -> None:
        found = self.check(SCRIPT, replace(LISTED, needs_consent=True), "wait", "Waiting for the script")
        self.assertIn("before that the script sends nothing", found.text)

    def test_a_blocked_origin_has_the_script_and_the_key(self) -> None:
        blocked = replace(LISTED, blocked=[Blocked("https://www.shop.example", NOON)])
        self.check(SCRIPT, blocked, "ok", "Script loaded")
        self.check(KEY, blocked, "ok", "Key belongs to this site")
        found = self.check(ORIGINS, blocked, "bad", "Origin blocked")
        self.assertEqual([each.origin for each in found.blocked], ["https://www.shop.example"])

    def test_beside_pages_that_work_a_blocked_one_is_a_warning(self) -> None:
        others = [Blocked("https://a.example", NOON), Blocked("https://b.example", NOON)]
        self.check(ORIGINS, replace(HEARD, blocked=others), "warn", "2 origins blocked")

    def test_the_key_is_shortened(self) -> None:
        self.assertEqual(checks(NOTHING)[KEY].note, "wk_0123…cdef")

    def test_events_without_any_click_id_are_a_warning(self) -> None:
        found = self.check(CLICK, HEARD, "warn", "No click ID ever seen")
        self.assertIn("auto-tagging", found.text)

    def test_of_many_events_it_says_how_many_were_looked_at(self) -> None:
        many = replace(HEARD, events=500, has_more_events=True)
        self.check(CLICK, many, "warn", "No click ID in the newest 500 events")

    def test_a_click_without_an_event_is_captured_and_no_more(self) -> None:
        self.check(CLICK, replace(LISTED, is_heard=True, test_click_at=NOON), "ok", "Test click captured")
        self.check(CLICK, replace(HEARD, has_click_id=True), "ok", "msclkid captured")

    def test_a_click_that_no_later_event_carries_is_lost(self) -> None:
        found = self.check(CLICK, replace(HEARD, has_click_id=True, lost=2), "warn", "msclkid captured, then lost")
        self.assertIn("2 events", found.text)

    def test_where_consent_is_needed_and_never_granted_nothing_is_forwarded(self) -> None:
        found = self.check(CONSENT, replace(HEARD, needs_consent=True), "bad", "Consent never granted")
        self.assertIn("nothing is forwarded", found.text)
        self.assertIn('Convultra.consent({ad_storage: "granted"})', found.text)

    def test_where_consent_is_needed_and_nothing_came_it_says_how(self) -> None:
        found = self.check(CONSENT, replace(LISTED, needs_consent=True), "wait", "Waiting for consent")
        self.assertIn("starts denied", found.text)

    def test_consent_that_was_only_denied_is_a_warning(self) -> None:
        self.check(CONSENT, replace(HEARD, denied=3), "warn", "Consent only ever denied")

    def test_silence_about_consent_is_what_the_site_has_chosen(self) -> None:
        self.check(CONSENT, HEARD, "ok", "Consent not needed")

    def test_one_grant_among_refusals_is_a_signal(self) -> None:
        found = self.check(CONSENT, replace(HEARD, granted=1, denied=4), "ok", "Consent signal found")
        self.assertEqual(found.note, "1 granted, 4 denied")

    def test_a_purchase_without_its_order_is_a_warning(self) -> None:
        nameless = replace(WORKING, conversion=Conversion("purchase", NOON, Decimal(5), "USD"))
        self.check(CONVERSION, nameless, "warn", "purchase came without transaction_id")

    def test_any_other_conversion_will_do(self) -> None:
        found = self.check(CONVERSION, replace(HEARD, conversion=Conversion("lead", NOON)), "ok", "lead received")
        self.assertEqual(found.note, "")

    def test_the_summary_counts_what_is_left(self) -> None:
        states: list[State] = ["ok", "bad", "warn", "warn", "wait"]
        self.assertEqual(summary([Check(state, "") for state in states]), "1 of 5 done, 1 to fix, 2 warnings")


def refused(member: str, code: str, source: str = "browser", what: str = "events", minutes: int = 0) -> Refused:
    """Return a rule that was broken last so many minutes before noon."""
    return Refused(source, what, member, code, NOON - timedelta(hours=3), NOON - timedelta(minutes=minutes))


CURRENCY = refused("currency", "currency_unknown")


class RefusalTests(SimpleTestCase):
    def refusals(self, *of: Refused, facts: Facts = LISTED) -> list[Check]:
        """Return the checks that stand there because of these refusals only."""
        return checks(replace(facts, refused=of))[CLICK:-3]

    def test_a_page_that_is_refused_has_the_script_and_the_key(self) -> None:
        found = checks(replace(LISTED, refused=[CURRENCY]))
        self.assertEqual([check.state for check in found], ["ok", "ok", "ok", "bad", "wait", "wait", "wait"])
        self.assertEqual((found[SCRIPT].title, found[SCRIPT].at), ("Script loaded", NOON))

    def test_a_backend_that_is_refused_has_no_script(self) -> None:
        found = checks(replace(LISTED, refused=[refused("currency", "currency_unknown", "server")]))
        self.assertEqual([check.state for check in found[:4]], ["wait", "wait", "wait", "bad"])

    def test_it_names_the_member_and_the_rule_and_what_to_do(self) -> None:
        [found] = self.refusals(CURRENCY)
        self.assertEqual((found.state, found.title), ("bad", "Events of your pages are refused"))
        self.assertIn("not stored and not forwarded. Correct the code of your pages", found.text)
        [rule] = found.rules
        self.assertEqual((rule.of, rule.member, rule.last_at), ("Event of a page", "currency", NOON))
        self.assertIn("it must be a code of ISO 4217", rule.text)

    def test_a_body_that_was_refused_whole_is_said_to_be_one(self) -> None:
        [found] = self.refusals(refused("", "invalid_json", "server", "adjustments"))
        self.assertEqual(found.rules[0].of, "Adjustments, the whole request")

    def test_the_three_newest_are_shown_and_the_others_counted(self) -> None:
        several = [refused("value", "value_malformed", "server", "adjustments", minutes=n) for n in range(5)]
        [found] = self.refusals(CURRENCY, *several)
        self.assertEqual([rule.of for rule in found.rules], ["Event of a page", "Adjustment", "Adjustment"])
        self.assertEqual(found.title, "Events of your pages and adjustments are refused")
        self.assertIn("the code of your pages and your backend", found.text)
        self.assertTrue(found.text.endswith("3 more rules were broken."))

    def test_a_daily_cap_says_since_when_and_until_when(self) -> None:
        capped = replace(HEARD, daily_cap=20_000, time_zone="America/Chicago")
        [found] = self.refusals(refused("", "daily_cap_reached"), facts=capped)
        self.assertEqual((found.state, found.title), ("bad", "The site’s daily cap is reached"))
        self.assertIn("What your pages sent since 03:00 was turned away", found.text)
        self.assertIn("until midnight in America/Chicago", found.text)
        self.assertIn("20,000 events and clicks a day", found.text)

    def test_too_many_requests_are_a_warning(self) -> None:
        [found] = self.refusals(refused("", "too_many_requests", "server", minutes=2))
        self.assertEqual((found.state, found.at), ("warn", NOON - timedelta(minutes=2)))

    def test_where_nothing_was_refused_there_is_no_such_check(self) -> None:
        self.assertEqual(self.refusals(), [])


class PageLinkTests(SimpleTestCase):
    def link(self, typed: str, *allowed: str) -> PageLink:
        """Return the link of an address that was typed; TEST is its click id."""
        return page_link(typed, allowed, "TEST")

    def test_the_click_id_joins_the_query_as_it_is(self) -> None:
        for typed, href in (
            ("https://shop.example", "https://shop.example/?msclkid=TEST"),
            ("shop.example/sale", "https://shop.example/sale?msclkid=TEST"),
            ("https://shop.example/?a=%20b&c#top", "https://shop.example/?a=%20b&c&msclkid=TEST#top"),
            ("https://shop.example/?MSCLKID=old&b=1", "https://shop.example/?b=1&msclkid=TEST"),
            ("https://bücher.example/", "https://xn--bcher-kva.example/?msclkid=TEST"),
            ("http://localhost:8010/x", "http://localhost:8010/x?msclkid=TEST"),
        ):
            with self.subTest(typed):
                self.assertEqual(self.link(typed), PageLink(typed, href))

    def test_what_is_no_page_of_the_web_is_refused(self) -> None:
        for typed in (
            "", "javascript:alert(1)", "javascript://shop.example/%0aalert(1)", "data:text/html,x", "https://", "//",
            "https://user:secret@shop.example/", "ftp://shop.example/", "https://[::1", "https://a b/", "x" * 2001,
        ):  # fmt: skip
            with self.subTest(typed):
                found = self.link(typed)
                self.assertEqual((found.href, "Enter the address of a page" in found.refusal), ("", True))

    def test_a_site_with_a_list_opens_its_own_pages_only(self) -> None:
        found = self.link("https://evil.example/", "https://shop.example")
        self.assertEqual((found.href, "takes events from https://shop.example only" in found.refusal), ("", True))
        self.assertTrue(self.link("HTTPS://Shop.example:443/a", "https://shop.example").href)


class SnippetTests(SimpleTestCase):
    SITE = Installation("https://convultra.example", "wk_0123", "EUR", version="1.0.0", integrity="sha384-abc")

    def test_the_stub_is_that_of_the_manual(self) -> None:
        self.assertIn(f"\n{snippets.STUB}\n", (ROOT / "docs/sdk.md").read_text(encoding="utf-8"))

    def test_the_pinned_tag_names_version_and_hash(self) -> None:
        tag = snippets.pinned(self.SITE)
        self.assertIn('src="https://convultra.example/sdk/convultra.v1.0.0.js"', tag)
        self.assertIn('integrity="sha384-abc" crossorigin="anonymous"', tag)

    def test_a_site_that_needs_consent_begins_denied_everywhere(self) -> None:
        asking = replace(self.SITE, asks_first=True)
        for write in (snippets.html, snippets.pinned, snippets.woocommerce):
            with self.subTest(write.__name__):
                self.assertIn('data-consent="denied"', write(asking))
                self.assertNotIn("data-consent", write(self.SITE))
        self.assertIn('{ endpoint: "https://convultra.example", consent: "denied" }', snippets.tag_manager(asking))
        self.assertNotIn("consent:", snippets.tag_manager(self.SITE))

    def test_no_example_has_a_click_id_that_would_be_sent(self) -> None:
        for example in (snippets.curl(self.SITE), snippets.python(self.SITE)):
            self.assertFalse(any(is_click_id(word) for word in example.split('"')))

    def test_the_example_in_python_is_python(self) -> None:
        compile(snippets.python(self.SITE), "example", "exec")

    def test_the_mail_has_the_snippet_and_fits_mail_programs(self) -> None:
        asking = replace(self.SITE, write_key=f"wk_{'0' * 32}", asks_first=True)
        href = snippets.mail(asking, "Harbor & Pine", f"https://convultra.example/s/{'0' * 36}/install/")
        self.assertIn(snippets.html(asking), unquote(href))
        self.assertLess(len(href), 2000)
        self.assertNotRegex(href, r"[\s<>\"]")
