"""Consent and tokens at Microsoft's sign-in."""

import json
import logging
import os
from base64 import urlsafe_b64encode
from hashlib import sha256
from unittest.mock import patch
from urllib.parse import parse_qs, urlsplit

import requests
import responses
from django.test import SimpleTestCase

from integrations.microsoft_ads.endpoints import PRODUCTION, PRODUCTION_SCOPE, Endpoints
from integrations.microsoft_ads.errors import (
    TOKEN_ERRORS,
    ClientMisconfigured,
    ConsentDeclined,
    GrantDead,
    ScopeNotGranted,
    TokenEndpointUnavailable,
    TokenError,
    WhatToDo,
    token_error_class,
)
from integrations.microsoft_ads.oauth import OAuthApp, Tokens
from tests.integrations.microsoft_ads.canned import BASE

TOKEN_URL = f"{BASE}/common/oauth2/v2.0/token"
GRANTED = {
    "token_type": "Bearer",
    "scope": "https://ads.microsoft.com/msads.manage",
    "expires_in": 3599,
    "ext_expires_in": 3599,
    "access_token": "access-token-1",
    "refresh_token": "refresh-token-1",
}
WITHOUT_REFRESH_TOKEN = {name: value for name, value in GRANTED.items() if name != "refresh_token"}
REFUSED = {
    "error": "invalid_grant",
    "error_description": "AADSTS70008: The refresh token of alice@example.com has expired.",
    "error_codes": [70008],
    "timestamp": "2026-11-21 09:30:00Z",
    "trace_id": "trace-1",
    "correlation_id": "correlation-1",
}
SECRETS = ("client-s~cret.1", "code-1", "verifier-1", "refresh-token-0", "access-token-1", "refresh-token-1")


def make_app(endpoints: Endpoints | None = None) -> OAuthApp:
    """Return our registration, at an emulator on loopback."""
    endpoints = endpoints or Endpoints(BASE, BASE, BASE)
    return OAuthApp("client-1", "client-s~cret.1", "https://app.example/callback/", endpoints, PRODUCTION_SCOPE)


