"""Consent, codes and tokens at Microsoft's sign-in, on requests-oauthlib.

Source: guides/authentication-oauth-consent, guides/authentication-oauth-get-tokens, entra/v2-oauth2-auth-code-flow.
"""

import io
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlencode

import requests
from oauthlib.oauth2 import WebApplicationClient
from requests.adapters import BaseAdapter
from requests_oauthlib import OAuth2Session

from integrations.microsoft_ads import transport
from integrations.microsoft_ads.auth import is_header_safe
from integrations.microsoft_ads.endpoints import Endpoints, is_loopback
from integrations.microsoft_ads.errors import (
    GrantDead,
    NoAnswer,
    ScopeNotGranted,
    TokenEndpointUnavailable,
    TokenError,
    UnexpectedAnswer,
    token_error_class,
)
from integrations.microsoft_ads.strict_json import Members, ShapeError, parse_object
from integrations.microsoft_ads.transport import Deadline

_TENANT_PATH = "/common/oauth2/v2.0"  # of both legs: redeeming at another tenant is AADSTS700005
_CODE_VERIFIER_CHARS = 64  # of 43 to 128 (RFC 7636, 4.1)
_SCOPE_WANTED = "msads.manage"  # ads.manage still gets a token, which the API refuses (authentication-oauth-mfa)
_MAX_DIAGNOSTIC_CHARS = 100

# The library writes secrets, codes and tokens to its log at DEBUG.
logging.getLogger("requests_oauthlib.oauth2_session").addFilter(lambda record: record.levelno > logging.DEBUG)


