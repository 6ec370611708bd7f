"""Ties to Microsoft: whose sign-in we hold, which accounts it reaches, their goals and what maps to them."""

import uuid
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from convultra.fields import EncryptedText
from ingest.models import VALUE_DECIMALS, VALUE_DIGITS, Event, Site
from integrations.signals import accounts_freed

if TYPE_CHECKING:
    from django.contrib.auth.models import User

MAX_GOAL_NAME_CHARS = 100  # cm/offlineconversiongoal: Name
MAX_EVENT_NAME_CHARS = 64
MAX_CONDITION_CHARS = 200


class Connection(models.Model):
    """One Microsoft sign-in of a site. Its tokens are never shown, exported or logged."""

    class Status(models.TextChoices):
        CONNECTED = "connected", "Connected"
        NEEDS_RECONNECT = "needs_reconnect", "Needs reconnect"
        NEEDS_OPERATOR = "needs_operator", "Needs the operator"

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="connections")
    microsoft_user_id = models.CharField(max_length=32)
    microsoft_user_name = models.CharField(max_length=254, blank=True, default="")
    access_token = EncryptedText(blank=True, default="")
    refresh_token = EncryptedText(blank=True, default="")
    # Kept until its successor has worked: a crash between Microsoft's answer and our commit must not lock us out.
    previous_refresh_token = EncryptedText(blank=True, default="")
    expires_at = models.DateTimeField(null=True, blank=True)
    token_version = models.PositiveIntegerField(default=0)
    # Set by the one process that is renewing the pair now; nobody else renews before this moment.
    refreshing_until = models.DateTimeField(null=True, blank=True)
    renewed_at = models.DateTimeField(null=True, blank=True)
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.CONNECTED)
    last_error = models.CharField(max_length=500, blank=True, default="")
    failed_at = models.DateTimeField(null=True, blank=True)
    connected_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    connected_at = models.DateTimeField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["site", "microsoft_user_id"], name="connection_once_per_microsoft_user")
        ]

    def __str__(self) -> str:
        return self.microsoft_user_name or self.microsoft_user_id

    @property
    def is_usable(self) -> bool:
        """Say whether calls may be made with this sign-in."""
        return self.status == self.Status.CONNECTED


class AdAccountQuerySet(models.QuerySet["AdAccount"]):
    """Adjectives of accounts, and the only door to one from a page."""

    def for_user(self, user: "User") -> "AdAccountQuerySet":
        """Return the accounts of the sites that the user may see."""
        return self.filter(site__in=Site.objects.for_user(user))

    def active(self) -> "AdAccountQuerySet":
        """Return the accounts that conversions are forwarded to."""
        return self.filter(is_active=True)


class AdAccount(models.Model):
    """A Microsoft Advertising account of a site, with its own goals, mapping, tag and logs."""

    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="ad_accounts")
    connection = models.ForeignKey(Connection, on_delete=models.RESTRICT, related_name="ad_accounts")
    account_id = models.CharField(max_length=32)
    # The account's ParentCustomerId, which the CustomerId header wants; never an agency's own id.
    customer_id = models.CharField(max_length=32)
    number = models.CharField(max_length=16, blank=True, default="")
    name = models.CharField(max_length=200)
    currency = models.CharField(max_length=3, blank=True, default="")
    time_zone = models.CharField(max_length=64, blank=True, default="")
    life_cycle_status = models.CharField(max_length=16, default="Active")
    uet_tag_id = models.CharField(max_length=32, blank=True, default="")
    enhanced_conversions = models.BooleanField(default=False)
    # False once the account was removed from its site: nothing is planned for it any more.
    is_active = models.BooleanField(default=True)
    # Since when a person has forwarding switched off: conversions are planned and wait.
    paused_at = models.DateTimeField(null=True, blank=True)
    auto_tagging = models.BooleanField(null=True, blank=True)
    hold_reason = models.CharField(max_length=16, blank=True, default="")
    held_until = models.DateTimeField(null=True, blank=True)
    # The most that goes into one call while Microsoft refuses whole batches; null is its own limit, a thousand.
    batch_limit = models.PositiveSmallIntegerField(null=True, blank=True)
    # How many more rows go out in small calls before the limit above is lifted; null: until the cause is found.
    limited_rows = models.PositiveIntegerField(null=True, blank=True)
    # Calls in a row that Microsoft did not serve: the account's circuit breaker counts them.
    failed_calls = models.PositiveIntegerField(default=0)
    # Whether a backend's value that comes after the browser's was sent corrects it at Microsoft.
    restates_from_backend = models.BooleanField(default=True)
    goals_synced_at = models.DateTimeField(null=True, blank=True)
    # When the worker reads the goals anew; moved on before it does, so that a failing account is not asked for ever.
    next_sync_at = models.DateTimeField(default=timezone.now)
    # The same for Microsoft's report of what it attributed; `report_error` says why the last reading failed.
    next_report_at = models.DateTimeField(default=timezone.now)
    report_read_at = models.DateTimeField(null=True, blank=True)
    report_error = models.CharField(max_length=500, blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = AdAccountQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["site", "account_id"], name="ad_account_once_per_site")]

    def __str__(self) -> str:
        return f"{self.name} ({self.account_id})"

    def lift_hold(self) -> bool:
        """Let the account send again now, before its hold ends by itself; False when nothing held it.

        Where the cause is still there, the next call holds it anew.
        """
        held = AdAccount.objects.filter(pk=self.pk).exclude(hold_reason="", held_until=None)
        is_lifted = bool(held.update(hold_reason="", held_until=None, failed_calls=0))
        if is_lifted:
            accounts_freed.send(AdAccount, account_ids=[self.pk])
        return is_lifted


