"""Whatever is wrong with a request is told by field and rule, and nothing is stored."""

import gzip
import io
from typing import Any

from django.http import HttpResponse
from django.test import RequestFactory, SimpleTestCase

from ingest import views
from ingest.models import Adjustment, Event
from ingest.parsing import BROWSER
from ingest.refusals import REFUSALS
from tests.ingest.calls import ADJUSTMENT, CLICK, PURCHASE, CallsTestCase

DEEP = b"[" * 30 + b"]" * 30
ABYSS = b"[" * 20_000 + b"]" * 20_000

# A body that cannot be read at all: its bytes, the answer's status and code, and where one is named the field's.
BODIES: list[tuple[str, bytes, int, str, str]] = [
    ("nothing", b"", 400, "invalid_json", ""),
    ("white space", b" \n", 400, "invalid_json", ""),
    ("half of it", b'{"events": [{"na', 400, "invalid_json", ""),
    ("two of it", b'{"events": []}{"events": []}', 400, "invalid_json", ""),
    ("a form", b"name=purchase&value=3", 400, "invalid_json", ""),
    ("single quotes", b"{'events': []}", 400, "invalid_json", ""),
    ("a comma too many", b'{"events": [],}', 400, "invalid_json", ""),
    ("a byte order mark", b'\xef\xbb\xbf{"events": []}', 400, "invalid_json", ""),
    ("UTF-16", '{"events": []}'.encode("utf-16"), 400, "invalid_utf8", ""),
    ("Latin-1", '{"events": [{"name": "caf\xe9"}]}'.encode("latin-1"), 400, "invalid_utf8", ""),
    ("an encoded surrogate", b'{"events": [{"name": "\xed\xa0\x80"}]}', 400, "invalid_utf8", ""),
    ("half a surrogate pair", rb'{"events": [{"name": "\ud800"}]}', 400, "invalid_json", ""),
    ("a NUL byte", b'{"events": [{"name": "a\0b"}]}', 400, "invalid_json", ""),
    ("NaN", b'{"events": [{"name": "x", "value": NaN}]}', 400, "invalid_json", ""),
    ("Infinity", b'{"events": [{"name": "x", "value": -Infinity}]}', 400, "invalid_json", ""),
    ("the abyss", b'{"events": ' + ABYSS + b"}", 400, "too_deep", ""),
    (
        "the abyss, in its place",
        b'{"events": [{"name": "x", "properties": {"a": ' + ABYSS + b"}}]}",
        400,
        "too_deep",
        "",
    ),
    ("null", b"null", 422, "body_malformed", ""),
    ("text", b'"purchase"', 422, "body_malformed", ""),
    ("a number", b"5", 422, "body_malformed", ""),
    ("a bare list", b'[{"name": "purchase"}]', 422, "body_malformed", ""),
    ("no members", b"{}", 422, "body_malformed", "events"),
    ("another member", b'{"event": {"name": "purchase"}}', 422, "body_malformed", "event"),
    ("one event instead of a list", b'{"events": {"name": "purchase"}}', 422, "body_malformed", "events"),
    ("null instead of a list", b'{"events": null}', 422, "body_malformed", "events"),
    ("an empty list", b'{"events": []}', 422, "body_malformed", "events"),
    ("two lists", b'{"events": [], "events": [{"name": "purchase"}]}', 422, "body_malformed", ""),
    ("a number as time of sending", b'{"sent_at": 1, "events": [{}]}', 422, "body_malformed", "sent_at"),
    (
        "a time of sending without zone",
        b'{"sent_at": "2026-11-21T10:00:00", "events": [{}]}',
        422,
        "body_malformed",
        "sent_at",
    ),
]

