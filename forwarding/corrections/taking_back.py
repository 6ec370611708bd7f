"""Test conversions that are taken back: what Microsoft has of them, or may have, is retracted by their own ledger."""

from collections.abc import Collection
from datetime import datetime

from forwarding.corrections.adjusting import correct_by_hand
from forwarding.models import Said, TestConversion
from forwarding.rows.counts import Move


def take_back(delivery_ids: Collection[int], now: datetime) -> list[Move]:
    """Retract the tests among these deliveries that whoever sent them wants taken back; return what moves.

    Call it once it is written down that they arrived, or may have. The retraction goes out like any other, when
    Microsoft has had time to process the conversion, and is tried again like any other.
    """
    tests = TestConversion.objects.filter(delivery__in=delivery_ids, retract_after=True)
    return [
        move
        for test in tests.select_related("delivery", "actor")
        if test.delivery is not None
        for move in correct_by_hand([test.delivery], Said.RETRACT, None, test.actor, now)
    ]
