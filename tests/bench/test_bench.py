"""The bench itself: its arithmetic, what it refuses, and one small run of the whole, so that it never rots."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from unittest import mock, skipUnless

from django.conf import settings
from django.db import connection
from django.test import SimpleTestCase

from ingest.models import Event
from tests.bench import ingest, memory, pgbench, tools, usage
from tests.bench.backlog import shares
from tests.bench.databases import refuse_foreign, sqlite
from tests.bench.frame import Ratio, Round, Run, VoidRunError, report, take_rounds
from tests.bench.freshness import Freshness, percentile
from tests.bench.freshness import report as freshness_report
from tests.bench.load import read_answers
from tests.bench.processes import NOWHERE, served, worker
from tests.support.databases import database_url

# Only measuring needs it, so a machine without it still runs the suite. Continuous integration installs it.
needs_wrk = skipUnless(shutil.which("wrk"), "wrk is not installed (Debian: apt-get install wrk)")


def run(rate: float) -> Run:
    return Run(rows=1000, seconds=1000 / rate, cpu_seconds=0.1, phases={}, resident_mib=50)


def round_of(idle: float = 1.0, **rates: float) -> Round[Run]:
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
        seconds = [number / 100 for number in range(101)]
        self.assertEqual([percentile(seconds, percent) for percent in (50, 95, 99)], [0.5, 0.95, 0.99])

    def test_the_goal_is_about_the_ninety_fifth(self) -> None:
        for slow, word in ((5, "met"), (6, "MISSED")):
            with self.subTest(slow):
                taken = Freshness(50, [1.0] * (100 - slow) + [9.0] * slow, [0.01] * 100, behind=1.0, calls=3)
                self.assertIn(word, freshness_report(taken)[0])


def load(rate: float = 100, p99_ms: float = 10) -> ingest.Load:
    return ingest.Load(
        rows=1000,
        seconds=1000 / rate,
        cpu_seconds=0.1,
        phases={},
        resident_mib=50,
        requests=1000,
        p50_ms=5,
        p99_ms=p99_ms,
        database_cpu_seconds=0,
        sender_cpu_seconds=0.02,
    )


class TestRowsAtTheDoor(SimpleTestCase):
    def test_what_was_answered_is_stored_and_at_most_what_was_under_way_besides(self) -> None:
        for stored in (100, 164):
            ingest.check_rows(stored, answered=100, under_way=64)

    def test_a_lost_event_or_one_too_many_makes_the_run_void(self) -> None:
        for stored in (99, 165):
            with self.subTest(stored), self.assertRaisesMessage(VoidRunError, f"and {stored} are stored"):
                ingest.check_rows(stored, answered=100, under_way=64)

    def test_an_answer_that_is_no_2xx_or_never_came_makes_the_run_void(self) -> None:
        answers = {"microseconds": 1_000_000, "requests": 100, "refused": 0, "broken": 0, "p50": 1000, "p99": 9000}
        self.assertEqual(read_answers(json.dumps(answers), 0.5).p99_ms, 9.0)
        for wrong in ({"refused": 1}, {"broken": 1}):
            with self.subTest(wrong), self.assertRaises(VoidRunError):
                read_answers(json.dumps(answers | wrong), 0.5)

    @needs_wrk
    def test_a_door_that_says_yes_and_stores_nothing_is_found_out(self) -> None:
        with (
            sqlite() as url,
            worker(url, NOWHERE) as clerk,
            served("tests.bench.bare_server:application", url, workers=1) as liar,
        ):
            clerk.do("migrate")
            doors = ingest.Doors(url, clerk, site_id=1, path="/", seconds=1)
            with self.assertRaisesMessage(VoidRunError, "and 0 are stored"):
                doors.at(liar, "/")


class TestReportOfTheDoor(SimpleTestCase):
    def test_the_wait_of_one_in_a_hundred_is_judged_by_its_median(self) -> None:
        for slow, word in ((60, "met"), (61, "MISSED")):
            with self.subTest(slow):
                rounds = [Round(1.0, {ingest.DOOR: load(p99_ms=each)}) for each in (1, slow, 900)]
                [line] = [line for line in ingest.report(rounds, []) if "p99 of the door" in line]
                self.assertIn(f"ms: {slow:.1f}   (1.0 {slow:.1f} 900.0)   goal: at most 60, {word}", line)

    def test_a_ratio_to_what_was_not_measured_is_left_out(self) -> None:
        runs = {ingest.DOOR: load(50), ingest.BARE: load(100)}
        lines = "\n".join(ingest.report([Round(1.0, runs)], ingest.POSTGRES_RATIOS))
        self.assertIn("door : bare server = 0.500", lines)
        self.assertNotIn("pgbench", lines)

    def test_memory_that_was_not_measured_to_the_end_meets_no_goal(self) -> None:
        self.assertIn("met", memory.report(memory.Memory(100, 50.0, 1000, 59.9), 1000))
        self.assertIn("MISSED", memory.report(memory.Memory(100, 50.0, 1000, 60.1), 1000))
        self.assertIn("given up: 1,000 were wanted", memory.report(memory.Memory(100, 50.0, 999, 50.0), 1000))


class TestTools(SimpleTestCase):
    def test_a_program_that_is_missing_is_named_with_its_package(self) -> None:
        for find, package in ((tools.wrk, "wrk"), (tools.pgbench, "postgresql")):
            with (
                self.subTest(package),
                mock.patch.object(tools, "DEBIAN_SERVERS", settings.BASE_DIR / "nowhere"),
                mock.patch("shutil.which", return_value=None),
                self.assertRaisesMessage(tools.MissingToolError, f"apt-get install {package}"),
            ):
                find()

    def test_pgbench_writes_every_column_that_the_door_writes(self) -> None:
        columns = {field.column for field in Event._meta.local_concrete_fields} - {"id", "planned_at"}
        listed = re.search(r"ingest_event \((.*?)\)", pgbench.SCRIPT, re.DOTALL)
        assert listed
        self.assertEqual(set(re.findall(r"\w+", listed[1])), columns)

    def test_the_time_of_a_process_that_ended_is_still_its_parents(self) -> None:
        before = usage.cpu_seconds(os.getpid())
        busy = "import time\nwhile time.process_time() < 0.3: pass"
        subprocess.run([sys.executable, "-c", busy], check=True)
        self.assertGreaterEqual(usage.cpu_seconds(os.getpid()) - before, 0.25)  # in ticks, each rounded down


class TestDatabases(SimpleTestCase):
    def test_it_empties_no_database_but_its_own(self) -> None:
        for name in ("convultra", "/srv/convultra.sqlite3", "bench", "convultra_bench_old"):
            with self.subTest(name), self.assertRaisesMessage(ValueError, f"{name} does not end in _bench"):
                refuse_foreign(name)
        refuse_foreign("convultra_bench")
        refuse_foreign("/tmp/x/convultra_bench.sqlite3")  # noqa: S108


class TestQuickRun(SimpleTestCase):
    databases = {"default"}  # only for its address: the run makes databases of its own

    def test_planning_draining_and_freshness_work(self) -> None:
        said = self.run_bench("backlog", "freshness")
        for figure in ("drain, 1 worker : ceiling = ", "memory of drain, 1 worker", "accepted to booked"):
            self.assertIn(figure, said)

    @needs_wrk
    def test_the_door_and_its_memory_work(self) -> None:
        said = self.run_bench("ingest", "memory")
        for figure in ("door : plain ORM view = ", "p99 of the door", "memory of the web processes"):
            self.assertIn(figure, said)
        if connection.vendor == "postgresql":
            self.assertIn("door : pgbench = ", said)

    @skipUnless(connection.vendor == "postgresql", "its rows are made by PostgreSQL")
    def test_the_pages_over_millions_of_rows_work(self) -> None:
        self.assertIn("Forward Logs, page 50 by key: ", self.run_bench("pages"))

    def run_bench(self, *cases: str) -> str:
        command = [sys.executable, "-m", "tests.bench", "--quick", *(f"--case={case}" for case in cases)]
        if connection.vendor == "postgresql":
            command += ["--postgres", database_url(), "--skip-sqlite"]
        ended = subprocess.run(command, cwd=settings.BASE_DIR, capture_output=True, text=True, check=False, timeout=600)
        self.assertEqual(ended.returncode, 0, ended.stderr)
        return ended.stdout
