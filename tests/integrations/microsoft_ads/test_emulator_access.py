"""The checks of a call's headers: who, which account, and whether that user may."""

from datetime import timedelta

from integrations.microsoft_ads.emulator.world import (
    AGENCY,
    AGENCY_USER,
    ALDER,
    ALDER_SEARCH,
    CANADA,
    CEDAR,
    HARBOR,
    MARKETER,
    SEARCH_US,
    VIEW_ONLY_USER,
    WHOLESALE,
)
from tests.support.emulator import CUSTOMER, NOON, EmulatorTestCase, adjustment, conversion

GOALS = {"ConversionGoalTypes": "OfflineConversion"}


class TokenTests(EmulatorTestCase):
    def test_it_refuses_a_call_without_a_token(self) -> None:
        del self.headers["Authorization"]
        self.assert_fault(self.apply(conversion()), 400, 116, "AdApiFaultDetail")

    def test_it_refuses_a_token_it_never_issued(self) -> None:
        for value in ("Bearer nonsense", "Basic abc", self.headers["Authorization"].removeprefix("Bearer ")):
            self.headers["Authorization"] = value
            self.assert_fault(self.apply(conversion()), 401, 105, "AdApiFaultDetail")

    def test_a_refresh_token_is_no_access_token(self) -> None:
        self.headers["Authorization"] = f"Bearer {self.sign_in(MARKETER)['refresh_token']}"
        self.assert_fault(self.apply(conversion()), 401, 105, "AdApiFaultDetail")

    def test_a_token_expires_after_an_hour(self) -> None:
        self.now = NOON + timedelta(hours=1)
        self.assert_fault(self.apply(conversion()), 401, 109, "AdApiFaultDetail")

    def test_a_token_dies_with_the_consent(self) -> None:
        self.control("revoke", {"user": "50017001"})
        self.assert_fault(self.call("User/Query", {}, CUSTOMER), 401, 105, "AdApiFaultDetail")

    def test_every_token_can_be_expired_at_once(self) -> None:
        self.assertEqual(self.control("expire-tokens", {}), {"expired": 1})
        self.assert_fault(self.call("User/Query", {}, CUSTOMER), 401, 109, "AdApiFaultDetail")

    def test_an_inactive_user_is_refused(self) -> None:
        self.books.users["50017001"].status = "Inactive"
        r = self.call("User/Query", {}, CUSTOMER)
        self.assertEqual(r.json()["Errors"][0]["Detail"], "AccountInactive")

    def test_the_developer_token_is_checked(self) -> None:
        self.headers["DeveloperToken"] = "wrong"
        self.assert_fault(self.call("User/Query", {}, CUSTOMER), 401, 105, "AdApiFaultDetail")
        del self.headers["DeveloperToken"]
        self.assert_fault(self.call("User/Query", {}, CUSTOMER), 400, 116, "AdApiFaultDetail")

    def test_a_revision_is_a_published_date(self) -> None:
        self.headers["Api-Revision"] = "2026-10-12"
        self.assert_taken(self.apply(conversion()))
        self.headers["Api-Revision"] = "2026-10-13"
        self.assert_fault(self.apply(conversion()), 400, 201, "AdApiFaultDetail")


class AccountTests(EmulatorTestCase):
    def assert_headers(self, customer_id: str, account_id: str, code: int, status: int = 400) -> None:
        self.headers |= {"CustomerId": customer_id, "CustomerAccountId": account_id}
        shape = "AdApiFaultDetail" if code == 106 else "ApiFaultDetail"
        self.assert_fault(self.apply(conversion()), status, code, shape)

    def test_both_ids_are_needed(self) -> None:
        self.assert_headers("", SEARCH_US, 1029)
        self.assert_headers(HARBOR, "", 1030)

    def test_an_unknown_customer_is_refused(self) -> None:
        for customer_id in ("1", "Harbor", f"{HARBOR}.0"):
            self.assert_headers(customer_id, SEARCH_US, 1490)

    def test_an_unknown_account_is_refused(self) -> None:
        for account_id in ("1", "F118Q2TX"):
            self.assert_headers(HARBOR, account_id, 1102)

    def test_the_customer_is_the_accounts_own(self) -> None:
        self.act_as(AGENCY_USER)
        self.assert_headers(AGENCY, SEARCH_US, 106, 403)
        self.assert_headers(CEDAR, SEARCH_US, 106, 403)

    def test_an_account_of_others_is_refused(self) -> None:
        self.assert_headers(ALDER, ALDER_SEARCH, 106, 403)
        self.assert_headers(HARBOR, CANADA, 106, 403)

    def test_ids_above_two_to_the_53rd_keep_their_digits(self) -> None:
        self.act_as(AGENCY_USER)
        self.headers |= {"CustomerId": ALDER, "CustomerAccountId": ALDER_SEARCH}
        self.assertEqual(self.call("ConversionGoals/QueryByIds", GOALS).json()["ConversionGoals"][0]["Name"], "Order")
        self.assert_headers(ALDER, "9007199254740992", 1102)

    def test_access_can_be_taken_and_given_back(self) -> None:
        self.control("accounts", {"account_id": SEARCH_US, "user": MARKETER, "access": False})
        self.assert_headers(HARBOR, SEARCH_US, 106, 403)
        self.control("accounts", {"account_id": SEARCH_US, "user": MARKETER, "access": True})
        self.assert_taken(self.apply(conversion()))

    def test_a_viewer_reads_and_does_not_write(self) -> None:
        self.act_as(VIEW_ONLY_USER)
        self.assertEqual(self.call("ConversionGoals/QueryByIds", GOALS).status_code, 200)
        for r in (
            self.apply(conversion()),
            self.adjust(adjustment()),
            self.call("ConversionGoals", {"ConversionGoals": []}),
        ):
            self.assert_fault(r, 403, 106, "AdApiFaultDetail")

    def test_a_paused_account_reads_and_does_not_write(self) -> None:
        self.headers["CustomerAccountId"] = WHOLESALE
        self.assertEqual(self.call("ConversionGoals/QueryByIds", GOALS).status_code, 200)
        self.assert_headers(HARBOR, WHOLESALE, 1008)

    def test_an_account_can_be_suspended_and_reopened(self) -> None:
        self.control("accounts", {"account_id": SEARCH_US, "status": "Suspended"})
        self.assert_headers(HARBOR, SEARCH_US, 1008)
        self.control("accounts", {"account_id": SEARCH_US, "status": "Active"})
        self.assert_taken(self.apply(conversion()))
