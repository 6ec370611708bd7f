"""Reads the body of a request within its door's limits, which are checked before anything is parsed."""

from django.http import HttpRequest
from django.http.request import UnreadablePostError

from ingest.decoding import BodyRefused, body_too_large
from ingest.models import Source
from ingest.parsing import Door

JSON_TYPES = frozenset({"application/json"})
# A page may send JSON as text/plain: such a request needs no preflight, and sendBeacon can make it.
PAGE_TYPES = JSON_TYPES | {"text/plain"}


def read_body(request: HttpRequest, door: Door) -> bytes:
    """Return the body's bytes. Raises BodyRefused for a type, an encoding or a size that is not taken."""
    types = PAGE_TYPES if door.source is Source.BROWSER else JSON_TYPES
    if request.content_type not in types:
        raise _unsupported(f"Send the body as {' or '.join(sorted(types))}.")
    if (request.content_params or {}).get("charset", "utf-8").lower() not in {"utf-8", "utf8"}:
        raise _unsupported("JSON is UTF-8 (RFC 8259, section 8.1).")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise _unsupported("Send the body as it is: a compressed one is not unpacked.")
    if _announced_bytes(request) > door.max_bytes:
        raise body_too_large(door.max_bytes)
    try:
        return request.read(door.max_bytes + 1)
    except UnreadablePostError as error:
        raise BodyRefused(400, "body_incomplete", "The body ended too early", "The connection was closed.") from error


def _announced_bytes(request: HttpRequest) -> int:
    announced = request.headers.get("Content-Length", "")
    return int(announced) if announced.isascii() and announced.isdigit() and len(announced) < 20 else 0


def _unsupported(detail: str) -> BodyRefused:
    return BodyRefused(415, "unsupported_media_type", "This kind of body is not taken", detail)
