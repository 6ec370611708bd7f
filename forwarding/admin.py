"""The staff's view of what was sent. All of it is history: read, never added, changed or deleted field by field.

What may be done to deliveries by hand is in `hands/admin.py`.
"""

from typing import TypeVar
from uuid import UUID

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from convultra.staff import MAX_ROWS_COUNTED, HistoryAdmin, badge, link_to, link_to_list, moment, money
from forwarding.errors import words_for, words_of
from forwarding.hands.admin import ACTIONS, HandsAdmin
from forwarding.hands.rules import Action
from forwarding.models import (
    ADJUSTED,
    AcceptedDay,
    Alert,
    Attempt,
    Attribution,
    Breaker,
    BulkJob,
    ClickSource,
    Correction,
    DailyCount,
    Delivery,
    EventDay,
    EventName,
    Heartbeat,
    Kind,
    Skip,
    Status,
    TestConversion,
    Upload,
)
from forwarding.rows.own_names import ALWAYS
from forwarding.rows.upload_rows import among
from forwarding.worker import admin as worker_admin  # noqa: F401 - registers the queue
from integrations.models import AdAccount

Row = TypeVar("Row", bound=Model)

# What a list has no use for: a thousand ids and a raw answer for each of its rows.
HEAVY_OF_AN_UPLOAD = ("delivery_ids", "answer")
_LOOKS_OF_A_JOB = {
    BulkJob.Status.RUNNING: "pending",
    BulkJob.Status.STOPPED: "skipped",
    BulkJob.Status.FAILED: "failed",
    BulkJob.Status.DONE: "delivered",
}


class OfUpload(admin.SimpleListFilter):
    """The deliveries that an upload listed, reached from its page; no choice of a thousand uploads is offered."""

    title = "upload"
    parameter_name = "upload"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:  # noqa: ARG002
        chosen = request.GET.get(self.parameter_name)
        return [(chosen, "Of one upload")] if chosen else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> QuerySet[Delivery]:  # noqa: ARG002
        public_id = _uuid(self.value() or "")
        if public_id is None:
            return queryset.none() if self.value() else queryset
        return queryset.filter(pk__in=among(_listed_in(Upload.objects.filter(public_id=public_id))))


