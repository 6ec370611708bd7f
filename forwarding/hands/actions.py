"""Retry, hold, release, cancel, restate and retract: what a person does to one delivery, or to all rows of a filter.

`preview` says what would come of it, `apply` does it. Rows are taken account by account, a batch per transaction,
under the account's row lock, so that no upload is opened meanwhile; `forwarding/hands/rules.py` judges each row again
there. Each transaction writes one audit entry, of exactly what it changed.
"""

import copy
import logging
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import QuerySet

from forwarding.corrections.adjusting import correct_by_hand, parked_until, settle
from forwarding.errors import account_stop
from forwarding.hands.rules import Action, Facts, WhyNot, moves_to, value_now, why_not
from forwarding.models import WAITING, Delivery, Hold, Kind, Said, Skip, Status, dedupe_key
from forwarding.money import Money, add_money
from forwarding.planning.conversions import Settle, awaits_confirmation, wait
from forwarding.planning.free_seconds import shift_to_free_seconds
from forwarding.ringing import sweep_soon
from forwarding.rows.changing import change_deliveries
from forwarding.rows.counts import Move, record_moves
from forwarding.rows.frozen import listed_in_open_uploads, lock_accounts, perhaps_arrived
from forwarding.rows.upload_rows import among
from ingest import audit
from ingest.models import ConfirmMode, Source
from integrations.models import AdAccount, ConversionGoal, GoalMapping

BATCH = 1000
# What a request can bear.
MOST_AT_ONCE = 20_000
_CHANGED = (
    "goal",
    "goal_name",
    "dedupe_key",
    "conversion_time",
    "expires_at",
    "status",
    "skip_reason",
    "hold_reason",
    "next_attempt_at",
    "error_code",
    "error_symbol",
    "error_message",
    "changed_at",
)

logger = logging.getLogger(__name__)


class Judged(NamedTuple):
    """A delivery with what is known of it, and why the action cannot be done to it, None when it can."""

    row: Delivery
    facts: Facts
    reason: WhyNot | None


@dataclass
class Tally:
    """How many deliveries an action can be done to, or was, and why not to the others."""

    action: Action
    able: int = 0
    refused: Counter[WhyNot] = field(default_factory=Counter)
    # What those that it can be done to are worth before it, by currency.
    values: Money = field(default_factory=dict)
    # How many a retry sends to another goal, or under its new name, by that name.
    moved: Counter[str] = field(default_factory=Counter)
    # How many stay until their account may send again, by what stops it.
    stopped: Counter[str] = field(default_factory=Counter)
    # False when there are more rows than are looked at in one go.
    is_all: bool = True

    @property
    def looked_at(self) -> int:
        """Return how many deliveries were judged."""
        return self.able + self.refused.total()

    def add(self, judged: Sequence[Judged]) -> None:
        """Count a batch, before anything of it is changed."""
        for row, facts, reason in judged:
            if reason is None:
                self._add_able(row, facts)
            else:
                self.refused[reason] += 1

    def _add_able(self, row: Delivery, facts: Facts) -> None:
        self.able += 1
        if (worth := value_now(row, facts)) is not None:
            add_money(self.values, row.currency, worth)
        if self.action is Action.RETRY and (goal := moves_to(row, facts)) is not None:
            self.moved[goal.name] += 1
        if (stop := account_stop(row.account)) is not None:
            self.stopped[stop.title] += 1


def preview(action: Action, deliveries: QuerySet[Delivery], now: datetime, value: Decimal | None = None) -> Tally:
    """Say what an action would do to these deliveries, changing nothing."""
    tally = Tally(action)
    for account_id, keys in _batches(deliveries, tally):
        look_at(tally, account_id, keys, now, value)
    return tally


def look_at(tally: Tally, account_id: int, keys: Sequence[int], now: datetime, value: Decimal | None = None) -> None:
    """Add to a tally what its action would do to these deliveries of an account, changing nothing."""
    rows = _with_account(account_id, _rows(keys))
    tally.add(judge(tally.action, rows, set(listed_in_open_uploads([account_id])), now, value))


def apply(
    action: Action,
    deliveries: QuerySet[Delivery],
    actor: User | None,
    now: datetime,
    value: Decimal | None = None,
    *,
    scope: str = "",
    by_staff: bool = False,
) -> Tally:
    """Do it to those of the deliveries that it can be done to; return to how many it was, and why not to the others.

    `value` is a restatement's new total; `scope` says in the audit log which rows were meant. What a crash leaves
    undone is done by doing it again: what was done is refused then as what it has become.
    """
    wish = Wish(action, actor, now, value, scope, by_staff)
    tally = Tally(action)
    for account_id, keys in _batches(deliveries, tally):
        apply_to_batch(wish, account_id, keys, tally)
    if tally.able:
        sweep_soon()
    logger.info("User %s: %s of %s deliveries %s", actor and actor.pk, tally.able, tally.looked_at, action.done)
    return tally


class Wish(NamedTuple):
    """What a person wants done: `apply` says what its parts are."""

    action: Action
    actor: User | None
    now: datetime
    value: Decimal | None = None
    scope: str = ""
    by_staff: bool = False


