"""Where the click id is kept, with which attributes, and for how long."""

from datetime import UTC, datetime

import pytest

from .conftest import CLICK, OTHER_CLICK, Answer, Shop

pytestmark = pytest.mark.browser

CAPTURED = datetime(2026, 11, 21, 10, 0, 0, tzinfo=UTC)
DAY = 24 * 60 * 60
GRANT = "Convultra.consent({ad_storage: 'granted'})"
DENY = "Convultra.consent({ad_storage: 'denied'})"
LANDING = f"https://www.shop.test/?msclkid={CLICK}"


def _now() -> float:
    return datetime.now(UTC).timestamp()


class TestTheCookie:
    def test_it_sits_on_the_registrable_domain(self, shop: Shop) -> None:
        shop.visit(LANDING)
        cookie = shop.cookie()
        assert (cookie["domain"], cookie["path"]) == (".shop.test", "/")
        assert (cookie["secure"], cookie["sameSite"], cookie["httpOnly"]) == (True, "Lax", False)

    def test_it_lives_90_days_from_the_capture(self, shop: Shop) -> None:
        before = _now()
        shop.visit(LANDING)
        assert before - 1 <= shop.cookie()["expires"] - 90 * DAY <= _now() + 1

    def test_it_holds_visitor_and_click(self, shop: Shop) -> None:
        shop.page.clock.set_fixed_time(CAPTURED)
        shop.visit(LANDING)
        visitor = shop.do("Convultra.visitorId()")
        moment = int(CAPTURED.timestamp() * 1000)
        assert shop.cookie()["value"] == f"{visitor}.{moment}.{CLICK}.{moment}"

    def test_visits_do_not_prolong_it(self, shop: Shop) -> None:
        shop.page.clock.set_fixed_time(datetime.now(UTC))
        shop.visit(LANDING)
        before = shop.cookie()
        shop.page.clock.set_fixed_time(_now() + 30 * DAY)
        shop.visit("https://www.shop.test/later")
        assert shop.cookie() == before

    def test_another_subdomain_shares_it(self, shop: Shop) -> None:
        shop.visit(LANDING)
        visitor = shop.do("Convultra.visitorId()")
        shop.visit("https://checkout.shop.test/pay")
        assert shop.do("[Convultra.clickId(), Convultra.visitorId()]") == [CLICK, visitor]

    def test_plain_http_gets_one_too(self, shop: Shop) -> None:
        shop.visit(f"http://shop.test/?msclkid={CLICK}")
        assert shop.cookie()["secure"] is False


