"""GetOfflineConversionReportByGoalIds, read: what was attributed of a goal's uploads, day by day."""

from datetime import date

import responses
from django.test import SimpleTestCase

from integrations.microsoft_ads.errors import Fault, MicrosoftAdsError, UnexpectedAnswer
from integrations.microsoft_ads.shapes import GoalReport, UploadDay
from tests.integrations.microsoft_ads.canned import REPORT, make_client

FIRST, LAST = date(2026, 11, 15), date(2026, 11, 21)
ALERTS: list[dict[str, object]] = [
    {"UnattributedReason": "NoMatchingClickFound", "Count": "41"},
    {"UnattributedReason": None, "Count": 2},
]
DAY: dict[str, object] = {
    "GoalId": "9001",
    "UploadDate": "2026-11-20T00:00:00Z",
    "SuccessCount": 82,
    "UnattributedCount": "43",
    "SuccessRate": 0.656,
    "Alerts": ALERTS,
}
SUMMARY: dict[str, object] = {
    "GoalId": "9001",
    "ConversionName": "Purchase",
    "OverallSuccessCount": "82",
    "OverallUnattributedCount": "43",
    "DailySummaries": [DAY],
}


def answered(*summaries: object, partial_errors: object = None, goal_ids: tuple[str, ...] = ("9001",)) -> object:
    """Return what is read of an answer with these summaries, or the error that it is."""
    body = {"OfflineGoalConversionSummaries": list(summaries), "PartialErrors": partial_errors}
    with responses.RequestsMock() as microsoft:
        microsoft.post(REPORT, json=body)
        try:
            return make_client().get_offline_conversion_report(goal_ids, FIRST, LAST)
        except MicrosoftAdsError as error:
            return error


class ReportTests(SimpleTestCase):
    def test_counts_are_read_as_numbers_and_as_texts(self) -> None:
        day = UploadDay(date(2026, 11, 20), 82, 43, {"NoMatchingClickFound": 41, "Unknown": 2})
        self.assertEqual(answered(SUMMARY), [GoalReport("9001", "Purchase", (day,))])

    def test_a_goal_that_microsoft_does_not_know_is_left_out(self) -> None:
        refused = [{"Code": 5314, "Index": 0, "ErrorCode": "InvalidConversionGoalId"}]
        for summaries in ((SUMMARY,), (None, SUMMARY)):
            found = answered(*summaries, partial_errors=refused, goal_ids=("1", "9001"))
            assert isinstance(found, list)
            self.assertEqual([report.goal_id for report in found], ["9001"])

    def test_days_that_were_not_asked_about_are_left_out(self) -> None:
        other = {**DAY, "UploadDate": "2026-11-22T00:00:00Z"}
        found = answered({**SUMMARY, "DailySummaries": [DAY, other]})
        assert isinstance(found, list)
        self.assertEqual([one.day for one in found[0].days], [date(2026, 11, 20)])

    def test_nonsense_is_not_believed(self) -> None:
        wrong_days: list[dict[str, object]] = [
            {"SuccessCount": -1},
            {"SuccessCount": "many"},
            {"SuccessCount": 0.5},
            {"UnattributedCount": True},
            {"SuccessCount": "9999999999"},
            {"UploadDate": "yesterday"},
            {"UploadDate": None},
            {"Alerts": {"Count": 1}},
        ]
        nonsense: list[object] = [{**SUMMARY, "DailySummaries": [{**DAY, **wrong}]} for wrong in wrong_days]
        nonsense += [{**SUMMARY, "GoalId": "9002"}, {**SUMMARY, "GoalId": None}, "a summary"]
        nonsense += [{**SUMMARY, "DailySummaries": [DAY, DAY]}]
        for summary in nonsense:
            with self.subTest(summary=summary):
                self.assertIsInstance(answered(summary), UnexpectedAnswer)

    def test_a_goal_that_is_there_twice_is_not_believed(self) -> None:
        self.assertIsInstance(answered(SUMMARY, SUMMARY), UnexpectedAnswer)

    def test_an_answer_without_summaries_is_none(self) -> None:
        with responses.RequestsMock() as microsoft:
            microsoft.post(REPORT, json={"PartialErrors": []})
            with self.assertRaises(UnexpectedAnswer):
                make_client().get_offline_conversion_report(["9001"], FIRST, LAST)

    def test_a_fault_is_raised(self) -> None:
        fault = {"Type": "AdApiFaultDetail", "Errors": [{"Code": 106, "ErrorCode": "UserIsNotAuthorized"}]}
        with responses.RequestsMock() as microsoft:
            microsoft.post(REPORT, json=fault, status=400)
            with self.assertRaises(Fault):
                make_client().get_offline_conversion_report(["9001"], FIRST, LAST)

    def test_more_than_microsoft_takes_is_our_bug(self) -> None:
        for goals, first in (
            (["1"] * 21, FIRST),
            ([], FIRST),
            (["1"], date(2026, 11, 14)),
            (["1"], date(2026, 11, 22)),
        ):
            with self.subTest(goals=goals, first=first), self.assertRaises(ValueError):
                make_client().get_offline_conversion_report(goals, first, LAST)
