"""What a backend sends: with a server key, with plain personal data that is hashed on arrival."""

import json
import logging
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import time_machine
from django.apps import apps
from django.utils import timezone

from ingest.keys import forget_all
from ingest.models import Event, ServerKey
from tests.cast import CLICK_ID, NOON
from tests.ingest.calls import PURCHASE, CallsTestCase, statuses

EMAIL, EMAIL_SHA256 = (
    "Jane.Doe+Shopping@contoso.com",
    "62a8040a00736e70808e43009b5c63c4f6229ced98f486d0968441b292b9858a",
)
PHONE, PHONE_SHA256 = "(425) 555-1234", "c59475d96e9f01d7d18d06cfad84dd02333207f02c0c2c5663ef2782cda0390e"


class BackendEventTests(CallsTestCase):
    def test_an_event_is_accepted_and_stored(self) -> None:
        response = self.post_from_backend({"events": [PURCHASE]})
        self.assertEqual((response.status_code, statuses(response)), (202, ["accepted"]))
        event = Event.objects.get()
        self.assertEqual((event.site, event.source, event.value), (self.site, "server", Decimal("79.99")))

    def test_an_event_without_id_is_given_one(self) -> None:
        response = self.post_from_backend({"events": [{"name": "lead"}, {"name": "lead"}]})
        ids = [result["event_id"] for result in json.loads(response.content)["results"]]
        self.assertEqual(ids, list(Event.objects.order_by("pk").values_list("event_id", flat=True)))
        self.assertEqual([uuid.UUID(each).version for each in ids], [4, 4])

    def test_what_an_event_without_id_says_names_it(self) -> None:
        """A backend cannot know whether what was answered 503 was stored, and sends it again."""
        unnamed = {member: said for member, said in PURCHASE.items() if member != "event_id"}
        later = unnamed | {"occurred_at": "2026-11-21T10:00:01Z"}
        for said, told in (([unnamed], ["accepted"]), ([unnamed, later], ["duplicate", "accepted"])):
            self.assertEqual(statuses(self.post_from_backend({"events": said})), told)
        self.assertEqual(Event.objects.count(), 2)

    def test_events_that_say_neither_when_nor_who_are_as_many_as_came(self) -> None:
        for said in ({"name": "lead", "occurred_at": "2026-11-21T10:00:00Z"}, {"name": "lead", "msclkid": CLICK_ID}):
            with self.subTest(said):
                self.assertEqual(statuses(self.post_from_backend({"events": [said, said]})), ["accepted"] * 2)

    def test_nothing_is_made_of_an_identity_that_is_not_kept(self) -> None:
        """Else whoever reads the rows could try whether a guessed address fits."""
        refusing = {"name": "lead", "occurred_at": "2026-11-21T10:00:00Z", "consent": {"ad_storage": "denied"}}
        one, other = (refusing | {"visitor_id": "v-1", "user_data": {"email": f"{who}@example.com"}} for who in "ab")
        self.assertEqual(statuses(self.post_from_backend({"events": [one, other]})), ["accepted", "duplicate"])

    def test_a_refused_event_is_given_no_id(self) -> None:
        response = self.post_from_backend({"events": [{"name": "lead", "value": -1}, {"name": "lead"}]})
        refused = json.loads(response.content)["results"][0]
        self.assertEqual((refused["event_id"], refused["status"]), (None, "refused"))

    def test_the_page_and_the_backend_may_send_the_same_event(self) -> None:
        self.post_from_page("events", {"events": [PURCHASE]})
        self.assertEqual(statuses(self.post_from_backend({"events": [PURCHASE]})), ["duplicate"])
        self.assertEqual(Event.objects.get().source, "browser")

    def test_a_backends_clock_is_not_corrected(self) -> None:
        with time_machine.travel(NOON, tick=False):
            self.post_from_backend({"sent_at": "2026-11-20T12:00:00Z", "events": [PURCHASE]})
        self.assertEqual(Event.objects.get().occurred_at, datetime(2026, 11, 21, 10, tzinfo=UTC))


