"""Which buttons stand beside a conversion: what can be done to it now, and which role that takes."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.urls import reverse

from dashboard.guards import CORRECT, SEND, AccountEntry, may, role_names
from dashboard.wording import listed
from forwarding.hands import actions
from forwarding.hands.rules import Action, why_not
from forwarding.models import WAITING, Delivery, Kind, Status
from forwarding.rows.frozen import listed_in_open_uploads
from ingest.models import Role


@dataclass(frozen=True)
class Button:
    """One action: its words, picture and address. `needs` names the roles that the person lacks for it, else ""."""

    label: str
    icon: str
    href: str
    is_danger: bool
    needs: str


@dataclass(frozen=True)
class Look:
    """How an action is offered: its words and its picture."""

    label: str
    icon: str


LOOKS = {
    Action.RETRY: Look("Retry now", icon="refresh"),
    Action.RELEASE: Look("Release", icon="player-play"),
    Action.HOLD: Look("Hold", icon="player-pause"),
    Action.RESTATE: Look("Restate value", icon="pencil"),
    Action.RETRACT: Look("Retract", icon="arrow-back-up"),
    Action.CANCEL: Look("Cancel", icon="ban"),
}
_DANGEROUS = (Action.CANCEL, Action.RETRACT)


def roles_for(action: Action, row: Delivery) -> tuple[Role, ...]:
    """Return who may do it: what changes the figures at Microsoft takes more than sending again."""
    stops_a_correction = row.kind != Kind.CONVERSION and action is not Action.RETRY
    return CORRECT if action.corrects or stops_a_correction else SEND


def buttons(entry: AccountEntry, delivery: Delivery, corrected: Sequence[Delivery], now: datetime) -> list[Button]:
    """Return what can be done to a conversion, and to a correction of it that waits or failed.

    The rows come with `account` and its connection, the conversion with `event` and `goal` too.
    """
    unfinished = [row for row in corrected[-1:] if row.status in (*WAITING, Status.FAILED)]
    rows = [delivery, *unfinished]
    facts = actions.facts_of(rows, set(listed_in_open_uploads([entry.account.pk])), now)
    return [
        _button(entry, row, action)
        for row in rows
        for action in LOOKS
        if why_not(action, row, facts[row.pk], now) is None
    ]


def hint(shown: Sequence[Button]) -> str:
    """Return which buttons need which role, of those that the person may not press; "" when they may press all."""
    lacking: dict[str, list[str]] = defaultdict(list)
    for button in shown:
        if button.needs:
            lacking[button.needs].append(button.label)
    said = (
        f"{listed(labels)} need{'s' if len(labels) == 1 else ''} the {needs} role" for needs, labels in lacking.items()
    )
    return ". ".join(said)


def _button(entry: AccountEntry, row: Delivery, action: Action) -> Button:
    roles, look = roles_for(action, row), LOOKS[action]
    of_what = {Kind.RESTATE: " the restatement", Kind.RETRACT: " the retraction"}.get(Kind(row.kind), "")
    place = [entry.site.public_id, entry.account.account_id, row.public_id]
    return Button(
        label=f"{action.label}{of_what}" if of_what else look.label,
        icon=look.icon,
        href=reverse(f"dashboard:account-delivery-{action}", args=place),
        is_danger=action in _DANGEROUS,
        needs="" if may(entry.role, roles) else role_names(roles),
    )
