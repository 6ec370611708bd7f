"""From events to deliveries: for each stored event and each active account of its site, one row.

A batch is one transaction: its events are locked, their deliveries written, and `planned_at` set, so that an event
is planned once however many planners run. Safe to run at any time and twice.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.db import IntegrityError, transaction

from convultra import failpoints
from forwarding.click_resolution import any_case, resolve_clicks
from forwarding.conversions import MatchKey, Settle, draft, match_key, shift_by_a_second, skipped
from forwarding.counts import Move, record_moves
from forwarding.models import Delivery, Kind, Skip, Status
from ingest.models import Event
from integrations.models import AdAccount, GoalMapping

PLAN_BATCH = 1000
MAX_SHIFT_SECONDS = 60
_Lane = tuple[int, str]  # an account and a dedupe key


def plan_all(now: datetime, max_batches: int | None = None) -> int:
    """Plan every event that waits, or as many batches as given; return how many events there were."""
    planned = batches = 0
    while (max_batches is None or batches < max_batches) and (batch := plan_batch(now)):
        planned += batch
        batches += 1
    return planned


def plan_batch(now: datetime, limit: int = PLAN_BATCH) -> int:
    """Plan up to `limit` events; return how many. Bounded queries, whatever the limit."""
    try:
        return _plan_batch(now, limit)
    except IntegrityError:
        # Another planner took the same order from another event a moment ago. What it wrote is visible now.
        return _plan_batch(now, limit)


@transaction.atomic
def _plan_batch(now: datetime, limit: int) -> int:
    # SQLite has no row locks and needs none: its transaction began by taking the one write lock.
    events = list(Event.objects.unplanned().select_for_update(skip_locked=True)[:limit])
    if not events:
        return 0
    drafts = _drafts(events, now)
    _skip_orders_already_taken(drafts)
    _shift_to_free_seconds(drafts)
    Delivery.objects.bulk_create(drafts)
    failpoints.reach(failpoints.HALF_PLANNED)
    record_moves((Move(delivery, None, delivery.status) for delivery in drafts), now)
    Event.objects.filter(pk__in=[event.pk for event in events]).update(planned_at=now)
    return len(events)


def _drafts(events: Sequence[Event], now: datetime) -> list[Delivery]:
    settle = Settle(timedelta(seconds=settings.CLICK_SETTLE_SECONDS), timedelta(seconds=settings.GOAL_SETTLE_SECONDS))
    by_site: dict[int, list[Event]] = defaultdict(list)
    for event in events:
        by_site[event.site_id].append(event)
    accounts = _accounts_by_site(by_site)
    mappings = _mappings(account for group in accounts.values() for account in group)
    drafts = []
    for site_id, its_events in by_site.items():
        its_accounts = accounts[site_id]
        clicks = resolve_clicks(its_accounts[0].site, its_events) if its_accounts else {}
        for event in its_events:
            for account in its_accounts:
                mapping = mappings.get((account.pk, event.name))
                drafts.append(draft(event, account, mapping, clicks[event.pk], now, settle))
    return drafts


def _accounts_by_site(site_ids: Iterable[int]) -> dict[int, list[AdAccount]]:
    by_site: dict[int, list[AdAccount]] = defaultdict(list)
    for account in AdAccount.objects.active().filter(site__in=list(site_ids)).select_related("site").order_by("pk"):
        by_site[account.site_id].append(account)
    return by_site


def _mappings(accounts: Iterable[AdAccount]) -> dict[_Lane, GoalMapping]:
    rows = GoalMapping.objects.filter(account__in=list(accounts), is_active=True).select_related("goal")
    return {(mapping.account_id, mapping.event_name): mapping for mapping in rows}


def _to_send(drafts: Iterable[Delivery]) -> list[Delivery]:
    return [delivery for delivery in drafts if delivery.status != Status.SKIPPED]


def _skip_orders_already_taken(drafts: Sequence[Delivery]) -> None:
    """Let the first event of an order stand for it; say so on the others."""
    taken = _taken_orders(_to_send(drafts))
    for delivery in _to_send(drafts):
        lane = (delivery.account_id, delivery.dedupe_key)
        if lane in taken:
            skipped(delivery, Skip.SAME_ORDER)
        taken.add(lane)


def _taken_orders(drafts: Sequence[Delivery]) -> set[_Lane]:
    rows = Delivery.objects.filter(
        account_id__in={delivery.account_id for delivery in drafts},
        kind=Kind.CONVERSION,
        dedupe_key__in={delivery.dedupe_key for delivery in drafts},
    )
    return set(rows.values_list("account_id", "dedupe_key"))


def _shift_to_free_seconds(drafts: Sequence[Delivery]) -> None:
    """Give each conversion of a click and goal a second of its own; what finds none within reach is not forwarded.

    Each round looks only at the seconds that are asked for, so a flood of one click costs a few small queries.
    """
    placed: set[MatchKey] = set()
    seeking = _to_send(drafts)
    for _ in range(MAX_SHIFT_SECONDS + 1):
        taken = _taken_seconds(seeking)
        homeless = []
        for delivery in seeking:
            key = match_key(delivery)
            if key in taken or key in placed:
                homeless.append(delivery)
            else:
                placed.add(key)
        for delivery in homeless:
            shift_by_a_second(delivery)
        if not homeless:
            return
        seeking = homeless
    for delivery in seeking:
        skipped(delivery, Skip.SAME_SECOND)


def _taken_seconds(drafts: Sequence[Delivery]) -> set[MatchKey]:
    """Return the keys of what was planned before in the same seconds for the same clicks or, without one, people."""
    sent = Delivery.objects.forwarded().filter(
        account_id__in={delivery.account_id for delivery in drafts},
        conversion_time__in={delivery.conversion_time for delivery in drafts},
    )
    fields = ("account_id", "goal_name", "msclkid", "email_sha256", "phone_sha256", "conversion_time")
    click_ids = any_case(delivery.msclkid for delivery in drafts if delivery.msclkid)
    taken = {match_key(delivery) for delivery in sent.filter(msclkid__in=click_ids).only(*fields)}
    without_click = [delivery for delivery in drafts if not delivery.msclkid]
    if without_click:
        same_people = sent.filter(
            msclkid="",
            email_sha256__in={delivery.email_sha256 for delivery in without_click},
            phone_sha256__in={delivery.phone_sha256 for delivery in without_click},
        ).only(*fields)
        taken |= {match_key(delivery) for delivery in same_people}
    return taken
