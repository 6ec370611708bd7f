"""Microsoft's report of what it attributed: read daily, kept, and tried again when it fails."""

from datetime import date, datetime, timedelta
from io import StringIO
from unittest.mock import patch

from django.core.management import call_command
from django.utils import timezone

from forwarding.attributions import read_attributions, reports_due, take_now, windows
from forwarding.models import Attribution
from integrations.microsoft_ads.client import MicrosoftAdsClient
from integrations.microsoft_ads.emulator.books import Click
from integrations.microsoft_ads.emulator.world import SEARCH_US
from integrations.microsoft_ads.errors import NoAnswer, WhatToDo
from integrations.microsoft_ads.shapes import GoalReport, UploadDay
from integrations.models import AdAccount, Connection
from tests.cast import make_goal
from tests.road.road import RoadTestCase, purchase

REPORT = "OfflineConversionReport/QueryByGoalIds"
CUT_OFF = NoAnswer("No whole answer came", what_to_do=WhatToDo.RETRY, outcome_unknown=True)
HOUR, DAY, MINUTE = timedelta(hours=1), timedelta(days=1), timedelta(minutes=1)


class ReportTestCase(RoadTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.now = timezone.now()

    def reloaded(self) -> AdAccount:
        return AdAccount.objects.select_related("connection").get(pk=self.account.pk)

    def read(self, now: datetime | None = None) -> bool:
        return read_attributions(self.reloaded(), now or self.now)

    def sell(self, clicked: bool) -> None:
        """Sell something for $49.90, after a click on an ad, or after one that Microsoft knows nothing of."""
        sale = purchase()
        if clicked:
            self.microsoft.books.put(Click(sale["msclkid"], SEARCH_US, self.now - timedelta(hours=3)))
        self.post(sale)
        self.go()


class TestReading(ReportTestCase):
    def test_it_keeps_what_was_attributed_and_what_not_and_why(self) -> None:
        for clicked in (True, True, False):
            self.sell(clicked)
        self.assertTrue(self.read())
        row = Attribution.objects.get()
        self.assertEqual((row.goal_name, row.day), ("Purchase", timezone.now().date()))
        self.assertEqual((row.success, row.unattributed, row.reasons), (2, 1, {"NoMatchingClickFound": 1}))
        self.assertEqual((self.reloaded().report_read_at, self.reloaded().next_report_at), (self.now, self.now + DAY))

    def test_reading_again_writes_the_day_anew(self) -> None:
        self.sell(clicked=True)
        self.read()
        self.sell(clicked=True)
        for minute in (1, 2):
            self.read(self.now + minute * MINUTE)
        self.assertEqual(Attribution.objects.get().success, 2)

    def test_what_microsoft_takes_back_goes(self) -> None:
        self.sell(clicked=True)
        self.read()
        self.microsoft.books.received.clear()
        self.read(self.now + MINUTE)
        self.assertFalse(Attribution.objects.exists())

    def test_two_weeks_are_read_in_calls_of_seven_days_and_twenty_goals(self) -> None:
        for number in range(41 - self.account.goals.count()):
            make_goal(self.account, f"Goal {number}", str(70_000 + number))
        self.read()
        self.assertEqual(len(self.microsoft.calls(REPORT)), 6)
        today = date(2026, 11, 21)
        self.assertEqual(
            windows(today), [(date(2026, 11, 8), date(2026, 11, 14)), (date(2026, 11, 15), date(2026, 11, 21))]
        )

    def test_an_older_reading_that_ends_later_changes_nothing(self) -> None:
        self.read()
        self.sell(clicked=True)
        self.read(self.now - MINUTE)
        self.assertFalse(Attribution.objects.exists())

    def test_a_name_and_a_reason_that_nobody_documents_are_kept(self) -> None:
        odd = UploadDay(self.now.date(), 0, 3, {"S" * 500: 3})
        report = GoalReport("9", "n" * 500, (odd,))
        with patch.object(MicrosoftAdsClient, "get_offline_conversion_report", side_effect=[[], [report]]):
            self.read()
        self.assertEqual(Attribution.objects.get().reasons, {"S" * 500: 3})


class TestTrouble(ReportTestCase):
    def test_a_failed_reading_says_why_and_keeps_what_there_was(self) -> None:
        self.sell(clicked=True)
        self.read()
        self.microsoft.fault(REPORT, "503")
        self.assertFalse(self.read(self.now + HOUR))
        account = self.reloaded()
        self.assertEqual(account.report_error, "Microsoft answered with an error")
        self.assertEqual((account.report_read_at, account.next_report_at), (self.now, self.now + 2 * HOUR))
        self.assertEqual(Attribution.objects.count(), 1)

    def test_half_a_reading_changes_nothing(self) -> None:
        self.sell(clicked=True)
        self.read()
        self.microsoft.books.received.clear()
        with patch.object(MicrosoftAdsClient, "get_offline_conversion_report", side_effect=[[], CUT_OFF]):
            self.read(self.now + HOUR)
        self.assertEqual(Attribution.objects.get().success, 1)

    def test_one_that_breaks_keeps_no_conversion_of_a_sweep_by_hand_waiting(self) -> None:
        self.post(purchase())
        breaks = patch("forwarding.management.commands.sweep.read_report", side_effect=RuntimeError)
        with breaks, self.assertLogs("forwarding.management.commands.sweep", "ERROR"):
            call_command("sweep", stdout=StringIO())
        self.assertEqual(len(self.microsoft.bookings), 1)

    def test_the_next_reading_that_succeeds_forgets_it(self) -> None:
        AdAccount.objects.update(report_error="Microsoft did not answer")
        self.read()
        self.assertEqual(self.reloaded().report_error, "")


class TestTurns(ReportTestCase):
    def test_an_account_is_taken_once_a_day(self) -> None:
        self.assertEqual(reports_due(self.now), [self.account.pk])
        self.assertEqual(reports_due(self.now), [])
        self.read()
        self.assertEqual(reports_due(self.now + DAY - HOUR), [])
        self.assertEqual(reports_due(self.now + DAY), [self.account.pk])

    def test_a_worker_that_dies_over_it_costs_an_hour(self) -> None:
        reports_due(self.now)
        self.assertEqual(reports_due(self.now + HOUR), [self.account.pk])

    def test_nobody_is_asked_about_a_sign_in_that_needs_a_person(self) -> None:
        Connection.objects.update(status=Connection.Status.NEEDS_RECONNECT)
        self.assertEqual(reports_due(self.now), [])

    def test_a_person_may_ask_once_a_minute(self) -> None:
        asked = [take_now(self.reloaded(), self.now + wait) for wait in (0 * MINUTE, MINUTE / 2, MINUTE)]
        self.assertEqual(asked, [True, False, True])
        self.read(self.now + 2 * MINUTE)
        asked = [take_now(self.reloaded(), self.now + wait) for wait in (2.5 * MINUTE, 3 * MINUTE)]
        self.assertEqual(asked, [False, True])
