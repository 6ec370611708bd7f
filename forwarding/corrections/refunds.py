"""Refund events and adjustments meet the conversions of their orders, whichever of them came first.

A refund event has one row per account from the start, which waits for its order, and one more per further conversion of
the order there. An adjustment has one row per conversion of its order, and none before there is one.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime

from django.db.models import Q, QuerySet

from forwarding.corrections.adjusting import Statement, parked_until, write_down
from forwarding.models import NO_LANE, WAITING, Correction, Delivery, Hold, Kind, Said, Skip, Status
from forwarding.rows.changing import change_deliveries
from forwarding.rows.inserting import insert_deliveries
from forwarding.rows.matching import matching, of_orders
from forwarding.times import expires_at
from ingest.models import Adjustment, AdjustmentType, Event, Source
from integrations.conditions import parse_condition
from integrations.models import AdAccount, GoalMapping

_Order = tuple[int, str]  # an account and a transaction id
_OWN_ROW = "refund:"  # begins the key of the row that a refund has in each account from the start


def store_refunds(
    refunds: Iterable[Event],
    accounts: Mapping[int, Sequence[AdAccount]],
    mappings: Mapping[tuple[int, str], GoalMapping],
    now: datetime,
) -> None:
    """Store a row and a ledger line for each refund and each account of its site, waiting for its order or skipped."""
    pairs = [(event, account) for event in refunds for account in accounts.get(event.site_id, ())]
    if not pairs:
        return
    rows, lines = [], []
    in_removed = {(account.pk, event.transaction_id) for event, account in pairs if not account.is_active}
    known = set(Delivery.objects.filter(pk__in=of_orders(in_removed)).values_list("account_id", "transaction_id"))
    for event, account in pairs:
        # A removed account may be added again; what it had before is corrected then.
        if account.is_active or (account.pk, event.transaction_id) in known:
            rows.append(_refund_row(event, account, mappings.get((account.pk, event.name)), now))
            lines.append(_refund_line(event, now))
    insert_deliveries(rows)
    for row, line in zip(rows, lines, strict=True):
        line.delivery = row
    Correction.objects.bulk_create(lines)


def _refund_row(event: Event, account: AdAccount, mapping: GoalMapping | None, now: datetime) -> Delivery:
    row = Delivery(
        account=account,
        event=event,
        kind=Kind.RETRACT if event.value is None else Kind.RESTATE,
        dedupe_key=f"{_OWN_ROW}{event.event_id}",
        transaction_id=event.transaction_id,
        goal=mapping.goal if mapping else None,
        goal_name=mapping.goal.name if mapping else "",
        is_test=event.source == Source.TEST,
        created_at=now,
        changed_at=now,
    )
    reason = _refund_skip(event, mapping, now)
    if reason is not None:
        row.status, row.skip_reason = Status.SKIPPED, reason
        return row
    row.hold_reason, row.expires_at = Hold.ORIGINAL_PENDING, expires_at(event.occurred_at)
    row.next_attempt_at = parked_until(row, now)
    return row


def _refund_skip(event: Event, mapping: GoalMapping | None, now: datetime) -> Skip | None:
    if mapping is None:
        return Skip.NOT_MAPPED
    if mapping.condition and not parse_condition(mapping.condition).matches(event):
        return Skip.FILTERED
    if event.source == Source.BROWSER:
        return Skip.PUBLIC_KEY
    if not event.transaction_id:
        return Skip.NO_ORDER
    return Skip.TOO_OLD if expires_at(event.occurred_at) <= now else None


def _refund_line(event: Event, now: datetime) -> Correction:
    return Correction(
        said=Said.REFUND,
        value=event.value,
        currency=event.currency,
        occurred_at=event.occurred_at,
        created_at=now,
    )


def attach(orders: Collection[_Order], now: datetime) -> set[int]:
    """Let the refunds of these orders correct every conversion that stands for one; return those conversions.

    A refund's own row takes the first of them, and each other one a row of its own. Which goal refunds are mapped to
    does not matter: what is taken back is the order, wherever it went.
    """
    if not orders:
        return set()
    its_rows = Delivery.objects.filter(pk__in=of_orders(orders))
    refunds = list(_that_count(its_rows).select_related("correction").order_by("pk"))
    if not refunds:
        return set()
    conversions: dict[_Order, list[Delivery]] = defaultdict(list)
    for row in its_rows.filter(kind=Kind.CONVERSION).order_by("pk"):
        conversions[row.account_id, row.transaction_id].append(row)
    loose = [row for row in refunds if row.original_id is None]
    statements = []
    for row in refunds:
        its = conversions[row.account_id, row.transaction_id]
        standing = _standing_first_delivered(its)
        if row.original_id is None and its:
            _give(row, standing, now)
        statements += [_refund_statement(row, each) for each in standing if each.pk != row.original_id]
    change_deliveries(loose, ("original", "status", "skip_reason", "hold_reason", "next_attempt_at", "changed_at"))
    write_down(statements, now)
    attached = {row.original_id for row in loose if row.original_id is not None}
    return attached | {statement.original.pk for statement in statements}


def _that_count(rows: QuerySet[Delivery]) -> QuerySet[Delivery]:
    """Leave the rows of refunds that wait for a conversion of their order, or correct one already."""
    is_waiting = Q(status__in=WAITING) | Q(skip_reason=Skip.NOT_FORWARDED)
    corrects = Q(original__isnull=False) & ~Q(skip_reason=Skip.CALLED_OFF)
    return rows.filter(is_waiting | corrects, dedupe_key__startswith=_OWN_ROW)


def _standing_first_delivered(conversions: Iterable[Delivery]) -> list[Delivery]:
    standing = [row for row in conversions if not row.dedupe_key.startswith(NO_LANE)]
    return sorted(standing, key=lambda row: row.status != Status.DELIVERED)


def _give(refund: Delivery, standing: Sequence[Delivery], now: datetime) -> None:
    """Let a refund correct the first conversion that stands for its order; where none does, there is nothing to."""
    if standing:
        refund.original = standing[0]
    else:
        refund.status, refund.skip_reason = Status.SKIPPED, Skip.NOT_FORWARDED
        refund.hold_reason, refund.next_attempt_at = "", None
    refund.changed_at = now


def _refund_statement(refund: Delivery, original: Delivery) -> Statement:
    """Say the same of another conversion of the order: it went to two goals, such as before and after a new mapping."""
    line = refund.correction
    return Statement(
        original=original,
        key=f"refund-of:{original.pk}:{refund.dedupe_key.removeprefix(_OWN_ROW)}",
        said=Said.REFUND,
        value=line.value,
        currency=line.currency,
        occurred_at=line.occurred_at,
        event_id=refund.event_id,
    )


def waiting_adjustments(events: Collection[Event]) -> list[Adjustment]:
    """Return the adjustments of these events' orders that were planned before there was anything to correct."""
    sites = {event.site_id for event in events}
    planned = Adjustment.objects.filter(site__in=sites, planned_at__isnull=False)
    if not planned.exists():
        return []
    orders = {(event.site_id, event.transaction_id) for event in events}
    ids = {(event.site_id, event.event_id) for event in events}
    # An order is also named by any other event that reported it.
    others = Event.objects.filter(
        pk__in=matching(Event, ("site_id", "transaction_id"), orders, "NOT (transaction_id = '')")
    )
    ids.update(others.values_list("site_id", "event_id"))
    by_order = matching(Adjustment, ("site_id", "transaction_id"), orders, "NOT (transaction_id = '')")
    by_event = matching(Adjustment, ("site_id", "event_id"), ids, "NOT (event_id = '')")
    return [*planned.filter(pk__in=by_order), *planned.filter(pk__in=by_event)]


