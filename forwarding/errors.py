"""The one catalogue of what a person is told: every code's title, cause and fix, and every reason for not sending.

Forward Logs, the API and the emails all read it, so they say the same. Which codes exist and what the machine does
about each is `integrations.microsoft_ads.errors`; here are only the words.
Sources: ui reference section 5; guides/operation-error-codes.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from forwarding.goal_names import nearest
from forwarding.models import WAITING, Delivery, Hold, Kind, Skip, Status
from forwarding.sending.claims import EXPIRED_SYMBOL
from forwarding.sending.dead_workers import WORKER_DIED
from forwarding.sending.unserved import Unserved, said_by
from forwarding.stops import Said, said_of
from forwarding.times import CLOCK_MARGIN
from integrations.microsoft_ads.errors import CLICK_REFUSED, TOKEN_ERRORS, MicrosoftAdsError, WhatToDo, what_to_do
from integrations.models import AdAccount

# How a page writes a moment or a day, in its reader's zone.
Writer = Callable[[datetime], str]


@dataclass(frozen=True, slots=True)
class Words:
    """What happened, why, and what to do about it. `fix` is empty where nothing has to be done.

    `page` is where in Convultra the fix is made: `mapping`, `settings`, `integrations` or `install`, "" for elsewhere.
    """

    title: str
    cause: str
    fix: str = ""
    page: str = ""


_CLICK_MISSING = Words(
    "Click ID is missing",
    "Microsoft needs a click ID, or hashed customer data for a goal with enhanced conversions.",
    "Store all 32 characters of msclkid on the landing page, unchanged.",
)
_CLICK_INVALID = Words(
    "Click ID is not valid",
    "Microsoft does not recognise the click ID.",
    "Store all 32 characters of msclkid on the landing page, unchanged.",
)
_GOAL_NAME_MISSING = Words(
    "Goal not found", "The conversion was sent without a goal.", "Map this event to a goal.", "mapping"
)
_GOAL_UNKNOWN = Words(
    "Goal not found",
    "Microsoft knows no offline goal of this name. It was renamed, deleted, or is of another type.",
    "Sync the goals and map the event again. New conversions then go out.",
    "mapping",
)
_GOAL_TOO_NEW = Words("Goal is too new", "Microsoft takes conversions two hours after a goal was created.", "")
_TIME = Words(
    "Time not valid", "Microsoft could not read the conversion's time.", "Check the time zone your system sends."
)
_TOO_OLD = Words(
    "Older than 90 days",
    "Microsoft only counts conversions of the last 90 days, by the time that the event itself says.",
    "Send the sale's own time as occurred_at, in its time zone, and send it sooner.",
    "install",
)
_FUTURE = Words(
    "Time is in the future",
    "The conversion's time is ahead of Microsoft's clock.",
    "Check the clock and the time zone your system sends.",
)
_VALUE = Words(
    "Value is not valid",
    "The value must be a number from 0 to 999,999,999,999 with at most 3 decimals.",
    "Send a number without sign or separators.",
)
_CURRENCY = Words(
    "Currency is not valid", "Microsoft does not accept this currency code.", "Send an ISO code such as USD."
)
_ENHANCED = Words(
    "Goal takes no hashed data",
    "Enhanced conversions are not on for this goal, and the conversion has no click ID.",
    "Turn enhanced conversions on for the goal in Microsoft Advertising.",
)
_NOT_HASHED = Words(
    "Customer data is not hashed",
    "Microsoft takes e-mail addresses and phone numbers as SHA-256 only.",
    "Contact support: Convultra should have hashed this.",
)
_ATTRIBUTION = Words(
    "Goal uses external attribution",
    "This goal expects attribution credit, which Convultra does not send.",
    "Map the event to an ordinary offline goal.",
    "mapping",
)
_ADJUSTMENT = Words(
    "Adjustment refused",
    "Microsoft did not accept the time, the value or the type of this correction.",
    "Check the corrected value and its time.",
)
_BUSY = Words("Microsoft had a problem", "Microsoft could not process the call.", "")
_RATE = Words("Rate limit", "Microsoft asked us to slow down.", "")
_RECONNECT = Words(
    "Needs reconnect",
    "Microsoft no longer accepts this sign-in: its access expired or was taken away, or lacks the leave to manage ads.",
    "Reconnect the sign-in on the Integrations page.",
    "integrations",
)
_PERMISSION = Words(
    "No permission for this account",
    "The connected Microsoft user may not upload to this account.",
    "Ask the account's owner for the Standard user role, or connect a Microsoft user who has it.",
    "integrations",
)
_ACCOUNT = Words(
    "Account cannot take conversions",
    "The account is paused, suspended or not valid at Microsoft.",
    "Check the account's status in Microsoft Advertising.",
)
_OPERATOR = Words(
    "Convultra's own set-up is wrong",
    "Microsoft refused the call for a reason that is ours, not yours.",
    "Ask the operator of this Convultra to look at the worker's log.",
)
_CREDENTIALS = Words(
    "Microsoft did not accept our access to this account",
    "Its token expired, was given for another scope, or its user has no access: Microsoft checks the user and the "
    "account together. A renewed token was refused too. Or Convultra's own set-up is wrong.",
    "Connect again with a Microsoft user who reaches this account. Should that not help, ask the operator of this "
    "Convultra to look at the worker's log.",
    "integrations",
)
_TOKEN = Words("Access expired", "The sign-in was renewed and the call is made again.", "")
_UNKNOWN = Words(
    "Microsoft refused it",
    "Microsoft gave a reason that is not in its documentation.",
    "Read Microsoft's own message below, or send it to support with the TrackingId.",
)
_EXPIRED_HERE = Words(
    "90 days ran out",
    "The conversion waited until Microsoft would no longer count it.",
    "Nothing can be done for this one. The log shows what it waited for.",
)

_SENT_AGAIN = "The same is sent again, and where it has a click ID Microsoft counts it once."
NO_ANSWER = Words(
    "Microsoft did not answer",
    f"The call was sent and no whole answer came back, so the outcome is unknown. {_SENT_AGAIN}",
)

# Our own words in the column of Microsoft's symbols, for tests that were not sent.
TEST_STOPPED = "TestStopped"
TEST_NOT_SENT = "TestNotSent"

# Answers to making a goal: no conversion ever carries one.
_OF_NEW_GOALS = (5317, 5326, 5327)
_BY_CODE: dict[int, Words] = {
    105: _CREDENTIALS,
    5317: Words(
        "A goal of this name exists already",
        "A goal's name is unique in the whole customer, among goals of every type and of all its accounts.",
        "Choose another name, or sync the goals and use the one that is there.",
        "mapping",
    ),
    5326: Words(
        "The account holds no more goals",
        "Microsoft allows 1,000 goals in an account, and none can be deleted by API.",
        "Use a goal that is there, or delete one in Microsoft Advertising.",
    ),
    5327: Words(
        "The customer holds no more goals",
        "Microsoft allows 5,000 goals in all accounts of a customer, and none can be deleted by API.",
        "Use a goal that is there, or delete one in Microsoft Advertising.",
    ),
    5603: _CLICK_MISSING,
    5604: _CLICK_INVALID,
    5605: _GOAL_NAME_MISSING,
    5606: _GOAL_UNKNOWN,
    5607: _TIME,
    5608: _TIME,
    5609: _TOO_OLD,
    5610: _VALUE,
    5611: _CURRENCY,
    5613: Words(
        "Offline conversions are not enabled",
        "Microsoft has not enabled offline conversions for this customer.",
        "Ask Microsoft support to enable offline conversions for the customer.",
    ),
    5614: _FUTURE,
    5615: _GOAL_TOO_NEW,
    5616: Words(
        "Conversion earlier than the click",
        "The conversion's time lies before the click.",
        "Check the time zone of imported orders.",
    ),
    5617: Words(
        "Outside the goal's window",
        "More time passed between click and conversion than the goal allows.",
        "Widen the goal's window in Microsoft Advertising for later clicks.",
    ),
    **dict.fromkeys(range(5618, 5628), _ADJUSTMENT),
    5626: _CURRENCY,
}
_BY_SYMBOL: dict[str, Words] = {
    EXPIRED_SYMBOL: _EXPIRED_HERE,
    WORKER_DIED: Words(
        "Set aside",
        "A worker died over this conversion every time. It goes out once more before it is 90 days old.",
        "Ask the operator of this Convultra to look at the worker's log.",
    ),
    Unserved.UNREACHABLE: Words(
        "Microsoft could not be reached", "No connection came about, so nothing was sent. It goes out later."
    ),
    Unserved.NO_ANSWER: NO_ANSWER,
    Unserved.SERVER_ERROR: Words(
        "Microsoft answered with an error", f"Something went wrong on Microsoft's side of the call. {_SENT_AGAIN}"
    ),
    Unserved.NOT_UNDERSTOOD: Words(
        "Microsoft's answer was not understood",
        f"What came back is nothing that Microsoft documents, so the outcome is unknown. {_SENT_AGAIN}",
    ),
    Unserved.NO_TOKEN: Words(
        "Microsoft's sign-in did not answer",
        "Microsoft gave no access just then, so nothing was sent. It goes out later.",
    ),
    TEST_STOPPED: Words(
        "A check stopped the test",
        "Microsoft would have refused or lost the conversion, so nothing was sent.",
        "Open the test in the Test Center: the check says what to do.",
    ),
    TEST_NOT_SENT: Words(
        "The test was not sent",
        "No worker of Convultra came to it within five minutes, and a test is not sent later.",
        "Send another test. If it happens again, ask the operator of this Convultra to look at the worker.",
    ),
    "OfflineConversionMSClickIdNullOrEmpty": _CLICK_MISSING,
    "OfflineConversionMSClickIdInvalid": _CLICK_INVALID,
    "OfflineConversionNameInvalid": _GOAL_UNKNOWN,
    "OfflineConversionGoalTooRecent": _GOAL_TOO_NEW,
    "NotEligibleForEnhancedConversions": _ENHANCED,
    "EmailMustBeHashed": _NOT_HASHED,
    "ConversionEmailAddressIsNotHashed": _NOT_HASHED,
    "ConversionPhoneNumberIsNotHashed": _NOT_HASHED,
    "GoalNotEligibleForExternalAttribution": _ATTRIBUTION,
    "ExternalAttributionRequiredFieldEmpty": _ATTRIBUTION,
    "ExternalAttributionModelTooLong": _ATTRIBUTION,
    "ExternalAttributionCreditValueInvalid": _ATTRIBUTION,
}
_BY_WHAT_TO_DO: dict[WhatToDo, Words] = {
    WhatToDo.RENEW_TOKEN: _TOKEN,
    WhatToDo.REFUSE: _UNKNOWN,
    WhatToDo.EXPIRED: _TOO_OLD,
    WhatToDo.OPERATOR: _OPERATOR,
    WhatToDo.RECONNECT: _RECONNECT,
    WhatToDo.PERMISSION: _PERMISSION,
    WhatToDo.ACCOUNT: _ACCOUNT,
    WhatToDo.GOAL: _GOAL_UNKNOWN,
    WhatToDo.SPLIT: _BUSY,
    WhatToDo.UNKNOWN: _UNKNOWN,
    WhatToDo.GOAL_TOO_NEW: _GOAL_TOO_NEW,
    WhatToDo.WAIT_FOR_TIME: _FUTURE,
    WhatToDo.THROTTLE: _RATE,
    WhatToDo.RETRY: _BUSY,
}

_ANOTHER_TEST = "Send another test in a minute."
_PERHAPS_THERE = "so Microsoft may have it or not. A test is sent once and never again."
# Of a test, which nobody sends again, these mean something else.
_OF_TESTS: dict[str, Words] = {
    WORKER_DIED: Words(
        "The worker stopped in the middle",
        f"The worker that sent the test stopped before it wrote down the answer, {_PERHAPS_THERE}",
        _ANOTHER_TEST,
    ),
    Unserved.UNREACHABLE: Words(
        "Microsoft could not be reached", "No connection came about, so nothing was sent.", _ANOTHER_TEST
    ),
    Unserved.NO_ANSWER: Words(
        "Microsoft did not answer", f"The test was sent and no whole answer came back, {_PERHAPS_THERE}", _ANOTHER_TEST
    ),
    Unserved.SERVER_ERROR: Words(
        "Microsoft answered with an error",
        f"Something went wrong on Microsoft's side of the call, {_PERHAPS_THERE}",
        _ANOTHER_TEST,
    ),
    Unserved.NOT_UNDERSTOOD: Words(
        "Microsoft's answer was not understood",
        f"What came back is nothing that Microsoft documents, {_PERHAPS_THERE}",
        _ANOTHER_TEST,
    ),
    Unserved.NO_TOKEN: Words(
        "Microsoft's sign-in did not answer", "Microsoft gave no access just then, so nothing was sent.", _ANOTHER_TEST
    ),
}
# What goes by itself, but for a test.
_PASSES_BY_ITSELF = (_BUSY, _RATE, _TOKEN)

PAUSED = Words(
    "Forwarding is paused",
    "Somebody paused this account. Its conversions are kept.",
    "Resume forwarding on the account's page.",
    "settings",
)
REMOVED = Words(
    "Account was removed",
    "This account was removed from the site before the conversion was sent.",
    "Connect the account again on the Integrations page.",
    "integrations",
)

NO_GOALS = Words(
    "No offline conversion goals",
    "An event is forwarded to a goal, and this account has none of the type Offline conversions.",
    "Create one in Microsoft Advertising under Tools → Conversion goals → Offline conversions, then sync the goals. "
    "Microsoft takes conversions for a new goal after two hours; we hold them until then.",
)
# How long Microsoft's reports may lag behind what it accepted.
REPORTS_LAG = timedelta(hours=48)
IN_REPORTS_LATER = Words(
    "Accepted. Microsoft Ads shows it within 24 to 48 hours",
    "Microsoft has the conversion. Its reports are a day or two behind, so it is not in them yet. It is counted there "
    "once Microsoft has matched it to a click; how many it matched is on the account's overview.",
)

HOLDS: dict[Hold, Words] = {
    Hold.RECONNECT: _RECONNECT,
    Hold.PERMISSION: _PERMISSION,
    Hold.THROTTLED: _RATE,
    Hold.GOAL_MISSING: _GOAL_UNKNOWN,
    Hold.GOAL_TOO_NEW: _GOAL_TOO_NEW,
    Hold.CLICK_SETTLING: Words(
        "Waits an hour after the click", "Microsoft loses conversions that arrive right after their click."
    ),
    Hold.ACCOUNT_INACTIVE: _ACCOUNT,
    Hold.ORIGINAL_PENDING: Words("Waits for the original", "A correction follows its conversion."),
    Hold.OPERATOR: _OPERATOR,
    Hold.CONFIRMATION: Words(
        "Waits for your backend", "This site waits for the backend's event of the same order before it forwards it."
    ),
    Hold.UNAVAILABLE: Words(
        "Microsoft is not answering",
        "Calls to Microsoft fail, or it asked us to wait. One is made now and then until one succeeds.",
    ),
    Hold.BY_HAND: Words("Held by a person", "Somebody holds this conversion back.", "Release it when it may go out."),
}

_FOR_SOMEBODY = (Hold.PERMISSION, Hold.ACCOUNT_INACTIVE, Hold.OPERATOR)
# What stops an account, under the name that it has where only some rows of a call were refused for it.
_HOLD_OF_A_ROW = {
    WhatToDo.RECONNECT: Hold.RECONNECT,
    WhatToDo.PERMISSION: Hold.PERMISSION,
    WhatToDo.ACCOUNT: Hold.ACCOUNT_INACTIVE,
    WhatToDo.THROTTLE: Hold.THROTTLED,
}

SKIPS: dict[Skip, Words] = {
    Skip.NOT_MAPPED: Words(
        "No goal mapped",
        "Events without a goal are not forwarded.",
        "Map this event on the Goal mapping tab.",
        "mapping",
    ),
    Skip.FILTERED: Words(
        "Left out by the mapping's condition",
        "The mapping forwards only some of these events, and this one does not satisfy its condition.",
        "Change the condition on the Goal mapping tab.",
        "mapping",
    ),
    Skip.NO_CONSENT: Words(
        "Ad consent refused", "The visitor did not allow advertising storage, so nothing is sent.", ""
    ),
    Skip.TOO_OLD: _TOO_OLD,
    Skip.NO_IDENTIFIER: Words(
        "No Microsoft click ID",
        "No usable click ID came with the event, and none is known for this visitor, order or person.",
        "Install the SDK on the landing page, or turn on enhanced conversions.",
        "settings",
    ),
    Skip.SAME_ORDER: Words(
        "Same order sent twice",
        "Another event of this transaction is already forwarded to this goal. Goal and transaction ID are the key: "
        "what has the same is sent once.",
        "Where these are two sales, give each a transaction_id of its own.",
        "install",
    ),
    Skip.SAME_SECOND: Words(
        "Too many in one second",
        "Microsoft counts conversions of one click and goal once a second, and the seconds around this one are taken.",
        "Check why your page reports so many conversions at once.",
    ),
    Skip.UNCONFIRMED: Words(
        "Not confirmed by the backend",
        "This site forwards a browser's order only when the backend reports it too, and it did not in time.",
        "Check that your backend sends its orders with the same transaction_id.",
    ),
    Skip.CANCELLED: Words("Refunded before it was sent", "The order was refunded in full, so nothing was sent."),
    Skip.CALLED_OFF: Words("Cancelled by a person", "Somebody cancelled it before it was sent."),
    Skip.APPLIED: Words(
        "Corrected before it was sent", "The conversion went out, or will, with the corrected value already in it."
    ),
    Skip.SUPERSEDED: Words("A newer correction replaced it", "Only the newest total of an order is sent."),
    Skip.NO_CHANGE: Words(
        "Nothing to correct", "The conversion carries no value of the order, or Microsoft has this total already."
    ),
    Skip.RETRACTED: Words("Already retracted", "The conversion was retracted. Microsoft takes nothing after that."),
    Skip.OTHER_CURRENCY: Words(
        "In another currency",
        "The correction is in another currency than its order, so no total can be worked out.",
        "Send it again in the order's currency, under a new id.",
    ),
    Skip.NO_ORDER: Words(
        "A refund without its order",
        "A refund corrects the conversion of its order, and this one does not say which.",
        "Send the order's transaction_id with the refund.",
    ),
    Skip.PUBLIC_KEY: Words(
        "A refund that a page reported",
        "Anybody can send events with the key in a page's source, so refunds are taken from backends only.",
        "Report refunds from your backend, with a server key.",
    ),
    Skip.NOT_FORWARDED: Words(
        "Its order was not forwarded", "Microsoft does not have the conversion, so there is nothing to correct."
    ),
}


def words_for(code: int | None, symbol: str) -> Words:
    """Return the words for Microsoft's code or symbol; every pair has some."""
    if symbol in _BY_SYMBOL:
        return _BY_SYMBOL[symbol]
    if code in _BY_CODE:
        return _BY_CODE[code]
    return _BY_WHAT_TO_DO[_asked_for(code, symbol)]


