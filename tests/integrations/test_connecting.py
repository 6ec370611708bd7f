"""Connecting, as a person lives it: out to Microsoft's page and back, and every way that can go wrong."""

from datetime import timedelta
from unittest import mock
from urllib.parse import parse_qs, urlsplit

import time_machine
from django.contrib.sessions.backends.db import SessionStore
from django.test import override_settings
from django.utils import timezone

from ingest.models import AuditEntry, Membership, Role
from integrations.connecting import (
    MAX_OPEN_ATTEMPTS,
    SESSION_KEY,
    ConnectRefused,
    begin,
    disconnect,
    finish,
    waiting_beside,
)
from integrations.microsoft_ads.emulator.world import AGENCY_USER, MARKETER, NO_ACCOUNTS_USER
from integrations.microsoft_ads.errors import ScopeNotGranted
from integrations.microsoft_ads.oauth import OAuthApp
from integrations.models import AdAccount, Connection
from tests.cast import NOON, CastTestCase, make_connection, make_site
from tests.support.microsoft import EmulatedMicrosoft


class Journey(CastTestCase):
    """Alice's site with nothing connected, a Microsoft beside it, and a clock that stands at noon."""

    def setUp(self) -> None:
        AdAccount.objects.all().delete()
        Connection.objects.all().delete()
        self.time = self.enterContext(time_machine.travel(NOON, tick=False))
        self.microsoft = self.enterContext(EmulatedMicrosoft())
        self.session = SessionStore()

    def begin(self) -> str:
        return begin(self.session, self.alice, self.site, timezone.now())

    def finish(self, query: dict[str, str]) -> Connection:
        return finish(self.session, self.alice, query, timezone.now())


class TheWayOutTest(Journey):
    def test_it_asks_microsoft_for_this_product_and_lets_the_person_choose_a_user(self) -> None:
        asked = parse_qs(urlsplit(self.begin()).query)
        self.assertEqual(asked["client_id"], ["emulator-client"])
        self.assertEqual(asked["scope"], ["https://ads.microsoft.com/msads.manage offline_access"])
        self.assertEqual(asked["code_challenge_method"], ["S256"])
        self.assertEqual(asked["prompt"], ["select_account"])

    def test_the_way_back_is_the_configured_address_whatever_host_a_request_names(self) -> None:
        with override_settings(PUBLIC_URL="https://convultra.example", ALLOWED_HOSTS=["*"]):
            asked = parse_qs(urlsplit(self.begin()).query)
        self.assertEqual(asked["redirect_uri"], ["https://convultra.example/integrations/microsoft/callback/"])

    def test_each_attempt_has_a_state_of_256_random_bits(self) -> None:
        states = {parse_qs(urlsplit(self.begin()).query)["state"][0] for _ in range(3)}
        self.assertEqual(len(states), 3)
        self.assertGreaterEqual(min(len(state) for state in states), 43)

    def test_the_verifier_never_leaves_the_server(self) -> None:
        url = self.begin()
        for attempt in self.session[SESSION_KEY].values():
            self.assertNotIn(attempt["code_verifier"], url)

    def test_a_session_remembers_only_the_newest_attempts(self) -> None:
        for _ in range(MAX_OPEN_ATTEMPTS + 3):
            self.time.shift(timedelta(seconds=1))
            newest = parse_qs(urlsplit(self.begin()).query)["state"][0]
        self.assertEqual(len(self.session[SESSION_KEY]), MAX_OPEN_ATTEMPTS)
        self.assertIn(newest, self.session[SESSION_KEY])

    def test_a_missing_setting_is_told_as_the_operators(self) -> None:
        with override_settings(MICROSOFT_CLIENT_SECRET=""), self.assertRaises(ConnectRefused) as refused:
            self.begin()
        self.assertIn("operator", refused.exception.what_to_do)


