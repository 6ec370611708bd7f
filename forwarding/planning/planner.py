"""From events to deliveries: for each stored event and each active account of its site, one row.

A batch is one transaction: its events are locked, then their sites, so that events of one order that two planners hold
meet; their deliveries are written, corrections find their conversions, and `planned_at` is set. An event is planned
once however many planners run. Safe to run at any time and twice.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime

from django.db import transaction

from convultra import failpoints
from forwarding.corrections.adjusting import settle, write_down
from forwarding.corrections.refunds import adjustment_statements, attach, store_refunds, waiting_adjustments
from forwarding.models import Delivery
from forwarding.planning.click_resolution import FoundClick, resolve_clicks
from forwarding.planning.conversions import Settle, draft
from forwarding.planning.free_seconds import shift_to_free_seconds
from forwarding.planning.orders import CHANGED_BY_MEETING, Meeting, meet
from forwarding.rows.changing import change_deliveries
from forwarding.rows.counts import Move, record_moves
from forwarding.rows.event_days import record_arrivals
from forwarding.rows.inserting import insert_deliveries
from forwarding.rows.instances import stored_row
from forwarding.rows.own_names import SiteName, admit
from forwarding.rows.upload_rows import among
from ingest.models import REFUND_EVENT, Adjustment, Event, Site, Source
from integrations.models import AdAccount, GoalMapping

PLAN_BATCH = 1000
_OF_EVENTS = [
    field.attname
    for field in Event._meta.concrete_fields
    if field.attname not in {"fingerprint", "planned_at", "created_at"}
]
_Accounts = Mapping[int, Sequence[AdAccount]]
_Order = tuple[int, str]  # an account and a transaction id
_Mappings = Mapping[tuple[int, str], GoalMapping]
_Clicks = Mapping[int, FoundClick]  # by event


def plan_all(now: datetime, max_batches: int | None = None) -> int:
    """Plan everything that waits, or as many batches as given; return how many events and adjustments there were."""
    planned = batches = 0
    while (max_batches is None or batches < max_batches) and (batch := plan_batch(now)):
        planned += batch
        batches += 1
    return planned


@transaction.atomic
def plan_batch(now: datetime, limit: int = PLAN_BATCH) -> int:
    """Plan up to `limit` events, and as many adjustments; return how many. Bounded queries, whatever the limit."""
    # SQLite has no row locks and needs none: its transaction began by taking the one write lock.
    events = _next_events(limit)
    adjustments = list(Adjustment.objects.unplanned().select_for_update(skip_locked=True)[:limit])
    if not events and not adjustments:
        return 0
    accounts = _accounts_of({event.site_id for event in events} | {each.site_id for each in adjustments})
    mappings = _mappings_of(accounts)
    own_names = admit(_names_of(events), _mapped_names(accounts, mappings), now)
    conversions = [event for event in events if event.name != REFUND_EVENT]
    clicks = _clicks_of(conversions, accounts)
    moves, refunded = _plan_conversions(conversions, clicks, accounts, mappings, now)
    failpoints.reach(failpoints.HALF_PLANNED)
    every = _with_removed(accounts)
    moves += _plan_corrections(events, adjustments, refunded, every, _mappings_of(every), now)
    Event.objects.filter(pk__in=among([event.pk for event in events])).update(planned_at=now)
    Adjustment.objects.filter(pk__in=among([each.pk for each in adjustments])).update(planned_at=now)
    record_arrivals(events, {pk for pk, click in clicks.items() if click.msclkid}, own_names, now)
    record_moves(moves, now)  # once and last, as everywhere: who has the counts' rows waits for nobody
    return len(events) + len(adjustments)


def plan_again(events: Sequence[Event], account: AdAccount, now: datetime) -> list[Move]:
    """Plan events for one account that they have no row in; return what moves in the counts, to be recorded last.

    Call it in a transaction that has locked the account's site. Reads `account.site`.
    """
    accounts = {account.site_id: [account]}
    mappings = _mappings_of(accounts)
    moves, refunded = _plan_conversions(events, _clicks_of(events, accounts), accounts, mappings, now)
    return moves + _plan_corrections(events, [], refunded, accounts, mappings, now)


def _next_events(limit: int) -> list[Event]:
    """Lock and return the next events, without what no planning asks for."""
    rows = Event.objects.unplanned().select_for_update(skip_locked=True).values_list(*_OF_EVENTS)[:limit]
    return [stored_row(Event, dict(zip(_OF_EVENTS, values, strict=True)), rows.db) for values in rows]


def _accounts_of(site_ids: Collection[int]) -> _Accounts:
    """Lock the sites, in one order, and return their active accounts."""
    locked = Site.objects.select_for_update(no_key=True).filter(pk__in=site_ids).order_by("pk")
    sites = {site.pk: site for site in locked}
    by_site: dict[int, list[AdAccount]] = {pk: [] for pk in sites}
    for account in AdAccount.objects.active().filter(site__in=sites).order_by("pk"):
        account.site = sites[account.site_id]
        by_site[account.site_id].append(account)
    return by_site


def _with_removed(accounts: _Accounts) -> _Accounts:
    """Return the sites' accounts with those that were removed: corrections of what they were sent are kept."""
    every = {site_id: list(its) for site_id, its in accounts.items()}
    for account in AdAccount.objects.filter(site__in=accounts, is_active=False).order_by("pk"):
        every[account.site_id].append(account)
    return every


