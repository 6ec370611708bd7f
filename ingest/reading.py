"""What the headers say of a body, checked before it is read: its type, its encoding and its size."""

from functools import lru_cache

from ingest.decoding import BodyRefused, body_too_large
from ingest.http import Request
from ingest.models import Source
from ingest.parsing import Door

JSON_TYPES = frozenset({"application/json"})
# A page may send JSON as text/plain: such a request needs no preflight, and sendBeacon can make it.
PAGE_TYPES = JSON_TYPES | {"text/plain"}


def check_headers(request: Request, door: Door) -> None:
    """Raise BodyRefused for a type, an encoding or a size that is not taken."""
    types = PAGE_TYPES if door.source is Source.BROWSER else JSON_TYPES
    content_type, charset = _content_type(request.headers.get("content-type", ""))
    if content_type not in types:
        raise _unsupported(f"Send the body as {' or '.join(sorted(types))}.")
    if charset not in {"utf-8", "utf8"}:
        raise _unsupported("JSON is UTF-8 (RFC 8259, section 8.1).")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise _unsupported("Send the body as it is: a compressed one is not unpacked.")
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and (len(announced) > 19 or int(announced) > door.max_bytes):
        raise body_too_large(door.max_bytes)


@lru_cache(maxsize=64)
def _content_type(header: str) -> tuple[str, str]:
    """Return media type and charset of a Content-Type, in lower case; UTF-8 where none is named."""
    content_type, *parameters = header.lower().split(";")
    said = dict(parameter.strip().partition("=")[::2] for parameter in parameters)
    return content_type.strip(), said.get("charset", "utf-8").strip('" ')


def _unsupported(detail: str) -> BodyRefused:
    return BodyRefused(415, "unsupported_media_type", "This kind of body is not taken", detail)
