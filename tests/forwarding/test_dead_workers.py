"""A row that kills its worker ends alone, and its neighbours go on."""

from datetime import timedelta

from django.db import connection
from django.test import SimpleTestCase
from django.test.utils import CaptureQueriesContext

from forwarding.models import Attempt, Delivery, Hold, Operation, Status, Upload
from forwarding.sending.claims import claim
from forwarding.sending.poison import Next, after_death, half, small
from forwarding.times import CLOCK_MARGIN
from integrations.models import AdAccount
from tests.forwarding.backlog import BacklogTestCase


class TestAfterADeath(SimpleTestCase):
    def test_one_death_proves_nothing_and_the_second_makes_suspects(self) -> None:
        decided = [after_death(1000, deaths, are_suspects=False) for deaths in (1, 2)]
        self.assertEqual(decided, [Next.AGAIN, Next.CUT])

    def test_suspects_are_cut_at_once_and_one_alone_is_set_aside_at_its_second(self) -> None:
        self.assertEqual(after_death(32, 1, are_suspects=True), Next.CUT)
        decided = [after_death(1, deaths, are_suspects=True) for deaths in (1, 2)]
        self.assertEqual(decided, [Next.AGAIN, Next.SET_ASIDE])

    def test_a_row_that_was_alone_from_the_beginning_gets_five(self) -> None:
        decided = {deaths: after_death(1, deaths, are_suspects=False) for deaths in (4, 5)}
        self.assertEqual(decided, {4: Next.AGAIN, 5: Next.SET_ASIDE})

    def test_a_thousand_are_alone_after_two_cuts(self) -> None:
        self.assertEqual([small(1000), small(small(1000)), small(2)], [32, 1, 1])

    def test_halves_leave_no_remainder_behind(self) -> None:
        self.assertEqual([half(rows) for rows in (1000, 125, 3, 2)], [500, 63, 2, 1])


class TestPoison(BacklogTestCase):
    def test_in_the_middle_of_a_full_batch_it_is_set_aside_after_five_deaths(self) -> None:
        rows = self.queue(1300)
        self.drain_with_deaths([rows[517]])
        self.assertEqual(self.deaths, 5)
        self.assertEqual(self.at_status(Status.DELIVERED), 1299)
        poison = Delivery.objects.get(pk=rows[517])
        self.assertEqual((poison.status, poison.hold_reason), (Status.RETRYING, Hold.OPERATOR))
        self.assertEqual(poison.next_attempt_at, (poison.expires_at or self.now) - CLOCK_MARGIN)

    def test_wherever_it_lies_five_deaths_are_enough(self) -> None:
        for place in (0, 31, 32, 999):
            with self.subTest(place):
                Upload.objects.all().delete()
                Delivery.objects.all().delete()
                self.deaths = 0
                rows = self.queue(1100)
                self.drain_with_deaths([rows[place]])
                self.assertEqual((self.deaths, self.at_status(Status.DELIVERED)), (5, 1099))

    def test_its_neighbours_take_a_bounded_number_of_small_calls(self) -> None:
        rows = self.queue(1100)
        self.drain_with_deaths([rows[999]])
        # Twice a thousand; 32 parts, the last of which dies; its rows one by one, the last twice; what is left.
        self.assertLessEqual(self.calls, 2 + 32 + 32 + 1 + 1)
        account = self.reloaded()
        self.assertEqual((account.batch_limit, account.limited_rows), (None, None))

    def test_what_comes_after_the_suspects_goes_out_in_whole_calls(self) -> None:
        rows = self.queue(3000)
        self.drain_with_deaths([rows[0]])
        self.assertEqual(self.sizes, [1000, 1000, 32, 1, *[1] * 32, 1000, 1000, 968])

    def test_two_of_them_are_both_found(self) -> None:
        rows = self.queue(1000)
        deadly = [rows[10], rows[700]]
        self.drain_with_deaths(deadly)
        aside = Delivery.objects.filter(hold_reason=Hold.OPERATOR).order_by("pk").values_list("pk", flat=True)
        self.assertEqual(list(aside), deadly)
        self.assertEqual((self.deaths, self.at_status(Status.DELIVERED)), (10, 998))

    def test_a_row_that_was_always_alone_is_set_aside_after_five_deaths(self) -> None:
        rows = self.queue(1)
        self.drain_with_deaths(rows)
        row = Delivery.objects.get()
        self.assertEqual((self.deaths, row.hold_reason, row.attempts), (5, Hold.OPERATOR, 1))
        self.assertIn("died 5 times", row.error_message)

    def test_rows_that_leave_keep_their_turn_and_count_as_tried(self) -> None:
        rows = self.queue(100)
        before = list(Delivery.objects.order_by("pk").values_list("next_attempt_at", flat=True))
        for _ in range(2):
            upload = self.claimed()
            assert upload is not None
            self.die(upload)
        small_one = self.claimed()
        assert small_one is not None
        self.assertEqual(small_one.delivery_ids, rows[:4])
        self.assertEqual(list(Delivery.objects.order_by("pk").values_list("next_attempt_at", flat=True)), before)
        self.assertEqual(set(Delivery.objects.values_list("attempts", flat=True)), {1})
        self.assertEqual(set(Attempt.objects.values_list("outcome", flat=True)), {Attempt.Outcome.UNKNOWN})


