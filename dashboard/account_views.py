"""An account's overview and settings, and what is done to it as a whole: pause, resume, remove."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django import forms
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from dashboard import account_figures, wording
from dashboard.account_frame import account_frame, fragment_frame
from dashboard.frame import account_url, url_or_nothing
from dashboard.guards import CONNECT, AccountEntry, account_for, by_htmx, may, person, role_names, signed_in
from dashboard.health import WINDOW_DAYS, last_accepted
from dashboard.toasts import say_next
from dashboard.trouble import in_words
from forwarding.alerts.causes import EXPIRING_WITHIN, Expiring, expiring
from forwarding.errors import account_stop
from integrations import account_settings
from integrations.connecting import remove_account
from integrations.goals import check_uet_tag, tag_note, uet_tags
from integrations.microsoft_ads.errors import MicrosoftAdsError
from integrations.models import AdAccount

MAX_TAG_CHARS = 32
PAUSED, RESUMED = "Forwarding paused", "Forwarding resumed"


class SettingsForm(forms.Form):
    """What may be set on an account. A tag id is asked about at Microsoft only when it is another one."""

    uet_tag_id = forms.CharField(max_length=MAX_TAG_CHARS, required=False)
    enhanced_conversions = forms.BooleanField(required=False)
    restates_from_backend = forms.BooleanField(required=False)

    def __init__(self, data: QueryDict | None, account: AdAccount) -> None:
        super().__init__(data, initial={name: getattr(account, name) for name in account_settings.SETTINGS})
        self.account = account

    def clean_uet_tag_id(self) -> str:
        """Refuse an id that Microsoft does not list for the account, and one that cannot be asked about now."""
        tag_id = str(self.cleaned_data["uet_tag_id"])
        if tag_id == self.account.uet_tag_id:
            return tag_id
        try:
            refusal = check_uet_tag(self.account, tag_id)
        except MicrosoftAdsError as error:
            refusal = f"The tag could not be checked, so nothing was saved. {' '.join(in_words(error))}"
        if refusal:
            raise forms.ValidationError(refusal)
        return tag_id


class Confirmation(NamedTuple):
    """A question before something is done to an account: the dialog's and the page's words."""

    title: str
    texts: tuple[str, ...]
    keep: str
    do: str
    url_name: str
    is_danger: bool = False
    type_to_confirm: str = ""


@signed_in
@require_GET
def overview(request: HttpRequest, site_id: UUID, account_id: str) -> HttpResponse:
    """Show how an account does: what was forwarded, what waits and why, and what was not forwarded."""
    entry = account_for(request, site_id, account_id)
    account, site, role = entry
    now = timezone.now()
    mappings = list(account.mappings.filter(is_active=True).select_related("goal").order_by("event_name"))
    found = account_figures.figures(account, mappings, now)
    held = account_figures.waiting(account)
    ctx = {
        **account_frame(request, entry, "overview", sum(day.failed for day in found.days[-WINDOW_DAYS:])),
        "figures": found,
        "bars": found.bars(),
        "chart_label": (
            f"Conversions of the last {account_figures.DAYS} days: {found.delivered} delivered, {found.failed} failed."
        ),
        "revenue": wording.sums(found.values, site.currency),
        "goal_rows": [(goal, wording.sums(goal.values, site.currency)) for goal in found.goals],
        "waiting": held,
        "waiting_count": wording.capped(held.count, account_figures.MAX_COUNTED),
        "stop": account_stop(account),
        "expiring": _about_to_expire(account, held, now),
        "last_accepted": last_accepted([account]).get(account.pk),
        "mapping_href": account_url(site, account, "mapping"),
        "logs_href": account_url(site, account, "logs"),
        "integrations_href": url_or_nothing("integrations", site.public_id),
        "may_pause": may(role, CONNECT),
    }
    return render(request, "dashboard/account/overview.html", ctx)


def _about_to_expire(account: AdAccount, held: account_figures.Waiting, now: datetime) -> Expiring | None:
    """Return what expires soon; asked only where what waits makes it possible."""
    if not account.is_active or held.until is None or held.until > now + EXPIRING_WITHIN:
        return None
    return expiring([account], now).get(account.pk)


@signed_in
@require_http_methods(["GET", "POST"])
def settings(request: HttpRequest, site_id: UUID, account_id: str) -> HttpResponse:
    """Show an account's settings; POST saves them, all or none."""
    roles = CONNECT if request.method == "POST" else ()
    entry = account_for(request, site_id, account_id, *roles)
    account, site, role = entry
    if not account.is_active:
        return redirect(account_url(site, account))
    form = SettingsForm(request.POST if request.method == "POST" else None, account)
    if form.is_bound and form.is_valid():
        is_new = account_settings.change_settings(account, form.cleaned_data, person(request), timezone.now())
        text = "Changes apply to events received from now on." if is_new else ""
        say_next(request, "ok", "Settings saved" if is_new else "Nothing changed", text)
        return redirect("dashboard:account-settings", site.public_id, account.account_id)
    goals = list(account.goals.filter(gone_at__isnull=True))
    ctx = {
        **account_frame(request, entry, "settings"),
        "form": form,
        "may_edit": may(role, CONNECT),
        "needed": role_names(CONNECT),
        "goal_count": len(goals),
        "enhanced_goals": [goal for goal in goals if goal.is_enhanced],
        "mapping_href": account_url(site, account, "mapping"),
        **_tag_list(account, wanted="tags" in request.GET and may(role, CONNECT)),
    }
    return render(request, "dashboard/account/settings.html", ctx, status=422 if form.errors else 200)


