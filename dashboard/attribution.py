"""What Microsoft attributed of what it accepted, and the match rate: one rule, which every page reads. Pure.

Its report is of a goal's uploads by the day of the upload. It counts corrections and repeats beside conversions, so it
is held against what was accepted: a day has never more attributed than accepted, and its parts add up to that.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta

from forwarding.models import Attribution
from forwarding.unattributed import SETTLES_WITHIN, Gap, Reason, added_up

# What Microsoft's report counts beside orders: corrections, and rows that were sent again under their old key.
NO_ORDERS = frozenset(
    {
        "AdjustmentOriginalNotFound",
        "ConversionAlreadyRetracted",
        "DuplicateConversionKey",
        "HistoricalClickDataExpired",
    }
)
SETTLING = Reason("Still settling", "Microsoft attributes what it took within 48 hours after the day.", Gap.WAITING)
NOT_READ = Reason("Not read from Microsoft yet", "Its report is read once a day.", Gap.WAITING)
NOT_REPORTED = Reason("Not in Microsoft's report", "Microsoft took it and says nothing of it.", Gap.AT_MICROSOFT)

ATTRIBUTED = None  # beside the reasons of a day: what Microsoft attributed
Fates = Counter["Reason | None"]


@dataclass(frozen=True, slots=True)
class UploadDay:
    """What was accepted on a day, of a goal or of several, and Microsoft's word on it: `success` and `reasons`."""

    day: date
    accepted: int = 0
    success: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Match:
    """How many conversions of settled days were attributed, and of how many accepted; `until` is the newest such day.

    `attributed_so_far` of `settling` are those of later days, whose numbers still move: they count for no rate.
    """

    attributed: int = 0
    accepted: int = 0
    until: date | None = None
    attributed_so_far: int = 0
    settling: int = 0

    @property
    def unattributed(self) -> int:
        """Return how many of settled days Microsoft accepted and attributed to no ad."""
        return self.accepted - self.attributed


def added_by_day(accepted: Mapping[tuple[date, str], int], told: Iterable[Attribution]) -> dict[date, UploadDay]:
    """Return the uploads of all goals by day, of what was accepted by day and Microsoft's id of the goal.

    Of each goal no more is attributed than was accepted: what is over is corrections and repeats.
    """
    taken: Counter[date] = Counter()
    success: Counter[date] = Counter()
    reasons: defaultdict[date, Counter[str]] = defaultdict(Counter)
    for (day, _), count in accepted.items():
        taken[day] += count
    for row in told:
        success[row.day] += min(row.success, accepted.get((row.day, row.goal_id), 0))
        reasons[row.day].update(row.reasons)
    return {day: UploadDay(day, taken[day], success[day], reasons[day]) for day in {*taken, *success, *reasons}}


def settles_at(day: date) -> datetime:
    """Return the moment at which a day of UTC is settled: 48 hours after it ended."""
    return datetime.combine(day + timedelta(days=1), time.min, UTC) + SETTLES_WITHIN


def is_settled(day: date, read_at: datetime | None) -> bool:
    """Say whether a day was settled when Microsoft's report was read: its numbers do not move any more."""
    return read_at is not None and read_at >= settles_at(day)


def match_rate(days: Iterable[UploadDay], read_at: datetime | None) -> Match:
    """Return what the match rate is made of: attributed ÷ accepted, settled days only."""
    settled: list[UploadDay] = []
    later: list[UploadDay] = []
    for one in days:
        (settled if is_settled(one.day, read_at) else later).append(one)
    return Match(
        attributed=sum(_attributed(one) for one in settled),
        accepted=sum(one.accepted for one in settled),
        until=max((one.day for one in settled), default=None),
        attributed_so_far=sum(_attributed(one) for one in later),
        settling=sum(one.accepted for one in later),
    )


def matches_together(several: Iterable[Match]) -> Match:
    """Return the match of several accounts; `until` is the newest day that is settled in any of them."""
    found = list(several)
    return Match(
        attributed=sum(one.attributed for one in found),
        accepted=sum(one.accepted for one in found),
        until=max((one.until for one in found if one.until is not None), default=None),
        attributed_so_far=sum(one.attributed_so_far for one in found),
        settling=sum(one.settling for one in found),
    )


def fates(one: UploadDay, now: datetime, read_at: datetime | None) -> Fates:
    """Return how a day's uploads fared by Microsoft's word. The numbers add up to what was accepted on it."""
    found: Fates = Counter({ATTRIBUTED: _attributed(one)})
    left = one.accepted - found[ATTRIBUTED]
    for reason, count in added_up([{symbol: n for symbol, n in one.reasons.items() if symbol not in NO_ORDERS}]):
        found[reason] += min(count, left)
        left -= min(count, left)
    found[waits_for(one.day, now, read_at) or NOT_REPORTED] += left
    return found


def waits_for(day: date, now: datetime, read_at: datetime | None) -> Reason | None:
    """Return what a day's numbers wait for; None once they do not move any more."""
    if is_settled(day, read_at):
        return None
    return NOT_READ if read_at is None or now >= settles_at(day) else SETTLING


def _attributed(one: UploadDay) -> int:
    return min(one.success, one.accepted)
