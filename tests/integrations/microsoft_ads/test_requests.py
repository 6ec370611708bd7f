"""What Microsoft receives: documented headers, and bodies that its own models know in full."""

import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from enum import Enum, Flag
from functools import cache
from importlib import import_module
from typing import Protocol

import responses
from django.test import SimpleTestCase

from integrations.microsoft_ads.client import MicrosoftAdsClient
from integrations.microsoft_ads.errors import MicrosoftAdsError
from integrations.microsoft_ads.shapes import NewGoal
from integrations.microsoft_ads.strict_json import Json
from tests.integrations.microsoft_ads.canned import (
    ACCOUNTS,
    ADJUST,
    APPLY,
    GOALS,
    NEW_GOALS,
    PURCHASE,
    REPORT,
    RETRACTION,
    TAGGING,
    TAGS,
    TURN_TAGGING,
    USER,
    make_client,
)

FULL = replace(PURCHASE, hashed_email="6" * 64, hashed_phone="c" * 64, value=Decimal("49.90"), currency="EUR")
WHOLE = replace(PURCHASE, value=Decimal(50), currency="EUR")
RESTATEMENT = replace(RETRACTION, adjustment_type="Restate", value=Decimal(20), currency="EUR")


class Model(Protocol):
    """A generated model of Microsoft's."""

    def model_dump(self, *, by_alias: bool, serialize_as_any: bool) -> dict[str, object]: ...


@cache
def microsofts_reader(service: str, model: str) -> Callable[[Json], Model]:
    """Return the parser of a request model in msads. Importing the package takes seconds, hence here and once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its models are written for an older pydantic
        reader: Callable[[Json], Model] = getattr(import_module(f"openapi_client.models.{service}"), model).from_dict
        reader({})
    return reader


def understood(service: str, model: str, sent: Json) -> object:
    """Return what Microsoft's model keeps of a body, in the form of `comparable`."""
    # A goal is kept as the type it has, not as the type that the list says it has.
    return comparable(microsofts_reader(service, model)(sent).model_dump(by_alias=True, serialize_as_any=True))


def comparable(value: object) -> object:
    """Bring a body to one form: no nulls, numbers as floats, times with Z, flags as a set of names."""
    if isinstance(value, dict):
        return {name: comparable(member) for name, member in value.items() if member is not None}
    if isinstance(value, list):
        return [comparable(item) for item in value]
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, Flag) or (isinstance(value, str) and value in FLAGS):
        return {name for name in str(value).split(", ") if name != "None"}  # theirs always has None
    if isinstance(value, Enum):
        return value.value
    return float(value) if isinstance(value, int) else value


FLAGS = (
    "OfflineConversion",
    "CampaignManagementAPI",
    "GoalCategory, IsEnhancedConversionsEnabled, IsExternallyAttributed",
)


CALLS: dict[str, tuple[str, str, Callable[[MicrosoftAdsClient], object]]] = {
    USER: ("customer", "GetUserRequest", lambda client: client.get_user()),
    ACCOUNTS: ("customer", "SearchAccountsRequest", lambda client: client.search_accounts("5001")),
    GOALS: ("campaign", "GetConversionGoalsByIdsRequest", lambda client: client.get_offline_conversion_goals()),
    NEW_GOALS: (
        "campaign",
        "AddConversionGoalsRequest",
        lambda client: client.add_offline_conversion_goal(NewGoal("Purchase", "Purchase", "Unique", "EUR")),
    ),
    TAGGING: ("campaign", "GetAccountPropertiesRequest", lambda client: client.get_auto_tagging()),
    TURN_TAGGING: ("campaign", "SetAccountPropertiesRequest", lambda client: client.turn_auto_tagging_on()),
    REPORT: (
        "campaign",
        "GetOfflineConversionReportByGoalIdsRequest",
        lambda client: client.get_offline_conversion_report(["9001"], date(2026, 11, 15), date(2026, 11, 21)),
    ),
    TAGS: ("campaign", "GetUetTagsByIdsRequest", lambda client: client.get_uet_tags()),
    APPLY: (
        "campaign",
        "ApplyOfflineConversionsRequest",
        lambda client: client.apply_offline_conversions([PURCHASE, FULL, WHOLE]),
    ),
    ADJUST: (
        "campaign",
        "ApplyOfflineConversionAdjustmentsRequest",
        lambda client: client.apply_offline_conversion_adjustments([RETRACTION, RESTATEMENT]),
    ),
}


def request_of(url: str) -> responses.Call:
    """Make the call that goes to a url, have it refused, and return what was sent."""
    with responses.RequestsMock() as microsoft:
        microsoft.post(url, status=503)
        try:
            CALLS[url][2](make_client())
        except MicrosoftAdsError:
            return microsoft.calls[0]
    raise AssertionError("a 503 was taken for an answer")


class MicrosoftsModelTests(SimpleTestCase):
    def test_every_body_is_known_to_microsofts_models_to_the_last_field(self) -> None:
        for url, (service, model, _) in CALLS.items():
            with self.subTest(model):
                sent: Json = json.loads(request_of(url).request.body or b"")
                self.assertEqual(understood(service, model, sent), comparable(sent))

    def test_a_field_that_microsoft_does_not_have_would_show(self) -> None:
        sent: Json = {"OfflineConversions": [{"ConversionName": "Purchase", "conversionCurrency": "EUR"}]}
        self.assertNotEqual(understood("campaign", "ApplyOfflineConversionsRequest", sent), comparable(sent))


class HeaderTests(SimpleTestCase):
    def test_every_call_carries_the_tokens_and_the_pinned_revision(self) -> None:
        for url in CALLS:
            headers = request_of(url).request.headers
            self.assertEqual(headers["Authorization"], "Bearer stale-token-0")
            self.assertEqual(headers["DeveloperToken"], "developer-token-0123")
            self.assertEqual(headers["Api-Revision"], "2026-10-12")
            self.assertEqual((headers["Content-Type"], headers["Accept"]), ("application/json",) * 2)
            self.assertIn("Convultra", headers["User-Agent"])

    def test_campaign_calls_name_the_account_and_the_customer_that_owns_it(self) -> None:
        for url in (GOALS, NEW_GOALS, TAGGING, TURN_TAGGING, REPORT, TAGS, APPLY, ADJUST):
            headers = request_of(url).request.headers
            self.assertEqual((headers["CustomerId"], headers["CustomerAccountId"]), ("7001", "180000001"))

    def test_customer_calls_name_none(self) -> None:
        for url in (USER, ACCOUNTS):
            self.assertNotIn("CustomerId", request_of(url).request.headers)

    def test_a_campaign_call_without_an_account_is_our_bug(self) -> None:
        with self.assertRaisesMessage(ValueError, "needs customer_id and account_id"):
            make_client(customer_id="").get_uet_tags()

    def test_an_account_id_that_no_header_takes_is_our_bug(self) -> None:
        with self.assertRaisesMessage(ValueError, "Microsoft's numbers"):
            make_client(customer_id="7001\r\nX: y")

    def test_the_tracking_id_and_the_raw_answer_are_kept(self) -> None:
        with responses.RequestsMock() as microsoft:
            microsoft.post(APPLY, body=b'{"PartialErrors": null}', headers={"TrackingId": "ba7d7a7c"})
            result = make_client().apply_offline_conversions([PURCHASE])
        self.assertEqual((result.tracking_id, result.http_status), ("ba7d7a7c", 200))
        self.assertEqual(result.body, '{"PartialErrors": null}')
