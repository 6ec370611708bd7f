"""A site's overview: its figures are those of the rows, and its attention list says what to do."""

import re
from datetime import timedelta
from decimal import Decimal
from html import unescape
from unittest import mock

from django.db import OperationalError
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from forwarding.models import AcceptedDay, Attribution, EventDay, Kind, Skip, Status, Upload
from forwarding.rows.counts import rebuild
from ingest.models import BlockedOrigin, Membership, Role, Source
from integrations.account_settings import pause
from integrations.models import AdAccount, Connection, ConversionGoal, GoalMapping
from tests.cast import make_account, make_goal, store_event
from tests.dashboard.accounts import AccountTestCase, deliver, parked_refund, told_refund

FRAGMENTS = ("overview-attention", "overview-figures", "overview-latest", "overview-start")


class OverviewCase(AccountTestCase):
    def setUp(self) -> None:
        self.client.force_login(self.alice)

    def at(self, name: str = "overview") -> str:
        return reverse(f"dashboard:{name}", args=[self.site.public_id])

    def page(self, query: str = "") -> str:
        return self.client.get(self.at() + query).content.decode()

    def another_account(self, name: str = "Canada") -> ConversionGoal:
        account = make_account(self.site, account_id=f"99{AdAccount.objects.count()}", name=name)
        goal = make_goal(account, "Sale")
        GoalMapping.objects.create(account=account, event_name="purchase", goal=goal)
        return goal


class TestDoors(OverviewCase):
    def test_everyone_of_the_team_sees_it(self) -> None:
        for role in Role:
            Membership.objects.filter(user=self.bob).update(role=role)
            self.client.force_login(self.bob)
            for name in ("overview", *FRAGMENTS):
                with self.subTest(role=role, name=name):
                    self.assertEqual(self.client.get(self.at(name)).status_code, 200)

    def test_a_stranger_finds_nothing(self) -> None:
        self.client.force_login(self.charlie)
        for name in ("overview", *FRAGMENTS):
            with self.subTest(name=name):
                self.assertEqual(self.client.get(self.at(name)).status_code, 404)

    def test_nonsense_in_the_query_shows_the_usual_period(self) -> None:
        self.deliver()
        for query in (
            "?days=31",
            "?days=%00",
            "?days=-7",
            f"?days={'9' * 5000}",
            "?days=%ff",
            "?more=%00&days=7&days=x",
        ):
            with self.subTest(query=query[:20]):
                self.assertContains(self.client.get(self.at() + query), 'aria-current="true">30 days')


