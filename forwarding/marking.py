"""Writing down what became of an upload, in one transaction that only the holder of its lease can make.

Rows that Microsoft named in PartialErrors get their code, by index; the others are delivered. Without an answer about
the rows none is delivered: they go out again, byte for byte. A worker whose lease has passed on writes nothing.
"""

import logging
import random
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, QuerySet

from convultra import failpoints
from forwarding.adjusting import record_adjusted
from forwarding.counts import Move, record_moves
from forwarding.models import MAX_MESSAGE_CHARS, MAX_SYMBOL_CHARS, Attempt, Delivery, Hold, Operation, Status, Upload
from forwarding.retry import Verdict, Waits, after_no_answer, after_refusal
from forwarding.upload_rows import UploadRow, among
from integrations.microsoft_ads.errors import MicrosoftAdsError, WhatToDo
from integrations.microsoft_ads.shapes import ApplyResult, ItemError
from integrations.models import AdAccount, Connection

# What stops a whole account, for how long before it is asked again, and under which name.
_ACCOUNT_HOLDS = {
    WhatToDo.PERMISSION: (Hold.PERMISSION, timedelta(hours=1)),
    WhatToDo.ACCOUNT: (Hold.ACCOUNT_INACTIVE, timedelta(hours=1)),
    WhatToDo.OPERATOR: (Hold.OPERATOR, timedelta(minutes=15)),
    # Renewed and refused again: most likely our developer token, so nobody is told to sign in again.
    WhatToDo.RENEW_TOKEN: (Hold.OPERATOR, timedelta(minutes=15)),
}

_ABOUT_CONTENT = frozenset(
    {
        WhatToDo.REFUSE,
        WhatToDo.EXPIRED,
        WhatToDo.GOAL,
        WhatToDo.GOAL_TOO_NEW,
        WhatToDo.WAIT_FOR_TIME,
        WhatToDo.SPLIT,
        WhatToDo.UNKNOWN,
    }
)

logger = logging.getLogger(__name__)


def waits() -> Waits:
    """Return the waits of the settings."""
    return Waits(settings.RETRY_LADDER_SECONDS, settings.THROTTLE_SECONDS, settings.GOAL_SETTLE_SECONDS)


def record_answer(
    upload: Upload, deliveries: Sequence[UploadRow], answer: ApplyResult, seconds: float, now: datetime
) -> bool:
    """Mark every row by Microsoft's answer; return False, nothing written, when the upload is no longer ours."""
    refused = [
        (delivery, item.error)
        for delivery, item in zip(deliveries, answer.items, strict=True)
        if item.error is not None
    ]
    with transaction.atomic():
        is_ours = _finish(
            upload,
            finished_at=now,
            seconds=seconds,
            http_status=answer.http_status,
            tracking_id=answer.tracking_id,
            accepted=len(deliveries) - len(refused),
            refused=len(refused),
            answer=answer.body if refused else "",
        )
        if not is_ours:
            return False
        named = {delivery.pk for delivery, _ in refused}
        _release_account(upload.account, len(deliveries))
        taken = [delivery for delivery in deliveries if delivery.pk not in named]
        moves = _mark_delivered(taken, upload, now)
        if upload.operation == Operation.ADJUSTMENTS:
            moves += record_adjusted(taken, now)
        failpoints.reach(failpoints.HALF_MARKED)
        moves += _mark_refused(refused, upload, now)
        if any(error.what_to_do == WhatToDo.GOAL for _, error in refused):
            # Perhaps it is only called something else by now: the next sweep reads the goals.
            AdAccount.objects.filter(pk=upload.account_id).update(next_sync_at=now)
        # Once and last: who takes the counts' rows waits for nobody any more, so writers cannot block in a ring.
        record_moves(moves, now)
    return True


