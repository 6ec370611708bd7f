"""The Test Center: the form, the test under way, a dry run; and what it offers to mend: a new goal, auto-tagging."""

from typing import Any
from uuid import UUID

from django import forms
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods

from dashboard.account.frame import account_frame, fragment_frame
from dashboard.asking import Asking, Question, ask_of_account
from dashboard.frame import account_url
from dashboard.guards import CONNECT, MAP, SEND, AccountEntry, account_for, by_htmx, may, person, role_names, signed_in
from dashboard.logs.story import request_of
from dashboard.test_center import results
from dashboard.test_center.forms import SendTestForm
from dashboard.toasts import say_next
from dashboard.trouble import in_words
from forwarding.goal_changes import read_goals
from forwarding.models import WAITING, TestConversion
from forwarding.test_center.sending import begin, dry_run
from integrations.account_settings import turn_auto_tagging_on
from integrations.goals import create_goal
from integrations.microsoft_ads.errors import MicrosoftAdsError
from integrations.microsoft_ads.shapes import NewGoal
from integrations.models import MAX_GOAL_NAME_CHARS, AdAccount

TEMPLATE = "dashboard/account/test_center.html"
# cm/conversiongoalcategory: those that offline goals may have.
CATEGORIES = {
    "Purchase": "Purchase",
    "SubmitLeadForm": "Lead form",
    "RequestQuote": "Quote",
    "Signup": "Sign-up",
    "Subscribe": "Subscription",
    "BookAppointment": "Appointment",
    "Contact": "Contact",
    "AddToCart": "Add to cart",
    "BeginCheckout": "Begin checkout",
    "GetDirections": "Directions",
    "OutboundClick": "Outbound click",
    "PageView": "Page view",
    "Other": "Other",
}


@signed_in
@require_http_methods(["GET", "POST"])
def test_center(request: HttpRequest, site_id: UUID, account_id: str) -> HttpResponse:
    """Show the form and a test; POST sends one, once a token, or shows what would be sent (`do=dry`)."""
    roles = SEND if request.method == "POST" else ()
    entry = account_for(request, site_id, account_id, *roles)
    account, site, role = entry
    if not account.is_active:
        return redirect(account_url(site, account))
    now = timezone.now()
    shown = _asked_for(request, entry)
    form = SendTestForm(request.POST if request.method == "POST" else None, site, [account], now, again=shown)
    dry = None
    if form.is_bound and form.is_valid():
        if request.POST.get("do") == "dry":
            dry = dry_run(account, form.wish, now)
        else:
            test = begin_test(request, form)
            return redirect(f"{account_url(site, account, 'test')}?test={test.public_id}")
    ctx = {
        **account_frame(request, entry, "test"),
        **test_context(shown, entry),
        **form_context(form),
        "may_send": may(role, SEND),
        "needed": role_names(SEND),
        "create_needs": "" if may(role, MAP) else role_names(MAP),
        "recent": results.tests_of([account]),
        "dry_json": request_of(dry) if dry is not None else "",
    }
    return render(request, TEMPLATE, ctx, status=422 if form.errors else 200)


def begin_test(request: HttpRequest, form: SendTestForm) -> TestConversion:
    """Begin the test that a valid form asks for. Raises Http404 for a token of another account's test."""
    account = form.account
    try:
        return begin(account, form.wish, form.cleaned_data["token"], person(request), timezone.now())
    except TestConversion.DoesNotExist as error:
        raise Http404 from error


@signed_in
@require_GET
def test_result(request: HttpRequest, site_id: UUID, account_id: str, test_id: UUID) -> HttpResponse:
    """Return the card of a test for htmx, which asks until it is over; the whole page for a person."""
    entry = account_for(request, site_id, account_id)
    if not by_htmx(request):
        return redirect(f"{account_url(entry.site, entry.account, 'test')}?test={test_id}")
    now = timezone.now()
    test = _test(entry, test_id)
    if not _is_news(test, request.GET.get("seen", "")):
        return HttpResponse(status=204)
    ctx = {
        **fragment_frame(entry, now),
        **test_context(test, entry),
        "recent": results.tests_of([entry.account]),
        "is_answer": True,
        "is_in_wizard": "wizard" in request.GET,
    }
    return render(request, "dashboard/account/_test_card.html", ctx)


def _is_news(test: TestConversion, seen: str) -> bool:
    """Say whether there is more to see than a page has."""
    is_over = test.delivery is not None and test.delivery.status not in WAITING
    return is_over or seen != _seen(test)


def _seen(test: TestConversion) -> str:
    is_late = results.is_late(test, timezone.now())
    return f"{len(test.checks)}-{'sending' if test.delivery_id else 'late' if is_late else 'checking'}"


def form_context(form: SendTestForm) -> dict[str, object]:
    """Return what the form is drawn with; an answer with errors keeps its token, as nothing was sent."""
    return {"form": form, "latest": form.latest, "targets": form.targets, "currencies": form.currencies}


def test_context(test: TestConversion | None, entry: AccountEntry) -> dict[str, object]:
    """Return what the card of a test is drawn with."""
    if test is None:
        return {"test": None}
    now = timezone.now()
    result = results.result_of(test, entry.site, entry.role, now)
    retraction = None
    if test.delivery_id:
        retraction = results.retractions_of([test.delivery_id]).get(test.delivery_id)
    address = reverse(
        "dashboard:account-test-result", args=[entry.site.public_id, entry.account.account_id, test.public_id]
    )
    return {
        "test": test,
        "result": result,
        "seen": _seen(test),
        "cleaning": results.cleaning_of(test, test.delivery, retraction) if test.delivery else None,
        "request_title": results.request_title(),
        "result_href": address,
        "again_href": f"{account_url(entry.site, entry.account, 'test')}?test={test.public_id}",
        "log_href": _log_href(entry, test),
    }


