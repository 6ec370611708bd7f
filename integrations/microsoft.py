"""The one place where settings, tokens and the Microsoft client meet."""

import threading
from collections import OrderedDict

import requests
from django.conf import settings
from requests.adapters import BaseAdapter

from integrations.microsoft_ads.auth import BearerAuth, is_header_safe
from integrations.microsoft_ads.client import MicrosoftAdsClient
from integrations.microsoft_ads.endpoints import SCOPES, Endpoints
from integrations.microsoft_ads.errors import ClientMisconfigured
from integrations.microsoft_ads.oauth import OAuthApp
from integrations.microsoft_ads.transport import open_session
from integrations.models import AdAccount, Connection
from integrations.tokens import ConnectionTokens

CALLBACK_PATH = "/integrations/microsoft/callback/"
# Somebody waits at a page for what is asked of a sign-in, and nobody for an upload.
PAGE_TIMEOUT_SECONDS = 20.0
SESSIONS_KEPT = 256


def endpoints() -> Endpoints:
    """Return where Microsoft is: the environment's addresses, or the emulator's in the demo."""
    return Endpoints(
        login=settings.MICROSOFT_LOGIN_URL,
        campaign=settings.MICROSOFT_CAMPAIGN_URL,
        customer=settings.MICROSOFT_CUSTOMER_URL,
    )


def oauth_app() -> OAuthApp:
    """Return our registration at Microsoft. Raises ClientMisconfigured when a setting is missing.

    The redirect URI comes from PUBLIC_URL, never from a request: it must equal the registered one exactly.
    """
    return OAuthApp(
        _required("MICROSOFT_CLIENT_ID"),
        _required("MICROSOFT_CLIENT_SECRET"),
        f"{settings.PUBLIC_URL}{CALLBACK_PATH}",
        endpoints(),
        SCOPES[settings.MICROSOFT_ENVIRONMENT],
        adapter=transport_adapter(),
    )


def client_for_connection(connection: Connection) -> MicrosoftAdsClient:
    """Return a client of a sign-in, for what needs no account. Raises ClientMisconfigured for a setting of no use."""
    return client_with(_auth(connection.pk))


def client_for(account: AdAccount) -> MicrosoftAdsClient:
    """Return a client of an account, on a connection that this thread keeps open for it.

    Raises ClientMisconfigured for a setting of no use; tokens are fetched with the first call.
    """
    return MicrosoftAdsClient(
        endpoints(),
        _developer_token(),
        _auth(account.connection_id),
        customer_id=account.customer_id,
        account_id=account.account_id,
        session=_open_sessions.of(f"{account.connection_id}/{account.pk}"),
        timeout_seconds=settings.UPLOAD_TIMEOUT_SECONDS,
    )


def client_with(auth: BearerAuth) -> MicrosoftAdsClient:
    """Return a client of whoever `auth` speaks for, for what needs no account.

    Raises ClientMisconfigured for a setting of no use.
    """
    return MicrosoftAdsClient(
        endpoints(),
        _developer_token(),
        auth,
        session=_new_session(),
        timeout_seconds=PAGE_TIMEOUT_SECONDS,
    )


def transport_adapter() -> BaseAdapter | None:
    """Return what carries requests in place of the network: None, unless a test puts an emulator here."""
    return None


def forget_sessions() -> None:
    """Close the connections that this thread keeps open."""
    _open_sessions.clear()


class _ProvingAuth(BearerAuth):
    """A connection's token, marked as used once Microsoft has answered with it."""

    def __init__(self, tokens: ConnectionTokens) -> None:
        super().__init__(tokens)
        self._connection_tokens = tokens

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request = super().__call__(request)
        request.hooks["response"].append(self._answered)
        return request

    def _answered(self, response: requests.Response, *_: object, **__: object) -> None:
        if response.ok:
            self._connection_tokens.mark_used()


class _OpenSessions(threading.local):
    """Sessions by name, the longest unused closed first. One set per thread: a session is not made to be shared."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, requests.Session] = OrderedDict()

    def of(self, name: str) -> requests.Session:
        session = self._kept.get(name) or _new_session()
        self._kept[name] = session
        self._kept.move_to_end(name)
        if len(self._kept) > SESSIONS_KEPT:
            self._kept.popitem(last=False)[1].close()
        return session

    def clear(self) -> None:
        while self._kept:
            self._kept.popitem()[1].close()


_open_sessions = _OpenSessions()


def _new_session() -> requests.Session:
    session = open_session()
    adapter = transport_adapter()
    if adapter is not None:
        session.mount("https://", adapter)
        session.mount("http://", adapter)
    return session


def _auth(connection_id: int) -> BearerAuth:
    return _ProvingAuth(ConnectionTokens(connection_id, oauth_app))


def _required(name: str) -> str:
    value = str(getattr(settings, name))
    if not value:
        raise ClientMisconfigured(f"{name} is not set.")
    return value


def _developer_token() -> str:
    token = _required("MICROSOFT_DEVELOPER_TOKEN")
    if not is_header_safe(token):
        raise ClientMisconfigured("MICROSOFT_DEVELOPER_TOKEN has a space, a line break or a letter that is not ASCII.")
    return token
