"""What a mapping would make of the newest events of its name, by the planner's own decision. Writes nothing."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from forwarding.models import Delivery, Skip
from forwarding.planning.click_resolution import resolve_clicks
from forwarding.planning.conversions import Settle, draft
from forwarding.rows.upload_rows import among
from ingest.models import REFUND_EVENT, Event, Source
from integrations.conditions import parse_condition
from integrations.models import AdAccount, GoalMapping

NEWEST = 100
# Of a site's events, how far back the newest of a rare name are looked for.
LOOKED_AT = 10_000


class Judged(NamedTuple):
    """An event, what would be planned for it, and why that is not sent: a skip and, of a condition, what is unmet."""

    event: Event
    delivery: Delivery
    skip: Skip | None
    unmet: str


@dataclass(frozen=True, slots=True)
class Forecast:
    """The newest events of a name as a mapping would have them, the newest first."""

    judged: Sequence[Judged]

    @property
    def forwarded(self) -> int:
        """Return how many would be forwarded."""
        return sum(one.skip is None for one in self.judged)

    @property
    def reasons(self) -> list[tuple[tuple[Skip, str], int]]:
        """Return why the others would not, and how many each; the most common first."""
        return Counter((one.skip, one.unmet) for one in self.judged if one.skip is not None).most_common()


def newest_events(account: AdAccount, names: Sequence[str]) -> dict[str, list[Event]]:
    """Return up to NEWEST events of each name, the newest first: two queries. Tests, and refunds, are left out.

    A refund corrects the conversion of its order and is planned in another way. Of busy sites the newest LOOKED_AT
    events are looked at.
    """
    # Their names are sorted out here: joined to itself, the table would be read from end to end.
    lately = Event.objects.filter(site=account.site_id).order_by("-received_at", "-pk")
    keys: dict[str, list[int]] = {name: [] for name in names}
    for pk, name, source in lately.values_list("pk", "name", "source")[:LOOKED_AT]:
        if name in keys and name != REFUND_EVENT and source != Source.TEST and len(keys[name]) < NEWEST:
            keys[name].append(pk)
    found = {
        event.pk: event for event in Event.objects.filter(pk__in=among([pk for its in keys.values() for pk in its]))
    }
    return {name: [found[pk] for pk in its if pk in found] for name, its in keys.items()}


def forecasts(
    account: AdAccount,
    events: Mapping[str, Sequence[Event]],
    *mappings: Mapping[str, GoalMapping | None],
    at: datetime | None = None,
) -> list[dict[str, Forecast]]:
    """Return, for each of several mappings by event name, what it would have made of these events when they came.

    With `at`, what it would make of them at that moment.

    Reads `account.site`; at most seven queries, whatever the number of events and mappings. Of the events of an order
    the first one is forwarded; an order that stands since before these events is not looked for.
    """
    settle = Settle.from_settings()
    clicks = resolve_clicks([event for its in events.values() for event in its], {account.site_id: account.site})

    def judged(event: Event, mapping: GoalMapping | None) -> Judged:
        planned = draft(event, account, mapping, clicks[event.pk], at or event.received_at, settle)
        skip = Skip(planned.skip_reason) if planned.skip_reason else None
        unmet = parse_condition(mapping.condition).unmet(event) if mapping and skip is Skip.FILTERED else ""
        return Judged(event, planned, skip, unmet)

    return [
        {
            name: Forecast(_each_order_once([judged(event, by_name.get(name)) for event in its]))
            for name, its in events.items()
        }
        for by_name in mappings
    ]


def _each_order_once(found: Sequence[Judged]) -> list[Judged]:
    """Let the first event of an order to come stand for it, as the planner does."""
    sent = sorted((one for one in found if one.skip is None), key=lambda one: (one.event.received_at, one.event.pk))
    first = {one.delivery.dedupe_key: one.event.pk for one in reversed(sent)}
    return [
        one._replace(skip=Skip.SAME_ORDER)
        if one.skip is None and first[one.delivery.dedupe_key] != one.event.pk
        else one
        for one in found
    ]
