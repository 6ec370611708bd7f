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
from django.db.models import Exists, OuterRef, Q
from django.utils.crypto import constant_time_compare

if TYPE_CHECKING:
    from django.contrib.auth.models import User

MAX_ID_CHARS = 128
MAX_NAME_CHARS = 64
MAX_MEMBER_CHARS = 128
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
    # An agency's marketer may be let into one client's site only: then `sites` lists where.
    all_sites = models.BooleanField(default=True)
    sites: "models.ManyToManyField[Site, models.Model]" = models.ManyToManyField("Site", blank=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "organisation"], name="membership_once_per_user")]

    def __str__(self) -> str:
        return f"{self.user} · {self.organisation} ({self.role})"


class Invitation(models.Model):
    """An address that was asked to join an organisation. Its link is kept as a SHA-256 only, and works once."""

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="invitations")
    email = models.EmailField()
    role = models.CharField(max_length=16, choices=Role.choices, default=Role.VIEWER)
    all_sites = models.BooleanField(default=True)
    sites: "models.ManyToManyField[Site, models.Model]" = models.ManyToManyField("Site", blank=True, related_name="+")
    token_sha256 = models.CharField(max_length=64, unique=True)
    invited_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organisation", "email"],
                condition=Q(accepted_at__isnull=True, revoked_at__isnull=True),
                name="invitation_open_once",
            )
        ]

    def __str__(self) -> str:
        return f"{self.email} · {self.organisation} ({self.role})"


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
        """Return the sites that a membership of the user opens: all of its organisation, or those it lists.

        The one rule of who sees what. Staff without a membership see sites in the admin only.
        """
        opened = Membership.objects.filter(
            Q(all_sites=True) | Q(sites=OuterRef("pk")), user_id=user.pk, organisation=OuterRef("organisation")
        )
        return self.filter(Exists(opened))


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

    def mint(self, site: Site, name: str = "", public_id: uuid.UUID | None = None) -> tuple["ServerKey", str]:
        """Make a key of a site; return the row and the secret, which is nowhere kept."""
        secret = f"sk_{secrets.token_urlsafe(SERVER_KEY_BYTES)}"
        row = self.create(
            public_id=public_id or uuid.uuid4(),
            site=site,
            name=name,
            prefix=secret[:SERVER_KEY_PREFIX_CHARS],
            secret_sha256=_sha256(secret),
        )
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


class BlockedOrigin(models.Model):
    """A page that used a site's write key and is not on its list: the answer to "why does nothing arrive?"."""

    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="blocked_origins")
    origin = models.CharField(max_length=255)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["site", "origin"], name="blocked_origin_once_per_site")]

    def __str__(self) -> str:
        return self.origin


class RefusedItem(models.Model):
    """What senders get wrong: a rule that items of a site were refused by. Never what they held."""

    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="refused_items", db_index=False)
    source = models.CharField(max_length=8, choices=Source.choices)
    # What the sender posted: events, clicks or adjustments.
    what = models.CharField(max_length=16)
    # The member's path inside the item, such as `currency`; empty where the whole body was refused.
    member = models.CharField(max_length=MAX_MEMBER_CHARS, blank=True, default="")
    # Of `ingest/refusals.py`, or of the problem that a whole body met, such as `daily_cap_reached`.
    code = models.CharField(max_length=64)
    # When it began, of late; `ingest/refused_items.py` says what begins anew.
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["site", "source", "what", "member", "code"], name="refused_item_once_per_site"
            )
        ]

    def __str__(self) -> str:
        return f"{self.what} {self.member} {self.code}"


class Bucket(models.Model):
    """How much of a limit is used up: it fills with every request and drains at the limit's rate (`limits.py`).

    On PostgreSQL the table is unlogged: counting costs no wait for the disk, and after a crash of the database
    everybody begins anew.
    """

    # What is limited, such as `key:12`, `address:…` (a keyed hash) or `day:12:pages:2026-11-22`.
    name = models.CharField(max_length=80, primary_key=True)
    used = models.FloatField()
    # How much of what was last asked for was granted; negative when that was given back.
    granted = models.FloatField()
    # When that was, in seconds since 1970, with which both databases can calculate.
    at = models.FloatField()

    def __str__(self) -> str:
        return self.name


class ImportFormat(models.TextChoices):
    """Whose template a file follows."""

    CONVULTRA = "convultra", "Convultra's template"
    MICROSOFT = "microsoft", "Microsoft's template"


