"""The gate before the admin's tables: no customer's rows without a ticket, and a line in the customer's audit log.

Written once for each ticket: each row whose page is opened, and each search or filter for each customer whose rows it
shows. A list that nothing narrows names no customer: it needs the ticket and leaves no line. Whatever the admin writes
to an audit log has the ticket's number too. A new table needs a ticket unless `owners.py` says that it holds no
customer's rows.
"""

from collections.abc import Callable, Mapping, Sequence

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth.models import User
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone

from dashboard.tickets.owners import OF_THE_MACHINE, Owner, owners_of
from dashboard.tickets.ticket import is_new, ticket_of
from forwarding.models import Delivery
from ingest.audit import record, under_ticket
from ingest.models import Import
from integrations.models import AdAccount

# The admin's pages that show no table; its operations panel is one of them.
_WITHOUT_ROWS = {"index", "app_list", "login", "logout", "password_change", "password_change_done", "jsi18n"}
# What a list's address says of how it is shown, and not of which rows.
_SHOWN_HOW = {"p", "o", "all", "e", "_popup", "_to_field", "_facets"}
# How many of a search's rows a line names.
NAMED = 3


class TicketGate:
    """Asks staff for the ticket that they work on, and notes what they open."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Let the admin's own audit entries name the ticket."""
        if not request.path_info.startswith(reverse("admin:index")):
            return self.get_response(request)
        ticket = ticket_of(request, timezone.now())
        with under_ticket(ticket.number if ticket else ""):
            return self.get_response(request)

    def process_view(
        self, request: HttpRequest, _view: object, _args: Sequence[object], kwargs: Mapping[str, str]
    ) -> HttpResponse | None:
        """Lead staff without a ticket to where they say one, and note the row whose page they open."""
        match = request.resolver_match
        if match is None or match.app_names != ["admin"] or not admin.site.has_permission(request):
            return None
        if match.url_name is None or match.url_name in _WITHOUT_ROWS:
            return None
        model = _table_of(match.url_name)
        if model is not None and model._meta.label_lower in OF_THE_MACHINE:
            return None
        if ticket_of(request, timezone.now()) is None:
            return redirect(f"{reverse('staff-ticket')}?{_back(request)}")
        if model is None:
            # The admin's other doors to rows, such as what it suggests while one types. No page of ours uses them.
            raise Http404
        pk = kwargs.get("object_id") or kwargs.get("id")
        if pk is not None:
            _note_opened(request, model, unquote(pk))
        return None

    def process_template_response(self, request: HttpRequest, response: TemplateResponse) -> TemplateResponse:
        """Note whose rows a search shows, before it shows them."""
        match = request.resolver_match
        found = (response.context_data or {}).get("cl")
        if match is not None and match.app_names == ["admin"] and isinstance(found, ChangeList):
            _note_found(request, found)
        return response


def _table_of(url_name: str) -> type[Model] | None:
    """Return the table that a page of the admin shows, by the name of its address."""
    names = ((model, f"{model._meta.app_label}_{model._meta.model_name}_") for model in admin.site._registry)
    return next((model for model, start in names if url_name.startswith(start)), None)


def _back(request: HttpRequest) -> str:
    query = QueryDict(mutable=True)
    query["next"] = request.get_full_path() if request.method == "GET" else request.path
    return query.urlencode()


def _note_opened(request: HttpRequest, model: type[Model], pk: str) -> None:
    table = admin.site._registry[model]
    row = table.get_object(request, pk, None)
    if row is None or not table.has_view_or_change_permission(request, row):
        return
    for owner in owners_of(model, [row.pk]).get(row.pk, []):
        if is_new(request, f"{model._meta.label} {row.pk} {owner.organisation.pk}"):
            _note(request, f"{model._meta.model_name}.open", owner, _name_of(row), _where(row))


def _note_found(request: HttpRequest, found: ChangeList) -> None:
    asked = sorted((name, value) for name, value in request.GET.items() if name not in _SHOWN_HOW)
    if not asked or found.model._meta.label_lower in OF_THE_MACHINE:
        return
    rows: dict[Owner, list[Model]] = {}
    shown = list(found.result_list)
    owners = owners_of(found.model, [row.pk for row in shown])
    for row in shown:
        for owner in owners.get(row.pk, []):
            rows.setdefault(owner, []).append(row)
    for owner, its in rows.items():
        place = f"{owner.organisation.pk} {owner.site.pk if owner.site else ''}"
        if is_new(request, f"{found.model._meta.label} list {place} {asked}"):
            # Not what was typed: it may name another customer's row, or a colleague of ours.
            names = ", ".join(_name_of(row) for row in its[:NAMED])
            more = f" and {len(its) - NAMED} more" if len(its) > NAMED else ""
            table = str(found.model._meta.verbose_name_plural)
            _note(request, f"{found.model._meta.model_name}.list", owner, f"{names}{more}", {"table": table})


def _note(request: HttpRequest, action: str, owner: Owner, target: str, details: Mapping[str, object]) -> None:
    assert isinstance(request.user, User)
    record(
        request.user,
        action,
        organisation=owner.organisation,
        site=owner.site,
        target=target,
        details=details,
        now=timezone.now(),
    )


def _name_of(row: Model) -> str:
    return row.transaction_id or str(row.public_id) if isinstance(row, Delivery) else str(row)


def _where(row: Model) -> dict[str, object]:
    """Return what the audit log's link to a row's page is made of."""
    match row:
        case Delivery():
            return {"account": row.account.account_id, "delivery": row.public_id}
        case AdAccount():
            return {"account": row.account_id}
        case Import():
            return {"import": row.public_id}
    return {}
