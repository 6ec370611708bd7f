"""Events: the live list, what is new on it, and one event with everything about it. Also where every search ends."""

from collections.abc import Sequence
from datetime import datetime
from urllib.parse import urlencode
from uuid import UUID

from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET

from dashboard.events import listing, searching
from dashboard.events import story as event_story
from dashboard.events.listing import EventFilterForm, Scene
from dashboard.frame import Crumb, organisation_frame, site_frame, url_or_nothing, zone_of
from dashboard.guards import SiteEntry, by_htmx, person, signed_in, site_for
from dashboard.install import snippets
from dashboard.install.views import about_site
from ingest.hashing import is_sha256
from ingest.models import Event, Site
from integrations.models import AdAccount

# Sites in which to look on, where a search found nothing.
SITES_OFFERED = 12
# What is shown of the wire, by its key in the query, for browsers without scripts.
TABS = (("received", "Received"), ("sent", "Sent"), ("response", "Response"))


@signed_in
@require_GET
def events(request: HttpRequest, site_id: UUID) -> HttpResponse:
    """List what a site received; htmx gets the list alone. A search that finds one event opens it."""
    entry = site_for(request, site_id)
    query = _without_addresses(request.GET)
    if by_htmx(request):
        context = _list_context(entry, query, _active_accounts(entry.site), timezone.now())
        response = render(request, "dashboard/events/_list_news.html", context)
        response.headers["HX-Push-Url"] = f"{request.path}{context['here']}"
        return response
    if query.get("q", "") != request.GET.get("q", ""):
        return redirect(f"{request.path}?{query.urlencode()}")
    frame = site_frame(request, entry.site, entry.role, "events", Crumb("Events"))
    context = {**frame, **_list_context(entry, query, frame.accounts, timezone.now()), "finds": "find" in request.GET}
    return render(request, "dashboard/events/events.html", context)


@signed_in
@require_GET
def search(request: HttpRequest) -> HttpResponse:
    """Look in all sites of a person, from a page above them; what one site has is shown there."""
    query = _without_addresses(request.GET)
    if query.get("q", "") != request.GET.get("q", ""):
        return redirect(f"{request.path}?{query.urlencode()}")
    text, mine = EventFilterForm(query).wanted().search, Site.objects.for_user(person(request))
    found = searching.sites_with(mine, text) if text else []
    if len(found) == 1:
        return redirect(_found_at(found[0], text))
    listed = found or list(mine.order_by("name", "pk")[:SITES_OFFERED])
    context = {
        **organisation_frame(request, "search", Crumb("Search")),
        "q": text,
        "is_hash": is_sha256(text),
        "found": len(found),
        "listed": [(site, _found_at(site, text)) for site in listed],
    }
    return render(request, "dashboard/events/search.html", context)


def _found_at(site: Site, text: str) -> str:
    asked = urlencode({"q": text}) if text else "find"
    return f"{reverse('dashboard:events', args=[site.public_id])}?{asked}"


@signed_in
@require_GET
def events_news(request: HttpRequest, site_id: UUID) -> HttpResponse:
    """Answer an open list what changed on it and what came on top: 204 when nothing did.

    `row` are the rows that it shows, each with its version; with `hold` it wants only to know how many came on top,
    and `waiting` is how many it knows of.
    """
    entry = site_for(request, site_id)
    query = _without_addresses(request.GET)
    form, accounts, now = EventFilterForm(query), _active_accounts(entry.site), timezone.now()
    followed = request.GET.getlist("row")
    scene = Scene(entry.site, accounts, listing.mapped_names(entry.site), now, zone_of(entry.site))
    found = listing.news(scene, form.wanted(), followed)
    is_held = "hold" in request.GET
    is_known = is_held and str(len(found.new)) == request.GET.get("waiting")
    if not found.changed and (not found.new or is_known):
        return HttpResponse(status=204)
    if not followed:
        # The list was empty, so it is drawn as a whole.
        return render(request, "dashboard/events/_list.html", _list_context(entry, query, accounts, now))
    context = {**_fragment(entry, now), "news": found, "here": form.address(), "rows_at_most": listing.PAGE_ROWS}
    if not is_held:
        return render(request, "dashboard/events/_news.html", context)
    response = render(request, "dashboard/events/_waiting.html", context)
    response.headers["HX-Retarget"], response.headers["HX-Reswap"] = "#events-waiting", "innerHTML"
    return response


