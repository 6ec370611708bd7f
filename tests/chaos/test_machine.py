"""What keeps a run together: processes are told apart by their births, started again, and all ended."""

import sys
import tempfile
import time
import uuid
from pathlib import Path

from django.test import SimpleTestCase

from tests.chaos.machine import Machine, Process
from tests.chaos.roles import Roles

FAMILY = "import os, time; os.fork(); time.sleep(60)"


def child(pid: int, began: int) -> Process:
    return Process(pid, 1, began, 0, "manage.py qcluster")


class RoleTests(SimpleTestCase):
    """`manage.py qcluster` with two workers: workers, monitor and pusher are born in this order."""

    def setUp(self) -> None:
        self.roles = Roles(Machine("mark", Path()), workers=2)
        self.born = [child(pid, pid) for pid in (11, 12, 13, 14)]

    def test_the_first_children_are_told_by_their_order(self) -> None:
        named = self.roles.name_children(1, list(reversed(self.born)))
        self.assertEqual(named, {11: "worker", 12: "worker", 13: "monitor", 14: "pusher"})

    def test_nobody_is_named_before_all_are_born(self) -> None:
        self.assertEqual(self.roles.name_children(1, self.born[:3]), {})

    def test_who_comes_later_has_the_role_of_who_went(self) -> None:
        self.roles.name_children(1, self.born)
        self.roles.name_children(1, [*self.born[1:], child(15, 50)])
        named = self.roles.name_children(1, [self.born[1], self.born[3], child(15, 50), child(16, 60)])
        self.assertEqual(named, {12: "worker", 14: "pusher", 15: "worker", 16: "monitor"})

    def test_a_role_stays_free_until_somebody_takes_it(self) -> None:
        self.roles.name_children(1, self.born)
        self.assertEqual(self.roles.name_children(1, self.born[:3]), {11: "worker", 12: "worker", 13: "monitor"})
        self.assertEqual(self.roles.name_children(1, [*self.born[:3], child(17, 70)])[17], "pusher")


class MachineTests(SimpleTestCase):
    def setUp(self) -> None:
        logs = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.machine = Machine(uuid.uuid4().hex, logs)
        self.addCleanup(self.machine.end)

    def until_there_are(self, count: int) -> list[Process]:
        give_up = time.monotonic() + 20
        while len(found := list(self.machine.processes().values())) != count:
            self.assertLess(time.monotonic(), give_up, found)
            time.sleep(0.02)
        return found

    def test_it_ends_what_its_services_began_too(self) -> None:
        self.machine.start("family", [sys.executable, "-c", FAMILY], {})
        self.until_there_are(2)
        self.machine.end()
        self.assertEqual(self.machine.processes(), {})

    def test_it_starts_again_what_has_ended(self) -> None:
        service = self.machine.start("short", [sys.executable, "-c", ""], {})
        assert service.process is not None
        service.process.wait(20)
        self.assertEqual([one.name for one in self.machine.tend()], ["short"])
        self.assertEqual(service.starts, 2)
