"""Joins forwarding to what it listens to."""

import time
from typing import Any

from django.apps import AppConfig
from django.db import transaction

HINT_SECONDS = 1.0


class ForwardingConfig(AppConfig):
    """Asks for a sweep when events or adjustments were stored: at most once a second and process, after the commit."""

    name = "forwarding"
    _hinted_at = 0.0

    def ready(self) -> None:
        from ingest.signals import event_accepted

        event_accepted.connect(self.on_accepted, dispatch_uid="forwarding.hint")

    def on_accepted(self, **_kwargs: Any) -> None:
        """Ring once the rows are safe. A queue that is away costs seconds, never an event: the sweep finds them."""
        if time.monotonic() - self._hinted_at < HINT_SECONDS:
            return
        self._hinted_at = time.monotonic()
        from forwarding.tasks import hint

        transaction.on_commit(hint, robust=True)
