"""What a text leads to: events by any id, or by an e-mail address, which is looked for by its hash only.

Every road is an index. Only an event's own click id has none: it is found by what was made of the event, and on a site
without accounts among the newest events.
"""

from typing import Any

from django.db.models import OuterRef, QuerySet, Subquery

from forwarding.models import Delivery
from ingest.hashing import hash_email, is_sha256
from ingest.models import Event, Site

MAX_FOUND = 1000
CLICKS_LOOKED_THROUGH = 10_000
MAX_SITES = 500


def searchable(text: str) -> str:
    """Return what to look for: of an e-mail address its hash, so that the address stays in no page and no log."""
    if "@" not in text:
        return text
    try:
        return hash_email(text)
    except ValueError:
        return text


def found(site: Site, text: str, *, has_accounts: bool) -> "QuerySet[Event]":
    """Return the events of a site that an id or a hash leads to, whole and not a part of it, at most MAX_FOUND."""
    mine = Event.objects.filter(site=site)
    roads = [
        mine.filter(event_id=text),
        mine.filter(transaction_id=text),
        mine.filter(external_id=text),
        _by_click(site, text) if has_accounts else _among_the_newest(site, text),
    ]
    if is_sha256(text):
        roads += [mine.filter(email_sha256=text.lower()), mine.filter(phone_sha256=text.lower())]
    # Each road ends by itself: an id that millions share, such as "undefined", is not read to its end to be sorted.
    ends = (road.order_by().values("pk")[:MAX_FOUND] for road in roads)
    first, *others = (mine.filter(pk__in=end).order_by().values_list("pk", flat=True) for end in ends)
    return mine.filter(pk__in=first.union(*others)[:MAX_FOUND])


def sites_with(sites: "QuerySet[Site]", text: str) -> list[Site]:
    """Return those of the first MAX_SITES by name that have an event to which a text leads. One query.

    A click id is looked for in what was made of events. Each road is walked once a site to its first row: a condition
    that something exists PostgreSQL may turn into a search through everybody's events.
    """
    mine = Event.objects.filter(site=OuterRef("pk"))
    roads: dict[str, QuerySet[Any]] = {
        "_by_event": mine.filter(event_id=text),
        "_by_order": mine.filter(transaction_id=text),
        "_by_person": mine.filter(external_id=text),
        "_by_click": Delivery.objects.filter(account__site=OuterRef("pk"), msclkid__in=_spellings(text)),
    }
    if is_sha256(text):
        roads |= {f"_by_{name}": mine.filter(**{f"{name}_sha256": text.lower()}) for name in ("email", "phone")}
    asked = {name: Subquery(road.order_by().values("pk")[:1]) for name, road in roads.items()}
    looked_at = sites.order_by("name", "pk").annotate(**asked)[:MAX_SITES]
    return [site for site in looked_at if any(getattr(site, name) is not None for name in asked)]


def _by_click(site: Site, text: str) -> "QuerySet[Event]":
    # A delivery has the click that was found for its event, whichever way.
    sent = Delivery.objects.filter(account__in=site.ad_accounts.all(), msclkid__in=_spellings(text))
    return Event.objects.filter(site=site, pk__in=sent.values("event_id"))


def _among_the_newest(site: Site, text: str) -> "QuerySet[Event]":
    newest = site.events.order_by("-received_at", "-pk").values("pk")[:CLICKS_LOOKED_THROUGH]
    return Event.objects.filter(pk__in=newest, msclkid__in=_spellings(text))


def _spellings(text: str) -> set[str]:
    # Kept as it came and compared without case: ids come in both.
    return {text, text.lower(), text.upper()} - {""}
