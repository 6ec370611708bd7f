"""Which click a conversion belongs to: its own id, else the newest known one before it, by the first road that leads
to one: visitor, session, external id, transaction id, e-mail hash, phone hash.

The same order may be told of a little later: a page's event comes after the backend's, its click was before either.
A malformed id never displaces a good one. Lookups are one query a road for a whole batch of events, of any sites.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Min

from forwarding.models import ClickSource
from forwarding.rows.matching import matching
from ingest.click_ids import is_click_id
from ingest.models import Click, Event, Site


@dataclass(frozen=True, slots=True)
class FoundClick:
    """A click id, the road that found it, and the moment of the click where it is known."""

    msclkid: str
    source: ClickSource
    clicked_at: datetime | None


# How much later than a conversion another event of the same order may have happened and still lend it its click.
ORDER_LEEWAY = timedelta(days=1)
NO_CLICK = FoundClick("", ClickSource.NONE, None)


@dataclass(frozen=True, slots=True)
class _Sighting:
    """Somebody was seen with a click id. The click's own moment is known only where the click itself was reported."""

    seen_at: datetime
    msclkid: str
    clicked_at: datetime | None


_Key = tuple[int, str]  # a site and what was said there: a click id, a visitor, an order
_Sightings = dict[_Key, list[_Sighting]]


def resolve_clicks(events: Collection[Event], sites: Mapping[int, Site]) -> dict[int, FoundClick]:
    """Return the click of each event by the event's primary key; at most seven queries. `sites` has all of theirs."""
    with_own = [event for event in events if is_click_id(event.msclkid)]
    clicked_at = _first_seen({(event.site_id, event.msclkid) for event in with_own})
    found = {
        event.pk: FoundClick(event.msclkid, ClickSource.EVENT, clicked_at.get((event.site_id, event.msclkid.lower())))
        for event in with_own
    }
    missing = list(events)
    for source, field, sightings_by in _ROADS:
        missing = [event for event in missing if event.pk not in found]
        keys = [(event, (event.site_id, said)) for event in missing if (said := getattr(event, field))]
        sightings = sightings_by(field, {key for _, key in keys}) if keys else {}
        leeway = ORDER_LEEWAY if source == ClickSource.TRANSACTION else timedelta(0)
        for event, key in keys:
            nearest = _nearest(event, sightings.get(key, ()), sites[event.site_id], leeway)
            if nearest is not None:
                found[event.pk] = FoundClick(nearest.msclkid, source, nearest.clicked_at)
    return {event.pk: found.get(event.pk, NO_CLICK) for event in events}


def _nearest(event: Event, sightings: Iterable[_Sighting], site: Site, leeway: timedelta) -> _Sighting | None:
    """Return the newest sighting not later than the event and within the site's retention, else the first after it."""
    at = event.occurred_at
    fitting = [seen for seen in sightings if at - site.click_retention <= seen.seen_at <= at + leeway]
    before = [seen for seen in fitting if seen.seen_at <= at]
    newest = max(before, key=lambda seen: seen.seen_at, default=None)
    return newest or min(fitting, key=lambda seen: seen.seen_at, default=None)


def any_case(click_ids: Iterable[str]) -> set[str]:
    """Return the ids with their forms in small and in capital letters, for a look-up that an index can serve."""
    return {form for click_id in click_ids for form in (click_id, click_id.lower(), click_id.upper())}


def _first_seen(wanted: Collection[_Key]) -> dict[_Key, datetime]:
    if not wanted:
        return {}
    forms = {(site_id, form) for site_id, click_id in wanted for form in any_case([click_id])}
    rows = Click.objects.filter(pk__in=matching(Click, ("site_id", "msclkid"), forms)).values_list("site_id", "msclkid")
    first: dict[_Key, datetime] = {}
    for site_id, msclkid, at in rows.annotate(at=Min("captured_at")):
        key = site_id, msclkid.lower()
        first[key] = min(at, first.get(key, at))
    return first


def _clicks_by(field: str, wanted: Collection[_Key]) -> _Sightings:
    rows = Click.objects.filter(pk__in=matching(Click, ("site_id", field), wanted, f"NOT ({field} = '')"))
    named = rows.values_list("site_id", field, "captured_at", "msclkid")
    # The install page's test clicks are clicks of nobody's ad.
    return _grouped(
        ((site_id, said), _Sighting(at, msclkid, at)) for site_id, said, at, msclkid in named if is_click_id(msclkid)
    )


def _events_by(field: str, wanted: Collection[_Key]) -> _Sightings:
    rows = Event.objects.filter(pk__in=matching(Event, ("site_id", field), wanted, f"NOT ({field} = '')"))
    named = rows.exclude(msclkid="").values_list("site_id", field, "occurred_at", "msclkid")
    return _grouped(
        ((site_id, said), _Sighting(at, msclkid, None)) for site_id, said, at, msclkid in named if is_click_id(msclkid)
    )


def _grouped(sightings: Iterable[tuple[_Key, _Sighting]]) -> _Sightings:
    grouped: _Sightings = {}
    for key, seen in sightings:
        grouped.setdefault(key, []).append(seen)
    return grouped


# Through the clicks themselves, then through other events of the same person or order that carried an id.
_ROADS: tuple[tuple[ClickSource, str, Callable[[str, Collection[_Key]], _Sightings]], ...] = (
    (ClickSource.VISITOR, "visitor_id", _clicks_by),
    (ClickSource.SESSION, "session_id", _clicks_by),
    (ClickSource.EXTERNAL_ID, "external_id", _events_by),
    (ClickSource.TRANSACTION, "transaction_id", _events_by),
    (ClickSource.EMAIL, "email_sha256", _events_by),
    (ClickSource.PHONE, "phone_sha256", _events_by),
)
