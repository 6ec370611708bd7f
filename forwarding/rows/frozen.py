"""Which deliveries Microsoft may have: from then on their key, and what was said with it, is never changed."""

from collections.abc import Collection
from datetime import datetime

from forwarding.models import Attempt, Delivery, Status, Upload
from forwarding.times import CONVERSION_LIFE
from integrations.models import AdAccount


def lock_accounts(account_ids: Collection[int]) -> set[int]:
    """Let nobody open an upload of these accounts until the transaction ends; return the deliveries on their way.

    Read the rows afterwards: what an upload that ends meanwhile made of them is seen then. Accounts are locked in one
    order, so that two who do this cannot wait for each other.
    """
    ordered = AdAccount.objects.filter(pk__in=account_ids).order_by("pk")
    list(ordered.select_for_update(no_key=True).values_list("pk"))
    return set(listed_in_open_uploads(account_ids))


def perhaps_arrived(rows: Collection[Delivery], on_their_way: Collection[int], now: datetime) -> set[int]:
    """Return the rows that Microsoft has, or may have: delivered, on their way, or sent with an unknown outcome."""
    arrived = {row.pk for row in rows if row.status == Status.DELIVERED or row.pk in on_their_way}
    others = [row for row in rows if row.pk not in arrived]
    if not others:
        return arrived
    tried = [row.pk for row in others if row.attempts]
    if tried:
        unknown = Attempt.objects.filter(delivery__in=tried, outcome=Attempt.Outcome.UNKNOWN)
        arrived.update(unknown.values_list("delivery_id", flat=True))
    return arrived | (sent_by_dead_workers({row.account_id for row in others}, now) & {row.pk for row in others})


def sent_by_dead_workers(account_ids: Collection[int], now: datetime) -> set[int]:
    """Return the deliveries of calls whose worker died: Microsoft may have them, whatever came of it later."""
    taken_over = Upload.objects.filter(
        account_id__in=account_ids, started_at__gt=now - CONVERSION_LIFE, takeovers__gt=0
    )
    return {pk for ids in taken_over.values_list("delivery_ids", flat=True) for pk in ids}


def listed_in_open_uploads(account_ids: Collection[int]) -> list[int]:
    """Return the deliveries of these accounts that are on their way: nobody else may change them."""
    opened = Upload.objects.filter(account_id__in=account_ids, finished_at__isnull=True)
    return [pk for ids in opened.values_list("delivery_ids", flat=True) for pk in ids]
