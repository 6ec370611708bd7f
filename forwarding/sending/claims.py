"""Opening an upload: the claim on up to 1,000 due deliveries of one account.

The deliveries themselves are not written: the open upload lists them, and from here their key fields are frozen. At
most one upload per account and operation is open (a partial unique constraint), so an account is never sent to by two
workers at once, and n rows always take ceil(n / 1,000) calls. An upload whose worker died keeps its rows until its
lease ends; whoever takes it over sends the same rows, in the same order, as the same bytes.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from forwarding.models import WAITING, Delivery, Hold, Kind, Operation, Skip, Status, TestConversion, Upload
from forwarding.rows.counts import Move, record_moves
from forwarding.rows.frozen import listed_in_open_uploads
from forwarding.rows.upload_rows import among
from forwarding.sending import developer_token
from forwarding.sending.breaker import ACCOUNT_OPENS_AT
from forwarding.sending.dead_workers import end_if_deadly, lease_end, take_over
from forwarding.sending.leases import new_token
from forwarding.sending.small_calls import count_down
from forwarding.times import LAST_DAYS
from ingest.models import ConfirmMode
from integrations.models import AdAccount, Connection

MAX_ROWS = 1000  # cm/applyofflineconversions
# What asks us to leave Microsoft alone until its time is over.
LEFT_ALONE = (Hold.THROTTLED, Hold.UNAVAILABLE)
# A test that was not sent within this time is not sent any more: nobody waits for it at a page.
TEST_PATIENCE = timedelta(minutes=5)
# Our own word in the column of Microsoft's symbols: nothing was sent, its 90 days ran out here.
EXPIRED_SYMBOL = "Expired"


def may_send(account: AdAccount, now: datetime) -> bool:
    """Say whether the account takes conversions now: not removed or paused, sign-in good, no hold in force."""
    is_held = account.held_until is not None and account.held_until > now
    return account.is_active and account.paused_at is None and account.connection.is_usable and not is_held


def accounts_to_serve(now: datetime) -> list[int]:
    """Return the accounts that have something to send, or an upload whose worker died; not those being served now.

    While our developer token is refused there is none, or the one that asks whether it is good again.
    """
    due = Delivery.objects.due(now).filter(account=OuterRef("pk")).order_by()
    being_served = Upload.objects.filter(account=OuterRef("pk"), finished_at__isnull=True, leased_until__gt=now)
    abandoned = Upload.objects.filter(account=OuterRef("pk"), finished_at__isnull=True, leased_until__lte=now)
    ready: QuerySet[AdAccount] = AdAccount.objects.active().filter(
        Q(held_until__isnull=True) | Q(held_until__lte=now),
        paused_at__isnull=True,
        connection__status=Connection.Status.CONNECTED,
    )
    wanted = ready.filter(Exists(due) | Exists(abandoned)).exclude(Exists(being_served))
    return list(wanted.order_by("pk").values_list("pk", flat=True)[: developer_token.accounts_at_once(now)])


def claim_test(account_id: int, now: datetime) -> Upload | None:
    """Open an upload of nothing but the account's next test conversion, so that the answer is about it alone.

    None when no test waits, and while another call of the account is on its way: whoever made that comes here next.
    """
    if _next_test(account_id, now) is None:
        return None
    with transaction.atomic():
        rows = AdAccount.objects.select_related("connection").select_for_update(of=("self",), no_key=True)
        account = developer_token.with_refusals(rows).get(pk=account_id)
        test = _next_test(account_id, now)
        opened = Upload.objects.filter(account=account, finished_at__isnull=True, operation=Operation.CONVERSIONS)
        if test is None or not may_send_test(account, now) or opened.exists():
            return None
        return _upload_of(account, Operation.CONVERSIONS, [test], now, is_test=True)


def may_send_test(account: AdAccount, now: datetime) -> bool:
    """Say whether a test may go out: also where access to the account was refused, which is what a test can tell.

    Not while Microsoft wants to be left alone.
    """
    is_left_alone = account.held_until is not None and account.held_until > now and account.hold_reason in LEFT_ALONE
    return account.is_active and account.paused_at is None and account.connection.is_usable and not is_left_alone


def _next_test(account_id: int, now: datetime) -> int | None:
    """Return the delivery of the account's oldest test that waits to be sent, and not for too long."""
    waiting = TestConversion.objects.filter(account=account_id, created_at__gt=now - TEST_PATIENCE)
    waiting = waiting.filter(delivery__status=Status.PENDING).order_by("created_at")
    return waiting.values_list("delivery_id", flat=True).first()


@transaction.atomic
def claim(account_id: int, operation: Operation, now: datetime) -> Upload | None:
    """Open the account's next upload, or take over one whose worker died; None when there is nothing to send now.

    None also while a batch that is not full still waits for company (`UPLOAD_LINGER_SECONDS`), and while another call
    is the one that is let through to see whether Microsoft serves us again.
    """
    rows = AdAccount.objects.select_related("connection", "site").select_for_update(of=("self",), no_key=True)
    account = developer_token.with_refusals(rows).filter(pk=account_id).first()
    if account is None or not may_send(account, now):
        return None
    opened = list(Upload.objects.filter(account=account, finished_at__isnull=True))
    is_probe = account.failed_calls >= ACCOUNT_OPENS_AT
    if any(each.leased_until > now and (is_probe or each.operation == operation) for each in opened):
        return None
    abandoned = next((each for each in opened if each.operation == operation), None)
    if abandoned is not None:
        abandoned.account = account
        if not _is_free(abandoned):
            return None
        if not end_if_deadly(abandoned, now):
            return take_over(abandoned, now) if developer_token.let_through(account, now) else None
    elif account.limited_rows is not None and _newest_operation(account) != operation:
        return None  # the suspects are of the other kind, and go first
    return _open(account, operation, now)


