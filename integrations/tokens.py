"""The access token of a connection: good when handed out, renewed once for everybody, never lost half-way.

One process renews at a time: an UPDATE on the version and the lease decides which. Microsoft is asked outside any
transaction, the new pair is saved in one commit, and the refresh token that brought it is kept until the new access
token has worked, because the same crash that loses an answer must not lock a customer out.

Nothing here holds, logs or raises a token's text, but for returning the access token to the client that asked.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from convultra import failpoints
from convultra.fields import DecryptionFailed
from integrations.microsoft_ads.errors import (
    ClientMisconfigured,
    GrantDead,
    MicrosoftAdsError,
    TokenEndpointUnavailable,
    TokenError,
)
from integrations.microsoft_ads.oauth import OAuthApp, Tokens
from integrations.models import Connection
from integrations.signals import accounts_freed

RENEW_EARLY = timedelta(minutes=5)
JITTER_SECONDS = 60
# Two exchanges, the current refresh token and the one before it, of ten seconds each; then somebody else may try.
RENEWAL_LEASE = timedelta(seconds=30)
WAIT_SECONDS = 15.0
POLL_SECONDS = 0.1
# How long our own misconfiguration stands before it is tried again.
OPERATOR_PAUSE = timedelta(minutes=5)
# A refresh token lives 90 days from its issue, so an idle connection is renewed weekly (entra/refresh-tokens).
IDLE = timedelta(days=7)
# Renewals are begun for so long; each takes twenty seconds at most, and a task has four minutes.
KEEP_ALIVE_SECONDS = 180
KEPT_ALIVE_AT_ONCE = 1000
MAX_ERROR_CHARS = 500

# Why Microsoft ended a grant, by AADSTS number: for people to read, never to branch on (entra/reference-error-codes).
_REASONS = {
    50173: "its password was changed or its sessions were ended",
    50089: "its sign-in has expired",
    70008: "its sign-in has expired",
    700082: "its sign-in was not used for too long",
    70043: "its organisation asks for a fresh sign-in",
    50076: "its organisation asks for a second step at sign-in now",
    50078: "its organisation asks for a second step at sign-in now",
    50079: "its organisation asks for a second step at sign-in now",
    53003: "a rule of its organisation blocks the access",
    50057: "the user is disabled",
    50105: "its organisation has not given it leave to use Convultra",
    65001: "the consent was withdrawn",
}

logger = logging.getLogger(__name__)


class SignInUnreadable(ClientMisconfigured):
    """A stored sign-in that none of our keys opens. It is the operator's to mend, and this sign-in's alone."""


class ConnectionTokens:
    """The tokens of one connection, for the client (`TokenSource`) and, after an answer, for `mark_used`.

    `clock` gives aware UTC. `wait` pauses for seconds while another process renews.
    """

    def __init__(
        self,
        connection_id: int,
        app: Callable[[], OAuthApp],
        *,
        clock: Callable[[], datetime] = timezone.now,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._connection_id = connection_id
        self._app = app
        self._clock = clock
        self._wait = wait
        self._unproven_version: int | None = None

    def access_token(self) -> str:
        """Return a token that is good now, renewing it when five minutes or less are left.

        Raises GrantDead when the person has to sign in again, ClientMisconfigured when we have to act, and another
        TokenError when Microsoft's sign-in is away. A token with minutes left is used when it cannot be renewed.
        """
        held = self._load()
        now = self._clock()
        if held.is_fresh(now):
            return self._hand_out(held)
        try:
            return self._renewed(held)
        except GrantDead:
            raise
        except TokenError:
            if held.is_valid(now):
                return self._hand_out(held)
            raise

    def renew(self, stale: str) -> str:
        """Return a newer token than `stale`, another process's or one fetched now. Raises as above."""
        held = self._load()
        if held.access_token != stale:
            return self._hand_out(held)
        # Microsoft has refused it, whatever our clock says.
        return self._renewed(replace(held, expires_at=None))

    def renew_now(self) -> None:
        """Renew whatever is left of the token. Raises as above."""
        self._renewed(self._load())

    def mark_used(self) -> None:
        """Note that Microsoft took the access token: the refresh token before the current one is not needed."""
        if self._unproven_version is None:
            return
        unproven = Connection.objects.filter(pk=self._connection_id, token_version=self._unproven_version)
        unproven.update(previous_refresh_token="")
        self._unproven_version = None

    def _hand_out(self, held: "_Held") -> str:
        self._unproven_version = held.version if held.previous_refresh_token else None
        return held.access_token

    def _load(self) -> "_Held":
        """Read the tokens of a connection that may be used. Raises GrantDead or ClientMisconfigured."""
        connection = Connection.objects.filter(pk=self._connection_id).first()
        if connection is None:
            raise GrantDead("This Microsoft sign-in was removed.")
        if connection.status == Connection.Status.NEEDS_RECONNECT:
            raise GrantDead(connection.last_error or "This Microsoft sign-in has to be renewed.")
        try:
            return _Held.of(connection)
        except DecryptionFailed as error:
            # Nothing is written: with the right key the tokens can still be read.
            raise SignInUnreadable(f"The stored sign-in cannot be read: {error}") from error

    def _renewed(self, held: "_Held") -> str:
        now = self._clock()
        if held.paused_until and now < held.paused_until:
            raise ClientMisconfigured(held.last_error)
        if not self._claim(held, now):
            return self._hand_out(self._wait_for_other(held, now))
        try:
            used, tokens = self._exchange(held)
        except GrantDead as error:
            if self._give_up(held, Connection.Status.NEEDS_RECONNECT, _why_dead(error, held), now):
                raise
        except ClientMisconfigured as error:
            if self._give_up(held, Connection.Status.NEEDS_OPERATOR, _why_misconfigured(error), now):
                raise
        except MicrosoftAdsError:
            self._still(held).update(refreshing_until=None)
            raise
        else:
            failpoints.reach(failpoints.AFTER_TOKENS)
            return self._hand_out(self._save(held, used, tokens, now) or self._load())
        return self._hand_out(self._load())

    def _claim(self, held: "_Held", now: datetime) -> bool:
        free = self._still(held).filter(Q(refreshing_until__isnull=True) | Q(refreshing_until__lte=now))
        may_renew = free.exclude(status=Connection.Status.NEEDS_RECONNECT)
        return bool(may_renew.update(refreshing_until=now + RENEWAL_LEASE))

    def _still(self, held: "_Held") -> QuerySet[Connection]:
        """Return the connection, unless somebody renewed, reconnected or disconnected it since it was read."""
        return Connection.objects.filter(pk=self._connection_id, token_version=held.version)

    def _exchange(self, held: "_Held") -> tuple[str, Tokens]:
        """Return the refresh token that Microsoft took and the pair it gave."""
        app = self._app()
        if not held.refresh_token:
            raise GrantDead("No refresh token is stored.")
        try:
            return held.refresh_token, app.refresh(held.refresh_token)
        except GrantDead as refusal:
            if not held.previous_refresh_token:
                raise
            logger.warning("Connection %s: trying the refresh token before the current one", self._connection_id)
            try:
                return held.previous_refresh_token, app.refresh(held.previous_refresh_token)
            except GrantDead:
                raise refusal from None  # why the current one is dead is what the person should read

    def _save(self, held: "_Held", used: str, tokens: Tokens, now: datetime) -> "_Held | None":
        """Save the new pair; None, nothing saved, when somebody's newer pair or their wish to disconnect counts."""
        with transaction.atomic():
            connection = self._still(held).select_for_update(no_key=True).first()
            if connection is None:
                return None
            connection.previous_refresh_token = used
            store_tokens(connection, tokens, now)
        logger.info("Connection %s: access renewed", self._connection_id)
        return _Held.of(connection)

    def _give_up(self, held: "_Held", status: Connection.Status, why: str, now: datetime) -> bool:
        """Note that renewing cannot succeed; False when somebody else's pair has made that untrue."""
        logger.error("Connection %s: %s. %s", self._connection_id, status.label, why)
        noted = self._still(held).update(
            status=status, last_error=why[:MAX_ERROR_CHARS], failed_at=now, refreshing_until=None
        )
        return bool(noted)

    def _wait_for_other(self, held: "_Held", now: datetime) -> "_Held":
        """Return what another process fetched meanwhile. Raises TokenEndpointUnavailable if it got nothing in time."""
        if held.is_valid(now):
            return held
        polls = int(WAIT_SECONDS / POLL_SECONDS)
        for _ in range(polls):
            self._wait(POLL_SECONDS)
            current = self._load()
            if current.version != held.version:
                return current
            if not current.is_being_renewed:
                break
        raise TokenEndpointUnavailable("Another process could not renew the access to Microsoft just now.")