class TheWayBackTest(Journey):
    def test_it_keeps_the_tokens_and_whose_they_are(self) -> None:
        connection = self.finish(self.microsoft.sign_in(self.begin()))
        connection.refresh_from_db()
        self.assertEqual(connection.site, self.site)
        self.assertEqual(connection.microsoft_user_name, MARKETER)
        self.assertEqual(connection.status, Connection.Status.CONNECTED)
        self.assertIn(connection.access_token, self.microsoft.books.grants)
        self.assertEqual(connection.expires_at, NOON + timedelta(hours=1))
        self.assertEqual(connection.connected_by, self.alice)

    def test_the_state_is_gone_from_the_session_afterwards(self) -> None:
        self.finish(self.microsoft.sign_in(self.begin()))
        self.assertEqual(self.session[SESSION_KEY], {})

    def test_a_user_without_accounts_is_connected_all_the_same(self) -> None:
        connection = self.finish(self.microsoft.sign_in(self.begin(), NO_ACCOUNTS_USER))
        self.assertEqual(connection.microsoft_user_name, NO_ACCOUNTS_USER)

    def test_an_attempt_left_open_in_another_tab_still_works(self) -> None:
        first = self.microsoft.sign_in(self.begin())
        self.begin()
        self.assertEqual(self.finish(first).site, self.site)


class ReconnectingTest(Journey):
    def test_the_same_microsoft_user_renews_the_connection(self) -> None:
        before = self.finish(self.microsoft.sign_in(self.begin()))
        disconnect(before, self.alice, timezone.now())
        after = self.finish(self.microsoft.sign_in(self.begin()))
        self.assertEqual(after.pk, before.pk)
        self.assertEqual(after.status, Connection.Status.CONNECTED)
        self.assertEqual(after.last_error, "")
        self.assertGreater(after.token_version, before.token_version)

    def come_back_as(self, user_name: str, reconnect: Connection) -> Connection:
        address = begin(self.session, self.alice, self.site, timezone.now(), reconnect)
        return self.finish(self.microsoft.sign_in(address, user_name))

    def test_whoever_comes_back_as_somebody_else_is_told_and_nothing_is_changed(self) -> None:
        wanted = self.finish(self.microsoft.sign_in(self.begin()))
        before = Connection.objects.values_list().get()
        with self.assertRaises(ConnectRefused) as caught:
            self.come_back_as(AGENCY_USER, wanted)
        self.assertEqual(
            caught.exception.title, f"You signed in to Microsoft as {AGENCY_USER}, and this sign-in is {MARKETER}’s."
        )
        self.assertIn("Nothing was changed. Choose Reconnect again", caught.exception.what_to_do)
        self.assertEqual(Connection.objects.values_list().get(), before)

    def test_the_audit_log_has_who_came_back_as_whom(self) -> None:
        wanted = self.finish(self.microsoft.sign_in(self.begin()))
        with self.assertRaises(ConnectRefused):
            self.come_back_as(AGENCY_USER, wanted)
        entry = AuditEntry.objects.get(action="sign_in.other_user")
        self.assertEqual((entry.actor, entry.target, entry.site), (self.alice, MARKETER, self.site))
        self.assertEqual(entry.details, {"came_back_as": AGENCY_USER})

    def test_the_person_meant_reconnects_it(self) -> None:
        wanted = self.finish(self.microsoft.sign_in(self.begin()))
        self.assertEqual(self.come_back_as(MARKETER, wanted), wanted)
        actions = AuditEntry.objects.order_by("pk").values_list("action", flat=True)
        self.assertEqual(list(actions), ["sign_in.connect", "sign_in.reconnect"])

    def test_another_microsoft_user_is_a_connection_beside_it_and_the_page_is_warned(self) -> None:
        waiting = make_connection(
            self.site, status=Connection.Status.NEEDS_RECONNECT, microsoft_user_name="old@x.example"
        )
        AdAccount.objects.create(site=self.site, connection=waiting, account_id="1", customer_id="2", name="Old")
        connection = self.finish(self.microsoft.sign_in(self.begin(), AGENCY_USER))
        self.assertNotEqual(connection.pk, waiting.pk)
        self.assertIn("old@x.example still needs to be reconnected", waiting_beside(connection))

    def test_there_is_no_warning_when_nothing_waits(self) -> None:
        self.assertEqual(waiting_beside(self.finish(self.microsoft.sign_in(self.begin()))), "")

    def test_two_sites_keep_connections_of_their_own(self) -> None:
        first = self.finish(self.microsoft.sign_in(self.begin()))
        other = make_site("Alice's second shop", self.alice)
        second = self.microsoft.connect(other, self.alice)
        self.assertNotEqual(first.pk, second.pk)

    def test_disconnecting_destroys_the_tokens_and_keeps_the_accounts(self) -> None:
        connection = self.finish(self.microsoft.sign_in(self.begin()))
        AdAccount.objects.create(site=self.site, connection=connection, account_id="1", customer_id="2", name="Kept")
        disconnect(connection, self.alice, timezone.now())
        stored = Connection.objects.filter(pk=connection.pk).values_list("access_token", "refresh_token")
        self.assertEqual(list(stored), [("", "")])
        self.assertEqual(AuditEntry.objects.filter(action="sign_in.disconnect", actor=self.alice).count(), 1)
        self.assertEqual(connection.status, Connection.Status.NEEDS_RECONNECT)
        self.assertTrue(AdAccount.objects.filter(name="Kept", is_active=True).exists())


