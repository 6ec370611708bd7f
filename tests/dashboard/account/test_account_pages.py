"""An account's pages: who may open them, and what each says."""

import re
import uuid
from datetime import timedelta
from decimal import Decimal

from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django.utils.html import escape

from dashboard.attribution import NOT_REPORTED
from forwarding.models import AcceptedDay, Attribution, Skip, Status, Upload
from forwarding.rows.counts import rebuild
from forwarding.unattributed import REASONS
from ingest.models import Membership, Role
from integrations.account_settings import pause
from integrations.connecting import remove_account
from integrations.models import AdAccount, Connection
from tests.cast import make_goal
from tests.dashboard.accounts import AccountTestCase

PAGES = ("overview", "mapping", "settings", "logs")


class TestDoors(AccountTestCase):
    def test_everyone_of_the_team_opens_every_page(self) -> None:
        for role in Role:
            Membership.objects.filter(user=self.bob).update(role=role)
            self.client.force_login(self.bob)
            for page in PAGES:
                with self.subTest(role=role, page=page):
                    self.assertContains(self.client.get(self.url(f"account-{page}")), "Search – US")

    def test_a_stranger_gets_404_everywhere(self) -> None:
        self.client.force_login(self.charlie)
        delivery = self.deliver()
        urls = [self.url(f"account-{page}") for page in PAGES]
        urls += [self.url("account-logs-news"), self.url("account-uet-tags"), self.url("account-pause")]
        urls += [
            self.url("account-delivery", delivery.public_id),
            self.url("account-delivery-detail", delivery.public_id),
        ]
        for url in urls:
            with self.subTest(url=url):
                self.assertEqual(self.client.get(url).status_code, 404)

    def test_a_stranger_changes_nothing(self) -> None:
        self.client.force_login(self.charlie)
        for name in ("mapping", "goals-sync", "settings", "pause", "resume", "remove"):
            with self.subTest(name=name):
                self.assertEqual(self.client.post(self.url(f"account-{name}")).status_code, 404)

    def test_nobody_signed_in_is_sent_to_the_sign_in(self) -> None:
        response = self.client.get(self.url("account-logs"))
        self.assertRedirects(
            response, f"{reverse('account_login')}?next={self.url('account-logs')}", fetch_redirect_response=False
        )

    def test_another_sites_account_id_is_not_found(self) -> None:
        self.client.force_login(self.alice)
        url = reverse("dashboard:account-logs", args=[self.site.public_id, "999"])
        self.assertEqual(self.client.get(url).status_code, 404)

    def test_a_delivery_of_another_account_is_not_found(self) -> None:
        self.client.force_login(self.alice)
        self.assertEqual(self.client.get(self.url("account-delivery", uuid.uuid4())).status_code, 404)

    def test_the_role_that_is_missing_is_named(self) -> None:
        self.client.force_login(self.bob)
        for name in ("settings", "pause", "resume", "remove"):
            with self.subTest(name=name):
                response = self.client.post(self.url(f"account-{name}"))
                self.assertContains(response, "Owner or Admin", status_code=403)

    def test_a_viewer_is_told_who_may_change_the_mapping(self) -> None:
        Membership.objects.filter(user=self.bob).update(role=Role.VIEWER)
        self.client.force_login(self.bob)
        self.assertContains(
            self.client.get(self.url("account-mapping")), "Changing it needs the Owner, Admin or Marketer"
        )
        self.assertEqual(self.client.post(self.url("account-mapping")).status_code, 403)
        self.assertEqual(self.client.post(self.url("account-goals-sync")).status_code, 403)

    def test_a_viewer_reads_beside_the_switch_who_may_pause(self) -> None:
        Membership.objects.filter(user=self.bob).update(role=Role.VIEWER)
        self.client.force_login(self.bob)
        page = self.client.get(self.url("account-overview"))
        self.assertContains(page, 'id="switch-needs">Needs the Owner or Admin role')
        self.assertNotContains(page, self.url("account-pause"))


