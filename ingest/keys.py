"""Who is calling: a page by its site's public write key, a backend by a secret server key.

What a key opens is remembered for KNOWN_SECONDS, so that a busy site is not looked up for every request. A key that is
revoked, or an origin that is allowed, counts after that time at the latest, in the process that wrote it at once.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import Q
from django.utils import timezone

from ingest.models import ServerKey, Site
from ingest.parsing import SiteFacts

KNOWN_SECONDS = 2.0
# Somebody who tries keys must not fill the memory with them.
MAX_KNOWN = 10_000
LAST_USED_PRECISION = timedelta(minutes=1)

_PAGES = "site-"
_WRITE_KEY = re.compile(r"wk_[0-9a-f]{32}")
_BEARER = re.compile(r"bearer +(sk_[A-Za-z0-9_-]{20,80}) *", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Caller:
    """What the door has to know of a site, and of the key that opened it."""

    site: SiteFacts
    # Names the key among all keys of both kinds, without telling it.
    key: str
    allowed_origins: frozenset[str]
    time_zone: str
    daily_event_cap: int

    @property
    def is_page(self) -> bool:
        """Say whether it shows the site's public write key, which is in every page's source."""
        return self.key.startswith(_PAGES)


class Keyring:
    """The keys of one kind, as far as they were asked for lately: those that open nothing, too."""

    def __init__(self, find: Callable[[str], Caller | None]) -> None:
        self._find = find
        self._known: dict[str, tuple[float, Caller | None]] = {}

    def recall(self, key: str) -> tuple[Caller | None] | None:
        """Return, in a tuple, who calls with a key that was asked for lately; None where the database has to say."""
        until, caller = self._known.get(key, (0.0, None))
        return (caller,) if time.monotonic() < until else None

    def find(self, key: str) -> Caller | None:
        """Return who calls with a key. Raises django.db.OperationalError and its kin while the database is away."""
        known = self.recall(key)
        if known is not None:
            return known[0]
        caller = self._find(key)
        if len(self._known) >= MAX_KNOWN:
            # Keys that open something are few; who tries others must not push them out.
            self._known = {key: said for key, said in self._known.items() if said[1] is not None}
        self._known[key] = (time.monotonic() + KNOWN_SECONDS, caller)
        return caller

    def forget(self) -> None:
        """Look everybody up again."""
        self._known.clear()


def bearer(authorization: str) -> str:
    """Return the server key of an Authorization header; empty when there is none. Source: RFC 6750, section 2.1."""
    given = _BEARER.fullmatch(authorization)
    return given[1] if given else ""


def forget_all(**_kwargs: Any) -> None:
    """Look up again what any key opens: a site or a key has changed."""
    WRITE_KEYS.forget()
    SERVER_KEYS.forget()


def _find_by_write_key(write_key: str) -> Caller | None:
    site = Site.objects.filter(write_key=write_key).first() if _WRITE_KEY.fullmatch(write_key) else None
    return _caller(site, f"{_PAGES}{site.pk}") if site else None


def _find_by_server_key(secret: str) -> Caller | None:
    key = ServerKey.objects.find(secret) if secret else None
    if key is None:
        return None
    _note_use(key)
    return _caller(key.site, f"server-{key.pk}")


def _caller(site: Site, key: str) -> Caller:
    facts = SiteFacts(site.pk, site.currency)
    return Caller(facts, key, frozenset(site.allowed_origins), site.time_zone, site.daily_event_cap)


def _note_use(key: ServerKey) -> None:
    """Keep when the key was last used, to the minute: a busy backend does not write one row at every call."""
    now = timezone.now()
    if key.last_used_at is None or now - key.last_used_at >= LAST_USED_PRECISION:
        is_older = Q(last_used_at__isnull=True) | Q(last_used_at__lte=now - LAST_USED_PRECISION)
        ServerKey.objects.filter(is_older, pk=key.pk).update(last_used_at=now)


WRITE_KEYS = Keyring(_find_by_write_key)
SERVER_KEYS = Keyring(_find_by_server_key)
