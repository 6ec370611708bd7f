"""A site's settings: what an owner or admin may change, each field with its limits in plain words."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import available_timezones

from django import forms
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from dashboard import meanwhile, wording
from dashboard.frame import Crumb, site_frame
from dashboard.guards import CONNECT, SiteEntry, may, person, role_names, signed_in, site_for
from dashboard.toasts import say_next
from forwarding.alerts.alerts import TOLD_ROLES
from forwarding.models import WAITING, Delivery, Hold
from forwarding.times import CONVERSION_LIFE
from ingest.cors import normalise_origin
from ingest.currencies import CURRENCIES
from ingest.models import AuditEntry, ConfirmMode, ConsentPolicy, Membership, Site
from ingest.seen import ChangedMeanwhileError, seen_of, untouched
from ingest.site_settings import SETTINGS, change_settings

MAX_ORIGINS = 50
MAX_ORIGINS_CHARS = 10_000
MAX_CONFIRM_MINUTES = 30 * 24 * 60
MIN_EVENT_DAYS, MAX_EVENT_DAYS = CONVERSION_LIFE.days, 3650
MAX_DAILY_EVENTS = 100_000_000
MAX_COUNTED = 10_000
LABELS = {
    "name": "Name",
    "time_zone": "Time zone",
    "currency": "Currency",
    "allowed_origins": "Allowed origins",
    "consent_policy": "Consent",
    "confirm_mode": "Confirmation by the backend",
    "confirm_minutes": "Minutes to wait",
    "click_retention_days": "Days for click IDs",
    "event_retention_days": "Days for events",
    "daily_event_cap": "Daily cap",
}


class Choice(NamedTuple):
    """A radio button, and what choosing it means; `waiting` is what it does to orders that wait already."""

    value: str
    label: str
    hint: str
    waiting: str = ""


CONSENT_CHOICES = (
    Choice(ConsentPolicy.ASSUME, ConsentPolicy.ASSUME.label, "Events that say nothing about consent are forwarded."),
    Choice(
        ConsentPolicy.REQUIRE,
        ConsentPolicy.REQUIRE.label,
        "Events that do not say that the visitor agreed are kept and not forwarded.",
    ),
)
CONFIRM_CHOICES = (
    Choice(
        ConfirmMode.OFF,
        ConfirmMode.OFF.label,
        "Right where pages report nothing that anybody could make up.",
        "What waits for the backend goes out.",
    ),
    Choice(
        ConfirmMode.WAIT,
        ConfirmMode.WAIT.label,
        "The backend’s value counts when it comes in time.",
        "What waits goes out when its time is over.",
    ),
    Choice(
        ConfirmMode.REQUIRE,
        ConfirmMode.REQUIRE.label,
        "An order that only a page reported is not forwarded.",
        "What waits is not forwarded unless the backend reports it in time.",
    ),
)


def _number(lowest: int, highest: int, what: str) -> forms.IntegerField:
    said = f"Enter a whole number of {what} from {lowest:,} to {highest:,}."
    messages = {"required": said, "invalid": said, "min_value": said, "max_value": said}
    return forms.IntegerField(min_value=lowest, max_value=highest, error_messages=messages)


class SettingsForm(forms.Form):
    """The settings; errors say what is expected. A number that staff set beyond a limit may stay as it is."""

    name = forms.CharField(
        max_length=100,
        error_messages={"required": "Enter a name.", "max_length": "Use 100 characters at most."},
    )
    time_zone = forms.CharField(max_length=64, error_messages={"required": "Choose a time zone."})
    currency = forms.CharField(max_length=3, error_messages={"required": "Choose a currency."})
    allowed_origins = forms.CharField(
        max_length=MAX_ORIGINS_CHARS,
        required=False,
        error_messages={"max_length": f"Enter {MAX_ORIGINS} addresses at most."},
    )
    consent_policy = forms.ChoiceField(
        choices=ConsentPolicy.choices,
        error_messages={"required": "Choose one.", "invalid_choice": "Choose one of the two."},
    )
    confirm_mode = forms.ChoiceField(
        choices=ConfirmMode.choices,
        error_messages={"required": "Choose one.", "invalid_choice": "Choose one of the three."},
    )
    confirm_minutes = _number(1, MAX_CONFIRM_MINUTES, "minutes")
    click_retention_days = _number(1, CONVERSION_LIFE.days, "days")
    event_retention_days = _number(MIN_EVENT_DAYS, MAX_EVENT_DAYS, "days")
    daily_event_cap = _number(1, MAX_DAILY_EVENTS, "events")

    def __init__(self, data: QueryDict | None, site: Site) -> None:
        initial: dict[str, Any] = {name: getattr(site, name) for name in SETTINGS}
        super().__init__(data, initial=initial | {"allowed_origins": "\n".join(map(str, site.allowed_origins))})
        self.site = site

    def full_clean(self) -> None:
        """Validate; numbers are held to their limits only where they are new."""
        super().full_clean()
        for name, field in self.fields.items():
            saved = getattr(self.site, name)
            if isinstance(field, forms.IntegerField) and name in self.errors and self.data.get(name) == str(saved):
                del self.errors[name]
                self.cleaned_data[name] = saved

    def clean_time_zone(self) -> str:
        """Refuse what is no zone of the IANA database."""
        zone = str(self.cleaned_data["time_zone"])
        if zone not in available_timezones():
            raise forms.ValidationError("Choose a time zone from the list, such as America/Chicago.")
        return zone

    def clean_currency(self) -> str:
        """Refuse a currency in which Microsoft takes no conversions."""
        currency = str(self.cleaned_data["currency"]).upper()
        if currency not in CURRENCIES:
            raise forms.ValidationError("Choose a currency from the list, such as USD: Microsoft takes no others.")
        return currency

    def clean_allowed_origins(self) -> list[str]:
        """Return the origins as browsers write them, each once, in the order they were typed."""
        lines = [line for line in str(self.cleaned_data["allowed_origins"]).split() if line]
        if len(lines) > MAX_ORIGINS:
            raise forms.ValidationError(f"Enter {MAX_ORIGINS} addresses at most.")
        origins = []
        for line in lines:
            try:
                origins.append(normalise_origin(line))
            except ValueError as error:
                said = f"“{line[:80]}” is no address of a site. Enter it like https://shop.example, without a path."
                raise forms.ValidationError(said) from error
        return list(dict.fromkeys(origins))


@signed_in
@require_http_methods(["GET", "POST"])
def settings(request: HttpRequest, site_id: UUID) -> HttpResponse:
    """Show a site's settings; POST saves all or none: 422 with field errors, 409 where somebody else came first."""
    roles = CONNECT if request.method == "POST" else ()
    site, role = site_for(request, site_id, *roles)
    form = SettingsForm(request.POST if request.method == "POST" else None, site)
    if not form.is_bound or not form.is_valid():
        return _page(request, SiteEntry(site, role), form)
    seen = meanwhile.seen_by(request)
    try:
        changed = change_settings(site, form.cleaned_data, person(request), timezone.now(), seen)
    except ChangedMeanwhileError as error:
        site.refresh_from_db(fields=SETTINGS)
        taken = untouched(SETTINGS, form.cleaned_data, error.names, seen)
        form = SettingsForm(meanwhile.merged(request.POST, site, taken), site)
        log = AuditEntry.objects.filter(site=site, action="site.settings")
        changes = meanwhile.told(site, error.names, taken, LABELS, log, site.organisation)
        return _page(request, SiteEntry(site, role), form, changes)
    text = "New events follow them within seconds." if changed else ""
    say_next(request, "ok", "Settings saved" if changed else "Nothing changed", text)
    return redirect("dashboard:site-settings", site.public_id)