def adjustment_statements(
    adjustments: Collection[Adjustment], accounts: Mapping[int, Sequence[AdAccount]]
) -> list[Statement]:
    """Return a statement for each adjustment and each conversion that stands for its order."""
    if not adjustments:
        return []
    named = {(each.site_id, each.event_id) for each in adjustments if each.event_id}
    known = Event.objects.filter(pk__in=matching(Event, ("site_id", "event_id"), named))
    events = {(event.site_id, event.event_id): event for event in known}
    by_order, by_event = _standing_conversions(adjustments, events.values(), accounts)
    statements = []
    for each in adjustments:
        event = events.get((each.site_id, each.event_id))
        order = each.transaction_id or (event.transaction_id if event else "")
        originals = by_order[each.site_id, order] if order else by_event[event.pk] if event else []
        statements += [_statement(each, original) for original in originals]
    return statements


def _standing_conversions(
    adjustments: Iterable[Adjustment], events: Iterable[Event], accounts: Mapping[int, Sequence[AdAccount]]
) -> tuple[dict[tuple[int, str], list[Delivery]], dict[int, list[Delivery]]]:
    orders = {each.transaction_id for each in adjustments} | {event.transaction_id for event in events}
    site_of = {account.pk: site_id for site_id, its in accounts.items() for account in its}
    conversions = Delivery.objects.filter(account_id__in=site_of, kind=Kind.CONVERSION).order_by("pk")
    standing = conversions.exclude(dedupe_key__startswith=NO_LANE)
    by_order: dict[tuple[int, str], list[Delivery]] = defaultdict(list)
    for row in standing.filter(transaction_id__in=orders).exclude(transaction_id=""):
        by_order[site_of[row.account_id], row.transaction_id].append(row)
    by_event: dict[int, list[Delivery]] = defaultdict(list)
    for row in standing.filter(event__in=[event.pk for event in events], transaction_id=""):
        by_event[row.event_id].append(row)
    return by_order, by_event


def _statement(adjustment: Adjustment, original: Delivery) -> Statement:
    return Statement(
        original=original,
        key=f"adj:{original.pk}:{adjustment.adjustment_id}",
        said=Said.RETRACT if adjustment.type == AdjustmentType.RETRACT else Said.RESTATE,
        value=adjustment.value,
        currency=adjustment.currency,
        occurred_at=adjustment.occurred_at,
        event_id=original.event_id,
        adjustment_id=adjustment.pk,
    )
