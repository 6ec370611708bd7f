"""What a customer's backend sends, and what Microsoft has in its books afterwards."""

from collections import Counter
from datetime import UTC, timedelta
from datetime import timezone as fixed_zone
from decimal import Decimal
from typing import Any
from unittest import mock

from django.utils import timezone

from forwarding.models import Attempt, Delivery, Upload
from forwarding.planning.planner import plan_all
from ingest.click_ids import new_test_click_id
from ingest.models import Click
from integrations.models import AdAccount, Connection
from tests.cast import CLICK_ID
from tests.road.road import RoadTestCase, purchase

# Every member that cm/offlineconversion knows.
KNOWN_MEMBERS = {
    "MicrosoftClickId", "ConversionName", "ConversionTime", "ConversionValue", "ConversionCurrencyCode",
    "ExternalAttributionCredit", "ExternalAttributionModel", "HashedEmailAddress", "HashedPhoneNumber",
}  # fmt: skip


class TestDelivered(RoadTestCase):
    def received(self) -> list[dict[str, Any]]:
        return [row.row for row in self.microsoft.books.received if row.row is not None]

    def test_microsoft_books_the_events_own_time_value_click_and_goal(self) -> None:
        at = (timezone.now() - timedelta(hours=3)).replace(microsecond=0)
        in_kolkata = at.astimezone(fixed_zone(timedelta(hours=5, minutes=30))).isoformat()
        self.post(purchase(occurred_at=in_kolkata, msclkid=CLICK_ID))
        self.go()
        [row] = self.received()
        self.assertEqual(
            row,
            {
                "ConversionName": "Purchase",
                "ConversionTime": at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                "ConversionValue": Decimal("49.9"),
                "ConversionCurrencyCode": "USD",
                "MicrosoftClickId": CLICK_ID,
            },
        )
        self.assertLessEqual(row.keys(), KNOWN_MEMBERS)

    def test_the_backend_reads_delivered(self) -> None:
        event = purchase()
        self.post(event)
        self.assertEqual(self.status(event["event_id"])["deliveries"], [])
        self.go()
        [delivery] = self.status(event["event_id"])["deliveries"]
        self.assertEqual((delivery["status"], delivery["account_id"]), ("delivered", self.account.account_id))

    def test_hashed_customer_data_travels_to_an_enhanced_goal(self) -> None:
        AdAccount.objects.update(enhanced_conversions=True)
        self.post(purchase(msclkid=None, user_data={"email": " Jane.Doe+Shopping@contoso.com "}))
        self.go()
        [row] = self.received()
        self.assertEqual(row["HashedEmailAddress"], "62a8040a00736e70808e43009b5c63c4f6229ced98f486d0968441b292b9858a")
        self.assertNotIn("MicrosoftClickId", row)

    def test_the_install_pages_test_click_never_travels(self) -> None:
        AdAccount.objects.update(enhanced_conversions=True)
        test_click, at = new_test_click_id(timezone.now()), timezone.now() - timedelta(hours=2)
        Click.objects.create(site=self.site, msclkid=test_click, visitor_id="v-1", captured_at=at)
        person = {"email": "jane@contoso.com"}
        self.post(purchase(msclkid=test_click, visitor_id="v-1", user_data=person))
        self.post(purchase(msclkid=None, visitor_id="v-1", user_data=person))
        self.go()
        self.assertEqual([row.get("MicrosoftClickId") for row in self.received()], [None, None])

    def test_a_thousand_and_one_conversions_take_two_calls(self) -> None:
        for start in range(0, 1001, 500):
            self.post(*(purchase() for _ in range(min(500, 1001 - start))))
        self.go()
        self.assertEqual([len(upload.delivery_ids) for upload in Upload.objects.order_by("pk")], [1000, 1])
        self.assertEqual(len(self.microsoft.bookings), 1001)
        self.assertFalse(Attempt.objects.exists())

    def test_a_repeated_event_is_booked_once(self) -> None:
        event = purchase()
        self.post(event)
        self.go()
        self.assertEqual(self.post(event)["results"][0]["status"], "duplicate")
        self.go()
        self.assertEqual(len(self.microsoft.bookings), 1)


class TestNotForwarded(RoadTestCase):
    def test_a_test_click_is_no_click(self) -> None:
        event = purchase(msclkid=new_test_click_id(timezone.now()))
        self.post(event)
        self.go()
        [delivery] = self.status(event["event_id"])["deliveries"]
        self.assertEqual((delivery["status"], delivery["reason"]), ("skipped", "no_identifier"))

    def test_an_unmapped_event_says_why_and_microsoft_hears_nothing(self) -> None:
        event = purchase(name="add_to_cart")
        self.post(event)
        self.go()
        [delivery] = self.status(event["event_id"])["deliveries"]
        self.assertEqual((delivery["status"], delivery["reason"]), ("skipped", "not_mapped"))
        self.assertEqual(delivery["explanation"]["fix"], "Map this event on the Goal mapping tab.")
        self.assertEqual(self.microsoft.bookings, [])

    def test_another_sites_key_sees_nothing_of_it(self) -> None:
        event = purchase()
        self.post(event)
        r = self.client.get(f"/v1/events/{event['event_id']}", headers={"Authorization": "Bearer sk_wrong"})
        self.assertEqual((r.status_code, r["Content-Type"]), (401, "application/problem+json"))


