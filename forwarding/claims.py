"""Opening an upload: the claim on up to 1,000 due deliveries of one account.

The deliveries themselves are not written: the open upload lists them, and from here their key fields are frozen. At
most one upload per account and operation is open (a partial unique constraint), so an account is never sent to by two
workers at once, and n rows always take ceil(n / 1,000) calls. An upload whose worker died keeps its rows until its
lease ends; whoever takes it over sends the same rows, in the same order, as the same bytes.
"""

import logging
import uuid
from collections.abc import Collection
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet

from forwarding.counts import Move, record_moves
from forwarding.models import WAITING, Attempt, Delivery, Hold, Kind, Operation, Status, Upload
from forwarding.retry import CLOCK_MARGIN, CONVERSION_LIFE
from ingest.models import ConfirmMode
from integrations.models import AdAccount, Connection

MAX_ROWS = 1000  # cm/applyofflineconversions
MAX_TAKEOVERS = 3
# Our own word in the column of Microsoft's symbols: nothing was sent, its 90 days ran out here.
EXPIRED_SYMBOL = "Expired"

logger = logging.getLogger(__name__)


def may_send(account: AdAccount, now: datetime) -> bool:
    """Say whether the account takes conversions now: not removed or paused, sign-in good, no hold in force."""
    is_held = account.held_until is not None and account.held_until > now
    return account.is_active and account.paused_at is None and account.connection.is_usable and not is_held


def accounts_to_serve(now: datetime) -> list[int]:
    """Return the accounts that have something to send, or an upload whose worker died; not those being served now."""
    due = Delivery.objects.due(now).filter(account=OuterRef("pk")).order_by()
    being_served = Upload.objects.filter(account=OuterRef("pk"), finished_at__isnull=True, leased_until__gt=now)
    abandoned = Upload.objects.filter(account=OuterRef("pk"), finished_at__isnull=True, leased_until__lte=now)
    ready: QuerySet[AdAccount] = AdAccount.objects.active().filter(
        Q(held_until__isnull=True) | Q(held_until__lte=now),
        paused_at__isnull=True,
        connection__status=Connection.Status.CONNECTED,
    )
    wanted = ready.filter(Exists(due) | Exists(abandoned)).exclude(Exists(being_served))
    return list(wanted.order_by("pk").values_list("pk", flat=True))


@transaction.atomic
def claim(account_id: int, operation: Operation, now: datetime) -> Upload | None:
    """Open the account's next upload, or take over one whose worker died; None when there is nothing to send now.

    None also while a batch that is not full still waits for company (`UPLOAD_LINGER_SECONDS`).
    """
    rows = AdAccount.objects.select_related("connection", "site").select_for_update(of=("self",), no_key=True)
    account = rows.filter(pk=account_id).first()
    if account is None or not may_send(account, now):
        return None
    upload = Upload.objects.filter(account=account, operation=operation, finished_at__isnull=True).first()
    if upload is not None:
        upload.account = account
        return _take_over(upload, now) if upload.leased_until <= now else None
    due = _in_turn(Delivery.objects.due(now).filter(account=account, expires_at__gt=now), operation)
    if account.site.confirm_mode == ConfirmMode.REQUIRE:
        due = due.exclude(hold_reason=Hold.CONFIRMATION)
    most = account.batch_limit or MAX_ROWS
    listed = list(due.values_list("pk", flat=True)[:most])
    if not listed or (len(listed) < most and _waits_for_company(listed[0], now)):
        return None
    return Upload.objects.create(
        account=account,
        operation=operation,
        delivery_ids=listed,
        started_at=now,
        leased_until=_lease_end(now),
    )


def _in_turn(due: QuerySet[Delivery], operation: Operation) -> QuerySet[Delivery]:
    """Return what the operation carries: of corrections the next of each conversion, once that is delivered."""
    due = due.filter(kind__in=operation.kinds)
    if operation is Operation.CONVERSIONS:
        return due
    before = Delivery.objects.filter(
        original=OuterRef("original"), status__in=WAITING, adjustment_time__lt=OuterRef("adjustment_time")
    ).exclude(kind=Kind.CONVERSION)
    return due.filter(original__status=Status.DELIVERED).exclude(Exists(before))


