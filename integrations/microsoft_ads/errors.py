"""What can go wrong with Microsoft, and what to do about it.

    MicrosoftAdsError
     +-- ConnectionFailed            never reached: nothing was taken
     +-- NoAnswer                    timeout, reset or a cut-off answer after sending: outcome unknown
     +-- UnexpectedAnswer            an answer of no documented shape: outcome unknown unless its status tells
     +-- Fault                       Microsoft's documented refusal of the whole request
     +-- TokenError                  the sign-in endpoint
          +-- GrantDead              the person has to sign in again
          |    +-- ScopeNotGranted   signed in, but without leave to manage ads
          +-- ConsentDeclined        the person said no
          +-- ClientMisconfigured    our registration, secret or request: nobody's connection is at fault
          +-- TokenEndpointUnavailable   try again later; the connection is healthy

Every error says `what_to_do`. It is looked up in one table, KNOWN_ERRORS: by the symbol first, as newer errors have no
published number and some have two spellings, then by the number. No error ever holds a token, a secret or a code.
"""

# ruff: noqa: N818 - `Fault` is Microsoft's own word, and the names read as what happened

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum


class WhatToDo(StrEnum):
    """What an error asks for. Declared in the order in which several errors of one answer are acted on."""

    RENEW_TOKEN = "renew_token"  # noqa: S105 - a verb, not a token
    REFUSE = "refuse"  # permanent for this record
    EXPIRED = "expired"  # permanent: too old to count
    OPERATOR = "operator"  # our bug or our configuration
    RECONNECT = "reconnect"  # the person who connected signs in again
    PERMISSION = "permission"  # the login lacks access to this account
    ACCOUNT = "account"  # the account or customer cannot take conversions now
    GOAL = "goal"  # the goal is missing, renamed or unfit
    SPLIT = "split"  # too much in one request
    UNKNOWN = "unknown"  # not in the table: try again, then a person looks at it
    GOAL_TOO_NEW = "goal_too_new"
    WAIT_FOR_TIME = "wait_for_time"  # its time lies ahead of Microsoft's clock
    THROTTLE = "throttle"  # a minute at least
    RETRY = "retry"

    @property
    def permanent(self) -> bool:
        """Say whether trying again can never help, whatever anyone fixes."""
        return self in (WhatToDo.REFUSE, WhatToDo.EXPIRED)


_URGENCY = {what: place for place, what in enumerate(WhatToDo)}


@dataclass(frozen=True, slots=True)
class KnownError:
    """A documented error: its number, every spelling of its symbol, what to do, and the page that has it.

    `code` is None where Microsoft publishes a symbol only, `symbols` empty where it publishes a number only.
    """

    code: int | None
    symbols: tuple[str, ...]
    what_to_do: WhatToDo
    source: str


def _from(source: str, rows: Iterable[tuple[int | None, str, WhatToDo]]) -> Iterator[KnownError]:
    return (KnownError(code, tuple(symbols.split()), what, source) for code, symbols, what in rows)


_W = WhatToDo

# Microsoft does not know the click, or does not take it; the same conversion with another click it may take.
# Source: guides/operation-error-codes.
CLICK_REFUSED = (5603, 5604, 5616, 5617)

