"""Events of one order meet in one conversion: the backend's value wins, the better click counts, hashes fill in. Pure.

Which value and which click come out does not depend on which event arrived first, as long as nothing was sent.
"""

from datetime import UTC, datetime

from forwarding.models import ClickSource, Delivery, Hold, Skip, Status
from forwarding.planning.conversions import Settle, wait
from ingest.models import Source
from integrations.microsoft_ads.errors import CLICK_REFUSED
from integrations.models import ValueRule

# Whose word on an order's value counts more.
_WORD = {Source.TEST: 0, Source.BROWSER: 1, Source.IMPORT: 2, Source.SERVER: 2}

_NEVER = datetime.min.replace(tzinfo=UTC)


def outranks(source: str, other: str) -> bool:
    """Say whether the value that comes from a source replaces the one from another."""
    return _WORD[Source(source)] > _WORD[Source(other)]


def merge(standing: Delivery, other: Delivery, now: datetime, waits: Settle) -> bool:
    """Let another event's draft add to the conversion that stands for their order; return whether it changed.

    Both are of one account, goal and order, and Microsoft has nothing of them. An event whose visitor was not asked
    for consent adds its word on the order and no identifier.
    """
    if standing.skip_reason == Skip.CALLED_OFF:
        return False
    if standing.status == Status.FAILED and not _lends_another_click(standing, other):
        return False
    changed = _take_value(standing, other)
    if other.skip_reason != Skip.NO_CONSENT:
        changed |= _take_click(standing, other)
        changed |= _take_hashes(standing, other)
    if _is_waited_for(standing, other):
        standing.status, standing.skip_reason = Status.PENDING, ""
        standing.error_code, standing.error_symbol, standing.error_message = None, "", ""
        wait(standing, now, waits)
        return True
    if changed:
        _wait_longer(standing, now, waits)
    return changed


def _lends_another_click(standing: Delivery, other: Delivery) -> bool:
    """Say whether a conversion was refused for its click, and the other event has another one."""
    is_another = bool(other.msclkid) and other.msclkid.lower() != standing.msclkid.lower()
    return standing.error_code in CLICK_REFUSED and is_another and other.skip_reason != Skip.NO_CONSENT


def _is_waited_for(standing: Delivery, other: Delivery) -> bool:
    """Say whether the other event lets go what waits for it, or brings back what Microsoft or we had given up."""
    if standing.status == Status.FAILED:
        return True
    is_unconfirmed = standing.hold_reason == Hold.CONFIRMATION or standing.skip_reason == Skip.UNCONFIRMED
    return is_unconfirmed and other.order_source != Source.BROWSER


def _take_value(standing: Delivery, other: Delivery) -> bool:
    if other.order_value is None:
        return False
    if standing.order_value is not None and not outranks(other.order_source, standing.order_source):
        return False
    is_news = (standing.order_value, standing.order_source) != (other.order_value, other.order_source)
    standing.order_value, standing.order_source = other.order_value, other.order_source
    standing.order_currency = other.order_currency
    if standing.value_rule == ValueRule.EVENT:
        # Not what the other event would have been sent with: its event may have been mapped otherwise by then.
        standing.value, standing.currency = other.order_value, other.order_currency
    return is_news


def _take_click(standing: Delivery, other: Delivery) -> bool:
    if standing.status != Status.FAILED and _click_rank(other, standing) <= _click_rank(standing, standing):
        return False
    standing.msclkid, standing.click_source = other.msclkid, other.click_source
    standing.clicked_at = other.clicked_at
    return True


def _click_rank(row: Delivery, standing: Delivery) -> tuple[bool, bool, bool, datetime, str]:
    """Return how good a row's click is: the event's own before a found one, then the newest moment that is known.

    None is the worst, then what was clicked after the conversion, which Microsoft would refuse (5616). The id itself
    decides last, so that arrival never does.
    """
    clicked_at = row.clicked_at or _NEVER
    is_in_time = clicked_at <= datetime.fromisoformat(standing.conversion_time)
    return bool(row.msclkid), is_in_time, row.click_source == ClickSource.EVENT, clicked_at, row.msclkid.lower()


def _take_hashes(standing: Delivery, other: Delivery) -> bool:
    changed = False
    for name in ("email_sha256", "phone_sha256"):
        if getattr(other, name) and not getattr(standing, name):
            setattr(standing, name, getattr(other, name))
            changed = True
    return changed


def _wait_longer(standing: Delivery, now: datetime, waits: Settle) -> None:
    """Wait while Microsoft would lose the click; a longer wait stays, and so does what ends by the backend's word."""
    at, hold = standing.next_attempt_at, standing.hold_reason
    if at is None or hold == Hold.CONFIRMATION:
        return
    wait(standing, now, waits)
    if standing.next_attempt_at is not None and standing.next_attempt_at <= max(at, now):
        standing.next_attempt_at, standing.hold_reason = at, hold
