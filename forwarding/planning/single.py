"""A test conversion as it is planned: like any other event of its name, for one goal of one account, and at once."""

from datetime import datetime

from forwarding.models import Delivery
from forwarding.planning.click_resolution import resolve_clicks
from forwarding.planning.conversions import Settle, draft
from forwarding.planning.free_seconds import shift_to_free_seconds
from ingest.models import Event
from integrations.models import AdAccount, ConversionGoal, GoalMapping, ValueRule


def draft_test(event: Event, account: AdAccount, goal: ConversionGoal, now: datetime) -> Delivery:
    """Return the unsaved delivery of a test; `event` may be unsaved too. Reads `account.site`.

    It waits for nothing, and stands in nobody's queue (`next_attempt_at` is empty): `claim_test` alone finds it. The
    mapping's value rule and condition are left out, as whoever sends a test says what it is worth.
    """
    mapping = GoalMapping(account=account, event_name=event.name, goal=goal, value_rule=ValueRule.EVENT)
    clicks = resolve_clicks([event], {event.site_id: account.site})
    delivery = draft(event, account, mapping, clicks[event.pk], now, Settle.from_settings())
    if not delivery.skip_reason:
        shift_to_free_seconds([delivery])
    delivery.next_attempt_at, delivery.hold_reason = None, ""
    return delivery
