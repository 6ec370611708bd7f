"""What Microsoft accepted and attributed by account, goal and day, from the roll-up and its report: two queries."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import date

from django.db.models import Sum

from dashboard.attribution import UploadDay, added_by_day
from forwarding.models import AcceptedDay, Attribution


@dataclass(slots=True)
class Uploads:
    """An account's uploads: what was accepted by day and Microsoft's id of the goal, and what its report told."""

    accepted: Counter[tuple[date, str]] = field(default_factory=Counter)
    told: list[Attribution] = field(default_factory=list)

    def by_day(self) -> Collection[UploadDay]:
        """Return the days of all goals together."""
        return added_by_day(self.accepted, self.told).values()

    def by_day_of(self, goal_ids: Collection[str]) -> Collection[UploadDay]:
        """Return the days of some goals together."""
        accepted = {(day, goal): count for (day, goal), count in self.accepted.items() if goal in goal_ids}
        return added_by_day(accepted, [row for row in self.told if row.goal_id in goal_ids]).values()


def uploads_of(account_ids: Collection[int], first: date, last: date) -> dict[int, Uploads]:
    """Return each account's uploads from the first to the last day of UTC."""
    found = {pk: Uploads() for pk in account_ids}
    rows = AcceptedDay.objects.filter(account_id__in=account_ids, day__range=(first, last), count__gt=0)
    sums = rows.values_list("account_id", "day", "goal__goal_id").annotate(number=Sum("count")).order_by()
    for account_id, day, goal_id, number in sums:
        found[account_id].accepted[day, goal_id] += number
    for row in Attribution.objects.filter(account_id__in=account_ids, day__range=(first, last)):
        found[row.account_id].told.append(row)
    return found
