"""What a backend is told of its events and adjustments has the shape of the OpenAPI document, in every state."""

import json
from decimal import Decimal
from typing import Any

from django.utils import timezone

from forwarding.models import Delivery, Hold, Skip, Status
from forwarding.planning.planner import plan_all
from ingest.models import Event
from tests.ingest.calls import PURCHASE, CallsTestCase
from tests.ingest.openapi_document import validator

STATES: list[dict[str, Any]] = [
    {"status": Status.PENDING, "hold_reason": Hold.CLICK_SETTLING, "next_attempt_at": timezone.now()},
    {"status": Status.RETRYING, "attempts": 3, "error_symbol": "InternalError", "error_message": "Later."},
    {"status": Status.FAILED, "error_code": 5606, "error_symbol": "OfflineConversionNameInvalid"},
    {"status": Status.SKIPPED, "skip_reason": Skip.TOO_OLD},
    {"status": Status.DELIVERED, "delivered_at": timezone.now(), "restated_value": Decimal("5.5")},
    {"status": Status.DELIVERED, "delivered_at": timezone.now(), "retracted_at": timezone.now()},
]


class TestStatusDocument(CallsTestCase):
    def setUp(self) -> None:
        self.post_from_backend({"events": [PURCHASE | {"transaction_id": "1042"}, {"name": "lead", "event_id": "e-2"}]})
        plan_all(timezone.now())
        Delivery.objects.filter(event__event_id="e-1").update(status=Status.DELIVERED, delivered_at=timezone.now())
        sent = {"transaction_id": "1042", "currency": "EUR"}
        self.post_adjustments(
            sent | {"adjustment_id": "a-1", "type": "restate", "value": "5.50"},
            sent | {"adjustment_id": "a-2", "type": "retract"},
            {"adjustment_id": "a-3", "event_id": "never", "type": "retract"},
        )

    def told(self, what: str, its_id: str) -> dict[str, Any]:
        """Ask, and hold the answer against its schema."""
        r = self.client.get(f"/v1/{what}/{its_id}", headers={"Authorization": f"Bearer {self.secret}"})
        self.assertEqual((r.status_code, r["Cache-Control"]), (200, "no-store"))
        said: dict[str, Any] = json.loads(r.content)
        validator({"events": "EventStatus", "adjustments": "AdjustmentStatus"}[what]).validate(said)
        return said

    def test_an_event_in_every_state(self) -> None:
        for state in STATES:
            with self.subTest(state["status"]):
                Delivery.objects.filter(event__event_id="e-1").update(**state)
                [delivery] = self.told("events", "e-1")["deliveries"]
                self.assertEqual(delivery["status"], state["status"])
        self.assertEqual(self.told("events", "e-2")["deliveries"][0]["reason"], Skip.NOT_MAPPED)

    def test_an_event_that_is_not_planned(self) -> None:
        Event.objects.update(planned_at=None)
        self.assertFalse(self.told("events", "e-1")["planned"])

    def test_adjustments_before_and_after_they_are_planned(self) -> None:
        self.assertFalse(self.told("adjustments", "a-1")["planned"])
        plan_all(timezone.now())
        self.assertEqual(len(self.told("adjustments", "a-1")["adjustments"]), 1)
        self.assertEqual(len(self.told("events", "e-1")["adjustments"]), 2)
        self.assertTrue(self.told("adjustments", "a-3")["waiting_for_order"])
