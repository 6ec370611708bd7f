"""What arrived: whose site it is, with which keys, the clicks that were caught and the events that happened.

Rows of `Event` and `Click` are facts: nothing but `planned_at` and retention ever changes them.
"""

import hashlib
import secrets
import uuid
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.crypto import constant_time_compare

if TYPE_CHECKING:
    from django.contrib.auth.models import User

MAX_ID_CHARS = 128
MAX_NAME_CHARS = 64
# Microsoft's ceilings for a conversion's value: 999999999999 and three decimals (help: offline conversions).
VALUE_DIGITS, VALUE_DECIMALS = 15, 3
# An event of this name corrects its order; it is no conversion of its own.
REFUND_EVENT = "refund"
DEFAULT_CLICK_RETENTION_DAYS = 90
DEFAULT_EVENT_RETENTION_DAYS = 400
DEFAULT_DAILY_EVENT_CAP = 1_000_000
DEFAULT_CONFIRM_MINUTES = 24 * 60


class Organisation(models.Model):
    """The customer: who pays, owns sites and invites people."""

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    name = models.CharField(max_length=100)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name


class Role(models.TextChoices):
    """What a person may do; the pages' table of who may do what is in dashboard/guards.py."""

    OWNER = "owner"
    ADMIN = "admin"
    MARKETER = "marketer"
    DEVELOPER = "developer"
    VIEWER = "viewer"


class Membership(models.Model):
    """A person's role in an organisation."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=16, choices=Role.choices, default=Role.VIEWER)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "organisation"], name="membership_once_per_user")]

    def __str__(self) -> str:
        return f"{self.user} · {self.organisation} ({self.role})"


def new_write_key() -> str:
    """Return a site's public key, `wk_` and 32 hex characters. It may only add events."""
    return f"wk_{secrets.token_hex(16)}"


class ConsentPolicy(models.TextChoices):
    """What an event without a word about consent means."""

    REQUIRE = "require", "Forward only with consent"
    ASSUME = "assume", "Forward unless refused"


class ConfirmMode(models.TextChoices):
    """What a browser's order needs before it is forwarded: anyone can send an event with the public key."""

    OFF = "off", "Forward at once"
    WAIT = "wait", "Wait for the backend's event, then forward anyway"
    REQUIRE = "require", "Forward only with the backend's event"


class SiteQuerySet(models.QuerySet["Site"]):
    """The only doors to a site from a page."""

    def for_user(self, user: "User") -> "SiteQuerySet":
        """Return the sites of every organisation the user belongs to; staff see all of them in the admin only."""
        return self.filter(organisation__memberships__user_id=user.pk)


class Site(models.Model):
    """A shop or application whose visitors and backend send us events."""

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="sites")
    name = models.CharField(max_length=100)
    write_key = models.CharField(max_length=64, unique=True, default=new_write_key, editable=False)
    # Origins (`https://shop.example`) whose pages may send with the write key; empty means any page may.
    allowed_origins = models.JSONField(default=list, blank=True)
    time_zone = models.CharField(max_length=64, default="UTC")
    currency = models.CharField(max_length=3, default="USD")
    click_retention_days = models.PositiveIntegerField(default=DEFAULT_CLICK_RETENTION_DAYS)
    event_retention_days = models.PositiveIntegerField(default=DEFAULT_EVENT_RETENTION_DAYS)
    consent_policy = models.CharField(max_length=16, choices=ConsentPolicy.choices, default=ConsentPolicy.ASSUME)
    # Whether a browser's event with a transaction id waits for the backend's event of the same order, and how long.
    confirm_mode = models.CharField(max_length=8, choices=ConfirmMode.choices, default=ConfirmMode.OFF)
    confirm_minutes = models.PositiveIntegerField(default=DEFAULT_CONFIRM_MINUTES, validators=[MinValueValidator(1)])
    daily_event_cap = models.PositiveIntegerField(default=DEFAULT_DAILY_EVENT_CAP, validators=[MinValueValidator(1)])
    created_at = models.DateTimeField(auto_now_add=True)

    objects = SiteQuerySet.as_manager()

    def __str__(self) -> str:
        return self.name

    @property
    def domain(self) -> str:
        """The first allowed origin without its scheme, for people to recognise the site by."""
        return str(self.allowed_origins[0]).partition("//")[2] if self.allowed_origins else ""

    @property
    def click_retention(self) -> timedelta:
        """How long a click id may be looked up after its click."""
        return timedelta(days=self.click_retention_days)

    @property
    def confirm_wait(self) -> timedelta:
        """How long a browser's order waits for the backend's event."""
        return timedelta(minutes=self.confirm_minutes)


