"""The navigation: a page that needs another role is there, leads nowhere and says which role opens it."""

import re
from datetime import datetime

from django.urls import reverse
from django.utils import timezone

from dashboard.frame import SITE_SEARCH_FROM
from forwarding.models import Alert
from ingest.models import Membership, Role, Site
from integrations.models import Connection
from tests.cast import CastTestCase
from tests.dashboard.accounts import deliver


class TheNavigation(CastTestCase):
    def lines(self, role: Role) -> str:
        Membership.objects.filter(user=self.alice).update(role=role)
        self.client.force_login(self.alice)
        page = self.client.get(reverse("dashboard:integrations", args=[self.site.public_id])).content.decode()
        return re.sub(r"<svg.*?</svg>", "", page.partition('aria-label="Pages"')[2].partition("</nav>")[0])

    def test_it_leads_an_owner_everywhere(self) -> None:
        lines = self.lines(Role.OWNER)
        for name in ("imports", "keys"):
            self.assertIn(reverse(f"dashboard:{name}", args=[self.site.public_id]), lines)
        self.assertNotIn("aria-disabled", lines)

    def test_it_names_the_roles_that_a_viewer_would_need(self) -> None:
        lines = self.lines(Role.VIEWER)
        self.assertIn("Imports<small>Needs Owner, Admin or Marketer</small>", lines)
        self.assertIn("API keys<small>Needs Owner, Admin or Developer</small>", lines)
        self.assertEqual(lines.count("aria-disabled"), 2)
        self.assertNotIn(reverse("dashboard:imports", args=[self.site.public_id]), lines)

    def test_the_open_account_is_said_to_be_so(self) -> None:
        self.client.force_login(self.alice)
        here = reverse("dashboard:account-overview", args=[self.site.public_id, self.account.account_id])
        marked = f'href="{here}" aria-current="true"'
        self.assertIn(marked, self.client.get(here).content.decode())
        self.assertNotIn(marked, self.lines(Role.OWNER))


class TheDotOfAnAccount(CastTestCase):
    """Every word has a shape of its own: design reference, section 4."""

    def dot(self) -> str:
        self.client.force_login(self.alice)
        page = self.client.get(reverse("dashboard:integrations", args=[self.site.public_id])).content.decode()
        [dot] = re.findall(r'<a class="sub"[^>]*><span class="dot (\w+)">', page)
        return str(dot)

    def paused(self, at: datetime | None) -> None:
        self.account.paused_at = at
        self.account.save(update_fields=["paused_at"])

    def test_paused_does_not_look_like_setting_up(self) -> None:
        self.assertEqual(self.dot(), "ok")
        self.mapping.delete()
        self.assertEqual(self.dot(), "off")
        self.paused(timezone.now())
        self.assertEqual(self.dot(), "paused")

    def test_needs_attention_does_not_look_like_needs_reconnect(self) -> None:
        Alert.objects.create(
            cause=f"expiring:{self.account.pk}", organisation=self.site.organisation, opened_at=timezone.now()
        )
        self.assertEqual(self.dot(), "warn")
        Connection.objects.update(status=Connection.Status.NEEDS_RECONNECT)
        self.assertEqual(self.dot(), "bad")


class TheSiteSwitcher(CastTestCase):
    def test_it_can_be_searched_once_the_sites_are_many(self) -> None:
        self.client.force_login(self.alice)
        field = 'aria-label="Find a site"'
        self.assertNotContains(self.client.get("/sites/"), field)
        for number in range(SITE_SEARCH_FROM - 1):
            Site.objects.create(organisation=self.site.organisation, name=f"Site {number}")
        self.assertContains(self.client.get("/sites/"), field)


class TheFiltersOfAPage(CastTestCase):
    def test_they_need_no_button_where_there_are_scripts(self) -> None:
        self.client.force_login(self.alice)
        self.account.pk, self.account.account_id = None, "138204499"
        self.account.save(force_insert=True)
        deliver(self.goal)
        for name in ("overview", "reconciliation"):
            page = self.client.get(reverse(f"dashboard:{name}", args=[self.site.public_id])).content.decode()
            with self.subTest(name):
                self.assertIn('hx-trigger="change, submit" hx-target="#main"', page)
                self.assertIn('<noscript><button class="btn btn-2" type="submit">Show</button></noscript>', page)
