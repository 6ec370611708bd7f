"""What we sent: one row per thing Microsoft should know, one per call, one per outcome that was not a delivery.

The guarantee: at least once on the wire, counted once. Microsoft keeps the first of identical keys, and the key of
a `Delivery` (click id or hashes, goal name, conversion time) never changes once an `Upload` has listed it.
"""

import uuid
from datetime import datetime
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models
from django.db.models import Q

from ingest.models import (
    MAX_ID_CHARS,
    MAX_NAME_CHARS,
    VALUE_DECIMALS,
    VALUE_DIGITS,
    Adjustment,
    Event,
    Organisation,
    Site,
    Source,
)
from integrations.models import MAX_GOAL_NAME_CHARS, AdAccount, ConversionGoal, ValueRule

if TYPE_CHECKING:
    from django.contrib.auth.models import User

MAX_KEY_CHARS = 200
# Begins the key of a row that stands for no order: another event of its order may still be sent.
NO_LANE = "skip:"
# What the roll-ups count names as that have no rows of their own. No event's name has a space in it.
OTHER_NAMES = "Other event names"
# In the roll-up, beside what was delivered: what corrections changed of its value.
ADJUSTED = "Adjusted"
MAX_MESSAGE_CHARS = 1000
MAX_SYMBOL_CHARS = 100


class Kind(models.TextChoices):
    """What Microsoft is told."""

    CONVERSION = "conversion", "Conversion"
    RESTATE = "restate", "Restatement"
    RETRACT = "retract", "Retraction"


class Status(models.TextChoices):
    """Exactly the words the pages print; `skipped` is shown with events, not among the four."""

    PENDING = "pending", "Pending"
    RETRYING = "retrying", "Retrying"
    DELIVERED = "delivered", "Delivered"
    FAILED = "failed", "Failed"
    SKIPPED = "skipped", "Not forwarded"


WAITING = (Status.PENDING, Status.RETRYING)


class Hold(models.TextChoices):
    """Why a waiting delivery is not sent now. A hold burns no attempt and goes when its cause is gone."""

    RECONNECT = "reconnect", "Waits for the Microsoft sign-in to be renewed"
    PERMISSION = "permission", "Waits for access to the account"
    THROTTLED = "throttled", "Microsoft asked us to slow down"
    GOAL_MISSING = "goal_missing", "Waits for its goal"
    GOAL_TOO_NEW = "goal_too_new", "Waits until the new goal takes conversions"
    CLICK_SETTLING = "click_settling", "Waits an hour after the click"
    ACCOUNT_INACTIVE = "account_inactive", "Waits for the account to be active"
    ORIGINAL_PENDING = "original_pending", "Waits for the original conversion"
    OPERATOR = "operator", "Waits for the operator"
    CONFIRMATION = "confirmation", "Waits for the backend to confirm the order"
    UNAVAILABLE = "unavailable", "Microsoft is not answering"
    BY_HAND = "by_hand", "Held by a person"


class Skip(models.TextChoices):
    """Why an event is not forwarded to an account: one reason, the first that applies."""

    NOT_MAPPED = "not_mapped", "No goal mapped"
    FILTERED = "filtered", "Left out by the mapping's condition"
    NO_CONSENT = "no_consent", "Ad consent refused"
    TOO_OLD = "too_old", "Older than 90 days"
    NO_IDENTIFIER = "no_identifier", "No Microsoft click ID"
    SAME_ORDER = "same_order", "Same order sent twice"
    SAME_SECOND = "same_second", "Too many in one second"
    UNCONFIRMED = "unconfirmed", "Not confirmed by the backend"
    CANCELLED = "cancelled", "Refunded before it was sent"
    CALLED_OFF = "called_off", "Cancelled by a person"
    # Of corrections.
    APPLIED = "applied", "Corrected before it was sent"
    SUPERSEDED = "superseded", "A newer correction replaced it"
    NO_CHANGE = "no_change", "Nothing to correct"
    RETRACTED = "retracted", "Already retracted"
    OTHER_CURRENCY = "other_currency", "In another currency"
    NO_ORDER = "no_order", "A refund without its order"
    NOT_FORWARDED = "not_forwarded", "Its order was not forwarded"
    PUBLIC_KEY = "public_key", "A refund that a page reported"


