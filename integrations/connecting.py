"""Connecting a site to Microsoft: out to the sign-in and back, and which accounts it brings. No HTML here.

What goes out is remembered in the person's server-side session under a random state that works once, for ten minutes,
for that person and site. Nothing is stored until Microsoft has given tokens and said whose they are; whoever meant to
reconnect a sign-in and comes back as somebody else is told, and nothing is changed.
"""

import logging
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypedDict, cast
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.sessions.backends.base import SessionBase
from django.db import transaction

from ingest.audit import record
from ingest.models import Membership, Role, Site
from integrations.goals import fitting, sync_goals
from integrations.microsoft import client_for_connection, client_with, oauth_app
from integrations.microsoft_ads import shapes
from integrations.microsoft_ads.auth import BearerAuth
from integrations.microsoft_ads.errors import (
    ClientMisconfigured,
    ConsentDeclined,
    GrantDead,
    MicrosoftAdsError,
    ScopeNotGranted,
    TokenEndpointUnavailable,
    WhatToDo,
    token_error_class,
)
from integrations.microsoft_ads.oauth import Tokens
from integrations.models import AdAccount, Connection
from integrations.signals import accounts_freed
from integrations.tokens import store_tokens, wipe_tokens

STATE_BYTES = 32
STATE_LIFE = timedelta(minutes=10)
MAX_OPEN_ATTEMPTS = 5
MAX_CODE_CHARS = 4096
MAY_CONNECT = (Role.OWNER, Role.ADMIN)
SESSION_KEY = "microsoft_sign_ins"

VIEWER_ROLE_ID = 100  # guides/account-hierarchy-permissions: reads, but cannot upload
LINKED_ENTITY_ONLY = "LinkedEntityOnly"  # cust/customerrole: the agency's own accounts stay out of sight

logger = logging.getLogger(__name__)


class ConnectRefused(Exception):  # noqa: N818 - a refusal, told to a person
    """A sign-in that came to nothing; nothing was stored. `site` is None when it is not known where it began."""

    def __init__(self, title: str, what_to_do: str, site: Site | None = None) -> None:
        super().__init__(f"{title} {what_to_do}")
        self.title = title
        self.what_to_do = what_to_do
        self.site = site


class AccountsRefused(ValueError):  # noqa: N818 - a refusal, told to a person
    """Accounts that this sign-in cannot give; none was added. Its text is for a person."""


# Out


def begin(session: SessionBase, user: User, site: Site, now: datetime, reconnect: Connection | None = None) -> str:
    """Return the address of Microsoft's sign-in page for one attempt, remembered in the session.

    `reconnect` is the sign-in of the site that the person means to renew; the attempt serves no other. Whether the
    person may connect the site is asked again at the end. Raises ConnectRefused while our own registration is not set
    up.
    """
    state = secrets.token_urlsafe(STATE_BYTES)
    try:
        authorization = oauth_app().authorization(state, prompt="select_account")
    except ClientMisconfigured as error:
        raise _not_set_up(error, site) from error
    attempts = _attempts(session)
    attempts[state] = {
        "code_verifier": authorization.code_verifier,
        "site_id": site.pk,
        "user_id": user.pk,
        "reconnects": None if reconnect is None else reconnect.pk,
        "login_url": settings.MICROSOFT_LOGIN_URL,
        "environment": settings.MICROSOFT_ENVIRONMENT,
        "began_at": now.timestamp(),
    }
    newest = sorted(attempts, key=lambda one: attempts[one]["began_at"])[-MAX_OPEN_ATTEMPTS:]
    session[SESSION_KEY] = {one: attempts[one] for one in newest}
    return authorization.url


class _Attempt(TypedDict):
    """What the session remembers of one attempt, under its state."""

    code_verifier: str
    site_id: int
    user_id: int
    reconnects: int | None
    login_url: str
    environment: str
    began_at: float  # seconds since 1970


def _attempts(session: SessionBase) -> dict[str, _Attempt]:
    return dict(cast("dict[str, _Attempt]", session.get(SESSION_KEY, {})))


# Back


def finish(session: SessionBase, user: User, query: Mapping[str, str], now: datetime) -> Connection:
    """Turn what Microsoft sent back into a connection of the site where the attempt began; its state is spent.

    The same Microsoft user renews their connection of the site, another one makes a new one: `waiting_beside` has the
    words for that. Accounts are chosen afterwards; that there may be none is no reason to refuse.
    Raises ConnectRefused.
    """
    attempt = _take_attempt(session, user, query.get("state", ""), now)
    site = _site_of(attempt, user)
    code = _code_of(query, site)
    try:
        tokens = oauth_app().redeem(code, attempt["code_verifier"])
        person = client_with(BearerAuth(_JustIssued(tokens.access_token))).get_user()
    except MicrosoftAdsError as error:
        logger.warning("Site %s: the Microsoft sign-in was refused, %s", site.pk, error)
        raise _refused(error, site) from error
    _refuse_somebody_else(site, user, attempt.get("reconnects"), person, now)
    connection = _store(site, user, person, tokens, now)
    logger.info("Site %s: user %s connected Microsoft user %s", site.pk, user.pk, person.user_id)
    return connection


