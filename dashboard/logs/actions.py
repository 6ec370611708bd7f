"""What people do to conversions by hand: each action asks first, as a dialog or as a page, and POST does it."""

from datetime import timedelta
from decimal import Decimal
from uuid import UUID

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from dashboard.asking import Asking, Question, ValueForm, ask_of_account, close_dialog, what_is_wrong
from dashboard.frame import zone_of
from dashboard.guards import AccountEntry, RoleMissing, account_for, by_htmx, may, page_behind, person, signed_in
from dashboard.logs import questions as delivery_questions
from dashboard.logs import views as log_views
from dashboard.logs.buttons import roles_for
from dashboard.logs.questions import Asked
from dashboard.toasts import Toast, say_next, say_now
from forwarding.hands import actions
from forwarding.hands.actions import Judged
from forwarding.hands.rules import Action
from forwarding.hands.words import refused_sentence
from forwarding.models import Delivery, Kind
from forwarding.rows.frozen import listed_in_open_uploads

# Of a request from inside the list: the answer is the row, not another page.
IN_LIST = "row"


@signed_in
@require_http_methods(["GET", "POST"])
def act(request: HttpRequest, site_id: UUID, account_id: str, delivery_id: UUID, action: Action) -> HttpResponse:
    """Ask before doing something to one delivery, or do it."""
    entry = account_for(request, site_id, account_id)
    now = timezone.now()
    judged = _judged(entry, delivery_id, action)
    _check_role(entry, action, judged.row)
    asked = Asked(
        judged.row, judged.facts, now, zone_of(entry.site), timedelta(seconds=settings.ADJUSTMENT_SETTLE_SECONDS)
    )
    if judged.reason is not None and request.method == "GET":
        return _ask(request, entry, asked, action, delivery_questions.refusal(action, asked, judged.reason))
    question = delivery_questions.question(action, asked)
    if request.method == "GET":
        return _ask(request, entry, asked, action, question)
    form = ValueForm(request.POST)
    error = what_is_wrong(request, question, form)
    if error:
        return _ask(request, entry, asked, action, question, error)
    value: Decimal | None = form.cleaned_data.get("value") if question.asks_value else None
    rows = Delivery.objects.filter(pk=judged.row.pk)
    tally = actions.apply(action, rows, person(request), now, value)
    if tally.able:
        # Of its value the toast tells what it was.
        judged.row.refresh_from_db(fields=["status", "skip_reason", "hold_reason", "next_attempt_at"])
        return _done(request, entry, asked, "ok", *delivery_questions.done(action, asked, value))
    [why] = tally.refused
    return _done(request, entry, asked, "info", "Nothing was changed", refused_sentence(action, why))


def _judged(entry: AccountEntry, delivery_id: UUID, action: Action) -> Judged:
    """Return the delivery with whether it may be done; raises Http404 where the account has no such delivery."""
    rows = entry.account.deliveries.select_related("event", "goal")
    row = rows.filter(public_id=delivery_id).first()
    if row is None:
        raise Http404
    row.account = entry.account
    [judged] = actions.judge(action, [row], set(listed_in_open_uploads([entry.account.pk])), timezone.now())
    return judged


def _check_role(entry: AccountEntry, action: Action, row: Delivery) -> None:
    roles = roles_for(action, row)
    if not may(entry.role, roles):
        raise RoleMissing(entry.role, roles)


def _ask(
    request: HttpRequest, entry: AccountEntry, asked: Asked, action: Action, question: Question, error: str = ""
) -> HttpResponse:
    one = asked.delivery
    place = [entry.site.public_id, entry.account.account_id, one.public_id]
    address = reverse(f"dashboard:account-delivery-{action}", args=place)
    in_list = IN_LIST in request.GET
    asking = Asking(
        question,
        action_url=f"{address}?{IN_LIST}=1" if in_list else address,
        back_url=reverse("dashboard:account-delivery", args=[*place[:2], _shown(one).public_id]),
        error=error,
        swaps=f"#row-{_shown(one).public_id}" if in_list else "",
    )
    return ask_of_account(request, entry, asking, "logs")


def _shown(row: Delivery) -> Delivery:
    """Return the conversion on whose row a delivery is shown."""
    return row.original if row.kind != Kind.CONVERSION and row.original is not None else row


def _done(request: HttpRequest, entry: AccountEntry, asked: Asked, kind: Toast, title: str, text: str) -> HttpResponse:
    shown = _shown(asked.delivery).public_id
    if not by_htmx(request):
        say_next(request, kind, title, text)
        return redirect("dashboard:account-delivery", entry.site.public_id, entry.account.account_id, shown)
    query = QueryDict(page_behind(request).query)
    context = {**log_views.story_context(entry, shown, in_list=True), **log_views.tabs_context(entry, query)}
    return close_dialog(say_now(render(request, "dashboard/account/_log_row_acted.html", context), kind, title, text))
