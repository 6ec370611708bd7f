"""docs/openapi.yaml says what the code does: routes, members, limits, codes, and which items are taken."""

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import openapi_spec_validator
from django.conf import settings
from django.test import SimpleTestCase
from django.urls import URLPattern, URLResolver, get_resolver
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from forwarding.models import ClickSource, Hold, Kind, Skip, Status
from ingest import members, parsing
from ingest.currencies import CURRENCIES
from ingest.decoding import BodyRefused
from ingest.models import MAX_ID_CHARS, MAX_NAME_CHARS, AdjustmentType, Source
from ingest.parsing import BACKEND, BROWSER, Door, Item, parse_adjustments, parse_clicks, parse_events
from ingest.refusals import MAX_PROPERTY_KEYS, MAX_VALUE, REFUSALS
from tests.cast import NOON
from tests.ingest.calls import ADJUSTMENT, CLICK, PURCHASE, CallsTestCase
from tests.ingest.openapi_document import DOCUMENT, METHODS, ONLY_IN_WORDS, schema, validator
from tests.ingest.test_arbitrary_bytes import EVENT_MEMBERS, JSON, PEOPLE, SITE, TEXTS
from tests.ingest.test_bad_input import ADJUSTMENT_MEMBERS, CLICK_MEMBERS, MEMBERS

# What is sent, by the shape it is decoded into; a page's and a backend's differ in what is required.
SHAPES: dict[str, type[msgspec.Struct]] = {
    "PageEvents": parsing._Events,
    "BackendEvents": parsing._Events,
    "PageClicks": parsing._Clicks,
    "Adjustments": parsing._Adjustments,
    "PageEvent": parsing._Event,
    "BackendEvent": parsing._Event,
    "Click": parsing._Click,
    "Restatement": parsing._Adjustment,
    "Retraction": parsing._Adjustment,
    "Consent": parsing._Consent,
    "PageUserData": parsing._UserData,
    "BackendUserData": parsing._UserData,
}
PROBLEMS = re.compile(r"(?:problem|problem_answer|BodyRefused)\(\s*\d+,\s*\"(\w+)\"")
FALLBACKS = {"bad_request", "not_found", "unavailable", "server_error"}  # convultra/errors.py, where no view answered


def routes(patterns: list[URLPattern | URLResolver], prefix: str = "/") -> Iterator[str]:
    """Yield every path of the resolver, written as OpenAPI writes it."""
    for each in patterns:
        path = prefix + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", str(each.pattern))
        if isinstance(each, URLResolver):
            yield from routes(each.url_patterns, path)
        else:
            yield path


def texts_in(said: object) -> Iterator[str]:
    """Yield every text of a document."""
    if isinstance(said, str):
        yield said
    elif isinstance(said, dict | list):
        for each in said.values() if isinstance(said, dict) else said:
            yield from texts_in(each)