class TestSuspectsOfTheOtherKind(BacklogTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.queue(50)
        AdAccount.objects.update(batch_limit=1, limited_rows=3)
        Upload.objects.create(
            account=self.account,
            operation=Operation.ADJUSTMENTS,
            delivery_ids=[],
            started_at=self.now,
            leased_until=self.now,
            finished_at=self.now,
        )

    def test_conversions_let_suspected_corrections_go_first(self) -> None:
        self.assertIsNone(self.claimed())

    def test_once_none_of_those_is_due_calls_are_whole_again(self) -> None:
        self.assertIsNone(claim(self.account.pk, Operation.ADJUSTMENTS, self.now))
        self.drain_with_deaths([])
        self.assertEqual(self.sizes, [50])


class TestRandomKills(BacklogTestCase):
    def test_one_leaves_no_trace_in_the_size_of_calls(self) -> None:
        self.queue(1500)
        upload = self.claimed()
        assert upload is not None
        self.die(upload)
        self.drain_with_deaths([])
        self.assertEqual(self.sizes, [1000, 1000, 500])

    def test_two_over_one_call_cost_its_rows_small_calls_and_nobody_elses(self) -> None:
        self.queue(2500)
        for _ in range(2):
            upload = self.claimed()
            assert upload is not None
            self.die(upload)
        self.drain_with_deaths([])
        self.assertEqual(self.sizes, [1000, 1000, *[32] * 32, 1000, 476])
        account = self.reloaded()
        self.assertEqual((account.batch_limit, account.limited_rows), (None, None))

    def test_whoever_takes_over_waits_for_nobody_who_is_marking(self) -> None:
        if connection.vendor != "postgresql":
            return  # SQLite has one writer, so nobody marks meanwhile
        self.queue(1)
        upload = self.claimed()
        assert upload is not None
        self.die(upload)
        with CaptureQueriesContext(connection) as captured:
            self.claimed()
        locks = [query["sql"] for query in captured if "FOR NO KEY UPDATE" in query["sql"]]
        self.assertTrue(any("forwarding_upload" in sql and sql.endswith("SKIP LOCKED") for sql in locks))

    def test_a_row_that_was_deleted_meanwhile_stops_nobody(self) -> None:
        rows = self.queue(3)
        for _ in range(2):
            upload = self.claimed()
            assert upload is not None
            self.die(upload)
        Delivery.objects.filter(pk=rows[0]).delete()
        self.drain_with_deaths([])
        self.assertEqual(self.at_status(Status.DELIVERED), 2)


class TestPossiblyTwice(BacklogTestCase):
    def marked(self) -> list[int]:
        return list(Delivery.objects.filter(possibly_twice=True).order_by("pk").values_list("pk", flat=True))

    def test_what_a_dead_worker_may_have_sent_without_a_click_id_is_marked(self) -> None:
        rows = self.queue(3)
        Delivery.objects.filter(pk=rows[1]).update(msclkid="", email_sha256="a" * 64)
        upload = self.claimed()
        assert upload is not None
        self.assertEqual(self.marked(), [])
        self.die(upload)
        self.claimed()
        self.assertEqual(self.marked(), [rows[1]])

    def test_a_worker_that_died_long_ago_is_not_blamed_for_other_rows(self) -> None:
        rows = self.queue(2)
        Delivery.objects.update(msclkid="", email_sha256="a" * 64)
        AdAccount.objects.update(batch_limit=1)
        first = self.claimed()
        assert first is not None
        self.now += timedelta(minutes=2)
        self.claimed()
        self.assertEqual(self.marked(), rows[:1])
