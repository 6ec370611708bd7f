from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from forwarding.rows.counts import rebuild
from forwarding.rows.event_days import rebuild_event_days


class Command(BaseCommand):
    """A repair for the roll-ups that pages read."""

    help = "Count all deliveries and all events anew, into the sums of each day."

    def handle(self, **_options: Any) -> None:
        now = timezone.now()
        self.stdout.write(f"Rebuilt {rebuild(now)} sums of deliveries and {rebuild_event_days(now)} of events.")