class ClickSource(models.TextChoices):
    """How a delivery's click id was found."""

    NONE = "", "No click ID"
    EVENT = "event", "Sent with the event"
    VISITOR = "visitor", "Same visitor"
    SESSION = "session", "Same session"
    EXTERNAL_ID = "external_id", "Same customer ID"
    TRANSACTION = "transaction", "Same transaction"
    EMAIL = "email", "Same email"
    PHONE = "phone", "Same phone"


class Operation(models.TextChoices):
    """The two calls that carry deliveries."""

    CONVERSIONS = "conversions", "OfflineConversions/Apply"
    ADJUSTMENTS = "adjustments", "OfflineConversionAdjustments/Apply"

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds of delivery this call carries."""
        return (Kind.CONVERSION,) if self is Operation.CONVERSIONS else (Kind.RESTATE, Kind.RETRACT)


class Upload(models.Model):
    """One batch on its way. Opening it is the claim; its lease says until when it belongs to whoever opened it."""

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    account = models.ForeignKey(AdAccount, on_delete=models.CASCADE, related_name="uploads")
    operation = models.CharField(max_length=12, choices=Operation.choices)
    # The deliveries in the order they are sent: PartialErrors speak of them by index.
    delivery_ids = models.JSONField()
    lease_token = models.UUIDField(default=uuid.uuid4)
    leased_until = models.DateTimeField()
    takeovers = models.PositiveSmallIntegerField(default=0)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    seconds = models.FloatField(null=True, blank=True)
    http_status = models.PositiveSmallIntegerField(null=True, blank=True)
    tracking_id = models.CharField(max_length=64, blank=True, default="")
    accepted = models.PositiveSmallIntegerField(default=0)
    refused = models.PositiveSmallIntegerField(default=0)
    # What went wrong with the whole call, and Microsoft's raw answer when it was not a plain success.
    error = models.CharField(max_length=MAX_MESSAGE_CHARS, blank=True, default="")
    answer = models.TextField(blank=True, default="")
    # It carries one test conversion and nothing else: no turn of what customers' orders wait for.
    is_test = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["account", "operation"], condition=Q(finished_at__isnull=True), name="upload_one_open"
            )
        ]
        indexes = [
            models.Index(fields=["account", "-started_at"], name="upload_newest"),
            # When Microsoft last accepted something, on every page: an account may have failed for weeks since.
            models.Index(fields=["account", "-started_at"], name="upload_newest_accepted", condition=Q(accepted__gt=0)),
            # Search by Microsoft's TrackingId.
            models.Index(fields=["account", "tracking_id"], name="upload_by_tracking", condition=~Q(tracking_id="")),
        ]

    def __str__(self) -> str:
        what = "Conversions" if self.operation == Operation.CONVERSIONS else "Corrections"
        return f"{what} sent on {self.started_at:%b} {self.started_at.day} at {self.started_at:%H:%M:%S}"


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    """Adjectives of deliveries, and the only door to one from a page."""

    def for_user(self, user: "User") -> "DeliveryQuerySet":
        """Return the deliveries of the sites that the user may see."""
        return self.filter(account__in=AdAccount.objects.for_user(user))

    def forwarded(self) -> "DeliveryQuerySet":
        """Return what Forward Logs list: everything but the skipped."""
        return self.exclude(status=Status.SKIPPED)

    def due(self, now: datetime) -> "DeliveryQuerySet":
        """Return what may be sent now, the longest waiting first. Whether its account may send is not asked here.

        What a person holds never is, not even in its last minute.
        """
        waiting = self.filter(status__in=WAITING, next_attempt_at__lte=now).exclude(hold_reason=Hold.BY_HAND)
        return waiting.order_by("next_attempt_at", "pk")

    def too_old(self, now: datetime) -> "DeliveryQuerySet":
        """Return what waited until Microsoft would refuse it as too old, the oldest first."""
        waiting = self.filter(status__in=WAITING, next_attempt_at__isnull=False)
        return waiting.filter(expires_at__lte=now).order_by("expires_at")


# With these very words PostgreSQL knows that an index has all such rows.
HAS_ERROR = Q(error_code__isnull=False) | ~Q(error_symbol="")


class Delivery(models.Model):
    """One thing Microsoft should know, and what became of it."""

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    # No index of its own: several below begin with the account.
    account = models.ForeignKey(AdAccount, on_delete=models.CASCADE, related_name="deliveries", db_index=False)
    event = models.ForeignKey(Event, on_delete=models.CASCADE, related_name="deliveries")
    kind = models.CharField(max_length=12, choices=Kind.choices, default=Kind.CONVERSION)
    # The conversion that a correction is of; of a skipped event of the same order, the one that stands for it.
    original = models.ForeignKey(
        "self", on_delete=models.RESTRICT, null=True, blank=True, related_name="adjustments", db_index=False
    )
    # The goal with the transaction id, or with the event id where there is none; `dedupe_key` below makes it.
    dedupe_key = models.CharField(max_length=MAX_KEY_CHARS)
    goal = models.ForeignKey(ConversionGoal, on_delete=models.RESTRICT, null=True, blank=True, related_name="+")
    goal_name = models.CharField(max_length=MAX_GOAL_NAME_CHARS, blank=True, default="")
    # The exact string that is sent, `2026-11-21T09:30:00Z`: part of Microsoft's key, repeated by adjustments.
    conversion_time = models.CharField(max_length=20, blank=True, default="")
    adjustment_time = models.CharField(max_length=20, blank=True, default="")
    msclkid = models.CharField(max_length=40, blank=True, default="")
    click_source = models.CharField(max_length=12, choices=ClickSource.choices, blank=True, default=ClickSource.NONE)
    clicked_at = models.DateTimeField(null=True, blank=True)
    email_sha256 = models.CharField(max_length=64, blank=True, default="")
    phone_sha256 = models.CharField(max_length=64, blank=True, default="")
    value = models.DecimalField(max_digits=VALUE_DIGITS, decimal_places=VALUE_DECIMALS, null=True, blank=True)
    currency = models.CharField(max_length=3, blank=True, default="")
    # What the order is worth by its events, before corrections, and whose word that is.
    order_value = models.DecimalField(max_digits=VALUE_DIGITS, decimal_places=VALUE_DECIMALS, null=True, blank=True)
    order_currency = models.CharField(max_length=3, blank=True, default="")
    order_source = models.CharField(max_length=8, choices=Source.choices, blank=True, default="")
    value_rule = models.CharField(max_length=8, choices=ValueRule.choices, default=ValueRule.EVENT)
    # What Microsoft counts after the corrections that were delivered; null while `value` stands.
    restated_value = models.DecimalField(max_digits=VALUE_DIGITS, decimal_places=VALUE_DECIMALS, null=True, blank=True)
    retracted_at = models.DateTimeField(null=True, blank=True)
    transaction_id = models.CharField(max_length=MAX_ID_CHARS, blank=True, default="")
    is_test = models.BooleanField(default=False)

    status = models.CharField(max_length=10, choices=Status.choices, default=Status.PENDING)
    skip_reason = models.CharField(max_length=16, choices=Skip.choices, blank=True, default="")
    hold_reason = models.CharField(max_length=16, choices=Hold.choices, blank=True, default="")
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True, blank=True)
    # 90 days after the conversion, less a margin: from then on Microsoft refuses it (5609).
    expires_at = models.DateTimeField(null=True, blank=True)
    delivered_at = models.DateTimeField(null=True, blank=True)
    # Sent again after an unknown outcome, without a click id: Microsoft documents no key that would drop the second.
    possibly_twice = models.BooleanField(default=False)
    error_code = models.IntegerField(null=True, blank=True)
    error_symbol = models.CharField(max_length=MAX_SYMBOL_CHARS, blank=True, default="")
    error_message = models.CharField(max_length=MAX_MESSAGE_CHARS, blank=True, default="")
    last_upload = models.ForeignKey(Upload, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField()
    # Moves with every change, so that a live page can ask what is newer than what it shows.
    changed_at = models.DateTimeField()

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "deliveries"
        constraints = [
            models.UniqueConstraint(fields=["account", "kind", "dedupe_key"], name="delivery_once"),
        ]
        indexes = [
            # forwarding.sending.claims: what is due in an account, the longest waiting first. Only what waits has a
            # next attempt; with a status in the condition SQLite could not use it, as it does not look into parameters.
            models.Index(
                fields=["account", "next_attempt_at", "id"],
                name="delivery_due",
                condition=Q(next_attempt_at__isnull=False),
            ),
            # Forward Logs: newest page, and pages by key.
            models.Index(fields=["account", "-created_at", "-id"], name="delivery_newest"),
            # Forward Logs by status, where the status is not the common one.
            models.Index(
                fields=["account", "status", "-created_at", "-id"],
                name="delivery_undelivered",
                condition=~Q(status="delivered"),
            ),
            # Forward Logs by error, whatever became of it: what a list asks of such rows stands in the index itself.
            models.Index(
                fields=["account", "-created_at", "-id", "error_code", "error_symbol", "status", "kind", "is_test"],
                name="delivery_with_error",
                condition=HAS_ERROR,
            ),
            # Search by order and by click.
            models.Index(
                fields=["account", "transaction_id"], name="delivery_by_transaction", condition=~Q(transaction_id="")
            ),
            models.Index(fields=["account", "msclkid"], name="delivery_by_click", condition=~Q(msclkid="")),
            # Planning: other conversions of the same person in the same second, where no click id tells them apart.
            models.Index(
                fields=["account", "email_sha256", "phone_sha256"],
                name="delivery_by_hash",
                condition=Q(msclkid="") & ~Q(email_sha256="", phone_sha256=""),
            ),
            # Corrections of a conversion, in sequence.
            models.Index(fields=["original"], name="delivery_of_original", condition=Q(original__isnull=False)),
            # The sweep: what has waited until it is too old.
            models.Index(fields=["expires_at"], name="delivery_expiring", condition=Q(next_attempt_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.transaction_id or self.public_id}"


class Attempt(models.Model):
    """A delivery's outcome in an upload, written only when it did not end delivered."""

    class Outcome(models.TextChoices):
        REFUSED = "refused", "Refused"
        RETRY = "retry", "Not taken, tried again"
        UNKNOWN = "unknown", "Outcome unknown"

    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="attempt_rows")
    upload = models.ForeignKey(Upload, on_delete=models.CASCADE, related_name="attempt_rows")
    outcome = models.CharField(max_length=8, choices=Outcome.choices)
    error_code = models.IntegerField(null=True, blank=True)
    error_symbol = models.CharField(max_length=MAX_SYMBOL_CHARS, blank=True, default="")
    error_message = models.CharField(max_length=MAX_MESSAGE_CHARS, blank=True, default="")
    created_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["delivery", "upload"], name="attempt_once_per_upload")]

    def __str__(self) -> str:
        return f"{self.outcome} {self.error_code or self.error_symbol}"