KNOWN_ERRORS: tuple[KnownError, ...] = (
    # Sign-in, access and transport. Customer Management reuses 205, 207 and 209 for fields of an address, which
    # none of our operations sends.
    *_from(
        "guides/operation-error-codes",
        [
            (0, "InternalError", _W.RETRY),
            (100, "NullRequest", _W.OPERATOR),
            (105, "InvalidCredentials", _W.RENEW_TOKEN),  # its Detail decides: see what_to_do
            (106, "UserIsNotAuthorized", _W.PERMISSION),  # also a viewer who writes
            (108, "UserCompromised", _W.RECONNECT),
            (109, "AuthenticationTokenExpired", _W.RENEW_TOKEN),
            (113, "InvalidDateObject", _W.REFUSE),
            (116, "RequestMissingHeaders", _W.OPERATOR),
            (117, "CallRateExceeded", _W.THROTTLE),
            (120, "UserLoginAccessDenied", _W.RECONNECT),
            (122, "PersonalIdentityNotAvailable", _W.RECONNECT),
            (123, "WorkIdentityNotAvailable", _W.RECONNECT),
            (124, "PersonalIdentityMigratedToWork", _W.RECONNECT),
            (125, "PersonalIdentityNotAllowedByCustomer", _W.RECONNECT),
            (126, "IdentityTypeMismatch", _W.RECONNECT),
            (201, "ApiInputValidationError", _W.OPERATOR),
            (202, "ApiExecutionError", _W.RETRY),
            (203, "NullParameter", _W.OPERATOR),
            (204, "OperationNotSupported", _W.OPERATOR),
            (205, "InvalidVersion", _W.OPERATOR),
            (206, "NullArrayArgument", _W.OPERATOR),
            (207, "ConcurrentRequestOverLimit", _W.THROTTLE),
            (208, "InvalidAccount", _W.ACCOUNT),
            (210, "EntityNotExistent", _W.OPERATOR),
            (303, "ApiVersionNoLongerSupported", _W.OPERATOR),
            (474, "", _W.OPERATOR),
            (513, "CampaignServiceEntityIdsArrayExceedsLimit", _W.OPERATOR),
            (514, "CampaignServiceEntityIdsArrayExceedsLimit", _W.OPERATOR),
            (515, "DuplicateId", _W.OPERATOR),
            (516, "CampaignServiceIdsNotPassed", _W.OPERATOR),
            (517, "CampaignServiceEntityIdInvalid", _W.OPERATOR),
            (1001, "", _W.RECONNECT),  # Customer Management; also where the customer demands work accounts
            (1008, "CampaignServiceInvalidAccountStatus", _W.ACCOUNT),
            (1010, "CampaignServiceSystemInReadOnlyMode", _W.RETRY),
            (1029, "CampaignServiceCustomerIdHasToBeSpecified", _W.OPERATOR),
            (1030, "CampaignServiceAccountIdHasToBeSpecified", _W.OPERATOR),
            (1031, "CampaignServiceCannotPerformCurrentOperation", _W.OPERATOR),
            (1102, "CampaignServiceInvalidAccountId", _W.OPERATOR),
            (1490, "CampaignServiceInvalidCustomerId", _W.OPERATOR),
            (2928, "CampaignServiceCustomerDataBeingMigrated", _W.RETRY),
            (4149, "CampaignServiceConcurrentStoreModification", _W.RETRY),
        ],
    ),
    # Offline conversions and adjustments. The second spelling is that of the upload report (cm/dailysummary).
    *_from(
        "guides/operation-error-codes, cm/dailysummary",
        [
            (5600, "OfflineConversionsNullOrEmpty", _W.OPERATOR),
            (5601, "OfflineConversionsLimitExceeded OfflineConversionBatchSizeExceedsLimit", _W.SPLIT),
            (5602, "OfflineConversionIsNull", _W.OPERATOR),
            (5603, "OfflineConversionMicrosoftClickIdNullOrEmpty OfflineConversionMSClickIdNullOrEmpty", _W.REFUSE),
            (5604, "OfflineConversionMicrosoftClickIdInvalid OfflineConversionMSClickIdInvalid", _W.REFUSE),
            (5605, "OfflineConversionNameNullOrEmpty", _W.GOAL),
            (5606, "OfflineConversionNameInvalid", _W.GOAL),
            (5607, "OfflineConversionTimeInvalid", _W.REFUSE),
            (5608, "OfflineConversionTimeNullOrEmpty", _W.REFUSE),
            (5609, "OfflineConversionTimeOutOfWindow", _W.EXPIRED),
            (5610, "OfflineConversionValueInvalid", _W.REFUSE),
            (5611, "OfflineConversionCurrencyCodeInvalid", _W.REFUSE),
            (5612, "OfflineConversionsApplyFailed", _W.RETRY),
            (5613, "OfflineConversionPilotNotEnabledForCustomer", _W.ACCOUNT),
            (5614, "FutureConversionTimeCannotBeSet", _W.WAIT_FOR_TIME),
            (5615, "OfflineConversionNotAcceptedForGoal OfflineConversionGoalTooRecent", _W.GOAL_TOO_NEW),
            (5616, "ConversionTimeEarlierThanClickTime", _W.REFUSE),
            (5617, "ClickIdDateTimeOutsideGoalConversionWindow", _W.REFUSE),
            (5618, "OfflineConversionInvalidAdjustmentType", _W.OPERATOR),
            (5619, "OfflineConversionAdjustmentTimeNullOrEmpty", _W.OPERATOR),
            (5620, "OfflineConversionAdjustmentTimeEarlierThanConversionTime", _W.REFUSE),
            (5621, "OfflineConversionAdjustmentTimeInvalid", _W.REFUSE),
            (5622, "OfflineConversionFutureAdjustmentTimeCannotBeSet", _W.WAIT_FOR_TIME),
            (5623, "OfflineConversionAdjustmentTimeOutOfWindow", _W.EXPIRED),
            (5624, "OfflineConversionAdjustmentValueNotExpected", _W.OPERATOR),
            (5625, "OfflineConversionAdjustmentValueRequired", _W.OPERATOR),
            (5626, "OfflineConversionCurrencyValueRequired", _W.OPERATOR),
            (5627, "OfflineConversionRestateRetractNotSupported", _W.REFUSE),
            (8004, "EmailMustBeHashed", _W.OPERATOR),
        ],
    ),
    # Published as symbols, without a number.
    *_from(
        "cm/dailysummary, cm/offlineconversion",
        [
            (None, "NotEligibleForEnhancedConversions", _W.GOAL),
            (None, "ConversionEmailAddressIsNotHashed", _W.OPERATOR),
            (None, "ConversionPhoneNumberIsNotHashed", _W.OPERATOR),
            (None, "GoalNotEligibleForExternalAttribution", _W.OPERATOR),
            (None, "ExternalAttributionRequiredFieldEmpty", _W.GOAL),  # mapped to a goal that wants credits
            (None, "ExternalAttributionModelTooLong", _W.OPERATOR),
            (None, "ExternalAttributionCreditValueInvalid", _W.REFUSE),
        ],
    ),
    # Goals.
    *_from(
        "guides/operation-error-codes",
        [
            (5314, "InvalidConversionGoalId", _W.GOAL),
            (5315, "DuplicateConversionGoalId", _W.OPERATOR),
            (5316, "DuplicateConversionGoalName", _W.OPERATOR),
            (5317, "ConversionGoalNameAlreadyExists", _W.GOAL),
            (5318, "ConversionGoalIdArrayExceedsLimit", _W.OPERATOR),
            (5319, "ConversionGoalNameNotPassed", _W.GOAL),
            (5320, "InvalidConversionGoalName", _W.GOAL),
            (5321, "ConversionGoalsNotPassed", _W.OPERATOR),
            (5322, "ConversionGoalArrayExceedsLimit", _W.OPERATOR),
            (5323, "ConversionGoalIsNull", _W.OPERATOR),
            (5324, "ConversionGoalIdIsNotNull", _W.OPERATOR),
            (5325, "ConversionGoalIdIsNull", _W.OPERATOR),
            (5326, "TotalConversionGoalsExceedAccountLimit", _W.ACCOUNT),
            (5327, "TotalConversionGoalsExceedCustomerLimit", _W.ACCOUNT),
            (5328, "InvalidConversionGoalStatus", _W.GOAL),
            (5329, "ConversionGoalTypesNotPassed", _W.OPERATOR),
            (5331, "ConversionGoalTypeNotMatched", _W.GOAL),
            (5332, "InvalidConversionGoalRevenueType", _W.GOAL),
            (5333, "InvalidConversionGoalRevenueValue", _W.GOAL),
            (5337, "InvalidConversionGoalConversionWindow", _W.GOAL),
            (5347, "ConversionGoalTypesDoNotMatchExistingValue", _W.GOAL),
            (5351, "InvalidGoalCurrencyCode", _W.GOAL),
            (5352, "GoalCurrencyCodeNotSupported", _W.GOAL),
            (5355, "GoalCurrencyCodeIsNull", _W.GOAL),
            (5356, "GoalTypeCannotBeChanged", _W.GOAL),
            (6608, "InvalidViewThroughConversionWindowInMinutes", _W.OPERATOR),
            (6609, "ViewThroughConversionNotApplicableToGoalType", _W.OPERATOR),
            (6610, "CustomerNotEligibleForConversionGoalSelection", _W.OPERATOR),
        ],
    ),
    # UET tags.
    *_from(
        "guides/operation-error-codes",
        [
            (5300, "InvalidUetTagId", _W.OPERATOR),
            (5301, "DuplicateUetTagId", _W.OPERATOR),
            (5302, "DuplicateUetTagName", _W.OPERATOR),
            (5303, "UetTagNameAlreadyExists", _W.OPERATOR),
            (5304, "UetTagIdsExceedsLimit", _W.OPERATOR),
            (5305, "UetTagNameNotPassed", _W.OPERATOR),
            (5306, "InvalidUetTagName", _W.OPERATOR),
            (5307, "InvalidUetTagDescription", _W.OPERATOR),
            (5308, "UetTagsNotPassed", _W.OPERATOR),
            (5309, "UetTagArrayExceedsLimit", _W.OPERATOR),
            (5310, "UetTagIsNull", _W.OPERATOR),
            (5311, "UetTagIdIsNotNull", _W.OPERATOR),
            (5312, "UetTagIdIsNull", _W.OPERATOR),
            (5313, "TotalUetTagsExceedLimit", _W.ACCOUNT),
            (5330, "UetTagIdsNotPassed", _W.OPERATOR),
        ],
    ),
)