# One member of an otherwise good event, what it holds, and the code and field of the refusal.
MEMBERS: list[tuple[str, Any, str, str]] = [
    ("name", None, "wrong_type", "name"),
    ("name", 5, "wrong_type", "name"),
    ("name", ["purchase"], "wrong_type", "name"),
    ("name", "", "name_malformed", "name"),
    ("name", "1st", "name_malformed", "name"),
    ("name", "two words", "name_malformed", "name"),
    ("name", "achat\n", "name_malformed", "name"),
    ("name", "n" * 65, "name_malformed", "name"),
    ("name", "покупка", "name_malformed", "name"),
    ("event_id", 5, "wrong_type", "event_id"),
    ("event_id", "", "event_id_malformed", "event_id"),
    ("event_id", "a/b", "event_id_malformed", "event_id"),
    ("event_id", "..", "event_id_malformed", "event_id"),
    ("event_id", "a\0", "event_id_malformed", "event_id"),
    ("event_id", "jane@example.com", "event_id_malformed", "event_id"),
    ("event_id", "e" * 129, "event_id_malformed", "event_id"),
    ("occurred_at", 1_763_719_200, "wrong_type", "occurred_at"),
    ("occurred_at", "", "time_malformed", "occurred_at"),
    ("occurred_at", "yesterday", "time_malformed", "occurred_at"),
    ("occurred_at", "2026-11-21", "time_malformed", "occurred_at"),
    ("occurred_at", "2026-11-21T10:00:00", "time_malformed", "occurred_at"),
    ("occurred_at", "2026-02-30T10:00:00Z", "time_malformed", "occurred_at"),
    ("occurred_at", "2026-11-21T25:00:00Z", "time_malformed", "occurred_at"),
    ("occurred_at", "2026-11-21T10:00:00+25:00", "time_malformed", "occurred_at"),
    ("occurred_at", "2026-W47-6T10:00:00Z", "time_malformed", "occurred_at"),
    ("occurred_at", "٢٠٢٦-11-21T10:00:00Z", "time_malformed", "occurred_at"),
    ("occurred_at", "0001-01-01T00:00:00+14:00", "time_malformed", "occurred_at"),
    ("occurred_at", "9999-12-31T23:59:59-14:00", "time_malformed", "occurred_at"),
    ("occurred_at", "1999-12-31T23:59:59Z", "time_out_of_range", "occurred_at"),
    ("occurred_at", "2199-11-21T10:00:00Z", "time_in_future", "occurred_at"),
    ("value", "", "value_malformed", "value"),
    ("value", "12,50", "value_malformed", "value"),
    ("value", "1_000", "value_malformed", "value"),
    ("value", " 5", "value_malformed", "value"),
    ("value", "$5", "value_malformed", "value"),
    ("value", "٥", "value_malformed", "value"),
    ("value", "NaN", "value_malformed", "value"),
    ("value", "Infinity", "value_malformed", "value"),
    ("value", True, "value_malformed", "value"),
    ("value", [1], "value_malformed", "value"),
    ("value", {"amount": 1}, "value_malformed", "value"),
    ("value", "9" * 5000, "value_malformed", "value"),
    ("value", "1e9999999999", "value_malformed", "value"),
    ("value", "1e999", "value_too_large", "value"),
    ("value", 1_000_000_000_000, "value_too_large", "value"),
    ("value", "999999999999.001", "value_too_large", "value"),
    ("value", -0.01, "value_negative", "value"),
    ("value", 0.0001, "value_decimals", "value"),
    ("value", "1e-999", "value_decimals", "value"),
    ("value", 0.1 + 0.2, "value_decimals", "value"),
    ("currency", 840, "wrong_type", "currency"),
    ("currency", "eur", "currency_lower_case", "currency"),
    ("currency", "EURO", "currency_unknown", "currency"),
    ("currency", "€", "currency_unknown", "currency"),
    ("currency", "XXX", "currency_unknown", "currency"),
    ("transaction_id", 1042, "wrong_type", "transaction_id"),
    ("transaction_id", "t" * 129, "too_long", "transaction_id"),
    ("external_id", "a\0b", "bad_character", "external_id"),
    ("visitor_id", "v\n", "bad_character", "visitor_id"),
    ("session_id", "\u202egnp", "bad_character", "session_id"),
    ("msclkid", "m" * 129, "too_long", "msclkid"),
    ("consent", True, "wrong_type", "consent"),
    ("consent", "granted", "wrong_type", "consent"),
    ("consent", {"ad_storage": "yes"}, "consent_unknown", "consent.ad_storage"),
    ("consent", {"ad_storage": False}, "wrong_type", "consent.ad_storage"),
    ("consent", {"analytics_storage": "granted"}, "unknown_member", "consent.analytics_storage"),
    ("properties", [], "wrong_type", "properties"),
    ("properties", "a=1", "wrong_type", "properties"),
    ("properties", {"a": "x\0"}, "bad_character", "properties.a"),
    ("properties", {"a\0": 1}, "bad_character", "properties"),
    ("properties", {"a": 2**63}, "number_out_of_range", "properties.a"),
    ("properties", {str(n): n for n in range(201)}, "too_many_keys", "properties"),
    ("properties", {"a": [{str(n): n} for n in range(201)]}, "too_many_keys", "properties.a"),
    ("external_id", "jane.doe@example.com", "personal_data", "external_id"),
    ("transaction_id", "order of jane%40example.com", "personal_data", "transaction_id"),
    ("properties", {"mail": "Jane.Doe@example.com"}, "personal_data", "properties.mail"),
    ("properties", {"page": "/?to=jane%40example.com"}, "personal_data", "properties.page"),
    ("properties", {"form": [{"field": "is jane@mail.example.co.uk ok?"}]}, "personal_data", "properties.form"),
    ("properties", {"jane@example.com": 1}, "personal_data", "properties"),
    ("user_data", "jane", "wrong_type", "user_data"),
    ("user_data", {"address": {}}, "unknown_member", "user_data.address"),
    ("user_data", {"email_sha256": "abc"}, "hash_malformed", "user_data.email_sha256"),
    ("user_data", {"phone_sha256": "g" * 64}, "hash_malformed", "user_data.phone_sha256"),
    ("user_data", {"email_sha256": "jane@example.com"}, "hash_malformed", "user_data.email_sha256"),
    (
        "user_data",
        {"email_sha256": "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855"},
        "hash_of_nothing",
        "user_data.email_sha256",
    ),
    ("revenue", 5, "unknown_member", "revenue"),
    ("Value", 5, "unknown_member", "Value"),
    ("jane@example.com", 5, "unknown_member", ""),
]
# The same for an event written by hand.
RAW_EVENTS: list[tuple[bytes, str, str]] = [
    (b"null", "wrong_type", ""),
    (b"5", "wrong_type", ""),
    (b'"purchase"', "wrong_type", ""),
    (b"[]", "wrong_type", ""),
    (b"{}", "required", "name"),
    (b'{"name": "a", "event_id": "x", "name": "b"}', "duplicate_member", ""),
    (b'{"name": "a", "event_id": "x", "n\\u0061me": "b"}', "duplicate_member", ""),
    (b'{"name": "a", "event_id": "x", "properties": {"k": {"a": 1, "a": "\\u003a"}}}', "duplicate_member", ""),
    (b'{"name": "a", "event_id": "x", "value": 1e5000}', "value_malformed", "value"),
    (b'{"name": "a", "event_id": "x", "value": ' + b"7" * 5000 + b"}", "value_malformed", "value"),
    (b'{"name": "a", "event_id": "x", "properties": {"n": ' + b"7" * 5000 + b"}}", "number_out_of_range", "properties"),
    (b'{"name": "a", "event_id": "x", "properties": {"n": 1e999}}', "number_out_of_range", "properties"),
    (b'{"name": "a", "event_id": "x", "properties": {"n": ' + DEEP + b"}}", "too_deep", "properties.n"),
]

