"""What somebody else set while a person filled a form: who, when, and whose value the form has now."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from django.db.models import Model, QuerySet
from django.http import HttpRequest, QueryDict

from dashboard.audit.listing import actor_of
from ingest.models import AuditEntry, Organisation

ENTRIES_LOOKED_AT = 50
MAX_SEEN_CHARS = 500


class Meanwhile(NamedTuple):
    """A setting that somebody else changed. `at` and `who` are of the audit log; both empty where it says nothing."""

    label: str
    value: str
    who: str
    at: datetime | None
    is_own_kept: bool


def seen_by(request: HttpRequest) -> str:
    """Return what the posted form remembers of the settings that it showed."""
    return request.POST.get("seen", "")[:MAX_SEEN_CHARS]


def merged(posted: QueryDict, row: Model, taken: Sequence[str]) -> QueryDict:
    """Return the form as it was posted, with the row's values of what is `taken` over."""
    data = posted.copy()
    for name in taken:
        data[name] = _typed(row, name)
    return data


def told(
    row: Model, changed: Sequence[str], taken: Sequence[str], labels: Mapping[str, str],
    log: "QuerySet[AuditEntry]", organisation: Organisation,
) -> list[Meanwhile]:  # fmt: skip
    """Say of each setting what it is now, and who changed it. The newest entries of the row's `log` are looked at."""
    entries = list(log.select_related("actor").order_by("-pk")[:ENTRIES_LOOKED_AT])
    team = set(organisation.memberships.values_list("user_id", flat=True))
    changes = []
    for name in changed:
        entry = next((entry for entry in entries if name in entry.details), None)
        who, at = (actor_of(entry, team), entry.created_at) if entry else ("", None)
        changes.append(Meanwhile(labels[name], _shown(row, name), who, at, name not in taken))
    return changes


def _typed(row: Model, name: str) -> str:
    """Write a setting as the form's field has it."""
    value = getattr(row, name)
    return "\n".join(map(str, value)) if isinstance(value, list) else str(value)


def _shown(row: Model, name: str) -> str:
    words, value = getattr(row, f"get_{name}_display", None), getattr(row, name)
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(words()) if words else ", ".join(_typed(row, name).split("\n")) or "nothing"