def judge(
    action: Action,
    rows: Sequence[Delivery],
    on_their_way: Collection[int],
    now: datetime,
    value: Decimal | None = None,
) -> list[Judged]:
    """Judge rows by `rules.why_not`. They come with `account` and its connection, `event` and `goal`."""
    facts = facts_of(rows, on_their_way, now)
    return [Judged(row, facts[row.pk], why_not(action, row, facts[row.pk], now, value)) for row in rows]


def facts_of(rows: Sequence[Delivery], on_their_way: Collection[int], now: datetime) -> dict[int, Facts]:
    """Return what the rules need to know of rows beyond their columns, in a handful of queries for all of them."""
    arrived = perhaps_arrived(rows, on_their_way, now)
    coming = {row.original_id: row for row in corrections_of(rows).filter(status__in=WAITING)}
    mapped = _mapped_goals({row.account_id for row in rows})
    facts = {
        row.pk: Facts(
            is_on_its_way=row.pk in on_their_way,
            has_arrived=row.pk in arrived,
            mapped_goal=mapped.get((row.account_id, row.event.name)),
            coming=coming.get(row.pk),
        )
        for row in rows
    }
    homeless = _without_a_place([(row, goal) for row in rows if (goal := moves_to(row, facts[row.pk])) is not None])
    return facts | {pk: replace(facts[pk], is_place_taken=True) for pk in homeless}


def corrections_of(rows: Sequence[Delivery]) -> QuerySet[Delivery]:
    """Return the restatements and retractions of these conversions, oldest first."""
    of_them = Delivery.objects.filter(original__in=among([row.pk for row in rows]))
    return of_them.exclude(kind=Kind.CONVERSION).order_by("pk")


def _mapped_goals(account_ids: Collection[int]) -> dict[tuple[int, str], ConversionGoal]:
    mappings = GoalMapping.objects.filter(account__in=account_ids, is_active=True).select_related("goal")
    return {(mapping.account_id, mapping.event_name): mapping.goal for mapping in mappings}


def _without_a_place(moving: Sequence[tuple[Delivery, ConversionGoal]]) -> set[int]:
    """Return the rows whose order has a conversion at the goal that they would move to."""
    wanted = [(row, row.account_id, _key_at(row, goal)) for row, goal in moving]
    keys = [key for _, _, key in wanted]
    others = Delivery.objects.filter(
        account__in={row.account_id for row, _ in moving}, kind=Kind.CONVERSION, dedupe_key__in=keys
    )
    owners = {(account, key): pk for pk, account, key in others.values_list("pk", "account_id", "dedupe_key")}
    return {row.pk for row, account, key in wanted if owners.setdefault((account, key), row.pk) != row.pk}


def _key_at(row: Delivery, goal: ConversionGoal) -> str:
    return dedupe_key(goal.goal_id, row.transaction_id, row.event.event_id)


def _batches(deliveries: QuerySet[Delivery], tally: Tally) -> Iterator[tuple[int, list[int]]]:
    """Yield each account with the keys of its rows, a batch at a time; note when there are more."""
    found = list(deliveries.order_by("account_id", "pk").values_list("account_id", "pk")[: MOST_AT_ONCE + 1])
    tally.is_all = len(found) <= MOST_AT_ONCE
    for account_id, group in groupby(found[:MOST_AT_ONCE], key=itemgetter(0)):
        keys = [pk for _, pk in group]
        for start in range(0, len(keys), BATCH):
            yield account_id, keys[start : start + BATCH]


def _rows(keys: Sequence[int]) -> QuerySet[Delivery]:
    return Delivery.objects.filter(pk__in=among(keys)).select_related("event", "goal").order_by("pk")


def _with_account(account_id: int, rows: Iterable[Delivery]) -> list[Delivery]:
    """Give rows their account, which is read once: its sign-in's tokens are decrypted on reading."""
    account = AdAccount.objects.select_related("connection", "site__organisation").get(pk=account_id)
    found = list(rows)
    for row in found:
        row.account = account
    return found


@transaction.atomic
def apply_to_batch(wish: Wish, account_id: int, keys: Sequence[int], tally: Tally) -> None:
    """Do it to up to BATCH deliveries of one account, and add to the tally what was done; one transaction."""
    on_their_way = lock_accounts([account_id])
    # What is on its way is not locked: whoever marks it holds such rows and may wait for the account.
    free = _rows([pk for pk in keys if pk not in on_their_way]).select_for_update(of=("self",), no_key=True)
    sent = _rows([pk for pk in keys if pk in on_their_way])
    rows = _with_account(account_id, [*free, *sent])
    judged = judge(wish.action, rows, on_their_way, wish.now, wish.value)
    tally.add(judged)
    able = [one for one in judged if one.reason is None]
    if able:
        before, after = _correct(wish, able) if wish.action.corrects else _change(wish, able)
        _audit(wish, [one.row for one in able], before, after)


