"""An action by hand over all deliveries of a filter: a job that a worker does batch by batch, the oldest rows first.

A batch, its audit entry and the job's new position are one commit, under the locks of the job and of its account: a
worker may die anywhere, and whoever goes on begins where the last commit ended and does nothing twice. A task carries
the job's id only; a lost one costs seconds: the sweep asks again for what nobody goes on with. A batch that ends in an
error is tried again, MOST_FAILURES times in a row; then the job has failed, and what was done before stays done.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import QueryDict
from django.utils import timezone
from django_q.tasks import async_task

from convultra import failpoints
from forwarding.filters import FilterForm, Wanted
from forwarding.hands import actions
from forwarding.hands.actions import Tally, Wish
from forwarding.hands.rules import Action
from forwarding.models import WAITING, BulkJob, Delivery, Status
from forwarding.ringing import sweep_soon
from forwarding.stretches import Cursor, stretch
from forwarding.times import zone_named
from ingest import audit
from integrations.models import AdAccount

# A worker that was asked to go on and has not finished a batch after so long is taken for lost.
LOST_AFTER = timedelta(seconds=15)
# LOST_AFTER lies between two: what passes by itself, such as a lock or a database that restarts, has passed by then.
MOST_FAILURES = 5
# Less than the queue's own time limit, so that a long job is shared out over several tasks.
TASK_SECONDS = 150
# A forecast is answered while somebody waits: it judges no more batches than these.
FORECAST_BATCHES = 2
# What `BulkJob.filters` holds.
MAX_FILTER_CHARS = 1000
_MOMENT = timedelta(microseconds=1)
# The columns of a job that a batch changes.
_OF_A_BATCH = (
    "refused", "seen", "changed", "rung_at", "failures", "status", "finished_at", "last_delivery_id",
)  # fmt: skip

# What an action can be done to at all; of the others nobody needs to be told that they stay as they are.
_AIMS: dict[Action, Sequence[Status]] = {
    Action.RETRY: (Status.FAILED, Status.RETRYING),
    Action.HOLD: WAITING,
    Action.RELEASE: WAITING,
    Action.CANCEL: WAITING,
    Action.RESTATE: (Status.DELIVERED, *WAITING),
    Action.RETRACT: (Status.DELIVERED, *WAITING),
}


def aim(action: Action, wanted: Wanted) -> Wanted | None:
    """Narrow a filter to what an action can be done to; None when it asks for a status that has none of it."""
    asked = [wanted.status] if wanted.status else wanted.statuses or _AIMS[action]
    statuses = [status for status in _AIMS[action] if status in asked]
    return replace(wanted, status="", statuses=statuses) if statuses else None


def forecast(action: Action, account: AdAccount, wanted: Wanted, now: datetime, value: Decimal | None = None) -> Tally:
    """Say what an action would do to the first rows of a filter, changing nothing; `is_all` when those are all."""
    tally = Tally(action)
    aimed, start = aim(action, wanted), None
    if aimed is None:
        return tally
    for _ in range(FORECAST_BATCHES):
        found = stretch(account, aimed, actions.BATCH, start, upwards=True)
        actions.look_at(tally, account.pk, found.pks, now, value)
        start = found.end
        if start is None:
            return tally
    tally.is_all = False
    return tally


def start(
    account: AdAccount,
    action: Action,
    filters: str,
    actor: User,
    now: datetime,
    *,
    value: Decimal | None = None,
    total: int = 0,
) -> BulkJob | None:
    """Let a worker do an action to the rows of a filter, written as an address writes it. None when one does already.

    `total` is how many rows there are, 0 when nobody counted them.
    """
    with transaction.atomic():
        # Who asks for the same at the same moment waits here, and finds the job of the first. SQLite has no row locks
        # and needs none: its transaction began by taking the one write lock.
        AdAccount.objects.select_for_update(no_key=True).get(pk=account.pk)
        same = BulkJob.objects.filter(account=account, status=BulkJob.Status.RUNNING)
        if same.filter(action=action, filters=filters, value=value).exists():
            return None
        job = BulkJob.objects.create(
            account=account,
            action=action,
            value=value,
            filters=filters,
            total=total,
            actor=actor,
            actor_name=actor.email or actor.get_username(),
            created_at=now,
        )
        _note(job, "bulk.start", actor, now, {"total": total or ""})
    ring_for_job(job.pk, now)
    return job


def stop(job: BulkJob, actor: User, now: datetime) -> bool:
    """End a job after the batch that it is at; what is done stays done. False when it has ended before."""
    with transaction.atomic():
        running = BulkJob.objects.filter(pk=job.pk, status=BulkJob.Status.RUNNING)
        if not running.update(status=BulkJob.Status.STOPPED, finished_at=now):
            return False
        job.refresh_from_db(fields=["status", "finished_at", "seen", "changed", "refused"])
        _note(job, "bulk.stop", actor, now, {"seen": job.seen, "changed": job.changed})
    return True


def dismiss(job: BulkJob, now: datetime) -> None:
    """Take the result of a job that has ended off the page."""
    BulkJob.objects.filter(pk=job.pk, dismissed_at=None).exclude(status=BulkJob.Status.RUNNING).update(dismissed_at=now)


def work_on(job_id: int) -> None:
    """Go on with a job. Safe to run twice: each batch is done once, under the job's lock."""
    stop_at = time.monotonic() + TASK_SECONDS
    try:
        while do_batch(job_id, timezone.now()):
            if time.monotonic() >= stop_at:
                _ask(job_id)
                return
    except Exception:
        count_failure(job_id, timezone.now())
        raise