class Said(models.TextChoices):
    """What was said about an order after it happened."""

    REFUND = "refund", "Refund"
    RESTATE = "restate", "New total"
    RETRACT = "retract", "Does not count"
    ORDER = "order", "The backend's value"


class Correction(models.Model):
    """One line of a conversion's refund ledger: what was said about it. `delivery` is what came of it.

    A line is never changed. `forwarding/corrections/ledger.py` makes the running value of all of them.
    """

    delivery = models.OneToOneField(Delivery, on_delete=models.CASCADE, related_name="correction")
    said = models.CharField(max_length=8, choices=Said.choices)
    # Of a refund what was given back, null for all of it; otherwise the new total.
    value = models.DecimalField(max_digits=VALUE_DIGITS, decimal_places=VALUE_DECIMALS, null=True, blank=True)
    currency = models.CharField(max_length=3, blank=True, default="")
    occurred_at = models.DateTimeField()
    adjustment = models.ForeignKey(Adjustment, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    said_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.get_said_display()} {self.value or ''}".rstrip()


class DailyCount(models.Model):
    """How many deliveries of a day are in a status, and what they are worth: pages read this, never count rows.

    The day is the UTC day of the delivery's `created_at`. A row moves from one status to another with every mark;
    `manage.py rebuild_counts` makes the table anew from the deliveries.
    """

    account = models.ForeignKey(AdAccount, on_delete=models.CASCADE, related_name="daily_counts")
    day = models.DateField()
    event_name = models.CharField(max_length=MAX_NAME_CHARS, blank=True, default="")
    # The goal's name, or the skip reason of what is not forwarded.
    goal_name = models.CharField(max_length=MAX_GOAL_NAME_CHARS, blank=True, default="")
    status = models.CharField(max_length=10, choices=Status.choices)
    # Of what failed: Microsoft's code, or the symbol where there is none. ADJUSTED in a row beside that of what was
    # delivered: it counts none, and is worth what corrections added to these conversions, or took from them.
    error = models.CharField(max_length=MAX_SYMBOL_CHARS, blank=True, default="")
    # Whether a click id goes with it, or would.
    with_click = models.BooleanField(default=False)
    currency = models.CharField(max_length=3, blank=True, default="")
    count = models.IntegerField(default=0)
    value = models.DecimalField(max_digits=21, decimal_places=VALUE_DECIMALS, default=0)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["account", "day", "event_name", "goal_name", "status", "error", "with_click", "currency"],
                name="daily_count_once",
            )
        ]

    def __str__(self) -> str:
        return f"{self.day} {self.goal_name} {self.status}: {self.count}"


