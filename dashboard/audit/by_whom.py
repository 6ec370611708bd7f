"""Who did something to a thing of a site last: the audit log knows."""

from django.db.models import Exists, OuterRef

from dashboard.audit.listing import actor_of
from ingest.models import AuditEntry, Membership, Site

# As many entries of a site as are looked through, the newest ones.
LOOKED_THROUGH = 5_000


def newest(site: Site, *actions: str, target: str = "") -> list[tuple[AuditEntry, str]]:
    """Return the newest entries of these actions, or of one target the newest of all, each with who did it.

    One query, of an index's end: a thing that was last touched long ago has no entry here.
    """
    looked_through = AuditEntry.objects.filter(site=site).order_by("-pk").values("pk")[:LOOKED_THROUGH]
    is_on_team = Exists(Membership.objects.filter(organisation=site.organisation_id, user=OuterRef("actor")))
    found = AuditEntry.objects.filter(pk__in=looked_through, action__in=actions).select_related("actor")
    rows = found.annotate(is_on_team=is_on_team).order_by("-pk")
    entries = rows.filter(target=target)[:1] if target else rows
    return [(entry, actor_of(entry, [entry.actor.pk] if entry.actor and entry.is_on_team else [])) for entry in entries]
