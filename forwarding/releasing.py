"""What held conversions back is gone: their rows are made due and a sweep is rung for, in the same moment.

Everything here also happens by itself, at the latest when an account is asked again or its goals are read.
"""

import logging
from collections.abc import Sequence
from datetime import datetime
from functools import partial

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from forwarding.goal_changes import GOAL_NAME_CODES
from forwarding.hands import actions
from forwarding.hands.rules import Action
from forwarding.models import WAITING, Breaker, Delivery, Hold, Kind, Status
from forwarding.ringing import sweep_soon
from forwarding.sending import developer_token
from integrations.models import AdAccount

logger = logging.getLogger(__name__)


def let_go(account_ids: Sequence[int]) -> None:
    """Let accounts send at once, after the commit."""
    transaction.on_commit(partial(_let_go, list(account_ids)), robust=True)
    sweep_soon()


def follow_mapping(account_id: int, event_name: str, actor: User | None, now: datetime) -> None:
    """Let conversions whose goal is missing go to the goal that their event has now, after the commit.

    Only what Microsoft surely does not have changes its goal: what waits for the goal, and what was clearly refused
    for its name. All else keeps the goal that it was planned for.
    """
    transaction.on_commit(partial(_follow_mapping, account_id, event_name, actor, now), robust=True)
    sweep_soon()


def _let_go(account_ids: list[int]) -> None:
    now = timezone.now()
    accounts = AdAccount.objects.filter(pk__in=account_ids)
    # Waits for the operator may have been for the sign-in that was just renewed; goals may be called something else.
    accounts.filter(hold_reason=Hold.OPERATOR).update(hold_reason="", held_until=None)
    accounts.update(next_sync_at=now)
    # One call of these may tell at once whether Microsoft takes ours again.
    Breaker.objects.filter(name=developer_token.NAME, open_until__gt=now).update(open_until=now)


def _follow_mapping(account_id: int, event_name: str, actor: User | None, now: datetime) -> None:
    is_missed = Q(status__in=WAITING, hold_reason=Hold.GOAL_MISSING)
    is_refused = Q(status=Status.FAILED, error_code__in=GOAL_NAME_CODES, expires_at__gt=now)
    rows = Delivery.objects.filter(is_missed | is_refused, account=account_id, kind=Kind.CONVERSION)
    rows, scope = rows.filter(event__name=event_name), f"mapping of {event_name}"
    is_all = False
    while not is_all:
        followed = actions.apply(Action.RETRY, rows, actor, now, scope=scope)
        logger.info("Account %s: %s conversions follow the mapping of %s", account_id, followed.able, event_name)
        is_all = followed.is_all or not followed.able
