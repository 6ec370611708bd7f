"""Joins forwarding to what it listens to."""

import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.apps import AppConfig

if TYPE_CHECKING:
    from django.contrib.auth.models import User

HINT_SECONDS = 1.0


class ForwardingConfig(AppConfig):
    """Asks for a sweep when there is something to do: after events or adjustments were stored, at most once a second
    and process, and whenever what held conversions back is gone.
    """

    name = "forwarding"
    _hinted_at = 0.0

    def ready(self) -> None:
        from ingest.signals import event_accepted
        from integrations.signals import accounts_freed, event_remapped

        event_accepted.connect(self.on_accepted, dispatch_uid="forwarding.accepted")
        accounts_freed.connect(self.on_freed, dispatch_uid="forwarding.freed")
        event_remapped.connect(self.on_remapped, dispatch_uid="forwarding.remapped")

    def on_accepted(self, **_kwargs: Any) -> None:
        """Ring once the rows are safe. A queue that is away costs seconds, never an event: the sweep finds them."""
        if time.monotonic() - self._hinted_at < HINT_SECONDS:
            return
        self._hinted_at = time.monotonic()
        from forwarding.ringing import sweep_soon

        sweep_soon()

    def on_freed(self, account_ids: list[int], **_kwargs: Any) -> None:
        """Let accounts send in this moment, and not when they are asked again."""
        from forwarding.releasing import let_go

        let_go(account_ids)

    def on_remapped(
        self, account_id: int, event_name: str, actor: "User | None", now: datetime, **_kwargs: Any
    ) -> None:
        """Let what waits for a missing goal go to the new one."""
        from forwarding.releasing import follow_mapping

        follow_mapping(account_id, event_name, actor, now)