def _is_free(abandoned: Upload) -> bool:
    """Lock an upload whose lease has ended, unless its worker is alive and marking it right now: nobody waits here."""
    still_open = Upload.objects.filter(pk=abandoned.pk, lease_token=abandoned.lease_token, finished_at__isnull=True)
    return still_open.select_for_update(skip_locked=True, no_key=True).exists()


def _newest_operation(account: AdAccount) -> str | None:
    """Return what the account's newest call carried. A test goes out beside the suspects and says nothing of them."""
    uploads = Upload.objects.filter(account=account, is_test=False).order_by("-started_at")
    return uploads.values_list("operation", flat=True).first()


def _open(account: AdAccount, operation: Operation, now: datetime) -> Upload | None:
    most = account.batch_limit or MAX_ROWS
    listed = _next_rows(_due(account, operation, now), most, now)
    if not listed:
        count_down(account, taken=0)  # no suspect is left
        return None
    if len(listed) < most and _wait_for_company(listed, now):
        return None
    return _upload_of(account, operation, listed, now)


def _upload_of(
    account: AdAccount, operation: Operation, listed: list[int], now: datetime, *, is_test: bool = False
) -> Upload | None:
    if not developer_token.let_through(account, now):
        return None
    return Upload.objects.create(
        account=account,
        operation=operation,
        delivery_ids=listed,
        is_test=is_test,
        lease_token=new_token(),
        started_at=now,
        leased_until=lease_end(now),
    )


def _due(account: AdAccount, operation: Operation, now: datetime) -> QuerySet[Delivery]:
    due = _in_turn(Delivery.objects.due(now).filter(account=account, expires_at__gt=now), operation)
    if account.site.confirm_mode != ConfirmMode.OFF:  # the sweep ends such a wait, in one way or another
        due = due.exclude(hold_reason=Hold.CONFIRMATION)
    return due


def _next_rows(due: QuerySet[Delivery], most: int, now: datetime) -> list[int]:
    """Return what goes out next: what soon expires first, then what has waited longest.

    Two queries, so that an index serves either order.
    """
    last_days = now + LAST_DAYS
    soon = due.filter(expires_at__lte=last_days).order_by("expires_at", "pk")
    listed = list(soon.values_list("pk", flat=True)[:most])
    if len(listed) < most:
        listed += due.filter(expires_at__gt=last_days).values_list("pk", flat=True)[: most - len(listed)]
    return listed


def _wait_for_company(listed: Sequence[int], now: datetime) -> bool:
    lingered_since = now - timedelta(seconds=settings.UPLOAD_LINGER_SECONDS)
    return not Delivery.objects.filter(pk__in=among(listed), next_attempt_at__lte=lingered_since).exists()


def _in_turn(due: QuerySet[Delivery], operation: Operation) -> QuerySet[Delivery]:
    """Return what the operation carries: of corrections the next of each conversion, once that is at rest.

    One that was refused at last has open corrections only where it may have arrived before.
    """
    due = due.filter(kind__in=operation.kinds)
    if operation is Operation.CONVERSIONS:
        return due
    before = Delivery.objects.filter(
        original=OuterRef("original"), status__in=WAITING, adjustment_time__lt=OuterRef("adjustment_time")
    ).exclude(kind=Kind.CONVERSION)
    return due.filter(original__status__in=(Status.DELIVERED, Status.FAILED)).exclude(Exists(before))


@transaction.atomic
def expire(now: datetime, limit: int = MAX_ROWS) -> int:
    """Fail up to `limit` deliveries that waited until Microsoft would refuse them as too old; return how many.

    A refund whose order never came is no failure: there was nothing to correct.
    """
    found = list(Delivery.objects.too_old(now).select_for_update(skip_locked=True)[:limit])
    on_their_way = set(listed_in_open_uploads({row.account_id for row in found}))
    rows = [row for row in found if row.pk not in on_their_way]
    ended = {"next_attempt_at": None, "hold_reason": "", "changed_at": now}
    expired = {"error_code": None, "error_symbol": EXPIRED_SYMBOL}
    orderless = Q(original=None) & ~Q(kind=Kind.CONVERSION)
    of_these = Delivery.objects.filter(pk__in=among([row.pk for row in rows]))
    of_these.exclude(orderless).update(status=Status.FAILED, **expired, **ended)
    of_these.filter(orderless).update(status=Status.SKIPPED, skip_reason=Skip.NOT_FORWARDED, **ended)
    moves = [Move(row, row.status, Status.FAILED) for row in rows]
    for row in rows:
        row.error_code, row.error_symbol = None, EXPIRED_SYMBOL
    record_moves(moves, now)
    return len(rows)
