"""A test case with a local Microsoft in this process, a clock that stands still and somebody signed in."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests
from django.test import SimpleTestCase

from integrations.microsoft_ads.emulator.app import create_app
from integrations.microsoft_ads.emulator.books import CLIENT_ID, CLIENT_SECRET, DEVELOPER_TOKEN, Settings
from integrations.microsoft_ads.emulator.world import HARBOR, MARKETER, SEARCH_US, demo_books
from tests.support.wsgi_adapter import WSGIAdapter

HOST = "http://microsoft.test"
NOON = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
SCOPE = "https://ads.microsoft.com/msads.manage offline_access"
REDIRECT_URI = "http://127.0.0.1:8000/integrations/microsoft/callback/"
VERIFIER = "correct-horse-battery-staple-correct-horse-battery"
CHALLENGE = "iCfwzxHXiMcDHq3YTGg_zp-9q9hW85BxYh13b8fApZQ"  # SHA-256 of the verifier, base64url
CLICK_ID = "f894f652ea334e739002f7167ab8f8e3"
EMAIL_HASH = "62a8040a00736e70808e43009b5c63c4f6229ced98f486d0968441b292b9858a"
PHONE_HASH = "c59475d96e9f01d7d18d06cfad84dd02333207f02c0c2c5663ef2782cda0390e"
CAMPAIGN, CUSTOMER = "/CampaignManagement/v13/", "/CustomerManagement/v13/"
AUTHORIZE, TOKEN = "/common/oauth2/v2.0/authorize", "/common/oauth2/v2.0/token"

Body = Mapping[str, object]


def at(moment: datetime) -> str:
    """Return a moment as the API wants it: UTC, whole seconds, `Z`."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def conversion(**changes: object) -> dict[str, object]:
    """Return a conversion that the emulator takes at NOON, with changes; a change to None leaves the member out."""
    row: dict[str, object] = {
        "ConversionName": "Purchase",
        "ConversionTime": at(NOON - timedelta(hours=1)),
        "ConversionValue": 49.9,
        "ConversionCurrencyCode": "USD",
        "MicrosoftClickId": CLICK_ID,
    }
    return {name: value for name, value in (row | changes).items() if value is not None}


def adjustment(**changes: object) -> dict[str, object]:
    """Return a restatement of `conversion()` to 20 USD, with changes; a change to None leaves the member out."""
    row: dict[str, object] = {
        "ConversionName": "Purchase",
        "ConversionTime": at(NOON - timedelta(hours=1)),
        "MicrosoftClickId": CLICK_ID,
        "AdjustmentType": "Restate",
        "AdjustmentTime": at(NOON - timedelta(minutes=30)),
        "AdjustmentValue": 20,
        "AdjustmentCurrencyCode": "USD",
    }
    return {name: value for name, value in (row | changes).items() if value is not None}