class TestFigures(OverviewCase):
    def test_they_are_those_of_forward_logs(self) -> None:
        for status, count in ((Status.DELIVERED, 7), (Status.FAILED, 2), (Status.PENDING, 3)):
            for _ in range(count):
                self.deliver(status)
        page = self.page("?days=7")
        self.assertIn("7 delivered, 2 failed", page)
        self.assertIn("77.8%", page)
        self.assertIn("$349.30", page)
        logs = self.client.get(f"{self.url('account-logs')}?period=7").content.decode()
        for shown in ("7", "2", "3"):
            self.assertRegex(logs, rf'<span class="count[^"]*">{shown}</span>')

    def test_what_is_older_than_the_period_is_left_out(self) -> None:
        self.deliver(at=timezone.now() - timedelta(days=8))
        self.deliver()
        self.assertIn("1 delivered, 0 failed", self.page("?days=7"))
        self.assertIn("2 delivered, 0 failed", self.page("?days=30"))

    def test_today_is_the_day_of_utc_so_far(self) -> None:
        now = timezone.now()
        self.deliver(at=now)
        self.deliver(at=now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(seconds=1))
        page = self.page("?days=1")
        self.assertIn("1 delivered, 0 failed", page)
        self.assertIn('aria-current="true">Today', page)

    def test_revenue_is_nothing_where_all_was_taken_back_and_a_dash_where_nothing_was_delivered(self) -> None:
        self.deliver(Status.PENDING)
        self.assertEqual(self.revenue(), ["–"])
        self.deliver(retracted_at=timezone.now())
        rebuild(timezone.now())
        self.assertEqual(self.revenue(), ["$0.00"])
        self.deliver(restated_value=Decimal("20.10"))
        rebuild(timezone.now())
        self.assertEqual(self.revenue(), ["$20.10"])

    def test_conversions_without_a_value_have_none_and_not_nothing(self) -> None:
        self.deliver(value=None, currency="")
        self.assertEqual(self.revenue(), ["No value"])

    def revenue(self) -> list[str]:
        return re.findall(r'Revenue forwarded.*?<div class="stat-value">([^<]*)<', self.page(), re.DOTALL)

    def test_a_period_is_compared_with_the_one_before_it(self) -> None:
        for days, count in ((1, 3), (8, 2), (15, 40)):
            for _ in range(count):
                self.deliver(at=timezone.now() - timedelta(days=days))
        # 3 of $49.90 after 2: half as many again; what is older says nothing.
        self.assertEqual(
            self.page("?days=7").count(
                '50.0%<span class="visually-hidden"> more</span></span></span> vs previous 7 days'
            ),
            2,
        )
        self.assertNotIn("vs previous", self.page("?days=1"))

    def test_one_account_has_its_own_figures(self) -> None:
        canada = self.another_account()
        self.deliver()
        for _ in range(2):
            deliver(canada, Status.FAILED, error_code=5604)
        query = f"?account={canada.account.account_id}"
        self.assertIn("0 delivered, 2 failed", self.page(query))
        self.assertIn("1 delivered, 2 failed", self.page("?account=no such account"))
        for name in ("overview-figures", "overview-latest"):
            fragment = self.client.get(self.at(name) + query).content.decode()
            self.assertNotIn("Search – US", fragment)
            self.assertIn("Canada", fragment)

    def test_what_needs_somebody_is_told_of_every_account(self) -> None:
        canada = self.another_account()
        deliver(canada, Status.FAILED, error_code=5604)
        self.assertIn("failed in Canada", self.page(f"?account={self.account.account_id}"))

    def test_names_that_look_the_same_are_told_apart(self) -> None:
        for name in ("Purchase", "Purchase ", "Pur\u200bchase"):
            self.deliver(Status.FAILED, error_code=5606, goal_name=name)
        page = self.page()
        for said in (
            "“Purchase” failed",
            "“Purchase ” (a space at the end) failed",
            "(a zero width space after “Pur”)",
        ):
            self.assertIn(said, page)

    def test_match_rate_is_that_of_all_accounts_settled_days(self) -> None:
        """Six of eight of one account and three of four of another; of yesterday's, which settle, two of fifty each."""
        now, day = timezone.now(), (timezone.now() - timedelta(days=5)).date()
        goals = [(self.goal, 8, 6), (self.another_account(), 4, 3)]
        AdAccount.objects.update(report_read_at=now)
        for goal, accepted, success in goals:
            for at, count, attributed in ((day, accepted, success), (now.date() - timedelta(days=1), 50, 2)):
                facts = {"account": goal.account, "day": at}
                AcceptedDay.objects.create(**facts, goal=goal, event_name="purchase", currency="USD", count=count)
                Attribution.objects.create(
                    **facts, goal_id=goal.goal_id, goal_name=goal.name, success=attributed, read_at=now
                )
        self.deliver()
        page = self.page("?more=on&days=7")
        self.assertIn("9 of 12 settled", page)
        self.assertEqual(page.count("75.0%"), 3)  # of both, and of each
        Attribution.objects.filter(day=day).delete()
        AcceptedDay.objects.filter(day=day).delete()
        self.assertIn("not settled: 4 of 101", self.page("?more=on&days=7"))

    def test_accounts_are_added_up_and_currencies_are_not(self) -> None:
        self.deliver()
        deliver(self.another_account(), value=Decimal(100), currency="CAD")
        page = self.page()
        self.assertIn("2 delivered", page)
        self.assertIn("$49.90", page)
        self.assertIn("+ CA$100.00", page)

    def test_an_order_that_went_to_two_accounts_is_said_to_count_twice(self) -> None:
        said = "An order that went to several accounts counts once for each of them"
        EventDay.objects.create(site=self.site, day=timezone.now().date(), name="purchase", count=1)
        self.deliver()
        self.assertNotIn(said, self.page())
        self.another_account()
        self.assertIn(said, self.page())
        self.assertNotIn(said, self.page(f"?account={self.account.account_id}"))

    def test_coverage_is_of_conversions_only(self) -> None:
        self.deliver()
        today = timezone.now().date()
        GoalMapping.objects.create(account=self.account, event_name="refund", goal=self.goal)
        for name, count, with_click in (("purchase", 8, 6), ("page_view", 900, 1), ("refund", 2, 0)):
            EventDay.objects.create(site=self.site, day=today, name=name, count=count, with_click=with_click)
        page = self.page()
        self.assertIn("75.0%", page)
        self.assertIn("6 of 8 received", page)

    def test_reasons_of_what_was_not_forwarded_are_counted(self) -> None:
        for _ in range(3):
            self.deliver(Status.SKIPPED, skip_reason=Skip.NO_IDENTIFIER, goal_name="")
        self.deliver(Status.SKIPPED, skip_reason=Skip.NO_CONSENT, goal_name="")
        for status in (Status.DELIVERED, Status.FAILED, Status.PENDING):
            self.deliver(status)
        # Forwarded, and each reason: they add up to what came.
        self.assertEqual(self.explained(), ["3", "3", "1"])
        self.assertIn('Every event, explained</h2><span class="sub">7</span>', self.page())

    def explained(self) -> list[str]:
        [card] = re.findall(r'aria-labelledby="skip-h">.*?</section>', self.page(), re.DOTALL)
        return re.findall(r'<td class="r">(\d+)</td>', card)

    def test_time_to_microsoft_is_of_the_newest_delivered(self) -> None:
        now = timezone.now()
        upload = Upload.objects.create(
            account=self.account, operation="conversions", delivery_ids=[], leased_until=now, started_at=now,
            finished_at=now, accepted=20,
        )  # fmt: skip
        for seconds in range(1, 21):
            at = now - timedelta(minutes=5)
            self.deliver(at=at, last_upload=upload, delivered_at=at + timedelta(seconds=seconds))
        # A test is sent while somebody waits, and counts nowhere.
        self.deliver(at=at, last_upload=upload, delivered_at=at + timedelta(hours=3), is_test=True)
        figures = self.client.get(self.at("overview-figures")).content.decode()
        self.assertIn('<div class="stat-value">10 s</div>', figures)
        self.assertIn("median; 95% within 19 s", figures)
        self.assertIn("median; 95% within 19 s", self.page("?more=on"))

    def test_a_day_that_begins_meanwhile_waits_for_the_next_look(self) -> None:
        self.deliver()
        self.deliver(at=timezone.now() + timedelta(days=1))
        self.assertIn("1 delivered, 0 failed", self.page())

    def test_an_accounts_name_is_escaped(self) -> None:
        AdAccount.objects.update(name="<script>alert(1)</script>")
        self.deliver(Status.FAILED)
        self.assertNotIn("<script>alert", self.page("?more=on"))


