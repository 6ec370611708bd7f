"""What the help says: the definition of each figure and word, what a status means, the keys, and the troubleshooting.

The one source of these words: tooltips beside figures take them from here (`{% definition %}`), and help itself. Pure.
"""

from collections.abc import Collection
from typing import NamedTuple

from dashboard.guards import MAP
from ingest.models import Role


class Definition(NamedTuple):
    """A word of the pages and what it means."""

    term: str
    text: str


class Place(NamedTuple):
    """Where something is done: its words, and the name of its URL. Without one of `roles` nobody is led there."""

    label: str
    page: str
    roles: Collection[Role] = tuple(Role)


class Trouble(NamedTuple):
    """Something that does not work: as people meet it, what to do about it, and where."""

    problem: str
    answer: str
    places: tuple[Place, ...]


class Key(NamedTuple):
    """What a key of the keyboard does."""

    key: str
    text: str


class Topic(NamedTuple):
    """What the help of some pages is about: keys of DEFINITIONS and of TROUBLES."""

    title: str
    definitions: tuple[str, ...] = ()
    troubles: tuple[str, ...] = ()


DEFINITIONS = {
    "event": Definition(
        "Event", "What a page, a backend or a file reported to us: a purchase, a lead, any name of yours."
    ),
    "conversion": Definition("Conversion", "What we send to Microsoft for an event that is mapped to a goal."),
    "goal": Definition(
        "Goal", "An offline conversion goal in Microsoft Advertising. It is what a conversion counts for."
    ),
    "click-id": Definition(
        "Click ID (msclkid)",
        "The 32 characters that Microsoft adds to the address of an ad’s landing page. By it a sale is "
        "matched to a click.",
    ),
    "sign-in": Definition(
        "Sign-in", "The Microsoft user through whom we reach the accounts. Its access renews by itself."
    ),
    "success-rate": Definition("Success rate", "Delivered ÷ (delivered + failed). What waits is left out."),
    "match-rate": Definition("Match rate", "Attributed ÷ accepted, settled days only."),
    "revenue": Definition("Revenue forwarded", "Value of delivered conversions after restatements and retractions."),
    "time-to-microsoft": Definition(
        "Time to Microsoft",
        "From received to accepted, of the newest delivered conversions: median, and what 95% keep to.",
    ),
    "click-coverage": Definition("Click coverage", "Conversions with a click ID ÷ conversions received."),
    "settled": Definition(
        "Settled day", "A day is settled 48 hours after it ends. Until then Microsoft’s figures still move."
    ),
    "attributed": Definition(
        "Attributed",
        "Microsoft found the click that led to the conversion. It is known days after Microsoft accepted it.",
    ),
}

# A status and what it means, in the order in which a conversion meets them.
STATUSES = {
    "pending": "Stored. It waits for the next batch, for an account that is paused or disconnected, or for a new "
    "goal’s first 2 hours.",
    "retrying": "A temporary failure. It is sent again by itself, for up to 90 days.",
    "delivered": "Microsoft accepted it. That does not yet mean that it is attributed to a click.",
    "failed": "Microsoft refused it, or its 90 days ran out. The row says why, and whether it can be sent again.",
    "restated": "Microsoft was told another value.",
    "retracted": "Microsoft was told not to count it. That is final.",
    "skipped": "We did not send it, for the reason that is shown.",
}

KEYS = (
    Key("/", "Go to the search of the site"),
    Key("Esc", "Close a dialog, a menu or this help"),
    Key("← → Home End", "Go from tab to tab inside a card"),
    Key("Tab, Enter", "Go on to the next control, and use it"),
)