@signed_in
@require_GET
def event(request: HttpRequest, site_id: UUID, event_id: str) -> HttpResponse:
    """Show one event as a page of its own; htmx gets what opens beside the list."""
    entry = site_for(request, site_id)
    found = None if "\0" in event_id else entry.site.events.filter(event_id=event_id).first()
    if found is None:
        raise Http404
    now = timezone.now()
    if by_htmx(request):
        context = {**_fragment(entry, now), **_story_context(entry, found, _active_accounts(entry.site), now)}
        return render(request, "dashboard/events/_inspect.html", {**context, "tab": TABS[0][0]})
    list_crumb = Crumb("Events", url_or_nothing("events", site_id))
    frame = site_frame(request, entry.site, entry.role, "events", list_crumb, Crumb(found.event_id))
    asked = request.GET.get("data", "")
    context = {**frame, **_story_context(entry, found, frame.accounts, now)}
    context["tab"] = asked if asked in dict(TABS) else TABS[0][0]
    return render(request, "dashboard/events/event.html", context)


def _list_context(
    entry: SiteEntry, query: QueryDict, accounts: Sequence[AdAccount], now: datetime
) -> dict[str, object]:
    form, names = EventFilterForm(query), listing.names_of(entry.site, now)
    scene = Scene(entry.site, accounts, names.mapped, now, zone_of(entry.site))
    wanted, before = form.wanted(), query.get("before", "")
    page = listing.page(scene, wanted, before)
    context: dict[str, object] = {
        **_fragment(entry, now),
        "form": form,
        "listing": page,
        "names": [*([wanted.name] if _is_unlisted(wanted.name, names) else []), *names.listed],
        "outcomes": listing.OUTCOMES,
        "name": wanted.name,
        "outcome": wanted.outcome,
        "q": wanted.search,
        "looked_for": listing.shown_search(wanted.search),
        "is_hash": is_sha256(wanted.search),
        "chips": form.chips(),
        "here": form.address(),
        "older_href": form.address(before=page.older) if page.older else "",
        "further_href": form.address(before=page.further) if page.further else "",
        "window": listing.WINDOW,
        "install_href": url_or_nothing("install", entry.site.public_id),
        "snippet": snippets.html(about_site(entry.site)) if not page.rows and page.is_first else "",
    }
    if wanted.search and page.is_first and len(page.rows) == 1 and not page.older:
        context |= _story_context(entry, page.rows[0].event, accounts, now, names.mapped)
        context["tab"] = TABS[0][0]
    return context


def _story_context(
    entry: SiteEntry, found: Event, accounts: Sequence[AdAccount], now: datetime, mapped: frozenset[str] | None = None
) -> dict[str, object]:
    site, role = entry
    names = listing.mapped_names(site) if mapped is None else mapped
    scene = Scene(site, accounts, names, now, zone_of(site))
    rows = listing.deliveries_of([found.pk], scene, "last_upload", "original__event").get(found.pk, [])
    stories = event_story.stories(found, rows, scene, role)
    return {
        "event": found,
        "data_tabs": TABS,
        "stories": stories,
        "sent": [story for story in stories if story.exchange],
        "received": event_story.received_json(found),
        "matched_by": event_story.matched_by(rows),
    }


def _fragment(entry: SiteEntry, now: datetime) -> dict[str, object]:
    return {"site": entry.site, "role": entry.role, "zone": zone_of(entry.site), "now": now}


def _active_accounts(site: Site) -> list[AdAccount]:
    rows: QuerySet[AdAccount] = site.ad_accounts.filter(is_active=True)
    return list(rows.order_by("name", "pk"))


def _is_unlisted(name: str, names: listing.Names) -> bool:
    return bool(name) and name != listing.CONVERSIONS_ONLY and name not in names.listed


def _without_addresses(query: QueryDict) -> QueryDict:
    """Return a query string in which an e-mail address that is searched for is its hash."""
    plain = query.copy()
    if "q" in plain:
        plain["q"] = searching.searchable(str(plain["q"]).strip())
    return plain