class AcceptedDay(models.Model):
    """How many conversions Microsoft accepted on a day, by goal and event name: what its report of that day is of.

    The day is the UTC day of `delivered_at`. Corrections and tests are left out. Kept with `DailyCount`.
    """

    account = models.ForeignKey(AdAccount, on_delete=models.CASCADE, related_name="accepted_days")
    day = models.DateField()
    goal = models.ForeignKey(ConversionGoal, on_delete=models.CASCADE, related_name="+")
    event_name = models.CharField(max_length=MAX_NAME_CHARS, blank=True, default="")
    currency = models.CharField(max_length=3, blank=True, default="")
    count = models.IntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["account", "day", "goal", "event_name", "currency"], name="accepted_day_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.day} {self.goal} {self.event_name}: {self.count}"


class EventDay(models.Model):
    """What arrived on a site in a day, by event name: pages read this, never count events.

    The day is the UTC day of `received_at`. Kept by the planner, which sees each event once and knows whether a click
    was found for it; tests are left out. `manage.py rebuild_counts` makes it anew.
    """

    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="event_days")
    day = models.DateField()
    name = models.CharField(max_length=MAX_NAME_CHARS)
    currency = models.CharField(max_length=3, blank=True, default="")
    count = models.IntegerField(default=0)
    value = models.DecimalField(max_digits=21, decimal_places=VALUE_DECIMALS, default=0)
    # Of these, the ones that came from an ad of Microsoft's as far as we know: a click id was there, or was found.
    with_click = models.IntegerField(default=0)
    click_value = models.DecimalField(max_digits=21, decimal_places=VALUE_DECIMALS, default=0)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["site", "day", "name", "currency"], name="event_day_once")]

    def __str__(self) -> str:
        return f"{self.day} {self.name}: {self.count}"


