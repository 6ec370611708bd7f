"""Refunds that Microsoft was not told of, because an account does not map them."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from django.db.models import Count, Exists, OuterRef, QuerySet

from dashboard.health import WINDOW_DAYS
from forwarding.models import Delivery, Kind, Skip, Status
from ingest.models import Source
from integrations.models import AdAccount

# Of a busy account the newest rows that were not forwarded are looked at, so that no page reads them all.
LOOKED_AT = 2000


def untold_refunds(accounts: Sequence[AdAccount], now: datetime) -> Mapping[int, int]:
    """Return how many refunds of delivered orders were not told of late, by the account that maps no refunds.

    `accounts` come from `with_health`. One query, and none where no account misses refunds.
    """
    since = now - timedelta(days=WINDOW_DAYS)
    asked = [account.pk for account in accounts if getattr(account, "misses_refunds", False)]
    counts = [_untold(account_id, since) for account_id in asked]
    if not counts:
        return {}
    first, *others = counts
    return dict(first.union(*others))


def _untold(account_id: int, since: datetime) -> "QuerySet[Delivery, tuple[int, int]]":
    """Return a query of the account's key and how many of its refunds were not told."""
    left_out = Delivery.objects.filter(account=account_id, status=Status.SKIPPED, created_at__gte=since)
    newest = left_out.order_by("-created_at", "-pk").values("pk")[:LOOKED_AT]
    of_order = Delivery.objects.filter(account=account_id, transaction_id=OuterRef("transaction_id"))
    delivered = of_order.exclude(transaction_id="").filter(
        kind=Kind.CONVERSION, status=Status.DELIVERED, retracted_at=None
    )
    refunds = Delivery.objects.filter(pk__in=newest, skip_reason=Skip.NOT_MAPPED).exclude(kind=Kind.CONVERSION)
    # Mapped or not, a page's are never told.
    refunds = refunds.exclude(event__source=Source.BROWSER)
    return refunds.filter(Exists(delivered)).order_by().values_list("account").annotate(Count("pk"))
