"""Which accounts a sign-in brings, and what becomes of those that a person chooses."""

from datetime import timedelta

import time_machine
from django.utils import timezone

from integrations.connecting import (
    AccountsRefused,
    ReachableAccount,
    add_accounts,
    disconnect,
    reachable_accounts,
    remove_account,
)
from integrations.microsoft_ads.emulator.books import VIEWER, Role
from integrations.microsoft_ads.emulator.world import (
    AGENCY_USER,
    ALDER,
    ALDER_SEARCH,
    CANADA,
    HARBOR,
    MARKETER,
    NO_ACCOUNTS_USER,
    SEARCH_US,
    VIEW_ONLY_USER,
)
from integrations.microsoft_ads.emulator.world import (
    add_accounts as add_more_accounts,
)
from integrations.microsoft_ads.errors import MicrosoftAdsError
from integrations.models import AdAccount, Connection
from tests.cast import NOON, CastTestCase
from tests.support.microsoft import EmulatedMicrosoft


class Accounts(CastTestCase):
    """Alice's site with a Microsoft beside it, nothing connected yet."""

    def setUp(self) -> None:
        AdAccount.objects.all().delete()
        Connection.objects.all().delete()
        self.time = self.enterContext(time_machine.travel(NOON, tick=False))
        self.microsoft = self.enterContext(EmulatedMicrosoft())

    def accounts_of(self, user_name: str) -> set[str]:
        user = self.microsoft.books.user_named(user_name)
        assert user is not None
        return {account.id for account in self.microsoft.books.accounts_of(user)}

    def connect(self, user_name: str = MARKETER) -> Connection:
        return self.microsoft.connect(self.site, self.alice, user_name)

    def add(self, connection: Connection, *account_ids: str) -> list[AdAccount]:
        return add_accounts(connection, account_ids, self.alice, timezone.now())


class ReachableAccountsTest(Accounts):
    def found(self, user_name: str) -> dict[str, ReachableAccount]:
        return {account.account_id: account for account in reachable_accounts(self.connect(user_name))}

    def test_it_lists_every_account_of_the_sign_in(self) -> None:
        found = self.found(MARKETER)
        self.assertEqual(set(found), self.accounts_of(MARKETER))
        self.assertEqual(found[SEARCH_US].name, "Search – US")
        self.assertEqual(found[SEARCH_US].customer_id, HARBOR)

    def test_an_agency_gets_each_accounts_own_customer(self) -> None:
        found = self.found(AGENCY_USER)
        self.assertEqual(found[ALDER_SEARCH].customer_id, ALDER)
        self.assertEqual(found[SEARCH_US].customer_id, HARBOR)

    def test_an_id_above_two_to_the_53_keeps_every_digit(self) -> None:
        self.assertIn("9007199254740993", self.found(AGENCY_USER))

    def test_it_reads_every_page(self) -> None:
        add_more_accounts(self.microsoft.books, MARKETER, 2_001)
        self.assertEqual(set(self.found(MARKETER)), self.accounts_of(MARKETER))
        self.assertEqual(len(self.microsoft.calls("Accounts/Search")), 3)

    def test_who_may_only_view_is_told_which_role_is_missing(self) -> None:
        account = self.found(VIEW_ONLY_USER)[SEARCH_US]
        self.assertFalse(account.can_upload)
        self.assertIn("Ask its owner for the Standard user role", account.why_not)

    def test_a_standard_user_can_upload(self) -> None:
        account = self.found(MARKETER)[SEARCH_US]
        self.assertTrue(account.can_upload)
        self.assertEqual(account.why_not, "")

    def test_a_user_without_accounts_gets_an_empty_list(self) -> None:
        self.assertEqual(self.found(NO_ACCOUNTS_USER), {})