class TestTheLife:
    def test_the_click_is_there_after_89_days(self, shop: Shop) -> None:
        shop.visit(LANDING)
        shop.page.clock.set_fixed_time(_now() + 89 * DAY)
        shop.visit("https://www.shop.test/")
        assert shop.do("Convultra.clickId()") == CLICK

    def test_it_is_gone_after_90_days(self, shop: Shop) -> None:
        shop.visit(LANDING)
        shop.page.clock.set_fixed_time(_now() + 90 * DAY + 60)
        shop.visit("https://www.shop.test/")
        assert shop.do("Convultra.clickId()") is None

    def test_it_ends_while_a_page_stays_open(self, shop: Shop) -> None:
        shop.visit(LANDING)
        shop.page.clock.set_fixed_time(_now() + 90 * DAY + 60)
        assert shop.do("Convultra.clickId()") is None

    def test_a_lost_cookie_is_restored_from_the_local_storage(self, shop: Shop) -> None:
        shop.visit(LANDING)
        before = shop.cookie()
        shop.context.clear_cookies()
        shop.visit("https://www.shop.test/")
        after = shop.cookie()
        assert shop.do("Convultra.clickId()") == CLICK
        assert (after["value"], after["expires"]) == (before["value"], pytest.approx(before["expires"], abs=1))

    def test_a_lost_local_storage_is_restored_from_the_cookie(self, shop: Shop) -> None:
        shop.visit(LANDING)
        shop.page.evaluate("localStorage.clear()")
        shop.visit("https://www.shop.test/")
        assert shop.do("Convultra.clickId()") == CLICK
        assert shop.stored()["local"]["convultra.visitor"] == f"{shop.cookie()['value']} {CLICK}"

    def test_a_page_that_stayed_open_learns_of_a_newer_click(self, shop: Shop) -> None:
        shop.visit(LANDING)
        other = shop.context.new_page()
        shop.visit(f"https://www.shop.test/?msclkid={OTHER_CLICK}", other)
        assert shop.do("Convultra.clickId()") == OTHER_CLICK

    @pytest.mark.parametrize("junk", ["", "....", "x.y.z", f"a.b.{CLICK}.NaN", "%", f"{'a' * 36}.0.{CLICK}.9"])
    def test_a_broken_cookie_is_replaced(self, shop: Shop, junk: str) -> None:
        shop.context.add_cookies([{"name": "_convultra", "value": junk, "domain": ".shop.test", "path": "/"}])
        shop.visit(LANDING)
        assert shop.do("Convultra.clickId()") == CLICK
        assert CLICK in shop.cookie()["value"]

    @pytest.mark.parametrize("junk", ["5", "{", "null", '{"id": {}}', "[]"])
    def test_a_broken_session_is_replaced(self, shop: Shop, junk: str) -> None:
        shop.visit()
        shop.page.evaluate("(junk) => sessionStorage.setItem('convultra.session', junk)", junk)
        shop.visit()
        shop.do("Convultra.identify('L-1'); Convultra.trackLead()")
        (event,) = shop.sent("events")
        assert len(event["session_id"]) == 36
        assert event["external_id"] == "L-1"

    @pytest.mark.parametrize("ahead", [60, 400 * DAY])
    def test_a_moment_ahead_of_the_clock_does_not_outrank_the_next_click(self, shop: Shop, ahead: int) -> None:
        shop.page.clock.set_fixed_time(_now() + ahead)
        shop.visit(LANDING)
        shop.page.clock.set_fixed_time(_now())
        shop.visit(f"https://www.shop.test/?msclkid={OTHER_CLICK}")
        shop.visit("https://www.shop.test/next")
        assert shop.do("Convultra.clickId()") == OTHER_CLICK

    def test_a_click_of_a_moment_that_cannot_be_is_dropped(self, shop: Shop) -> None:
        shop.page.clock.set_fixed_time(_now() + 400 * DAY)
        shop.visit(LANDING)
        shop.page.clock.set_fixed_time(_now())
        shop.visit("https://www.shop.test/next")
        assert shop.do("Convultra.clickId()") is None


class TestWithoutStorage:
    def test_the_page_s_memory_has_to_do(self, shop: Shop) -> None:
        shop.page.add_init_script(
            """for (const name of ["localStorage", "sessionStorage"])
                 Object.defineProperty(window, name, {get() { throw new DOMException("no", "SecurityError"); }});
               Object.defineProperty(document, "cookie", {get() { throw new DOMException("no", "SecurityError"); }});"""
        )
        shop.visit(LANDING)
        shop.do("Convultra.trackLead()")
        assert [event["msclkid"] for event in shop.sent("events")] == [CLICK]

    def test_a_full_storage_loses_no_event(self, shop: Shop) -> None:
        shop.visit()
        shop.do(
            """for (let size = 2 ** 22; size >= 1; size /= 2)
                 try { for (;;) localStorage[Math.random()] = "x".repeat(size) } catch {}"""
        )
        shop.visit(LANDING)
        shop.do("Convultra.trackLead()")
        assert [event["name"] for event in shop.sent("events")] == ["lead"]


