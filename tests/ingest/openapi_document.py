"""The OpenAPI document as its tests read it."""

from copy import deepcopy
from typing import Any

import yaml
from django.conf import settings
from jsonschema_rs import Draft202012Validator

DOCUMENT: dict[str, Any] = yaml.safe_load((settings.BASE_DIR / "docs" / "openapi.yaml").read_bytes())
METHODS = ("get", "options", "post")
# What no schema can say, so that the door refuses more than the document does.
ONLY_IN_WORDS = {
    "bad_character",  # whatever Unicode does not print
    "country_unknown",
    "duplicate_member",
    "hash_of_nothing",  # in mixed case
    "number_out_of_range",
    "personal_data",
    "time_in_future",
    "time_malformed",  # no such day
    "time_out_of_range",
    "too_deep",
    "too_many_keys",
    "url_malformed",  # a bracket too few
    "value_decimals",
    "value_too_large",  # in quotes
}


def schema(name: str) -> dict[str, Any]:
    """Return a component's schema."""
    found: dict[str, Any] = DOCUMENT["components"]["schemas"][name]
    return found


def closed() -> dict[str, Any]:
    """Return the document with schemas that allow no member but those that they name.

    Its answers are open, so that members can be added; a test wants to know of each.
    """
    document = deepcopy(DOCUMENT)
    for each in document["components"]["schemas"].values():
        if "properties" in each:
            each.setdefault("additionalProperties", False)
    return document


def validator(name: str) -> Draft202012Validator:
    """Return the judge of one component's schema, closed."""
    components = closed()["components"]
    return Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": components})
