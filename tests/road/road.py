"""The whole road in one process: HTTP in at the front door, the emulator's books at the other end."""

import json
import uuid
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.test import TestCase
from django.utils import timezone

from forwarding.sweeping import sweep
from forwarding.tasks import deliver, read_goals
from ingest.models import Membership, Role, ServerKey, Site
from integrations.connecting import add_accounts
from integrations.mapping import Rule, Value, set_mapping
from integrations.microsoft_ads.emulator.world import SEARCH_US
from integrations.models import AdAccount
from tests.cast import make_site, make_user
from tests.support.microsoft import EmulatedMicrosoft


class RoadTestCase(TestCase):
    """Alice's site, connected to an emulated Microsoft, with purchases mapped. Nothing lingers."""

    microsoft: EmulatedMicrosoft
    site: Site
    alice: User
    account: AdAccount
    secret: str

    def setUp(self) -> None:
        self.microsoft = self.enterContext(EmulatedMicrosoft())
        no_waits = dict.fromkeys(("UPLOAD_LINGER", "CLICK_SETTLE", "GOAL_SETTLE", "ADJUSTMENT_SETTLE"), 0)
        self.enterContext(self.settings(**{f"{name}_SECONDS": wait for name, wait in no_waits.items()}))
        self.microsoft.books.settings.adjustment_settle = timedelta(0)
        self.alice, bob = make_user("alice"), make_user("bob")
        self.site = make_site("Harbor & Pine", self.alice)
        Membership.objects.create(user=bob, organisation=self.site.organisation, role=Role.VIEWER)
        _, self.secret = ServerKey.objects.mint(self.site)
        connection = self.microsoft.connect(self.site, self.alice)
        [self.account] = add_accounts(connection, [SEARCH_US], self.alice, timezone.now())
        self.map("purchase", "Purchase")

    def map(self, event_name: str, goal_name: str, value: Value = "event") -> None:
        goal = self.account.goals.get(name=goal_name)
        set_mapping(self.account, event_name, Rule(goal.goal_id, value), self.alice, timezone.now())

    def post(self, *events: dict[str, Any]) -> dict[str, Any]:
        """Send events from the backend; return the answer."""
        r = self.client.post(
            "/v1/events",
            json.dumps({"events": list(events)}),
            content_type="application/json",
            headers={"Authorization": f"Bearer {self.secret}"},
        )
        self.assertEqual(r.status_code, 202, r.content)
        answer: dict[str, Any] = r.json()
        return answer

    def status(self, event_id: str) -> dict[str, Any]:
        """Ask what became of an event."""
        r = self.client.get(f"/v1/events/{event_id}", headers={"Authorization": f"Bearer {self.secret}"})
        self.assertEqual(r.status_code, 200, r.content)
        answer: dict[str, Any] = r.json()
        return answer

    def go(self, now: datetime | None = None) -> None:
        """Let the workers do what is due."""
        sweep(now or timezone.now(), deliver, read_goals)


def purchase(**changes: Any) -> dict[str, Any]:
    """Return a purchase of 49.90 USD, an hour ago, with its own click id; a change to None leaves the member out."""
    event = {
        "name": "purchase",
        "event_id": str(uuid.uuid4()),
        "occurred_at": (timezone.now() - timedelta(hours=1)).replace(microsecond=0).isoformat(),
        "value": "49.90",
        "currency": "USD",
        "transaction_id": uuid.uuid4().hex,
        "msclkid": uuid.uuid4().hex,
    }
    return {name: value for name, value in (event | changes).items() if value is not None}
