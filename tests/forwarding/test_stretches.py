"""Walking along a filter: every row once, in order, however few match and however many share a moment."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from unittest import mock, skipUnless
from zoneinfo import ZoneInfo

from django.db import connection
from django.http import QueryDict
from django.utils import timezone

from forwarding import stretches
from forwarding.filters import TESTS, WITH_ERRORS, FilterForm, Wanted, lanes, narrowed, of_lane
from forwarding.models import Delivery, Skip, Status
from forwarding.rows.counts import rebuild
from forwarding.stretches import Cursor, count, stretch
from tests.cast import CastTestCase, store_event
from tests.dashboard.accounts import deliver

CHICAGO = ZoneInfo("America/Chicago")


class StretchTestCase(CastTestCase):
    def setUp(self) -> None:
        self.enterContext(mock.patch.object(stretches, "LOOKS", (2, 4)))
        self.at = timezone.now() - timedelta(hours=1)

    def make(self, statuses: Iterable[str], **fields: object) -> list[Delivery]:
        """Write rows, three of each moment."""
        return [
            deliver(self.goal, status, at=self.at + timedelta(seconds=number // 3), **fields)
            for number, status in enumerate(statuses)
        ]

    def walk(self, wanted: Wanted, limit: int = 2, *, upwards: bool = False) -> list[int]:
        """Walk to the end, and return the keys of all rows."""
        found: list[int] = []
        start: Cursor | None = None
        for _ in range(100):
            piece = stretch(self.account, wanted, limit, start, upwards=upwards)
            self.assertLessEqual(len(piece.rows), limit)
            found += piece.pks
            start = piece.end
            if start is None:
                return found
        raise AssertionError("the walk does not end")


class TestStretch(StretchTestCase):
    def test_both_ways_bring_every_row_once(self) -> None:
        rows = [row.pk for row in self.make([Status.DELIVERED] * 10)]
        self.assertEqual(self.walk(Wanted(), upwards=True), rows)
        self.assertEqual(self.walk(Wanted()), rows[::-1])

    def test_several_statuses_are_merged_in_the_order_of_their_moments(self) -> None:
        kinds = (Status.FAILED, Status.RETRYING, Status.DELIVERED, Status.PENDING, Status.FAILED, Status.FAILED)
        rows = self.make([kinds[number % 6] for number in range(18)], error_code=117)
        wanted = [row.pk for row in rows if row.status != Status.DELIVERED]
        for asked in (Wanted(error="117"), Wanted(statuses=WITH_ERRORS)):
            self.assertEqual(self.walk(asked, 3, upwards=True), wanted)
            self.assertEqual(self.walk(asked, 3), wanted[::-1])

    def test_a_status_that_takes_longer_to_look_through_holds_the_others_back(self) -> None:
        old = self.make([Status.RETRYING] * 2 + [Status.FAILED] * 2, error_code=117, is_test=True)
        self.at += timedelta(minutes=1)
        self.make([Status.FAILED] * 12, error_code=5604)
        wanted = sorted((Cursor.of(row) for row in old), reverse=True)
        for asked in (Wanted(error="117", kind=TESTS), Wanted(kind=TESTS, statuses=WITH_ERRORS)):
            self.assertEqual(self.walk(asked, 3), [row.pk for row in wanted])

    def test_what_waits_is_not_looked_through_for_an_error(self) -> None:
        old = self.make([Status.RETRYING], error_symbol="Throttled")
        self.at += timedelta(minutes=1)
        self.make([Status.PENDING] * 20)
        found = stretch(self.account, Wanted(error="Throttled"), 2)
        self.assertEqual((found.pks, found.end), ([row.pk for row in old], None))

    def test_what_was_not_forwarded_and_has_an_error_all_the_same_is_not_meant(self) -> None:
        skipped, failed = self.make([Status.SKIPPED, Status.FAILED], error_code=117)
        self.assertEqual(self.walk(Wanted(error="117")), [failed.pk])
        self.assertEqual(self.walk(Wanted(error="117", status="skipped")), [skipped.pk])

    @skipUnless(connection.vendor == "postgresql", "only its planner says so")
    def test_an_error_is_listed_and_counted_from_the_index_alone(self) -> None:
        wanted = Wanted(error="117-5604")
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off")
        rows = narrowed(of_lane(self.account, wanted, *lanes(wanted)), wanted, *lanes(wanted))
        plan = rows.order_by("-created_at", "-pk").values("pk")[:50].explain()
        self.assertIn("Index Only Scan using delivery_with_error", plan)

    def test_rows_far_apart_are_found_and_what_lies_between_is_bounded(self) -> None:
        rows = self.make([Status.FAILED] * 20)
        rare = rows[1]
        Delivery.objects.filter(pk=rare.pk).update(error_code=5604)
        first = stretch(self.account, Wanted(status="failed", error="5604"), 5)
        self.assertEqual(first.rows, [])
        assert first.end is not None
        self.assertGreater(first.end.created_at, rare.created_at)
        self.assertEqual(self.walk(Wanted(status="failed", error="5604")), [rare.pk])

    def test_a_goal_is_looked_for_on_its_days_only(self) -> None:
        old = deliver(self.goal, at=self.at - timedelta(days=3), goal_name="Trade Lead")
        test = deliver(self.goal, at=self.at - timedelta(days=5), goal_name="Trade Lead", is_test=True)
        self.make([Status.DELIVERED] * 20)
        with self.assertNumQueries(2):
            self.assertEqual(stretch(self.account, Wanted(goal="Trade Lead"), 1).pks, [old.pk])
        self.assertEqual(stretch(self.account, Wanted(goal="Trade Lead"), 1, upwards=True).pks, [old.pk])
        self.assertEqual(self.walk(Wanted(goal="No such goal")), [])
        self.assertNotIn(test.pk, self.walk(Wanted(goal="Purchase")))

    def test_an_event_is_looked_for_on_its_days_only_whatever_it_is_counted_as(self) -> None:
        at = self.at - timedelta(days=3)
        lead = store_event(self.site, "lead", received_at=at)
        sent = deliver(self.goal, at=at, event=lead)
        unnamed = store_event(self.site, "quote", received_at=at)
        skipped = deliver(self.goal, Status.SKIPPED, at=at, event=unnamed, skip_reason=Skip.NOT_MAPPED)
        Delivery.objects.filter(pk=skipped.pk).update(goal=None)
        self.make([Status.DELIVERED, Status.SKIPPED] * 10)
        rebuild(timezone.now())
        with self.assertNumQueries(2):
            self.assertEqual(stretch(self.account, Wanted(event="lead"), 1).pks, [sent.pk])
        self.assertEqual(stretch(self.account, Wanted(event="lead"), 1, upwards=True).pks, [sent.pk])
        self.assertEqual(stretch(self.account, Wanted(event="quote", status="skipped"), 1).pks, [skipped.pk])
        self.assertEqual(self.walk(Wanted(event="no_such")), [])

    def test_a_look_is_one_query_however_many_statuses_are_asked_for(self) -> None:
        self.make([Status.FAILED, Status.PENDING, Status.RETRYING] * 3, error_code=117)
        with self.assertNumQueries(1):
            self.assertFalse(stretch(self.account, Wanted(error="117"), 1).is_sparse)
        with self.assertNumQueries(2):
            self.assertTrue(stretch(self.account, Wanted(error="5604"), 1).is_sparse)
        with self.assertNumQueries(1):
            self.assertEqual(count(self.account, Wanted(error="117")).number, 9)

    def test_a_search_is_not_cut_short(self) -> None:
        rows = self.make([Status.DELIVERED] * 12, transaction_id="HP-1")
        self.assertEqual(self.walk(Wanted(search="HP-1"), 3), [row.pk for row in rows[::-1]])


class TestCount(StretchTestCase):
    def test_it_ends_at_a_cap_and_says_so(self) -> None:
        self.make([Status.FAILED] * 3)
        self.assertEqual(count(self.account, Wanted(status="failed")), stretches.Counted(3, is_more=False))
        self.assertEqual(count(self.account, Wanted(status="failed"), cap=2), stretches.Counted(2, is_more=True))

    @mock.patch.object(stretches, "COUNT_LOOK", 4)
    def test_what_lies_beyond_its_look_is_not_counted_and_not_denied(self) -> None:
        self.make([Status.FAILED] * 9)
        self.assertTrue(count(self.account, Wanted(status="failed", error="5604")).is_more)


class TestDays(StretchTestCase):
    def wanted(self, query: str) -> Wanted:
        return FilterForm(QueryDict(query)).wanted(datetime(2026, 11, 21, 12, tzinfo=UTC), CHICAGO)

    def test_a_day_begins_and_ends_at_midnight_of_the_site(self) -> None:
        wanted = self.wanted("since=2026-11-01&until=2026-11-01")
        self.assertEqual(wanted.since, datetime(2026, 11, 1, 5, tzinfo=UTC))
        self.assertEqual(wanted.until, datetime(2026, 11, 2, 6, tzinfo=UTC))  # the day on which the clocks go back

    def test_days_reach_back_as_far_as_they_say_and_a_period_narrows_them(self) -> None:
        self.assertEqual(self.wanted("since=2026-08-01").since, datetime(2026, 8, 1, 5, tzinfo=UTC))
        self.assertEqual(self.wanted("since=2026-08-01&period=7").since, datetime(2026, 11, 15, tzinfo=UTC))
        self.assertIsNone(self.wanted("until=2026-08-01").since)

    def test_days_of_utc_stand_beside_those_of_the_site_and_the_narrower_counts(self) -> None:
        wanted = self.wanted("utc_since=2026-11-01&utc_until=2026-11-20")
        self.assertEqual(wanted.since, datetime(2026, 11, 1, tzinfo=UTC))
        self.assertEqual(wanted.until, datetime(2026, 11, 21, tzinfo=UTC))
        both = self.wanted("utc_since=2026-11-01&since=2026-11-01&utc_until=2026-11-20&until=2026-11-20")
        self.assertEqual((both.since, both.until), (datetime(2026, 11, 1, 5, tzinfo=UTC), wanted.until))

    def test_a_year_that_is_still_being_typed_is_no_filter(self) -> None:
        for day in ("0002-11-01", "9999-12-31", "2026-02-30", "x", "\0"):
            self.assertEqual(self.wanted(f"since={day}").since, datetime(2026, 11, 15, tzinfo=UTC))
