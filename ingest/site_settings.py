"""What a person may set on a site, and what becomes of it: saved under the site's lock, and noted in the audit log."""

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from django.db import transaction

from ingest import audit
from ingest.models import Site
from ingest.seen import refuse_moved

if TYPE_CHECKING:
    from django.contrib.auth.models import User

SETTINGS = (
    "name", "time_zone", "currency", "allowed_origins", "consent_policy", "confirm_mode", "confirm_minutes",
    "click_retention_days", "event_retention_days", "daily_event_cap",
)  # fmt: skip

logger = logging.getLogger(__name__)


def change_settings(site: Site, given: Mapping[str, object], actor: "User", now: datetime, seen: str = "") -> list[str]:
    """Save what is new of `SETTINGS`; return the names of what changed. The door knows it within seconds.

    With `seen`, what `seen_of` said when the form was drawn, nothing that somebody else set since then is overwritten:
    ChangedMeanwhileError is raised instead. An origin that is allowed from now on is no longer one that was turned
    away.
    """
    with transaction.atomic():
        locked = Site.objects.select_for_update(no_key=True).get(pk=site.pk)
        refuse_moved(locked, SETTINGS, given, seen)
        changed = [name for name in SETTINGS if name in given and getattr(locked, name) != given[name]]
        if not changed:
            return []
        details = {name: [getattr(locked, name), given[name]] for name in changed}
        for name in changed:
            setattr(locked, name, given[name])
        locked.save(update_fields=changed)
        locked.blocked_origins.filter(origin__in=locked.allowed_origins).delete()
        audit.record(
            actor, "site.settings", organisation=locked.organisation, site=locked, target=locked.name,
            details=details, now=now,
        )  # fmt: skip
    logger.info("Site %s: user %s changed %s", site.pk, actor.pk, ", ".join(changed))
    return changed