def _asked_for(code: int | None, symbol: str) -> WhatToDo:
    """Return what an error asks for, one of the sign-in's too: those have a symbol in lower case, and no code."""
    of_sign_in = TOKEN_ERRORS.get(symbol) if code is None else None
    return what_to_do(code, symbol) if of_sign_in is None else of_sign_in.default_what_to_do


def words_of_failure(error: MicrosoftAdsError) -> Words:
    """Return the words for a call that failed as a whole."""
    said = said_by(error)
    is_named = said.code in _BY_CODE or said.symbol in _BY_SYMBOL
    # What has no words of its own is told by its kind: codes of the sign-in are in no table of the API's codes.
    return words_for(said.code, said.symbol) if is_named else _BY_WHAT_TO_DO[error.what_to_do]


def filterable_codes() -> list[tuple[str, str]]:
    """Return what a page of failures may be narrowed to: Microsoft's code, or a symbol without one, and its title."""
    named = [(str(code), words.title) for code, words in _BY_CODE.items() if code not in _OF_NEW_GOALS]
    named += [(symbol, _BY_SYMBOL[symbol].title) for symbol in (EXPIRED_SYMBOL, "NotEligibleForEnhancedConversions")]
    return sorted(named, key=lambda pair: (pair[1], pair[0]))


