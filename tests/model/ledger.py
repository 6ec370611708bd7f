"""The test's own books: what the product accepted, and what has to come of it. They know none of the product's code.

Everything here is said again from the documents, on purpose: where the product and this page disagree, one is wrong.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal

LIFE = timedelta(days=90) - timedelta(hours=6)
CLICK_LIFE = timedelta(days=90)
NO_CLICK = "undefined"  # what a broken tag writes
REFUND = "refund"

EventKey = tuple[int, str]  # the shop's site and the event_id
OrderKey = tuple[int, str, str]  # the site and the transaction id, or the event_id of what has none
Key = tuple[int, str]  # an account and the key of an order in it


@dataclass(frozen=True)
class Fact:
    """An event as a shop reports it."""

    shop: int
    event_id: str
    name: str
    at: datetime
    source: Literal["browser", "server"]
    value: Decimal | None = None
    currency: str = ""
    order: str = ""
    click: str = ""
    email_sha256: str = ""
    consent: str = ""

    @property
    def key(self) -> EventKey:
        """What the shop knows it by."""
        return self.shop, self.event_id

    @property
    def order_key(self) -> OrderKey:
        """The order it tells of."""
        return (self.shop, self.order, "") if self.order else (self.shop, "", self.event_id)

    @property
    def has_click(self) -> bool:
        """Say whether it brought a click id that may be used."""
        return self.click not in ("", NO_CLICK) and self.consent != "denied"

    def as_json(self) -> dict[str, object]:
        """Return it as the ingest API takes it."""
        return _said(
            name=self.name,
            event_id=self.event_id,
            occurred_at=self.at.isoformat(),
            value=None if self.value is None else str(self.value),
            currency=self.currency,
            transaction_id=self.order,
            msclkid=self.click,
            user_data=self.email_sha256 and {"email_sha256": self.email_sha256},
            consent=self.consent and {"ad_storage": self.consent},
        )


@dataclass(frozen=True)
class Adjustment:
    """A correction as a shop's backend reports it: of an order, or of the one event that told of it."""

    shop: int
    adjustment_id: str
    at: datetime
    total: Decimal | None  # None: the order does not count
    currency: str = ""
    order: str = ""
    event_id: str = ""

    def as_json(self) -> dict[str, object]:
        """Return it as the ingest API takes it."""
        return _said(
            adjustment_id=self.adjustment_id,
            type="retract" if self.total is None else "restate",
            value=None if self.total is None else str(self.total),
            currency=self.currency,
            transaction_id=self.order,
            event_id=self.event_id,
            occurred_at=self.at.isoformat(),
        )


@dataclass
class Goal:
    """A goal at Microsoft, as far as it decides on a conversion."""

    goal_id: str
    is_enhanced: bool
    currency: str


@dataclass(frozen=True)
class Rule:
    """What a mapping says of an event name."""

    goal_id: str
    value: Literal["event", "none"] | Decimal = "event"
    least: Decimal | None = None  # the condition `value >= least`


@dataclass
class Account:
    """An account of a shop with its mapping."""

    pk: int
    shop: int
    currency: str
    goals: dict[str, Goal]
    rules: dict[str, Rule] = field(default_factory=dict)


@dataclass
class Shop:
    """What a shop asks for."""

    needs_consent: bool = False
    confirms: Literal["off", "wait", "require"] = "off"


@dataclass(frozen=True)
class Line:
    """One thing that was said of an order afterwards. A refund takes away, `None` everything; a total replaces."""

    said: Literal["refund", "total", "retraction"]
    value: Decimal | None
    currency: str
    at: datetime
    number: int


@dataclass(frozen=True)
class Worth:
    """What Microsoft has to count: a value, None for the goal's own, or nothing at all."""

    value: Decimal | None
    currency: str
    is_retracted: bool = False


