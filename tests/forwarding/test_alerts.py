"""Nobody has to watch: what needs a person is told once, to whom it concerns, and once more when it is over."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from smtplib import SMTPRecipientsRefused, SMTPServerDisconnected
from typing import Any
from unittest import mock

from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.db import connection, connections
from django.test import TransactionTestCase, override_settings
from django.test.utils import CaptureQueriesContext

from forwarding.alerts.alerts import QUIET, attend
from forwarding.models import Alert, Breaker, Delivery, Heartbeat, Hold, Kind, Status, Upload
from forwarding.tasks import tell
from forwarding.worker.heartbeats import SWEEP_HEARTBEAT
from ingest.models import Membership, Role
from integrations.models import AdAccount, Connection
from tests.cast import NOON, CastTestCase, make_account, make_site, make_user, store_event

OPERATOR = "ops@convultra.example"
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@override_settings(ALERT_EMAILS=[OPERATOR], PUBLIC_URL="https://convultra.example")
class AlertTestCase(CastTestCase):
    """Alice owns the site, Bob is a marketer on her team. The time is noon."""

    def waiting(self, **fields: Any) -> Delivery:
        """Store an order of Alice's shop that was due a moment ago, and expires in eighty days."""
        event = store_event(self.site, planned_at=NOON)
        given: dict[str, Any] = {
            "account": self.account,
            "event": event,
            "goal": self.goal,
            "dedupe_key": event.event_id,
            "value": Decimal("49.90"),
            "currency": "USD",
            "next_attempt_at": NOON,
            "expires_at": NOON + 80 * DAY,
            "created_at": NOON - 2 * HOUR,
            "changed_at": NOON,
        }
        return Delivery.objects.create(**(given | fields))

    def end_sign_in(self) -> None:
        Connection.objects.update(
            status=Connection.Status.NEEDS_RECONNECT, failed_at=NOON, last_error="ads@harborpine.example was refused"
        )

    def mend_sign_in(self) -> None:
        Connection.objects.update(status=Connection.Status.CONNECTED, failed_at=None, last_error="")

    def attend(self, after: timedelta = timedelta(0)) -> None:
        """Look at the alerts some time after noon. The log has what is told too, which is tested by itself."""
        with mock.patch("forwarding.alerts.alerts.logger"):
            attend(NOON + after)

    def told(self) -> list[tuple[list[str], str]]:
        """Return who was told what, in order."""
        return [(message.to, str(message.subject)) for message in mail.outbox]

    def cause(self) -> str:
        return Alert.objects.get().cause


class TestASignInThatEnded(AlertTestCase):
    subject = "Harbor & Pine: Needs reconnect"

    def test_its_owners_and_admins_are_told(self) -> None:
        charlie = Membership.objects.create(
            user=make_user("dora"), organisation=self.site.organisation, role=Role.ADMIN
        ).user
        self.end_sign_in()
        self.attend()
        self.assertEqual(self.told(), [([self.alice.email, charlie.email], self.subject)])

    def test_the_mail_says_what_waits_what_to_do_and_where(self) -> None:
        self.end_sign_in()
        self.attend()
        text = str(mail.outbox[0].body)
        for words in ("Nothing goes out to Search – US", "Reconnect the sign-in", "90 days old"):
            self.assertIn(words, text)
        self.assertIn(f"https://convultra.example/s/{self.site.public_id}/integrations/", text)

    def test_no_personal_data_is_in_it(self) -> None:
        self.end_sign_in()
        self.attend()
        self.assertNotIn("harborpine.example", f"{mail.outbox[0].subject} {mail.outbox[0].body}")

    def test_it_is_told_once(self) -> None:
        self.end_sign_in()
        for minutes in range(3):
            self.attend(minutes * MINUTE)
        self.assertEqual(len(mail.outbox), 1)

    def test_whoever_disconnected_it_here_is_not_told(self) -> None:
        self.end_sign_in()
        Connection.objects.update(failed_at=None)
        self.attend()
        self.assertEqual(self.told(), [])

    def test_a_sign_in_that_no_account_uses_bothers_nobody(self) -> None:
        self.end_sign_in()
        AdAccount.objects.update(is_active=False)
        self.attend()
        self.assertEqual(self.told(), [])

    def test_the_end_is_told_too(self) -> None:
        self.end_sign_in()
        self.attend()
        self.mend_sign_in()
        self.attend(HOUR)
        self.assertEqual(self.told()[1], ([self.alice.email], f"Over: {self.subject}"))
        self.assertEqual(Alert.objects.get().resolved_at, NOON + HOUR)

    def test_one_that_ends_again_within_half_an_hour_waits_for_the_rest_of_it(self) -> None:
        self.end_sign_in()
        self.attend()
        self.mend_sign_in()
        self.attend(5 * MINUTE)
        self.end_sign_in()
        self.attend(10 * MINUTE)
        self.assertEqual(len(mail.outbox), 2)
        self.attend(QUIET)
        self.assertEqual(self.told()[2], ([self.alice.email], self.subject))

    def test_many_that_were_told_cost_no_more_queries_than_one(self) -> None:
        def queries() -> int:
            self.attend()
            with CaptureQueriesContext(connection) as captured:
                self.attend()
            return len(captured)

        self.end_sign_in()
        few = queries()
        for number in range(3):
            make_account(make_site(f"Shop {number}", self.alice), account_id=str(number))
        self.end_sign_in()
        self.assertEqual(queries(), few)
        self.assertEqual(len(mail.outbox), 4)

    def test_the_log_has_it_as_well(self) -> None:
        self.end_sign_in()
        with self.assertLogs("forwarding.alerts.alerts", "WARNING") as logs:
            attend(NOON)
        self.assertIn(f"Alert reconnect:{self.account.connection_id}: {self.subject}", logs.output[0])


