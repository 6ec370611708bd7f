"""Events of one transaction become one conversion per account and goal: they meet here while they are planned."""

import copy
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from forwarding.corrections.adjusting import Statement
from forwarding.models import NO_LANE, Delivery, Kind, Said, Skip, Status, dedupe_key
from forwarding.planning.conversions import Settle, skipped
from forwarding.planning.merging import merge, outranks
from forwarding.rows.counts import Move
from forwarding.rows.frozen import lock_accounts, perhaps_arrived
from forwarding.rows.matching import of_orders
from ingest.models import Consent
from integrations.models import ValueRule

# What meeting another event may change in a conversion that has not been sent.
CHANGED_BY_MEETING = (
    "dedupe_key",
    "order_value",
    "order_currency",
    "order_source",
    "value",
    "currency",
    "msclkid",
    "click_source",
    "clicked_at",
    "email_sha256",
    "phone_sha256",
    "conversion_time",
    "status",
    "skip_reason",
    "hold_reason",
    "next_attempt_at",
    "expires_at",
    "error_code",
    "error_symbol",
    "error_message",
    "changed_at",
)

_Lane = tuple[int, str]  # an account and a dedupe key
_Order = tuple[int, int | None, str]  # an account, a goal and a transaction id


@dataclass
class Meeting:
    """What came of letting drafts meet.

    `new` are drafts to store, in order; `changed` stored conversions with other columns, `revalued` those that may have
    arrived and have another order value only; `statements` the backend's values that came after the browser's was
    sent; `corrected` conversions whose ledger has lines; `refunded` orders of which refunds or corrections are stored.
    """

    new: list[Delivery] = field(default_factory=list)
    changed: dict[int, Delivery] = field(default_factory=dict)
    before: dict[int, Delivery] = field(default_factory=dict)
    revalued: list[Delivery] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)
    corrected: set[int] = field(default_factory=set)
    refunded: set[tuple[int, str]] = field(default_factory=set)

    def moves(self) -> list[Move]:
        """Return how the counts of the changed conversions move."""
        return [
            move
            for pk, row in self.changed.items()
            for move in (Move(self.before[pk], self.before[pk].status, None), Move(row, None, row.status))
        ]

    def seeking_seconds(self) -> list[Delivery]:
        """Return what has to find a second: what is new, and what is known by another identifier now."""
        known_otherwise = [row for pk, row in self.changed.items() if _identity(row) != _identity(self.before[pk])]
        return [row for row in [*self.new, *known_otherwise] if row.status != Status.SKIPPED]


def meet(drafts: Sequence[Delivery], now: datetime, waits: Settle) -> Meeting:
    """Let each draft join the conversion that stands for its order, in the database or earlier among the drafts.

    Call it in a transaction that has locked the site. Two queries where no order is known yet.
    """
    stored = _stored_rows(drafts)
    on_their_way = lock_accounts({row.account_id for row in stored}) if stored else set()
    if stored:
        stored = _stored_rows(drafts)  # as they are now that nobody can claim them
    return _Host(stored, perhaps_arrived(_standing(stored), on_their_way, now), now, waits).receive(drafts)


def _stored_rows(drafts: Iterable[Delivery]) -> list[Delivery]:
    orders = [draft for draft in drafts if draft.transaction_id]
    if not orders:
        return []
    its = of_orders((draft.account_id, draft.transaction_id) for draft in orders)
    return list(Delivery.objects.filter(pk__in=its).select_related("event", "goal"))


def _standing(rows: Iterable[Delivery]) -> list[Delivery]:
    return [row for row in rows if row.kind == Kind.CONVERSION and not row.dedupe_key.startswith(NO_LANE)]


def _lane(row: Delivery) -> _Lane:
    """Return the place that a conversion takes, also of one that is not forwarded and takes none."""
    assert row.goal is not None
    return row.account_id, dedupe_key(row.goal.goal_id, row.transaction_id, row.event.event_id)


def _identity(row: Delivery) -> tuple[str, str, str]:
    return row.msclkid, row.email_sha256, row.phone_sha256


