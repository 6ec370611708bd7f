"""One conversion on one page: from consent to what Microsoft attributed, and what support is told."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.urls import reverse
from django.utils import timezone

from dashboard import wording
from dashboard.logs.by_whom import deeds
from dashboard.logs.support import LEFT_OUT
from forwarding.filters import WITHOUT_ORDER
from forwarding.hands.actions import apply
from forwarding.hands.rules import Action
from forwarding.models import Attempt, Attribution, Delivery, Skip, Status, Upload
from ingest.models import Consent, ConsentPolicy, Membership, Role, Site
from integrations.account_settings import pause
from integrations.models import AdAccount
from tests.cast import make_account, store_event
from tests.dashboard.accounts import AccountTestCase, parked_refund

TRACKING = "6f0c1c9e-7d3e-4c58-9d51-0a4b1c2da41e"


class StoryTestCase(AccountTestCase):
    def setUp(self) -> None:
        self.client.force_login(self.alice)

    def page(self, delivery: Delivery) -> Any:
        return self.client.get(self.url("account-delivery", delivery.public_id))

    def steps(self, delivery: Delivery) -> dict[str, Any]:
        return {step.what: step for step in self.page(delivery).context["timeline"]}


class TestTimeline(StoryTestCase):
    def test_consent_is_told_as_it_was_said(self) -> None:
        for consent, what in ((Consent.GRANTED, "Ad consent given"), (Consent.UNKNOWN, "No word on ad consent")):
            event = store_event(self.site, consent=consent)
            self.assertIn(what, self.steps(self.deliver(event=event)))
        event = store_event(self.site, consent=Consent.DENIED)
        refused = self.deliver(Status.SKIPPED, event=event, skip_reason=Skip.NO_CONSENT)
        self.assertIn("Ad consent refused", self.steps(refused))

    def test_without_a_word_the_sites_policy_is_named(self) -> None:
        Site.objects.update(consent_policy=ConsentPolicy.REQUIRE)
        self.assertIn("counts that as refused", self.steps(self.deliver())["No word on ad consent"].text)

    def test_the_goal_and_the_wait_before_the_first_call_are_told(self) -> None:
        at = timezone.now() - timedelta(hours=3)
        upload = Upload.objects.create(
            account=self.account, operation="conversions", delivery_ids=[], started_at=at + timedelta(hours=1),
            leased_until=at, finished_at=at, tracking_id=TRACKING,
        )  # fmt: skip
        steps = self.steps(self.deliver(at=at, clicked_at=at - timedelta(minutes=1), last_upload=upload))
        order = list(steps)
        self.assertLess(order.index("Mapped to “Purchase”"), order.index("Waited 1 h"))
        self.assertLess(order.index("Waited 1 h"), order.index("Accepted by Microsoft"))
        self.assertIn("right after their click", steps["Waited 1 h"].text)

    def test_attribution_is_told_of_the_goal_and_day_and_not_of_the_conversion(self) -> None:
        at = datetime(2026, 11, 1, 12, tzinfo=UTC)
        row = self.deliver(at=at)
        Attribution.objects.create(
            account=self.account, goal_id=self.goal.goal_id, goal_name="Purchase", day=at.date(), success=40,
            unattributed=2, reasons={"NoMatchingClickFound": 2}, read_at=timezone.now(),
        )  # fmt: skip
        text = self.steps(row)["Attribution reported"].text
        for words in ("per goal and day, not per conversion", "of 42", "attributed 40", "No matching click found (2)"):
            self.assertIn(words, text)

    def test_a_day_that_the_report_never_named_is_told(self) -> None:
        row = self.deliver(at=timezone.now() - timedelta(days=5))
        self.assertIn("could not be read yet", self.steps(row)["Attribution not reported"].text)
        AdAccount.objects.update(report_read_at=timezone.now())
        self.assertIn("nobody knows", self.steps(row)["Attribution not reported"].text)

    def test_what_ran_out_of_days_says_so_also_after_attempts(self) -> None:
        for attempts in (0, 3):
            row = self.deliver(Status.FAILED, error_symbol="Expired", attempts=attempts)
            for number in range(attempts):
                at = timezone.now() - timedelta(hours=number)
                upload = Upload.objects.create(
                    account=self.account, operation="conversions", delivery_ids=[], started_at=at, leased_until=at,
                    finished_at=at,
                )  # fmt: skip
                Attempt.objects.create(delivery=row, upload=upload, outcome="retry", created_at=at)
            self.assertEqual(self.steps(row)["Stopped"].text, "90 days ran out")

    def test_what_was_not_delivered_has_no_attribution(self) -> None:
        self.assertFalse([what for what in self.steps(self.deliver(Status.PENDING)) if "ttribution" in what])

    def test_an_event_of_any_name_is_linked_or_named(self) -> None:
        for event_id in ("a/b?c#d", "x\ny", "<script>alert(1)</script>", "é" * 100):
            event = store_event(self.site, event_id=event_id)
            page = self.page(self.deliver(event=event))
            self.assertEqual(page.status_code, 200)
            self.assertNotContains(page, "<script>alert")


class TestByWhom(StoryTestCase):
    """What people did is told with their name, the time, and what undoes it."""

    def act(self, action: Action, *rows: Delivery) -> datetime:
        now = timezone.now()
        apply(action, Delivery.objects.filter(pk__in=[row.pk for row in rows]), self.alice, now)
        return now

    def on(self, moment: datetime) -> str:
        return wording.sentence(moment, ZoneInfo(self.site.time_zone), timezone.now())

    def test_a_held_one_names_who_holds_it_since_when_and_what_lets_it_go(self) -> None:
        row = self.deliver(Status.PENDING)
        held = self.act(Action.HOLD, row)
        page = self.page(row)
        self.assertContains(page, f"Alice held this conversion back on {self.on(held)}.")
        self.assertContains(page, "Release it when it may go out.")
        self.assertEqual(self.steps(row)["Held by hand"].facts, "by Alice")

    def test_a_click_id_that_is_not_valid_is_no_dead_end(self) -> None:
        row = self.deliver(Status.FAILED, error_code=5604, error_symbol="OfflineConversionMicrosoftClickIdInvalid")
        page = self.page(row)
        self.assertContains(
            page, f"Report order {row.transaction_id} again with another click ID, under a new event ID"
        )
        last_day = wording.day(row.expires_at, ZoneInfo(self.site.time_zone), timezone.now()) if row.expires_at else ""
        self.assertContains(page, f"That works until {last_day}.")
        imports = reverse("dashboard:imports", args=[self.site.public_id])
        self.assertContains(page, f'<a class="btn btn-primary btn-sm" href="{imports}">Import another click ID</a>')
        self.assertNotIn("final", self.steps(row)["Stopped"].text)

    def test_who_may_not_import_gets_no_button_for_it(self) -> None:
        Membership.objects.filter(user=self.alice).update(role=Role.VIEWER)
        self.assertNotContains(self.page(self.deliver(Status.FAILED, error_code=5604)), "Import another click ID")

    def test_of_many_that_were_held_at_once_each_names_who_did_it(self) -> None:
        rows = [self.deliver(Status.PENDING) for _ in range(2)]
        self.act(Action.HOLD, *rows)
        for row in rows:
            self.assertContains(self.page(row), "Alice held this conversion back on")

    def test_what_was_done_since_stays_told(self) -> None:
        row = self.deliver(Status.PENDING)
        for action in (Action.HOLD, Action.RELEASE, Action.CANCEL):
            self.act(action, row)
        steps = self.steps(row)
        for what in ("Held by hand", "Released by hand", "Cancelled by hand"):
            self.assertEqual(steps[what].facts, "by Alice")
        self.assertContains(self.page(row), "Alice cancelled it before it was sent on")

    def test_a_paused_account_names_who_paused_it_and_what_resumes_it(self) -> None:
        row = self.deliver(Status.PENDING)
        now = timezone.now()
        pause(self.account, self.alice, now)
        page = self.page(row)
        self.assertContains(page, f"Alice paused this account on {self.on(now)}. Its conversions are kept.")
        self.assertContains(page, "Resume forwarding")
        self.assertIn("Resume forwarding", self.steps(row)["Waits"].text)

    def test_a_pause_of_which_nobody_is_known_has_its_time(self) -> None:
        row, now = self.deliver(Status.PENDING), timezone.now()
        AdAccount.objects.update(paused_at=now)
        self.assertContains(self.page(row), f"This account was paused on {self.on(now)}.")

    def test_staff_are_not_named(self) -> None:
        row = self.deliver(Status.PENDING)
        apply(Action.HOLD, Delivery.objects.filter(pk=row.pk), self.charlie, timezone.now(), by_staff=True)
        page = self.page(row)
        self.assertContains(page, "Convultra staff held this conversion back on")
        self.assertNotContains(page, "Charlie")

    def test_another_accounts_deeds_are_not_told(self) -> None:
        row, other = self.deliver(Status.PENDING), self.deliver(Status.PENDING)
        now = self.act(Action.HOLD, row)
        Delivery.objects.filter(pk=other.pk).update(changed_at=now, account=make_account(self.site, "138204422"))
        other.refresh_from_db()
        self.assertEqual(deeds(other), [])


class TestSupportText(StoryTestCase):
    def text(self, delivery: Delivery) -> str:
        text: str = self.page(delivery).context["support"]
        return text

    def test_it_has_ids_codes_times_and_trackingids(self) -> None:
        at = datetime(2026, 11, 21, 10, 0, 1, tzinfo=UTC)
        row = self.deliver(Status.FAILED, at=at, error_code=5606, transaction_id="HP-1")
        upload = Upload.objects.create(
            account=self.account, operation="conversions", delivery_ids=[row.pk], started_at=at, leased_until=at,
            finished_at=at, http_status=200, tracking_id=TRACKING,
        )  # fmt: skip
        Attempt.objects.create(delivery=row, upload=upload, outcome="refused", error_code=5606, created_at=at)
        text = self.text(row)
        for line in (
            f"Conversion: {row.public_id}",
            "Microsoft account: 138204417, customer 251093876",
            f"Event: {row.event.event_id}",
            "Transaction: HP-1",
            "Received at: 2026-11-21T10:00:01Z",
            "Status: failed, code 5606, last changed 2026-11-21T10:00:01Z",
            f"Attempt 1: refused, HTTP 200, code 5606, at 2026-11-21T10:00:01Z, TrackingId {TRACKING}",
        ):
            self.assertIn(line, text.splitlines())

    def test_a_correction_does_not_change_when_it_was_accepted(self) -> None:
        at = datetime(2026, 11, 21, 14, 32, 42, tzinfo=UTC)
        lines = self.text(self.deliver(at=at, changed_at=at + timedelta(seconds=7))).splitlines()
        self.assertIn("Status: delivered, at 2026-11-21T14:32:42Z", lines)

    def test_it_says_of_nobody_who_it_is(self) -> None:
        event = store_event(self.site, event_id="jo@example.com", email_sha256="a" * 64, external_id="cust-7")
        row = self.deliver(event=event, transaction_id="jo@example.com", email_sha256="a" * 64, phone_sha256="b" * 64)
        text = self.text(row)
        for secret in ("jo@example.com", "a" * 8, "b" * 8, "cust-7"):
            self.assertNotIn(secret, text)
        self.assertIn(f"Transaction: {LEFT_OUT}", text)

    def test_an_id_cannot_add_a_line(self) -> None:
        text = self.text(self.deliver(transaction_id="HP-1\nStatus: delivered"))
        self.assertIn("Transaction: HP-1 Status: delivered", text.splitlines())


class TestRefund(StoryTestCase):
    def test_without_its_order_it_promises_nothing(self) -> None:
        page = self.page(parked_refund(self.account))
        self.assertContains(page, "No order NOSUCH has come yet; dropped after")
        self.assertContains(page, "<dt>Given back</dt><dd>$5.00 USD</dd>", html=False)
        for promise in ("It goes out at", "Attempt 1 in"):
            self.assertNotContains(page, promise)
        self.assertIn("Dropped if none comes", [step.what for step in page.context["timeline"]])

    def test_without_its_order_the_log_shows_what_was_given_back(self) -> None:
        parked_refund(self.account)
        page = self.client.get(self.url("account-logs"), {"kind": WITHOUT_ORDER})
        self.assertContains(page, "No order yet; dropped after")
        self.assertContains(page, "$5.00")