@dataclass(frozen=True, slots=True)
class Authorization:
    """Where to send the browser, and the verifier to keep at our side until the code comes back."""

    url: str
    code_verifier: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Tokens:
    """A token pair. The access token lives `expires_in_seconds`; the refresh token replaces the one used before."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_in_seconds: int
    scope: str


class OAuthApp:
    """Our registration at Microsoft: a web application with a secret, for any tenant and personal accounts.

    Each call makes one request, which ends within `timeout_seconds`. `adapter` stands in for the network in tests.
    """

    def __init__(
        self,
        client_id: str,
        client_secret: str,
        redirect_uri: str,
        endpoints: Endpoints,
        scope: str,
        *,
        adapter: BaseAdapter | None = None,
        timeout_seconds: float = 10.0,
    ) -> None:
        self._client_id = client_id
        self._client_secret = client_secret
        self._redirect_uri = redirect_uri
        self._login = endpoints.login
        self._scope = scope
        self._adapter = adapter
        self._timeout_seconds = timeout_seconds

    def authorization(self, state: str, prompt: str = "select_account") -> Authorization:
        """Return the sign-in page's address for one attempt, with PKCE (S256), and its fresh verifier.

        `prompt`: `select_account`, `login`, `consent` or `none`. `state` is the caller's: random, single use, bound to
        the session.
        """
        client = WebApplicationClient(self._client_id)
        code_verifier = client.create_code_verifier(_CODE_VERIFIER_CHARS)
        with OAuth2Session(client=client, redirect_uri=self._redirect_uri, scope=self._scope) as session:
            url, _ = session.authorization_url(
                f"{_as_https(self._login)}{_TENANT_PATH}/authorize",
                state,
                response_mode="query",
                prompt=prompt,
                code_challenge=client.create_code_challenge(code_verifier, "S256"),
                code_challenge_method="S256",
            )
        return Authorization(self._login + url.removeprefix(_as_https(self._login)), code_verifier)

    def redeem(self, code: str, code_verifier: str) -> Tokens:
        """Exchange a code for tokens, once: a code is single-use, and a failed attempt starts over at the sign-in page.

        Raises TokenError.
        """
        if not code:
            raise GrantDead("The sign-in page sent no code back")
        return self._tokens(
            lambda session, url: session.fetch_token(
                url,
                code=code,
                code_verifier=code_verifier,
                include_client_id=True,
                client_secret=self._client_secret,
                scope=self._scope,
            )
        )

    def refresh(self, refresh_token: str) -> Tokens:
        """Exchange a refresh token for a new pair. Keep the old one until the new has worked. Raises TokenError."""
        return self._tokens(
            lambda session, url: session.refresh_token(
                url,
                refresh_token=refresh_token,
                client_id=self._client_id,
                client_secret=self._client_secret,
                body=urlencode({"scope": self._scope}),  # as an argument it would have to match the granted one
            )
        )

    def _tokens(self, fetch: Callable[[OAuth2Session, str], Mapping[str, object]]) -> Tokens:
        failure: TokenError
        try:
            with OAuth2Session(self._client_id, redirect_uri=self._redirect_uri) as session:
                session.mount("https://", _BoundedAdapter(self._adapter, self._login, self._timeout_seconds))
                session.register_compliance_hook("access_token_response", _checked)
                session.register_compliance_hook("refresh_token_response", _checked)
                answer = fetch(session, f"{_as_https(self._login)}{_TENANT_PATH}/token")
                return _read_tokens(answer)
        except requests.RequestException as error:
            failure = TokenEndpointUnavailable(f"Microsoft's sign-in did not answer ({type(error).__name__})")
        except (NoAnswer, UnexpectedAnswer) as error:
            failure = TokenEndpointUnavailable(f"Microsoft's sign-in: {error.message}", http_status=error.http_status)
        raise failure  # outside, so that it does not carry the error, which holds the request and with it the secret


class _BoundedAdapter(BaseAdapter):
    """Send a token request within a deadline, to the address that is really meant, and nowhere else.

    oauthlib refuses plain http, and its switch against that is process-wide. So a loopback emulator is https to
    oauthlib, and its true scheme is put back here.
    """

    def __init__(self, inner: BaseAdapter | None, login: str, timeout_seconds: float) -> None:
        super().__init__()
        self._inner = inner or transport.WatchedAdapter()
        self._login = login
        self._timeout_seconds = timeout_seconds

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,  # noqa: ARG002 - requests' signature
        timeout: object = None,  # noqa: ARG002 - the deadline decides
        verify: bool | str = True,
        cert: "str | bytes | tuple[str | bytes, str | bytes] | None" = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        deadline = Deadline.after(self._timeout_seconds)
        request.url = self._login + str(request.url).removeprefix(_as_https(self._login))
        proxies = None if is_loopback(self._login) else proxies
        streamed = self._inner.send(
            request, stream=True, timeout=deadline.timeouts, verify=verify, cert=cert, proxies=proxies
        )
        response = requests.Response()
        response.status_code = streamed.status_code
        response.headers = streamed.headers
        response.request = request
        response.url = request.url
        response.encoding = "utf-8"
        response.raw = io.BytesIO(transport.read_body(streamed, deadline))
        if streamed.is_redirect:  # following it would hand our secret to whoever is named
            raise TokenEndpointUnavailable(
                "Microsoft's sign-in redirected a token request", http_status=streamed.status_code
            )
        return response

    def close(self) -> None:
        self._inner.close()


def _as_https(url: str) -> str:
    return f"https://{url.partition('://')[2]}"


def _checked(response: requests.Response) -> requests.Response:
    """Raise TokenError unless a token endpoint's answer is a documented success; requests-oauthlib goes on with it."""
    status = response.status_code
    try:
        answer = parse_object(response.content)
        error = answer.text("error")
        if not error and status == 200:
            _check_success(answer)
            return response
    except ShapeError as complaint:
        raise TokenEndpointUnavailable(f"Microsoft's sign-in: the {complaint}", http_status=status) from None
    is_away = status == 429 or status >= 500 or not error
    raise (TokenEndpointUnavailable if is_away else token_error_class(error))(
        "Microsoft's sign-in gave no token",
        error=error[:_MAX_DIAGNOSTIC_CHARS],
        error_codes=_error_codes(answer),
        trace_id=_diagnostic(answer, "trace_id"),
        correlation_id=_diagnostic(answer, "correlation_id"),
        http_status=status,
        retry_after_seconds=transport.retry_after_seconds(response),
    )


def _check_success(answer: Members) -> None:
    if answer.required_text("token_type").lower() != "bearer":
        raise ShapeError("answer.token_type is not Bearer")
    if not is_header_safe(answer.required_text("access_token")):
        raise ShapeError("answer.access_token is not a token")
    if answer.required_integer("expires_in") <= 0:
        raise ShapeError("answer.expires_in is not a lifetime")
    if "refresh_token" in answer.names:
        answer.required_text("refresh_token")
    granted = answer.text("scope").split()
    if not any(scope.rpartition("/")[2] == _SCOPE_WANTED for scope in granted):
        raise ScopeNotGranted("Microsoft granted a token without leave to manage ads (msads.manage)")


def _read_tokens(answer: Mapping[str, object]) -> Tokens:
    if not answer.get("refresh_token"):
        raise ScopeNotGranted("Microsoft granted no refresh token (offline_access)")
    scopes = answer["scope"]
    return Tokens(
        access_token=str(answer["access_token"]),
        refresh_token=str(answer["refresh_token"]),
        expires_in_seconds=int(str(answer["expires_in"])),
        scope=" ".join(scopes) if isinstance(scopes, list) else "",
    )


def _error_codes(answer: Members) -> tuple[int, ...]:
    with suppress(ShapeError):  # good to have, never decisive
        return answer.integers("error_codes")
    return ()


def _diagnostic(answer: Members, member: str) -> str:
    with suppress(ShapeError):
        return answer.text(member)[:_MAX_DIAGNOSTIC_CHARS]
    return ""
