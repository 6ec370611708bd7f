"""Forwarding what came before its name was mapped: asked with a forecast first, then done."""

from datetime import datetime
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from dashboard.account.frame import account_frame
from dashboard.frame import account_url
from dashboard.guards import MAP, AccountEntry, account_for, may, person, role_names, signed_in
from dashboard.mapping.preview import why_not
from dashboard.toasts import say_next
from forwarding.errors import SKIPS
from forwarding.planning import replaying


@signed_in
@require_http_methods(["GET", "POST"])
def replay(request: HttpRequest, site_id: UUID, account_id: str) -> HttpResponse:
    """Ask whether the missed events of a name are forwarded now, with what would become of them; POST does it."""
    entry = account_for(request, site_id, account_id, *(MAP if request.method == "POST" else ()))
    account, site, role = entry
    if not account.is_active:
        return redirect(account_url(site, account))
    name = (request.POST if request.method == "POST" else request.GET).get("event", "").replace("\0", "")
    mapping = account.mappings.filter(event_name=name, is_active=True).select_related("goal").first()
    if mapping is None:
        say_next(request, "info", "This event is not mapped", "Choose its goal first.")
        return redirect("dashboard:account-mapping", site.public_id, account.account_id)
    now = timezone.now()
    if request.method == "POST":
        return _replay(request, entry, name, now)
    forecast = replaying.forecast_of(account, mapping, now)
    ctx = {
        **account_frame(request, entry, "mapping"),
        "mapping": mapping,
        "looked_at": len(forecast.judged),
        "is_part": len(forecast.judged) == replaying.MOST_AT_ONCE,
        "forwarded": forecast.forwarded,
        "reasons": [(why_not(skip, unmet), count) for (skip, unmet), count in forecast.reasons],
        "may_edit": may(role, MAP),
        "needed": role_names(MAP),
    }
    return render(request, "dashboard/account/mapping_replay.html", ctx)


def _replay(request: HttpRequest, entry: AccountEntry, name: str, now: datetime) -> HttpResponse:
    done = replaying.replay(entry.account, name, person(request), now)
    if not done.events:
        say_next(request, "info", "Nothing was left to forward", f"Every {name} event has been planned already.")
    else:
        parts = [f"{count:,} not: {SKIPS[skip].title}." for skip, count in done.reasons.most_common()]
        title = f"{done.forwarded:,} of {done.events:,} {name} events go out"
        say_next(request, "ok" if done.forwarded else "info", title, " ".join(["See Forward Logs.", *parts]))
    return redirect("dashboard:account-mapping", entry.site.public_id, entry.account.account_id)
