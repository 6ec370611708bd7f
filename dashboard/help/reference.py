"""What a customer's programmer looks up: the calls of the script, and those of the API as its OpenAPI document says.

The document is the one source: it is compared with routes, shapes and a running server. What the script's calls do in
full is in docs/sdk.md.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

from ingest import openapi

_WITH = {"pages": "The public key, in the address", "backends": "A secret key", "document": "Nothing"}
# The shapes that a backend or a page posts, as the page calls them.
_SHAPES = {
    "BackendEvent": "Event",
    "BackendUserData": "user_data of an event",
    "Click": "Click",
    "Restatement": "Adjustment: restate",
    "Retraction": "Adjustment: retract",
}
# Texts between backticks are code.
SCRIPT = (
    (
        "init(key, options)",
        "Starts the script where its tag has no `data-key`. Other calls may come before it: they wait.",
    ),
    ("track(name, properties)", "Reports an event of any name. Properties with no meaning of their own travel along."),
    ("trackPurchase(properties)", "An order: `value`, `currency`, and `transaction_id`, by which it counts once."),
    ("trackLead(properties)", "A lead, with your `external_id` of it."),
    ("trackSignup(properties)", "A registration."),
    ("trackSubscription(properties)", "A subscription, with `value` and `currency`."),
    (
        "enhance(person)",
        "Who converts in this session: `email`, `phone` and `country`, hashed before they leave the page.",
    ),
    (
        "identify(id)",
        "Your own id of the lead, cart or order for the later events of the session; `null` takes it back.",
    ),
    ("consent(choice)", 'What the visitor decided: `{ ad_storage: "granted" }`, or `"denied"`. Call it on every page.'),
    ("clickId(), visitorId()", "The ids to store with a lead or an order; `null` before the script has loaded."),
    ("reset()", "Forgets visitor, session, person and click, as at a sign-out on a shared device."),
)
ENHANCE = """\
// Before the conversion, at checkout or on the thank-you page.
Convultra.enhance({ email: "jane@customer.example", phone: "+15125550142" });
Convultra.trackPurchase({ value: 79.99, currency: "USD", transaction_id: "T-55555" });"""

Words = tuple[tuple[str, bool], ...]  # pieces of a text, and whether each is code


class Call(NamedTuple):
    """A call of the API: how, where, with which key, and what for."""

    method: str
    path: str
    key: str
    text: Words


class Member(NamedTuple):
    """A field of a shape."""

    name: str
    is_required: bool
    text: Words


class Shape(NamedTuple):
    """What is posted: its name on the page, what is said of the whole, its fields."""

    title: str
    text: Words
    members: list[Member]


def words(text: str) -> Words:
    """Cut a text at its backticks: `a` and b gives ("", no), ("a", code), (" and b", no)."""
    return tuple((piece, number % 2 == 1) for number, piece in enumerate(" ".join(text.split()).split("`")))


@cache
def calls() -> list[Call]:
    """Return the calls of the API but the browsers' own preflights, in the document's order."""
    return list(_calls(openapi.read()))


@cache
def shapes() -> list[Shape]:
    """Return what is posted, each with its fields."""
    schemas = openapi.read()["components"]["schemas"]
    return [
        Shape(
            title,
            words(schemas[name].get("description", "")),
            [
                Member(field, field in schemas[name].get("required", ()), words(_described(value, schemas)))
                for field, value in schemas[name]["properties"].items()
            ],
        )
        for name, title in _SHAPES.items()
    ]


def _calls(document: Mapping[str, Any]) -> Iterator[Call]:
    for path, item in document["paths"].items():
        for method in ("get", "post"):
            if method in item:
                said = item[method]
                text = f"{said['summary']}. {said.get('description', '')}"
                yield Call(method.upper(), path, _WITH[said["tags"][0]], words(text))


def _described(field: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    if "description" in field:
        return str(field["description"])
    if "const" in field:
        return f"`{field['const']}`"
    named = schemas[field["$ref"].rpartition("/")[2]] if "$ref" in field else field
    inner = named.get("properties", {}).get("ad_storage", {}) if "$ref" not in field else {}
    return str(named.get("description") or inner.get("description", ""))
