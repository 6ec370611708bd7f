"""While the database cannot store, the answer is 503, and nothing of the request is half stored."""

from concurrent.futures import ThreadPoolExecutor
from unittest.mock import patch

from django.db import IntegrityError, InterfaceError, OperationalError, connection, transaction
from django.http import HttpResponse
from django.test import TransactionTestCase, skipUnlessDBFeature

from ingest import storing
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
        with patch("ingest.views.find_site", side_effect=OperationalError):
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

    def test_a_fault_of_ours_is_not_passed_off_as_a_pause(self) -> None:
        error = IntegrityError("NOT NULL constraint failed")
        with patch.object(storing, "_insert", side_effect=error), self.assertRaises(IntegrityError):
            self.post_from_page("events", {"events": [PURCHASE]})


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
        gone = Site(pk=site.pk + 1, organisation=site.organisation)
        with patch("ingest.views.find_site", return_value=gone):
            response = self.client.post("/v1/any/events", {"events": [PURCHASE]}, "application/json")
        self.assertEqual(response.status_code, 404)
        self.assertFalse(Event.objects.exists())
