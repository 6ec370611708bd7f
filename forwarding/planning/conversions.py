"""What one event becomes in one account: a delivery to send, or the one reason why it is not sent. Pure but for rows.

The reasons are tried in a fixed order and the first that applies is the one shown, so that the parts of every page add
up to its total.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings

from convultra.ids import ordered_uuid
from forwarding.models import NO_LANE, ClickSource, Delivery, Hold, Skip, Status, dedupe_key
from forwarding.planning.click_resolution import FoundClick
from forwarding.rows.instances import defaults_of, new_row
from forwarding.times import CLOCK_MARGIN, SAME_MOMENT, expires_at, utc_second
from ingest.models import ConfirmMode, Consent, ConsentPolicy, Event, Site, Source
from integrations.conditions import parse_condition
from integrations.models import AdAccount, ConversionGoal, GoalMapping, ValueRule

# What makes two conversions one at Microsoft: goal, second, and the identifier (api notes 4.3).
MatchKey = tuple[int, str, str, str]


_DEFAULTS = defaults_of(Delivery)


@dataclass(frozen=True, slots=True)
class Settle:
    """How long Microsoft would lose what is sent too early: after a click, and after a goal's creation."""

    click: timedelta
    goal: timedelta

    @classmethod
    def from_settings(cls) -> "Settle":
        """Return what this installation waits for."""
        return cls(timedelta(seconds=settings.CLICK_SETTLE_SECONDS), timedelta(seconds=settings.GOAL_SETTLE_SECONDS))


def has_consent(event: Event, site: Site) -> bool:
    """Say whether the event may be used for advertising: what the visitor said, else the site's policy."""
    if event.consent == Consent.UNKNOWN:
        return site.consent_policy == ConsentPolicy.ASSUME
    return event.consent == Consent.GRANTED


def skip_reason(
    event: Event, account: AdAccount, mapping: GoalMapping | None, click: FoundClick, now: datetime
) -> Skip | None:
    """Return why the event is not forwarded to the account; None when it is."""
    if mapping is None:
        return Skip.NOT_MAPPED
    if mapping.condition and not parse_condition(mapping.condition).matches(event):
        return Skip.FILTERED
    if not has_consent(event, account.site):
        return Skip.NO_CONSENT
    if expires_at(event.occurred_at) <= now:
        return Skip.TOO_OLD
    if not click.msclkid and not any(_hashes(event, account, mapping.goal)):
        return Skip.NO_IDENTIFIER
    return None


def draft(
    event: Event, account: AdAccount, mapping: GoalMapping | None, click: FoundClick, now: datetime, settle: Settle
) -> Delivery:
    """Return the unsaved delivery of an event to an account, skipped or pending."""
    reason = skip_reason(event, account, mapping, click, now)
    goal = mapping.goal if mapping else None
    delivery = new_row(Delivery, _DEFAULTS, account=account, event=event, goal=goal)
    delivery.public_id = ordered_uuid()
    delivery.transaction_id = event.transaction_id
    delivery.is_test = event.source == Source.TEST
    delivery.created_at = delivery.changed_at = now
    delivery.order_value, delivery.order_currency, delivery.order_source = event.value, event.currency, event.source
    if mapping is None or goal is None:
        delivery.value, delivery.currency = event.value, event.currency
    else:
        delivery.goal_name = goal.name
        delivery.value_rule = mapping.value_rule
        delivery.value = mapping.value_of(event)
        if delivery.value is not None:
            # A fixed value is written by whoever knows the goal, whatever currency the event came in.
            own = goal.revenue_currency or account.currency
            delivery.currency = own if mapping.value_rule == ValueRule.FIXED else event.currency or own
    delivery.msclkid, delivery.click_source, delivery.clicked_at = click.msclkid, click.source, click.clicked_at
    if reason is not None or goal is None:
        return skipped(delivery, reason or Skip.NOT_MAPPED)
    delivery.dedupe_key = dedupe_key(goal.goal_id, event.transaction_id, event.event_id)
    delivery.conversion_time = utc_second(event.occurred_at)
    delivery.email_sha256, delivery.phone_sha256 = _hashes(event, account, goal)
    delivery.expires_at = expires_at(event.occurred_at)
    if awaits_confirmation(event, account.site):
        delivery.next_attempt_at, delivery.hold_reason = now + account.site.confirm_wait, Hold.CONFIRMATION
    else:
        wait(delivery, now, settle)
    return delivery


