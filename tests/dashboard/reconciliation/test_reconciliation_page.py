"""The page of reconciliation: what it says, whom it asks for what, and that it never counts rows."""

from collections.abc import Mapping
from datetime import date, timedelta
from unittest.mock import patch

from django.db import connection
from django.http import HttpResponse
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from dashboard.reconciliation import views
from forwarding.models import AcceptedDay, Attribution, EventDay, Skip, Status, Upload
from forwarding.rows.counts import rebuild
from ingest.models import Membership, Role
from integrations.account_settings import pause
from integrations.models import AdAccount, Connection, GoalMapping
from tests.cast import make_account, make_goal, store_event
from tests.dashboard.accounts import AccountTestCase, deliver

DAY = timedelta(days=1)


class PageTestCase(AccountTestCase):
    def setUp(self) -> None:
        self.now = timezone.now()
        self.long_ago = self.now - 5 * DAY
        AdAccount.objects.update(report_read_at=self.now, created_at=self.now - 60 * DAY)
        self.client.force_login(self.alice)

    def page(self, **query: str | int) -> HttpResponse:
        return self.client.get(reverse("dashboard:reconciliation", args=[self.site.public_id]), query)  # type: ignore[return-value]

    @property
    def its_days(self) -> str:
        """Return the rest of the filter that a gap's link carries, of all purchases of the usual days."""
        today = self.now.date()
        return f"event=purchase&utc_since={today - 29 * DAY}&utc_until={today}"

    def told(self, success: int, reasons: Mapping[str, int], days_ago: int = 5) -> None:
        """Note what Microsoft's report says of the goal's uploads of a day."""
        Attribution.objects.create(
            account=self.account,
            goal_id=self.goal.goal_id,
            goal_name="Purchase",
            day=(self.now - days_ago * DAY).date(),
            success=success,
            unattributed=sum(reasons.values()),
            reasons=reasons,
            read_at=self.now,
        )


