"""Orders that only a browser has reported, on sites that want their backend's word: what ends their wait without it."""

from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet

from forwarding.models import WAITING, Delivery, Hold, Skip, Status
from forwarding.planning.conversions import Settle, wait
from forwarding.rows.changing import change_deliveries
from forwarding.rows.counts import Move, record_moves
from forwarding.rows.frozen import lock_accounts
from forwarding.rows.upload_rows import among
from ingest.models import ConfirmMode

ENDED_AT_ONCE = 1000
_CHANGED = ("status", "skip_reason", "hold_reason", "next_attempt_at", "changed_at")


@transaction.atomic
def end_waits(now: datetime) -> int:
    """End waits for the backend's word whose time has passed, or that nobody wants any more; return how many.

    Where the word is required the order is given up, and keeps its place should the word come. Elsewhere it goes out,
    when its goal and its click let it.
    """
    found = dict(_over(now).values_list("pk", "account_id")[:ENDED_AT_ONCE])
    found = found or dict(_unwanted(now).values_list("pk", "account_id")[:ENDED_AT_ONCE])
    if not found:
        return 0
    lock_accounts(set(found.values()))
    unended = Delivery.objects.filter(pk__in=among(list(found)), status__in=WAITING, hold_reason=Hold.CONFIRMATION)
    rows = list(unended.select_related("event", "goal", "account__site"))
    moves = [Move(row, row.status, None) for row in rows]
    for row in rows:
        _end_wait(row, now)
    change_deliveries(rows, _CHANGED)
    record_moves([*moves, *(Move(row, None, row.status) for row in rows)], now)
    return len(rows)


def _over(now: datetime) -> QuerySet[Delivery]:
    waiting = Delivery.objects.due(now).filter(hold_reason=Hold.CONFIRMATION, expires_at__gt=now)
    return waiting.exclude(account__site__confirm_mode=ConfirmMode.OFF)


def _unwanted(now: datetime) -> QuerySet[Delivery]:
    """Return what waits on sites that ask for no word any more. What is due there goes out by itself."""
    waiting = Delivery.objects.filter(status__in=WAITING, next_attempt_at__gt=now, hold_reason=Hold.CONFIRMATION)
    return waiting.filter(account__site__confirm_mode=ConfirmMode.OFF)


def _end_wait(row: Delivery, now: datetime) -> None:
    if row.account.site.confirm_mode == ConfirmMode.REQUIRE:
        row.status, row.skip_reason = Status.SKIPPED, Skip.UNCONFIRMED
        row.hold_reason, row.next_attempt_at = "", None
    else:
        wait(row, now, Settle.from_settings())
    row.changed_at = now