def record_failure(
    upload: Upload, deliveries: Sequence[UploadRow], error: MicrosoftAdsError, seconds: float, now: datetime
) -> bool:
    """Mark a call that brought no answer about its rows; return False when the upload is no longer ours.

    What is the account's or the sign-in's fault holds the account and burns no attempt of any row.
    """
    with transaction.atomic():
        is_ours = _finish(
            upload,
            finished_at=now,
            seconds=seconds,
            http_status=error.http_status,
            tracking_id=error.tracking_id,
            error=str(error)[:MAX_MESSAGE_CHARS],
            answer=error.body,
        )
        if not is_ours:
            return False
        said = ItemError(error.code, error.symbol, error.message)
        moves: list[Move] = []
        if error.outcome_unknown:
            moves = _mark(deliveries, _same_again(deliveries, error, now), said, Attempt.Outcome.UNKNOWN, upload, now)
        elif _is_about_content(error):
            moves = _narrow_down(upload, deliveries, said, error.what_to_do, now)
        elif not _hold_account(upload.account, error, now):
            moves = _mark(deliveries, _same_again(deliveries, error, now), said, Attempt.Outcome.RETRY, upload, now)
        record_moves(moves, now)
    return True


def _same_again(deliveries: Sequence[UploadRow], error: MicrosoftAdsError, now: datetime) -> Verdict:
    attempts = max((row.attempts for row in deliveries), default=0) + 1
    return after_no_answer(attempts, now, waits(), at_least=error.retry_after_seconds or 0)


def _is_about_content(error: MicrosoftAdsError) -> bool:
    """Say whether a batch was refused for what is in it: one row that does not bind fails all (api notes 3.7)."""
    return error.what_to_do in _ABOUT_CONTENT or (error.what_to_do == WhatToDo.OPERATOR and error.http_status == 400)


def _narrow_down(
    upload: Upload, deliveries: Sequence[UploadRow], said: ItemError, what: WhatToDo, now: datetime
) -> list[Move]:
    """Send half as much next time, down to the one row that is refused alone: it is judged, the others go on.

    The rows stay due as they are, in the same order, and the size stays until the one is found or the queue is empty:
    one bad row among a thousand costs 21 calls at most.
    """
    half = len(deliveries) // 2 or None
    AdAccount.objects.filter(pk=upload.account_id).update(batch_limit=half)
    if half is not None:
        return []
    if what == WhatToDo.OPERATOR:
        # This row, or our configuration: the row waits for a second look, and should all be refused, one a minute is.
        what = WhatToDo.UNKNOWN
        _hold(AdAccount.objects.filter(pk=upload.account_id), Hold.OPERATOR, now + timedelta(minutes=1))
    return _mark_refused([(row, said) for row in deliveries], upload, now, what)


def _finish(upload: Upload, **fields: object) -> bool:
    """Close the upload if it is still ours: the token changed hands when somebody took it over."""
    mine = Upload.objects.filter(pk=upload.pk, lease_token=upload.lease_token, finished_at__isnull=True)
    if mine.update(**fields):
        return True
    logger.warning("Upload %s passed to another worker; its late answer is dropped", upload.public_id)
    return False


def _mark_delivered(deliveries: Sequence[UploadRow], upload: Upload, now: datetime) -> list[Move]:
    Delivery.objects.filter(pk__in=among([row.pk for row in deliveries])).update(
        status=Status.DELIVERED,
        delivered_at=now,
        attempts=F("attempts") + 1,
        next_attempt_at=None,
        hold_reason="",
        error_code=None,
        error_symbol="",
        error_message="",
        last_upload=upload,
        changed_at=now,
    )
    return [Move(row, row.status, Status.DELIVERED) for row in deliveries]