def _change(wish: Wish, able: Sequence[Judged]) -> "tuple[_Said, _Said]":
    """Change when rows are sent, or whether; return what they were and what they are."""
    rows = [one.row for one in able]
    before = [copy.copy(row) for row in rows]
    for one in able:
        _CHANGES[wish.action](one, wish.now)
        one.row.changed_at = wish.now
    shift_to_free_seconds([row for row, was in zip(rows, before, strict=True) if row.goal_name != was.goal_name])
    change_deliveries(rows, _CHANGED)
    moves = _settle(wish.action, rows, wish.now)
    moves += [Move(row, row.status, None) for row in before] + [Move(row, None, row.status) for row in rows]
    record_moves(moves, wish.now)
    return _states(before), _states(rows)


def _retry(one: Judged, now: datetime) -> None:
    row = one.row
    if (goal := moves_to(row, one.facts)) is not None:
        row.goal, row.goal_name, row.dedupe_key = goal, goal.name, _key_at(row, goal)
    if row.status == Status.FAILED:
        row.status = Status.PENDING
        row.error_code, row.error_symbol, row.error_message = None, "", ""
    _let_go(one, now)


def _hold(one: Judged, now: datetime) -> None:
    one.row.hold_reason = Hold.BY_HAND
    one.row.next_attempt_at = parked_until(one.row, now)


def _let_go(one: Judged, now: datetime) -> None:
    """Send it with the next batch, or as soon as Microsoft would not lose it; a correction's time is `settle`'s."""
    row = one.row
    row.next_attempt_at, row.hold_reason = now, ""
    if row.kind != Kind.CONVERSION and row.original_id is None:
        row.next_attempt_at, row.hold_reason = parked_until(row, now), Hold.ORIGINAL_PENDING
    if row.kind != Kind.CONVERSION or row.goal is None:
        return
    site = row.account.site
    confirmed_by = row.created_at + site.confirm_wait
    if _is_unconfirmed(row) and (confirmed_by > now or site.confirm_mode == ConfirmMode.REQUIRE):
        row.next_attempt_at, row.hold_reason = max(now, confirmed_by), Hold.CONFIRMATION
    else:
        wait(row, now, Settle.from_settings())


def _is_unconfirmed(row: Delivery) -> bool:
    is_browsers = row.order_source in ("", Source.BROWSER)
    return not row.attempts and is_browsers and awaits_confirmation(row.event, row.account.site)


def _cancel(one: Judged, _now: datetime) -> None:
    """Its dedupe key stays, so that the order stays taken."""
    one.row.status, one.row.skip_reason = Status.SKIPPED, Skip.CALLED_OFF
    one.row.hold_reason, one.row.next_attempt_at = "", None


_CHANGES = {Action.RETRY: _retry, Action.HOLD: _hold, Action.RELEASE: _let_go, Action.CANCEL: _cancel}


def _settle(action: Action, rows: Sequence[Delivery], now: datetime) -> list[Move]:
    """Let the ledgers of these rows see what became of them; return what moves in the counts."""
    originals = {row.original_id for row in rows if row.kind != Kind.CONVERSION and row.original_id is not None}
    if action in (Action.RETRY, Action.CANCEL):
        originals.update(row.original_id for row in corrections_of(rows) if row.original_id is not None)
    return settle(originals, now)


def _correct(wish: Wish, able: Sequence[Judged]) -> "tuple[_Said, _Said]":
    """Tell each conversion's ledger what a person said; return what they were worth and what they are now."""
    said = Said.RESTATE if wish.action is Action.RESTATE else Said.RETRACT
    worth: dict[str, Decimal] = {}
    count: Counter[str] = Counter()
    for row, facts, _ in able:
        worth[row.currency] = worth.get(row.currency, Decimal(0)) + (value_now(row, facts) or Decimal(0))
        count[row.currency] += 1
    moves = correct_by_hand([one.row for one in able], said, wish.value, wish.actor, wish.now)
    record_moves(moves, wish.now)
    after = {} if wish.value is None else {currency: str(wish.value * count[currency]) for currency in worth}
    return {currency: str(value) for currency, value in worth.items()}, after


_Said = dict[str, str] | dict[str, int]


def _states(rows: Sequence[Delivery]) -> dict[str, int]:
    """Return how many rows are in which state, in the words of the columns: `retrying operator`."""
    return dict(Counter(" ".join(filter(None, (row.status, row.skip_reason, row.hold_reason))) for row in rows))


def _audit(wish: Wish, rows: Sequence[Delivery], before: _Said, after: _Said) -> None:
    account, one = rows[0].account, rows[0] if len(rows) == 1 else None
    details = {
        "account": account.account_id,
        "delivery": str(one.public_id) if one else "",
        "deliveries": len(rows),
        "value": "" if wish.value is None else str(wish.value),
        "scope": wish.scope,
        "before": before,
        "after": after,
        "by_staff": wish.by_staff,
    }
    audit.record(
        wish.actor,
        f"delivery.{wish.action}",
        organisation=account.site.organisation,
        site=account.site,
        target=(one.transaction_id or str(one.public_id)) if one else f"{len(rows)} of {account.name}",
        details={name: said for name, said in details.items() if said},
        now=wish.now,
    )
