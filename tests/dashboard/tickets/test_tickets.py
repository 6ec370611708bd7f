"""Staff open customers' data for a ticket only, and the customer reads what they opened, and what they changed."""

import csv
import io
from datetime import timedelta
from typing import Any

import time_machine
from allauth.mfa.models import Authenticator
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.urls import reverse
from django.utils import timezone

from dashboard.tickets.owners import OF_PEOPLE, OF_THE_MACHINE, ways_to
from dashboard.tickets.ticket import NUMBER
from forwarding.models import Delivery, Status
from ingest.models import AuditEntry, Site
from tests.cast import make_site, make_user, store_event
from tests.dashboard.accounts import AccountTestCase
from tests.support.signing_in import TICKET, work_on_ticket

TICKET_PAGE, EVENTS = "/admin/ticket/", reverse("admin:ingest_event_changelist")
DELIVERIES = reverse("admin:forwarding_delivery_changelist")


class TicketCase(AccountTestCase):
    def setUp(self) -> None:
        self.ines = User.objects.create_superuser("ines", "ines@example.com", "pw")
        self.client.force_login(self.ines)
        self.delivery = self.deliver(Status.FAILED, error_code=5606)
        self.page = reverse("admin:forwarding_delivery_change", args=[self.delivery.pk])

    def say(self, number: str, **more: str) -> Any:
        return self.client.post(TICKET_PAGE, {"number": number, **more})

    def noted(self, site: Site | None = None) -> list[tuple[str, str]]:
        """Return the actions and targets in a site's part of the audit log, oldest first."""
        entries = AuditEntry.objects.filter(site=site or self.site, actor=self.ines).order_by("pk")
        return list(entries.values_list("action", "target"))


class TestAsking(TicketCase):
    def test_a_customers_rows_are_not_opened_without_a_ticket(self) -> None:
        for url in (self.page, EVENTS, f"{DELIVERIES}?q=x", f"{self.page}history/", reverse("admin:ingest_site_add")):
            with self.subTest(url=url):
                answer = self.client.get(url)
                self.assertRedirects(answer, f"{TICKET_PAGE}?next={url.replace('?', '%3F').replace('=', '%3D')}")
        self.assertEqual(self.noted(), [])

    def test_nothing_is_done_without_a_ticket(self) -> None:
        chosen = {"action": "cancel_deliveries", "_selected_action": str(self.delivery.pk)}
        self.assertRedirects(self.client.post(DELIVERIES, chosen), f"{TICKET_PAGE}?next={DELIVERIES}")

    def test_what_is_nobodys_needs_none(self) -> None:
        for name in ("index", "forwarding_heartbeat_changelist", "django_q_ormq_changelist", "password_change"):
            with self.subTest(name=name):
                self.assertEqual(self.client.get(reverse(f"admin:{name}")).status_code, 200)

    def test_a_ticket_leads_on_to_the_page_that_was_asked_for(self) -> None:
        self.assertContains(self.client.get(f"{TICKET_PAGE}?next={self.page}"), f'value="{self.page}"')
        self.assertRedirects(self.say("SUP-7", next=self.page), self.page)
        self.assertContains(self.client.get(self.page), "<strong>SUP-7</strong>")

    def test_it_leads_nowhere_else(self) -> None:
        for odd in ("https://evil.example/admin/", "//evil.example/admin/", "/s/", TICKET_PAGE, "javascript:1"):
            with self.subTest(next=odd):
                self.assertRedirects(self.say("SUP-7", next=odd), "/admin/")

    def test_what_is_no_number_of_a_ticket_is_refused(self) -> None:
        for odd in ("", "test", "7", "SUP 7", "<b>7</b>", "S7" * 40, "SUP-٧"):
            with self.subTest(number=odd):
                self.assertEqual(self.say(odd).status_code, 422)
        self.assertEqual(self.client.get(self.page).status_code, 302)

    def test_it_lasts_for_eight_hours(self) -> None:
        now = timezone.now()
        with time_machine.travel(now, tick=False):
            self.say("SUP-7")
        for hours, status in ((7.9, 200), (8, 302)):
            with time_machine.travel(now + timedelta(hours=hours), tick=False):
                self.assertEqual(self.client.get(self.page).status_code, status)

    def test_it_can_be_ended(self) -> None:
        self.say("SUP-7")
        self.assertRedirects(self.client.post(TICKET_PAGE, {"end": "1"}), "/admin/")
        self.assertEqual(self.client.get(self.page).status_code, 302)

    def test_customers_have_no_tickets(self) -> None:
        self.client.force_login(self.alice)
        self.assertRedirects(self.say("SUP-7"), f"/admin/login/?next={TICKET_PAGE}", fetch_redirect_response=False)
        self.assertNotIn("staff_ticket", self.client.session)

    def test_rows_are_not_suggested_while_one_types(self) -> None:
        work_on_ticket(self.client)
        query = "?app_label=ingest&model_name=membership&field_name=user&term=a"
        self.assertEqual(self.client.get(f"/admin/autocomplete/{query}").status_code, 404)


