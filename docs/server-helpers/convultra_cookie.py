"""Keep Convultra's cookie for its 90 days in Safari: set it again, unchanged, from the site's own pages.

    MIDDLEWARE = ["convultra_cookie.KeepConvultraCookie", *MIDDLEWARE]
    CONVULTRA_COOKIE_DOMAIN = "example.com"

Django 4.2 or newer, Python 3.10 or newer. First of all middleware, so that no cache of Django's stores what it adds.
What it does and why is told in the README beside this file.
"""

import re
import time

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.cache import patch_cache_control
from django.utils.deprecation import MiddlewareMixin
from django.utils.http import http_date

COOKIE = "_convultra"
DAY = 24 * 60 * 60 * 1000  # milliseconds, as in the cookie
LIFE = 90 * DAY  # the SDK's; Microsoft matches a click for 90 days
SENT = re.compile(r"(?:^|;)[ ]*_convultra=([^;]*)")
# visitor.since, and .click.at when a click is known
VALUE = re.compile(
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\.([0-9]{13})"
    r"(?:\.(?=(?:-*[0-9a-fA-F]){24})[0-9a-fA-F-]{24,40}\.([0-9]{13}))?"
)
BARE_HOST = re.compile(r"(?:www\.)?([a-z0-9-]+\.[a-z][a-z0-9-]*)(?::[0-9]+)?", re.IGNORECASE)
SHARED = re.compile(r"public|s-maxage", re.IGNORECASE)


def expiry(value: str, now: float) -> float | None:
    """Return when a cookie of this value ends, or None where it is not to be set; both in milliseconds since 1970."""
    match = VALUE.fullmatch(value)
    if not match:
        return None
    newest = max(int(moment) for moment in match.groups() if moment)
    return newest + LIFE if now - LIFE < newest < now + DAY else None


class KeepConvultraCookie(MiddlewareMixin):
    """Set the cookie that the browser sent again on HTML pages, to end when it was to end anyway."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """Add the cookie, and `private` to Cache-Control, or leave the response as it is."""
        page = response.headers.get("Content-Type", "").lower().startswith("text/html")
        shared = SHARED.search(response.headers.get("Cache-Control", ""))
        sent = SENT.findall(request.META.get("HTTP_COOKIE", ""))
        domain = getattr(settings, "CONVULTRA_COOKIE_DOMAIN", "") or _bare_domain(request)
        # Two cookies of the name: nobody can tell which domain has which.
        if not page or shared or not domain or len(sent) != 1 or COOKIE in response.cookies:
            return response
        ends = expiry(sent[0], time.time() * 1000)
        if ends is not None:
            https = request.is_secure() or request.META.get("HTTP_X_FORWARDED_PROTO", "").lower().startswith("https")
            response.set_cookie(
                COOKIE, sent[0], expires=http_date(ends / 1000), domain=domain, secure=https, samesite="Lax"
            )
            patch_cache_control(response, private=True)
        return response


def _bare_domain(request: HttpRequest) -> str:
    # example.com and www.example.com need no guess. If the guess is a public suffix, browsers drop the cookie.
    match = BARE_HOST.fullmatch(request.META.get("HTTP_HOST", ""))
    return match[1].lower() if match else ""