class SignInTestCase(SimpleTestCase):
    def setUp(self) -> None:
        self.microsoft = responses.RequestsMock(assert_all_requests_are_fired=False)
        self.microsoft.start()
        self.addCleanup(self.microsoft.stop)

    def sent(self) -> dict[str, list[str]]:
        """Return the form that the token endpoint received."""
        return parse_qs(str(self.microsoft.calls[0].request.body), strict_parsing=True)

    def refused(self, body: object, status: int = 400, headers: dict[str, str] | None = None) -> TokenError:
        """Refresh, have it answered so, and return the error."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.microsoft.post(TOKEN_URL, body=raw, status=status, headers=headers or {})
        with self.assertRaises(TokenError) as raised:
            make_app().refresh("refresh-token-0")
        self.microsoft.reset()
        return raised.exception


class AuthorizationTests(SimpleTestCase):
    def test_it_asks_for_a_code_with_everything_microsoft_wants(self) -> None:
        query = parse_qs(urlsplit(make_app().authorization("state-1").url).query)
        self.assertRegex(query.pop("code_challenge")[0], r"\A[A-Za-z0-9_-]{43}\Z")
        expected = {
            "client_id": "client-1",
            "response_type": "code",
            "redirect_uri": "https://app.example/callback/",
            "scope": "https://ads.microsoft.com/msads.manage offline_access",
            "response_mode": "query",
            "state": "state-1",
            "prompt": "select_account",
            "code_challenge_method": "S256",
        }
        self.assertEqual(query, {name: [value] for name, value in expected.items()})

    def test_it_goes_to_the_common_tenant(self) -> None:
        url = make_app(PRODUCTION).authorization("s").url
        self.assertTrue(url.startswith("https://login.microsoftonline.com/common/oauth2/v2.0/authorize?"))

    def test_it_goes_to_an_emulator_on_loopback_over_http(self) -> None:
        self.assertTrue(make_app().authorization("s").url.startswith(f"{BASE}/common/oauth2/v2.0/authorize?"))

    def test_the_challenge_is_made_of_the_verifier(self) -> None:
        authorization = make_app().authorization("s", prompt="login")
        challenge = urlsafe_b64encode(sha256(authorization.code_verifier.encode()).digest()).rstrip(b"=").decode()
        query = parse_qs(urlsplit(authorization.url).query)
        self.assertEqual((query["code_challenge"], query["prompt"]), ([challenge], ["login"]))

    def test_every_attempt_has_a_verifier_of_its_own(self) -> None:
        verifiers = {make_app().authorization("s").code_verifier for _ in range(5)}
        self.assertEqual({len(verifier) for verifier in verifiers}, {64})
        self.assertEqual(len(verifiers), 5)


class TokenTests(SignInTestCase):
    def test_a_code_is_redeemed(self) -> None:
        self.microsoft.post(TOKEN_URL, json=GRANTED)
        tokens = make_app().redeem("code-1", "verifier-1")
        expected = Tokens("access-token-1", "refresh-token-1", 3599, "https://ads.microsoft.com/msads.manage")
        self.assertEqual(tokens, expected)
        form = {
            "grant_type": "authorization_code",
            "client_id": "client-1",
            "client_secret": "client-s~cret.1",
            "code": "code-1",
            "code_verifier": "verifier-1",
            "redirect_uri": "https://app.example/callback/",
            "scope": PRODUCTION_SCOPE,
        }
        self.assertEqual(self.sent(), {name: [value] for name, value in form.items()})

    def test_a_refresh_token_is_exchanged(self) -> None:
        self.microsoft.post(TOKEN_URL, json=GRANTED)
        self.assertEqual(make_app().refresh("refresh-token-0").refresh_token, "refresh-token-1")
        form = {
            "grant_type": "refresh_token",
            "client_id": "client-1",
            "client_secret": "client-s~cret.1",
            "refresh_token": "refresh-token-0",
            "scope": PRODUCTION_SCOPE,
        }
        self.assertEqual(self.sent(), {name: [value] for name, value in form.items()})

    def test_no_header_gives_the_secret_or_an_origin(self) -> None:
        self.microsoft.post(TOKEN_URL, json=GRANTED)
        make_app().redeem("code-1", "verifier-1")
        headers = self.microsoft.calls[0].request.headers
        self.assertNotIn("Authorization", headers)
        self.assertNotIn("Origin", headers)

    def test_a_proxy_of_the_environment_is_not_asked_for_an_emulator_here(self) -> None:
        self.microsoft.post(TOKEN_URL, json=GRANTED)
        with patch.dict(os.environ, http_proxy="http://127.0.0.1:1", https_proxy="http://127.0.0.1:1", no_proxy=""):
            make_app().refresh("refresh-token-0")
        self.assertIsNone(vars(self.microsoft.calls[0].request)["req_kwargs"]["proxies"])

    def test_a_refresh_without_a_new_refresh_token_keeps_the_old(self) -> None:
        self.microsoft.post(TOKEN_URL, json=WITHOUT_REFRESH_TOKEN)
        self.assertEqual(make_app().refresh("refresh-token-0").refresh_token, "refresh-token-0")

    def test_a_code_that_brings_no_refresh_token_is_no_connection(self) -> None:
        self.microsoft.post(TOKEN_URL, json=WITHOUT_REFRESH_TOKEN)
        with self.assertRaisesMessage(ScopeNotGranted, "offline_access"):
            make_app().redeem("code-1", "verifier-1")

    def test_a_token_for_another_scope_is_no_connection(self) -> None:
        for scope in ("https://ads.microsoft.com/ads.manage", "openid profile", "", None, "xmsads.manage"):
            self.assertIsInstance(self.refused({**GRANTED, "scope": scope}, 200), ScopeNotGranted, scope)

    def test_no_code_is_nothing_to_redeem(self) -> None:
        with self.assertRaises(GrantDead):
            make_app().redeem("", "verifier-1")
        self.assertEqual(len(self.microsoft.calls), 0)


class TokenErrorTests(SignInTestCase):
    def test_each_oauth_error_asks_for_what_its_page_says(self) -> None:
        expected = {
            WhatToDo.RECONNECT: ("invalid_grant", "interaction_required", "consent_required", "access_denied"),
            WhatToDo.OPERATOR: ("invalid_client", "unauthorized_client", "invalid_request", "invalid_scope"),
            WhatToDo.RETRY: ("temporarily_unavailable", "server_error"),
            WhatToDo.UNKNOWN: ("spelled_anew",),
        }
        for what, errors in expected.items():
            for error in errors:
                self.assertIs(self.refused({**REFUSED, "error": error}).what_to_do, what, error)

    def test_the_callback_page_finds_the_same_classes(self) -> None:
        self.assertIs(token_error_class("access_denied"), ConsentDeclined)
        self.assertIs(token_error_class("invalid_resource"), ClientMisconfigured)
        self.assertIs(token_error_class("spelled_anew"), TokenError)
        self.assertTrue(all(issubclass(found, TokenError) for found in TOKEN_ERRORS.values()))

    def test_what_support_asks_for_is_kept_and_their_description_is_not(self) -> None:
        error = self.refused(REFUSED)
        self.assertEqual((error.error, error.error_codes), ("invalid_grant", (70008,)))
        self.assertEqual((error.trace_id, error.correlation_id), ("trace-1", "correlation-1"))
        self.assertNotIn("alice", f"{error} {error!r} {vars(error)}")

    def test_odd_diagnostics_do_not_change_the_verdict(self) -> None:
        odd = self.refused({"error": "invalid_grant", "error_codes": ["70008"], "trace_id": 5})
        self.assertIsInstance(odd, GrantDead)
        self.assertEqual((odd.error_codes, odd.trace_id), ((), ""))

    def test_a_service_in_trouble_kills_no_grant(self) -> None:
        for status in (429, 500, 503):
            error = self.refused(REFUSED, status, {"Retry-After": "7"})
            self.assertIsInstance(error, TokenEndpointUnavailable)
            self.assertEqual(error.retry_after_seconds, 7)

    def test_an_answer_of_no_documented_shape_kills_no_grant(self) -> None:
        odd: list[tuple[object, int]] = [(b"", 200), (b"<html>", 200), (b"<html>", 400), ([], 200), ({}, 200)]
        odd += [({}, 400), ({"error": 5}, 400), (b"access_token=a&token_type=bearer&scope=msads.manage", 200)]
        odd += [({**GRANTED, "token_type": "mac"}, 200), ({**GRANTED, "expires_in": 0}, 200)]
        odd += [({**GRANTED, "expires_in": "soon"}, 200), ({**GRANTED, "access_token": "a\nb"}, 200)]
        odd += [({**GRANTED, "access_token": ""}, 200), ({**GRANTED, "refresh_token": ""}, 200), (GRANTED, 201)]
        for body, status in odd:
            with self.subTest(body=body, status=status):
                self.assertIsInstance(self.refused(body, status), TokenEndpointUnavailable)

    def test_a_redirect_gets_no_secret(self) -> None:
        for status in (301, 302, 307, 308):
            error = self.refused(b"", status, {"Location": "https://elsewhere.example/"})
            self.assertIsInstance(error, TokenEndpointUnavailable)

    def test_a_broken_connection_kills_no_grant(self) -> None:
        self.microsoft.post(TOKEN_URL, body=requests.ConnectTimeout())
        with self.assertRaises(TokenEndpointUnavailable) as raised:
            make_app().refresh("refresh-token-0")
        self.assertIsNone(raised.exception.__context__)


class SecretTests(SignInTestCase):
    def test_no_secret_is_printed_or_logged(self) -> None:
        self.microsoft.post(TOKEN_URL, json=GRANTED)
        with self.assertLogs(level=logging.DEBUG) as logs:
            logging.getLogger("requests_oauthlib.oauth2_session").debug("Supplying data %s", SECRETS)
            logging.getLogger().debug("the log is on")
            tokens = make_app().redeem("code-1", "verifier-1")
            make_app().refresh("refresh-token-0")
        printed = f"{logs.output} {tokens!r} {tokens} {make_app().authorization('s')!r}"
        self.assertEqual([secret for secret in SECRETS if secret in printed], [])

    def test_no_secret_is_in_an_error(self) -> None:
        echo = {**REFUSED, "error_description": " ".join(SECRETS)}
        errors = [
            self.refused(echo),
            self.refused({**GRANTED, "scope": ""}, 200),
            self.refused(b"refresh-token-0", 400),
        ]
        printed = " ".join(f"{error} {error!r} {vars(error)}" for error in errors)
        self.assertEqual([secret for secret in SECRETS if secret in printed], [])