class TestAMailServerThatIsAway(AlertTestCase):
    def attend_without_mail(self, after: timedelta = timedelta(0), error: Exception | None = None) -> None:
        with mock.patch.object(EmailBackend, "send_messages", side_effect=error or ConnectionRefusedError):
            self.attend(after)

    def test_it_is_asked_again_a_minute_later(self) -> None:
        self.end_sign_in()
        for error in (ConnectionRefusedError(), SMTPServerDisconnected(), TimeoutError(), SMTPRecipientsRefused({})):
            self.attend_without_mail(error=error)
            self.assertIsNone(Alert.objects.get().told_at)
        self.attend(MINUTE)
        self.assertEqual(Alert.objects.get().told_at, NOON + MINUTE)
        self.assertEqual(len(mail.outbox), 1)

    def test_what_is_over_stays_open_until_that_was_told(self) -> None:
        self.end_sign_in()
        self.attend()
        self.mend_sign_in()
        self.attend_without_mail(MINUTE)
        self.assertIsNone(Alert.objects.get().resolved_at)
        self.attend(2 * MINUTE)
        self.assertEqual(Alert.objects.get().resolved_at, NOON + 2 * MINUTE)
        self.assertEqual(len(mail.outbox), 2)

    def test_what_is_over_before_it_could_be_told_is_not_told(self) -> None:
        self.end_sign_in()
        self.attend_without_mail()
        self.mend_sign_in()
        self.attend(MINUTE)
        self.assertEqual((self.told(), Alert.objects.count()), ([], 0))

    def test_an_address_of_no_use_does_not_silence_the_others(self) -> None:
        self.end_sign_in()
        self.waiting(hold_reason=Hold.OPERATOR)
        self.alice.email = "alice\n@example.com"
        self.alice.save()
        self.attend()
        self.assertEqual([to for to, _ in self.told()], [[OPERATOR]])

    def test_the_log_does_not_name_the_addresses(self) -> None:
        self.end_sign_in()
        error = SMTPRecipientsRefused({self.alice.email: (550, b"unknown")})
        with mock.patch.object(EmailBackend, "send_messages", side_effect=error), self.assertLogs() as logs:
            attend(NOON)
        self.assertNotIn(self.alice.email, "".join(logs.output))

    @override_settings(ALERT_EMAILS=[])
    def test_where_nobody_has_an_address_the_log_is_told(self) -> None:
        self.waiting(hold_reason=Hold.OPERATOR)
        with self.assertLogs("forwarding.alerts.alerts", "ERROR"):
            attend(NOON)
        self.assertEqual(Alert.objects.get().told_at, NOON)


