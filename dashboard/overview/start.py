"""The first three steps of a site, and what arrives while they are taken: counts with a limit, and the roll-up."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from dashboard import wording
from dashboard.frame import account_url, url_or_nothing
from forwarding.models import Delivery, EventDay, Status
from forwarding.money import Money, add_money
from forwarding.times import CONVERSION_LIFE
from ingest.models import Event, Site
from integrations.models import AdAccount

MAX_COUNTED = 10_000


@dataclass(frozen=True, slots=True)
class Start:
    """How far a site is: its first event, its accounts, whether Microsoft ever took something; and what arrived.

    `clicks` and `events` are written; beyond MAX_COUNTED they end with a plus.
    """

    first_event: Event | None
    accounts: Sequence[AdAccount]
    has_delivered: bool
    events: str
    clicks: str
    with_click: int
    worth: str
    install_href: str
    connect_href: str
    test_href: str
    logs_href: str

    @property
    def done(self) -> int:
        """Return how many of the three steps are done."""
        return sum((self.first_event is not None, bool(self.accounts), self.has_delivered))


def start(site: Site, accounts: Sequence[AdAccount], now: datetime) -> Start:
    """Return how far a site is, in five queries."""
    first = site.events.order_by("received_at", "id").first()
    values: Money = {}
    with_click = 0
    days = EventDay.objects.filter(
        site=site, day__gt=now.date() - timedelta(days=CONVERSION_LIFE.days), name="purchase"
    )
    for currency, count, worth in days.values_list("currency", "with_click", "click_value"):
        with_click += count
        if worth:
            add_money(values, currency, worth)
    account = accounts[0] if accounts else None
    return Start(
        first,
        accounts,
        has_delivered(accounts),
        wording.capped(site.events.order_by()[: MAX_COUNTED + 1].count(), MAX_COUNTED),
        wording.capped(site.clicks.order_by()[: MAX_COUNTED + 1].count(), MAX_COUNTED),
        with_click,
        wording.sums(values, site.currency) if values else "",
        url_or_nothing("install", site.public_id),
        url_or_nothing("integrations", site.public_id),
        account_url(site, account, "test") if account else "",
        account_url(site, account, "logs") if account else "",
    )


def has_delivered(accounts: Sequence[AdAccount]) -> bool:
    """Say whether Microsoft ever accepted something for one of these accounts."""
    return bool(accounts) and Delivery.objects.filter(account__in=accounts, status=Status.DELIVERED).exists()