CLICK_MEMBERS: list[tuple[str, Any, str, str]] = [
    ("msclkid", None, "wrong_type", "msclkid"),
    ("msclkid", "", "click_id_malformed", "msclkid"),
    ("msclkid", "undefined", "click_id_malformed", "msclkid"),
    ("msclkid", "{msclkid}", "click_id_malformed", "msclkid"),
    ("msclkid", "Example-123", "click_id_malformed", "msclkid"),
    ("msclkid", "f" * 41, "click_id_malformed", "msclkid"),
    ("msclkid", "f" * 32 + "\n", "click_id_malformed", "msclkid"),
    ("visitor_id", "v" * 129, "too_long", "visitor_id"),
    ("session_id", "s\0", "bad_character", "session_id"),
    ("landing_url", 5, "wrong_type", "landing_url"),
    ("landing_url", "javascript:alert(1)", "url_malformed", "landing_url"),
    ("landing_url", "/pines", "url_malformed", "landing_url"),
    ("landing_url", "http://[::1", "url_malformed", "landing_url"),
    ("landing_url", "https://shop.example/\0", "url_malformed", "landing_url"),
    ("captured_at", "2026-11-21T10:00:00", "time_malformed", "captured_at"),
    ("captured_at", "2199-11-21T10:00:00Z", "time_in_future", "captured_at"),
    ("consent", {"ad_storage": "denied"}, "consent_denied", "consent.ad_storage"),
    ("referrer", "x", "unknown_member", "referrer"),
]

