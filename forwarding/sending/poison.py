"""A row that kills its worker, or spoils the whole call it is in: how it is told from its neighbours. Pure.

A worker may die for any reason, so one death proves nothing: the same call is made again. Dead again, its rows are
suspects. They go out in small calls of their own, a thirty-second of the call each, and when one of those dies, one by
one: a row among a thousand is alone after three deaths and set aside after five. A call that Microsoft cannot
serve for no known reason is taken apart the same way. What was sent meanwhile is done, and
nothing but the suspects goes out in small calls (`AdAccount.batch_limit`, `limited_rows`).
"""

from enum import Enum

# Deaths over one call that make its rows suspects, or set a suspect aside that is alone.
DEATHS = 2
# Deaths over a row that was alone from the beginning: nothing else is known against it.
DEATHS_ALONE = 5
# InternalErrors of one call that make its rows suspects.
INTERNAL_ERRORS = 3
PARTS = 32


class Next(Enum):
    """What becomes of a call that went wrong."""

    AGAIN = "again"
    CUT = "cut"
    SET_ASIDE = "set aside"


def after_death(rows: int, deaths: int, *, are_suspects: bool) -> Next:
    """Decide on a call of so many rows over which so many workers died; suspects come from another call that did."""
    if rows == 1:
        return Next.SET_ASIDE if deaths >= (DEATHS if are_suspects else DEATHS_ALONE) else Next.AGAIN
    return Next.CUT if are_suspects or deaths >= DEATHS else Next.AGAIN


def after_fault(rows: int, earlier: int, *, is_unknown: bool, are_others_served: bool) -> Next:
    """Decide on a call that failed for no known reason, as one of its rows failed so many times before.

    `is_unknown`: Microsoft gave a code of no page; otherwise InternalError, which an outage gives to everybody. So a
    row that is alone with it is set aside only where the call before was served.
    """
    if earlier < (1 if is_unknown else INTERNAL_ERRORS - 1):
        return Next.AGAIN
    if rows > 1:
        return Next.CUT
    return Next.SET_ASIDE if is_unknown or are_others_served else Next.AGAIN


def small(rows: int) -> int:
    """Return how many of the suspects go into one call."""
    return -(-rows // PARTS)


def half(rows: int) -> int:
    """Return how many rows go into the next call when Microsoft refused so many for what is in one of them."""
    return -(-rows // 2)