class TestPage(PageTestCase):
    def test_it_begins_with_the_account_that_microsoft_accepted_something_of(self) -> None:
        make_account(self.site, "1", name="A first one by name")
        self.deliver(at=self.long_ago)
        Upload.objects.create(
            account=self.account,
            delivery_ids=[],
            leased_until=self.now,
            started_at=self.now,
            finished_at=self.now,
            accepted=1,
        )
        self.assertContains(self.page(), f'<option value="{self.account.account_id}" selected>')

    def test_it_tells_accepted_from_attributed_and_names_every_gap(self) -> None:
        for _ in range(3):
            self.deliver(at=self.long_ago)
        self.deliver(Status.FAILED, at=self.long_ago, error_code=5604)
        self.deliver(Status.SKIPPED, at=self.long_ago, skip_reason=Skip.NO_IDENTIFIER, msclkid="")
        self.told(2, {"NoMatchingClickFound": 1})
        page = self.page()
        self.assertContains(page, "Of 4 orders that came from a Microsoft ad, 3 (75.0%) were accepted and 2 are")
        for title in ("No Microsoft click ID", "Click ID is not valid", "No matching click found"):
            self.assertContains(page, title)
        self.assertContains(page, "66.7%")  # the match rate
        self.assertContains(page, "$149.70 · 75.0% of clicks")

    def test_what_failed_leads_to_its_rows_and_what_can_be_sent_to_its_forecast(self) -> None:
        self.deliver(Status.FAILED, at=self.long_ago, error_code=5604)
        self.deliver(Status.FAILED, at=self.long_ago, error_code=5606)
        page = self.page()
        self.assertContains(
            page, f"{self.url('account-logs')}?status=failed&amp;error=5604&amp;{self.its_days.replace('&', '&amp;')}"
        )
        forecast = f"{self.url('account-logs-retry')}?status=failed&error=5606&{self.its_days}"
        self.assertContains(page, forecast.replace("&", "&amp;"))
        self.assertEqual(self.client.get(forecast).status_code, 200)

    def test_what_was_not_forwarded_leads_to_its_rows_though_another_account_took_the_event(self) -> None:
        skipped = self.deliver(Status.SKIPPED, at=self.long_ago, skip_reason=Skip.NO_IDENTIFIER, msclkid="")
        deliver(make_goal(make_account(self.site, "77", name="Ztwo"), "Sale"), at=self.long_ago, event=skipped.event)
        rows = f"{self.url('account-logs')}?status=skipped&reason=no_identifier&{self.its_days}"
        rows = rows.replace("&utc_since", "&click=without&utc_since")
        self.assertContains(self.page(), rows.replace("&", "&amp;"))
        self.assertContains(self.client.get(rows), f'id="row-{skipped.public_id}"')

    def test_a_viewer_is_told_which_role_sends(self) -> None:
        Membership.objects.filter(user=self.bob).update(role=Role.VIEWER)
        self.client.force_login(self.bob)
        self.deliver(Status.FAILED, at=self.long_ago, error_code=5606)
        page = self.page()
        self.assertContains(page, "needs the Owner, Admin, Marketer or Developer role")
        self.assertNotContains(page, self.url("account-logs-retry"))

    def test_corrections_leave_the_steps_and_show_as_adjusted_and_net(self) -> None:
        self.deliver(at=self.long_ago, restated_value=20)
        self.deliver(at=self.long_ago, retracted_at=self.now)
        self.deliver(at=self.now)
        rebuild(self.now)
        page = self.page()
        self.assertContains(page, "$149.70 · 100.0% of clicks", 2)
        self.assertContains(page, "Adjusted −$79.80 by corrections that Microsoft accepted since. Net: $69.90.")
        self.assertContains(page, '<td class="r">$99.80</td><td class="r">−$79.80</td><td class="r">$20.00</td>')

    def test_without_corrections_nothing_is_said_of_them(self) -> None:
        self.deliver(at=self.long_ago)
        self.assertNotContains(self.page(), "djusted")

    def test_one_currency_is_not_told_apart_from_another_of_the_same_goal(self) -> None:
        self.deliver(at=self.long_ago)
        self.deliver(at=self.long_ago, currency="EUR")
        self.told(2, {})
        self.assertContains(self.page(), "2 are attributed so far")
        self.assertContains(self.page(currency="USD"), "Not told apart by Microsoft")

    def test_marks_of_direction_in_a_name_end_with_the_name(self) -> None:
        hostile = "text\u202eevisrever <b>"
        self.deliver(at=self.long_ago)
        AcceptedDay.objects.create(
            account=self.account, goal=self.goal, day=self.long_ago.date(), event_name=hostile, currency="USD", count=1
        )
        self.assertContains(
            self.page(), "<bdi>text\u202eevisrever &lt;b&gt;</bdi> went to the same goal, so it does not"
        )

    def test_another_account_has_its_own_funnel(self) -> None:
        other = make_account(self.site, "138204422", name="Shopping – US")
        GoalMapping.objects.create(account=other, event_name="lead", goal=make_goal(other, "Lead"))
        self.deliver(at=self.long_ago)
        self.assertContains(self.page(account=other.account_id), "No lead was planned for <bdi>Shopping – US</bdi>")
        self.assertContains(self.page(), "Of 1 orders")

    def test_nonsense_is_ignored(self) -> None:
        self.deliver(at=self.long_ago)
        usual = self.page()
        for query in (
            {"event": "<script>", "currency": "usd", "days": "12", "account": "\x00"},
            {"event": "a" * 65, "currency": "$$$", "days": "9" * 400, "account": "9" * 400},
            {"days": "-7", "event": "\u202e"},
        ):
            with self.subTest(query=query):
                page = self.page(**query)
                self.assertEqual(page.status_code, 200)
                self.assertEqual(page.context["funnel"].steps, usual.context["funnel"].steps)  # type: ignore[attr-defined]

    def test_without_an_account_it_leads_to_the_connection(self) -> None:
        AdAccount.objects.update(is_active=False)
        self.assertContains(self.page(), "No account is connected")

    def test_without_orders_it_says_when_the_first_day_is_settled(self) -> None:
        self.assertContains(self.page(), "Needs one settled day; ready")


