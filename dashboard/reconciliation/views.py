"""Reconciliation: a site's orders against what Microsoft counted, for one account, and why they differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import NamedTuple
from urllib.parse import urlencode
from uuid import UUID

from django import forms
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from dashboard import wording
from dashboard.attribution import SETTLING, settles_at
from dashboard.charts import BAD, Chart, Series, short_day
from dashboard.frame import Crumb, account_url, site_frame
from dashboard.guards import SEND, account_for, may, role_names, signed_in, site_for
from dashboard.health import with_health
from dashboard.reconciliation.export import csv_of
from dashboard.reconciliation.figures import (
    Asked,
    Captured,
    Reconciliation,
    captured,
    event_names,
    first_day,
    read,
)
from dashboard.reconciliation.funnel import Action, Day, Funnel, Loss
from dashboard.toasts import say_next
from forwarding.attributions import READ_EVERY, take_now
from forwarding.filters import CURRENCY, EVENT_NAME, NOT_SENT, WITH_CLICK, WITHOUT_CLICK
from forwarding.tasks import ring_to_read_report
from forwarding.unattributed import Gap
from ingest.models import Site
from integrations.models import AdAccount

PERIODS = (7, 30, 90)
USUAL_PERIOD = 30
ATTRIBUTED, ACCEPTED_ONLY = "--cv-chart-1", "--cv-chart-mute"
# A reading is a day old when the next is due; this late something is wrong.
STALE_AFTER = READ_EVERY + timedelta(hours=6)


class AskedForm(forms.Form):
    """The page's query string; what makes no sense is left out."""

    event = forms.RegexField(EVENT_NAME, required=False)
    currency = forms.RegexField(CURRENCY, required=False)
    days = forms.ChoiceField(choices=[(str(many), str(many)) for many in PERIODS], required=False)
    account = forms.CharField(max_length=32, required=False)

    def value(self, name: str) -> str:
        """Return what a field asks for, "" when it asks for nothing or for nonsense."""
        self.is_valid()
        return str(self.cleaned_data.get(name) or "")


class Look(NamedTuple):
    """How a kind of gap is drawn."""

    css: str
    icon: str


LOOKS = {
    Gap.EXPECTED: Look("", icon="circle-minus"),
    Gap.WAITING: Look("", icon="clock"),
    Gap.FIX: Look("fix", icon="alert-triangle"),
    Gap.RECOVERABLE: Look("act", icon="refresh"),
    Gap.LOST: Look("lost", icon="circle-x"),
    Gap.AT_MICROSOFT: Look("", icon="brand-windows"),
}
LABELS = {
    Action.LOGS: "See rows",
    Action.SEND: "Send now",
    Action.MAPPING: "Map it",
    Action.RESUME: "Resume",
    Action.RECONNECT: "Reconnect",
}


@dataclass(frozen=True)
class Page:
    """What is asked about: an account of the site, its events, and which of them in which days."""

    account: AdAccount
    events: Sequence[str]
    asked: Asked

    @property
    def query(self) -> str:
        """Return the page's query string."""
        asked = {"account": self.account.account_id, "event": self.asked.event, "days": str(self.asked.days)}
        return urlencode(asked | ({"currency": self.asked.currency} if self.asked.currency else {}))

    @property
    def noun(self) -> str:
        """Return what the page counts, in the plural."""
        return "orders" if self.asked.event == "purchase" else "conversions"


@signed_in
@require_GET
def reconciliation(request: HttpRequest, site_id: UUID) -> HttpResponse:
    """Show the funnel of an account, where the difference went, and each day."""
    site, role = site_for(request, site_id)
    frame = site_frame(request, site, role, "reconciliation", Crumb("Reconciliation"))
    now = timezone.now()
    page = _page(request, frame.accounts)
    if page is None:
        return render(request, "dashboard/reconciliation/reconciliation.html", {**frame, "page": None})
    heard_since = first_day(site)
    found = read(page.account, page.asked, now, heard_since)
    ctx = {
        **frame,
        "page": page,
        "accounts": frame.accounts,
        "periods": PERIODS,
        "currencies": sorted({*found.currencies, *([page.asked.currency] if page.asked.currency else [])}),
        "may_send": may(role, SEND),
        "needed": role_names(SEND),
        "capture": _capture(captured(site, page.asked, now, heard_since)),
        "reading": _reading(page.account, now),
        **_drawn(site, page, found, now),
    }
    return render(request, "dashboard/reconciliation/reconciliation.html", ctx)


