"""A click before consent is held in the history entry: a reload keeps it, and the page's own state is unharmed."""

from typing import Any

import pytest

from .conftest import CLICK, OTHER_CLICK, SCRIPT, STUB, Shop

pytestmark = pytest.mark.browser

DENIED = SCRIPT.replace("<script ", '<script data-consent="denied" ')
LANDING = f"https://shop.test/offer?msclkid={CLICK}"
GRANT = "Convultra.consent({ad_storage: 'granted'})"


@pytest.fixture
def shop(shop: Shop) -> Shop:
    """Return the shop of a site that must ask before it stores."""
    shop.head = DENIED
    return shop


def _state(shop: Shop) -> Any:
    return shop.page.evaluate("history.state")


class TestTheDefault:
    def test_nothing_is_stored_or_sent_before_consent(self, shop: Shop) -> None:
        shop.visit(LANDING)
        shop.do("Convultra.trackLead(), dispatchEvent(new Event('pagehide'))")
        assert shop.stored() == {"cookies": [], "local": {}, "session": {}}
        assert shop.requests == []

    def test_init_names_it_too(self, shop: Shop) -> None:
        shop.head = SCRIPT.replace(' data-key="wk_test"', "")
        shop.visit(LANDING)
        shop.do("Convultra.init('wk_test', {consent: 'denied'}), Convultra.trackLead()")
        assert shop.requests == []

    def test_a_word_of_the_stub_beats_it(self, shop: Shop) -> None:
        shop.head = STUB + f"<script>{GRANT}</script>" + DENIED
        shop.visit(LANDING)
        assert shop.do("Convultra.clickId()") == CLICK
        assert shop.console.warnings == []


class TestTheClick:
    def test_it_survives_a_reload_and_is_written_with_its_time(self, shop: Shop) -> None:
        shop.page.clock.set_fixed_time("2026-11-21T10:00:00Z")
        shop.visit(LANDING)
        shop.do("history.replaceState({mine: 1}, '', '/clean')")
        shop.page.clock.set_fixed_time("2026-11-21T10:05:00Z")
        shop.page.reload()
        shop.do(GRANT)
        (click,) = shop.sent("clicks")
        assert (click["msclkid"], click["captured_at"]) == (CLICK, "2026-11-21T10:00:00.000Z")
        assert click["landing_url"] == LANDING
        assert shop.cookie()["value"].endswith(f".{CLICK}.1795255200000")
        assert _state(shop) == {"mine": 1}

    def test_it_survives_the_back_button(self, shop: Shop) -> None:
        shop.visit(LANDING)
        shop.do("history.replaceState(null, '', '/clean')")
        shop.visit("https://shop.test/policy")
        assert shop.do(f"{GRANT}, Convultra.clickId()") is None
        shop.page.go_back()
        shop.settle()
        assert shop.do(f"{GRANT}, Convultra.clickId()") == CLICK

    def test_it_is_carried_through_a_single_page_app(self, shop: Shop) -> None:
        shop.visit(LANDING)
        shop.do("history.pushState({page: 2}, '', '/two')")
        shop.page.reload()
        shop.settle()
        assert _state(shop)["page"] == 2
        assert shop.do(f"{GRANT}, Convultra.clickId()") == CLICK
        assert _state(shop) == {"page": 2}

    def test_a_newer_one_takes_its_place(self, shop: Shop) -> None:
        shop.visit(LANDING)
        shop.do(f"history.pushState(null, '', '/?msclkid={OTHER_CLICK}')")
        assert _state(shop)["convultra"]["msclkid"] == OTHER_CLICK

    @pytest.mark.parametrize("word", [GRANT, "Convultra.reset()"])
    def test_it_is_taken_out_when_it_is_decided(self, shop: Shop, word: str) -> None:
        shop.visit(LANDING)
        assert _state(shop)["convultra"]["msclkid"] == CLICK
        shop.do(word)
        assert _state(shop) == {}

    def test_an_empty_state_of_the_page_stays_one(self, shop: Shop) -> None:
        shop.visit(LANDING)
        shop.do("history.pushState({}, '', '/two')")
        shop.do(GRANT)
        assert _state(shop) == {}

    @pytest.mark.parametrize("state", ["'text'", "5", "[1]", "new Map([[1, 2]])"])
    def test_a_state_that_is_no_plain_object_is_left_alone(self, shop: Shop, state: str) -> None:
        shop.visit(LANDING)
        shop.do(f"history.pushState({state}, '', '/two')")
        assert shop.page.evaluate("history.state.convultra") is None
        assert shop.do(f"{GRANT}, Convultra.clickId()") == CLICK

    def test_a_withdrawal_holds_nothing(self, shop: Shop) -> None:
        shop.visit(LANDING)
        shop.do(GRANT)
        shop.do("Convultra.consent({ad_storage: 'denied'})")
        assert _state(shop) == {}

    def test_global_privacy_control_keeps_nothing_at_all(self, shop: Shop) -> None:
        shop.page.add_init_script("Object.defineProperty(navigator, 'globalPrivacyControl', {value: true})")
        shop.visit(LANDING)
        shop.do(GRANT)
        assert _state(shop) is None
        assert shop.requests == []
