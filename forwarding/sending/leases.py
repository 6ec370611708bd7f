"""Lease tokens that name the process that holds them: one that is known to be dead is succeeded at once.

Anybody else's lease has to end by itself, as nobody can tell a dead machine from a slow one.
"""

import os
import secrets
import uuid
from datetime import datetime

from forwarding.models import Upload

# In the environment of the worker's processes: which cluster they belong to, 16 hex digits.
CLUSTER = "CONVULTRA_CLUSTER"
_PID_LIMIT = 1 << 32

_alone = secrets.token_hex(8)  # of a process without a cluster, such as cron's


def new_cluster() -> str:
    """Return a name for a cluster that begins now."""
    return secrets.token_hex(8)


def own_cluster() -> str:
    """Return the name of the cluster that this process belongs to."""
    return os.environ.get(CLUSTER, _alone)


def new_token() -> uuid.UUID:
    """Return a token of this process: its cluster, its process id, and four random bytes."""
    return _token(own_cluster(), os.getpid(), secrets.randbits(32))


def holder(token: uuid.UUID) -> int:
    """Return the process id in a token."""
    return (token.int >> 32) % _PID_LIMIT


def end_leases(cluster: str, now: datetime, pid: int | None = None) -> int:
    """End what a dead cluster, or one dead process of it, holds; return how many uploads may be taken over now."""
    first, last = (0, _PID_LIMIT - 1) if pid is None else (pid, pid)
    held = Upload.objects.filter(
        finished_at__isnull=True,
        leased_until__gt=now,
        lease_token__gte=_token(cluster, first, 0),
        lease_token__lte=_token(cluster, last, _PID_LIMIT - 1),
    )
    return held.update(leased_until=now)


def _token(cluster: str, pid: int, chance: int) -> uuid.UUID:
    return uuid.UUID(int=int(cluster, 16) << 64 | pid << 32 | chance)
