from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from convultra.encryption import why_unreadable
from forwarding.worker.cluster import run_cluster
from forwarding.worker.watchdog import Watchdog


class Command(BaseCommand):
    """The worker: django-q2's cluster under our watchdog."""

    help = "Send conversions: run the task cluster, sweep regularly, start it anew when it stops coming back."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--cluster", action="store_true", help="run the cluster alone: what the watchdog starts")

    def handle(self, *, cluster: bool, **_options: Any) -> None:
        if why := why_unreadable():
            raise CommandError(why)
        if cluster:
            run_cluster()
        else:
            Watchdog(self.stdout.write).run()
