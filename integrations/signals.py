"""What holds conversions back no longer: integrations announces it, and forwarding acts in the same moment.

Both are sent inside the transaction of the change, or right after it; whoever listens acts after the commit.
"""

from django.dispatch import Signal

# Accounts may send again, as far as we know: resumed, reconnected, added again, or their hold was lifted.
# `account_ids: list[int]`.
accounts_freed = Signal()

# An event name goes to another goal of its account from now on. `account_id: int`, `event_name: str`,
# `actor: User | None`, `now: datetime`.
event_remapped = Signal()