class EmulatorTestCase(SimpleTestCase):
    """`self.now` is the emulator's clock, `self.books` its state, `self.call` one API call as the in-house marketer."""

    def setUp(self) -> None:
        self.now = NOON
        self.books = demo_books(NOON, Settings())
        self.session = requests.Session()
        self.session.mount(HOST, WSGIAdapter(create_app(self.books, lambda: self.now)))
        self.addCleanup(self.session.close)
        self.headers = {
            "Authorization": f"Bearer {self.sign_in(MARKETER)['access_token']}",
            "DeveloperToken": DEVELOPER_TOKEN,
            "CustomerId": HARBOR,
            "CustomerAccountId": SEARCH_US,
        }

    # Sign-in

    def authorize(self, method: str = "POST", **changes: str | None) -> requests.Response:
        """Answer the consent page: Accept as the marketer unless changed. Redirects are not followed."""
        fields: dict[str, str | None] = {
            "client_id": CLIENT_ID,
            "response_type": "code",
            "redirect_uri": REDIRECT_URI,
            "scope": SCOPE,
            "state": "s1",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            "user": MARKETER,
            "decision": "accept",
        }
        given = {name: value for name, value in (fields | changes).items() if value is not None}
        if method == "GET":
            return self.session.get(HOST + AUTHORIZE, params=given, allow_redirects=False)
        return self.session.post(HOST + AUTHORIZE, data=given, allow_redirects=False)

    def code(self, **changes: str | None) -> str:
        return returned(self.authorize("POST", **changes))["code"]

    def token(self, **changes: str | None) -> requests.Response:
        """Ask the token endpoint to redeem a code, or what else the changes say."""
        fields: dict[str, str | None] = {
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "grant_type": "authorization_code",
            "redirect_uri": REDIRECT_URI,
            "code_verifier": VERIFIER,
        }
        given = {name: value for name, value in (fields | changes).items() if value is not None}
        return self.session.post(HOST + TOKEN, data=given)

    def refresh(self, refresh_token: str) -> requests.Response:
        return self.token(
            grant_type="refresh_token", refresh_token=refresh_token, redirect_uri=None, code_verifier=None
        )

    def sign_in(self, user_name: str) -> dict[str, str]:
        """Sign a user in and return the token endpoint's answer."""
        answer: dict[str, str] = self.token(code=self.code(user=user_name)).json()
        return answer

    def act_as(self, user_name: str) -> None:
        self.headers["Authorization"] = f"Bearer {self.sign_in(user_name)['access_token']}"

    # Calls

    def call(self, operation: str, body: Body, service: str = CAMPAIGN, method: str = "POST") -> requests.Response:
        return self.session.request(method, HOST + service + operation, json=body, headers=self.headers, timeout=5)

    def apply(self, *rows: object) -> requests.Response:
        return self.call("OfflineConversions/Apply", {"OfflineConversions": list(rows)})

    def adjust(self, *rows: object) -> requests.Response:
        return self.call("OfflineConversionAdjustments/Apply", {"OfflineConversionAdjustments": list(rows)})

    def control(self, name: str, body: Body, status: int = 200) -> dict[str, Any]:
        """Post to the control prefix and return the answer."""
        r = self.session.post(f"{HOST}/_emulator/{name}", json=body)
        self.assertEqual(r.status_code, status, r.text)
        answer: dict[str, Any] = r.json()
        return answer

    def plan(self, fault: str, operation: str = "OfflineConversions/Apply", **more: object) -> None:
        self.control("faults", {"operation": operation, "fault": fault, **more}, 201)

    def ledger(self) -> dict[str, Any]:
        answer: dict[str, Any] = self.session.get(f"{HOST}/_emulator/ledger.json").json()
        return answer

    def outcomes(self) -> list[str]:
        """Return what became of each uploaded row, in order."""
        return [row["outcome"] for row in self.ledger()["received"]]

    # Assertions

    def assert_refused(self, r: requests.Response, *symbols: str) -> None:
        """Assert that the one row of an upload was refused with exactly these symbols, and is not booked."""
        self.assertEqual(r.status_code, 200, r.text)
        self.assertEqual([error["ErrorCode"] for error in r.json()["PartialErrors"]], list(symbols))
        self.assertEqual(self.ledger()["received"][-1]["outcome"], symbols[0])

    def assert_taken(self, r: requests.Response) -> None:
        self.assertEqual((r.status_code, r.text), (200, '{"PartialErrors":[]}'))

    def assert_fault(self, r: requests.Response, status: int, code: int, shape: str) -> None:
        """Assert a fault's status, code and shape, and that it names its TrackingId."""
        body = r.json()
        errors = body["Errors" if shape == "AdApiFaultDetail" else "OperationErrors"]
        self.assertEqual((r.status_code, errors[0]["Code"], body["Type"]), (status, code, shape), r.text)
        self.assertEqual(body["TrackingId"], r.headers["TrackingId"])


def returned(r: requests.Response) -> dict[str, str]:
    """Return the parameters that a redirect carries back."""
    return {name: values[0] for name, values in parse_qs(urlsplit(r.headers["Location"]).query).items()}
