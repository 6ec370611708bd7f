"""Rows are stored in one commit, and the unique constraint says what is new."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.db import connection
from django.test.utils import CaptureQueriesContext

from ingest.judging import Outcome
from ingest.models import Click, Event, Site
from ingest.parsing import ClickRow, EventRow
from ingest.signals import event_accepted
from ingest.storing import store_clicks, store_events
from tests.cast import CLICK_ID, NOON, CastTestCase

ACCEPTED, DUPLICATE, CONFLICT = Outcome.ACCEPTED, Outcome.DUPLICATE, Outcome.CONFLICT


def event_row(site: Site, event_id: str = "e-1", **fields: Any) -> EventRow:
    """Return the row of a purchase at noon; `fingerprint` stands for what it says."""
    given: dict[str, Any] = {
        "site_id": site.pk,
        "event_id": event_id,
        "name": "purchase",
        "occurred_at": NOON,
        "received_at": NOON,
        "created_at": NOON,
        "source": "browser",
        "value": Decimal("49.900"),
        "currency": "USD",
        "properties": {},
        "fingerprint": "a" * 64,
    }
    texts = "transaction_id external_id visitor_id session_id msclkid email_sha256 phone_sha256 consent"
    return EventRow(**(dict.fromkeys(texts.split(), "") | given | fields))


def click_row(site: Site, **fields: Any) -> ClickRow:
    """Return the row of a visitor's click at noon."""
    given: dict[str, Any] = {
        "site_id": site.pk,
        "msclkid": CLICK_ID,
        "visitor_id": "v-1",
        "session_id": "s-1",
        "landing_url": "https://shop.example/",
        "consent": "",
        "captured_at": NOON,
        "created_at": NOON,
    }
    return ClickRow(**(given | fields))


class StoreEventsTests(CastTestCase):
    def test_it_keeps_every_column_as_it_was_said(self) -> None:
        texts = "transaction_id external_id visitor_id session_id msclkid email_sha256 phone_sha256 consent"
        said: dict[str, Any] = {name: f"{name[:4]}’s" for name in texts.split()}
        said["properties"] = {"ключ": [1, 2.5, None, True, {"a": '\n\\"'}], "big": 2**63 - 1, "small": -(2**63)}
        said["occurred_at"] = datetime(2026, 11, 21, 10, 0, 0, 123456, tzinfo=UTC)
        row = event_row(self.site, **said)
        store_events([row])
        stored = Event.objects.get()
        for column in EventRow.__struct_fields__:
            with self.subTest(column):
                self.assertEqual(getattr(stored, column), getattr(row, column))

    def test_it_keeps_money_exactly(self) -> None:
        values = [Decimal(v) for v in ("0.000", "0.001", "79.990", "4.350", "999999999999.000", "99999999999.999")]
        store_events([event_row(self.site, str(n), value=value) for n, value in enumerate(values)])
        self.assertEqual(list(Event.objects.order_by("pk").values_list("value", flat=True)), values)

    def test_an_event_without_value_has_none(self) -> None:
        store_events([event_row(self.site, value=None, currency="")])
        self.assertIsNone(Event.objects.get().value)

    def test_it_finds_times_with_and_without_a_fraction(self) -> None:
        with_fraction = NOON.replace(microsecond=5)
        store_events([event_row(self.site, "a"), event_row(self.site, "b", occurred_at=with_fraction)])
        self.assertEqual(Event.objects.get(occurred_at=NOON).event_id, "a")
        self.assertEqual(Event.objects.get(occurred_at__gt=NOON).event_id, "b")

    def test_ids_follow_the_order_of_sending(self) -> None:
        store_events([event_row(self.site, event_id) for event_id in ("c", "a", "b")])
        self.assertEqual(list(Event.objects.order_by("pk").values_list("event_id", flat=True)), ["c", "a", "b"])

    def test_a_repeat_is_a_duplicate_and_changes_nothing(self) -> None:
        store_events([event_row(self.site)])
        self.assertEqual(store_events([event_row(self.site, name="lead")]), [DUPLICATE])
        self.assertEqual(Event.objects.get().name, "purchase")

    def test_the_same_id_with_another_body_is_a_conflict_and_the_first_stays(self) -> None:
        store_events([event_row(self.site)])
        self.assertEqual(store_events([event_row(self.site, name="lead", fingerprint="b" * 64)]), [CONFLICT])
        self.assertEqual(Event.objects.get().name, "purchase")

    def test_a_batch_may_repeat_and_contradict_itself(self) -> None:
        rows = [
            event_row(self.site, "a"),
            event_row(self.site, "a"),
            event_row(self.site, "a", fingerprint="b" * 64),
            event_row(self.site, "b"),
        ]
        self.assertEqual(store_events(rows), [ACCEPTED, DUPLICATE, CONFLICT, ACCEPTED])
        self.assertEqual(Event.objects.count(), 2)

    def test_sites_do_not_share_ids(self) -> None:
        other = self.charlie.memberships.get().organisation.sites.get()
        store_events([event_row(self.site)])
        rows = [event_row(other, fingerprint="b" * 64), event_row(self.site)]
        self.assertEqual(store_events(rows), [ACCEPTED, DUPLICATE])

    def test_a_thousand_events_cost_as_many_statements_as_one(self) -> None:
        store_events([event_row(self.site, "seen")])
        with CaptureQueriesContext(
            connection,
        ) as one:
            store_events([event_row(self.site, "first"), event_row(self.site, "seen")])
        rows = [event_row(self.site, str(n)) for n in range(999)]
        with CaptureQueriesContext(connection) as many:
            outcomes = store_events([*rows, event_row(self.site, "seen")])
        self.assertEqual(outcomes, [ACCEPTED] * 999 + [DUPLICATE])
        self.assertEqual(len(many), len(one))

    def test_nothing_to_store_asks_the_database_nothing(self) -> None:
        with CaptureQueriesContext(connection) as captured:
            self.assertEqual(store_events([]), [])
        self.assertEqual([q["sql"] for q in captured if "ingest" in q["sql"]], [])


