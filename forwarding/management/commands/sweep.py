import logging
from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from forwarding.attributions import reports_due
from forwarding.hands import bulk
from forwarding.importing import idle_imports, work_on
from forwarding.sweeping import sweep
from forwarding.tasks import deliver, read_goals, read_report, tell, upkeep

logger = logging.getLogger(__name__)


class Command(BaseCommand):
    """What cron runs: one sweep, sending included, without the queue."""

    help = "Plan what arrived and send what is due, here and now. Safe beside running workers."

    def handle(self, **_options: Any) -> None:
        self.calls = 0
        self.broken: list[int] = []
        for import_id in idle_imports(timezone.now()):
            self._go_on(work_on, import_id)
        for job_id in bulk.idle_jobs(timezone.now()):
            self._go_on(bulk.work_on, job_id)
        report = sweep(timezone.now(), self._serve, read_goals)
        for account_id in reports_due(timezone.now()):
            self._go_on(read_report, account_id)
        upkeep()
        tell()
        self.stdout.write(
            f"Planned {report.planned} events, expired {report.expired} deliveries, "
            f"served {report.accounts} accounts with {self.calls} calls."
        )
        if self.broken:
            raise CommandError(f"{len(self.broken)} accounts could not be served; the log says why.")

    def _go_on(self, work: Callable[[int], None], key: int) -> None:
        """Do a piece of work that no conversion waits for. One that breaks must not keep what follows from its turn."""
        try:
            work(key)
        except Exception:
            logger.exception("%s %s could not be gone on with", work.__module__, key)

    def _serve(self, account_id: int) -> None:
        """Send what an account has. One account that breaks must not keep the others waiting."""
        try:
            self.calls += deliver(account_id)
        except Exception:
            logger.exception("Account %s could not be served", account_id)
            self.broken.append(account_id)
