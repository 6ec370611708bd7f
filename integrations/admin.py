"""The staff's view of the ties to Microsoft. Tokens are not here; mappings are changed on the account's page."""

from django.contrib import admin
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString

from convultra.staff import HistoryAdmin, badge
from ingest.admin import AuditedAdmin
from ingest.audit import record
from integrations.models import AdAccount, Connection, ConversionGoal, GoalMapping, MappingChange

_LOOKS = {
    Connection.Status.CONNECTED: "delivered",
    Connection.Status.NEEDS_RECONNECT: "failed",
    Connection.Status.NEEDS_OPERATOR: "retrying",
}


class AccessFilter(admin.SimpleListFilter):
    """By whether the sign-in gives access now."""

    title = "access"
    parameter_name = "access"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:  # noqa: ARG002
        return [("valid", "Access token valid"), ("expired", "Access token expired"), ("none", "No tokens")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Connection]) -> QuerySet[Connection]:  # noqa: ARG002
        now = timezone.now()
        wanted = {
            "valid": queryset.filter(expires_at__gt=now),
            "expired": queryset.filter(expires_at__lte=now),
            "none": queryset.filter(expires_at__isnull=True),
        }
        return wanted.get(self.value() or "", queryset)


@admin.register(Connection)
class ConnectionAdmin(HistoryAdmin):
    """Sign-ins. They come and go on the site's Integrations page only."""

    list_display = ["microsoft_user_name", "site", "state", "expires_at", "renewed_at", "failed_at", "connected_at"]
    list_filter = ["status", AccessFilter]
    search_fields = ["microsoft_user_name", "microsoft_user_id", "site__name"]
    search_help_text = "A Microsoft user's name or ID, or a site's name"
    list_select_related = ["site"]
    fieldsets = [
        (None, {"fields": ["public_id", "site", "microsoft_user_name", "microsoft_user_id"]}),
        ("State", {"fields": ["state", "last_error", "failed_at"]}),
        ("Access", {"fields": ["expires_at", "renewed_at", "refreshing_until", "token_version"]}),
        ("Connected", {"fields": ["connected_by", "connected_at", "created_at"]}),
    ]

    @admin.display(description="Status", ordering="status")
    def state(self, connection: Connection) -> SafeString:
        return badge(_LOOKS[Connection.Status(connection.status)], connection.get_status_display())


@admin.register(AdAccount)
class AdAccountAdmin(AuditedAdmin):
    """Accounts. What Microsoft and the worker say of one is read only; whether it is forwarded to is not."""

    list_display = ["name", "account_id", "site", "connection", "is_active", "hold_reason", "held_until"]
    list_filter = ["is_active", "hold_reason", "life_cycle_status", "currency"]
    search_fields = ["name", "account_id", "number", "customer_id", "site__name"]
    search_help_text = "An account's name, ID or number, its customer ID, or a site's name"
    list_select_related = ["site", "connection"]
    readonly_fields = [
        "site",
        "connection",
        "account_id",
        "customer_id",
        "number",
        "name",
        "currency",
        "time_zone",
        "life_cycle_status",
        "auto_tagging",
        "hold_reason",
        "held_until",
        "goals_synced_at",
        "next_sync_at",
        "next_report_at",
        "report_read_at",
        "report_error",
        "batch_limit",
        "limited_rows",
        "failed_calls",
        "created_at",
    ]
    actions = ["lift_holds"]

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        return False

    @admin.action(description="Lift the hold", permissions=["change"])
    def lift_holds(self, request: HttpRequest, accounts: QuerySet[AdAccount]) -> None:
        assert isinstance(request.user, User)
        released = 0
        for account in accounts.select_related("site__organisation"):
            if account.lift_hold():
                released += 1
                site, now = account.site, timezone.now()
                whose = site.organisation
                record(request.user, "account.lift_hold", organisation=whose, site=site, target=str(account), now=now)
        self.message_user(request, f"{released} {'account' if released == 1 else 'accounts'} released.")


@admin.register(ConversionGoal)
class ConversionGoalAdmin(HistoryAdmin):
    """Goals as Microsoft last described them."""

    list_display = ["name", "goal_id", "account", "status", "is_enhanced", "first_seen_at", "gone_at", "synced_at"]
    list_filter = ["status", "is_enhanced", "category", "scope"]
    search_fields = ["name", "goal_id", "account__account_id", "account__name"]
    list_select_related = ["account"]


@admin.register(GoalMapping)
class GoalMappingAdmin(HistoryAdmin):
    """Mappings in force. They are changed on the account's page, which keeps their history."""

    list_display = ["event_name", "goal", "account", "value_rule", "fixed_value", "condition", "is_active"]
    list_filter = ["value_rule", "is_active", "event_name"]
    search_fields = ["event_name", "goal__name", "account__account_id", "account__name"]
    list_select_related = ["goal", "account"]


@admin.register(MappingChange)
class MappingChangeAdmin(HistoryAdmin):
    """Who changed which mapping, when, from what to what."""

    list_display = ["created_at", "account", "event_name", "changed_by", "before", "after"]
    list_filter = ["created_at", "event_name"]
    search_fields = ["event_name", "account__account_id", "account__name", "changed_by__email"]
    list_select_related = ["account", "changed_by"]
