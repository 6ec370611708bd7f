"""Serves the API's own description, `docs/openapi.yaml`, as JSON: `GET /v1/openapi.json`, public, from no database."""

import hashlib
from collections.abc import Mapping
from functools import cache
from typing import Any

import msgspec
import yaml
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.cache import get_conditional_response
from django.views.decorators.csrf import csrf_exempt

from convultra.problems import problem

CACHE_SECONDS = 5 * 60


@csrf_exempt
def document(request: HttpRequest) -> HttpResponse:
    """Answer the OpenAPI document to any page or program; 304 to one that has it."""
    if request.method not in ("GET", "HEAD"):
        title = "This address only answers GET."
        return problem(405, "method_not_allowed", title, headers={"Allow": "GET, HEAD"})
    body, etag = _read_document()
    response = HttpResponse(body, content_type="application/json")
    response = get_conditional_response(request, etag=etag, response=response) or response
    response.headers["ETag"] = etag
    response.headers["Cache-Control"] = f"public, max-age={CACHE_SECONDS}"
    response.headers["Access-Control-Allow-Origin"] = "*"
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    return response


@cache
def read() -> Mapping[str, Any]:
    """Return the document as it is parsed. It changes with a release, so it is read once, and nobody changes it."""
    document: Mapping[str, Any] = yaml.safe_load((settings.BASE_DIR / "docs" / "openapi.yaml").read_bytes())
    return document


@cache
def _read_document() -> tuple[bytes, str]:
    """Return the document as JSON and its ETag."""
    body = msgspec.json.encode(read())
    return body, f'"{hashlib.sha256(body).hexdigest()[:32]}"'