def words_of(delivery: Delivery) -> Words | None:
    """Return what to tell about a delivery: why it was not sent, why it failed, or what it waits for.

    What stops its whole account comes first, then who holds it, because that is what a person can do something about.
    None when there is nothing to tell. Reads `delivery.account` and its connection.
    """
    if delivery.skip_reason:
        return SKIPS[Skip(delivery.skip_reason)]
    if delivery.status in WAITING:
        stop = account_stop(delivery.account)
        if stop is not None:
            return stop
        if delivery.hold_reason == Hold.BY_HAND:
            return HOLDS[Hold.BY_HAND]
        if _is_of_a_stop_that_is_over(delivery):
            return HOLDS[Hold(delivery.hold_reason)] if delivery.hold_reason else None
    if delivery.error_code is not None or delivery.error_symbol:
        words = words_for(delivery.error_code, delivery.error_symbol)
        return _of_a_test(words, delivery.error_symbol) if is_sent_once(delivery) else words
    if delivery.hold_reason:
        return HOLDS[Hold(delivery.hold_reason)]
    return NO_ANSWER if delivery.error_message else None


def told_code(delivery: Delivery, words: Words | None) -> str:
    """Return the code that the words about a delivery are of; "" where they are of something else, or there is none.

    What waits may have another code than that of what it waits for.
    """
    if delivery.error_code is None:
        return ""
    is_of_words = delivery.status not in WAITING or words == words_for(delivery.error_code, delivery.error_symbol)
    return str(delivery.error_code) if is_of_words else ""