class EventAcceptedTests(CastTestCase):
    heard: list[tuple[int, int, bool]]

    def setUp(self) -> None:
        self.heard = []
        event_accepted.connect(self.listen)
        self.addCleanup(event_accepted.disconnect, self.listen)

    def listen(self, site_id: int, count: int, **_: object) -> None:
        self.heard.append((site_id, count, connection.in_atomic_block))

    def test_it_is_sent_once_per_site_inside_the_transaction(self) -> None:
        other = self.charlie.memberships.get().organisation.sites.get()
        store_events([event_row(self.site, "a"), event_row(other, "a"), event_row(self.site, "b")])
        self.assertCountEqual(self.heard, [(self.site.pk, 2, True), (other.pk, 1, True)])

    def test_it_is_not_sent_for_repeats(self) -> None:
        store_events([event_row(self.site)])
        self.heard.clear()
        store_events([event_row(self.site), event_row(self.site, fingerprint="b" * 64)])
        self.assertEqual(self.heard, [])

    def test_a_listener_that_fails_leaves_nothing_stored(self) -> None:
        def fail(**_: object) -> None:
            raise RuntimeError("no room")

        event_accepted.connect(fail)
        self.addCleanup(event_accepted.disconnect, fail)
        with self.assertRaisesMessage(RuntimeError, "no room"):
            store_events([event_row(self.site)])
        self.assertFalse(Event.objects.exists())


class StoreClicksTests(CastTestCase):
    def test_it_keeps_every_column(self) -> None:
        row = click_row(self.site)
        self.assertEqual(store_clicks([row]), [ACCEPTED])
        stored = Click.objects.get()
        for column in ClickRow.__struct_fields__:
            self.assertEqual(getattr(stored, column), getattr(row, column))

    def test_a_visitors_click_is_stored_once(self) -> None:
        store_clicks([click_row(self.site)])
        rows = [click_row(self.site), click_row(self.site, visitor_id="v-2"), click_row(self.site, visitor_id="v-2")]
        self.assertEqual(store_clicks(rows), [DUPLICATE, ACCEPTED, DUPLICATE])
        self.assertEqual(Click.objects.count(), 2)
