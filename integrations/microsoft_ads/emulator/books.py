"""Microsoft's books: who may sign in, what they own, what was clicked, what was uploaded. One lock guards them all.

Rows are plain dataclasses. Those that must outlive a restart are written to a journal as they change (journal.py).
"""

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal, TypeAlias

from integrations.microsoft_ads.emulator.wire import Json, JsonObject

CLIENT_ID = "emulator-client"
CLIENT_SECRET = "emulator-secret"  # noqa: S105 - the emulator's own, public on purpose
DEVELOPER_TOKEN = "emulator-developer-token"  # noqa: S105

VIEWER = 100  # guides/account-hierarchy-permissions: read-only, cannot upload
STANDARD_USER = 203
SUPER_ADMIN = 41

ORIGINAL_NOT_FOUND = "AdjustmentOriginalNotFound"
ALREADY_RETRACTED = "ConversionAlreadyRetracted"
DUPLICATE_KEY = "DuplicateConversionKey"
GOAL_INACTIVE = "GoalNotFoundOrInactive"
ACCOUNT_MISMATCH = "AccountMismatch"
NO_MATCHING_CLICK = "NoMatchingClickFound"
MISSING_IDENTIFIERS = "MissingMatchIdentifiers"
UNORDERED = "Unknown"  # Microsoft has no reason for an adjustment that is older than the last one
MatchKey: TypeAlias = tuple[str, str, str, datetime, str, str]


@dataclass(slots=True)
class Settings:
    """What a test or a demo may turn. Durations are Microsoft's documented ones unless changed."""

    goal_settle: timedelta = timedelta(hours=2)  # cm/applyofflineconversions
    click_settle: timedelta = timedelta(0)  # the API page names no wait; the help names an hour
    adjustment_settle: timedelta = timedelta(hours=6)  # help:hlp_BA_CONC_UETv2OfflineConversion, "up to 6 hours"
    access_token_life: timedelta = timedelta(hours=1)
    upload_time: timedelta = timedelta(0)  # that an upload takes, half of it before its rows are booked
    strict_rotation: bool = False
    dedupe_hash_only: bool = True
    sink: bool = False
    landing_url: str = "http://127.0.0.1:8000/"
    redirect_uris: tuple[str, ...] = ()  # empty: any loopback address


@dataclass(frozen=True, slots=True)
class Role:
    """One user's role in one customer. `account_ids` None means every account of the customer (cust/customerrole)."""

    role_id: int
    customer_id: str
    account_ids: tuple[str, ...] | None = None


@dataclass(slots=True)
class User:
    id: str
    user_name: str
    first_name: str
    last_name: str
    customer_id: str
    about: str
    roles: tuple[Role, ...] = ()
    status: str = "Active"


@dataclass(slots=True)
class Customer:
    id: str
    name: str


@dataclass(slots=True)
class Account:
    id: str
    number: str
    name: str
    customer_id: str
    currency: str
    time_zone: str
    language: str = "English"
    status: str = "Active"
    pause_reason: int | None = None
    auto_tagging: bool = True
    barred_user_ids: tuple[str, ...] = ()


@dataclass(slots=True)
class Goal:
    """A conversion goal of any type. Offline goals are found by their exact name within the customer.

    Source: cm/offlineconversiongoal.
    """

    id: str
    type: str
    name: str
    account_id: str
    customer_id: str
    created_at: datetime
    status: str = "Active"
    scope: str = "Account"
    category: str = "Purchase"
    count_type: str = "All"
    window_minutes: int = 43200
    revenue_type: str = "NoValue"
    revenue_value: Decimal | None = None
    revenue_currency: str | None = None
    is_enhanced: bool = False
    is_externally_attributed: bool = False
    exclude_from_bidding: bool = False
    tag_id: str | None = None


@dataclass(slots=True)
class UetTag:
    id: str
    name: str
    description: str
    customer_id: str
    status: str
    industry: str | None = "Retail"


@dataclass(slots=True)
class Click:
    click_id: str
    account_id: str
    clicked_at: datetime
    ad: str = ""


