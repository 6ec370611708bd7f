"""How an event reaches the door: kept until answered, sent again under its own id, and handed to the next page."""

import json

import pytest
from playwright.sync_api import Page, Route

from .conftest import CLICK, Answer, Shop

pytestmark = pytest.mark.browser

QUEUE = """Object.keys(localStorage).filter((name) => name.startsWith("convultra.queue."))
           .flatMap((name) => JSON.parse(localStorage[name]).queue)"""
LEASES = """Object.keys(localStorage).filter((name) => name.startsWith("convultra.queue."))
            .map((name) => JSON.parse(localStorage[name]).until > Date.now())"""
HIDE = """Object.defineProperty(document, "hidden", {value: true, configurable: true});
          document.dispatchEvent(new Event("visibilitychange", {bubbles: true}))"""

SHOW = """delete document.hidden;
          document.dispatchEvent(new Event("visibilitychange", {bubbles: true}))"""


def _open_with_stopped_clock(shop: Shop) -> None:
    """Open the shop with timers that fire only when the test winds the clock."""
    shop.page.clock.install(time="2026-11-21T10:00:00Z")
    shop.page.clock.pause_at("2026-11-21T10:00:01Z")
    shop.visit()


class TestTheAnswer:
    def test_an_accepted_event_is_forgotten(self, shop: Shop) -> None:
        shop.visit()
        shop.do("Convultra.trackLead()")
        assert shop.do(QUEUE) == []

    @pytest.mark.parametrize("status", [0, 408, 429, 500, 503])
    def test_it_is_sent_again_under_the_same_id(self, shop: Shop, status: int) -> None:
        shop.console.expect_error("Failed to load resource|ERR_CONNECTION_FAILED")
        _open_with_stopped_clock(shop)
        shop.answers = [Answer(status), Answer(status)]
        shop.do("Convultra.trackPurchase({value: 5})")
        for _ in range(2):
            shop.page.clock.run_for(2_000)
            shop.settle()
        first, second, third = shop.sent("events")
        assert first == second == third
        assert shop.do(QUEUE) == []

    @pytest.mark.parametrize("status", [400, 403, 404, 413, 422])
    def test_a_refusal_is_final_and_says_why(self, shop: Shop, status: int) -> None:
        shop.console.expect_error("Failed to load resource")
        _open_with_stopped_clock(shop)
        shop.answers = [Answer(status, {"title": "No such key", "detail": "Look at the install page."})]
        shop.do("Convultra.trackLead()")
        shop.page.clock.run_for(600_000)
        assert len(shop.posts("events")) == 1
        assert shop.do(QUEUE) == []
        assert shop.console.warnings == [
            'Convultra: refused: {"title":"No such key","detail":"Look at the install page."}'
        ]

    def test_a_refused_body_of_several_is_sent_one_by_one(self, shop: Shop) -> None:
        shop.console.expect_error("Failed to load resource")
        _open_with_stopped_clock(shop)
        shop.answers = [Answer(400), Answer(202), Answer(422), Answer(202)]
        shop.do("for (const name of 'abc') Convultra.track(name)")
        for _ in range(3):
            shop.page.clock.run_for(2_000)
            shop.settle()
        bodies = [[event["name"] for event in shop.body(request)["events"]] for request in shop.posts("events")]
        assert bodies == [["a", "b", "c"], ["a"], ["b"], ["c"]]
        assert shop.do(QUEUE) == []

    def test_it_waits_as_long_as_the_server_asks(self, shop: Shop) -> None:
        shop.console.expect_error("429")
        _open_with_stopped_clock(shop)
        shop.answers = [Answer(429, headers={"Retry-After": "120"})]
        shop.do("Convultra.trackLead()")
        shop.page.clock.run_for(119_000)
        shop.settle()
        assert len(shop.posts("events")) == 1
        shop.page.clock.run_for(2_000)
        shop.settle()
        assert len(shop.posts("events")) == 2

    def test_the_pauses_grow(self, shop: Shop) -> None:
        shop.console.expect_error("503")
        _open_with_stopped_clock(shop)
        shop.answers = [Answer(503)] * 20
        shop.do("Math.random = () => 0; Convultra.trackLead()")
        counts = []
        for seconds in (1, 2, 4, 8):
            shop.page.clock.run_for(seconds * 1_000 - 1)
            shop.settle()
            counts.append(len(shop.posts("events")))
            shop.page.clock.run_for(1)
            shop.settle()
        assert counts == [1, 2, 3, 4]

    def test_it_does_not_wait_for_ever(self, shop: Shop) -> None:
        held: list[Route] = []
        shop.page.add_init_script(
            "const real = AbortSignal.timeout; AbortSignal.timeout = () => real.call(AbortSignal, 50)"
        )
        shop.visit()
        shop.page.route("https://convultra.test/v1/wk_test/events", lambda route: held.append(route), times=1)
        shop.do("Convultra.trackLead()")
        shop.wait_for(lambda: bool(shop.sent("events")))
        assert len(held) == 1

    def test_a_redirect_is_no_answer(self, shop: Shop) -> None:
        shop.console.expect_error("Failed to load resource|CORS")
        shop.visit()
        shop.answers = [Answer(301, headers={"Location": "https://convultra.test/elsewhere"})]
        shop.do("Convultra.trackLead()")
        assert len(shop.do(QUEUE)) == 1


