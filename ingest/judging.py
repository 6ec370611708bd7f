"""What becomes of an adjustment by what was said of its order before. Pure: rows and facts in, verdicts out."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ingest.known_orders import KnownOrders
from ingest.models import AdjustmentType
from ingest.parsing import AdjustmentRow


class Outcome(enum.Enum):
    """What became of a row."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"


@dataclass(frozen=True)
class Refusal:
    """Why a row that can be read is not stored: the member at fault, a code of `ingest/refusals.py`, and its hint."""

    member: str
    code: str
    hint: str = ""


def judge(rows: Sequence[AdjustmentRow], known: KnownOrders) -> list[Refusal | Outcome | None]:
    """Return why each row is not stored; None leaves it to the unique constraint. The rows count in their order.

    A row whose id was taken before, by a stored one or by one above it, is a repeat or a contradiction of that one:
    nothing else is asked of it.
    """
    taken, retracted = set(known.adjustment_ids), set(known.retracted)
    refunded_since = dict(known.refunded_since)
    verdicts: list[Refusal | Outcome | None] = []
    for row in rows:
        order = known.order_of(row)
        is_new = row.adjustment_id not in taken
        verdict = None
        if is_new:
            verdict = _judge(row, order in retracted, refunded_since.get(order), known.currencies.get(order))
        if is_new and verdict is None:
            taken.add(row.adjustment_id)
            if row.type == AdjustmentType.RETRACT:
                retracted.add(order)
            else:
                # Of another total than its events' something may be left.
                refunded_since.pop(order, None)
        verdicts.append(verdict)
    return verdicts


def _judge(
    row: AdjustmentRow, is_retracted: bool, refunded_since: datetime | None, currencies: set[str] | None
) -> Refusal | Outcome | None:
    """Judge a new row. A retraction after refunds is no repeat: it counts where refunds are not mapped, too."""
    is_refunded = refunded_since is not None and refunded_since <= row.occurred_at
    if row.type == AdjustmentType.RETRACT:
        return Outcome.DUPLICATE if is_retracted else None
    if is_retracted or is_refunded:
        return Refusal("type", "already_retracted")
    if row.value is not None and currencies and row.currency not in currencies:
        return Refusal("currency", "currency_differs", f"{' or '.join(sorted(currencies))}, not {row.currency}")
    return None
