"""A flood of names makes a bounded number of rows, and nothing of it is lost or counted twice."""

import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import timedelta
from unittest import mock

from django.db.models import Sum
from django.test import SimpleTestCase

from forwarding.models import OTHER_NAMES, DailyCount, EventDay, EventName
from forwarding.planning import replaying
from forwarding.planning.planner import plan_all
from forwarding.rows import own_names
from forwarding.rows.counts import rebuild
from forwarding.rows.event_days import rebuild_event_days
from forwarding.rows.own_names import ALWAYS, MOST_NAMES, SiteName, named_as, newcomers
from ingest.models import Event, Source
from integrations.models import GoalMapping
from tests.cast import NOON, CastTestCase, store_event

SECOND = timedelta(seconds=1)
NEW, LEAD, CALL = (SiteName(1, name) for name in ("new", "lead", "call"))


class TestRule(SimpleTestCase):
    def test_a_name_has_rows_of_its_own_from_its_moment_on(self) -> None:
        self.assertEqual(named_as("lead", NOON, NOON), "lead")
        self.assertEqual(named_as("lead", NOON, NOON - SECOND), OTHER_NAMES)
        self.assertEqual(named_as("lead", None, NOON), OTHER_NAMES)

    def test_whoever_comes_first_has_a_place_and_a_mapped_name_always_has(self) -> None:
        one_left, none_left = {1: MOST_NAMES - 1}, {1: MOST_NAMES}
        self.assertEqual(newcomers([NEW, LEAD, CALL], {CALL}, one_left, NOON), {NEW: ALWAYS, CALL: NOON})
        self.assertEqual(newcomers([LEAD], (), none_left, NOON), {})

    def test_a_site_that_is_full_takes_no_place_of_another(self) -> None:
        other = SiteName(2, "lead")
        self.assertEqual(newcomers([other], (), {1: MOST_NAMES}, NOON), {other: ALWAYS})


class TestRollUps(CastTestCase):
    def come(self, *names: str) -> None:
        for name in names:
            store_event(self.site, name)

    def counted(self) -> Counter[str]:
        return Counter(dict(EventDay.objects.values_list("name").annotate(Sum("count"))))

    def both(self) -> tuple[Sequence[object], Sequence[object]]:
        """Return everything that the roll-ups say."""
        days = EventDay.objects.exclude(count=0).values_list("day", "name", "currency", "count", "value", "with_click")
        counts = DailyCount.objects.exclude(count=0)
        rows = counts.values_list("day", "event_name", "goal_name", "status", "with_click", "count", "value")
        return sorted(days), sorted(rows)

    def map(self, name: str) -> None:
        GoalMapping.objects.create(account=self.account, event_name=name, goal=self.goal)

    def test_ten_thousand_names_make_no_more_rows_than_there_are_places(self) -> None:
        names = [f"n{uuid.uuid4().hex}" for _ in range(10_000)]
        Event.objects.bulk_create(self.events(names), batch_size=1000)
        plan_all(NOON)
        self.assertEqual(EventName.objects.count(), MOST_NAMES)
        self.assertEqual((EventDay.objects.count(), DailyCount.objects.count()), (MOST_NAMES + 1, MOST_NAMES + 1))
        self.assertEqual(self.counted()[OTHER_NAMES], 10_000 - MOST_NAMES)
        self.assertEqual(self.counted().total(), 10_000)

    @mock.patch.object(own_names, "MOST_NAMES", 2)
    def test_a_name_that_is_mapped_later_is_counted_anew_as_it_was_counted(self) -> None:
        self.come("a", "b", "lead", "lead", "purchase")
        plan_all(NOON)
        self.map("lead")
        self.come("lead", "a")
        plan_all(NOON + SECOND)
        self.assertEqual(self.counted(), {"a": 2, "b": 1, "purchase": 1, "lead": 1, OTHER_NAMES: 2})
        before = self.both()
        rebuild(NOON)
        rebuild_event_days(NOON)
        self.assertEqual(self.both(), before)

    @mock.patch.object(own_names, "MOST_NAMES", 1)
    def test_what_is_planned_again_is_counted_once_and_what_was_counted_with_others_stays(self) -> None:
        self.come("a", "lead")
        plan_all(NOON)
        for name in ("a", "lead"):
            self.map(name)
            replaying.replay(self.account, name, self.alice, NOON + SECOND)
        left = DailyCount.objects.exclude(count=0).values_list("event_name", "status", "count")
        self.assertEqual(sorted(left), [(OTHER_NAMES, "skipped", 1), ("a", "pending", 1)])

    def events(self, names: Iterable[str]) -> list[Event]:
        given = {"occurred_at": NOON, "received_at": NOON, "source": Source.BROWSER, "fingerprint": "0" * 64}
        return [Event(site=self.site, event_id=name, name=name, **given) for name in names]
