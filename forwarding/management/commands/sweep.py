import logging
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from forwarding.sweeping import sweep
from forwarding.tasks import deliver, read_goals, tell, upkeep

logger = logging.getLogger(__name__)


class Command(BaseCommand):
    """What cron runs: one sweep, sending included, without the queue."""

    help = "Plan what arrived and send what is due, here and now. Safe beside running workers."

    def handle(self, **_options: Any) -> None:
        self.calls = 0
        self.broken: list[int] = []
        report = sweep(timezone.now(), self._serve, read_goals)
        upkeep()
        tell()
        self.stdout.write(
            f"Planned {report.planned} events, expired {report.expired} deliveries, "
            f"served {report.accounts} accounts with {self.calls} calls."
        )
        if self.broken:
            raise CommandError(f"{len(self.broken)} accounts could not be served; the log says why.")

    def _serve(self, account_id: int) -> None:
        """Send what an account has. One account that breaks must not keep the others waiting."""
        try:
            self.calls += deliver(account_id)
        except Exception:
            logger.exception("Account %s could not be served", account_id)
            self.broken.append(account_id)
