"""A deploy under load: the server stops in order and soon, and nothing that was acknowledged is lost."""

import time
from concurrent.futures import ThreadPoolExecutor

from tests.door.cases import DoorTestCase, held_events
from tests.door.senders import SILENCE, Load, Sender

STOP_SECONDS = 20
HOLD_SECONDS = 0.5


class StopTests(DoorTestCase):
    def test_it_ends_under_load_and_what_was_acknowledged_is_stored(self) -> None:
        with self.web() as web:
            with Load(self.door(web)) as load:
                self.until_taken(load)
                web.ask_to_stop()
                web.wait(STOP_SECONDS)
            self.assertLessEqual(load.statuses(), {SILENCE, 202})
            self.assertLess(max(each.seconds for each in load.told), STOP_SECONDS)  # nobody is left hanging
            self.assert_once(load.acknowledged)
            self.assertEqual(web.errors(), [])
            web.start()
            self.assert_resent_once(self.door(web), load)

    def test_what_waits_for_its_commit_is_answered_before_the_end(self) -> None:
        with self.web() as web, ThreadPoolExecutor(1) as pool, Sender(self.door(web)) as sender:
            self.assertEqual(sender.post("first").status, 202)
            with held_events():
                answer = pool.submit(sender.post, "second")
                time.sleep(HOLD_SECONDS)  # it is on its way now
                web.ask_to_stop()
                time.sleep(HOLD_SECONDS)
            self.assertEqual(answer.result().outcome, "accepted")
            web.wait(STOP_SECONDS)
            self.assertEqual((sorted(self.stored()), web.errors()), (["first", "second"], []))
