"""GetOfflineConversionReportByGoalIds: what was attributed, what was not and why."""

from typing import Any

from integrations.microsoft_ads.emulator.books import Click
from integrations.microsoft_ads.emulator.world import SEARCH_US, SHOPPING_US
from tests.support.emulator import CLICK_ID, NOON, EmulatorTestCase, conversion

OPERATION = "OfflineConversionReport/QueryByGoalIds"
OTHER_CLICK = "a" * 32


class ReportTests(EmulatorTestCase):
    def report(self, **changes: object) -> Any:
        body: dict[str, object] = {
            "StartDateUtc": "2026-11-15T00:00:00Z",
            "EndDateUtc": "2026-11-21T23:59:59Z",
            "GoalIds": ["90010001"],
            "UploadChannelFilter": "CampaignManagementAPI",
        }
        r = self.call(OPERATION, body | changes)
        self.assertEqual(r.status_code, 200, r.text)
        return r.json()

    def upload(self) -> None:
        self.books.put(Click(CLICK_ID, SEARCH_US, NOON.replace(hour=9)))
        self.books.put(Click(OTHER_CLICK, SHOPPING_US, NOON.replace(hour=9)))
        self.apply(conversion(), conversion(), conversion(MicrosoftClickId=OTHER_CLICK), conversion(ConversionValue=-1))

    def test_it_counts_successes_and_reasons(self) -> None:
        self.upload()
        summary = self.report()["OfflineGoalConversionSummaries"][0]
        self.assertEqual((summary["OverallSuccessCount"], summary["OverallUnattributedCount"]), ("1", "2"))
        alerts = {one["UnattributedReason"]: one["Count"] for one in summary["OverallAlerts"]}
        self.assertEqual(alerts, {"DuplicateConversionKey": "1", "AccountMismatch": "1"})

    def test_it_tells_the_days_apart(self) -> None:
        self.upload()
        days = self.report()["OfflineGoalConversionSummaries"][0]["DailySummaries"]
        self.assertEqual(len(days), 7)
        self.assertEqual([day["SuccessCount"] for day in days], [0] * 6 + [1])
        self.assertEqual(days[-1]["UploadDate"], "2026-11-21T00:00:00Z")

    def test_another_channel_has_nothing(self) -> None:
        self.upload()
        summary = self.report(UploadChannelFilter="BulkAPI")["OfflineGoalConversionSummaries"][0]
        self.assertEqual(summary["OverallSuccessCount"], "0")

    def test_an_unknown_goal_is_a_partial_error(self) -> None:
        body = self.report(GoalIds=["1", "90010002"])
        self.assertEqual([(error["Index"], error["Code"]) for error in body["PartialErrors"]], [(0, 5314)])
        self.assertEqual(len(body["OfflineGoalConversionSummaries"]), 1)

    def test_its_limits_are_twenty_goals_and_seven_days(self) -> None:
        good: dict[str, object] = {
            "StartDateUtc": "2026-11-14T00:00:00Z",
            "EndDateUtc": "2026-11-21T00:00:00Z",
            "GoalIds": ["90010001"],
        }
        self.assertEqual(self.call(OPERATION, good).status_code, 200)
        wrong: list[tuple[dict[str, object], int]] = [
            ({"GoalIds": ["1"] * 21}, 201),
            ({"GoalIds": []}, 201),
            ({"EndDateUtc": "2026-11-21T00:00:01Z"}, 201),
            ({"EndDateUtc": "2026-11-13T00:00:00Z"}, 201),
            ({"StartDateUtc": None}, 113),
            ({"EndDateUtc": "2026-11-21T00:00:00"}, 113),
        ]
        for change, code in wrong:
            self.assert_fault(self.call(OPERATION, good | change), 400, code, "AdApiFaultDetail")
