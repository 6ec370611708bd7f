from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from forwarding.rows.counts import rebuild


class Command(BaseCommand):
    """A repair for the roll-up that pages read."""

    help = "Count all deliveries anew into the daily counts."

    def handle(self, **_options: Any) -> None:
        self.stdout.write(f"Rebuilt {rebuild(timezone.now())} daily counts.")