def _refuse_somebody_else(site: Site, user: User, reconnects: int | None, person: shapes.User, now: datetime) -> None:
    """Refuse a person who is not the one whose sign-in was to be renewed; their tokens are forgotten unused."""
    wanted = None if reconnects is None else site.connections.filter(pk=reconnects).first()
    if wanted is None or wanted.microsoft_user_id == person.user_id:
        return
    came_back = _name_of(person)
    details = {"came_back_as": came_back}
    record(
        user,
        "sign_in.other_user",
        organisation=site.organisation,
        site=site,
        target=str(wanted),
        details=details,
        now=now,
    )
    raise ConnectRefused(
        f"You signed in to Microsoft as {came_back}, and this sign-in is {wanted}’s.",
        f"Nothing was changed. Choose Reconnect again and sign in as {wanted}. If {came_back} is to take over, choose "
        "Connect another sign-in, and then the accounts that move to it.",
        site,
    )


def _name_of(person: shapes.User) -> str:
    return person.user_name or person.email or person.display_name or person.user_id


def waiting_beside(connection: Connection) -> str:
    """Return a warning when other sign-ins of the site still wait to be reconnected, empty when none does.

    Whoever meant to reconnect one of those has signed in as somebody else.
    """
    others = connection.site.connections.filter(
        status=Connection.Status.NEEDS_RECONNECT, ad_accounts__is_active=True
    ).exclude(pk=connection.pk)
    names = ", ".join(str(other) for other in others.distinct().order_by("pk"))
    if not names:
        return ""
    return (
        f"You signed in to Microsoft as {connection}. {names} still needs to be reconnected, and its conversions wait. "
        "Sign in as that Microsoft user, or choose its accounts here to move them to this sign-in."
    )


class _JustIssued:
    """The token of a sign-in that is not stored yet."""

    def __init__(self, token: str) -> None:
        self._token = token

    def access_token(self) -> str:
        return self._token

    def renew(self, stale: str) -> str:
        return stale  # it is seconds old; nothing newer exists


def _take_attempt(session: SessionBase, user: User, state: str, now: datetime) -> _Attempt:
    attempts = _attempts(session)
    attempt = attempts.pop(state, None)
    if attempt is None or attempt["user_id"] != user.pk:
        raise ConnectRefused(
            "This sign-in did not begin here.",
            "It was used already, began in another browser, or as another person. Open Integrations and choose Connect "
            "to start again.",
        )
    session[SESSION_KEY] = attempts
    site = Site.objects.for_user(user).filter(pk=attempt["site_id"]).first()
    if now.timestamp() - attempt["began_at"] > STATE_LIFE.total_seconds():
        raise ConnectRefused("The sign-in took more than ten minutes.", "Choose Connect to start again.", site)
    is_elsewhere = attempt["login_url"] != settings.MICROSOFT_LOGIN_URL
    if is_elsewhere or attempt["environment"] != settings.MICROSOFT_ENVIRONMENT:
        raise ConnectRefused(
            "Convultra now uses another Microsoft environment than when this sign-in began.",
            "Choose Connect to start again.",
            site,
        )
    return attempt


def _site_of(attempt: _Attempt, user: User) -> Site:
    site = Site.objects.for_user(user).filter(pk=attempt["site_id"]).first()
    if site is None:
        raise ConnectRefused(
            "You are no longer a member of this site.", "Ask its owner to invite you, then choose Connect again."
        )
    member = Membership.objects.filter(user=user, organisation_id=site.organisation_id, role__in=MAY_CONNECT)
    if not member.exists():
        raise ConnectRefused(
            "You may no longer connect accounts to this site.",
            "Ask an owner or admin of the site to connect Microsoft Advertising.",
            site,
        )
    return site


def _code_of(query: Mapping[str, str], site: Site) -> str:
    error, code, issuer = query.get("error", ""), query.get("code", ""), query.get("iss", "")
    if issuer and urlsplit(issuer).netloc != urlsplit(settings.MICROSOFT_LOGIN_URL).netloc:
        raise ConnectRefused(
            "The answer did not come from the Microsoft sign-in that was asked.", "Choose Connect to start again.", site
        )
    if error:
        raise _refused(token_error_class(error)("The sign-in page answered with an error", error=error[:64]), site)
    if not code or len(code) > MAX_CODE_CHARS:
        raise ConnectRefused("Microsoft's answer had no code in it.", "Choose Connect to start again.", site)
    return code


