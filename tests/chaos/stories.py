"""What customers send: orders and everything that happens to orders. Seeded, so that a run can be told again.

A story opens an order in the ledger and returns the messages that tell of it, each with its delay in seconds.
"""

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum, auto
from typing import Any

from tests.chaos.ledger import Correction, Fact, Ledger, Order, Word
from tests.chaos.world import SHOPS, Shop

OLDEST = timedelta(days=30)
COPIES = 4  # of one event, sent at the same moment
SOON_SECONDS = 2.0  # before anything of an order was sent


class Door(Enum):
    """Where a message goes in."""

    BACKEND = auto()
    BROWSER = auto()
    ADJUSTMENTS = auto()


@dataclass(slots=True)
class Message:
    """One item of a request, sent until it is answered. `alone`: in a request of its own.

    `is_conflict` says that another body went out under its id before: it must be refused. `then` follows once it is
    taken.
    """

    shop: Shop
    door: Door
    body: dict[str, Any]
    fact: Fact
    alone: bool = False
    is_conflict: bool = False
    then: list["Sending"] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Sending:
    """A message and after how many seconds it is sent."""

    message: Message
    delay: float


class Stories:
    """Makes up orders. `now` gives aware UTC; what is said of an order afterwards comes within `later_seconds`."""

    def __init__(self, ledger: Ledger, rng: random.Random, now: Callable[[], datetime], later_seconds: float) -> None:
        self._ledger, self._rng, self._now = ledger, rng, now
        self._later_seconds = later_seconds
        self._count = 0
        self._run = f"{rng.getrandbits(32):08x}"
        plain = [(self._bought, 8), (self._repeated, 3), (self._at_once, 2), (self._contradicted, 1), (self._valued, 2)]
        plain += [(self._in_one_second, 1), (self._without_click, 2)]
        corrected = [(self._seen_twice, 3), (self._refunded_in_parts, 2), (self._refunded, 2), (self._restated, 2)]
        corrected += [(self._retracted, 2), (self._restated_and_refunded, 2), (self._refund_of_nothing, 1)]
        self._kinds = plain + corrected

    def next(self) -> list[Sending]:
        """Return the messages of one more story."""
        kinds, weights = zip(*self._kinds, strict=True)
        story: Callable[[], list[Sending]] = self._rng.choices(kinds, weights)[0]
        return story()

    # Orders that nobody corrects

    def _bought(self) -> list[Sending]:
        _, purchase = self._purchase(self._door())
        return [Sending(purchase, self._soon())]

    def _repeated(self) -> list[Sending]:
        """The same event again and again, in the same batch or another."""
        _, purchase = self._purchase(self._door())
        return [Sending(purchase, self._later()) for _ in range(self._rng.randint(2, 4))]

    def _at_once(self) -> list[Sending]:
        """The same event in several requests at the same moment."""
        _, purchase = self._purchase(Door.BACKEND)
        purchase.alone = True
        return [Sending(purchase, 0.5)] * COPIES

    def _contradicted(self) -> list[Sending]:
        """Another body under the id of an event that was taken: it must be refused, and the first must stay."""
        _, purchase = self._purchase(Door.BACKEND)
        other = Message(
            purchase.shop, Door.BACKEND, purchase.body | {"value": "0.01"}, purchase.fact, alone=True, is_conflict=True
        )
        purchase.then.append(Sending(other, self._soon()))
        return [Sending(purchase, self._soon())]

    def _valued(self) -> list[Sending]:
        """An event whose goal has a fixed value or none."""
        shop = SHOPS[0]
        name = self._rng.choice(("lead", "quote"))
        order = self._order(shop, name, self._click())
        event = self._event(order, shop, Door.BACKEND, name, self._value(), self._moment())
        order.by_backend = Decimal(event.body["value"])
        return [Sending(event, self._soon())]

    def _in_one_second(self) -> list[Sending]:
        """Two orders of one click in one second: one key at Microsoft, unless they are moved apart."""
        shop, click, at = self._shop(), self._click(), self._moment()
        sendings = []
        for _ in range(2):
            order = self._order(shop, "purchase", click)
            event = self._event(order, shop, Door.BACKEND, "purchase", self._value(), at)
            order.by_backend = Decimal(event.body["value"])
            sendings.append(Sending(event, self._soon()))
        return sendings

    def _without_click(self) -> list[Sending]:
        """An order known by an e-mail address only, for goals that take such."""
        shop = self._rng.choice([shop for shop in SHOPS if shop.enhanced])
        identity = hashlib.sha256(self._click().encode()).hexdigest()
        order = self._order(shop, "purchase", identity)
        order.lanes = shop.enhanced
        event = self._event(order, shop, Door.BACKEND, "purchase", self._value(), self._moment())
        order.by_backend = Decimal(event.body["value"])
        del event.body["msclkid"]
        event.body["user_data"] = {"email_sha256": identity}
        return [Sending(event, self._soon())]

    # Orders of which more is said

    def _seen_twice(self) -> list[Sending]:
        """One order told by the page and by the backend, which knows its value better; in any order."""
        order, by_browser = self._purchase(Door.BROWSER)
        at = datetime.fromisoformat(by_browser.body["occurred_at"])
        by_backend = self._event(order, by_browser.shop, Door.BACKEND, "purchase", self._value(), at)
        order.by_backend = Decimal(by_backend.body["value"])
        sendings = [Sending(by_browser, self._later()), Sending(by_backend, self._later())]
        if self._rng.random() < 0.3:
            least = min(Decimal(message.body["value"]) for message in (by_browser, by_backend))
            sendings.append(self._refund(order, by_browser.shop, least / 2))
        return sendings

    def _refunded_in_parts(self) -> list[Sending]:
        order, purchase = self._purchase(Door.BACKEND)
        parts = self._rng.randint(1, 3)
        share = (order.by_backend or Decimal(0)) / (parts + 1)
        return [Sending(purchase, self._soon()), *(self._refund(order, purchase.shop, share) for _ in range(parts))]

    def _refunded(self) -> list[Sending]:
        """Everything given back: in words, or to the last cent."""
        order, purchase = self._purchase(Door.BACKEND)
        value = self._rng.choice((None, order.by_backend))
        return [Sending(purchase, self._soon()), self._refund(order, purchase.shop, value)]

    def _restated(self) -> list[Sending]:
        order, purchase = self._purchase(Door.BACKEND)
        restatements = [
            self._adjustment(order, purchase.shop, Word.RESTATE, self._value()) for _ in range(self._rng.randint(1, 3))
        ]
        return [Sending(purchase, self._soon()), *restatements]

    def _retracted(self) -> list[Sending]:
        order, purchase = self._purchase(Door.BACKEND)
        retraction = self._adjustment(order, purchase.shop, Word.RETRACT, None)
        return [Sending(purchase, self._soon()), retraction, retraction]

    def _restated_and_refunded(self) -> list[Sending]:
        """A new total, and then a part of it given back."""
        order, purchase = self._purchase(Door.BACKEND)
        total = self._value()
        restatement = self._adjustment(order, purchase.shop, Word.RESTATE, total)
        least = min(total, order.by_backend or total)
        return [Sending(purchase, self._soon()), restatement, self._refund(order, purchase.shop, least / 3)]

    def _refund_of_nothing(self) -> list[Sending]:
        """A refund of an order that nobody ever told of."""
        shop = self._shop()
        order = self._order(shop, "purchase", self._click())
        return [self._refund(order, shop, self._value())]

    # Their parts

    def _shop(self) -> Shop:
        return self._rng.choice(SHOPS)

    def _door(self) -> Door:
        return self._rng.choice((Door.BACKEND, Door.BROWSER))

    def _click(self) -> str:
        return f"{self._rng.getrandbits(128):032x}"

    def _value(self) -> Decimal:
        return Decimal(self._rng.randint(500, 50_000)) / 100

    def _moment(self) -> datetime:
        ago = timedelta(minutes=2) + OLDEST * self._rng.random()
        return (self._now() - ago).replace(microsecond=0)

    def _soon(self) -> float:
        return self._rng.uniform(0, SOON_SECONDS)

    def _later(self) -> float:
        return self._rng.uniform(0, self._later_seconds)

    def _order(self, shop: Shop, event_name: str, identity: str) -> Order:
        self._count += 1
        lanes = shop.lanes[event_name]
        currency = self._rng.choice([lane.currency for lane in lanes] + ["EUR"])
        return self._ledger.open(Order(f"{self._run}-{self._count}", lanes, identity, currency or "USD"))

    def _purchase(self, door: Door) -> tuple[Order, Message]:
        """Open an order and return it with the one event that tells of it."""
        shop = self._shop()
        order = self._order(shop, "purchase", self._click())
        message = self._event(order, shop, door, "purchase", self._value(), self._moment())
        value = Decimal(message.body["value"])
        if door is Door.BROWSER:
            order.by_browser = value
        else:
            order.by_backend = value
        return order, message

    def _event(self, order: Order, shop: Shop, door: Door, name: str, value: Decimal | None, at: datetime) -> Message:
        fact = self._fact(order)
        body = {
            "name": name,
            "event_id": fact.id,
            "occurred_at": at.isoformat(),
            "transaction_id": order.name,
            "msclkid": order.identity,
        }
        if value is not None:
            body |= {"value": str(value), "currency": order.currency}
        return Message(shop, door, body, fact)

    def _fact(self, order: Order) -> Fact:
        fact = Fact(f"{order.name}-{len(order.facts)}")
        order.facts.append(fact)
        return fact

    def _said_at(self, order: Order) -> datetime:
        """Return a moment after everything that was said of the order so far, a minute ago at the latest."""
        return (self._now() - timedelta(seconds=60 - len(order.corrections))).replace(microsecond=0)

    def _refund(self, order: Order, shop: Shop, value: Decimal | None) -> Sending:
        """Tell that a sum was given back, all of it when there is none."""
        sum_ = None if value is None else value.quantize(Decimal("0.01"))
        at = self._said_at(order)
        message = self._event(order, shop, Door.BACKEND, "refund", sum_, at)
        del message.body["msclkid"]
        order.corrections.append(Correction(message.fact, Word.REFUND, sum_, at))
        return Sending(message, self._later())

    def _adjustment(self, order: Order, shop: Shop, word: Word, value: Decimal | None) -> Sending:
        fact, at = self._fact(order), self._said_at(order)
        body = {
            "adjustment_id": fact.id,
            "transaction_id": order.name,
            "type": word.value,
            "occurred_at": at.isoformat(),
        }
        if value is not None:
            body |= {"value": str(value), "currency": order.currency}
        order.corrections.append(Correction(fact, word, value, at))
        return Sending(Message(shop, Door.ADJUSTMENTS, body, fact), self._later())
