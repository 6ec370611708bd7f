"""What is read from Microsoft: the user, accounts, goals and tags."""

import json
from decimal import Decimal
from unittest.mock import patch

import responses
from django.test import SimpleTestCase

from integrations.microsoft_ads import client
from integrations.microsoft_ads.errors import Fault, UnexpectedAnswer
from integrations.microsoft_ads.shapes import Account, ConversionGoal, CustomerRole, NewGoal, UetTag, User
from integrations.microsoft_ads.strict_json import Json
from tests.integrations.microsoft_ads.canned import (
    ACCOUNTS,
    GOALS,
    NEW_GOALS,
    TAGGING,
    TAGS,
    TURN_TAGGING,
    USER,
    make_client,
)

GET_USER: dict[str, object] = {
    "User": {
        "Id": "5001",
        "UserName": "a@contoso.com",
        "CustomerId": "7001",
        "Name": {"FirstName": "Ada", "LastName": "Byron"},
        "ContactInfo": {"Email": "a@contoso.com"},
        "UserLifeCycleStatus": "Active",
    },
    "CustomerRoles": [
        {"RoleId": 41, "CustomerId": "7001", "AccountIds": None, "LinkedAccountIds": None},
        {"RoleId": 100, "CustomerId": 7002, "AccountIds": ["1", 2], "CustomerLinkPermission": "Standard"},
    ],
}
GOAL: dict[str, object] = {
    "Id": "9001",
    "Type": "OfflineConversion",
    "Name": "Convultra  Purchase ",
    "GoalCategory": "Purchase",
    "CountType": "All",
    "ConversionWindowInMinutes": 129_600,
    "Scope": "Account",
    "Status": "Active",
    "Revenue": {"Type": "VariableValue", "Value": 0.5, "CurrencyCode": "EUR"},
    "IsEnhancedConversionsEnabled": True,
    "IsExternallyAttributed": None,
    "NewSince2027": [],
}


def account(account_id: int) -> dict[str, object]:
    """Return an account as SearchAccounts prints it."""
    return {"Id": str(account_id), "ParentCustomerId": "7001", "Number": "X000ABCD", "Name": "Shop"}


class ReadTestCase(SimpleTestCase):
    def setUp(self) -> None:
        self.microsoft = responses.RequestsMock()
        self.microsoft.start()
        self.addCleanup(self.microsoft.stop)
        self.client_ = make_client()

    def sent(self, call: int = 0) -> Json:
        """Return the body of a request."""
        body: Json = json.loads(self.microsoft.calls[call].request.body or b"")
        return body


class GetUserTests(ReadTestCase):
    def test_it_reads_the_user_and_every_role(self) -> None:
        self.microsoft.post(USER, json=GET_USER)
        roles = (
            CustomerRole("7001", 41, (), (), ""),
            CustomerRole("7002", 100, ("1", "2"), (), "Standard"),
        )
        expected = User("5001", "a@contoso.com", "7001", "Ada Byron", "a@contoso.com", roles)
        self.assertEqual(self.client_.get_user(), expected)

    def test_it_asks_for_the_user_of_the_token(self) -> None:
        self.microsoft.post(USER, json=GET_USER)
        self.client_.get_user()
        self.assertEqual(self.sent(), {"UserId": None})

    def test_an_answer_without_a_user_is_not_believed(self) -> None:
        for body in ({}, {"User": None}, {"User": {"Id": "me"}}, {"User": {"Id": 5.0}}):
            with self.subTest(body=body), responses.RequestsMock() as microsoft:
                microsoft.post(USER, json=body)
                with self.assertRaises(UnexpectedAnswer):
                    self.client_.get_user()


