"""Which person did something to a conversion by hand, or paused its account, and when: the audit log knows.

An action on one conversion names it; one on many does not, but is written at the moment at which it changed them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from zoneinfo import ZoneInfo

from django.db.models import Q

from dashboard import wording
from dashboard.audit.listing import actor_of
from forwarding.errors import HOLDS, PAUSED, SKIPS, Words
from forwarding.hands.rules import Action
from forwarding.models import Delivery, Hold, Skip
from ingest.models import AuditEntry

# As many entries of a site as are looked through, the newest ones.
LOOKED_THROUGH = 5_000
# More than anybody does to one conversion.
MOST = 50
_ACTIONS = {
    f"delivery.{action}": action
    for action in Action
    if not action.corrects  # the ledger tells of corrections
}
_PAUSE = "account.pause"


@dataclass(frozen=True)
class Deed:
    """What a person did, and when; `action` is None for a pause of the whole account."""

    action: Action | None
    who: str
    at: datetime


def deeds(delivery: Delivery) -> list[Deed]:
    """Return what people did to a conversion by hand, and who paused its account, oldest first. Two queries."""
    account = delivery.account
    newest = AuditEntry.objects.filter(site=account.site_id).order_by("-pk").values("pk")[:LOOKED_THROUGH]
    mine = Q(details__delivery=str(delivery.public_id)) | Q(created_at=delivery.changed_at)
    meant = Q(action__in=_ACTIONS, details__account=account.account_id) & mine
    if account.paused_at is not None:
        # An account is named as "Search – US (138204417)", and may have another name by now.
        meant |= Q(action=_PAUSE, target__endswith=f"({account.account_id})", created_at=account.paused_at)
    entries = list(AuditEntry.objects.filter(meant, pk__in=newest).select_related("actor").order_by("-pk")[:MOST])
    team = frozenset(account.site.organisation.memberships.values_list("user_id", flat=True)) if entries else ()
    return [Deed(_ACTIONS.get(entry.action), actor_of(entry, team), entry.created_at) for entry in entries[::-1]]


def named(words: Words, delivery: Delivery, done: Sequence[Deed], zone: ZoneInfo, now: datetime) -> Words:
    """Return words with who did it and when put in, where they tell of something that a person did."""
    if words not in _TOLD:
        return words
    action, what, rest = _TOLD[words]
    last = next((deed for deed in reversed(done) if deed.action is action), None)
    if last is not None:
        return replace(words, cause=f"{last.who} {what} on {wording.sentence(last.at, zone, now)}.{rest}")
    paused_at = delivery.account.paused_at
    if action is None and paused_at is not None:
        return replace(words, cause=f"This account was paused on {wording.sentence(paused_at, zone, now)}.{rest}")
    return words


# What tells of a person's deed: the deed, how a sentence goes on after the name, and what follows it.
_TOLD: dict[Words, tuple[Action | None, str, str]] = {
    HOLDS[Hold.BY_HAND]: (Action.HOLD, "held this conversion back", ""),
    SKIPS[Skip.CALLED_OFF]: (Action.CANCEL, "cancelled it before it was sent", ""),
    PAUSED: (None, "paused this account", " Its conversions are kept."),
}
