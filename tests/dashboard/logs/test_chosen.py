"""What people do to the conversions that they chose: the forecast, who may, what is done and what the list shows."""

import json
from typing import Any
from unittest import mock

from dashboard.logs import chosen
from forwarding.hands.rules import Action
from forwarding.models import Delivery, Hold, Kind, Status
from ingest.models import AuditEntry, Membership, Role
from tests.cast import make_account
from tests.dashboard.accounts import AccountTestCase

HTMX = {"HX-Request": "true"}


class ChosenTestCase(AccountTestCase):
    def setUp(self) -> None:
        self.client.force_login(self.alice)

    def address(self, action: Action, *rows: Delivery, query: str = "") -> str:
        names = "".join(f"&one={row.public_id.hex}" for row in rows)
        return f"{self.url(f'account-logs-chosen-{action}')}?{query}{names}"

    def ask(self, action: Action, *rows: Delivery) -> Any:
        return self.client.get(self.address(action, *rows), headers=HTMX)

    def do(self, action: Action, *rows: Delivery, **fields: str) -> Any:
        """Confirm in the dialog."""
        return self.client.post(self.address(action, *rows), fields, headers=HTMX)

    def toast(self, answer: Any) -> dict[str, str]:
        told: dict[str, str] = json.loads(answer.headers["HX-Trigger"])["toast"]
        return told


class TestAsking(ChosenTestCase):
    def test_the_forecast_is_of_the_chosen_rows_and_changes_nothing(self) -> None:
        good, bad = (self.deliver(Status.FAILED, error_code=code) for code in (5606, 5604))
        self.deliver(Status.FAILED, error_code=5606)
        page = self.ask(Action.RETRY, good, bad)
        for words in ("Retry 2 selected conversions?", "1 can succeed", "1 will fail again", "Retry the 1 that can"):
            self.assertContains(page, words)
        self.assertFalse(Delivery.objects.filter(status=Status.PENDING).exists())

    def test_nothing_chosen_asks_for_something(self) -> None:
        page = self.ask(Action.HOLD)
        self.assertContains(page, "nothing is selected")
        self.assertNotContains(page, 'type="submit"')

    def test_nonsense_and_other_accounts_rows_are_as_if_not_chosen(self) -> None:
        other = self.deliver(Status.PENDING)
        Delivery.objects.filter(pk=other.pk).update(account=make_account(self.site, "138204422"))
        page = self.client.get(f"{self.address(Action.HOLD, other)}&one=x&one=%00&one=", headers=HTMX)
        self.assertContains(page, "nothing is selected")

    def test_more_than_an_address_carries_are_counted_and_left(self) -> None:
        rows = [self.deliver(Status.PENDING) for _ in range(3)]
        with mock.patch.object(chosen, "MOST_CHOSEN", 2):
            self.assertContains(self.ask(Action.HOLD, *rows), "No more than 2 are taken at once: 1 of those")
            self.do(Action.HOLD, *rows)
        self.assertEqual(Delivery.objects.filter(hold_reason=Hold.BY_HAND).count(), 2)

    def test_a_retraction_wants_the_accounts_name_typed(self) -> None:
        row = self.deliver()
        self.assertEqual(self.do(Action.RETRACT, row, name="HP").status_code, 422)
        self.assertFalse(Delivery.objects.filter(kind=Kind.RETRACT).exists())
        self.do(Action.RETRACT, row, name=self.account.name)
        self.assertTrue(Delivery.objects.filter(kind=Kind.RETRACT, original=row).exists())


