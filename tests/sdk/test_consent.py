"""What consent allows: nothing is stored or sent against it, and nothing is lost when it comes late."""

import pytest

from .conftest import CLICK, OTHER_CLICK, SCRIPT, STUB, Json, Shop

pytestmark = pytest.mark.browser

DENY = "<script>Convultra.consent({ad_storage: 'denied'})</script>"
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
        assert shop.console.warnings == ["Convultra: ad_storage is denied: nothing is stored or sent"]

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
        assert "counts as denied" in shop.console.warnings[0]

    def test_global_privacy_control_counts_as_denied(self, shop: Shop) -> None:
        shop.page.add_init_script(GPC)
        shop.visit(f"https://shop.test/?msclkid={CLICK}")
        shop.do("Convultra.consent({ad_storage: 'granted'}); Convultra.trackLead()")
        assert shop.stored() == NOTHING
        assert shop.requests == []
        assert "Global Privacy Control" in shop.console.warnings[0]


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