def _is_of_a_stop_that_is_over(delivery: Delivery) -> bool:
    """Say whether a waiting row's last error was its account's, which is not stopped any more: so it goes out again.

    What was said of the row alone waits under a hold of the same name.
    """
    if delivery.error_code is None and not delivery.error_symbol:
        return delivery.status == Status.PENDING and bool(delivery.error_message)  # of a status without a code
    what = _asked_for(delivery.error_code, delivery.error_symbol)
    if what in (WhatToDo.OPERATOR, WhatToDo.RENEW_TOKEN):
        return delivery.status == Status.PENDING
    is_elsewhere = delivery.status == Status.PENDING or bool(delivery.hold_reason)
    return is_elsewhere and what in _HOLD_OF_A_ROW and delivery.hold_reason != _HOLD_OF_A_ROW[what]


def words_of_failed_call(error: MicrosoftAdsError) -> Words:
    """Return the words for a call that somebody waits for and that is not made again by itself."""
    return _of_a_test(words_of_failure(error), said_by(error).symbol)


def is_sent_once(delivery: Delivery) -> bool:
    """Say whether a delivery is a test conversion: it is never tried again, whatever became of it."""
    return delivery.is_test and delivery.kind == Kind.CONVERSION


def _of_a_test(words: Words, symbol: str) -> Words:
    if symbol in _OF_TESTS:
        return _OF_TESTS[symbol]
    return replace(words, fix=words.fix or _ANOTHER_TEST) if words in _PASSES_BY_ITSELF else words


