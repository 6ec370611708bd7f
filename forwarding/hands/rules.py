"""Which deliveries a person may retry, cancel, hold, release, restate or retract, and why not the others. Pure.

Nobody can do by hand what would lose a conversion or count it twice: what may be at Microsoft is never cancelled or
renamed, what Microsoft would refuse again is not sent again, and what it would lose now is left to wait.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from django.db import models

from forwarding.errors import words_for
from forwarding.models import WAITING, Delivery, Hold, Kind, Status
from integrations.microsoft_ads.errors import WhatToDo, what_to_do
from integrations.models import ConversionGoal, ValueRule


class Action(models.TextChoices):
    """What a person may do to a delivery."""

    RETRY = "retry", "Retry"
    HOLD = "hold", "Hold"
    RELEASE = "release", "Release"
    CANCEL = "cancel", "Cancel"
    RESTATE = "restate", "Restate"
    RETRACT = "retract", "Retract"

    @property
    def done(self) -> str:
        """Return the participle: retried, held."""
        return _DONE[self]

    @property
    def corrects(self) -> bool:
        """Say whether it changes what Microsoft counts, and not when something is sent."""
        return self in (Action.RESTATE, Action.RETRACT)


_DONE = {
    Action.RETRY: "retried",
    Action.HOLD: "held",
    Action.RELEASE: "released",
    Action.CANCEL: "cancelled",
    Action.RESTATE: "restated",
    Action.RETRACT: "retracted",
}


@dataclass(frozen=True, slots=True)
class WhyNot:
    """Why an action is not done to a delivery, in words that fit one and many: "older than 90 days"."""

    because: str
    would_fail_again: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """What a delivery's own row does not say. `forwarding/hands/actions.py` reads them for many rows at once."""

    # An open upload lists it.
    is_on_its_way: bool = False
    # Microsoft has it, or may have it.
    has_arrived: bool = False
    # Where its event is mapped now.
    mapped_goal: ConversionGoal | None = None
    # The order goes to that goal already, or its click has another conversion there in the same second.
    is_place_taken: bool = False
    # The newest correction of it that is still to arrive.
    coming: Delivery | None = None


REMOVED = WhyNot("its account was removed")
ON_ITS_WAY = WhyNot("on the way to Microsoft")
PERHAPS_THERE = WhyNot("perhaps at Microsoft already")
TOO_OLD = WhyNot("older than 90 days")
TIME_AHEAD = WhyNot("its time lies ahead")
GOAL_MISSING = WhyNot("its goal is not found, or paused", would_fail_again=True)
DUE = WhyNot("due already")
PLACE_TAKEN = WhyNot("the new goal has the order, or its second, already")
NOT_HELD = WhyNot("not held by a person or for review")
HELD = WhyNot("held already")
IS_TEST = WhyNot("a test, which is sent once")
NOT_SENT = WhyNot("not sent yet, so it can be cancelled")
CORRECTION = WhyNot("a correction itself")
RETRACTED = WhyNot("retracted already")
SAME_VALUE = WhyNot("has this value already")
NO_VALUE = WhyNot("sent without a value")
FIXED_VALUE = WhyNot("its goal gets a fixed value")

_ENDED = {
    Status.DELIVERED: WhyNot("delivered already"),
    Status.FAILED: WhyNot("failed"),
    Status.SKIPPED: WhyNot("not forwarded"),
}
# What Microsoft would lose or refuse now, and what waits for somebody else's word.
_BETTER_LATER = {
    Hold.CLICK_SETTLING: WhyNot("too soon after the click"),
    Hold.GOAL_TOO_NEW: WhyNot("its goal is too new"),
    Hold.ORIGINAL_PENDING: WhyNot("waits for its conversion"),
    Hold.CONFIRMATION: WhyNot("waits for the backend to confirm it"),
    Hold.THROTTLED: WhyNot("Microsoft asked us to slow down"),
    Hold.UNAVAILABLE: WhyNot("Microsoft is not answering"),
    Hold.BY_HAND: WhyNot("held by a person"),
}


def why_not(
    action: Action, delivery: Delivery, facts: Facts, now: datetime, value: Decimal | None = None
) -> WhyNot | None:
    """Return the one reason why an action cannot be done, the first that applies; None when it can.

    `value` is the new total of a restatement, None while it is not known. Reads `delivery.account` and `goal`.
    """
    if delivery.is_test and delivery.kind == Kind.CONVERSION and not action.corrects:
        return IS_TEST
    return _RULES[action](delivery, facts, now, value)


def goal_to_send_to(delivery: Delivery, facts: Facts) -> ConversionGoal | None:
    """Return the goal that a retry goes to: the one that its event is mapped to now, when its own was the trouble."""
    is_trouble = delivery.hold_reason == Hold.GOAL_MISSING or _asks_for(delivery) == WhatToDo.GOAL
    mapped = facts.mapped_goal
    return mapped if is_trouble and mapped is not None and mapped.is_available else delivery.goal


def moves_to(delivery: Delivery, facts: Facts) -> ConversionGoal | None:
    """Return the goal under whose name a retry sends it where it was another name before; None when it stays."""
    goal = goal_to_send_to(delivery, facts) if delivery.kind == Kind.CONVERSION else None
    return None if goal is None or (goal.pk, goal.name) == (delivery.goal_id, delivery.goal_name) else goal


