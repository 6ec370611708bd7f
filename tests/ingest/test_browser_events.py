"""What a page sends is kept as it was said, answered per event and counted once."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import time_machine
from django.db import connection
from django.test import modify_settings
from django.test.utils import CaptureQueriesContext

from ingest.models import Event
from tests.cast import CLICK_ID, NOON
from tests.ingest.calls import PURCHASE, CallsTestCase, statuses

HASH = "ec81f3ac7b2b19675bab9d54cf416f9f18cff87c97da5cca82c0f0891bc40602"


class AnswerTests(CallsTestCase):
    def test_an_event_is_accepted_and_stored(self) -> None:
        response = self.post_from_page("events", {"events": [PURCHASE]})
        self.assertEqual(response.status_code, 202)
        self.assertEqual(
            json.loads(response.content), {"results": [{"event_id": "e-1", "status": "accepted", "errors": []}]}
        )
        event = Event.objects.get()
        self.assertEqual((event.site, event.name, event.source), (self.site, "purchase", "browser"))
        self.assertEqual((event.value, event.currency), (Decimal("79.99"), "EUR"))
        self.assertEqual(event.occurred_at, datetime(2026, 11, 21, 10, tzinfo=UTC))
        self.assertEqual(event.msclkid, CLICK_ID)

    def test_it_is_stored_with_its_time_of_arrival(self) -> None:
        with time_machine.travel(NOON, tick=False):
            self.post_from_page("events", {"events": [PURCHASE]})
        self.assertEqual(Event.objects.get().received_at, NOON)

    def test_sending_it_again_is_a_duplicate(self) -> None:
        self.post_from_page("events", {"events": [PURCHASE], "sent_at": "2026-11-21T10:00:01Z"})
        response = self.post_from_page("events", {"events": [PURCHASE], "sent_at": "2026-11-21T10:00:31Z"})
        self.assertEqual((response.status_code, statuses(response)), (202, ["duplicate"]))
        self.assertEqual(Event.objects.count(), 1)

    def test_a_repeat_may_be_written_otherwise(self) -> None:
        self.post_from_page("events", {"events": [PURCHASE | {"properties": {"a": 1, "b": 2}}]})
        again = dict(reversed(PURCHASE.items())) | {"value": "79.990", "occurred_at": "2026-11-21T11:00:00+01:00"}
        response = self.post_from_page("events", {"events": [again | {"properties": {"b": 2, "a": 1}}]})
        self.assertEqual(statuses(response), ["duplicate"])

    def test_the_same_id_with_another_value_is_a_conflict(self) -> None:
        self.post_from_page("events", {"events": [PURCHASE]})
        response = self.post_from_page("events", {"events": [PURCHASE | {"value": 5}]})
        said = self.assert_problem(response, 409, "conflict")
        self.assertEqual([(e["field"], e["code"]) for e in said["errors"]], [("events[0].event_id", "conflict")])
        self.assertEqual(Event.objects.get().value, Decimal("79.99"))

    def test_results_follow_the_order_of_the_batch(self) -> None:
        self.post_from_page("events", {"events": [PURCHASE]})
        batch = [
            PURCHASE,
            PURCHASE | {"value": 5},
            PURCHASE | {"event_id": "e-2", "value": -5},
            PURCHASE | {"event_id": "e-3"},
            {"event_id": "e-4"},
        ]
        response = self.post_from_page("events", {"events": batch})
        results = json.loads(response.content)["results"]
        self.assertEqual(statuses(response), ["duplicate", "conflict", "refused", "accepted", "refused"])
        self.assertEqual([r["event_id"] for r in results], ["e-1", "e-1", "e-2", "e-3", None])
        self.assertEqual([[e["field"] for e in r["errors"]] for r in results][2], ["events[2].value"])
        self.assertEqual(Event.objects.count(), 2)

    def test_refusals_and_conflicts_together_store_nothing(self) -> None:
        self.post_from_page("events", {"events": [PURCHASE]})
        batch = [PURCHASE | {"value": 5}, PURCHASE | {"event_id": "e-2", "value": -5}]
        response = self.post_from_page("events", {"events": batch})
        said = self.assert_problem(response, 422, "nothing_accepted")
        self.assertEqual([e["code"] for e in said["errors"]], ["conflict", "value_negative"])

    def test_an_unknown_key_and_no_key_look_the_same(self) -> None:
        answers = []
        for key in ("wk_" + "0" * 32, "wk_", "nonsense", "wk_%00", "sk_" + "a" * 43, "wk_" + "0" * 500, "wk_é"):
            response = self.client.post(f"/v1/{key}/events", {"events": [PURCHASE]}, "application/json")
            answers.append((response.status_code, response.content, response["Content-Type"]))
        self.assertEqual(set(answers), {answers[0]})
        self.assertEqual(answers[0][0], 404)
        self.assert_nothing_is_stored()

    @modify_settings(MIDDLEWARE={"prepend": "ingest.middleware.WithoutCookies"})
    def test_no_cookie_is_set_and_no_session_read(self) -> None:
        response = self.post_from_page("events", {"events": [PURCHASE]}, Cookie="session=abc; csrf=def")
        self.assertEqual(response.status_code, 202)
        self.assertFalse(response.cookies)
        self.assertNotIn("Cookie", response["Vary"])

    def test_a_hundred_events_cost_as_many_queries_as_two(self) -> None:
        events = [PURCHASE | {"event_id": f"e-{n}"} for n in range(100)]
        self.post_from_page("events", {"events": events[:1]})
        with CaptureQueriesContext(connection) as two:
            self.post_from_page("events", {"events": events[:2]})
        with CaptureQueriesContext(connection) as many:
            self.post_from_page("events", {"events": events})
        self.assertEqual(len(many), len(two))


class TimeTests(CallsTestCase):
    def occurred(self, sent_at: str | None, occurred_at: str | None) -> datetime:
        """Send one event at noon and return the time it is stored with."""
        Event.objects.all().delete()
        body = {"events": [PURCHASE | {"occurred_at": occurred_at}], "sent_at": sent_at}
        with time_machine.travel(NOON, tick=False):
            response = self.post_from_page("events", body)
        self.assertEqual(response.status_code, 202, response.content)
        return Event.objects.get().occurred_at

    def test_a_time_is_kept_as_given_and_stored_in_utc(self) -> None:
        ten = datetime(2026, 11, 21, 10, tzinfo=UTC)
        for text in ("2026-11-21T10:00:00Z", "2026-11-21T12:00:00+02:00", "2026-11-21 04:30:00-0530"):
            with self.subTest(text):
                self.assertEqual(self.occurred("2026-11-21T11:59:58Z", text), ten)

    def test_without_a_time_it_happened_when_it_arrived(self) -> None:
        self.assertEqual(self.occurred(None, None), NOON)

    def test_a_clock_that_is_off_is_corrected_by_the_time_of_sending(self) -> None:
        ten = datetime(2026, 11, 21, 10, tzinfo=UTC)
        for skew in (timedelta(days=3), timedelta(hours=-5), timedelta(seconds=-6), timedelta(days=-3)):
            with self.subTest(skew):
                sent_at, occurred_at = (NOON + skew).isoformat(), (ten + skew).isoformat()
                self.assertEqual(self.occurred(sent_at, occurred_at), ten)

    def test_the_journey_of_a_request_is_no_skew(self) -> None:
        self.assertEqual(
            self.occurred("2026-11-21T11:59:55Z", "2026-11-21T10:00:00Z"), datetime(2026, 11, 21, 10, tzinfo=UTC)
        )

    def test_a_device_that_lives_in_1970_is_corrected(self) -> None:
        self.assertEqual(self.occurred("1970-01-01T00:10:00Z", "1970-01-01T00:09:00Z"), NOON - timedelta(minutes=1))

    def test_the_future_is_refused_beyond_a_day(self) -> None:
        self.assertEqual(self.occurred(None, "2026-11-22T12:00:00Z"), NOON + timedelta(days=1))
        with time_machine.travel(NOON, tick=False):
            event = PURCHASE | {"event_id": "e-2", "occurred_at": "2026-11-22T12:00:01Z"}
            response = self.post_from_page("events", {"events": [event]})
        said = self.assert_problem(response, 422, "nothing_accepted")
        self.assertEqual(said["errors"][0]["code"], "time_in_future")

    def test_the_refusal_says_when_the_clock_is_far_off(self) -> None:
        body = {"sent_at": "2026-11-18T12:00:00Z", "events": [PURCHASE | {"occurred_at": "2026-11-21T12:00:00Z"}]}
        with time_machine.travel(NOON, tick=False):
            said = self.assert_problem(self.post_from_page("events", body), 422, "nothing_accepted")
        self.assertIn("72 hours behind ours", said["errors"][0]["detail"])

    def test_an_old_event_is_accepted(self) -> None:
        year_ago = NOON - timedelta(days=365)
        self.assertEqual(self.occurred(None, year_ago.isoformat()), year_ago)


class MeaningTests(CallsTestCase):
    def stored(self, **members: object) -> Event:
        """Send one event with these members and return it."""
        response = self.post_from_page("events", {"events": [{"name": "lead", "event_id": "e-1"} | members]})
        self.assertEqual(response.status_code, 202, response.content)
        return Event.objects.get()

    def test_a_value_without_currency_has_the_sites(self) -> None:
        self.site.currency = "SEK"
        self.site.save(update_fields=["currency"])
        self.assertEqual(self.stored(value="12.5").currency, "SEK")

    def test_without_a_value_there_is_no_currency(self) -> None:
        self.assertEqual(self.stored().currency, "")

    def test_a_changed_site_currency_makes_no_conflict_of_a_repeat(self) -> None:
        self.stored(value=1)
        self.site.currency = "SEK"
        self.site.save(update_fields=["currency"])
        response = self.post_from_page("events", {"events": [{"name": "lead", "event_id": "e-1", "value": 1}]})
        self.assertEqual(statuses(response), ["duplicate"])

    def test_zero_is_a_value(self) -> None:
        self.assertEqual(self.stored(value="-0.0").value, Decimal(0))
        self.assertFalse(Event.objects.get().value.is_signed())  # type: ignore[union-attr]

    def test_whatever_is_called_a_click_id_is_kept_verbatim(self) -> None:
        self.assertEqual(self.stored(msclkid="{msclkid} ").msclkid, "{msclkid} ")

    def test_empty_texts_and_nulls_are_nothing(self) -> None:
        event = self.stored(transaction_id="", visitor_id=None, value=None, properties=None, consent={}, user_data=None)
        self.assertEqual((event.transaction_id, event.visitor_id, event.consent), ("", "", ""))
        self.assertEqual((event.value, event.properties), (None, {}))

    def test_properties_are_kept_as_they_are(self) -> None:
        properties = {"plan": "pro", "n": [1, 1.5, None, True], "nested": {"a": {}}, "url": "npm:left@1.2.3", "é": "@"}
        self.assertEqual(self.stored(properties=properties).properties, properties)

    def test_twenty_levels_are_deep_enough(self) -> None:
        inner: object = 1
        for _ in range(16):
            inner = [inner]
        self.assertEqual(self.stored(properties={"a": inner}).properties, {"a": inner})

    def test_hashes_are_kept_in_lower_case(self) -> None:
        self.assertEqual(self.stored(user_data={"email_sha256": HASH.upper()}).email_sha256, HASH)

    def test_a_page_that_sends_plain_personal_data_is_refused(self) -> None:
        for said in ({"email": "jane@example.com"}, {"phone": "+14255551234"}, {"email_sha256": HASH, "country": "US"}):
            with self.subTest(said):
                event = PURCHASE | {"user_data": said}
                response = self.post_from_page("events", {"events": [event]})
                problem = self.assert_problem(response, 422, "nothing_accepted")
                self.assertEqual(problem["errors"][0]["code"], "personal_data")
                self.assertNotIn(b"jane", response.content)
        self.assert_nothing_is_stored()

    def test_with_consent_refused_no_identifier_is_kept(self) -> None:
        event = self.stored(
            consent={"ad_storage": "denied"}, msclkid=CLICK_ID, user_data={"email_sha256": HASH, "phone_sha256": HASH}
        )
        self.assertEqual(event.consent, "denied")
        self.assertEqual((event.msclkid, event.email_sha256, event.phone_sha256), ("", "", ""))

    def test_global_privacy_control_is_a_refusal_whatever_the_page_says(self) -> None:
        said = PURCHASE | {"consent": {"ad_storage": "granted"}, "user_data": {"email_sha256": HASH}}
        told = self.post_from_page("events", {"events": [said]}, **{"Sec-GPC": "1"})
        event = Event.objects.get()
        self.assertEqual((told.status_code, event.consent), (202, "denied"))
        self.assertEqual((event.msclkid, event.email_sha256), ("", ""))

    def test_an_event_without_id_is_refused(self) -> None:
        said = self.assert_problem(
            self.post_from_page("events", {"events": [{"name": "lead"}]}), 422, "nothing_accepted"
        )
        self.assertEqual((said["errors"][0]["field"], said["errors"][0]["code"]), ("events[0].event_id", "required"))
