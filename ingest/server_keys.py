"""A site's secret keys, as people make and revoke them. Two may live at once, so that a backend changes over in peace.

The door remembers what a key opens for `keys.KNOWN_SECONDS`; from then on a revoked one opens nothing anywhere.
"""

from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from django.db import transaction

from ingest import audit
from ingest.models import ServerKey, Site

if TYPE_CHECKING:
    from django.contrib.auth.models import User

# Of one site. Each backend needs one, and a second while it changes over.
MAX_LIVE_KEYS = 20


class MadeBeforeError(Exception):
    """A key was made under this id before: the same form came twice."""


class TooManyKeysError(Exception):
    """The site has MAX_LIVE_KEYS live keys."""


@transaction.atomic
def create_key(
    site: Site, name: str, actor: "User", now: datetime, key_id: UUID | None = None
) -> tuple[ServerKey, str]:
    """Make a key; return its row and its secret, which is nowhere kept. Raises MadeBeforeError or TooManyKeysError.

    `key_id` is what the asker will call it, so that asking twice makes one key; without it every call makes one.
    """
    Site.objects.select_for_update().get(pk=site.pk)
    if key_id is not None and ServerKey.objects.filter(public_id=key_id).exists():
        raise MadeBeforeError
    if site.server_keys.filter(revoked_at__isnull=True).count() >= MAX_LIVE_KEYS:
        raise TooManyKeysError
    key, secret = ServerKey.objects.mint(site, name, key_id)
    _record(actor, "create", key, now)
    return key, secret


@transaction.atomic
def revoke_key(site: Site, key_id: UUID, actor: "User", now: datetime) -> ServerKey | None:
    """Let a live key open nothing any more, for good; None when the site has no such key that lives."""
    live = site.server_keys.select_for_update().filter(public_id=key_id, revoked_at__isnull=True)
    key = live.first()
    if key is None:
        return None
    key.revoked_at = now
    key.save(update_fields=["revoked_at"])
    _record(actor, "revoke", key, now)
    return key


def _record(actor: "User", verb: str, key: ServerKey, now: datetime) -> None:
    audit.record(
        actor,
        f"server_key.{verb}",
        organisation=key.site.organisation,
        site=key.site,
        target=key.name or str(key),
        details={"key": str(key)},
        now=now,
    )
