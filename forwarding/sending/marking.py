"""Writing down what became of an upload, in one transaction that only the holder of its lease can make.

Rows that Microsoft named in PartialErrors get their code, by index; the others are delivered. Without an answer about
the rows none is delivered: they go out again, byte for byte. What is refused for the account's sake or the sign-in's
is noted on each row and leaves it where it stood. A worker whose lease has passed on writes nothing.

A test conversion is sent once: whatever would let another row wait or go out again ends it.
"""

import logging
import random
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, F, OuterRef

from convultra import failpoints
from forwarding.corrections.adjusting import record_adjusted
from forwarding.corrections.taking_back import take_back
from forwarding.models import (
    MAX_MESSAGE_CHARS,
    MAX_SYMBOL_CHARS,
    WAITING,
    Attempt,
    Delivery,
    Hold,
    Operation,
    Status,
    Upload,
)
from forwarding.rows.counts import Move, record_moves
from forwarding.rows.upload_rows import UploadRow, among
from forwarding.sending.account_holds import hold, hold_account, note_served, note_unserved
from forwarding.sending.dead_workers import mark_possibly_twice
from forwarding.sending.lira import has_another_name
from forwarding.sending.poison import Next, after_fault, half, small
from forwarding.sending.retry import FAILED, SAME_TURN, Verdict, Waits, after_no_answer, after_refusal
from forwarding.sending.small_calls import look_among
from forwarding.sending.unserved import is_unserved, may_be_one_rows_doing, said_by
from integrations.microsoft_ads.errors import MicrosoftAdsError, TokenError, WhatToDo, urgency
from integrations.microsoft_ads.shapes import ApplyResult, ItemError
from integrations.models import AdAccount

# What may be said of a whole call because of one of its rows.
_ABOUT_CONTENT = frozenset(
    {
        WhatToDo.REFUSE,
        WhatToDo.EXPIRED,
        WhatToDo.GOAL,
        WhatToDo.GOAL_TOO_NEW,
        WhatToDo.WAIT_FOR_TIME,
        WhatToDo.SPLIT,
    }
)
# What stops the whole account when it is said of every row of a call.
_OF_ACCOUNT = frozenset({WhatToDo.RECONNECT, WhatToDo.PERMISSION, WhatToDo.ACCOUNT, WhatToDo.THROTTLE})
# What is ours to mend in the call itself: its headers, its operation, its version (guides/operation-error-codes).
_ABOUT_THE_CALL = frozenset({100, 116, 204, 205, 210, 303, 474, *range(513, 518), 1029, 1030, 1031, 1102, 1490, 5600})

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
            # Of a plain success nothing is kept, but for a test: somebody reads it.
            answer=answer.body if refused or any(row.is_sent_once for row in deliveries) else "",
        )
        if not is_ours:
            return False
        stop = _stop_of_all(refused, len(deliveries))
        if stop is not None:
            hold_account(upload.account, stop, None, now)
            record_moves(_mark_stopped(refused, upload, now), now)
            return True
        note_served(upload.account, _off_the_queue(deliveries))
        named = {delivery.pk for delivery, _ in refused}
        taken = [delivery for delivery in deliveries if delivery.pk not in named]
        moves = _mark_delivered(taken, upload, now)
        if upload.operation == Operation.ADJUSTMENTS:
            moves += record_adjusted(taken, now)
        failpoints.reach(failpoints.HALF_MARKED)
        moves += _mark_refused(refused, upload, now)
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
        moves: list[Move] = []
        if is_unserved(error):
            moves = _mark_unserved(upload, deliveries, error, now)
        elif _is_about_content(error):
            moves = _narrow_down(upload, deliveries, error, now)
        else:
            hold_account(upload.account, error.what_to_do, error, now)
            said = said_by(error)
            # Where the sign-in gave no token nothing was sent, which is the end of a test only.
            asked = [row for row in deliveries if row.is_sent_once or not isinstance(error, TokenError)]
            moves = _mark_stopped([(row, said) for row in asked], upload, now)
        record_moves(moves, now)
    return True


def _off_the_queue(deliveries: Sequence[UploadRow]) -> int | None:
    """Return how many rows a call took off the queue; None for a test's, which stands in none and goes out alone."""
    return None if any(row.is_sent_once for row in deliveries) else len(deliveries)


def _stop_of_all(refused: Sequence[tuple[UploadRow, ItemError]], rows: int) -> WhatToDo | None:
    """Return what every row was refused for when that is the account's fault or the sign-in's, and no row's own.

    Such rows wait with their account. Refused beside rows that were taken, each is judged by itself.
    """
    whats = {error.what_to_do for _, error in refused}
    if len(refused) < rows or not whats <= _OF_ACCOUNT:
        return None
    return min(whats, key=urgency)