def waits_for_somebody(delivery: Delivery) -> bool:
    """Say whether a waiting delivery goes out when somebody has done something, and at no moment that is known."""
    is_theirs = delivery.hold_reason in (Hold.BY_HAND, Hold.GOAL_MISSING)
    return delivery.status in WAITING and (is_theirs or account_stop(delivery.account) is not None)


def lacks_order(delivery: Delivery) -> bool:
    """Say whether a delivery is a correction without anything to correct: a refund whose order has not come."""
    return delivery.kind != Kind.CONVERSION and delivery.original_id is None


def is_parked(delivery: Delivery) -> bool:
    """Say whether a correction waits for its conversion: its next attempt is the end of that wait, and no attempt."""
    if delivery.kind == Kind.CONVERSION or delivery.expires_at is None:
        return False
    return delivery.next_attempt_at == delivery.expires_at - CLOCK_MARGIN


def account_stop(account: AdAccount) -> Words | None:
    """Return why nothing of an account is sent now; None when it may send. Reads `account.connection`.

    Of a hold with several reasons it is the one that Microsoft gave: `read_stops` reads them for many accounts at once.
    """
    if not account.is_active:
        return REMOVED
    if account.paused_at is not None:
        return PAUSED
    if account.connection.status == account.connection.Status.NEEDS_OPERATOR:
        return _OPERATOR
    if not account.connection.is_usable:
        return _RECONNECT
    return _words_of_stop(Hold(account.hold_reason), said_of(account)) if account.hold_reason else None