# `None` as what it holds leaves the member as null, which says nothing; `...` leaves it out.
ADJUSTMENT_MEMBERS: list[tuple[str, Any, str, str]] = [
    ("adjustment_id", ..., "required", "adjustment_id"),
    ("adjustment_id", None, "wrong_type", "adjustment_id"),
    ("adjustment_id", 5, "wrong_type", "adjustment_id"),
    ("adjustment_id", "", "adjustment_id_malformed", "adjustment_id"),
    ("adjustment_id", "a/b", "adjustment_id_malformed", "adjustment_id"),
    ("adjustment_id", "a\0", "adjustment_id_malformed", "adjustment_id"),
    ("adjustment_id", "jane@example.com", "adjustment_id_malformed", "adjustment_id"),
    ("adjustment_id", "a" * 129, "adjustment_id_malformed", "adjustment_id"),
    ("type", ..., "required", "type"),
    ("type", None, "wrong_type", "type"),
    ("type", 1, "wrong_type", "type"),
    ("type", "", "type_unknown", "type"),
    ("type", "refund", "type_unknown", "type"),
    ("type", "Restate", "type_unknown", "type"),
    ("type", "retract", "value_of_retract", "value"),
    ("transaction_id", ..., "required", "transaction_id"),
    ("transaction_id", None, "required", "transaction_id"),
    ("transaction_id", "", "required", "transaction_id"),
    ("transaction_id", 1042, "wrong_type", "transaction_id"),
    ("transaction_id", "t" * 129, "too_long", "transaction_id"),
    ("transaction_id", "a\0b", "bad_character", "transaction_id"),
    ("transaction_id", "order of jane%40example.com", "personal_data", "transaction_id"),
    ("event_id", "e-1", "given_twice", "event_id"),
    ("event_id", ["e-1"], "wrong_type", "event_id"),
    ("value", ..., "required", "value"),
    ("value", None, "required", "value"),
    ("value", "", "value_malformed", "value"),
    ("value", "12,50", "value_malformed", "value"),
    ("value", True, "value_malformed", "value"),
    ("value", {"amount": 1}, "value_malformed", "value"),
    ("value", -0.01, "value_negative", "value"),
    ("value", 1_000_000_000_000, "value_too_large", "value"),
    ("value", 0.0001, "value_decimals", "value"),
    ("currency", 840, "wrong_type", "currency"),
    ("currency", "eur", "currency_lower_case", "currency"),
    ("currency", "XXX", "currency_unknown", "currency"),
    ("occurred_at", 1_763_719_200, "wrong_type", "occurred_at"),
    ("occurred_at", "", "time_malformed", "occurred_at"),
    ("occurred_at", "2026-11-21T10:00:00", "time_malformed", "occurred_at"),
    ("occurred_at", "1999-12-31T23:59:59Z", "time_out_of_range", "occurred_at"),
    ("occurred_at", "2199-11-21T10:00:00Z", "time_in_future", "occurred_at"),
    ("reason", "broken", "unknown_member", "reason"),
    ("jane@example.com", 5, "unknown_member", ""),
]