class DocumentTests(CallsTestCase):
    def test_it_is_openapi_3_1(self) -> None:
        openapi_spec_validator.validate(DOCUMENT)
        self.assertEqual(DOCUMENT["openapi"], "3.1.0")

    def test_it_has_every_address_of_the_api_and_no_other(self) -> None:
        found = {path for path in routes(get_resolver().url_patterns) if path.startswith("/v1/")}
        self.assertEqual(set(DOCUMENT["paths"]), found)

    def test_it_has_every_method_of_an_address_and_no_other(self) -> None:
        for path, operations in DOCUMENT["paths"].items():
            with self.subTest(path):
                response = self.client.generic("PROPFIND", path.replace("{write_key}", self.site.write_key))
                self.assertEqual(response.status_code, 405)
                allowed = set(response["Allow"].lower().split(", ")) - {"head"}
                self.assertEqual({method for method in METHODS if method in operations}, allowed)

    def test_it_names_every_kind_of_problem_and_no_other(self) -> None:
        files = [*(settings.BASE_DIR / "ingest").glob("*.py"), settings.BASE_DIR / "forwarding" / "api.py"]
        codes = {code for path in files for code in PROBLEMS.findall(path.read_text(encoding="utf-8"))} | FALLBACKS
        named = {text.removeprefix("/problems/") for text in texts_in(DOCUMENT["components"]["responses"])}
        self.assertEqual({code for code in codes if code not in named}, set())
        types = {text for text in texts_in(DOCUMENT["components"]["responses"]) if text.startswith("/problems/")}
        self.assertEqual(types, {f"/problems/{code}" for code in codes})

    def test_it_names_every_refusal(self) -> None:
        self.assertEqual(schema("FieldError")["properties"]["code"]["enum"], list(REFUSALS))

    def test_it_has_the_members_that_are_decoded(self) -> None:
        for name, shape in SHAPES.items():
            with self.subTest(name):
                fields = msgspec.structs.fields(shape)
                self.assertEqual(list(schema(name)["properties"]), [field.name for field in fields])
                required = {field.name for field in fields if field.required}
                self.assertLessEqual(required, set(schema(name).get("required", ())))
                self.assertIs(schema(name)["additionalProperties"], False)

    def test_it_has_the_limits(self) -> None:
        for name, items, door in (
            ("PageEvents", "events", BROWSER),
            ("PageClicks", "clicks", BROWSER),
            ("BackendEvents", "events", BACKEND),
            ("Adjustments", "adjustments", BACKEND),
        ):
            self.assertEqual(schema(name)["properties"][items]["maxItems"], door.max_items)
        said = {
            path: operations["post"]["description"]
            for path, operations in DOCUMENT["paths"].items()
            if "post" in operations
        }
        for path, description in said.items():
            at_most = "At most 64 KiB" if "write_key" in path else "At most 1 MiB"
            self.assertIn(at_most, description)
        self.assertEqual((BROWSER.max_bytes, BACKEND.max_bytes), (64 * 1024, 1024 * 1024))

    def test_it_has_the_rules_of_members(self) -> None:
        self.assertEqual(schema("EventName")["pattern"], f"^{members._NAME.pattern}$")
        self.assertEqual(schema("OwnId")["pattern"], f"^{members._ID.pattern}$")
        self.assertEqual(
            (schema("EventName")["maxLength"], schema("OwnId")["maxLength"]), (MAX_NAME_CHARS, MAX_ID_CHARS)
        )
        self.assertEqual(schema("Text")["maxLength"], MAX_ID_CHARS)
        self.assertEqual(schema("Amount")["anyOf"][0], {"type": "number", "minimum": 0, "maximum": MAX_VALUE})
        self.assertEqual(schema("Properties")["maxProperties"], MAX_PROPERTY_KEYS)
        self.assertEqual(set(schema("Currency")["enum"]), CURRENCIES | {"", None})

    def test_it_has_the_words_of_answers(self) -> None:
        said = schema("Conversion")["properties"]
        self.assertEqual(set(said["status"]["enum"]), set(Status.values))
        self.assertEqual(set(said["reason"]["enum"]), {*Hold.values, *Skip.values, "paused", None})
        self.assertEqual(set(said["click_found_by"]["enum"]), {value or None for value in ClickSource.values})
        self.assertEqual(set(schema("Correction")["properties"]["type"]["enum"]), set(Kind.values) - {"conversion"})
        self.assertEqual(set(schema("EventStatus")["properties"]["source"]["enum"]), {Source.BROWSER, Source.SERVER})
        self.assertEqual(set(schema("AdjustmentStatus")["properties"]["type"]["enum"]), set(AdjustmentType.values))

    def test_its_examples_are_of_its_shapes(self) -> None:
        for name, example in DOCUMENT["components"]["examples"].items():
            with self.subTest(name):
                validator(name).validate(example["value"])
        for name, response in DOCUMENT["components"]["responses"].items():
            problem = response.get("content", {}).get("application/problem+json", {})
            for example in problem.get("examples", {}).values():
                with self.subTest(name):
                    validator("Problem").validate(example["value"])

    def test_its_examples_are_taken(self) -> None:
        said = {name: example["value"] for name, example in DOCUMENT["components"]["examples"].items()}
        for response in (
            self.post_from_page("events", said["PageEvents"]),
            self.post_from_page("clicks", said["PageClicks"]),
            self.post_from_backend(said["BackendEvents"]),
            self.post_adjustments_body(said["Adjustments"]),
        ):
            results = json.loads(response.content)["results"]
            self.assertEqual([(each["status"], each["errors"]) for each in results], [("accepted", [])] * len(results))


