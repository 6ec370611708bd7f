"""The inside of the case `pages`: opens each page with Django's test client and takes its time."""

import hashlib
import re
import statistics
import time
from collections.abc import Iterator
from typing import Any

from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from ingest.models import Event
from integrations.models import AdAccount
from tests.bench import millions

DEEP_PAGE = 50


def fill_millions(rows: int) -> dict[str, Any]:
    """Make the rows."""
    millions.fill(rows)
    return {}


def open_pages(times: int) -> dict[str, Any]:
    """Open each page so many times after a first one; say its median, slowest and CPU in ms, and its queries."""
    client = Client(HTTP_HOST="localhost")
    client.force_login(User.objects.get(username=millions.OWNER))
    pages = []
    for title, address in _addresses(client):
        with CaptureQueriesContext(connection) as queries:
            answer = client.get(address)
            asked = len(queries)  # before another request empties the log
        if answer.status_code != 200:
            return {"refused": f"{title}: {address} was answered {answer.status_code}"}
        taken = [_milliseconds(client, address) for _ in range(times)]
        wall, busy = sorted(wall for wall, _ in taken), statistics.median(busy for _, busy in taken)
        middle = statistics.median(wall)
        pages.append({"title": title, "milliseconds": middle, "slowest": wall[-1], "busy": busy, "queries": asked})
    return {"pages": pages}


def _milliseconds(client: Client, address: str) -> tuple[float, float]:
    """Return how long a page took, and how long of that this process was at work, which others disturb less."""
    began, worked = time.perf_counter(), time.process_time()
    client.get(address)
    return (time.perf_counter() - began) * 1000, (time.process_time() - worked) * 1000


def _addresses(client: Client) -> Iterator[tuple[str, str]]:
    """Yield what the customer's people open, and what they search for."""
    account = AdAccount.objects.select_related("site").get()
    site = f"/s/{account.site.public_id}/"
    logs = f"{site}accounts/{account.account_id}/logs/"
    middle = Event.objects.latest("pk").pk // 200 * 100  # of a hundred, one that was delivered
    yield "Forward Logs, first page", logs
    yield "Forward Logs, failed", f"{logs}?status=failed"
    yield "Forward Logs, one goal", f"{logs}?goal=Qualified+Lead"
    yield "Forward Logs, one error at any time", f"{logs}?error=5604&period=all"
    yield f"Forward Logs, page {DEEP_PAGE} by key", _deep(client, f"{logs}?period=all")
    yield "Forward Logs, a transaction", f"{logs}?q=HP-{middle}"
    yield "Forward Logs, a click ID", f"{logs}?q={hashlib.md5(str(middle).encode(), usedforsecurity=False).hexdigest()}"
    yield "Forward Logs, nothing found", f"{logs}?q=nobody-has-this"
    yield "Account overview", f"{site}accounts/{account.account_id}/"
    yield "Overview", site
    yield "Reconciliation", f"{site}reconciliation/"
    yield "Events, first page", f"{site}events/"
    yield "Events, a transaction", f"{site}events/?q=HP-{middle}"
    yield "Sites", "/sites/"


def _deep(client: Client, address: str) -> str:
    """Follow the link to older rows from page to page; return the last one's address."""
    logs = address.partition("?")[0]
    for _ in range(DEEP_PAGE - 1):
        older = re.search(r'href="[^"]*(\?[^"]*before=[^"]*)"', client.get(address).content.decode())
        if older is None:
            raise ValueError(f"{address} leads to no older page")
        address = logs + older[1].replace("&amp;", "&")
    return address
