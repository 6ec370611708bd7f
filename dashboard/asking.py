"""A question before something is done: drawn as a dialog or as a page, and what may be wrong with the answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django_htmx.http import reswap, retarget, trigger_client_event

from dashboard.account.frame import account_frame
from dashboard.frame import Crumb, site_frame
from dashboard.guards import AccountEntry, SiteEntry, by_htmx
from dashboard.money_field import money_field
from forwarding.hands.words import Line


@dataclass(frozen=True)
class Question:
    """What is asked. Without `do` there is nothing to confirm.

    `value_now` and `currency` are of the value that a restatement replaces.
    """

    title: str
    texts: tuple[str, ...]
    keep: str
    do: str = ""
    is_danger: bool = False
    type_to_confirm: str = ""
    asks_value: bool = False
    value_now: str = ""
    currency: str = ""
    lines: Sequence[Line] = ()


@dataclass(frozen=True)
class Asking:
    """A question with where its answer goes, and where it leads who does not want it.

    `error` is what was wrong with the last answer; `swaps` is the element that htmx puts the answer in place of.
    """

    question: Question
    action_url: str
    back_url: str
    error: str = ""
    swaps: str = ""


class ValueForm(forms.Form):
    """A restatement's new total."""

    value = money_field(required=True)


def what_is_wrong(request: HttpRequest, question: Question, form: ValueForm | None = None) -> str:
    """Return what has to be typed otherwise, in words; empty when the answer will do."""
    if question.asks_value and form is not None and not form.is_valid():
        return " ".join(str(error) for error in form.errors["value"])
    typed = request.POST.get("name", "").strip()
    if question.type_to_confirm and typed != question.type_to_confirm.strip():
        return f"Type {question.type_to_confirm} exactly as it is written here."
    return ""


def ask_of_account(request: HttpRequest, entry: AccountEntry, asking: Asking, page: str) -> HttpResponse:
    """Ask about something of an account, whose tab is `page`."""
    if by_htmx(request):
        return _dialog(request, asking)
    return _page(request, asking, "dashboard/account/question.html", account_frame(request, entry, page))


def ask_of_site(request: HttpRequest, entry: SiteEntry, asking: Asking, nav: str, *crumbs: Crumb) -> HttpResponse:
    """Ask about something of a site, whose line of the navigation is `nav`."""
    if by_htmx(request):
        return _dialog(request, asking)
    return _page(request, asking, "dashboard/question.html", site_frame(request, entry.site, entry.role, nav, *crumbs))


def close_dialog(response: HttpResponse) -> HttpResponse:
    """Let the page close the dialog that this answers."""
    return trigger_client_event(response, "closeModal", {})


def _page(request: HttpRequest, asking: Asking, template: str, frame: Mapping[str, object]) -> HttpResponse:
    return render(request, template, {**frame, **_context(request, asking)}, status=_status(asking))


def _dialog(request: HttpRequest, asking: Asking) -> HttpResponse:
    """Draw the dialog; a question that is asked again takes its own place in it."""
    if not asking.error:
        return render(request, "dashboard/_question_dialog.html", _context(request, asking))
    again = render(request, "dashboard/_question_form.html", _context(request, asking), status=_status(asking))
    return reswap(retarget(again, "#question"), "outerHTML")


def _context(request: HttpRequest, asking: Asking) -> dict[str, object]:
    typed = request.POST.get("name" if asking.question.type_to_confirm else "value", "")
    return {"asking": asking, "question": asking.question, "typed": typed}


def _status(asking: Asking) -> int:
    return 422 if asking.error else 200
