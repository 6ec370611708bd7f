"""Sign-in: the authorization-code flow of login.microsoftonline.com.

PKCE is checked, codes are single-use, refresh tokens rotate.

Sources: guides/authentication-oauth-consent, guides/authentication-oauth-get-tokens, entra/v2-oauth2-auth-code-flow,
entra/reference-error-codes, entra/refresh-tokens.
"""

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass, replace
from datetime import timedelta
from urllib.parse import urlencode, urlsplit

from integrations.microsoft_ads.emulator import pages
from integrations.microsoft_ads.emulator.books import CLIENT_ID, CLIENT_SECRET, Books, Grant, User
from integrations.microsoft_ads.emulator.wire import (
    JsonObject,
    Request,
    Response,
    html_response,
    is_address,
    json_response,
    redirect,
)

CODE_LIFE = timedelta(minutes=5)  # guides/authentication-oauth-consent: about 5 minutes
REFRESH_LIFE = timedelta(days=90)  # entra/refresh-tokens
LOOPBACK = re.compile(r"(localhost|127(\.\d{1,3}){3}|::1|.+\.localhost)", re.IGNORECASE)
SCOPE = re.compile(r"(https://(?:si\.|api\.)?ads\.microsoft\.com/msads\.manage|offline_access|openid|profile|email)")


@dataclass(eq=False)
class TokenError(Exception):
    """A refusal of the token endpoint: `error` is what a client branches on, the number is for diagnosis only (1.6)."""

    error: str
    number: int
    description: str
    status: int = 400

    def to_response(self, request: Request) -> Response:
        request.result = f"{self.error} {self.number}"
        stamp = request.received_at.strftime("%Y-%m-%d %H:%M:%SZ")
        text = f"AADSTS{self.number}: {self.description} Trace ID: {request.tracking_id} Timestamp: {stamp}"
        body: JsonObject = {
            "error": self.error,
            "error_description": text,
            "error_codes": [self.number],
            "timestamp": stamp,
            "trace_id": request.tracking_id,
            "correlation_id": request.tracking_id,
            "error_uri": f"https://login.microsoftonline.com/error?code={self.number}",
        }
        return json_response(body, self.status)


# Authorize: the browser's leg


def authorize(books: Books, request: Request) -> Response:
    """Show who may sign in and ask for consent; on POST, send the browser back with a code or with access_denied.

    A wrong client or redirect address shows a page of our own and never calls back (entra/v2-oauth2-auth-code-flow).
    """
    fields = request.form() if request.method == "POST" else request.query()
    if trouble := _registration_trouble(books, fields):
        return html_response(pages.sign_in_error(*trouble), 400)
    if error := _request_error(fields):
        return _back(fields, {"error": error[0], "error_description": error[1]})
    if request.method == "GET":
        return html_response(pages.consent(list(books.users.values()), fields))
    if fields.get("decision") != "accept":
        text = "AADSTS65004: User declined to consent to access the app."
        return _back(fields, {"error": "access_denied", "error_description": text})
    user = books.user_named(fields.get("user", ""))
    if user is None:
        return html_response(pages.sign_in_error(50034, "Choose one of the users on the page."), 400)
    return _back(fields, {"code": _issue_code(books, user, fields, request).token})


def _registration_trouble(books: Books, fields: dict[str, str]) -> tuple[int, str] | None:
    if fields.get("client_id") != CLIENT_ID:
        return 700016, "No application with this client_id is registered here."
    if not _is_registered(books, fields.get("redirect_uri", "")):
        return 50011, "The redirect_uri of the request is not one that is registered for the application."
    return None


def _is_registered(books: Books, uri: str) -> bool:
    if books.settings.redirect_uris:
        return uri in books.settings.redirect_uris
    if not is_address(uri):
        return False
    parts = urlsplit(uri)
    return not parts.fragment and bool(LOOPBACK.fullmatch(parts.hostname or ""))


def _request_error(fields: dict[str, str]) -> tuple[str, str] | None:
    if fields.get("response_type") != "code":
        return "unsupported_response_type", "AADSTS700054: Only response_type code is enabled for the application."
    if fields.get("response_mode", "query") != "query":
        return "invalid_request", "AADSTS900144: Only response_mode query is served here."
    if not _scope_is_valid(fields.get("scope", "")):
        return "invalid_scope", "AADSTS70011: The scope must contain https://ads.microsoft.com/msads.manage."
    if fields.get("code_challenge_method", "plain") not in ("plain", "S256"):
        return "invalid_request", "AADSTS501491: The code_challenge_method is neither plain nor S256."
    if fields.get("prompt") == "none":
        return "login_required", "AADSTS50058: Nobody is signed in, and the request was to be silent."
    return None


def _scope_is_valid(scope: str) -> bool:
    words = scope.split()
    return all(SCOPE.fullmatch(word) for word in words) and any(word.endswith("/msads.manage") for word in words)


def _issue_code(books: Books, user: User, fields: dict[str, str], request: Request) -> Grant:
    code = books.issue("code", user.id, fields["scope"], request.received_at, CODE_LIFE)
    code.redirect_uri = fields["redirect_uri"]
    code.challenge = fields.get("code_challenge", "")
    code.challenge_method = fields.get("code_challenge_method", "plain")
    books.put(code)
    return code