def wait(delivery: Delivery, now: datetime, settle: Settle) -> None:
    """Let a conversion wait for its goal, its click and its time: for nothing else, whatever it waited for before."""
    assert delivery.goal is not None
    click = FoundClick(delivery.msclkid, ClickSource(delivery.click_source), delivery.clicked_at)
    at, hold = first_attempt(delivery.event, delivery.goal, click, now, settle)
    its_time = datetime.fromisoformat(delivery.conversion_time)
    if its_time > max(now, delivery.event.occurred_at):  # moved to a free second that is not over yet
        at = max(at, its_time + SAME_MOMENT)
    delivery.next_attempt_at, delivery.hold_reason = at, hold or ""


def awaits_confirmation(event: Event, site: Site) -> bool:
    """Say whether the event is an order that only a browser has reported, on a site that wants its backend's word."""
    is_on = site.confirm_mode != ConfirmMode.OFF
    return is_on and event.source == Source.BROWSER and bool(event.transaction_id)


def skipped(delivery: Delivery, reason: Skip) -> Delivery:
    """Turn a draft into a row that says why nothing is sent. It takes no order's key, so the order stays free."""
    delivery.status = Status.SKIPPED
    delivery.skip_reason = reason
    delivery.hold_reason = ""
    delivery.next_attempt_at = delivery.expires_at = None
    delivery.dedupe_key = f"{NO_LANE}{delivery.event.event_id}"
    return delivery


def first_attempt(
    event: Event, goal: ConversionGoal, click: FoundClick, now: datetime, settle: Settle
) -> tuple[datetime, Hold | None]:
    """Return when a new delivery may be sent at the earliest, and what it waits for until then.

    A click of unknown moment was before its conversion, so an hour after the conversion is late enough.
    """
    click_ready = (click.clicked_at or event.occurred_at) + settle.click if click.msclkid else now
    goal_ready = goal.settles_at(settle.goal) or now
    is_ahead = event.occurred_at > max(now, event.received_at) + SAME_MOMENT
    time_ready = event.occurred_at + CLOCK_MARGIN if is_ahead else now
    if not goal.is_available:
        return max(now, expires_at(event.occurred_at) - CLOCK_MARGIN), Hold.GOAL_MISSING
    at, hold = max(
        (now, None),
        (time_ready, None),
        (click_ready, Hold.CLICK_SETTLING),
        (goal_ready, Hold.GOAL_TOO_NEW),
        key=lambda wait: wait[0],
    )
    return at, hold


def match_key(delivery: Delivery) -> MatchKey:
    """Return what Microsoft would take for the same conversion; click ids compare without case."""
    identifier = delivery.msclkid.lower() or f"{delivery.email_sha256} {delivery.phone_sha256}"
    return delivery.account_id, delivery.goal_name, identifier, delivery.conversion_time


def shift_by_a_second(delivery: Delivery) -> None:
    """Move a conversion to the next second, because another one of the same click and goal has its own.

    Two orders of one click to one goal in one second are one key at Microsoft, and the second would be dropped
    without a word (api notes 4.3). What is sent is kept, so adjustments repeat it.
    """
    later = datetime.fromisoformat(delivery.conversion_time) + timedelta(seconds=1)
    delivery.conversion_time = utc_second(later)
    if delivery.next_attempt_at is not None:  # never sent before its time, which Microsoft would refuse (5614)
        delivery.next_attempt_at = max(delivery.next_attempt_at, later + SAME_MOMENT)


def _hashes(event: Event, account: AdAccount, goal: ConversionGoal) -> tuple[str, str]:
    """Return the hashes that go along: only where the account wants them and the goal is enhanced.

    Elsewhere Microsoft drops them, or refuses a row that has nothing else (NotEligibleForEnhancedConversions).
    """
    if not (account.enhanced_conversions and goal.is_enhanced):
        return "", ""
    return event.email_sha256, event.phone_sha256
