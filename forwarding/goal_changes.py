"""What a reading of an account's goals means for conversions that wait.

They follow a goal to its new name, wait for one that is gone or paused, and go on when it is back. What was sent has
its key at Microsoft under the old name, and keeps it.
"""

import copy
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, QuerySet

from forwarding.corrections.adjusting import settle
from forwarding.models import WAITING, Attempt, Delivery, Hold, Kind, Skip, Status
from forwarding.ringing import sweep_soon
from forwarding.rows.counts import Move, record_moves
from forwarding.rows.frozen import listed_in_open_uploads, sent_by_dead_workers
from forwarding.rows.upload_rows import among
from forwarding.times import CLOCK_MARGIN, SENDABLE_FOR, expires_at
from integrations.goals import GoalSync, sync_goals
from integrations.models import AdAccount, ConversionGoal

GOAL_NAME_CODES = (5605, 5606)
# What waits for a person or for the backend's word would go out with its goal's return.
_HAS_ANOTHER_REASON = (Hold.GOAL_MISSING, Hold.BY_HAND, Hold.OPERATOR, Hold.CONFIRMATION)
_IS_AVAILABLE = Q(goal__gone_at__isnull=True, goal__status="Active")


def read_goals(account: AdAccount, now: datetime) -> GoalSync:
    """Read the account's goals from Microsoft and let what waits follow them.

    Every reading looks at all that waits, so what an interrupted one left undone is done by the next. Raises
    MicrosoftAdsError, nothing changed.
    """
    sync = sync_goals(account, now)
    with transaction.atomic():
        # Nobody opens an upload meanwhile.
        AdAccount.objects.select_for_update(no_key=True).get(pk=account.pk)
        waiting = Delivery.objects.filter(account=account, kind=Kind.CONVERSION, status__in=WAITING, goal__isnull=False)
        waiting = waiting.filter(is_test=False)  # a test goes out now or never
        free = waiting.exclude(pk__in=among(listed_in_open_uploads([account.pk])))
        _park(free.exclude(_IS_AVAILABLE).exclude(hold_reason__in=_HAS_ANOTHER_REASON), now)
        _release(free.filter(_IS_AVAILABLE, hold_reason=Hold.GOAL_MISSING), now)
        # What was never sent; `attempts` counts every call whose outcome is not known, too.
        _move_to_new_name(free.filter(attempts=0).exclude(goal_name=F("goal__name")), now)
        refused = Delivery.objects.filter(account=account, status=Status.FAILED, error_code__in=GOAL_NAME_CODES)
        _queue_again(refused.filter(kind=Kind.CONVERSION, is_test=False), sync.restored, now)
        _correct_again(refused.exclude(kind=Kind.CONVERSION), sync.restored, now)
        # Microsoft answers for this account, so what it refused may be asked for again: one batch will tell.
        AdAccount.objects.filter(pk=account.pk, hold_reason__in=(Hold.PERMISSION, Hold.ACCOUNT_INACTIVE)).update(
            held_until=now
        )
        # Whatever goes on now is not kept waiting for the next sweep.
        sweep_soon()
    return sync


def _park(rows: QuerySet[Delivery], now: datetime) -> None:
    """Let rows wait for their goal, at most until just before they are too old."""
    last_call = F("expires_at") - CLOCK_MARGIN
    rows.update(hold_reason=Hold.GOAL_MISSING, next_attempt_at=last_call, changed_at=now)


def _release(rows: QuerySet[Delivery], now: datetime) -> None:
    """Let rows go whose goal is back; those of a fresh click, and those dated ahead, still wait for that."""
    settle_time = timedelta(seconds=settings.CLICK_SETTLE_SECONDS)
    its_time = F("expires_at") - SENDABLE_FOR
    is_fresh = Q(clicked_at__gt=now - settle_time) & ~Q(msclkid="")
    is_later = ~Q(clicked_at__gt=its_time - settle_time) | ~is_fresh
    ahead = rows.filter(is_later, expires_at__gt=expires_at(now))
    ahead.update(hold_reason="", next_attempt_at=its_time + CLOCK_MARGIN, changed_at=now)
    fresh = rows.filter(is_fresh)  # without those of above, which wait for their goal no longer
    fresh.update(hold_reason=Hold.CLICK_SETTLING, next_attempt_at=F("clicked_at") + settle_time, changed_at=now)
    rows.exclude(is_fresh).update(hold_reason="", next_attempt_at=now, changed_at=now)


def _queue_again(refused: QuerySet[Delivery], restored: Sequence[ConversionGoal], now: datetime) -> None:
    """Send again what Microsoft refused for a goal's old name, or while the goal was not there.

    Only where every answer was a clear refusal: Microsoft has no such conversion then, under whatever name.
    """
    is_news = ~Q(goal_name=F("goal__name")) | Q(goal__in=restored)
    known = refused.filter(_IS_AVAILABLE, is_news, expires_at__gt=now)
    known = known.exclude(attempt_rows__outcome=Attempt.Outcome.UNKNOWN)
    _move_to_new_name(
        known, now, status=Status.PENDING, next_attempt_at=now, error_code=None, error_symbol="", error_message=""
    )


def _correct_again(refused: QuerySet[Delivery], restored: Sequence[ConversionGoal], now: datetime) -> None:
    """Open corrections again whose conversion was sent under the name that its goal has again: the ledger decides.

    Under another name Microsoft could not find the conversion (api notes 3.8).
    """
    again = refused.filter(goal__in=restored, goal_name=F("goal__name"), expires_at__gt=now)
    originals = set(again.values_list("original_id", flat=True))
    again.update(status=Status.SKIPPED, skip_reason=Skip.SUPERSEDED, error_code=None, error_symbol="", error_message="")
    record_moves(settle({pk for pk in originals if pk is not None}, now), now)


def _move_to_new_name(rows: QuerySet[Delivery], now: datetime, **fields: object) -> None:
    """Give rows their goal's name, and `fields` with it, in one statement a goal; the counts follow."""
    found = list(rows.select_related("goal"))
    perhaps_sent = sent_by_dead_workers({row.account_id for row in found}, now) if found else set()
    by_goal: dict[ConversionGoal, list[Delivery]] = defaultdict(list)
    for row in found:
        assert row.goal is not None
        if row.pk not in perhaps_sent:
            by_goal[row.goal].append(row)
    moves: list[Move] = []
    for goal, its_rows in by_goal.items():
        keys = among([row.pk for row in its_rows])
        Delivery.objects.filter(pk__in=keys).update(goal_name=goal.name, changed_at=now, **fields)
        moves += [Move(row, row.status, None) for row in its_rows]
        moves += [Move(_named(row, goal.name), None, str(fields.get("status", row.status))) for row in its_rows]
    record_moves(moves, now)


def _named(row: Delivery, goal_name: str) -> Delivery:
    renamed = copy.copy(row)
    renamed.goal_name = goal_name
    return renamed