class TestWhose(TicketCase):
    def test_every_table_is_a_customers_a_persons_or_the_machines(self) -> None:
        unknown = [
            label
            for label, model in ((model._meta.label_lower, model) for model in admin.site._registry)
            if label not in OF_THE_MACHINE and label not in OF_PEOPLE and ways_to(model) is None
        ]
        self.assertEqual(unknown, [])

    def test_a_number_is_told_from_a_word(self) -> None:
        self.assertTrue(all(NUMBER.fullmatch(number) for number in ("SUP-1042", "#88", "10/2", "a.1_b")))


class TestOpening(TicketCase):
    def setUp(self) -> None:
        super().setUp()
        work_on_ticket(self.client)
        self.other = make_site("Elsewhere", make_user("erin"))

    def test_a_row_is_written_down_once_for_each_ticket(self) -> None:
        for _ in range(2):
            self.client.get(self.page)
            self.client.get(f"{self.page}history/")
        opened = [("delivery.open", self.delivery.transaction_id or str(self.delivery.public_id))]
        self.assertEqual(self.noted(), opened)
        self.say("SUP-7")
        self.client.get(self.page)
        self.assertEqual(self.noted(), opened * 2)
        numbers = AuditEntry.objects.order_by("pk").values_list("details__ticket", flat=True)
        self.assertEqual(list(numbers), [TICKET, "SUP-7"])

    def test_only_its_customer_reads_of_it(self) -> None:
        self.client.get(self.page)
        self.assertEqual(self.noted(self.other), [])
        self.assertFalse(AuditEntry.objects.exclude(organisation=self.site.organisation).exists())

    def test_a_list_that_nothing_narrows_names_nobody(self) -> None:
        self.client.get(DELIVERIES)
        self.client.get(f"{EVENTS}?p=1")
        self.assertEqual(self.noted(), [])

    def test_a_search_is_written_down_for_each_customer_whose_rows_it_shows(self) -> None:
        theirs = store_event(self.other, event_id="shared")
        mine = [store_event(self.site, event_id="shared"), store_event(self.site, event_id="beside")]
        for _ in range(2):
            self.client.get(EVENTS, {"q": "shared"})
        self.assertEqual(self.noted(), [("event.list", str(mine[0]))])
        self.assertEqual(self.noted(self.other), [("event.list", str(theirs))])
        self.client.get(EVENTS, {"q": "beside"})
        self.assertEqual(self.noted()[1:], [("event.list", str(mine[1]))])

    def test_a_filter_by_customer_is_written_down_with_the_first_rows(self) -> None:
        for n in range(4):
            store_event(self.site, event_id=f"e{n}")
        self.client.get(EVENTS, {"site__id__exact": self.site.pk})
        [(action, target)] = self.noted()
        self.assertEqual(action, "event.list")
        self.assertRegex(target, r"^purchase \S+, purchase \S+, purchase \S+ and 2 more$")

    def test_what_was_typed_is_not_told(self) -> None:
        self.client.get(reverse("admin:ingest_site_changelist"), {"q": "arbo"})
        [entry] = AuditEntry.objects.all()
        self.assertEqual((entry.target, entry.details["table"]), ("Harbor & Pine", "sites"))
        self.assertNotIn("arbo", repr(entry.details))

    def test_a_person_is_everybodys_on_whose_team_they_are(self) -> None:
        self.other.organisation.memberships.create(user=self.alice, role="viewer")
        self.client.get(reverse("admin:auth_user_change", args=[self.alice.pk]))
        whose = set(AuditEntry.objects.filter(action="user.open").values_list("organisation__name", flat=True))
        self.assertEqual(whose, {self.site.organisation.name, self.other.organisation.name})

    def test_a_row_that_is_not_there_or_may_not_be_seen_leaves_no_line(self) -> None:
        for pk in ("999999", "x", "%00"):
            self.client.get(reverse("admin:forwarding_delivery_changelist") + f"{pk}/change/")
        viewer = User.objects.create_user("viewer", "viewer@example.com", "pw", is_staff=True)
        viewer.user_permissions.add(Permission.objects.get(codename="view_event"))
        self.client.force_login(viewer)
        work_on_ticket(self.client)
        self.assertEqual(self.client.get(self.page).status_code, 403)
        self.assertFalse(AuditEntry.objects.exists())


