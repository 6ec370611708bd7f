"""One site's flood is refused politely, and no other site notices; processes count together."""

import time

from tests.cast import make_site, make_user
from tests.door.cases import DoorTestCase
from tests.door.senders import Load, Sender, Told, page
from tests.door.serving import Web

RATE, BURST_SECONDS = 5, 10
FLOOD, CALM = 300, 30


class FloodTests(DoorTestCase):
    def test_a_flood_gets_what_its_limit_grants_and_the_neighbour_gets_everything(self) -> None:
        began = time.monotonic()
        with self.web(KEY_REQUESTS_PER_SECOND=str(RATE)) as web:  # two processes, on PostgreSQL
            with Load(self.door(web)) as flood:
                calm = self.post_calmly(web)
                self.until(lambda: len(flood.told) > FLOOD, "the flood was not answered")
            self.assertEqual(web.errors(), [])
        granted, most = flood.count(202), RATE * (BURST_SECONDS + time.monotonic() - began)
        self.assertEqual({each.status for each in calm}, {202})
        self.assertEqual(flood.statuses(), {202, 429})
        self.assertEqual({each.retry_after for each in flood.told if each.status == 429}, {"1"})
        self.assertTrue(RATE * BURST_SECONDS <= granted <= most, f"{granted} were granted")
        self.assertEqual(set(self.stored()), flood.acknowledged | {each.event_id for each in calm})

    def post_calmly(self, web: Web) -> list[Told]:
        """Post what Charlie's shop may: less than its limit."""
        charlies = make_site("Charlie's shop", make_user("charlie"))
        with Sender(page(web.port, charlies.write_key)) as sender:
            return [sender.post(f"calm-{number}") for number in range(CALM)]
