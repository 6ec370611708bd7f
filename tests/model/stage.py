"""What every example starts from: two tenants, three accounts, one Microsoft. Made once; examples roll back to it."""

from dataclasses import dataclass, replace
from datetime import timedelta

import time_machine
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.utils import timezone

from ingest.models import ServerKey, Site
from integrations.connecting import add_accounts
from integrations.microsoft_ads.emulator.books import Books
from integrations.microsoft_ads.emulator.world import AGENCY_USER, MARKETER, SEARCH_US, SHOPPING_US, demo_books
from integrations.models import AdAccount, Connection
from tests.cast import NOON, make_site, make_user
from tests.model import ledger
from tests.support.microsoft import EmulatedMicrosoft

TALLIS_UK = "138206102"


@dataclass
class Shop:
    """A tenant: its site, whose it is, the Microsoft user it signed in with, and its backend's key."""

    site: Site
    owner: User
    user_name: str
    connection: Connection
    accounts: list[AdAccount]
    secret: str


@dataclass
class Stage:
    """The shops, and Microsoft's books as they were when the shops had been connected."""

    shops: list[Shop]
    books: Books

    def fresh_books(self) -> Books:
        """Return books of this moment, for one example to write in."""
        books = demo_books(NOON)
        for grant in self.books.grants.values():
            books.place(replace(grant))
        return books


def build() -> Stage:
    """Connect two shops, the first with two accounts, at noon."""
    with time_machine.travel(NOON, tick=False), EmulatedMicrosoft() as microsoft:
        shops = [
            _shop(microsoft, "Harbor & Pine", "alice", MARKETER, "USD", [SEARCH_US, SHOPPING_US]),
            _shop(microsoft, "Tallis Vinyl", "charlie", AGENCY_USER, "GBP", [TALLIS_UK]),
        ]
        return Stage(shops, microsoft.books)


def _shop(
    microsoft: EmulatedMicrosoft, name: str, owner: str, user_name: str, currency: str, account_ids: list[str]
) -> Shop:
    person = make_user(owner)
    site = make_site(name, person)
    site.currency, site.confirm_minutes = currency, 60
    site.save(update_fields=["currency", "confirm_minutes"])
    _, secret = ServerKey.objects.mint(site)
    connection = microsoft.connect(site, person, user_name, SessionStore())
    accounts = add_accounts(connection, account_ids, person, timezone.now())
    AdAccount.objects.filter(site=site).update(enhanced_conversions=True, next_sync_at=NOON + timedelta(hours=1))
    return Shop(site, person, user_name, connection, accounts, secret)


def ledger_of(stage: Stage) -> ledger.Ledger:
    """Return empty books about the shops and what their accounts have at Microsoft."""
    accounts = [account for shop in stage.shops for account in shop.accounts]
    return ledger.Ledger(
        {account.pk: _account(account) for account in accounts}, {shop.site.pk: ledger.Shop() for shop in stage.shops}
    )


def _account(account: AdAccount) -> ledger.Account:
    """Leave out what Microsoft drops without a word: goals that are paused, count once, or want credits."""
    goals = account.goals.filter(status="Active", count_type="All").exclude(name__contains="shared")
    known = {goal.goal_id: ledger.Goal(goal.goal_id, bool(goal.is_enhanced), goal.revenue_currency) for goal in goals}
    return ledger.Account(account.pk, account.site_id, account.currency, dict(sorted(known.items())))
