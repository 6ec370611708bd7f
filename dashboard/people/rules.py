"""Who may change whom in a team: pure decisions, each an empty text or the reason why not.

Owners and admins run the team; only an owner makes, changes or removes an owner. Nobody changes themselves, so the
last owner can be neither demoted nor removed: whoever does that to an owner is one, and stays. Leaving is asked apart.
Who runs everything sees everything: owners and admins are never held to some sites.
"""

from dataclasses import dataclass

from dashboard.guards import TEAM, role_names
from ingest.models import Role

NEED_ALL_SITES = (Role.OWNER, Role.ADMIN)

NOT_YOURS = f"This needs the {role_names(TEAM)} role."
ONLY_AN_OWNER = "Only an owner may make, change or remove an owner."
NOT_YOURSELF = "You cannot change your own role or sites. Ask another owner or admin."
LEAVE_INSTEAD = "You cannot remove yourself. Leave the team instead."
SEES_EVERYTHING = "An owner or admin sees all sites. Choose all sites, or another role."
LAST_OWNER = "You are the last owner. Make somebody else an owner first, then leave."


@dataclass(frozen=True)
class Member:
    """A membership, as far as the rules read it."""

    id: int
    role: Role
    all_sites: bool


def manages(actor: Member) -> bool:
    """Say whether somebody runs the team."""
    return actor.role in TEAM and actor.all_sites


def roles_given_by(actor: Member) -> tuple[Role, ...]:
    """Return the roles that somebody may give, strongest first."""
    if not manages(actor):
        return ()
    return tuple(role for role in Role if role != Role.OWNER or actor.role == Role.OWNER)


def why_not_invite(actor: Member, role: Role, all_sites: bool) -> str:
    """Say why somebody may not be invited in this role."""
    return _why_not_give(actor, role, all_sites)


def why_not_change(actor: Member, member: Member, role: Role, all_sites: bool) -> str:
    """Say why a member may not be given this role and these sites."""
    if actor.id == member.id:
        return NOT_YOURSELF
    return _why_not_touch(actor, member) or _why_not_give(actor, role, all_sites)


def why_not_remove(actor: Member, member: Member) -> str:
    """Say why a member may not be removed."""
    if actor.id == member.id:
        return LEAVE_INSTEAD
    return _why_not_touch(actor, member)


def why_not_leave(member: Member, other_owners: int) -> str:
    """Say why somebody may not leave; `other_owners` are those who can still sign in."""
    return LAST_OWNER if member.role == Role.OWNER and not other_owners else ""


def _why_not_touch(actor: Member, member: Member) -> str:
    if not manages(actor):
        return NOT_YOURS
    return ONLY_AN_OWNER if member.role == Role.OWNER != actor.role else ""


def _why_not_give(actor: Member, role: Role, all_sites: bool) -> str:
    if not manages(actor):
        return NOT_YOURS
    if role not in roles_given_by(actor):
        return ONLY_AN_OWNER
    return SEES_EVERYTHING if role in NEED_ALL_SITES and not all_sites else ""