class TestMatchRate(PageTestCase):
    """Five accepted on a settled day: four to Purchase, one to Lead. Three accepted yesterday still settle."""

    def setUp(self) -> None:
        super().setUp()
        lead = make_goal(self.account, "Lead", "9002")
        for _ in range(4):
            self.deliver(at=self.long_ago)
        deliver(lead, at=self.long_ago, event=store_event(self.site, name="lead"))
        for _ in range(3):
            self.deliver(at=self.now - DAY)
        self.told(3, {"NoMatchingClickFound": 1, "DuplicateConversionKey": 7})
        self.told(1, {}, days_ago=1)
        # A correction and a repeat of the lead are in the report too: no more than one of it is attributed.
        Attribution.objects.create(
            account=self.account, goal_id="9002", goal_name="Lead", day=self.long_ago.date(), success=3,
            unattributed=0, reasons={}, read_at=self.now,
        )  # fmt: skip

    def test_both_pages_divide_by_what_was_accepted_on_settled_days(self) -> None:
        self.assertContains(self.page(), "75.0%: 3 of 4 sent on settled days")
        account = self.client.get(self.url("account-overview"))
        self.assertContains(account, "80.0%")  # (3 + 1) of (4 + 1)
        self.assertContains(account, "4 of 5 settled")
        # Of each goal by itself: 3 of 4 purchases, and of one lead no more than one.
        self.assertEqual([goal[2].attributed for goal in account.context["goal_rows"]], [3, 0])

    def test_the_same_words_say_so_on_both(self) -> None:
        hint = "Attributed ÷ accepted, settled days only."
        self.assertContains(self.page(), hint)
        self.assertContains(self.client.get(self.url("account-overview")), hint)

    def test_reasons_of_corrections_and_repeats_are_no_lost_conversions(self) -> None:
        account = self.client.get(self.url("account-overview"))
        self.assertContains(account, "No matching click found")
        self.assertNotContains(account, "Already counted")

    def test_a_day_that_settles_has_no_rate(self) -> None:
        self.assertContains(self.page(), '<span class="t2">settling</span>')
        self.assertContains(self.page(), "1 of 3 sent on this day, still settling")
        self.assertNotContains(self.page(), "33.3%")
        self.assertContains(self.page(), "up to $149.70")
        self.assertContains(self.page(), "not settled")


class TestDays(PageTestCase):
    def listed(self, **query: str | int) -> list[date]:
        return [day.day for day in self.page(**query).context["days"]]  # type: ignore[attr-defined]

    def test_they_begin_when_the_account_was_connected_and_the_site_heard(self) -> None:
        today = self.now.date()
        self.deliver(at=self.now)
        EventDay.objects.create(site=self.site, day=today - 20 * DAY, name="page_view", count=1)
        self.assertEqual(self.listed()[-1], today - 20 * DAY)
        AdAccount.objects.update(created_at=self.now - 3 * DAY)
        self.assertEqual(self.listed(), [today - number * DAY for number in range(4)])

    def test_a_row_from_before_is_not_left_out(self) -> None:
        AdAccount.objects.update(created_at=self.now)
        self.deliver(at=self.long_ago)
        self.assertEqual(self.listed()[-1], self.long_ago.date())

    def test_a_period_that_is_shorter_stands(self) -> None:
        self.deliver(at=self.now)
        self.assertEqual(len(self.listed(days=7)), 7)


class TestRows(PageTestCase):
    def test_every_gap_leads_to_its_rows(self) -> None:
        rows = {
            self.deliver(at=self.long_ago): "status=delivered&",
            self.deliver(Status.FAILED, at=self.long_ago, error_code=5604): "status=failed&error=5604&",
            self.deliver(
                Status.SKIPPED, at=self.long_ago, skip_reason=Skip.NOT_MAPPED
            ): "status=skipped&reason=not_mapped&",
            self.deliver(
                Status.SKIPPED, at=self.long_ago, skip_reason=Skip.NO_CONSENT
            ): "status=skipped&reason=no_consent&",
            self.deliver(Status.PENDING, at=self.now): "status=pending&",
        }
        pause(self.account, self.alice, self.now)
        page = self.page()
        for row, query in rows.items():
            with self.subTest(query=query):
                href = f"{self.url('account-logs')}?{query}{self.its_days}"
                if row.status == Status.SKIPPED:
                    href = href.replace("&utc_since", "&click=with&utc_since")
                self.assertContains(page, f'href="{href.replace("&", "&amp;")}" aria-label="1, see rows')
                listed = self.client.get(href)
                self.assertContains(listed, f'id="row-{row.public_id}"')
                self.assertContains(listed, 'id="row-', 1)


