"""Errors of the API, as RFC 9457 writes them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from django.http import HttpResponse

CONTENT_TYPE = "application/problem+json"


@dataclass(frozen=True)
class FieldError:
    """One fault of a request: the field's path in the body (`events[3].value`), a stable code, and a sentence."""

    field: str
    code: str
    detail: str


def problem(
    status: int,
    code: str,
    title: str,
    detail: str = "",
    errors: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
) -> HttpResponse:
    """Answer `application/problem+json` with type, status and title; detail and errors where there are any.

    `code` is the stable name of the kind of problem and ends the type, a reference relative to this server
    (`/problems/<code>`). A response is never cached: the next try may well succeed.

    Source: RFC 9457, section 3.
    """
    return HttpResponse(
        json.dumps(problem_body(status, code, title, detail, [asdict(error) for error in errors])),
        status=status,
        content_type=CONTENT_TYPE,
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def problem_body(
    status: int, code: str, title: str, detail: str = "", errors: Sequence[Mapping[str, str]] = ()
) -> dict[str, object]:
    """Return the members of a problem's JSON, for answers that are no HttpResponse."""
    body: dict[str, object] = {"type": f"/problems/{code}", "status": status, "title": title}
    if detail:
        body["detail"] = detail
    if errors:
        body["errors"] = errors
    return body
