"""The room's one signal: events, or adjustments of their orders, were stored.

Sent inside the transaction that stores them, with the model as `sender`, `site_id: int` and `count: int`. ingest knows
nobody; whoever wants to act listens, and acts after the commit.
"""

from django.dispatch import Signal

event_accepted = Signal()
