"""The integrations page: what is connected, what waits for whom, and how it is disconnected."""

from datetime import timedelta
from decimal import Decimal
from unittest import mock

import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from dashboard.connect import integrations as integration_views
from forwarding.models import DailyCount, Hold, Status, Upload
from ingest.models import Import, Source
from integrations import connecting
from integrations.models import AdAccount, Connection
from tests.cast import NOON, CastTestCase, make_account, make_connection, make_goal, store_event
from tests.dashboard.accounts import deliver
from tests.support.microsoft import EmulatedMicrosoft


class PageCase(CastTestCase):
    def setUp(self) -> None:
        self.time = self.enterContext(time_machine.travel(NOON, tick=False))
        self.client.force_login(self.alice)
        self.url = reverse("dashboard:integrations", args=[self.site.public_id])
        self.connection = self.account.connection

    def page(self) -> str:
        return self.client.get(self.url).content.decode()

    def link(self, name: str, connection: Connection | None = None) -> str:
        return reverse(
            f"dashboard:connection-{name}", args=[self.site.public_id, (connection or self.connection).public_id]
        )

    def break_sign_in(self) -> None:
        self.connection.status = Connection.Status.NEEDS_RECONNECT
        self.connection.last_error = "Microsoft no longer gives access because its password was changed."
        self.connection.failed_at = NOON - timedelta(days=1)
        self.connection.save(update_fields=["status", "last_error", "failed_at"])

    def hold(self, value: str, expires_in_days: int) -> None:
        end = NOON + timedelta(days=expires_in_days)
        deliver(self.goal, Status.PENDING, NOON, value=Decimal(value), expires_at=end)


class NothingConnected(PageCase):
    def setUp(self) -> None:
        super().setUp()
        AdAccount.objects.all().delete()
        Connection.objects.all().delete()

    def test_it_invites_to_connect(self) -> None:
        self.assertIn("Connect Microsoft Advertising</h2>", self.page())
        self.assertIn(reverse("dashboard:microsoft-connect", args=[self.site.public_id]), self.page())

    def test_who_runs_the_team_may_invite_the_person_with_access(self) -> None:
        invite = f"/org/team/?org={self.site.organisation.public_id}&amp;new=1"
        self.assertIn(invite, self.page())
        self.client.force_login(self.bob)  # a marketer
        self.assertNotIn(invite, self.page())

    def test_clicks_that_arrived_already_are_told(self) -> None:
        store_event(self.site)
        self.assertIn(" 1 event with a Microsoft click ID has arrived already", self.page())

    def test_no_more_than_the_newest_events_are_looked_at(self) -> None:
        for _ in range(4):
            store_event(self.site)
        with mock.patch.object(integration_views, "NEWEST_EVENTS_LOOKED_AT", 2):
            self.assertIn("At least 3 events with a Microsoft click ID have arrived already", self.page())


class Connected(PageCase):
    def test_a_sign_in_shows_its_accounts(self) -> None:
        for words in ("ads@harborpine.example", "Connected", "Search – US", "F118Q2TX · USD", "1 goal mapped"):
            self.assertIn(words, self.page())

    def test_a_renewed_goal_list_that_lost_a_goal_is_flagged(self) -> None:
        self.goal.gone_at = NOON
        self.goal.save()
        self.assertIn("1 of 1 goals needs mapping", self.page())

    def test_a_paused_goal_is_flagged_too(self) -> None:
        self.goal.status = "Paused"
        self.goal.save()
        self.assertIn("1 of 1 goals needs mapping", self.page())

    def test_it_tells_when_microsoft_last_accepted(self) -> None:
        ago = NOON - timedelta(seconds=38)
        Upload.objects.create(
            account=self.account, operation="conversions", delivery_ids=[1], leased_until=NOON, started_at=ago,
            finished_at=ago, accepted=1,
        )  # fmt: skip
        self.assertIn("38 s ago</time>", self.page())
        self.assertIn('title="Nov 21, 2026, 11:59:22 UTC (UTC+00:00)"', self.page())

    def test_sources_tell_when_they_last_spoke(self) -> None:
        store_event(self.site, source=Source.SERVER, received_at=NOON - timedelta(seconds=27))
        self.assertIn("27 s ago", self.page())
        self.assertIn("Not used yet", self.page())

    def test_the_last_import_is_told(self) -> None:
        at = NOON - timedelta(days=3)
        Import.objects.create(site=self.site, status=Import.Status.DONE, time_zone="UTC", created_at=at)
        self.assertRegex(self.page(), r"Last import <time[^>]*>on Nov 18</time>")

    def test_a_source_that_needs_another_role_names_it_and_leads_nowhere(self) -> None:
        self.client.force_login(self.bob)  # a marketer
        sources = self.page().partition("Where events come from")[2]
        self.assertIn("API keys: needs Owner, Admin or Developer", sources)
        self.assertNotIn(reverse("dashboard:keys", args=[self.site.public_id]), sources)
        self.assertIn(reverse("dashboard:imports", args=[self.site.public_id]), sources)

    def test_the_number_of_queries_does_not_grow_with_accounts(self) -> None:
        with CaptureQueriesContext(connection) as few:
            self.page()
        for number in range(5):
            make_goal(make_account(self.site, account_id=f"9{number}"), "Purchase")
        with CaptureQueriesContext(connection) as many:
            self.page()
        self.assertEqual(len(many), len(few))

    def test_no_token_is_in_the_page(self) -> None:
        for secret in ("an-access-token", "a-refresh-token"):
            self.assertNotIn(secret, self.page())


