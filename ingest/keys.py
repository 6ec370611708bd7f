"""Who is calling: a page by its site's public write key, a backend by a secret server key."""

import re
from datetime import timedelta

from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from convultra.problems import problem
from ingest.models import ServerKey, Site

LAST_USED_PRECISION = timedelta(minutes=1)

_WRITE_KEY = re.compile(r"wk_[0-9a-f]{32}")
_BEARER = re.compile(r"bearer +(sk_[A-Za-z0-9_-]{20,80}) *", re.IGNORECASE)


def find_site(write_key: str) -> Site | None:
    """Return the site of a write key. An unknown key and one that cannot be a key look the same."""
    return Site.objects.filter(write_key=write_key).first() if _WRITE_KEY.fullmatch(write_key) else None


def authenticate(request: HttpRequest) -> ServerKey | HttpResponse:
    """Return the server key of a backend's request, its site joined, or the answer to give instead.

    403 when a browser sends it, because then the secret is in a page; 401 when no live key is given.
    Source: RFC 6750, sections 2.1 and 3.
    """
    if "Origin" in request.headers:
        detail = "Anybody could read it there. Revoke this key and send from the page with the site's write key."
        return problem(403, "server_key_in_browser", "A server key does not belong into a browser", detail)
    given = _BEARER.fullmatch(request.headers.get("Authorization", ""))
    key = ServerKey.objects.find(given[1]) if given else None
    if key is None:
        detail = "Send `Authorization: Bearer sk_…` with a server key of the site that has not been revoked."
        headers = {"WWW-Authenticate": 'Bearer realm="convultra"'}
        return problem(401, "unauthorized", "A server key is needed", detail, headers=headers)
    _note_use(key)
    return key


def _note_use(key: ServerKey) -> None:
    """Keep when the key was last used, to the minute: a busy backend does not write one row at every call."""
    now = timezone.now()
    if key.last_used_at is None or now - key.last_used_at >= LAST_USED_PRECISION:
        is_older = Q(last_used_at__isnull=True) | Q(last_used_at__lte=now - LAST_USED_PRECISION)
        ServerKey.objects.filter(is_older, pk=key.pk).update(last_used_at=now)
