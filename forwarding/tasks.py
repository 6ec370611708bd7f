"""What workers do. Tasks carry ids only; every truth is in rows, so a task that is lost or runs twice does no harm."""

import time

from django.db.models import QuerySet
from django.utils import timezone
from django_q.tasks import async_task

from forwarding import failpoints
from forwarding.claims import claim
from forwarding.marking import record_answer, record_failure
from forwarding.models import Delivery, Heartbeat, Operation, Upload
from forwarding.sweeping import SweepReport
from forwarding.sweeping import sweep as sweep_rows
from integrations.microsoft import client_for
from integrations.microsoft_ads.errors import MicrosoftAdsError
from integrations.microsoft_ads.shapes import OfflineConversion

SWEEP_HEARTBEAT = "sweep"
# Less than the queue's own time limit, so that a long backlog is shared out over several tasks.
TASK_SECONDS = 150


def sweep() -> SweepReport:
    """Plan what arrived, and ring for every account with something to send. Also the worker's sign of life."""
    now = timezone.now()
    report = sweep_rows(now, ring)
    Heartbeat.objects.update_or_create(name=SWEEP_HEARTBEAT, defaults={"beat_at": now})
    return report


def ring(account_id: int) -> None:
    """Ask a worker to serve an account."""
    async_task("forwarding.tasks.deliver", account_id)


def deliver(account_id: int) -> int:
    """Send the account's due deliveries, batch after batch; return how many calls were made.

    Safe to run twice: an account has one open upload, and its lease expires.
    """
    calls = 0
    stop_at = time.monotonic() + TASK_SECONDS
    while time.monotonic() < stop_at:
        upload = claim(account_id, Operation.CONVERSIONS, timezone.now())
        if upload is None:
            break  # nothing due, or another worker came first
        send(upload)
        calls += 1
    return calls


def send(upload: Upload) -> None:
    """Make the upload's one call, outside any transaction, and write down what became of it."""
    deliveries = _in_order(upload)
    client = client_for(upload.account)
    started = time.monotonic()
    try:
        answer = client.apply_offline_conversions([to_conversion(row) for row in deliveries])
    except MicrosoftAdsError as error:
        record_failure(upload, deliveries, error, time.monotonic() - started, timezone.now())
    else:
        failpoints.reach(failpoints.AFTER_SEND)
        record_answer(upload, deliveries, answer, time.monotonic() - started, timezone.now())


def to_conversion(delivery: Delivery) -> OfflineConversion:
    """Return what Microsoft is sent of a delivery: from frozen columns only, so the same row gives the same bytes."""
    return OfflineConversion(
        goal_name=delivery.goal_name,
        conversion_time=delivery.conversion_time,
        click_id=delivery.msclkid,
        hashed_email=delivery.email_sha256,
        hashed_phone=delivery.phone_sha256,
        value=delivery.value,
        currency=delivery.currency,
    )


def _in_order(upload: Upload) -> list[Delivery]:
    rows: QuerySet[Delivery] = Delivery.objects.filter(pk__in=upload.delivery_ids)
    by_pk = {row.pk: row for row in rows}
    return [by_pk[pk] for pk in upload.delivery_ids]


def hint() -> None:
    """Ask for a sweep soon."""
    async_task("forwarding.tasks.sweep")
