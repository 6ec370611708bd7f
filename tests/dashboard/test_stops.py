"""Microsoft refuses whole calls for an account's or a sign-in's sake: every page and mail says why, and the same."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.core import mail
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django.utils.html import escape

from forwarding.alerts.alerts import attend
from forwarding.alerts.causes import HELD_FOR
from forwarding.errors import Words, words_for
from forwarding.models import Alert, Attempt, Breaker, DailyCount, Delivery, Hold, Status, Upload
from forwarding.rows.counts import rebuild
from integrations.models import AdAccount
from tests.dashboard.test_why_not import WhyNotTestCase
from tests.road.road import purchase

APPLY, ADJUST = "OfflineConversions/Apply", "OfflineConversionAdjustments/Apply"
PERMISSION: dict[str, Any] = {"fault": "fault_code", "code": 106, "error_code": "UserIsNotAuthorized", "status": 400}
CREDENTIALS: dict[str, Any] = {"fault": "fault_code", "code": 105, "error_code": "InvalidCredentials", "status": 401}
VERSION: dict[str, Any] = {"fault": "fault_code", "code": 204, "error_code": "OperationNotSupported", "status": 400}
THROTTLE: dict[str, Any] = {"fault": "fault_code", "code": 117, "error_code": "CallRateExceeded", "status": 429}
NOT_ENABLED: dict[str, Any] = {
    "fault": "partial_error", "indexes": [0], "code": 5613, "error_code": "OfflineConversionPilotNotEnabledForCustomer",
}  # fmt: skip


class StopTestCase(WhyNotTestCase):
    def refuse(self, fault: dict[str, Any], operation: str = APPLY, times: int = 1) -> None:
        given = dict(fault)
        # A token that is refused is renewed, and the call made again.
        calls = 2 * times if given["code"] == 105 else times
        self.microsoft.fault(operation, given.pop("fault"), times=calls, **given)

    def refused(self, fault: dict[str, Any], **changes: Any) -> Delivery:
        self.refuse(fault)
        return self.send(**changes)

    def ask_again(self) -> None:
        AdAccount.objects.update(held_until=timezone.now())
        self.go()

    def page(self, name: str, *args: object, **query: str) -> str:
        return self.client.get(self.url(name, *args), query).content.decode()

    def cost_of(self, what: Callable[..., object], *arguments: object) -> int:
        with CaptureQueriesContext(connection) as captured:
            what(*arguments)
        return len(captured)

    def said(self, fault: dict[str, Any]) -> Words:
        return words_for(fault["code"], fault["error_code"])


class TestWhatMicrosoftSaid(StopTestCase):
    def test_a_conversion_tells_the_call_the_code_and_the_tracking_id_and_keeps_its_turn(self) -> None:
        for fault in (PERMISSION, CREDENTIALS, VERSION, NOT_ENABLED, THROTTLE):
            with self.subTest(fault["code"]):
                AdAccount.objects.update(hold_reason="", held_until=None)
                Delivery.objects.all().delete()
                row = self.refused(fault)
                upload = Upload.objects.latest("pk")
                self.assertTrue(upload.tracking_id)
                self.assertEqual((row.status, row.attempts, row.hold_reason), (Status.PENDING, 0, ""))
                self.assertEqual((row.last_upload_id, row.error_code), (upload.pk, fault["code"]))
                assert row.next_attempt_at is not None
                self.assertLessEqual(row.next_attempt_at, upload.started_at)
                page = self.page("account-delivery", row.public_id)
                self.assertNotIn("Microsoft has not been asked", page)
                self.assertNotIn("not sent yet", page)
                for text in ("Attempt 1 not taken", f"code {fault['code']}", self.said(fault).title):
                    self.assertIn(escape(text), page)
                # In the answer's card and in the text for support.
                self.assertGreater(page.count(upload.tracking_id), 1)

    def test_forward_logs_find_it_by_its_code_and_by_its_tracking_id(self) -> None:
        row = self.refused(PERMISSION)
        link = self.url("account-delivery", row.public_id)
        self.assertIn(link, self.page("account-logs", error="106", period="all"))
        self.assertNotIn(link, self.page("account-logs", error="105", period="all"))
        self.assertIn(link, self.page("account-logs", q=Upload.objects.get().tracking_id))

    def test_what_is_delivered_afterwards_has_no_error_left(self) -> None:
        row = self.refused(PERMISSION)
        self.ask_again()
        row.refresh_from_db()
        self.assertEqual((row.status, row.attempts, row.error_code, row.error_symbol), (Status.DELIVERED, 1, None, ""))
        page = self.page("account-delivery", row.public_id)
        self.assertIn("Attempt 1 not taken", page)
        self.assertIn("Accepted by Microsoft", page)
        self.assertEqual(len(self.microsoft.bookings), 1)

    def test_a_hold_that_lasts_keeps_the_first_and_the_newest_answer(self) -> None:
        self.refuse(PERMISSION, times=5)
        row = self.send()
        for _ in range(4):
            self.ask_again()
        first, *_, newest = Upload.objects.order_by("pk")
        self.assertEqual(Upload.objects.count(), 5)
        kept = Attempt.objects.filter(delivery=row).order_by("pk").values_list("upload", flat=True)
        self.assertEqual([*kept], [first.pk, newest.pk])
        self.ask_again()
        row.refresh_from_db()
        self.assertEqual((row.status, row.attempts), (Status.DELIVERED, 1))

    def test_rows_that_were_refused_together_cost_no_statement_each(self) -> None:
        costs = []
        for rows in (3, 30):
            AdAccount.objects.update(hold_reason="", held_until=None)
            Delivery.objects.all().delete()
            self.post(*(purchase() for _ in range(rows)))
            for _ in range(3):
                self.refuse(PERMISSION)
                AdAccount.objects.update(held_until=None)
                costs.append(self.cost_of(self.go))
            self.assertEqual(Attempt.objects.count(), 2 * rows)
        self.assertEqual(costs[1:3], costs[4:])

    def test_the_figures_are_those_of_what_waits(self) -> None:
        self.refused(PERMISSION)
        counted = [*DailyCount.objects.exclude(count=0).values_list("status", "error", "count")]
        self.assertEqual(counted, [(Status.PENDING, "", 1)])
        rebuild(timezone.now())
        self.assertEqual([*DailyCount.objects.exclude(count=0).values_list("status", "error", "count")], counted)

    def test_a_correction_says_it_too(self) -> None:
        self.map("refund", "Purchase")
        delivery = self.send(transaction_id="HP-1")
        self.refuse(PERMISSION, ADJUST)
        self.post(purchase(name="refund", transaction_id="HP-1", msclkid=None, value="49.90"))
        self.go()
        [row] = delivery.adjustments.exclude(pk=delivery.pk)
        self.assertEqual((row.status, row.attempts, row.error_code), (Status.PENDING, 0, 106))
        self.assertEqual(Attempt.objects.get().upload_id, row.last_upload_id)

    def test_once_the_account_is_free_it_waits_for_what_it_waits_for(self) -> None:
        row = self.refused(PERMISSION)
        AdAccount.objects.update(hold_reason="", held_until=None)
        self.assertIn("Goes out with the next batch", self.page("account-delivery", row.public_id))
        Delivery.objects.update(hold_reason=Hold.GOAL_MISSING, next_attempt_at=timezone.now() + timedelta(days=80))
        page = self.page("account-logs")
        self.assertIn("Goal not found", page)
        self.assertNotIn("No permission", page)

    def test_what_was_said_of_the_account_is_no_repeat_when_it_is_said_of_the_row(self) -> None:
        row = self.refused(VERSION)
        other = {"fault": "partial_error", "indexes": [0], "code": 204, "error_code": "OperationNotSupported"}
        self.refuse(other)
        self.ask_again()
        row.refresh_from_db()
        self.assertEqual((row.status, row.hold_reason, row.attempts), (Status.RETRYING, "", 1))


@override_settings(ALERT_EMAILS=["ops@convultra.example"])
class TestOneDiagnosis(StopTestCase):
    def mailed(self) -> str:
        mail.outbox.clear()
        Alert.objects.all().delete()
        at = timezone.now()
        for moment in (at, at + HELD_FOR):
            attend(moment)
        [found] = [message for message in mail.outbox if message.to == [self.alice.email]]
        return f"{found.subject}\n{found.body}"

    def pages(self, row: Delivery) -> dict[str, str]:
        urls = {
            "overview": self.site_url("overview"),
            "integrations": self.site_url("integrations"),
            "account": self.url("account-overview"),
            "conversion": self.url("account-delivery", row.public_id),
            "event": reverse("dashboard:event", args=[self.site.public_id, row.event.event_id]),
            "reconciliation": f"{self.site_url('reconciliation')}?account={self.account.account_id}",
        }
        return {name: self.client.get(url).content.decode() for name, url in urls.items()}

    def assert_told(self, row: Delivery, words: Words) -> None:
        for name, page in self.pages(row).items():
            with self.subTest(name):
                self.assertIn(escape(words.title), page)
                if name != "reconciliation":  # which has a line a reason
                    self.assertIn(escape(words.fix), page)
        with self.subTest("sites"):
            page = self.client.get("/sites/").content.decode()
            self.assertIn(escape(f"{self.account.name}: {words.title}"), page)
            self.assertIn(escape(words.fix), page)
            self.assertEqual("Open integrations" in page, words.page == "integrations")
        with self.subTest("mail"):
            text = self.mailed()
            self.assertIn(words.title, text)
            self.assertIn(words.fix, text)

    def test_each_code_is_told_alike_everywhere(self) -> None:
        for fault in (PERMISSION, CREDENTIALS, NOT_ENABLED, VERSION):
            with self.subTest(fault["code"]):
                AdAccount.objects.update(hold_reason="", held_until=None)
                Delivery.objects.all().delete()
                self.assert_told(self.refused(fault), self.said(fault))

    def test_an_account_that_is_not_active_is_not_called_not_enabled(self) -> None:
        inactive = {**PERMISSION, "code": 1008, "error_code": "CampaignServiceInvalidAccountStatus"}
        self.refused(NOT_ENABLED)
        AdAccount.objects.update(hold_reason="", held_until=None)
        self.assert_told(self.refused(inactive), self.said(inactive))

    def test_a_conversion_that_came_later_waits_for_the_same(self) -> None:
        self.refused(NOT_ENABLED)
        later = self.send()
        self.assertIsNone(later.error_code)
        self.assertIn(self.said(NOT_ENABLED).fix, self.page("account-delivery", later.public_id))

    def test_a_conversion_that_was_refused_beside_others_waits_in_the_same_words(self) -> None:
        self.refuse(NOT_ENABLED)
        self.post(purchase(), purchase())
        self.go()
        self.assertEqual(Delivery.objects.get(status=Status.PENDING).hold_reason, Hold.ACCOUNT_INACTIVE)
        self.assertIn(f"<td>{self.said(NOT_ENABLED).title}</td>", self.page("account-overview"))

    def test_integrations_are_not_green_and_offer_to_reconnect(self) -> None:
        for fault in (PERMISSION, CREDENTIALS):
            with self.subTest(fault["code"]):
                AdAccount.objects.update(hold_reason="", held_until=None)
                self.refused(fault)
                page = self.client.get(self.site_url("integrations")).content.decode()
                self.assertNotIn("</svg>Connected</span>", page)
                self.assertIn("Reconnect</button>", page)
                self.assertIn(self.site_url("integrations"), self.mailed())

    def test_a_token_that_is_refused_for_everybody_is_the_operators_matter(self) -> None:
        row = self.refused(CREDENTIALS)
        Breaker.objects.update(failures=3, open_until=timezone.now() + timedelta(minutes=1))
        page = self.pages(row)["overview"]
        self.assertIn(escape("Convultra's own set-up is wrong"), page)
        self.assertIn("Ask the operator of this Convultra", page)
        self.assertNotIn("did not accept our access", page)

    def test_many_that_wait_in_a_held_account_cost_no_query_each(self) -> None:
        self.refused(NOT_ENABLED)
        self.send()
        urls = self.site_url("overview"), self.site_url("events"), self.url("account-logs")
        costs = [self.cost_of(self.client.get, url) for url in (*urls, *urls)]
        self.post(*(purchase() for _ in range(4)))
        self.go()
        self.assertEqual([self.cost_of(self.client.get, url) for url in urls], costs[len(urls) :])


class TestWhyConversionsFail(StopTestCase):
    def refuse_rows(self, code: int, symbol: str, count: int) -> None:
        given = {"fault": "partial_error", "indexes": [*range(count)], "code": code, "error_code": symbol}
        self.refuse(given)
        self.post(*(purchase() for _ in range(count + 1)))
        self.go()

    def test_the_account_names_the_causes_and_leads_to_each(self) -> None:
        self.refuse_rows(5604, "OfflineConversionMSClickIdInvalid", 2)
        self.refuse_rows(5609, "OfflineConversionTimeOutOfWindow", 1)
        page = self.page("account-overview")
        self.assertIn("3 of 5 conversions of 7 days failed", page)
        self.assertNotIn("gone or paused", page)
        self.assertNotIn("Open goal mapping", page)
        causes = ("5604", "Click ID is not valid (2)"), ("5609", "Older than 90 days (1)")
        places = []
        for code, text in causes:
            href = escape(f"{self.url('account-logs')}?status=failed&period=7&error={code}")
            self.assertInHTML(f'<a class="link" href="{href}">{text}</a>', page)
            places.append(page.index(text))
        self.assertEqual(places, sorted(places))

    def test_a_goal_that_is_gone_leads_to_the_mapping(self) -> None:
        self.account.goals.filter(name="Purchase").update(gone_at=timezone.now())
        page = self.page("account-overview")
        self.assertIn("gone or paused", page)
        self.assertIn("Open goal mapping", page)
