"""Conversion goals, UET tags and account properties: what is listed, and one test per rule for goals."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import requests

from integrations.microsoft_ads.emulator.books import Goal
from integrations.microsoft_ads.emulator.world import BRAND_US, HARBOR, SEARCH_US, SHOPPING_US
from tests.support.emulator import NOON, EmulatorTestCase, conversion

OFFLINE = {"ConversionGoalTypes": "OfflineConversion"}


def new_goal(**changes: object) -> dict[str, object]:
    """Return a goal that can be added, with changes; a change to None leaves the member out."""
    row: dict[str, object] = {
        "Type": "OfflineConversion",
        "Name": "Convultra Purchase",
        "GoalCategory": "Purchase",
        "CountType": "All",
        "ConversionWindowInMinutes": 129600,
        "Scope": "Account",
        "Status": "Active",
        "Revenue": {"Type": "VariableValue", "Value": 0, "CurrencyCode": "USD"},
    }
    return {name: value for name, value in (row | changes).items() if value is not None}


class GoalListTests(EmulatorTestCase):
    def goals(self, **body: object) -> list[Any]:
        r = self.call("ConversionGoals/QueryByIds", OFFLINE | body)
        self.assertEqual(r.status_code, 200, r.text)
        found: list[Any] = r.json()["ConversionGoals"]
        return found

    def test_no_ids_means_all_of_the_types(self) -> None:
        self.assertEqual(len(self.goals()), 9)
        self.assertEqual(len(self.goals(ConversionGoalIds=[])), 9)
        types = {goal["Type"] for goal in self.goals(ConversionGoalTypes="Event, Url")}
        self.assertEqual(types, {"Event", "Url"})

    def test_names_keep_their_spaces_and_case(self) -> None:
        self.headers["CustomerAccountId"] = SHOPPING_US
        self.assertEqual([goal["Name"] for goal in self.goals()], ["Shopping Purchase", "shopping purchase"])

    def test_ids_line_up_with_their_goals(self) -> None:
        r = self.call("ConversionGoals/QueryByIds", OFFLINE | {"ConversionGoalIds": ["90010002", "1", "90010010"]})
        goals, errors = r.json()["ConversionGoals"], r.json()["PartialErrors"]
        self.assertEqual([goal and goal["Name"] for goal in goals], ["Qualified Lead", None, None])
        self.assertEqual([(error["Index"], error["Code"]) for error in errors], [(1, 5314), (2, 5331)])

    def test_additional_fields_come_when_asked_for(self) -> None:
        self.assertNotIn("IsEnhancedConversionsEnabled", self.goals()[0])
        goal = self.goals(ReturnAdditionalFields="IsEnhancedConversionsEnabled, GoalCategory")[0]
        self.assertEqual((goal["IsEnhancedConversionsEnabled"], goal["GoalCategory"]), (True, "Purchase"))

    def test_the_types_are_needed(self) -> None:
        r = self.call("ConversionGoals/QueryByIds", {})
        self.assert_fault(r, 400, 5329, "ApiFaultDetail")

    def test_a_hundred_ids_are_the_limit(self) -> None:
        r = self.call("ConversionGoals/QueryByIds", OFFLINE | {"ConversionGoalIds": ["1"] * 101})
        self.assert_fault(r, 400, 5318, "ApiFaultDetail")

    def test_a_goal_of_the_customer_is_listed_for_every_account(self) -> None:
        self.books.goals["90010001"].scope = "Customer"
        self.headers["CustomerAccountId"] = BRAND_US
        self.assertEqual([goal["Name"] for goal in self.goals()], ["Purchase"])

    def test_a_tag_never_leads_to_an_offline_goal(self) -> None:
        r = self.call(
            "ConversionGoals/QueryByTagIds",
            {"TagIds": ["343118260"], "ConversionGoalTypes": "OfflineConversion, Event"},
        )
        self.assertEqual([goal["Name"] for goal in r.json()["ConversionGoals"]], ["Checkout"])

    def test_tag_ids_are_needed_and_limited(self) -> None:
        for ids, code in ((None, 5330), (["1"] * 101, 5304)):
            r = self.call("ConversionGoals/QueryByTagIds", OFFLINE | {"TagIds": ids})
            self.assert_fault(r, 400, code, "ApiFaultDetail")


class GoalCase(EmulatorTestCase):
    def add(self, *rows: object) -> requests.Response:
        return self.call("ConversionGoals", {"ConversionGoals": list(rows)})

    def change(self, *rows: object) -> requests.Response:
        return self.call("ConversionGoals", {"ConversionGoals": list(rows)}, method="PUT")

    def assert_codes(self, r: requests.Response, *codes: int) -> None:
        self.assertEqual(r.status_code, 200, r.text)
        self.assertEqual([error["Code"] for error in r.json()["PartialErrors"]], list(codes))


class AddTests(GoalCase):
    def assert_not_added(self, code: int, **changes: object) -> None:
        count = len(self.books.goals)
        r = self.add(new_goal(**changes))
        self.assert_codes(r, code)
        self.assertEqual((r.json()["ConversionGoalIds"], len(self.books.goals)), ([None], count))

    def test_a_new_goal_gets_an_id_and_takes_conversions_two_hours_later(self) -> None:
        goal_id = self.add(new_goal()).json()["ConversionGoalIds"][0]
        self.assertEqual(self.books.goals[goal_id].name, "Convultra Purchase")
        row = conversion(ConversionName="Convultra Purchase")
        self.assert_refused(self.apply(row), "OfflineConversionNotAcceptedForGoal")
        self.now = NOON + timedelta(hours=2)
        self.act_as("ads@harborpine.example")
        self.assert_taken(self.apply(row))

    def test_ids_line_up_and_are_null_where_refused(self) -> None:
        r = self.add(new_goal(Name=None), new_goal(), None)
        self.assert_codes(r, 5319, 5323)
        self.assertEqual([bool(one) for one in r.json()["ConversionGoalIds"]], [False, True, False])

    def test_adding_switches_auto_tagging_on(self) -> None:
        self.headers["CustomerAccountId"] = BRAND_US
        self.assertFalse(self.books.accounts[BRAND_US].auto_tagging)
        self.add(new_goal())
        self.assertTrue(self.books.accounts[BRAND_US].auto_tagging)

    def test_revenue_defaults_to_none_and_currency_to_the_accounts(self) -> None:
        self.add(new_goal(Name="A", Revenue=None), new_goal(Name="B", Revenue={"Type": "VariableValue"}))
        a, b = list(self.books.goals.values())[-2:]
        self.assertEqual((a.revenue_type, a.revenue_currency), ("NoValue", None))
        self.assertEqual((b.revenue_type, b.revenue_currency), ("VariableValue", "USD"))

    def test_a_new_goal_has_no_id(self) -> None:
        self.assert_not_added(5324, Id="90010001")

    def test_other_types_are_not_added_here(self) -> None:
        self.assert_not_added(204, Type="Event")

    def test_its_name_is_needed(self) -> None:
        self.assert_not_added(5319, Name="")

    def test_its_name_has_at_most_100_characters(self) -> None:
        self.assert_not_added(5320, Name="x" * 101)
        self.assert_codes(self.add(new_goal(Name="x" * 100)))

    def test_its_name_is_free_in_the_whole_customer(self) -> None:
        for taken in ("Purchase", "Checkout", "Achat en ligne"):
            self.assert_not_added(5317, Name=taken)

    def test_another_customer_may_have_its_name(self) -> None:
        self.assert_codes(self.add(new_goal(Name="Record sale")))

    def test_a_name_occurs_once_in_a_request(self) -> None:
        self.assert_codes(self.add(new_goal(), new_goal()), 5316)

    def test_its_category_is_one_for_offline_goals(self) -> None:
        for category in (None, "None", "Unknown", "Download", "purchase"):
            self.assert_not_added(201, GoalCategory=category)

    def test_its_status_is_active_or_paused(self) -> None:
        self.assert_not_added(5328, Status="Deleted")

    def test_its_window_is_up_to_ninety_days(self) -> None:
        for minutes in (0, -1, 129601):
            self.assert_not_added(5337, ConversionWindowInMinutes=minutes)

    def test_its_revenue_type_is_known(self) -> None:
        self.assert_not_added(5332, Revenue={"Type": "Variable"})

    def test_its_revenue_value_fits_the_type(self) -> None:
        for revenue in (
            {"Type": "FixedValue"},
            {"Type": "NoValue", "Value": 0},
            {"Type": "VariableValue", "Value": -1},
        ):
            self.assert_not_added(5333, Revenue=revenue)

    def test_its_currency_is_listed(self) -> None:
        self.assert_not_added(5351, Revenue={"Type": "VariableValue", "CurrencyCode": "XXX"})

    def test_a_customers_goal_names_its_currency(self) -> None:
        self.assert_not_added(5355, Scope="Customer", Revenue={"Type": "VariableValue"})

    def test_view_through_is_not_for_offline_goals(self) -> None:
        self.assert_not_added(6609, ViewThroughConversionWindowInMinutes=1440)

    def test_leaving_bidding_out_needs_a_feature(self) -> None:
        self.assert_not_added(6610, ExcludeFromBidding=True)

    def test_an_account_holds_a_thousand_goals(self) -> None:
        self.fill(1000 - 11, SEARCH_US)
        self.assert_not_added(5326)

    def test_a_customer_holds_five_thousand_goals(self) -> None:
        self.fill(5000 - 15, SHOPPING_US)
        self.assert_not_added(5327)

    def fill(self, count: int, account_id: str) -> None:
        for number in range(count):
            goal_id = str(95_000_000 + number)
            self.books.place(Goal(goal_id, "Event", f"Goal {number}", account_id, HARBOR, NOON))

    def test_a_request_holds_one_to_a_hundred_goals(self) -> None:
        self.assert_fault(self.add(), 400, 5321, "ApiFaultDetail")
        self.assert_fault(self.add(*[new_goal()] * 101), 400, 5322, "ApiFaultDetail")


class ChangeTests(GoalCase):
    def test_absent_members_stay(self) -> None:
        self.assert_codes(self.change({"Id": "90010001", "Status": "Paused"}))
        goal = self.books.goals["90010001"]
        self.assertEqual((goal.status, goal.name, goal.revenue_type), ("Paused", "Purchase", "VariableValue"))

    def test_a_renamed_goal_takes_its_new_name_only(self) -> None:
        self.assert_codes(self.change({"Id": "90010001", "Name": "Sale"}))
        self.assert_refused(self.apply(conversion()), "OfflineConversionNameInvalid")
        self.assert_taken(self.apply(conversion(ConversionName="Sale")))

    def test_revenue_is_replaced_whole(self) -> None:
        self.assert_codes(self.change({"Id": "90010007", "Revenue": {"Type": "FixedValue", "Value": 9}}))
        self.assertEqual(self.books.goals["90010007"].revenue_value, Decimal(9))

    def test_scope_is_read_only(self) -> None:
        self.change({"Id": "90010001", "Scope": "Customer"})
        self.assertEqual(self.books.goals["90010001"].scope, "Account")

    def test_switches_can_be_turned(self) -> None:
        self.change({"Id": "90010002", "IsEnhancedConversionsEnabled": True, "IsExternallyAttributed": True})
        goal = self.books.goals["90010002"]
        self.assertTrue(goal.is_enhanced and goal.is_externally_attributed)

    def test_its_id_is_needed_and_known(self) -> None:
        self.assert_codes(self.change({"Name": "Sale"}), 5325)
        self.assert_codes(self.change({"Id": "1"}, {"Id": "90010041"}, {"Id": "90010010"}), 5314, 5314, 5314)

    def test_an_id_occurs_once_in_a_request(self) -> None:
        self.assert_codes(self.change({"Id": "90010001"}, {"Id": "90010001"}), 5315)

    def test_its_type_stays(self) -> None:
        self.assert_codes(self.change({"Id": "90010001", "Type": "Url"}), 5356)

    def test_its_name_is_still_free(self) -> None:
        self.assert_codes(self.change({"Id": "90010001", "Name": "Subscription"}), 5317)
        self.assert_codes(self.change({"Id": "90010001", "Name": "Purchase"}))

    def test_a_null_goal_is_refused(self) -> None:
        self.assert_codes(self.change(None), 5323)


class TagTests(EmulatorTestCase):
    def listed(self, **body: object) -> Any:
        r = self.call("UetTags/QueryByIds", body)
        self.assertEqual(r.status_code, 200, r.text)
        return r.json()

    def test_no_ids_means_every_tag_of_the_customer(self) -> None:
        statuses = {tag["Name"]: tag["TrackingStatus"] for tag in self.listed()["UetTags"]}
        self.assertEqual(sorted(statuses.values()), ["Active", "Inactive", "Unverified"])

    def test_ids_line_up_with_their_tags(self) -> None:
        body = self.listed(TagIds=["343118260", "343120517"], ReturnAdditionalFields="Industry")
        self.assertEqual([tag and tag["Industry"] for tag in body["UetTags"]], ["Retail", None])
        self.assertEqual([(error["Index"], error["Code"]) for error in body["PartialErrors"]], [(1, 5300)])

    def test_a_hundred_ids_are_the_limit(self) -> None:
        r = self.call("UetTags/QueryByIds", {"TagIds": ["1"] * 101})
        self.assert_fault(r, 400, 5304, "ApiFaultDetail")


class PropertyTests(EmulatorTestCase):
    NAME = "MSCLKIDAutoTaggingEnabled"

    def get(self) -> Any:
        return self.call("AccountProperties/Query", {"AccountPropertyNames": [self.NAME]}).json()["AccountProperties"]

    def test_it_reads_what_was_set(self) -> None:
        self.assertEqual(self.get(), [{"Name": self.NAME, "Value": "true"}])
        r = self.call("AccountProperties/Set", {"AccountProperties": [{"Name": self.NAME, "Value": "false"}]})
        self.assertEqual((r.status_code, r.text), (200, "{}"))
        self.assertEqual(self.get(), [{"Name": self.NAME, "Value": "false"}])

    def test_a_value_is_a_string(self) -> None:
        for value in (True, "yes", None):
            r = self.call("AccountProperties/Set", {"AccountProperties": [{"Name": self.NAME, "Value": value}]})
            self.assert_fault(r, 400, 201, "AdApiFaultDetail")

    def test_all_or_nothing(self) -> None:
        good, bad = {"Name": self.NAME, "Value": "false"}, {"Name": "FinalUrlSuffix", "Value": "false"}
        r = self.call("AccountProperties/Set", {"AccountProperties": [good, bad]})
        self.assert_fault(r, 400, 204, "AdApiFaultDetail")
        self.assertEqual(self.get()[0]["Value"], "true")

    def test_names_are_needed_and_known(self) -> None:
        for names, code in ((None, 206), ([], 206), (["Autotag"], 201), (["FinalUrlSuffix"], 204)):
            r = self.call("AccountProperties/Query", {"AccountPropertyNames": names})
            self.assert_fault(r, 400, code, "AdApiFaultDetail")
