"""The audit log of an organisation: a page of it, and all of it as a file."""

from typing import NamedTuple

from django.http import HttpRequest, HttpResponse, QueryDict
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET

from dashboard.audit.listing import (
    BY_SERVER,
    BY_STAFF,
    KINDS,
    PAGE_ROWS,
    PERIODS,
    STAFF,
    FilterForm,
    Reader,
    csv_lines,
    line_of,
)
from dashboard.csv_files import file_name, streamed
from dashboard.frame import Crumb, organisation_frame
from dashboard.guards import OrganisationEntry, chosen_organisation, person, signed_in
from dashboard.people.invitations import name_of
from dashboard.people.memberships import met_by
from ingest.audit import SERVER
from ingest.models import Site


class Asked(NamedTuple):
    """Who reads, what they asked for, and whom they may choose: value and name."""

    reader: Reader
    form: FilterForm
    people: list[tuple[str, str]]
    team: dict[str, int]


@signed_in
@require_GET
def audit(request: HttpRequest) -> HttpResponse:
    """Show a page of the audit log, newest first; `?before=` goes on where a page ended."""
    entry = chosen_organisation(request)
    asked = _asked(request, entry)
    rows = asked.form.asked(asked.reader, asked.team, timezone.now())
    before = asked.form.cleaned_data.get("before")
    found = list((rows.filter(pk__lt=before) if before else rows)[: PAGE_ROWS + 1])
    lines = [line_of(row, asked.reader) for row in found[:PAGE_ROWS]]
    query = _query(request, entry, asked.form)
    ctx = {
        **organisation_frame(request, "audit", Crumb("Audit log"), organisation=entry.organisation),
        "role": entry.role,
        "lines": lines,
        "form": asked.form,
        "sites": asked.reader.sites,
        "people": asked.people,
        "kinds": [(value, label) for value, (label, _) in KINDS.items()],
        "periods": PERIODS.items(),
        "sees_some": not entry.membership.all_sites,
        "is_first": not before,
        "newest": f"?{query.urlencode()}",
        "older": f"?{_with(query, before=str(lines[-1].id)).urlencode()}" if len(found) > PAGE_ROWS else "",
        "unfiltered": f"?org={entry.organisation.public_id}",
        "export": f"{reverse('dashboard:audit-export')}?{query.urlencode()}",
        "now": timezone.now(),
    }
    return render(request, "dashboard/audit/audit.html", ctx)


@signed_in
@require_GET
def export(request: HttpRequest) -> HttpResponseBase:
    """Answer what the filter asks for as a CSV file, however much it is."""
    entry = chosen_organisation(request)
    asked = _asked(request, entry)
    rows = asked.form.asked(asked.reader, asked.team, timezone.now())
    name = file_name(entry.organisation.name, "organisation", "audit-log", timezone.now())
    return streamed(request, csv_lines(rows, asked.reader), name)


def _asked(request: HttpRequest, entry: OrganisationEntry) -> Asked:
    open_to_them = Site.objects.for_user(person(request)).filter(organisation=entry.organisation).order_by("name", "pk")
    team = entry.organisation.memberships.values_list("user_id", flat=True)
    reader = Reader(entry.membership, list(open_to_them), frozenset(team))
    members = list(met_by(entry.membership).select_related("user").order_by("pk"))
    people = [(str(member.pk), name_of(member.user)) for member in members]
    people += [(BY_STAFF, STAFF), (BY_SERVER, SERVER)]
    return Asked(
        reader,
        FilterForm(request.GET, open_to_them, [value for value, _ in people]),
        people,
        {str(member.pk): member.user_id for member in members},
    )


def _query(request: HttpRequest, entry: OrganisationEntry, form: FilterForm) -> QueryDict:
    """Return the filter in force as an address writes it, without the page."""
    query = QueryDict(mutable=True)
    query["org"] = str(entry.organisation.public_id)
    for name in form.names:
        if form.cleaned_data.get(name):
            query[name] = request.GET[name]
    return query


def _with(query: QueryDict, **more: str) -> QueryDict:
    copied = query.copy()
    copied.update(more)
    return copied
