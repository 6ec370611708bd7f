"""What surrounds an account's pages: its name, its health and its tabs."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from django.http import HttpRequest
from django.urls import reverse

from dashboard.frame import Crumb, account_url, site_frame, zone_of
from dashboard.guards import SEND, AccountEntry, may, role_names
from dashboard.health import Health, account_health
from forwarding.stops import take_over

REMOVED = Health("off", "Removed", "Nothing is forwarded to this account any more")
LABELS = {
    "overview": "Overview",
    "mapping": "Goal mapping",
    "settings": "Settings",
    "test": "Test Center",
    "logs": "Forward Logs",
}
# What is left of an account that was removed: what happened.
KEPT_AFTER_REMOVAL = {"overview", "logs"}


@dataclass(frozen=True)
class Tab:
    """A page of the account. `count` is how many things there need somebody."""

    key: str
    label: str
    href: str
    count: int = 0
    count_look: str = ""


class Badge(NamedTuple):
    """The look of a health's badge: a status's colours, and a picture."""

    look: str
    icon: str


BADGES = {
    "Healthy": Badge("delivered", icon="check"),
    "Needs reconnect": Badge("failed", icon="unlink"),
    "Needs attention": Badge("retrying", icon="alert-triangle"),
    "Paused": Badge("pending", icon="player-pause"),
    "Setting up": Badge("skipped", icon="settings"),
    "Removed": Badge("skipped", icon="minus"),
}


def account_frame(request: HttpRequest, entry: AccountEntry, page: str) -> dict[str, object]:
    """Return the context of a page of an account; `page` is a key of LABELS."""
    account, site, role = entry
    crumbs = (
        Crumb("Integrations", reverse("dashboard:integrations", args=[site.public_id])),
        Crumb(account.name, account_url(site, account)),
        Crumb(LABELS[page]),
    )
    frame = site_frame(request, site, role, account.account_id, *crumbs)
    listed = next((one for one in frame.accounts if one.pk == account.pk), None)
    if listed is not None:
        take_over(listed, account)
    health = account_health(listed) if listed is not None else REMOVED
    broken, failed = (getattr(listed, name, 0) for name in ("broken", "failed_lately"))
    needs_someone = {"mapping": (broken, "warn"), "logs": (failed, "bad")}
    tabs = [
        Tab(key, label, account_url(site, account, key), *needs_someone.get(key, ()))
        for key, label in LABELS.items()
        if account.is_active or key in KEPT_AFTER_REMOVAL
    ]
    return {
        **frame,
        "account": account,
        "health": health,
        "last_accepted": getattr(listed, "accepted_at", None),
        "badge": BADGES[health.word],
        "page": page,
        "page_label": LABELS[page],
        "tabs": [tab for tab in tabs if tab.href],
        "test_href": account_url(site, account, "test"),
        "may_test": may(role, SEND),
        "needed_to_test": role_names(SEND),
    }


def fragment_frame(entry: AccountEntry, now: datetime) -> dict[str, object]:
    """Return what a fragment of an account's page needs: no navigation, no header."""
    return {
        "account": entry.account,
        "site": entry.site,
        "role": entry.role,
        "zone": zone_of(entry.site),
        "now": now,
        "logs_url": account_url(entry.site, entry.account, "logs"),
    }