class NeedsReconnect(PageCase):
    def setUp(self) -> None:
        super().setUp()
        self.break_sign_in()

    def test_it_says_why_what_is_held_and_until_when(self) -> None:
        self.hold("49.90", 80)
        self.hold("50.10", 60)
        page = self.page()
        for words in ("Needs reconnect", "its password was changed", "2 conversions ($100.00) are held, none are lost"):
            self.assertIn(words, page)
        self.assertIn("Jan 20, 2027", page)
        self.assertIn(">2 held</td>", page)
        self.assertRegex(page, ">On <time[^>]*>Nov 20 at 12:00</time>:")

    def test_what_is_held_is_not_counted_row_by_row(self) -> None:
        DailyCount.objects.create(account=self.account, day=NOON, status=Status.RETRYING, count=1_234_567)
        self.assertIn("1,234,567 conversions are held", self.page())

    def test_what_is_too_old_for_microsoft_is_not_held(self) -> None:
        long_ago = NOON - timedelta(days=91)
        DailyCount.objects.create(account=self.account, day=long_ago, status=Status.PENDING, count=3)
        self.assertIn("Nothing is waiting yet", self.page())

    def test_its_button_reconnects(self) -> None:
        self.assertIn("Reconnect</button>", self.page())
        self.assertNotIn(self.link("sync"), self.page())

    def test_it_can_be_disconnected_until_it_is(self) -> None:
        self.assertIn(self.link("disconnect"), self.page())
        connecting.disconnect(self.connection, self.alice, NOON)
        self.assertNotIn(self.link("disconnect"), self.page())

    def test_it_comes_before_the_healthy_ones(self) -> None:
        make_connection(self.site, microsoft_user_id="2", microsoft_user_name="aaa@harborpine.example")
        self.assertLess(self.page().index("ads@harborpine.example"), self.page().index("aaa@harborpine.example"))

    def test_a_fault_of_our_own_blames_nobody(self) -> None:
        self.connection.status = Connection.Status.NEEDS_OPERATOR
        self.connection.save(update_fields=["status"])
        self.assertIn("Needs attention", self.page())
        self.assertNotIn("Reconnect</button>", self.page())


class Disconnecting(PageCase):
    def test_it_asks_first_and_names_what_stops(self) -> None:
        page = self.client.get(self.link("disconnect"))
        self.assertContains(page, "Disconnect ads@harborpine.example?")
        self.assertContains(page, "Search – US stops receiving conversions at once")
        self.assertContains(page, "<html")

    def test_htmx_gets_the_dialog_alone(self) -> None:
        dialog = self.client.get(self.link("disconnect"), headers={"HX-Request": "true"})
        self.assertContains(dialog, '<dialog class="modal"')
        self.assertNotContains(dialog, "<html")
        self.assertIn("HX-Request", dialog.headers["Vary"])

    def test_it_destroys_the_tokens_and_keeps_the_accounts(self) -> None:
        self.assertContains(self.client.post(self.link("disconnect"), follow=True), "is disconnected")
        left = Connection.objects.get(pk=self.connection.pk)
        self.assertEqual((left.access_token, left.refresh_token, left.status), ("", "", "needs_reconnect"))
        self.assertTrue(AdAccount.objects.get(pk=self.account.pk).is_active)


class Syncing(PageCase):
    def setUp(self) -> None:
        super().setUp()
        self.microsoft = self.enterContext(EmulatedMicrosoft())
        self.connection = self.microsoft.connect(self.site, self.alice)
        (self.account,) = connecting.add_accounts(self.connection, ["138204417"], self.alice, NOON)

    def sync(self) -> str:
        return self.client.post(self.link("sync"), follow=True).content.decode()

    def test_it_reads_the_goals_anew_and_says_what_changed(self) -> None:
        self.time.shift(61)
        self.account.goals.update(name="Renamed")
        self.assertRegex(self.sync(), r"1 account and \d+ goals read from Microsoft Advertising, \d+ changed")
        self.assertFalse(self.account.goals.filter(name="Renamed", gone_at=None).exists())

    def test_it_asks_microsoft_at_most_once_a_minute(self) -> None:
        asked = len(self.microsoft.paths)
        self.assertIn("They were read less than a minute ago.", self.sync())
        self.assertEqual(len(self.microsoft.paths), asked)

    def test_a_held_account_is_read_at_once_because_that_lets_it_go_on(self) -> None:
        AdAccount.objects.update(hold_reason=Hold.PERMISSION, held_until=NOON + timedelta(hours=1))
        self.assertIn("read from Microsoft Advertising, none changed", self.sync())
        self.assertEqual(AdAccount.objects.get().held_until, NOON)

    def test_microsoft_away_is_told_and_nothing_changes(self) -> None:
        self.time.shift(61)
        self.microsoft.fault("ConversionGoals/QueryByIds", "html")
        self.assertIn("Search – US: Microsoft did not answer", self.sync())