class _Host:
    """Receives the drafts of one batch, one by one."""

    def __init__(self, stored: Sequence[Delivery], arrived: set[int], now: datetime, waits: Settle) -> None:
        self.now = now
        self.waits = waits
        self.arrived = arrived
        self.standing: dict[_Lane, Delivery] = {(row.account_id, row.dedupe_key): row for row in _standing(stored)}
        self.denied = {(row.account_id, row.goal_id, row.transaction_id) for row in stored if _is_refusal(row)}
        # Said of orders that nobody could be credited with so far.
        self.uncredited: dict[_Order, list[Delivery]] = defaultdict(list)
        for row in stored:
            if _only_adds(row):
                self.uncredited[_order(row)].append(row)
        self.meeting = Meeting()
        corrections = [row for row in stored if row.kind != Kind.CONVERSION]
        self.meeting.corrected = {row.original_id for row in corrections if row.original_id}
        self.meeting.refunded = {(row.account_id, row.transaction_id) for row in corrections}

    def receive(self, drafts: Sequence[Delivery]) -> Meeting:
        for draft in drafts:
            if draft.goal is None or not draft.transaction_id:
                self.meeting.new.append(draft)
            elif draft.status == Status.SKIPPED:
                self._receive_skipped(draft)
            else:
                self._receive(draft)
        return self.meeting

    def _receive_skipped(self, draft: Delivery) -> None:
        """One refusal of consent is enough: what stands for the order is not sent either, if it was not yet."""
        if _only_adds(draft) and _lane(draft) in self.standing:
            self._join(self.standing[_lane(draft)], draft)
            return
        self.meeting.new.append(draft)
        if _only_adds(draft):
            self.uncredited[_order(draft)].append(draft)
        if not _is_refusal(draft):
            return
        self.denied.add(_order(draft))
        standing = self.standing.get(_lane(draft))
        if standing is not None and standing.pk not in self.arrived and standing.status != Status.SKIPPED:
            self._change(standing)
            skipped(standing, Skip.NO_CONSENT)
            del self.standing[_lane(draft)]

    def _receive(self, draft: Delivery) -> None:
        lane = draft.account_id, draft.dedupe_key
        standing = self.standing.get(lane)
        if _order(draft) in self.denied:
            self.meeting.new.append(skipped(draft, Skip.NO_CONSENT))
        elif standing is None:
            self.standing[lane] = draft
            self.meeting.new.append(draft)
            for other in self.uncredited[_order(draft)]:
                merge(draft, other, self.now, self.waits)
        else:
            self._join(standing, draft)

    def _join(self, standing: Delivery, draft: Delivery) -> None:
        if standing.pk in self.arrived and _corrects(draft, standing):
            self._restate(draft, standing)
            return
        if standing.pk not in self.arrived:
            self._merge(standing, draft)
        draft = skipped(draft, Skip.SAME_ORDER)
        draft.original = standing
        self.meeting.new.append(draft)

    def _merge(self, standing: Delivery, draft: Delivery) -> None:
        before = copy.copy(standing)
        if merge(standing, draft, self.now, self.waits):
            self._change(standing, before)

    def _restate(self, draft: Delivery, standing: Delivery) -> None:
        if draft.order_currency == standing.currency:
            standing.order_value, standing.order_source = draft.order_value, draft.order_source
            standing.order_currency = draft.order_currency
            self.meeting.revalued.append(standing)
        self.meeting.statements.append(
            Statement(
                original=standing,
                key=f"order:{draft.event.event_id}",
                said=Said.ORDER,
                value=draft.order_value,
                currency=draft.order_currency,
                occurred_at=draft.event.occurred_at,
                event_id=draft.event_id,
            )
        )

    def _change(self, standing: Delivery, before: Delivery | None = None) -> None:
        if standing._state.adding:
            return  # not stored yet: it is simply stored otherwise
        self.meeting.before.setdefault(standing.pk, before or copy.copy(standing))
        standing.changed_at = self.now
        self.meeting.changed[standing.pk] = standing


def _is_refusal(row: Delivery) -> bool:
    return row.skip_reason == Skip.NO_CONSENT and row.event.consent == Consent.DENIED


def _only_adds(row: Delivery) -> bool:
    """Say whether an event is none to send, but its word on the order counts: it names nobody, or asked nobody."""
    is_silent = row.skip_reason == Skip.NO_CONSENT and row.event.consent == Consent.UNKNOWN
    return is_silent or row.skip_reason == Skip.NO_IDENTIFIER


def _order(row: Delivery) -> _Order:
    return row.account_id, row.goal_id, row.transaction_id


def _corrects(draft: Delivery, standing: Delivery) -> bool:
    """Say whether a draft's value corrects what was sent: the backend's after the browser's, where that is wanted."""
    return (
        draft.account.restates_from_backend
        and standing.value_rule == ValueRule.EVENT
        and standing.status != Status.FAILED
        and draft.order_value is not None
        and standing.order_value != draft.order_value
        and outranks(draft.order_source, standing.order_source or draft.order_source)
    )