class TestConversionsAboutToExpire(AlertTestCase):
    """The day-80 warning."""

    def expiring(self, **fields: Any) -> Delivery:
        return self.waiting(**({"expires_at": NOON + 9 * DAY} | fields))

    def test_count_worth_account_last_day_and_reason_are_told(self) -> None:
        self.expiring(hold_reason=Hold.GOAL_MISSING)
        self.expiring(hold_reason=Hold.GOAL_MISSING, value=Decimal(1200), currency="EUR")
        self.attend()
        self.assertEqual(self.told(), [([self.alice.email], "Harbor & Pine: 2 conversions about to expire")])
        text = str(mail.outbox[0].body)
        self.assertIn("2 conversions of Search – US, worth 1,200.00 EUR and 49.90 USD,", text)
        self.assertIn("The first is lost after November 30, 2026.", text)
        self.assertIn("Why: Goal not found.", text)

    def test_what_stops_the_account_is_the_reason(self) -> None:
        self.expiring()
        AdAccount.objects.update(paused_at=NOON)
        self.attend()
        self.assertIn("Why: Forwarding is paused.", str(mail.outbox[0].body))

    def test_what_has_more_than_ten_days_is_not_told(self) -> None:
        self.expiring(expires_at=NOON + 10 * DAY + MINUTE)
        self.attend()
        self.assertEqual(self.told(), [])

    def test_what_has_just_come_is_going_out(self) -> None:
        self.expiring(created_at=NOON - 59 * MINUTE)
        self.attend()
        self.assertEqual(self.told(), [])

    def test_a_hold_that_ends_by_itself_is_not_told(self) -> None:
        self.expiring(hold_reason=Hold.CLICK_SETTLING)
        self.attend()
        self.assertEqual(self.told(), [])

    def test_the_end_says_how_many_were_lost(self) -> None:
        self.expiring(hold_reason=Hold.GOAL_MISSING)
        lost = self.expiring(hold_reason=Hold.GOAL_MISSING)
        self.attend()
        Delivery.objects.update(status=Status.DELIVERED, next_attempt_at=None)
        Delivery.objects.filter(pk=lost.pk).update(status=Status.FAILED, error_symbol="Expired", changed_at=NOON + DAY)
        self.attend(DAY)
        self.assertIn("1 of them became too old and was", str(mail.outbox[1].body))

    def test_the_end_says_that_none_was_lost(self) -> None:
        self.expiring(hold_reason=Hold.GOAL_MISSING)
        self.attend()
        Delivery.objects.update(status=Status.DELIVERED, next_attempt_at=None)
        self.attend(DAY)
        self.assertIn("None of them was lost.", str(mail.outbox[1].body))


class TestCorrections(AlertTestCase):
    """Adjustments that are dead for years, and nobody notices: not here."""

    def correction(self, **fields: Any) -> Delivery:
        original = self.waiting(status=Status.DELIVERED, next_attempt_at=None)
        return self.waiting(**({"kind": Kind.RESTATE, "original": original} | fields))

    def test_one_that_is_about_to_expire_is_told(self) -> None:
        self.correction(expires_at=NOON + 2 * DAY, status=Status.RETRYING, attempts=40)
        self.attend()
        self.assertEqual(self.cause(), f"expiring:{self.account.pk}")

    def test_a_refund_whose_order_never_came_is_not(self) -> None:
        self.waiting(kind=Kind.RESTATE, expires_at=NOON + 2 * DAY)
        self.attend()
        self.assertEqual(self.told(), [])

    def test_those_that_microsoft_refused_are_told_and_are_over_after_a_day(self) -> None:
        self.correction(status=Status.FAILED, next_attempt_at=None, error_code=5627)
        self.attend()
        self.assertEqual(self.told(), [([self.alice.email], "1 correction not taken: Search – US")])
        self.attend(DAY + HOUR)
        self.assertIsNotNone(Alert.objects.get().resolved_at)


class TestAnAccountThatIsHeld(AlertTestCase):
    def hold(self, reason: Hold) -> None:
        self.waiting()
        AdAccount.objects.update(hold_reason=reason, held_until=NOON + HOUR)

    def test_it_is_told_after_an_hour(self) -> None:
        self.hold(Hold.PERMISSION)
        self.attend()
        self.attend(59 * MINUTE)
        self.assertEqual(self.told(), [])
        self.attend(HOUR)
        self.assertEqual(self.told(), [([self.alice.email], "Harbor & Pine: No permission for this account")])
        self.assertIn("Standard user role", str(mail.outbox[0].body))

    def test_a_hold_that_ended_within_the_hour_leaves_no_trace(self) -> None:
        self.hold(Hold.ACCOUNT_INACTIVE)
        self.attend()
        AdAccount.objects.update(hold_reason="", held_until=None)
        Upload.objects.create(account=self.account, delivery_ids=[], started_at=NOON, leased_until=NOON)
        self.attend(30 * MINUTE)
        self.attend(HOUR + 10 * MINUTE)
        self.assertFalse(Alert.objects.filter(cause__startswith=Hold.ACCOUNT_INACTIVE).exists())

    def test_an_account_with_nothing_to_send_bothers_nobody(self) -> None:
        self.hold(Hold.PERMISSION)
        Delivery.objects.all().delete()
        self.attend()
        self.assertEqual(Alert.objects.count(), 0)


