"""The help of the page that a person is on, as a dialog over it or as a page of its own. Each problem has its link."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from django import forms
from django.conf import settings
from django.core.validators import RegexValidator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET

from dashboard.frame import Crumb, account_url, organisation_frame, site_frame, url_or_nothing
from dashboard.guards import SiteEntry, account_for, by_htmx, may, signed_in, site_for
from dashboard.help import reference
from dashboard.help.words import DEFINITIONS, KEYS, STATUSES, TROUBLES, Place, topic_of
from integrations.models import AdAccount


class WhereForm(forms.Form):
    """The page that help is asked on, with its site and account; what is nonsense in it is left out."""

    page = forms.SlugField(max_length=64, required=False)
    site = forms.UUIDField(required=False)
    account = forms.CharField(max_length=20, required=False, validators=[RegexValidator(r"\A[0-9]+\Z")])


@dataclass(frozen=True)
class Where:
    """Where the links of the help lead: to pages of this site and account, as far as they are known."""

    entry: SiteEntry | None
    account: AdAccount | None

    def address(self, place: Place) -> str:
        """Return a place's address: nearest to it where the account or the site is not known; "" for another role."""
        if self.entry is None:
            return reverse("dashboard:sites")
        if not may(self.entry.role, tuple(place.roles)):
            return ""
        site = self.entry.site
        if not place.page.startswith("account-"):
            return url_or_nothing(place.page, site.public_id)
        if self.account is None:
            return url_or_nothing("integrations", site.public_id)
        return account_url(site, self.account, place.page.removeprefix("account-"))


class TroubleRow(NamedTuple):
    """A problem with what to do, and the links to where it is done: words and address."""

    problem: str
    answer: str
    links: list[tuple[str, str]]


@signed_in
@require_GET
def help_(request: HttpRequest) -> HttpResponse:
    """Help: htmx gets the dialog of the page that asks, everybody else the whole of it."""
    asked = WhereForm(request.GET)
    asked.is_valid()
    where = _where(request, asked)
    page = asked.cleaned_data.get("page", "")
    topic = topic_of(page)
    if by_htmx(request):
        ctx: dict[str, object] = {
            "topic": topic,
            "definitions": [DEFINITIONS[name] for name in topic.definitions],
            "troubles": _troubles(topic.troubles, where),
            "keys": KEYS,
            "whole_href": f"{reverse('dashboard:help')}?{request.GET.urlencode()}",
        }
        return render(request, "dashboard/help/_help_dialog.html", ctx)
    ctx = {
        **_frame(request, where),
        "definitions": DEFINITIONS.values(),
        "statuses": STATUSES.items(),
        "troubles": _troubles(TROUBLES, where),
        "keys": KEYS,
    }
    return render(request, "dashboard/help/help.html", ctx)


@signed_in
@require_GET
def api_reference(request: HttpRequest) -> HttpResponse:
    """Show every call of the script and of the API; with `site` inside that site's frame."""
    asked = WhereForm(request.GET)
    asked.is_valid()
    where = _where(request, asked)
    ctx = {
        **_frame(request, where, Crumb("API reference")),
        "script": [(call, reference.words(text)) for call, text in reference.SCRIPT],
        "enhance": reference.ENHANCE,
        "calls": reference.calls(),
        "shapes": reference.shapes(),
        "public_url": settings.PUBLIC_URL,
    }
    return render(request, "dashboard/help/api_reference.html", ctx)


def _where(request: HttpRequest, asked: WhereForm) -> Where:
    site_id, account_id = asked.cleaned_data.get("site"), asked.cleaned_data.get("account", "")
    if site_id is None:
        return Where(None, None)
    if not account_id:
        return Where(site_for(request, site_id), None)
    account, site, role = account_for(request, site_id, account_id)
    return Where(SiteEntry(site, role), account)


def _frame(request: HttpRequest, where: Where, *crumbs: Crumb) -> dict[str, object]:
    trail = (Crumb("Help", reverse("dashboard:help") if crumbs else ""), *crumbs)
    if where.entry is None:
        return organisation_frame(request, "help", *trail)
    return site_frame(request, where.entry.site, where.entry.role, "help", *trail)


def _troubles(names: Iterable[str], where: Where) -> list[TroubleRow]:
    rows = []
    for name in names:
        trouble = TROUBLES[name]
        links = [(place.label, where.address(place)) for place in trouble.places]
        rows.append(TroubleRow(trouble.problem, trouble.answer, [link for link in links if link[1]]))
    return rows