@dataclass
class Lane:
    """An order for one goal of one account, which Microsoft counts once: whose event stands for it, and its worth."""

    account: int
    goal_id: str
    order: str
    fact: Fact
    rule: Rule
    own_currency: str
    value: Decimal | None
    currency: str
    source: str
    awaits_word: bool
    lines: list[Line] = field(default_factory=list)
    # Nothing remained of it at some moment, which is for ever once Microsoft has heard of it.
    was_retracted: bool = False
    # Another event came when it had been given up: what it is worth now depends on why.
    is_vague: bool = False

    @property
    def key(self) -> Key:
        """What the product knows it by."""
        return (
            self.account,
            f"{self.goal_id}:t:{self.order}" if self.order else f"{self.goal_id}:e:{self.fact.event_id}",
        )

    def join(self, fact: Fact) -> None:
        """Take what another event of the order knows better, while nothing was sent: the backend's value wins."""
        if fact.value is not None and (self.value is None or (fact.source, self.source) == ("server", "browser")):
            self.value, self.source, self.currency = fact.value, fact.source, fact.currency
        self.awaits_word = self.awaits_word and fact.source == "browser"

    def worth(self) -> Worth:
        """Add up what was said, in the order in which it happened."""
        total, currency = self.value, self.currency
        if not currency and isinstance(self.rule.value, Decimal):
            currency = self.own_currency
        for line in sorted(self.lines, key=lambda line: (line.at, line.number)):
            is_foreign = line.value is not None and "" not in (currency, line.currency) and currency != line.currency
            if is_foreign:
                continue
            if line.said == "retraction" or (line.said == "refund" and line.value is None):
                return Worth(None, "", is_retracted=True)
            if line.said == "total":
                total, currency = line.value, currency or line.currency
            elif line.value and total is not None:
                total -= line.value
                if total <= 0:
                    return Worth(None, "", is_retracted=True)
        if self.rule.value == "event":
            return Worth(total, currency if total is not None else "")
        return Worth(None, "") if self.rule.value == "none" else Worth(self.rule.value, self.own_currency)


@dataclass(frozen=True)
class Standing:
    """How a lane's conversion stands in the product: whether Microsoft may have it, and whether it is given up."""

    may_have_arrived: bool
    is_given_up: bool
    is_skipped: bool


@dataclass
class Refund:
    """A refund in one account: what it says, and the lanes it found so far; called off by a person, it finds none."""

    fact: Fact
    account: int
    line: Line
    lanes: list[Lane] = field(default_factory=list)
    is_called_off: bool = False


@dataclass(frozen=True)
class Fate:
    """What an event became in an account: `why` is empty where it stands for its order.

    `same_order` joined one that stands, `order` corrects one that was sent, `refund` is a correction from the start.
    What `only_adds` is not sent for itself, and lends its word to whatever stands for its order later.
    """

    why: str
    goal_id: str = ""
    only_adds: bool = False


