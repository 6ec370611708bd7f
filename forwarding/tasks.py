"""What workers do. Tasks carry ids only; every truth is in rows, so a task that is lost or runs twice does no harm."""

import logging
import time
from datetime import timedelta

from django.utils import timezone
from django_q.tasks import async_task

from convultra import failpoints
from forwarding.alerts.alerts import attend
from forwarding.attributions import read_attributions, reports_due
from forwarding.goal_changes import read_goals as read_goals_now
from forwarding.hands.bulk import ring_for_jobs
from forwarding.importing import count_results, ring_for_imports
from forwarding.models import Delivery, Kind, Operation, Upload
from forwarding.planning.planner import PLAN_BATCH
from forwarding.ringing import ring_for_sweep, sweep_begins
from forwarding.rows.upload_rows import UploadRow, rows_of
from forwarding.sending.claims import claim, claim_test
from forwarding.sending.lira import currency_to_send
from forwarding.sending.marking import record_answer, record_failure
from forwarding.sweeping import SweepReport
from forwarding.sweeping import sweep as sweep_rows
from forwarding.test_center.sending import check_and_plan, give_up
from forwarding.worker.heartbeats import ALERTS_HEARTBEAT, SWEEP_HEARTBEAT, UPKEEP_HEARTBEAT, beat
from ingest.limits import forget_idle
from integrations.microsoft import client_for, oauth_app
from integrations.microsoft_ads.errors import MicrosoftAdsError
from integrations.microsoft_ads.shapes import ApplyResult, OfflineConversion, OfflineConversionAdjustment
from integrations.models import AdAccount
from integrations.tokens import keep_alive

logger = logging.getLogger(__name__)

UPKEEP_EVERY = timedelta(minutes=1)
# A little less, so that none is left out when a task comes a moment early.
ALERTS_EVERY = timedelta(seconds=50)
# A sweep is the worker's sign of life, so it has to come back in seconds, whatever waits.
PLAN_BATCHES_PER_SWEEP = 20
# Less than the queue's own time limit, so that a long backlog is shared out over several tasks.
TASK_SECONDS = 150


def sweep() -> SweepReport:
    """Plan what arrived, and ring for every account with something to do. Also the worker's sign of life."""
    sweep_begins()
    now = timezone.now()
    ring_for_imports(now)
    ring_for_jobs(now)
    for account_id in reports_due(now):
        ring_to_read_report(account_id)
    report = sweep_rows(now, ring, ring_to_read_goals, PLAN_BATCHES_PER_SWEEP)
    if beat(UPKEEP_HEARTBEAT, now, UPKEEP_EVERY):
        async_task("forwarding.tasks.upkeep")
        async_task("forwarding.tasks.tell")
    beat(SWEEP_HEARTBEAT, now)
    if report.planned >= PLAN_BATCHES_PER_SWEEP * PLAN_BATCH:
        ring_for_sweep()  # there is more
    return report


def upkeep() -> int:
    """Renew the sign-ins that nobody used for long; return how many were. Forget limits that nobody is near.

    Count what became of imports. Give up tests that nobody came to.
    """
    give_up(timezone.now())
    forget_idle(timezone.now())
    count_results(timezone.now())
    return keep_alive(oauth_app, timezone.now())


def tell() -> None:
    """Tell people what needs them, and what no longer does. One process at a time, so that nobody is told twice."""
    now = timezone.now()
    if beat(ALERTS_HEARTBEAT, now, ALERTS_EVERY):
        attend(now)


def ring(account_id: int) -> None:
    """Ask a worker to serve an account."""
    async_task("forwarding.tasks.deliver", account_id)


def ring_to_read_goals(account_id: int) -> None:
    """Ask a worker to read an account's goals anew."""
    async_task("forwarding.tasks.read_goals", account_id)


def ring_to_read_report(account_id: int) -> None:
    """Ask a worker to read what Microsoft attributed in an account."""
    async_task("forwarding.tasks.read_report", account_id)


def read_report(account_id: int) -> None:
    """Read what Microsoft attributed in an account."""
    read_attributions(AdAccount.objects.select_related("connection").get(pk=account_id), timezone.now())


def read_goals(account_id: int) -> None:
    """Read an account's goals anew. When Microsoft does not answer, the next turn is in an hour."""
    account = AdAccount.objects.select_related("connection").get(pk=account_id)
    try:
        read_goals_now(account, timezone.now())
    except MicrosoftAdsError as error:
        logger.warning("The goals of account %s were not read: %s", account.account_id, error)


def send_test(test_id: int) -> None:
    """Check and plan a test conversion, and send it: a person waits for it at the page."""
    account_id = check_and_plan(test_id, timezone.now())
    if account_id is not None:
        deliver(account_id)


def deliver(account_id: int) -> int:
    """Send the account's due deliveries, batch after batch; return how many calls were made.

    Safe to run twice: an account has one open upload, and its lease expires.
    """
    calls = 0
    stop_at = time.monotonic() + TASK_SECONDS
    while time.monotonic() < stop_at:
        now = timezone.now()
        upload = claim_test(account_id, now)
        upload = upload or claim(account_id, Operation.CONVERSIONS, now)
        upload = upload or claim(account_id, Operation.ADJUSTMENTS, now)
        if upload is None:
            break  # nothing due, or another worker came first
        send(upload)
        calls += 1
    return calls


def send(upload: Upload) -> None:
    """Make the upload's one call, outside any transaction, and write down what became of it."""
    failpoints.reach(failpoints.AFTER_CLAIM)
    deliveries = rows_of(upload)
    started = time.monotonic()
    try:
        answer = _call(upload, deliveries)
    except MicrosoftAdsError as error:
        record_failure(upload, deliveries, error, time.monotonic() - started, timezone.now())
    else:
        failpoints.reach(failpoints.AFTER_SEND)
        record_answer(upload, deliveries, answer, time.monotonic() - started, timezone.now())


def _call(upload: Upload, rows: list[UploadRow]) -> ApplyResult:
    client = client_for(upload.account)
    if upload.operation == Operation.ADJUSTMENTS:
        return client.apply_offline_conversion_adjustments([to_adjustment(row) for row in rows])
    return client.apply_offline_conversions([to_conversion(row) for row in rows])


def to_conversion(delivery: Delivery | UploadRow) -> OfflineConversion:
    """Return what Microsoft is sent of a delivery: from frozen columns only, so the same row gives the same bytes."""
    return OfflineConversion(
        goal_name=delivery.goal_name,
        conversion_time=delivery.conversion_time,
        click_id=delivery.msclkid,
        hashed_email=delivery.email_sha256,
        hashed_phone=delivery.phone_sha256,
        value=delivery.value,
        currency=currency_to_send(delivery),
    )


def to_adjustment(row: Delivery | UploadRow) -> OfflineConversionAdjustment:
    """Return what Microsoft is sent of a correction: its conversion's exact key, and the new total of a restatement."""
    is_retraction = row.kind == Kind.RETRACT
    return OfflineConversionAdjustment(
        adjustment_type="Retract" if is_retraction else "Restate",
        adjustment_time=row.adjustment_time,
        goal_name=row.goal_name,
        conversion_time=row.conversion_time,
        click_id=row.msclkid,
        hashed_email=row.email_sha256,
        hashed_phone=row.phone_sha256,
        value=None if is_retraction else row.value,
        currency="" if is_retraction else currency_to_send(row),
    )