def _mark_stopped(refused: Sequence[tuple[UploadRow, ItemError]], upload: Upload, now: datetime) -> list[Move]:
    """Write down what Microsoft said when it stopped the account: each row waits with it, as it was and in its turn.

    Only a test, which waits for nothing, ends.
    """
    alike: dict[ItemError, list[UploadRow]] = defaultdict(list)
    for row, error in refused:
        if not row.is_sent_once:
            alike[error].append(row)
    for error, rows in alike.items():
        said = _columns_of(error)
        Delivery.objects.filter(pk__in=among([row.pk for row in rows])).update(
            last_upload=upload, changed_at=now, **said
        )
        _forget_repeats([row.pk for row in rows if _said_last(row, error)], said)
        _note_attempts(rows, upload, Attempt.Outcome.RETRY, said, now)
    return [move for row, error in refused if row.is_sent_once for move in _end_test(row, error, upload, now)]


def _end_test(row: UploadRow, error: ItemError, upload: Upload, now: datetime) -> list[Move]:
    return _mark_all([row], FAILED, error, Attempt.Outcome.REFUSED, upload, now)


def _forget_repeats(pks: Sequence[int], said: dict[str, Any]) -> None:
    """Keep of what Microsoft says every hour only the first, beside the newest: a hold may last for weeks."""
    if not pks:
        return
    alike = Attempt.objects.filter(
        outcome=Attempt.Outcome.RETRY, error_code=said["error_code"], error_symbol=said["error_symbol"]
    )
    before = alike.filter(delivery=OuterRef("delivery"), pk__lt=OuterRef("pk"))
    alike.filter(Exists(before), delivery__in=among(pks)).delete()


def _mark_unserved(
    upload: Upload, deliveries: Sequence[UploadRow], error: MicrosoftAdsError, now: datetime
) -> list[Move]:
    """Send the same again later, by the ladder; in small calls where one of the rows may be the reason."""
    said = said_by(error)
    outcome = Attempt.Outcome.RETRY
    if error.outcome_unknown:
        outcome = Attempt.Outcome.UNKNOWN
        mark_possibly_twice([row.pk for row in deliveries if not row.msclkid])
    note_unserved(upload.account, error, _off_the_queue(deliveries), now)
    if may_be_one_rows_doing(error):
        is_unknown = error.what_to_do is WhatToDo.UNKNOWN
        verdict = after_fault(
            len(deliveries),
            max(row.attempts if _is_repeat(row, said) else 0 for row in deliveries),
            is_unknown=is_unknown,
            are_others_served=not upload.account.failed_calls,
        )
        if verdict is Next.CUT:
            look_among(upload.account, len(deliveries), small(len(deliveries)))
            return _mark(deliveries, SAME_TURN, said, outcome, upload, now)
        if is_unknown or verdict is Next.SET_ASIDE:
            return _mark_refused([(row, said) for row in deliveries], upload, now, WhatToDo.UNKNOWN, outcome)
    return _mark(deliveries, _same_again(deliveries, error, now), said, outcome, upload, now)


def _same_again(deliveries: Sequence[UploadRow], error: MicrosoftAdsError, now: datetime) -> Verdict:
    attempts = max((row.attempts for row in deliveries), default=0) + 1
    return after_no_answer(attempts, now, waits(), at_least=error.retry_after_seconds or 0)


def _is_about_content(error: MicrosoftAdsError) -> bool:
    """Say whether a batch was refused for what is in it: one row that does not bind fails all (api notes 3.7)."""
    if error.what_to_do is not WhatToDo.OPERATOR or isinstance(error, TokenError):
        return error.what_to_do in _ABOUT_CONTENT
    has_name = error.code is not None or bool(error.symbol)
    return error.code not in _ABOUT_THE_CALL if has_name else error.http_status == 400


def _narrow_down(
    upload: Upload, deliveries: Sequence[UploadRow], error: MicrosoftAdsError, now: datetime
) -> list[Move]:
    """Send half as much next time, down to the one row that is refused alone: it is judged, the others go on.

    The rows stay due as they are, in the same order, and only they go out in smaller calls: one bad row among a
    thousand costs 21 calls at most.
    """
    account, rows = upload.account, len(deliveries)
    note_served(account, _off_the_queue(deliveries))
    if rows > 1:
        look_among(account, rows, half(rows))
        return []
    if error.what_to_do is WhatToDo.OPERATOR:
        # This row, or our configuration: the row waits for a second look, and should all be refused, one a minute is.
        hold(AdAccount.objects.filter(pk=account.pk), Hold.OPERATOR, now + timedelta(minutes=1))
    [row] = deliveries
    if error.what_to_do is WhatToDo.GOAL_TOO_NEW:
        _let_its_goal_settle(row, now)
    return _mark_refused([(row, said_by(error))], upload, now, error.what_to_do)


def _let_its_goal_settle(row: UploadRow, now: datetime) -> None:
    """Spare the other rows of a goal that is too new for one of them: each would fail the whole call it is in."""
    alike = Delivery.objects.due(now).filter(account=row.account_id, goal_name=row.goal_name, kind=row.kind)
    until = now + timedelta(seconds=waits().goal_settle)
    alike.exclude(pk=row.pk).update(hold_reason=Hold.GOAL_TOO_NEW, next_attempt_at=until, changed_at=now)


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
    tests = [row.pk for row in deliveries if row.is_sent_once]
    taken_back = take_back(tests, now) if tests else []
    return [*(Move(row, row.status, Status.DELIVERED) for row in deliveries), *taken_back]


