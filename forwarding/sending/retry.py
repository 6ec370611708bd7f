"""When a delivery is tried again, and when it is given up: pure functions of the error, the attempts and the clock.

Nothing is given up for having failed often. A conversion is worth sending until it is 90 days old; only Microsoft's
permanent refusal ends it earlier. The steps are `RETRY_LADDER_SECONDS`: 30 s, 1, 2, 4, 8, 16, 30 minutes, hourly for
a day, then every six hours.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from forwarding.models import Hold, Status
from forwarding.times import CLOCK_MARGIN, expires_at
from integrations.microsoft_ads.errors import WhatToDo

UNKNOWN_ERROR_WAIT = timedelta(hours=1)
# How long what Microsoft refused for its account or its sign-in waits before it is asked again.
ACCESS_WAIT = timedelta(hours=1)
# What is no row's own fault, even where Microsoft took others of the same call.
_NOT_ITS_OWN = {
    WhatToDo.PERMISSION: Hold.PERMISSION,
    WhatToDo.ACCOUNT: Hold.ACCOUNT_INACTIVE,
    WhatToDo.RECONNECT: Hold.RECONNECT,
}

Random = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Waits:
    """The waits of the settings, in seconds."""

    ladder: Sequence[int]
    throttle: float
    goal_settle: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a delivery. `burns_attempt` is false where nothing was wrong with the delivery itself.

    `keeps_turn` leaves the moment of its next attempt as it is, whatever `next_attempt_at` says.
    """

    status: Status
    next_attempt_at: datetime | None
    hold: Hold | None = None
    burns_attempt: bool = True
    keeps_turn: bool = False


FAILED = Verdict(Status.FAILED, None)
# Tried again at once, and where the delivery stands in the queue.
SAME_TURN = Verdict(Status.RETRYING, None, keeps_turn=True)


def wait_seconds(ladder: Sequence[int], attempts: int, uniform: Random = random.random) -> float:
    """Return the wait before try number `attempts` + 1: full jitter over the ladder's step, its last one for ever.

    Full jitter spreads a recovering API's load; half a second is the least, so that no retry is immediate.
    """
    step = ladder[min(max(attempts, 1), len(ladder)) - 1]
    return max(0.5, step * uniform()) if step else 0.0


def after_refusal(
    what: WhatToDo,
    *,
    attempts: int,
    is_repeat: bool,
    now: datetime,
    conversion_at: datetime,
    waits: Waits,
    uniform: Random = random.random,
    adjustment_at: datetime | None = None,
) -> Verdict:
    """Decide on one delivery that Microsoft refused by name. `attempts` counts this one too; `is_repeat` says
    that its last refusal was the same. A correction has an `adjustment_at`, which may lie ahead, too.

    What a person has to fix at the goal fails too: trying again cannot help before that. Missing access, or an account
    that takes nothing now, is no fault of the row, which waits and is tried again. What looks like a fault of ours is
    kept for whoever runs this server.
    """
    time_at = adjustment_at or conversion_at
    match what:
        case WhatToDo.RETRY | WhatToDo.RENEW_TOKEN | WhatToDo.SPLIT:
            return _later(now, wait_seconds(waits.ladder, attempts, uniform))
        case WhatToDo.THROTTLE:
            return _held(Hold.THROTTLED, now + timedelta(seconds=waits.throttle * (1 + uniform())))
        case WhatToDo.PERMISSION | WhatToDo.ACCOUNT | WhatToDo.RECONNECT:
            return _held(_NOT_ITS_OWN[what], now + ACCESS_WAIT)
        case WhatToDo.GOAL_TOO_NEW:
            return _held(Hold.GOAL_TOO_NEW, now + timedelta(seconds=waits.goal_settle))
        case WhatToDo.WAIT_FOR_TIME if time_at > now or not is_repeat:
            # Its time lies ahead of Microsoft's clock: once more when it has passed, then it is wrong.
            return Verdict(Status.RETRYING, max(time_at, now) + CLOCK_MARGIN)
        case WhatToDo.UNKNOWN | WhatToDo.OPERATOR if not is_repeat:
            return Verdict(Status.RETRYING, now + UNKNOWN_ERROR_WAIT)
        case WhatToDo.UNKNOWN | WhatToDo.OPERATOR if (last_call := expires_at(conversion_at) - CLOCK_MARGIN) > now:
            # A person has to look at it; the raw error stands on the row. It goes out once more before it expires.
            return Verdict(Status.RETRYING, last_call, Hold.OPERATOR)
        case _:
            return FAILED


def after_no_answer(
    attempts: int, now: datetime, waits: Waits, uniform: Random = random.random, *, at_least: float = 0
) -> Verdict:
    """Decide on all rows of a call that brought no answer about them: the same again, by the ladder.

    `at_least` are the seconds that Microsoft asked for (Retry-After); they go before the ladder's.
    """
    return _later(now, max(at_least, wait_seconds(waits.ladder, attempts, uniform)))


def _later(now: datetime, seconds: float) -> Verdict:
    return Verdict(Status.RETRYING, now + timedelta(seconds=seconds))


def _held(hold: Hold, until: datetime) -> Verdict:
    return Verdict(Status.PENDING, until, hold, burns_attempt=False)
