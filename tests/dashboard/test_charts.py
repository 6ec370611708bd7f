"""What the charts of conversions by day say."""

from datetime import UTC, datetime

from django.test import SimpleTestCase

from dashboard.charts import ConversionsByDay, empty_days
from forwarding.models import Status

NOW = datetime(2026, 11, 21, 23, 59, tzinfo=UTC)


class ConversionsByDayTests(SimpleTestCase):
    def setUp(self) -> None:
        self.days = empty_days(14, NOW)
        self.by_day = ConversionsByDay(list(self.days.values()))

    def count(self, index: int, status: str, number: int) -> None:
        list(self.days.values())[index].add(status, number)

    def test_days_end_with_today_which_is_not_over(self) -> None:
        data = self.by_day.main.data
        self.assertEqual((data["labels"][0], data["labels"][-1]), ("Nov 8", "Nov 21"))  # type: ignore[index]
        self.assertEqual(data["unfinished"], 1)

    def test_one_day_is_named_once(self) -> None:
        one = ConversionsByDay(list(empty_days(1, NOW).values()))
        self.assertEqual(one.main.finding, "Conversions by day, Nov 21: 0 delivered, 0 pending, 0 retrying.")

    def test_each_status_is_a_part_of_its_days_bar(self) -> None:
        for status, number in ((Status.DELIVERED, 5), (Status.PENDING, 3), (Status.RETRYING, 2), (Status.SKIPPED, 90)):
            self.count(2, status, number)
        self.assertEqual([series.numbers[2] for series in self.by_day.main.series], [5, 3, 2])
        self.assertIn("5 delivered, 3 pending, 2 retrying", self.by_day.main.finding)

    def test_failures_have_a_chart_of_their_own_that_names_the_worst_day(self) -> None:
        self.assertIn("none", self.by_day.failed.finding)
        self.assertEqual(self.by_day.finding, "Nothing failed.")
        self.count(0, Status.FAILED, 3)
        self.count(11, Status.FAILED, 1206)
        self.assertEqual(
            self.by_day.failed.finding, "Failed by day, Nov 8 – Nov 21: 1,209 in total, most on Nov 19 with 1,206."
        )
        self.assertEqual(self.by_day.finding, "Failures peaked on Nov 19: 1,206 of 1,209.")