def words_of_hold(hold: str, code: int | None, symbol: str) -> Words:
    """Return why a row waits under a hold of its own: in the words of its error, where that is what it waits for."""
    is_of_error = (code is not None or bool(symbol)) and _HOLD_OF_A_ROW.get(_asked_for(code, symbol)) == hold
    return words_for(code, symbol) if is_of_error else HOLDS[Hold(hold)]


def held_for_somebody(account: AdAccount) -> Words | None:
    """Return why an account is held until somebody acts, at Microsoft, here or at the server; None where it is not.

    Of an account that somebody paused, and of a sign-in that has ended, that is told instead.
    """
    is_held = account.hold_reason in _FOR_SOMEBODY and account.paused_at is None and account.connection.is_usable
    return account_stop(account) if is_held and account.is_active else None


def _words_of_stop(hold: Hold, said: Said) -> Words:
    if said.of_everybody:
        return _OPERATOR
    if said.code is not None or said.symbol:
        return words_for(said.code, said.symbol)
    return _CREDENTIALS if hold is Hold.OPERATOR else HOLDS[hold]


def explain(delivery: Delivery, goal_names: Iterable[str] = ()) -> Words | None:
    """Return `words_of` with names put in: which goal it is that Microsoft does not know, and what became of it.

    `goal_names` are the account's goals that take conversions, to name the one that was probably meant. Reads
    `delivery.goal` too.
    """
    words = words_of(delivery)
    if words is not _GOAL_UNKNOWN or not delivery.goal_name:
        return words
    title = f"Microsoft does not know a goal called “{delivery.goal_name}”"
    goal = delivery.goal
    near = nearest(delivery.goal_name, goal_names)
    likely = "" if near is None else f" The nearest is “{near.name}”. {near.words}"
    if goal is None or (goal.is_available and goal.name == delivery.goal_name):
        return Words(title, f"{words.cause}{likely}", words.fix, words.page)
    if goal.gone_at is not None:
        cause = f"The goal no longer exists in Microsoft Advertising.{likely}"
        return Words(title, cause, "Map the event to another goal.", "mapping")
    if goal.name != delivery.goal_name and delivery.kind != Kind.CONVERSION:
        cause = f"The goal is called “{goal.name}” now, and Microsoft finds a conversion by the name it was sent with."
        fix = f"Call the goal “{delivery.goal_name}” again in Microsoft Advertising until they are delivered."
        return Words(title, cause, fix)
    if goal.name != delivery.goal_name:
        cause = f"The goal is called “{goal.name}” now, so the name that was sent no longer matches."
        return Words(title, cause, "New conversions go out under the new name.")
    state = goal.status.lower()
    cause = f"It takes no conversions while it is {state} in Microsoft Advertising."
    fix = "Set it to active there and sync the goals here, or map the event to another goal."
    return Words(f"The goal “{goal.name}” is {state}", cause, fix, "mapping")


