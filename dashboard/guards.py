"""The only doors: who is signed in, which rows they may see, and which role an action needs.

A stranger gets 404, in the same words as for a row that does not exist; a colleague without the role gets 403 and is
told which role it takes. Owners and admins run the integration, marketers map and correct as well, developers send
again, viewers look.
"""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, NamedTuple, ParamSpec
from urllib.parse import SplitResult, urlsplit
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render, resolve_url
from django.utils import timezone
from django.utils.cache import patch_vary_headers
from django.utils.http import url_has_allowed_host_and_scheme

from dashboard.people.activity import note_seen
from dashboard.wording import listed
from ingest.models import Membership, Organisation, Role, Site
from integrations.models import AdAccount, Connection

# Who may do what. A door without roles is open to all five.
CONNECT = (Role.OWNER, Role.ADMIN)  # connect, reconnect, disconnect, choose accounts; also an account's settings
MAP = (Role.OWNER, Role.ADMIN, Role.MARKETER)  # the mapping
SEND = (Role.OWNER, Role.ADMIN, Role.MARKETER, Role.DEVELOPER)  # retry, hold, release and cancel conversions
INSTALL = (Role.OWNER, Role.ADMIN, Role.DEVELOPER)  # let an origin's pages send
CORRECT = (Role.OWNER, Role.ADMIN, Role.MARKETER)  # restate and retract them
IMPORT = (Role.OWNER, Role.ADMIN, Role.MARKETER)  # everything about imports
TEAM = (Role.OWNER, Role.ADMIN)  # invite people, change roles, rename the organisation

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponseBase]


class SiteEntry(NamedTuple):
    """A site that the person may enter, and as what."""

    site: Site
    role: Role


class AccountEntry(NamedTuple):
    """An account that the person may enter, with its site and connection joined, and as what."""

    account: AdAccount
    site: Site
    role: Role


class ConnectionEntry(NamedTuple):
    """A Microsoft sign-in that the person may see, with its site joined, and as what."""

    connection: Connection
    site: Site
    role: Role


class OrganisationEntry(NamedTuple):
    """An organisation that the person belongs to, and how."""

    organisation: Organisation
    membership: Membership
    role: Role


class RoleMissing(PermissionDenied):
    """The person may see the site, but the action needs one of `roles`."""

    def __init__(self, role: Role, roles: tuple[Role, ...]) -> None:
        super().__init__(f"{role} is not one of {roles}")
        self.role, self.roles = role, roles