def store_tokens(connection: Connection, tokens: Tokens, now: datetime) -> None:
    """Save a new pair on a connection that is locked, as its next version; what had paused the connection is over."""
    connection.access_token = tokens.access_token
    connection.refresh_token = tokens.refresh_token
    connection.expires_at = now + timedelta(seconds=tokens.expires_in_seconds)
    connection.token_version += 1
    connection.refreshing_until = None
    connection.renewed_at = now
    waited_for_us = connection.status == Connection.Status.NEEDS_OPERATOR
    if waited_for_us:
        connection.status = Connection.Status.CONNECTED
    if connection.status == Connection.Status.CONNECTED:
        connection.last_error, connection.failed_at = "", None
    connection.save(
        update_fields=[
            "access_token",
            "refresh_token",
            "previous_refresh_token",
            "expires_at",
            "token_version",
            "refreshing_until",
            "renewed_at",
            "status",
            "last_error",
            "failed_at",
        ]
    )
    if waited_for_us:
        freed = list(connection.ad_accounts.active().values_list("pk", flat=True))
        accounts_freed.send(Connection, account_ids=freed)


def wipe_tokens(connection: Connection) -> None:
    """Destroy the tokens of a connection that is locked. Its version moves on, so a renewal under way saves nothing."""
    connection.access_token = connection.refresh_token = connection.previous_refresh_token = ""
    connection.expires_at = connection.refreshing_until = None
    connection.token_version += 1
    connection.save(
        update_fields=[
            "access_token",
            "refresh_token",
            "previous_refresh_token",
            "expires_at",
            "refreshing_until",
            "token_version",
        ]
    )


