"""What came last to a site, and what became of it: two queries that read a handful of rows."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Prefetch
from django.urls import reverse

from dashboard.events.listing import one_per_account
from dashboard.frame import url_or_nothing
from dashboard.logs.listing import Second, second_badge, with_correction
from forwarding.errors import words_of
from forwarding.models import Delivery, Status
from forwarding.stops import read_stops
from ingest.models import Event, Site
from integrations.models import AdAccount

SHOWN = 8


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an event in one account: its status, the account's name, and why it was not forwarded.

    `second` is what became of it afterwards: restated, retracted.
    """

    status: str
    account_name: str
    why: str
    href: str
    second: Second | None


@dataclass(frozen=True, slots=True)
class Line:
    """An event, newest first; `outcomes` are empty while it is not planned."""

    event: Event
    outcomes: Sequence[Outcome]
    href: str


def latest(site: Site, accounts: Sequence[AdAccount] = ()) -> list[Line]:
    """Return the newest events with what became of each, in these accounts or in all."""
    every = Delivery.objects.filter(account__in=accounts) if accounts else Delivery.objects.all()
    of_event = with_correction(every).select_related("account__connection")
    newest = site.events.order_by("-received_at", "-id").prefetch_related(Prefetch("deliveries", of_event))[:SHOWN]
    read_stops(delivery.account for event in newest for delivery in event.deliveries.all())
    return [
        Line(
            event,
            [_outcome(site, delivery) for delivery in one_per_account(event.deliveries.all())],
            url_or_nothing("event", site.public_id, event.event_id),
        )
        for event in newest
    ]


def _outcome(site: Site, delivery: Delivery) -> Outcome:
    words = words_of(delivery) if delivery.status != Status.DELIVERED else None
    href = reverse("dashboard:account-delivery", args=[site.public_id, delivery.account.account_id, delivery.public_id])
    why = words.title if words else ""
    return Outcome(delivery.status, delivery.account.name, why, href, second_badge(delivery))
