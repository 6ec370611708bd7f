"""The cast of the tests: Alice owns the site, Bob is on her team, Charlie is a stranger with a site of his own."""

import uuid
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import User
from django.test import TestCase

from ingest.models import Event, Membership, Organisation, Role, Site, Source
from integrations.models import AdAccount, Connection, ConversionGoal, GoalMapping

NOON = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
CLICK_ID = "f894f652ea334e739002f7167ab8f8e3"
PASSWORD = "correct horse battery"


class CastTestCase(TestCase):
    """A test case with the cast on stage and an account of Alice's that forwards purchases."""

    alice: User
    bob: User
    charlie: User
    site: Site
    account: AdAccount
    goal: ConversionGoal
    mapping: GoalMapping

    @classmethod
    def setUpTestData(cls) -> None:
        cls.alice, cls.bob, cls.charlie = (make_user(name) for name in ("alice", "bob", "charlie"))
        cls.site = make_site("Harbor & Pine", cls.alice)
        Membership.objects.create(user=cls.bob, organisation=cls.site.organisation, role=Role.MARKETER)
        make_site("Charlie's shop", cls.charlie)
        cls.account = make_account(cls.site)
        cls.goal = make_goal(cls.account, "Purchase")
        cls.mapping = GoalMapping.objects.create(account=cls.account, event_name="purchase", goal=cls.goal)


def make_user(name: str) -> User:
    """Create a person who signs in as `<name>@example.com` with PASSWORD."""
    email = f"{name}@example.com"
    return User.objects.create_user(username=email, email=email, password=PASSWORD, first_name=name.title())


def make_site(name: str, owner: User) -> Site:
    """Create an organisation with one site and its owner."""
    organisation = Organisation.objects.create(name=f"{name} Inc.")
    Membership.objects.create(user=owner, organisation=organisation, role=Role.OWNER)
    return Site.objects.create(organisation=organisation, name=name, allowed_origins=["https://shop.example"])


def make_connection(site: Site, **fields: Any) -> Connection:
    """Create a healthy Microsoft sign-in of a site."""
    given = {
        "microsoft_user_id": "5001",
        "microsoft_user_name": "ads@harborpine.example",
        "access_token": "an-access-token",
        "refresh_token": "a-refresh-token",
        "expires_at": datetime(2099, 1, 1, tzinfo=UTC),
        "connected_at": NOON,
    }
    return Connection.objects.create(site=site, **(given | fields))


def make_account(site: Site, account_id: str = "138204417", **fields: Any) -> AdAccount:
    """Create an account of a site; its sign-in too, unless `connection` is given."""
    if "connection" not in fields:
        fields["connection"] = site.connections.first() or make_connection(site)
    given = {"customer_id": "251093876", "number": "F118Q2TX", "name": "Search – US", "currency": "USD"}
    return AdAccount.objects.create(site=site, account_id=account_id, **(given | fields))


def make_goal(account: AdAccount, name: str, goal_id: str = "", **fields: Any) -> ConversionGoal:
    """Create an active offline goal that was there at the account's first reading."""
    goal_id = goal_id or str(9000 + account.goals.count() + 1)
    return ConversionGoal.objects.create(account=account, goal_id=goal_id, name=name, synced_at=NOON, **fields)


def store_event(site: Site, name: str = "purchase", **fields: Any) -> Event:
    """Store an event as ingest would: a purchase of $49.90 with a click id, two hours before noon."""
    given: dict[str, Any] = {
        "event_id": str(uuid.uuid4()),
        "occurred_at": datetime(2026, 11, 21, 10, 0, 0, tzinfo=UTC),
        "received_at": datetime(2026, 11, 21, 10, 0, 1, tzinfo=UTC),
        "source": Source.BROWSER,
        "value": Decimal("49.90"),
        "currency": "USD",
        "msclkid": CLICK_ID,
        "fingerprint": "0" * 64,
    }
    return Event.objects.create(site=site, name=name, **(given | fields))
