"""What surrounds every page: navigation, breadcrumbs, the site's clock and zone, and what the person's role allows."""

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils import timezone

from dashboard import guards, wording
from dashboard.health import account_health, with_health
from forwarding.times import zone_named
from ingest.models import Organisation, Role, Site
from integrations.models import AdAccount

SITES_IN_SWITCHER = 12
# So many sites are too many to find one at a glance.
SITE_SEARCH_FROM = 8


class Crumb(NamedTuple):
    """A step of the breadcrumb; without an address it is where the person is."""

    label: str
    href: str = ""


class Door(NamedTuple):
    """A line of the navigation; an account's has the dot of its health. `needing` counts what needs someone.

    `needs` names the roles that open it, where the person has none of them.
    """

    key: str
    label: str
    href: str
    icon: str = ""
    look: str = ""
    word: str = ""
    needing: int = 0
    needs: str = ""


class Page(NamedTuple):
    """A page that the navigation may lead to; the key is also the name of its URL. Without `roles` all may open it."""

    key: str
    label: str
    icon: str
    roles: tuple[Role, ...] = ()


# In the navigation's order. A page that does not exist yet is left out by itself.
_SITE_PAGES = (
    Page("overview", "Overview", icon="gauge"),
    Page("events", "Events", icon="activity"),
    Page("reconciliation", "Reconciliation", icon="scale"),
    Page("integrations", "Integrations", icon="plug-connected"),
    Page("imports", "Imports", icon="file-import", roles=guards.IMPORT),
)
_SET_UP_PAGES = (
    Page("install", "Install SDK", icon="code"),
    Page("keys", "API keys", icon="key", roles=guards.INSTALL),
    Page("site-settings", "Site settings", icon="settings"),
)
_ORGANISATION_PAGES = (
    Page("sites", "Sites", icon="layout-dashboard"),
    Page("team", "Team", icon="users"),
    Page("audit", "Audit log", icon="history"),
)


class SiteFrame(dict[str, object]):
    """The context of a page inside a site; `accounts` are its active ones, ready for `account_health`."""

    accounts: list[AdAccount]


def site_frame(request: HttpRequest, site: Site, role: Role, nav: str, *crumbs: Crumb) -> SiteFrame:
    """Return the context of a page inside a site. `nav` is the key of its line, or an account id for its own pages."""
    accounts = with_health(site.ad_accounts.all(), timezone.now())
    frame = SiteFrame(
        {
            **_common(request, nav, site.organisation),
            "site": site,
            "role": role,
            "zone": zone_of(site),
            "can_connect": guards.may(role, guards.CONNECT),
            "needed_to_connect": guards.role_names(guards.CONNECT),
            "accounts": accounts,
            "organisation_name": site.organisation.name,
            "site_doors": _doors(_SITE_PAGES, site, role, {"integrations": _needing_someone(accounts)}),
            "account_doors": [_account_door(site, account) for account in accounts],
            "set_up_doors": _doors(_SET_UP_PAGES, site, role),
            "crumbs": [Crumb(site.name, site_url(site)), *crumbs],
        }
    )
    frame.accounts = accounts
    return frame


def organisation_frame(
    request: HttpRequest, nav: str, *crumbs: Crumb, organisation: Organisation | None = None
) -> dict[str, object]:
    """Return the context of a page above the sites: of `organisation`, or of the person's first."""
    mine = [membership.organisation for membership in guards.memberships_of(request)]
    shown = organisation or next(iter(mine), None)
    name = shown.name if shown else "No team yet"
    return {
        **_common(request, nav, shown if len(mine) > 1 else None),
        "organisation": shown,
        "organisations": mine,
        "organisation_name": name,
        "crumbs": [Crumb(name), *crumbs],
    }


def site_url(site: Site) -> str:
    """Return where a site begins: its overview, or its integrations while there is no overview."""
    return url_or_nothing("overview", site.public_id) or reverse("dashboard:integrations", args=[site.public_id])


def account_url(site: Site, account: AdAccount, page: str = "overview") -> str:
    """Return the address of an account's page, or nothing while that page does not exist."""
    return url_or_nothing(f"account-{page}", site.public_id, account.account_id)


def url_or_nothing(name: str, *args: object) -> str:
    """Return a page's address, or "" when there is no such page: nothing ever links into the void."""
    try:
        return reverse(f"dashboard:{name}", args=args)
    except NoReverseMatch:
        return ""


def zone_of(site: Site) -> ZoneInfo:
    """Return the site's time zone; UTC when its name is none."""
    return zone_named(site.time_zone)


def _common(request: HttpRequest, nav: str, organisation: Organisation | None) -> dict[str, object]:
    user = guards.person(request)
    sites = list(Site.objects.for_user(user).order_by("name", "pk")[: SITES_IN_SWITCHER + 1])
    return {
        "nav": nav,
        "now": timezone.now(),
        "person_name": user.get_full_name() or user.email,
        "person_initials": wording.initials(user.get_full_name() or user.email),
        "switch_sites": [(site, site_url(site)) for site in sites[:SITES_IN_SWITCHER]],
        "more_sites": len(sites) > SITES_IN_SWITCHER,
        "has_site_search": len(sites) >= SITE_SEARCH_FROM,
        "organisation_doors": _organisation_doors(organisation),
        "help_href": _help_url(request),
    }


def _help_url(request: HttpRequest) -> str:
    """Return the address of the help with this page, its site and its account."""
    at = request.resolver_match
    if at is None or at.url_name == "help":
        return request.get_full_path()
    of = {name: at.kwargs.get(f"{name}_id") for name in ("site", "account")}
    query = {"page": at.url_name, **{name: value for name, value in of.items() if value}}
    return f"{reverse('dashboard:help')}?{urlencode(query)}"


def _doors(
    pages: tuple[Page, ...], site: Site | None, role: Role | None = None, needing: Mapping[str, int] | None = None
) -> list[Door]:
    args = () if site is None else (site.public_id,)
    doors = [
        Door(
            page.key,
            page.label,
            url_or_nothing(page.key, *args),
            page.icon,
            needing=(needing or {}).get(page.key, 0),
            needs=_needed_for(page, role),
        )
        for page in pages
    ]
    return [door for door in doors if door.href]


def needed_for(key: str, role: Role) -> str:
    """Name the roles that open a page of a site, where the person has none of them; "" where they may."""
    return next((_needed_for(page, role) for page in (*_SITE_PAGES, *_SET_UP_PAGES) if page.key == key), "")


def _needed_for(page: Page, role: Role | None) -> str:
    return guards.role_names(page.roles) if page.roles and role not in page.roles else ""


def _organisation_doors(organisation: Organisation | None) -> list[Door]:
    """Return the lines of the organisation; named in their addresses where a person has several, or may have."""
    query = f"?org={organisation.public_id}" if organisation else ""
    doors = _doors(_ORGANISATION_PAGES, None)
    return [door if door.key == "sites" else door._replace(href=door.href + query) for door in doors]


def _needing_someone(accounts: list[AdAccount]) -> int:
    return sum(account_health(account).needs_someone for account in accounts)


def _account_door(site: Site, account: AdAccount) -> Door:
    health = account_health(account)
    return Door(account.account_id, account.name, account_url(site, account), look=health.look, word=health.word)
