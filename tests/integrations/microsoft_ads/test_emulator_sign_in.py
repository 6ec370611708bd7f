"""The authorization-code flow and what the token endpoint refuses."""

from datetime import timedelta

import requests

from integrations.microsoft_ads.emulator.world import MARKETER
from tests.support.emulator import CUSTOMER, NOON, REDIRECT_URI, SCOPE, EmulatorTestCase, returned


class ConsentPageTests(EmulatorTestCase):
    def test_it_lets_one_choose_among_users(self) -> None:
        r = self.authorize("GET", decision=None, user=None)
        self.assertEqual(r.status_code, 200)
        self.assertContainsAll(r.text, [user.user_name for user in self.books.users.values()])
        self.assertContainsAll(r.text, ['value="accept"', 'value="cancel"', 'name="state" value="s1"'])

    def test_it_starts_at_the_hinted_user(self) -> None:
        r = self.authorize("GET", login_hint="maya@brightpath.example")
        self.assertIn('value="maya@brightpath.example" checked', r.text)

    def test_it_escapes_what_it_carries_along(self) -> None:
        r = self.authorize("GET", state='"><script>alert(1)</script>')
        self.assertNotIn("<script>", r.text)

    def test_accepting_returns_a_code_and_the_state(self) -> None:
        r = self.authorize()
        self.assertTrue(r.headers["Location"].startswith(f"{REDIRECT_URI}?"))
        self.assertEqual(returned(r).keys(), {"code", "state"})

    def test_the_state_comes_back_unchanged(self) -> None:
        state = "a b&c=d/ü+%"
        self.assertEqual(returned(self.authorize(state=state))["state"], state)

    def test_cancelling_returns_access_denied(self) -> None:
        answer = returned(self.authorize(decision="cancel"))
        self.assertEqual((answer["error"], answer["state"]), ("access_denied", "s1"))

    def test_a_wrong_client_is_never_called_back(self) -> None:
        r = self.authorize(client_id="somebody")
        self.assertEqual((r.status_code, "Location" in r.headers), (400, False))
        self.assertIn("AADSTS700016", r.text)

    def test_a_wrong_redirect_uri_is_never_called_back(self) -> None:
        for uri in (
            "https://evil.example/cb",
            "javascript:alert(1)",
            "http://127.0.0.1.evil.example/",
            "http://[",
            "",
            None,
        ):
            r = self.authorize(redirect_uri=uri)
            self.assertEqual((r.status_code, "Location" in r.headers), (400, False), uri)
            self.assertIn("AADSTS50011", r.text)

    def test_a_redirect_uri_that_no_header_can_carry_is_refused(self) -> None:
        for uri in (
            "http://127.0.0.1/\r\nSet-Cookie: a=b",
            "http://127.0.0.1/漢",
            "http://127.0.0.1/ a",
            "http://127.0.0.1/#a",
        ):
            self.assertEqual(self.authorize(redirect_uri=uri).status_code, 400, uri)

    def test_registered_addresses_must_be_equal(self) -> None:
        self.control("settings", {"redirect_uris": ["https://shop.example/cb"]})
        self.assertEqual(self.authorize().status_code, 400)
        self.assertEqual(self.authorize(redirect_uri="https://shop.example/cb").status_code, 302)

    def test_other_mistakes_are_told_to_the_application(self) -> None:
        mistakes = {
            "unsupported_response_type": {"response_type": "token"},
            "invalid_request": {"response_mode": "form_post"},
            "invalid_scope": {"scope": "https://ads.microsoft.com/ads.manage offline_access"},
            "login_required": {"prompt": "none"},
        }
        for error, changes in mistakes.items():
            self.assertEqual(returned(self.authorize("GET", **changes))["error"], error)

    def test_an_unknown_user_is_not_signed_in(self) -> None:
        self.assertEqual(self.authorize(user="nobody@example.com").status_code, 400)

    def assertContainsAll(self, text: str, parts: list[str]) -> None:  # noqa: N802 - beside Django's assertContains
        for part in parts:
            self.assertIn(part, text)


class TokenErrorCase(EmulatorTestCase):
    def assert_error(self, r: requests.Response, status: int, error: str, number: int) -> None:
        body = r.json()
        self.assertEqual((r.status_code, body["error"], body["error_codes"]), (status, error, [number]))
        self.assertLessEqual({"error_description", "timestamp", "trace_id", "correlation_id"}, body.keys())


