from typing import Any

from django.core.management.base import BaseCommand, CommandError

from convultra.encryption import why_unreadable
from forwarding.watchdog import Watchdog


class Command(BaseCommand):
    """The worker: django-q2's cluster under our watchdog."""

    help = "Send conversions: run the task cluster, sweep regularly, start it anew when it stops coming back."

    def handle(self, **_options: Any) -> None:
        if why := why_unreadable():
            raise CommandError(why)
        Watchdog(self.stdout.write).run()
