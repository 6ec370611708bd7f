"""What arrived, by site, day and event name: kept while events are planned."""

from datetime import timedelta
from decimal import Decimal

from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase as HypothesisTestCase

from forwarding.models import EventDay
from forwarding.planning.planner import plan_all, plan_batch
from forwarding.rows.event_days import rebuild_event_days
from ingest.click_ids import is_click_id, new_test_click_id
from ingest.models import REFUND_EVENT, Click, Event, Source
from tests.cast import CLICK_ID, NOON, CastTestCase, make_site, make_user, store_event

_EVENTS = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["purchase", "lead", REFUND_EVENT]),
            "value": st.sampled_from([None, Decimal("0.001"), Decimal("49.90"), Decimal("999999.999")]),
            "currency": st.sampled_from(["", "USD", "EUR"]),
            "msclkid": st.sampled_from(["", CLICK_ID, CLICK_ID.upper(), "undefined", new_test_click_id(NOON)]),
            "source": st.sampled_from(Source.values),
            "received_at": st.sampled_from([NOON, NOON - timedelta(hours=12), NOON - timedelta(hours=12, seconds=1)]),
            "transaction_id": st.sampled_from(["", "A", "B"]),
            "visitor_id": st.sampled_from(["", "seen", "unseen"]),
        }
    ),
    max_size=12,
)
Sums = dict[tuple[int, str, str, str], tuple[int, Decimal, int, Decimal]]


def kept() -> Sums:
    """Return what the roll-up says."""
    rows = EventDay.objects.values_list(
        "site_id", "day", "name", "currency", "count", "value", "with_click", "click_value"
    )
    return {(row[0], str(row[1]), row[2], row[3]): (row[4], row[5], row[6], row[7]) for row in rows}


def counted(clicked: set[int]) -> Sums:
    """Count the events one by one; those in `clicked` came from an ad."""
    sums: Sums = {}
    for event in Event.objects.exclude(source=Source.TEST):
        key = event.site_id, str(event.received_at.date()), event.name, event.currency
        count, value, with_click, click_value = sums.get(key, (0, Decimal(0), 0, Decimal(0)))
        worth, has_click = event.value or Decimal(0), event.pk in clicked
        sums[key] = count + 1, value + worth, with_click + has_click, click_value + worth * has_click
    return sums


class TestAnyHistory(CastTestCase, HypothesisTestCase):
    @settings(max_examples=40, deadline=None)
    @given(batches=st.lists(_EVENTS, max_size=3))
    def test_the_sums_are_those_of_the_rows(self, batches: list[list[dict[str, object]]]) -> None:
        unconnected = make_site("Not connected", make_user("dora"))
        Click.objects.create(site=self.site, msclkid=CLICK_ID, visitor_id="seen", captured_at=NOON - timedelta(days=2))
        for events in batches:
            for number, fields in enumerate(events):
                store_event(unconnected if number % 5 == 4 else self.site, **fields)  # type: ignore[arg-type]
            plan_all(NOON)
        found = {event.pk for event in Event.objects.all() if is_click_id(event.msclkid)}
        found |= {
            event.pk for event in Event.objects.filter(deliveries__kind="conversion").exclude(deliveries__msclkid="")
        }
        self.assertEqual(kept(), counted(found))
        rebuild_event_days(timezone.now())
        self.assertEqual(kept(), counted(found))


class TestEventDays(CastTestCase):
    def test_a_click_that_planning_finds_counts(self) -> None:
        Click.objects.create(site=self.site, msclkid=CLICK_ID, visitor_id="v", captured_at=NOON - timedelta(days=2))
        store_event(self.site, msclkid="", visitor_id="v")
        store_event(self.site, msclkid="", visitor_id="w")
        plan_all(NOON)
        day = EventDay.objects.get()
        self.assertEqual((day.count, day.with_click), (2, 1))
        self.assertEqual((day.value, day.click_value), (Decimal("99.80"), Decimal("49.90")))

    def test_tests_are_left_out(self) -> None:
        store_event(self.site, source=Source.TEST)
        plan_all(NOON)
        self.assertFalse(EventDay.objects.exists())

    def test_a_batch_is_counted_in_one_statement(self) -> None:
        for number in range(20):
            store_event(self.site, f"event{number % 4}", received_at=NOON - timedelta(days=number))
        with CaptureQueriesContext(connection) as queries:
            plan_batch(NOON)
        written = [query["sql"] for query in queries if "forwarding_eventday" in query["sql"]]
        self.assertEqual(len(written), 1)