def _log_href(entry: AccountEntry, test: TestConversion) -> str:
    if test.delivery is None:
        return ""
    args = [entry.site.public_id, entry.account.account_id, test.delivery.public_id]
    return reverse("dashboard:account-delivery", args=args)


def _asked_for(request: HttpRequest, entry: AccountEntry) -> TestConversion | None:
    asked = request.GET.get("test", "")
    if not asked or request.method == "POST":
        return None
    try:
        return _test(entry, UUID(asked))
    except ValueError as error:
        raise Http404 from error


def _test(entry: AccountEntry, test_id: UUID) -> TestConversion:
    tests = TestConversion.objects.filter(account=entry.account, public_id=test_id)
    test = tests.select_related("event", "delivery__goal", "delivery__last_upload").first()
    if test is None:
        raise Http404
    test.account = entry.account
    return test


# What the checks offer to mend


@signed_in
@require_http_methods(["GET", "POST"])
def auto_tagging(request: HttpRequest, site_id: UUID, account_id: str) -> HttpResponse:
    """Ask, as a page or a dialog, then let Microsoft add click ids to the account's ads."""
    entry = account_for(request, site_id, account_id, *CONNECT)
    account, site, _ = entry
    if not account.is_active:
        return redirect(account_url(site, account))
    if request.method == "POST":
        try:
            turn_auto_tagging_on(account, person(request), timezone.now())
        except MicrosoftAdsError as error:
            trouble = in_words(error)
            say_next(request, "bad", f"Auto-tagging was not turned on. {trouble.title}", trouble.text)
        else:
            title = "Auto-tagging is on" if account.auto_tagging else "Microsoft still says that auto-tagging is off"
            text = "Ads bring click IDs to your site from now on." if account.auto_tagging else "Try again in a minute."
            say_next(request, "ok" if account.auto_tagging else "bad", title, text)
        return redirect(account_url(site, account, "test"))
    asking = Asking(_about_auto_tagging(account), request.path, account_url(site, account, "test"))
    return ask_of_account(request, entry, asking, "test")


def _about_auto_tagging(account: AdAccount) -> Question:
    return Question(
        title=f"Turn on auto-tagging in {account.name}?",
        texts=(
            f"Microsoft then adds msclkid to the address of every page that an ad of {account.name} opens.",
            "Convultra needs it to know which sale came from which click.",
            "This changes a setting of your Microsoft Advertising account, and nothing else.",
            "It can be turned off again there, under Settings → Account level options.",
        ),
        keep="Leave it off",
        do="Turn on auto-tagging",
    )


class NewGoalForm(forms.Form):
    """An offline goal to be made at Microsoft."""

    name = forms.CharField(max_length=MAX_GOAL_NAME_CHARS)
    category = forms.ChoiceField(choices=list(CATEGORIES.items()))
    count_type = forms.ChoiceField(choices=[("All", "Every conversion"), ("Unique", "One per click")])
    currency = forms.CharField(max_length=3, min_length=3)

    def __init__(self, data: QueryDict | None, initial: dict[str, Any]) -> None:
        super().__init__(data, initial=initial)

    def clean_currency(self) -> str:
        """Write the code in capital letters; Microsoft judges it."""
        code = str(self.cleaned_data["currency"]).upper()
        if not (code.isascii() and code.isalpha()):
            raise forms.ValidationError("A currency is three letters, such as USD.")
        return code


@signed_in
@require_http_methods(["GET", "POST"])
def goal_create(request: HttpRequest, site_id: UUID, account_id: str) -> HttpResponse:
    """Make an offline goal at Microsoft, and read the account's goals anew."""
    entry = account_for(request, site_id, account_id, *MAP)
    account, site, _ = entry
    if not account.is_active:
        return redirect(account_url(site, account))
    initial = {
        "name": request.GET.get("name", "").replace("\0", "")[:MAX_GOAL_NAME_CHARS],
        "category": "Purchase",
        "count_type": "All",
        "currency": account.currency or site.currency,
    }
    form = NewGoalForm(request.POST if request.method == "POST" else None, initial)
    if form.is_bound and form.is_valid() and _made(request, entry, form):
        return redirect(account_url(site, account, "mapping"))
    ctx = {
        **account_frame(request, entry, "mapping"),
        "form": form,
        "mapping_href": account_url(site, account, "mapping"),
    }
    return render(request, "dashboard/account/goal_create.html", ctx, status=422 if form.errors else 200)


def _made(request: HttpRequest, entry: AccountEntry, form: NewGoalForm) -> bool:
    """Make the goal; write Microsoft's refusal on the form. Its reading anew may fail without harm."""
    account, cleaned, now = entry.account, form.cleaned_data, timezone.now()
    goal = NewGoal(cleaned["name"], cleaned["category"], cleaned["count_type"], cleaned["currency"])
    try:
        create_goal(account, goal, person(request), now)
    except MicrosoftAdsError as error:
        trouble = in_words(error)
        if error.outcome_unknown:
            trouble = trouble._replace(text="It may have been made: sync the goals before you try again.")
        form.add_error("name" if error.code in (5316, 5317, 5320) else None, f"{trouble.title}. {trouble.text}")
        return False
    text = "Microsoft takes conversions for it after two hours. Map an event to it now: they wait until then."
    try:
        read_goals(account, timezone.now())
    except MicrosoftAdsError:
        text = "The goals could not be read anew. Sync them in a minute, then map an event to it."
    say_next(request, "ok", f"Goal “{goal.name}” created", text)
    return True