class TestDoing(TicketCase):
    def setUp(self) -> None:
        super().setUp()
        work_on_ticket(self.client)

    def test_what_is_done_by_hand_names_the_ticket(self) -> None:
        waits = self.deliver(Status.PENDING)
        chosen = {"action": "cancel_deliveries", "_selected_action": str(waits.pk)}
        self.client.post(DELIVERIES, {**chosen, "confirmed": "1", "shown": "1"})
        self.assertEqual(Delivery.objects.get(pk=waits.pk).status, Status.SKIPPED)
        details = AuditEntry.objects.get(action="delivery.cancel").details
        self.assertEqual((details["ticket"], details["by_staff"]), (TICKET, True))

    def test_an_account_that_is_let_go_on_or_changed_is_written_down(self) -> None:
        type(self.account).objects.filter(pk=self.account.pk).update(
            hold_reason="permission", held_until=timezone.now()
        )
        url = reverse("admin:integrations_adaccount_changelist")
        self.client.post(url, {"action": "lift_holds", "_selected_action": str(self.account.pk)})
        self.assertEqual(self.noted(), [("account.lift_hold", str(self.account))])

    def test_a_second_step_that_is_taken_off_is_written_down(self) -> None:
        step = Authenticator.objects.create(user=self.alice, type="totp", data={"secret": "x"})
        self.client.post(reverse("admin:mfa_authenticator_delete", args=[step.pk]), {"post": "yes"})
        actions = AuditEntry.objects.order_by("pk").values_list("action", "organisation__name")
        name = self.site.organisation.name
        self.assertEqual(list(actions), [("authenticator.open", name), ("authenticator.delete", name)])


class TestReading(TicketCase):
    """What the customer sees of it."""

    def setUp(self) -> None:
        super().setUp()
        work_on_ticket(self.client)
        self.client.get(self.page)
        self.client.get(EVENTS, {"q": self.delivery.event.event_id})
        self.client.force_login(self.alice)

    def test_the_audit_log_tells_who_for_which_ticket_and_what(self) -> None:
        page = self.client.get("/org/audit/?person=staff")
        found, opened = page.context["lines"]
        self.assertEqual({line.who for line in page.context["lines"]}, {"Convultra staff"})
        name = self.delivery.transaction_id or str(self.delivery.public_id)
        self.assertEqual(str(opened.what), f"Opened the conversion {name}")
        self.assertIn(str(self.delivery.public_id), opened.href)
        self.assertEqual(str(found.what), f"Searched all customers' events and saw {self.delivery.event}")
        self.assertEqual(found.href, "")
        for line in (found, opened):
            self.assertEqual([(change.field, change.after) for change in line.changes], [("ticket", TICKET)])
        self.assertNotContains(page, "ines")

    def test_so_does_the_file(self) -> None:
        answer = self.client.get("/org/audit/export.csv")
        text = b"".join(answer.streaming_content).decode("utf-8-sig")  # type: ignore[attr-defined]  # a stream
        rows = list(csv.DictReader(io.StringIO(text)))
        self.assertEqual(
            {(row["Who"], row["Field"], row["After"]) for row in rows}, {("Convultra staff", "ticket", TICKET)}
        )
