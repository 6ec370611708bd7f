"""Microsoft's documented rules for uploaded rows: one function per rule, its sentence and page in the docstring.

A rule looks at one row and the scene around it, and returns a refusal or None. Rows meet every rule, so a row may be
refused several times over, as cm/batcherror allows. Codes without a rule here (5612, 5613, 5623, 5627 and the model's
length) have conditions that Microsoft does not publish; a fault can still answer them.

Numbers and symbols: guides/operation-error-codes. Symbols of cm/dailysummary have no published number and carry
UNPUBLISHED.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TypeAlias

from integrations.microsoft_ads.emulator.books import (
    ACCOUNT_MISMATCH,
    ALREADY_RETRACTED,
    DUPLICATE_KEY,
    GOAL_INACTIVE,
    MISSING_IDENTIFIERS,
    NO_MATCHING_CLICK,
    ORIGINAL_NOT_FOUND,
    UNORDERED,
    Account,
    Booking,
    Click,
    Goal,
    Settings,
)
from integrations.microsoft_ads.emulator.wire import ApiError, JsonObject, Reader, SentMoment, campaign_fault, names

BATCH_LIMIT = 1000
CONVERSION_LIFE = timedelta(days=90)
CLICK_LIFE = timedelta(days=90)
UNPUBLISHED = 99999  # Microsoft publishes no number for these symbols; a client goes by ErrorCode
CLICK_ID = re.compile(r"[0-9a-fA-F]{32}", re.ASCII)
SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
MAX_VALUE = Decimal(999999999999)
VALUE_DECIMALS = 3

# guides/currencies, "Conversion Goal Revenue Currencies". The lira is listed as TRL; TRY is not on the list.
CURRENCIES = names(
    """
    AED ALL AMD ARS AUD AZN BDT BGN BHD BND BOB BRL BWP BZD CAD CHF CLP CNY COP CRC CZK DKK DOP DZD EGP ETB EUR FJD GBP
    GEL GHS GTQ HKD HNL HRK HUF IDR ILS INR IQD ISK JMD JOD JPY KES KGS KRW KWD KZT LBP LKR LYD MAD MKD MNT MOP MUR MVR
    MWK MXN MYR NGN NIO NOK NZD OMR PAB PEN PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SEK SGD THB TND TOP TRL TTD TWD TZS
    UAH UGX USD UYU UZS VEF VND XAF XCD XOF YER ZAR ZMW
    """
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """One entry of PartialErrors, but for its index."""

    code: int
    symbol: str
    message: str
    member: str

    def to_json(self, index: int, array: str) -> JsonObject:
        return {
            "Type": "BatchError",
            "Index": index,
            "Code": self.code,
            "ErrorCode": self.symbol,
            "Message": self.message,
            "Details": None,
            "FieldPath": f"{array}[{index}].{self.member}" if self.member else None,
            "ForwardCompatibilityMap": None,
        }


@dataclass(frozen=True, slots=True)
class ConversionRow:
    """One OfflineConversion as bound (cm/offlineconversion). Empty strings count as absent."""

    name: str | None
    time: SentMoment | None
    click_id: str | None
    email_hash: str | None
    phone_hash: str | None
    value: Decimal | None
    currency: str | None
    credit: Decimal | None
    model: str | None
    as_sent: JsonObject


@dataclass(frozen=True, slots=True)
class AdjustmentRow:
    """One OfflineConversionAdjustment as bound (cm/offlineconversionadjustment)."""

    name: str | None
    time: SentMoment | None
    click_id: str | None
    email_hash: str | None
    phone_hash: str | None
    adjustment_time: SentMoment | None
    adjustment_type: str | None
    value: Decimal | None
    currency: str | None
    as_sent: JsonObject


AnyRow: TypeAlias = ConversionRow | AdjustmentRow

CONVERSION_MEMBERS = names(
    """
    ConversionName ConversionTime ConversionValue ConversionCurrencyCode MicrosoftClickId HashedEmailAddress
    HashedPhoneNumber ExternalAttributionCredit ExternalAttributionModel
    """
)
ADJUSTMENT_MEMBERS = names(
    """
    ConversionName ConversionTime MicrosoftClickId HashedEmailAddress HashedPhoneNumber AdjustmentTime AdjustmentType
    AdjustmentValue AdjustmentCurrencyCode
    """
)


def read_conversion(reader: Reader) -> ConversionRow:
    """Bind one OfflineConversion. Raises ApiError for a member that does not exist or is of another type."""
    reader.only(CONVERSION_MEMBERS)
    return ConversionRow(
        name=reader.text("ConversionName"),
        time=reader.moment("ConversionTime"),
        click_id=reader.text("MicrosoftClickId") or None,
        email_hash=reader.text("HashedEmailAddress") or None,
        phone_hash=reader.text("HashedPhoneNumber") or None,
        value=reader.number("ConversionValue"),
        currency=reader.text("ConversionCurrencyCode"),
        credit=reader.number("ExternalAttributionCredit"),
        model=reader.text("ExternalAttributionModel") or None,
        as_sent=reader.raw(),
    )


def read_adjustment(reader: Reader) -> AdjustmentRow:
    """Bind one OfflineConversionAdjustment. Raises ApiError for a member that does not exist or is of another type."""
    reader.only(ADJUSTMENT_MEMBERS)
    return AdjustmentRow(
        name=reader.text("ConversionName"),
        time=reader.moment("ConversionTime"),
        click_id=reader.text("MicrosoftClickId") or None,
        email_hash=reader.text("HashedEmailAddress") or None,
        phone_hash=reader.text("HashedPhoneNumber") or None,
        adjustment_time=reader.moment("AdjustmentTime"),
        adjustment_type=reader.text("AdjustmentType"),
        value=reader.number("AdjustmentValue"),
        currency=reader.text("AdjustmentCurrencyCode"),
        as_sent=reader.raw(),
    )


@dataclass(frozen=True, slots=True)
class Scene:
    """What a row is judged against: clock, account, and where there are any, the goal of its name and its click."""

    now: datetime
    settings: Settings
    account: Account
    goal: Goal | None
    click: Click | None


ConversionRule: TypeAlias = Callable[[ConversionRow, Scene], Refusal | None]
AdjustmentRule: TypeAlias = Callable[[AdjustmentRow, Scene], Refusal | None]


# The batch


def batch_is_not_empty(count: int) -> ApiError | None:
    """The list of rows is neither null nor empty: 5600 (guides/operation-error-codes)."""
    if count:
        return None
    return campaign_fault(5600, "OfflineConversionsNullOrEmpty", "The list of offline conversions is null or empty.")


def batch_is_within_limit(count: int) -> ApiError | None:
    """A request holds at most 1,000 rows: 5601 (cm/applyofflineconversions)."""
    if count <= BATCH_LIMIT:
        return None
    message = f"A request holds at most {BATCH_LIMIT} offline conversions; this one has {count}."
    return campaign_fault(5601, "OfflineConversionsLimitExceeded", message)


def null_row() -> Refusal:
    """A row is not null: 5602 (guides/operation-error-codes)."""
    return Refusal(5602, "OfflineConversionIsNull", "The offline conversion is null.", "")


# What conversions and adjustments share


def name_is_given(row: AnyRow, _scene: Scene) -> Refusal | None:
    """ConversionName is required: 5605 (cm/offlineconversion)."""
    if row.name:
        return None
    return Refusal(5605, "OfflineConversionNameNullOrEmpty", "The conversion name is null or empty.", "ConversionName")


def name_is_an_offline_goal(row: AnyRow, scene: Scene) -> Refusal | None:
    """ConversionName equals the name of an existing offline goal of the account or its customer, exactly: 5606.

    Source: cm/offlineconversion.
    """
    if not row.name or scene.goal is not None:
        return None
    message = "The conversion name does not match an existing offline conversion goal."
    return Refusal(5606, "OfflineConversionNameInvalid", message, "ConversionName")


def time_is_given(row: AnyRow, _scene: Scene) -> Refusal | None:
    """ConversionTime is required: 5608 (cm/offlineconversion)."""
    if row.time is not None:
        return None
    return Refusal(5608, "OfflineConversionTimeNullOrEmpty", "The conversion time is null or empty.", "ConversionTime")


def time_is_utc(row: AnyRow, _scene: Scene) -> Refusal | None:
    """ConversionTime is UTC: 5607 otherwise, because nothing says how another zone or none is understood.

    Source: cm/offlineconversion.
    """
    if row.time is None or row.time.utc is not None:
        return None
    return Refusal(5607, "OfflineConversionTimeInvalid", "The conversion time is not in UTC.", "ConversionTime")


def time_is_not_in_the_future(row: AnyRow, scene: Scene) -> Refusal | None:
    """ConversionTime is not in the future: 5614 (cm/offlineconversion)."""
    moment = row.time and row.time.utc
    if not moment or moment <= scene.now:
        return None
    return Refusal(5614, "FutureConversionTimeCannotBeSet", "The conversion time is in the future.", "ConversionTime")


def time_is_within_ninety_days(row: AnyRow, scene: Scene) -> Refusal | None:
    """ConversionTime is at most 90 days old at upload: 5609 (cm/offlineconversion; cm/offlineconversionadjustment)."""
    moment = row.time and row.time.utc
    if not moment or moment >= scene.now - CONVERSION_LIFE:
        return None
    return Refusal(5609, "OfflineConversionTimeOutOfWindow", "The conversion is older than 90 days.", "ConversionTime")


def someone_is_identified(row: AnyRow, _scene: Scene) -> Refusal | None:
    """A click id is required unless a hashed e-mail or phone is present: 5603 (cm/offlineconversion)."""
    if row.click_id or row.email_hash or row.phone_hash:
        return None
    message = "The Microsoft click id is null or empty, and there is no hashed identifier."
    return Refusal(5603, "OfflineConversionMicrosoftClickIdNullOrEmpty", message, "MicrosoftClickId")


def click_id_is_well_formed(row: AnyRow, _scene: Scene) -> Refusal | None:
    """A click id is a GUID without dashes, 32 hexadecimal characters: 5604.

    Source: cm/accountproperty, bulk/offline-conversion.
    """
    if not row.click_id or CLICK_ID.fullmatch(row.click_id):
        return None
    message = "The Microsoft click id is not valid."
    return Refusal(5604, "OfflineConversionMicrosoftClickIdInvalid", message, "MicrosoftClickId")


def email_is_hashed(row: AnyRow, _scene: Scene) -> Refusal | None:
    """HashedEmailAddress is a SHA-256 in lower-case hex: ConversionEmailAddressIsNotHashed (cm/dailysummary)."""
    if not row.email_hash or SHA256.fullmatch(row.email_hash):
        return None
    message = "The e-mail address is not hashed with SHA-256."
    return Refusal(UNPUBLISHED, "ConversionEmailAddressIsNotHashed", message, "HashedEmailAddress")


def phone_is_hashed(row: AnyRow, _scene: Scene) -> Refusal | None:
    """HashedPhoneNumber is a SHA-256 in lower-case hex: ConversionPhoneNumberIsNotHashed (cm/dailysummary)."""
    if not row.phone_hash or SHA256.fullmatch(row.phone_hash):
        return None
    message = "The phone number is not hashed with SHA-256."
    return Refusal(UNPUBLISHED, "ConversionPhoneNumberIsNotHashed", message, "HashedPhoneNumber")


def value_is_in_range(row: AnyRow, _scene: Scene) -> Refusal | None:
    """A value is from 0 to 999999999999 with at most 3 decimals: 5610 (help:hlp_BA_CONC_UETv2OfflineConversion)."""
    if row.value is None:
        return None
    exponent = row.value.normalize().as_tuple().exponent
    if 0 <= row.value <= MAX_VALUE and isinstance(exponent, int) and exponent >= -VALUE_DECIMALS:
        return None
    member = "ConversionValue" if isinstance(row, ConversionRow) else "AdjustmentValue"
    return Refusal(5610, "OfflineConversionValueInvalid", "The value is not valid.", member)


def currency_is_listed(row: AnyRow, _scene: Scene) -> Refusal | None:
    """A currency is one of the conversion goal currencies: 5611 (guides/currencies)."""
    if row.currency is None or row.currency in CURRENCIES:
        return None
    member = "ConversionCurrencyCode" if isinstance(row, ConversionRow) else "AdjustmentCurrencyCode"
    return Refusal(5611, "OfflineConversionCurrencyCodeInvalid", "The currency code is not valid.", member)


# Conversions


def goal_is_old_enough(_row: ConversionRow, scene: Scene) -> Refusal | None:
    """A goal takes conversions two hours after it was created: 5615 (cm/applyofflineconversions)."""
    if scene.goal is None or scene.now - scene.goal.created_at >= scene.settings.goal_settle:
        return None
    message = "The conversion goal was created too recently. Wait two hours after its creation."
    return Refusal(5615, "OfflineConversionNotAcceptedForGoal", message, "ConversionName")


def conversion_follows_its_click(row: ConversionRow, scene: Scene) -> Refusal | None:
    """The conversion is not earlier than its click: 5616 (cm/offlineconversion). Known for clicks made here."""
    moment = row.time and row.time.utc
    if not moment or scene.click is None or moment >= scene.click.clicked_at.replace(microsecond=0):
        return None
    message = "The conversion time is earlier than the click."
    return Refusal(5616, "ConversionTimeEarlierThanClickTime", message, "ConversionTime")


def conversion_is_within_the_goals_window(row: ConversionRow, scene: Scene) -> Refusal | None:
    """The conversion is within the goal's window from its click: 5617 (cm/offlineconversiongoal).

    Known for clicks made here.
    """
    moment = row.time and row.time.utc
    if not moment or scene.click is None or scene.goal is None:
        return None
    if moment <= scene.click.clicked_at + timedelta(minutes=scene.goal.window_minutes):
        return None
    message = "The click is outside the goal's conversion window."
    return Refusal(5617, "ClickIdDateTimeOutsideGoalConversionWindow", message, "ConversionTime")


def goal_is_enhanced(row: ConversionRow, scene: Scene) -> Refusal | None:
    """Without a click id the goal must be an enhanced one: NotEligibleForEnhancedConversions (cm/dailysummary).

    With a click id the row counts as a regular conversion and the hashes are dropped
    (help:hlp_BA_CONC_UET_EnhancedConversions).
    """
    if row.click_id or not (row.email_hash or row.phone_hash) or scene.goal is None or scene.goal.is_enhanced:
        return None
    message = "The goal is not eligible for enhanced conversions, and there is no click id."
    return Refusal(UNPUBLISHED, "NotEligibleForEnhancedConversions", message, "ConversionName")


def credit_needs_an_external_goal(row: ConversionRow, scene: Scene) -> Refusal | None:
    """Credit and model go to goals with IsExternallyAttributed only: GoalNotEligibleForExternalAttribution.

    Source: cm/offlineconversion.
    """
    if (row.credit is None and row.model is None) or scene.goal is None or scene.goal.is_externally_attributed:
        return None
    message = "The goal is not externally attributed."
    return Refusal(UNPUBLISHED, "GoalNotEligibleForExternalAttribution", message, "ExternalAttributionCredit")


def external_goal_needs_credit_and_model(row: ConversionRow, scene: Scene) -> Refusal | None:
    """An externally attributed goal takes rows with both credit and model: ExternalAttributionRequiredFieldEmpty.

    Source: cm/dailysummary.
    """
    if scene.goal is None or not scene.goal.is_externally_attributed:
        return None
    if row.credit is not None and row.model:
        return None
    message = "An externally attributed goal needs both credit and model."
    member = "ExternalAttributionCredit" if row.credit is None else "ExternalAttributionModel"
    return Refusal(UNPUBLISHED, "ExternalAttributionRequiredFieldEmpty", message, member)


def credit_is_a_share(row: ConversionRow, _scene: Scene) -> Refusal | None:
    """ExternalAttributionCredit is above 0 and at most 1: ExternalAttributionCreditValueInvalid.

    Source: cm/offlineconversion.
    """
    if row.credit is None or 0 < row.credit <= 1:
        return None
    message = "The credit is not above 0 and at most 1."
    return Refusal(UNPUBLISHED, "ExternalAttributionCreditValueInvalid", message, "ExternalAttributionCredit")


# Adjustments


def adjustment_type_is_known(row: AdjustmentRow, _scene: Scene) -> Refusal | None:
    """AdjustmentType is Restate or Retract: 5618 (cm/offlineconversionadjustment)."""
    if row.adjustment_type in ("Restate", "Retract"):
        return None
    message = "The adjustment type is neither Restate nor Retract."
    return Refusal(5618, "OfflineConversionInvalidAdjustmentType", message, "AdjustmentType")


def adjustment_time_is_given(row: AdjustmentRow, _scene: Scene) -> Refusal | None:
    """AdjustmentTime is required: 5619 (cm/offlineconversionadjustment)."""
    if row.adjustment_time is not None:
        return None
    message = "The adjustment time is null or empty."
    return Refusal(5619, "OfflineConversionAdjustmentTimeNullOrEmpty", message, "AdjustmentTime")


def adjustment_time_is_utc(row: AdjustmentRow, _scene: Scene) -> Refusal | None:
    """AdjustmentTime is UTC: 5621 otherwise, because nothing says how another zone or none is understood.

    Source: cm/offlineconversionadjustment.
    """
    if row.adjustment_time is None or row.adjustment_time.utc is not None:
        return None
    message = "The adjustment time is not in UTC."
    return Refusal(5621, "OfflineConversionAdjustmentTimeInvalid", message, "AdjustmentTime")


def adjustment_follows_its_conversion(row: AdjustmentRow, _scene: Scene) -> Refusal | None:
    """AdjustmentTime is not earlier than ConversionTime: 5620 (cm/offlineconversionadjustment)."""
    adjusted, converted = row.adjustment_time and row.adjustment_time.utc, row.time and row.time.utc
    if not adjusted or not converted or adjusted >= converted:
        return None
    message = "The adjustment time is earlier than the conversion time."
    symbol = "OfflineConversionAdjustmentTimeEarlierThanConversionTime"
    return Refusal(5620, symbol, message, "AdjustmentTime")


def adjustment_time_is_not_in_the_future(row: AdjustmentRow, scene: Scene) -> Refusal | None:
    """AdjustmentTime is not in the future: 5622 (cm/offlineconversionadjustment)."""
    adjusted = row.adjustment_time and row.adjustment_time.utc
    if not adjusted or adjusted <= scene.now:
        return None
    message = "The adjustment time is in the future."
    return Refusal(5622, "OfflineConversionFutureAdjustmentTimeCannotBeSet", message, "AdjustmentTime")


def retract_has_no_value(row: AdjustmentRow, _scene: Scene) -> Refusal | None:
    """A Retract carries no AdjustmentValue: 5624 (cm/offlineconversionadjustment)."""
    if row.adjustment_type != "Retract" or row.value is None:
        return None
    message = "A retraction takes no adjustment value."
    return Refusal(5624, "OfflineConversionAdjustmentValueNotExpected", message, "AdjustmentValue")


def restate_has_a_value(row: AdjustmentRow, _scene: Scene) -> Refusal | None:
    """A Restate carries the new total: 5625 (cm/offlineconversionadjustment)."""
    if row.adjustment_type != "Restate" or row.value is not None:
        return None
    message = "A restatement needs an adjustment value."
    return Refusal(5625, "OfflineConversionAdjustmentValueRequired", message, "AdjustmentValue")


def restate_has_a_currency(row: AdjustmentRow, scene: Scene) -> Refusal | None:
    """A Restate has a currency of its own or its goal's: 5626 (cm/offlineconversionadjustment)."""
    if row.adjustment_type != "Restate" or row.currency is not None:
        return None
    if scene.goal is None or scene.goal.revenue_currency:
        return None
    message = "A restatement needs a currency: the goal has none."
    return Refusal(5626, "OfflineConversionCurrencyValueRequired", message, "AdjustmentCurrencyCode")


