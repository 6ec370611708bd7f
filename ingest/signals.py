"""The project's one signal: events were stored.

Sent inside the transaction that stores them, with `site_id: int` and `count: int`. ingest knows nobody; whoever
wants to act listens, and acts after the commit.
"""

from django.dispatch import Signal

event_accepted = Signal()