TROUBLES = {
    "no-goals": Trouble(
        "No conversion goals in the list",
        "Create an offline goal in Microsoft Advertising under Tools → Conversion goals, or here, then sync the goals.",
        (Place("Create a goal", "account-goal-create", MAP), Place("Goal mapping", "account-mapping")),
    ),
    "permission": Trouble(
        "Permission denied",
        "The Microsoft user of the sign-in has no access to that ad account. The account’s owner gives "
        "it the Standard user "
        "role, or somebody who has it signs in.",
        (Place("Integrations", "integrations"),),
    ),
    "not-visible": Trouble(
        "Conversions do not appear in Microsoft Advertising",
        "Its reports take 24 to 48 hours. Until then “Delivered” in Forward Logs confirms that "
        "Microsoft accepted them.",
        (Place("Forward Logs", "account-logs"), Place("Reconciliation", "reconciliation")),
    ),
    "token": Trouble(
        "OAuth token errors",
        "Microsoft ended our access, often after a changed password. Reconnect; if that does not do, "
        "disconnect first. What "
        "waits is held meanwhile and goes out afterwards.",
        (Place("Integrations", "integrations"),),
    ),
    "uet": Trouble(
        "Invalid UET tag",
        "Check the number in Microsoft Advertising under Tools → UET tag, or pick it from Microsoft’s list.",
        (Place("Account settings", "account-settings"),),
    ),
    "test-fails": Trouble(
        "The test conversion fails",
        "The result names what is wrong: the goal, the mapping, or what the Microsoft user may do. The "
        "checks above it run "
        "before anything is sent.",
        (Place("Test Center", "account-test"), Place("Goal mapping", "account-mapping")),
    ),
    "authentication": Trouble(
        "AuthenticationFailed",
        "The token is expired, was given for another scope, or its user has no access to the account; "
        "or the user’s and the "
        "account’s headers do not belong together. Reconnect with a user who has the account.",
        (Place("Integrations", "integrations"),),
    ),
    "name": Trouble(
        "InvalidConversionName",
        "Compare the goal’s spelling, spacing and case before anything else. Goal mapping shows the "
        "nearest goal and the "
        "difference.",
        (Place("Goal mapping", "account-mapping"), Place("Failed conversions", "account-logs")),
    ),
    "too-old": Trouble(
        "ConversionTimeTooOld",
        "The conversion is outside Microsoft’s look-back of 90 days. Send events as they happen, with "
        "the time of the event "
        "and not of the export.",
        (Place("Install SDK", "install"), Place("Failed conversions", "account-logs")),
    ),
    "duplicate": Trouble(
        "Duplicate of click, name and time",
        "The conversion was sent twice. Give each order its transaction ID: Convultra then sends it "
        "once, whatever reports it.",
        (Place("Install SDK", "install"), Place("Events", "events")),
    ),
    "unattributed": Trouble(
        "Accepted but unattributed",
        "Microsoft found no eligible click. Check that landing pages catch the click ID and that it is "
        "kept long enough before "
        "you change any bid.",
        (
            Place("Reconciliation", "reconciliation"),
            Place("Check the capture", "install"),
            Place("Retention", "site-settings"),
        ),
    ),
}

_EVERYTHING = Topic("Convultra", tuple(DEFINITIONS), tuple(TROUBLES))
# By the beginning of a URL's name; the longest one that fits counts.
_TOPICS = {
    "overview": Topic(
        "the overview",
        ("revenue", "success-rate", "click-coverage", "time-to-microsoft"),
        ("not-visible", "token", "unattributed"),
    ),
    "event": Topic("events", ("event", "conversion", "click-id"), ("too-old", "duplicate")),
    "reconciliation": Topic(
        "reconciliation", ("match-rate", "settled", "attributed", "click-coverage"), ("not-visible", "unattributed")
    ),
    "integrations": Topic(
        "integrations", ("sign-in", "goal", "success-rate"), ("permission", "token", "authentication")
    ),
    "connect": Topic("connecting an account", ("sign-in", "goal", "click-id"), ("permission", "no-goals", "uet")),
    "import": Topic("imports", ("event", "conversion", "click-id"), ("too-old", "duplicate")),
    "install": Topic(
        "installing the SDK", ("event", "click-id", "click-coverage"), ("unattributed", "duplicate", "too-old")
    ),
    "site-settings": Topic("site settings", ("event", "click-id"), ("unattributed", "too-old")),
    "sites": Topic("sites", ("revenue", "success-rate", "sign-in"), ("token", "permission")),
    "account": Topic(
        "this account", ("success-rate", "match-rate", "revenue", "goal"), ("not-visible", "permission", "token")
    ),
    "account-mapping": Topic("goal mapping", ("event", "goal", "conversion"), ("no-goals", "name")),
    "account-goal": Topic("creating a goal", ("goal", "conversion"), ("no-goals", "name")),
    "account-settings": Topic("account settings", ("click-coverage", "click-id", "sign-in"), ("uet", "permission")),
    "account-test": Topic(
        "the Test Center", ("conversion", "goal", "click-id"), ("test-fails", "authentication", "name", "uet")
    ),
    "account-logs": Topic(
        "Forward Logs",
        ("conversion", "goal", "attributed"),
        ("name", "too-old", "duplicate", "authentication", "not-visible"),
    ),
    "account-delivery": Topic(
        "one conversion",
        ("conversion", "goal", "attributed"),
        ("name", "too-old", "duplicate", "authentication", "not-visible"),
    ),
}


def topic_of(page: str) -> Topic:
    """Return what helps on the page whose URL has this name; everything where no topic fits."""
    fitting = [start for start in _TOPICS if page.startswith(start)]
    return _TOPICS[max(fitting, key=len)] if fitting else _EVERYTHING