class TestWhatOnlyTheOperatorCanMend(AlertTestCase):
    def assert_told(self, subject: str) -> str:
        """Assert that the operator, and nobody else, was told one thing; return its text."""
        self.assertEqual(self.told(), [([OPERATOR], subject)])
        return str(mail.outbox[0].body)

    def test_our_own_registration(self) -> None:
        Connection.objects.update(
            status=Connection.Status.NEEDS_OPERATOR, failed_at=NOON, last_error="Microsoft refused Convultra's secret."
        )
        self.attend()
        text = self.assert_told("1 Microsoft sign-in cannot be renewed")
        self.assertIn("Microsoft refused Convultra's secret.", text)
        self.assertIn("Nobody is disconnected", text)
        self.assertIn("/admin/integrations/connection/?status__exact=needs_operator", text)

    def test_accounts_whose_calls_are_refused_for_our_fault(self) -> None:
        self.waiting()
        AdAccount.objects.update(hold_reason=Hold.OPERATOR, held_until=NOON + 15 * MINUTE)
        self.attend()
        self.assertIn("Search – US (138204417)", self.assert_told("Convultra's own set-up is wrong"))

    def test_a_developer_token_that_is_refused_for_all_is_the_same_cause(self) -> None:
        self.waiting()
        AdAccount.objects.update(hold_reason=Hold.OPERATOR, held_until=NOON + 15 * MINUTE)
        Breaker.objects.create(name="developer_token", failures=3, open_until=NOON + MINUTE)
        self.attend()
        AdAccount.objects.update(hold_reason="", held_until=None)
        self.attend(MINUTE)
        text = self.assert_told("Convultra's own set-up is wrong")
        self.assertIn("Nothing goes out to any account", text)
        self.assertIn("MICROSOFT_DEVELOPER_TOKEN", text)

    def test_rows_that_were_set_aside(self) -> None:
        self.waiting(hold_reason=Hold.OPERATOR, next_attempt_at=NOON + DAY)
        self.attend()
        text = self.assert_told("1 conversion to look at: Search – US (138204417)")
        self.assertIn("/admin/forwarding/delivery/?hold_reason__exact=operator", text)

    def test_conversions_that_nobody_sends(self) -> None:
        self.waiting(next_attempt_at=NOON - 10 * MINUTE)
        self.attend()
        self.assertEqual(self.told(), [])
        self.attend(5 * MINUTE)
        self.assertIn("1 account had conversions due", self.assert_told("Conversions are not going out"))

    def test_an_account_that_may_send_again_is_given_time(self) -> None:
        self.waiting(next_attempt_at=NOON - DAY)
        self.attend()
        Upload.objects.create(account=self.account, delivery_ids=[], started_at=NOON + MINUTE, leased_until=NOON)
        self.attend(2 * MINUTE)
        self.attend(10 * MINUTE)
        self.assertEqual((self.told(), Alert.objects.count()), ([], 0))

    def test_events_that_nobody_plans(self) -> None:
        store_event(self.site, received_at=NOON - 10 * MINUTE)
        self.attend()
        self.attend(5 * MINUTE)
        self.assertIn("events wait to be planned", self.assert_told("Conversions are not going out"))

    def test_a_worker_that_is_away(self) -> None:
        Heartbeat.objects.create(name=SWEEP_HEARTBEAT, beat_at=NOON - 5 * MINUTE)
        self.attend()
        self.assertIn("since 11:55 UTC", self.assert_told("The worker is away"))

    def test_a_server_that_never_had_a_worker_is_not_missed_one(self) -> None:
        self.attend()
        self.assertEqual(Alert.objects.count(), 0)


class TestTwoAtOnce(TransactionTestCase):
    def test_two_workers_tell_once(self) -> None:
        alice = make_user("alice")
        make_account(make_site("Harbor & Pine", alice))
        Connection.objects.update(status=Connection.Status.NEEDS_RECONNECT, failed_at=NOON)

        def one(_: int) -> None:
            try:
                tell()
            finally:
                connections.close_all()

        with mock.patch("forwarding.alerts.alerts.logger"), ThreadPoolExecutor(2) as workers:
            list(workers.map(one, range(2)))
        self.assertEqual([message.to for message in mail.outbox], [[alice.email]])
        self.assertEqual(Alert.objects.count(), 1)
