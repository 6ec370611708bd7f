"""What is done to memberships: each change under the organisation's lock, judged there by the rules, and audited."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q, QuerySet

from dashboard.guards import TEAM
from dashboard.people import rules
from ingest.audit import record
from ingest.models import Invitation, Membership, Organisation, Role, Site


class TeamRefused(Exception):  # noqa: N818 - what happened, not whose fault it is
    """A rule of the team forbids it; the text says which, for the person."""


def judged(membership: Membership) -> rules.Member:
    """Return a membership as the rules read it."""
    return rules.Member(membership.pk, Role(membership.role), membership.all_sites)


def change(
    actor: User, organisation: Organisation, member_id: int, role: Role, sites: Sequence[Site] | None, now: datetime
) -> Membership:
    """Give a member a role and sites (None: all). Returns the membership; nothing is written where nothing changes.

    Raises TeamRefused, and Membership.DoesNotExist when either has left meanwhile.
    """
    with transaction.atomic():
        mine, member = _locked(organisation, actor, member_id)
        hold(rules.why_not_change(judged(mine), judged(member), role, sites is None))
        before = _told(member)
        member.role, member.all_sites = role, sites is None
        member.save(update_fields=["role", "all_sites"])
        member.sites.set(sites or [])
        after = _told(member)
        changed = {name: [before[name], after[name]] for name in after if before[name] != after[name]}
        if changed:
            _record(actor, "membership.change", member, changed, now)
        if not rules.manages(judged(member)):
            _withdraw_invitations(member, now)
    return member


def remove(actor: User, organisation: Organisation, member_id: int, now: datetime) -> Membership:
    """Take somebody out of the organisation. Raises as `change` does."""
    with transaction.atomic():
        mine, member = _locked(organisation, actor, member_id)
        hold(rules.why_not_remove(judged(mine), judged(member)))
        _end(actor, "membership.remove", member, now)
    return member


def leave(user: User, organisation: Organisation, now: datetime) -> None:
    """Take the person themselves out. Raises as `change` does."""
    with transaction.atomic():
        mine, _ = _locked(organisation, user, None)
        hold(rules.why_not_leave(judged(mine), other_owners(mine).count()))
        _end(user, "membership.leave", mine, now)


def rename(actor: User, organisation: Organisation, name: str, now: datetime) -> None:
    """Give the organisation another name. Raises as `change` does."""
    with transaction.atomic():
        mine, _ = _locked(organisation, actor, None)
        hold("" if rules.manages(judged(mine)) else rules.NOT_YOURS)
        before, organisation.name = organisation.name, name
        organisation.save(update_fields=["name"])
        if before != name:
            details = {"name": [before, name]}
            record(actor, "organisation.rename", organisation=organisation, target=name, details=details, now=now)


def other_owners(membership: Membership) -> QuerySet[Membership]:
    """Return the other owners of an organisation who can still sign in."""
    owners = Membership.objects.filter(organisation=membership.organisation_id, role=Role.OWNER, user__is_active=True)
    return owners.exclude(pk=membership.pk)


def met_by(membership: Membership) -> QuerySet[Membership]:
    """Return whom a member meets: the team, or with some sites only themselves and those who run it."""
    team = Membership.objects.filter(organisation=membership.organisation_id)
    return team if membership.all_sites else team.filter(Q(role__in=TEAM) | Q(pk=membership.pk))


def reach(membership: Membership | Invitation) -> str:
    """Write which sites somebody sees, or will see: "all sites", or their names."""
    if membership.all_sites:
        return "all sites"
    return ", ".join(sorted(site.name for site in membership.sites.all())) or "no site"


def _locked(organisation: Organisation, actor: User, member_id: int | None) -> tuple[Membership, Membership]:
    """Lock the organisation and read its two memberships anew: what both were when the page was loaded may be past."""
    Organisation.objects.select_for_update().get(pk=organisation.pk)
    mine = organisation.memberships.select_related("user").get(user=actor)
    member = mine if member_id is None else organisation.memberships.select_related("user").get(pk=member_id)
    return mine, member


def hold(reason: str) -> None:
    """Raise TeamRefused where a rule gave a reason."""
    if reason:
        raise TeamRefused(reason)


def _told(member: Membership) -> dict[str, str]:
    return {"role": member.role, "sites": reach(member)}


def _end(actor: User, action: str, member: Membership, now: datetime) -> None:
    _record(actor, action, member, _told(member), now)
    _withdraw_invitations(member, now)
    member.delete()


def _withdraw_invitations(member: Membership, now: datetime) -> None:
    """End the open invitations of somebody who no longer runs the team: they would outlive the right to invite."""
    sent = Invitation.objects.filter(organisation=member.organisation_id, invited_by=member.user_id)
    sent.filter(accepted_at__isnull=True, revoked_at__isnull=True).update(revoked_at=now)


def _record(actor: User, action: str, member: Membership, details: Mapping[str, object], now: datetime) -> None:
    target = member.user.email or member.user.get_username()
    record(actor, action, organisation=member.organisation, target=target, details=details, now=now)