def _page(
    request: HttpRequest, entry: SiteEntry, form: SettingsForm, changes: Sequence[meanwhile.Meanwhile] = ()
) -> HttpResponse:
    site, role = entry
    waiting = waiting_for_backend(site)
    ctx = {
        **site_frame(request, site, role, "site-settings", Crumb("Site settings")),
        "form": form,
        # Who corrects an error saves what this form was drawn with; who was told of changes has seen them.
        "seen": meanwhile.seen_by(request) if form.errors else seen_of(site, SETTINGS),
        "changes": changes,
        "may_edit": may(role, CONNECT),
        "needed": role_names(CONNECT),
        "zones": sorted(available_timezones() | {site.time_zone}),
        "currencies": sorted(CURRENCIES | {site.currency}),
        "consent_choices": CONSENT_CHOICES,
        "confirm_choices": CONFIRM_CHOICES,
        "waiting": waiting,
        "waiting_words": wording.capped(waiting, MAX_COUNTED),
        "told": _told(site),
    }
    status = 409 if changes else 422 if form.errors else 200
    return render(request, "dashboard/site_settings.html", ctx, status=status)


def waiting_for_backend(site: Site) -> int:
    """Count the orders that wait for the backend's word, among the first MAX_COUNTED + 1 that wait for anything."""
    waits = Delivery.objects.filter(account__site=site, status__in=WAITING, next_attempt_at__isnull=False).order_by()
    first = waits.values("pk")[: MAX_COUNTED + 1]
    return Delivery.objects.filter(pk__in=first, hold_reason=Hold.CONFIRMATION).count()


def _told(site: Site) -> "QuerySet[Membership]":
    """Return who is mailed about this site: the owners and admins of its organisation that have an address."""
    members = Membership.objects.filter(organisation=site.organisation_id, role__in=TOLD_ROLES, user__is_active=True)
    return members.exclude(user__email="").select_related("user").order_by("user__email")