class TestFailures(OverviewCase):
    def causes(self, query: str = "") -> list[tuple[str, str, str]]:
        """Return address, cause and count of each row of the card."""
        [card] = re.findall(r'aria-labelledby="fail-h">.*?</section>', self.page(query), re.DOTALL)
        row = (
            r'<tr><td><span class="two"><a class="main" id="cause-[^"]*" href="([^"]*)">([^<]*)</a>.*?>(\d+)</td></tr>'
        )
        return [(unescape(href), title, count) for href, title, count in re.findall(row, card)]

    def test_each_cause_has_its_number_and_leads_to_its_rows(self) -> None:
        for code, count in ((5604, 3), (5605, 1), (5606, 1), (5609, 1)):
            for _ in range(count):
                self.deliver(Status.FAILED, error_code=code)
        self.deliver(Status.FAILED, at=timezone.now() - timedelta(days=8), error_code=5604)
        logs = f"{self.url('account-logs')}?status=failed&error="
        found = self.causes("?days=7")
        self.assertEqual(
            found,
            [
                (f"{logs}5604&period=7", "Click ID is not valid", "3"),
                (f"{logs}5605-5606&period=7", "Goal not found", "2"),
                (f"{logs}5609&period=7", "Older than 90 days", "1"),
            ],
        )
        for href, _, shown in found:
            self.assertEqual(self.client.get(href).content.decode().count('id="row-'), int(shown))
        self.assertEqual(self.causes("?days=30")[0], (f"{logs}5604&period=30", "Click ID is not valid", "4"))

    def test_a_cause_of_several_accounts_leads_to_each(self) -> None:
        canada = self.another_account()
        self.deliver(Status.FAILED, error_code=5604)
        for _ in range(2):
            deliver(canada, Status.FAILED, error_code=5604)
        page = self.page()
        logs = reverse("dashboard:account-logs", args=[self.site.public_id, canada.account.account_id])
        self.assertIn(f'{logs}?status=failed&amp;error=5604&amp;period=30">Canada</a> 2 · ', page)
        self.assertIn(f'{self.url("account-logs")}?status=failed&amp;error=5604&amp;period=30">Search – US</a> 1', page)

    def test_what_is_tried_again_is_told_apart(self) -> None:
        self.deliver(Status.RETRYING, error_code=117)
        page = self.page("?days=1")
        self.assertIn(f'{self.url("account-logs")}?status=retrying&amp;period=1">Being tried again</a>', page)
        self.assertNotIn('id="cause-', page)

    def test_a_failure_that_nobody_named_leads_to_all_that_failed(self) -> None:
        self.deliver(Status.FAILED)
        self.assertEqual(self.causes()[0][0], f"{self.url('account-logs')}?status=failed&period=30")


