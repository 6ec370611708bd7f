"""What a call of `track()` puts on the wire."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from ingest.parsing import BROWSER, SiteFacts, parse_clicks, parse_events

from .conftest import CLICK, SCRIPT, STUB, Answer, Shop

pytestmark = pytest.mark.browser

UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


class TestThePurchase:
    def test_its_body_is_exact(self, shop: Shop) -> None:
        shop.page.clock.set_fixed_time(datetime(2026, 11, 21, 10, 30, tzinfo=UTC))
        shop.visit(f"https://shop.test/?msclkid={CLICK}")
        shop.do("Convultra.consent({ad_storage: 'granted'}); Convultra.identify('CART-7')")
        shop.do("Convultra.enhance({email: 'john@contoso.com', phone: '+14255551234', address: {city: 'Reno'}})")
        shop.do("Convultra.trackPurchase({value: 79.99, currency: 'USD', transaction_id: 'T-1', coupon: 'NOV'})")
        (request,) = shop.posts("events")
        body = shop.body(request)
        (event,) = body["events"]
        assert UUID4.fullmatch(event["event_id"])
        assert UUID4.fullmatch(event["session_id"])
        assert body == {
            "sent_at": "2026-11-21T10:30:00.000Z",
            "events": [
                {
                    "name": "purchase",
                    "event_id": event["event_id"],
                    "occurred_at": "2026-11-21T10:30:00.000Z",
                    "value": 79.99,
                    "currency": "USD",
                    "transaction_id": "T-1",
                    "external_id": "CART-7",
                    "visitor_id": shop.do("Convultra.visitorId()"),
                    "session_id": event["session_id"],
                    "msclkid": CLICK,
                    "consent": {"ad_storage": "granted"},
                    "properties": {"coupon": "NOV"},
                    "user_data": {
                        "email_sha256": "ec81f3ac7b2b19675bab9d54cf416f9f18cff87c97da5cca82c0f0891bc40602",
                        "phone_sha256": "c59475d96e9f01d7d18d06cfad84dd02333207f02c0c2c5663ef2782cda0390e",
                    },
                }
            ],
        }

    def test_its_request_needs_no_preflight_and_no_cookie(self, shop: Shop) -> None:
        shop.context.add_cookies([{"name": "session", "value": "dashboard", "url": "https://convultra.test"}])
        shop.visit()
        shop.do("Convultra.trackPurchase({value: 1})")
        (request,) = shop.posts("events")
        headers = request.all_headers()
        assert (request.method, request.url) == ("POST", "https://convultra.test/v1/wk_test/events")
        assert headers["content-type"] == "text/plain;charset=UTF-8"
        assert "cookie" not in headers

    def test_it_carries_no_field_that_nobody_gave(self, shop: Shop) -> None:
        shop.visit()
        shop.do("Convultra.trackPurchase()")
        (event,) = shop.sent("events")
        assert set(event) == {"name", "event_id", "occurred_at", "visitor_id", "session_id", "properties"}


class TestTheDoor:
    def test_it_takes_what_the_sdk_sends(self, shop: Shop) -> None:
        shop.visit(f"https://shop.test/?utm_source=bing&msclkid={CLICK}")
        shop.do("Convultra.consent({ad_storage: 'granted'}); Convultra.enhance({email: 'john@contoso.com'})")
        shop.do("Convultra.trackPurchase({value: '79.99', currency: 'usd', transaction_id: 7, items: [{sku: 'a'}]})")
        now, facts = datetime.now(UTC), SiteFacts(1, "USD")
        (click,) = parse_clicks(shop.posts("clicks")[0].post_data_buffer or b"", facts, BROWSER, now)
        (event,) = parse_events(shop.posts("events")[0].post_data_buffer or b"", facts, BROWSER, now)
        assert click.row
        assert event.row
        assert [*click.errors, *event.errors] == []


class TestTheCalls:
    @pytest.mark.parametrize(
        ("call", "name"),
        [
            ("trackPurchase()", "purchase"),
            ("trackLead()", "lead"),
            ("trackSignup()", "signup"),
            ("trackSubscription()", "subscription"),
            ("track('qualified_lead')", "qualified_lead"),
            ("push(['track', 'demo'])", "demo"),
        ],
    )
    def test_it_names_the_event(self, shop: Shop, call: str, name: str) -> None:
        shop.visit()
        shop.do(f"Convultra.{call}")
        assert [event["name"] for event in shop.sent("events")] == [name]

    def test_one_turn_s_events_travel_together_in_order(self, shop: Shop) -> None:
        shop.visit()
        shop.do("for (const name of 'abc') Convultra.track(name)")
        (request,) = shop.posts("events")
        assert [event["name"] for event in shop.body(request)["events"]] == ["a", "b", "c"]
        assert len({event["event_id"] for event in shop.sent("events")}) == 3

    def test_a_visit_is_one_session_and_a_new_tab_another(self, shop: Shop) -> None:
        shop.visit()
        shop.do("Convultra.track('one')")
        shop.visit("https://shop.test/next")
        shop.do("Convultra.track('two')")
        other = shop.context.new_page()
        shop.visit(page=other)
        other.evaluate("Convultra.track('three')")
        shop.settle(other)
        one, two, three = shop.sent("events")
        assert one["session_id"] == two["session_id"] != three["session_id"]
        assert one["visitor_id"] == two["visitor_id"] == three["visitor_id"]

    def test_identify_holds_for_the_session_until_taken_back(self, shop: Shop) -> None:
        shop.visit()
        shop.do("Convultra.identify(4711)")
        shop.visit("https://shop.test/next")
        shop.do("Convultra.track('a'); Convultra.track('b', {external_id: 'own'})")
        shop.do("Convultra.identify(null); Convultra.track('c')")
        assert [event.get("external_id") for event in shop.sent("events")] == ["4711", "own", None]


class TestTheValues:
    @pytest.mark.parametrize(
        ("given", "travels"),
        [
            ("49.9", 49.9),
            ("0", 0),
            ("3 * 79.99", 239.97),
            ("0.125", 0.125),
            ("'1299.00'", 1299),
            ("'-5'", -5),
            ("100", 100),
        ],
    )
    def test_a_number_travels_as_given(self, shop: Shop, given: str, travels: Any) -> None:
        shop.visit()
        shop.do(f"Convultra.trackPurchase({{value: {given}}})")
        assert shop.sent("events")[0]["value"] == travels

    def test_what_is_no_number_is_left_out_with_a_warning(self, shop: Shop) -> None:
        shop.visit()
        shop.do(
            """for (const value of [NaN, Infinity, "1,299.00", "49 EUR", "", {}, [], true, 10n, Symbol()])
                 Convultra.trackPurchase({value, transaction_id: "T-1"})"""
        )
        assert {event["transaction_id"] for event in shop.sent("events")} == {"T-1"}
        assert [event for event in shop.sent("events") if "value" in event] == []
        assert len(shop.sent("events")) == 10
        assert shop.console.warnings == ["Convultra: not usable: value"]

    def test_ids_and_currency_take_their_form(self, shop: Shop) -> None:
        shop.visit()
        shop.do("Convultra.trackPurchase({currency: 'eur', transaction_id: 1001, external_id: ''})")
        (event,) = shop.sent("events")
        assert (event["currency"], event["transaction_id"], "external_id" in event) == ("EUR", "1001", False)

    @pytest.mark.parametrize(
        "properties", ["(() => { const a = {}; a.self = a; return a })()", "{big: 10n}", "{long: 'x'.repeat(20000)}"]
    )
    def test_an_event_goes_without_properties_that_cannot_travel(self, shop: Shop, properties: str) -> None:
        shop.visit()
        shop.do(f"Convultra.trackPurchase({{value: 5, ...{properties}}})")
        (event,) = shop.sent("events")
        assert (event["value"], event["properties"]) == (5, {})
        assert shop.console.warnings == ["Convultra: not usable: properties"]


class TestTheStart:
    def test_the_stub_s_calls_are_replayed_in_order(self, shop: Shop) -> None:
        calls = "Convultra.identify('L-1');Convultra.track('first');Convultra.identify('L-2');Convultra.track('second')"
        shop.head = STUB + f"<script>{calls}</script>" + SCRIPT.replace("<script ", "<script async ")
        shop.visit(f"https://shop.test/?msclkid={CLICK}")
        shop.wait_for(lambda: bool(shop.posts("events")))
        events = [(event["name"], event["external_id"], event["msclkid"]) for event in shop.sent("events")]
        assert events == [("first", "L-1", CLICK), ("second", "L-2", CLICK)]

    def test_init_names_key_and_endpoint(self, shop: Shop) -> None:
        shop.head = '<script src="https://shop.test/own/sdk.js"></script>'
        shop.context.route(
            "https://shop.test/own/sdk.js", lambda route: route.fulfill(path="static/sdk/convultra.v1.js")
        )
        shop.visit()
        shop.do("Convultra.init('wk_own', {endpoint: 'https://convultra.test/'}); Convultra.trackLead()")
        assert [request.url for request in shop.posts("events")] == ["https://convultra.test/v1/wk_own/events"]

    def test_a_call_before_init_waits_for_it(self, shop: Shop) -> None:
        shop.head = SCRIPT.replace(' data-key="wk_test"', "")
        shop.visit()
        shop.do("Convultra.trackLead()")
        assert shop.requests == []
        assert "before init()" in shop.console.warnings[0]
        shop.do("Convultra.init('wk_test')")
        assert [event["name"] for event in shop.sent("events")] == ["lead"]

    def test_a_second_copy_of_the_script_changes_nothing(self, shop: Shop) -> None:
        shop.head = SCRIPT + SCRIPT
        shop.visit()
        shop.do("Convultra.trackLead()")
        assert len(shop.sent("events")) == 1
        assert "twice" in shop.console.warnings[0]

    @pytest.mark.parametrize("arguments", ["", "null", "'sk_secret'", "'wk_a/b'", "'wk_other'", "Symbol()"])
    def test_a_wrong_key_is_named_and_the_first_stays(self, shop: Shop, arguments: str) -> None:
        shop.visit()
        shop.do(f"Convultra.init({arguments}); Convultra.trackLead()")
        assert len(shop.console.warnings) == 1
        assert [request.url for request in shop.posts("events")] == ["https://convultra.test/v1/wk_test/events"]


class TestNonsense:
    @pytest.mark.parametrize("method", ["init", "track", "trackPurchase", "enhance", "identify", "consent", "push"])
    def test_it_never_throws(self, shop: Shop, method: str) -> None:
        shop.visit()
        shop.do(
            f"""{{
              const hostile = {{get value() {{ throw new Error("mine") }}, toString() {{ throw null }}}};
              const endless = new Proxy({{}}, {{get() {{ throw Object.create(null) }}, ownKeys() {{ throw 1 }}}});
              for (const junk of [undefined, null, 0, NaN, "", "x", true, [], [[]], {{}}, () => {{}}, Symbol(), 10n,
                                  hostile, endless, window, document]) {{
                Convultra.{method}(junk);
                Convultra.{method}("purchase", junk);
                Convultra.{method}({{email: junk, phone: junk, ad_storage: "granted"}});
              }}
            }}"""
        )
        assert all(warning.startswith("Convultra: ") for warning in shop.console.warnings)

    def test_the_same_warning_comes_once(self, shop: Shop) -> None:
        shop.visit()
        shop.do("Convultra.track(); Convultra.track(null); Convultra.track('')")
        assert shop.console.warnings == ["Convultra: not usable: name"]

    def test_a_refused_event_is_named(self, shop: Shop) -> None:
        errors = [{"field": "currency", "code": "unknown", "detail": "XXX is no currency"}]
        shop.visit()
        shop.answers = [Answer(202, {"results": [{"event_id": "e", "status": "refused", "errors": errors}]})]
        shop.do("Convultra.trackPurchase({currency: 'XXX'})")
        assert "XXX is no currency" in shop.console.warnings[0]


class TestTheIds:
    def test_white_space_around_them_is_no_part_of_them(self, shop: Shop) -> None:
        shop.visit()
        shop.do(r"Convultra.trackPurchase({transaction_id: '\n  T-2\n', external_id: '\u00a0L-1 ', currency: ' eur '})")
        (event,) = shop.sent("events")
        assert (event["transaction_id"], event["external_id"], event["currency"]) == ("T-2", "L-1", "EUR")

    @pytest.mark.parametrize(
        "junk", ["NaN", "Infinity", "{}", "[7]", "10n", "true", "'jane@contoso.com'", "'a%40b.com'"]
    )
    def test_what_is_no_id_is_left_out_with_a_warning(self, shop: Shop, junk: str) -> None:
        shop.visit()
        shop.do(f"Convultra.trackPurchase({{transaction_id: {junk}}})")
        assert "transaction_id" not in shop.sent("events")[0]
        assert shop.console.warnings == ["Convultra: not usable: transaction_id"]

    def test_an_email_is_no_identity(self, shop: Shop) -> None:
        shop.visit()
        shop.do("Convultra.identify('jane@contoso.com'), Convultra.trackLead()")
        assert "jane" not in str([*(request.post_data for request in shop.requests), shop.stored()])
        assert shop.console.warnings == ["Convultra: not usable: external_id"]

    @pytest.mark.parametrize("currency", ["€", "euro", "Dollar", "978"])
    def test_a_currency_of_other_than_three_letters_is_left_as_it_is_said(self, shop: Shop, currency: str) -> None:
        shop.visit()
        shop.do(f"Convultra.trackPurchase({{currency: '{currency}'}})")
        assert shop.sent("events")[0]["currency"] == currency


class TestHalfAnEmoji:
    def test_it_is_taken_out_of_texts_keys_and_properties(self, shop: Shop) -> None:
        shop.visit()
        shop.do(
            r"""Convultra.trackPurchase({transaction_id: 'T\ud83d', ['k\ude00']: ['bench \ud83d'],
                                        all: '\\ud83d 😀 "\n'})"""
        )
        (event,) = shop.sent("events")
        assert event["transaction_id"] == "T"
        assert event["properties"] == {"k": ["bench "], "all": '\\ud83d 😀 "\n'}
        parsed = parse_events(
            shop.posts("events")[0].post_data_buffer or b"", SiteFacts(1, "USD"), BROWSER, datetime.now(UTC)
        )
        assert [error for item in parsed for error in item.errors] == []