class RefusedTest(Journey):
    """Each ends with words for the person and without a token in the database."""

    def assert_refused(self, query: dict[str, str], words: str, session: SessionStore | None = None) -> ConnectRefused:
        with self.assertRaises(ConnectRefused) as caught:
            finish(session if session is not None else self.session, self.alice, query, timezone.now())
        refused = caught.exception
        self.assertIn(words, f"{refused.title} {refused.what_to_do}")
        self.assertTrue(refused.title.endswith("."))
        self.assertFalse(Connection.objects.exists())
        return refused

    def test_a_state_is_missing(self) -> None:
        query = self.microsoft.sign_in(self.begin())
        del query["state"]
        self.assert_refused(query, "did not begin here")

    def test_a_state_is_made_up(self) -> None:
        self.assert_refused(self.microsoft.sign_in(self.begin()) | {"state": "x" * 43}, "did not begin here")

    def test_a_state_is_used_twice(self) -> None:
        query = self.microsoft.sign_in(self.begin(), accept=False)
        self.assert_refused(query, "Access was not granted")
        self.assert_refused(query, "used already")

    def test_it_comes_back_to_another_session(self) -> None:
        query = self.microsoft.sign_in(self.begin())
        self.assert_refused(query, "did not begin here", session=SessionStore())

    def test_it_comes_back_to_another_person(self) -> None:
        query = self.microsoft.sign_in(self.begin())
        with self.assertRaisesMessage(ConnectRefused, "as another person"):
            finish(self.session, self.charlie, query, timezone.now())
        self.assertFalse(Connection.objects.exists())

    def test_it_took_more_than_ten_minutes(self) -> None:
        query = self.microsoft.sign_in(self.begin())
        self.time.shift(timedelta(minutes=10, seconds=1))
        refused = self.assert_refused(query, "more than ten minutes")
        self.assertEqual(refused.site, self.site)

    def test_the_code_was_used_already(self) -> None:
        query = self.microsoft.sign_in(self.begin())
        grant = self.microsoft.books.grants[query["code"]]
        grant.spent_at = timezone.now()
        self.assert_refused(query, "did not accept the sign-in's code")

    def test_the_code_has_expired(self) -> None:
        query = self.microsoft.sign_in(self.begin())
        self.time.shift(timedelta(minutes=6))
        self.assert_refused(query, "a few minutes only")

    def test_the_code_belongs_to_another_attempt_with_another_verifier(self) -> None:
        stolen = self.microsoft.sign_in(self.begin())["code"]
        self.assert_refused(
            self.microsoft.sign_in(self.begin()) | {"code": stolen}, "did not accept the sign-in's code"
        )

    def test_the_environment_changed_meanwhile(self) -> None:
        query = self.microsoft.sign_in(self.begin())
        with override_settings(MICROSOFT_ENVIRONMENT="sandbox"):
            self.assert_refused(query, "another Microsoft environment")

    def test_the_answer_names_another_issuer(self) -> None:
        query = self.microsoft.sign_in(self.begin()) | {"iss": "https://login.evil.example/common/v2.0"}
        self.assert_refused(query, "did not come from the Microsoft sign-in")

    def test_consent_was_declined(self) -> None:
        refused = self.assert_refused(self.microsoft.sign_in(self.begin(), accept=False), "Access was not granted")
        self.assertEqual(refused.site, self.site)

    def test_the_role_was_taken_away_meanwhile(self) -> None:
        query = self.microsoft.sign_in(self.begin())
        Membership.objects.filter(user=self.alice).update(role=Role.MARKETER)
        self.assert_refused(query, "Ask an owner or admin")

    def test_the_person_left_the_site_meanwhile(self) -> None:
        query = self.microsoft.sign_in(self.begin())
        Membership.objects.filter(user=self.alice).delete()
        self.assert_refused(query, "no longer a member")

    def test_there_is_no_code(self) -> None:
        query = self.microsoft.sign_in(self.begin())
        self.assert_refused({"state": query["state"]}, "no code in it")

    def test_our_secret_is_wrong(self) -> None:
        query = self.microsoft.sign_in(self.begin())
        with override_settings(MICROSOFT_CLIENT_SECRET="expired"), self.assertLogs("integrations", "ERROR"):
            self.assert_refused(query, "only the operator")

    def test_our_developer_token_is_wrong(self) -> None:
        query = self.microsoft.sign_in(self.begin())
        with override_settings(MICROSOFT_DEVELOPER_TOKEN="wrong"), self.assertLogs("integrations", "ERROR"):
            self.assert_refused(query, "only the operator")

    def test_microsofts_sign_in_is_away(self) -> None:
        query = self.microsoft.sign_in(self.begin())
        self.microsoft.fault("token", "503")
        self.assert_refused(query, "Try again in a minute")

    def test_the_service_is_away_after_the_sign_in(self) -> None:
        query = self.microsoft.sign_in(self.begin())
        self.microsoft.fault("User/Query", "close_before")
        self.assert_refused(query, "Try again in a minute")

    def test_leave_to_manage_ads_was_not_given(self) -> None:
        query = self.microsoft.sign_in(self.begin())
        with mock.patch.object(OAuthApp, "redeem", side_effect=ScopeNotGranted("no msads.manage")):
            self.assert_refused(query, "accept every permission")

    def test_what_comes_back_is_nonsense(self) -> None:
        for nonsense in ({}, {"state": "\0"}, {"code": "x" * 99_999}, {"error": "é" * 999}, {"state": "", "code": ""}):
            with self.subTest(nonsense):
                self.assert_refused(nonsense, "did not begin here")

    def test_the_sign_in_page_reports_an_error_of_our_request(self) -> None:
        state = self.microsoft.sign_in(self.begin())["state"]
        with self.assertLogs("integrations", "ERROR"):
            self.assert_refused({"state": state, "error": "invalid_scope"}, "only the operator")

    def test_no_token_or_code_is_in_a_refusal_or_a_log(self) -> None:
        query = self.microsoft.sign_in(self.begin())
        self.microsoft.fault("User/Query", "503")
        with self.assertLogs("integrations", "DEBUG") as logs:
            refused = self.assert_refused(query, "could not be reached")
        said = "\n".join([*logs.output, repr(refused), str(refused)])
        for token in self.microsoft.books.grants:
            self.assertNotIn(token, said)
