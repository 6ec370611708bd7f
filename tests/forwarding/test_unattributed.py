"""Microsoft's reasons for attributing nothing, in words."""

from datetime import UTC, date, datetime

from django.test import SimpleTestCase

from forwarding.unattributed import REASONS, UNKNOWN, Gap, added_up, last_settled_day, reason_of

# cm/offlineconversionunattributedreason, read a second time.
OF_MICROSOFT = (
    "Unknown AdjustmentOriginalNotFound ConversionAlreadyRetracted DuplicateConversionKey ConversionTimeInFuture "
    "ConversionTimeExceedsMaxLookback GoalNotFoundOrInactive ClickTimestampAfterConversion NoMatchingClickFound "
    "MissingMatchIdentifiers OutsideGoalLookbackWindow AccountMismatch MalformedData HistoricalClickDataExpired"
)


class UnattributedTests(SimpleTestCase):
    def test_every_reason_of_microsofts_has_words(self) -> None:
        self.assertEqual(set(REASONS), set(OF_MICROSOFT.split()))
        self.assertTrue(all(reason.title and reason.advice for reason in REASONS.values()))

    def test_a_reason_that_nobody_knows_is_told_as_none(self) -> None:
        self.assertIs(reason_of("NewInJune"), UNKNOWN)

    def test_days_are_added_up_by_what_people_read_the_most_first(self) -> None:
        days = [{"NoMatchingClickFound": 2, "Unknown": 1}, {"NoMatchingClickFound": 40, "MalformedData": 3, "New": 1}]
        sums = added_up(days)
        self.assertEqual([(reason.title, count) for reason, count in sums], [
            ("No matching click found", 42), ("Microsoft gave no reason", 5),
        ])  # fmt: skip
        self.assertEqual(sums[0][0].gap, Gap.AT_MICROSOFT)

    def test_a_day_is_settled_48_hours_after_it_ended(self) -> None:
        self.assertEqual(last_settled_day(datetime(2026, 11, 22, 0, 0, tzinfo=UTC)), date(2026, 11, 19))
        self.assertEqual(last_settled_day(datetime(2026, 11, 21, 23, 59, tzinfo=UTC)), date(2026, 11, 18))
