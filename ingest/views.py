"""The ingest API: answer the preflight, find the site, read within limits, parse, store, answer.

No session and no cookie is read or set. A 2xx is sent after the commit that holds what it speaks of.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import wraps
from typing import Concatenate, ParamSpec

import msgspec
from django.conf import settings
from django.db import IntegrityError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.cache import get_conditional_response
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from convultra import failpoints
from convultra.errors import RETRY_AFTER_SECONDS
from convultra.problems import FieldError, problem
from ingest import parsing, storing
from ingest.cors import answer_preflight, may_send, set_cors_headers
from ingest.decoding import BodyRefused
from ingest.judging import Outcome, Refusal
from ingest.keys import authenticate, find_site
from ingest.models import Site
from ingest.parsing import BACKEND, BROWSER, Door, Item, Row, SiteFacts
from ingest.reading import read_body
from ingest.refusals import fault

SDK_CACHE_SECONDS = 5 * 60

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponse]
Take = Callable[[HttpRequest, Site, Door], HttpResponse]


def answers_while_database_is_away(view: View[P]) -> View[P]:
    """Decorate a view to answer 503 with Retry-After, readable by any page, when the database cannot work now."""

    @wraps(view)
    def wrapped(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        try:
            return view(request, *args, **kwargs)
        except (OperationalError, InterfaceError):
            detail = "Nothing was stored. Send the same request again."
            headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
            response = problem(503, "unavailable", "Try again shortly", detail, headers=headers)
            return set_cors_headers(response, None, request.headers.get("Origin", ""))

    return wrapped


@csrf_exempt
@answers_while_database_is_away
def browser_events(request: HttpRequest, write_key: str) -> HttpResponse:
    """Take up to 100 events from a page."""
    return _from_browser(request, write_key, _take_events)


@csrf_exempt
@answers_while_database_is_away
def browser_clicks(request: HttpRequest, write_key: str) -> HttpResponse:
    """Take the click ids that landing pages caught."""
    return _from_browser(request, write_key, _take_clicks)


@csrf_exempt
@answers_while_database_is_away
def backend_events(request: HttpRequest) -> HttpResponse:
    """Take up to 1,000 events from a backend, which may send e-mail and phone plain: they are hashed here."""
    return _from_backend(request, _take_events)


@csrf_exempt
@answers_while_database_is_away
def backend_adjustments(request: HttpRequest) -> HttpResponse:
    """Take up to 1,000 corrections of orders from a backend."""
    return _from_backend(request, _take_adjustments)


def _from_backend(request: HttpRequest, take: Take) -> HttpResponse:
    if request.method != "POST":
        return _method_not_allowed("POST")
    key = authenticate(request)
    return key if isinstance(key, HttpResponse) else take(request, key.site, BACKEND)


@require_safe
def sdk(request: HttpRequest) -> HttpResponse:
    """Serve the browser SDK, static/sdk/convultra.v1.js, to any page; 304 to one that has it."""
    try:
        script = (settings.BASE_DIR / "static" / "sdk" / "convultra.v1.js").read_bytes()
    except FileNotFoundError as error:
        raise Http404 from error
    etag = f'"{hashlib.sha256(script).hexdigest()[:32]}"'
    response = HttpResponse(script, content_type="text/javascript; charset=utf-8")
    response = get_conditional_response(request, etag=etag, response=response) or response
    response.headers["ETag"] = etag
    response.headers["Cache-Control"] = f"public, max-age={SDK_CACHE_SECONDS}"
    response.headers["Access-Control-Allow-Origin"] = "*"
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    return response


def _from_browser(request: HttpRequest, write_key: str, take: Take) -> HttpResponse:
    site = find_site(write_key)
    origin = request.headers.get("Origin", "")
    return set_cors_headers(_answer_browser(request, site, origin, take), site, origin)


def _answer_browser(request: HttpRequest, site: Site | None, origin: str, take: Take) -> HttpResponse:
    if site is None:
        return _unknown_key()
    if not may_send(site, origin):
        detail = "The site's settings list the origins of its pages."
        return problem(403, "origin_not_allowed", "This site takes nothing from this origin", detail)
    if request.method == "OPTIONS":
        return answer_preflight()
    return take(request, site, BROWSER) if request.method == "POST" else _method_not_allowed("OPTIONS, POST")


def _unknown_key() -> HttpResponse:
    return problem(404, "unknown_key", "No site has this write key")


def _method_not_allowed(allowed: str) -> HttpResponse:
    return problem(405, "method_not_allowed", "This address takes another method", headers={"Allow": allowed})


def _take_events(request: HttpRequest, site: Site, door: Door) -> HttpResponse:
    def parse(body: bytes) -> list[Item[parsing.EventRow]]:
        return parsing.parse_events(body, SiteFacts(site.pk, site.currency), door, timezone.now())

    return _take(request, site, door, parse, storing.store_events, "event_id")


def _take_clicks(request: HttpRequest, site: Site, door: Door) -> HttpResponse:
    def parse(body: bytes) -> list[Item[parsing.ClickRow]]:
        return parsing.parse_clicks(body, SiteFacts(site.pk, site.currency), door, timezone.now())

    return _take(request, site, door, parse, storing.store_clicks, "msclkid")


def _take_adjustments(request: HttpRequest, site: Site, door: Door) -> HttpResponse:
    def parse(body: bytes) -> list[Item[parsing.AdjustmentRow]]:
        return parsing.parse_adjustments(body, SiteFacts(site.pk, site.currency), door, timezone.now())

    return _take(request, site, door, parse, storing.store_adjustments, "adjustment_id")


def _take(
    request: HttpRequest,
    site: Site,
    door: Door,
    parse: Callable[[bytes], list[Item[Row]]],
    store: Callable[[Sequence[Row]], Sequence[Outcome | Refusal]],
    label: str,
) -> HttpResponse:
    try:
        items = parse(read_body(request, door))
    except BodyRefused as refused:
        return problem(refused.status, refused.code, refused.title, refused.detail, refused.errors)
    try:
        outcomes = store([item.row for item in items if item.row is not None])
    except IntegrityError:
        if Site.objects.filter(pk=site.pk).exists():
            raise
        return _unknown_key()  # deleted between being found and being written to
    failpoints.reach(failpoints.AFTER_INGEST)
    return _answer(list(_results(items, outcomes, label)), label)


# Faults of an item against which stands what was accepted before; every other is its own.
_CONTRADICTIONS = {"conflict", "already_retracted"}


@dataclass(frozen=True)
class _Result:
    label: str | None
    status: str
    errors: Sequence[FieldError]


def _results(items: Sequence[Item[Row]], outcomes: Sequence[Outcome | Refusal], label: str) -> Iterator[_Result]:
    left = iter(outcomes)
    for item in items:
        outcome = next(left) if item.row is not None else None
        match outcome:
            case None:
                yield _Result(item.label, "refused", item.errors)
            case Refusal():
                reason = fault(f"{item.path}.{outcome.member}", outcome.code, outcome.hint)
                yield _Result(item.label, "refused", [reason])
            case Outcome.CONFLICT:
                yield _Result(item.label, outcome.value, [fault(f"{item.path}.{label}", "conflict")])
            case _:
                yield _Result(item.label, outcome.value, item.errors)


def _answer(results: Sequence[_Result], label: str) -> HttpResponse:
    statuses = {result.status for result in results}
    errors = [error for result in results for error in result.errors]
    if {error.code for error in errors} <= _CONTRADICTIONS and statuses <= {"conflict", "refused"}:
        return problem(409, "conflict", "What was accepted before speaks against it", errors=errors)
    if statuses <= {"conflict", "refused"}:
        return problem(422, "nothing_accepted", "Nothing of the batch could be taken", errors=errors)
    body = {
        "results": [
            {label: result.label, "status": result.status, "errors": [asdict(error) for error in result.errors]}
            for result in results
        ]
    }
    headers = {"Cache-Control": "no-store"}
    return HttpResponse(msgspec.json.encode(body), status=202, content_type="application/json", headers=headers)
