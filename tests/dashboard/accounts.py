"""What the tests of an account's pages share: its addresses, and deliveries of every kind."""

import itertools
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.urls import reverse
from django.utils import timezone

from forwarding.models import WAITING, Delivery, Hold, Kind, Operation, Status, Upload
from forwarding.rows.counts import Move, record_moves
from forwarding.times import CLOCK_MARGIN, expires_at
from ingest.models import Source
from integrations.models import AdAccount, ConversionGoal
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


def parked_refund(account: AdAccount, **fields: Any) -> Delivery:
    """Write down a refund of $5.00 that waits for its order."""
    now = timezone.now()
    event = fields.pop("event", None) or store_event(
        account.site,
        "refund",
        source=Source.SERVER,
        occurred_at=now,
        received_at=now,
        planned_at=now,
        value=Decimal(5),
    )
    given: dict[str, Any] = {
        "kind": Kind.RESTATE,
        "dedupe_key": f"refund:{event.event_id}",
        "transaction_id": "NOSUCH",
        "hold_reason": Hold.ORIGINAL_PENDING,
        "expires_at": expires_at(now),
        "next_attempt_at": expires_at(now) - CLOCK_MARGIN,
        "created_at": now,
        "changed_at": now,
    }
    return Delivery.objects.create(account=account, event=event, **(given | fields))


def told_refund(conversion: Delivery) -> Delivery:
    """Write down a refund of $5.00 of a delivered conversion that Microsoft accepted."""
    now = timezone.now()
    upload = Upload.objects.create(
        account=conversion.account,
        operation=Operation.ADJUSTMENTS,
        delivery_ids=[],
        leased_until=now,
        started_at=now,
        finished_at=now,
        http_status=200,
    )
    return parked_refund(
        conversion.account,
        status=Status.DELIVERED,
        original=conversion,
        goal=conversion.goal,
        goal_name=conversion.goal_name,
        conversion_time=conversion.conversion_time,
        adjustment_time=conversion.conversion_time,
        msclkid=conversion.msclkid,
        value=Decimal("44.90"),
        currency="USD",
        hold_reason="",
        next_attempt_at=None,
        attempts=1,
        delivered_at=now,
        last_upload=upload,
    )


class AccountTestCase(CastTestCase):
    """A test case that knows its account's pages. Nobody is signed in."""

    def url(self, name: str, *args: object) -> str:
        """Return the address of an account's page, `account-logs` for example."""
        return reverse(f"dashboard:{name}", args=[self.site.public_id, self.account.account_id, *args])

    def deliver(self, status: str = Status.DELIVERED, at: datetime | None = None, **fields: Any) -> Delivery:
        """Write down a delivery to the goal `Purchase`."""
        return deliver(self.goal, status, at, **fields)
