"""Where settings, tokens and the client meet: whose account is named, what stays open, what a missing setting says."""

import time

import requests
from django.test import override_settings

from integrations import microsoft
from integrations.connecting import add_accounts
from integrations.goals import uet_tags
from integrations.microsoft import client_for, client_for_connection, forget_sessions, oauth_app
from integrations.microsoft_ads.emulator.world import AGENCY_USER, ALDER, ALDER_SEARCH, SEARCH_US
from integrations.microsoft_ads.errors import ClientMisconfigured, NoAnswer
from integrations.models import AdAccount
from tests.cast import NOON, CastTestCase, make_account
from tests.integrations.microsoft_ads.canned import PURCHASE
from tests.support.microsoft import EmulatedMicrosoft
from tests.support.peer import HEAD, peer, trickling


class ClientForTest(CastTestCase):
    def setUp(self) -> None:
        self.microsoft = self.enterContext(EmulatedMicrosoft())

    def test_it_names_the_account_and_the_customer_that_owns_it(self) -> None:
        AdAccount.objects.all().delete()
        connection = self.microsoft.connect(self.site, self.alice, AGENCY_USER)
        for account in add_accounts(connection, [ALDER_SEARCH, SEARCH_US], self.alice, NOON):
            uet_tags(account)
        named = [(call.account_id, call.customer_id) for call in self.microsoft.calls("UetTags/QueryByIds")]
        self.assertEqual(named, [(ALDER_SEARCH, ALDER), (SEARCH_US, "251093876")])

    def test_a_missing_developer_token_is_the_operators(self) -> None:
        with override_settings(MICROSOFT_DEVELOPER_TOKEN=""):
            with self.assertRaisesMessage(ClientMisconfigured, "MICROSOFT_DEVELOPER_TOKEN is not set."):
                client_for(self.account)
            with self.assertRaisesMessage(ClientMisconfigured, "MICROSOFT_DEVELOPER_TOKEN is not set."):
                client_for_connection(self.account.connection)

    def test_a_developer_token_that_no_header_carries_is_the_operators(self) -> None:
        for token in ("two words", "token\n", "jeton-é"):
            with (
                self.subTest(token),
                override_settings(MICROSOFT_DEVELOPER_TOKEN=token),
                self.assertRaisesMessage(ClientMisconfigured, "MICROSOFT_DEVELOPER_TOKEN has a space"),
            ):
                client_for(self.account)

    def test_a_missing_client_id_is_the_operators(self) -> None:
        with override_settings(MICROSOFT_CLIENT_ID=""), self.assertRaisesMessage(ClientMisconfigured, "CLIENT_ID"):
            oauth_app()

    def test_the_sandbox_has_a_scope_of_its_own(self) -> None:
        with override_settings(MICROSOFT_ENVIRONMENT="sandbox"):
            self.assertIn("si.ads.microsoft.com", oauth_app().authorization("state").url)


class OpenSessionsTest(CastTestCase):
    def setUp(self) -> None:
        forget_sessions()
        self.addCleanup(forget_sessions)

    def session_of(self, account: AdAccount) -> requests.Session:
        return client_for(account)._session

    def test_an_account_keeps_its_connection_open(self) -> None:
        self.assertIs(self.session_of(self.account), self.session_of(self.account))

    def test_two_accounts_share_none(self) -> None:
        other = make_account(self.site, "99")
        self.assertIsNot(self.session_of(self.account), self.session_of(other))

    def test_the_longest_unused_is_closed_when_there_are_too_many(self) -> None:
        first = self.session_of(self.account)
        others = [AdAccount(pk=10_000 + n, account_id="1", customer_id="2") for n in range(microsoft.SESSIONS_KEPT)]
        for account in others:
            account.connection_id = self.account.connection_id
            self.session_of(account)
        self.assertIsNot(self.session_of(self.account), first)
        self.assertIs(self.session_of(others[-1]), self.session_of(others[-1]))


class DeadlineTest(CastTestCase):
    def setUp(self) -> None:
        forget_sessions()
        self.addCleanup(forget_sessions)

    def test_a_head_that_trickles_is_cut_off_when_the_upload_is_over_time(self) -> None:
        with (
            peer(trickling(HEAD + b"X-Endless: ", b"x")) as base,
            override_settings(MICROSOFT_CAMPAIGN_URL=base, UPLOAD_TIMEOUT_SECONDS=0.25),
        ):
            client = client_for(self.account)
            started = time.monotonic()
            with self.assertRaises(NoAnswer):
                client.apply_offline_conversions([PURCHASE])
        self.assertLess(time.monotonic() - started, 5)  # the peer goes on for ten