def keep_alive(app: Callable[[], OAuthApp], now: datetime) -> int:
    """Renew sign-ins that nobody used for a week, and those that waited for us; return how many were renewed.

    `now` decides which are due; each renewal reads the clock anew, as those before it take their time. What failed
    lately comes last, so that sign-ins which always fail keep nobody waiting. Stops at our own misconfiguration, which
    is the same for all, and when time is up.
    """
    idle = Q(status=Connection.Status.CONNECTED, renewed_at__lte=now - IDLE)
    paused = Q(status=Connection.Status.NEEDS_OPERATOR)
    rested = Q(failed_at__isnull=True) | Q(failed_at__lte=now - OPERATOR_PAUSE)
    due = Connection.objects.filter(idle | paused, rested).order_by(F("failed_at").asc(nulls_first=True), "renewed_at")
    stop_at = time.monotonic() + KEEP_ALIVE_SECONDS
    renewed = 0
    for connection_id in list(due.values_list("pk", flat=True)[:KEPT_ALIVE_AT_ONCE]):
        if time.monotonic() > stop_at:
            break
        try:
            ConnectionTokens(connection_id, app).renew_now()
        except TokenError as error:
            logger.warning("Connection %s: not renewed, %s", connection_id, error)
            Connection.objects.filter(pk=connection_id).exclude(status=Connection.Status.NEEDS_RECONNECT).update(
                failed_at=now
            )
            if isinstance(error, ClientMisconfigured) and not isinstance(error, SignInUnreadable):
                break
        else:
            renewed += 1
    return renewed


@dataclass(frozen=True, slots=True)
class _Held:
    """A connection's tokens as they were read."""

    version: int
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    previous_refresh_token: str = field(repr=False)
    expires_at: datetime | None
    renew_at: datetime | None
    paused_until: datetime | None
    is_being_renewed: bool
    last_error: str

    @classmethod
    def of(cls, connection: Connection) -> "_Held":
        """Read them. Raises DecryptionFailed."""
        # Spread out, so that connections made together are not renewed together.
        jitter = timedelta(seconds=(connection.pk * 7 + connection.token_version * 13) % JITTER_SECONDS)
        is_paused = connection.status == Connection.Status.NEEDS_OPERATOR
        return cls(
            version=connection.token_version,
            access_token=connection.access_token,
            refresh_token=connection.refresh_token,
            previous_refresh_token=connection.previous_refresh_token,
            expires_at=connection.expires_at,
            renew_at=connection.expires_at - RENEW_EARLY - jitter if connection.expires_at else None,
            paused_until=connection.failed_at + OPERATOR_PAUSE if is_paused and connection.failed_at else None,
            is_being_renewed=connection.refreshing_until is not None,
            last_error=connection.last_error,
        )

    def is_fresh(self, now: datetime) -> bool:
        return bool(self.access_token) and self.renew_at is not None and now < self.renew_at

    def is_valid(self, now: datetime) -> bool:
        return bool(self.access_token) and self.expires_at is not None and now < self.expires_at


def _why_dead(error: GrantDead, held: _Held) -> str:
    reason = next((_REASONS[number] for number in error.error_codes if number in _REASONS), "")
    if not reason and held.is_being_renewed:
        # The lease of whoever died over it: Microsoft may have given a token that nobody has.
        reason = "its last renewal was interrupted before the answer was saved"
    because = f" because {reason}" if reason else ""
    return f"Microsoft no longer gives access to this sign-in{because}{_diagnosis(error)}."


def _why_misconfigured(error: ClientMisconfigured) -> str:
    return f"Microsoft refused Convultra's own registration{_diagnosis(error)}. Its operator has to correct it."


def _diagnosis(error: TokenError) -> str:
    numbers = ", ".join(f"AADSTS{number}" for number in error.error_codes)
    return f" ({numbers or error.error})" if numbers or error.error else ""
