"""What people do to conversions by hand on the pages: who may, what is asked first, and what is answered."""

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.utils import timezone

from forwarding.hands.rules import Action
from forwarding.models import Delivery, Hold, Kind, Skip, Status
from ingest.models import AuditEntry, Membership, Role
from integrations.models import AdAccount, GoalMapping
from tests.cast import make_account, make_goal
from tests.dashboard.accounts import AccountTestCase

HTMX = {"HX-Request": "true"}
SENDERS = {Role.OWNER, Role.ADMIN, Role.MARKETER, Role.DEVELOPER}
CORRECTORS = {Role.OWNER, Role.ADMIN, Role.MARKETER}


class ActionsTestCase(AccountTestCase):
    def setUp(self) -> None:
        self.client.force_login(self.alice)

    def act_url(self, action: Action, delivery: Delivery) -> str:
        return self.url(f"account-delivery-{action}", delivery.public_id)

    def ask(self, action: Action, delivery: Delivery, **headers: str) -> Any:
        return self.client.get(self.act_url(action, delivery), headers=headers)

    def do(self, action: Action, delivery: Delivery, **fields: str) -> Any:
        """Confirm in the list's dialog."""
        return self.client.post(f"{self.act_url(action, delivery)}?row=1", fields, headers=HTMX)

    def do_without_scripts(self, action: Action, delivery: Delivery, **fields: str) -> Any:
        return self.client.post(self.act_url(action, delivery), fields, follow=True)

    def fitting(self, action: Action) -> Delivery:
        """Return a conversion that the action can be done to."""
        match action:
            case Action.RETRY:
                return self.deliver(Status.FAILED, error_code=5606)
            case Action.RELEASE:
                return self.deliver(Status.PENDING, hold_reason=Hold.BY_HAND)
            case Action.HOLD | Action.CANCEL:
                return self.deliver(Status.PENDING)
        return self.deliver()

    def said(self, delivery: Delivery) -> dict[str, str]:
        """Return what a dialog wants typed to go on."""
        return {"value": "19.90", "name": delivery.transaction_id}


class TestDoors(ActionsTestCase):
    def be(self, role: Role) -> None:
        Membership.objects.filter(user=self.bob).update(role=role)
        self.client.force_login(self.bob)

    def test_each_role_does_what_its_row_says_and_no_more(self) -> None:
        for role in Role:
            self.be(role)
            for action in Action:
                allowed = CORRECTORS if action.corrects else SENDERS
                delivery = self.fitting(action)
                with self.subTest(role=role, action=action):
                    self.assertEqual(self.ask(action, delivery).status_code, 200 if role in allowed else 403)
                    answer = self.do(action, delivery, **self.said(delivery))
                    self.assertEqual(answer.status_code, 200 if role in allowed else 403)
                    self.assertEqual(AuditEntry.objects.filter(action=f"delivery.{action}").exists(), role in allowed)
                AuditEntry.objects.all().delete()

    def test_a_developer_does_not_stop_a_correction(self) -> None:
        original = self.deliver()
        correction = self.deliver(Status.PENDING, kind=Kind.RETRACT, original=original, event=original.event)
        self.be(Role.DEVELOPER)
        self.assertEqual(self.ask(Action.CANCEL, correction).status_code, 403)

    def test_a_stranger_finds_nothing(self) -> None:
        self.client.force_login(self.charlie)
        for action in Action:
            delivery = self.fitting(action)
            with self.subTest(action=action):
                self.assertEqual(self.ask(action, delivery).status_code, 404)
                self.assertEqual(self.do(action, delivery, **self.said(delivery)).status_code, 404)
        self.assertEqual(self.client.post(self.url("account-logs-retry")).status_code, 404)

    def test_another_accounts_delivery_is_not_found_through_ones_own(self) -> None:
        theirs = self.deliver(Status.PENDING)
        Delivery.objects.filter(pk=theirs.pk).update(account=make_account(self.site, "138204422"))
        self.assertEqual(self.do(Action.CANCEL, theirs).status_code, 404)

    def test_a_viewer_sees_the_buttons_disabled_with_the_role_they_take(self) -> None:
        self.be(Role.VIEWER)
        page = self.client.get(self.url("account-delivery", self.deliver().public_id))
        self.assertContains(page, "Restate value and Retract need the Owner, Admin or Marketer role")
        self.deliver(Status.FAILED, error_code=5606)
        page = self.client.get(self.url("account-logs") + "?status=failed")
        self.assertContains(page, "Retry needs the Owner, Admin, Marketer or Developer role")
        self.assertNotContains(page, self.url("account-logs-retry"))

    def test_a_viewer_retries_no_list(self) -> None:
        self.be(Role.VIEWER)
        for answer in (self.client.get, self.client.post):
            self.assertEqual(answer(self.url("account-logs-retry")).status_code, 403)

    def test_only_get_asks_and_only_post_does(self) -> None:
        for action in Action:
            self.assertEqual(self.client.put(self.act_url(action, self.fitting(action))).status_code, 405)
        self.assertFalse(AuditEntry.objects.exists())