class BadBodyTests(CallsTestCase):
    def test_a_page_is_told_what_is_wrong_with_its_body(self) -> None:
        for what, body, status, code, field in BODIES:
            with self.subTest(what):
                self._check(self.post_from_page("events", body), status, code, field)

    def test_a_page_is_told_what_is_wrong_with_its_clicks(self) -> None:
        for what, body, status, code, field in BODIES:
            with self.subTest(what):
                clicks = body.replace(b'"event', b'"click')
                self._check(self.post_from_page("clicks", clicks), status, code, field.replace("event", "click"))

    def test_a_backend_is_told_what_is_wrong_with_its_body(self) -> None:
        for what, body, status, code, field in BODIES:
            with self.subTest(what):
                self._check(self.post_from_backend(body), status, code, field)

    def test_a_backend_is_told_what_is_wrong_with_its_adjustments(self) -> None:
        for what, body, status, code, field in BODIES:
            with self.subTest(what):
                adjustments = body.replace(b'"event', b'"adjustment')
                response = self.post_adjustments_body(adjustments)
                self._check(response, status, code, field.replace("event", "adjustment"))

    def _check(self, response: HttpResponse, status: int, code: str, field: str) -> None:
        said = self.assert_problem(response, status, code)
        self.assertEqual([error["field"] for error in said.get("errors", [])], [field] if status == 422 else [])
        self.assert_nothing_is_stored()


class BadEventTests(CallsTestCase):
    def test_a_page_is_told_field_and_rule(self) -> None:
        for member, held, code, field in MEMBERS:
            with self.subTest(member, held=repr(held)[:60]):
                response = self.post_from_page("events", {"events": [PURCHASE | {member: held}]})
                self._check(response, code, f"events[0].{field}" if field else "events[0]")

    def test_a_backend_is_told_field_and_rule(self) -> None:
        for member, held, code, field in MEMBERS:
            with self.subTest(member, held=repr(held)[:60]):
                response = self.post_from_backend({"events": [PURCHASE | {member: held}]})
                self._check(response, code, f"events[0].{field}" if field else "events[0]")

    def test_both_are_told_when_the_event_is_none(self) -> None:
        for raw, code, field in RAW_EVENTS:
            for post in (lambda body: self.post_from_page("events", body), self.post_from_backend):
                with self.subTest(raw[:60]):
                    response = post(b'{"events": [' + raw + b"]}")
                    self._check(response, code, f"events[0].{field}" if field else "events[0]")

    def test_the_field_names_the_events_place_in_the_batch(self) -> None:
        bad = PURCHASE | {"event_id": "e-2", "value": -1}
        response = self.post_from_page("events", {"events": [bad, bad, bad, bad]})
        said = self.assert_problem(response, 422, "nothing_accepted")
        self.assertEqual([error["field"] for error in said["errors"]], [f"events[{n}].value" for n in range(4)])

    def test_every_fault_of_an_event_is_told_at_once(self) -> None:
        bad = PURCHASE | {"name": "", "value": "12,5", "currency": "eur"}
        said = self.assert_problem(self.post_from_page("events", {"events": [bad]}), 422, "nothing_accepted")
        self.assertCountEqual(
            [error["code"] for error in said["errors"]], ["name_malformed", "value_malformed", "currency_lower_case"]
        )

    def _check(self, response: HttpResponse, code: str, field: str) -> None:
        said = self.assert_problem(response, 422, "nothing_accepted")
        self.assertEqual([(error["field"], error["code"]) for error in said["errors"]], [(field, code)])
        self.assertTrue(said["errors"][0]["detail"])
        self.assertNotIn(b"jane", response.content.lower())
        self.assert_nothing_is_stored()


class BadClickTests(CallsTestCase):
    def test_a_page_is_told_field_and_rule(self) -> None:
        for member, held, code, field in CLICK_MEMBERS:
            with self.subTest(member, held=held):
                response = self.post_from_page("clicks", {"clicks": [CLICK | {member: held}]})
                said = self.assert_problem(response, 422, "nothing_accepted")
                found = [(error["field"], error["code"]) for error in said["errors"]]
                self.assertEqual(found, [(f"clicks[0].{field}", code)])
                self.assert_nothing_is_stored()

    def test_a_click_of_nobody_is_refused(self) -> None:
        response = self.post_from_page("clicks", {"clicks": [{"msclkid": CLICK["msclkid"]}]})
        said = self.assert_problem(response, 422, "nothing_accepted")
        self.assertEqual(said["errors"][0]["field"], "clicks[0].visitor_id")


