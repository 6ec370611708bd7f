"""Refund events and adjustments meet the conversions of their orders, whichever of them came first.

A refund event has one row per account from the start, which waits for its order. An adjustment has one row per
conversion of its order, and none before there is one.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime

from django.db.models import Q

from forwarding.corrections.adjusting import Statement, parked_until
from forwarding.models import NO_LANE, WAITING, Correction, Delivery, Hold, Kind, Said, Skip, Status
from forwarding.rows.changing import change_deliveries
from forwarding.rows.inserting import insert_deliveries
from forwarding.rows.matching import matching, of_orders
from forwarding.times import expires_at
from ingest.models import REFUND_EVENT, Adjustment, AdjustmentType, Event, Source
from integrations.conditions import parse_condition
from integrations.models import AdAccount, GoalMapping

_Order = tuple[int, str]  # an account and a transaction id


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
        dedupe_key=f"refund:{event.event_id}",
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


def attach(orders: Collection[_Order], mappings: Mapping[tuple[int, str], GoalMapping], now: datetime) -> set[int]:
    """Give the refunds of these orders their conversions; return the conversions whose ledger has a new line."""
    if not orders:
        return set()
    its_rows = Delivery.objects.filter(pk__in=of_orders(orders))
    is_waiting = Q(status__in=WAITING) | Q(skip_reason=Skip.NOT_FORWARDED)
    loose = list(its_rows.exclude(kind=Kind.CONVERSION).filter(is_waiting, original=None))
    if not loose:
        return set()
    conversions: dict[_Order, list[Delivery]] = defaultdict(list)
    for row in its_rows.filter(kind=Kind.CONVERSION).order_by("pk"):
        conversions[row.account_id, row.transaction_id].append(row)
    mapped = _mapped_goals(mappings)
    attached = []
    for row in loose:
        its = conversions[row.account_id, row.transaction_id]
        original = _original_of(row, its, mapped[row.account_id])
        if original is not None:
            row.original = original
            attached.append(original.pk)
        elif its:
            row.status, row.skip_reason = Status.SKIPPED, Skip.NOT_FORWARDED
            row.hold_reason, row.next_attempt_at = "", None
        row.changed_at = now
    change_deliveries(loose, ("original", "status", "skip_reason", "hold_reason", "next_attempt_at", "changed_at"))
    return set(attached)


def _mapped_goals(mappings: Mapping[tuple[int, str], GoalMapping]) -> dict[int, set[int]]:
    """Return the goals that conversions go to now, per account."""
    mapped: dict[int, set[int]] = defaultdict(set)
    for (account_id, event_name), mapping in mappings.items():
        if event_name != REFUND_EVENT:
            mapped[account_id].add(mapping.goal_id)
    return mapped


def _original_of(refund: Delivery, conversions: Iterable[Delivery], mapped: Collection[int]) -> Delivery | None:
    """Return the order's conversion of the goal that refunds are mapped to, else of one that nothing is mapped to now.

    The latter went there before the mapping was changed. A conversion of another mapped goal is none of the refund's,
    whichever of them comes first.
    """
    standing = [row for row in conversions if not row.dedupe_key.startswith(NO_LANE)]
    of_its_goal = [row for row in standing if row.goal_id == refund.goal_id]
    of_old_goals = [row for row in standing if row.goal_id not in mapped]
    return next(iter([*of_its_goal, *of_old_goals]), None)


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