SHARED_RULES: tuple[Callable[[AnyRow, Scene], Refusal | None], ...] = (
    name_is_given,
    name_is_an_offline_goal,
    time_is_given,
    time_is_utc,
    time_is_not_in_the_future,
    time_is_within_ninety_days,
    someone_is_identified,
    click_id_is_well_formed,
    email_is_hashed,
    phone_is_hashed,
    value_is_in_range,
    currency_is_listed,
)
CONVERSION_RULES: tuple[ConversionRule, ...] = (
    *SHARED_RULES,
    goal_is_old_enough,
    conversion_follows_its_click,
    conversion_is_within_the_goals_window,
    goal_is_enhanced,
    credit_needs_an_external_goal,
    external_goal_needs_credit_and_model,
    credit_is_a_share,
)
ADJUSTMENT_RULES: tuple[AdjustmentRule, ...] = (
    *SHARED_RULES,
    adjustment_type_is_known,
    adjustment_time_is_given,
    adjustment_time_is_utc,
    adjustment_follows_its_conversion,
    adjustment_time_is_not_in_the_future,
    retract_has_no_value,
    restate_has_a_value,
    restate_has_a_currency,
)


def refusals_of_conversion(row: ConversionRow, scene: Scene) -> list[Refusal]:
    return [refusal for rule in CONVERSION_RULES if (refusal := rule(row, scene))]


