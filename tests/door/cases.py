"""What the tests of the door share: Alice's site, a server on the test's database, a lock from outside."""

import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import requests
from django.db import connection
from django.test import TransactionTestCase

from ingest.models import Event, ServerKey, Site
from tests.cast import make_site, make_user
from tests.door.senders import Door, Load, Told, backend, resend
from tests.door.serving import Web
from tests.support.databases import database_url

# Three seconds are promised; the rest is the test's own, on a machine that is busy.
ANSWER_SECONDS = 6
SOON = 60
PATIENCE_SECONDS = 20


class DoorTestCase(TransactionTestCase):
    """Alice's site with a server key, and what is true of it afterwards."""

    site: Site
    secret: str

    def setUp(self) -> None:
        self.site = make_site("Harbor & Pine", make_user("alice"))
        _, self.secret = ServerKey.objects.mint(self.site)
        self.log = Path(self.enterContext(tempfile.TemporaryDirectory())) / "web.log"

    def web(self, *options: str, **environment: str) -> Web:
        """Return a web server on the test's database, to be started with `with`."""
        return Web(database_url(), self.log, *options, **environment)

    def door(self, web: Web) -> Door:
        """Return the door of the site's backend."""
        return backend(web.port, self.secret)

    def stored(self) -> list[str]:
        """Return the ids of all stored events."""
        return list(Event.objects.values_list("event_id", flat=True))

    def assert_once(self, acknowledged: set[str]) -> None:
        """Assert that all that was acknowledged is stored, and nothing twice."""
        rows = Counter(self.stored())
        self.assertEqual(acknowledged - rows.keys(), set())
        self.assertEqual({event_id for event_id, count in rows.items() if count > 1}, set())

    def assert_resent_once(self, door: Door, load: Load) -> None:
        """Assert that sending everything again stores what is missing, and tells a repeat of all else."""
        before = set(self.stored())
        again = resend(door, load.sent)
        self.assertEqual(again.keys(), load.sent)
        self.assertEqual({event_id for event_id in again if again[event_id] == "accepted"}, load.sent - before)
        self.assertLessEqual(set(again.values()), {"accepted", "duplicate"})
        self.assert_once(load.sent)

    def assert_put_off_politely(self, told: list[Told]) -> None:
        """Assert that whoever was put off was told when to come again, and that soon."""
        away = [each for each in told if each.status == 503]
        self.assertEqual({each.retry_after for each in away}, {"5"})
        self.assertLess(max(each.seconds for each in away), ANSWER_SECONDS)

    def assert_put_off_by_django(self, web: Web) -> None:
        """Assert that what Django's views answer is put off as politely: adjustments and questions."""
        retraction = {"adjustments": [{"adjustment_id": "a-1", "transaction_id": "1042", "type": "retract"}]}
        headers = {"Authorization": f"Bearer {self.secret}"}
        for answer in (
            requests.post(f"{web.address}/v1/adjustments", json=retraction, headers=headers, timeout=PATIENCE_SECONDS),
            requests.get(f"{web.address}/v1/events/e-1", headers=headers, timeout=PATIENCE_SECONDS),
        ):
            self.assertEqual((answer.status_code, answer.headers["Retry-After"]), (503, "5"))
            self.assertLess(answer.elapsed.total_seconds(), ANSWER_SECONDS)

    def until_taken(self, load: Load, more: int = 20) -> None:
        """Wait until some more events were taken."""
        before = load.count(202)
        self.until(lambda: load.count(202) >= before + more, "nothing was taken")

    def until(self, is_so: Callable[[], bool], what: str, seconds: float = SOON) -> None:
        """Wait until something is so, or fail."""
        give_up = time.monotonic() + seconds
        while not is_so():
            self.assertLess(time.monotonic(), give_up, what)
            time.sleep(0.02)


@contextmanager
def held_events() -> Iterator[None]:
    """Hold a lock, from outside, that lets nobody store events: SQLite's file, or PostgreSQL's table."""
    if connection.vendor == "sqlite":
        name = connection.settings_dict["NAME"]
        with closing(sqlite3.connect(name, isolation_level=None, timeout=30)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield
            other.execute("ROLLBACK")
        return
    with psycopg.connect(database_url()) as another:
        another.execute("LOCK TABLE ingest_event IN EXCLUSIVE MODE")
        yield
