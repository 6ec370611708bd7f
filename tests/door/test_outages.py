"""While the database is away or locked, senders are asked to come again within three seconds, and nothing is lost."""

import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import psycopg
from django.test import skipIfDBFeature, skipUnlessDBFeature

from tests.door.cases import DoorTestCase, held_events
from tests.door.postgres_server import PostgresServer
from tests.door.senders import Load, Sender
from tests.door.serving import Web
from tests.support.databases import database_url

LOCKED_SECONDS = 8.0
# Longer than what a key opens is remembered, so that it is looked up while the database is away.
AWAY_SECONDS, BACK_SECONDS = 8.0, 5.0
# Of which five fill what may wait for the database (MAX_WAITING_ROWS in ingest/collector.py).
BATCHES, BATCH = 10, 1_000
FITTING = 5
PUT_OFF = 0


@skipUnlessDBFeature("test_db_allows_multiple_connections")
class PostgresStopsTests(DoorTestCase):
    server: PostgresServer

    def setUp(self) -> None:
        super().setUp()
        self.server = self.enterContext(PostgresServer())
        self.server.copy(database_url())

    def stored(self) -> list[str]:
        with psycopg.connect(self.server.url) as connection:
            return [event_id for (event_id,) in connection.execute("SELECT event_id FROM ingest_event")]

    def test_an_immediate_stop_loses_nothing_and_is_over_as_soon_as_the_database_is_back(self) -> None:
        with Web(self.server.url, self.log) as web:
            with Load(self.door(web)) as load:
                self.until_taken(load)
                self.server.stop()
                stopped = time.monotonic()
                self.assert_put_off_by_django(web)
                self.until(lambda: load.has_asked_since(stopped + AWAY_SECONDS), "nobody was answered any more")
                self.server.start()
                started = time.monotonic()
                self.until(lambda: load.has_asked_since(started + BACK_SECONDS + 1), "nobody was answered any more")
            self.assertEqual(load.statuses(), {202, 503})
            self.assert_put_off_politely(load.told)
            late = [each.status for each in load.told if each.at > started + BACK_SECONDS]
            self.assertEqual(set(late), {202})
            self.assert_resent_once(self.door(web), load)
            # What Django answers with a 5xx it calls an error, too.
            self.assertEqual([line for line in web.errors() if "Service Unavailable" not in line], [])


class LockedFromOutsideTests(DoorTestCase):
    def test_senders_are_put_off_while_a_lock_lasts_and_nothing_acknowledged_is_lost(self) -> None:
        with self.web() as web:
            with Load(self.door(web)) as load:
                self.until_taken(load)
                with held_events():
                    time.sleep(LOCKED_SECONDS)
                self.until_taken(load)
            self.assertEqual(load.statuses(), {202, 503})
            self.assert_put_off_politely(load.told)
            self.assert_resent_once(self.door(web), load)
            self.assertEqual(web.errors(), [])

    @skipIfDBFeature("test_db_allows_multiple_connections")
    def test_a_locked_file_keeps_nobody_longer_than_a_server_that_is_away(self) -> None:
        with self.web() as web, held_events():
            self.assert_put_off_by_django(web)

    def test_what_waits_for_the_database_is_bounded_and_what_is_above_it_is_put_off_at_once(self) -> None:
        batches = [[uuid.uuid4().hex for _ in range(BATCH)] for _ in range(BATCHES)]
        with self.web("--workers", "1") as web, ThreadPoolExecutor(BATCHES) as pool:
            self.assertEqual(self.post(web, ["this-makes-the-key-known"]), 1)
            with held_events():
                answers = [pool.submit(self.post, web, batch) for batch in batches]
                self.until(lambda: sum(each.done() for each in answers) >= BATCHES - FITTING, "nobody was put off")
                self.assertEqual({each.result() for each in answers if each.done()}, {PUT_OFF})
            self.assertEqual({each.result() for each in answers}, {BATCH, PUT_OFF})
            self.until(lambda: len(self.stored()) == 1 + FITTING * BATCH, "what waited was not stored")

    def post(self, web: Web, event_ids: list[str]) -> int:
        """Post a batch; return how many were answered one by one."""
        with Sender(self.door(web)) as sender:
            return len(sender.post_batch(event_ids))
