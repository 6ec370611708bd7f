"""Which pages may call: the CORS headers of every answer to a browser, in one place."""

import re

from django.http import HttpResponse

from ingest.models import Site

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


def may_send(site: Site, origin: str) -> bool:
    """Say whether a page of this origin may use the site's write key. No origin at all is not a page.

    A filter of noise, not a lock: whoever is no browser sends any Origin. A write key can only add events.
    """
    return not origin or not site.allowed_origins or origin.lower() in site.allowed_origins


def set_cors_headers(response: HttpResponse, site: Site | None, origin: str) -> HttpResponse:
    """Let the page read the answer if it may send; without a site any page may read that there is none.

    Never with credentials: no cookie is read here, so none has to be sent. Caches must keep origins apart.
    """
    response["Vary"] = "Origin"
    response["Cross-Origin-Resource-Policy"] = "cross-origin"
    if origin and (site is None or may_send(site, origin)):
        response["Access-Control-Allow-Origin"] = origin
        response["Access-Control-Expose-Headers"] = "Retry-After"
    return response


def answer_preflight() -> HttpResponse:
    """Answer the browser's question before a request with `application/json`."""
    return HttpResponse(
        status=204,
        headers={
            "Allow": "OPTIONS, POST",
            "Access-Control-Allow-Methods": "POST",
            "Access-Control-Allow-Headers": "Content-Type",
            "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
        },
    )
