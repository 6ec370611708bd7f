"""What people do to the conversions that they chose in Forward Logs: the forecast asks first, POST does it at once."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods
from django_htmx.http import trigger_client_event

from dashboard.account.frame import fragment_frame
from dashboard.asking import Asking, Question, ValueForm, ask_of_account, close_dialog, what_is_wrong
from dashboard.frame import account_url, zone_of
from dashboard.guards import CORRECT, SEND, AccountEntry, RoleMissing, account_for, by_htmx, may, person, signed_in
from dashboard.logs import bulk, questions
from dashboard.logs import listing as forward_logs
from dashboard.logs import views as log_views
from dashboard.logs.listing import LogFilterForm
from dashboard.toasts import Toast, say_next, say_now
from forwarding.hands import actions
from forwarding.hands.rules import Action
from forwarding.models import Delivery, Kind

# As many as an address carries: proxies take 8 KiB of one.
MOST_CHOSEN = 100
# What the audit log says of which rows were meant.
SCOPE = "chosen in Forward Logs"


@dataclass(frozen=True)
class Chosen:
    """Conversions of an account that a person chose in a list, and how many more were chosen than are taken at once."""

    entry: AccountEntry
    form: LogFilterForm
    names: list[UUID]
    left_out: int

    @property
    def rows(self) -> "QuerySet[Delivery]":
        """Return the conversions that the account has of them."""
        return self.entry.account.deliveries.filter(public_id__in=self.names)

    @property
    def query(self) -> str:
        """Return the list's filter and the chosen ones as an address carries them."""
        query = self.form.query()
        query.setlist("one", [name.hex for name in self.names])
        return f"?{query.urlencode()}"

    @property
    def back_url(self) -> str:
        """Return the address of the list."""
        return f"{account_url(self.entry.site, self.entry.account, 'logs')}{self.form.address()}"


@signed_in
@require_http_methods(["GET", "POST"])
def act_on_chosen(request: HttpRequest, site_id: UUID, account_id: str, action: Action) -> HttpResponse:
    """Say what an action would do to the chosen conversions, or do it."""
    entry, now = account_for(request, site_id, account_id), timezone.now()
    chosen = _chosen(request.GET, entry)
    _check_role(chosen, action)
    typed = ValueForm(request.POST)
    value: Decimal | None = None
    if request.method == "POST" and action is Action.RESTATE and typed.is_valid():
        value = typed.cleaned_data["value"]
    tally = actions.preview(action, chosen.rows, now, value)
    question = questions.about_chosen(tally, chosen.left_out, entry.account.name, entry.site.currency)
    if request.method == "GET":
        return _ask(request, chosen, action, question)
    if not question.do:
        return _done(request, chosen, now, "info", "Nothing was changed", question.texts[0])
    if error := what_is_wrong(request, question, typed):
        return _ask(request, chosen, action, question, error)
    done = actions.apply(action, chosen.rows, person(request), now, value, scope=SCOPE)
    return _done(request, chosen, now, "ok" if done.able else "info", *questions.done_to_chosen(done))


def _chosen(query: QueryDict, entry: AccountEntry) -> Chosen:
    """Read which conversions are meant; what is no id is as if it were not there."""
    names = list(dict.fromkeys(name for text in query.getlist("one") if (name := _uuid(text)) is not None))
    return Chosen(entry, LogFilterForm(query), names[:MOST_CHOSEN], len(names[MOST_CHOSEN:]))


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _check_role(chosen: Chosen, action: Action) -> None:
    # Stopping a correction changes the figures at Microsoft, as making one does.
    is_correction = action is not Action.RETRY and chosen.rows.exclude(kind=Kind.CONVERSION).exists()
    roles = CORRECT if action.corrects or is_correction else SEND
    if not may(chosen.entry.role, roles):
        raise RoleMissing(chosen.entry.role, roles)


def _ask(request: HttpRequest, chosen: Chosen, action: Action, question: Question, error: str = "") -> HttpResponse:
    place = [chosen.entry.site.public_id, chosen.entry.account.account_id]
    address = reverse(f"dashboard:account-logs-chosen-{action}", args=place)
    asking = Asking(question, f"{address}{chosen.query}", chosen.back_url, error, swaps="#chosen-bar")
    return ask_of_account(request, chosen.entry, asking, "logs")


def _done(request: HttpRequest, chosen: Chosen, now: datetime, kind: Toast, title: str, text: str) -> HttpResponse:
    """Answer the list: its rows change where they stand, and none is chosen any longer."""
    if not by_htmx(request):
        say_next(request, kind, title, text)
        return redirect(chosen.back_url)
    entry, zone = chosen.entry, zone_of(chosen.entry.site)
    rows = forward_logs.with_correction(chosen.rows.select_related("event"))
    context = {
        **fragment_frame(entry, now),
        **log_views.tabs_context(entry, chosen.form.query()),
        "changed": forward_logs.drawn_rows(rows, entry.account, now, zone),
        "for_chosen": bulk.for_chosen(entry, chosen.form),
    }
    answer = say_now(render(request, "dashboard/account/_chosen_done.html", context), kind, title, text)
    return close_dialog(trigger_client_event(answer, "unchoose", {}))