class TokenTests(TokenErrorCase):
    def test_a_code_becomes_a_pair(self) -> None:
        pair = self.token(code=self.code()).json()
        self.assertEqual((pair["token_type"], pair["expires_in"], pair["scope"]), ("Bearer", 3600, SCOPE))
        self.assertNotEqual(pair["access_token"], pair["refresh_token"])

    def test_without_offline_access_there_is_no_refresh_token(self) -> None:
        code = self.code(scope="https://ads.microsoft.com/msads.manage")
        self.assertNotIn("refresh_token", self.token(code=code).json())

    def test_a_code_works_once(self) -> None:
        code = self.code()
        self.assertEqual(self.token(code=code).status_code, 200)
        self.assert_error(self.token(code=code), 400, "invalid_grant", 54005)

    def test_a_code_lives_five_minutes(self) -> None:
        code, late = self.code(), self.code()
        self.now = NOON + timedelta(minutes=5) - timedelta(seconds=1)
        self.assertEqual(self.token(code=code).status_code, 200)
        self.now = NOON + timedelta(minutes=5)
        self.assert_error(self.token(code=late), 400, "invalid_grant", 70008)

    def test_an_unknown_code_is_refused(self) -> None:
        self.assert_error(self.token(code="nonsense"), 400, "invalid_grant", 70000)

    def test_a_refresh_token_is_no_code(self) -> None:
        self.assert_error(self.token(code=self.sign_in(MARKETER)["refresh_token"]), 400, "invalid_grant", 70000)

    def test_the_verifier_must_match_the_challenge(self) -> None:
        for verifier in ("x" * 43, "", None):
            answer = self.token(code=self.code(), code_verifier=verifier)
            self.assert_error(answer, 400, "invalid_grant", 501481)

    def test_a_verifier_needs_a_challenge(self) -> None:
        code = self.code(code_challenge=None, code_challenge_method=None)
        self.assert_error(self.token(code=code), 400, "invalid_grant", 501481)

    def test_the_redirect_address_must_be_the_same(self) -> None:
        answer = self.token(code=self.code(), redirect_uri=f"{REDIRECT_URI}other")
        self.assert_error(answer, 401, "invalid_client", 50011)

    def test_the_secret_is_checked(self) -> None:
        self.assert_error(self.token(code=self.code(), client_secret="wrong"), 401, "invalid_client", 7000215)
        self.assert_error(self.token(code=self.code(), client_secret=None), 401, "invalid_client", 7000218)

    def test_the_client_is_checked(self) -> None:
        self.assert_error(self.token(code=self.code(), client_id="somebody"), 400, "unauthorized_client", 700016)

    def test_a_missing_parameter_is_named(self) -> None:
        for name in ("grant_type", "client_id"):
            answer = self.token(**{name: None})
            self.assert_error(answer, 400, "invalid_request", 900144)
            self.assertIn(name, answer.json()["error_description"])
        self.assert_error(self.token(), 400, "invalid_request", 900144)

    def test_another_grant_type_is_refused(self) -> None:
        self.assert_error(self.token(grant_type="password"), 400, "unsupported_grant_type", 70003)

    def test_a_browser_may_not_redeem(self) -> None:
        self.session.headers["Origin"] = "https://shop.example"
        self.assert_error(self.token(code=self.code()), 400, "invalid_request", 9002326)

    def test_a_scope_beyond_the_consent_is_refused(self) -> None:
        self.assert_error(self.token(code=self.code(), scope=f"{SCOPE} openid"), 400, "invalid_grant", 65001)
        self.assert_error(self.token(code=self.code(), scope="openid"), 400, "invalid_scope", 70011)

    def test_every_ask_is_in_the_ledger(self) -> None:
        self.token(code=self.code())
        self.token(code="nonsense")
        calls = [(call.operation, call.status, call.result) for call in self.books.calls[-2:]]
        self.assertEqual(calls, [("token", 200, "OK"), ("token", 400, "invalid_grant 70000")])
        self.assertEqual(self.books.calls[-2].user_id, "50017001")

    def test_a_refused_code_is_not_spent(self) -> None:
        code = self.code()
        self.token(code=code, code_verifier="x" * 43)
        self.assertEqual(self.token(code=code).status_code, 200)


class RefreshTests(TokenErrorCase):
    def setUp(self) -> None:
        super().setUp()
        self.first = self.sign_in(MARKETER)["refresh_token"]

    def test_each_refresh_gives_a_new_pair(self) -> None:
        pair = self.refresh(self.first).json()
        self.assertNotIn(self.first, (pair["refresh_token"], pair["access_token"]))
        self.headers["Authorization"] = f"Bearer {pair['access_token']}"
        self.assertEqual(self.call("User/Query", {}, CUSTOMER).status_code, 200)

    def test_the_old_one_keeps_working(self) -> None:
        self.refresh(self.first)
        self.assertEqual(self.refresh(self.first).status_code, 200)

    def test_the_old_one_dies_when_rotation_is_strict(self) -> None:
        self.control("settings", {"strict_rotation": True})
        newer = self.refresh(self.first).json()["refresh_token"]
        self.assert_error(self.refresh(self.first), 400, "invalid_grant", 70000)
        self.assertEqual(self.refresh(newer).status_code, 200)

    def test_it_expires_after_ninety_days(self) -> None:
        self.now = NOON + timedelta(days=90)
        self.assert_error(self.refresh(self.first), 400, "invalid_grant", 700082)

    def test_it_dies_with_the_consent(self) -> None:
        self.control("revoke", {"user": MARKETER})
        self.assert_error(self.refresh(self.first), 400, "invalid_grant", 50173)

    def test_a_disabled_user_is_refused(self) -> None:
        self.books.users["50017001"].status = "Inactive"
        self.assert_error(self.refresh(self.first), 400, "invalid_grant", 50057)

    def test_an_access_token_is_no_refresh_token(self) -> None:
        access = self.headers["Authorization"].removeprefix("Bearer ")
        self.assert_error(self.refresh(access), 400, "invalid_grant", 70000)