@signed_in
@require_GET
def export(request: HttpRequest, site_id: UUID) -> HttpResponseBase:
    """Answer the page's days as a CSV file."""
    site, _ = site_for(request, site_id)
    now = timezone.now()
    page = _page(request, with_health(site.ad_accounts.all(), now))
    if page is None:
        return redirect("dashboard:reconciliation", site.public_id)
    return csv_of(request, page.account, page.asked, read(page.account, page.asked, now, first_day(site)).funnel, now)


@signed_in
@require_POST
def read_now(request: HttpRequest, site_id: UUID, account_id: str) -> HttpResponse:
    """Ask a worker to read what Microsoft attributed in an account, at most once a minute."""
    account, site, _ = account_for(request, site_id, account_id, *SEND)
    back = redirect(f"{reverse('dashboard:reconciliation', args=[site.public_id])}?account={account.account_id}")
    if not account.is_active or not account.connection.is_usable:
        say_next(request, "bad", "Microsoft’s report was not read", "Its sign-in has to be renewed first.")
    elif take_now(account, timezone.now()):
        transaction.on_commit(partial(ring_to_read_report, account.pk), robust=True)
        say_next(request, "info", "Reading Microsoft’s report", "It is here in a few seconds. Load the page again.")
    else:
        say_next(request, "info", "Microsoft’s report is being read", "It was asked for less than a minute ago.")
    return back


def _page(request: HttpRequest, accounts: Sequence[AdAccount]) -> Page | None:
    """Return what is asked about of accounts of `with_health`; None for a site without any."""
    if not accounts:
        return None
    form = AskedForm(request.GET)
    by_id = {account.account_id: account for account in accounts}
    account = by_id.get(form.value("account"), _most_alive(accounts))
    names = event_names(account, form.value("event"))
    days = int(form.value("days") or USUAL_PERIOD)
    return Page(account, names, Asked(form.value("event") or names[0], form.value("currency"), days))


def _most_alive(accounts: Sequence[AdAccount]) -> AdAccount:
    """Return the account that Microsoft accepted something of last, the first by name where it never did."""
    long_ago = datetime.min.replace(tzinfo=UTC)
    return max(accounts, key=lambda account: getattr(account, "accepted_at", None) or long_ago)


def _drawn(site: Site, page: Page, found: Reconciliation, now: datetime) -> dict[str, object]:
    funnel, home = found.funnel, site.currency
    groups = [
        {"group": group, "lines": [_line(site, page, loss, now) for loss in group.losses]}
        for group in funnel.groups
        if group.losses
    ]
    match = funnel.match
    return {
        "funnel": funnel,
        "steps": _steps(funnel, home),
        "groups": groups,
        "has_told": bool(funnel.groups[3].losses),
        "lost": sum(group.orders for group in funnel.groups),
        "clicks": funnel.steps[1].orders,
        "accepted": funnel.steps[3].orders,
        "attributed": funnel.steps[4].orders,
        "recoverable": [_line(site, page, loss, now) for loss in funnel.recoverable],
        "recoverable_orders": sum(loss.orders for loss in funnel.recoverable),
        "sharing": found.sharing[:5],
        "match": match,
        # Numbers that were never read are not small but unknown.
        "has_so_far": page.account.report_read_at is not None and funnel.is_told_apart and not match.accepted,
        "ready": _ready(funnel, now),
        "chart": _chart(funnel),
        "adjusted": wording.sums(funnel.adjusted, home) if funnel.adjusted else "",
        "net": wording.sums(funnel.net, home),
        "net_days": [_net(day, home) for day in funnel.days[::-1] if day.accepted],
        "days": funnel.days[::-1],
        "since": short_day(funnel.days[0].day),
        "account_since": page.account.created_at if page.account.created_at.date() > funnel.days[0].day else None,
    }


class Bar(NamedTuple):
    """A step as it is drawn: its share of the clicks as a height in percent, and how many are lost after it."""

    title: str
    orders: str
    sub: str
    height: float
    lost: int


def _steps(funnel: Funnel, home: str) -> list[Bar]:
    received, clicks = funnel.steps[0].orders, funnel.steps[1].orders
    drawn = []
    for at, step in enumerate(funnel.steps):
        whole, of = (received, "received") if at <= 1 else (clicks, "clicks")
        parts = [wording.sums(step.values, home)] if step.values else []
        if at and whole:
            parts.append(f"{wording.rate(step.orders, whole)} of {of}")
        is_known = at < 4 or funnel.is_told_apart
        if at == 4:
            settling = sum(loss.orders for loss in funnel.groups[3].losses if loss.told == SETTLING)
            parts += [f"{settling:,} settling"] if settling else []
        share = clicks / received if at == 0 and received else step.orders / clicks if clicks else 0.0
        lost = funnel.groups[at].orders if at < 4 else 0
        orders, sub = wording.thousands(step.orders), " · ".join(parts)
        drawn.append(Bar(step.title, orders if is_known else wording.DASH, sub if is_known else "", share * 100, lost))
    return drawn


