from typing import Any

from django.core.management.base import BaseCommand

from forwarding.watchdog import Watchdog


class Command(BaseCommand):
    """The worker: django-q2's cluster under our watchdog."""

    help = "Send conversions: run the task cluster, sweep regularly, start it anew when it stops coming back."

    def handle(self, **_options: Any) -> None:
        Watchdog(self.stdout.write).run()
