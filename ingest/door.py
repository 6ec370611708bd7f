"""The posts of the ingest API, from a request to rows and from what became of them to an answer.

Pure: no database, no clock, no framework. The collector and the Django views carry requests to it in the same three
steps: `greet` before the body is read, `take` when it is here, and `Batch.answer` when `committing.commit` has stored
its rows. `with_cors` dresses every answer.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from ingest import answers, cors
from ingest.decoding import BodyRefused
from ingest.http import Answer, Request, problem_answer
from ingest.judging import Outcome, Refusal
from ingest.keys import SERVER_KEYS, WRITE_KEYS, Caller, Keyring, bearer
from ingest.parsing import (
    BACKEND,
    BROWSER,
    OPTED_OUT,
    Door,
    Item,
    SiteFacts,
    parse_adjustments,
    parse_clicks,
    parse_events,
)
from ingest.reading import check_headers


@dataclass(frozen=True, slots=True)
class Post:
    """A call that brings something: what its items are called, which member names one, and how they are read."""

    items: str
    label: str
    parse: Callable[[bytes, SiteFacts, Door, datetime], Sequence[Item[Any]]]


EVENTS = Post("events", "event_id", parse_events)
CLICKS = Post("clicks", "msclkid", parse_clicks)
ADJUSTMENTS = Post("adjustments", "adjustment_id", parse_adjustments)

_OF_PAGES = {post.items: post for post in (EVENTS, CLICKS)}
_OF_BACKENDS = {post.items: post for post in (EVENTS, ADJUSTMENTS)}


@dataclass(frozen=True, slots=True)
class Route:
    """Which post an address is for, through which door, and the write key that it names (of a page's)."""

    post: Post
    door: Door
    write_key: str = ""

    def key(self, request: Request) -> tuple[Keyring, str]:
        """Return the key that the request shows, and where it is looked up."""
        if self.door is BROWSER:
            return WRITE_KEYS, self.write_key
        return SERVER_KEYS, bearer(request.headers.get("authorization", ""))


def route(path: str) -> Route | None:
    """Return what a path is for: `/v1/events`, `/v1/<write_key>/clicks` and their like; None for any other."""
    match path.split("/"):
        case ["", "v1", items] if items in _OF_BACKENDS:
            return Route(_OF_BACKENDS[items], BACKEND)
        case ["", "v1", write_key, items] if items in _OF_PAGES and write_key not in _OF_BACKENDS:
            return Route(_OF_PAGES[items], BROWSER, write_key)
    return None


@dataclass(frozen=True)
class Batch:
    """What one request brought, read; what of it can be stored is in `rows`."""

    post: Post
    caller: Caller
    # The sender's address, for the limits only.
    address: str
    items: Sequence[Item[Any]]
    # Bytes of the body, by which waiting batches are bounded.
    size: int

    @cached_property
    def rows(self) -> list[Any]:
        """The rows of the items that could be read, in their order."""
        return [item.row for item in self.items if item.row is not None]

    def answer(self, outcomes: Sequence[Outcome | Refusal]) -> Answer:
        """Answer what became of the rows."""
        return answers.results(self.items, outcomes, self.post.label)


def greet(request: Request, way: Route, caller: Caller | None) -> Answer | None:
    """Answer what needs no body, or may not send one; None lets it in."""
    refused = _greet_page(request, caller) if way.door is BROWSER else _greet_backend(request, caller)
    if refused:
        return refused
    try:
        check_headers(request, way.door)
    except BodyRefused as error:
        return _refuse(error)
    return None


def turns_away(request: Request, way: Route, caller: Caller) -> bool:
    """Say whether the page that asks is not on its site's list."""
    return way.door is BROWSER and not cors.may_send(caller.allowed_origins, request.headers.get("origin", ""))


def take(request: Request, way: Route, caller: Caller, now: datetime) -> Batch | Answer:
    """Read the body of a request that was let in. Global Privacy Control is a refusal, whatever the page says."""
    is_opted_out = way.door is BROWSER and request.headers.get("sec-gpc") == "1"
    try:
        items = way.post.parse(request.body, caller.site, OPTED_OUT if is_opted_out else way.door, now)
    except BodyRefused as error:
        return _refuse(error)
    return Batch(way.post, caller, request.address, items, len(request.body))


def with_cors(answer: Answer, request: Request, way: Route, caller: Caller | None) -> Answer:
    """Dress the answer so that the page that asked may read it; where no site is known, any page may."""
    if way.door is not BROWSER:
        return answer
    origin = request.headers.get("origin", "")
    if caller is None or cors.may_send(caller.allowed_origins, origin):
        return cors.let_read(answer, origin)
    return cors.shield(answer)


def _greet_page(request: Request, caller: Caller | None) -> Answer | None:
    if caller is None:
        return answers.unknown_key()
    if not cors.may_send(caller.allowed_origins, request.headers.get("origin", "")):
        return answers.origin_not_allowed()
    if request.method == "OPTIONS":
        return cors.preflight()
    return None if request.method == "POST" else answers.method_not_allowed("OPTIONS, POST")


def _greet_backend(request: Request, caller: Caller | None) -> Answer | None:
    if request.method != "POST":
        return answers.method_not_allowed("POST")
    return refuse_stranger(request, caller)


def refuse_stranger(request: Request, caller: Caller | None) -> Answer | None:
    """Answer who may not use a server key, or has none that lives; None for a backend that may."""
    if "origin" in request.headers:
        return answers.server_key_in_browser()
    return None if caller else answers.unauthorized()


def _refuse(error: BodyRefused) -> Answer:
    return problem_answer(error.status, error.code, error.title, error.detail, error.errors)