class TestBrokenQueue(RoadTestCase):
    def test_a_queue_that_is_away_costs_time_and_no_event(self) -> None:
        event = purchase()
        with (
            mock.patch("forwarding.tasks.async_task", side_effect=ConnectionError("away")),
            mock.patch("forwarding.apps.HINT_SECONDS", 0),
            self.captureOnCommitCallbacks(execute=True) as hints,
        ):
            self.post(event)
        self.assertEqual(len(hints), 1)
        self.go()
        self.assertEqual(self.status(event["event_id"])["deliveries"][0]["status"], "delivered")


class TestTrouble(RoadTestCase):
    OPERATION = "OfflineConversions/Apply"

    def go_later(self) -> None:
        AdAccount.objects.update(held_until=None)
        Delivery.objects.filter(next_attempt_at__isnull=False).update(next_attempt_at=timezone.now())
        self.go()

    def booked_once_after(self, fault: str, **more: Any) -> None:
        event = purchase()
        self.post(event)
        self.microsoft.fault(self.OPERATION, fault, **more)
        self.go()
        [before] = self.status(event["event_id"])["deliveries"]
        self.assertNotEqual(before["status"], "delivered")
        self.go_later()
        [after] = self.status(event["event_id"])["deliveries"]
        self.assertEqual(after["status"], "delivered")
        self.assertEqual(len(self.microsoft.bookings), 1)

    def test_an_outage_is_outlived(self) -> None:
        self.booked_once_after("503")

    def test_a_throttle_is_waited_for(self) -> None:
        self.booked_once_after("throttled")

    def test_an_answer_that_never_came_is_asked_for_again_with_the_same_bytes(self) -> None:
        self.booked_once_after("close_after")
        first, second = self.microsoft.calls(self.OPERATION)
        self.assertEqual(first.body_sha256, second.body_sha256)

    def test_nonsense_is_never_taken_for_delivered(self) -> None:
        for kind in ("html", "empty", "truncated", "wrong_shape", "index_out_of_range"):
            with self.subTest(kind):
                event = purchase()
                self.post(event)
                self.microsoft.fault(self.OPERATION, kind)
                self.go()
                [delivery] = self.status(event["event_id"])["deliveries"]
                self.assertEqual(delivery["status"], "retrying")
                self.go_later()

    def test_an_expired_token_is_renewed_once_in_passing(self) -> None:
        self.microsoft.expire_tokens()
        before = self.microsoft.token_calls
        self.post(purchase())
        self.go()
        self.assertEqual(len(self.microsoft.bookings), 1)
        self.assertEqual(self.microsoft.token_calls - before, 1)

    def test_a_revoked_grant_holds_everything_until_somebody_reconnects(self) -> None:
        event = purchase()
        self.post(event)
        self.microsoft.control("revoke", {"user": "ads@harborpine.example"})
        self.microsoft.expire_tokens()
        self.go()
        self.assertEqual(Connection.objects.get().status, Connection.Status.NEEDS_RECONNECT)
        [held] = self.status(event["event_id"])["deliveries"]
        self.assertEqual((held["status"], held["attempts"]), ("pending", 0))
        self.assertEqual(held["explanation"]["title"], "Needs reconnect")
        self.microsoft.connect(self.site, self.alice)
        self.go()
        self.assertEqual(len(self.microsoft.bookings), 1)

    def test_one_row_that_spoils_its_whole_batch_is_found_and_the_others_go_on(self) -> None:
        events = [purchase() for _ in range(100)]
        self.post(*events)
        plan_all(timezone.now())
        Delivery.objects.filter(event__event_id=events[37]["event_id"]).update(conversion_time="2026-13-45T00:00:00Z")
        self.go()
        counted = Counter(Delivery.objects.values_list("status", flat=True))
        self.assertEqual(counted, {"delivered": 99, "failed": 1})
        self.assertLessEqual(len(self.microsoft.calls(self.OPERATION)), 15)  # 2 x log2(100) + 1

    def test_one_bad_row_fails_alone(self) -> None:
        good, bad = purchase(), purchase(msclkid="a" * 25)
        self.post(good, bad)
        self.go()
        [failed] = self.status(bad["event_id"])["deliveries"]
        self.assertEqual((failed["status"], failed["error"]["code"]), ("failed", 5604))
        self.assertEqual(self.status(good["event_id"])["deliveries"][0]["status"], "delivered")