def _waits_for_company(oldest: int, now: datetime) -> bool:
    lingered_since = now - timedelta(seconds=settings.UPLOAD_LINGER_SECONDS)
    return Delivery.objects.filter(pk=oldest, next_attempt_at__gt=lingered_since).exists()


def _lease_end(now: datetime) -> datetime:
    return now + timedelta(seconds=settings.LEASE_SECONDS)


def _take_over(upload: Upload, now: datetime) -> Upload | None:
    """Go on with an upload whose worker died; halve it, down to the one row, when workers keep dying over it."""
    if upload.takeovers >= MAX_TAKEOVERS:
        if len(upload.delivery_ids) == 1:
            _set_aside(upload, now)
            return None
        # The rows that leave are due as before: their turn comes after this half's.
        half = len(upload.delivery_ids) // 2
        _note_unknown(upload, upload.delivery_ids[half:], "The worker that sent it died.", now)
        upload.delivery_ids = upload.delivery_ids[:half]
        upload.takeovers = 0
    upload.takeovers += 1
    upload.lease_token = uuid.uuid4()
    upload.leased_until = _lease_end(now)
    upload.save(update_fields=["delivery_ids", "takeovers", "lease_token", "leased_until"])
    logger.warning("Upload %s of account %s was taken over", upload.public_id, upload.account.account_id)
    return upload


def _note_unknown(upload: Upload, delivery_ids: list[int], message: str, now: datetime) -> None:
    """Count an attempt for rows that may have been sent: from now on nobody may change what they are known by."""
    Delivery.objects.filter(pk__in=delivery_ids).update(attempts=F("attempts") + 1, changed_at=now)
    Attempt.objects.bulk_create(
        Attempt(delivery_id=pk, upload=upload, outcome=Attempt.Outcome.UNKNOWN, error_message=message, created_at=now)
        for pk in delivery_ids
    )


def _set_aside(upload: Upload, now: datetime) -> None:
    """Stop sending a row that killed its worker every time; a person looks at it before it expires."""
    upload.finished_at = now
    upload.error = f"Its worker died {upload.takeovers + 1} times over this one conversion."
    upload.save(update_fields=["finished_at", "error"])
    delivery = Delivery.objects.get(pk=upload.delivery_ids[0])
    before = delivery.status
    delivery.status = Status.RETRYING
    delivery.hold_reason = Hold.OPERATOR
    delivery.next_attempt_at = (delivery.expires_at or now) - CLOCK_MARGIN
    delivery.error_message = upload.error
    delivery.last_upload = upload
    delivery.changed_at = now
    delivery.save()
    _note_unknown(upload, [delivery.pk], upload.error, now)
    record_moves([Move(delivery, before, delivery.status)], now)
    logger.error("Delivery %s was set aside: %s", delivery.public_id, upload.error)


@transaction.atomic
def expire(now: datetime, limit: int = MAX_ROWS) -> int:
    """Fail up to `limit` deliveries that waited until Microsoft would refuse them as too old; return how many."""
    found = list(Delivery.objects.too_old(now).select_for_update(skip_locked=True)[:limit])
    on_their_way = set(listed_in_open_uploads({row.account_id for row in found}))
    rows = [row for row in found if row.pk not in on_their_way]
    Delivery.objects.filter(pk__in=[row.pk for row in rows]).update(
        status=Status.FAILED, next_attempt_at=None, hold_reason="", error_symbol=EXPIRED_SYMBOL, changed_at=now
    )
    record_moves((Move(row, row.status, Status.FAILED) for row in rows), now)
    return len(rows)


def sent_by_dead_workers(account_ids: Collection[int], now: datetime) -> set[int]:
    """Return the deliveries of calls whose worker died: Microsoft may have them, whatever came of it later."""
    taken_over = Upload.objects.filter(
        account_id__in=account_ids, started_at__gt=now - CONVERSION_LIFE, takeovers__gt=0
    )
    return {pk for ids in taken_over.values_list("delivery_ids", flat=True) for pk in ids}


def listed_in_open_uploads(account_ids: Collection[int]) -> list[int]:
    """Return the deliveries of these accounts that are on their way: nobody else may change them."""
    opened = Upload.objects.filter(account_id__in=account_ids, finished_at__isnull=True)
    return [pk for ids in opened.values_list("delivery_ids", flat=True) for pk in ids]