class TestOffline:
    def test_nothing_is_lost_and_nothing_doubled(self, shop: Shop) -> None:
        shop.console.expect_error("ERR_INTERNET_DISCONNECTED|Failed to load resource")
        shop.visit()
        shop.answers = [Answer(0)] * 2
        for _ in range(2):
            shop.do("for (let n = 0; n < 100; n++) Convultra.track('offline ' + n)")
        refused = len(shop.posts("events"))
        shop.answers = []
        shop.do("dispatchEvent(new Event('online'))")
        shop.wait_for(lambda: shop.page.evaluate(QUEUE) == [])
        taken = [
            event["event_id"] for request in shop.posts("events")[refused:] for event in shop.body(request)["events"]
        ]
        assert len(taken) == len(set(taken)) == 200

    def test_the_queue_keeps_the_newest_500(self, shop: Shop) -> None:
        shop.console.expect_error("Failed to load resource")
        shop.visit()
        shop.answers = [Answer(503)]
        shop.do("for (let n = 0; n < 503; n++) Convultra.track('e' + n)")
        assert len(shop.do(QUEUE)) == 500
        assert "Convultra: queue full" in shop.console.warnings
        assert shop.sent("events")[0]["name"] == "e3"

    def test_a_request_has_at_most_100_events_and_20_kilobytes(self, shop: Shop) -> None:
        shop.visit()
        shop.do("for (let n = 0; n < 250; n++) Convultra.track('small')")
        shop.do("for (let n = 0; n < 10; n++) Convultra.track('large', {note: 'ü'.repeat(6000)})")
        shop.wait_for(lambda: len(shop.sent("events")) == 260)
        assert 50 < max(len(shop.body(request)["events"]) for request in shop.posts("events")) <= 100
        assert max(len(request.post_data_buffer or b"") for request in shop.posts("events")) <= 20_000


