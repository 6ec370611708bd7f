"""What an account's settings page says beside its switches: coverage, auto-tagging and consent, in bounded queries."""

from datetime import timedelta

import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext

from forwarding.models import DailyCount, EventDay, Skip, Status
from ingest.models import ConsentPolicy, Membership, Role
from integrations.models import AdAccount, GoalMapping
from tests.cast import NOON, store_event
from tests.dashboard.accounts import AccountTestCase


class SettingsFigures(AccountTestCase):
    def setUp(self) -> None:
        self.enterContext(time_machine.travel(NOON, tick=False))
        self.client.force_login(self.alice)

    def page(self) -> str:
        return self.client.get(self.url("account-settings")).content.decode()

    def came(self, name: str, count: int, with_click: int, days_ago: int = 1) -> None:
        day = (NOON - timedelta(days=days_ago)).date()
        EventDay.objects.create(site=self.site, day=day, name=name, count=count, with_click=with_click)

    def test_click_coverage_is_of_the_mapped_events_of_30_days(self) -> None:
        self.came("purchase", 8, 6)
        self.came("purchase", 100, 0, days_ago=31)
        self.came("page_view", 1000, 0)
        self.assertIn("6 of 8 mapped events in the last 30 days had a click ID", self.page())
        self.assertIn('<span>Click coverage</span><span class="ms-auto fw5">75%</span>', self.page())

    def test_a_mapped_refund_is_no_conversion_that_lacks_its_click(self) -> None:
        GoalMapping.objects.create(account=self.account, event_name="refund", goal=self.goal)
        self.came("purchase", 8, 6)
        self.came("refund", 2, 0)
        self.assertIn("6 of 8 mapped events in the last 30 days had a click ID", self.page())

    def test_hashes_are_of_the_newest_mapped_events(self) -> None:
        store_event(self.site, received_at=NOON, email_sha256="a" * 64)
        store_event(self.site, received_at=NOON)
        self.assertIn('<span>Hashed email</span><span class="ms-auto fw5">50%</span>', self.page())
        self.assertIn('<span>Hashed phone</span><span class="ms-auto fw5">0%</span>', self.page())

    def test_no_bar_stands_for_nothing(self) -> None:
        self.assertNotIn('class="meter"', self.page())

    def test_what_consent_held_back_is_told_beside_the_policy(self) -> None:
        self.site.consent_policy = ConsentPolicy.REQUIRE
        self.site.save()
        for days, reason in ((2, Skip.NO_CONSENT), (40, Skip.NO_CONSENT), (2, Skip.NOT_MAPPED)):
            DailyCount.objects.create(
                account=self.account,
                day=(NOON - timedelta(days=days)).date(),
                status=Status.SKIPPED,
                goal_name=reason,
                count=1180,
            )
        self.assertIn("Forward only with consent", self.page())
        self.assertIn("1,180 events were not forwarded for this reason", self.page())

    def test_auto_tagging_that_is_off_can_be_turned_on_by_who_may(self) -> None:
        AdAccount.objects.update(auto_tagging=False)
        self.assertIn(f'href="{self.url("account-auto-tagging")}"', self.page())
        Membership.objects.filter(user=self.alice).update(role=Role.VIEWER)
        self.assertIn("Off at Microsoft", self.page())
        self.assertNotIn(self.url("account-auto-tagging"), self.page())

    def test_auto_tagging_says_what_was_read(self) -> None:
        for is_on, said in ((True, "On at Microsoft"), (None, "Not read from Microsoft yet")):
            AdAccount.objects.update(auto_tagging=is_on)
            with self.subTest(is_on):
                self.assertIn(said, self.page())

    def test_its_queries_do_not_grow_with_the_events(self) -> None:
        with CaptureQueriesContext(connection) as few:
            self.page()
        for number in range(5):
            self.came("purchase", 1, 1, days_ago=number)
            store_event(self.site, received_at=NOON)
        with CaptureQueriesContext(connection) as many:
            self.page()
        self.assertEqual(len(many), len(few))
