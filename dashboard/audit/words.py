"""What an audit entry says to a person: the action as a sentence, its details as fields before and after.

An action is thing and verb, `delivery.retract`. Both are put in words apart, so an action that is new reads well
before anybody thinks of it here; `_SENTENCES` are for those where that does not do.
"""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import NamedTuple

from dashboard import wording

MAX_SHOWN_CHARS = 500
NOTHING = "–"

# {} is the target; {action} is what the details say was done.
_SENTENCES = {
    "account.add": "Connected the account {}",
    "account.auto_tagging": "Turned auto-tagging on for {}",
    "account.lift_hold": "Lifted the hold on {}",
    "account.pause": "Paused forwarding to {}",
    "account.remove": "Removed the account {}",
    "account.resume": "Resumed forwarding to {}",
    "account.settings": "Changed the settings of {}",
    "bulk.start": "Started to {action} the listed conversions of {}",
    "bulk.stop": "Stopped what was done to the listed conversions of {}",
    "event.replay": "Forwarded earlier events named {}",
    "import.cancel": "Cancelled the import of {}",
    "import.confirm": "Confirmed the import of {}",
    "import.upload": "Uploaded the file {}",
    "invitation.accept": "Accepted the invitation of {}",
    "invitation.send": "Invited {}",
    "invitation.resend": "Sent the invitation of {} again",
    "invitation.revoke": "Revoked the invitation of {}",
    "mapping.change": "Changed the mapping of {}",
    "membership.change": "Changed the role or sites of {}",
    "membership.leave": "Left the team as {}",
    "membership.remove": "Removed {} from the team",
    "organisation.rename": "Renamed the organisation to {}",
    "sign_in.other_user": "Came back from Microsoft as somebody else than {}",
    "site.allow_origin": "Allowed pages of {} to send events",
    "site.settings": "Changed the settings of {}",
    "test.send": "Sent a test conversion to {}",
}
_THINGS = {
    "adaccount": "account",
    "adjustment": "correction",
    "attempt": "failed attempt of a conversion",
    "auditentry": "audit entry",
    "authenticator": "two-step sign-in of",
    "blockedorigin": "blocked origin",
    "bulkjob": "bulk action",
    "conversiongoal": "goal",
    "correction": "correction",
    "dailycount": "daily count",
    "delivery": "conversion",
    "emailaddress": "e-mail address",
    "goalmapping": "mapping",
    "importchunk": "part of an import",
    "mappingchange": "mapping change",
    "refuseditem": "refused item",
    "testconversion": "test conversion",
    "upload": "call to Microsoft",
    "user": "person",
    "serverkey": "secret key",
    "server_key": "secret key",
    "sign_in": "Microsoft sign-in",
    "test": "test conversion",
}
_VERBS = {
    "add": "Added",
    "allow": "Allowed",
    "cancel": "Cancelled",
    "change": "Changed",
    "confirm": "Confirmed",
    "connect": "Connected",
    "create": "Created",
    "delete": "Deleted",
    "disconnect": "Disconnected",
    "hold": "Held",
    "open": "Opened",
    "reconnect": "Reconnected",
    "release": "Released",
    "remove": "Removed",
    "rename": "Renamed",
    "restate": "Restated",
    "retract": "Retracted",
    "retry": "Retried",
    "revoke": "Revoked",
    "send": "Sent",
    "start": "Started",
    "stop": "Stopped",
    "upload": "Uploaded",
}
# What is said elsewhere on the line, is where it leads, or is said to nobody.
_LEFT_OUT = {"by_staff", "before", "after", "action", "account", "delivery", "import", "table"}


class Sentence(NamedTuple):
    """What was done, around the object that it was done to."""

    before: str
    target: str
    after: str

    def __str__(self) -> str:
        return "".join(self)


class Change(NamedTuple):
    """A field, as it was and as it became; where only one value is told, `before` is a dash."""

    field: str
    before: str
    after: str


def sentence(action: str, target: str, details: Mapping[str, object]) -> Sentence:
    """Write what was done to what."""
    pattern = _SENTENCES.get(action) or _pattern(action, details)
    before, _, after = pattern.replace("{action}", str(details.get("action", "work on"))).partition("{}")
    return Sentence(before if target else before.rstrip(), target, after + _amounts(action, details))


def _pattern(action: str, details: Mapping[str, object]) -> str:
    thing, _, verb = action.partition(".")
    if verb == "list":
        return f"Searched all customers' {details.get('table', 'rows')} and saw {{}}"
    done = _VERBS.get(verb, verb.replace("_", " ").capitalize())
    if thing == "delivery" and details.get("deliveries", 1) != 1:
        return f"{done} conversions: {{}}"
    return f"{done} the {_THINGS.get(thing, thing.replace('_', ' '))} {{}}"


def _amounts(action: str, details: Mapping[str, object]) -> str:
    """Write what a correction did to the money: " from $129.95 to $99.95"; "" where the entry does not say it."""
    was, became = _money(details.get("before")), _money(details.get("after"))
    if action == "delivery.restate" and was and became:
        return f" from {was} to {became}"
    return f" ({was})" if action == "delivery.retract" and was else ""


def _money(sums: object) -> str:
    if not isinstance(sums, Mapping):
        return ""
    try:
        return wording.listed(
            [wording.money(Decimal(str(value)), str(code)) for code, value in sums.items() if len(str(code)) == 3]
        )
    except InvalidOperation:
        return ""


def changes(details: Mapping[str, object]) -> list[Change]:
    """Return the details as fields: pairs, which are before and after, first, then what it was done with."""
    # By name, because PostgreSQL keeps no order of its own.
    found = [_change(name, details[name]) for name in sorted(details) if name not in _LEFT_OUT]
    found.sort(key=lambda change: change.before == NOTHING)
    if "before" in details or "after" in details:
        found.append(Change("state", _text(details.get("before")), _text(details.get("after"))))
    return found


def _change(name: str, value: object) -> Change:
    label = name.replace("_", " ")
    if isinstance(value, list) and len(value) == 2:
        return Change(label, _text(value[0]), _text(value[1]))
    return Change(label, NOTHING, _text(value))


def _text(value: object) -> str:
    if value is None or value == "" or value == [] or value == {}:
        return NOTHING
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, Mapping):
        text = ", ".join(f"{name}: {_text(one)}" for name, one in value.items())
    elif isinstance(value, list):
        text = ", ".join(_text(one) for one in value)
    else:
        text = str(value)
    return text if len(text) <= MAX_SHOWN_CHARS else f"{text[:MAX_SHOWN_CHARS]}…"