class BadAdjustmentTests(CallsTestCase):
    def test_a_backend_is_told_field_and_rule(self) -> None:
        for member, held, code, field in ADJUSTMENT_MEMBERS:
            with self.subTest(member, held=repr(held)[:60]):
                said = {name: value for name, value in (ADJUSTMENT | {member: held}).items() if value is not ...}
                self._check(self.post_adjustments(said), code, f"adjustments[0].{field}" if field else "adjustments[0]")

    def test_a_backend_is_told_when_the_adjustment_is_none(self) -> None:
        good = b'{"adjustment_id": "a", "transaction_id": "1", "type": "restate", "value": '
        for raw, code, field in (
            (b"null", "wrong_type", ""),
            (b"[]", "wrong_type", ""),
            (b"{}", "required", "adjustment_id"),
            (good + b'1, "type": "retract"}', "duplicate_member", ""),
            (good + b"1e5000}", "value_malformed", "value"),
            (good + b'"9e9999999"}', "value_malformed", "value"),
        ):
            with self.subTest(raw):
                response = self.post_adjustments_body(b'{"adjustments": [' + raw + b"]}")
                self._check(response, code, f"adjustments[0].{field}" if field else "adjustments[0]")

    def test_an_order_by_an_impossible_event_id_is_refused(self) -> None:
        said = {"adjustment_id": "a-1", "event_id": "a/b", "type": "retract"}
        self._check(self.post_adjustments(said), "event_id_malformed", "adjustments[0].event_id")

    def _check(self, response: HttpResponse, code: str, field: str) -> None:
        said = self.assert_problem(response, 422, "nothing_accepted")
        self.assertEqual([(error["field"], error["code"]) for error in said["errors"]], [(field, code)])
        self.assertTrue(said["errors"][0]["detail"])
        self.assertNotIn(b"jane", response.content.lower())
        self.assert_nothing_is_stored()


class LimitTests(CallsTestCase):
    def test_a_page_sends_64_kib_at_most(self) -> None:
        body = b'{"events": [' + b" " * 65_536 + b"]}"
        said = self.assert_problem(self.post_from_page("events", body), 413, "body_too_large")
        self.assertIn("65536", said["detail"])

    def test_a_backend_sends_one_mib_at_most(self) -> None:
        body = b'{"events": [' + b" " * 1_048_576 + b"]}"
        self.assert_problem(self.post_from_backend(body), 413, "body_too_large")

    def test_the_largest_bodies_are_taken(self) -> None:
        for post, limit in ((lambda b: self.post_from_page("events", b), 65_536), (self.post_from_backend, 1_048_576)):
            raw = b'{"events": [{"name": "lead", "event_id": "' + str(limit).encode() + b'"}]'
            with self.subTest(limit):
                self.assertEqual(post(raw + b" " * (limit - len(raw) - 1) + b"}").status_code, 202)

    def test_a_page_sends_a_hundred_events_at_most(self) -> None:
        events = [{"name": "lead", "event_id": f"e-{n}"} for n in range(101)]
        self.assert_problem(self.post_from_page("events", {"events": events}), 413, "too_many_items")
        self.assertEqual(self.post_from_page("events", {"events": events[1:]}).status_code, 202)

    def test_a_backend_sends_a_thousand_events_at_most(self) -> None:
        events = [{"name": "lead"}] * 1001
        self.assert_problem(self.post_from_backend({"events": events}), 413, "too_many_items")
        self.assertEqual(self.post_from_backend({"events": events[1:]}).status_code, 202)
        self.assertEqual(Event.objects.count(), 1000)

    def test_a_backend_sends_a_thousand_adjustments_of_one_mib_at_most(self) -> None:
        items = [ADJUSTMENT | {"adjustment_id": f"a-{n}"} for n in range(1001)]
        self.assert_problem(self.post_adjustments(*items), 413, "too_many_items")
        body = b'{"adjustments": [' + b" " * 1_048_576 + b"]}"
        self.assert_problem(self.post_adjustments_body(body), 413, "body_too_large")
        self.assertFalse(Adjustment.objects.exists())
        self.assertEqual(self.post_adjustments(*items[1:]).status_code, 202)
        self.assertEqual(Adjustment.objects.count(), 1000)

    def test_a_page_sends_a_hundred_clicks_at_most(self) -> None:
        response = self.post_from_page("clicks", {"clicks": [CLICK] * 101})
        self.assert_problem(response, 413, "too_many_items")


