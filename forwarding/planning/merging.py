"""Events of one order meet in one conversion: the backend's value wins, identifiers fill in. Pure.

What comes out does not depend on which of them arrived first, as long as nothing was sent.
"""

from datetime import datetime, timedelta

from forwarding.models import Delivery, Hold, Skip, Status
from ingest.models import Source
from integrations.models import ValueRule

# Whose word on an order's value counts more.
_WORD = {Source.TEST: 0, Source.BROWSER: 1, Source.IMPORT: 2, Source.SERVER: 2}


def outranks(source: str, other: str) -> bool:
    """Say whether the value that comes from a source replaces the one from another."""
    return _WORD[Source(source)] > _WORD[Source(other)]


def merge(standing: Delivery, other: Delivery, now: datetime, click_settle: timedelta) -> bool:
    """Let another event's draft add to the conversion that stands for their order; return whether it changed.

    Both are of one account, goal and order, and nothing of them was sent.
    """
    if standing.status == Status.FAILED or standing.skip_reason == Skip.CALLED_OFF:
        return False
    changed = _take_value(standing, other)
    changed |= _take_identifiers(standing, other)
    changed |= _take_confirmation(standing, other, now)
    if changed and standing.msclkid:
        _wait_for_click(standing, click_settle)
    return changed


def _take_value(standing: Delivery, other: Delivery) -> bool:
    if other.order_value is None:
        return False
    if standing.order_value is not None and not outranks(other.order_source, standing.order_source):
        return False
    is_news = (standing.order_value, standing.order_source) != (other.order_value, other.order_source)
    standing.order_value, standing.order_source = other.order_value, other.order_source
    standing.order_currency = other.order_currency
    if standing.value_rule == ValueRule.EVENT:
        standing.value, standing.currency = other.order_value, other.currency
    return is_news


def _take_identifiers(standing: Delivery, other: Delivery) -> bool:
    changed = False
    if other.msclkid and not standing.msclkid:
        standing.msclkid, standing.click_source = other.msclkid, other.click_source
        standing.clicked_at = other.clicked_at
        changed = True
    for name in ("email_sha256", "phone_sha256"):
        if getattr(other, name) and not getattr(standing, name):
            setattr(standing, name, getattr(other, name))
            changed = True
    return changed


def _take_confirmation(standing: Delivery, other: Delivery, now: datetime) -> bool:
    """Let a backend's event release an order that waited for it, or bring back one that had waited in vain."""
    if other.order_source == Source.BROWSER:
        return False
    if standing.skip_reason == Skip.UNCONFIRMED:
        standing.status, standing.skip_reason = Status.PENDING, ""
    elif standing.hold_reason != Hold.CONFIRMATION:
        return False
    standing.next_attempt_at, standing.hold_reason = other.next_attempt_at or now, other.hold_reason
    return True


def _wait_for_click(standing: Delivery, settle: timedelta) -> None:
    """Wait while Microsoft would lose the click; a longer wait stays."""
    ready = (standing.clicked_at or datetime.fromisoformat(standing.conversion_time)) + settle
    if standing.next_attempt_at is not None and standing.next_attempt_at < ready:
        standing.next_attempt_at, standing.hold_reason = ready, Hold.CLICK_SETTLING