def signed_in(view: View[P]) -> View[P]:
    """Let only signed-in people through to a page; nothing of it is kept by a cache, and 403 names the missing role.

    A page asked for by htmx answers 401 with HX-Redirect, so that the whole window goes to the sign-in.
    """

    @wraps(view)
    def wrapper(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        response: HttpResponseBase
        if not request.user.is_authenticated:
            response = _to_sign_in(request)
        else:
            note_seen(request, timezone.now())
            try:
                response = view(request, *args, **kwargs)
            except RoleMissing as missing:
                response = _role_missing(request, missing)
        response.headers["Cache-Control"] = "no-store"
        patch_vary_headers(response, ["HX-Request"])
        return response

    return wrapper


def site_for(request: HttpRequest, site_id: UUID, *roles: Role) -> SiteEntry:
    """Return the site and the person's role in it.

    Raises Http404 for a stranger, RoleMissing for a colleague without one of `roles`.
    """
    sites = Site.objects.for_user(person(request)).select_related("organisation").filter(public_id=site_id)
    site = sites.annotate(held_role=_held_role(request, "organisation")).first()
    if site is None:
        raise Http404
    return SiteEntry(site, _checked(site, roles))


def account_for(request: HttpRequest, site_id: UUID, account_id: str, *roles: Role) -> AccountEntry:
    """Return an account of a site by Microsoft's account id. Raises as `site_for` does."""
    accounts = AdAccount.objects.for_user(person(request)).select_related("site__organisation", "connection")
    found = accounts.filter(site__public_id=site_id, account_id=account_id)
    account = found.annotate(held_role=_held_role(request, "site__organisation")).first()
    if account is None:
        raise Http404
    return AccountEntry(account, account.site, _checked(account, roles))


def connection_for(request: HttpRequest, site_id: UUID, connection_id: UUID, *roles: Role) -> ConnectionEntry:
    """Return a Microsoft sign-in of a site. Raises as `site_for` does."""
    site, role = site_for(request, site_id, *roles)
    connection = site.connections.filter(public_id=connection_id).first()
    if connection is None:
        raise Http404
    return ConnectionEntry(connection, site, role)


def organisation_for(request: HttpRequest, organisation_id: UUID, *roles: Role) -> OrganisationEntry:
    """Return an organisation of the person. Raises as `site_for` does."""
    return _entry(memberships_of(request).filter(organisation__public_id=organisation_id).first(), roles)


def chosen_organisation(request: HttpRequest, *roles: Role) -> OrganisationEntry:
    """Return the organisation that `?org=` names, or the person's first. Raises as `site_for` does."""
    wanted = request.GET.get("org", "")
    if not wanted:
        return _entry(memberships_of(request).first(), roles)
    try:
        return organisation_for(request, UUID(wanted), *roles)
    except ValueError:
        raise Http404 from None


def memberships_of(request: HttpRequest) -> QuerySet[Membership]:
    """Return the person's memberships with their organisations, in the order of joining."""
    return Membership.objects.filter(user=person(request)).select_related("organisation").order_by("pk")


def person(request: HttpRequest) -> User:
    """Return who is signed in; views behind `signed_in` always have someone."""
    assert isinstance(request.user, User)
    return request.user


def by_htmx(request: HttpRequest) -> bool:
    """Say whether a fragment is wanted: htmx asks, and not to restore a page of the history."""
    headers = request.headers
    return headers.get("HX-Request") == "true" and headers.get("HX-History-Restore-Request") != "true"


def page_behind(request: HttpRequest) -> SplitResult:
    """Return the address of the page from which htmx asks; an empty one where it names none, or nonsense."""
    try:
        return urlsplit(request.headers.get("HX-Current-URL", ""))
    except ValueError:
        return urlsplit("")


def may(role: Role, roles: tuple[Role, ...]) -> bool:
    """Say whether a role is one of those that an action needs."""
    return role in roles


def role_names(roles: tuple[Role, ...]) -> str:
    """Write the roles an action needs: "Owner or Admin"."""
    return listed([role.label for role in roles]).replace(" and ", " or ")


def _entry(membership: Membership | None, roles: tuple[Role, ...]) -> OrganisationEntry:
    if membership is None:
        raise Http404
    role = Role(membership.role)
    if roles and role not in roles:
        raise RoleMissing(role, roles)
    return OrganisationEntry(membership.organisation, membership, role)


def _held_role(request: HttpRequest, organisation: str) -> Subquery:
    """Say, inside the query for a row, the person's role in the organisation that it belongs to."""
    held = Membership.objects.filter(user=person(request), organisation=OuterRef(organisation))
    return Subquery(held.values("role")[:1])


def _checked(found: Site | AdAccount, roles: tuple[Role, ...]) -> Role:
    role = Role(getattr(found, "held_role"))  # noqa: B009 - an annotation, unknown to the model's type
    if roles and role not in roles:
        raise RoleMissing(role, roles)
    return role


def _role_missing(request: HttpRequest, missing: RoleMissing) -> HttpResponse:
    ctx = {"role": missing.role.label, "needed": role_names(missing.roles)}
    return render(request, "403.html", ctx, status=403)


def _to_sign_in(request: HttpRequest) -> HttpResponse:
    # A form that was sent cannot be sent again after the sign-in: back to the page it stood on, or to the start.
    parts = page_behind(request)
    back = parts.path + (f"?{parts.query}" if parts.query else "")
    if not parts.path and request.method in ("GET", "HEAD"):
        back = request.get_full_path()
    query = QueryDict(mutable=True)
    if back and url_has_allowed_host_and_scheme(back, allowed_hosts=None):
        query["next"] = back
    target = f"{resolve_url(settings.LOGIN_URL)}?{query.urlencode(safe='/')}".rstrip("?")
    if by_htmx(request):
        return HttpResponse(status=401, headers={"HX-Redirect": target})
    return redirect(target)
