"""What a change of an account's goals means for conversions that wait: they follow a goal to its new name."""

from datetime import datetime

from django.db import transaction

from forwarding.claims import listed_in_open_uploads
from forwarding.counts import Move, record_moves
from forwarding.models import WAITING, Delivery
from integrations.goals import GoalSync, sync_goals
from integrations.models import AdAccount, ConversionGoal


def read_goals(account: AdAccount, now: datetime) -> GoalSync:
    """Read the account's goals from Microsoft and let what waits follow a renamed one.

    Raises MicrosoftAdsError, nothing changed.
    """
    sync = sync_goals(account, now)
    for renamed in sync.renamed:
        _follow(renamed.goal, now)
    return sync


@transaction.atomic
def _follow(goal: ConversionGoal, now: datetime) -> None:
    """Rename what was never sent. What was has its key at Microsoft under the old name, and keeps it."""
    AdAccount.objects.select_for_update().get(pk=goal.account_id)  # nobody opens an upload meanwhile
    on_their_way = listed_in_open_uploads([goal.account_id])
    waiting = Delivery.objects.filter(account=goal.account_id, goal=goal, status__in=WAITING, attempts=0)
    rows = [row for row in waiting if row.pk not in on_their_way]
    gone = [Move(row, row.status, None) for row in rows]
    record_moves(gone, now)
    for row in rows:
        row.goal_name = goal.name
    Delivery.objects.filter(pk__in=[row.pk for row in rows]).update(goal_name=goal.name, changed_at=now)
    record_moves([Move(row, None, row.status) for row in rows], now)