class SearchAccountsTests(ReadTestCase):
    def test_it_reads_an_account(self) -> None:
        more: dict[str, object] = {"CurrencyCode": "EUR", "TimeZone": "Alaska", "AccountLifeCycleStatus": "Pause"}
        self.microsoft.post(ACCOUNTS, json={"Accounts": [{**account(2**53 + 1), **more, "PauseReason": 2}]})
        expected = Account("9007199254740993", "7001", "X000ABCD", "Shop", "EUR", "Alaska", "Pause", 2)
        self.assertEqual(self.client_.search_accounts("5001"), [expected])

    def test_an_id_that_came_as_a_number_keeps_every_digit(self) -> None:
        self.microsoft.post(ACCOUNTS, json={"Accounts": [{**account(1), "Id": 2**53 + 1}]})
        self.assertEqual(self.client_.search_accounts("5001")[0].account_id, "9007199254740993")

    def test_it_reads_every_page_and_always_says_how_large_one_is(self) -> None:
        self.microsoft.post(ACCOUNTS, json={"Accounts": [account(number) for number in range(1_000)]})
        self.microsoft.post(ACCOUNTS, json={"Accounts": [account(1_000)]})
        self.assertEqual(len(self.client_.search_accounts("5001")), 1_001)
        pages = [page["PageInfo"] for page in (self.sent(0), self.sent(1)) if isinstance(page, dict)]
        self.assertEqual(pages, [{"Index": 0, "Size": 1_000}, {"Index": 1, "Size": 1_000}])

    def test_a_last_page_may_be_empty(self) -> None:
        self.microsoft.post(ACCOUNTS, json={"Accounts": [account(number) for number in range(1_000)]})
        self.microsoft.post(ACCOUNTS, json={"Accounts": None})
        self.assertEqual(len(self.client_.search_accounts("5001")), 1_000)

    def test_a_list_that_repeats_itself_is_not_read_for_ever(self) -> None:
        self.microsoft.post(ACCOUNTS, json={"Accounts": [account(number) for number in range(1_000)]})
        with self.assertRaisesMessage(UnexpectedAnswer, "does not end"):
            self.client_.search_accounts("5001")
        self.assertEqual(len(self.microsoft.calls), 2)

    def test_a_list_of_ever_new_accounts_is_not_read_for_ever(self) -> None:
        for page in range(3):
            first = page * 1_000
            self.microsoft.post(ACCOUNTS, json={"Accounts": [account(first + number) for number in range(1_000)]})
        with patch.object(client, "MAX_PAGES", 3), self.assertRaisesMessage(UnexpectedAnswer, "does not end"):
            self.client_.search_accounts("5001")

    def test_an_account_without_its_customer_is_not_believed(self) -> None:
        self.microsoft.post(ACCOUNTS, json={"Accounts": [{**account(1), "ParentCustomerId": None}]})
        with self.assertRaisesMessage(UnexpectedAnswer, "ParentCustomerId"):
            self.client_.search_accounts("5001")


class FindAccountTests(ReadTestCase):
    def test_it_returns_the_one_account_of_an_id(self) -> None:
        self.microsoft.post(ACCOUNTS, json={"Accounts": [account(1), account(2)]})
        found = self.client_.find_account("2")
        self.assertEqual(found and found.account_id, "2")

    def test_an_account_out_of_reach_is_none(self) -> None:
        self.microsoft.post(ACCOUNTS, json={"Accounts": []})
        self.assertIsNone(self.client_.find_account("2"))


class NewGoalTests(ReadTestCase):
    def add(self) -> str:
        return self.client_.add_offline_conversion_goal(NewGoal("Purchase", "Purchase", "All", "EUR"))

    def test_it_returns_the_goals_id(self) -> None:
        self.microsoft.post(NEW_GOALS, json={"ConversionGoalIds": ["9007199254740993"], "PartialErrors": []})
        self.assertEqual(self.add(), "9007199254740993")

    def test_a_name_that_is_taken_is_a_fault(self) -> None:
        error = {"Index": 0, "Code": 5317, "ErrorCode": "ConversionGoalNameAlreadyExists", "Message": "Taken."}
        self.microsoft.post(NEW_GOALS, json={"ConversionGoalIds": [None], "PartialErrors": [error]})
        with self.assertRaises(Fault) as raised:
            self.add()
        self.assertEqual(raised.exception.code, 5317)

    def test_an_answer_without_the_id_is_not_believed(self) -> None:
        for ids in ([], [None], ["1", "2"], ["one"]):
            with self.subTest(ids=ids), responses.RequestsMock() as microsoft:
                microsoft.post(NEW_GOALS, json={"ConversionGoalIds": ids, "PartialErrors": []})
                with self.assertRaises(UnexpectedAnswer):
                    self.add()