class PersonTests(CallsTestCase):
    def send(self, **user_data: str) -> tuple[str, list[str]]:
        """Send an event about this person; return its status and the codes that came with it."""
        response = self.post_from_backend({"events": [PURCHASE | {"user_data": user_data}]})
        said = json.loads(response.content)
        errors = said["errors"] if response.status_code == 422 else said["results"][0]["errors"]
        status = "refused" if response.status_code == 422 else said["results"][0]["status"]
        return status, [error["code"] for error in errors]

    def test_plain_email_and_phone_are_hashed(self) -> None:
        self.assertEqual(self.send(email=EMAIL, phone=PHONE, country="us"), ("accepted", []))
        event = Event.objects.get()
        self.assertEqual((event.email_sha256, event.phone_sha256), (EMAIL_SHA256, PHONE_SHA256))

    def test_hashes_are_not_hashed_again(self) -> None:
        self.send(email_sha256=EMAIL_SHA256, phone_sha256=PHONE_SHA256.upper())
        event = Event.objects.get()
        self.assertEqual((event.email_sha256, event.phone_sha256), (EMAIL_SHA256, PHONE_SHA256))

    def test_plain_and_hashed_are_the_same_event(self) -> None:
        self.send(email=EMAIL)
        self.assertEqual(self.send(email_sha256=EMAIL_SHA256), ("duplicate", []))

    def test_what_a_buyer_mistyped_does_not_lose_the_sale(self) -> None:
        status, codes = self.send(email="jane at home", phone="call me")
        self.assertEqual((status, codes), ("accepted", ["email_malformed", "phone_malformed"]))
        event = Event.objects.get()
        self.assertEqual((event.email_sha256, event.phone_sha256), ("", ""))

    def test_a_national_number_needs_its_country(self) -> None:
        self.assertEqual(self.send(phone=PHONE), ("accepted", ["phone_malformed"]))

    def test_plain_and_hashed_together_are_refused(self) -> None:
        self.assertEqual(self.send(email=EMAIL, email_sha256=EMAIL_SHA256), ("refused", ["given_twice"]))
        self.assertEqual(self.send(phone=PHONE, phone_sha256=PHONE_SHA256), ("refused", ["given_twice"]))

    def test_an_unknown_country_is_refused(self) -> None:
        self.assertEqual(self.send(phone=PHONE, country="USA"), ("refused", ["country_unknown"]))

    def test_no_plain_personal_data_is_in_any_answer_log_or_table(self) -> None:
        with self.assertLogs(level=logging.DEBUG) as logs:
            logging.getLogger("canary").debug("The record that assertLogs asks for.")
            answers = [
                self.post_from_backend({"events": [PURCHASE | {"user_data": said}]}).content
                for said in (
                    {"email": EMAIL, "phone": PHONE, "country": "US"},
                    {"email": f"{EMAIL}@", "phone": f"{PHONE}5555555555"},
                    {"email_sha256": EMAIL, "phone_sha256": PHONE},
                    {EMAIL: PHONE},
                    {"email": [EMAIL]},
                )
            ]
        seen = "\n".join([*map(str, answers), *logs.output, *map(repr, self._everything_stored())]).lower()
        for canary in ("jane", "contoso", "555-1234", "5551234"):
            with self.subTest(canary):
                self.assertNotIn(canary, seen.replace(EMAIL_SHA256, "").replace(PHONE_SHA256, ""))
        self.assertIn(EMAIL_SHA256, seen)

    def _everything_stored(self) -> list[object]:
        models = [model for model in apps.get_models() if model._meta.app_label != "auth"]
        return [row for model in models for row in model._default_manager.exclude(pk=None).values_list()]


class ServerKeyTests(CallsTestCase):
    def test_a_wrong_key_and_no_key_are_unauthorized(self) -> None:
        other = "sk_" + "A" * 43
        for given in ("", "Bearer", f"Bearer {other}", f"Basic {self.secret}", self.secret, f"Bearer {self.secret}x"):
            with self.subTest(given):
                response = self.post_from_backend({"events": [PURCHASE]}, Authorization=given)
                self.assert_problem(response, 401, "unauthorized")
                self.assertEqual(response["WWW-Authenticate"], 'Bearer realm="convultra"')
        self.assert_nothing_is_stored()

    def test_odd_bytes_in_the_key_are_unauthorized(self) -> None:
        for given in ("Bearer sk_\0" + "a" * 42, "Bearer sk_é" + "a" * 42, "Bearer \udcff", "Bearer " + "s" * 9000):
            with self.subTest(ascii(given)[:40]):
                response = self.post_from_backend({"events": [PURCHASE]}, Authorization=given)
                self.assert_problem(response, 401, "unauthorized")

    def test_a_write_key_is_no_server_key(self) -> None:
        response = self.post_from_backend({"events": [PURCHASE]}, Authorization=f"Bearer {self.site.write_key}")
        self.assert_problem(response, 401, "unauthorized")

    def test_a_revoked_key_is_unauthorized(self) -> None:
        self.server_key.revoked_at = NOON
        self.server_key.save(update_fields=["revoked_at"])
        self.assert_problem(self.post_from_backend({"events": [PURCHASE]}), 401, "unauthorized")

    def test_two_keys_may_live_at_once(self) -> None:
        _, second = ServerKey.objects.mint(self.site)
        response = self.post_from_backend({"events": [PURCHASE]}, Authorization=f"bearer {second}")
        self.assertEqual(response.status_code, 202)

    def test_a_key_writes_to_its_own_site_only(self) -> None:
        charlies = self.charlie.memberships.get().organisation.sites.get()
        _, secret = ServerKey.objects.mint(charlies)
        self.post_from_backend({"events": [PURCHASE]}, Authorization=f"Bearer {secret}")
        self.assertEqual(Event.objects.get().site, charlies)

    def test_a_browser_is_refused_even_with_the_right_key(self) -> None:
        response = self.post_from_backend({"events": [PURCHASE]}, Origin="https://shop.example")
        self.assert_problem(response, 403, "server_key_in_browser")
        self.assertNotIn("Access-Control-Allow-Origin", response)
        self.assert_nothing_is_stored()

    def test_its_last_use_is_kept_to_the_minute(self) -> None:
        with time_machine.travel(NOON, tick=False) as clock:
            used = []
            for seconds in (0, 59, 1):
                clock.shift(timedelta(seconds=seconds))
                forget_all()
                self.post_from_backend({"events": [PURCHASE]})
                used.append(ServerKey.objects.get(pk=self.server_key.pk).last_used_at)
            self.assertEqual(used, [NOON, NOON, timezone.now()])