class TestOverview(AccountTestCase):
    def setUp(self) -> None:
        self.client.force_login(self.alice)

    def overview(self) -> str:
        return self.client.get(self.url("account-overview")).content.decode()

    def reason(self, title: str, count: int) -> str:
        said = next(reason for reason in (*REASONS.values(), NOT_REPORTED) if reason.title == title)
        words = f"<span class='two'><span class='main'>{escape(title)}</span><small>{said.advice}</small></span>"
        return f"<tr><td>{words}</td><td class='r'>{count}</td></tr>"

    def test_it_shows_what_was_delivered_and_what_failed(self) -> None:
        for _ in range(3):
            self.deliver()
        self.deliver(Status.FAILED, error_code=5604)
        page = self.overview()
        self.assertIn("75.0%", page)
        self.assertIn("$149.70", page)

    def test_it_says_why_conversions_wait(self) -> None:
        self.deliver(Status.PENDING, hold_reason="click_settling")
        self.assertInHTML("<tr><td>Waits an hour after the click</td><td class='r'>1</td></tr>", self.overview())

    def test_what_goes_out_later_is_not_in_the_next_batch(self) -> None:
        later = timezone.now() + timedelta(hours=20)
        self.deliver(Status.PENDING)
        self.deliver(Status.PENDING, next_attempt_at=later)
        page = self.overview()
        self.assertInHTML("<tr><td>Next batch</td><td class='r'>1</td></tr>", page)
        self.assertRegex(
            page, rf'<td>Later, next at <time datetime="{later:%Y-%m-%dT}[^<]*</time></td><td class="r">1</td>'
        )

    def test_revenue_in_other_currencies_stands_below_the_figure(self) -> None:
        self.deliver()
        self.deliver(value=Decimal(100), currency="CAD")
        page = self.overview()
        self.assertIn('<div class="stat-value">$49.90</div>', page)
        self.assertIn("+ CA$100.00, delivered, after corrections", page)

    def test_it_says_why_events_were_not_forwarded(self) -> None:
        self.deliver(Status.SKIPPED, skip_reason=Skip.NOT_MAPPED, goal_name="")
        self.assertInHTML("<tr><td>No goal mapped</td><td class='r'>1</td></tr>", self.overview())

    def test_it_says_why_microsoft_attributed_nothing_on_settled_days(self) -> None:
        today = timezone.now().date()
        AdAccount.objects.update(report_read_at=timezone.now())
        for days, counts in ((4, {"NoMatchingClickFound": 3}), (5, {"NoMatchingClickFound": 2}), (1, {"Unknown": 90})):
            day = today - timedelta(days=days)
            Attribution.objects.create(
                account=self.account, goal_id=self.goal.goal_id, goal_name="Purchase", day=day, success=20,
                unattributed=sum(counts.values()), reasons=counts, read_at=timezone.now(),
            )  # fmt: skip
            AcceptedDay.objects.create(
                account=self.account, goal=self.goal, day=day, event_name="purchase", currency="USD", count=24
            )
        page = self.overview()
        self.assertInHTML(self.reason("No matching click found", 5), page)
        # Of 48 that were accepted on the two settled days 40 are attributed, and of 3 Microsoft says nothing.
        self.assertInHTML(self.reason("Not in Microsoft's report", 3), page)
        self.assertIn("83.3%", page)
        self.assertIn("40 of 48 settled", page)
        self.assertNotIn("Microsoft gave no reason", page)

    def test_a_report_that_was_never_read_makes_no_rate(self) -> None:
        self.deliver(at=timezone.now() - timedelta(days=5))
        self.assertIn("needs a settled day", self.overview())

    def test_revenue_is_nothing_where_all_was_taken_back_and_a_dash_where_nothing_was_delivered(self) -> None:
        revenue = re.compile(r'Revenue forwarded.*?<div class="stat-value">([^<]*)<', re.DOTALL)
        self.assertEqual(revenue.findall(self.overview()), ["–"])
        self.deliver(retracted_at=timezone.now())
        rebuild(timezone.now())
        self.assertEqual(revenue.findall(self.overview()), ["$0.00"])

    def test_a_paused_account_is_resumed_beside_the_sentence_by_its_only_primary_button(self) -> None:
        self.account.paused_at = timezone.now()
        self.account.save(update_fields=["paused_at"])
        main = self.overview().partition("<main")[2]
        self.assertRegex(
            main, r"Somebody paused this account\. Its conversions are kept\.</p></div><div class=\"acts\"><form"
        )
        self.assertEqual(main.count("Resume forwarding"), 1)
        self.assertEqual(main.count("btn-primary"), 1)

    def test_a_sign_in_that_ended_holds_everything(self) -> None:
        Connection.objects.update(status=Connection.Status.NEEDS_RECONNECT)
        self.deliver(Status.PENDING)
        page = self.overview()
        self.assertIn("Needs reconnect", page)
        self.assertIn("1 conversion waits", page)

    def test_what_is_about_to_expire_is_told_with_its_last_day_and_reason(self) -> None:
        ends = timezone.now() + timedelta(days=9)
        for _ in range(2):
            self.deliver(
                Status.PENDING, timezone.now() - timedelta(days=81), hold_reason="goal_missing", expires_at=ends
            )
        page = self.overview()
        self.assertIn("2 conversions about to expire", page)
        self.assertInHTML(
            "<p>Microsoft counts none that is older than 90 days. They have to go out by "
            f"{ends:%b} {ends.day}. Why they wait: Goal not found.</p>",
            re.sub(r"<time[^>]*>|</time>", "", page),
        )

    def test_what_has_time_is_not_called_about_to_expire(self) -> None:
        self.deliver(Status.PENDING, timezone.now() - timedelta(days=70), hold_reason="goal_missing")
        self.assertNotIn("about to expire", self.overview())

    def test_a_goal_that_is_gone_is_marked(self) -> None:
        self.goal.gone_at = timezone.now()
        self.goal.save(update_fields=["gone_at"])
        self.assertIn("Goal not found", self.overview())

    def test_it_says_when_microsoft_last_accepted_something(self) -> None:
        moment = timezone.now() - timedelta(seconds=95)
        Upload.objects.create(
            account=self.account, operation="conversions", delivery_ids=[], leased_until=moment, started_at=moment,
            finished_at=moment, accepted=3,
        )  # fmt: skip
        self.assertIn("1 min ago", self.overview())

    def test_an_account_without_a_mapping_says_what_to_do(self) -> None:
        self.mapping.delete()
        self.assertIn("Map an event to a goal in Search – US", self.overview())

    def test_a_removed_account_keeps_its_overview_and_logs_only(self) -> None:
        remove_account(self.account, self.alice, timezone.now())
        page = self.overview()
        self.assertIn("Removed", page)
        self.assertNotIn(self.url("account-mapping"), page)
        self.assertRedirects(self.client.get(self.url("account-mapping")), self.url("account-overview"))
        self.assertRedirects(self.client.get(self.url("account-settings")), self.url("account-overview"))


