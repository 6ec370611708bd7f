"""The customer's log of what people changed: `record` writes an entry, in the transaction of the change itself."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import TYPE_CHECKING

from django.db.models import CharField

from ingest.models import AuditEntry, Organisation, Site

if TYPE_CHECKING:
    from django.contrib.auth.models import User

# Who acted when nobody was signed in: a command, or the product by itself.
SERVER = "Convultra"
# The ticket for which staff act now, "" for nobody of the staff.
_ticket: ContextVar[str] = ContextVar("ticket", default="")


@contextmanager
def under_ticket(number: str) -> Iterator[None]:
    """Let every entry that is recorded meanwhile say that staff did it, and for which ticket; none for ""."""
    token = _ticket.set(number)
    try:
        yield
    finally:
        _ticket.reset(token)


def record(
    actor: "User | None",
    action: str,
    *,
    organisation: Organisation,
    site: Site | None = None,
    target: str = "",
    details: Mapping[str, object] | None = None,
    now: datetime,
) -> AuditEntry:
    """Note that `actor` (None: the server) did something that `organisation` may read of for ever.

    `action` is thing and verb, such as `delivery.retract`, 64 characters at most; `target` names the thing for a
    person and is cut where the column ends. `details` say what changed, such as `{"role": ["viewer", "owner"]}`, and
    hold no secret and no personal data of visitors; what JSON does not know (Decimal, datetime, UUID) becomes text.
    """
    ticket = _ticket.get()
    said = {**(details or {}), **({"by_staff": True, "ticket": ticket} if ticket else {})}
    return AuditEntry.objects.create(
        organisation=organisation,
        site=site,
        actor=actor,
        actor_name=_fitting("actor_name", SERVER if actor is None else actor.email or actor.get_username()),
        action=action,
        target=_fitting("target", target),
        details=json.loads(json.dumps(said, default=str)),
        created_at=now,
    )


def _fitting(name: str, text: str) -> str:
    column = AuditEntry._meta.get_field(name)
    assert isinstance(column, CharField)
    return text[: column.max_length]