class AddAccountsTest(Accounts):
    def test_each_account_gets_its_own_goals(self) -> None:
        search, canada = self.add(self.connect(AGENCY_USER), SEARCH_US, CANADA)
        self.assertIn("Purchase", search.goals.values_list("name", flat=True))
        self.assertEqual(set(canada.goals.values_list("name", flat=True)), {"Achat en ligne", "Lead  Form "})
        self.assertEqual((canada.currency, canada.time_zone), ("CAD", "EasternTimeUSCanada"))
        self.assertEqual(canada.goals_synced_at, NOON)

    def test_an_id_above_two_to_the_53_is_asked_for_by_its_own_digits(self) -> None:
        (account,) = self.add(self.connect(AGENCY_USER), ALDER_SEARCH)
        self.assertEqual((account.account_id, account.customer_id), (ALDER_SEARCH, ALDER))
        self.assertEqual(account.goals.get().goal_id, "9007199254740995")

    def test_an_account_that_the_sign_in_does_not_reach_adds_none_of_them(self) -> None:
        with self.assertRaisesMessage(AccountsRefused, "does not reach one of the accounts"):
            self.add(self.connect(), SEARCH_US, ALDER_SEARCH)
        self.assertFalse(AdAccount.objects.exists())

    def test_a_view_only_account_adds_none_of_them(self) -> None:
        with self.assertRaisesMessage(AccountsRefused, "Search – US: You can view this account"):
            self.add(self.connect(VIEW_ONLY_USER), SEARCH_US)
        self.assertFalse(AdAccount.objects.exists())

    def test_an_account_of_another_sign_in_moves_with_its_mapping(self) -> None:
        (account,) = self.add(self.connect(), SEARCH_US)
        agency = self.connect(AGENCY_USER)
        (moved,) = self.add(agency, SEARCH_US)
        self.assertEqual(moved.pk, account.pk)
        self.assertEqual(moved.connection, agency)

    def test_a_removed_account_comes_back_with_its_goals(self) -> None:
        connection = self.connect()
        (account,) = self.add(connection, SEARCH_US)
        remove_account(account, self.alice, timezone.now())
        self.assertFalse(AdAccount.objects.active().exists())
        (again,) = self.add(connection, SEARCH_US)
        self.assertEqual(again.pk, account.pk)
        self.assertTrue(again.is_active)

    def test_an_account_that_is_added_again_is_the_workers_to_read_at_once(self) -> None:
        connection = self.connect()
        self.add(connection, SEARCH_US)
        AdAccount.objects.update(next_sync_at=NOON + timedelta(hours=1))
        self.add(connection, SEARCH_US)
        self.assertEqual(AdAccount.objects.get().next_sync_at, NOON)

    def test_an_account_whose_goals_cannot_be_read_is_added_without(self) -> None:
        connection = self.connect()
        self.microsoft.fault("ConversionGoals/QueryByIds", "503")
        with self.assertLogs("integrations", "WARNING"):
            (account,) = self.add(connection, SEARCH_US)
        self.assertIsNone(account.goals_synced_at)

    def test_nothing_is_added_while_microsoft_is_away(self) -> None:
        connection = self.connect()
        self.microsoft.fault("Accounts/Search", "503")
        with self.assertRaises(MicrosoftAdsError):
            self.add(connection, SEARCH_US)
        self.assertFalse(AdAccount.objects.exists())

    def test_access_that_was_lost_meanwhile_refuses_the_account(self) -> None:
        connection = self.connect()
        user = self.microsoft.books.user_named(MARKETER)
        assert user is not None
        user.roles = (Role(VIEWER, HARBOR),)
        with self.assertRaises(AccountsRefused):
            self.add(connection, SEARCH_US)

    def test_a_disconnected_sign_in_reaches_nothing(self) -> None:
        connection = self.connect()
        disconnect(connection, self.alice, timezone.now())
        calls = len(self.microsoft.paths)
        with self.assertRaisesMessage(MicrosoftAdsError, "Reconnect to go on"):
            reachable_accounts(connection)
        self.assertEqual(len(self.microsoft.paths), calls)

    def test_an_expired_token_is_renewed_on_the_way(self) -> None:
        connection = self.connect()
        self.time.shift(timedelta(hours=2))
        self.assertEqual(len(reachable_accounts(connection)), len(self.accounts_of(MARKETER)))
