"""GetUser and SearchAccounts."""

from collections.abc import Mapping

from integrations.microsoft_ads.emulator.world import (
    AGENCY_USER,
    ALDER,
    ALDER_SEARCH,
    MARKETER,
    NO_ACCOUNTS_USER,
    SEARCH_US,
    SHOPPING_US,
    add_accounts,
)
from tests.support.emulator import CUSTOMER, EmulatorTestCase

Predicate = Mapping[str, object]
OWN: Predicate = {"Field": "UserId", "Operator": "Equals", "Value": "50017001"}
WHOLE_PAGE = {"Index": 0, "Size": 1000}


class UserTests(EmulatorTestCase):
    def test_it_names_the_signed_in_user(self) -> None:
        for body in ({}, {"UserId": None}, {"UserId": "50017001"}):
            user = self.call("User/Query", body, CUSTOMER).json()["User"]
            self.assertEqual((user["Id"], user["UserName"], user["CustomerId"]), ("50017001", MARKETER, "251093876"))

    def test_it_lists_one_role_per_customer(self) -> None:
        self.act_as(AGENCY_USER)
        roles = self.call("User/Query", {}, CUSTOMER).json()["CustomerRoles"]
        self.assertEqual(len(roles), 5)
        self.assertIn(
            {"RoleId": 203, "CustomerId": ALDER},
            [{"RoleId": r["RoleId"], "CustomerId": r["CustomerId"]} for r in roles],
        )

    def test_it_keeps_quiet_about_others(self) -> None:
        r = self.call("User/Query", {"UserId": "50017002"}, CUSTOMER)
        self.assert_fault(r, 403, 1001, "ApiFault")
        self.assertNotIn("ErrorCode", r.json()["OperationErrors"][0])


class SearchTests(EmulatorTestCase):
    def search(self, *predicates: Predicate, **more: object) -> list[str]:
        body = {"Predicates": list(predicates), "PageInfo": WHOLE_PAGE, **more}
        r = self.call("Accounts/Search", body, CUSTOMER)
        self.assertEqual(r.status_code, 200, r.text)
        return [account["Id"] for account in r.json()["Accounts"]]

    def assert_search_refused(self, *predicates: Predicate, **more: object) -> None:
        body = {"Predicates": list(predicates), "PageInfo": WHOLE_PAGE, **more}
        self.assert_fault(self.call("Accounts/Search", body, CUSTOMER), 400, 201, "AdApiFaultDetail")

    def test_it_finds_what_the_user_reaches(self) -> None:
        self.assertEqual(len(self.search(OWN)), 4)

    def test_it_shows_an_account_whole(self) -> None:
        body = {"Predicates": [OWN], "PageInfo": WHOLE_PAGE, "ReturnAdditionalFields": "AccountMode"}
        account = self.call("Accounts/Search", body, CUSTOMER).json()["Accounts"][0]
        self.assertEqual(account["ParentCustomerId"], "251093876")
        self.assertEqual((account["Number"], account["Name"]), ("F118Q2TX", "Search – US"))
        self.assertEqual((account["CurrencyCode"], account["TimeZone"]), ("USD", "CentralTimeUSCanada"))
        self.assertEqual((account["AccountLifeCycleStatus"], account["AccountMode"]), ("Active", "Expert"))

    def test_somebody_without_accounts_finds_none(self) -> None:
        self.act_as(NO_ACCOUNTS_USER)
        self.assertEqual(self.search({**OWN, "Value": "50017004"}), [])

    def test_nobody_finds_the_accounts_of_others(self) -> None:
        self.assertEqual(self.search({"Field": "AccountId", "Operator": "Equals", "Value": ALDER_SEARCH}), [])
        self.assertEqual(self.search({**OWN, "Value": "50017002"}), [])

    def test_every_field_finds(self) -> None:
        for field, operator, value, count in (
            ("CustomerId", "Equals", "251093876", 4),
            ("AccountId", "In", f"{SEARCH_US},{SHOPPING_US}", 2),
            ("AccountNumber", "Contains", "F118", 3),
            ("AccountName", "Contains", "shopping", 1),
        ):
            self.assertEqual(len(self.search({"Field": field, "Operator": operator, "Value": value})), count, field)

    def test_a_status_narrows_a_search(self) -> None:
        paused = {"Field": "AccountLifeCycleStatus", "Operator": "Equals", "Value": "Pause"}
        self.assertEqual(self.search(OWN, paused), ["138204475"])
        self.assert_search_refused(paused)

    def test_active_finds_accounts_paused_for_billing(self) -> None:
        self.act_as(AGENCY_USER)
        active = {"Field": "AccountLifeCycleStatus", "Operator": "Equals", "Value": "Active"}
        self.assertIn("9007199254741001", self.search({**OWN, "Value": "50017002"}, active))

    def test_a_search_needs_a_predicate(self) -> None:
        self.assert_fault(self.call("Accounts/Search", {"PageInfo": WHOLE_PAGE}, CUSTOMER), 400, 474, "ApiFault")

    def test_it_refuses_what_the_page_does_not_allow(self) -> None:
        for predicate in (
            {**OWN, "Operator": "In"},
            {**OWN, "Field": "Name"},
            {**OWN, "Value": "500"},
            {"Field": "AccountId", "Operator": "In", "Value": ",".join([SEARCH_US] * 11)},
        ):
            self.assert_search_refused(predicate)
        self.assert_search_refused(OWN, OWN)
        self.assert_search_refused(OWN, PageInfo={"Index": 0, "Size": 1001})
        self.assert_search_refused(OWN, PageInfo={"Index": -1, "Size": 1})
        self.assert_search_refused(OWN, Ordering=[{"Field": "Id"}, {"Field": "Name"}])

    def test_a_page_without_a_size_is_empty(self) -> None:
        self.assertEqual(self.search(OWN, PageInfo={"Index": 0}), [])

    def test_more_than_one_page_can_be_read(self) -> None:
        add_accounts(self.books, MARKETER, 2500)
        order = [{"Field": "Id", "Order": "Ascending"}]
        pages = [self.search(OWN, Ordering=order, PageInfo={"Index": i, "Size": 1000}) for i in range(4)]
        self.assertEqual([len(page) for page in pages], [1000, 1000, 504, 0])
        ids = [int(one) for page in pages for one in page]
        self.assertEqual(ids, sorted(set(ids)))

    def test_it_orders_by_name(self) -> None:
        names = [
            self.books.accounts[one].name
            for one in self.search(OWN, Ordering=[{"Field": "Name", "Order": "Descending"}])
        ]
        self.assertEqual(names, sorted(names, reverse=True))
