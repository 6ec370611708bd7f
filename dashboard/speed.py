"""How long a conversion takes from our door to Microsoft's yes, from the newest ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce

from django.db.models import QuerySet

from dashboard import wording
from forwarding.models import Delivery, Kind, Operation, Status, Upload

SAMPLE = 1_000
# An upload has up to a thousand rows, and one of a quiet shop a single one.
UPLOADS_LOOKED_AT = 200
# So many accounts are asked for their newest uploads; a site has a handful.
ACCOUNTS_LOOKED_AT = 20


@dataclass(frozen=True, slots=True)
class Speed:
    """Median and 95th percentile of the time from received to accepted, of `sample` conversions."""

    median: timedelta
    most: timedelta
    sample: int

    @property
    def median_in_words(self) -> str:
        """Write the time that half of them took at most."""
        return wording.duration(self.median.total_seconds())

    @property
    def most_in_words(self) -> str:
        """Write the time that 95% of them took at most."""
        return wording.duration(self.most.total_seconds())


def time_to_microsoft(account_ids: Sequence[int]) -> Speed | None:
    """Return how fast the newest SAMPLE delivered conversions were, in two queries; None while there are none.

    Tests are left out: they are sent while somebody waits.
    """
    uploads = _newest_uploads(account_ids)
    if not uploads:
        return None
    rows = (
        Delivery.objects.filter(
            last_upload_id__in=uploads, status=Status.DELIVERED, kind=Kind.CONVERSION, is_test=False
        )
        .order_by("-last_upload_id")
        .values_list("delivered_at", "event__received_at")[:SAMPLE]
    )
    return summed_up([accepted - received for accepted, received in rows if accepted])


def summed_up(durations: Sequence[timedelta]) -> Speed | None:
    """Return median and 95th percentile, each a duration that occurred; None of none."""
    if not durations:
        return None
    ranked = sorted(max(one, timedelta(0)) for one in durations)
    return Speed(ranked[(len(ranked) - 1) // 2], ranked[-(-len(ranked) * 95 // 100) - 1], len(ranked))


def _newest_uploads(account_ids: Sequence[int]) -> list[int]:
    """Return the newest uploads with accepted rows that hold SAMPLE of them: a bounded walk of an index per account."""
    if not account_ids:
        return []
    accepted = Upload.objects.filter(accepted__gt=0, operation=Operation.CONVERSIONS).order_by("-started_at")
    each = [
        Upload.objects.filter(pk__in=accepted.filter(account=pk).values("pk")[:UPLOADS_LOOKED_AT])
        for pk in account_ids[:ACCOUNTS_LOOKED_AT]
    ]
    rows = reduce(lambda one, other: one.union(other, all=True), (_columns(uploads) for uploads in each))
    chosen, total = [], 0
    for pk, count, _ in sorted(rows, key=lambda row: row[2], reverse=True):
        if total >= SAMPLE:
            break
        chosen.append(pk)
        total += count
    return chosen


def _columns(uploads: "QuerySet[Upload]") -> "QuerySet[Upload, tuple[int, int, datetime]]":
    return uploads.values_list("pk", "accepted", "started_at")
