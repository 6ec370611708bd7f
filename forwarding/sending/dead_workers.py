"""What becomes of an upload whose worker died: it is sent again as it was, or its rows are suspects from now on.

poison.py decides. Microsoft may have whatever such an upload lists, so its rows keep what they are known by; those
that Microsoft knows by nothing but hashes are marked, as no key of theirs is documented.
"""

import logging
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import F

from forwarding.corrections.taking_back import take_back
from forwarding.models import Attempt, Delivery, Hold, Kind, Status, Upload
from forwarding.rows.counts import Move, record_moves
from forwarding.rows.upload_rows import among
from forwarding.sending.leases import new_token
from forwarding.sending.poison import Next, after_death, small
from forwarding.sending.small_calls import count_down, look_among
from forwarding.times import CLOCK_MARGIN

# Our own word in the column of Microsoft's symbols.
WORKER_DIED = "WorkerDied"

logger = logging.getLogger(__name__)


def lease_end(now: datetime) -> datetime:
    """Return until when an upload belongs to whoever takes it now."""
    return now + timedelta(seconds=settings.LEASE_SECONDS)


def take_over(upload: Upload, now: datetime) -> Upload:
    """Go on with an upload whose worker died: the same rows, in the same order, under a new lease."""
    upload.takeovers += 1
    upload.lease_token = new_token()
    upload.leased_until = lease_end(now)
    upload.save(update_fields=["takeovers", "lease_token", "leased_until"])
    mark_possibly_twice(upload.delivery_ids)
    logger.warning("Upload %s of account %s was taken over", upload.public_id, upload.account.account_id)
    return upload


def end_if_deadly(upload: Upload, now: datetime) -> bool:
    """End an upload over which workers keep dying, so that its rows go out in smaller calls; return whether it was.

    A row that is alone in it is set aside for a person. `upload.account` is locked.
    """
    if _is_of_a_test(upload):
        _end_test(upload, now)
        return True
    account, rows, deaths = upload.account, len(upload.delivery_ids), upload.takeovers + 1
    verdict = after_death(rows, deaths, are_suspects=account.limited_rows is not None)
    if verdict is Next.AGAIN:
        return False
    upload.takeovers, upload.finished_at = deaths, now
    upload.error = f"Its worker died {deaths} {'time' if deaths == 1 else 'times'} over it."
    upload.save(update_fields=["takeovers", "finished_at", "error"])
    _note_unknown(upload, now)
    if verdict is Next.SET_ASIDE:
        _set_aside(upload, now)
    else:
        look_among(account, rows, small(rows))
        logger.error("Upload %s: %s Its rows go out in small calls", upload.public_id, upload.error)
    return True


def mark_possibly_twice(delivery_ids: list[int]) -> None:
    """Note that these rows go out once more although Microsoft may have them: without a click id it may count both.

    Which of two rows without a click id it drops is documented nowhere (api notes 4.3).
    """
    Delivery.objects.filter(pk__in=among(delivery_ids), msclkid="", possibly_twice=False).update(possibly_twice=True)


def _is_of_a_test(upload: Upload) -> bool:
    tests = Delivery.objects.filter(pk__in=upload.delivery_ids, is_test=True, kind=Kind.CONVERSION)
    return len(upload.delivery_ids) == 1 and tests.exists()


def _end_test(upload: Upload, now: datetime) -> None:
    """End the call of a test, which is sent once, whatever its worker had done: Microsoft may have it."""
    upload.takeovers, upload.finished_at = upload.takeovers + 1, now
    upload.error = "Its worker died over it."
    upload.save(update_fields=["takeovers", "finished_at", "error"])
    _note_unknown(upload, now)
    Delivery.objects.filter(pk__in=upload.delivery_ids).update(
        status=Status.FAILED, error_symbol=WORKER_DIED, error_message=upload.error, last_upload=upload
    )
    record_moves(take_back(upload.delivery_ids, now), now)
    logger.error("Upload %s of a test was ended: %s", upload.public_id, upload.error)


def _note_unknown(upload: Upload, now: datetime) -> None:
    """Count an attempt for rows that may have been sent: from now on nobody may change what they are known by."""
    rows = Delivery.objects.filter(pk__in=among(upload.delivery_ids))
    rows.update(attempts=F("attempts") + 1, changed_at=now)
    mark_possibly_twice(upload.delivery_ids)
    Attempt.objects.bulk_create(
        Attempt(
            delivery_id=pk,
            upload=upload,
            outcome=Attempt.Outcome.UNKNOWN,
            error_message=upload.error,
            created_at=now,
        )
        for pk in rows.values_list("pk", flat=True)
    )


def _set_aside(upload: Upload, now: datetime) -> None:
    """Stop sending the upload's one row, which killed its worker every time; a person looks at it before it expires."""
    count_down(upload.account, 1)
    for row in Delivery.objects.filter(pk__in=upload.delivery_ids):
        Delivery.objects.filter(pk=row.pk).update(
            status=Status.RETRYING,
            hold_reason=Hold.OPERATOR,
            next_attempt_at=(row.expires_at or now) - CLOCK_MARGIN,
            error_code=None,
            error_symbol=WORKER_DIED,
            error_message=upload.error,
            last_upload=upload,
        )
        record_moves([Move(row, row.status, Status.RETRYING)], now)
        logger.error("Delivery %s was set aside: %s", row.public_id, upload.error)