@dataclass(slots=True)
class Grant:
    """An authorization code, an access token or a refresh token."""

    kind: Literal["code", "access", "refresh"]
    token: str
    user_id: str
    scope: str
    issued_at: datetime
    expires_at: datetime
    client_id: str = CLIENT_ID
    redirect_uri: str = ""
    challenge: str = ""
    challenge_method: str = ""
    spent_at: datetime | None = None
    revoked_at: datetime | None = None


@dataclass(slots=True)
class Booking:
    """A conversion Microsoft took: first of its key. `key` is what repeats and adjustments are matched by (4.3)."""

    id: int
    key: MatchKey
    account_id: str
    goal_id: str
    goal_name: str
    click_id: str | None
    email_hash: str | None
    phone_hash: str | None
    conversion_time: datetime
    conversion_time_text: str
    value: Decimal | None
    currency: str | None
    received_at: datetime
    tracking_id: str
    counted: bool = True
    unattributed: str | None = None
    restated_value: Decimal | None = None
    adjusted_at: datetime | None = None
    retracted: bool = False

    def effective_count(self) -> int:
        return int(self.counted and not self.retracted)

    def effective_value(self) -> Decimal:
        """Return what reports would add up: the last restated value, nothing once retracted or not counted."""
        if not self.effective_count():
            return Decimal(0)
        value = self.value if self.restated_value is None else self.restated_value
        return value or Decimal(0)


@dataclass(slots=True)
class Received:
    """One row of one upload as it came, and what became of it: booked, applied, silently set aside or refused."""

    tracking_id: str
    received_at: datetime
    operation: str
    account_id: str
    index: int
    row: JsonObject | None
    body_sha256: str
    outcome: str
    code: int | None = None
    booking_id: int | None = None


@dataclass(slots=True)
class Call:
    """One request to an API, whatever came of it."""

    tracking_id: str
    received_at: datetime
    operation: str
    account_id: str
    customer_id: str
    user_id: str
    body_sha256: str
    bytes: int
    rows: int = 0
    refused: int = 0
    status: int = 0
    result: str = ""
    fault: str = ""


Row: TypeAlias = Account | Goal | Click | Grant | Booking | Received | Call | User
Recorder: TypeAlias = Callable[[Row], None]


def _forget(_row: Row) -> None:
    """Record nothing: the books live in memory only."""


def _nothing() -> None:
    """Close nothing."""


