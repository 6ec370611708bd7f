"""The staff's hands on deliveries: what would come of it is shown first, and only who may change rows may do it."""

from decimal import Decimal
from typing import Any

from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from forwarding.hands.rules import Action
from forwarding.models import Alert, Breaker, Correction, Delivery, Hold, Kind, Status
from ingest.models import AuditEntry
from tests.cast import NOON
from tests.dashboard.accounts import AccountTestCase
from tests.support.signing_in import work_on_ticket

LIST = reverse("admin:forwarding_delivery_changelist")


class HandsOfStaff(AccountTestCase):
    def setUp(self) -> None:
        self.staff = User.objects.create_superuser("staff@example.com", "staff@example.com", "x")
        self.client.force_login(self.staff)
        work_on_ticket(self.client)

    def ask(self, action: Action, *rows: Delivery, query: str = "", **fields: Any) -> Any:
        """Choose rows and an action, as the list's form does; none means every row of the filter."""
        chosen = [row.pk for row in rows] or [Delivery.objects.values_list("pk", flat=True)[0]]
        form = {"action": f"{action}_deliveries", "_selected_action": chosen, "select_across": 0 if rows else 1}
        return self.client.post(f"{LIST}{query}", form | fields)

    def confirm(self, action: Action, *rows: Delivery, query: str = "", **fields: Any) -> Any:
        """Look at what would be done, and confirm that."""
        shown = self.ask(action, *rows, query=query).context["tally"].able
        return self.ask(action, *rows, query=query, confirmed="yes", **({"shown": shown} | fields))


class TestForecast(HandsOfStaff):
    def test_it_counts_what_can_what_will_fail_again_and_what_cannot(self) -> None:
        rows = [self.deliver(Status.FAILED, error_code=code) for code in (5606, 5606, 5604)] + [self.deliver()]
        page = self.ask(Action.RETRY, *rows)
        for words in (
            "Retry 4 deliveries?",
            "2 can succeed",
            "99.80 USD",
            "1 will fail again",
            "click ID is not valid",
        ):
            self.assertContains(page, words)
        self.assertContains(page, "1 cannot be retried")
        self.assertFalse(Delivery.objects.filter(status=Status.PENDING).exists())

    def test_without_any_that_can_there_is_nothing_to_confirm(self) -> None:
        page = self.ask(Action.RETRY, self.deliver())
        self.assertContains(page, "delivered already")
        self.assertNotContains(page, 'name="confirmed"')


class TestConfirmed(HandsOfStaff):
    def test_it_is_done_to_the_chosen_rows_and_to_no_other(self) -> None:
        chosen, other = (self.deliver(Status.FAILED, error_code=5606) for _ in range(2))
        self.assertEqual(self.confirm(Action.RETRY, chosen).headers["Location"], LIST)
        self.assertContains(self.client.get(LIST), "1 retried.")
        chosen.refresh_from_db()
        other.refresh_from_db()
        self.assertEqual((chosen.status, other.status), (Status.PENDING, Status.FAILED))

    def test_all_rows_of_a_filter_are_done_without_naming_them(self) -> None:
        for status in (Status.PENDING, Status.PENDING, Status.RETRYING):
            self.deliver(status)
        self.confirm(Action.HOLD, query="?status__exact=pending")
        self.assertEqual(Delivery.objects.filter(hold_reason=Hold.BY_HAND, status=Status.PENDING).count(), 2)
        entry = AuditEntry.objects.get(action="delivery.hold")
        self.assertEqual(entry.details["scope"], "staff list ?status__exact=pending")

    def test_what_came_to_the_list_since_is_shown_before_it_is_done(self) -> None:
        for _ in range(3):
            self.deliver(Status.PENDING)
        page = self.confirm(Action.HOLD, query="?status__exact=pending", shown=2)
        self.assertContains(page, "The list has changed: 3 now. Nothing was done yet.")
        self.assertFalse(Delivery.objects.filter(hold_reason=Hold.BY_HAND).exists())

    def test_every_action_says_that_staff_did_it(self) -> None:
        held = self.deliver(Status.PENDING, hold_reason=Hold.BY_HAND)
        self.confirm(Action.RELEASE, held)
        entry = AuditEntry.objects.get(action="delivery.release")
        self.assertEqual((entry.actor, entry.site), (self.staff, self.site))
        self.assertTrue(entry.details["by_staff"])

    def test_a_restatement_asks_for_its_value(self) -> None:
        delivery = self.deliver()
        self.assertContains(self.ask(Action.RESTATE, delivery), "New total of each conversion")
        for nonsense in ("", "-1", "1.2345", "abc", "1e30"):
            with self.subTest(nonsense):
                self.assertEqual(self.confirm(Action.RESTATE, delivery, value=nonsense).status_code, 200)
        self.confirm(Action.RESTATE, delivery, value="19.90")
        self.assertEqual(Delivery.objects.get(kind=Kind.RESTATE).value, Decimal("19.90"))

    def test_a_retraction_asks_for_its_word(self) -> None:
        delivery = self.deliver()
        self.assertEqual(self.confirm(Action.RETRACT, delivery, word="yes").status_code, 200)
        self.assertFalse(Correction.objects.exists())
        self.confirm(Action.RETRACT, delivery, word="retract")
        self.assertTrue(Delivery.objects.filter(kind=Kind.RETRACT).exists())

    def test_nothing_is_read_row_by_row(self) -> None:
        few = self.queries(2)
        self.assertEqual(self.queries(12), few)

    def queries(self, count: int) -> int:
        Delivery.objects.all().delete()
        for _ in range(count):
            self.deliver(Status.PENDING)
        with CaptureQueriesContext(connection) as captured:
            self.confirm(Action.HOLD)
        self.assertEqual(Delivery.objects.filter(hold_reason=Hold.BY_HAND).count(), count)
        return len(captured)


