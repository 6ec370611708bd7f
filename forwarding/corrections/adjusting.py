"""Corrections of conversions as rows: a `Delivery` and a `Correction` for everything that is said about one.

`settle` brings what Microsoft counts in line with the ledger (ledger.py): a conversion that has surely not arrived is
changed itself; of one that may have, the newest open correction carries the new total, and goes out once the
conversion is delivered and Microsoft has had time to process it.
"""

import copy
import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import F, Max

from forwarding.corrections.ledger import Line, Order, Settlement, Told
from forwarding.corrections.ledger import settle as settle_order
from forwarding.models import WAITING, Correction, Delivery, Hold, Kind, Said, Skip, Status
from forwarding.rows.changing import change_deliveries
from forwarding.rows.counts import Move, record_moves
from forwarding.rows.frozen import lock_accounts, perhaps_arrived
from forwarding.rows.inserting import insert_deliveries
from forwarding.rows.matching import matching
from forwarding.rows.upload_rows import UploadRow, among
from forwarding.times import CLOCK_MARGIN, SAME_MOMENT, utc_second
from integrations.models import ValueRule

RELEASED_AT_ONCE = 1000
_SECOND = timedelta(seconds=1)
_A_MOMENT = timedelta(microseconds=1)
# The conversion's own columns that a settlement may change, and those of a correction.
_OF_ORIGINAL = ("value", "currency", "status", "skip_reason", "hold_reason", "next_attempt_at", "changed_at")
_OF_CORRECTION = (
    "kind",
    "goal",
    "goal_name",
    "conversion_time",
    "adjustment_time",
    "msclkid",
    "email_sha256",
    "phone_sha256",
    "value",
    "currency",
    "status",
    "skip_reason",
    "hold_reason",
    "next_attempt_at",
    "expires_at",
    "changed_at",
)


@dataclass(frozen=True, slots=True)
class Statement:
    """Something said about a conversion, to be written down once: `key` tells a repetition."""

    original: Delivery
    key: str
    said: Said
    value: Decimal | None
    currency: str
    occurred_at: datetime
    event_id: int
    adjustment_id: int | None = None
    said_by: User | None = None


def write_down(statements: Sequence[Statement], now: datetime) -> None:
    """Add the lines to their conversions' ledgers, those that are new. `settle` has to follow."""
    if not statements:
        return
    known = {(each.original.account_id, kind, each.key) for each in statements for kind in (Kind.RESTATE, Kind.RETRACT)}
    earlier = Delivery.objects.filter(pk__in=matching(Delivery, ("account_id", "kind", "dedupe_key"), known))
    written = set(earlier.values_list("account_id", "dedupe_key"))
    new = [each for each in statements if (each.original.account_id, each.key) not in written]
    rows = [_row(statement, now) for statement in new]
    insert_deliveries(rows)
    Correction.objects.bulk_create(_line(row, statement, now) for row, statement in zip(rows, new, strict=True))


def _row(statement: Statement, now: datetime) -> Delivery:
    original = statement.original
    return Delivery(
        account_id=original.account_id,
        event_id=statement.event_id,
        kind=Kind.RESTATE,
        original=original,
        dedupe_key=statement.key,
        transaction_id=original.transaction_id,
        is_test=original.is_test,
        hold_reason=Hold.ORIGINAL_PENDING,
        created_at=now,
        changed_at=now,
    )


def _line(row: Delivery, statement: Statement, now: datetime) -> Correction:
    return Correction(
        delivery=row,
        said=statement.said,
        value=statement.value,
        currency=statement.currency,
        occurred_at=statement.occurred_at,
        adjustment_id=statement.adjustment_id,
        said_by=statement.said_by,
        created_at=now,
    )


def correct_by_hand(
    conversions: Iterable[Delivery], said: Said, value: Decimal | None, actor: User | None, now: datetime
) -> list[Move]:
    """Restate or retract conversions because a person says so; return what moves in the counts.

    Call it inside a transaction. A conversion may be unsent, in which case it is changed itself. What a person says is
    the last word on what they see, also where an earlier line is dated ahead.
    """
    conversions = list(conversions)
    said_last = _last_said(conversions)
    statements = [
        Statement(
            original=conversion,
            key=f"hand:{uuid.uuid4()}",
            said=said,
            value=value,
            currency="" if value is None else conversion.currency,
            occurred_at=max(now, said_last.get(conversion.pk, now) + _A_MOMENT),
            event_id=conversion.event_id,
            said_by=actor,
        )
        for conversion in conversions
    ]
    write_down(statements, now)
    return settle({statement.original.pk for statement in statements}, now)


def _last_said(conversions: Collection[Delivery]) -> dict[int, datetime]:
    """Return the moment of the last line in each ledger that has one."""
    lines = Correction.objects.filter(delivery__original__in=[conversion.pk for conversion in conversions])
    by_original = lines.order_by().values_list("delivery__original").annotate(last=Max("occurred_at"))
    return dict(by_original)


