"""Invitations: a link in a mail that lets one address join one organisation, once, within a week.

The link's token is 32 random bytes and is kept as its SHA-256 only. Sending again makes a new one, and the old link
ends. Accepting adds a membership and never changes one that is there.
"""

import hashlib
import logging
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import Enum
from typing import NamedTuple
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import User
from django.core.mail import EmailMessage
from django.db import transaction
from django.db.models import QuerySet
from django.template.loader import render_to_string
from django.urls import reverse

from dashboard.people import rules
from dashboard.people.memberships import TeamRefused, hold, judged, reach
from ingest.audit import record
from ingest.models import Invitation, Membership, Organisation, Role, Site

LIFE = timedelta(days=7)
REST_BETWEEN_MAILS = timedelta(minutes=1)
MAX_OPEN = 100  # of one organisation: nobody's address book is mailed through
TOKEN_BYTES = 32

logger = logging.getLogger(__name__)


class State(Enum):
    """What has become of an invitation."""

    OPEN = "open"
    ACCEPTED = "accepted"
    REVOKED = "revoked"
    EXPIRED = "expired"


class Made(NamedTuple):
    """An invitation and its token, which is nowhere kept; `send` puts it in a mail."""

    invitation: Invitation
    token: str


class Joined(NamedTuple):
    """The membership that somebody has now, and whether it is new."""

    membership: Membership
    is_new: bool


class NotAcceptable(Exception):  # noqa: N818
    """The invitation ended meanwhile, or is for another address."""


def state_of(invitation: Invitation, now: datetime) -> State:
    """Say what has become of an invitation."""
    if invitation.accepted_at is not None:
        return State.ACCEPTED
    if invitation.revoked_at is not None:
        return State.REVOKED
    return State.EXPIRED if invitation.expires_at <= now else State.OPEN


def is_for(invitation: Invitation, user: User) -> bool:
    """Say whether the invitation was sent to this person's address, in whatever case it is written."""
    return invitation.email.casefold() == user.email.casefold()


def invite(
    actor: User, organisation: Organisation, email: str, role: Role, sites: Sequence[Site] | None, now: datetime
) -> Made:
    """Invite an address in a role, to some sites (None: all). An address that was asked before is asked anew.

    Raises TeamRefused where a rule forbids it, the address is a member's or too many invitations are open, and
    Membership.DoesNotExist when the actor has left meanwhile.
    """
    email = email.strip().lower()
    with transaction.atomic():
        hold(rules.why_not_invite(_member(actor, organisation), role, sites is None))
        if organisation.memberships.filter(user__email__iexact=email).exists():
            raise TeamRefused(f"{email} is on the team already. Change the role there.")
        earlier = _waiting(organisation).filter(email=email).first()
        _make_room(organisation, earlier, now)
        if earlier is not None:
            _rest(earlier, now)
        invitation = earlier or Invitation(organisation=organisation, email=email)
        invitation.role, invitation.all_sites, invitation.invited_by = role, sites is None, actor
        made = _renewed(invitation, now)
        invitation.sites.set(sites or [])
        details = {"role": role, "sites": reach(invitation)}
        record(actor, "invitation.send", organisation=organisation, target=email, details=details, now=now)
    return made


def invite_again(actor: User, organisation: Organisation, invitation_id: UUID, now: datetime) -> Made:
    """Give an open or expired invitation another week and another link. Raises as `invite` does.

    Refused as well is one that was accepted or revoked; Invitation.DoesNotExist is raised where there is none.
    """
    with transaction.atomic():
        invitation = _locked(actor, organisation, invitation_id)
        _make_room(organisation, invitation, now)
        _rest(invitation, now)
        invitation.invited_by = actor
        made = _renewed(invitation, now)
        record(actor, "invitation.resend", organisation=organisation, target=invitation.email, now=now)
    return made


def revoke(actor: User, organisation: Organisation, invitation_id: UUID, now: datetime) -> Invitation:
    """End an invitation: its link no longer works. Raises as `invite_again` does."""
    with transaction.atomic():
        invitation = _locked(actor, organisation, invitation_id)
        invitation.revoked_at = now
        invitation.save(update_fields=["revoked_at"])
        record(actor, "invitation.revoke", organisation=organisation, target=invitation.email, now=now)
    return invitation


