"""Orders that only a browser has reported, on sites that forward none without their backend's word."""

from datetime import datetime

from django.db import transaction

from forwarding.models import Delivery, Hold, Skip, Status
from forwarding.rows.counts import Move, record_moves
from forwarding.rows.frozen import lock_accounts
from forwarding.rows.upload_rows import among
from ingest.models import ConfirmMode

GIVEN_UP_AT_ONCE = 1000


@transaction.atomic
def give_up_unconfirmed(now: datetime) -> int:
    """Stop waiting for orders whose time has passed; return how many. They keep their place, should the word come."""
    waited = Delivery.objects.due(now).filter(
        hold_reason=Hold.CONFIRMATION, account__site__confirm_mode=ConfirmMode.REQUIRE
    )
    found = dict(waited.values_list("pk", "account_id")[:GIVEN_UP_AT_ONCE])
    if not found:
        return 0
    lock_accounts(set(found.values()))
    rows = list(Delivery.objects.filter(pk__in=among(list(found)), hold_reason=Hold.CONFIRMATION))
    Delivery.objects.filter(pk__in=among([row.pk for row in rows])).update(
        status=Status.SKIPPED, skip_reason=Skip.UNCONFIRMED, hold_reason="", next_attempt_at=None, changed_at=now
    )
    moves = [Move(row, row.status, None) for row in rows]
    for row in rows:
        row.status, row.skip_reason = Status.SKIPPED, Skip.UNCONFIRMED
    record_moves([*moves, *(Move(row, None, row.status) for row in rows)], now)
    return len(rows)