class OpenFilter(admin.SimpleListFilter):
    """By whether an upload is still on its way."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:  # noqa: ARG002
        return [("open", "On its way"), ("refused", "With refused rows"), ("failed", "Failed as a whole")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Upload]) -> QuerySet[Upload]:  # noqa: ARG002
        wanted = {
            "open": queryset.filter(finished_at__isnull=True),
            "refused": queryset.filter(refused__gt=0),
            "failed": queryset.exclude(error=""),
        }
        return wanted.get(self.value() or "", queryset)


class HistoryInline(admin.TabularInline):  # type: ignore[type-arg]  # generic for the type checker only
    """Facts on the page of what they are about: read only."""

    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:  # noqa: ARG002
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:  # noqa: ARG002
        return False


class AttemptInline(HistoryInline):
    """The outcomes of one delivery that were not a delivery."""

    model = Attempt
    fields = ["created_at", "outcome", "error_code", "error_symbol", "error_message", "its_upload"]
    readonly_fields = ["its_upload"]
    ordering = ["-pk"]
    verbose_name_plural = "attempts that did not deliver"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Attempt]:
        return _without_heavy(super().get_queryset(request).select_related("upload"), "upload")

    @admin.display(description="Upload")
    def its_upload(self, attempt: Attempt) -> SafeString:
        return link_to(attempt.upload, _name_of(attempt.upload))


class CorrectionInline(HistoryInline):
    """What was said about a conversion after it happened, and what came of it."""

    model = Delivery
    fk_name = "original"
    fields = ["its_correction", "said_by", "kind", "amount", "badge", "skip_reason", "delivered_at"]
    readonly_fields = ["its_correction", "said_by", "amount", "badge"]
    ordering = ["pk"]
    verbose_name_plural = "corrections"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Delivery]:
        rows = super().get_queryset(request).exclude(kind=Kind.CONVERSION)
        return rows.select_related("correction__said_by")

    @admin.display(description="Said")
    def its_correction(self, delivery: Delivery) -> SafeString:
        return link_to(delivery, str(delivery.correction))

    @admin.display(description="By")
    def said_by(self, delivery: Delivery) -> str:
        return str(delivery.correction.said_by or "the site")

    @admin.display(description="Tells Microsoft")
    def amount(self, delivery: Delivery) -> str:
        return money(delivery.value, delivery.currency)

    @admin.display(description="Status")
    def badge(self, delivery: Delivery) -> SafeString:
        return badge(delivery.status, delivery.get_status_display())


@admin.register(Upload)
class UploadAdmin(HistoryAdmin):
    """Calls to Microsoft, with what its support asks for."""

    list_display = [
        "started",
        "tracking_id",
        "state",
        "its_account",
        "rows",
        "accepted",
        "refused",
        "seconds",
        "http_status",
        "takeovers",
    ]
    list_display_links = ["started"]
    list_filter = [OpenFilter, "operation", "started_at"]
    search_fields = ["tracking_id__exact"]
    search_help_text = "Microsoft's TrackingId, or an upload's ID, in full"
    list_select_related = ["account"]
    list_per_page = 50
    sortable_by = ()
    ordering = ["-pk"]
    fieldsets = [
        (None, {"fields": ["public_id", "account", "operation", "state", "its_deliveries", "its_attempts"]}),
        ("Call", {"fields": ["started_at", "finished_at", "seconds"]}),
        ("Microsoft's answer", {"fields": ["http_status", "tracking_id", "accepted", "refused", "error", "answer"]}),
        ("Worker", {"fields": ["leased_until", "takeovers"]}),
    ]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Upload], search_term: str
    ) -> tuple[QuerySet[Upload], bool]:
        public_id = _uuid(search_term.strip())
        if public_id is not None and queryset.filter(public_id=public_id).exists():
            return queryset.filter(public_id=public_id), False
        return super().get_search_results(request, queryset, search_term)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Upload]:
        return super().get_queryset(request).defer("answer")

    @admin.display(description="Started (UTC)")
    def started(self, upload: Upload) -> str:
        return moment(upload.started_at)

    @admin.display(description="State")
    def state(self, upload: Upload) -> SafeString:
        if upload.finished_at is None:
            return badge("pending", "On its way")
        if upload.error or upload.refused:
            return badge("failed", "Failed" if upload.error else f"{upload.refused} refused")
        return badge("delivered", "Delivered")

    @admin.display(description="Account")
    def its_account(self, upload: Upload) -> SafeString:
        return link_to(upload.account, upload.account.name)

    @admin.display(description="Rows")
    def rows(self, upload: Upload) -> int:
        return len(upload.delivery_ids)

    @admin.display(description="Deliveries")
    def its_deliveries(self, upload: Upload) -> SafeString:
        return link_to_list(Delivery, f"{len(upload.delivery_ids):,} deliveries", upload=upload.public_id)

    @admin.display(description="Attempts")
    def its_attempts(self, upload: Upload) -> SafeString:
        return link_to_list(Attempt, "Outcomes that were not a delivery", upload__id__exact=upload.pk)


@admin.register(Delivery)
class DeliveryAdmin(HandsAdmin, HistoryAdmin):
    """What Microsoft should know, and what became of it. Hashes of people are not shown, searched or exported."""

    list_display = [
        "created",
        "order",
        "badge_and_error",
        "event_and_goal",
        "amount",
        "its_account",
        "click",
        "its_upload",
    ]
    list_display_links = ["created", "order"]
    list_filter = [OfUpload, "status", "kind", "hold_reason", "skip_reason", "is_test", "created_at"]
    search_fields = ["transaction_id__exact", "msclkid__exact"]
    search_help_text = "Transaction ID, click ID, delivery ID or Microsoft's TrackingId, in full"
    list_select_related = ["account", "event", "last_upload"]
    sortable_by = ()
    ordering = ["-pk"]
    fieldsets = [
        (None, {"fields": ["public_id", "badge", "explanation", "account", "event", "its_upload", "original"]}),
        ("What is sent", {"fields": ["kind", "goal", "goal_name", "conversion_time", "adjustment_time", "amount"]}),
        ("What Microsoft counts", {"fields": ["restated_value", "retracted_at", "possibly_twice"]}),
        ("Which click", {"fields": ["click_id", "how_found", "clicked_at", "sends_hashes"]}),
        ("Which order", {"fields": ["transaction_id", "order_value", "order_source", "dedupe_key", "is_test"]}),
        ("When", {"fields": ["created_at", "next_attempt_at", "delivered_at", "expires_at", "changed_at"]}),
        ("Why", {"fields": ["skip_reason", "hold_reason", "attempts", "error_code", "error_symbol", "error_message"]}),
    ]
    inlines = [CorrectionInline, AttemptInline]
    actions = ACTIONS

    def get_search_results(
        self,
        request: HttpRequest,  # noqa: ARG002
        queryset: QuerySet[Delivery],
        search_term: str,
    ) -> tuple[QuerySet[Delivery], bool]:
        """Ask each index by itself: one OR over all of them would read the whole table."""
        term = search_term.strip()
        if not term:
            return queryset, False
        of_any_account = Delivery.objects.filter(account__in=AdAccount.objects.all())
        found = [
            *of_any_account.filter(transaction_id=term).values_list("pk", flat=True)[:MAX_ROWS_COUNTED],
            *of_any_account.filter(msclkid=term).values_list("pk", flat=True)[:MAX_ROWS_COUNTED],
            *_listed_in(Upload.objects.filter(tracking_id=term)),
        ]
        public_id = _uuid(term)
        if public_id is not None:
            found += Delivery.objects.filter(public_id=public_id).values_list("pk", flat=True)
        return queryset.filter(pk__in=among(found)), False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Delivery]:
        return _without_heavy(super().get_queryset(request), "last_upload")

    @admin.display(description="Created (UTC)")
    def created(self, delivery: Delivery) -> str:
        return moment(delivery.created_at)

    @admin.display(description="Transaction ID")
    def order(self, delivery: Delivery) -> str:
        return delivery.transaction_id or "No transaction"

    @admin.display(description="Status")
    def badge(self, delivery: Delivery) -> SafeString:
        badges = [(delivery.status, delivery.get_status_display())]
        if delivery.retracted_at is not None:
            badges.append(("retracted", "Retracted"))
        elif delivery.restated_value is not None:
            badges.append(("restated", "Restated"))
        return format_html_join(" ", '<span class="st st-{}">{}</span>', badges)

    @admin.display(description="Status and error")
    def badge_and_error(self, delivery: Delivery) -> SafeString:
        error = delivery.error_code or delivery.error_symbol
        return format_html("{}<small>{}</small>", self.badge(delivery), error) if error else self.badge(delivery)

    @admin.display(description="Explanation")
    def explanation(self, delivery: Delivery) -> str:
        words = words_of(delivery)
        return "" if words is None else " ".join(part for part in (f"{words.title}.", words.cause, words.fix) if part)

    @admin.display(description="Value")
    def amount(self, delivery: Delivery) -> str:
        return money(delivery.value, delivery.currency)

    @admin.display(description="Account")
    def its_account(self, delivery: Delivery) -> SafeString:
        return link_to(delivery.account, delivery.account.name)

    @admin.display(description="Click ID")
    def click(self, delivery: Delivery) -> SafeString:
        return format_html('<code title="{0}">{1}</code>', delivery.msclkid, _shortened(delivery.msclkid))

    @admin.display(description="Click ID")
    def click_id(self, delivery: Delivery) -> str:
        return delivery.msclkid or "–"

    @admin.display(description="How the click was found")
    def how_found(self, delivery: Delivery) -> str:
        if delivery.msclkid and delivery.click_source == ClickSource.NONE:
            return "–" if delivery.kind == Kind.CONVERSION else "As that of its conversion"
        return delivery.get_click_source_display()

    @admin.display(description="Event and goal")
    def event_and_goal(self, delivery: Delivery) -> SafeString:
        event = link_to(delivery.event, delivery.event.name)
        return format_html("{} → {}", event, delivery.goal_name) if delivery.goal_name else event

    @admin.display(description="Upload")
    def its_upload(self, delivery: Delivery) -> SafeString:
        return link_to(delivery.last_upload, _name_of(delivery.last_upload))

    @admin.display(description="Customer data", boolean=True)
    def sends_hashes(self, delivery: Delivery) -> bool:
        return bool(delivery.email_sha256 or delivery.phone_sha256)


@admin.register(Attempt)
class AttemptAdmin(HistoryAdmin):
    """Outcomes of deliveries that were not a delivery."""

    list_display = ["created", "its_delivery", "its_upload", "outcome", "error_code", "error_symbol", "error_message"]
    list_display_links = ["created"]
    list_filter = ["outcome", "created_at"]
    search_fields = ["error_symbol__exact", "upload__tracking_id__exact"]
    search_help_text = "Microsoft's error symbol or TrackingId, in full"
    list_select_related = ["delivery", "upload"]
    sortable_by = ()
    ordering = ["-pk"]
    fields = ["its_delivery", "its_upload", "outcome", "error_code", "error_symbol", "error_message", "created_at"]
    readonly_fields = ["its_delivery", "its_upload"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Attempt]:
        return _without_heavy(super().get_queryset(request), "upload")

    @admin.display(description="Time (UTC)")
    def created(self, attempt: Attempt) -> str:
        return moment(attempt.created_at)

    @admin.display(description="Delivery")
    def its_delivery(self, attempt: Attempt) -> SafeString:
        return link_to(attempt.delivery)

    @admin.display(description="Upload")
    def its_upload(self, attempt: Attempt) -> SafeString:
        return link_to(attempt.upload, _name_of(attempt.upload))


@admin.register(Correction)
class CorrectionAdmin(HistoryAdmin):
    """Refund ledgers, line by line: what was said about orders, by whom, and which delivery it became."""

    list_display = ["created", "said", "amount", "its_delivery", "occurred_at", "said_by"]
    list_display_links = ["created"]
    list_filter = ["said", "created_at"]
    search_fields = ["delivery__transaction_id__exact", "adjustment__adjustment_id__exact"]
    search_help_text = "Transaction ID or adjustment ID, in full"
    list_select_related = ["delivery", "said_by"]
    sortable_by = ()
    ordering = ["-pk"]
    fields = ["its_delivery", "said", "amount", "occurred_at", "adjustment", "said_by", "created_at"]
    readonly_fields = ["its_delivery", "amount"]

    @admin.display(description="Said (UTC)")
    def created(self, correction: Correction) -> str:
        return moment(correction.created_at)

    @admin.display(description="Value")
    def amount(self, correction: Correction) -> str:
        return money(correction.value, correction.currency)

    @admin.display(description="Delivery")
    def its_delivery(self, correction: Correction) -> SafeString:
        return link_to(correction.delivery)


@admin.register(DailyCount)
class DailyCountAdmin(HistoryAdmin):
    """The roll-up behind every figure on a page. `manage.py rebuild_counts` makes it anew."""

    list_display = ["day", "account", "event_name", "goal_or_reason", "badge", "note", "count", "amount"]
    list_filter = ["status", "currency", "day"]
    search_fields = ["event_name", "goal_name", "account__account_id", "account__name"]
    list_select_related = ["account"]
    ordering = ["-day", "account"]
    fields = ["day", "account", "event_name", "goal_or_reason", "badge", "note", "with_click", "count", "amount"]

    @admin.display(description="Goal, or why not forwarded", ordering="goal_name")
    def goal_or_reason(self, row: DailyCount) -> str:
        is_reason = row.status == Status.SKIPPED and row.goal_name in Skip.values
        return Skip(row.goal_name).label if is_reason else row.goal_name or "–"

    @admin.display(description="Status", ordering="status")
    def badge(self, row: DailyCount) -> SafeString:
        return badge(row.status, row.get_status_display())

    @admin.display(description="Note", ordering="error")
    def note(self, row: DailyCount) -> str:
        if row.error == ADJUSTED:
            return "What corrections changed of the value"
        if not row.error:
            return "–"
        is_code = row.error.isdecimal()
        words = words_for(int(row.error), "") if is_code else words_for(None, row.error)
        return f"{words.title} ({row.error})" if is_code else words.title

    @admin.display(description="Value", ordering="value")
    def amount(self, row: DailyCount) -> str:
        return money(row.value, row.currency)


@admin.register(EventDay)
class EventDayAdmin(HistoryAdmin):
    """What arrived on a site in a day, by event name. `manage.py rebuild_counts` makes it anew."""

    list_display = ["day", "site", "name", "count", "amount", "with_click"]
    list_filter = ["currency", "day"]
    search_fields = ["name", "site__name"]
    list_select_related = ["site"]
    ordering = ["-day", "site"]

    @admin.display(description="Value", ordering="value")
    def amount(self, row: EventDay) -> str:
        return money(row.value, row.currency)


@admin.register(EventName)
class EventNameAdmin(HistoryAdmin):
    """Event names that have rows of their own in the roll-ups. All others are counted together."""

    list_display = ["name", "site", "counted_since"]
    search_fields = ["name", "site__name"]
    list_select_related = ["site"]
    ordering = ["site", "name"]
    fields = ["name", "site", "counted_since", "created_at"]

    @admin.display(description="Since (UTC)", ordering="since")
    def counted_since(self, row: EventName) -> str:
        return "The beginning" if row.since == ALWAYS else moment(row.since)


@admin.register(AcceptedDay)
class AcceptedDayAdmin(HistoryAdmin):
    """What Microsoft accepted on a day, by goal and event name. `manage.py rebuild_counts` makes it anew."""

    list_display = ["day", "account", "goal", "event_name", "count", "currency"]
    list_filter = ["currency", "day"]
    search_fields = ["event_name", "account__account_id", "account__name"]
    list_select_related = ["account", "goal"]
    ordering = ["-day", "account"]


@admin.register(TestConversion)
class TestConversionAdmin(HistoryAdmin):
    """What people sent from the Test Center."""

    list_display = ["created_at", "account", "actor_name", "event", "delivery", "badge", "retract_after"]
    list_filter = ["created_at"]
    search_fields = ["actor_name", "account__account_id", "account__name"]
    list_select_related = ["account", "event", "delivery"]
    ordering = ["-pk"]

    @admin.display(description="Status")
    def badge(self, test: TestConversion) -> SafeString:
        if test.delivery is None:
            return badge("skipped", "Not sent")
        return badge(test.delivery.status, test.delivery.get_status_display())


@admin.register(BulkJob)
class BulkJobAdmin(HistoryAdmin):
    """Actions by hand over all deliveries of a filter."""

    list_display = ["created_at", "account", "what", "filters", "badge", "total", "changed", "actor_name"]
    list_filter = ["status", "action"]
    search_fields = ["actor_name", "account__account_id", "account__name"]
    list_select_related = ["account"]
    ordering = ["-pk"]

    @admin.display(description="Action", ordering="action")
    def what(self, job: BulkJob) -> str:
        return Action(job.action).label if job.action in Action.values else job.action

    @admin.display(description="Status", ordering="status")
    def badge(self, job: BulkJob) -> SafeString:
        return badge(_LOOKS_OF_A_JOB[BulkJob.Status(job.status)], job.get_status_display())


@admin.register(Attribution)
class AttributionAdmin(HistoryAdmin):
    """What Microsoft said of a goal's uploads of a day."""

    list_display = ["day", "account", "goal_name", "success", "unattributed", "read_at"]
    list_filter = ["day"]
    search_fields = ["goal_name", "account__account_id", "account__name"]
    list_select_related = ["account"]
    ordering = ["-day", "account"]