@signed_in
@require_GET
def uet_tag_list(request: HttpRequest, site_id: UUID, account_id: str) -> HttpResponse:
    """Return the fragment with the UET tags that Microsoft lists for the account."""
    entry = account_for(request, site_id, account_id, *CONNECT)
    ctx = {**fragment_frame(entry, timezone.now()), **_tag_list(entry.account, wanted=True)}
    return render(request, "dashboard/account/_uet_tags.html", ctx)


@signed_in
@require_http_methods(["GET", "POST"])
def pause(request: HttpRequest, site_id: UUID, account_id: str) -> HttpResponse:
    """Ask, as a page or as a dialog, then stop sending. What comes meanwhile is kept."""
    entry = account_for(request, site_id, account_id, *CONNECT)
    account, site, _ = entry
    if not account.is_active:
        return redirect(account_url(site, account))
    if request.method == "POST":
        account_settings.pause(account, person(request), timezone.now())
        say_next(request, "ok", PAUSED, f"{account.name} keeps new conversions as pending until you resume.")
        return redirect("dashboard:account-overview", site.public_id, account.account_id)
    question = Confirmation(
        title=f"Pause forwarding to {account.name}?",
        texts=(
            "New conversions are kept as Pending and sent when you resume.",
            "Microsoft takes conversions up to 90 days old, so nothing is lost if you resume before then.",
            "What is on its way to Microsoft at this moment still arrives.",
        ),
        keep="Keep forwarding",
        do="Pause forwarding",
        url_name="account-pause",
    )
    return _ask(request, entry, question)


@signed_in
@require_POST
def resume(request: HttpRequest, site_id: UUID, account_id: str) -> HttpResponse:
    """Send again."""
    account, site, _ = account_for(request, site_id, account_id, *CONNECT)
    account_settings.resume(account, person(request), timezone.now())
    say_next(request, "ok", RESUMED, f"What {account.name} kept goes out with the next batches.")
    return redirect("dashboard:account-overview", site.public_id, account.account_id)


@signed_in
@require_http_methods(["GET", "POST"])
def remove(request: HttpRequest, site_id: UUID, account_id: str) -> HttpResponse:
    """Ask for the account's name, then stop forwarding to it for good. Its history stays."""
    entry = account_for(request, site_id, account_id, *CONNECT)
    account, site, _ = entry
    if not account.is_active:
        return redirect(account_url(site, account))
    typed = request.POST.get("name", "").strip()
    if request.method == "POST" and typed == account.name.strip():
        remove_account(account, person(request), timezone.now())
        say_next(request, "ok", f"{account.name} removed", "Nothing is forwarded to it any more. Its logs stay.")
        return redirect("dashboard:integrations", site.public_id)
    held = wording.capped(account_figures.waiting(account).count, account_figures.MAX_COUNTED)
    waits = f"{held} waiting conversion{' is' if held == '1' else 's are'} not sent. " if held != "0" else ""
    question = Confirmation(
        title=f"Remove {account.name}?",
        texts=(
            f"Forwarding stops at once. {waits}Events that come from now on are not kept for this account.",
            "Its mapping and Forward Logs stay. Connecting the account again goes on with them.",
        ),
        keep="Keep account",
        do="Remove account",
        url_name="account-remove",
        is_danger=True,
        type_to_confirm=account.name,
    )
    error = f"Type {account.name} exactly as it is written here." if request.method == "POST" else ""
    return _ask(request, entry, question, error)


def _ask(request: HttpRequest, entry: AccountEntry, question: Confirmation, error: str = "") -> HttpResponse:
    if by_htmx(request) and request.method == "GET":
        ctx = {**fragment_frame(entry, timezone.now()), "question": question}
        return render(request, "dashboard/account/_confirm_dialog.html", ctx)
    ctx = {**account_frame(request, entry, "settings"), "question": question, "error": error}
    return render(request, "dashboard/account/confirm.html", ctx, status=422 if error else 200)


def _tag_list(account: AdAccount, *, wanted: bool) -> dict[str, object]:
    if not wanted:
        return {"tags": None}
    try:
        return {"tags": [(tag, tag_note(tag)) for tag in uet_tags(account)], "trouble": None}
    except MicrosoftAdsError as error:
        return {"tags": [], "trouble": in_words(error)}