def find(token: str) -> Invitation | None:
    """Return the invitation whose link this is, whatever became of it, its organisation and inviter joined."""
    return find_kept(_sha256(token))


def find_kept(token_sha256: str) -> Invitation | None:
    """Return what `find` does, by what is kept of a token."""
    rows = Invitation.objects.select_related("organisation", "invited_by")
    return rows.filter(token_sha256=token_sha256).first()


def accept(invitation: Invitation, user: User, now: datetime) -> Joined:
    """Let somebody in. Who is a member already stays what they are.

    Raises NotAcceptable when the invitation is not open any more, or for another address.
    """
    with transaction.atomic():
        locked = Invitation.objects.select_for_update().get(pk=invitation.pk)
        if state_of(locked, now) is not State.OPEN or not is_for(locked, user):
            raise NotAcceptable
        given = {"role": locked.role, "all_sites": locked.all_sites}
        membership, is_new = Membership.objects.get_or_create(
            user=user, organisation=invitation.organisation, defaults=given
        )
        if is_new:
            membership.sites.set(locked.sites.all())
        locked.accepted_at = now
        locked.save(update_fields=["accepted_at"])
        details = {"role": membership.role, "sites": reach(membership)}
        organisation = invitation.organisation
        record(user, "invitation.accept", organisation=organisation, target=locked.email, details=details, now=now)
    return Joined(membership, is_new)


def send(made: Made) -> bool:
    """Mail the link; False when the mail server would not take it. Outside any transaction."""
    invitation = made.invitation
    inviter = invitation.invited_by
    ctx = {
        "inviter": name_of(inviter) if inviter else "Someone",
        "organisation": invitation.organisation.name,
        "role": invitation.get_role_display(),
        "reach": reach(invitation),
        "link": settings.PUBLIC_URL + reverse("dashboard:invitation", args=[made.token]),
        "expires_at": invitation.expires_at,
    }
    subject = " ".join(f"{ctx['inviter']} invites you to {ctx['organisation']} on Convultra".split())
    text = render_to_string("account/email/invitation.txt", ctx)
    try:
        EmailMessage(subject, text, to=[invitation.email]).send()
    except (OSError, ValueError) as error:  # SMTPException is an OSError; ValueError is an address of no use
        # Not its text: it may name the address.
        logger.warning("Invitation %s could not be mailed: %s", invitation.public_id, type(error).__name__)
        return False
    return True


def name_of(user: User) -> str:
    """Return what a person is called: the name, or the address where there is none."""
    return user.get_full_name() or user.email or user.get_username()


def _locked(actor: User, organisation: Organisation, invitation_id: UUID) -> Invitation:
    mine = _member(actor, organisation)
    invitation = organisation.invitations.get(public_id=invitation_id)
    if invitation.accepted_at or invitation.revoked_at:
        raise TeamRefused("This invitation is no longer open: it was accepted or revoked meanwhile.")
    hold(rules.why_not_invite(mine, Role(invitation.role), invitation.all_sites))
    return invitation


def _member(actor: User, organisation: Organisation) -> rules.Member:
    """Lock the organisation and read what the actor is in it now."""
    Organisation.objects.select_for_update().get(pk=organisation.pk)
    return judged(organisation.memberships.get(user=actor))


def _waiting(organisation: Organisation) -> QuerySet[Invitation]:
    return organisation.invitations.filter(accepted_at__isnull=True, revoked_at__isnull=True)


def _make_room(organisation: Organisation, earlier: Invitation | None, now: datetime) -> None:
    """Refuse one more open invitation than may be; one that is open already takes no more room."""
    if earlier is not None and earlier.expires_at > now:
        return
    if _waiting(organisation).filter(expires_at__gt=now).count() >= MAX_OPEN:
        raise TeamRefused(f"{MAX_OPEN} invitations are open. Revoke some first.")


def _rest(invitation: Invitation, now: datetime) -> None:
    if now - (invitation.expires_at - LIFE) < REST_BETWEEN_MAILS:
        raise TeamRefused(f"A mail to {invitation.email} went out just now. Wait a minute, then send another.")


def _renewed(invitation: Invitation, now: datetime) -> Made:
    token = secrets.token_urlsafe(TOKEN_BYTES)
    invitation.token_sha256, invitation.expires_at = _sha256(token), now + LIFE
    invitation.save()
    return Made(invitation, token)


def _sha256(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()
