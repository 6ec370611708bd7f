"""What the tests of an account's pages share: its addresses, and deliveries of every kind."""

import itertools
from datetime import datetime, timedelta
from typing import Any

from django.urls import reverse
from django.utils import timezone

from forwarding.models import WAITING, Delivery, Status
from forwarding.rows.counts import Move, record_moves
from integrations.models import ConversionGoal
from tests.cast import CLICK_ID, CastTestCase, store_event

_numbers = itertools.count(1)


def deliver(
    goal: ConversionGoal, status: str = Status.DELIVERED, at: datetime | None = None, **fields: Any
) -> Delivery:
    """Write down a purchase of $49.90 to a goal that ended in a status a minute ago, and count it."""
    at = at or timezone.now() - timedelta(minutes=1)
    number = next(_numbers)
    event = fields.pop("event", None) or store_event(goal.account.site, occurred_at=at, received_at=at)
    given: dict[str, Any] = {
        "goal": goal,
        "goal_name": goal.name,
        "dedupe_key": f"test:{number}",
        "conversion_time": f"{at:%Y-%m-%dT%H:%M:%SZ}",
        "msclkid": CLICK_ID,
        "click_source": "event",
        "value": event.value,
        "currency": event.currency,
        "transaction_id": f"HP-{number}",
        "attempts": 1 if status in (Status.DELIVERED, Status.FAILED) else 0,
        "delivered_at": at if status == Status.DELIVERED else None,
        "next_attempt_at": at if status in WAITING else None,
        "expires_at": at + timedelta(days=89),
        "created_at": at,
        "changed_at": at,
    }
    delivery = Delivery.objects.create(account=goal.account, event=event, status=status, **(given | fields))
    record_moves([Move(delivery, None, delivery.status)], at)
    return delivery


class AccountTestCase(CastTestCase):
    """A test case that knows its account's pages. Nobody is signed in."""

    def url(self, name: str, *args: object) -> str:
        """Return the address of an account's page, `account-logs` for example."""
        return reverse(f"dashboard:{name}", args=[self.site.public_id, self.account.account_id, *args])

    def deliver(self, status: str = Status.DELIVERED, at: datetime | None = None, **fields: Any) -> Delivery:
        """Write down a delivery to the goal `Purchase`."""
        return deliver(self.goal, status, at, **fields)
