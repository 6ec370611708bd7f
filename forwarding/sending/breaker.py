"""When to stop asking somebody who does not serve us, and for how long. Pure functions of what went wrong in a row.

A breaker that is open lets one call through when its wait is over: that call closes it, or the next wait is longer.
Every wait is spread by a fifth to either side, so that what was stopped together does not come back together.
"""

import random
from collections.abc import Callable
from datetime import timedelta

# Calls of an account in a row that Microsoft did not serve.
ACCOUNT_OPENS_AT = 5
_ACCOUNT_FIRST, _ACCOUNT_LAST = timedelta(seconds=30), timedelta(minutes=30)
# Accounts in a row that were refused for what is our fault.
TOKEN_OPENS_AT = 3
_TOKEN_FIRST, _TOKEN_LAST = timedelta(minutes=1), timedelta(minutes=15)
_SPREAD = 0.2

Random = Callable[[], float]


def account_wait(failed_calls: int, at_least: float = 0, uniform: Random = random.random) -> timedelta | None:
    """Return how long an account is left alone after so many failures in a row; None while it may go on.

    `at_least` are the seconds that Microsoft asked for (Retry-After): they count from the first failure on.
    """
    wait = _wait(failed_calls - ACCOUNT_OPENS_AT, _ACCOUNT_FIRST, _ACCOUNT_LAST, uniform)
    return max(wait, timedelta(seconds=at_least)) or None


def token_wait(refusals: int, uniform: Random = random.random) -> timedelta | None:
    """Return how long nobody sends after so many accounts in a row were refused; None while all may go on."""
    return _wait(refusals - TOKEN_OPENS_AT, _TOKEN_FIRST, _TOKEN_LAST, uniform) or None


def _wait(beyond: int, first: timedelta, last: timedelta, uniform: Random) -> timedelta:
    """Double the first wait with every failure beyond the one that opens; none before that."""
    if beyond < 0:
        return timedelta(0)
    doubled = first * 2.0 ** min(beyond, 10)  # far above every last wait, and far below an overflow
    return min(doubled, last) * (1 - _SPREAD + 2 * _SPREAD * uniform())