class ServedTests(SimpleTestCase):
    def test_any_page_and_program_may_read_it(self) -> None:
        r = self.client.get("/v1/openapi.json", headers={"Origin": "https://editor.example"})
        self.assertEqual((r.status_code, r["Content-Type"]), (200, "application/json"))
        self.assertEqual(r.json(), DOCUMENT)
        self.assertEqual(r["Access-Control-Allow-Origin"], "*")
        self.assertEqual(r["Cache-Control"], "public, max-age=300")
        self.assertFalse(r.cookies)

    def test_a_reader_that_has_it_is_told_so(self) -> None:
        etag = self.client.get("/v1/openapi.json")["ETag"]
        r = self.client.get("/v1/openapi.json", headers={"If-None-Match": etag})
        self.assertEqual((r.status_code, r.content, r["ETag"]), (304, b"", etag))
        self.assertEqual(self.client.get("/v1/openapi.json", headers={"If-None-Match": '"x"'}).status_code, 200)

    def test_head_is_answered_without_a_body(self) -> None:
        r = self.client.head("/v1/openapi.json")
        self.assertEqual((r.status_code, r.content), (200, b""))

    def test_it_can_only_be_read(self) -> None:
        for method in ("post", "put", "delete", "options"):
            r = getattr(self.client, method)("/v1/openapi.json")
            self.assertEqual((r.status_code, r["Allow"]), (405, "GET, HEAD"))
            self.assertEqual(r.json()["type"], "/problems/method_not_allowed")


class AgreementTests(SimpleTestCase):
    """The schema refuses nothing that the door takes, and takes nothing that it refuses for a rule a schema can say."""

    def check(self, name: str, said: dict[str, Any], item: Item[Any]) -> None:
        """Compare what the schema and the door make of one item."""
        is_valid = validator_of[name].is_valid(said)
        if item.row is not None:
            self.assertTrue(is_valid or is_minus_zero(said), (name, said))
        elif not {error.code for error in item.errors} & ONLY_IN_WORDS:
            self.assertFalse(is_valid, (name, said, item.errors))

    def test_of_every_wrong_member(self) -> None:
        for good, table, names in (
            (PURCHASE, MEMBERS, ("PageEvent", "BackendEvent")),
            (CLICK, CLICK_MEMBERS, ("Click",)),
            (ADJUSTMENT, ADJUSTMENT_MEMBERS, ("Adjustment",)),
        ):
            for member, held, code, _ in table:
                said = {key: value for key, value in (good | {member: held}).items() if value is not ...}
                for name in names if code not in ONLY_IN_WORDS else ():
                    with self.subTest(name, member=member, held=repr(held)[:60]):
                        self.assertFalse(validator_of[name].is_valid(said))

    @given(st.dictionaries(EVENT_MEMBERS, JSON | TEXTS | PEOPLE), st.sampled_from(["PageEvent", "BackendEvent"]))
    @hypothesis_settings(max_examples=100, deadline=None)
    def test_of_odd_events(self, said: dict[str, Any], name: str) -> None:
        door = BROWSER if name == "PageEvent" else BACKEND
        self.check_first(name, PURCHASE | said, "events", door)

    @given(st.dictionaries(st.sampled_from(sorted(CLICK)), JSON | TEXTS))
    @hypothesis_settings(deadline=None)
    def test_of_odd_clicks(self, said: dict[str, Any]) -> None:
        self.check_first("Click", CLICK | said, "clicks", BROWSER)

    @given(st.dictionaries(st.sampled_from([*ADJUSTMENT, "event_id"]), JSON | TEXTS | st.just("retract")))
    @hypothesis_settings(max_examples=100, deadline=None)
    def test_of_odd_adjustments(self, said: dict[str, Any]) -> None:
        self.check_first("Adjustment", ADJUSTMENT | said, "adjustments", BACKEND)

    @given(st.from_regex(schema("OccurredAt")["pattern"]), st.from_regex(schema("Amount")["anyOf"][1]["pattern"]))
    @hypothesis_settings(deadline=None)
    def test_of_times_and_values(self, moment: str, value: str) -> None:
        self.check_first("BackendEvent", PURCHASE | {"occurred_at": moment, "value": value}, "events", BACKEND)

    def check_first(self, name: str, said: dict[str, Any], items: str, door: Door) -> None:
        """Compare what becomes of a batch of one."""
        body = json.dumps({items: [said]})
        parse: Any = {"events": parse_events, "clicks": parse_clicks, "adjustments": parse_adjustments}[items]
        try:
            [item] = parse(body.encode(), SITE, door, NOON)
        except BodyRefused:
            return
        self.check(name, json.loads(body)[items][0], item)


def is_minus_zero(said: dict[str, Any]) -> bool:
    """Say whether the value is a zero below zero in quotes, which the door forgives."""
    value = said.get("value")
    return isinstance(value, str) and value.startswith("-") and float(value) == 0


validator_of = {name: validator(name) for name in ("PageEvent", "BackendEvent", "Click", "Adjustment")}
