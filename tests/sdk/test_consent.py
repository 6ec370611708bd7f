"""What consent allows: nothing is stored or sent against it, and nothing is lost when it comes late."""

import time

import pytest

from .conftest import CLICK, OTHER_CLICK, SCRIPT, STUB, Answer, Json, Shop

pytestmark = pytest.mark.browser

DENY = "<script>Convultra.consent({ad_storage: 'denied'})</script>"
UNANSWERED = SCRIPT.replace("<script ", '<script data-consent="denied" ')
GRANT = "Convultra.consent({ad_storage: 'granted'})"
NOTHING: Json = {"cookies": [], "local": {}, "session": {}}
GPC = "Object.defineProperty(Navigator.prototype, 'globalPrivacyControl', {get: () => true})"


class TestDenied:
    def test_nothing_is_stored_and_nothing_sent(self, shop: Shop) -> None:
        shop.head = STUB + DENY + SCRIPT
        shop.visit(f"https://shop.test/?msclkid={CLICK}")
        shop.do("Convultra.enhance({email: 'john@contoso.com'}); Convultra.identify('L-1'); Convultra.trackLead()")
        shop.do("history.pushState({}, '', '/next?msclkid=' + 'a'.repeat(32))")
        shop.do("dispatchEvent(new Event('pagehide'))")
        assert shop.stored() == NOTHING
        assert shop.requests == []

    def test_it_says_why_it_is_silent(self, shop: Shop) -> None:
        shop.head = STUB + DENY + SCRIPT
        shop.visit()
        shop.do("Convultra.trackLead(); Convultra.trackLead()")
        assert shop.console.warnings == ["Convultra: ad_storage: denied, nothing is stored or sent"]

    def test_the_page_is_told_no_id(self, shop: Shop) -> None:
        shop.head = STUB + DENY + SCRIPT
        shop.visit(f"https://shop.test/?msclkid={CLICK}")
        assert shop.do("[Convultra.clickId(), Convultra.visitorId()]") == [None, None]

    def test_the_cookies_of_microsoft_s_tag_are_not_read(self, shop: Shop) -> None:
        shop.head = STUB + DENY + SCRIPT
        shop.context.add_cookies([{"name": "msclkid", "value": CLICK, "domain": "shop.test", "path": "/"}])
        shop.visit()
        shop.do("Convultra.trackLead()")
        shop.context.clear_cookies()
        shop.do("Convultra.consent({ad_storage: 'granted'})")
        assert [event.get("msclkid") for event in shop.sent("events")] == [None]

    def test_a_withdrawal_removes_what_was_stored(self, shop: Shop) -> None:
        shop.visit(f"https://www.shop.test/?msclkid={CLICK}")
        shop.do("Convultra.consent({ad_storage: 'granted'}); Convultra.enhance({email: 'john@contoso.com'})")
        shop.do("Convultra.consent({ad_storage: 'denied'})")
        assert shop.stored() == NOTHING

    @pytest.mark.parametrize("choice", ["false", "'DENIED'", "null", "0"])
    def test_a_choice_it_cannot_read_counts_as_denied(self, shop: Shop, choice: str) -> None:
        shop.visit()
        shop.do(f"Convultra.consent({{ad_storage: {choice}}}); Convultra.trackLead()")
        assert shop.sent("events") == []
        assert "ad_storage" in shop.console.warnings[0]

    def test_global_privacy_control_counts_as_denied(self, shop: Shop) -> None:
        shop.page.add_init_script(GPC)
        shop.visit(f"https://shop.test/?msclkid={CLICK}")
        shop.do("Convultra.consent({ad_storage: 'granted'}); Convultra.trackLead()")
        assert shop.stored() == NOTHING
        assert shop.requests == []
        assert "globalPrivacyControl" in shop.console.warnings[0]


class TestGrantedLate:
    def test_the_click_is_kept_with_its_original_time(self, shop: Shop) -> None:
        shop.head = STUB + DENY + SCRIPT
        shop.page.clock.set_fixed_time("2026-11-21T10:00:00Z")
        shop.visit(f"https://shop.test/?msclkid={CLICK}")
        shop.do("history.pushState({}, '', '/form')")
        shop.page.clock.set_fixed_time("2026-11-21T10:05:00Z")
        shop.do("Convultra.consent({ad_storage: 'granted'})")
        (click,) = shop.sent("clicks")
        assert click["captured_at"] == "2026-11-21T10:00:00.000Z"
        assert click["landing_url"] == f"https://shop.test/?msclkid={CLICK}"
        assert click["consent"] == {"ad_storage": "granted"}
        assert shop.cookie()["value"].endswith(f".{CLICK}.1795255200000")

    def test_an_event_of_the_same_page_is_sent_with_its_own_time(self, shop: Shop) -> None:
        shop.head = STUB + DENY + SCRIPT
        shop.page.clock.set_fixed_time("2026-11-21T10:00:00Z")
        shop.visit(f"https://shop.test/?msclkid={CLICK}")
        shop.do("Convultra.trackLead()")
        shop.page.clock.set_fixed_time("2026-11-21T10:05:00Z")
        shop.do("Convultra.consent({ad_storage: 'granted'})")
        (event,) = shop.sent("events")
        assert event["occurred_at"] == "2026-11-21T10:00:00.000Z"
        assert event["consent"] == {"ad_storage": "granted"}
        assert event["msclkid"] == CLICK

    def test_a_denial_and_a_grant_in_one_turn_keep_the_stored_click(self, shop: Shop) -> None:
        shop.visit(f"https://shop.test/?msclkid={CLICK}")
        shop.head = STUB + DENY + "<script>Convultra.consent({ad_storage: 'granted'})</script>" + SCRIPT
        shop.visit("https://shop.test/next")
        assert shop.do("Convultra.clickId()") == CLICK

    def test_a_later_grant_restores_the_click_of_an_earlier_page(self, shop: Shop) -> None:
        shop.visit(f"https://shop.test/?msclkid={CLICK}")
        before = shop.cookie()["value"]
        shop.head = STUB + DENY + SCRIPT
        shop.visit("https://shop.test/next")
        shop.do("Convultra.consent({ad_storage: 'granted'})")
        assert shop.cookie()["value"] == before