def _mappings_of(accounts: _Accounts) -> _Mappings:
    of = [account.pk for its in accounts.values() for account in its]
    rows = GoalMapping.objects.filter(account__in=of, is_active=True).select_related("goal")
    return {(mapping.account_id, mapping.event_name): mapping for mapping in rows}


def _names_of(events: Sequence[Event]) -> list[SiteName]:
    """Return the names that are counted: tests are not."""
    return [SiteName(event.site_id, event.name) for event in events if event.source != Source.TEST]


def _mapped_names(accounts: _Accounts, mappings: _Mappings) -> set[SiteName]:
    site_of = {account.pk: site_id for site_id, its in accounts.items() for account in its}
    return {SiteName(site_of[account_id], name) for account_id, name in mappings}


def _clicks_of(events: Collection[Event], accounts: _Accounts) -> _Clicks:
    """Look for the clicks of events that are sent anywhere."""
    return resolve_clicks(
        [event for event in events if accounts.get(event.site_id)],
        {site_id: its[0].site for site_id, its in accounts.items() if its},
    )


def _plan_conversions(
    events: Sequence[Event], clicks: _Clicks, accounts: _Accounts, mappings: _Mappings, now: datetime
) -> tuple[list[Move], set[_Order]]:
    """Return what moves in the counts, and the orders that were corrected before."""
    waits = Settle.from_settings()
    meeting = meet(_drafts(events, clicks, accounts, mappings, now, waits), now, waits)
    shift_to_free_seconds(meeting.seeking_seconds())
    _store(meeting)
    moves = [*(Move(row, None, row.status) for row in meeting.new), *meeting.moves()]
    write_down(meeting.statements, now)
    has_new_lines = {statement.original.pk for statement in meeting.statements}
    moves += settle(has_new_lines | (meeting.corrected & meeting.changed.keys()), now)
    return moves, meeting.refunded


def _store(meeting: Meeting) -> None:
    """Store the new rows, those that point to another new one after it."""
    pointing = [row for row in meeting.new if row.original is not None]
    insert_deliveries([row for row in meeting.new if row.original is None])
    for row in pointing:
        row.original = row.original  # its key is known by now
    insert_deliveries(pointing)
    change_deliveries(meeting.changed.values(), CHANGED_BY_MEETING)
    change_deliveries(meeting.revalued, ("order_value", "order_currency", "order_source"))


def _drafts(
    events: Sequence[Event],
    clicks: _Clicks,
    accounts: _Accounts,
    mappings: _Mappings,
    now: datetime,
    waits: Settle,
) -> list[Delivery]:
    return [
        draft(event, account, mappings.get((account.pk, event.name)), clicks[event.pk], now, waits)
        for event in events
        for account in accounts.get(event.site_id, ())
    ]


def _plan_corrections(
    events: Sequence[Event],
    adjustments: Sequence[Adjustment],
    refunded: set[_Order],
    accounts: _Accounts,
    mappings: _Mappings,
    now: datetime,
) -> list[Move]:
    """Let refunds and adjustments meet their conversions: those of this batch, and those that waited for its orders."""
    refunds = [event for event in events if event.name == REFUND_EVENT]
    store_refunds(refunds, accounts, mappings, now)
    to_settle = attach(refunded | _orders(refunds, accounts), now)
    to_correct = [*adjustments, *waiting_adjustments(events)] if events else adjustments
    statements = adjustment_statements(to_correct, accounts)
    write_down(statements, now)
    return settle(to_settle | {statement.original.pk for statement in statements}, now)


def _orders(events: Iterable[Event], accounts: _Accounts) -> set[_Order]:
    return {
        (account.pk, event.transaction_id)
        for event in events
        if event.transaction_id
        for account in accounts.get(event.site_id, ())
    }
