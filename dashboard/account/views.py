"""An account's overview and settings, and what is done to it as a whole: pause, resume, remove."""

from collections.abc import Sequence
from datetime import datetime
from urllib.parse import urlencode
from uuid import UUID

from django import forms
from django.db.models import F
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from dashboard import meanwhile, wording
from dashboard.account import figures as account_figures
from dashboard.account.coverage import matchable, refused_consent
from dashboard.account.frame import account_frame, fragment_frame
from dashboard.asking import Asking, Question, ask_of_account, what_is_wrong
from dashboard.audit.by_whom import newest
from dashboard.charts import ConversionsByDay
from dashboard.frame import account_url, url_or_nothing, zone_of
from dashboard.guards import CONNECT, AccountEntry, account_for, may, person, role_names, signed_in
from dashboard.health import WINDOW_DAYS, Health
from dashboard.overview.failures import Cause
from dashboard.speed import time_to_microsoft
from dashboard.toasts import say_next
from dashboard.trouble import in_words
from forwarding.alerts.causes import EXPIRING_WITHIN, Expiring, expiring
from forwarding.errors import account_stop
from forwarding.models import Status
from ingest.models import REFUND_EVENT, AuditEntry, Site
from ingest.seen import ChangedMeanwhileError, seen_of, untouched
from integrations import account_settings
from integrations.connecting import remove_account
from integrations.goals import INVALID_TAG, check_uet_tag, tag_note, uet_tags
from integrations.microsoft_ads.errors import MicrosoftAdsError
from integrations.models import AdAccount

MAX_TAG_CHARS = 32
LABELS = {
    "uet_tag_id": "UET tag ID",
    "enhanced_conversions": "Send hashed customer data",
    "restates_from_backend": "Restate with the backend’s value",
}
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


@signed_in
@require_GET
def overview(request: HttpRequest, site_id: UUID, account_id: str) -> HttpResponse:
    """Show how an account does: what was forwarded, what waits and why, and what was not forwarded."""
    entry = account_for(request, site_id, account_id)
    account, site, role = entry
    now = timezone.now()
    mappings = list(account.mappings.filter(is_active=True).select_related("goal").order_by("event_name"))
    found = account_figures.figures(account, mappings, now)
    held = account_figures.waiting(account, now)
    own, others = wording.apart(found.values, site.currency)
    attributed = account_figures.said_by_microsoft(account, now)
    frame = account_frame(request, entry, "overview")
    ctx = {
        **frame,
        "figures": found,
        "by_day": ConversionsByDay(found.days),
        "attributed": attributed,
        "speed": time_to_microsoft([account.pk]),
        "install_href": url_or_nothing("install", site.public_id),
        "revenue": wording.revenue(own, found.delivered, site.currency),
        "other_revenue": wording.sums(others, site.currency) if others else "",
        "goal_rows": [
            (goal, wording.sums(goal.values, site.currency), attributed.match_of(goal)) for goal in found.goals
        ],
        "waiting": held,
        "waiting_count": wording.capped(held.count, account_figures.MAX_COUNTED),
        "stop": account_stop(account),
        "causes": _why_failed(frame["health"], account, found.causes),
        "expiring": _about_to_expire(account, held, now),
        "mapping_href": account_url(site, account, "mapping"),
        "logs_href": account_url(site, account, "logs"),
        "integrations_href": url_or_nothing("integrations", site.public_id),
        "may_pause": may(role, CONNECT),
    }
    return render(request, "dashboard/account/overview.html", ctx)


def _why_failed(health: object, account: AdAccount, causes: Sequence[Cause]) -> list[tuple[Cause, str]]:
    """Return why conversions failed, where that is what is wrong with the account, each with its rows' address."""
    if not (isinstance(health, Health) and health.page == "logs"):
        return []
    logs = account_url(account.site, account, "logs")
    failed = {"status": Status.FAILED.value, "period": str(WINDOW_DAYS)}
    asked = ((cause, {"error": cause.places[0].asked_for}) for cause in causes)
    return [
        (cause, f"{logs}?{urlencode(failed | (narrowed if narrowed['error'] else {}))}") for cause, narrowed in asked
    ]


def _about_to_expire(account: AdAccount, held: account_figures.Waiting, now: datetime) -> Expiring | None:
    """Return what expires soon; asked only where what waits makes it possible."""
    if not account.is_active or held.until is None or held.until > now + EXPIRING_WITHIN:
        return None
    return expiring([account], now).get(account.pk)


@signed_in
@require_http_methods(["GET", "POST"])
def settings(request: HttpRequest, site_id: UUID, account_id: str) -> HttpResponse:
    """Show an account's settings; POST saves all or none: 422 with errors, 409 where somebody else came first."""
    roles = CONNECT if request.method == "POST" else ()
    entry = account_for(request, site_id, account_id, *roles)
    account, site, _ = entry
    if not account.is_active:
        return redirect(account_url(site, account))
    posted = _with_pick(request.POST)
    form = SettingsForm(posted if request.method == "POST" else None, account)
    if not form.is_bound or not form.is_valid():
        return _settings_page(request, entry, form)
    seen, names = meanwhile.seen_by(request), account_settings.SETTINGS
    try:
        is_new = account_settings.change_settings(account, form.cleaned_data, person(request), timezone.now(), seen)
    except ChangedMeanwhileError as error:
        account.refresh_from_db(fields=names)
        taken = untouched(names, form.cleaned_data, error.names, seen)
        form = SettingsForm(meanwhile.merged(posted, account, taken), account)
        log = AuditEntry.objects.filter(site=site, action="account.settings", target=str(account))
        changes = meanwhile.told(account, error.names, taken, LABELS, log, site.organisation)
        return _settings_page(request, entry, form, changes)
    text = "Changes apply to events received from now on." if is_new else ""
    say_next(request, "ok", "Settings saved" if is_new else "Nothing changed", text)
    return redirect("dashboard:account-settings", site.public_id, account.account_id)