@dataclass
class Books:
    """All state of one local Microsoft. Whoever reads or writes holds `lock`."""

    opened_at: datetime
    settings: Settings = field(default_factory=Settings)
    users: dict[str, User] = field(default_factory=dict)
    customers: dict[str, Customer] = field(default_factory=dict)
    accounts: dict[str, Account] = field(default_factory=dict)
    goals: dict[str, Goal] = field(default_factory=dict)
    tags: dict[str, UetTag] = field(default_factory=dict)
    clicks: dict[str, Click] = field(default_factory=dict)
    grants: dict[str, Grant] = field(default_factory=dict)
    bookings: list[Booking] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    sink_rows: int = 0
    sink_calls: int = 0
    recorder: Recorder = _forget
    close: Callable[[], None] = _nothing
    lock: threading.RLock = field(default_factory=threading.RLock, repr=False)
    _by_key: dict[MatchKey, Booking] = field(default_factory=dict)
    _counted_clicks: set[tuple[str, str]] = field(default_factory=set)

    def put(self, row: Row) -> None:
        """Store a new or changed row and record it."""
        self.place(row)
        self.recorder(row)

    def place(self, row: Row) -> None:
        """Store a row without recording it; a row of the same identity is replaced."""
        match row:
            case User():
                self.users[row.id] = row
            case Account():
                self.accounts[row.id] = row
            case Goal():
                self.goals[row.id] = row
            case Click():
                self.clicks[row.click_id.lower()] = row
            case Grant():
                self.grants[row.token] = row
            case Booking():
                self._place_booking(row)
            case Received():
                self.received.append(row)
            case Call():
                self.calls.append(row)

    def _place_booking(self, booking: Booking) -> None:
        if booking.id <= len(self.bookings):
            self.bookings[booking.id - 1] = booking
        else:
            self.bookings.append(booking)
        first = self._by_key.setdefault(booking.key, booking)
        if first.id == booking.id:
            self._by_key[booking.key] = booking
        if booking.click_id and booking.counted:
            self._counted_clicks.add((booking.goal_id, booking.click_id.lower()))

    # Who may do what

    def role_in(self, user: User, account: Account) -> Role | None:
        """Return the user's role for an account, or None without access to it."""
        if user.id in account.barred_user_ids:
            return None
        for role in user.roles:
            if role.customer_id == account.customer_id and (role.account_ids is None or account.id in role.account_ids):
                return role
        return None

    def accounts_of(self, user: User) -> list[Account]:
        return [account for account in self.accounts.values() if self.role_in(user, account)]

    def user_named(self, user_name: str) -> User | None:
        return next((user for user in self.users.values() if user.user_name == user_name), None)

    # Goals

    def goals_of(self, account: Account) -> list[Goal]:
        """Return the goals that apply to an account: its own, and those of its customer with the wider scope."""
        return [goal for goal in self.goals.values() if self.applies(goal, account)]

    def applies(self, goal: Goal, account: Account) -> bool:
        if goal.status == "Deleted":
            return False
        return goal.account_id == account.id or (goal.scope == "Customer" and goal.customer_id == account.customer_id)

    def offline_goal(self, account: Account, name: str) -> Goal | None:
        """Return the account's offline goal of exactly this name, case and spaces included."""
        for goal in self.goals.values():
            if goal.name == name and goal.type == "OfflineConversion" and self.applies(goal, account):
                return goal
        return None

    def next_goal_id(self) -> str:
        return str(max((int(goal_id) for goal_id in self.goals), default=9000) + 1)

    # Uploads

    def booking_of(self, key: MatchKey) -> Booking | None:
        return self._by_key.get(key)

    def has_counted(self, goal: Goal, click_id: str) -> bool:
        return (goal.id, click_id.lower()) in self._counted_clicks

    # Grants

    def issue(
        self, kind: Literal["code", "access", "refresh"], user_id: str, scope: str, now: datetime, life: timedelta
    ) -> Grant:
        """Return a new grant, not yet stored, with a token nobody can guess."""
        return Grant(kind, f"emulator-{kind}-{secrets.token_urlsafe(24)}", user_id, scope, now, now + life)

    def revoke(self, user_id: str, now: datetime) -> int:
        """End every grant of a user, as when consent is withdrawn. Return how many ended."""
        alive = [grant for grant in self.grants.values() if grant.user_id == user_id and grant.revoked_at is None]
        for grant in alive:
            self.put(replace(grant, revoked_at=now))
        return len(alive)

    def expire_access_tokens(self, now: datetime) -> int:
        """End every access token now, leaving refresh tokens alone. Return how many ended."""
        alive = [grant for grant in self.grants.values() if grant.kind == "access" and grant.expires_at > now]
        for grant in alive:
            self.put(replace(grant, expires_at=now))
        return len(alive)

    def mint_click(self, account_id: str, ad: str, now: datetime) -> Click:
        """Record a click on an ad and return it with its new id: 32 hex characters, a GUID without dashes (8.1)."""
        click = Click(secrets.token_hex(16), account_id, now, ad)
        self.put(click)
        return click


def totals(bookings: list[Booking]) -> list[JsonObject]:
    """Return count and value per account, goal and currency, after restatements and retractions."""
    sums: dict[tuple[str, str, str | None], tuple[int, Decimal]] = {}
    for booking in bookings:
        key = (booking.account_id, booking.goal_name, booking.currency)
        count, value = sums.get(key, (0, Decimal(0)))
        sums[key] = (count + booking.effective_count(), value + booking.effective_value())
    rows: list[JsonObject] = []
    for (account_id, goal_name, currency), (count, value) in sums.items():
        amount: Json = value
        rows.append(
            {"account_id": account_id, "goal": goal_name, "currency": currency, "count": count, "value": amount}
        )
    return rows