class TestAsking(ActionsTestCase):
    def test_it_changes_nothing(self) -> None:
        for action in Action:
            delivery = self.fitting(action)
            before = Delivery.objects.filter(pk=delivery.pk).values().get()
            with self.subTest(action=action):
                self.assertEqual(self.ask(action, delivery).status_code, 200)
                self.assertEqual(Delivery.objects.filter(pk=delivery.pk).values().get(), before)

    def test_a_dialog_names_the_order_and_the_money(self) -> None:
        delivery = self.deliver(transaction_id="HP-48211")
        page = self.ask(Action.RETRACT, delivery, **HTMX)
        for words in ("Retract HP-48211?", "$49.90", "cannot be undone", "Type <strong>HP-48211</strong> to confirm"):
            self.assertContains(page, words)
        self.assertNotContains(page, "<html")

    def test_an_order_without_a_transaction_asks_for_the_word(self) -> None:
        self.assertContains(self.ask(Action.RETRACT, self.deliver(transaction_id="")), "Type <strong>retract</strong>")

    def test_a_correction_says_when_it_goes_out(self) -> None:
        page = self.ask(Action.RESTATE, self.deliver())
        self.assertContains(page, "when Microsoft has processed the conversion")
        self.assertContains(page, "Currently $49.90")
        old = self.deliver(at=timezone.now() - timedelta(days=2))
        self.assertNotContains(self.ask(Action.RESTATE, old), "when Microsoft has processed")

    def test_a_remapped_event_says_which_goal_it_goes_to(self) -> None:
        GoalMapping.objects.filter(pk=self.mapping.pk).update(goal=make_goal(self.account, "Trade enquiry"))
        page = self.ask(Action.RETRY, self.fitting(Action.RETRY))
        self.assertContains(page, "goes to “Trade enquiry” instead of “Purchase”")

    def test_what_stops_the_account_is_told(self) -> None:
        AdAccount.objects.update(paused_at=timezone.now())
        self.assertContains(self.ask(Action.RETRY, self.fitting(Action.RETRY)), "Forwarding is paused: it waits")

    def test_what_cannot_be_done_says_why_and_offers_nothing(self) -> None:
        page = self.ask(Action.RETRY, self.deliver(Status.FAILED, error_code=5604), **HTMX)
        self.assertContains(page, "It would fail again: click ID is not valid.")
        self.assertNotContains(page, 'type="submit"')

    def test_markup_in_an_order_number_stays_text(self) -> None:
        evil = self.deliver(transaction_id="<script>alert(1)</script>")
        for headers in ({}, HTMX):
            self.assertNotContains(self.ask(Action.RETRACT, evil, **headers), "<script>alert")


