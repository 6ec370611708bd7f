"""The staff's view of what arrived. Clicks, events, adjustments and the audit log are history: read, never changed.

What staff change of a customer's sites, people and keys is written to that customer's audit log.
"""

from functools import cached_property
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.text import capfirst

from ingest import audit
from ingest.models import Adjustment, AuditEntry, Click, Event, Membership, Organisation, ServerKey, Site

MAX_ROWS_COUNTED = 10_000


class CappedPaginator(Paginator):  # type: ignore[type-arg]  # generic for the type checker only
    """Counts no further than a person pages, so that a list of millions opens as fast as a short one."""

    @cached_property
    def count(self) -> int:
        """The number of rows, MAX_ROWS_COUNTED at most."""
        rows = self.object_list
        return rows[:MAX_ROWS_COUNTED].count() if isinstance(rows, QuerySet) else len(rows)


class NoHashLookups(admin.ModelAdmin):  # type: ignore[type-arg]  # generic for the type checker only
    """Takes no hash in an address: `?email_sha256=…` would tell whether a person is among the rows."""

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        return "sha256" not in lookup and super().lookup_allowed(lookup, value, request)


class HistoryAdmin(NoHashLookups):
    """A table of facts: nobody adds, changes or deletes one by hand."""

    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # a count per filter would read the table once for each
    paginator = CappedPaginator

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        title = capfirst(str(self.opts.verbose_name_plural))  # "Select event to view" is no name for a list
        return super().changelist_view(request, {"title": title, **(extra_context or {})})

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:  # noqa: ARG002
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:  # noqa: ARG002
        return False


class AuditedAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
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
    match obj:
        case Organisation():
            return obj, None
        case Site():
            return obj.organisation, obj
        case ServerKey():
            return obj.site.organisation, obj.site
        case Membership():
            return obj.organisation, None
    raise TypeError(obj)


def _changes(form: Any) -> dict[str, object]:
    """Return what each changed field held and holds now; of another row its primary key."""
    now = {name: form.cleaned_data[name] for name in form.changed_data}
    return {name: [form.initial.get(name), getattr(value, "pk", value)] for name, value in now.items()}


class MembershipInline(admin.TabularInline):  # type: ignore[type-arg]
    """Who belongs to an organisation."""

    model = Membership
    raw_id_fields = ["user"]
    extra = 0


@admin.register(Organisation)
class OrganisationAdmin(AuditedAdmin):
    """Customers."""

    list_display = ["name", "public_id", "created_at"]
    search_fields = ["name", "memberships__user__email"]
    readonly_fields = ["public_id", "created_at"]
    inlines = [MembershipInline]


@admin.register(Membership)
class MembershipAdmin(AuditedAdmin):
    """Who may do what, and where."""

    list_display = ["user", "organisation", "role", "created_at"]
    list_filter = ["role"]
    search_fields = ["user__email", "organisation__name"]
    list_select_related = ["user", "organisation"]
    raw_id_fields = ["user", "organisation"]
    readonly_fields = ["created_at"]


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
    list_select_related = ["site"]


@admin.register(Event)
class EventAdmin(HistoryAdmin):
    """Events as they were accepted. Hashes of people are not shown, searched or exported."""

    list_display = [
        "event_id",
        "name",
        "site",
        "source",
        "value",
        "currency",
        "occurred_at",
        "received_at",
        "planned_at",
    ]
    list_filter = ["source", "consent", "received_at"]
    search_fields = ["event_id__exact", "transaction_id__exact", "external_id__exact", "visitor_id__exact"]
    list_select_related = ["site"]
    fieldsets = [
        (None, {"fields": ["event_id", "name", "site", "source"]}),
        ("When", {"fields": ["occurred_at", "received_at", "planned_at"]}),
        ("What", {"fields": ["value", "currency", "transaction_id", "properties"]}),
        ("Who", {"fields": ["external_id", "visitor_id", "session_id", "msclkid", "consent"]}),
    ]


@admin.register(Adjustment)
class AdjustmentAdmin(HistoryAdmin):
    """Corrections of orders as backends said them. What came of one is among the deliveries."""

    list_display = [
        "adjustment_id",
        "type",
        "site",
        "transaction_id",
        "event_id",
        "value",
        "currency",
        "occurred_at",
        "received_at",
        "planned_at",
    ]
    list_filter = ["type", "received_at"]
    search_fields = ["adjustment_id__exact", "transaction_id__exact", "event_id__exact"]
    list_select_related = ["site"]
    ordering = ["-pk"]
    fieldsets = [
        (None, {"fields": ["adjustment_id", "site", "type"]}),
        ("Which order", {"fields": ["transaction_id", "event_id"]}),
        ("What", {"fields": ["value", "currency"]}),
        ("When", {"fields": ["occurred_at", "received_at", "planned_at"]}),
    ]


@admin.register(AuditEntry)
class AuditEntryAdmin(HistoryAdmin):
    """What people changed, for every customer."""

    list_display = ["created_at", "actor_name", "action", "target", "site", "organisation"]
    list_filter = ["created_at", "action"]
    search_fields = ["action", "target", "actor_name", "organisation__name", "site__name"]
    list_select_related = ["site", "organisation"]
    ordering = ["-pk"]
    fields = ["created_at", "actor_name", "actor", "action", "target", "site", "organisation", "details"]