def _store(site: Site, user: User, person: shapes.User, tokens: Tokens, now: datetime) -> Connection:
    with transaction.atomic():
        # One connection per Microsoft user and site: two browsers coming back at once take turns here.
        Site.objects.select_for_update(no_key=True).get(pk=site.pk)
        connection = site.connections.filter(microsoft_user_id=person.user_id).first()
        action = "sign_in.connect" if connection is None else "sign_in.reconnect"
        if connection is None:
            connection = Connection.objects.create(site=site, microsoft_user_id=person.user_id, connected_at=now)
        connection.microsoft_user_name = str(fitting(Connection, "microsoft_user_name", _name_of(person)))
        connection.status = Connection.Status.CONNECTED
        connection.connected_by = user
        connection.connected_at = now
        connection.previous_refresh_token = ""
        connection.save(update_fields=["microsoft_user_name", "status", "connected_by", "connected_at"])
        store_tokens(connection, tokens, now)
        # Whatever held its accounts may be gone with the new sign-in: the next call tells.
        connection.ad_accounts.update(hold_reason="", held_until=None)
        record(user, action, organisation=site.organisation, site=site, target=str(connection), now=now)
        accounts_freed.send(Connection, account_ids=list(connection.ad_accounts.active().values_list("pk", flat=True)))
    return connection


# What a person is told


def _refused(error: MicrosoftAdsError, site: Site) -> ConnectRefused:
    """Put why a sign-in came to nothing in words; which class of error it is decides, never Microsoft's text."""
    match error:
        case ConsentDeclined():
            return ConnectRefused(
                "Access was not granted.",
                "On Microsoft's page Cancel was chosen. Choose Connect and accept there, or ask the person who has "
                "access to the ad accounts. Where only an IT administrator may accept, ask them.",
                site,
            )
        case ScopeNotGranted():
            return ConnectRefused(
                "Microsoft signed you in without leave to manage ads.",
                "Choose Connect again and accept every permission on Microsoft's page.",
                site,
            )
        case GrantDead():
            return ConnectRefused(
                "Microsoft did not accept the sign-in's code.",
                "It works once and for a few minutes only. Choose Connect to start again.",
                site,
            )
        case ClientMisconfigured():
            return _not_set_up(error, site)
    if isinstance(error, TokenEndpointUnavailable) or error.what_to_do in (WhatToDo.RETRY, WhatToDo.THROTTLE):
        return ConnectRefused(
            "Microsoft could not be reached.", "Nothing is wrong with your account. Try again in a minute.", site
        )
    # The token is seconds old: what Microsoft refuses now is our developer token or the person, and 105 means both.
    if error.what_to_do in (WhatToDo.OPERATOR, WhatToDo.RENEW_TOKEN) or error.code == 105:
        return _not_set_up(error, site)
    return ConnectRefused(
        "Microsoft Advertising did not accept this user.",
        "Sign in at ads.microsoft.com as the same user to see whether that works, then choose Connect again."
        + _name(error),
        site,
    )


def _not_set_up(error: MicrosoftAdsError, site: Site) -> ConnectRefused:
    logger.error("Connecting does not work until the operator acts: %s", error)
    return ConnectRefused(
        "Convultra's own registration at Microsoft is not in order.",
        f"This is not your fault, and only the operator of this installation can mend it.{_name(error)}",
        site,
    )


def _name(error: MicrosoftAdsError) -> str:
    numbers = [f"AADSTS{number}" for number in getattr(error, "error_codes", ())]
    names = numbers or [part for part in (error.symbol, str(error.code or "")) if part]
    return f" Microsoft calls it {' '.join(names)}." if names else ""


# Accounts


@dataclass(frozen=True, slots=True)
class ReachableAccount:
    """An account that a sign-in reaches. `why_not` says, in words, why it `can_upload` nothing; empty when it can.

    `customer_id` is the customer that owns the account. `time_zone` is Microsoft's name of it.
    """

    account_id: str
    customer_id: str
    number: str
    name: str
    currency: str
    time_zone: str
    life_cycle_status: str
    can_upload: bool
    why_not: str


def reachable_accounts(connection: Connection) -> list[ReachableAccount]:
    """Return every account that the sign-in reaches now, by customer and name. Raises MicrosoftAdsError."""
    client = client_for_connection(connection)
    person = client.get_user()
    found = [_reachable(account, person) for account in client.search_accounts(person.user_id)]
    return sorted(found, key=lambda account: (account.customer_id, account.name.casefold(), account.account_id))


