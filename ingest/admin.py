"""The staff's view of what arrived. Events and clicks are history: read, never added, changed or deleted."""

from functools import cached_property
from typing import Any

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.text import capfirst

from ingest.models import Click, Event, Membership, Organisation, ServerKey, Site

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


class MembershipInline(admin.TabularInline):  # type: ignore[type-arg]
    """Who belongs to an organisation."""

    model = Membership
    raw_id_fields = ["user"]
    extra = 0


@admin.register(Organisation)
class OrganisationAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Customers."""

    list_display = ["name", "public_id", "created_at"]
    search_fields = ["name", "memberships__user__email"]
    readonly_fields = ["public_id", "created_at"]
    inlines = [MembershipInline]


@admin.register(Membership)
class MembershipAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Who may do what, and where."""

    list_display = ["user", "organisation", "role", "created_at"]
    list_filter = ["role"]
    search_fields = ["user__email", "organisation__name"]
    list_select_related = ["user", "organisation"]
    raw_id_fields = ["user", "organisation"]
    readonly_fields = ["created_at"]


@admin.register(Site)
class SiteAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Sites with their settings; the write key is public and may be copied, not changed."""

    list_display = ["name", "organisation", "domain", "currency", "consent_policy", "created_at"]
    list_filter = ["consent_policy", "currency"]
    search_fields = ["name", "organisation__name", "write_key"]
    list_select_related = ["organisation"]
    raw_id_fields = ["organisation"]
    readonly_fields = ["public_id", "write_key", "created_at"]


@admin.register(ServerKey)
class ServerKeyAdmin(NoHashLookups):
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
