"""Where the object of an audit entry is found: its own page where the entry names it, else the page that lists it."""

import re

from dashboard.frame import url_or_nothing
from dashboard.guards import IMPORT, INSTALL
from ingest.models import AuditEntry, Role

# What `str(account)` ends with.
_ACCOUNT = re.compile(r"\(([0-9]{1,20})\)\Z")
_OF_THE_TEAM = {"invitation", "membership", "organisation"}
_PAGES = {"sign_in": "integrations", "server_key": "keys", "site": "site-settings"}
_NEEDED = {"keys": INSTALL, "import": IMPORT}


def href_of(entry: AuditEntry, role: Role) -> str:
    """Return the address of what an entry is about; "" where there is none, or the role may not open it."""
    thing, _, verb = entry.action.partition(".")
    if verb == "list":
        return ""  # of many things
    if thing in _OF_THE_TEAM:
        return f"{url_or_nothing('team')}?org={entry.organisation.public_id}"
    if entry.site is None:
        return ""
    page, *parts = _place(thing, entry)
    if not page or role not in _NEEDED.get(page, tuple(Role)):
        return ""
    return url_or_nothing(page, entry.site.public_id, *parts)


def _place(thing: str, entry: AuditEntry) -> tuple[str, ...]:
    """Return the name of a page and what its address has after the site."""
    details = entry.details
    account = _account_id(str(details.get("account", "")))
    if not account and not entry.action.endswith(".open"):  # a row that was opened may have any name
        account = _account_id(entry.target)
    if thing == "import" and details.get("import"):
        return "import", str(details["import"])
    if thing == "delivery" and account and details.get("delivery"):
        return "account-delivery", account, str(details["delivery"])
    if account:
        pages = {"delivery": "logs", "bulk": "logs", "mapping": "mapping", "event": "mapping", "goal": "mapping"}
        return f"account-{pages.get(thing, 'overview')}", account
    return (_PAGES.get(thing, ""),)


def _account_id(text: str) -> str:
    found = _ACCOUNT.search(text)
    return found[1] if found else text if text.isascii() and text.isdigit() else ""