class Net(NamedTuple):
    """What was accepted of a day's conversions, what corrections changed of it, and what is left."""

    day: date
    accepted: str
    adjusted: str
    left: str


def _net(day: Day, home: str) -> Net:
    return Net(day.day, *(wording.sums(sums, home) for sums in (day.worth, day.adjusted, day.net)))


class Line(NamedTuple):
    """A reason as the table shows it: `rows` is where its rows are, `href` what does something about it."""

    loss: Loss
    look: Look
    worth: str
    rows: str
    href: str
    label: str
    needs_role: bool


def _line(site: Site, page: Page, loss: Loss, now: datetime) -> Line:
    worth = wording.DASH if loss.values is None else wording.sums(loss.values, site.currency)
    worth = f"up to {worth}" if loss.is_at_most and loss.values else worth
    query = _rows_of(page, loss, now)
    rows = f"{account_url(site, page.account, 'logs')}{query}"
    href, label = _href(site, page, loss, query), LABELS[loss.action]
    return Line(loss, LOOKS[loss.gap], worth, rows, href, label, loss.action is Action.SEND)


def _rows_of(page: Page, loss: Loss, now: datetime) -> str:
    """Return the filter of Forward Logs that means a gap's rows and no others."""
    days = page.asked.dates(now)
    narrowed = {
        "status": loss.status,
        "error": loss.error,
        "reason": loss.reason,
        "event": page.asked.event,
        "currency": page.asked.currency,
        "click": "" if loss.with_click is None else WITH_CLICK if loss.with_click else WITHOUT_CLICK,
        "stage": "" if loss.status else NOT_SENT,
        "utc_since": days[0].isoformat(),
        "utc_until": days[-1].isoformat(),
    }
    return f"?{urlencode({name: value for name, value in narrowed.items() if value})}"


def _href(site: Site, page: Page, loss: Loss, query: str) -> str:
    match loss.action:
        case Action.LOGS:
            return f"{account_url(site, page.account, 'logs')}{query}"
        case Action.SEND:
            return f"{account_url(site, page.account, 'logs-retry')}{query}"
        case Action.MAPPING:
            return account_url(site, page.account, "mapping")
        case Action.RESUME:
            return account_url(site, page.account)
        case Action.RECONNECT:
            return reverse("dashboard:integrations", args=[site.public_id])


def _ready(funnel: Funnel, now: datetime) -> str:
    """Return the day on which the first match rate is known: when the first day with uploads is settled."""
    if any(day.is_settled and day.uploaded for day in funnel.days):
        return ""
    first = next((day.day for day in funnel.days if day.uploaded), now.date())
    return short_day(max(settles_at(first), now).date())


def _chart(funnel: Funnel) -> Chart:
    days = funnel.days
    attributed = [min(day.attributed or 0, day.accepted) for day in days]
    series = (
        Series("Attributed", ATTRIBUTED, attributed),
        Series("Accepted only", ACCEPTED_ONLY, [day.accepted - n for day, n in zip(days, attributed, strict=True)]),
        Series("Not accepted", BAD, [day.forwarded - day.accepted for day in days]),
    )
    unfinished = sum(not day.is_settled for day in days[-4:])
    finding = (
        f"Forwarded conversions by day, {short_day(days[0].day)} – {short_day(days[-1].day)}: "
        f"{sum(attributed):,} attributed, {funnel.steps[3].orders:,} accepted,"
        f" {funnel.groups[2].orders:,} not accepted."
    )
    return Chart([day.day for day in days], series, finding, unfinished)


def _capture(days: Sequence[Captured]) -> dict[str, object]:
    received, clicks = sum(day.received for day in days), sum(day.with_click for day in days)
    return {
        "days": days[::-1],
        "received": received,
        "with_click": clicks,
        "rate": wording.rate(clicks, received),
        "line": [day.with_click / day.received if day.received else 0.0 for day in days],
    }


def _reading(account: AdAccount, now: datetime) -> dict[str, object]:
    """Tell when Microsoft's report was read, why it was not, and when it is tried again."""
    is_late = account.report_read_at is not None and account.report_read_at < now - STALE_AFTER
    return {
        "read_at": account.report_read_at,
        "error": account.report_error,
        "is_asked": account.connection.is_usable,
        "is_late": is_late,
        "next_at": max(account.next_report_at, now),
    }
