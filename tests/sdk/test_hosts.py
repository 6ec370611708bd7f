"""The pages of others: a strict policy, another origin, browsers without a feature, many tabs, many closes."""

import base64
import hashlib

import pytest
from playwright.sync_api import Route

from .conftest import CLICK, SCRIPT, STUB, Answer, Shop

pytestmark = pytest.mark.browser

INLINE = STUB.removeprefix("<script>").removesuffix("</script>")
HASH = base64.b64encode(hashlib.sha256(INLINE.encode()).digest()).decode()
QUEUES = "Object.keys(localStorage).filter((name) => name.startsWith('convultra.queue.')).length"


def _with_policy(shop: Shop, stub_source: str, head: str) -> None:
    policy = f"default-src 'none'; script-src https://convultra.test {stub_source}; connect-src https://convultra.test"
    page = f"<!doctype html><title>Shop</title>{head}"
    headers = {"Content-Security-Policy": policy, "Content-Type": "text/html"}
    shop.context.route("https://strict.test/**", lambda route: route.fulfill(body=page, headers=headers))


class TestAStrictPolicy:
    @pytest.mark.parametrize(
        ("source", "stub"),
        [(f"'sha256-{HASH}'", STUB), ("'nonce-r4nd0m'", STUB.replace("<script>", '<script nonce="r4nd0m">'))],
        ids=["hash", "nonce"],
    )
    def test_stub_and_script_work_under_it(self, shop: Shop, source: str, stub: str) -> None:
        _with_policy(shop, source, stub + SCRIPT.replace("<script ", "<script async "))
        shop.page.goto(f"https://strict.test/?msclkid={CLICK}")
        shop.page.evaluate("Convultra.trackLead({email: 'john@contoso.com'})")
        shop.wait_for(lambda: bool(shop.sent("events")))
        assert shop.sent("events")[0]["msclkid"] == CLICK
        assert len(shop.sent("events")[0]["user_data"]["email_sha256"]) == 64
        assert shop.console.errors == []


class TestAnotherOrigin:
    def test_an_answer_that_the_page_may_not_read_is_none(self, shop: Shop) -> None:
        shop.console.expect_error("CORS|Failed to load resource")
        shop.visit()
        shop.answers = [Answer(202, headers={"Access-Control-Allow-Origin": "https://other.test"})]
        shop.do("Convultra.trackLead()")
        assert "Convultra: retry: offline or origin not allowed" in shop.console.warnings
        shop.wait_for(lambda: len(shop.sent("events")) == 2)
        assert shop.sent("events")[0] == shop.sent("events")[1]


class TestWithoutKeepalive:
    def test_a_beacon_carries_what_a_page_leaves_and_the_queue_keeps_it(self, shop: Shop) -> None:
        shop.page.add_init_script("delete Request.prototype.keepalive")
        shop.visit()
        shop.page.evaluate("Convultra.trackLead(), dispatchEvent(new Event('pagehide'))")
        shop.wait_for(lambda: bool(shop.sent("events")))
        assert shop.posts("events")[0].resource_type == "ping"
        assert shop.page.evaluate(QUEUES) == 1


class TestManyTimes:
    def test_a_hundred_closes_right_after_track_lose_nothing(self, shop: Shop) -> None:
        for turn in range(100):
            page = shop.context.new_page()
            page.goto("https://shop.test/", wait_until="domcontentloaded")
            page.evaluate(f"Convultra.track('closed {turn}')")
            page.close()
        shop.page.clock.install()
        shop.visit()
        shop.wind_until(lambda: len({event["name"] for event in shop.sent("events")}) == 100)
        assert len({event["event_id"] for event in shop.sent("events")}) == 100

    def test_two_hundred_events_outlive_an_outage(self, shop: Shop) -> None:
        shop.console.expect_error("Failed to load resource|ERR_INTERNET_DISCONNECTED|ERR_FAILED")
        shop.visit()
        offline = True
        taken: list[str] = []

        def door(route: Route) -> None:
            if offline:
                route.abort("internetdisconnected")
            else:
                taken.extend(event["event_id"] for event in shop.body(route.request)["events"])
                route.fallback()

        shop.context.route("https://convultra.test/v1/wk_test/events", door)
        shop.context.set_offline(True)
        for _ in range(4):
            shop.page.evaluate("for (let n = 0; n < 50; n++) Convultra.track('offline')")
        offline = False
        shop.context.set_offline(False)
        shop.wait_for(lambda: len(taken) >= 200)
        shop.wait_for(lambda: shop.page.evaluate(QUEUES) == 0)
        assert len(taken) == len(set(taken)) == 200

    def test_two_tabs_send_a_hundred_each_once(self, shop: Shop) -> None:
        shop.visit()
        other = shop.context.new_page()
        shop.visit(page=other)
        for page, name in ((shop.page, "one"), (other, "two")):
            page.evaluate(f"for (let n = 0; n < 100; n++) setTimeout(() => Convultra.track('{name}'), n % 7)")
        shop.wait_for(lambda: len(shop.sent("events")) >= 200 and shop.page.evaluate(QUEUES) == 0)
        assert len({event["event_id"] for event in shop.sent("events")}) == len(shop.sent("events")) == 200


class TestAThankYouPage:
    def test_a_reload_is_another_event_of_the_same_order(self, shop: Shop) -> None:
        shop.head = SCRIPT + "<script>Convultra.trackPurchase({value: 5, transaction_id: 'T-1'})</script>"
        shop.visit("https://shop.test/thanks")
        shop.page.reload()
        shop.settle()
        first, second = shop.sent("events")
        assert first["event_id"] != second["event_id"]
        assert (first["transaction_id"], first["visitor_id"]) == (second["transaction_id"], second["visitor_id"])
