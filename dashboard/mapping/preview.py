"""What unsaved changes of a mapping would have made of the newest events of their names: what the preview says."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

from forwarding.errors import SKIPS
from forwarding.models import Skip
from forwarding.planning.forecast import Forecast, Judged, forecasts, newest_events
from ingest.models import REFUND_EVENT
from integrations.models import AdAccount, GoalMapping

# More changes at once are previewed in parts: each has up to a hundred events.
MOST_EVENTS = 10


@dataclass(frozen=True)
class Line:
    """An event of the preview, what would travel for it, and why it would not be forwarded ("" when it would)."""

    judged: Judged
    because: str


@dataclass(frozen=True)
class Preview:
    """What a change would have done: how many of `looked_at` events, how many under the mapping in force, and why."""

    event: str
    goal: str
    looked_at: int
    forwarded: int
    forwarded_now: int
    reasons: list[tuple[str, int]]
    lines: list[Line]

    @property
    def left_out(self) -> int:
        """Return how many would not be forwarded."""
        return self.looked_at - self.forwarded

    @property
    def is_refund(self) -> bool:
        """Say whether these are refunds, which correct the conversion of their order."""
        return self.event == REFUND_EVENT


def previews(
    account: AdAccount, tried: Mapping[str, GoalMapping | None], current: Mapping[str, GoalMapping]
) -> list[Preview]:
    """Return a preview of each changed event, MOST_EVENTS at most; eight queries, whatever their number."""
    names = list(islice(tried, MOST_EVENTS))
    then, now = forecasts(account, newest_events(account, names), tried, current)
    return [_preview(name, tried[name], then[name], now[name]) for name in names]


def why_not(skip: Skip | None, unmet: str) -> str:
    """Return why an event would not be forwarded: the part of the condition that it misses, else the reason's title."""
    return unmet or ("" if skip is None else SKIPS[skip].title)


def _preview(name: str, mapping: GoalMapping | None, then: Forecast, now: Forecast) -> Preview:
    return Preview(
        event=name,
        goal="" if mapping is None else mapping.goal.name,
        looked_at=len(then.judged),
        forwarded=then.forwarded,
        forwarded_now=now.forwarded,
        reasons=[(why_not(skip, unmet), count) for (skip, unmet), count in then.reasons],
        lines=[Line(one, why_not(one.skip, one.unmet)) for one in then.judged],
    )