class TestCapture(PageTestCase):
    def test_the_rate_is_that_of_the_sites_events(self) -> None:
        self.deliver(at=self.long_ago)
        day = self.long_ago.date()
        EventDay.objects.create(site=self.site, day=day, name="purchase", currency="USD", count=8, with_click=3)
        EventDay.objects.create(site=self.site, day=day, name="lead", currency="USD", count=100)
        page = self.page()
        self.assertContains(page, "37.5%")
        self.assertContains(page, "Conversions with a click ID ÷ conversions received")


class TestReading(PageTestCase):
    def read_now(self) -> HttpResponse:
        url = reverse("dashboard:reconciliation-read", args=[self.site.public_id, self.account.account_id])
        with self.captureOnCommitCallbacks(execute=True):
            return self.client.post(url)  # type: ignore[return-value]

    def test_a_person_asks_a_worker_once_a_minute(self) -> None:
        AdAccount.objects.update(report_read_at=self.now - DAY)
        with patch.object(views, "ring_to_read_report") as ring:
            for _ in range(3):
                self.assertEqual(self.read_now().status_code, 302)
        ring.assert_called_once_with(self.account.pk)

    def test_a_sign_in_that_needs_a_person_is_not_asked(self) -> None:
        AdAccount.objects.update(report_read_at=None)
        Connection.objects.update(status=Connection.Status.NEEDS_RECONNECT)
        with patch.object(views, "ring_to_read_report") as ring:
            self.read_now()
        ring.assert_not_called()

    def test_a_failed_reading_says_why_and_when_the_next_is(self) -> None:
        AdAccount.objects.update(report_error="Rate limit", next_report_at=self.now + timedelta(hours=1))
        self.deliver(at=self.long_ago)
        page = self.page()
        self.assertContains(page, "The last reading failed: Rate limit.")
        self.assertContains(page, "The next try is")

    def test_a_reading_that_nobody_tried_is_not_said_to_have_failed(self) -> None:
        self.deliver(at=self.long_ago)
        Connection.objects.update(status=Connection.Status.NEEDS_RECONNECT)
        page = self.page()
        self.assertNotContains(page, "The last reading failed")
        self.assertContains(page, "It is read again once the sign-in is renewed.")


class TestExport(PageTestCase):
    def test_it_has_the_days_of_the_page_and_runs_nothing(self) -> None:
        AdAccount.objects.update(name="=cmd()")
        self.deliver(at=self.long_ago, restated_value=20)
        self.told(1, {})
        answer = self.client.get(reverse("dashboard:reconciliation-export", args=[self.site.public_id]))
        lines = answer.getvalue().decode("utf-8-sig").splitlines()
        self.assertEqual(len(lines), 31)
        self.assertIn(
            f"{self.long_ago.date()},'=cmd(),purchase,all,1,1,1,1,1,1,yes,1.0000,USD 49.90,USD -29.90,USD 20.00", lines
        )


class TestCost(PageTestCase):
    def test_ten_queries_whatever_there_is_and_none_over_deliveries_or_events(self) -> None:
        counts = []
        for rows in (1, 20):
            for number in range(rows):
                self.deliver(at=self.now - number * DAY, event=store_event(self.site))
            with CaptureQueriesContext(connection) as queries:
                self.page(days=90)
            counts.append(len(queries))
        texts = [query["sql"] for query in queries]
        self.assertFalse([sql for sql in texts if '"forwarding_delivery"' in sql or '"ingest_event"' in sql])
        self.assertEqual(counts[0], counts[1])
        self.assertLessEqual(counts[1] - 2, 10)  # the session and its person aside
        self.assertTrue(AcceptedDay.objects.exists())
