"""No bytes whatsoever make the parser fail: it answers with rows or with refusals, and its rows can be stored."""

import json
from typing import Any

from django.test import SimpleTestCase
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.decoding import BodyRefused
from ingest.parsing import (
    BACKEND,
    BROWSER,
    Door,
    EventRow,
    Item,
    SiteFacts,
    parse_adjustments,
    parse_clicks,
    parse_events,
)
from ingest.refusals import MAX_VALUE
from tests.cast import NOON
from tests.ingest.calls import ADJUSTMENT, CLICK, PURCHASE

SITE = SiteFacts(1, "USD")
DOORS = st.sampled_from([BROWSER, BACKEND])
ODD_TEXTS = st.sampled_from(["", "\0", "\ud800", "2026-11-21T10:00:00Z", "1e999", "-0", "a@b.example", "€", "NaN"])
TEXTS = st.text() | ODD_TEXTS | st.emails()
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.integers(min_value=10**300) | TEXTS
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4))
EVENT_MEMBERS = st.sampled_from([*PURCHASE, "properties", "user_data", "consent", "transaction_id", "visitor_id"])
PEOPLE = st.dictionaries(st.sampled_from(["email", "phone", "country", "email_sha256", "phone_sha256"]), TEXTS)


def parsed(body: bytes, door: Door) -> list[Item[EventRow]]:
    """Return what becomes of the body's events; nothing when it is refused whole."""
    try:
        return parse_events(body, SITE, door, NOON)
    except BodyRefused:
        return []


class ArbitraryBytesTests(SimpleTestCase):
    @given(st.binary(), DOORS)
    def test_bytes(self, body: bytes, door: Door) -> None:
        self.assertEqual(parsed(body, door), [])

    @given(JSON, DOORS)
    def test_json(self, said: Any, door: Door) -> None:
        for body in (json.dumps(said).encode(), json.dumps(said, ensure_ascii=False).encode("utf-8", "surrogatepass")):
            self.assertEqual(parsed(body, door), [])

    @given(st.lists(st.dictionaries(EVENT_MEMBERS, JSON | PEOPLE), min_size=1, max_size=3), JSON, DOORS)
    @settings(max_examples=300, deadline=None)
    def test_events_of_odd_members(self, said: list[dict[str, Any]], sent_at: Any, door: Door) -> None:
        for sent in ({}, {"sent_at": sent_at}):
            items = parsed(json.dumps({"events": [PURCHASE | each for each in said]} | sent).encode(), door)
            self.assertIn(len(items), (0, len(said)))
            for item in items:
                self.assertTrue(item.row or item.errors)
                if item.row:
                    self.check(item.row)

    def check(self, row: EventRow) -> None:
        """Check what the columns would refuse, or what must never reach them."""
        for column in EventRow.__struct_fields__:
            value = getattr(row, column)
            if isinstance(value, str):
                self.assertLessEqual(len(value), 128)
                self.assertTrue(value.isprintable())
        self.assertTrue(row.value is None or 0 <= row.value <= MAX_VALUE)
        self.assertNotIn("\\u0000", json.dumps(row.properties).replace("\\\\", ""))
        self.assertTrue({len(row.email_sha256), len(row.phone_sha256)} <= {0, 64})

    @given(st.sampled_from(sorted(CLICK)), JSON)
    @settings(deadline=None)
    def test_clicks_of_odd_members(self, member: str, held: Any) -> None:
        try:
            items = parse_clicks(json.dumps({"clicks": [CLICK | {member: held}]}).encode(), SITE, BROWSER, NOON)
        except BodyRefused:
            return
        self.assertTrue(items[0].row or items[0].errors)

    @given(st.lists(st.dictionaries(st.sampled_from([*ADJUSTMENT, "event_id"]), JSON), min_size=1, max_size=3))
    @settings(deadline=None)
    def test_adjustments_of_odd_members(self, said: list[dict[str, Any]]) -> None:
        body = json.dumps({"adjustments": [ADJUSTMENT | each for each in said]}).encode()
        try:
            items = parse_adjustments(body, SITE, BACKEND, NOON)
        except BodyRefused:
            return
        for item in items:
            self.assertTrue(item.row or item.errors)
            if item.row:
                self.assertNotEqual(item.row.transaction_id, item.row.event_id)
                self.assertEqual(item.row.value is None, item.row.type == "retract")

    @given(st.data())
    def test_a_good_body_with_one_byte_changed(self, data: st.DataObject) -> None:
        body = bytearray(json.dumps({"events": [PURCHASE], "sent_at": "2026-11-21T12:00:00Z"}).encode())
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
        for item in parsed(bytes(body), BROWSER):
            self.assertTrue(item.row or item.errors)