class TestDoing(ChosenTestCase):
    def test_it_is_done_to_the_chosen_rows_alone_and_audited(self) -> None:
        wanted, other = self.deliver(Status.PENDING), self.deliver(Status.PENDING)
        answer = self.do(Action.HOLD, wanted)
        self.assertEqual([*Delivery.objects.filter(hold_reason=Hold.BY_HAND)], [wanted])
        self.assertEqual(self.toast(answer)["title"], "1 held")
        entry = AuditEntry.objects.get()
        self.assertEqual((entry.action, entry.details["scope"]), ("delivery.hold", "chosen in Forward Logs"))
        self.assertNotContains(answer, f"row-{other.public_id}")

    def test_the_answer_draws_the_rows_where_they_stand_and_lets_them_go(self) -> None:
        rows = [self.deliver(Status.PENDING), self.deliver()]
        answer = self.do(Action.HOLD, *rows)
        for row in rows:
            self.assertContains(answer, f'id="row-{row.public_id}" class="rowlink" hx-swap-oob="true"')
        told = json.loads(answer.headers["HX-Trigger"])
        self.assertTrue({"closeModal", "unchoose"} <= set(told))
        self.assertEqual(told["toast"]["text"], "1 held, 1 left as it was: delivered already.")

    def test_a_second_click_does_nothing_twice(self) -> None:
        row = self.deliver()
        for _ in range(2):
            answer = self.do(Action.RETRACT, row, name=self.account.name)
        self.assertEqual(Delivery.objects.filter(kind=Kind.RETRACT).count(), 1)
        self.assertEqual(self.toast(answer)["title"], "Nothing was changed")

    def test_without_scripts_it_asks_on_a_page_and_leads_back_to_the_filter(self) -> None:
        row = self.deliver(Status.PENDING)
        page = self.client.get(self.address(Action.HOLD, row, query="status=pending"))
        self.assertContains(page, "<html")
        self.assertContains(page, f"one={row.public_id.hex}")
        back = self.client.post(self.address(Action.HOLD, row, query="status=pending"), follow=True)
        self.assertEqual(back.redirect_chain[-1][0], f"{self.url('account-logs')}?status=pending")
        self.assertContains(back, "They are not sent until somebody releases them.")


class TestDoors(ChosenTestCase):
    def test_a_developer_stops_no_correction(self) -> None:
        row = self.deliver(Status.PENDING)
        loose = self.deliver(Status.PENDING, kind=Kind.RETRACT, hold_reason=Hold.ORIGINAL_PENDING)
        Membership.objects.filter(user=self.bob).update(role=Role.DEVELOPER)
        self.client.force_login(self.bob)
        self.assertEqual(self.ask(Action.CANCEL, row).status_code, 200)
        self.assertEqual(self.ask(Action.CANCEL, row, loose).status_code, 403)
        self.assertEqual(self.do(Action.CANCEL, loose).status_code, 403)

    def test_a_viewer_sees_what_a_role_is_needed_for(self) -> None:
        self.deliver()
        Membership.objects.filter(user=self.bob).update(role=Role.VIEWER)
        self.client.force_login(self.bob)
        page = self.client.get(self.url("account-logs"))
        self.assertContains(page, 'aria-describedby="chosen-needs"', count=len(Action))


class TestList(ChosenTestCase):
    def test_each_row_and_the_page_can_be_chosen_and_the_filter_goes_along(self) -> None:
        row = self.deliver(Status.PENDING, transaction_id="HP-48211")
        page = self.client.get(self.url("account-logs") + "?status=pending")
        box = f'name="one" value="{row.public_id}" form="chosen" autocomplete="off" aria-label="Select HP-48211"'
        self.assertContains(page, box)
        self.assertContains(page, 'id="choose-page"')
        self.assertContains(page, '<input type="hidden" name="status" value="pending">')

    def test_all_that_match_can_be_chosen_where_the_page_shows_some_of_them(self) -> None:
        for _ in range(3):
            self.deliver(Status.PENDING)
        address = self.url("account-logs") + "?status=pending"
        self.assertNotContains(self.client.get(address), "data-choose-page")
        with mock.patch("dashboard.logs.listing.PAGE_ROWS", 2):
            page = self.client.get(address)
            unfiltered = self.client.get(self.url("account-logs"))
        self.assertContains(page, "<span>All 3 that match</span>")
        self.assertContains(page, "data-choose-page hidden>Select only the 2 on this page")
        self.assertContains(unfiltered, "filter the list to act on all that match")
        self.assertNotContains(unfiltered, "data-choose-page")

    def test_a_list_offers_what_its_rows_can_have_done(self) -> None:
        for status in (Status.FAILED, Status.PENDING, Status.DELIVERED, Status.SKIPPED):
            self.deliver(status)
        for query, offered in {
            "": set(Action.values),
            "?status=failed": {"retry"},
            "?status=pending": {"hold", "release", "cancel"},
            "?status=delivered": {"restate", "retract"},
            "?status=skipped": set(),
        }.items():
            page = self.client.get(self.url("account-logs") + query).content.decode()
            doors = {action.value for action in Action if self.url(f"account-logs-chosen-{action}") in page}
            with self.subTest(query):
                self.assertEqual(doors, offered)
