"""Faults put into the source by hand, one at a time, and the tests that have to notice them.

`.venv/bin/python -m tests.model.mutants` tries them.

Each is what a hurried change could do to one of the three promises. A copy of the tree gets the fault, the tests
named run on the copy and have to fail; without it they have to pass. docs/testing.md has the table.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.structure.sources import ROOT, tracked_files

ROAD = "tests/road/test_whole_road.py::"
POISON = "tests/forwarding/test_dead_workers.py::TestPoison::"
MODEL = "tests/model/test_model.py::ModelTests::"


@dataclass(frozen=True)
class Edit:
    """A change of one file: `before` is there exactly once."""

    path: str
    before: str
    after: str

    def apply(self, root: Path) -> None:
        """Make it under `root`. Raises ValueError where the source is another by now."""
        file = root / self.path
        text = file.read_text()
        if text.count(self.before) != 1:
            raise ValueError(f"{self.path} does not have once: {self.before}")
        file.write_text(text.replace(self.before, self.after))


@dataclass(frozen=True)
class Mutant:
    """A fault, and tests of which each notices it alone. `needs_postgresql`: on SQLite there are no two writers."""

    name: str
    edits: tuple[Edit, ...]
    caught_by: tuple[str, ...]
    needs_postgresql: bool = False


MUTANTS = (
    Mutant(
        "mark before send",
        (
            Edit(
                "forwarding/tasks.py",
                "    started = time.monotonic()\n    try:\n        answer = _call(upload, deliveries)\n",
                "    started = time.monotonic()\n"
                "    from integrations.microsoft_ads.shapes import ItemResult\n"
                "    taken = ApplyResult(tuple(ItemResult(None) for _ in deliveries), '', 200, '')\n"
                "    record_answer(upload, deliveries, taken, 0.0, timezone.now())\n"
                "    try:\n        answer = _call(upload, deliveries)\n",
            ),
        ),
        (f"{ROAD}TestTrouble::test_an_outage_is_outlived", f"{MODEL}test_conversions"),
    ),
    Mutant(
        "unfenced mark",
        (
            Edit(
                "forwarding/sending/marking.py",
                "(pk=upload.pk, lease_token=upload.lease_token, finished_at__isnull=True)",
                "(pk=upload.pk)",
            ),
        ),
        (
            "tests/forwarding/test_marking.py::TestAnswers::test_a_late_answer_after_a_takeover_changes_nothing",
            f"{MODEL}test_conversions",
        ),
    ),
    Mutant(
        "check-then-insert",
        (
            Edit(
                "ingest/storing.py",
                "    stored = _insert(statement, rows)\n",
                "    known = _fingerprints(statement, rows)\n"
                "    stored = _insert(statement, [row for row in rows if statement.key_of(row) not in known])\n",
            ),
            Edit("ingest/storing.py", 'f"ON CONFLICT ({keys}) DO NOTHING RETURNING {keys}"', 'f"RETURNING {keys}"'),
        ),
        ("tests/ingest/test_concurrent_repeats.py::ConcurrentRepeatsTests::test_single_events",),
        needs_postgresql=True,
    ),
    Mutant(
        "re-key on retry",
        (
            Edit(
                "forwarding/sending/marking.py",
                "        status=verdict.status,\n        hold_reason=verdict.hold or",
                "        status=verdict.status,\n"
                "        conversion_time=now.strftime('%Y-%m-%dT%H:%M:%SZ'),\n"
                "        hold_reason=verdict.hold or",
            ),
        ),
        (
            f"{ROAD}TestTrouble::test_an_answer_that_never_came_is_asked_for_again_with_the_same_bytes",
            f"{MODEL}test_conversions",
        ),
    ),
    Mutant(
        "attempt counted after",
        (Edit("forwarding/sending/dead_workers.py", "    upload.takeovers += 1\n", ""),),
        (f"{POISON}test_a_row_that_was_always_alone_is_set_aside_after_five_deaths",),
    ),
    Mutant(
        "ignore Index",
        (
            Edit(
                "forwarding/sending/marking.py",
                "zip(deliveries, answer.items, strict=True)",
                "zip(deliveries, sorted(answer.items, key=lambda item: item.error is None), strict=True)",
            ),
        ),
        (
            "tests/forwarding/test_marking.py::TestAnswers::test_rows_that_microsoft_did_not_name_are_delivered",
            f"{MODEL}test_conversions",
        ),
    ),
    Mutant(
        "200 = delivered",
        (
            Edit(
                "integrations/microsoft_ads/answers.py",
                "if self._members is None or self.http_status != 200:",
                "if self.http_status != 200:",
            ),
            Edit(
                "integrations/microsoft_ads/client.py",
                "        items = answer.read(lambda members: item_results(members, rows))\n",
                "        from integrations.microsoft_ads.shapes import ItemResult\n"
                "        items = tuple(ItemResult(None) for _ in range(rows))\n",
            ),
        ),
        (f"{ROAD}TestTrouble::test_nonsense_is_never_taken_for_delivered", f"{MODEL}test_conversions"),
    ),
    Mutant(
        "refresh without lock",
        (
            Edit(
                "integrations/tokens.py",
                "return bool(may_renew.update(refreshing_until=now + RENEWAL_LEASE))",
                "return may_renew.update(refreshing_until=now + RENEWAL_LEASE) >= 0",
            ),
        ),
        ("tests/integrations/test_token_renewal.py::OneAtATimeTest::test_nobody_waits_for_ever",),
    ),
    Mutant(
        "float money",
        (Edit("integrations/microsoft_ads/wire.py", 'text = format(value, "f")', 'text = format(float(value), "f")'),),
        (
            "tests/integrations/microsoft_ads/test_wire_bytes.py::ConversionsBodyTests::test_every_field_arrives_as_it_was",
        ),
    ),
    Mutant(
        "naive now()",
        (
            Edit(
                "forwarding/tasks.py",
                "        now = timezone.now()\n        upload",
                "        now = timezone.make_naive(timezone.now())\n        upload",
            ),
        ),
        (f"{ROAD}TestDelivered::test_the_backend_reads_delivered",),
    ),
    Mutant(
        "zone dropped",
        (Edit("ingest/members.py", "return moment.astimezone(UTC)", "return moment.replace(tzinfo=UTC)"),),
        (f"{ROAD}TestDelivered::test_microsoft_books_the_events_own_time_value_click_and_goal",),
    ),
    Mutant(
        "sweep off",
        (Edit("forwarding/sweeping.py", "    to_serve = accounts_to_serve(now)\n", "    to_serve: list[int] = []\n"),),
        (f"{ROAD}TestBrokenQueue::test_a_queue_that_is_away_costs_time_and_no_event", f"{MODEL}test_conversions"),
    ),
    Mutant(
        "adjustment unordered",
        (
            Edit(
                "forwarding/sending/claims.py",
                "due.filter(original__status__in=(Status.DELIVERED, Status.FAILED)).exclude(Exists(before))",
                "due",
            ),
        ),
        (
            "tests/road/test_corrections.py::TestSequence::test_a_newer_one_waits_while_an_older_one_is_in_the_dark",
            f"{MODEL}test_corrections",
        ),
    ),
    Mutant(
        "adjustment times not increasing",
        (
            Edit(
                "forwarding/corrections/adjusting.py",
                "return at if last is None else max(at, datetime.fromisoformat(last.adjustment_time) + _SECOND)",
                "return at",
            ),
        ),
        (f"{MODEL}test_corrections",),
    ),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Try mutants, all or those named; return 1 when one lives."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", nargs="*", help="only these, such as 'float money'")
    wanted = parser.parse_args(arguments).name
    chosen = [mutant for mutant in MUTANTS if not wanted or mutant.name in wanted]
    if not _has_postgresql():
        chosen = [mutant for mutant in chosen if not mutant.needs_postgresql]
        print("SQLite: what takes two writers at once is left out.")
    with _copy() as root:
        tests = sorted({test for mutant in chosen for test in mutant.caught_by})
        if not _passes(root, *tests):
            print("These fail without any fault:", *tests, sep="\n  ")
            return 1
        lives = [(mutant.name, test) for mutant in chosen for test in _missed(mutant, root)]
    print(f"{len(chosen)} faults, {len(lives)} unnoticed.")
    return int(bool(lives))


def _missed(mutant: Mutant, root: Path) -> Iterator[str]:
    """Yield the tests that pass in spite of the fault."""
    kept = {edit.path: (root / edit.path).read_text() for edit in mutant.edits}
    for edit in mutant.edits:
        edit.apply(root)
    for test in mutant.caught_by:
        is_missed = _passes(root, test)
        print(f"{'NOT NOTICED' if is_missed else 'noticed'}  {mutant.name}: {test}", flush=True)
        if is_missed:
            yield test
    for path, text in kept.items():
        (root / path).write_text(text)


def _passes(root: Path, *tests: str) -> bool:
    """Run tests on the copy. Raises RuntimeError when they could not be run."""
    command = [sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "MODEL_NO_SHRINKING": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    run = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    if run.returncode not in (0, 1) or "error" in run.stdout.splitlines()[-1]:
        raise RuntimeError(f"{' '.join(tests)} could not be run:\n{run.stdout[-3000:]}{run.stderr[-3000:]}")
    return run.returncode == 0


def _has_postgresql() -> bool:
    return os.environ.get("DATABASE_URL", "").startswith("postgres")


@contextmanager
def _copy() -> Iterator[Path]:
    """Copy what git tracks, as it is now, to a directory that goes again."""
    with TemporaryDirectory(prefix="convultra-mutants-") as directory:
        root = Path(directory)
        for name in tracked_files():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, root / name)
        yield root


if __name__ == "__main__":
    sys.exit(main())