_BY_CODE = {known.code: known.what_to_do for known in KNOWN_ERRORS if known.code is not None}
_BY_SYMBOL = {symbol: known.what_to_do for known in KNOWN_ERRORS for symbol in known.symbols}


def what_to_do(code: int | None, symbol: str, detail: str = "") -> WhatToDo:
    """Look up what an error of Microsoft asks for; UNKNOWN for one that no page has.

    The symbol wins over the number. `detail` matters for 105 only: a token that is no longer good is renewed once,
    while a user who is gone or inactive has to sign in again (guides/handle-service-errors-exceptions).
    """
    by_symbol = _BY_SYMBOL.get(symbol)
    is_invalid_credentials = symbol == "InvalidCredentials" or (by_symbol is None and code == 105)
    if is_invalid_credentials and ("UserNotFound" in detail or "AccountInactive" in detail):
        return WhatToDo.RECONNECT
    if by_symbol is not None:
        return by_symbol
    return WhatToDo.UNKNOWN if code is None else _BY_CODE.get(code, WhatToDo.UNKNOWN)


def what_to_do_by_status(http_status: int) -> WhatToDo:
    """Read an HTTP status that came without a code. Which status goes with which code is not documented.

    Microsoft's own .NET client takes 404 and 501 for a service that is away for an hour.
    """
    if http_status >= 500 or http_status in (404, 408):
        return WhatToDo.RETRY
    known = {401: WhatToDo.RENEW_TOKEN, 403: WhatToDo.PERMISSION, 413: WhatToDo.SPLIT, 429: WhatToDo.THROTTLE}
    return known.get(http_status, WhatToDo.OPERATOR if http_status >= 400 else WhatToDo.UNKNOWN)