class TestLatest(OverviewCase):
    def latest(self) -> str:
        return self.client.get(self.at("overview-latest")).content.decode()

    def test_what_became_of_a_delivered_conversion_stands_beside_it(self) -> None:
        self.deliver(retracted_at=timezone.now())
        self.deliver(restated_value=Decimal(20))
        latest = self.latest()
        self.assertEqual((latest.count("Delivered"), latest.count("Retracted"), latest.count("Restated")), (2, 1, 1))

    def test_a_correction_that_waits_or_failed_is_told(self) -> None:
        for status, kind in ((Status.PENDING, Kind.RETRACT), (Status.FAILED, Kind.RESTATE)):
            conversion = self.deliver()
            self.deliver(status, kind=kind, original=conversion, event=conversion.event)
        self.assertIn("Retracting…", self.latest())
        self.assertIn("Restate failed", self.latest())


class TestAttention(OverviewCase):
    def attention(self) -> str:
        return self.client.get(self.at("overview-attention")).content.decode()

    def test_it_is_silent_when_all_is_well(self) -> None:
        self.deliver()
        self.assertNotIn("Needs your attention", self.page())

    def test_a_sign_in_that_ended_says_what_is_held_and_until_when(self) -> None:
        Connection.objects.update(status=Connection.Status.NEEDS_RECONNECT, failed_at=timezone.now())
        one = self.deliver(Status.PENDING)
        self.deliver(Status.PENDING)
        said = self.attention()
        self.assertIn("Search – US lost access to Microsoft Advertising on", said)
        self.assertIn("2 conversions ($99.80) are held and go out when you reconnect", said)
        assert one.expires_at
        self.assertIn(f"Reconnect before {one.expires_at:%b} {one.expires_at.day}", said)
        self.assertIn(reverse("dashboard:integrations", args=[self.site.public_id]), said)

    def test_a_failing_goal_leads_to_its_failures(self) -> None:
        for _ in range(3):
            self.deliver(Status.FAILED, goal_name="Trade & Lead")
        said = self.attention()
        self.assertIn("3 conversions for “Trade &amp; Lead” failed in Search – US", said)
        self.assertIn(f"{self.url('account-logs')}?status=failed&amp;goal=Trade+%26+Lead", said)

    def test_a_paused_account_counts_only_with_something_held(self) -> None:
        pause(self.account, self.alice, timezone.now())
        self.assertNotIn("is paused since", self.attention())
        self.deliver(Status.PENDING)
        self.assertIn("Forwarding to Search – US is paused since", self.attention())

    def test_a_page_that_is_turned_away_is_named(self) -> None:
        now = timezone.now()
        BlockedOrigin.objects.create(site=self.site, origin="https://new.example", first_at=now, last_at=now)
        self.assertIn("https://new.example", self.attention())

    def refund(self, order: str, source: Source = Source.SERVER) -> None:
        """Let a refund come that the account does not map."""
        told = {"status": Status.SKIPPED, "skip_reason": Skip.NOT_MAPPED, "hold_reason": "", "next_attempt_at": None}
        event = store_event(self.site, "refund", source=source)
        parked_refund(self.account, event=event, transaction_id=order, **told)
        EventDay.objects.get_or_create(site=self.site, day=timezone.now().date(), name="refund", defaults={"count": 1})

    def test_refunds_of_delivered_orders_that_were_not_told_are_named(self) -> None:
        order = self.deliver().transaction_id
        self.refund(order)
        self.assertIn("1 refund was not told to Microsoft in Search – US", self.attention())
        self.refund(order)
        said = self.attention()
        self.assertIn("2 refunds were not told to Microsoft in Search – US", said)
        self.assertIn(f'href="{self.url("account-mapping")}"', said)

    def test_refunds_that_change_nothing_at_microsoft_need_nobody(self) -> None:
        for order in ("", "NOSUCH", self.deliver(Status.FAILED).transaction_id):
            self.refund(order)
        self.refund(self.deliver().transaction_id, source=Source.BROWSER)
        self.assertNotIn("not told to Microsoft", self.attention())

    def test_once_refunds_are_mapped_nobody_is_asked_to(self) -> None:
        self.refund(self.deliver().transaction_id)
        GoalMapping.objects.create(account=self.account, event_name="refund", goal=self.goal)
        self.assertNotIn("not told to Microsoft", self.attention())

    def test_queries_for_refunds_do_not_grow_with_accounts(self) -> None:
        self.refund(self.deliver().transaction_id)
        with CaptureQueriesContext(database) as one:
            self.attention()
        self.another_account()
        with CaptureQueriesContext(database) as two:
            self.attention()
        self.assertEqual(len(one), len(two))

    def test_silence_is_noticed_after_two_days(self) -> None:
        today = timezone.now().date()
        heard = EventDay.objects.create(site=self.site, day=today - timedelta(days=3), name="purchase", count=1)
        self.assertIn(f"No event since {heard.day:%b} {heard.day.day}", self.attention())
        EventDay.objects.create(site=self.site, day=today - timedelta(days=2), name="purchase", count=1)
        self.assertNotIn("No event since", self.attention())

    def test_a_long_silence_is_said_too_and_hides_no_overview(self) -> None:
        long_ago = timezone.now() - timedelta(days=100)
        self.deliver(at=long_ago)
        for query in ("?days=7", "?days=90"):
            self.assertIn(f"No event since {long_ago:%b} {long_ago.day}", self.page(query))
        self.assertIn("No event since", self.attention())

    def test_five_are_shown_and_the_rest_is_folded(self) -> None:
        for number in range(7):
            self.deliver(Status.FAILED, goal_name=f"Goal {number}")
        said = self.attention()
        self.assertIn("2 more", said)
        self.assertEqual(said.count("See why</a>"), 7)


