"""Reads what is known of a site's installation: its newest events and a bounded number of its clicks, never all."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple
from urllib.parse import urlsplit

from dashboard.frame import zone_of
from dashboard.install.checklist import Blocked, Conversion, Facts, Refused
from ingest.click_ids import TEST_PREFIX, is_click_id, is_test_click_id
from ingest.limits import day_began_at
from ingest.models import REFUND_EVENT, Click, Consent, ConsentPolicy, Event, Site, Source
from ingest.notes import PRECISION
from ingest.refused_items import DAILY_CAP, MENDED_AFTER

LOOKED_AT = 500
ORIGINS_SHOWN = 3


class _Click(NamedTuple):
    msclkid: str
    landing_url: str
    consent: str
    created_at: datetime


def read_facts(site: Site, now: datetime) -> Facts:
    """Return what is known of a site, in at most eight queries that read some hundred rows each."""
    columns = (
        "site", "name", "received_at", "occurred_at", "source", "value", "currency", "transaction_id", "visitor_id",
        "msclkid", "consent",
    )  # fmt: skip
    newest = list(site.events.order_by("-received_at", "-id").only(*columns)[: LOOKED_AT + 1])
    events, of_pages = newest[:LOOKED_AT], [event for event in newest[:LOOKED_AT] if event.source == Source.BROWSER]
    found = site.clicks.values_list(*_Click._fields)[: LOOKED_AT + 1]
    clicks = [_Click(*row) for row in found]
    test_click_at = _test_click_at(site)
    kept, lost = _kept_and_lost(site, of_pages)
    consents = [event.consent for event in events] + [click.consent for click in clicks]
    return Facts(
        write_key=site.write_key,
        currency=site.currency,
        needs_consent=site.consent_policy == ConsentPolicy.REQUIRE,
        allowed_origins=site.allowed_origins,
        blocked=_blocked(site),
        refused=_refused(site, events, now),
        daily_cap=site.daily_event_cap,
        time_zone=zone_of(site).key,
        is_heard=bool(of_pages or clicks),
        heard_at=_heard_at(of_pages, clicks, test_click_at),
        origins_seen=_origins(clicks),
        test_click_at=test_click_at,
        has_click_id=_has_click_id(site, events, clicks),
        kept=kept,
        lost=lost,
        events=len(events),
        has_more_events=len(newest) > LOOKED_AT,
        granted=consents.count(Consent.GRANTED),
        denied=consents.count(Consent.DENIED),
        conversion=_conversion(events),
    )


def read_door(site: Site, now: datetime, *, is_heard: bool) -> Facts:
    """Return only what `turned_away` reads, in two queries, and a third where a daily cap was reached."""
    refused = _refused(site, [], now)
    if any(each.code == DAILY_CAP for each in refused):
        refused = _refused(site, list(site.events.order_by("-received_at", "-id")[:LOOKED_AT]), now)
    return Facts(
        write_key=site.write_key,
        currency=site.currency,
        needs_consent=site.consent_policy == ConsentPolicy.REQUIRE,
        allowed_origins=site.allowed_origins,
        blocked=_blocked(site),
        refused=refused,
        daily_cap=site.daily_event_cap,
        time_zone=zone_of(site).key,
        is_heard=is_heard,
    )


def _blocked(site: Site) -> list[Blocked]:
    # A site without a list takes events from any page; one that was allowed by hand is no longer turned away.
    rows = site.blocked_origins.order_by("-last_at", "-pk") if site.allowed_origins else []
    return [Blocked(row.origin, row.last_at) for row in rows if row.origin not in site.allowed_origins]


def _refused(site: Site, events: Sequence[Event], now: datetime) -> list[Refused]:
    rows = site.refused_items.filter(last_at__gt=now - MENDED_AFTER).order_by("-last_at", "-pk")
    refused = [Refused(*row) for row in rows.values_list("source", "what", "member", "code", "first_at", "last_at")]
    today = day_began_at(site.time_zone, now)
    taken = {event.source: event.received_at for event in reversed(events)}
    return [
        each
        for each in refused
        # A cap is over with its day; or it was raised, and the same sender's events are taken again.
        if each.code != DAILY_CAP
        or (each.last_at >= today and taken.get(each.source, today) <= each.last_at + PRECISION)
    ]


def _test_click_at(site: Site) -> datetime | None:
    # The ids hold their second, so the index on site and id has the newest one at its end.
    made = site.clicks.filter(msclkid__gte=TEST_PREFIX, msclkid__lt=TEST_PREFIX + "g").order_by("-msclkid")
    return made.values_list("created_at", flat=True).first()


def _heard_at(of_pages: Sequence[Event], clicks: Sequence[_Click], test_click_at: datetime | None) -> datetime | None:
    moments = [event.received_at for event in of_pages[:1]]
    if len(clicks) <= LOOKED_AT:
        # Of more clicks than these nobody knows which are the newest.
        moments += [click.created_at for click in clicks]
    return max([*moments, *([test_click_at] if test_click_at else [])], default=None)


def _origins(clicks: Iterable[_Click]) -> list[str]:
    parts = [urlsplit(click.landing_url) for click in clicks if click.landing_url]
    return sorted({f"{part.scheme}://{part.netloc}" for part in parts})[:ORIGINS_SHOWN]


def _has_click_id(site: Site, events: Sequence[Event], clicks: Sequence[_Click]) -> bool:
    seen = [click.msclkid for click in clicks] + [event.msclkid for event in events]
    if any(map(is_click_id, seen)):
        return True
    return len(clicks) > LOOKED_AT and site.clicks.exclude(msclkid__startswith=TEST_PREFIX).exists()


def _kept_and_lost(site: Site, of_pages: Sequence[Event]) -> tuple[int, int]:
    without = [event for event in of_pages if not (is_click_id(event.msclkid) or is_test_click_id(event.msclkid))]
    # Said in so many words, or PostgreSQL does not see that its index on visitors has them all.
    clicks = Click.objects.filter(site=site).exclude(visitor_id="")
    visitors = {event.visitor_id for event in without} - {""}
    rows = clicks.filter(visitor_id__in=visitors).values_list("visitor_id", "captured_at")
    first: dict[str, datetime] = {}
    for visitor_id, at in rows[: 2 * LOOKED_AT]:
        first[visitor_id] = min(at, first.get(visitor_id, at))
    lost = sum(event.visitor_id in first and event.occurred_at >= first[event.visitor_id] for event in without)
    return len(of_pages) - len(without), lost


def _conversion(events: Sequence[Event]) -> Conversion | None:
    reported = [event for event in events if event.name != REFUND_EVENT]
    purchases = [event for event in reported if event.name == "purchase"]
    found = next(iter(purchases or reported), None)
    if found is None:
        return None
    return Conversion(found.name, found.received_at, found.value, found.currency, found.transaction_id)
