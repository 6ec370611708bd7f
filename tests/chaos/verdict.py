"""The verdict: the ledger, our rows and Microsoft's books have to tell the same story. Pure; every violation is named.

A conversion is known by its account, goal, identity (click id, or the e-mail's hash) and time.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from tests.chaos.ledger import Expected, Fact

RESUMED_WITHIN_SECONDS = 120.0
CONVERSION = "conversion"
DELIVERED, SKIPPED = "delivered", "skipped"
TAKEN, REPEATED = ("booked", "applied"), "DuplicateConversionKey"
# Microsoft's other words for a correction that it took before: it has retracted since, or taken a newer one.
REPEATED_LATE = ("ConversionAlreadyRetracted", "Unknown")

Place = tuple[str, str, str]  # account, goal, identity
Key = tuple[str, str, str, str]  # the same and the conversion's time, as it was sent
Sum = tuple[int, Decimal]


@dataclass(frozen=True, slots=True)
class Row:
    """A delivery, as our database has it in the end."""

    pk: int
    kind: str
    status: str
    why: str
    key: Key
    order: str
    adjustment_time: str
    restated_value: Decimal | None
    is_retracted: bool
    original: int | None


@dataclass(frozen=True, slots=True)
class Booked:
    """A conversion in Microsoft's books, and what is left of it."""

    key: Key
    currency: str
    value: Decimal
    restated_value: Decimal | None
    is_retracted: bool
    at: datetime


@dataclass(frozen=True, slots=True)
class Received:
    """A row of an upload, and what Microsoft made of it. `adjustment_time` is empty for a conversion."""

    key: Key
    adjustment_time: str
    outcome: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is known at the end of a run."""

    expected: Sequence[Expected]
    facts: Sequence[Fact]
    stored: Collection[str]
    rows: Sequence[Row]
    booked: Sequence[Booked]
    received: Sequence[Received]
    planned_refusals: Collection[str]
    untold: Collection[str]


def violations(evidence: Evidence) -> Iterator[str]:
    """Yield everything that is not as it has to be, one sentence each."""
    yield from _of_facts(evidence)
    yield from _of_books(evidence)
    yield from _of_sums(evidence)
    yield from _of_rows(evidence)
    yield from _of_conversions(evidence)
    yield from _of_corrections(evidence)
    yield from _of_keys(evidence)
    yield from _of_answers(evidence)


def booked_of(row: Mapping[str, Any]) -> Booked:
    """Read a booking as the emulator's page has it."""
    identity = row["click_id"] or row["hashed_email"] or ""
    restated = row["restated_value"]
    return Booked(
        (row["account_id"], row["goal"], identity.lower(), row["conversion_time"]),
        row["currency"] or "",
        Decimal(row["effective_value"]),
        None if restated is None else Decimal(restated),
        row["retracted"],
        datetime.fromisoformat(row["received_at"]),
    )


def received_of(row: Mapping[str, Any]) -> Received:
    """Read a received row as the emulator's page has it."""
    sent = row["row"] or {}
    identity = sent.get("MicrosoftClickId") or sent.get("HashedEmailAddress") or ""
    key = (row["account_id"], sent.get("ConversionName", ""), identity.lower(), sent.get("ConversionTime", ""))
    return Received(key, sent.get("AdjustmentTime", ""), row["outcome"])


def sums_of_ledger(expected: Iterable[Expected]) -> dict[tuple[str, str, str], Sum]:
    """Return count and value by account, goal and currency, as the ledger has them."""
    return _sums((one.account_id, one.goal, one.currency, one.value) for one in expected if one.value is not None)


def sums_of_books(booked: Iterable[Booked]) -> dict[tuple[str, str, str], Sum]:
    """Return count and value by account, goal and currency, as Microsoft has them after every correction."""
    return _sums((one.key[0], one.key[1], one.currency, one.value) for one in booked if not one.is_retracted)


def resumptions(hits: Iterable[datetime], booked: Iterable[datetime], until: datetime) -> list[float]:
    """Return, for each hit, the seconds until the next booking, or until the end where none came."""
    moments = sorted(booked)
    gaps = []
    for hit in hits:
        following = next((moment for moment in moments if moment >= hit), until)
        gaps.append((following - hit).total_seconds())
    return gaps


def _sums(parts: Iterable[tuple[str, str, str, Decimal]]) -> dict[tuple[str, str, str], Sum]:
    sums: dict[tuple[str, str, str], Sum] = defaultdict(lambda: (0, Decimal(0)))
    for account, goal, currency, value in parts:
        count, total = sums[account, goal, currency]
        sums[account, goal, currency] = count + 1, total + value
    return dict(sums)


def _of_facts(evidence: Evidence) -> Iterator[str]:
    for fact in evidence.facts:
        if not fact.acked:
            yield f"never answered: {fact.id}"
        elif fact.id not in evidence.stored:
            yield f"lost: {fact.id} was answered with a 2xx and is not stored"
        if fact.accepted > 1:
            yield f"stored twice: {fact.id} was accepted {fact.accepted} times"


