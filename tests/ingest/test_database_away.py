"""While the database cannot store, the answer is 503, and nothing of the request is half stored."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest.mock import patch

from django.db import DataError, IntegrityError, InterfaceError, OperationalError, connection, transaction
from django.http import HttpResponse
from django.test import TransactionTestCase, skipUnlessDBFeature

from ingest import storing
from ingest.keys import WRITE_KEYS, Keyring
from ingest.models import Adjustment, Event, ServerKey, Site
from ingest.signals import event_accepted
from tests.cast import make_site, make_user
from tests.ingest.calls import ADJUSTMENT, CLICK, ORIGIN, PURCHASE, CallsTestCase


class DatabaseAwayTests(CallsTestCase):
    def test_every_call_may_be_made_again_shortly(self) -> None:
        for error in (OperationalError("database is locked"), InterfaceError("connection already closed")):
            with patch.object(storing, "_insert", side_effect=error):
                for response in (
                    self.post_from_page("events", {"events": [PURCHASE]}),
                    self.post_from_page("clicks", {"clicks": [CLICK]}),
                    self.post_from_backend({"events": [PURCHASE]}),
                    self.post_adjustments(ADJUSTMENT),
                ):
                    self.assert_problem(response, 503, "unavailable")
                    self.assertEqual(response["Retry-After"], "5")
        self.assert_nothing_is_stored()

    def test_a_page_may_read_it(self) -> None:
        with patch.object(Keyring, "find", side_effect=OperationalError):
            response = self.post_from_page("events", {"events": [PURCHASE]})
        self.assert_problem(response, 503, "unavailable")
        self.assertEqual(response["Access-Control-Allow-Origin"], ORIGIN)

    def test_a_failure_after_the_insert_takes_the_insert_back(self) -> None:
        def fail(**_: object) -> None:
            raise OperationalError("disk I/O error")

        event_accepted.connect(fail)
        self.addCleanup(event_accepted.disconnect, fail)
        self.assert_problem(self.post_from_page("events", {"events": [PURCHASE]}), 503, "unavailable")
        self.assert_nothing_is_stored()

    def test_what_we_have_not_thought_of_is_not_passed_off_as_a_pause(self) -> None:
        for error in (IntegrityError("NOT NULL constraint failed: t@x.example"), DataError("value too long")):
            with (
                patch.object(storing, "_insert", side_effect=error),
                self.assertLogs("ingest.committing", "ERROR") as logs,
            ):
                response = self.post_from_page("events", {"events": [PURCHASE]})
            [said] = self.assert_problem(response, 422, "nothing_accepted")["errors"]
            self.assertEqual((said["field"], said["code"]), ("events[0]", "not_storable"))
            self.assertNotIn("x.example", "".join(logs.output))

    def test_a_row_that_the_database_refuses_does_not_fail_its_neighbours(self) -> None:
        insert = storing._insert

        def refusing(statement: Any, rows: Sequence[Any]) -> Any:
            if any(row.event_id == "e-3" for row in rows):
                raise DataError("value too long")
            return insert(statement, rows)

        events = [PURCHASE | {"event_id": f"e-{n}"} for n in range(7)]
        with patch.object(storing, "_insert", refusing), self.assertLogs("ingest.committing", "ERROR"):
            results = self.post_from_page("events", {"events": events}).json()["results"]  # type: ignore[attr-defined]
        statuses = ["refused" if n == 3 else "accepted" for n in range(7)]
        self.assertEqual([result["status"] for result in results], statuses)
        self.assertEqual(Event.objects.count(), 6)


@skipUnlessDBFeature("test_db_allows_multiple_connections")
class LockedTableTests(TransactionTestCase):
    def test_a_locked_table_is_not_waited_for_without_end(self) -> None:
        site = make_site("Harbor & Pine", make_user("alice"))

        def post() -> HttpResponse:
            try:
                url = f"/v1/{site.write_key}/events"
                return self.client.post(url, {"events": [PURCHASE]}, "application/json")  # type: ignore[return-value]
            finally:
                connection.close()

        with patch.object(storing, "LOCK_TIMEOUT_MS", 50), ThreadPoolExecutor(1) as pool, transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("LOCK TABLE ingest_event IN EXCLUSIVE MODE")
            response = pool.submit(post).result(timeout=20)
        self.assertEqual((response.status_code, response["Retry-After"]), (503, "5"))
        self.assertFalse(Event.objects.exists())

    def test_adjustments_that_wait_for_their_turn_hold_up_no_event_and_are_told_so(self) -> None:
        site = make_site("Harbor & Pine", make_user("alice"))
        _, secret = ServerKey.objects.mint(site)

        def post(path: str, body: object) -> HttpResponse:
            try:
                headers = {"Authorization": f"Bearer {secret}"}
                return self.client.post(path, body, "application/json", headers=headers)  # type: ignore[return-value]
            finally:
                connection.close()

        with patch.object(storing, "LOCK_TIMEOUT_MS", 50), ThreadPoolExecutor(1) as pool, transaction.atomic():
            Site.objects.select_for_update(no_key=True).get()
            event = pool.submit(post, "/v1/events", {"events": [PURCHASE]}).result(timeout=20)
            adjustment = pool.submit(post, "/v1/adjustments", {"adjustments": [ADJUSTMENT]}).result(timeout=20)
        self.assertEqual((event.status_code, adjustment.status_code), (202, 503))
        self.assertFalse(Adjustment.objects.exists())


class SiteGoneTests(TransactionTestCase):
    def test_a_site_that_is_deleted_meanwhile_is_unknown(self) -> None:
        site = make_site("Harbor & Pine", make_user("alice"))
        caller = WRITE_KEYS.find(site.write_key)
        site.delete()
        with patch.object(Keyring, "find", return_value=caller):
            response = self.client.post(f"/v1/{site.write_key}/events", {"events": [PURCHASE]}, "application/json")
        self.assertEqual((response.status_code, response.json()["type"]), (404, "/problems/unknown_key"))
        self.assertFalse(Event.objects.exists())