def _mark_refused(
    refused: Sequence[tuple[UploadRow, ItemError]],
    upload: Upload,
    now: datetime,
    what: WhatToDo | None = None,
    outcome: Attempt.Outcome | None = None,
) -> list[Move]:
    """Mark rows that Microsoft refused by name: those that fare alike together.

    `what` and `outcome` overrule what each error says by itself.
    """
    chance = random.random()  # noqa: S311 - one draw of jitter for the batch, so that its like waits alike
    alike: dict[tuple[ItemError, Verdict], list[UploadRow]] = defaultdict(list)
    for row, error in refused:
        alike[error, _verdict(row, error, what or error.what_to_do, now, chance)].append(row)
    moves: list[Move] = []
    for (error, verdict), rows in alike.items():
        by_itself = Attempt.Outcome.REFUSED if verdict.status == Status.FAILED else Attempt.Outcome.RETRY
        moves += _mark(rows, verdict, error, outcome or by_itself, upload, now)
    if any((what or error.what_to_do) is WhatToDo.GOAL for error, _ in alike):
        # Perhaps it is only called something else by now: the next sweep reads the goals.
        AdAccount.objects.filter(pk=upload.account_id).update(next_sync_at=now)
    return moves


def _verdict(row: UploadRow, error: ItemError, what: WhatToDo, now: datetime, chance: float) -> Verdict:
    if has_another_name(row, error):
        return Verdict(Status.RETRYING, now)
    return after_refusal(
        what,
        attempts=row.attempts + 1,
        is_repeat=_is_repeat(row, error),
        now=now,
        conversion_at=_moment(row.conversion_time) or now,
        adjustment_at=_moment(row.adjustment_time),
        waits=waits(),
        uniform=lambda: chance,
    )


def _is_repeat(row: UploadRow, error: ItemError) -> bool:
    # What was said of its account, and burned no attempt, was not said of the row.
    return row.attempts > 0 and _said_last(row, error)


def _said_last(row: UploadRow, error: ItemError) -> bool:
    return (row.error_code, row.error_symbol) == (error.code, error.symbol[:MAX_SYMBOL_CHARS])


def _moment(text: str) -> datetime | None:
    """Read a time that was sent; None where there is none, or one that nobody can read and that was refused for it."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        return None


def _mark(
    deliveries: Sequence[UploadRow],
    verdict: Verdict,
    error: ItemError,
    outcome: Attempt.Outcome,
    upload: Upload,
    now: datetime,
) -> list[Move]:
    """Mark rows that fared alike, but for tests that would wait or go out again: those end here."""
    once = [row for row in deliveries if row.is_sent_once and verdict.status in WAITING]
    if once:
        others = [row for row in deliveries if row not in once]
        moves = _mark_all(once, FAILED, error, outcome, upload, now)
        if outcome is Attempt.Outcome.UNKNOWN:
            moves += take_back([row.pk for row in once], now)
        return moves + _mark_all(others, verdict, error, outcome, upload, now)
    return _mark_all(deliveries, verdict, error, outcome, upload, now)


def _mark_all(
    deliveries: Sequence[UploadRow],
    verdict: Verdict,
    error: ItemError,
    outcome: Attempt.Outcome,
    upload: Upload,
    now: datetime,
) -> list[Move]:
    if not deliveries:
        return []
    said = _columns_of(error)
    turn = {} if verdict.keeps_turn else {"next_attempt_at": verdict.next_attempt_at}
    Delivery.objects.filter(pk__in=among([row.pk for row in deliveries])).update(
        status=verdict.status,
        hold_reason=verdict.hold or "",
        attempts=F("attempts") + int(verdict.burns_attempt),
        last_upload=upload,
        changed_at=now,
        **turn,
        **said,
    )
    _note_attempts(deliveries, upload, outcome, said, now)
    if verdict.status == Status.FAILED:  # it is counted under its error
        deliveries = [
            row._replace(error_code=error.code, error_symbol=error.symbol[:MAX_SYMBOL_CHARS]) for row in deliveries
        ]
    return [Move(row, row.status, verdict.status) for row in deliveries]


def _columns_of(error: ItemError) -> dict[str, Any]:
    return {
        "error_code": error.code,
        "error_symbol": error.symbol[:MAX_SYMBOL_CHARS],
        "error_message": error.message[:MAX_MESSAGE_CHARS],
    }


def _note_attempts(
    rows: Sequence[UploadRow], upload: Upload, outcome: Attempt.Outcome, said: dict[str, Any], now: datetime
) -> None:
    Attempt.objects.bulk_create(
        Attempt(delivery_id=row.pk, upload=upload, outcome=outcome, created_at=now, **said) for row in rows
    )
