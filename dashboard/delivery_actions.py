"""What people do to conversions by hand: each action asks first, as a dialog or as a page, and POST does it."""

from datetime import timedelta
from decimal import Decimal
from urllib.parse import urlsplit
from uuid import UUID

from django import forms
from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods
from django_htmx.http import reswap, retarget, trigger_client_event

from dashboard import delivery_questions, forward_logs, log_views
from dashboard.account_frame import account_frame, fragment_frame
from dashboard.delivery_buttons import roles_for
from dashboard.delivery_questions import Asked, Question
from dashboard.forward_logs import LogFilterForm
from dashboard.frame import account_url, zone_of
from dashboard.guards import SEND, AccountEntry, RoleMissing, account_for, by_htmx, may, person, signed_in
from dashboard.toasts import Toast, say_next, say_now
from forwarding.hands import actions
from forwarding.hands.actions import Judged
from forwarding.hands.rules import Action
from forwarding.hands.words import outcome, refused_sentence
from forwarding.models import Delivery, Kind, Status
from forwarding.rows.frozen import listed_in_open_uploads
from ingest.models import VALUE_DECIMALS, VALUE_DIGITS
from ingest.refusals import MAX_VALUE

# Of a request from inside the list: the answer is the row, not another page.
IN_LIST = "row"


class ValueForm(forms.Form):
    """A restatement's new total."""

    value = forms.DecimalField(
        min_value=0,
        max_value=MAX_VALUE,
        max_digits=VALUE_DIGITS,
        decimal_places=VALUE_DECIMALS,
        error_messages={"required": "Enter the new value as a number, such as 99.95."},
    )


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
    error = _what_is_wrong(request, question, form)
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


@signed_in
@require_http_methods(["GET", "POST"])
def retry_all(request: HttpRequest, site_id: UUID, account_id: str) -> HttpResponse:
    """Say how many of the rows that a list shows can succeed now; POST retries those."""
    entry = account_for(request, site_id, account_id, *SEND)
    form, now = LogFilterForm(request.GET), timezone.now()
    wanted = form.wanted(now)
    rows = forward_logs.matching(entry.account, wanted).filter(status__in=log_views.RETRIED)
    if request.method == "GET":
        tally = actions.preview(Action.RETRY, rows, now)
        word = Status(wanted.status).label if wanted.status in log_views.RETRIED else "failed or retrying"
        question = delivery_questions.retry_all(tally, word, entry.site.currency)
        return _ask_about_all(request, entry, question, form.address())
    tally = actions.apply(Action.RETRY, rows, person(request), now, scope=form.address())
    kind: Toast = "ok" if tally.able else "info"
    title = "Retry queued" if tally.able else "Nothing was changed"
    if not by_htmx(request):
        say_next(request, kind, title, f"{outcome(tally)}.")
        return redirect(f"{account_url(entry.site, entry.account, 'logs')}{form.address()}")
    response = render(request, "dashboard/account/_logs.html", log_views.list_context(request, entry))
    return _close_dialog(say_now(response, kind, title, f"{outcome(tally)}."))


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


def _what_is_wrong(request: HttpRequest, question: Question, form: ValueForm) -> str:
    if question.asks_value and not form.is_valid():
        return " ".join(str(error) for error in form.errors["value"])
    typed = request.POST.get("name", "").strip()
    if question.type_to_confirm and typed != question.type_to_confirm:
        return f"Type {question.type_to_confirm} exactly as it is written here."
    return ""


def _ask(
    request: HttpRequest, entry: AccountEntry, asked: Asked, action: Action, question: Question, error: str = ""
) -> HttpResponse:
    one = asked.delivery
    place = [entry.site.public_id, entry.account.account_id, one.public_id]
    address = reverse(f"dashboard:account-delivery-{action}", args=place)
    in_list = IN_LIST in request.GET
    context: dict[str, object] = {
        "question": question,
        "error": error,
        "typed": request.POST.get("value", ""),
        "action_url": f"{address}?{IN_LIST}=1" if in_list else address,
        "swaps": f"#row-{_shown(one).public_id}" if in_list else "",
        "back_url": reverse("dashboard:account-delivery", args=[*place[:2], _shown(one).public_id]),
    }
    return _draw(request, entry, context, is_again=bool(error))


def _ask_about_all(request: HttpRequest, entry: AccountEntry, question: Question, query: str) -> HttpResponse:
    place = [entry.site.public_id, entry.account.account_id]
    context: dict[str, object] = {
        "question": question,
        "action_url": f"{reverse('dashboard:account-logs-retry', args=place)}{query}",
        "swaps": "#logs",
        "back_url": f"{reverse('dashboard:account-logs', args=place)}{query}",
    }
    return _draw(request, entry, context)


def _draw(
    request: HttpRequest, entry: AccountEntry, context: dict[str, object], *, is_again: bool = False
) -> HttpResponse:
    """Draw a question as a dialog or as a page; one that is asked again takes its own place in the dialog."""
    status = 422 if is_again else 200
    if not by_htmx(request):
        frame = account_frame(request, entry, "logs")
        return render(request, "dashboard/account/question.html", {**frame, **context}, status=status)
    context = {**fragment_frame(entry, timezone.now()), **context}
    if is_again:
        response = render(request, "dashboard/account/_question_form.html", context, status=status)
        return reswap(retarget(response, "#question"), "outerHTML")
    return render(request, "dashboard/account/_question_dialog.html", context)


def _shown(row: Delivery) -> Delivery:
    """Return the conversion on whose row a delivery is shown."""
    return row.original if row.kind != Kind.CONVERSION and row.original is not None else row


def _done(request: HttpRequest, entry: AccountEntry, asked: Asked, kind: Toast, title: str, text: str) -> HttpResponse:
    shown = _shown(asked.delivery).public_id
    if not by_htmx(request):
        say_next(request, kind, title, text)
        return redirect("dashboard:account-delivery", entry.site.public_id, entry.account.account_id, shown)
    query = urlsplit(request.headers.get("HX-Current-URL", "")).query
    context = {**log_views.story_context(entry, shown, in_list=True), **log_views.tabs_context(entry, QueryDict(query))}
    return _close_dialog(say_now(render(request, "dashboard/account/_log_row_acted.html", context), kind, title, text))


def _close_dialog(response: HttpResponse) -> HttpResponse:
    return trigger_client_event(response, "closeModal", {})
