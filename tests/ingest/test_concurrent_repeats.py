"""The same event or adjustment from many requests at once is stored once, and nobody gets an error for it."""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from django.db import connection
from django.test import TransactionTestCase

from ingest.judging import Outcome, Refusal
from ingest.models import Adjustment, AdjustmentType, Event, Site
from ingest.parsing import AdjustmentRow
from ingest.storing import store_adjustments, store_events
from tests.cast import make_site, make_user
from tests.ingest.test_judging import row
from tests.ingest.test_storing import event_row

THREADS = 8
EVENTS = 25


class ConcurrentRepeatsTests(TransactionTestCase):
    site: Site

    def setUp(self) -> None:
        self.site = make_site("Harbor & Pine", make_user("alice"))

    def outcomes(self, store: Callable[[int], Sequence[Outcome | Refusal]]) -> Counter[Outcome | Refusal]:
        """Call `store` in all threads at once and count what they were told."""

        def run(thread: int) -> Sequence[Outcome | Refusal]:
            try:
                return store(thread)
            finally:
                connection.close()

        with ThreadPoolExecutor(THREADS) as pool:
            return Counter(outcome for told in pool.map(run, range(THREADS)) for outcome in told)

    def test_single_events(self) -> None:
        told = self.outcomes(lambda _: [store_events([event_row(self.site, str(n))])[0] for n in range(EVENTS)])
        self.assertEqual(told, {Outcome.ACCEPTED: EVENTS, Outcome.DUPLICATE: EVENTS * (THREADS - 1)})
        self.assertEqual(Event.objects.count(), EVENTS)

    def test_batches_in_opposite_orders_do_not_wait_for_each_other_in_a_circle(self) -> None:
        rows = [event_row(self.site, str(n)) for n in range(200)]
        told = self.outcomes(lambda thread: store_events(rows if thread % 2 else rows[::-1]))
        self.assertEqual(told, {Outcome.ACCEPTED: 200, Outcome.DUPLICATE: 200 * (THREADS - 1)})

    def test_of_different_bodies_one_is_kept_and_the_others_are_conflicts(self) -> None:
        told = self.outcomes(
            lambda thread: [store_events([event_row(self.site, "e", fingerprint=str(thread) * 64)])[0]]
        )
        self.assertEqual(told, {Outcome.ACCEPTED: 1, Outcome.CONFLICT: THREADS - 1})
        self.assertEqual(Event.objects.count(), 1)

    def adjustment(self, adjustment_id: str, value: str | None = "5", **fields: str) -> AdjustmentRow:
        return row(adjustment_id, value, site_id=self.site.pk, **fields)

    def test_adjustments(self) -> None:
        rows = [self.adjustment(str(n), transaction_id=str(n)) for n in range(EVENTS)]
        told = self.outcomes(lambda thread: store_adjustments(rows if thread % 2 else rows[::-1]))
        self.assertEqual(told, {Outcome.ACCEPTED: EVENTS, Outcome.DUPLICATE: EVENTS * (THREADS - 1)})
        self.assertEqual(Adjustment.objects.count(), EVENTS)

    def test_of_different_adjustments_under_one_id_one_is_kept(self) -> None:
        told = self.outcomes(lambda thread: store_adjustments([self.adjustment("a", fingerprint=str(thread) * 64)]))
        self.assertEqual(told, {Outcome.ACCEPTED: 1, Outcome.CONFLICT: THREADS - 1})
        self.assertEqual(Adjustment.objects.count(), 1)

    def test_an_order_is_retracted_once(self) -> None:
        told = self.outcomes(lambda thread: store_adjustments([self.adjustment(f"a-{thread}", None)]))
        self.assertEqual(told, {Outcome.ACCEPTED: 1, Outcome.DUPLICATE: THREADS - 1})
        self.assertEqual(Adjustment.objects.count(), 1)

    def test_no_new_total_is_stored_after_the_retraction(self) -> None:
        batches = [[self.adjustment(f"a-{thread}", None if thread == 3 else "5")] for thread in range(THREADS)]
        self.outcomes(lambda thread: store_adjustments(batches[thread]))
        self.assertEqual(Adjustment.objects.latest("pk").type, AdjustmentType.RETRACT)
