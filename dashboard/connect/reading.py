"""How far the reading of a sign-in's accounts is, while the request that reads them is still on its way."""

import re
from datetime import UTC, datetime
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from dashboard.connect.integrations import SYNC_AGAIN_AFTER
from dashboard.guards import CONNECT, connection_for, signed_in


@signed_in
@require_GET
def reading(request: HttpRequest, site_id: UUID, connection_id: UUID) -> HttpResponse:
    """Return the bar that says of how many accounts the goals are read; it asks again until its page is gone.

    An account is read when its own row says so, since the moment from which `sync` does not read it again.
    """
    connection, site, _ = connection_for(request, site_id, connection_id, *CONNECT)
    said = request.GET.get("since", "")
    is_moment = re.fullmatch("[0-9]{1,10}", said, re.ASCII)
    since = datetime.fromtimestamp(int(said), UTC) if is_moment else timezone.now() - SYNC_AGAIN_AFTER
    accounts = connection.ad_accounts.filter(is_active=True)
    total, done = accounts.count(), accounts.filter(goals_synced_at__gte=since).count()
    ctx = {
        "site": site,
        "connection": connection,
        "since": int(since.timestamp()),
        "total": total,
        "done": done,
        "percent": done * 100 // total if total else 0,
    }
    return render(request, "dashboard/connect/_reading.html", ctx)
