"""An acknowledged event survives SIGKILL of the web server at any point, and is stored once."""

import random
import time

from django.db import connection

from convultra import failpoints
from tests.door.cases import DoorTestCase
from tests.door.senders import SILENCE, Load

KILLS = 3


class FailpointTests(DoorTestCase):
    def test_nothing_is_stored_or_acknowledged_by_a_server_that_dies_before_the_commit(self) -> None:
        with self.web("--workers", "1", FAILPOINT=failpoints.BEFORE_INGEST) as web:
            with Load(self.door(web)) as load:
                web.wait()
            self.assertEqual((load.statuses(), self.stored()), ({SILENCE}, []))
            web.start(FAILPOINT="")
            self.assert_resent_once(self.door(web), load)

    def test_what_was_stored_by_a_server_that_dies_after_the_commit_is_a_repeat(self) -> None:
        with self.web("--workers", "1", FAILPOINT=failpoints.AFTER_INGEST) as web:
            with Load(self.door(web)) as load:
                web.wait()
            self.assertEqual(load.statuses(), {SILENCE})
            self.assertTrue(self.stored())
            web.start(FAILPOINT="")
            self.assert_resent_once(self.door(web), load)


class RandomMomentTests(DoorTestCase):
    def test_what_was_acknowledged_under_load_is_stored_once(self) -> None:
        with self.web("--workers", "1") as web, Load(self.door(web)) as load:
            for _ in range(KILLS):
                self.until_taken(load)
                time.sleep(random.uniform(0, 0.2))
                web.kill()
                web.start()
            self.until_taken(load)
            load.stop()
            self.assertEqual(load.statuses(), {SILENCE, 202})
            self.assert_once(load.acknowledged)
            self.assert_resent_once(self.door(web), load)

    def test_a_process_that_is_killed_is_replaced_while_the_others_serve(self) -> None:
        if connection.vendor == "sqlite":
            self.skipTest("SQLite is served by one process")
        with self.web("--workers", "2") as web, Load(self.door(web)) as load:
            self.until_taken(load)
            killed = web.kill_one_child()
            self.until(lambda: len(set(web.serving()) - {killed}) == 2, "it was not replaced")
            load.stop()
            self.assertLessEqual(load.statuses(), {SILENCE, 202})
            self.assert_once(load.acknowledged)
