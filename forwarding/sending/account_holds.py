"""What a call's outcome means for its whole account: held for what is not a delivery's fault, or free to go on."""

import logging
import random
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Q, QuerySet

from forwarding.models import Hold
from forwarding.sending import developer_token
from forwarding.sending.breaker import account_wait
from forwarding.sending.retry import ACCESS_WAIT
from forwarding.sending.small_calls import after_call
from integrations.microsoft_ads.errors import MicrosoftAdsError, WhatToDo
from integrations.models import AdAccount, Connection

# What stops a whole account, for how long before it is asked again, and under which name.
_HOLDS = {
    WhatToDo.PERMISSION: (Hold.PERMISSION, ACCESS_WAIT),
    WhatToDo.ACCOUNT: (Hold.ACCOUNT_INACTIVE, ACCESS_WAIT),
    WhatToDo.OPERATOR: (Hold.OPERATOR, timedelta(minutes=15)),
    # Renewed and refused again: most likely our developer token, so nobody is told to sign in again.
    WhatToDo.RENEW_TOKEN: (Hold.OPERATOR, timedelta(minutes=15)),
}
STOPS_ACCOUNT = frozenset({*_HOLDS, WhatToDo.RECONNECT, WhatToDo.THROTTLE})

logger = logging.getLogger(__name__)


def note_served(account: AdAccount, taken: int | None) -> None:
    """An answer about so many rows means that whatever held the account is gone. One statement, and often none.

    `taken` is what `after_call` wants: None for a test.
    """
    changes: dict[str, object] = after_call(account, taken)
    if account.hold_reason:
        changes |= {"hold_reason": "", "held_until": None}
    if account.failed_calls:
        changes["failed_calls"] = 0
    if changes:
        AdAccount.objects.filter(pk=account.pk).update(**changes)
    developer_token.note_success(account)


def note_unserved(account: AdAccount, error: MicrosoftAdsError, taken: int | None, now: datetime) -> None:
    """Count a call that Microsoft did not serve, and leave the account alone for a while after several in a row."""
    failed = account.failed_calls + 1
    changes: dict[str, object] = {"failed_calls": failed, **after_call(account, taken)}
    AdAccount.objects.filter(pk=account.pk).update(**changes)
    wait = account_wait(failed, error.retry_after_seconds or 0)
    if wait is not None:
        hold(AdAccount.objects.filter(pk=account.pk), Hold.UNAVAILABLE, now + wait)


def hold_account(account: AdAccount, what: WhatToDo, error: MicrosoftAdsError | None, now: datetime) -> None:
    """Hold the account, or its whole sign-in, for what is not a delivery's fault. `what` is one of STOPS_ACCOUNT.

    `error` is None where Microsoft said it of the rows, each by itself.
    """
    if what is WhatToDo.RECONNECT:
        # Of the tokens that were refused: somebody may have signed in again meanwhile.
        refused = account.connection
        still = Connection.objects.filter(
            pk=refused.pk, status=Connection.Status.CONNECTED, token_version=refused.token_version
        )
        said = "Microsoft wants this person to sign in again." if error is None else str(error)
        still.update(status=Connection.Status.NEEDS_RECONNECT, last_error=said[:500], failed_at=now)
    elif what is WhatToDo.THROTTLE:
        # Microsoft counts calls per user and per customer (guides/services-protocol), so all their accounts wait.
        asked = (error and error.retry_after_seconds) or 0
        seconds = max(asked, settings.THROTTLE_SECONDS) * random.uniform(1, 1.2)  # noqa: S311
        alike = Q(connection=account.connection_id) | Q(customer_id=account.customer_id)
        hold(AdAccount.objects.filter(alike), Hold.THROTTLED, now + timedelta(seconds=seconds))
    else:
        reason, wait = _HOLDS[what]
        mine = AdAccount.objects.filter(pk=account.pk)
        hold(mine, reason, now + wait)
        mine.update(failed_calls=0)
        if error is not None and developer_token.is_ours(error):
            nobody_sends = developer_token.note_refusal(account, now)
            # Then this account is as good as any other for the call that asks again, unless it waits for more.
            mine.filter(held_until=now + wait).update(held_until=now + min(wait, nobody_sends or wait))


def hold(accounts: QuerySet[AdAccount], reason: Hold, until: datetime) -> None:
    """Let accounts send nothing until then; one that is held for longer stays so, with its own reason.

    Locked in one order, so that two who do this cannot block each other.
    """
    pks = list(accounts.order_by("pk").select_for_update(no_key=True).values_list("pk", flat=True))
    is_longer = Q(held_until=None) | Q(held_until__lt=until)
    held = AdAccount.objects.filter(is_longer, pk__in=pks).update(hold_reason=reason, held_until=until)
    logger.warning("%s accounts are held until %s: %s", held, until.isoformat(), reason)
