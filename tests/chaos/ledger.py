"""What must be true at the end, kept outside the product: every order, what was said about it, and who took it.

A plain model on purpose, and written without a look at the product's own rules: values are added up in the order in
which things happened, a refund takes away, a new total replaces, and nothing follows a retraction.
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import Enum


class Word(Enum):
    """What was said of an order after it happened."""

    REFUND = "refund"
    RESTATE = "restate"
    RETRACT = "retract"


@dataclass(frozen=True, slots=True)
class Lane:
    """An account's goal that an order of a site is booked under. `fixed` is the goal's own value, whatever was paid."""

    account_id: str
    goal: str
    currency: str
    fixed: Decimal | None = None


@dataclass(slots=True)
class Fact:
    """One thing that is sent, as often as it takes. `acked` once it was answered with a 2xx."""

    id: str
    acked: bool = False
    accepted: int = 0


@dataclass(frozen=True, slots=True)
class Correction:
    """One line of an order's ledger; a refund without a value gives back everything."""

    fact: Fact
    word: Word
    value: Decimal | None
    at: datetime


@dataclass(slots=True)
class Order:
    """Something bought once, by one person. `identity` is the click id, or the e-mail's hash where there is no click.

    `by_browser` and `by_backend` are what each of them said that it is worth.
    """

    name: str
    lanes: tuple[Lane, ...]
    identity: str
    currency: str
    facts: list[Fact] = field(default_factory=list)
    by_browser: Decimal | None = None
    by_backend: Decimal | None = None
    corrections: list[Correction] = field(default_factory=list)

    @property
    def was_told(self) -> bool:
        """Say whether anybody ever told of the order itself, and not only of its refund."""
        return self.by_browser is not None or self.by_backend is not None

    def worth(self) -> Decimal | None:
        """Return what Microsoft should count for the order in the end; None for nothing at all."""
        total = self.by_browser if self.by_backend is None else self.by_backend
        assert total is not None, self.name
        for one in sorted(self.corrections, key=lambda line: line.at):
            if one.word is Word.RETRACT or (one.word is Word.REFUND and one.value is None):
                return None
            assert one.value is not None, self.name
            total = one.value if one.word is Word.RESTATE else total - one.value
            if total <= 0 and one.word is Word.REFUND:
                return None
        return total


@dataclass(frozen=True, slots=True)
class Expected:
    """What Microsoft's books should say of one order under one goal; a value of None counts nothing."""

    order: str
    account_id: str
    goal: str
    identity: str
    currency: str
    value: Decimal | None


class Ledger:
    """All orders of a run. Threads add to it."""

    def __init__(self) -> None:
        self._orders: list[Order] = []
        self._lock = threading.Lock()
        self.complaints: list[str] = []

    def open(self, order: Order) -> Order:
        """Keep an order, whose facts and corrections may still grow."""
        with self._lock:
            self._orders.append(order)
        return order

    @property
    def size(self) -> int:
        """How many orders there are."""
        return len(self._orders)

    def complain(self, sentence: str) -> None:
        """Note that an answer was not what it had to be."""
        with self._lock:
            self.complaints.append(sentence)

    def expected(self) -> Iterator[Expected]:
        """Yield what the books should say of every order, under every goal it is booked under."""
        for order in self._orders:
            worth = order.worth() if order.was_told else None
            for lane in order.lanes:
                value = worth if worth is None or lane.fixed is None else lane.fixed
                currency = order.currency if lane.fixed is None else lane.currency
                yield Expected(order.name, lane.account_id, lane.goal, order.identity, currency, value)

    def untold(self) -> set[str]:
        """Return the names of the orders that nobody ever told of: their refunds wait for them."""
        return {order.name for order in self._orders if not order.was_told}

    def facts(self) -> Iterator[Fact]:
        """Yield everything that was sent."""
        for order in self._orders:
            yield from order.facts