class EventName(models.Model):
    """A name of a site that has rows of its own in the roll-ups; all others are counted as OTHER_NAMES there.

    `forwarding/rows/own_names.py` decides which.
    """

    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="event_names", db_index=False)
    name = models.CharField(max_length=MAX_NAME_CHARS)
    # What is planned from this moment on has the name; what came before stays where it was counted.
    since = models.DateTimeField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["site", "name"], name="event_name_once")]

    def __str__(self) -> str:
        return self.name


class Attribution(models.Model):
    """What Microsoft later said of a goal's uploads of one day, read from its report; each reading writes it anew."""

    account = models.ForeignKey(AdAccount, on_delete=models.CASCADE, related_name="attributions")
    # Microsoft's id and name of the goal, as the report had them: the goal may be gone meanwhile.
    goal_id = models.CharField(max_length=32)
    goal_name = models.CharField(max_length=MAX_GOAL_NAME_CHARS)
    # The report's UploadDate.
    day = models.DateField()
    success = models.PositiveIntegerField(default=0)
    unattributed = models.PositiveIntegerField(default=0)
    # `{"NoMatchingClickFound": 41}`: Microsoft's symbols and how often.
    reasons = models.JSONField(default=dict)
    read_at = models.DateTimeField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["account", "goal_id", "day"], name="attribution_once")]

    def __str__(self) -> str:
        return f"{self.day} {self.goal_name}: {self.success} of {self.success + self.unattributed}"