def value_now(delivery: Delivery, facts: Facts) -> Decimal | None:
    """Return what Microsoft counts once everything that is on its way has arrived; None for nothing or no value."""
    if delivery.retracted_at is not None:
        return None
    if facts.coming is not None:
        return facts.coming.value
    return delivery.value if delivery.restated_value is None else delivery.restated_value


def _asks_for(delivery: Delivery) -> WhatToDo | None:
    if delivery.error_code is None and not delivery.error_symbol:
        return None
    return what_to_do(delivery.error_code, delivery.error_symbol)


def _retry(delivery: Delivery, facts: Facts, now: datetime, _: Decimal | None) -> WhyNot | None:
    if delivery.status in (Status.DELIVERED, Status.SKIPPED):
        return _ENDED[Status(delivery.status)]
    if not delivery.account.is_active:
        return REMOVED
    if facts.is_on_its_way:
        return ON_ITS_WAY
    if _is_too_old(delivery, now):
        return TOO_OLD
    if delivery.status == Status.FAILED:
        asks_for = _asks_for(delivery)
        if asks_for is not None and asks_for.permanent:
            title = words_for(delivery.error_code, delivery.error_symbol).title
            return WhyNot(f"{title[0].lower()}{title[1:]}", would_fail_again=True)
    elif reason := _better_left_waiting(delivery, now):
        return reason
    return None if delivery.kind != Kind.CONVERSION else _goal_is_in_the_way(delivery, facts)


def _better_left_waiting(delivery: Delivery, now: datetime) -> WhyNot | None:
    if delivery.hold_reason != Hold.BY_HAND and delivery.next_attempt_at is not None:
        if delivery.next_attempt_at <= now:
            return DUE
        if delivery.conversion_time and datetime.fromisoformat(delivery.conversion_time).astimezone(UTC) > now:
            return TIME_AHEAD
    return _BETTER_LATER[Hold(delivery.hold_reason)] if delivery.hold_reason in _BETTER_LATER else None


def _goal_is_in_the_way(delivery: Delivery, facts: Facts) -> WhyNot | None:
    goal = goal_to_send_to(delivery, facts)
    if goal is None or not goal.is_available:
        return GOAL_MISSING
    if moves_to(delivery, facts) is None:
        return None
    if facts.has_arrived:
        return PERHAPS_THERE
    return PLACE_TAKEN if facts.is_place_taken else None


def _cancel(delivery: Delivery, facts: Facts, _now: datetime, _: Decimal | None) -> WhyNot | None:
    if delivery.status not in WAITING:
        return _ENDED[Status(delivery.status)]
    if facts.is_on_its_way:
        return ON_ITS_WAY
    return PERHAPS_THERE if facts.has_arrived else None


def _hold(delivery: Delivery, facts: Facts, _now: datetime, _: Decimal | None) -> WhyNot | None:
    if delivery.status not in WAITING:
        return _ENDED[Status(delivery.status)]
    if facts.is_on_its_way:
        return ON_ITS_WAY
    return HELD if delivery.hold_reason == Hold.BY_HAND else None


def _release(delivery: Delivery, facts: Facts, now: datetime, _: Decimal | None) -> WhyNot | None:
    if delivery.status not in WAITING:
        return _ENDED[Status(delivery.status)]
    if delivery.hold_reason not in (Hold.BY_HAND, Hold.OPERATOR):
        return NOT_HELD
    if facts.is_on_its_way:
        return ON_ITS_WAY
    return TOO_OLD if _is_too_old(delivery, now) else None


def _correct(delivery: Delivery, facts: Facts, now: datetime, _: Decimal | None) -> WhyNot | None:
    if delivery.kind != Kind.CONVERSION:
        return CORRECTION
    if delivery.status in (Status.FAILED, Status.SKIPPED):
        return _ENDED[Status(delivery.status)]
    if delivery.retracted_at is not None or (facts.coming is not None and facts.coming.kind == Kind.RETRACT):
        return RETRACTED
    if not delivery.account.is_active:
        return REMOVED
    return TOO_OLD if _is_too_old(delivery, now) else None


def _restate(delivery: Delivery, facts: Facts, now: datetime, value: Decimal | None) -> WhyNot | None:
    if reason := _correct(delivery, facts, now, value):
        return reason
    if delivery.value_rule == ValueRule.FIXED:
        return FIXED_VALUE
    if delivery.value_rule == ValueRule.NONE or not delivery.currency:
        return NO_VALUE
    return SAME_VALUE if value is not None and value == value_now(delivery, facts) else None


def _retract(delivery: Delivery, facts: Facts, now: datetime, value: Decimal | None) -> WhyNot | None:
    return _correct(delivery, facts, now, value) or (None if facts.has_arrived else NOT_SENT)


def _is_too_old(delivery: Delivery, now: datetime) -> bool:
    return delivery.expires_at is None or delivery.expires_at <= now


_Rule = Callable[[Delivery, Facts, datetime, Decimal | None], WhyNot | None]
_RULES: dict[Action, _Rule] = {
    Action.RETRY: _retry,
    Action.HOLD: _hold,
    Action.RELEASE: _release,
    Action.CANCEL: _cancel,
    Action.RESTATE: _restate,
    Action.RETRACT: _retract,
}