def _mark_refused(
    refused: Sequence[tuple[UploadRow, ItemError]], upload: Upload, now: datetime, what: WhatToDo | None = None
) -> list[Move]:
    """Mark rows that Microsoft refused by name: those that fare alike together. `what` overrules the error's own."""
    chance = random.random()  # noqa: S311 - one draw of jitter for the batch, so that its like waits alike
    alike: dict[tuple[ItemError, Verdict], list[UploadRow]] = defaultdict(list)
    for row, error in refused:
        verdict = after_refusal(
            what or error.what_to_do,
            attempts=row.attempts + 1,
            is_repeat=(row.error_code, row.error_symbol) == (error.code, error.symbol),
            now=now,
            conversion_at=_conversion_at(row, now),
            waits=waits(),
            uniform=lambda: chance,
        )
        alike[error, verdict].append(row)
    moves: list[Move] = []
    for (error, verdict), rows in alike.items():
        outcome = Attempt.Outcome.REFUSED if verdict.status == Status.FAILED else Attempt.Outcome.RETRY
        moves += _mark(rows, verdict, error, outcome, upload, now)
    return moves


def _conversion_at(row: UploadRow, now: datetime) -> datetime:
    try:
        return datetime.fromisoformat(row.conversion_time).astimezone(UTC)
    except ValueError:
        return now  # a time that nobody can read is what it was refused for


def _mark(
    deliveries: Sequence[UploadRow],
    verdict: Verdict,
    error: ItemError,
    outcome: Attempt.Outcome,
    upload: Upload,
    now: datetime,
) -> list[Move]:
    said = {
        "error_code": error.code,
        "error_symbol": error.symbol[:MAX_SYMBOL_CHARS],
        "error_message": error.message[:MAX_MESSAGE_CHARS],
    }
    Delivery.objects.filter(pk__in=among([row.pk for row in deliveries])).update(
        status=verdict.status,
        hold_reason=verdict.hold or "",
        attempts=F("attempts") + int(verdict.burns_attempt),
        next_attempt_at=verdict.next_attempt_at,
        last_upload=upload,
        changed_at=now,
        **said,
    )
    Attempt.objects.bulk_create(
        Attempt(delivery_id=row.pk, upload=upload, outcome=outcome, created_at=now, **said) for row in deliveries
    )
    return [Move(row, row.status, verdict.status) for row in deliveries]


def _hold_account(account: AdAccount, error: MicrosoftAdsError, now: datetime) -> bool:
    """Hold the account, or its whole sign-in, for what is not a delivery's fault; return whether it was that."""
    what = error.what_to_do
    if what == WhatToDo.RECONNECT:
        # Of the tokens that were refused: somebody may have signed in again meanwhile.
        refused = account.connection
        Connection.objects.filter(
            pk=refused.pk, status=Connection.Status.CONNECTED, token_version=refused.token_version
        ).update(status=Connection.Status.NEEDS_RECONNECT, last_error=str(error)[:500], failed_at=now)
        return True
    if what == WhatToDo.THROTTLE:
        # Microsoft counts calls per user and per customer (guides/services-protocol), so all their accounts wait.
        seconds = max(error.retry_after_seconds or 0, settings.THROTTLE_SECONDS) * random.uniform(1, 1.2)  # noqa: S311
        alike = Q(connection=account.connection_id) | Q(customer_id=account.customer_id)
        _hold(AdAccount.objects.filter(alike), Hold.THROTTLED, now + timedelta(seconds=seconds))
        return True
    if what in _ACCOUNT_HOLDS:
        reason, wait = _ACCOUNT_HOLDS[what]
        _hold(AdAccount.objects.filter(pk=account.pk), reason, now + wait)
        return True
    return False


def _hold(accounts: QuerySet[AdAccount], reason: Hold, until: datetime) -> None:
    held = accounts.update(hold_reason=reason, held_until=until)
    logger.warning("%s accounts are held until %s: %s", held, until.isoformat(), reason)


def _release_account(account: AdAccount, taken: int) -> None:
    """An answer about rows means that whatever held the account is gone.

    A batch below the limit was the last of the queue, so the next one may be whole again.
    """
    if account.hold_reason:
        AdAccount.objects.filter(pk=account.pk).update(hold_reason="", held_until=None)
    if account.batch_limit is not None and taken < account.batch_limit:
        AdAccount.objects.filter(pk=account.pk).update(batch_limit=None)
