"""Why something was not taken: one table of codes and their words. docs/ingest-api.md explains every code.

A refusal names the member and the rule, never what the member held: that may be somebody's address.
"""

import re
from dataclasses import dataclass, field

from convultra.problems import FieldError
from ingest.models import MAX_ID_CHARS, MAX_NAME_CHARS

MAX_VALUE = 999_999_999_999  # help: offline conversions
MAX_PROPERTY_KEYS = 200
MAX_DEPTH = 20
FUTURE_HOURS = 24

_ID_RULE = (
    f"A letter or digit, then letters, digits and the characters . _ : = + ~ -, {MAX_ID_CHARS} characters at most."
)

# `{}` is filled with the one thing that a sentence may add.
REFUSALS = {
    "required": "It is missing. {}",
    "wrong_type": "It must be {}.",
    "unknown_member": "There is no such member here; a member of your own belongs into properties.",
    "duplicate_member": "A name is used twice in one object.",
    "empty_batch": "The list is empty.",
    "bad_character": "It holds a character that cannot be printed.",
    "too_long": f"At most {MAX_ID_CHARS} characters are kept.",
    "name_malformed": f"A letter, then letters, digits, '_', '.' and '-', {MAX_NAME_CHARS} characters at most.",
    "event_id_malformed": _ID_RULE,
    "adjustment_id_malformed": _ID_RULE,
    "time_malformed": "It must be a time with its zone, such as 2026-11-21T12:00:00Z or 2026-11-21T13:00:00+01:00.",
    "time_out_of_range": "The year cannot be right. {}",
    "time_in_future": f"It is more than {FUTURE_HOURS} hours ahead of our clock. {{}}",
    "value_malformed": "It must be a number, or a number in quotes, with a full stop before its decimals.",
    "value_negative": "It must not be negative. A refund is an adjustment of the purchase, not a negative one.",
    "value_too_large": f"Microsoft takes {MAX_VALUE} at most.",
    "value_decimals": "Microsoft takes three decimals at most; round it first.",
    "currency_lower_case": "Write it in capital letters: {}.",
    "currency_unknown": "Microsoft takes no conversions in this currency; it must be a code of ISO 4217, such as USD.",
    "consent_unknown": "ad_storage is either granted or denied.",
    "hash_malformed": "It must be a SHA-256: 64 hexadecimal characters.",
    "hash_of_nothing": "It is the SHA-256 of an empty text; leave it out when there is nothing to hash.",
    "given_twice": "Send it {}, not both.",
    "email_malformed": "It is no e-mail address. The event was taken without it.",
    "phone_malformed": "It is no phone number, or its country is missing. The event was taken without it.",
    "country_unknown": "It must be the two letters of a country (ISO 3166-1), such as US.",
    "personal_data": "Plain personal data is not taken here; {}.",
    "too_many_keys": f"Properties have {MAX_PROPERTY_KEYS} names at most, nested ones counted.",
    "too_deep": f"Objects and lists may be nested {MAX_DEPTH} deep.",
    "number_out_of_range": "The number is too large: whole numbers have 64 bits, others are double precision.",
    "click_id_malformed": "This is no Microsoft click id, which has 24 to 40 hexadecimal characters and dashes.",
    "consent_denied": "The visitor refused advertising storage, so the click id is not kept.",
    "url_malformed": "It must be an address that starts with https:// or http://.",
    "type_unknown": "type is either restate, which says the order's new total, or retract.",
    "value_of_retract": "A retraction takes the whole order back and has no value; restate says a new total.",
    "currency_differs": "A new total is in its order's currency: {}.",
    "already_retracted": "The order was retracted or refunded in full before, and no total follows that.",
    "not_storable": "The database cannot hold it. That is a fault of ours, and it was noted.",
    "conflict": "Something else was accepted under this id before. That stays.",
}
# Of bodies that were refused whole; too_deep is above.
BODY_RULES = {
    "invalid_json": "It must be JSON (RFC 8259).",
    "invalid_utf8": "It must be UTF-8.",
    "too_deep": REFUSALS["too_deep"],
    "body_too_large": "It is too large; send it in parts.",
    "too_many_items": "It has too many items; send it in parts.",
    "unsupported_media_type": "It must be sent as application/json, in UTF-8 and not compressed.",
}
# Rules that are no sentence without what completes them.
_ALONE = {
    "wrong_type": "It is of another JSON type than the manual says, such as text instead of a number.",
    "given_twice": "It is said in two ways; send one.",
}
_HINT = re.compile(r"[:;]? \{\}")


def rule(code: str) -> str:
    """Return the sentence of a refusal as it is true of every item, or of a whole body."""
    known = BODY_RULES | REFUSALS | _ALONE
    return _HINT.sub("", known.get(code, "docs/ingest-api.md has the rule."))


def fault(member: str, code: str, hint: str = "") -> FieldError:
    """Return the fault of a member, by its path; `hint` completes the sentence."""
    return FieldError(member, code, REFUSALS[code].format(hint).rstrip())


@dataclass
class Complaints:
    """The faults found in one item of a batch; `path` is the item's own, such as `events[3]`.

    An item with errors is refused. One with notes only is taken, without the members they name.
    """

    path: str
    errors: list[FieldError] = field(default_factory=list)
    notes: list[FieldError] = field(default_factory=list)

    def add(self, member: str, code: str, hint: str = "") -> None:
        """Note a fault of a member, by its path inside the item; empty for the item itself."""
        where = f"{self.path}.{member}" if member else self.path
        self.errors.append(fault(where, code, hint))

    def note(self, member: str, code: str) -> None:
        """Note a member that the item is taken without."""
        self.notes.append(fault(f"{self.path}.{member}", code))