@dataclass
class Ledger:
    """All that was accepted, and what it became."""

    accounts: dict[int, Account]
    shops: dict[int, Shop]
    facts: dict[EventKey, Fact] = field(default_factory=dict)
    adjustments: list[Adjustment] = field(default_factory=list)
    fates: dict[tuple[EventKey, int], Fate] = field(default_factory=dict)
    lanes: dict[Key, Lane] = field(default_factory=dict)
    refunds: list[Refund] = field(default_factory=list)
    _planned: int = 0
    _applied: set[tuple[str, EventKey, int]] = field(default_factory=set)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    # What comes in

    def accept(self, fact: Fact) -> None:
        """Take down an event that was answered `accepted`."""
        assert fact.key not in self.facts, f"{fact.event_id} was accepted twice"
        self.facts[fact.key] = fact

    def judge(self, adjustment: Adjustment, answer: str) -> None:
        """Check what was answered: nothing follows a retraction, and a total is in the order's currency."""
        order = self._order_of(adjustment)
        is_retracted = any(one.total is None and self._order_of(one) == order for one in self.adjustments)
        of_order = [fact for fact in self.facts.values() if fact.order_key == order]
        currencies = {fact.currency for fact in of_order if fact.value is not None}
        if answer == "duplicate" or (is_retracted and adjustment.total is None):
            assert (answer, is_retracted, adjustment.total) == ("duplicate", True, None), adjustment
        elif answer == "refused":
            is_foreign = bool(currencies) and adjustment.currency not in currencies
            is_refunded = any(fact.name == REFUND for fact in of_order)
            assert adjustment.total is not None, adjustment
            assert is_retracted or is_foreign or is_refunded, adjustment
        else:
            assert not is_retracted, f"accepted after a retraction: {adjustment}"
            self.adjustments.append(adjustment)

    def _order_of(self, adjustment: Adjustment) -> OrderKey:
        fact = self.facts.get((adjustment.shop, adjustment.event_id))
        if fact is not None:
            return fact.order_key
        return (adjustment.shop, adjustment.order, "" if adjustment.order else adjustment.event_id)

    def ask_for_word(self, shop: int, confirms: Literal["off", "wait", "require"]) -> None:
        """Let a shop ask otherwise from now on. Of what waited before nothing is claimed any more."""
        self.shops[shop].confirms = confirms
        for lane in self.lanes.values():
            lane.awaits_word = lane.awaits_word and lane.fact.shop != shop

    # What comes of it

    def plan(self, now: datetime, standing: Mapping[Key, Standing]) -> None:
        """Decide on everything that was accepted since the last time, in the order in which it came.

        `standing` says how the conversions of the lanes stand in the product.
        """
        new = list(self.facts.values())[self._planned :]
        self._planned = len(self.facts)
        for fact in new:
            for account in self.accounts.values():
                if account.shop == fact.shop and fact.name != REFUND:
                    self.fates[fact.key, account.pk] = self._fate(fact, account, now, standing)
        for fact in new:
            for account in self.accounts.values():
                if account.shop == fact.shop and fact.name == REFUND:
                    self.fates[fact.key, account.pk] = self._refund(fact, account, now)
        self._attach({(fact.shop, fact.order) for fact in new if fact.order})
        self._apply_adjustments()

    def _fate(self, fact: Fact, account: Account, now: datetime, standing: Mapping[Key, Standing]) -> Fate:
        rule = account.rules.get(fact.name)
        if rule is None:
            return Fate("not_mapped")
        why = self._reason(fact, account, rule, now)
        only_adds = bool(fact.order) and (why == "no_identifier" or (why == "no_consent" and not fact.consent))
        lane = self._lane(fact, account, rule)
        known = self.lanes.get(lane.key)
        if why == "no_consent" and fact.consent == "denied" and known is not None:
            self._deny(known, standing.get(known.key))
        if why and not (only_adds and known is not None):
            return Fate(why, rule.goal_id, only_adds)
        alike = self._fates_of_order(lane)
        if not why and any(fate.why == "no_consent" and not fate.only_adds for _, fate in alike):
            return Fate("no_consent", rule.goal_id)
        if known is not None:
            return Fate(self._join(known, fact, standing.get(known.key)), rule.goal_id)
        self.lanes[lane.key] = lane
        for other, fate in alike:
            if fate.only_adds:
                lane.join(other)
        return Fate("", rule.goal_id)

    def _reason(self, fact: Fact, account: Account, rule: Rule, now: datetime) -> str:
        if rule.least is not None and (fact.value is None or fact.value < rule.least):
            return "filtered"
        if fact.consent == "denied" or (not fact.consent and self.shops[fact.shop].needs_consent):
            return "no_consent"
        if fact.at + LIFE <= now:
            return "too_old"
        is_known = self._finds_click(fact) or (fact.email_sha256 and account.goals[rule.goal_id].is_enhanced)
        return "" if is_known else "no_identifier"

    def _finds_click(self, fact: Fact) -> bool:
        others = (other for other in self.facts.values() if fact.order and other.order_key == fact.order_key)
        return fact.has_click or any(
            other.has_click and fact.at - CLICK_LIFE <= other.at <= fact.at + timedelta(days=1) for other in others
        )

    def _lane(self, fact: Fact, account: Account, rule: Rule) -> Lane:
        own = account.goals[rule.goal_id].currency or account.currency
        return Lane(
            account=account.pk,
            goal_id=rule.goal_id,
            order=fact.order,
            fact=fact,
            rule=rule,
            own_currency=own,
            value=fact.value,
            currency=fact.currency,
            source=fact.source,
            awaits_word=self.shops[fact.shop].confirms == "require" and fact.source == "browser" and bool(fact.order),
        )

    def _fates_of_order(self, lane: Lane) -> list[tuple[Fact, Fate]]:
        """Return the other events of the lane's order that were mapped to its goal, as they came."""
        found = ((self.facts[key], fate) for (key, account), fate in self.fates.items() if account == lane.account)
        return [
            (fact, fate)
            for fact, fate in found
            if lane.order and fact.order_key == lane.fact.order_key and fate.goal_id == lane.goal_id
        ]

    def _deny(self, lane: Lane, its: Standing | None) -> None:
        """One refusal of consent is enough: what stands for the order is not sent either, if it was not yet."""
        if its is None or not (its.may_have_arrived or its.is_skipped):
            del self.lanes[lane.key]
            self.fates[lane.fact.key, lane.account] = Fate("no_consent", lane.goal_id, only_adds=not lane.fact.consent)

    def _join(self, lane: Lane, fact: Fact, its: Standing | None) -> str:
        """Let another event of an order add to the one that stands for it; `its` is None while neither is stored."""
        lane.is_vague = lane.is_vague or (its is not None and its.is_given_up)
        if its is None or not its.may_have_arrived:
            lane.join(fact)
            return "same_order"
        is_newer = fact.value not in (None, lane.value) and (fact.source, lane.source) == ("server", "browser")
        if not is_newer or its.is_given_up or lane.rule.value != "event":
            return "same_order"
        if fact.currency == lane.currency:
            lane.value, lane.source = fact.value, fact.source
        return "order"

    # Corrections

    def _refund(self, fact: Fact, account: Account, now: datetime) -> Fate:
        rule = account.rules.get(REFUND)
        if rule is None:
            return Fate("not_mapped")
        if rule.least is not None and (fact.value is None or fact.value < rule.least):
            return Fate("filtered", rule.goal_id)
        if fact.source == "browser":
            return Fate("public_key", rule.goal_id)
        if not fact.order:
            return Fate("no_order", rule.goal_id)
        if fact.at + LIFE <= now:
            return Fate("too_old", rule.goal_id)
        line = Line("refund", fact.value, fact.currency, fact.at, next(self._numbers))
        self.refunds.append(Refund(fact, account.pk, line))
        return Fate("refund", rule.goal_id)

    def _attach(self, orders: set[tuple[int, str]]) -> None:
        """Let the refunds of these orders reach every lane of theirs, once; for another lane it is said anew."""
        for refund in self.refunds:
            if refund.is_called_off or (refund.fact.shop, refund.fact.order) not in orders:
                continue
            for lane in self._lanes_of(refund.fact.order_key, refund.account):
                if not any(lane is known for known in refund.lanes):
                    lane.lines.append(replace(refund.line, number=next(self._numbers)) if refund.lanes else refund.line)
                    refund.lanes.append(lane)

    def _apply_adjustments(self) -> None:
        """Let each adjustment reach every lane of its order, once."""
        for adjustment in self.adjustments:
            for lane in self._lanes_of(self._order_of(adjustment)):
                said = (adjustment.adjustment_id, lane.fact.key, lane.account)
                if said not in self._applied:
                    self._applied.add(said)
                    self.say(lane, adjustment.total, adjustment.currency, adjustment.at)

    def call_off(self, event: EventKey, account: int) -> None:
        """Let a person call a refund off: what its order becomes later is none of its business any more."""
        for refund in self.refunds:
            if (refund.fact.key, refund.account) == (event, account):
                refund.is_called_off = True

    def say_by_hand(self, lane: Lane, total: Decimal | None, currency: str, now: datetime) -> None:
        """Write down what a person said, which is the last word."""
        self.say(lane, total, currency, max([now, *(line.at + timedelta(seconds=1) for line in lane.lines)]))

    def say(self, lane: Lane, total: Decimal | None, currency: str, at: datetime) -> None:
        """Write down a new total of a lane, or that it does not count."""
        word: Literal["total", "retraction"] = "retraction" if total is None else "total"
        lane.lines.append(Line(word, total, currency, at, next(self._numbers)))

    def _lanes_of(self, order: OrderKey, account: int | None = None) -> list[Lane]:
        found = [lane for lane in self.lanes.values() if lane.fact.order_key == order]
        return [lane for lane in found if account in (None, lane.account)]

    def move(self, lane: Lane, goal_id: str) -> None:
        """Let a lane that Microsoft surely does not have go to another goal."""
        del self.lanes[lane.key]
        lane.goal_id = goal_id
        assert lane.key not in self.lanes, f"two lanes for {lane.key}"
        self.lanes[lane.key] = lane


def _said(**members: object) -> dict[str, object]:
    return {name: value for name, value in members.items() if value not in (None, "")}
