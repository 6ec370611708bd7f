"""The refund ledger of one conversion: from what was said about its order to what Microsoft should be told. Pure.

Lines count in the order in which things happened, not in which they arrived, so any order of arrival ends in the same
total. Nothing counts after a retraction.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from forwarding.models import Said, Skip
from integrations.models import ValueRule


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was said: `value` is what a refund gave back (None: all of it), otherwise the new total."""

    pk: int
    said: Said
    value: Decimal | None
    currency: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Told:
    """What Microsoft counts for a conversion: a value, None for the goal's own, or nothing at all."""

    value: Decimal | None
    is_retracted: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """A conversion as its ledger needs it.

    `told` is what Microsoft counts once everything on its way has arrived; None while the conversion itself has surely
    not arrived. `will_be_sent` is false for one that failed or was called off.
    """

    worth: Decimal | None
    currency: str
    rule: ValueRule
    own_value: Decimal | None
    told: Told | None
    will_be_sent: bool = True


@dataclass(frozen=True, slots=True)
class Settlement:
    """What the ledger comes to: the value wanted, the line that carries it, and why each other open line does not."""

    wanted: Told
    currency: str
    carrier: int | None
    skips: dict[int, Skip]


def settle(order: Order, lines: Collection[Line], closed: Collection[int]) -> Settlement:
    """Decide on every line but the `closed` ones, which Microsoft has or may have, or has refused for good."""
    wanted, currency, unfit = _balance(order, lines)
    is_open = [line for line in _in_sequence(lines) if line.pk not in closed]
    fit = [line.pk for line in is_open if line.pk not in unfit]
    carrier = None
    if not order.will_be_sent:
        fate = Skip.NOT_FORWARDED
    elif order.told is None:
        fate = Skip.APPLIED
    elif order.told.is_retracted:
        fate = Skip.RETRACTED
    elif wanted == order.told:
        fate = Skip.NO_CHANGE
    else:
        fate = Skip.SUPERSEDED
        carrier = fit[-1] if fit else None
    skips = {line.pk: unfit.get(line.pk, fate) for line in is_open if line.pk != carrier}
    return Settlement(wanted, currency, carrier, skips)


def _in_sequence(lines: Iterable[Line]) -> list[Line]:
    return sorted(lines, key=lambda line: (line.at, line.pk))


def _balance(order: Order, lines: Iterable[Line]) -> tuple[Told, str, dict[int, Skip]]:
    """Return what the order is worth in the end, its currency, and the lines that change nothing with their reason."""
    total, currency = order.worth, order.currency
    unfit: dict[int, Skip] = {}
    is_retracted = False
    for line in _in_sequence(lines):
        skip = _unfit(line, currency, total, is_retracted=is_retracted)
        if skip is not None:
            unfit[line.pk] = skip
        elif line.said == Said.RETRACT or (line.said == Said.REFUND and line.value is None):
            is_retracted = True
        elif line.said == Said.RESTATE:
            total, currency = line.value, currency or line.currency
        elif line.said == Said.REFUND and line.value is not None and total is not None:
            total -= line.value
            # More was given back than paid, or all of it: nothing of the order is left to count.
            is_retracted = total <= 0
    if is_retracted:
        return Told(None, is_retracted=True), currency, unfit
    return Told(total if order.rule == ValueRule.EVENT else order.own_value), currency, unfit


def _unfit(line: Line, currency: str, total: Decimal | None, *, is_retracted: bool) -> Skip | None:
    """Return why a line cannot count; the backend's own value is the order's worth already and needs no sum."""
    if is_retracted:
        return Skip.RETRACTED
    is_foreign = bool(line.currency and currency) and line.currency != currency
    if is_foreign and line.value is not None and line.said != Said.RETRACT:
        return Skip.OTHER_CURRENCY
    if line.said == Said.REFUND and (line.value == 0 or (line.value is not None and total is None)):
        return Skip.NO_CHANGE
    return None