def add_accounts(connection: Connection, account_ids: Iterable[str], actor: User, now: datetime) -> list[AdAccount]:
    """Connect accounts to the site, in the order asked for, and read each one's goals.

    An account that the site has through another sign-in, or had before, goes on with its mapping and history on this
    one. Raises AccountsRefused unless Microsoft lists every id for this sign-in now, and MicrosoftAdsError when it
    cannot be asked; nothing is added then. An account whose goals cannot be read keeps `goals_synced_at` None.
    """
    reachable = {account.account_id: account for account in reachable_accounts(connection)}
    wanted = list(dict.fromkeys(account_ids))
    for account_id in wanted:
        account = reachable.get(account_id)
        if account is None:
            raise AccountsRefused("This Microsoft sign-in does not reach one of the accounts. Read the list again.")
        if not account.can_upload:
            raise AccountsRefused(f"{account.name}: {account.why_not}")
    with transaction.atomic():
        known = {row.account_id: row for row in connection.site.ad_accounts.select_related("connection")}
        added = [_add(connection, reachable[account_id], now) for account_id in wanted]
        for row in added:
            before = known.get(row.account_id)
            _note(
                row, "account.add", actor, now, {"sign_in": [str(before.connection) if before else "", str(connection)]}
            )
        accounts_freed.send(Connection, account_ids=[row.pk for row in added])
    for row in added:
        logger.info("Site %s: user %s added account %s", connection.site_id, actor.pk, row.account_id)
        try:
            sync_goals(row, now)
        except MicrosoftAdsError as error:
            logger.warning("Account %s: its goals were not read, %s", row.account_id, error)
    return added


def remove_account(account: AdAccount, actor: User, now: datetime) -> None:
    """Stop forwarding to an account. Its mapping and history stay, and adding it again goes on with them."""
    account.is_active = False
    with transaction.atomic():
        account.save(update_fields=["is_active"])
        _note(account, "account.remove", actor, now, {})
    logger.info("Site %s: user %s removed account %s", account.site_id, actor.pk, account.account_id)


def disconnect(connection: Connection, actor: User, now: datetime) -> None:
    """Destroy the tokens of a sign-in. Its accounts stay with their history and wait until it is reconnected.

    Microsoft goes on listing Convultra among the person's applications until they remove it there.
    """
    with transaction.atomic():
        locked = Connection.objects.select_for_update(no_key=True).get(pk=connection.pk)
        locked.status = Connection.Status.NEEDS_RECONNECT
        locked.last_error = "It was disconnected here. Reconnect to go on."
        locked.failed_at = None
        locked.save(update_fields=["status", "last_error", "failed_at"])
        wipe_tokens(locked)
        site = locked.site
        record(actor, "sign_in.disconnect", organisation=site.organisation, site=site, target=str(locked), now=now)
    connection.refresh_from_db()
    logger.info("Site %s: user %s disconnected Microsoft user %s", locked.site_id, actor.pk, locked.microsoft_user_id)


def _note(account: AdAccount, action: str, actor: User, now: datetime, details: dict[str, object]) -> None:
    site = account.site
    record(actor, action, organisation=site.organisation, site=site, target=str(account), details=details, now=now)


def _reachable(account: shapes.Account, person: shapes.User) -> ReachableAccount:
    roles = role_ids(person, account)
    # Where no role tells, Microsoft is left to judge.
    is_view_only = bool(roles) and set(roles) == {VIEWER_ROLE_ID}
    return ReachableAccount(
        account_id=account.account_id,
        customer_id=account.customer_id,
        number=account.number,
        name=account.name or account.number,
        currency=account.currency,
        time_zone=account.time_zone,
        life_cycle_status=account.life_cycle_status,
        can_upload=not is_view_only,
        why_not=(
            "You can view this account but not upload to it. Ask its owner for the Standard user role."
            if is_view_only
            else ""
        ),
    )


def role_ids(person: shapes.User, account: shapes.Account) -> list[int]:
    """Return the roles that a person has for an account, as Microsoft numbers them; none where it does not say."""
    return [role.role_id for role in person.roles if _covers(role, account)]


def _covers(role: shapes.CustomerRole, account: shapes.Account) -> bool:
    """Say whether a role is about an account. Source: cust/customerrole."""
    if account.account_id in role.linked_account_ids:
        return True
    if role.account_ids:
        return account.account_id in role.account_ids
    return role.customer_id == account.customer_id and role.link_permission != LINKED_ENTITY_ONLY


def _add(connection: Connection, found: ReachableAccount, now: datetime) -> AdAccount:
    described = {
        name: fitting(AdAccount, name, getattr(found, name))
        for name in ("customer_id", "number", "name", "currency", "time_zone", "life_cycle_status")
    }
    account, _ = AdAccount.objects.update_or_create(
        site=connection.site,
        account_id=found.account_id,
        defaults={
            **described,
            "connection": connection,
            "is_active": True,
            # What held it may have been the other sign-in's; if not, the next upload finds out.
            "hold_reason": "",
            "held_until": None,
            # The worker reads the goals too, at once: conversions that wait follow what was renamed meanwhile.
            "next_sync_at": now,
        },
    )
    return account
