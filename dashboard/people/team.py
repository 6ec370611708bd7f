"""The team of an organisation: who is in it, what each may do, who was invited; and how all that changes."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from dashboard import wording
from dashboard.frame import Crumb, organisation_frame
from dashboard.guards import (
    TEAM,
    OrganisationEntry,
    chosen_organisation,
    organisation_for,
    person,
    role_names,
    signed_in,
)
from dashboard.people import invitations, memberships, rules
from dashboard.people.activity import with_activity
from dashboard.people.forms import ALL, SOME, InviteForm, NameForm, RoleForm
from dashboard.people.invitations import Made, name_of
from dashboard.people.memberships import TeamRefused, judged
from dashboard.people.permissions import IN_SHORT, PERMISSIONS
from dashboard.toasts import say_next
from ingest.models import Invitation, Membership, Organisation, Role, Site

SITES_NAMED = 2
PEOPLE_SHOWN = 500
LOOKS = ("", "b", "c", "d", "g")


@dataclass(frozen=True)
class PersonRow:
    """Somebody on the team. `two_step` and `last_active_at` are for those who run it."""

    membership: Membership
    name: str
    email: str
    look: str
    reach: str
    is_me: bool
    two_step: bool
    last_active_at: datetime | None
    may_open: bool

    @property
    def initials(self) -> str:
        """Return the two letters that stand for the person."""
        return wording.initials(self.name)


@dataclass(frozen=True)
class InvitationRow:
    """An invitation that nobody has accepted yet."""

    invitation: Invitation
    inviter: str
    reach: str
    is_expired: bool
    why_not: str


class RoleChoice(NamedTuple):
    """A role that may be given."""

    role: Role
    in_short: str
    is_chosen: bool


class SiteChoice(NamedTuple):
    """A site that may be ticked."""

    value: str
    name: str
    is_chosen: bool


@signed_in
@require_GET
def team(request: HttpRequest) -> HttpResponse:
    """Show the team of one organisation of the person; `?new=1` opens the invitation."""
    return _team(request, chosen_organisation(request))


@signed_in
@require_POST
def invite(request: HttpRequest, organisation_id: UUID) -> HttpResponse:
    """Invite an address and mail it the link."""
    entry = organisation_for(request, organisation_id, *TEAM)
    form = InviteForm(request.POST, entry.organisation, rules.roles_given_by(judged(entry.membership)))
    if not form.is_valid():
        return _team(request, entry, form)
    email = form.cleaned_data["email"]
    try:
        made = invitations.invite(
            person(request), entry.organisation, email, form.given_role, form.given_sites, timezone.now()
        )
    except TeamRefused as refused:
        form.add_error(None, str(refused))
        return _team(request, entry, form)
    except Membership.DoesNotExist:
        raise Http404 from None
    _say_mailed(request, made)
    return redirect(team_url(entry.organisation))


@signed_in
@require_POST
def invite_again(request: HttpRequest, organisation_id: UUID, invitation_id: UUID) -> HttpResponse:
    """Mail a new link for an invitation; the old one ends."""
    entry = organisation_for(request, organisation_id, *TEAM)
    try:
        made = invitations.invite_again(person(request), entry.organisation, invitation_id, timezone.now())
    except TeamRefused as refused:
        say_next(request, "bad", "No mail was sent", str(refused))
    except (Invitation.DoesNotExist, Membership.DoesNotExist):
        raise Http404 from None
    else:
        _say_mailed(request, made)
    return redirect(team_url(entry.organisation))


@signed_in
@require_POST
def revoke(request: HttpRequest, organisation_id: UUID, invitation_id: UUID) -> HttpResponse:
    """End an invitation."""
    entry = organisation_for(request, organisation_id, *TEAM)
    try:
        revoked = invitations.revoke(person(request), entry.organisation, invitation_id, timezone.now())
    except TeamRefused as refused:
        say_next(request, "bad", "Nothing was changed", str(refused))
    except (Invitation.DoesNotExist, Membership.DoesNotExist):
        raise Http404 from None
    else:
        say_next(request, "ok", "Invitation revoked", f"The link that {revoked.email} has no longer works.")
    return redirect(team_url(entry.organisation))


@signed_in
@require_http_methods(["GET", "POST"])
def member(request: HttpRequest, organisation_id: UUID, member_id: int) -> HttpResponse:
    """Show what a person may do, and change it."""
    entry = organisation_for(request, organisation_id, *TEAM)
    row = _member_of(entry.organisation, member_id)
    roles = rules.roles_given_by(judged(entry.membership))
    form = RoleForm(request.POST if request.method == "POST" else None, entry.organisation, roles)
    if form.is_bound and form.is_valid():
        try:
            changed = memberships.change(
                person(request), entry.organisation, row.pk, form.given_role, form.given_sites, timezone.now()
            )
        except TeamRefused as refused:
            form.add_error(None, str(refused))
        except Membership.DoesNotExist:
            raise Http404 from None
        else:
            title = f"{name_of(row.user)} is {changed.get_role_display()} now"
            say_next(request, "ok", title, f"With {memberships.reach(changed)}. It holds from the next page on.")
            return redirect(team_url(entry.organisation))
    ctx = {
        **_frame(request, entry, Crumb(name_of(row.user))),
        "member": row,
        "member_name": name_of(row.user),
        "why_not_change": rules.why_not_change(judged(entry.membership), judged(row), Role(row.role), row.all_sites),
        "why_not_remove": rules.why_not_remove(judged(entry.membership), judged(row)),
        "form": form,
        **_choices(form, entry, _sites(entry.organisation), row),
    }
    return render(request, "dashboard/people/member.html", ctx, status=422 if form.errors else 200)


@signed_in
@require_http_methods(["GET", "POST"])
def remove(request: HttpRequest, organisation_id: UUID, member_id: int) -> HttpResponse:
    """Ask, then take a person out of the organisation."""
    entry = organisation_for(request, organisation_id, *TEAM)
    row = _member_of(entry.organisation, member_id)
    if request.method == "POST":
        try:
            memberships.remove(person(request), entry.organisation, row.pk, timezone.now())
        except TeamRefused as refused:
            say_next(request, "bad", "Nobody was removed", str(refused))
        except Membership.DoesNotExist:
            raise Http404 from None
        else:
            say_next(request, "ok", f"{name_of(row.user)} is removed", "Their pages are closed from now on.")
        return redirect(team_url(entry.organisation))
    ctx = {
        **_frame(request, entry, Crumb(f"Remove {name_of(row.user)}")),
        "member": row,
        "member_name": name_of(row.user),
        "why_not": rules.why_not_remove(judged(entry.membership), judged(row)),
    }
    return render(request, "dashboard/people/remove.html", ctx)


@signed_in
@require_http_methods(["GET", "POST"])
def leave(request: HttpRequest, organisation_id: UUID) -> HttpResponse:
    """Ask, then take the person out of an organisation of theirs."""
    entry = organisation_for(request, organisation_id)
    if request.method == "POST":
        try:
            memberships.leave(person(request), entry.organisation, timezone.now())
        except TeamRefused as refused:
            say_next(request, "bad", "You are still on the team", str(refused))
            return redirect(team_url(entry.organisation))
        except Membership.DoesNotExist:
            raise Http404 from None
        say_next(request, "ok", f"You left {entry.organisation.name}", "To come back you need a new invitation.")
        return redirect("dashboard:sites")
    ctx = {
        **_frame(request, entry, Crumb("Leave")),
        "why_not": rules.why_not_leave(judged(entry.membership), _other_owners(entry)),
    }
    return render(request, "dashboard/people/leave.html", ctx)


@signed_in
@require_http_methods(["GET", "POST"])
def rename(request: HttpRequest, organisation_id: UUID) -> HttpResponse:
    """Give the organisation another name."""
    entry = organisation_for(request, organisation_id, *TEAM)
    form = NameForm(request.POST if request.method == "POST" else {"name": entry.organisation.name})
    if request.method == "POST" and form.is_valid():
        try:
            memberships.rename(person(request), entry.organisation, form.cleaned_data["name"], timezone.now())
        except TeamRefused as refused:
            form.add_error(None, str(refused))
        except Membership.DoesNotExist:
            raise Http404 from None
        else:
            say_next(request, "ok", "Name saved", f"The organisation is called {form.cleaned_data['name']} now.")
            return redirect(team_url(entry.organisation))
    ctx = {**_frame(request, entry, Crumb("Rename")), "form": form}
    return render(request, "dashboard/people/rename.html", ctx, status=422 if form.errors else 200)


def team_url(organisation: Organisation) -> str:
    """Return the address of an organisation's team."""
    return f"{reverse('dashboard:team')}?org={organisation.public_id}"