class TestDoing(ActionsTestCase):
    def triggers(self, answer: Any) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(answer.headers["HX-Trigger"])
        return told

    def test_the_answer_is_the_row_with_its_story_a_toast_and_a_closed_dialog(self) -> None:
        delivery = self.deliver(Status.FAILED, error_code=5606, transaction_id="HP-48374")
        with self.settings(CLICK_SETTLE_SECONDS=0):
            answer = self.do(Action.RETRY, delivery)
        self.assertContains(answer, f'<tr id="row-{delivery.public_id}" class="rowlink open"')
        self.assertContains(answer, f'id="detail-{delivery.public_id}" hx-swap-oob="innerHTML"')
        self.assertContains(answer, "st-pending")
        told = self.triggers(answer)
        self.assertEqual(told["toast"]["text"], "HP-48374 goes out with the next batch.")
        self.assertIn("closeModal", told)

    def test_a_toast_says_when_it_goes_out_or_what_it_waits_for(self) -> None:
        ready = timezone.now().replace(microsecond=0) + timedelta(minutes=59)
        fresh = self.deliver(Status.FAILED, error_code=5606, at=ready - timedelta(hours=1))
        toast = self.triggers(self.do(Action.RETRY, fresh))["toast"]
        self.assertTrue(toast["text"].endswith(f"goes out at {ready:%H:%M:%S}."), toast)
        AdAccount.objects.update(paused_at=timezone.now())
        toast = self.triggers(self.do(Action.RETRY, self.fitting(Action.RETRY)))["toast"]
        self.assertTrue(toast["text"].endswith("waits: forwarding is paused."), toast)

    def test_the_tabs_follow_for_the_list_that_is_open(self) -> None:
        delivery = self.deliver(Status.FAILED, error_code=5606)
        current = {"HX-Current-URL": "http://testserver/x/?status=failed&goal=Purchase"}
        answer = self.client.post(f"{self.act_url(Action.RETRY, delivery)}?row=1", headers=HTMX | current)
        self.assertContains(answer, "?status=pending&amp;goal=Purchase")
        self.assertContains(answer, 'Pending <span class="count ">1</span>')
        answer = self.client.post(
            f"{self.act_url(Action.HOLD, delivery)}?row=1", headers=HTMX | {"HX-Current-URL": "//["}
        )
        self.assertEqual(answer.status_code, 200)

    def test_without_scripts_it_ends_on_the_deliverys_page(self) -> None:
        delivery = self.deliver(Status.PENDING, transaction_id="HP-1")
        page = self.do_without_scripts(Action.HOLD, delivery)
        self.assertEqual(page.redirect_chain[-1][0], self.url("account-delivery", delivery.public_id))
        self.assertContains(page, "HP-1 is not sent until somebody releases it.")
        self.assertContains(page, "Held by a person")

    def test_cancelling_leaves_the_row_not_forwarded(self) -> None:
        delivery = self.deliver(Status.PENDING)
        self.do(Action.CANCEL, delivery)
        delivery.refresh_from_db()
        self.assertEqual((delivery.status, delivery.skip_reason), (Status.SKIPPED, Skip.CALLED_OFF))

    def test_a_new_value_is_queued_and_shown(self) -> None:
        delivery = self.deliver(transaction_id="HP-48211")
        answer = self.do(Action.RESTATE, delivery, value="19.90")
        self.assertContains(answer, "Restating…")
        self.assertContains(answer, "New total of $19.90")
        self.assertEqual(self.triggers(answer)["toast"]["text"], "HP-48211 changes from $49.90 to $19.90.")
        self.assertEqual(Delivery.objects.get(kind=Kind.RESTATE).value, Decimal("19.90"))

    def test_nonsense_for_a_value_is_asked_again_in_its_place(self) -> None:
        delivery = self.deliver()
        for nonsense in ("", "abc", "-1", "1.2345", "1e99", "1e9", "1_000", "1000000000000", "NaN"):
            with self.subTest(nonsense):
                answer = self.do(Action.RESTATE, delivery, value=nonsense)
                self.assertEqual((answer.status_code, answer.headers["HX-Retarget"]), (422, "#question"))
                self.assertContains(answer, 'aria-invalid="true"', status_code=422)
        self.assertFalse(Delivery.objects.filter(kind=Kind.RESTATE).exists())

    def test_a_retraction_wants_the_order_typed(self) -> None:
        delivery = self.deliver(transaction_id="HP-48198")
        page = self.do_without_scripts(Action.RETRACT, delivery, name="HP-48199")
        self.assertContains(page, "Type HP-48198 exactly as it is written here.", status_code=422)
        self.assertFalse(Delivery.objects.filter(kind=Kind.RETRACT).exists())
        answer = self.do(Action.RETRACT, delivery, name=" HP-48198 ")
        self.assertContains(answer, "Retracting…")

    def test_whoever_is_late_changes_nothing_and_reads_why(self) -> None:
        delivery = self.fitting(Action.RETRY)
        Delivery.objects.filter(pk=delivery.pk).update(status=Status.DELIVERED, error_code=None)
        toast = self.triggers(self.do(Action.RETRY, delivery))["toast"]
        self.assertEqual((toast["kind"], toast["text"]), ("info", "It cannot be retried: delivered already."))
        self.assertFalse(AuditEntry.objects.exists())

    def test_a_second_click_retracts_nothing_twice(self) -> None:
        delivery = self.deliver()
        self.do(Action.RETRACT, delivery, **self.said(delivery))
        toast = self.triggers(self.do(Action.RETRACT, delivery, **self.said(delivery)))["toast"]
        self.assertEqual(toast["text"], "It cannot be retracted: retracted already.")
        self.assertEqual(Delivery.objects.filter(kind=Kind.RETRACT).count(), 1)

    def test_a_correction_that_waits_is_stopped_from_its_conversion(self) -> None:
        original = self.deliver(transaction_id="HP-1")
        self.do(Action.RETRACT, original, name="HP-1")
        correction = Delivery.objects.get(kind=Kind.RETRACT)
        page = self.client.get(self.url("account-delivery-detail", original.public_id))
        self.assertContains(page, "Cancel the retraction")
        self.assertContains(self.ask(Action.CANCEL, correction), "Cancel the retraction of HP-1?")
        answer = self.do(Action.CANCEL, correction)
        self.assertContains(answer, f'id="row-{original.public_id}"')
        self.assertNotContains(answer, "Retracting…")