SERVER_KEY_BYTES = 32
SERVER_KEY_PREFIX_CHARS = 11  # "sk_" and eight characters: enough to find the row and to recognise it on a page


class ServerKeyManager(models.Manager["ServerKey"]):
    """Mints keys and finds them again."""

    def mint(self, site: Site, name: str = "") -> tuple["ServerKey", str]:
        """Make a key of a site; return the row and the secret, which is nowhere kept."""
        secret = f"sk_{secrets.token_urlsafe(SERVER_KEY_BYTES)}"
        row = self.create(site=site, name=name, prefix=secret[:SERVER_KEY_PREFIX_CHARS], secret_sha256=_sha256(secret))
        return row, secret

    def find(self, secret: str) -> "ServerKey | None":
        """Return the live key that this secret opens, its site joined; None for anything else."""
        digest = _sha256(secret)
        candidates = self.select_related("site").filter(
            prefix=secret[:SERVER_KEY_PREFIX_CHARS], revoked_at__isnull=True
        )
        return next((key for key in candidates if constant_time_compare(key.secret_sha256, digest)), None)


class ServerKey(models.Model):
    """A backend's secret. Only its SHA-256 is kept: 32 random bytes need no slow hash."""

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="server_keys")
    name = models.CharField(max_length=100, blank=True, default="")
    prefix = models.CharField(max_length=16, db_index=True)
    secret_sha256 = models.CharField(max_length=64)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = ServerKeyManager()

    def __str__(self) -> str:
        return f"{self.prefix}…"


class Click(models.Model):
    """A Microsoft click id as a landing page caught it. The newest of a visitor wins."""

    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="clicks")
    msclkid = models.CharField(max_length=40)
    visitor_id = models.CharField(max_length=MAX_ID_CHARS, blank=True, default="")
    session_id = models.CharField(max_length=MAX_ID_CHARS, blank=True, default="")
    landing_url = models.CharField(max_length=1000, blank=True, default="")
    consent = models.CharField(max_length=8, blank=True, default="")
    captured_at = models.DateTimeField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            # A landing page that is reloaded reports the same click again.
            models.UniqueConstraint(fields=["site", "msclkid", "visitor_id"], name="click_once_per_visitor"),
        ]
        indexes = [
            # Click resolution: the newest click of a visitor, or of a session, before a conversion.
            models.Index(
                fields=["site", "visitor_id", "-captured_at"], name="click_by_visitor", condition=~Q(visitor_id="")
            ),
            models.Index(
                fields=["site", "session_id", "-captured_at"], name="click_by_session", condition=~Q(session_id="")
            ),
        ]

    def __str__(self) -> str:
        return self.msclkid


class Source(models.TextChoices):
    """The road an event came by."""

    BROWSER = "browser", "JS SDK"
    SERVER = "server", "Server API"
    IMPORT = "import", "CSV import"
    TEST = "test", "Test Center"


class Consent(models.TextChoices):
    """What the visitor said of advertising storage; empty when the event does not say."""

    GRANTED = "granted"
    DENIED = "denied"
    UNKNOWN = "", "unknown"


class EventQuerySet(models.QuerySet["Event"]):
    """Adjectives of events."""

    def unplanned(self) -> "EventQuerySet":
        """Return events whose deliveries have not been planned yet, oldest first."""
        return self.filter(planned_at__isnull=True).order_by("pk")


class Event(models.Model):
    """Something that happened on a site or in its business, exactly as it was accepted."""

    # No index of its own: several below begin with the site.
    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="events", db_index=False)
    event_id = models.CharField(max_length=MAX_ID_CHARS)
    name = models.CharField(max_length=MAX_NAME_CHARS)
    occurred_at = models.DateTimeField()
    received_at = models.DateTimeField()
    source = models.CharField(max_length=8, choices=Source.choices)
    value = models.DecimalField(max_digits=VALUE_DIGITS, decimal_places=VALUE_DECIMALS, null=True, blank=True)
    currency = models.CharField(max_length=3, blank=True, default="")
    transaction_id = models.CharField(max_length=MAX_ID_CHARS, blank=True, default="")
    external_id = models.CharField(max_length=MAX_ID_CHARS, blank=True, default="")
    visitor_id = models.CharField(max_length=MAX_ID_CHARS, blank=True, default="")
    session_id = models.CharField(max_length=MAX_ID_CHARS, blank=True, default="")
    # Verbatim, also when it is no click id: `ingest.click_ids.is_click_id` says whether it may be used.
    msclkid = models.CharField(max_length=MAX_ID_CHARS, blank=True, default="")
    email_sha256 = models.CharField(max_length=64, blank=True, default="")
    phone_sha256 = models.CharField(max_length=64, blank=True, default="")
    consent = models.CharField(max_length=8, choices=Consent.choices, blank=True, default=Consent.UNKNOWN)
    properties = models.JSONField(default=dict, blank=True)
    # SHA-256 of what was said, so that the same id with another body is told from a repeat.
    fingerprint = models.CharField(max_length=64)
    planned_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = EventQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["site", "event_id"], name="event_once_per_site")]
        indexes = [
            # forwarding.planning.planner: the next events without deliveries.
            models.Index(fields=["id"], name="event_unplanned", condition=Q(planned_at__isnull=True)),
            # The live debugger: newest events of a site.
            models.Index(fields=["site", "-received_at", "-id"], name="event_newest"),
            # Click resolution: another event of the same person or order that carried a click id.
            models.Index(fields=["site", "external_id"], name="event_by_external_id", condition=~Q(external_id="")),
            models.Index(
                fields=["site", "transaction_id"], name="event_by_transaction", condition=~Q(transaction_id="")
            ),
            models.Index(fields=["site", "email_sha256"], name="event_by_email", condition=~Q(email_sha256="")),
            models.Index(fields=["site", "phone_sha256"], name="event_by_phone", condition=~Q(phone_sha256="")),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.event_id}"


