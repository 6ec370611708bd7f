"""What Microsoft's silence and its troubles mean: which errors say that a call was not served, and their names.

Microsoft gives these no symbol, so ours stand in the column of its symbols, and `forwarding/errors.py` has the words.
"""

from enum import StrEnum

from integrations.microsoft_ads.errors import (
    ConnectionFailed,
    Fault,
    MicrosoftAdsError,
    NoAnswer,
    TokenError,
    UnexpectedAnswer,
    WhatToDo,
    what_to_do,
)
from integrations.microsoft_ads.shapes import ItemError

INTERNAL_ERROR = 0


class Unserved(StrEnum):
    """Our own words in the column of Microsoft's symbols."""

    UNREACHABLE = "Unreachable"
    NO_ANSWER = "NoAnswer"
    SERVER_ERROR = "ServerError"
    NOT_UNDERSTOOD = "NotUnderstood"
    NO_TOKEN = "NoToken"  # noqa: S105 - a name, not a token


def is_unserved(error: MicrosoftAdsError) -> bool:
    """Say whether a call was not served: a 5xx, no answer, no connection, a passing trouble, an unknown outcome.

    So is one for which the sign-in gave no token, for a reason that no page has.
    """
    is_odd_sign_in = isinstance(error, TokenError) and error.what_to_do is WhatToDo.UNKNOWN
    return error.outcome_unknown or error.what_to_do is WhatToDo.RETRY or is_odd_sign_in


def said_by(error: MicrosoftAdsError) -> ItemError:
    """Return what a failed call says about each of its rows, under our own symbol where Microsoft gave none."""
    return ItemError(error.code, _own_symbol(error) or error.symbol, error.message)


def _own_symbol(error: MicrosoftAdsError) -> str:
    match error:
        case ConnectionFailed():
            return Unserved.UNREACHABLE
        case NoAnswer():
            return Unserved.NO_ANSWER
        case TokenError() if is_unserved(error):
            return Unserved.NO_TOKEN
        case UnexpectedAnswer() if is_unserved(error):
            return Unserved.SERVER_ERROR if error.what_to_do is WhatToDo.RETRY else Unserved.NOT_UNDERSTOOD
        case _:
            return ""


def may_be_one_rows_doing(error: MicrosoftAdsError) -> bool:
    """Say whether an unserved call may have failed for one of its rows: InternalError, or a code of no page.

    0 is also what an input gets that Microsoft does not map to a code (guides/operation-error-codes).
    """
    return isinstance(error, Fault) and (
        error.code == INTERNAL_ERROR or what_to_do(error.code, error.symbol) is WhatToDo.UNKNOWN
    )
