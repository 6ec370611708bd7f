"""What ingest's own rows say of the orders that a batch of adjustments names: eleven queries, whatever its size.

Look-ups by a column that may be empty exclude the empty text, or its partial index would not serve a list of ids.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from itertools import chain
from typing import NamedTuple

from django.db.models import Exists, Max, OuterRef, QuerySet

from ingest.models import REFUND_EVENT, Adjustment, AdjustmentType, Event, Source
from ingest.parsing import AdjustmentRow


class Order(NamedTuple):
    """An order: its transaction id, or where it has none the id of the one event that reported it."""

    transaction_id: str
    event_id: str = ""


# Since when an order is gone that was given back as a whole: that takes every total with it, earlier ones too.
ALWAYS = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class KnownOrders:
    """What was stored before. Of an order that has not arrived at most its retraction is known."""

    adjustment_ids: set[str] = field(default_factory=set)
    transaction_of: Mapping[str, str] = field(default_factory=dict)  # of events that were named by their id
    currencies: Mapping[Order, set[str]] = field(default_factory=dict)  # of the events that gave the order a value
    retracted: set[Order] = field(default_factory=set)
    refunded_since: Mapping[Order, datetime] = field(default_factory=dict)  # by refunds that left nothing of it

    def order_of(self, row: AdjustmentRow) -> Order:
        """Return the order that a row is about, the same one however it is named."""
        transaction_id = row.transaction_id or self.transaction_of.get(row.event_id, "")
        return Order(transaction_id) if transaction_id else Order("", row.event_id)


def known_orders(rows: Sequence[AdjustmentRow]) -> KnownOrders:
    """Look up the orders of these rows, which are of one site."""
    adjustments = Adjustment.objects.filter(site=rows[0].site_id)
    events = Event.objects.filter(site=rows[0].site_id)
    known = adjustments.filter(adjustment_id__in={row.adjustment_id for row in rows})
    event_ids = {row.event_id for row in rows if row.event_id}
    named = events.filter(event_id__in=event_ids)
    transaction_of = dict(named.exclude(transaction_id="").values_list("event_id", "transaction_id"))
    transaction_ids = {row.transaction_id for row in rows if row.transaction_id} | set(transaction_of.values())
    of_orders = events.filter(transaction_id__in=transaction_ids).exclude(transaction_id="")
    return KnownOrders(
        set(known.values_list("adjustment_id", flat=True)),
        transaction_of,
        _currencies(of_orders, named.filter(transaction_id="")),
        _adjusted(adjustments.filter(type=AdjustmentType.RETRACT), of_orders, transaction_ids, event_ids),
        _refunded_since(of_orders, adjustments.filter(type=AdjustmentType.RESTATE)),
    )


def _currencies(of_orders: QuerySet[Event], alone: QuerySet[Event]) -> dict[Order, set[str]]:
    by_transaction = of_orders.filter(value__isnull=False).values_list("transaction_id", "currency").distinct()
    by_event = alone.filter(value__isnull=False).values_list("event_id", "currency")
    currencies: dict[Order, set[str]] = defaultdict(set)
    for transaction_id, currency in by_transaction:
        currencies[Order(transaction_id)].add(currency)
    for event_id, currency in by_event:
        currencies[Order("", event_id)].add(currency)
    return currencies


def _adjusted(
    adjustments: QuerySet[Adjustment], of_orders: QuerySet[Event], transaction_ids: set[str], event_ids: set[str]
) -> set[Order]:
    """Return the orders that were adjusted by their own id, by the event's, or by that of another of their events."""
    by_transaction = adjustments.filter(transaction_id__in=transaction_ids).exclude(transaction_id="")
    by_event = adjustments.exclude(event_id="")
    by_another = of_orders.filter(Exists(by_event.filter(event_id=OuterRef("event_id"))))
    transactions = (rows.values_list("transaction_id", flat=True) for rows in (by_transaction, by_another))
    return {Order(transaction_id) for transaction_id in chain.from_iterable(transactions)} | {
        Order("", event_id) for event_id in by_event.filter(event_id__in=event_ids).values_list("event_id", flat=True)
    }


def _refunded_since(of_orders: QuerySet[Event], restatements: QuerySet[Adjustment]) -> dict[Order, datetime]:
    """Return the orders of which the backend's refunds leave nothing, whichever of their events stands for them.

    Refunds are added up where all values of the order are in one currency and nobody said a new total of it.
    """
    refunds = of_orders.filter(name=REFUND_EVENT, source__in=(Source.SERVER, Source.IMPORT))
    given_back: dict[str, list[tuple[datetime, Decimal, str]]] = defaultdict(list)
    since: dict[Order, datetime] = {}
    for transaction_id, at, value, currency in refunds.values_list(
        "transaction_id", "occurred_at", "value", "currency"
    ):
        if value is None:
            since[Order(transaction_id)] = ALWAYS
        else:
            given_back[transaction_id].append((at, value, currency))
    if not given_back:
        return since
    its_events = of_orders.filter(transaction_id__in=given_back)
    is_restated = _adjusted(restatements, its_events, set(given_back), set())
    for transaction_id, (worth, currency) in _worths(its_events).items():
        order = Order(transaction_id)
        alike = sorted((at, value) for at, value, its in given_back[transaction_id] if its == currency)
        used_up_at = _used_up_at(worth, alike)
        if used_up_at is not None and order not in is_restated:
            since.setdefault(order, used_up_at)
    return since


def _worths(of_orders: QuerySet[Event]) -> dict[str, tuple[Decimal, str]]:
    """Return the most that an event said each order is worth, and its currency, where they agree on that."""
    valued = of_orders.filter(value__isnull=False).exclude(name=REFUND_EVENT)
    worths: dict[str, list[tuple[Decimal, str]]] = defaultdict(list)
    for transaction_id, currency, worth in valued.values_list("transaction_id", "currency").annotate(Max("value")):
        worths[transaction_id].append((worth, currency))
    return {transaction_id: its[0] for transaction_id, its in worths.items() if len(its) == 1}


def _used_up_at(worth: Decimal, refunds: Sequence[tuple[datetime, Decimal]]) -> datetime | None:
    """Return when refunds, in the order of their times, had taken all of an order; None while something is left."""
    for at, value in refunds:
        worth -= value
        if value and worth <= 0:
            return at
    return None