class TestNotTold:
    def test_the_field_is_left_to_the_site_s_policy(self, shop: Shop) -> None:
        shop.visit(f"https://shop.test/?msclkid={OTHER_CLICK}")
        shop.do("Convultra.trackLead()")
        assert "consent" not in shop.sent("events")[0]
        assert "consent" not in shop.sent("clicks")[0]

    def test_an_update_without_ad_storage_changes_nothing(self, shop: Shop) -> None:
        shop.visit()
        shop.do("Convultra.consent({analytics_storage: 'denied'}); Convultra.trackLead()")
        assert len(shop.sent("events")) == 1


class TestUnanswered:
    """A default of denied says that nobody has answered yet: what an earlier page stored waits for the answer."""

    def test_it_says_so(self, shop: Shop) -> None:
        shop.head = UNANSWERED
        shop.visit()
        shop.do("Convultra.trackLead()")
        assert shop.console.warnings == ["Convultra: ad_storage: unanswered, nothing is stored or sent"]

    def test_what_is_stored_stays_as_it_is(self, shop: Shop) -> None:
        shop.visit(f"https://shop.test/?msclkid={CLICK}")
        before = shop.stored()
        shop.head = UNANSWERED
        shop.visit("https://shop.test/next")
        shop.do("Convultra.trackLead(), dispatchEvent(new Event('pagehide'))")
        assert shop.stored() == before

    def test_init_s_default_leaves_it_too(self, shop: Shop) -> None:
        shop.visit(f"https://shop.test/?msclkid={CLICK}")
        before = shop.stored()
        shop.head = SCRIPT.replace(' data-key="wk_test"', "")
        shop.visit("https://shop.test/next")
        shop.do("Convultra.init('wk_test', {consent: 'denied'}), Convultra.trackLead()")
        assert shop.stored() == before

    def test_the_cookie_of_the_shop_s_own_server_stays(self, shop: Shop) -> None:
        shop.head = UNANSWERED
        value = f"3f0c2c7e-9a51-4c3d-8f52-0d1e2f3a4b5c.{int(time.time() * 1000)}"
        shop.context.add_cookies([{"name": "_convultra", "value": value, "domain": ".shop.test", "path": "/"}])
        before = shop.context.cookies()
        shop.visit()
        shop.do("dispatchEvent(new Event('pagehide'))")
        assert shop.context.cookies() == before

    def test_a_grant_takes_up_the_queue_the_click_and_the_visitor(self, shop: Shop) -> None:
        shop.console.expect_error("Failed to load resource")
        shop.visit(f"https://shop.test/?msclkid={CLICK}")
        visitor = shop.do("Convultra.visitorId()")
        shop.answers = [Answer(503)] * 2
        shop.do("Convultra.trackPurchase({transaction_id: 'T-1'})")
        shop.head = UNANSWERED
        shop.page.clock.install()
        shop.visit("https://shop.test/next")
        shop.requests.clear()
        shop.do(f"Convultra.trackLead(), {GRANT}")
        shop.wind_until(lambda: len({event["event_id"] for event in shop.sent("events")}) == 2)
        assert {event["name"] for event in shop.sent("events")} == {"purchase", "lead"}
        assert {(event["visitor_id"], event["msclkid"]) for event in shop.sent("events")} == {(visitor, CLICK)}

    def test_a_newer_click_that_was_held_wins(self, shop: Shop) -> None:
        shop.visit(f"https://shop.test/?msclkid={CLICK}")
        shop.head = UNANSWERED
        shop.visit(f"https://shop.test/?msclkid={OTHER_CLICK}")
        assert CLICK in shop.cookie()["value"]
        assert shop.do(f"{GRANT}, Convultra.clickId()") == OTHER_CLICK
        assert OTHER_CLICK in shop.cookie()["value"]

    def test_an_answer_of_no_erases_it(self, shop: Shop) -> None:
        shop.visit(f"https://shop.test/?msclkid={CLICK}")
        shop.head = UNANSWERED
        shop.visit("https://shop.test/next")
        shop.do("Convultra.consent({ad_storage: 'denied'})")
        assert shop.stored() == NOTHING

    def test_global_privacy_control_erases_it(self, shop: Shop) -> None:
        shop.visit(f"https://shop.test/?msclkid={CLICK}")
        shop.head = UNANSWERED
        shop.page.add_init_script(GPC)
        shop.visit("https://shop.test/next")
        assert shop.stored() == NOTHING
