"""What ingest's own rows say of the orders that a batch of adjustments names: seven queries, whatever its size.

Look-ups by a column that may be empty exclude the empty text, or its partial index would not serve a list of ids.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

from django.db.models import Exists, OuterRef, QuerySet

from ingest.models import Adjustment, AdjustmentType, Event
from ingest.parsing import AdjustmentRow


class Order(NamedTuple):
    """An order: its transaction id, or where it has none the id of the one event that reported it."""

    transaction_id: str
    event_id: str = ""


@dataclass(frozen=True)
class KnownOrders:
    """What was stored before. Of an order that has not arrived at most its retraction is known."""

    adjustment_ids: set[str] = field(default_factory=set)
    transaction_of: Mapping[str, str] = field(default_factory=dict)  # of events that were named by their id
    currencies: Mapping[Order, set[str]] = field(default_factory=dict)  # of the events that gave the order a value
    retracted: set[Order] = field(default_factory=set)

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
        _retracted(adjustments.filter(type=AdjustmentType.RETRACT), of_orders, transaction_ids, event_ids),
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


def _retracted(
    retractions: QuerySet[Adjustment], of_orders: QuerySet[Event], transaction_ids: set[str], event_ids: set[str]
) -> set[Order]:
    """Return the orders that were retracted by their own id, by the event's, or by that of another of their events."""
    by_transaction = retractions.filter(transaction_id__in=transaction_ids).exclude(transaction_id="")
    by_event = retractions.exclude(event_id="")
    by_another = of_orders.filter(Exists(by_event.filter(event_id=OuterRef("event_id"))))
    transactions = (rows.values_list("transaction_id", flat=True) for rows in (by_transaction, by_another))
    return {Order(transaction_id) for transaction_id in chain.from_iterable(transactions)} | {
        Order("", event_id) for event_id in by_event.filter(event_id__in=event_ids).values_list("event_id", flat=True)
    }
