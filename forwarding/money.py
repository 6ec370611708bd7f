"""Money by currency: sums of different currencies are never added up."""

from collections.abc import Iterable
from decimal import Decimal

Money = dict[str, Decimal]


def add_money(sums: Money, currency: str, value: Decimal | None) -> None:
    """Add a value to its currency's sum. What has no currency had no value; a retracted one has $0.00 and is told."""
    if currency:
        sums[currency] = sums.get(currency, Decimal(0)) + (value or Decimal(0))


def added_money(several: Iterable[Money]) -> Money:
    """Return sums added up, each currency by itself."""
    total: Money = {}
    for one in several:
        for currency, value in one.items():
            add_money(total, currency, value)
    return total
