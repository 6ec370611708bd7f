"""Keeps which pages used a site's write key and were turned away, so that the install page can name them."""

from datetime import datetime
from typing import TYPE_CHECKING

from django.db import transaction

from ingest import audit
from ingest.cors import normalise_origin
from ingest.models import BlockedOrigin, Site
from ingest.notes import Notes

if TYPE_CHECKING:
    from django.contrib.auth.models import User

# The write key is public: whoever has fun with it writes no more rows than this, a site and a minute.
MAX_ORIGINS = 20
MAX_ORIGIN_CHARS = 255

notes = Notes(BlockedOrigin, MAX_ORIGINS)


def note(site_id: int, origin: str, now: datetime) -> None:
    """Keep that a page of this origin was turned away from a site, to the minute; best effort.

    A site keeps the 20 origins that were turned away last. What is no origin of a page (`null`) is not kept.
    """
    try:
        origin = normalise_origin(origin)
    except ValueError:
        return
    if len(origin) <= MAX_ORIGIN_CHARS:
        notes.keep({"site_id": site_id}, {"origin": origin}, now)


def allow(site: Site, origin: str, actor: "User", now: datetime) -> bool:
    """Put an origin that was turned away on the site's list; say whether it is there now.

    An origin that nobody tried is not put there, nor one on an empty list: that takes events from any page, and a first
    entry would shut out all others.
    """
    with transaction.atomic():
        locked = Site.objects.select_for_update().get(pk=site.pk)
        before = list(locked.allowed_origins)
        # Few rows, compared here: what a form sends may hold what a database does not take, such as NUL.
        turned_away = [row for row in locked.blocked_origins.all() if row.origin == origin]
        if before and origin not in before and turned_away:
            locked.allowed_origins = [*before, origin]
            locked.save(update_fields=["allowed_origins"])
            audit.record(
                actor, "site.allow_origin", organisation=locked.organisation, site=locked, target=origin,
                details={"allowed_origins": [before, locked.allowed_origins]}, now=now,
            )  # fmt: skip
            turned_away[0].delete()
        site.allowed_origins = locked.allowed_origins
    return not site.allowed_origins or origin in site.allowed_origins
