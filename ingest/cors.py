"""Which pages may call: the CORS headers of every answer to a browser, in one place."""

import re
from collections.abc import Collection

from ingest.http import Answer

PREFLIGHT_SECONDS = 24 * 60 * 60

_ORIGIN = re.compile(r"https?://([a-z0-9-]+(\.[a-z0-9-]+)*|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")


def normalise_origin(text: str) -> str:
    """Return the origin as browsers write it in a header: `https://shop.example`, without path or usual port.

    Raises ValueError for anything else; names outside ASCII are written in Punycode.
    """
    origin = text.strip().lower().removesuffix("/")
    if _ORIGIN.fullmatch(origin) is None:
        raise ValueError("An origin is like https://shop.example, without a path.")
    scheme = origin.partition(":")[0]
    return origin.removesuffix(":80" if scheme == "http" else ":443")


def may_send(allowed_origins: Collection[str], origin: str) -> bool:
    """Say whether a page of this origin may use the site's write key. No origin at all is not a page.

    A filter of noise, not a lock: whoever is no browser sends any Origin. A write key can only add events.
    """
    return not origin or not allowed_origins or origin.lower() in allowed_origins


def let_read(answer: Answer, origin: str) -> Answer:
    """Let the page of an origin read the answer; return it.

    Never with credentials: no cookie is read here, so none has to be sent. Caches must keep origins apart.
    """
    shield(answer)
    if origin:
        answer.headers["Access-Control-Allow-Origin"] = origin
        answer.headers["Access-Control-Expose-Headers"] = "Retry-After"
    return answer


def shield(answer: Answer) -> Answer:
    """Let no page read the answer, but any embed it, and caches keep it by origin; return it."""
    answer.headers["Vary"] = "Origin"
    answer.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    return answer


def preflight() -> Answer:
    """Answer the browser's question before a request with `application/json`."""
    return Answer(
        204,
        headers={
            "Allow": "OPTIONS, POST",
            "Access-Control-Allow-Methods": "POST",
            "Access-Control-Allow-Headers": "Content-Type",
            "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
        },
    )
