"""From row to row in the staff's admin: the lists around a row, its page in the dashboard, and what may be done."""

import re
from html import unescape
from typing import Any

from django.contrib.auth.models import Permission, User
from django.db.models import Model
from django.urls import reverse

from forwarding.models import Delivery, Status
from ingest.models import Site
from tests.dashboard.accounts import AccountTestCase
from tests.support.signing_in import work_on_ticket


class StaffToolsTestCase(AccountTestCase):
    def setUp(self) -> None:
        self.ines = User.objects.create_superuser("ines", "ines@example.com", "pw")
        self.client.force_login(self.ines)
        work_on_ticket(self.client)
        self.delivery = self.deliver(Status.FAILED, error_code=5606)

    def page(self, row: Model) -> Any:
        return self.client.get(reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk]))

    def around(self, row: Model) -> dict[str, str]:
        """Return the lists that a row's page leads to, by their names."""
        (nav,) = re.findall(r'<nav class="around".*?</nav>', self.page(row).content.decode(), re.DOTALL)
        return {name: unescape(href) for href, name in re.findall(r'<a href="([^"]+)">([^<]+)</a>', nav)}


class TestLinks(StaffToolsTestCase):
    def test_each_row_leads_to_the_lists_of_what_belongs_to_it(self) -> None:
        for row, lists in (
            (self.site.organisation, {"Sites", "Memberships"}),
            (self.site, {"Connections", "Ad accounts", "Events"}),
            (self.account.connection, {"Ad accounts"}),
            (self.account, {"Deliveries", "Uploads", "Conversion goals"}),
            (self.delivery.event, {"Deliveries"}),
            (self.delivery, {"Attempts"}),
        ):
            around = self.around(row)
            self.assertLessEqual(lists, set(around), row)
            for href in around.values():
                with self.subTest(row=str(row), href=href):
                    self.assertEqual(self.client.get(href).status_code, 200)

    def test_a_list_has_only_what_belongs_to_the_row(self) -> None:
        other = Site.objects.exclude(pk=self.site.pk).get()
        self.assertContains(self.client.get(self.around(other)["Ad accounts"]), "0 ad accounts")

    def test_a_member_of_the_team_gets_to_the_dashboard(self) -> None:
        self.site.organisation.memberships.create(user=self.ines, role="viewer")
        for row in (self.site, self.account.connection, self.account, self.delivery, self.delivery.event):
            with self.subTest(row=str(row)):
                found = re.search(r'href="([^"]+)">Open in dashboard', self.page(row).content.decode())
                assert found is not None
                self.assertEqual(self.client.get(found[1]).status_code, 200)

    def test_staff_of_no_team_are_not_led_to_a_page_that_is_closed_to_them(self) -> None:
        self.assertNotContains(self.page(self.delivery), "Open in dashboard")


class TestRetry(StaffToolsTestCase):
    def test_a_delivery_can_be_retried_from_its_page_and_asks_first(self) -> None:
        self.assertContains(self.page(self.delivery), "Retry now")
        asked = self.client.post(
            reverse("admin:forwarding_delivery_changelist"),
            {"action": "retry_deliveries", "_selected_action": str(self.delivery.pk)},
        )
        self.assertContains(asked, "Retry 1 delivery?")
        self.assertEqual(Delivery.objects.get(pk=self.delivery.pk).status, Status.FAILED)

    def test_whoever_may_only_look_has_no_such_button(self) -> None:
        viewer = User.objects.create_user("viewer", "viewer@example.com", "pw", is_staff=True)
        self.client.force_login(viewer)
        work_on_ticket(self.client)
        viewer.user_permissions.add(*Permission.objects.filter(codename__startswith="view_"))
        self.assertNotContains(self.page(self.delivery), "Retry now")
