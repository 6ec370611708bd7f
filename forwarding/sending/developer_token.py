"""The one circuit breaker that all accounts share: they use the same developer token and registration at Microsoft.

Where those are refused, every account's call would be refused the same way. So after three accounts in a row nobody
sends; when the wait is over, whichever account comes first makes one call, and its success lets all go on.
`forwarding/sending/breaker.py` has the waits.
"""

import logging
import random
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from forwarding.models import Breaker, Hold
from forwarding.sending.breaker import TOKEN_OPENS_AT, Random, token_wait
from integrations.microsoft_ads.errors import ClientMisconfigured, MicrosoftAdsError, WhatToDo
from integrations.models import AdAccount

NAME = "developer_token"
# Refusals of the application, not of an account: a missing header, a version or an operation that is no more
# (guides/operation-error-codes). 105 is one when it comes again after the access token was renewed.
OURS = frozenset({116, 204, 205, 303})

logger = logging.getLogger(__name__)


def is_ours(error: MicrosoftAdsError) -> bool:
    """Say whether a call was refused for our developer token, registration or version: for all accounts alike."""
    if isinstance(error, ClientMisconfigured) or error.what_to_do is WhatToDo.RENEW_TOKEN:
        return True
    return error.what_to_do is WhatToDo.OPERATOR and error.code in OURS


def with_refusals(accounts: QuerySet[AdAccount]) -> QuerySet[AdAccount]:
    """Read along how many accounts in a row were refused, so that nobody has to ask again when a call succeeds."""
    refusals = Breaker.objects.filter(name=NAME).values("failures")[:1]
    return accounts.annotate(token_refusals=Coalesce(Subquery(refusals), 0))


def refusals_read_with(account: AdAccount) -> int:
    """Return how many accounts in a row were refused when `with_refusals` read this one."""
    return int(getattr(account, "token_refusals", 0))


def accounts_at_once(now: datetime) -> int | None:
    """Return how many accounts may be rung for: None for all, one while a single call is due, else none."""
    breaker = Breaker.objects.filter(name=NAME, open_until__isnull=False).first()
    if breaker is None:
        return None
    return 1 if _may_probe(breaker, now) else 0


def let_through(account: AdAccount, now: datetime) -> bool:
    """Say whether an account from `with_refusals` may make its call now; while it is open one may, and takes it."""
    if refusals_read_with(account) < TOKEN_OPENS_AT:
        return True
    free = Q(probing_until__isnull=True) | Q(probing_until__lte=now)
    due = Breaker.objects.filter(free, name=NAME, open_until__lte=now)
    return bool(due.update(probing_until=now + timedelta(seconds=settings.LEASE_SECONDS)))


def note_refusal(account: AdAccount, now: datetime, uniform: Random = random.random) -> timedelta | None:
    """Count an account that was refused for our fault; return how long nobody sends now, None while the others do.

    An account that waited for the operator already was counted then: three of them are three accounts.
    """
    breaker, _ = Breaker.objects.select_for_update().get_or_create(name=NAME)
    is_open = breaker.failures >= TOKEN_OPENS_AT
    if account.hold_reason == Hold.OPERATOR and not is_open:
        return None
    breaker.failures += 1
    breaker.probing_until = None
    wait = token_wait(breaker.failures, uniform)
    if wait is not None:
        breaker.open_until = now + wait
        logger.error("Nobody sends until %s: %s calls refused for our fault", breaker.open_until, breaker.failures)
    breaker.save(update_fields=["failures", "open_until", "probing_until"])
    return wait


def note_success(account: AdAccount) -> None:
    """Let all accounts go on: Microsoft took a call of this one."""
    if refusals_read_with(account):
        Breaker.objects.filter(name=NAME).update(failures=0, open_until=None, probing_until=None)


def _may_probe(breaker: Breaker, now: datetime) -> bool:
    is_waiting = breaker.open_until is not None and breaker.open_until > now
    is_probing = breaker.probing_until is not None and breaker.probing_until > now
    return not (is_waiting or is_probing)