class TestLeaving:
    def test_a_hidden_page_does_not_wait_for_its_retry(self, shop: Shop) -> None:
        shop.console.expect_error("Failed to load resource")
        _open_with_stopped_clock(shop)
        shop.answers = [Answer(503)]
        shop.do("Convultra.trackLead()")
        shop.do(HIDE)
        first, second = shop.sent("events")
        assert first == second

    def test_a_page_that_is_come_back_to_waits_as_long_as_the_server_asks(self, shop: Shop) -> None:
        shop.console.expect_error("429")
        _open_with_stopped_clock(shop)
        shop.answers = [Answer(429, headers={"Retry-After": "120"})] * 2
        shop.do("Convultra.trackLead()")
        shop.do(HIDE)
        assert len(shop.posts("events")) == 2
        shop.do(SHOW)
        assert len(shop.posts("events")) == 2

    def test_a_page_that_is_come_back_to_owns_its_queue_again(self, shop: Shop) -> None:
        held: list[Route] = []
        _open_with_stopped_clock(shop)
        shop.page.route("https://convultra.test/v1/wk_test/events", lambda route: held.append(route))
        shop.page.evaluate("Convultra.trackLead()")
        shop.wait_for(lambda: len(held) == 1)
        shop.do(HIDE)
        assert shop.page.evaluate(LEASES) == [False]
        shop.do(SHOW)
        assert shop.page.evaluate(LEASES) == [True]

    @pytest.mark.parametrize("turn", range(5))
    def test_an_event_tracked_while_the_page_goes_is_delivered(self, shop: Shop, turn: int) -> None:
        shop.visit(f"https://shop.test/?msclkid={CLICK}")
        shop.page.evaluate(
            f"addEventListener('pagehide', () => Convultra.track('leaving {turn}')); location.href = '/thanks'"
        )
        shop.page.wait_for_url("**/thanks")
        shop.settle()
        shop.page.clock.install()
        shop.visit("https://shop.test/later")
        shop.wind_until(lambda: bool(shop.sent("events")))
        assert {event["name"] for event in shop.sent("events")} == {f"leaving {turn}"}
        assert len({event["event_id"] for event in shop.sent("events")}) == 1

    def test_the_browser_is_asked_to_outlive_the_page(self, shop: Shop) -> None:
        shop.visit()
        shop.do("{ const real = fetch; window.fetch = (url, how) => ((window.asked = how), real(url, how)) }")
        shop.page.evaluate("Convultra.trackLead()")
        shop.wait_for(lambda: bool(shop.sent("events")))
        assert shop.page.evaluate("asked.keepalive") == 1

    def test_the_requests_of_a_page_that_goes_fit_the_browser_s_limit(self, shop: Shop) -> None:
        held: list[Route] = []
        shop.visit()
        shop.page.route("https://convultra.test/v1/wk_test/events", lambda route: held.append(route))
        shop.page.evaluate("for (let n = 0; n < 8; n++) Convultra.track('large', {note: 'x'.repeat(12000)})")
        shop.wait_for(lambda: len(held) == 1)
        bodies = shop.page.evaluate(
            f"""() => {{
                const bodies = [], real = fetch;
                window.fetch = (url, options) => (bodies.push(options.body), real(url, options));
                {HIDE};
                dispatchEvent(new Event("pagehide"));
                return bodies;
            }}"""
        )
        under_way = held[0].request.post_data or ""
        assert len(bodies) == 2
        assert len(bodies[0]) + len(bodies[1]) + len(under_way) <= 64 * 1024
        assert json.loads(bodies[0])["events"][0] not in json.loads(under_way)["events"]

    def test_the_next_page_sends_at_once_what_did_not_fit(self, shop: Shop) -> None:
        held: list[Route] = []
        shop.page.clock.set_fixed_time("2026-11-21T10:00:00Z")  # no lease runs out
        shop.visit()
        shop.page.route("https://convultra.test/v1/wk_test/events", lambda route: held.append(route), times=1)
        shop.page.evaluate("for (let n = 0; n < 8; n++) Convultra.track('large', {note: 'x'.repeat(12000)})")
        shop.wait_for(lambda: len(held) == 1)
        shop.visit("https://shop.test/next")
        shop.wait_for(lambda: len({event["event_id"] for event in shop.sent("events")}) >= 4)

    def test_the_next_page_sends_what_this_one_could_not(self, shop: Shop) -> None:
        shop.console.expect_error("Failed to load resource")
        shop.visit()
        shop.answers = [Answer(0), Answer(0)]
        shop.do("Convultra.trackPurchase({value: 5})")
        shop.answers = [Answer(0)]
        shop.page.clock.install()
        shop.visit("https://shop.test/next")
        shop.wind_until(lambda: shop.page.evaluate(QUEUE) == [])
        assert len({event["event_id"] for event in shop.sent("events")}) == 1