def settle(original_ids: Collection[int], now: datetime) -> list[Move]:
    """Bring what Microsoft counts for these conversions in line with their ledgers. Bounded queries.

    Call it inside a transaction, and record the moves that it returns last of all: whoever has the counts' rows may
    wait for no other row, or two writers could wait for each other.
    """
    if not original_ids:
        return []
    accounts = Delivery.objects.filter(pk__in=original_ids).values_list("account_id", flat=True)
    on_their_way = lock_accounts(set(accounts))
    conversions = Delivery.objects.filter(pk__in=original_ids, kind=Kind.CONVERSION)
    originals = list(conversions.select_related("event__site"))
    corrections = list(
        Delivery.objects.filter(original__in=original_ids)
        .exclude(kind=Kind.CONVERSION)
        .exclude(skip_reason=Skip.CALLED_OFF)
        .select_related("correction")
        .order_by("pk")
    )
    arrived = perhaps_arrived([*originals, *corrections], on_their_way, now)
    of: dict[int, list[Delivery]] = defaultdict(list)
    for row in corrections:
        assert row.original_id is not None
        of[row.original_id].append(row)
    changed_originals: list[Delivery] = []
    changed: list[Delivery] = []
    moves: list[Move] = []
    for original in originals:
        its = _Ledger(original, of[original.pk], arrived, now)
        if its_moves := its.settle_original():
            moves += its_moves
            changed_originals.append(original)
        changed += its.settle_corrections()
    # Never one that is on its way: whoever marks it may be doing so now.
    change_deliveries(changed_originals, _OF_ORIGINAL)
    change_deliveries(changed, _OF_CORRECTION)
    return moves


class _Ledger:
    """One conversion with its corrections, in the middle of a settlement."""

    is_held = False

    def __init__(
        self, original: Delivery, corrections: list[Delivery], arrived: Collection[int], now: datetime
    ) -> None:
        self.original = original
        self.now = now
        self.has_arrived = original.pk in arrived
        self.corrections = corrections
        self.closed = [row for row in corrections if row.pk in arrived or row.status == Status.FAILED]
        self.told = self._told()
        self.settlement: Settlement = settle_order(
            self._order(), [_said(row) for row in corrections], {row.pk for row in self.closed}
        )

    def _told(self) -> Told | None:
        """Return what Microsoft counts when everything that is on its way has arrived."""
        if not self.has_arrived:
            return None
        last = self._last_sent()
        if last is None:
            return Told(self.original.value)
        return Told(None, is_retracted=True) if last.kind == Kind.RETRACT else Told(last.value)

    def _last_sent(self) -> Delivery | None:
        sent = [row for row in self.closed if row.status != Status.FAILED]
        return max(sent, key=lambda row: (row.adjustment_time, row.pk), default=None)

    def _order(self) -> Order:
        original = self.original
        gone = original.status == Status.SKIPPED and original.skip_reason != Skip.CANCELLED
        rule = ValueRule(original.value_rule)
        return Order(
            worth=original.order_value,
            currency=original.order_currency or original.currency,
            rule=rule,
            own_value=original.value,
            told=self.told,
            # Refused at last, it may have arrived before: then Microsoft counts it.
            will_be_sent=not gone and (self.has_arrived or original.status != Status.FAILED),
        )

    def settle_original(self) -> list[Move]:
        """Change the conversion itself where Microsoft has surely not seen it."""
        original, wanted = self.original, self.settlement.wanted
        is_final = original.status == Status.SKIPPED and original.skip_reason != Skip.CANCELLED
        if self.has_arrived or is_final:
            return []
        before = copy.copy(original)
        if wanted.is_retracted:
            # What it waited for stays noted, should the cancellation be taken back.
            original.status, original.skip_reason = Status.SKIPPED, Skip.CANCELLED
            original.next_attempt_at = None
        else:
            original.value = wanted.value
            original.currency = self._currency_sent()
            if original.status == Status.SKIPPED:
                self._revive()
        if (before.status, before.value) == (original.status, original.value):
            return []
        original.changed_at = self.now
        return [Move(before, before.status, None), Move(original, None, original.status)]

    def _revive(self) -> None:
        """Take a cancellation back: the conversion waits again for what it waited for."""
        original = self.original
        original.status, original.skip_reason = Status.PENDING, ""
        its_time = datetime.fromisoformat(original.conversion_time)
        clicked = original.clicked_at or its_time
        click_ready = clicked + timedelta(seconds=settings.CLICK_SETTLE_SECONDS) if original.msclkid else self.now
        time_ready = its_time + CLOCK_MARGIN if its_time > self.now else self.now
        match original.hold_reason:
            case Hold.BY_HAND | Hold.OPERATOR | Hold.GOAL_MISSING:
                original.next_attempt_at = parked_until(original, self.now)
            case Hold.CONFIRMATION:
                confirmed_by = original.created_at + original.event.site.confirm_wait
                original.next_attempt_at = max(confirmed_by, click_ready, time_ready)
            case _:
                original.next_attempt_at = max(click_ready, time_ready)
                original.hold_reason = Hold.CLICK_SETTLING if click_ready > time_ready else ""

    def settle_corrections(self) -> list[Delivery]:
        """Give every open correction its fate; return those that changed."""
        changed = []
        # A person holds back what a newer total would include.
        self.is_held = any(row.hold_reason == Hold.BY_HAND for row in self.corrections if row.status in WAITING)
        for row in self.corrections:
            if row.pk in self.settlement.skips:
                changed += self._set_aside(row, self.settlement.skips[row.pk])
            elif row.pk == self.settlement.carrier:
                changed += self._send(row)
        return changed

    def _set_aside(self, row: Delivery, reason: Skip) -> list[Delivery]:
        if (row.status, row.skip_reason) == (Status.SKIPPED, reason):
            return []
        row.status, row.skip_reason = Status.SKIPPED, reason
        row.hold_reason, row.next_attempt_at = "", None
        self._describe(row)
        return [row]

    def _send(self, row: Delivery) -> list[Delivery]:
        original = self.original
        if original.expires_at is not None and original.expires_at <= self.now:
            return self._set_aside(row, Skip.TOO_OLD)
        row.status, row.skip_reason = (Status.RETRYING if row.attempts else Status.PENDING), ""
        self._describe(row)
        row.expires_at = original.expires_at
        row.adjustment_time = utc_second(self._adjustment_time(row))
        if self.is_held:
            row.hold_reason, row.next_attempt_at = Hold.BY_HAND, parked_until(original, self.now)
            return [row]
        if row.hold_reason == Hold.OPERATOR:
            return [row]  # whoever looks at it lets it go
        at = self._earliest(row)
        if at is None:
            row.hold_reason, row.next_attempt_at = Hold.ORIGINAL_PENDING, parked_until(original, self.now)
        else:
            row.hold_reason = Hold.ORIGINAL_PENDING if at > self.now else ""
            row.next_attempt_at = at
        return [row]

    def _describe(self, row: Delivery) -> None:
        """Say in the row what it would tell Microsoft, under the key that the conversion was sent with."""
        original, wanted = self.original, self.settlement.wanted
        row.kind = Kind.RETRACT if wanted.is_retracted else Kind.RESTATE
        row.goal_id, row.goal_name = original.goal_id, original.goal_name
        row.conversion_time, row.msclkid = original.conversion_time, original.msclkid
        row.email_sha256, row.phone_sha256 = original.email_sha256, original.phone_sha256
        row.value, row.currency = wanted.value, self._currency_sent()
        row.changed_at = self.now

    def _currency_sent(self) -> str:
        follows_order = self.original.value_rule == ValueRule.EVENT
        return self.settlement.currency if follows_order else self.original.currency

    def _adjustment_time(self, row: Delivery) -> datetime:
        """Return when it happened, moved behind the conversion and behind the last correction (5620)."""
        at = max(row.correction.occurred_at, datetime.fromisoformat(self.original.conversion_time))
        last = self._last_sent()
        return at if last is None else max(at, datetime.fromisoformat(last.adjustment_time) + _SECOND)

    def _earliest(self, row: Delivery) -> datetime | None:
        """Return when it may be sent; None while that is not known, the conversion not being delivered."""
        original = self.original
        if original.status not in (Status.DELIVERED, Status.FAILED):
            return None
        processed = (original.delivered_at or original.changed_at) + timedelta(
            seconds=settings.ADJUSTMENT_SETTLE_SECONDS
        )
        its_time = datetime.fromisoformat(row.adjustment_time)
        time_ready = its_time + SAME_MOMENT if its_time > self.now else self.now  # never before it, which is 5622
        return max(processed, time_ready)