def _back(fields: dict[str, str], answer: dict[str, str]) -> Response:
    if "state" in fields:
        answer["state"] = fields["state"]
    uri = fields["redirect_uri"]
    return redirect(f"{uri}{'&' if '?' in uri else '?'}{urlencode(answer)}")


# Token: the server's leg


def token(books: Books, request: Request) -> Response:
    """Exchange a code or a refresh token for tokens; refusals have the shape of entra/reference-error-codes."""
    try:
        return _token(books, request)
    except TokenError as error:
        return error.to_response(request)


def _token(books: Books, request: Request) -> Response:
    fields = request.form()
    for name in ("grant_type", "client_id"):
        if not fields.get(name):
            raise TokenError(
                "invalid_request", 900144, f"The request body must contain the following parameter: '{name}'."
            )
    if request.header("Origin"):
        raise TokenError(
            "invalid_request", 9002326, "Cross-origin token redemption is for single-page applications only."
        )
    _check_client(fields)
    match fields["grant_type"]:
        case "authorization_code":
            grant = _redeem_code(books, request, fields)
        case "refresh_token":
            grant = _redeem_refresh_token(books, request, fields)
        case other:
            raise TokenError("unsupported_grant_type", 70003, f"The grant type {other[:40]!r} is not supported.")
    return json_response(_token_pair(books, request, grant, _scope_of(fields, grant)))


def _check_client(fields: dict[str, str]) -> None:
    if fields["client_id"] != CLIENT_ID:
        raise TokenError("unauthorized_client", 700016, "No application with this client_id was found.")
    secret = fields.get("client_secret", "")
    if not secret:
        raise TokenError(
            "invalid_client", 7000218, "The request must contain 'client_assertion' or 'client_secret'.", 401
        )
    if not hmac.compare_digest(secret.encode(), CLIENT_SECRET.encode()):
        raise TokenError("invalid_client", 7000215, "Invalid client secret provided.", 401)


def _redeem_code(books: Books, request: Request, fields: dict[str, str]) -> Grant:
    grant = _alive(books, request, fields, "code")
    if fields.get("redirect_uri") != grant.redirect_uri:
        raise TokenError("invalid_client", 50011, "The redirect address is not the one the code was issued for.", 401)
    if not _verifier_matches(grant, fields.get("code_verifier", "")):
        raise TokenError(
            "invalid_grant", 501481, "The Code_Verifier does not match the code_challenge of the authorization request."
        )
    books.put(replace(grant, spent_at=request.received_at))
    return grant


def _verifier_matches(grant: Grant, verifier: str) -> bool:
    if not grant.challenge:
        return not verifier
    if grant.challenge_method == "plain":
        return hmac.compare_digest(verifier.encode(), grant.challenge.encode())
    digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=")
    return hmac.compare_digest(digest, grant.challenge.encode())


def _redeem_refresh_token(books: Books, request: Request, fields: dict[str, str]) -> Grant:
    grant = _alive(books, request, fields, "refresh_token")
    if books.settings.strict_rotation:
        books.put(replace(grant, spent_at=request.received_at))
    return grant


def _alive(books: Books, request: Request, fields: dict[str, str], name: str) -> Grant:
    value = fields.get(name, "")
    if not value:
        raise TokenError("invalid_request", 900144, f"The request body must contain the following parameter: '{name}'.")
    grant = books.grants.get(value)
    is_code = name == "code"
    if grant is None or grant.kind != ("code" if is_code else "refresh"):
        raise TokenError("invalid_grant", 70000, "The provided grant is invalid.")
    if grant.revoked_at is not None:
        raise TokenError("invalid_grant", 50173, "The provided grant has been revoked.")
    if grant.spent_at is not None:
        number, text = (
            (54005, "The code was already redeemed.") if is_code else (70000, "A newer refresh token was issued.")
        )
        raise TokenError("invalid_grant", number, text)
    if grant.expires_at <= request.received_at:
        raise TokenError("invalid_grant", 70008 if is_code else 700082, "The provided grant has expired.")
    if books.users[grant.user_id].status != "Active":
        raise TokenError("invalid_grant", 50057, "The user account is disabled.")
    return grant


def _scope_of(fields: dict[str, str], grant: Grant) -> str:
    asked = fields.get("scope", grant.scope)
    if not _scope_is_valid(asked):
        raise TokenError("invalid_scope", 70011, "The scope must contain https://ads.microsoft.com/msads.manage.")
    if not set(asked.split()) <= set(grant.scope.split()):
        raise TokenError("invalid_grant", 65001, "The user has not consented to a scope of the request.")
    return asked


def _token_pair(books: Books, request: Request, grant: Grant, scope: str) -> JsonObject:
    now, life = request.received_at, books.settings.access_token_life
    request.user_id = grant.user_id
    access = books.issue("access", grant.user_id, scope, now, life)
    books.put(access)
    seconds = int(life.total_seconds())
    pair: JsonObject = {
        "token_type": "Bearer",
        "scope": scope,
        "expires_in": seconds,
        "ext_expires_in": seconds,
        "access_token": access.token,
    }
    if "offline_access" in scope.split():
        refresh = books.issue("refresh", grant.user_id, scope, now, REFRESH_LIFE)
        books.put(refresh)
        pair["refresh_token"] = refresh.token
    return pair
