"""What a request gets when no view could answer it: problem+json for programs under /v1/, a page for people."""

import sys
from uuid import uuid4

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string

from convultra.logging import REQUEST_ID
from convultra.problems import problem

API_PREFIX = "/v1/"
# What a person quotes to support and the operator finds in the log, where the failure is told in full.
REQUEST_ID_HEADER = "X-Request-Id"
# A restarting database is back within seconds; the SDK and the backends wait this long and send again.
RETRY_AFTER_SECONDS = 5


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:  # noqa: ARG001
    """Answer 400. The exception's text may quote the request, so it is not shown."""
    if request.path.startswith(API_PREFIX):
        return problem(400, "bad_request", "The request cannot be understood")
    return HttpResponse(render_to_string("400.html"), status=400)


def forbidden(request: HttpRequest, exception: Exception | None = None, reason: str = "") -> HttpResponse:  # noqa: ARG001
    """Answer 403; also as CSRF_FAILURE_VIEW, which gives a `reason` and gets `form_expired` in the page's context."""
    if request.path.startswith(API_PREFIX):
        return problem(403, "forbidden", "This is not allowed")
    return render(request, "403.html", {"form_expired": bool(reason)}, status=403)


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:  # noqa: ARG001
    """Answer 404, in the same words whether the row does not exist or belongs to another customer."""
    if request.path.startswith(API_PREFIX):
        return problem(404, "not_found", "There is nothing at this address")
    return render(request, "404.html", status=404)


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer 500, or 503 with Retry-After while the database is away; each with an id that is in the log too.

    The page is rendered without the request: sessions, users and messages live in the database that may be the cause.
    """
    database_is_away = isinstance(sys.exc_info()[1], OperationalError | InterfaceError)
    status = 503 if database_is_away else 500
    # Django logs the failure after this, with the request: the line of the log gets the id from there.
    request_id = f"req_{uuid4().hex[:12]}"
    request.META[REQUEST_ID] = request_id
    headers = {REQUEST_ID_HEADER: request_id}
    if database_is_away:
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    if request.path.startswith(API_PREFIX):
        code, title = ("unavailable", "Try again shortly") if database_is_away else ("server_error", "We failed")
        return problem(status, code, title, headers=headers)
    is_sent = request.method not in ("GET", "HEAD")
    name = "503.html" if database_is_away else "500.html"
    page = render_to_string(name, {"request_id": request_id, "is_sent": is_sent})
    return HttpResponse(page, status=status, headers=headers)
