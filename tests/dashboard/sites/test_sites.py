"""The list of sites: whose they are, which need someone, and how one is added."""

import uuid
from datetime import timedelta
from decimal import Decimal

import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext

from forwarding.models import AcceptedDay, Alert, Attribution, DailyCount, Status
from ingest.models import Event, Membership, Organisation, Role, Site
from integrations.models import AdAccount, Connection, ConversionGoal, GoalMapping
from tests.cast import NOON, CastTestCase, make_account, make_connection, make_site, store_event


class SitesCase(CastTestCase):
    url = "/sites/"

    def setUp(self) -> None:
        self.enterContext(time_machine.travel(NOON, tick=False))
        self.client.force_login(self.alice)

    def page(self, query: str = "") -> str:
        return self.client.get(f"{self.url}{query}").content.decode()

    def add_sibling(self, name: str) -> Site:
        return Site.objects.create(organisation=self.site.organisation, name=name)


class TheList(SitesCase):
    def test_it_shows_only_the_persons_own_sites(self) -> None:
        page = self.page()
        self.assertIn("Harbor &amp; Pine", page)
        self.assertNotIn("Charlie", page)

    def test_what_needs_someone_comes_first(self) -> None:
        sibling = self.add_sibling("Zzz")
        make_account(sibling, connection=make_connection(sibling, status=Connection.Status.NEEDS_RECONNECT))
        page = self.page()
        self.assertLess(
            page.index('main" href="/s/' + str(sibling.public_id)),
            page.index('main" href="/s/' + str(self.site.public_id)),
        )
        self.assertIn("Search – US needs reconnect", page)

    def test_conversions_about_to_expire_need_someone(self) -> None:
        self.mapping.delete()
        cause = f"expiring:{self.account.pk}"
        alert = Alert.objects.create(cause=cause, organisation=self.site.organisation, opened_at=NOON)
        self.assertIn("Conversions of Search – US are about to expire", self.page("?attention=on"))
        alert.resolved_at = NOON
        alert.save(update_fields=["resolved_at"])
        self.assertIn("No site needs attention", self.page("?attention=on"))

    def test_figures_are_of_today_and_six_days_before(self) -> None:
        for days, count in ((0, 3), (6, 4), (7, 90)):
            DailyCount.objects.create(
                account=self.account, day=(NOON - timedelta(days=days)).date(), status=Status.DELIVERED, count=count,
                currency="USD", value=Decimal(count * 10),
            )  # fmt: skip
        DailyCount.objects.create(account=self.account, day=NOON.date(), status=Status.FAILED, count=1)
        page = self.page()
        self.assertIn('<td class="r hide-m">7</td>', page)
        self.assertIn("87.5%", page)
        self.assertIn("$70.00", page)

    def test_the_match_rate_is_of_settled_days(self) -> None:
        self.account.report_read_at = NOON
        self.account.save()
        for days, accepted, success in ((5, 4, 3), (0, 9, 0)):
            day = (NOON - timedelta(days=days)).date()
            AcceptedDay.objects.create(
                account=self.account, day=day, goal=self.goal, event_name="purchase", currency="USD", count=accepted
            )
            Attribution.objects.create(
                account=self.account, day=day, goal_id=self.goal.goal_id, success=success, read_at=NOON
            )
        self.assertIn('title="3 of 4 of the settled days">75.0%</td>', self.page())

    def test_sums_of_two_currencies_stand_side_by_side(self) -> None:
        for currency, value in (("USD", "1234.56"), ("CAD", "20")):
            DailyCount.objects.create(
                account=self.account, day=NOON.date(), status=Status.DELIVERED, count=1, currency=currency, value=value
            )
        self.assertIn("$1,235 + CA$20.00", self.page())

    def test_a_removed_account_does_not_count(self) -> None:
        AdAccount.objects.update(is_active=False)
        self.assertIn("Setting up: connect Microsoft Advertising", self.page())

    def test_the_last_event_is_told(self) -> None:
        self.assertIn("never", self.page())
        store_event(self.site, received_at=NOON - timedelta(hours=2, minutes=52))
        self.assertIn("2 h 52 min ago", self.page())

    def test_an_account_of_which_more_than_one_conversion_in_twenty_fails_needs_a_look(self) -> None:
        for failed in (1, 2):
            DailyCount.objects.all().delete()
            for status, count in ((Status.FAILED, failed), (Status.DELIVERED, 19)):
                DailyCount.objects.create(account=self.account, day=NOON.date(), status=status, count=count)
            told = "2 of 21 conversions of 7 days failed in Search – US" in self.page()
            self.assertEqual(told, failed == 2)

    def test_goals_are_counted_once_however_many_events_go_to_them(self) -> None:
        GoalMapping.objects.create(account=self.account, event_name="refund", goal=self.goal)
        ConversionGoal.objects.update(status="Paused")
        self.assertIn("1 of 1 goals needs mapping", self.page())

    def test_a_healthy_site_that_went_silent_needs_a_look(self) -> None:
        store_event(self.site, received_at=NOON - timedelta(days=2))
        self.assertNotIn("No event since", self.page())
        Event.objects.update(received_at=NOON - timedelta(days=3))
        self.assertIn("No event since Nov 18", self.page("?attention=on"))

    def test_sites_of_several_organisations_are_grouped_the_worst_first(self) -> None:
        self.assertNotIn("Harbor &amp; Pine Inc.</th>", self.page())
        other = make_site("Other", self.bob)
        Membership.objects.create(user=self.alice, organisation=other.organisation)
        make_account(other, connection=make_connection(other, status=Connection.Status.NEEDS_RECONNECT))
        page = self.page()
        self.assertLess(page.index("Other Inc.</th>"), page.index("Harbor &amp; Pine Inc.</th>"))

    def test_eight_sites_can_be_searched(self) -> None:
        for number in range(6):
            self.add_sibling(f"Site {number}")
        self.assertNotIn('placeholder="Search sites"', self.page())
        self.add_sibling("Site 6")
        self.assertIn('placeholder="Search sites"', self.page())

    def test_search_and_health_narrow_it(self) -> None:
        self.add_sibling("Cedar Dental")
        self.assertNotIn("Cedar Dental</a>", self.page("?q=harbor"))
        self.assertIn("No site needs attention", self.page("?attention=on"))
        self.assertIn("No site matches", self.page("?q=<script>"))

    def test_nonsense_in_the_query_shows_the_whole_list(self) -> None:
        for query in ("?q=%00", f"?q={'x' * 5000}", "?attention=%ff", "?q=%F0%9F%98%80&q=2"):
            with self.subTest(query=query[:20]):
                self.assertEqual(self.client.get(self.url + query).status_code, 200)

    def test_the_number_of_queries_does_not_grow_with_sites(self) -> None:
        with CaptureQueriesContext(
            connection,
        ) as few:
            self.page()
        for number in range(5):
            sibling = self.add_sibling(f"Site {number}")
            make_account(sibling, account_id=str(number))
        with CaptureQueriesContext(connection) as many:
            self.page()
        self.assertEqual(len(many), len(few))

    def test_someone_without_a_site_is_told_what_a_site_is(self) -> None:
        Site.objects.filter(pk=self.site.pk).delete()
        self.assertIn("Add your first site", self.page())

    def test_someone_without_a_team_is_told_whom_to_ask(self) -> None:
        Membership.objects.all().delete()
        self.assertIn("Ask your team’s owner", self.page())