class TestConversion(models.Model):
    """A conversion that a person sent from the Test Center: the whole road, once, never tried again."""

    __test__ = False  # no test case

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    account = models.ForeignKey(AdAccount, on_delete=models.CASCADE, related_name="test_conversions")
    # Minted with the form, so that a double click sends one.
    token = models.UUIDField(unique=True)
    event = models.ForeignKey(Event, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    delivery = models.ForeignKey(Delivery, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    # What the doctor found before it was sent: `[{"check": …, "state": "ok" | "warn" | "bad" | "wait", "note": …}]`.
    checks = models.JSONField(default=list)
    retract_after = models.BooleanField(default=True)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    actor_name = models.CharField(max_length=254)
    created_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["account", "-created_at"], name="test_conversion_newest")]

    def __str__(self) -> str:
        return f"Test of {self.account} on {self.created_at:%Y-%m-%d}"


class BulkJob(models.Model):
    """One action by hand over all deliveries of a filter, done by a worker batch by batch, the oldest first."""

    class Status(models.TextChoices):
        RUNNING = "running", "Running"
        STOPPED = "stopped", "Stopped"
        FAILED = "failed", "Failed"
        DONE = "done", "Done"

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    account = models.ForeignKey(AdAccount, on_delete=models.CASCADE, related_name="bulk_jobs")
    # One of `forwarding.hands.rules.Action`; a restatement's new value goes with it.
    action = models.CharField(max_length=12)
    value = models.DecimalField(max_digits=VALUE_DIGITS, decimal_places=VALUE_DECIMALS, null=True, blank=True)
    # The filter as the page's address writes it, and the moment it was judged at: later rows are not its business.
    filters = models.CharField(max_length=1000, blank=True, default="")
    status = models.CharField(max_length=8, choices=Status.choices, default=Status.RUNNING)
    # How many rows the forecast counted, how many were gone through, and what became of them.
    total = models.PositiveIntegerField(default=0)
    seen = models.PositiveIntegerField(default=0)
    changed = models.PositiveIntegerField(default=0)
    refused = models.JSONField(default=dict)
    # The last row that was gone through: where the next batch begins.
    last_delivery_id = models.BigIntegerField(default=0)
    # How many times in a row its next batch ended in an error.
    failures = models.PositiveSmallIntegerField(default=0)
    # When a worker was last asked to go on.
    rung_at = models.DateTimeField(null=True, blank=True)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    actor_name = models.CharField(max_length=254)
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    # When somebody had read the result; until then it stays on the page.
    dismissed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [
            models.Index(fields=["account", "-id"], name="bulk_job_newest"),
            # The sweep: what a worker has to go on with.
            models.Index(fields=["id"], name="bulk_job_running", condition=Q(status="running")),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.filters}"


class Breaker(models.Model):
    """A circuit breaker for what all accounts share. Open, it lets one call through now and then to see."""

    name = models.CharField(max_length=32, unique=True)
    failures = models.PositiveIntegerField(default=0)
    open_until = models.DateTimeField(null=True, blank=True)
    probing_until = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.name}: {self.failures} failures"


class Alert(models.Model):
    """Something that somebody was told about, and when it was over. `forwarding/alerts/alerts.py` finds the causes."""

    # Such as `reconnect:17`: one open alert per cause.
    cause = models.CharField(max_length=100)
    # Whose people are told; null: the operator of this server.
    organisation = models.ForeignKey(
        Organisation, on_delete=models.CASCADE, null=True, blank=True, related_name="alerts"
    )
    subject = models.CharField(max_length=200)
    text = models.TextField()
    opened_at = models.DateTimeField()
    told_at = models.DateTimeField(null=True, blank=True)
    resolved_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["cause"], condition=Q(resolved_at__isnull=True), name="alert_open_once")
        ]

    def __str__(self) -> str:
        return self.subject


class Heartbeat(models.Model):
    """When a task last came back. The worker's watchdog and the readiness page trust this, not the queue's word."""

    name = models.CharField(max_length=32, unique=True)
    beat_at = models.DateTimeField()
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.name} at {self.beat_at:%H:%M:%S}"


def dedupe_key(goal_id: str, transaction_id: str, event_id: str) -> str:
    """Return the key under which an account takes an order once per goal, or an event once where it has no order."""
    return f"{goal_id}:t:{transaction_id}" if transaction_id else f"{goal_id}:e:{event_id}"