class TestQueries(AccountTestCase):
    # The session and its person are two of each.
    LIMITS = {"overview": 12, "logs": 10, "mapping": 10, "settings": 10}

    def queries(self, url: str) -> int:
        with CaptureQueriesContext(database) as captured:
            self.assertEqual(self.client.get(url).status_code, 200)
        return len(captured)

    def test_they_are_few_and_do_not_grow_with_rows(self) -> None:
        self.client.force_login(self.alice)
        self.deliver()
        few = {page: self.queries(self.url(f"account-{page}")) for page in self.LIMITS}
        for number in range(12):
            self.deliver(Status.FAILED, error_code=5606)
            self.deliver(Status.RETRYING, error_code=117, next_attempt_at=timezone.now())
            make_goal(self.account, f"Goal {number}")
        many = {page: self.queries(self.url(f"account-{page}")) for page in self.LIMITS}
        self.assertEqual(few, many)
        for page, limit in self.LIMITS.items():
            with self.subTest(page=page):
                self.assertLessEqual(many[page], limit)

    def test_a_detail_and_the_news_are_cheap(self) -> None:
        self.client.force_login(self.alice)
        delivery = self.deliver(Status.FAILED, error_code=5606)
        self.assertLessEqual(self.queries(self.url("account-delivery-detail", delivery.public_id)), 13)
        self.assertLessEqual(self.queries(self.url("account-logs-news") + "?status=failed"), 10)


class TestPauseAndRemove(AccountTestCase):
    def setUp(self) -> None:
        self.client.force_login(self.alice)

    def test_pausing_asks_first(self) -> None:
        self.assertContains(self.client.get(self.url("account-pause")), "Pause forwarding to Search – US?")
        dialog = self.client.get(self.url("account-pause"), headers={"HX-Request": "true"})
        self.assertNotContains(dialog, "<html")
        self.account.refresh_from_db()
        self.assertIsNone(self.account.paused_at)

    def test_it_pauses_and_says_so_on_every_page(self) -> None:
        response = self.client.post(self.url("account-pause"), follow=True)
        self.assertContains(response, "keeps new conversions as pending")
        self.assertContains(self.client.get(self.url("account-logs")), "Paused")

    def test_it_resumes(self) -> None:
        pause(self.account, self.alice, timezone.now())
        self.assertContains(self.client.post(self.url("account-resume"), follow=True), "Forwarding resumed")
        self.account.refresh_from_db()
        self.assertIsNone(self.account.paused_at)

    def test_removing_wants_the_exact_name(self) -> None:
        for typed in ("", "search – us", "x" * 5000, "\0"):
            response = self.client.post(self.url("account-remove"), {"name": typed})
            self.assertContains(response, "Type Search – US exactly", status_code=422)
        self.account.refresh_from_db()
        self.assertTrue(self.account.is_active)

    def test_removing_stops_forwarding_and_keeps_the_logs(self) -> None:
        delivery = self.deliver()
        response = self.client.post(self.url("account-remove"), {"name": "Search – US"})
        self.assertRedirects(response, reverse("dashboard:integrations", args=[self.site.public_id]))
        self.account.refresh_from_db()
        self.assertFalse(self.account.is_active)
        self.assertContains(self.client.get(self.url("account-logs")), str(delivery.public_id))

    def test_removing_says_what_becomes_of_what_waits_and_of_the_figures(self) -> None:
        self.deliver(Status.PENDING)
        question = self.client.get(self.url("account-remove"))
        self.assertContains(
            question, "1 waiting conversion is kept, and goes out if you connect the account again before"
        )
        self.assertContains(question, "leaves the figures of the site’s Overview, and stays on the account’s own page")
        self.client.post(self.url("account-remove"), {"name": "Search – US"})
        removed = self.client.get(self.url("account-overview"))
        self.assertContains(removed, "1 conversion waits; none is lost before")
        self.assertContains(removed, "What it delivered is left out of the site’s Overview, and stays here.")
