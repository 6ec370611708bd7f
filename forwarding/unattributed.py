"""Why Microsoft attributes a conversion to no ad although it took the upload: every reason of its report, in our words.

Sources: cm/offlineconversionunattributedreason; ui reference sections 4 and 5.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

# A day is settled 48 h after it ends: until then Microsoft may still attribute what it took on it.
SETTLES_WITHIN = timedelta(hours=48)


class Gap(StrEnum):
    """What kind of difference it is, in the word that pages print."""

    EXPECTED = "Expected"
    WAITING = "Waiting"
    FIX = "Fix the cause"
    RECOVERABLE = "Recoverable"
    LOST = "Lost"
    AT_MICROSOFT = "At Microsoft"


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason's title, what it means or what to do about it, and the kind of gap it is."""

    title: str
    advice: str
    gap: Gap


_TOO_OLD = "Click is too old"
UNKNOWN = Reason("Microsoft gave no reason", "Nothing to do.", Gap.AT_MICROSOFT)
# By Microsoft's symbol.
REASONS: Mapping[str, Reason] = {
    "NoMatchingClickFound": Reason(
        "No matching click found",
        "Microsoft knows no ad click that it belongs to. Check that click IDs are caught and kept before you change"
        " bids.",
        Gap.AT_MICROSOFT,
    ),
    "OutsideGoalLookbackWindow": Reason(
        "Outside the goal's window", "Widen the goal's window in Microsoft Ads, for later clicks.", Gap.FIX
    ),
    "ClickTimestampAfterConversion": Reason(
        "Click is later than the conversion", "Check the time zone of imported orders.", Gap.FIX
    ),
    "DuplicateConversionKey": Reason("Already counted", "Microsoft counts the first of two.", Gap.EXPECTED),
    "GoalNotFoundOrInactive": Reason(
        "Goal is paused or deleted", "Turn the goal on in Microsoft Ads, or map its events to another one.", Gap.FIX
    ),
    "AccountMismatch": Reason(
        "Click was on another account", "Connect that account, or use a goal of the whole customer.", Gap.FIX
    ),
    "MissingMatchIdentifiers": Reason(
        "Nothing to match by", "It had no click ID, and its email or phone belongs to no click.", Gap.EXPECTED
    ),
    "HistoricalClickDataExpired": Reason(_TOO_OLD, "It was corrected more than 90 days after its click.", Gap.LOST),
    "ConversionTimeExceedsMaxLookback": Reason(_TOO_OLD, "Send sooner after the sale.", Gap.LOST),
    "AdjustmentOriginalNotFound": Reason(
        "Original conversion not found", "Microsoft knows no conversion that the correction is of.", Gap.AT_MICROSOFT
    ),
    "ConversionAlreadyRetracted": Reason("Already retracted", "Nothing follows a retraction.", Gap.EXPECTED),
    "ConversionTimeInFuture": UNKNOWN,
    "MalformedData": UNKNOWN,
    "Unknown": UNKNOWN,
}


def reason_of(symbol: str) -> Reason:
    """Return the words for a symbol of Microsoft's report; for one that nobody knows those of no reason."""
    return REASONS.get(symbol, UNKNOWN)


def added_up(days: Iterable[Mapping[str, int]]) -> list[tuple[Reason, int]]:
    """Add up `Attribution.reasons` of several goals and days; reasons of the same words are one. The most first."""
    sums: dict[Reason, int] = {}
    for reasons in days:
        for symbol, count in reasons.items():
            reason = reason_of(symbol)
            sums[reason] = sums.get(reason, 0) + count
    return sorted(
        ((reason, count) for reason, count in sums.items() if count), key=lambda pair: (-pair[1], pair[0].title)
    )


def last_settled_day(now: datetime) -> date:
    """Return the newest UTC day that ended 48 hours ago or more."""
    return (now - SETTLES_WITHIN).date() - timedelta(days=1)