def _settings_page(
    request: HttpRequest, entry: AccountEntry, form: SettingsForm, changes: Sequence[meanwhile.Meanwhile] = ()
) -> HttpResponse:
    account, site, role = entry
    now = timezone.now()
    # Each goal once for each of its mappings, and for none: one query for both.
    joined = account.goals.annotate(event_name=F("mappings__event_name"), is_mapped=F("mappings__is_active"))
    goals = list({goal.pk: goal for goal in joined if goal.gone_at is None}.values())
    mapped = sorted(goal.event_name for goal in joined if goal.is_mapped)
    ctx = {
        **account_frame(request, entry, "settings"),
        "form": form,
        # Who corrects an error saves what this form was drawn with; who was told of changes has seen them.
        "seen": meanwhile.seen_by(request) if form.errors else seen_of(account, account_settings.SETTINGS),
        "changes": changes,
        "may_edit": may(role, CONNECT),
        "needed": role_names(CONNECT),
        "goal_count": len(goals),
        "enhanced_goals": [goal for goal in goals if goal.is_enhanced],
        "matchable": matchable(account, mapped, now),
        "refused_consent": refused_consent(account, now),
        "tells_refunds": REFUND_EVENT in mapped,
        "last_change": next(iter(newest(site, "account.settings", target=str(account))), None),
        "mapping_href": account_url(site, account, "mapping"),
        **_tag_list(account, wanted=_tags_are_wanted(request) and may(role, CONNECT)),
    }
    status = 409 if changes else 422 if form.errors else 200
    return render(request, "dashboard/account/settings.html", ctx, status=status)


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
    question = Question(
        title=f"Pause forwarding to {account.name}?",
        texts=(
            "New conversions are kept as Pending and sent when you resume.",
            "Microsoft takes conversions up to 90 days old, so nothing is lost if you resume before then.",
            "What is on its way to Microsoft at this moment still arrives.",
        ),
        keep="Keep forwarding",
        do="Pause forwarding",
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
    question = _about_removing(account)
    error = what_is_wrong(request, question) if request.method == "POST" else ""
    if request.method == "GET" or error:
        return _ask(request, entry, question, error)
    remove_account(account, person(request), timezone.now())
    say_next(request, "ok", f"{account.name} removed", "Nothing is forwarded to it any more. Its logs stay.")
    return redirect("dashboard:integrations", site.public_id)


def _kept(waiting: account_figures.Waiting, site: Site, now: datetime) -> str:
    """Say what becomes of what waits in an account that is removed."""
    if not waiting.count:
        return ""
    held = wording.capped(waiting.count, account_figures.MAX_COUNTED)
    what = "conversion is kept, and goes" if waiting.count == 1 else "conversions are kept, and go"
    until = f" before {wording.day(waiting.until, zone_of(site), now)}" if waiting.until else ""
    return f"{held} waiting {what} out if you connect the account again{until}. "


def _about_removing(account: AdAccount) -> Question:
    now = timezone.now()
    waits = _kept(account_figures.waiting(account, now), account.site, now)
    return Question(
        title=f"Remove {account.name}?",
        texts=(
            f"Forwarding stops at once. {waits}Events that come from now on are not kept for this account.",
            "Its mapping and Forward Logs stay. Connecting the account again goes on with them.",
            "What it delivered leaves the figures of the site’s Overview, and stays on the account’s own page.",
        ),
        keep="Keep account",
        do="Remove account",
        is_danger=True,
        type_to_confirm=account.name,
    )


def _ask(request: HttpRequest, entry: AccountEntry, question: Question, error: str = "") -> HttpResponse:
    asking = Asking(question, request.path, account_url(entry.site, entry.account, "settings"), error)
    return ask_of_account(request, entry, asking, "settings")


def _with_pick(posted: QueryDict) -> QueryDict:
    """Return the form with the tag that was picked from Microsoft's list, where a button did that without scripts."""
    if "pick" not in posted:
        return posted
    picked = posted.copy()
    picked["uet_tag_id"] = posted.get("pick", "")
    return picked


def _tags_are_wanted(request: HttpRequest) -> bool:
    """Say whether the page itself asks Microsoft: only where it was asked to, or a tag was refused."""
    return "tags" in request.GET or request.method == "POST"


def _tag_list(account: AdAccount, *, wanted: bool) -> dict[str, object]:
    """Return the tags to pick from, and whether the linked one is among them; `tags` is None where nobody asked."""
    if not wanted:
        return {"tags": None}
    try:
        tags = uet_tags(account)
        linked = next((tag for tag in tags if tag.tag_id == account.uet_tag_id), None)
        return {
            "tags": [(tag, tag_note(tag)) for tag in tags],
            "linked": linked,
            "is_unlisted": bool(account.uet_tag_id) and linked is None,
            "invalid_tag": INVALID_TAG,
            "trouble": None,
        }
    except MicrosoftAdsError as error:
        return {"tags": [], "trouble": in_words(error)}