def refusals_of_adjustment(row: AdjustmentRow, scene: Scene) -> list[Refusal]:
    return [refusal for rule in ADJUSTMENT_RULES if (refusal := rule(row, scene))]


# What Microsoft takes without a word, and shows in a report at most


def is_repeat(row: ConversionRow, earlier: Booking | None, settings: Settings) -> str | None:
    """The first of one key wins, later ones are set aside without any error.

    Source: cm/offlineconversionunattributedreason, section 4.3.
    """
    if earlier is None or (not row.click_id and not settings.dedupe_hash_only):
        return None
    return DUPLICATE_KEY


def is_to_a_paused_goal(goal: Goal) -> str | None:
    """A paused goal counts nothing, and no error says so at upload (cm/conversiongoalstatus)."""
    return GOAL_INACTIVE if goal.status == "Paused" else None


def is_counted(goal: Goal, click_id: str | None, *, already: bool) -> bool:
    """CountType Unique counts the first conversion of a click and goal only, and no error tells of the others.

    Source: cm/offlineconversiongoal.
    """
    return not (goal.count_type == "Unique" and click_id and already)


def is_unattributed(row: AnyRow, scene: Scene) -> str | None:
    """Acceptance is not attribution: a click of another account, unknown, unsettled or past 90 days is taken silently.

    Source: cm/offlineconversionunattributedreason; help:hlp_BA_CONC_UETv2OfflineConversion. People's hashes are known
    to nobody here.
    """
    if not row.click_id:
        return MISSING_IDENTIFIERS
    click = scene.click
    if (
        click is None
        or scene.now - click.clicked_at > CLICK_LIFE
        or scene.now - click.clicked_at < scene.settings.click_settle
    ):
        return NO_MATCHING_CLICK
    return None if click.account_id == scene.account.id else ACCOUNT_MISMATCH


def original_is_missing(original: Booking | None, now: datetime, settings: Settings) -> str | None:
    """An adjustment finds its original once that has been processed; before, it is set aside without an error.

    Source: section 4.5.
    """
    if original is None or now - original.received_at < settings.adjustment_settle:
        return ORIGINAL_NOT_FOUND
    return None


def original_is_retracted(original: Booking) -> str | None:
    """Nothing follows a retraction (cm/offlineconversionunattributedreason, ConversionAlreadyRetracted)."""
    return ALREADY_RETRACTED if original.retracted else None


def adjustment_is_not_newer(original: Booking, adjusted_at: datetime) -> str | None:
    """Each adjustment has a later AdjustmentTime than the last (section 4.5).

    The outcome of another order is not documented. It is set aside, which also makes a repeated adjustment harmless.
    """
    if original.adjusted_at is None or adjusted_at > original.adjusted_at:
        return None
    return DUPLICATE_KEY if adjusted_at == original.adjusted_at else UNORDERED