def _team(request: HttpRequest, entry: OrganisationEntry, form: InviteForm | None = None) -> HttpResponse:
    now, me = timezone.now(), judged(entry.membership)
    manages = rules.manages(me)
    form = form or InviteForm(None, entry.organisation, rules.roles_given_by(me))
    sites = _sites(entry.organisation)
    waiting = _waiting(entry, len(sites), now) if manages else []
    ctx = {
        **_frame(request, entry),
        # How many sites there are is no news for who sees some of them.
        "people": _people(entry, len(sites) if entry.membership.all_sites else None, manages),
        "waiting": waiting,
        "manages": manages,
        "needed": role_names(TEAM),
        "sees_some": not entry.membership.all_sites,
        "roles": list(Role),
        "permissions": PERMISSIONS,
        "form": form,
        "shows_form": manages and (bool(form.errors) or "new" in request.GET),
        "show_dialog": manages and not form.errors and "new" not in request.GET,
        **_choices(form, entry, sites, None),
    }
    return render(request, "dashboard/people/team.html", ctx, status=422 if form.errors else 200)


def _frame(request: HttpRequest, entry: OrganisationEntry, *crumbs: Crumb) -> dict[str, object]:
    home = Crumb("Team", team_url(entry.organisation))
    return {
        **organisation_frame(request, "team", home, *crumbs, organisation=entry.organisation),
        "role": entry.role,
        "team_url": home.href,
    }