class ContentTypeTests(CallsTestCase):
    def test_a_page_may_send_json_as_plain_text(self) -> None:
        for n, content_type in enumerate(
            ["application/json", "text/plain", "text/plain;charset=UTF-8", "application/json; charset=utf8"]
        ):
            with self.subTest(content_type):
                event = PURCHASE | {"event_id": f"e-{n}"}
                self.assertEqual(self.post_from_page("events", {"events": [event]}, content_type).status_code, 202)

    def test_other_types_are_refused(self) -> None:
        for content_type in ("", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/html"):
            with self.subTest(content_type):
                response = self.post_from_page("events", {"events": [PURCHASE]}, content_type)
                self.assert_problem(response, 415, "unsupported_media_type")
        self.assert_nothing_is_stored()

    def test_a_backend_sends_json_only(self) -> None:
        for response in (
            self.post_from_backend({"events": [PURCHASE]}, "text/plain"),
            self.post_adjustments_body({"adjustments": [ADJUSTMENT]}, "text/plain"),
        ):
            self.assert_problem(response, 415, "unsupported_media_type")
        self.assert_nothing_is_stored()

    def test_other_charsets_are_refused(self) -> None:
        for charset in ("latin-1", "utf-16", "nonsense"):
            with self.subTest(charset):
                response = self.post_from_backend({"events": [PURCHASE]}, f"application/json; charset={charset}")
                self.assert_problem(response, 415, "unsupported_media_type")

    def test_a_compressed_body_is_not_unpacked(self) -> None:
        bomb = gzip.compress(b" " * 1_000_000)
        for encoding in ("gzip", "br", "deflate"):
            with self.subTest(encoding):
                response = self.post_from_backend(bomb, **{"Content-Encoding": encoding})
                self.assert_problem(response, 415, "unsupported_media_type")


class StreamTests(CallsTestCase):
    def test_a_body_that_hides_its_size_is_read_no_further_than_the_limit(self) -> None:
        body = io.BytesIO(b" " * 200_000)
        self.assertEqual(self.send(body).status_code, 413)
        self.assertEqual(body.tell(), BROWSER.max_bytes + 1)

    def test_a_sender_that_goes_away_is_refused(self) -> None:
        class Gone(io.BytesIO):
            def read(self, size: int | None = -1) -> bytes:
                raise ConnectionResetError

        self.assert_problem(self.send(Gone()), 400, "body_incomplete")

    def send(self, body: io.BytesIO) -> HttpResponse:
        """Post a stream of unknown length, as a WSGI server hands it on."""
        path = f"/v1/{self.site.write_key}/events"
        request = RequestFactory().generic("POST", path, b"{}", "text/plain")
        del request.META["CONTENT_LENGTH"]
        request._stream = body
        return views.post(request, self.site.write_key)


class MethodTests(CallsTestCase):
    def test_other_methods_are_told_which_one_to_use(self) -> None:
        for path, allowed in (
            (f"/v1/{self.site.write_key}/events", "OPTIONS, POST"),
            (f"/v1/{self.site.write_key}/clicks", "OPTIONS, POST"),
            ("/v1/events", "POST"),
            ("/v1/adjustments", "POST"),
        ):
            for method in ("GET", "PUT", "PATCH", "DELETE", "PROPFIND"):
                with self.subTest(path, method=method):
                    response = self.client.generic(method, path)
                    self.assert_problem(response, 405, "method_not_allowed")  # type: ignore[arg-type]
                    self.assertEqual(response["Allow"], allowed)


class RefusalTableTests(SimpleTestCase):
    def test_every_code_of_the_table_is_met_above(self) -> None:
        members = MEMBERS + CLICK_MEMBERS + ADJUSTMENT_MEMBERS
        met = {code for _, _, code, _ in members} | {code for _, code, _ in RAW_EVENTS}
        # Met in a body's tests, or by a backend only, or by an item that meets what was taken before.
        elsewhere = {"empty_batch", "email_malformed", "phone_malformed", "country_unknown"}
        elsewhere |= {"conflict", "already_retracted", "currency_differs", "not_storable"}
        self.assertEqual(met | elsewhere, set(REFUSALS))
