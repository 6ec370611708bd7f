"""What a site's newest events say: which names come, how often, and how many carry hashed customer data."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Q, QuerySet

from ingest.models import Event, Site

# Busy sites have more in 30 days than a page may count.
EVENTS_LOOKED_AT = 10_000
LOOKED_BACK = timedelta(days=30)


def seen_in_30_days(site: Site, now: datetime) -> dict[str, str]:
    """Return how often each event name came, in words; of busy sites the newest 10,000 events are looked at."""
    rows = _newest(site, now).values_list("name")
    counts = dict(rows.annotate(count=Count("pk")))
    of = "in 30 days" if sum(counts.values()) < EVENTS_LOOKED_AT else f"of the newest {EVENTS_LOOKED_AT:,}"
    return {name: f"{count:,} {of}" for name, count in counts.items()}


@dataclass(frozen=True)
class Coverage:
    """How many of an event's newest occurrences carry hashed customer data, in whole per cent."""

    event_name: str
    email: int
    phone: int


def coverage(site: Site, names: Iterable[str], now: datetime) -> list[Coverage]:
    """Return which share of the newest events carries hashed e-mail and phone, per name, the most frequent first."""
    rows = (
        _newest(site, now)
        .filter(name__in=list(names))
        .values_list("name")
        .annotate(
            count=Count("pk"),
            emails=Count("pk", filter=~Q(email_sha256="")),
            phones=Count("pk", filter=~Q(phone_sha256="")),
        )
        .order_by("-count", "name")
    )
    return [Coverage(name, emails * 100 // number, phones * 100 // number) for name, number, emails, phones in rows]


def _newest(site: Site, now: datetime) -> "QuerySet[Event]":
    newest = site.events.filter(received_at__gte=now - LOOKED_BACK).order_by("-received_at", "-pk")
    return Event.objects.filter(pk__in=newest.values("pk")[:EVENTS_LOOKED_AT])
