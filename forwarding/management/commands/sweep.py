from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from forwarding.sweeping import sweep
from forwarding.tasks import deliver, read_goals, upkeep


class Command(BaseCommand):
    """What cron runs: one sweep, sending included, without the queue."""

    help = "Plan what arrived and send what is due, here and now. Safe beside running workers."

    def handle(self, **_options: Any) -> None:
        calls: list[int] = []
        report = sweep(timezone.now(), lambda account_id: calls.append(deliver(account_id)), read_goals)
        upkeep()
        self.stdout.write(
            f"Planned {report.planned} events, expired {report.expired} deliveries, "
            f"served {report.accounts} accounts with {sum(calls)} calls."
        )
