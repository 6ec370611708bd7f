"""All sites of a person, worst first, and how a new one is added."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from django import forms
from django.contrib.auth.models import User
from django.core.validators import DomainNameValidator
from django.db import transaction
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from dashboard import wording
from dashboard.attribution import Match, match_rate, matches_together
from dashboard.charts import short_day
from dashboard.connect.refusals import take_refusal
from dashboard.frame import SITE_SEARCH_FROM, organisation_frame, site_url
from dashboard.guards import CONNECT, person, role_names, signed_in
from dashboard.health import (
    WINDOW_DAYS,
    Figures,
    Health,
    added,
    figures_by_account,
    held_by,
    is_silent,
    site_health,
    with_health,
)
from dashboard.toasts import say_next
from dashboard.uploads import uploads_of
from ingest.audit import record
from ingest.models import Event, Membership, Organisation, Site
from integrations.models import AdAccount, Connection

MAX_SEARCH_CHARS = 100


@dataclass(frozen=True)
class SiteRow:
    """A line of the list."""

    site: Site
    href: str
    health: Health
    figures: Figures
    accounts: int
    last_event_at: datetime | None
    match: Match

    @property
    def revenue(self) -> str:
        """Write the value of what was delivered, currencies side by side."""
        return wording.sums(self.figures.values, self.site.currency)


class SearchForm(forms.Form):
    """The list's query string; what is nonsense in it is left out."""

    q = forms.CharField(max_length=MAX_SEARCH_CHARS, required=False)
    attention = forms.BooleanField(required=False)


class NewSiteForm(forms.Form):
    """A website's address as people type it, and the team it belongs to."""

    address = forms.CharField(
        max_length=200, error_messages={"required": "Enter the address, such as www.example.com."}
    )
    team = forms.ModelChoiceField(
        Organisation.objects.none(), to_field_name="public_id", error_messages={"invalid_choice": "Choose your team."}
    )

    def __init__(self, data: Mapping[str, object] | None, user: User) -> None:
        super().__init__(data)
        self.teams = teams_run_by(user)
        team = self.fields["team"]
        assert isinstance(team, forms.ModelChoiceField)
        team.queryset = self.teams

    def clean_address(self) -> str:
        """Return the site's origin, `https://www.example.com`; a missing scheme is https, a path is dropped."""
        typed = self.cleaned_data["address"]
        refusal = forms.ValidationError("Enter the address of a website, such as www.example.com.")
        try:
            parts = urlsplit(typed if "//" in typed else f"https://{typed}")
            # Browsers send an Origin in ASCII, whatever the person typed.
            host, port = (parts.hostname or "").encode("idna").decode(), parts.port
        except ValueError as error:  # UnicodeError is one
            raise refusal from error
        if parts.scheme not in {"http", "https"}:
            raise refusal
        if host != "localhost":
            DomainNameValidator(message=refusal.message)(host)
        return f"{parts.scheme}://{host}" + (f":{port}" if port else "")


@signed_in
@require_http_methods(["GET", "POST"])
def sites(request: HttpRequest) -> HttpResponse:
    """List the person's sites with the health of the last seven days; POST adds one."""
    new_site = NewSiteForm(request.POST if request.method == "POST" else None, person(request))
    if new_site.is_bound and not new_site.teams:
        return render(request, "403.html", {"role": "Member", "needed": role_names(CONNECT)}, status=403)
    if new_site.is_bound and new_site.is_valid():
        given = new_site.cleaned_data
        site = add_site(given["team"], given["address"], person(request), timezone.now())
        say_next(request, "ok", f"{site.name} added", "Connect Microsoft Advertising next.")
        return redirect("dashboard:integrations", site.public_id)

    now = timezone.now()
    mine = Site.objects.for_user(person(request)).order_by("name", "pk")
    accounts = with_health(AdAccount.objects.filter(site__in=mine), now)
    rows = site_rows(mine, accounts, now)
    search = SearchForm(request.GET)
    search.is_valid()
    ctx = {
        **organisation_frame(request, "sites"),
        "groups": grouped(_searched(rows, search)),
        "has_search": len(rows) >= SITE_SEARCH_FROM or bool(search.cleaned_data.get("q")),
        "site_count": len(rows),
        "attention_count": sum(row.health.needs_someone for row in rows),
        "total": added(row.figures for row in rows),
        "account_count": len(accounts),
        "reconnect_count": sum(a.connection.status == Connection.Status.NEEDS_RECONNECT for a in accounts),
        "held": held_by(accounts, now),
        "search": search,
        "new_site": new_site,
        "show_new_site": bool(new_site.errors) or "new" in request.GET,
        "needed_to_connect": role_names(CONNECT),
        "refusal": take_refusal(request),
    }
    return render(request, "dashboard/sites.html", ctx, status=422 if new_site.errors else 200)