class DateOrder(models.TextChoices):
    """How a file writes dates whose day and month could be either."""

    DAY_FIRST = "day-first", "Day first: 03/04 is April 3"
    MONTH_FIRST = "month-first", "Month first: 03/04 is March 4"


class ImportQuerySet(models.QuerySet["Import"]):
    """Adjectives of imports."""

    def unfinished(self) -> "ImportQuerySet":
        """Return the imports that a worker has to go on with."""
        return self.filter(status__in=(Import.Status.CHECKING, Import.Status.IMPORTING))

    def shown(self) -> "ImportQuerySet":
        """Return the imports that people see, newest first: those whose file arrived as a whole."""
        return self.exclude(status=Import.Status.READING).order_by("-pk")


class Import(models.Model):
    """A CSV file of conversions: whose it is, how it is read, and how far it has come. Its rows are in the chunks."""

    class Status(models.TextChoices):
        READING = "reading", "Being uploaded"
        CHECKING = "checking", "Checking rows"
        CHECKED = "checked", "Waits for you"
        IMPORTING = "importing", "Importing"
        DONE = "done", "Imported"
        CANCELLED = "cancelled", "Cancelled"

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="imports", db_index=False)
    file_name = models.CharField(max_length=200)
    format = models.CharField(max_length=10, choices=ImportFormat.choices)
    # How the file is read: the zone of times that name none, which comes first in a date, what separates its cells.
    time_zone = models.CharField(max_length=64)
    date_order = models.CharField(max_length=12, choices=DateOrder.choices, blank=True, default="")
    delimiter = models.CharField(max_length=1)
    # What the file calls each column that is read, and the columns that are not.
    labels = models.JSONField(default=dict)
    ignored = models.JSONField(default=list)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    # As it was then; the user may be renamed or deleted later.
    actor_name = models.CharField(max_length=254)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.READING)
    total_rows = models.PositiveIntegerField(default=0)
    checked_rows = models.PositiveIntegerField(default=0)
    # Of the rows that were to be stored, how many a worker has been through.
    stored_rows = models.PositiveIntegerField(default=0)
    # How many rows got each verdict; of the stored ones, how many ended in each outcome.
    verdicts = models.JSONField(default=dict)
    outcomes = models.JSONField(default=dict)
    # What is wrong, by code and column: `{"count": 12, "row": 377, "example": "03/04/2026"}`.
    problems = models.JSONField(default=dict)
    # When a worker was last asked to go on, so that a lost task is asked for again and no task twice at once.
    rung_at = models.DateTimeField(null=True, blank=True)
    # Its events and adjustments have this as their `received_at`: they are found by it.
    confirmed_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    # What became of the conversions, by status, when it was last counted; and when it is counted again.
    results = models.JSONField(default=dict)
    count_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField()

    objects = ImportQuerySet.as_manager()

    class Meta:
        indexes = [
            # The page: newest imports of a site.
            models.Index(fields=["site", "-id"], name="import_newest"),
            # The sweep: what a worker has to go on with.
            models.Index(fields=["id"], name="import_unfinished", condition=Q(status__in=("checking", "importing"))),
        ]

    def __str__(self) -> str:
        return self.file_name

    @property
    def to_store(self) -> int:
        """How many rows the check found that can be stored."""
        return int(self.verdicts.get("new", 0))

    @property
    def has_nothing(self) -> bool:
        """Say whether it ended with its check, as none of its rows can be stored."""
        return self.status == Import.Status.DONE and self.confirmed_at is None

    @property
    def progress(self) -> tuple[int, int]:
        """How many rows a worker has been through, and of how many: it checks all, and stores those that it may."""
        return (self.stored_rows, self.to_store) if self.confirmed_at else (self.checked_rows, self.total_rows)


class ImportChunk(models.Model):
    """Up to a thousand rows of a file, and what was found and done with them. Personal data in it is hashed."""

    source = models.ForeignKey(Import, on_delete=models.CASCADE, related_name="chunks", db_index=False)
    number = models.PositiveIntegerField()
    # `[row in the file, {column: text}, [[column, code], …]]`, the last being faults seen while the file was read.
    rows = models.JSONField()
    # One per row, as `ingest/imports/checking.py` writes it.
    verdicts = models.JSONField(default=list)
    checked_at = models.DateTimeField(null=True, blank=True)
    stored_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["source", "number"], name="import_chunk_once")]

    def __str__(self) -> str:
        return f"{self.source} #{self.number}"


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
