"""The demo's data: an owner, a site that is connected to the local Microsoft, and one that is not yet.

Every step looks first whether it was done, so that an interrupted run is simply run again.
"""

from datetime import datetime
from html.parser import HTMLParser
from urllib.parse import parse_qsl, urlsplit

import requests
from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.db import transaction

from ingest.models import Membership, Organisation, Role, Site
from integrations.connecting import add_accounts, begin, finish
from integrations.mapping import Rule, set_mapping
from integrations.models import AdAccount, Connection

SHOP, OUTLET = "Harbor & Pine", "Harbor & Pine Outlet"
MICROSOFT_USER = "ads@harborpine.example"
ACCOUNT_ID = "138204417"
GOALS = {"purchase": "Purchase", "lead": "Trade enquiry", "signup": "Account Registration"}


def seed(email: str, password: str, now: datetime) -> Site:
    """Make what is missing; return the connected site."""
    owner = _owner(email, password)
    with transaction.atomic():
        organisation, _ = Organisation.objects.get_or_create(name="Brightpath Media")
        Membership.objects.get_or_create(user=owner, organisation=organisation, defaults={"role": Role.OWNER})
        shop, _outlet = (_site(organisation, name) for name in (SHOP, OUTLET))
    if not shop.ad_accounts.exists():
        add_accounts(connect(shop, owner, now), [ACCOUNT_ID], owner, now)
    account = shop.ad_accounts.get(account_id=ACCOUNT_ID)
    if not account.mappings.exists():
        _map(account, owner, now)
    return shop


def _owner(email: str, password: str) -> User:
    owner, is_new = User.objects.get_or_create(
        username=email,
        defaults={"email": email, "first_name": "Maya", "last_name": "Okafor", "is_staff": True, "is_superuser": True},
    )
    if is_new:
        owner.set_password(password)
        owner.save(update_fields=["password"])
    return owner


def _site(organisation: Organisation, name: str) -> Site:
    site, _ = Site.objects.update_or_create(
        organisation=organisation, name=name, defaults={"allowed_origins": [settings.PUBLIC_URL]}
    )
    return site


def connect(site: Site, owner: User, now: datetime, microsoft_user: str = MICROSOFT_USER) -> Connection:
    """Walk the local Microsoft's sign-in as a browser would: open its page, press Accept, come back with the code."""
    session = SessionStore()
    address = begin(session, owner, site, now)
    page = requests.get(address, timeout=10)
    page.raise_for_status()
    form = _Form()
    form.feed(page.text)
    fields = form.hidden | {"user": microsoft_user, "decision": "accept"}
    back = requests.post(page.url, data=fields, timeout=10, allow_redirects=False)
    query = dict(parse_qsl(urlsplit(back.headers["Location"]).query))
    return finish(session, owner, query, now)


class _Form(HTMLParser):
    """Collects the hidden fields of a page's form."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "input" and given.get("type") == "hidden" and given.get("name"):
            self.hidden[str(given["name"])] = given.get("value") or ""


def _map(account: AdAccount, owner: User, now: datetime) -> None:
    for event_name, goal_name in GOALS.items():
        goal = account.goals.get(name=goal_name)
        set_mapping(account, event_name, Rule(goal.goal_id), owner, now)
