"""Install SDK: what to copy, and whether it works."""

import hashlib
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from dashboard.frame import Crumb, site_frame, url_or_nothing, zone_of
from dashboard.guards import INSTALL, SiteEntry, by_htmx, may, person, role_names, signed_in, site_for
from dashboard.install import checklist as installation
from dashboard.install import snippets
from dashboard.install.checklist import PageLink, page_link
from dashboard.install.facts import read_facts
from dashboard.install.snippets import Installation
from dashboard.toasts import Toast, say_next, say_now
from ingest import blocked_origins, sdk
from ingest.click_ids import new_test_click_id
from ingest.models import ConsentPolicy, Site

# Tabs by their key in the query, for browsers without scripts.
PLATFORMS = (("html", "HTML"), ("gtm", "Tag manager"), ("shopify", "Shopify"), ("woocommerce", "WooCommerce"))
PLACES = (("browser", "Browser"), ("curl", "curl"), ("python", "Python"))
# Those whose national phone numbers the SDK reads.
COUNTRIES = (
    ("US", "United States"), ("CA", "Canada"), ("GB", "United Kingdom"), ("IE", "Ireland"), ("FR", "France"),
    ("BE", "Belgium"), ("NL", "Netherlands"), ("DE", "Germany"), ("AT", "Austria"), ("CH", "Switzerland"),
    ("SE", "Sweden"), ("AU", "Australia"), ("NZ", "New Zealand"),
)  # fmt: skip


@signed_in
@require_GET
def install(request: HttpRequest, site_id: UUID) -> HttpResponse:
    """Show what to copy for which platform, and the checks."""
    entry = site_for(request, site_id)
    site, role = entry
    about = about_site(site)
    script = sdk.current()
    page_url = f"{settings.PUBLIC_URL}{reverse('dashboard:install', args=[site.public_id])}"
    ctx = {
        **site_frame(request, site, role, "install", Crumb("Install SDK")),
        **_checks_context(entry),
        "platforms": PLATFORMS,
        "platform": _chosen(request, "platform", PLATFORMS),
        "places": PLACES,
        "place": _chosen(request, "place", PLACES),
        "about": about,
        "html": snippets.html(about),
        "pinned": snippets.pinned(about) if about.version else "",
        "grant": snippets.GRANT,
        "tag_manager": snippets.tag_manager(about),
        "shopify_cart": snippets.SHOPIFY_CART,
        "woocommerce": snippets.woocommerce(about),
        "browser": snippets.browser(about),
        "curl": snippets.curl(about),
        "python": snippets.python(about),
        "mail_href": snippets.mail(about, site.name, page_url),
        "kilobytes": f"{len(script.gzipped) / 1000:.1f}" if script else "",
        "link": _link(request, site),
        "events_href": url_or_nothing("events", site.public_id),
    }
    return render(request, "dashboard/install/page.html", ctx)


@signed_in
@require_GET
def checks(request: HttpRequest, site_id: UUID) -> HttpResponse:
    """Answer an open page the checks as they are now: 204 while they are as it has `seen` them."""
    context = _checks_context(site_for(request, site_id))
    if request.GET.get("seen") == context["version"]:
        return HttpResponse(status=204)
    return render(request, "dashboard/install/_checks_news.html", context)


@signed_in
@require_GET
def page_to_check(request: HttpRequest, site_id: UUID) -> HttpResponse:
    """Return the link that opens a page of the customer's with a test click id, or why there is none."""
    site, _ = site_for(request, site_id)
    return render(request, "dashboard/install/_page_link_news.html", {"link": _link(request, site)})


@signed_in
@require_GET
def hash_inspector(request: HttpRequest, site_id: UUID) -> HttpResponse:
    """Show the page on which a script hashes what is typed. It asks the server for nothing."""
    site, role = site_for(request, site_id)
    crumbs = Crumb("Install SDK", reverse("dashboard:install", args=[site_id])), Crumb("Hash inspector")
    ctx = {**site_frame(request, site, role, "install", *crumbs), "countries": COUNTRIES}
    return render(request, "dashboard/install/hash_inspector.html", ctx)


@signed_in
@require_POST
def allow_origin(request: HttpRequest, site_id: UUID) -> HttpResponse:
    """Put a blocked origin on the site's list."""
    entry = site_for(request, site_id, *INSTALL)
    origin = request.POST.get("origin", "")
    said: tuple[Toast, str, str]
    if blocked_origins.allow(entry.site, origin, person(request), timezone.now()):
        said = ("ok", f"{origin} is allowed", "Load a page there again: it sends again what was refused.")
    else:
        said = ("info", "Nothing was changed", "No page of this origin was turned away.")
    if by_htmx(request):
        return say_now(render(request, "dashboard/install/_checks_news.html", _checks_context(entry)), *said)
    say_next(request, *said)
    return redirect("dashboard:install", site_id)


def about_site(site: Site) -> Installation:
    """Return what the snippets of a site are written with."""
    version = sdk.newest_version() or ""
    return Installation(
        settings.PUBLIC_URL,
        site.write_key,
        site.currency,
        site.consent_policy == ConsentPolicy.REQUIRE,
        version,
        sdk.integrity(version) if version else "",
    )


def _checks_context(entry: SiteEntry) -> dict[str, object]:
    now = timezone.now()
    found = installation.checks(read_facts(entry.site, now))
    return {
        "site": entry.site,
        "zone": zone_of(entry.site),
        "now": now,
        "checks": found,
        "summary": installation.summary(found),
        "version": hashlib.sha256(repr(found).encode()).hexdigest()[:16],
        "may_allow": may(entry.role, INSTALL),
        "needed_to_allow": role_names(INSTALL),
    }


def _link(request: HttpRequest, site: Site) -> PageLink:
    typed = request.GET.get("page")
    test_click_id = new_test_click_id(timezone.now())
    if typed is None and not site.allowed_origins:
        return PageLink("")
    return page_link(f"{site.allowed_origins[0]}/" if typed is None else typed, site.allowed_origins, test_click_id)


def _chosen(request: HttpRequest, name: str, tabs: tuple[tuple[str, str], ...]) -> str:
    asked = request.GET.get(name, "")
    return asked if asked in dict(tabs) else tabs[0][0]