def teams_run_by(user: User) -> "QuerySet[Organisation]":
    """Return the organisations in which the person may add sites."""
    running = Membership.objects.filter(user=user, role__in=CONNECT, all_sites=True)
    return Organisation.objects.filter(pk__in=running.values("organisation")).order_by("name", "pk")


def add_site(team: Organisation, origin: str, actor: User, now: datetime) -> Site:
    """Add a site named after its host; the address with and without `www.` may send events."""
    scheme, _, host = origin.partition("://")
    bare = host.removeprefix("www.")
    twin = f"{scheme}://{bare}" if host != bare else f"{scheme}://www.{host}"
    origins = [origin] if host.startswith("localhost") else [origin, twin]
    with transaction.atomic():
        site = Site.objects.create(organisation=team, name=bare, allowed_origins=origins)
        record(
            actor, "site.add", organisation=team, site=site, target=bare, details={"origins": [[], origins]}, now=now
        )
    return site


def site_rows(mine: "QuerySet[Site]", accounts: list[AdAccount], now: datetime) -> list[SiteRow]:
    """Return a row per site, those that need someone first. The number of queries does not grow with the sites."""
    newest = Event.objects.filter(site=OuterRef("pk")).order_by("-received_at", "-pk").values("received_at")[:1]
    figures = figures_by_account(accounts, now)
    uploads = uploads_of([account.pk for account in accounts], now.date() - timedelta(days=WINDOW_DAYS - 1), now.date())
    matches = {one.pk: match_rate(uploads[one.pk].by_day(), one.report_read_at) for one in accounts}
    by_site: dict[int, list[AdAccount]] = defaultdict(list)
    for account in accounts:
        by_site[account.site_id].append(account)
    rows = [
        SiteRow(
            site,
            site_url(site),
            _with_silence(site_health(by_site[site.pk]), site.last_event_at, now),
            added(figures[account.pk] for account in by_site[site.pk]),
            len(by_site[site.pk]),
            site.last_event_at,
            matches_together(matches[account.pk] for account in by_site[site.pk]),
        )
        for site in mine.select_related("organisation").annotate(last_event_at=Subquery(newest))
    ]
    return sorted(rows, key=lambda row: row.health.rank)


def _with_silence(health: Health, last_event_at: datetime | None, now: datetime) -> Health:
    """Return the health, or that nothing comes any more where nothing else is wrong."""
    if health.look != "ok" or last_event_at is None or not is_silent(last_event_at.astimezone(UTC).date(), now):
        return health
    return Health("warn", "Silent", f"No event since {short_day(last_event_at.astimezone(UTC).date())}")


def grouped(rows: Iterable[SiteRow]) -> list[tuple[str, list[SiteRow]]]:
    """Return the rows by the name of their organisation, the one with the worst site first; one is not named."""
    groups: dict[int, list[SiteRow]] = defaultdict(list)
    for row in rows:
        groups[row.site.organisation_id].append(row)
    several = len(groups) > 1
    return [(group[0].site.organisation.name if several else "", group) for group in groups.values()]


def _searched(rows: list[SiteRow], search: SearchForm) -> list[SiteRow]:
    text = search.cleaned_data.get("q", "").casefold()
    found = [row for row in rows if text in f"{row.site.name} {row.site.domain}".casefold()]
    return [row for row in found if row.health.needs_someone] if search.cleaned_data.get("attention") else found