def urgency(what: WhatToDo) -> int:
    """Rank what to do when one answer carries several errors: the lowest is acted on."""
    return _URGENCY[what]


class MicrosoftAdsError(Exception):
    """A call that did not do what it was for.

    `permanent` says that trying again can never help. `outcome_unknown` says that Microsoft may have taken the
    rows nevertheless: send the very same bytes again, it keeps the first. `retry_after_seconds` is Microsoft's own
    wish, if it had one. `body` is its answer for the log, cut at 64 KiB.
    """

    def __init__(
        self,
        message: str,
        *,
        what_to_do: WhatToDo,
        outcome_unknown: bool = False,
        code: int | None = None,
        symbol: str = "",
        http_status: int | None = None,
        tracking_id: str = "",
        body: str = "",
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.what_to_do = what_to_do
        self.outcome_unknown = outcome_unknown
        self.code = code
        self.symbol = symbol
        self.http_status = http_status
        self.tracking_id = tracking_id
        self.body = body
        self.retry_after_seconds = retry_after_seconds

    @property
    def permanent(self) -> bool:
        """Say whether trying again can never help."""
        return self.what_to_do.permanent

    def __str__(self) -> str:
        name = " ".join(part for part in (self.symbol, "" if self.code is None else str(self.code)) if part)
        notes = [f"HTTP {self.http_status}"] if self.http_status else []
        if self.tracking_id:
            notes.append(f"TrackingId {self.tracking_id}")
        text = f"{name}: {self.message}" if name else self.message
        return f"{text} [{', '.join(notes)}]" if notes else text


class ConnectionFailed(MicrosoftAdsError):
    """Microsoft was never reached, so nothing was taken."""


class NoAnswer(MicrosoftAdsError):
    """The request was sent, and no whole answer came back."""


class UnexpectedAnswer(MicrosoftAdsError):
    """Something answered, in a shape that no page of Microsoft has."""


class Fault(MicrosoftAdsError):
    """Microsoft refused the request as a whole, in one of its documented shapes."""


class TokenError(MicrosoftAdsError):
    """The sign-in endpoint gave no token.

    `error` is the OAuth error, the one thing to branch on. `error_codes` (the AADSTS numbers), `trace_id` and
    `correlation_id` are for the log and for Microsoft's support. Their description is never kept: it can name people.
    Source: entra/reference-error-codes.
    """

    default_what_to_do = WhatToDo.UNKNOWN

    def __init__(
        self,
        message: str,
        *,
        error: str = "",
        error_codes: tuple[int, ...] = (),
        trace_id: str = "",
        correlation_id: str = "",
        http_status: int | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(
            message,
            what_to_do=self.default_what_to_do,
            symbol=error,
            http_status=http_status,
            tracking_id=trace_id,
            retry_after_seconds=retry_after_seconds,
        )
        self.error = error
        self.error_codes = error_codes
        self.trace_id = trace_id
        self.correlation_id = correlation_id


class GrantDead(TokenError):
    """The grant is revoked, expired or needs the person: they connect again."""

    default_what_to_do = WhatToDo.RECONNECT


class ScopeNotGranted(GrantDead):
    """Signed in, but without `msads.manage` or a refresh token. Source: guides/authentication-oauth-mfa."""


class ConsentDeclined(TokenError):
    """The person declined. Nothing is broken; they may try again."""

    default_what_to_do = WhatToDo.RECONNECT


class ClientMisconfigured(TokenError):
    """Our registration, secret or request is wrong, for every customer at once: no connection is to blame."""

    default_what_to_do = WhatToDo.OPERATOR


class TokenEndpointUnavailable(TokenError):
    """The sign-in service is away, or did not answer as documented. The connection stays healthy."""

    default_what_to_do = WhatToDo.RETRY


# entra/reference-error-codes and entra/v2-oauth2-auth-code-flow; the same words come to the redirect URI.
TOKEN_ERRORS: dict[str, type[TokenError]] = {
    "invalid_grant": GrantDead,
    "interaction_required": GrantDead,
    "consent_required": GrantDead,
    "login_required": GrantDead,
    "access_denied": ConsentDeclined,
    "invalid_client": ClientMisconfigured,
    "unauthorized_client": ClientMisconfigured,
    "invalid_request": ClientMisconfigured,
    "invalid_scope": ClientMisconfigured,
    "invalid_resource": ClientMisconfigured,
    "unsupported_grant_type": ClientMisconfigured,
    "unsupported_response_type": ClientMisconfigured,
    "temporarily_unavailable": TokenEndpointUnavailable,
    "server_error": TokenEndpointUnavailable,
}


def token_error_class(error: str) -> type[TokenError]:
    """Return the class for an OAuth `error`, from the token endpoint or in the query of the redirect URI."""
    return TOKEN_ERRORS.get(error, TokenError)
