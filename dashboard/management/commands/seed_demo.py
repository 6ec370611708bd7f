from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from dashboard.demo.seeding import seed


class Command(BaseCommand):
    """One step of `make demo`; the emulator must be running."""

    help = "Make the demo's owner and sites, and connect one of them to the local Microsoft."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--owner", required=True)
        parser.add_argument("--password", required=True)

    def handle(self, *, owner: str, password: str, **_options: Any) -> None:
        if not settings.DEMO:
            raise CommandError("This makes a user with a published password. It runs in the demo only (DEMO=True).")
        site = seed(owner, password, timezone.now())
        self.stdout.write(f"{site.name} is ready: {site.write_key}")
