"""Which click a conversion belongs to: its own id, else the newest known one before it, by the first road that leads
to one: visitor, session, external id, transaction id, e-mail hash, phone hash.

A malformed id never displaces a good one. Lookups are one query a road for a whole batch of a site's events.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from django.db.models import Min, QuerySet

from forwarding.models import ClickSource
from ingest.click_ids import is_click_id
from ingest.models import Click, Event, Site


@dataclass(frozen=True, slots=True)
class FoundClick:
    """A click id, the road that found it, and the moment of the click where it is known."""

    msclkid: str
    source: ClickSource
    clicked_at: datetime | None


NO_CLICK = FoundClick("", ClickSource.NONE, None)


@dataclass(frozen=True, slots=True)
class _Sighting:
    """Somebody was seen with a click id. The click's own moment is known only where the click itself was reported."""

    seen_at: datetime
    msclkid: str
    clicked_at: datetime | None


_Sightings = dict[str, list[_Sighting]]
Row = TypeVar("Row", Click, Event)


def resolve_clicks(site: Site, events: Collection[Event]) -> dict[int, FoundClick]:
    """Return the click of each event by the event's primary key; events of one site, at most seven queries."""
    own = {event.pk: event.msclkid for event in events if is_click_id(event.msclkid)}
    clicked_at = _first_seen(site, set(own.values()))
    found = {pk: FoundClick(msclkid, ClickSource.EVENT, clicked_at.get(msclkid.lower())) for pk, msclkid in own.items()}
    for source, field, sightings_by in _ROADS:
        missing = [event for event in events if event.pk not in found and getattr(event, field)]
        sightings = sightings_by(site, field, {getattr(event, field) for event in missing}) if missing else {}
        for event in missing:
            newest = _newest_before(event, sightings.get(getattr(event, field), ()), site)
            if newest is not None:
                found[event.pk] = FoundClick(newest.msclkid, source, newest.clicked_at)
    return {event.pk: found.get(event.pk, NO_CLICK) for event in events}


def _newest_before(event: Event, sightings: Iterable[_Sighting], site: Site) -> _Sighting | None:
    """Return the newest sighting that is not later than the event and within the site's retention."""
    oldest = event.occurred_at - site.click_retention
    fitting = (seen for seen in sightings if oldest <= seen.seen_at <= event.occurred_at)
    return max(fitting, key=lambda seen: seen.seen_at, default=None)


def any_case(click_ids: Iterable[str]) -> set[str]:
    """Return the ids with their forms in small and in capital letters, for a look-up that an index can serve."""
    return {form for click_id in click_ids for form in (click_id, click_id.lower(), click_id.upper())}


def _first_seen(site: Site, click_ids: Collection[str]) -> dict[str, datetime]:
    if not click_ids:
        return {}
    rows = Click.objects.filter(site=site, msclkid__in=any_case(click_ids)).values_list("msclkid")
    first: dict[str, datetime] = {}
    for msclkid, at in rows.annotate(at=Min("captured_at")):
        key = msclkid.lower()
        first[key] = min(at, first.get(key, at))
    return first


def _clicks_by(site: Site, field: str, wanted: Collection[str]) -> _Sightings:
    rows = _with(Click.objects.filter(site=site), field, wanted).values_list(field, "captured_at", "msclkid")
    return _grouped((key, _Sighting(at, msclkid, at)) for key, at, msclkid in rows)


def _events_by(site: Site, field: str, wanted: Collection[str]) -> _Sightings:
    rows = _with(Event.objects.filter(site=site), field, wanted).exclude(msclkid="")
    named = rows.values_list(field, "occurred_at", "msclkid")
    return _grouped((key, _Sighting(at, msclkid, None)) for key, at, msclkid in named if is_click_id(msclkid))


def _with(rows: "QuerySet[Row]", field: str, wanted: Collection[str]) -> "QuerySet[Row]":
    """Narrow to rows whose field is one of those. Not empty is said too: of a long list no database concludes it, and
    the index has only such rows.
    """
    return rows.filter(**{f"{field}__in": wanted}).exclude(**{field: ""})


def _grouped(sightings: Iterable[tuple[str, _Sighting]]) -> _Sightings:
    grouped: _Sightings = {}
    for key, seen in sightings:
        grouped.setdefault(key, []).append(seen)
    return grouped


# Through the clicks themselves, then through other events of the same person or order that carried an id.
_ROADS: tuple[tuple[ClickSource, str, Callable[[Site, str, Collection[str]], _Sightings]], ...] = (
    (ClickSource.VISITOR, "visitor_id", _clicks_by),
    (ClickSource.SESSION, "session_id", _clicks_by),
    (ClickSource.EXTERNAL_ID, "external_id", _events_by),
    (ClickSource.TRANSACTION, "transaction_id", _events_by),
    (ClickSource.EMAIL, "email_sha256", _events_by),
    (ClickSource.PHONE, "phone_sha256", _events_by),
)