def _people(entry: OrganisationEntry, total: int | None, manages: bool) -> list[PersonRow]:
    """Return whom the person meets, the oldest first."""
    rows = memberships.met_by(entry.membership).select_related("user").prefetch_related("sites").order_by("pk")
    return [_person(row, entry, total, manages) for row in with_activity(rows)[:PEOPLE_SHOWN]]


def _person(row: Membership, entry: OrganisationEntry, total: int | None, manages: bool) -> PersonRow:
    user = row.user
    seen = [moment for moment in (user.last_login, row.last_seen_at) if moment]  # type: ignore[attr-defined]
    return PersonRow(
        membership=row,
        name=name_of(user),
        email=user.email,
        look=LOOKS[row.pk % len(LOOKS)],
        reach=_reach(row, total),
        is_me=row.pk == entry.membership.pk,
        two_step=bool(row.two_step),  # type: ignore[attr-defined]
        last_active_at=max(seen, default=None),
        may_open=manages and row.pk != entry.membership.pk,
    )


def _waiting(entry: OrganisationEntry, total: int, now: datetime) -> list[InvitationRow]:
    me = judged(entry.membership)
    rows = entry.organisation.invitations.filter(accepted_at__isnull=True, revoked_at__isnull=True)
    return [
        InvitationRow(
            row,
            name_of(row.invited_by) if row.invited_by else "someone who left",
            _reach(row, total),
            invitations.state_of(row, now) is invitations.State.EXPIRED,
            rules.why_not_invite(me, Role(row.role), row.all_sites),
        )
        for row in rows.select_related("invited_by").prefetch_related("sites").order_by("pk")
    ]


def _reach(row: Membership | Invitation, total: int | None) -> str:
    if row.all_sites:
        return "All sites" if total is None else f"All {total}"
    names = sorted(site.name for site in row.sites.all())
    more = len(names) - SITES_NAMED
    return wording.listed([*names[:SITES_NAMED], *([f"{more} more"] if more > 0 else [])]) or "None"


def _choices(form: RoleForm, entry: OrganisationEntry, sites: list[Site], row: Membership | None) -> dict[str, object]:
    """Return the roles and sites to choose from, with what is chosen: as sent, else as it is, else the least."""
    role = form["role"].value() or (row.role if row else Role.VIEWER)
    reach = form["reach"].value() or (SOME if row and not row.all_sites else ALL)
    ticked = form.chosen or ({str(site.public_id) for site in row.sites.all()} if row and not form.is_bound else set())
    given = rules.roles_given_by(judged(entry.membership))
    return {
        "role_choices": [RoleChoice(one, IN_SHORT[one], one.value == role) for one in given],
        "some_sites": reach == SOME,
        "site_choices": [SiteChoice(str(site.public_id), site.name, str(site.public_id) in ticked) for site in sites],
    }


def _sites(organisation: Organisation) -> list[Site]:
    return list(organisation.sites.order_by("name", "pk"))


def _member_of(organisation: Organisation, member_id: int) -> Membership:
    row = organisation.memberships.select_related("user").prefetch_related("sites").filter(pk=member_id).first()
    if row is None:
        raise Http404
    return row


def _other_owners(entry: OrganisationEntry) -> int:
    return memberships.other_owners(entry.membership).count()


def _say_mailed(request: HttpRequest, made: Made) -> None:
    email = made.invitation.email
    if invitations.send(made):
        say_next(request, "ok", "Invitation sent", f"The link in the mail to {email} works once, for 7 days.")
    else:
        text = f"The mail server did not take the mail to {email}. The invitation is open: resend it."
        say_next(request, "bad", "The mail did not go out", text)