class ConversionGoal(models.Model):
    """An offline conversion goal as Microsoft last described it. Uploads name it by its exact name."""

    account = models.ForeignKey(AdAccount, on_delete=models.CASCADE, related_name="goals")
    goal_id = models.CharField(max_length=32)
    name = models.CharField(max_length=MAX_GOAL_NAME_CHARS)
    goal_type = models.CharField(max_length=32, default="OfflineConversion")
    status = models.CharField(max_length=16, default="Active")
    count_type = models.CharField(max_length=16, blank=True, default="")
    category = models.CharField(max_length=32, blank=True, default="")
    scope = models.CharField(max_length=16, blank=True, default="")
    window_minutes = models.PositiveIntegerField(null=True, blank=True)
    revenue_type = models.CharField(max_length=16, blank=True, default="")
    revenue_currency = models.CharField(max_length=3, blank=True, default="")
    is_enhanced = models.BooleanField(null=True, blank=True)
    # When the goal appeared between two readings; null when it was there at the account's first reading, because
    # Microsoft does not say when a goal was created.
    first_seen_at = models.DateTimeField(null=True, blank=True)
    synced_at = models.DateTimeField()
    # Set when Microsoft no longer lists it.
    gone_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["account", "goal_id"], name="goal_once_per_account")]

    def __str__(self) -> str:
        return self.name

    @property
    def is_available(self) -> bool:
        """Say whether Microsoft would take a conversion for this goal."""
        return self.gone_at is None and self.status == "Active"

    def settles_at(self, settle: timedelta) -> datetime | None:
        """Return when Microsoft starts to take conversions for it (5615); None when it is old enough to ask nothing."""
        return None if self.first_seen_at is None else self.first_seen_at + settle


class ValueRule(models.TextChoices):
    """Which value travels with a conversion."""

    EVENT = "event", "From event"
    FIXED = "fixed", "Fixed value"
    NONE = "none", "No value"


class GoalMapping(models.Model):
    """An event name's goal in one account: a production contract, so every change is kept in `MappingChange`."""

    account = models.ForeignKey(AdAccount, on_delete=models.CASCADE, related_name="mappings")
    event_name = models.CharField(max_length=MAX_EVENT_NAME_CHARS)
    goal = models.ForeignKey(ConversionGoal, on_delete=models.RESTRICT, related_name="mappings")
    value_rule = models.CharField(max_length=8, choices=ValueRule.choices, default=ValueRule.EVENT)
    fixed_value = models.DecimalField(max_digits=VALUE_DIGITS, decimal_places=VALUE_DECIMALS, null=True, blank=True)
    # What an event must satisfy to be forwarded, such as `value >= 50`; empty means every event.
    condition = models.CharField(max_length=MAX_CONDITION_CHARS, blank=True, default="")
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["account", "event_name"], name="mapping_once_per_event_name"),
            models.CheckConstraint(
                condition=~Q(value_rule="fixed") | Q(fixed_value__isnull=False), name="mapping_fixed_has_value"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.event_name} → {self.goal}"

    def value_of(self, event: Event) -> Decimal | None:
        """Return what the event is worth under this mapping; None sends no value."""
        if self.value_rule == ValueRule.FIXED:
            return self.fixed_value
        return event.value if self.value_rule == ValueRule.EVENT else None


class MappingChange(models.Model):
    """One change of a mapping: who, when, from what to what. Written once, never edited."""

    account = models.ForeignKey(AdAccount, on_delete=models.CASCADE, related_name="mapping_changes")
    event_name = models.CharField(max_length=MAX_EVENT_NAME_CHARS)
    # `{"goal": name, "goal_id": id, "value": "event" | "none" | "12.5", "when": text}`; empty when there was none.
    before = models.JSONField(default=dict)
    after = models.JSONField(default=dict)
    changed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField()

    class Meta:
        # The mapping page's history: newest first.
        indexes = [models.Index(fields=["account", "-created_at"], name="mapping_change_newest")]

    def __str__(self) -> str:
        return f"{self.event_name} on {self.created_at:%Y-%m-%d}"
