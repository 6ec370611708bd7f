"""The bench itself: its arithmetic, what it refuses, and one small run of the whole, so that it never rots."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

from django.conf import settings
from django.db import connection
from django.test import SimpleTestCase

from tests.bench.backlog import shares
from tests.bench.databases import refuse_foreign
from tests.bench.frame import Ratio, Round, Run, report, take_rounds
from tests.bench.freshness import Freshness
from tests.bench.freshness import report as freshness_report
from tests.support.databases import database_url


def run(rate: float) -> Run:
    return Run(rows=1000, seconds=1000 / rate, cpu_seconds=0.1, phases={}, resident_mib=50)


def round_of(idle: float = 1.0, **rates: float) -> Round:
    return Round(idle, {name: run(rate) for name, rate in rates.items()})


class TestRatios(SimpleTestCase):
    rounds = (round_of(new=10, old=100), round_of(new=90, old=100), round_of(new=20, old=40))

    def test_a_ratio_is_taken_inside_each_round(self) -> None:
        self.assertEqual([round(value, 6) for value in Ratio("new", "old").per_round(self.rounds)], [0.1, 0.9, 0.5])

    def test_what_counts_is_their_median_and_not_the_ratio_of_medians(self) -> None:
        self.assertAlmostEqual(Ratio("new", "old").median(self.rounds), 0.5)  # the medians are 20 and 100

    def test_every_value_is_printed(self) -> None:
        self.assertIn("  new : old = 0.500   (0.100 0.900 0.500)", report(self.rounds, [Ratio("new", "old")]))

    def test_a_goal_is_met_or_missed_by_the_median(self) -> None:
        for goal, word in ((0.5, "met"), (0.51, "MISSED")):
            with self.subTest(goal):
                self.assertIn(word, report(self.rounds, [Ratio("new", "old", goal)])[0])

    def test_memory_is_judged_by_the_round_that_grew_most(self) -> None:
        for growth, word in ((10.0, "met"), (10.1, "MISSED")):
            with self.subTest(growth):
                rounds = [Round(1.0, {"new": replace(run(1), growth_mib=each)}) for each in (growth, 0.0, -1.0)]
                [line] = [line for line in report(rounds, []) if "memory" in line]
                self.assertIn(word, line)

    def test_a_busy_machine_is_named(self) -> None:
        self.assertFalse(any("busy" in line for line in report([round_of(0.9, new=1, old=1)], [])))
        self.assertTrue(any("busy" in line for line in report([round_of(0.89, new=1, old=1)], [])))

    def test_rounds_go_by_turns(self) -> None:
        order: list[str] = []

        def noting(name: str) -> Callable[[], Run]:
            def taken() -> Run:
                order.append(name)
                return run(1)

            return taken

        take_rounds({name: noting(name) for name in ("a", "b")}, 2, order.append)
        self.assertEqual([said for said in order if len(said) == 1], ["a", "b", "a", "b"])


class TestShares(SimpleTestCase):
    def test_they_add_up_are_no_whole_calls_and_give_two_workers_the_same(self) -> None:
        for rows in (2_000, 20_000, 200_000):
            with self.subTest(rows):
                share = shares(rows)
                self.assertEqual((sum(share), sum(share[:2])), (rows, rows // 2))
                self.assertTrue(all(each % 1000 for each in share))


class TestFreshness(SimpleTestCase):
    def test_a_percentile_is_what_so_many_of_a_hundred_were_not_later_than(self) -> None:
        taken = Freshness([number / 100 for number in range(101)], calls=3)
        self.assertEqual([taken.percentile(percent) for percent in (50, 95, 99)], [0.5, 0.95, 0.99])

    def test_the_goal_is_about_the_ninety_fifth(self) -> None:
        for slow, word in ((5, "met"), (6, "MISSED")):
            with self.subTest(slow):
                taken = Freshness([1.0] * (100 - slow) + [9.0] * slow, calls=3)
                self.assertIn(word, freshness_report(taken)[0])


class TestDatabases(SimpleTestCase):
    def test_it_empties_no_database_but_its_own(self) -> None:
        for name in ("convultra", "/srv/convultra.sqlite3", "bench", "convultra_bench_old"):
            with self.subTest(name), self.assertRaisesMessage(ValueError, f"{name} does not end in _bench"):
                refuse_foreign(name)
        refuse_foreign("convultra_bench")
        refuse_foreign("/tmp/x/convultra_bench.sqlite3")  # noqa: S108


class TestQuickRun(SimpleTestCase):
    databases = {"default"}  # only for its address: the run makes databases of its own

    def test_the_whole_bench_works(self) -> None:
        command = [sys.executable, "-m", "tests.bench", "--quick"]
        if connection.vendor == "postgresql":
            command += ["--postgres", database_url(), "--skip-sqlite"]
        ended = subprocess.run(command, cwd=settings.BASE_DIR, capture_output=True, text=True, check=False, timeout=120)
        self.assertEqual(ended.returncode, 0, ended.stderr)
        for figure in ("drain, 1 worker : ceiling = ", "memory of drain, 1 worker", "accepted to booked"):
            self.assertIn(figure, ended.stdout)
