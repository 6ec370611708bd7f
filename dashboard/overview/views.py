"""A site's overview, section by section: each is on the page, and asks for itself anew every minute."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar
from urllib.parse import urlencode
from uuid import UUID

from django import forms
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from dashboard import wording
from dashboard.attribution import Match, match_rate, matches_together
from dashboard.frame import Crumb, account_url, site_frame, url_or_nothing, zone_of
from dashboard.guards import SiteEntry, signed_in, site_for
from dashboard.health import account_health, first_to_expire, is_stopped, with_health
from dashboard.install.checklist import turned_away
from dashboard.install.facts import read_door
from dashboard.overview.attention import SHOWN, Addresses, Facts, Waiting, needs
from dashboard.overview.failures import Cause
from dashboard.overview.figures import DEFAULT_PERIOD, PERIODS, Forwarded, Received, forwarded, received
from dashboard.overview.latest import latest
from dashboard.overview.refunds import untold_refunds
from dashboard.overview.start import has_delivered, start
from dashboard.speed import time_to_microsoft
from dashboard.uploads import uploads_of
from forwarding.alerts.causes import expiring
from forwarding.models import Status
from ingest.models import Site
from integrations.models import AdAccount

Context = dict[str, object]
T = TypeVar("T")

logger = logging.getLogger(__name__)


class PeriodForm(forms.Form):
    """The page's query string; nonsense shows the usual period of all accounts."""

    account = forms.CharField(max_length=32, required=False)
    days = forms.IntegerField(required=False)
    more = forms.BooleanField(required=False)


@dataclass(frozen=True)
class Asked:
    """What the query string asks for: an account, "" for all; how many days; all at once, for who has no scripts."""

    account: str
    days: int
    more: bool

    def among(self, accounts: Sequence[AdAccount]) -> Sequence[AdAccount]:
        """Return those of a site's accounts that are asked for: one, or all where it is none of them."""
        return [account for account in accounts if account.account_id == self.account] or accounts


@signed_in
@require_GET
def overview(request: HttpRequest, site_id: UUID) -> HttpResponse:
    """Show how a site does; while nothing was ever forwarded, how to get there."""
    site, role = site_for(request, site_id)
    frame = site_frame(request, site, role, "overview", Crumb("Overview"))
    asked, now, accounts = _asked(request), timezone.now(), frame.accounts
    chosen = asked.among(accounts)
    numbers = _tried(lambda: _numbers(site, accounts, asked.days, now))
    shown = numbers if chosen is accounts else _tried(lambda: _numbers(site, chosen, asked.days, now))
    # A site that has delivered before is not at its start but quiet, and that has to be said.
    if numbers is not None and numbers.sent.is_empty and not has_delivered(accounts):
        return render(request, "dashboard/overview/start.html", {**frame, "start": start(site, accounts, now)})
    ctx = {
        **frame,
        "periods": PERIODS,
        "days": asked.days,
        "accounts": accounts,
        "chosen": None if chosen is accounts else chosen[0],
        "is_all": asked.more,
        "lede": _lede(accounts),
        "attention": _tried(lambda: _attention(site, accounts, numbers, now)) if numbers else None,
        "figures": _tried(lambda: _figures(site, shown, asked.days, now, whole=asked.more)) if shown else None,
        "latest": _tried(lambda: latest(site, chosen)) if asked.more else None,
        "events_href": url_or_nothing("events", site.public_id),
        "integrations_href": url_or_nothing("integrations", site.public_id),
    }
    return render(request, "dashboard/overview/overview.html", ctx)


@signed_in
@require_GET
def attention_section(request: HttpRequest, site_id: UUID) -> HttpResponse:
    """Return the fragment with what needs somebody."""
    entry, accounts, now = _polled(request, site_id)
    numbers = _numbers(entry.site, accounts, DEFAULT_PERIOD, now)
    ctx = {**_around(entry, now), "attention": _attention(entry.site, accounts, numbers, now)}
    return render(request, "dashboard/overview/_attention.html", ctx)


@signed_in
@require_GET
def figures_section(request: HttpRequest, site_id: UUID) -> HttpResponse:
    """Return the fragment with figures, charts and accounts."""
    entry, accounts, now = _polled(request, site_id)
    asked = _asked(request)
    numbers = _numbers(entry.site, asked.among(accounts), asked.days, now)
    ctx = {
        **_around(entry, now),
        "figures": _figures(entry.site, numbers, asked.days, now, whole=True),
        "integrations_href": url_or_nothing("integrations", entry.site.public_id),
    }
    return render(request, "dashboard/overview/_figures.html", ctx)


@signed_in
@require_GET
def latest_section(request: HttpRequest, site_id: UUID) -> HttpResponse:
    """Return the fragment with the newest events."""
    entry, accounts, now = _polled(request, site_id)
    ctx = {**_around(entry, now), "latest": latest(entry.site, _asked(request).among(accounts))}
    return render(request, "dashboard/overview/_latest.html", ctx)


@signed_in
@require_GET
def start_section(request: HttpRequest, site_id: UUID) -> HttpResponse:
    """Return the fragment with the first steps and what arrives meanwhile."""
    entry, accounts, now = _polled(request, site_id)
    ctx = {**_around(entry, now), "start": start(entry.site, accounts, now)}
    return render(request, "dashboard/overview/_start.html", ctx)


@dataclass(frozen=True)
class _Numbers:
    sent: Forwarded
    got: Received


def _numbers(site: Site, accounts: Sequence[AdAccount], days: int, now: datetime) -> _Numbers:
    return _Numbers(forwarded(accounts, days, now), received(site, accounts, days, now))