class TestTwoTabs:
    def _track(self, page: Page, tab: str) -> None:
        page.evaluate(f"for (let n = 0; n < 100; n++) setTimeout(() => Convultra.track('{tab} ' + n), n % 7)")

    def test_they_lose_nothing(self, shop: Shop) -> None:
        shop.visit()
        other = shop.context.new_page()
        shop.visit(page=other)
        self._track(shop.page, "one")
        self._track(other, "two")
        shop.wait_for(lambda: len({event["event_id"] for event in shop.sent("events")}) == 200)
        shop.wait_for(lambda: shop.page.evaluate(QUEUE) == [])

    def test_one_leaves_the_other_s_events_alone_while_it_sends_them(self, shop: Shop) -> None:
        shop.console.expect_error("Failed to load resource")
        shop.visit()
        shop.answers = [Answer(503, headers={"Retry-After": "60"})]
        shop.do("Convultra.track('mine')")
        other = shop.context.new_page()
        shop.visit(page=other)
        other.evaluate("Convultra.track('yours')")
        shop.settle(other)
        assert [event["name"] for event in shop.sent("events")] == ["mine", "yours"]

    def test_a_broken_entry_of_the_queue_is_removed(self, shop: Shop) -> None:
        shop.visit()
        shop.page.evaluate("localStorage['convultra.queue.wk_test.a'] = '{'")
        shop.page.evaluate("localStorage['convultra.queue.wk_test.b'] = 'null'")
        shop.do("Convultra.trackLead()")
        assert shop.do(QUEUE) == []

    def test_the_queue_of_another_key_is_not_sent(self, shop: Shop) -> None:
        shop.visit()
        shop.page.evaluate(
            """localStorage['convultra.queue.wk_old.a'] =
               JSON.stringify({kind: 'events', at: 1, until: 1, body: {name: 'old'}})"""
        )
        shop.do("Convultra.trackLead()")
        assert [event["name"] for event in shop.sent("events")] == ["lead"]


class TestThePageAround:
    def test_a_fetch_of_the_page_that_throws_is_no_answer(self, shop: Shop) -> None:
        _open_with_stopped_clock(shop)
        shop.do(
            """{ const real = fetch;
                 window.fetch = (url, how) => {
                   if (how) { window.fetch = real; throw new Error("blocked") }
                   return real(url);
                 } }"""
        )
        shop.page.evaluate("Convultra.track('one')")
        shop.wait_for(lambda: bool(shop.console.warnings))
        shop.do("Convultra.track('two')")
        shop.page.clock.run_for(2_000)
        shop.settle()
        assert {event["name"] for event in shop.sent("events")} == {"one", "two"}

    def test_an_event_under_way_by_a_clock_that_was_ahead_is_sent(self, shop: Shop) -> None:
        shop.page.clock.set_fixed_time("2026-11-22T06:00:00Z")
        shop.visit()
        shop.page.evaluate("window.fetch = () => new Promise(() => {}); 0")
        shop.page.evaluate("Convultra.track('ahead')")
        shop.wait_for(lambda: len(shop.page.evaluate(QUEUE)) == 1)
        shop.page.evaluate("dispatchEvent(new Event('pagehide'))")
        other = shop.context.new_page()
        other.clock.set_fixed_time("2026-11-21T10:00:00Z")
        shop.visit(page=other)
        shop.wait_for(lambda: bool(shop.sent("events")))
        assert [event["name"] for event in shop.sent("events")] == ["ahead"]

    def test_a_full_storage_is_named_once(self, shop: Shop) -> None:
        shop.visit()
        shop.do(
            """for (let size = 2 ** 22; size >= 1; size /= 2)
                 try { for (;;) localStorage[Math.random()] = "x".repeat(size) } catch {}"""
        )
        shop.do("Convultra.track('a')")
        shop.do("Convultra.track('b')")
        assert shop.console.warnings == ["Convultra: not usable: localStorage"]

    def test_a_full_queue_is_named_once(self, shop: Shop) -> None:
        shop.console.expect_error("Failed to load resource")
        shop.visit()
        shop.answers = [Answer(503)] * 9
        for _ in range(3):
            shop.do("for (let n = 0; n < 300; n++) Convultra.track('e')")
        assert [warning for warning in shop.console.warnings if "queue" in warning] == ["Convultra: queue full"]
