"""The staff's tables that speak with the words of the customers' pages, which the rooms below do not know."""

from collections.abc import Iterable, Iterator
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.safestring import SafeString

from convultra.staff import badge
from dashboard.account.frame import BADGES, REMOVED
from dashboard.audit.words import sentence
from dashboard.health import Health, account_health, with_health
from forwarding.models import Hold
from ingest.admin import AuditEntryAdmin
from ingest.models import AuditEntry
from integrations.admin import AdAccountAdmin
from integrations.models import AdAccount

admin.site.unregister((AdAccount, AuditEntry))


class HoldFilter(admin.SimpleListFilter):
    """By what holds an account."""

    title = "hold"
    parameter_name = "hold"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:  # noqa: ARG002
        held_by = AdAccount.objects.exclude(hold_reason="").order_by("hold_reason")
        return [
            ("none", "Not held"),
            *((one, _hold(one)) for one in held_by.values_list("hold_reason", flat=True).distinct()),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[AdAccount]) -> QuerySet[AdAccount]:  # noqa: ARG002
        chosen = self.value()
        return queryset.filter(hold_reason="" if chosen == "none" else chosen) if chosen else queryset


@admin.register(AdAccount)
class AccountAdmin(AdAccountAdmin):
    """Accounts with their health, as their customers see it."""

    list_display = ["name", "account_id", "site", "connection", "health", "why", "held_until"]
    list_filter = ["is_active", HoldFilter, "life_cycle_status", "currency"]
    readonly_fields = [
        "health",
        "why",
        "hold",
        *(name for name in AdAccountAdmin.readonly_fields if name != "hold_reason"),
    ]
    exclude = ["hold_reason"]

    def get_changelist_instance(self, request: HttpRequest) -> "ChangeList":
        """Judge all accounts of a page at once."""
        listed = super().get_changelist_instance(request)
        healths = _judged(listed.result_list)
        for account in listed.result_list:
            account.health = healths.get(account.pk, REMOVED)
        return listed

    @admin.display(description="Health")
    def health(self, account: AdAccount) -> SafeString:
        health = _health_of(account)
        return badge(BADGES[health.word].look, health.word)

    @admin.display(description="Why")
    def why(self, account: AdAccount) -> str:
        health = _health_of(account)
        return "–" if health.look == "ok" else health.reason

    @admin.display(description="Hold")
    def hold(self, account: AdAccount) -> str:
        return _hold(account.hold_reason)


class ActionFilter(admin.AllValuesFieldListFilter):
    """By what was done, in words."""

    def choices(self, changelist: "ChangeList") -> Iterator[Any]:
        """Yield what may be chosen, as the customers' audit log says it."""
        for choice in super().choices(changelist):
            said = str(choice["display"])
            yield {**choice, "display": str(sentence(said, "", {})) if "." in said else said}


@admin.register(AuditEntry)
class EntryAdmin(AuditEntryAdmin):
    """The audit log in the words in which its customers read it."""

    list_display = ["created_at", "actor_name", "what", "site", "organisation"]
    list_display_links = ["what"]
    list_filter = ["created_at", ("action", ActionFilter)]
    fields = ["what", *AuditEntryAdmin.fields]

    @admin.display(description="What")
    def what(self, entry: AuditEntry) -> str:
        return str(sentence(entry.action, entry.target, entry.details))

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Name the page by what was done."""
        entry = context["original"]
        if entry is not None:
            context["subtitle"] = self.what(entry)
        return super().render_change_form(request, context, *args, **kwargs)


def _judged(accounts: Iterable[AdAccount]) -> dict[int, Health]:
    """Return the health of each account that is not removed, by its key."""
    listed = with_health(AdAccount.objects.filter(pk__in=[account.pk for account in accounts]), timezone.now())
    return {account.pk: account_health(account) for account in listed}


def _health_of(account: AdAccount) -> Health:
    known = getattr(account, "health", None)
    return known if isinstance(known, Health) else _judged([account]).get(account.pk, REMOVED)


def _hold(reason: str) -> str:
    if not reason:
        return "Not held"
    return Hold(reason).label if reason in Hold.values else reason