class AdjustmentType(models.TextChoices):
    """What a backend says of an order that it reported before."""

    RESTATE = "restate", "New total"
    RETRACT = "retract", "Does not count"


class AdjustmentQuerySet(models.QuerySet["Adjustment"]):
    """Adjectives of adjustments."""

    def unplanned(self) -> "AdjustmentQuerySet":
        """Return adjustments that have not met their order's conversions yet, oldest first."""
        return self.filter(planned_at__isnull=True).order_by("pk")


class Adjustment(models.Model):
    """A correction of an order, exactly as it was accepted. Its order may arrive later."""

    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="adjustments")
    adjustment_id = models.CharField(max_length=MAX_ID_CHARS)
    # The order: by its transaction id, or by the id of the one event that reported it.
    transaction_id = models.CharField(max_length=MAX_ID_CHARS, blank=True, default="")
    event_id = models.CharField(max_length=MAX_ID_CHARS, blank=True, default="")
    type = models.CharField(max_length=8, choices=AdjustmentType.choices)
    # The order's new total, never a difference; null with a retraction.
    value = models.DecimalField(max_digits=VALUE_DIGITS, decimal_places=VALUE_DECIMALS, null=True, blank=True)
    currency = models.CharField(max_length=3, blank=True, default="")
    occurred_at = models.DateTimeField()
    received_at = models.DateTimeField()
    # SHA-256 of what was said, so that the same id with another body is told from a repeat.
    fingerprint = models.CharField(max_length=64)
    planned_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = AdjustmentQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["site", "adjustment_id"], name="adjustment_once_per_site")]
        indexes = [
            models.Index(fields=["id"], name="adjustment_unplanned", condition=Q(planned_at__isnull=True)),
            # The door and the planner: what was said of an order.
            models.Index(
                fields=["site", "transaction_id"], name="adjustment_by_transaction", condition=~Q(transaction_id="")
            ),
            models.Index(fields=["site", "event_id"], name="adjustment_by_event", condition=~Q(event_id="")),
        ]

    def __str__(self) -> str:
        return f"{self.get_type_display()} {self.adjustment_id}"


class AuditEntry(models.Model):
    """What a person changed, for ever: who, when, what, from what to what. `ingest/audit.py` writes it."""

    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="audit_entries")
    site = models.ForeignKey(Site, on_delete=models.SET_NULL, null=True, blank=True, related_name="audit_entries")
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    # As it was then; the user may be renamed or deleted later.
    actor_name = models.CharField(max_length=254)
    # `room.verb`, such as `delivery.retract`.
    action = models.CharField(max_length=64)
    target = models.CharField(max_length=200, blank=True, default="")
    # What changed, without secrets and without personal data.
    details = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "audit entries"
        indexes = [
            models.Index(fields=["organisation", "-id"], name="audit_newest"),
            models.Index(fields=["site", "-id"], name="audit_newest_of_site"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.target}"


EVENTS_LOOKED_THROUGH_FOR_NAMES = 10_000


def event_names_seen(site: Site, known: Iterable[str] = ()) -> list[str]:
    """Return `known` first, in its order, then every other name among the site's newest events, alphabetically."""
    first = list(dict.fromkeys(known))
    newest = site.events.order_by("-received_at", "-id")[:EVENTS_LOOKED_THROUGH_FOR_NAMES]
    seen = Event.objects.filter(pk__in=newest.values("pk")).order_by("name").values_list("name", flat=True).distinct()
    return first + [name for name in seen if name not in first]


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
