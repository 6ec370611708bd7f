"""The sweep: from rows alone, find everything that has to be done now. The queue only makes it come sooner."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from forwarding.claims import accounts_to_serve, expire
from forwarding.planning import plan_all


@dataclass(frozen=True, slots=True)
class SweepReport:
    """What one sweep did: events planned, deliveries that had grown too old, accounts rung for."""

    planned: int
    expired: int
    accounts: int


def sweep(now: datetime, ring: Callable[[int], object]) -> SweepReport:
    """Plan what arrived, fail what is too old, and call `ring` with each account that has something to send."""
    planned = plan_all(now)
    expired = 0
    while batch := expire(now):
        expired += batch
    account_ids = accounts_to_serve(now)
    for account_id in account_ids:
        ring(account_id)
    return SweepReport(planned, expired, len(account_ids))
