"""Half a minute of chaos on the database that the suite runs on, so that the run itself never rots."""

import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

from django.conf import settings
from django.test import SimpleTestCase

from tests.chaos.machine import Machine
from tests.support.databases import scratch_database

LONGEST_SECONDS = 240


class TestQuickRun(SimpleTestCase):
    databases = {"default"}  # only for its address: the run has a database of its own

    def test_nothing_is_lost_counted_twice_or_told_wrong(self) -> None:
        mark = uuid.uuid4().hex
        self.addCleanup(Machine(mark, Path()).end)  # whatever becomes of the run
        with tempfile.TemporaryDirectory() as directory, scratch_database(Path(directory)) as url:
            command = [sys.executable, "-m", "tests.chaos", "--quick", "--seed=7", f"--mark={mark}"]
            ended = subprocess.run(
                [*command, f"--database={url}"],
                cwd=settings.BASE_DIR,
                capture_output=True,
                text=True,
                check=False,
                timeout=LONGEST_SECONDS,
            )
        self.assertEqual(ended.returncode, 0, ended.stdout + ended.stderr)
        self.assertIn("0 lost, 0 counted twice", ended.stdout)