@admin.register(Breaker)
class BreakerAdmin(HistoryAdmin):
    """What all accounts share and has failed too often in a row: one call is let through now and then to see."""

    list_display = ["name", "failures", "open_until", "probing_until"]


@admin.register(Alert)
class AlertAdmin(HistoryAdmin):
    """What people were told, and when it was over."""

    list_display = ["opened_at", "subject", "organisation", "told_at", "resolved_at"]
    list_filter = [("resolved_at", admin.EmptyFieldListFilter), "opened_at"]
    search_fields = ["cause__exact", "organisation__name"]
    search_help_text = "Cause in full, or a customer's name"
    list_select_related = ["organisation"]
    sortable_by = ()
    ordering = ["-pk"]


@admin.register(Heartbeat)
class HeartbeatAdmin(HistoryAdmin):
    """When the worker's tasks last came back."""

    list_display = ["name", "beat_at"]


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _listed_in(uploads: QuerySet[Upload]) -> list[int]:
    """Return the deliveries that these uploads list; uploads that share a TrackingId are few."""
    return [pk for ids in uploads.values_list("delivery_ids", flat=True)[:10] for pk in ids]


def _without_heavy(rows: QuerySet[Row], upload: str) -> QuerySet[Row]:
    return rows.defer(*(f"{upload}__{name}" for name in HEAVY_OF_AN_UPLOAD))


def _name_of(upload: Upload | None) -> str:
    """Return the first characters of what Microsoft's support knows it by; its page has all of them."""
    return "" if upload is None else f"{upload.tracking_id or upload.public_id}"[:8]


def _shortened(click_id: str) -> str:
    return f"{click_id[:6]}…{click_id[-5:]}" if len(click_id) > 12 else click_id
