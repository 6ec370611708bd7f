"""What travels to and from Microsoft, in our words. One place (`wire`, `answers`) converts to theirs."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Literal

from integrations.microsoft_ads.errors import WhatToDo, what_to_do

AdjustmentType = Literal["Restate", "Retract"]
CountType = Literal["All", "Unique"]


@dataclass(frozen=True, slots=True)
class OfflineConversion:
    """One conversion of an offline goal. Source: cm/offlineconversion.

    `conversion_time` is the exact string to send, UTC with `Z` (`2026-11-21T09:30:00Z`). It is part of the key
    by which Microsoft drops repeats, together with the goal's name, the click id and both hashes, so none of
    these five may change once the conversion was sent.
    """

    goal_name: str
    conversion_time: str
    click_id: str = ""
    hashed_email: str = ""
    hashed_phone: str = ""
    value: Decimal | None = None
    currency: str = ""


@dataclass(frozen=True, slots=True)
class OfflineConversionAdjustment:
    """A new total for a conversion sent before (`Restate`), or its removal (`Retract`).

    The key fields repeat the original's exactly; `value` is the new total and not a difference, and is left
    out of a `Retract`. Source: cm/offlineconversionadjustment.
    """

    adjustment_type: AdjustmentType
    adjustment_time: str
    goal_name: str
    conversion_time: str
    click_id: str = ""
    hashed_email: str = ""
    hashed_phone: str = ""
    value: Decimal | None = None
    currency: str = ""


@dataclass(frozen=True, slots=True)
class ItemError:
    """Why Microsoft refused one row. `code` is None and `symbol` empty where Microsoft left them out."""

    code: int | None
    symbol: str
    message: str

    @property
    def what_to_do(self) -> WhatToDo:
        """Look the error up in the table of `errors`."""
        return what_to_do(self.code, self.symbol, self.message)


@dataclass(frozen=True, slots=True)
class ItemResult:
    """What became of one row: accepted, or refused with an error. Accepted is not attributed: reports tell later."""

    error: ItemError | None

    @property
    def accepted(self) -> bool:
        """Say whether Microsoft took the row."""
        return self.error is None


@dataclass(frozen=True, slots=True)
class ApplyResult:
    """Microsoft's answer to one batch: one item per row sent, in the order sent.

    `body` is the raw answer for the log, cut at 64 KiB. `tracking_id` is what Microsoft's support asks for.
    """

    items: tuple[ItemResult, ...]
    tracking_id: str
    http_status: int
    body: str


@dataclass(frozen=True, slots=True)
class CustomerRole:
    """One customer that a user reaches. No `account_ids` means all of that customer's. Source: cust/customerrole.

    `role_id`: 16 advertiser campaign manager, 33 aggregator, 41 super admin, 100 viewer (cannot upload),
    203 standard user. `link_permission` is empty for a direct role.
    """

    customer_id: str
    role_id: int
    account_ids: tuple[str, ...]
    linked_account_ids: tuple[str, ...]
    link_permission: str


@dataclass(frozen=True, slots=True)
class User:
    """The person whose token is used. Source: cust/getuser."""

    user_id: str
    user_name: str
    customer_id: str
    display_name: str
    email: str
    roles: tuple[CustomerRole, ...]


@dataclass(frozen=True, slots=True)
class Account:
    """An advertiser account. Source: cust/advertiseraccount.

    `customer_id` is its ParentCustomerId, which is what the `CustomerId` header wants; `number` is for people
    only. `pause_reason`: 1 by its user, 2 for billing, 4 both.
    """

    account_id: str
    customer_id: str
    number: str
    name: str
    currency: str
    time_zone: str
    life_cycle_status: str
    pause_reason: int | None


@dataclass(frozen=True, slots=True)
class ConversionGoal:
    """A conversion goal. Uploads refer to it by `name`, exactly. Source: cm/conversiongoal.

    `window_minutes` is the time from click to conversion that counts. `is_enhanced` is None where Microsoft does
    not say.
    """

    goal_id: str
    name: str
    goal_type: str
    status: str
    count_type: str
    window_minutes: int | None
    scope: str
    category: str
    revenue_type: str
    revenue_value: Decimal | None
    revenue_currency: str
    is_enhanced: bool | None
    is_externally_attributed: bool


@dataclass(frozen=True, slots=True)
class NewGoal:
    """An offline goal to be made, with a value of its own per conversion. Source: cm/offlineconversiongoal.

    `currency` is what counts where a conversion names none. Its window is the longest there is, 90 days in minutes.
    """

    name: str
    category: str
    count_type: CountType
    currency: str
    window_minutes: int = 129_600


@dataclass(frozen=True, slots=True)
class UetTag:
    """A Universal Event Tracking tag of the customer. Source: cm/uettag."""

    tag_id: str
    name: str
    description: str
    tracking_status: str


@dataclass(frozen=True, slots=True)
class UploadDay:
    """What became of the rows of a goal that were uploaded on one day. Source: cm/offlinegoaldailysummary.

    `reasons` has Microsoft's symbols and how often: `{"NoMatchingClickFound": 41}`.
    """

    day: date
    success: int
    unattributed: int
    reasons: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class GoalReport:
    """What Microsoft attributed of a goal's uploads, by day. Source: cm/offlinegoalconversionsummary."""

    goal_id: str
    goal_name: str
    days: tuple[UploadDay, ...]