def takes_another_click(delivery: Delivery, now: datetime) -> bool:
    """Say whether a conversion that was refused for its click can still arrive with another one.

    Nobody changes a click here: another event of the order brings it. Reads `delivery.account`.
    """
    is_refused = delivery.status == Status.FAILED and delivery.error_code in CLICK_REFUSED
    is_one = delivery.kind == Kind.CONVERSION and not delivery.is_test and delivery.account.is_active
    return is_refused and is_one and delivery.expires_at is not None and now < delivery.expires_at


def _with_another_click(delivery: Delivery, last_day: str) -> str:
    if delivery.transaction_id:
        how = f"Report order {delivery.transaction_id} again with another click ID, under a new event ID"
        return f"{how}: by the API or in a file. It is then sent again. That works until {last_day}."
    how = "It has no order number, so report it as a new event with another click ID"
    return f"{how}, by the API or in a file. That works until {last_day}."


def send_until(delivery: Delivery, now: datetime, day: Writer) -> str:
    """Return until which day what failed can be sent again, after whatever mends it; "" for what did not fail."""
    if delivery.status != Status.FAILED or delivery.expires_at is None or is_sent_once(delivery):
        return ""
    asked_for = what_to_do(delivery.error_code, delivery.error_symbol)
    if delivery.expires_at <= now or asked_for == WhatToDo.EXPIRED:
        return "Too late"
    return "Never" if asked_for.permanent and not takes_another_click(delivery, now) else day(delivery.expires_at)