class TestReset:
    def test_it_forgets_visitor_click_and_person(self, shop: Shop) -> None:
        shop.visit(LANDING)
        shop.visit("https://www.shop.test/account")
        old = shop.do(
            "Convultra.enhance({email: 'john@contoso.com'}), Convultra.identify('L-1'), Convultra.visitorId()"
        )
        new = shop.do("Convultra.reset(), Convultra.visitorId()")
        shop.do("Convultra.trackLead()")
        (event,) = shop.sent("events")
        assert old != new == event["visitor_id"]
        assert event.keys().isdisjoint({"msclkid", "external_id", "user_data"})

    def test_the_address_it_is_called_on_brings_nothing_back(self, shop: Shop) -> None:
        shop.visit(LANDING)
        shop.do("Convultra.reset()")
        assert shop.do("Convultra.clickId()") is None
        assert CLICK not in str(shop.stored())

    def test_it_still_sends_what_was_tracked(self, shop: Shop) -> None:
        shop.visit(LANDING)
        shop.do("Convultra.trackLead(), Convultra.reset()")
        assert [event["msclkid"] for event in shop.sent("events")] == [CLICK]

    def test_it_holds_on_the_other_subdomains(self, shop: Shop) -> None:
        shop.visit(LANDING)
        shop.visit("https://checkout.shop.test/pay")
        new = shop.do("Convultra.reset(), Convultra.visitorId()")
        shop.visit("https://www.shop.test/")
        assert shop.do("[Convultra.clickId(), Convultra.visitorId()]") == [None, new]
        assert CLICK not in str(shop.stored()["cookies"])

    def test_it_ends_the_session_on_the_other_subdomains(self, shop: Shop) -> None:
        shop.visit()
        shop.do("Convultra.consent({ad_storage: 'granted'}), Convultra.identify('L-1')")
        shop.do("Convultra.enhance({email: 'john@contoso.com'})")
        shop.visit("https://checkout.shop.test/pay")
        shop.do("Convultra.reset()")
        shop.visit()
        shop.do("Convultra.trackLead()")
        assert shop.sent("events")[0].keys().isdisjoint({"external_id", "user_data"})

    def test_a_broken_cookie_hides_no_copy(self, shop: Shop) -> None:
        shop.visit(LANDING)
        shop.context.clear_cookies()
        shop.context.add_cookies([{"name": "_convultra", "value": "x.y.z", "domain": ".shop.test", "path": "/"}])
        shop.visit("https://www.shop.test/")
        assert shop.do("Convultra.clickId()") == CLICK


class TestTheOtherTab:
    """A reset or a refusal in one tab holds in those that are open beside it."""

    @pytest.mark.parametrize("word", ["Convultra.reset()", DENY])
    def test_it_does_not_bring_back_what_was_removed(self, shop: Shop, word: str) -> None:
        shop.visit(LANDING)
        old = shop.do("Convultra.visitorId()")
        other = shop.context.new_page()
        shop.visit("https://www.shop.test/other", other)
        shop.do(word)
        other.evaluate("dispatchEvent(new Event('pagehide'))")
        shop.settle(other)
        assert old not in str(shop.stored())
        assert CLICK not in str(shop.stored())

    def test_a_refusal_silences_a_page_that_was_granted(self, shop: Shop) -> None:
        shop.visit(LANDING)
        other = shop.context.new_page()
        shop.visit("https://www.shop.test/other", other)
        other.evaluate(GRANT)
        shop.do(DENY)
        shop.requests.clear()
        other.evaluate("Convultra.trackLead(), dispatchEvent(new Event('pagehide'))")
        shop.settle(other)
        assert shop.stored() == {"cookies": [], "local": {}, "session": {}}
        assert shop.requests == []
        other.evaluate(GRANT)
        shop.settle(other)
        assert [event["consent"] for event in shop.sent("events")] == [{"ad_storage": "granted"}]

    def test_a_refusal_stops_what_another_page_was_to_send_again(self, shop: Shop) -> None:
        shop.console.expect_error("Failed to load resource")
        shop.page.clock.install()
        shop.visit()
        other = shop.context.new_page()
        shop.visit("https://shop.test/other", other)
        shop.answers = [Answer(503)]
        other.evaluate(f"{GRANT}, Convultra.trackLead()")
        shop.settle(other)
        shop.do(DENY)
        shop.page.clock.run_for(30_000)
        shop.settle(other)
        assert len(shop.posts("events")) == 1
        assert shop.stored()["local"] == {}

    def test_it_goes_on_as_the_new_visitor(self, shop: Shop) -> None:
        shop.visit(LANDING)
        other = shop.context.new_page()
        shop.visit("https://www.shop.test/other", other)
        other.evaluate("Convultra.identify('L-1')")
        new = shop.do("Convultra.reset(), Convultra.visitorId()")
        other.evaluate("Convultra.trackLead()")
        shop.settle(other)
        (event,) = shop.sent("events")
        assert event["visitor_id"] == new
        assert event.keys().isdisjoint({"msclkid", "external_id"})

    def test_a_storage_that_the_page_clears_is_no_reset(self, shop: Shop) -> None:
        shop.visit(LANDING)
        before = shop.do("[Convultra.visitorId(), Convultra.clickId()]")
        assert shop.do("localStorage.clear(), [Convultra.visitorId(), Convultra.clickId()]") == before
