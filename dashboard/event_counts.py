"""What a site's newest events say: which names come, how often, and how many carry hashed customer data."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db.models import Count, Q, QuerySet, Sum

from forwarding.models import EventDay
from ingest.models import Event, Site

# Busy sites have more in 30 days than a page may count.
EVENTS_LOOKED_AT = 10_000
LOOKED_BACK = timedelta(days=30)
# More than a page can show; what is sent under so many names is no list of events.
MAX_NAMES = 500


def seen_in_30_days(site: Site, now: datetime) -> dict[str, str]:
    """Return how often each event name came, in words, and how many with a click; the most frequent names.

    OTHER_NAMES stands among them where a site has sent more names than have rows of their own.
    """
    days = EventDay.objects.filter(site=site, day__gte=(now - LOOKED_BACK).astimezone(UTC).date())
    names = days.values_list("name").annotate(came=Sum("count"), clicked=Sum("with_click")).order_by("-came", "name")
    return {name: _in_words(came, clicked) for name, came, clicked in names[:MAX_NAMES] if came > 0}


def _in_words(came: int, clicked: int) -> str:
    return f"{came:,} in 30 days" + (f", {clicked:,} with a Microsoft click" if clicked else "")


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
