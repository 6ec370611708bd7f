"""The product's side of a run: its customers are set up through its own code, and in the end its rows are read."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone
from django_q.models import OrmQ
from redis import Redis

from dashboard.demo.seeding import connect
from forwarding.models import WAITING, DailyCount, Delivery, Hold, Upload
from forwarding.rows.counts import rebuild
from ingest.models import Adjustment, Event, Membership, Organisation, Role, ServerKey, Site
from integrations.connecting import add_accounts
from integrations.mapping import Rule, Value, set_mapping
from integrations.microsoft_ads.emulator.world import AGENCY_USER
from integrations.models import AdAccount, Connection
from tests.chaos.ledger import Lane
from tests.chaos.verdict import Row
from tests.chaos.world import SHOPS, Keys, Shop


def set_up() -> dict[str, Keys]:
    """Make every shop's site with its accounts and mapping; return their keys by name."""
    owner = User.objects.create_user("maya", "maya@example.com")
    organisation = Organisation.objects.create(name="Brightpath Media")
    Membership.objects.create(user=owner, organisation=organisation, role=Role.OWNER)
    return {shop.name: _set_up(shop, organisation, owner) for shop in SHOPS}


def _set_up(shop: Shop, organisation: Organisation, owner: User) -> Keys:
    site = Site.objects.create(organisation=organisation, name=shop.name)
    now = timezone.now()
    accounts = add_accounts(connect(site, owner, now, AGENCY_USER), shop.account_ids, owner, now)
    for account in accounts:
        enhanced = any(lane.account_id == account.account_id for lane in shop.enhanced)
        AdAccount.objects.filter(pk=account.pk).update(enhanced_conversions=enhanced)
        for event_name, lanes in shop.lanes.items():
            _map(account, event_name, [lane for lane in lanes if lane.account_id == account.account_id], owner, now)
        # Any goal is told of refunds, whatever its value.
        if goal := account.goals.filter(gone_at__isnull=True, status="Active").order_by("pk").first():
            set_mapping(account, "refund", Rule(goal.goal_id), owner, now)
    _, secret = ServerKey.objects.mint(site)
    return Keys(site.write_key, secret)


def _map(account: AdAccount, event_name: str, lanes: Iterable[Lane], owner: User, now: datetime) -> None:
    for lane in lanes:
        goal = account.goals.get(name=lane.goal)
        value: Value = "event" if lane.fixed is None else lane.fixed or "none"
        set_mapping(account, event_name, Rule(goal.goal_id, value), owner, now)


def wipe_queue(redis_url: str) -> None:
    """Lose every queued task: all of the run's own Redis where there is one, else the queue's table."""
    if redis_url:
        with Redis.from_url(redis_url) as redis:
            redis.flushdb()
    else:
        OrmQ.objects.all().delete()


def lift_holds() -> int:
    """Do what the alert asks staff to do where a token was refused just after its renewal; return how often."""
    held = AdAccount.objects.filter(hold_reason=Hold.OPERATOR)
    return sum(account.lift_hold() for account in held)


def unfinished() -> dict[str, int]:
    """Count what is still under way; nothing when the product has come to rest."""
    waiting = Delivery.objects.filter(status__in=WAITING)
    # A refund waits for its order as long as it may still come: some orders here never do.
    without_order = Q(hold_reason=Hold.ORIGINAL_PENDING, original=None)
    counts = {
        "events to plan": Event.objects.unplanned().count(),
        "adjustments to plan": Adjustment.objects.unplanned().count(),
        "open uploads": Upload.objects.filter(finished_at__isnull=True).count(),
        "waiting deliveries": waiting.exclude(without_order).count(),
    }
    return {what: count for what, count in counts.items() if count}


def stored_ids() -> set[str]:
    """Return the ids of every event and adjustment that is stored."""
    ids = set(Event.objects.values_list("event_id", flat=True))
    return ids | set(Adjustment.objects.values_list("adjustment_id", flat=True))


def rows() -> Iterator[Row]:
    """Yield every delivery that was meant for Microsoft."""
    fields = Delivery.objects.order_by("pk").values(
        *("pk", "kind", "status", "skip_reason", "hold_reason", "error_symbol", "error_code", "goal_name"),
        *("conversion_time", "adjustment_time", "msclkid", "email_sha256", "transaction_id", "account__account_id"),
        *("restated_value", "retracted_at", "original_id", "account__hold_reason"),
    )
    for row in fields.iterator():
        yield _row(row)


def _row(row: dict[str, Any]) -> Row:
    why = [row["skip_reason"], row["hold_reason"], row["account__hold_reason"], row["error_symbol"]]
    identity = row["msclkid"].lower() or row["email_sha256"]
    return Row(
        pk=row["pk"],
        kind=row["kind"],
        status=row["status"],
        why=", ".join(filter(None, [*why, str(row["error_code"] or "")])),
        key=(row["account__account_id"], row["goal_name"], identity, row["conversion_time"]),
        order=row["transaction_id"],
        adjustment_time=row["adjustment_time"],
        restated_value=row["restated_value"],
        is_retracted=row["retracted_at"] is not None,
        original=row["original_id"],
    )


def hidden() -> list[str]:
    """Return the events that have no row, not even a reason, in an account of their site."""
    found = []
    for account in AdAccount.objects.active():
        told = Delivery.objects.filter(account=account, event=OuterRef("pk"))
        untold = Event.objects.filter(~Exists(told), site=account.site_id).values_list("event_id", flat=True)
        found += [f"hidden: {event_id} has no row in account {account.account_id}" for event_id in untold]
    return found


def miscounts() -> list[str]:
    """Return where the daily counts differ from counting every delivery anew, which they are afterwards."""
    kept = _counts()
    rebuild(timezone.now())
    true = _counts()
    return [
        f"miscounted: {' '.join(map(str, key))}: kept {kept.get(key)}, counted {true.get(key)}"
        for key in sorted(kept.keys() | true.keys(), key=str)
        if kept.get(key) != true.get(key)
    ]


def _counts() -> dict[tuple[Any, ...], tuple[int, Decimal]]:
    lines = DailyCount.objects.filter(~Q(count=0) | ~Q(value=0))
    key = ("account", "day", "event_name", "goal_name", "status", "error", "with_click", "currency")
    return {tuple(line[:-2]): (line[-2], line[-1]) for line in lines.values_list(*key, "count", "value")}


def takeovers() -> int:
    """Return how many uploads passed from a worker that died or slept to another."""
    return Upload.objects.filter(takeovers__gt=0).count()


def broken_sign_ins() -> list[str]:
    """Return the connections that a person would have to mend, though nobody withdrew anything."""
    broken = Connection.objects.exclude(status=Connection.Status.CONNECTED)
    return [f"sign-in lost: {one} is {one.status}: {one.last_error}" for one in broken]
