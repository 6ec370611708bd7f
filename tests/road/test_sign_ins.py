"""Sign-ins that end, and secrets that are wrong: nobody is disconnected for our fault, and nothing is lost."""

from datetime import timedelta
from unittest import mock

import time_machine
from django.core import mail
from django.test import override_settings

from forwarding.models import Attempt, Breaker, Delivery, Status
from forwarding.tasks import tell, upkeep
from integrations.microsoft import oauth_app
from integrations.microsoft_ads.emulator.world import MARKETER
from integrations.models import AdAccount, Connection
from integrations.tokens import OPERATOR_PAUSE, RENEWAL_LEASE, ConnectionTokens
from tests.cast import NOON
from tests.road.road import RoadTestCase, purchase


class SignInTestCase(RoadTestCase):
    """The road, with a clock that moves only when told."""

    def setUp(self) -> None:
        self.time = self.enterContext(time_machine.travel(NOON, tick=False))
        super().setUp()
        self.enterContext(mock.patch("forwarding.ringing.async_task"))

    def shift(self, by: timedelta) -> None:
        """Let time pass; the workers do what is due, upkeep and alerts too."""
        self.time.shift(by)
        with self.captureOnCommitCallbacks(execute=True):
            upkeep()
            tell()
        self.go()

    def assert_delivered(self, number: int) -> None:
        """Assert that Microsoft has every order once, each sent at its first attempt."""
        self.assertEqual(len(self.microsoft.bookings), number)
        self.assertEqual(set(Delivery.objects.values_list("status", "attempts")), {(Status.DELIVERED, 1)})
        self.assertEqual(Attempt.objects.count(), 0)


class TestARevokedSignIn(SignInTestCase):
    ORDERS = 300
    DAYS = 30

    def test_a_month_of_orders_goes_out_when_somebody_signs_in_again(self) -> None:
        self.microsoft.control("revoke", {"user": MARKETER})
        with self.assertLogs("integrations", "ERROR"):
            for _ in range(self.DAYS):
                self.post(*(purchase() for _ in range(self.ORDERS // self.DAYS)))
                self.shift(timedelta(days=1))
        self.assertEqual(set(Delivery.objects.values_list("status", "attempts")), {(Status.PENDING, 0)})
        self.assertEqual([str(message.subject) for message in mail.outbox], ["Harbor & Pine: Needs reconnect"])
        self.microsoft.connect(self.site, self.alice)
        self.shift(timedelta(minutes=1))
        self.assert_delivered(self.ORDERS)
        self.assertEqual(str(mail.outbox[1].subject), "Over: Harbor & Pine: Needs reconnect")


@override_settings(ALERT_EMAILS=["ops@convultra.example"])
class TestOurOwnSecret(SignInTestCase):
    def test_a_wrong_one_disconnects_nobody_and_all_goes_on_when_it_is_right_again(self) -> None:
        self.post(purchase(), purchase())
        self.microsoft.expire_tokens()
        with override_settings(MICROSOFT_CLIENT_SECRET="expired"), self.assertLogs("integrations", "ERROR"):
            for _ in range(3):
                self.shift(timedelta(minutes=10))
        self.assertEqual(Connection.objects.get().status, Connection.Status.NEEDS_OPERATOR)
        self.assertEqual({tuple(message.to) for message in mail.outbox}, {("ops@convultra.example",)})
        self.assertIn("1 Microsoft sign-in cannot be renewed", [str(message.subject) for message in mail.outbox])
        self.shift(OPERATOR_PAUSE)
        self.assertEqual(Connection.objects.get().status, Connection.Status.CONNECTED)
        self.assert_delivered(2)

    def test_a_breaker_that_was_open_for_it_lets_a_call_through_at_once(self) -> None:
        self.post(purchase(), purchase())
        later = NOON + timedelta(hours=1)
        Breaker.objects.create(name="developer_token", failures=5, open_until=later)
        AdAccount.objects.update(hold_reason="operator", held_until=later)
        Connection.objects.update(status=Connection.Status.NEEDS_OPERATOR, failed_at=NOON)
        self.shift(OPERATOR_PAUSE)
        self.assert_delivered(2)
        self.assertFalse(Breaker.objects.filter(open_until__isnull=False).exists())


class TestACrashWhileRenewing(SignInTestCase):
    def crash(self) -> None:
        """Die between Microsoft's answer and our commit, with orders waiting."""
        self.post(purchase(), purchase())
        self.time.shift(timedelta(hours=2))
        with mock.patch.object(ConnectionTokens, "_save", side_effect=SystemExit), self.assertRaises(SystemExit):
            ConnectionTokens(self.account.connection_id, oauth_app).access_token()

    def test_a_microsoft_that_takes_the_old_token_again_needs_nobody(self) -> None:
        self.crash()
        self.shift(RENEWAL_LEASE)
        self.assert_delivered(2)

    def test_a_microsoft_that_does_not_holds_the_account_with_the_reason_and_nothing_is_lost(self) -> None:
        self.microsoft.books.settings.strict_rotation = True
        self.crash()
        with self.assertLogs("integrations", "ERROR"):
            self.shift(RENEWAL_LEASE)
        connection = Connection.objects.get()
        self.assertEqual(connection.status, Connection.Status.NEEDS_RECONNECT)
        self.assertIn("its last renewal was interrupted", connection.last_error)
        self.assertEqual(set(Delivery.objects.values_list("status", "attempts")), {(Status.PENDING, 0)})
        self.microsoft.connect(self.site, self.alice)
        self.shift(timedelta(minutes=1))
        self.assert_delivered(2)