def _said(row: Delivery) -> Line:
    line = row.correction
    return Line(row.pk, Said(line.said), line.value, line.currency, line.occurred_at)


def parked_until(original: Delivery, now: datetime) -> datetime:
    """Return the last moment before a conversion's time is up: what waits for it longer is of no use."""
    return max(now, (original.expires_at or now) - CLOCK_MARGIN)


@transaction.atomic
def release(now: datetime) -> int:
    """Let corrections go whose conversion was delivered, or will never be; return how many conversions were settled."""
    parked = Delivery.objects.filter(
        hold_reason=Hold.ORIGINAL_PENDING,
        status__in=WAITING,
        original__status__in=(Status.DELIVERED, Status.FAILED, Status.SKIPPED),
        next_attempt_at=F("expires_at") - CLOCK_MARGIN,
    )
    ready = set(parked.values_list("original_id", flat=True)[:RELEASED_AT_ONCE])
    record_moves(settle(ready, now), now)
    return len(ready)


def record_adjusted(rows: Collection[UploadRow], now: datetime) -> list[Move]:
    """Note on the conversions what Microsoft counts for them now; return what moves in the counts."""
    originals = {row.pk: row for row in Delivery.objects.filter(pk__in=among([r.original_id or 0 for r in rows]))}
    moves = []
    for row in rows:
        original = originals[row.original_id or 0]
        before = copy.copy(original)
        if row.kind == Kind.RETRACT:
            original.retracted_at = now
        else:
            original.restated_value = row.value
            original.currency = original.currency or row.currency
        original.changed_at = now
        moves += [Move(before, before.status, None), Move(original, None, original.status)]
    change_deliveries(originals.values(), ("restated_value", "retracted_at", "currency", "changed_at"))
    return moves