class TestButtons(ActionsTestCase):
    def labels(self, delivery: Delivery) -> list[str]:
        context = self.client.get(self.url("account-delivery-detail", delivery.public_id)).context
        return [button.label for button in context["buttons"]]

    def test_only_what_can_be_done_is_offered(self) -> None:
        offered = {
            self.deliver(): ["Restate value", "Retract"],
            self.deliver(Status.FAILED, error_code=5606): ["Retry now"],
            self.deliver(Status.FAILED, error_code=5604): [],
            self.deliver(Status.PENDING): ["Hold", "Restate value", "Cancel"],
            self.deliver(Status.PENDING, hold_reason=Hold.BY_HAND): ["Release", "Restate value", "Cancel"],
            self.deliver(Status.SKIPPED, skip_reason=Skip.NO_CONSENT): [],
            self.deliver(retracted_at=timezone.now()): [],
        }
        for delivery, labels in offered.items():
            with self.subTest(status=delivery.status, hold=delivery.hold_reason):
                self.assertEqual(self.labels(delivery), labels)

    def test_in_the_list_they_answer_with_the_row_and_on_the_page_with_the_page(self) -> None:
        delivery = self.deliver(Status.PENDING)
        address = f"{self.act_url(Action.HOLD, delivery)}"
        detail = self.client.get(self.url("account-delivery-detail", delivery.public_id))
        self.assertContains(detail, f'hx-get="{address}?row=1"')
        self.assertContains(self.client.get(self.url("account-delivery", delivery.public_id)), f'hx-get="{address}"')
        dialog = self.client.get(f"{address}?row=1", headers=HTMX)
        self.assertContains(dialog, f'hx-target="#row-{delivery.public_id}"')
        self.assertNotContains(self.client.get(address, headers=HTMX), "hx-post")


class TestStory(ActionsTestCase):
    def test_a_new_total_before_sending_leaves_the_events_value_on_the_page(self) -> None:
        waiting = self.deliver(Status.PENDING)
        self.assertNotContains(self.client.get(self.url("account-delivery", waiting.public_id)), "The event’s value")
        self.do(Action.RESTATE, waiting, value="0")
        page = self.client.get(self.url("account-delivery", waiting.public_id))
        self.assertContains(page, "<dt>The event’s value</dt><dd>$49.90 USD</dd><dt>Value</dt><dd>$0.00 USD</dd>")

    def test_corrections_are_told_in_sequence_with_who_and_what_came_of_it(self) -> None:
        original = self.deliver(transaction_id="HP-1")
        self.do(Action.RESTATE, original, value="30")
        first = Delivery.objects.get(kind=Kind.RESTATE)
        Delivery.objects.filter(pk=first.pk).update(status=Status.DELIVERED, delivered_at=timezone.now())
        self.do(Action.RESTATE, original, value="20")
        *steps, last = self.client.get(self.url("account-delivery-detail", original.public_id)).context["timeline"]
        self.assertEqual(last.what, "Attribution not reported yet")
        told = [step.what for step in steps][-4:]
        self.assertEqual(
            told,
            [
                "New total of $30.00",
                "Restated to $30.00, accepted",
                "New total of $20.00",
                "Restatement to $20.00 goes out",
            ],
        )
        self.assertEqual(steps[-1].is_next, True)
        self.assertEqual(steps[-2].facts, "by Alice")

    def test_one_that_failed_says_why(self) -> None:
        original = self.deliver()
        self.do(Action.RETRACT, original, **self.said(original))
        Delivery.objects.filter(kind=Kind.RETRACT).update(status=Status.FAILED, error_code=5627, next_attempt_at=None)
        page = self.client.get(self.url("account-delivery-detail", original.public_id))
        self.assertContains(page, "Retract failed")
        self.assertContains(page, "Adjustment refused")
