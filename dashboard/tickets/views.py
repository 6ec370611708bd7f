"""The page where staff say which ticket they work on, and stop working on it."""

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from dashboard.tickets.ticket import LASTS, NUMBER, begin, end, ticket_of


class TicketForm(forms.Form):
    """The number of a ticket."""

    number = forms.RegexField(
        NUMBER,
        label="Ticket number",
        max_length=40,
        strip=True,
        error_messages={"invalid": "A ticket number has a digit, and else letters, digits and - . _ / only: SUP-1042."},
        widget=forms.TextInput(attrs={"autocomplete": "off", "autofocus": True, "class": "vTextField"}),
    )


@never_cache
@require_http_methods(["GET", "POST"])
def ticket(request: HttpRequest) -> HttpResponse:
    """Ask for the ticket, and go on to the page that was asked for; `end` ends the present one."""
    if not admin.site.has_permission(request):
        return redirect(f"{reverse('admin:login')}?next={reverse('staff-ticket')}")
    if request.method == "POST" and "end" in request.POST:
        end(request)
        return redirect("admin:index")
    goes_on = _goes_on(request)
    form = TicketForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        begin(request, form.cleaned_data["number"], timezone.now())
        return redirect(goes_on)
    ctx = {
        **admin.site.each_context(request),
        "title": "Which ticket do you work on?",
        "form": form,
        "next": goes_on,
        "hours": int(LASTS.total_seconds() // 3600),
        "present": ticket_of(request, timezone.now()),
    }
    return TemplateResponse(request, "admin/ticket.html", ctx, status=422 if form.is_bound else 200)


def _goes_on(request: HttpRequest) -> str:
    wanted = request.POST.get("next") or request.GET.get("next", "")
    start = reverse("admin:index")
    is_ours = url_has_allowed_host_and_scheme(wanted, allowed_hosts=None) and wanted.startswith(start)
    return wanted if is_ours and not wanted.startswith(reverse("staff-ticket")) else start
