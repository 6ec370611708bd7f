"""How much of what an account's mapping asks for can be matched, and how much consent holds back: the last 30 days."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime

from django.db.models import Sum

from dashboard.event_counts import LOOKED_BACK, Coverage, coverage
from forwarding.models import DailyCount, EventDay, Skip, Status
from ingest.models import REFUND_EVENT
from integrations.models import AdAccount


@dataclass(frozen=True)
class Matchable:
    """Of the mapped events that came: how many, how many with a click ID, and how many of the newest with hashes.

    Refunds are left out: nobody looks for their click. `hashed` is of the mapped event that came most often; None where
    none came.
    """

    received: int
    with_click: int
    hashed: Coverage | None

    @property
    def click_share(self) -> int:
        """Return the click coverage in whole per cent."""
        return self.with_click * 100 // self.received if self.received > 0 else 0


def matchable(account: AdAccount, mapped: Iterable[str], now: datetime) -> Matchable:
    """Return what came of the account's events of these names, in two queries however much came."""
    names = [name for name in mapped if name != REFUND_EVENT]
    days = EventDay.objects.filter(site=account.site, day__gte=_first_day(now), name__in=names)
    sums = days.aggregate(received=Sum("count", default=0), with_click=Sum("with_click", default=0))
    return Matchable(sums["received"], sums["with_click"], next(iter(coverage(account.site, names, now)), None))


def refused_consent(account: AdAccount, now: datetime) -> int:
    """Count the events that were not forwarded to the account for want of consent."""
    skipped = DailyCount.objects.filter(
        account=account, status=Status.SKIPPED, goal_name=Skip.NO_CONSENT, day__gte=_first_day(now)
    )
    return int(skipped.aggregate(number=Sum("count", default=0))["number"])


def _first_day(now: datetime) -> date:
    return (now - LOOKED_BACK).astimezone(UTC).date()
