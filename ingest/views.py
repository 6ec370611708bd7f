"""The ingest API as Django views: the same steps as the collector's (`ingest/collector.py`), one request at a time.

They serve plain `runserver`, WSGI servers and tests; a server that reads no chunked bodies, as `runserver` does not,
gets an empty one. No session and no cookie is read or set.
"""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.http.request import UnreadablePostError
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from ingest import answers, blocked_origins, door, limits, refused_items, sdk
from ingest.committing import commit
from ingest.door import Route
from ingest.http import Answer, Request, problem_answer
from ingest.keys import SERVER_KEYS, Caller, bearer
from ingest.storing import be_impatient

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, Caller, P], HttpResponse]


@csrf_exempt
def post(request: HttpRequest, write_key: str = "") -> HttpResponse:  # noqa: ARG001  # the door reads it in the path
    """Take what a page or a backend posts."""
    way = door.route(request.path_info)
    assert way is not None, "urls.py and the door name the same addresses"
    asked = to_request(request)
    caller = None
    try:
        be_impatient()
        keyring, key = way.key(asked)
        caller = keyring.find(key)
        answer = door.greet(asked, way, caller)
        if answer is None:
            answer = _take(request, asked, way, caller)
        elif caller is not None and door.turns_away(asked, way, caller):
            blocked_origins.note(caller.site.site_id, asked.headers["origin"], timezone.now())
        if caller and refused_items.has_news(way, caller, answer, now := timezone.now()):
            refused_items.note(way, caller, answer, now)
    except (OperationalError, InterfaceError):
        answer = answers.unavailable()
    return to_response(door.with_cors(answer, asked, way, caller))


def for_backend(view: View[P]) -> Callable[Concatenate[HttpRequest, ...], HttpResponse]:
    """Decorate a view that answers a backend's GET: it is called with the caller that the server key names.

    Answers 405, 403, 401, 429 and, while the database is away, 503 by itself.
    """

    @csrf_exempt
    @wraps(view)
    def wrapped(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            return to_response(answers.method_not_allowed("GET, HEAD"))
        asked = to_request(request)
        try:
            be_impatient()
            caller = SERVER_KEYS.find(bearer(asked.headers.get("authorization", "")))
            if refused := door.refuse_stranger(asked, caller):
                return to_response(refused)
            assert caller is not None
            if refused := limits.refuse_read(caller, asked.address, timezone.now()):
                return to_response(refused)
            return view(request, caller, *args, **kwargs)
        except (OperationalError, InterfaceError):
            return to_response(answers.unavailable())

    return wrapped


@csrf_exempt
def sdk_file(request: HttpRequest, name: str) -> HttpResponse:  # noqa: ARG001  # read in the path
    """Serve a file of the SDK."""
    return to_response(sdk.serve(to_request(request)))


def to_request(request: HttpRequest) -> Request:
    """Return a Django request, without its body, as the door sees it."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    address = limits.sender(request.META.get("REMOTE_ADDR", ""), headers.get("x-forwarded-for", ""))
    return Request(request.method or "", request.path_info, headers, b"", address)


def to_response(answer: Answer) -> HttpResponse:
    """Return an answer of the door as Django sends it."""
    return HttpResponse(answer.body, status=answer.status, headers=answer.headers)


def _take(request: HttpRequest, asked: Request, way: Route, caller: Caller | None) -> Answer:
    assert caller is not None
    try:
        asked.body = request.read(way.door.max_bytes + 1)
    except UnreadablePostError:
        return problem_answer(400, "body_incomplete", "The body ended too early", "The connection was closed.")
    now = timezone.now()
    batch = door.take(asked, way, caller, now)
    if isinstance(batch, Answer):
        return batch
    return commit([batch], now)[0]