def what_next(delivery: Delivery, now: datetime, clock: Writer, day: Writer) -> str:
    """Return a sentence about what comes next and until when the conversion can count; empty where nothing follows."""
    if delivery.expires_at is None or delivery.expires_at <= now or is_sent_once(delivery):
        return ""
    last_day = day(delivery.expires_at)
    if delivery.status == Status.FAILED:
        if takes_another_click(delivery, now):
            return _with_another_click(delivery, last_day)
        if what_to_do(delivery.error_code, delivery.error_symbol).permanent:
            return f"This {'conversion' if delivery.kind == Kind.CONVERSION else 'correction'} cannot be sent again."
        return f"Microsoft would count this conversion until {last_day}."
    if delivery.status not in WAITING or delivery.next_attempt_at is None:
        return ""
    if lacks_order(delivery):
        return f"No order {delivery.transaction_id} has come yet; dropped after {last_day} if none comes."
    if waits_for_somebody(delivery):
        return f"It is kept, and can be sent until {last_day}."
    if is_parked(delivery):
        return "It goes out when its conversion has been delivered. You do not need to do anything."
    if delivery.next_attempt_at <= now:
        return "It goes out with the next batch. You do not need to do anything."
    if delivery.status == Status.RETRYING:
        return f"The next attempt is at {clock(delivery.next_attempt_at)}, and we go on until {last_day}."
    return f"It goes out at {clock(delivery.next_attempt_at)}. You do not need to do anything."
