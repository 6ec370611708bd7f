"""Why an event is not forwarded to an account, in the exact words for this event, with where it is mended. Pure.

`forwarding/errors.py` has the words that every page shares. Here they are narrowed by what the event itself says, such
as that its name is no conversion at all, and each gets the page on which the fix is made.
"""

from collections.abc import Collection
from dataclasses import dataclass

from forwarding.errors import SKIPS
from forwarding.models import Delivery, Skip
from ingest.click_ids import is_click_id, is_test_click_id
from ingest.models import REFUND_EVENT, Event

# What the SDK's own calls report; whatever has a value or an order counts as a conversion too.
CONVERSION_NAMES = ("purchase", "lead", "signup", "subscription", REFUND_EVENT)


@dataclass(frozen=True)
class Fix:
    """The one click: its words, and the page it opens.

    `page` is `mapping`, `settings` or `log` of the account, `order` for the event that stands for the order, or the
    name of a page of the site.
    """

    label: str
    page: str


@dataclass(frozen=True)
class Reason:
    """What happened, why, and what to do; the fix is None where nothing has to be done."""

    title: str
    why: str
    fix: Fix | None = None


_FIXES: dict[Skip, Fix | None] = {
    Skip.NOT_MAPPED: Fix("Map it", "mapping"),
    Skip.FILTERED: Fix("Change the condition", "mapping"),
    Skip.NO_CONSENT: Fix("How consent is passed on", "install"),
    Skip.TOO_OLD: Fix("Send events as they happen", "install"),
    Skip.NO_IDENTIFIER: Fix("Check the SDK", "install"),
    Skip.SAME_ORDER: Fix("Open the event that counts", "order"),
    Skip.SAME_SECOND: Fix("Check the tracking call", "install"),
    Skip.UNCONFIRMED: Fix("Check your backend’s key", "keys"),
    Skip.CANCELLED: None,
    Skip.CALLED_OFF: Fix("Open it in Forward Logs", "log"),
    Skip.APPLIED: Fix("Open the order’s event", "order"),
    Skip.SUPERSEDED: Fix("Open the order’s event", "order"),
    Skip.NO_CHANGE: Fix("Open the order’s event", "order"),
    Skip.RETRACTED: Fix("Open the order’s event", "order"),
    Skip.OTHER_CURRENCY: Fix("Open the order’s event", "order"),
    Skip.NO_ORDER: Fix("See the tracking call", "install"),
    Skip.NOT_FORWARDED: Fix("Open the order’s event", "order"),
    Skip.PUBLIC_KEY: Fix("Create a secret key", "keys"),
}
_NO_CONVERSION = Reason(
    "Not a conversion event",
    "No account maps this name to a goal, and it has no value and no order. Map it if it should count.",
    Fix("Map it", "mapping"),
)
_TEST_CLICK = Reason(
    "Test click",
    "The click ID is one of Convultra’s own, for checking an installation. It is never sent to Microsoft.",
    Fix("Open the checks", "install"),
)
NOT_PLANNED = Reason("Just received", "It is looked at within seconds.")
NO_ACCOUNT = Reason(
    "No account connected",
    "No Microsoft Advertising account was connected when it came.",
    Fix("Open integrations", "integrations"),
)
NOT_THERE_YET = Reason(
    "Account was not connected",
    "This account was not connected when the event came. Events from before are not forwarded by themselves.",
    Fix("Import them", "imports"),
)


def is_conversion(event: Event, mapped: Collection[str]) -> bool:
    """Say whether an event looks like a conversion; `mapped` are the names that any account maps to a goal."""
    is_named = event.name in mapped or event.name in CONVERSION_NAMES
    return is_named or event.value is not None or bool(event.transaction_id)


def why_skipped(event: Event, skipped: Delivery, mapped: Collection[str]) -> Reason:
    """Return why an event's delivery is not sent. `mapped` as for `is_conversion`."""
    reason = Skip(skipped.skip_reason)
    if reason == Skip.NOT_MAPPED and not is_conversion(event, mapped):
        return _NO_CONVERSION
    if reason == Skip.NO_IDENTIFIER and is_test_click_id(event.msclkid):
        return _TEST_CLICK
    words = SKIPS[reason]
    why = " ".join(part for part in (words.cause, _unusable_click(event, reason), words.fix) if part)
    return Reason(words.title, why, _FIXES[reason])


def _unusable_click(event: Event, reason: Skip) -> str:
    if reason != Skip.NO_IDENTIFIER or not event.msclkid or is_click_id(event.msclkid):
        return ""
    return f"What came as msclkid, “{event.msclkid[:40]}”, is no click ID."
