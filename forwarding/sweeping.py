"""The sweep: from rows alone, find everything that has to be done now. The queue only makes it come sooner."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction

from forwarding.corrections.adjusting import release
from forwarding.planning.confirmation import end_waits
from forwarding.planning.planner import plan_all
from forwarding.sending.claims import accounts_to_serve, expire
from integrations.models import AdAccount, Connection

GOALS_READ_EVERY = timedelta(hours=1)

ForAccount = Callable[[int], object]


@dataclass(frozen=True, slots=True)
class SweepReport:
    """What one sweep did: events planned, deliveries grown too old, accounts rung for, accounts' goals read."""

    planned: int
    expired: int
    accounts: int
    goal_readings: int


def sweep(now: datetime, ring: ForAccount, read_goals: ForAccount, plan_batches: int | None = None) -> SweepReport:
    """Plan what arrived, fail what is too old, call `ring` with each account that has something to send.

    Calls `read_goals` with each account whose goals were not read for an hour. `plan_batches` bounds the planning.
    """
    planned = plan_all(now, plan_batches)
    expired = 0
    while batch := expire(now):
        expired += batch
    while end_waits(now):
        pass
    release(now)
    to_read = _accounts_to_read(now)
    for account_id in to_read:
        read_goals(account_id)
    to_serve = accounts_to_serve(now)
    for account_id in to_serve:
        ring(account_id)
    return SweepReport(planned, expired, len(to_serve), len(to_read))


@transaction.atomic
def _accounts_to_read(now: datetime) -> list[int]:
    """Take the accounts whose turn it is; their next turn is set at once, so that nobody else takes them too."""
    due = AdAccount.objects.active().filter(next_sync_at__lte=now, connection__status=Connection.Status.CONNECTED)
    taken = list(
        due.select_for_update(skip_locked=True, of=("self",)).order_by("next_sync_at").values_list("pk", flat=True)
    )
    AdAccount.objects.filter(pk__in=taken).update(next_sync_at=now + GOALS_READ_EVERY)
    return taken
