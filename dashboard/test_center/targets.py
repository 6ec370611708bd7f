"""What a test may be sent to, and which of it is offered first: what is in use, so that the proof is about it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Sum

from forwarding.models import DailyCount, Status
from ingest.models import REFUND_EVENT
from integrations.models import AdAccount, ConversionGoal, GoalMapping

# What was forwarded in this time counts as use.
USED_WITHIN = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Target:
    """A goal that a test may be sent to, for an event that is mapped to it, if any is."""

    account: AdAccount
    goal: ConversionGoal
    mapping: GoalMapping | None

    @property
    def key(self) -> str:
        """Return what stands for it in the form."""
        return f"{self.account.account_id}/{self.goal.goal_id}/{self.event_name}"

    @property
    def label(self) -> str:
        """Write the goal and its event: "Purchase · from purchase"; and that Microsoft would not take it."""
        origin = f"from {self.event_name}" if self.mapping else "not mapped"
        gone = "not found" if self.goal.gone_at else self.goal.status.lower()
        return f"{self.goal.name} · {origin}{'' if self.goal.is_available else f' · {gone}'}"

    @property
    def event_name(self) -> str:
        """Return the event that is mapped to it, "" where none is."""
        return self.mapping.event_name if self.mapping else ""


def targets_of(accounts: Sequence[AdAccount]) -> list[Target]:
    """Return what may be tested, what is mapped first: also goals that Microsoft no longer lists, while mapped."""
    mappings = GoalMapping.objects.filter(account__in=accounts, is_active=True).select_related("goal")
    mappings = mappings.exclude(event_name=REFUND_EVENT)  # a goal that it stands beside gets conversions of others
    goals = ConversionGoal.objects.filter(account__in=accounts, gone_at__isnull=True)
    by_pk = {account.pk: account for account in accounts}
    mapped = [Target(by_pk[one.account_id], one.goal, one) for one in mappings.order_by("event_name")]
    taken = {target.goal.pk for target in mapped}
    others = [Target(by_pk[goal.account_id], goal, None) for goal in goals.order_by("name") if goal.pk not in taken]
    place = {account.pk: number for number, account in enumerate(accounts)}
    return sorted([*mapped, *others], key=lambda target: (target.mapping is None, place[target.account.pk]))


def most_used(targets: Sequence[Target], now: datetime) -> Target | None:
    """Return the goal to which most was forwarded lately; of those that Microsoft takes, where it takes any."""
    takes = [target for target in targets if target.goal.is_available] or list(targets)
    counts = DailyCount.objects.filter(account__in={target.account.pk for target in takes})
    counts = counts.filter(day__gt=(now - USED_WITHIN).date()).exclude(status=Status.SKIPPED)
    sums = counts.values_list("account", "goal_name", "event_name").annotate(Sum("count"))
    used = {(account, goal, event): number for account, goal, event, number in sums}
    # The first of those that are used alike: what is mapped stands first.
    return max(takes, key=lambda one: used.get((one.account.pk, one.goal.name, one.event_name), 0), default=None)
