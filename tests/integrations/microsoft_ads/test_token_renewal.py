"""A stale token is renewed once, and the identical request goes out once more."""

import responses
from django.test import SimpleTestCase

from integrations.microsoft_ads.auth import BearerAuth
from integrations.microsoft_ads.client import MicrosoftAdsClient
from integrations.microsoft_ads.endpoints import PRODUCTION
from integrations.microsoft_ads.errors import GrantDead, MicrosoftAdsError, TokenError, WhatToDo
from integrations.microsoft_ads.strict_json import Json
from tests.integrations.microsoft_ads.canned import APPLY, PURCHASE, StubTokens, make_client


def fault(code: int, detail: str | None = None) -> dict[str, Json]:
    """Return a generic fault of one code."""
    return {"Errors": [{"Code": code, "ErrorCode": None, "Message": "No.", "Detail": detail}]}


class DeadTokens(StubTokens):
    """Tokens that cannot be renewed."""

    def renew(self, stale: str) -> str:
        raise GrantDead("revoked")


class TokenRenewalTests(SimpleTestCase):
    def setUp(self) -> None:
        self.microsoft = responses.RequestsMock()
        self.microsoft.start()
        self.addCleanup(self.microsoft.stop)
        self.tokens = StubTokens()

    def send(self) -> None:
        make_client(tokens=self.tokens).apply_offline_conversions([PURCHASE])

    def assert_renewed_and_replayed(self) -> None:
        first, second = (call.request for call in self.microsoft.calls)
        self.assertEqual(self.tokens.renewed, ["stale-token-0"])
        self.assertEqual(first.body, second.body)
        self.assertEqual(second.headers["Authorization"], "Bearer fresh-token-1")

    def test_a_bare_401_renews(self) -> None:
        self.microsoft.post(APPLY, status=401)
        self.microsoft.post(APPLY, json={"PartialErrors": []})
        self.send()
        self.assert_renewed_and_replayed()

    def test_an_expired_token_renews_whatever_its_status(self) -> None:
        for status in (200, 400, 401, 500):
            with self.subTest(status), responses.RequestsMock() as microsoft:
                microsoft.post(APPLY, status=status, json=fault(109))
                microsoft.post(APPLY, json={"PartialErrors": []})
                self.tokens.renewed.clear()
                self.send()
                self.assertEqual(self.tokens.renewed, ["stale-token-0"])

    def test_an_invalid_token_renews_once_and_blames_no_sign_in(self) -> None:
        self.microsoft.post(APPLY, status=401, json=fault(105, "InvalidAccessToken"))
        with self.assertRaises(MicrosoftAdsError) as raised:
            self.send()
        self.assert_renewed_and_replayed()
        self.assertEqual((raised.exception.code, raised.exception.what_to_do), (105, WhatToDo.RENEW_TOKEN))

    def test_a_user_who_is_gone_is_not_worth_a_renewal(self) -> None:
        self.microsoft.post(APPLY, status=401, json=fault(105, "UserNotFound"))
        with self.assertRaises(MicrosoftAdsError) as raised:
            self.send()
        self.assertEqual((raised.exception.what_to_do, self.tokens.renewed), (WhatToDo.RECONNECT, []))

    def test_no_other_fault_renews(self) -> None:
        self.microsoft.post(APPLY, status=401, json=fault(106))
        with self.assertRaises(MicrosoftAdsError):
            self.send()
        self.assertEqual((len(self.microsoft.calls), self.tokens.renewed), (1, []))

    def test_the_replays_own_failure_is_the_one_told(self) -> None:
        self.microsoft.post(APPLY, status=401)
        self.microsoft.post(APPLY, status=429, json=fault(117))
        with self.assertRaises(MicrosoftAdsError) as raised:
            self.send()
        self.assertIs(raised.exception.what_to_do, WhatToDo.THROTTLE)

    def test_a_dead_grant_ends_the_call_with_nothing_taken(self) -> None:
        self.tokens = DeadTokens()
        self.microsoft.post(APPLY, status=401)
        with self.assertRaises(TokenError) as raised:
            self.send()
        self.assertEqual((raised.exception.what_to_do, raised.exception.outcome_unknown), (WhatToDo.RECONNECT, False))


class SecretTests(SimpleTestCase):
    def test_no_token_is_in_an_error_even_if_the_answer_repeats_it(self) -> None:
        echo = {"Errors": [{"Code": 5, "ErrorCode": "stale-token-0", "Message": "Got developer-token-0123"}]}
        with responses.RequestsMock() as microsoft, self.assertRaises(MicrosoftAdsError) as raised:
            microsoft.post(APPLY, status=400, json=echo, headers={"TrackingId": "stale-token-0"})
            make_client().apply_offline_conversions([PURCHASE])
        told = f"{raised.exception} {raised.exception!r} {vars(raised.exception)}"
        self.assertNotIn("stale-token-0", told)
        self.assertNotIn("developer-token-0123", told)

    def test_a_broken_connection_does_not_carry_the_request_along(self) -> None:
        with responses.RequestsMock(), self.assertRaises(MicrosoftAdsError) as raised:
            make_client().apply_offline_conversions([PURCHASE])
        self.assertIsNone(raised.exception.__cause__)
        self.assertIsNone(raised.exception.__context__)

    def test_a_token_that_no_header_takes_is_not_printed(self) -> None:
        tokens = StubTokens()
        tokens.access_token = lambda: "stale\ntoken"  # type: ignore[method-assign]
        with self.assertRaises(ValueError) as raised:
            make_client(tokens=tokens).get_user()
        self.assertNotIn("stale", str(raised.exception))

    def test_a_developer_token_that_no_header_takes_is_not_printed(self) -> None:
        with self.assertRaises(ValueError) as raised:
            MicrosoftAdsClient(PRODUCTION, "develop er", BearerAuth(StubTokens()))
        self.assertNotIn("develop er", str(raised.exception))