def _asked(request: HttpRequest) -> Asked:
    form = PeriodForm(request.GET)
    form.is_valid()
    days = form.cleaned_data.get("days")
    return Asked(
        form.cleaned_data.get("account", ""),
        days if days in PERIODS else DEFAULT_PERIOD,
        bool(form.cleaned_data.get("more")),
    )


def _polled(request: HttpRequest, site_id: UUID) -> tuple[SiteEntry, list[AdAccount], datetime]:
    entry = site_for(request, site_id)
    now = timezone.now()
    return entry, with_health(entry.site.ad_accounts.all(), now), now


def _around(entry: SiteEntry, now: datetime) -> Context:
    return {"site": entry.site, "role": entry.role, "zone": zone_of(entry.site), "now": now}


def _tried(read: Callable[[], T]) -> T | None:
    """Return what a section reads; None where the database would not answer, and the section says so instead."""
    try:
        return read()
    except DatabaseError:
        logger.exception("A section of an overview could not be read.")
        return None


def _lede(accounts: Sequence[AdAccount]) -> Context:
    accepted = [at for account in accounts if (at := getattr(account, "accepted_at", None))]
    return {
        "accounts": len(accounts),
        "sending": sum(not is_stopped(account) for account in accounts),
        "last_accepted": max(accepted, default=None),
    }


def _attention(site: Site, accounts: Sequence[AdAccount], numbers: _Numbers, now: datetime) -> Context:
    found = needs(_facts(site, accounts, numbers, now), _addresses(site, accounts))
    return {"shown": found[:SHOWN], "rest": found[SHOWN:], "count": len(found)}


def _facts(site: Site, accounts: Sequence[AdAccount], numbers: _Numbers, now: datetime) -> Facts:
    waiting = {one.account.pk: one for one in numbers.sent.accounts if one.waiting}
    stopped = [account.pk for account in accounts if account.pk in waiting and is_stopped(account)]
    until = first_to_expire(stopped) if stopped else {}
    soon = [account for account in accounts if getattr(account, "expires_soon", False)]
    return Facts(
        accounts=accounts,
        waiting={pk: Waiting(one.waiting, one.waiting_values, until.get(pk)) for pk, one in waiting.items()},
        expiring=expiring(soon, now) if soon else {},
        failing=numbers.sent.failing,
        untold=untold_refunds(accounts, now),
        door=turned_away(read_door(site, now, is_heard=numbers.got.last_day is not None)),
        last_day=numbers.got.last_day,
        currency=site.currency,
        zone=zone_of(site),
        now=now,
    )


def _addresses(site: Site, accounts: Sequence[AdAccount]) -> Addresses:
    def pages(name: str) -> Mapping[int, str]:
        return {account.pk: account_url(site, account, name) for account in accounts}

    return Addresses(
        url_or_nothing("integrations", site.public_id),
        url_or_nothing("install", site.public_id),
        pages("overview"),
        pages("mapping"),
        pages("logs"),
    )


def _figures(site: Site, numbers: _Numbers, days: int, now: datetime, *, whole: bool) -> Context:
    """Return what the figures show; match rate and time to Microsoft come after the page unless it is `whole`."""
    found = numbers.sent
    accounts = [one.account for one in found.accounts]
    home = wording.main_currency(found.values, site.currency)
    own, others = wording.apart(found.values, site.currency)
    matches = _matches(accounts, days, now) if whole else {}
    return {
        "days": days,
        "period": "Today" if days == 1 else f"Last {days} days",
        "found": found,
        "by_day": found.by_day,
        # A day that is not over is less than a whole one before it, and that says nothing.
        "delivered_change": wording.change(found.delivered, found.delivered_before) if days > 1 else "",
        "revenue": wording.revenue(own, found.delivered, site.currency),
        "other_revenue": wording.sums(others, site.currency) if others else "",
        "revenue_change": _revenue_change(found, home) if days > 1 else "",
        "revenue_line": found.value_lines.get(home, []),
        "received": numbers.got,
        "is_whole": whole,
        "match": matches_together(matches.values()),
        "is_read": any(account.report_read_at for account in accounts),
        "speed": time_to_microsoft([account.pk for account in accounts]) if whole else None,
        "accounts": [
            {
                "figures": one,
                "health": account_health(one.account),
                "href": account_url(site, one.account),
                "match": matches.get(one.account.pk, Match()),
                "worth": wording.revenue(one.values, one.delivered, site.currency),
            }
            for one in found.accounts
        ],
        "causes": [_cause(site, cause, days) for cause in found.causes],
        "retrying": [
            (one.account, one.retrying, _logs(site, one.account, days, status=Status.RETRYING))
            for one in found.accounts
            if one.retrying > 0
        ],
        "failures_href": _logs(site, accounts[0], days, status=Status.FAILED) if len(accounts) == 1 else "",
    }


def _matches(accounts: Sequence[AdAccount], days: int, now: datetime) -> dict[int, Match]:
    found = uploads_of([account.pk for account in accounts], now.date() - timedelta(days=days - 1), now.date())
    return {account.pk: match_rate(found[account.pk].by_day(), account.report_read_at) for account in accounts}


def _revenue_change(found: Forwarded, currency: str) -> str:
    return wording.change(found.values.get(currency, 0), found.values_before.get(currency, 0))


def _cause(site: Site, cause: Cause, days: int) -> Context:
    places = [
        (place, _logs(site, place.account, days, status=Status.FAILED, error=place.asked_for)) for place in cause.places
    ]
    return {"cause": cause, "places": places, "href": places[0][1] if len(places) == 1 else ""}


def _logs(site: Site, account: AdAccount, days: int, **narrowed: str) -> str:
    """Return where an account's rows of the period are, narrowed: those that are counted here."""
    asked = {name: value for name, value in narrowed.items() if value}
    return f"{account_url(site, account, 'logs')}?{urlencode(asked | {'period': str(days)})}"