@transaction.atomic
def count_failure(job_id: int, now: datetime) -> None:
    """Note that a job's next batch ended in an error; after MOST_FAILURES in a row the job has failed."""
    job = _locked(job_id)
    if job is None:
        return
    job.failures += 1
    if job.failures >= MOST_FAILURES:
        job.status, job.finished_at = BulkJob.Status.FAILED, now
    job.save(update_fields=["failures", "status", "finished_at"])


def do_batch(job_id: int, now: datetime) -> bool:
    """Do the next batch of a job; return whether another may follow."""
    with transaction.atomic():
        job = _locked(job_id)
        if job is None:
            return False
        found = stretch(job.account, _wanted(job), actions.BATCH, _position(job), upwards=True)
        tally = Tally(Action(job.action))
        if found.rows:
            wish = Wish(tally.action, job.actor, now, job.value, job.filters)
            actions.apply_to_batch(wish, job.account_id, found.pks, tally)
        failpoints.reach(failpoints.HALF_BULK)
        refused = Counter(job.refused)
        refused.update({reason.because: count for reason, count in tally.refused.items()})
        job.refused, job.seen, job.changed = dict(refused), job.seen + len(found.rows), job.changed + tally.able
        job.rung_at, job.failures = now, 0
        if found.end is None:
            job.status, job.finished_at = BulkJob.Status.DONE, now
        else:
            job.last_delivery_id = _row_at(job, found.end)
        job.save(update_fields=_OF_A_BATCH)
        if tally.able:
            sweep_soon()
    return found.end is not None


def ring_for_jobs(now: datetime) -> int:
    """Ask workers to go on with the jobs that nobody goes on with; return with how many."""
    return sum(ring_for_job(job_id, now) for job_id in idle_jobs(now))


def idle_jobs(now: datetime) -> list[int]:
    """Return the jobs that nobody goes on with, the oldest first."""
    return list(_idle(now).order_by("pk").values_list("pk", flat=True))


def ring_for_job(job_id: int, now: datetime) -> bool:
    """Ask a worker to go on with a job, unless one was asked a moment ago."""
    is_ours = bool(_idle(now).filter(pk=job_id).update(rung_at=now))
    if is_ours:
        _ask(job_id)
    return is_ours


def _wanted(job: BulkJob) -> Wanted:
    """Return the rows that a job means: those of its filter that were there when it began."""
    form = FilterForm(QueryDict(job.filters.removeprefix("?")))
    wanted = form.wanted(job.created_at, zone_named(job.account.site.time_zone))
    ends = [moment for moment in (wanted.until, job.created_at + _MOMENT) if moment is not None]
    aimed = aim(Action(job.action), replace(wanted, until=min(ends)))
    assert aimed is not None  # `start` was asked for rows that there can be
    return aimed


def _position(job: BulkJob) -> Cursor | None:
    """Return the place of the last row that was gone through, or of the one before it where that is gone."""
    if not job.last_delivery_id:
        return None
    rows = Delivery.objects.filter(account=job.account_id, pk__lte=job.last_delivery_id)
    last = rows.order_by("-pk").only("created_at").first()
    return None if last is None else Cursor.of(last)


def _row_at(job: BulkJob, end: Cursor) -> int:
    """Return the last row of the account up to a place; the place is one of a row's moment."""
    rows = Delivery.objects.filter(account=job.account_id, created_at=end.created_at, pk__lte=end.pk)
    return rows.order_by("-pk").values_list("pk", flat=True)[0]


def _locked(job_id: int) -> BulkJob | None:
    """Return the job for this worker alone; None where another has it or it has ended.

    SQLite has no row locks and needs none: its transaction began by taking the one write lock.
    """
    free = BulkJob.objects.select_for_update(skip_locked=True, of=("self",))
    running = free.filter(pk=job_id, status=BulkJob.Status.RUNNING)
    return running.select_related("account__site__organisation", "actor").first()


def _idle(now: datetime) -> "QuerySet[BulkJob]":
    running = BulkJob.objects.filter(status=BulkJob.Status.RUNNING)
    return running.filter(Q(rung_at__isnull=True) | Q(rung_at__lte=now - LOST_AFTER))


def _ask(job_id: int) -> None:
    async_task("forwarding.hands.bulk.work_on", job_id)


def _note(job: BulkJob, action: str, actor: User, now: datetime, details: dict[str, object]) -> None:
    site = job.account.site
    told = {"account": job.account.account_id, "action": job.action, "scope": job.filters, **details}
    audit.record(
        actor,
        action,
        organisation=site.organisation,
        site=site,
        target=job.account.name,
        details={name: said for name, said in told.items() if said != ""},
        now=now,
    )