def _of_books(evidence: Evidence) -> Iterator[str]:
    """Compare order by order. Two orders of one click are told apart by their values only."""
    wanted: dict[Place, list[Expected]] = defaultdict(list)
    for one in evidence.expected:
        wanted[one.account_id, one.goal, one.identity].append(one)
    found: dict[Place, list[Booked]] = defaultdict(list)
    for booking in evidence.booked:
        found[_place(booking.key)].append(booking)
    for place in wanted.keys() | found.keys():
        orders = wanted.get(place, [])
        name = f"{', '.join(one.order for one in orders) or 'nobody'}, {' '.join(place)}"
        counting = [one for one in found.get(place, []) if not one.is_retracted]
        due = [one for one in orders if one.value is not None]
        if len(counting) < len(due):
            yield f"lost: {name}: {len(due)} due, {len(counting)} in the books"
        elif len(counting) > len(due):
            yield f"counted too often: {name}: {len(due)} due, {len(counting)} in the books"
        elif sorted((one.value, one.currency) for one in counting) != sorted((one.value, one.currency) for one in due):
            values = ", ".join(f"{one.value} {one.currency}" for one in counting)
            yield f"wrong value: {name}: {', '.join(f'{one.value} {one.currency}' for one in due)} due, {values} booked"


def _of_sums(evidence: Evidence) -> Iterator[str]:
    ledger, books = sums_of_ledger(evidence.expected), sums_of_books(evidence.booked)
    for key in sorted(ledger.keys() | books.keys()):
        due, there = ledger.get(key, (0, Decimal(0))), books.get(key, (0, Decimal(0)))
        if due != there:
            yield f"wrong sum: {' '.join(key)}: {due[0]} worth {due[1]} due, {there[0]} worth {there[1]} in the books"


def _of_rows(evidence: Evidence) -> Iterator[str]:
    for row in evidence.rows:
        waits_for_ever = row.kind != CONVERSION and row.original is None and row.order in evidence.untold
        if row.status not in (DELIVERED, SKIPPED) and not waits_for_ever:
            yield f"not done: {row.kind} {row.pk} of {row.order} is {row.status} ({row.why})"


def _of_conversions(evidence: Evidence) -> Iterator[str]:
    """What we call delivered is booked under the same key, and nothing else is."""
    delivered = Counter(row.key for row in evidence.rows if row.kind == CONVERSION and row.status == DELIVERED)
    booked = Counter(one.key for one in evidence.booked)
    for key in (delivered - booked) + Counter():
        yield f"called delivered and not booked: {' '.join(key)}"
    for key in (booked - delivered) + Counter():
        yield f"booked and not called delivered: {' '.join(key)}"


def _of_corrections(evidence: Evidence) -> Iterator[str]:
    """What we call delivered was applied, and a conversion's row says of it what the books say."""
    applied = {(one.key, one.adjustment_time) for one in evidence.received if one.outcome in (*TAKEN, REPEATED)}
    sent = [row for row in evidence.rows if row.kind != CONVERSION and row.status == DELIVERED]
    for row in sent:
        if (row.key, row.adjustment_time) not in applied:
            yield f"called delivered and not applied: {row.kind} {row.pk} of {row.order}"
    told = {(row.key, row.adjustment_time) for row in sent}
    for one in evidence.received:
        if one.outcome == "applied" and (one.key, one.adjustment_time) not in told:
            yield f"applied and not called delivered: {' '.join(one.key)} at {one.adjustment_time}"
    books = {one.key: one for one in evidence.booked}
    for row in evidence.rows:
        booking = books.get(row.key)
        if row.kind == CONVERSION and row.status == DELIVERED and booking is not None:
            ours, theirs = (row.restated_value, row.is_retracted), (booking.restated_value, booking.is_retracted)
            if ours != theirs and not (row.is_retracted and booking.is_retracted):
                yield f"another fate: conversion {row.pk} of {row.order} is {ours} here and {theirs} in the books"


def _of_keys(evidence: Evidence) -> Iterator[str]:
    """No order ever went out under two keys."""
    orders = Counter((one.account_id, one.goal, one.identity) for one in evidence.expected)
    times: dict[Place, set[str]] = defaultdict(set)
    for one in evidence.received:
        times[_place(one.key)].add(one.key[3])
    for place, sent in times.items():
        if len(sent) > orders[place]:
            yield f"sent under {len(sent)} keys: {' '.join(place)} at {', '.join(sorted(sent))}"


def _of_answers(evidence: Evidence) -> Iterator[str]:
    """Nothing was refused but what the run asked for, and nothing set aside but what had been taken before."""
    taken: set[tuple[Key, str]] = set()
    for one in evidence.received:
        what = (one.key, one.adjustment_time)
        if one.outcome in TAKEN or one.outcome == REPEATED:
            taken.add(what)
        elif one.outcome not in evidence.planned_refusals and not (one.outcome in REPEATED_LATE and what in taken):
            yield f"refused or set aside: {' '.join(one.key)} {one.adjustment_time}: {one.outcome}"


def _place(key: Key) -> Place:
    return key[0], key[1], key[2]