class AutoTaggingTests(ReadTestCase):
    def test_it_reads_whether_it_is_on(self) -> None:
        for text, is_on in (("true", True), ("False", False)):
            with self.subTest(text), responses.RequestsMock() as microsoft:
                properties = [{"Name": "MSCLKIDAutoTaggingEnabled", "Value": text}]
                microsoft.post(TAGGING, json={"AccountProperties": properties, "PartialErrors": []})
                self.assertIs(self.client_.get_auto_tagging(), is_on)

    def test_an_answer_that_does_not_say_is_not_believed(self) -> None:
        for properties in ([], [{"Name": "Other", "Value": "true"}], [{"Name": "MSCLKIDAutoTaggingEnabled"}]):
            with self.subTest(properties=properties), responses.RequestsMock() as microsoft:
                microsoft.post(TAGGING, json={"AccountProperties": properties})
                with self.assertRaises(UnexpectedAnswer):
                    self.client_.get_auto_tagging()

    def test_turning_it_on_is_answered_with_nothing(self) -> None:
        for body in (b"{}", b""):
            with self.subTest(body=body), responses.RequestsMock() as microsoft:
                microsoft.post(TURN_TAGGING, body=body)
                self.client_.turn_auto_tagging_on()

    def test_any_other_answer_is_not_believed(self) -> None:
        self.microsoft.post(TURN_TAGGING, body=b"<html>")
        with self.assertRaises(UnexpectedAnswer):
            self.client_.turn_auto_tagging_on()


class GoalTests(ReadTestCase):
    def test_it_reads_a_goal_with_its_exact_name_and_amount(self) -> None:
        self.microsoft.post(GOALS, json={"ConversionGoals": [GOAL], "PartialErrors": []})
        expected = ConversionGoal(
            goal_id="9001",
            name="Convultra  Purchase ",
            goal_type="OfflineConversion",
            status="Active",
            count_type="All",
            window_minutes=129_600,
            scope="Account",
            category="Purchase",
            revenue_type="VariableValue",
            revenue_value=Decimal("0.5"),
            revenue_currency="EUR",
            is_enhanced=True,
            is_externally_attributed=False,
        )
        self.assertEqual(self.client_.get_offline_conversion_goals(), [expected])

    def test_an_amount_never_passes_through_a_float(self) -> None:
        body = json.dumps({"ConversionGoals": [GOAL]}).replace("0.5", "0.10000000000000000001")
        self.microsoft.post(GOALS, body=body)
        (goal,) = self.client_.get_offline_conversion_goals()
        self.assertEqual(goal.revenue_value, Decimal("0.10000000000000000001"))

    def test_an_absurd_amount_is_not_believed(self) -> None:
        for amount in ("1e400", "-1e16", "true", '"5"', "[]"):
            with self.subTest(amount), responses.RequestsMock() as microsoft:
                microsoft.post(GOALS, body=json.dumps({"ConversionGoals": [GOAL]}).replace("0.5", amount))
                with self.assertRaisesMessage(UnexpectedAnswer, "Revenue.Value"):
                    self.client_.get_offline_conversion_goals()

    def test_goals_of_other_types_are_dropped_unread(self) -> None:
        self.microsoft.post(GOALS, json={"ConversionGoals": [{"Type": "Event"}, {"Type": "Url", "Name": 5}, GOAL]})
        self.assertEqual([goal.goal_id for goal in self.client_.get_offline_conversion_goals()], ["9001"])

    def test_what_microsoft_does_not_say_stays_unsaid(self) -> None:
        self.microsoft.post(GOALS, json={"ConversionGoals": [{"Id": 9, "Name": "N", "Type": "OfflineConversion"}]})
        (goal,) = self.client_.get_offline_conversion_goals()
        self.assertEqual((goal.window_minutes, goal.revenue_value, goal.is_enhanced), (None, None, None))

    def test_no_goals_is_an_answer_and_no_list_is_none(self) -> None:
        self.microsoft.post(GOALS, json={"ConversionGoals": []})
        self.assertEqual(self.client_.get_offline_conversion_goals(), [])
        self.microsoft.reset()
        self.microsoft.post(GOALS, json={"PartialErrors": []})
        with self.assertRaisesMessage(UnexpectedAnswer, "ConversionGoals is not there"):
            self.client_.get_offline_conversion_goals()

    def test_a_list_with_errors_is_not_taken_for_the_whole(self) -> None:
        error = {"Index": 0, "Code": 5314, "ErrorCode": "InvalidConversionGoalId", "Message": "No."}
        self.microsoft.post(GOALS, json={"ConversionGoals": [GOAL], "PartialErrors": [error]})
        with self.assertRaises(Fault) as raised:
            self.client_.get_offline_conversion_goals()
        self.assertEqual(raised.exception.code, 5314)


class UetTagTests(ReadTestCase):
    def test_it_reads_the_tags(self) -> None:
        tag: dict[str, object] = {"Id": "97001", "Name": "Site", "Description": None, "TrackingStatus": "Active"}
        self.microsoft.post(TAGS, json={"UetTags": [tag], "PartialErrors": []})
        self.assertEqual(self.client_.get_uet_tags(), [UetTag("97001", "Site", "", "Active")])