class AddingASite(SitesCase):
    def add(self, address: str, team: Organisation | None = None) -> int:
        team = team or self.site.organisation
        return self.client.post(self.url, {"address": address, "team": str(team.public_id)}).status_code

    def newest(self) -> Site:
        return Site.objects.latest("pk")

    def test_an_address_as_people_type_it_is_enough(self) -> None:
        for typed in ("www.Example.com", "https://www.example.com/shop?x=1", " example.com "):
            with self.subTest(typed=typed):
                self.assertEqual(self.add(typed), 302)
                self.assertEqual(self.newest().name, "example.com")
                self.assertEqual(
                    sorted(self.newest().allowed_origins), ["https://example.com", "https://www.example.com"]
                )

    def test_it_leads_on_to_connecting(self) -> None:
        answer = self.client.post(
            self.url, {"address": "example.com", "team": str(self.site.organisation.public_id)}, follow=True
        )
        self.assertContains(answer, "example.com added")
        self.assertContains(answer, "Connect Microsoft Advertising")

    def test_a_name_in_other_letters_is_kept_as_browsers_send_it(self) -> None:
        self.add("bücher.example")
        self.assertIn("https://xn--bcher-kva.example", self.newest().allowed_origins)

    def test_a_port_and_localhost_are_kept(self) -> None:
        self.add("http://localhost:3000")
        self.assertEqual(self.newest().allowed_origins, ["http://localhost:3000"])

    def test_what_is_no_website_is_refused_beside_the_field(self) -> None:
        before = Site.objects.count()
        nonsense = (
            "",
            "no website",
            "ftp://example.com",
            "http://",
            "https://[::1",
            "a" * 300,
            "exa\0mple.com",
            "x:99999999",
        )
        for typed in nonsense:
            with self.subTest(typed=typed[:20]):
                self.assertEqual(self.add(typed), 422)
        self.assertEqual(Site.objects.count(), before)

    def test_it_takes_the_owners_or_admins_role(self) -> None:
        self.client.force_login(self.bob)
        self.assertEqual(self.add("example.com"), 403)
        self.assertRegex(self.page(), 'id="add-needs">Needs the Owner or Admin role</span><button [^>]*disabled')

    def test_another_team_cannot_be_given_a_site(self) -> None:
        other = make_site("Other", self.charlie).organisation
        before = Site.objects.count()
        self.assertEqual(self.add("example.com", other), 422)
        self.assertEqual(Site.objects.count(), before)

    def test_somebody_in_two_teams_chooses(self) -> None:
        other = make_site("Other", self.charlie).organisation
        Membership.objects.create(user=self.alice, organisation=other, role=Role.ADMIN)
        self.assertIn('<select class="form-select" name="team"', self.page())
        self.add("example.com", other)
        self.assertEqual(self.newest().organisation, other)

    def test_a_made_up_team_is_refused(self) -> None:
        answer = self.client.post(self.url, {"address": "example.com", "team": str(uuid.uuid4())})
        self.assertContains(answer, "Choose your team", status_code=422)
        for nonsense in ("", "x", "\0", "1" * 500):
            with self.subTest(team=nonsense[:5]):
                answer = self.client.post(self.url, {"address": "example.com", "team": nonsense})
                self.assertEqual(answer.status_code, 422)