class TestNewest(OverviewCase):
    def test_a_refund_that_was_told_is_no_event_with_nothing_to_forward(self) -> None:
        refund = told_refund(self.deliver())
        said = self.client.get(self.at("overview-latest")).content.decode()
        self.assertNotIn("Nothing to forward", said)
        self.assertIn(self.url("account-delivery", refund.public_id), said)


class TestStart(OverviewCase):
    def test_a_site_without_anything_gets_three_steps(self) -> None:
        GoalMapping.objects.all().delete()
        AdAccount.objects.all().update(is_active=False)
        page = self.page()
        self.assertIn("0 of 3 done", page)
        self.assertIn("Install the SDK", page)

    def test_steps_are_done_one_by_one(self) -> None:
        self.assertIn("1 of 3 done", self.page())
        event = self.deliver().event
        start = self.client.get(self.at("overview-start")).content.decode()
        self.assertIn("3 of 3 done", start)
        self.assertIn("First event received", start)
        self.assertIsNotNone(event.pk)

    def test_the_first_conversion_ends_it(self) -> None:
        self.deliver(Status.PENDING)
        self.assertNotIn("Get started", self.page())


class TestSections(OverviewCase):
    def test_a_section_that_cannot_be_read_says_so_and_the_others_stand(self) -> None:
        self.deliver()
        with mock.patch("dashboard.overview.views.read_door", side_effect=OperationalError("canceling statement")):
            page = self.page()
        self.assertIn("What needs you could not be read", page)
        self.assertIn("1 delivered, 0 failed", page)

    def test_queries_are_few_and_do_not_grow(self) -> None:
        self.deliver()
        few = {name: self.count(name) for name in ("overview", *FRAGMENTS)}
        self.assertLessEqual(max(few.values()), 10, few)
        for number in range(3):
            goal = self.another_account(f"Account {number}")
            for _ in range(4):
                deliver(goal)
        self.assertEqual({name: self.count(name) for name in ("overview", *FRAGMENTS)}, few)

    def count(self, name: str) -> int:
        with CaptureQueriesContext(database) as captured:
            self.client.get(self.at(name))
        return len(captured)