class TestDoors(HandsOfStaff):
    def test_staff_who_may_only_look_are_offered_nothing(self) -> None:
        reader = User.objects.create_user("reader@example.com", "reader@example.com", "x", is_staff=True)
        reader.user_permissions.add(Permission.objects.get(codename="view_delivery"))
        self.client.force_login(reader)
        work_on_ticket(self.client)
        delivery = self.deliver(Status.PENDING)
        self.assertNotContains(self.client.get(LIST), "hold_deliveries")
        self.ask(Action.HOLD, delivery, confirmed="yes", shown=1)
        delivery.refresh_from_db()
        self.assertEqual(delivery.hold_reason, "")

    def test_staff_who_may_change_deliveries_are_offered_all_six(self) -> None:
        self.deliver()
        page = self.client.get(LIST)
        for action in Action:
            self.assertContains(page, f"{action.label} selected deliveries")

    def test_a_customer_finds_the_sign_in(self) -> None:
        self.client.force_login(self.alice)
        self.assertEqual(self.ask(Action.HOLD, self.deliver(Status.PENDING)).status_code, 302)


class TestPages(HandsOfStaff):
    def test_a_delivery_shows_its_corrections_and_what_counts(self) -> None:
        delivery = self.deliver()
        self.confirm(Action.RESTATE, delivery, value="19.90")
        page = self.client.get(reverse("admin:forwarding_delivery_change", args=[delivery.pk]))
        for words in ("New total 19.900", "19.90 USD", "staff@example.com"):
            self.assertContains(page, words)
        Delivery.objects.filter(pk=delivery.pk).update(restated_value="19.90")
        self.assertContains(self.client.get(LIST), "st-restated")

    def test_corrections_breakers_and_alerts_are_listed_and_read_only(self) -> None:
        self.confirm(Action.RETRACT, self.deliver(), word="retract")
        Breaker.objects.create(name="developer token", failures=3)
        Alert.objects.create(cause="reconnect:1", subject="Search – US needs reconnect", text="…", opened_at=NOON)
        for model, words in ((Correction, "Does not count"), (Breaker, "developer token"), (Alert, "needs reconnect")):
            name = f"admin:forwarding_{model._meta.model_name}"
            with self.subTest(model=name):
                self.assertContains(self.client.get(reverse(f"{name}_changelist")), words)
                address = reverse(f"{name}_change", args=[model._default_manager.get().pk])
                self.assertEqual(self.client.get(address).status_code, 200)
                self.assertEqual(self.client.post(address).status_code, 403)
