"""The tokens of a connection: renewed early, once, and never lost between Microsoft's answer and our commit."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from unittest import mock

import time_machine
from cryptography.fernet import Fernet
from django.conf import settings
from django.db import connection as database
from django.db import connections
from django.test import TransactionTestCase, override_settings
from django.utils import timezone

from integrations.connecting import disconnect
from integrations.microsoft import client_for_connection, oauth_app
from integrations.microsoft_ads.emulator.world import MARKETER
from integrations.microsoft_ads.errors import (
    ClientMisconfigured,
    GrantDead,
    MicrosoftAdsError,
    TokenEndpointUnavailable,
    WhatToDo,
)
from integrations.microsoft_ads.oauth import OAuthApp, Tokens
from integrations.models import AdAccount, Connection
from integrations.tokens import IDLE, KEEP_ALIVE_SECONDS, OPERATOR_PAUSE, RENEWAL_LEASE, ConnectionTokens, keep_alive
from tests.cast import NOON, CastTestCase, make_site, make_user
from tests.support.microsoft import EmulatedMicrosoft

EXCHANGE_SECONDS = 10  # at most, of each of the two that a renewal may take


def never_wait(_seconds: float) -> None:
    raise AssertionError("it waited")


class Renewal(CastTestCase):
    """A connection made at noon, whose access token lives an hour."""

    def setUp(self) -> None:
        AdAccount.objects.all().delete()
        Connection.objects.all().delete()
        self.time = self.enterContext(time_machine.travel(NOON, tick=False))
        self.microsoft = self.enterContext(EmulatedMicrosoft())
        self.connection = self.microsoft.connect(self.site, self.alice)
        self.first = self.connection.access_token
        self.microsoft.paths.clear()

    def tokens(self, wait: Callable[[float], None] = never_wait) -> ConnectionTokens:
        return ConnectionTokens(self.connection.pk, oauth_app, wait=wait)

    def stored(self) -> Connection:
        return Connection.objects.get(pk=self.connection.pk)

    def lose(self, refresh_token: str) -> None:
        """Let Microsoft forget a refresh token."""
        grant = self.microsoft.books.grants[refresh_token]
        grant.revoked_at = timezone.now()


class WhenTest(Renewal):
    def test_a_token_with_time_left_is_handed_out_without_a_call(self) -> None:
        self.time.shift(timedelta(minutes=50))
        self.assertEqual(self.tokens().access_token(), self.first)
        self.assertEqual(self.microsoft.token_calls, 0)

    def test_a_token_is_renewed_five_minutes_before_its_end(self) -> None:
        self.time.shift(timedelta(minutes=55))
        renewed = self.tokens().access_token()
        self.assertNotEqual(renewed, self.first)
        self.assertEqual(self.stored().access_token, renewed)
        self.assertEqual(self.stored().expires_at, NOON + timedelta(minutes=115))
        self.assertEqual(self.stored().renewed_at, NOON + timedelta(minutes=55))

    def test_a_token_that_microsoft_calls_stale_is_renewed_at_once(self) -> None:
        renewed = self.tokens().renew(self.first)
        self.assertNotEqual(renewed, self.first)
        self.assertEqual(self.microsoft.token_calls, 1)

    def test_a_stale_token_that_somebody_renewed_costs_no_call(self) -> None:
        newer = self.tokens().renew(self.first)
        self.assertEqual(self.tokens().renew(self.first), newer)
        self.assertEqual(self.microsoft.token_calls, 1)

    def test_a_call_with_a_token_that_ended_goes_through_after_one_renewal(self) -> None:
        self.microsoft.expire_tokens()
        self.time.shift(timedelta(seconds=1))
        self.assertEqual(client_for_connection(self.connection).get_user().user_name, MARKETER)
        self.assertEqual(self.microsoft.token_calls, 1)


class OneAtATimeTest(Renewal):
    def being_renewed(self) -> None:
        Connection.objects.update(refreshing_until=timezone.now() + RENEWAL_LEASE)

    def test_who_comes_second_waits_for_the_first_ones_token(self) -> None:
        self.time.shift(timedelta(hours=2))
        self.being_renewed()

        def meanwhile(_seconds: float) -> None:
            Connection.objects.update(refreshing_until=None)
            self.tokens().access_token()

        token = self.tokens(wait=meanwhile).access_token()
        self.assertEqual(token, self.stored().access_token)
        self.assertEqual(self.microsoft.token_calls, 1)

    def test_who_comes_second_uses_a_token_that_is_still_good(self) -> None:
        self.time.shift(timedelta(minutes=57))
        self.being_renewed()
        self.assertEqual(self.tokens().access_token(), self.first)

    def test_nobody_waits_for_ever(self) -> None:
        self.time.shift(timedelta(hours=2))
        self.being_renewed()
        waits: list[float] = []
        with self.assertRaises(TokenEndpointUnavailable):
            self.tokens(wait=waits.append).access_token()
        self.assertLessEqual(sum(waits), 15.1)
        self.assertEqual(self.microsoft.token_calls, 0)

    def test_a_process_that_died_while_renewing_is_succeeded(self) -> None:
        self.time.shift(timedelta(hours=2))
        self.being_renewed()
        self.time.shift(RENEWAL_LEASE)
        self.assertNotEqual(self.tokens().access_token(), self.first)

    def test_a_late_answer_does_not_replace_a_newer_pair(self) -> None:
        refresh = OAuthApp.refresh
        newer: list[str] = []

        def slow(app: OAuthApp, refresh_token: str) -> Tokens:
            self.time.shift(RENEWAL_LEASE)
            with mock.patch.object(OAuthApp, "refresh", refresh):
                newer.append(self.tokens().renew(self.first))
                return refresh(app, refresh_token)

        with mock.patch.object(OAuthApp, "refresh", slow):
            token = self.tokens().renew(self.first)
        self.assertEqual([token], newer)
        self.assertEqual(self.stored().access_token, token)

    def test_disconnecting_while_renewing_leaves_no_token(self) -> None:
        refresh = OAuthApp.refresh

        def slow(app: OAuthApp, refresh_token: str) -> Tokens:
            disconnect(self.stored(), self.alice, timezone.now())
            return refresh(app, refresh_token)

        with mock.patch.object(OAuthApp, "refresh", slow), self.assertRaises(GrantDead):
            self.tokens().renew(self.first)
        self.assertEqual((self.stored().access_token, self.stored().refresh_token), ("", ""))


class CrashTest(Renewal):
    def crash_between_answer_and_commit(self) -> None:
        with (
            mock.patch.object(ConnectionTokens, "_save", side_effect=SystemExit),
            self.assertRaises(SystemExit),
        ):
            self.tokens().renew(self.first)
        self.time.shift(RENEWAL_LEASE)

    def test_a_crash_after_microsofts_answer_needs_nobody(self) -> None:
        self.crash_between_answer_and_commit()
        self.assertNotEqual(self.tokens().renew(self.first), self.first)
        self.assertEqual(self.stored().status, Connection.Status.CONNECTED)

    def test_where_refresh_tokens_work_once_it_ends_in_reconnect_with_the_reason(self) -> None:
        self.microsoft.books.settings.strict_rotation = True
        self.crash_between_answer_and_commit()
        with self.assertLogs("integrations", "ERROR"), self.assertRaises(GrantDead):
            self.tokens().renew(self.first)
        self.assertEqual(self.stored().status, Connection.Status.NEEDS_RECONNECT)
        self.assertEqual(
            self.stored().last_error,
            "Microsoft no longer gives access to this sign-in because its last renewal was interrupted before the "
            "answer was saved (AADSTS70000).",
        )

    def test_the_refresh_token_before_is_kept_until_the_new_access_token_worked(self) -> None:
        before = self.stored().refresh_token
        self.tokens().renew(self.first)
        self.assertEqual(self.stored().previous_refresh_token, before)
        client_for_connection(self.connection).get_user()
        self.assertEqual(self.stored().previous_refresh_token, "")

    def test_it_is_kept_too_where_refresh_tokens_work_once(self) -> None:
        self.microsoft.books.settings.strict_rotation = True
        self.test_the_refresh_token_before_is_kept_until_the_new_access_token_worked()
        self.assertNotEqual(self.tokens().renew(self.stored().access_token), self.first)

    def test_when_both_are_dead_the_reason_is_that_of_the_current_one(self) -> None:
        self.microsoft.books.settings.strict_rotation = True
        second = self.tokens().renew(self.first)
        self.lose(self.stored().refresh_token)
        with self.assertLogs("integrations", "WARNING"), self.assertRaises(GrantDead):
            self.tokens().renew(second)
        self.assertIn("AADSTS50173", self.stored().last_error)

    def test_an_answer_that_refuses_the_token_does_not_prove_it(self) -> None:
        self.tokens().renew(self.first)
        self.microsoft.fault("User/Query", "503")
        with self.assertRaises(MicrosoftAdsError):
            client_for_connection(self.connection).get_user()
        self.assertNotEqual(self.stored().previous_refresh_token, "")

    def test_the_one_before_is_used_when_the_new_one_turns_out_dead(self) -> None:
        second = self.tokens().renew(self.first)
        self.lose(self.stored().refresh_token)
        with self.assertLogs("integrations", "WARNING"):
            third = self.tokens().renew(second)
        self.assertEqual(self.stored().access_token, third)
        self.assertEqual(self.stored().status, Connection.Status.CONNECTED)


class FailureTest(Renewal):
    def test_a_dead_grant_needs_a_reconnect_and_says_why(self) -> None:
        self.lose(self.connection.refresh_token)
        with self.assertLogs("integrations", "ERROR"), self.assertRaises(GrantDead):
            self.tokens().renew(self.first)
        self.assertEqual(self.stored().status, Connection.Status.NEEDS_RECONNECT)
        self.assertIn("its password was changed or its sessions were ended (AADSTS50173)", self.stored().last_error)
        self.assertEqual(self.stored().failed_at, NOON)

    def test_a_dead_grant_is_not_asked_again(self) -> None:
        self.lose(self.connection.refresh_token)
        for _ in range(5):
            with self.assertRaises(GrantDead) as caught:
                self.tokens().renew(self.first)
        self.assertEqual(self.microsoft.token_calls, 1)
        self.assertEqual(caught.exception.what_to_do, WhatToDo.RECONNECT)

    def test_our_wrong_secret_disconnects_nobody(self) -> None:
        with (
            override_settings(MICROSOFT_CLIENT_SECRET="expired"),
            self.assertLogs("integrations", "ERROR"),
            self.assertRaises(ClientMisconfigured),
        ):
            self.tokens().renew(self.first)
        self.assertEqual(self.stored().status, Connection.Status.NEEDS_OPERATOR)
        self.assertNotEqual(self.stored().refresh_token, "")

    def test_our_wrong_secret_is_tried_again_after_a_pause(self) -> None:
        self.test_our_wrong_secret_disconnects_nobody()
        calls = self.microsoft.token_calls
        with self.assertRaises(ClientMisconfigured):
            self.tokens().renew(self.first)
        self.assertEqual(self.microsoft.token_calls, calls)
        self.time.shift(OPERATOR_PAUSE)
        self.tokens().renew(self.first)
        self.assertEqual((self.stored().status, self.stored().last_error), (Connection.Status.CONNECTED, ""))

    def test_a_sign_in_that_is_away_leaves_the_connection_connected(self) -> None:
        self.microsoft.fault("token", "503")
        with self.assertRaises(TokenEndpointUnavailable):
            self.tokens().renew(self.first)
        self.assertEqual(self.stored().status, Connection.Status.CONNECTED)
        self.assertNotEqual(self.tokens().renew(self.first), self.first)

    def test_a_token_with_minutes_left_is_used_while_the_sign_in_is_away(self) -> None:
        self.time.shift(timedelta(minutes=57))
        self.microsoft.fault("token", "503")
        self.assertEqual(self.tokens().access_token(), self.first)

    def test_a_removed_connection_needs_a_reconnect(self) -> None:
        tokens = self.tokens()
        self.connection.delete()
        with self.assertRaises(GrantDead):
            tokens.access_token()

    def test_a_wrong_key_is_the_operators_and_changes_nothing(self) -> None:
        before = self.raw_row()
        with (
            override_settings(FIELD_ENCRYPTION_KEY=[Fernet.generate_key().decode()]),
            self.assertRaisesMessage(ClientMisconfigured, "another key"),
        ):
            self.tokens().access_token()
        self.assertEqual(self.raw_row(), before)

    def raw_row(self) -> object:
        with database.cursor() as cursor:
            cursor.execute("SELECT access_token, refresh_token, status, token_version FROM integrations_connection")
            return cursor.fetchone()

    def test_no_token_is_in_an_error_a_log_or_a_repr(self) -> None:
        self.lose(self.connection.refresh_token)
        tokens = self.tokens()
        with self.assertLogs(level="DEBUG") as logs, self.assertRaises(GrantDead) as caught:
            tokens.renew(self.first)
        held = tokens.__dict__ | {"stored": repr(self.stored())}
        said = "\n".join([*logs.output, repr(caught.exception), str(caught.exception), repr(held), repr(tokens)])
        for token in self.microsoft.books.grants:
            self.assertNotIn(token, said)


class KeepAliveTest(Renewal):
    def test_a_sign_in_that_nobody_used_for_a_week_is_renewed(self) -> None:
        self.time.shift(IDLE)
        self.assertEqual(keep_alive(oauth_app, timezone.now()), 1)
        self.assertEqual(self.stored().renewed_at, NOON + IDLE)

    def test_a_sign_in_in_use_is_left_alone(self) -> None:
        self.time.shift(IDLE - timedelta(minutes=1))
        self.assertEqual(keep_alive(oauth_app, timezone.now()), 0)
        self.assertEqual(self.microsoft.token_calls, 0)

    def test_what_waited_for_the_operator_goes_on_when_the_secret_is_right_again(self) -> None:
        Connection.objects.update(status=Connection.Status.NEEDS_OPERATOR, failed_at=NOON, last_error="Our secret")
        self.time.shift(OPERATOR_PAUSE)
        self.assertEqual(keep_alive(oauth_app, timezone.now()), 1)
        self.assertEqual(self.stored().status, Connection.Status.CONNECTED)

    def test_each_lease_is_taken_from_the_moment_of_its_renewal(self) -> None:
        self.microsoft.connect(make_site("Second", self.alice), self.alice)
        self.time.shift(IDLE)
        refresh, leases = OAuthApp.refresh, []

        def slow(app: OAuthApp, refresh_token: str) -> Tokens:
            leased = Connection.objects.get(refreshing_until__isnull=False)
            assert leased.refreshing_until
            leases.append(leased.refreshing_until - timezone.now())
            self.time.shift(2 * RENEWAL_LEASE)
            return refresh(app, refresh_token)

        with mock.patch.object(OAuthApp, "refresh", slow):
            self.assertEqual(keep_alive(oauth_app, timezone.now()), 2)
        self.assertEqual(leases, [RENEWAL_LEASE, RENEWAL_LEASE])

    def test_no_more_are_renewed_at_once_than_a_task_has_time_for(self) -> None:
        self.microsoft.connect(make_site("Second", self.alice), self.alice)
        self.time.shift(IDLE)
        with mock.patch("integrations.tokens.KEEP_ALIVE_SECONDS", -1):
            self.assertEqual(keep_alive(oauth_app, timezone.now()), 0)
        self.assertEqual(keep_alive(oauth_app, timezone.now()), 2)
        self.assertLess(KEEP_ALIVE_SECONDS + 2 * EXCHANGE_SECONDS, settings.Q_CLUSTER["timeout"])

    def other_sign_ins(self, number: int) -> list[Connection]:
        """Make sign-ins that were unused for longer than the one of the others, so that their turn comes first."""
        sites = (make_site(f"Shop {each}", self.alice) for each in range(number))
        made = [self.microsoft.connect(site, self.alice) for site in sites]
        Connection.objects.filter(pk__in=[one.pk for one in made]).update(renewed_at=NOON - IDLE)
        return made

    def test_ten_sign_ins_that_always_fail_keep_nobody_waiting(self) -> None:
        failing = {one.refresh_token for one in self.other_sign_ins(10)}
        self.time.shift(IDLE)
        refresh = OAuthApp.refresh

        def unwilling(app: OAuthApp, refresh_token: str) -> Tokens:
            if refresh_token in failing:
                raise ClientMisconfigured("Not in this directory", error="unauthorized_client", error_codes=(700016,))
            return refresh(app, refresh_token)

        with mock.patch.object(OAuthApp, "refresh", unwilling), self.assertLogs("integrations", "WARNING"):
            for minute in range(12):
                keep_alive(oauth_app, timezone.now() + timedelta(minutes=minute))
        self.assertEqual(self.stored().renewed_at, NOON + IDLE)

    def test_one_that_cannot_be_read_does_not_stop_the_others(self) -> None:
        [unreadable] = self.other_sign_ins(1)
        with database.cursor() as cursor:
            cursor.execute(
                "UPDATE integrations_connection SET refresh_token = %s WHERE id = %s", ["gAAAA-torn", unreadable.pk]
            )
        self.time.shift(IDLE)
        with self.assertLogs("integrations", "WARNING"):
            self.assertEqual(keep_alive(oauth_app, timezone.now()), 1)
        self.assertEqual(self.stored().renewed_at, NOON + IDLE)

    def test_our_own_misconfiguration_is_asked_about_once_for_all(self) -> None:
        self.microsoft.connect(make_site("Second", self.alice), self.alice)
        self.microsoft.paths.clear()
        self.time.shift(IDLE)
        with override_settings(MICROSOFT_CLIENT_SECRET="expired"), self.assertLogs("integrations", "ERROR"):
            self.assertEqual(keep_alive(oauth_app, timezone.now()), 0)
        self.assertEqual(self.microsoft.token_calls, 1)


class ManyWorkersTest(TransactionTestCase):
    def test_eight_workers_ask_for_one_new_token_at_each_expiry(self) -> None:
        alice = make_user("alice")
        site = make_site("Harbor & Pine", alice)
        with EmulatedMicrosoft() as microsoft:
            connection = microsoft.connect(site, alice)
            begin_together = threading.Barrier(8)

            def renew(stale: str) -> str:
                begin_together.wait(timeout=30)
                try:
                    return ConnectionTokens(connection.pk, oauth_app).renew(stale)
                finally:
                    connections.close_all()

            with ThreadPoolExecutor(8) as workers:
                for _expiry in range(5):
                    microsoft.paths.clear()
                    stale = Connection.objects.get().access_token
                    tokens = set(workers.map(renew, [stale] * 8))
                    self.assertEqual(microsoft.token_calls, 1)
                    self.assertEqual(tokens, {Connection.objects.get().access_token})
