"""What Microsoft said when it stopped an account. One hold has several reasons, and each has words of its own.

The account keeps only what kind of hold it is; the code stands on the rows of the call that was refused.
"""

from collections.abc import Iterable
from typing import NamedTuple

from django.db.models import Max, OuterRef, Subquery

from forwarding.models import Attempt, Breaker, Hold, Upload
from forwarding.sending import developer_token
from integrations.microsoft_ads.errors import WhatToDo, what_to_do
from integrations.models import AdAccount

# The holds that have several reasons, and what asks for each.
_ASKS_FOR = {
    Hold.ACCOUNT_INACTIVE: (WhatToDo.ACCOUNT,),
    Hold.OPERATOR: (WhatToDo.OPERATOR, WhatToDo.RENEW_TOKEN),
}
# A held account is asked again at least hourly, and what is not served in between says nothing of the hold.
_CALLS_LOOKED_AT = 3
_KEPT = "_said_when_stopped"


class Said(NamedTuple):
    """Microsoft's code and symbol, None and "" where nobody knows them any more.

    `of_everybody` says that several accounts in a row were refused like that: no account is at fault then.
    """

    code: int | None = None
    symbol: str = ""
    of_everybody: bool = False


def read_stops(accounts: Iterable[AdAccount]) -> None:
    """Read what `said_of` returns for all of these accounts at once: no query where none is held, else two or three."""
    held = [account for account in accounts if account.pk and account.hold_reason in _ASKS_FOR]
    if not held:
        return
    said = _said_in(_newest_calls({account.pk for account in held}))
    is_everybodys = any(account.hold_reason == Hold.OPERATOR for account in held) and _is_breaker_open()
    for account in held:
        code, symbol = said.get((account.pk, account.hold_reason), (None, ""))
        of_everybody = is_everybodys and account.hold_reason == Hold.OPERATOR
        setattr(account, _KEPT, (account.hold_reason, account.held_until, Said(code, symbol, of_everybody)))


def said_of(account: AdAccount) -> Said:
    """Return what Microsoft said when it stopped a held account. Read once, unless `read_stops` did."""
    kept = _kept(account)
    if kept is None:
        read_stops([account])
        kept = _kept(account)
    return kept or Said()


def take_over(known: AdAccount, account: AdAccount) -> None:
    """Let an account know what `read_stops` read for another instance of it."""
    if hasattr(known, _KEPT):
        setattr(account, _KEPT, getattr(known, _KEPT))


def _kept(account: AdAccount) -> Said | None:
    reason, until, said = getattr(account, _KEPT, ("", None, None))
    return said if (reason, until) == (account.hold_reason, account.held_until) else None


def _newest_calls(account_ids: Iterable[int]) -> list[int]:
    """Return each account's newest calls: so many rows of an index, however long the history."""
    newest = Upload.objects.filter(account=OuterRef("pk")).order_by("-started_at").values("pk")
    calls = {f"call_{at}": Subquery(newest[at : at + 1]) for at in range(_CALLS_LOOKED_AT)}
    found = AdAccount.objects.filter(pk__in=list(account_ids)).annotate(**calls).values_list(*calls)
    return [pk for row in found for pk in row if pk is not None]


def _said_in(upload_ids: list[int]) -> dict[tuple[int, str], tuple[int | None, str]]:
    """Return the newest code and symbol for each account and kind of hold."""
    rows = Attempt.objects.filter(upload__in=upload_ids).values_list("upload__account", "error_code", "error_symbol")
    found: dict[tuple[int, str], tuple[int | None, str]] = {}
    for account_id, code, symbol, _ in rows.annotate(newest=Max("pk")).order_by("newest"):
        what = what_to_do(code, symbol)
        found |= {(account_id, hold.value): (code, symbol) for hold, asked in _ASKS_FOR.items() if what in asked}
    return found


def _is_breaker_open() -> bool:
    return Breaker.objects.filter(name=developer_token.NAME, open_until__isnull=False).exists()
