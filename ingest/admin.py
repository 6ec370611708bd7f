"""The staff's view of what arrived. Clicks, events, adjustments, imports and the audit log are history: never changed.

What staff change of a customer's sites, people and keys is written to that customer's audit log.
"""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.models import User
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString

from convultra.staff import HistoryAdmin, LabelledTabularInline, NoHashLookups, TimesInUtc, badge, money
from ingest import audit
from ingest.models import (
    Adjustment,
    AuditEntry,
    BlockedOrigin,
    Bucket,
    Click,
    Event,
    Import,
    ImportChunk,
    Invitation,
    Membership,
    Organisation,
    RefusedItem,
    ServerKey,
    Site,
)

_LOOKS_OF_AN_IMPORT = {
    Import.Status.READING: "pending",
    Import.Status.CHECKING: "pending",
    Import.Status.CHECKED: "retrying",
    Import.Status.IMPORTING: "pending",
    Import.Status.DONE: "delivered",
    Import.Status.CANCELLED: "skipped",
}


class AuditedAdmin(TimesInUtc):
    """A table whose changes go to the audit log of the customer they concern, such as `site.change`."""

    def save_model(self, request: HttpRequest, obj: Model, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        _record(request, "change" if change else "add", obj, _changes(form) if change else {})

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        super().save_formset(request, form, formset, change)
        changed = {obj.pk for obj, _ in formset.changed_objects}
        for row in formset.forms:
            if row.instance.pk in changed:
                _record(request, "change", row.instance, _changes(row))
        for obj in formset.new_objects:
            _record(request, "add", obj)
        for obj in formset.deleted_objects:
            _record(request, "delete", obj)

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        for obj in queryset:
            _record(request, "delete", obj)
        return super().log_deletions(request, queryset)


def _record(request: HttpRequest, verb: str, obj: Model, details: dict[str, object] | None = None) -> None:
    assert isinstance(request.user, User)
    organisation, site = _concerned(obj)
    action = f"{obj._meta.model_name}.{verb}"
    now = timezone.now()
    audit.record(request.user, action, organisation=organisation, site=site, target=str(obj), details=details, now=now)


def _concerned(obj: Model) -> tuple[Organisation, Site | None]:
    if isinstance(obj, Organisation):
        return obj, None
    site = obj if isinstance(obj, Site) else getattr(obj, "site", None)
    organisation = getattr(site or obj, "organisation")  # noqa: B009 - a membership has no site
    assert isinstance(organisation, Organisation)
    return organisation, site


def _changes(form: Any) -> dict[str, object]:
    """Return what each changed field held and holds now; of another row its primary key."""
    now = {name: form.cleaned_data[name] for name in form.changed_data}
    return {name: [_plain(form.initial.get(name)), _plain(value)] for name, value in now.items()}


def _plain(value: Any) -> Any:
    """Return what JSON knows: of another row its primary key, of several theirs."""
    if isinstance(value, QuerySet | list):
        return [_plain(one) for one in value]
    return getattr(value, "pk", value)


class MembershipInline(LabelledTabularInline):
    """Who belongs to an organisation."""

    model = Membership
    fields = ["user", "role", "all_sites"]
    raw_id_fields = ["user"]
    extra = 0


@admin.register(Organisation)
class OrganisationAdmin(AuditedAdmin):
    """Customers."""

    list_display = ["name", "public_id", "created_at"]
    search_fields = ["name", "memberships__user__email"]
    search_help_text = "A customer's name, or a member's e-mail address"
    readonly_fields = ["public_id", "created_at"]
    inlines = [MembershipInline]


@admin.register(Membership)
class MembershipAdmin(AuditedAdmin):
    """Who may do what, and where."""

    list_display = ["user", "organisation", "role", "all_sites", "created_at"]
    list_filter = ["role", "all_sites"]
    search_fields = ["user__email", "organisation__name"]
    search_help_text = "A person's e-mail address, or a customer's name"
    list_select_related = ["user", "organisation"]
    raw_id_fields = ["user", "organisation", "sites"]
    readonly_fields = ["created_at"]


@admin.register(Invitation)
class InvitationAdmin(HistoryAdmin, NoHashLookups):
    """Who was asked to join, and what became of it. People invite and revoke on their team's page."""

    list_display = ["email", "organisation", "role", "invited_by", "expires_at", "accepted_at", "revoked_at"]
    list_filter = ["role"]
    search_fields = ["email", "organisation__name"]
    search_help_text = "An invited address, or a customer's name"
    list_select_related = ["organisation", "invited_by"]
    exclude = ["token_sha256"]


class SiteForm(forms.ModelForm):  # type: ignore[type-arg]
    """A site's settings, with words for those that do not speak for themselves."""

    class Meta:
        help_texts = {
            "confirm_mode": (
                "What an order from a page needs before it is forwarded. The write key is public, so anybody can send"
                " an order with it; only the site's backend has its server key. This concerns pages' events with a"
                " transaction_id."
            ),
            "confirm_minutes": (
                "How many minutes such an order waits for the backend's event with the same transaction_id. After"
                " that it is forwarded anyway, or not at all, as chosen above."
            ),
        }


@admin.register(Site)
class SiteAdmin(AuditedAdmin):
    """Sites with their settings; the write key is public and may be copied, not changed."""

    form = SiteForm
    list_display = ["name", "organisation", "domain", "currency", "consent_policy", "confirm_mode", "created_at"]
    list_filter = ["consent_policy", "confirm_mode", "currency"]
    search_fields = ["name", "organisation__name", "write_key"]
    search_help_text = "A site's name, its customer's, or a write key"
    list_select_related = ["organisation"]
    raw_id_fields = ["organisation"]
    readonly_fields = ["public_id", "write_key", "created_at"]


@admin.register(ServerKey)
class ServerKeyAdmin(AuditedAdmin, NoHashLookups):
    """Server keys by their first characters. They are made on the site's page, where their secret is shown once."""

    list_display = ["prefix", "site", "name", "last_used_at", "revoked_at", "created_at"]
    list_filter = ["revoked_at"]
    search_fields = ["prefix", "site__name"]
    list_select_related = ["site"]
    readonly_fields = ["public_id", "site", "prefix", "last_used_at", "created_at"]
    fields = ["public_id", "site", "name", "prefix", "last_used_at", "revoked_at", "created_at"]

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        return False


@admin.register(Click)
class ClickAdmin(HistoryAdmin):
    """Click ids as they were caught."""

    list_display = ["msclkid", "site", "visitor_id", "session_id", "consent", "captured_at"]
    list_filter = ["consent", "captured_at"]
    search_fields = ["msclkid__exact", "visitor_id__exact", "session_id__exact"]
    search_help_text = "Click ID, visitor ID or session ID, in full"
    list_select_related = ["site"]


@admin.register(Event)
class EventAdmin(HistoryAdmin):
    """Events as they were accepted. Hashes of people are not shown, searched or exported."""

    list_display = [
        "event_id",
        "name",
        "site",
        "source",
        "amount",
        "occurred_at",
        "received_at",
        "planned_at",
    ]
    list_filter = ["source", "consent", "received_at"]
    search_fields = ["event_id__exact", "transaction_id__exact", "external_id__exact", "visitor_id__exact"]
    search_help_text = "Event ID, transaction ID, the customer's own ID or visitor ID, in full"
    list_select_related = ["site"]
    fieldsets = [
        (None, {"fields": ["event_id", "name", "site", "source"]}),
        ("When", {"fields": ["occurred_at", "received_at", "planned_at"]}),
        ("What", {"fields": ["amount", "transaction_id", "properties"]}),
        ("Who", {"fields": ["external_id", "visitor_id", "session_id", "msclkid", "consent"]}),
    ]

    @admin.display(description="Value")
    def amount(self, event: Event) -> str:
        return money(event.value, event.currency)


@admin.register(Adjustment)
class AdjustmentAdmin(HistoryAdmin):
    """Corrections of orders as backends said them. What came of one is among the deliveries."""

    list_display = [
        "adjustment_id",
        "type",
        "site",
        "transaction_id",
        "event_id",
        "amount",
        "occurred_at",
        "received_at",
        "planned_at",
    ]
    list_filter = ["type", "received_at"]
    search_fields = ["adjustment_id__exact", "transaction_id__exact", "event_id__exact"]
    search_help_text = "Adjustment ID, transaction ID or event ID, in full"
    list_select_related = ["site"]
    ordering = ["-pk"]
    fieldsets = [
        (None, {"fields": ["adjustment_id", "site", "type"]}),
        ("Which order", {"fields": ["transaction_id", "event_id"]}),
        ("What", {"fields": ["amount"]}),
        ("When", {"fields": ["occurred_at", "received_at", "planned_at"]}),
    ]

    @admin.display(description="Value")
    def amount(self, adjustment: Adjustment) -> str:
        return money(adjustment.value, adjustment.currency)


@admin.register(Import)
class ImportAdmin(HistoryAdmin):
    """Files of conversions and how far they have come. Their rows are customers' own and not shown."""

    list_display = ["file_name", "site", "badge", "format", "total_rows", "checked_rows", "stored_rows", "created_at"]
    list_filter = ["status", "format", "created_at"]
    search_fields = ["file_name", "public_id__exact", "site__name"]
    list_select_related = ["site"]
    ordering = ["-pk"]
    fieldsets = [
        (None, {"fields": ["public_id", "file_name", "site", "actor_name", "badge"]}),
        ("How it is read", {"fields": ["format", "delimiter", "time_zone", "date_order", "labels", "ignored"]}),
        ("How far it is", {"fields": ["total_rows", "checked_rows", "stored_rows", "rung_at"]}),
        ("What was found and done", {"fields": ["verdicts", "problems", "outcomes", "results"]}),
        ("When", {"fields": ["created_at", "confirmed_at", "finished_at", "count_at"]}),
    ]

    @admin.display(description="Status", ordering="status")
    def badge(self, source: Import) -> SafeString:
        return badge(_LOOKS_OF_AN_IMPORT[Import.Status(source.status)], source.get_status_display())


@admin.register(ImportChunk)
class ImportChunkAdmin(HistoryAdmin):
    """How far each thousand rows of a file has come. The rows themselves are not shown."""

    list_display = ["source", "number", "checked_at", "stored_at"]
    list_filter = ["created_at"]
    search_fields = ["source__file_name", "source__public_id__exact"]
    list_select_related = ["source"]
    ordering = ["-pk"]
    fields = ["source", "number", "created_at", "checked_at", "stored_at"]


@admin.register(BlockedOrigin)
class BlockedOriginAdmin(HistoryAdmin):
    """Pages that a site's list turned away."""

    list_display = ["origin", "site", "first_at", "last_at"]
    search_fields = ["origin", "site__name"]
    list_select_related = ["site"]
    ordering = ["-last_at"]


@admin.register(RefusedItem)
class RefusedItemAdmin(HistoryAdmin):
    """Rules that a site's senders break."""

    list_display = ["code", "member", "what", "source", "site", "first_at", "last_at"]
    list_filter = ["source", "what", "code"]
    search_fields = ["code", "member", "site__name"]
    list_select_related = ["site"]
    ordering = ["-last_at"]


@admin.register(Bucket)
class BucketAdmin(HistoryAdmin):
    """How much of each limit is used up: to see who is near one."""

    list_display = ["name", "used", "granted"]
    search_fields = ["name__exact"]
    ordering = ["-used"]


@admin.register(AuditEntry)
class AuditEntryAdmin(HistoryAdmin):
    """What people changed, for every customer."""

    list_display = ["created_at", "actor_name", "action", "target", "site", "organisation"]
    list_filter = ["created_at", "action"]
    search_fields = ["action", "target", "actor_name", "organisation__name", "site__name"]
    search_help_text = "An action such as delivery.retract, what it was done to, who did it, a customer or a site"
    list_select_related = ["site", "organisation"]
    ordering = ["-pk"]
    fields = ["created_at", "actor_name", "actor", "action", "target", "site", "organisation", "details"]
