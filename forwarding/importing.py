"""CSV imports in the worker: what a file may be matched with at Microsoft, chunk after chunk, and what became of it.

A task carries the import's id only. A lost one costs seconds: the sweep asks again for what nobody has gone on with.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta

from django.db import connection
from django.db.models import Count, Q, QuerySet
from django.utils import timezone
from django_q.tasks import async_task

from forwarding.models import NO_LANE, Correction, Delivery, Kind, Status
from forwarding.planning.click_resolution import any_case
from forwarding.rows.matching import matching
from forwarding.times import CONVERSION_LIFE, CONVERSION_LIFE_MARGIN, utc_second
from ingest.imports import working
from ingest.imports.reading import Original, Surroundings
from ingest.models import REFUND_EVENT, Adjustment, Event, Import, Site, Source
from integrations.models import AdAccount, GoalMapping, MappingChange

# A worker that was asked to go on and has not finished a chunk after so long is taken for lost.
LOST_AFTER = timedelta(seconds=15)
# Less than the queue's own time limit, so that a long file is shared out over several tasks.
TASK_SECONDS = 150
# Who waits for SQLite's write lock stands in no queue, but looks again after a tenth of a second at most.
TURN_SECONDS = 0.1
# What became of an import is counted after so long, and then less and less often.
COUNT_EVERY = timedelta(minutes=1)
COUNTED_AT_ONCE = 20


def surroundings_of(site: Site, now: datetime) -> Surroundings:
    """Return what a file of this site may be matched with."""
    mappings = GoalMapping.objects.filter(account__site=site, account__is_active=True, is_active=True)
    events_of_goal: dict[str, set[str]] = defaultdict(set)
    # A row that names a goal is a conversion, and a refund is none.
    for goal_name, event_name in mappings.exclude(event_name=REFUND_EVENT).values_list("goal__name", "event_name"):
        events_of_goal[goal_name].add(event_name)
    exact = events_of_goal.keys() | {name for events in events_of_goal.values() for name in events}
    oldest = now - CONVERSION_LIFE + CONVERSION_LIFE_MARGIN
    return Surroundings(events_of_goal, lambda originals: _find(site, originals, exact), oldest, _ever_mapped(site))


def _ever_mapped(site: Site) -> dict[str, set[str]]:
    """Return the events that were ever mapped to each goal, by its name without regard to case."""
    events: dict[str, set[str]] = defaultdict(set)
    changes = MappingChange.objects.filter(account__site=site).values_list("event_name", "before", "after")
    for event_name, *rules in changes:
        for rule in rules:
            if rule:
                events[rule["goal"].casefold()].add(event_name)
    return events


def check(source: Import, until: float = float("inf"), tell: Callable[[], None] = lambda: None) -> bool:
    """Check an import's rows until none is left, or until a moment of the monotonic clock; return whether none is.

    Calls `tell` after each chunk. One that nobody else goes on with, as its file is only tried, stays so.
    """
    is_dry_run = source.status == Import.Status.READING
    checker = working.Checker(Import.Status.READING if is_dry_run else Import.Status.CHECKING)
    surroundings = surroundings_of(source.site, timezone.now())
    while checker.check(source.pk, surroundings, timezone.now()):
        _still_here(source, timezone.now())
        tell()
        if time.monotonic() >= until:
            return False
    return True


def store(source: Import, until: float = float("inf"), tell: Callable[[], None] = lambda: None) -> bool:
    """Store an import's rows until none is left, as `check` does."""
    surroundings = surroundings_of(source.site, timezone.now())
    while working.store(source.pk, surroundings, timezone.now()):
        _still_here(source, timezone.now())
        _give_way()
        tell()
        if time.monotonic() >= until:
            return False
    return True


def work_on(import_id: int) -> None:
    """Go on with an import. Safe to run twice: each chunk is done once, under the import's lock."""
    source = Import.objects.unfinished().select_related("site").filter(pk=import_id).first()
    if source is None:
        return
    is_done = (check if source.status == Import.Status.CHECKING else store)(
        source, until=time.monotonic() + TASK_SECONDS
    )
    if not is_done:
        _ask(import_id)


def ring_for_imports(now: datetime) -> int:
    """Ask workers to go on with what nobody goes on with; return with how many imports."""
    return sum(ring_for_import(import_id, now) for import_id in idle_imports(now))


def idle_imports(now: datetime) -> list[int]:
    """Return the imports that nobody goes on with, the oldest first."""
    return list(_idle(now).order_by("pk").values_list("pk", flat=True))


def ring_for_import(import_id: int, now: datetime) -> bool:
    """Ask a worker to go on with an import, unless one was asked a moment ago."""
    is_ours = bool(_idle(now).filter(pk=import_id).update(rung_at=now))
    if is_ours:
        _ask(import_id)
    return is_ours


def count_results(now: datetime) -> int:
    """Count anew what became of imports whose turn it is; return how many were counted.

    Pages show what was counted: the older an import is the less changes, and the seldomer it is counted. After the 90
    days of its youngest conversion nothing does.
    """
    due = list(Import.objects.filter(count_at__lte=now).order_by("count_at")[:COUNTED_AT_ONCE])
    for source in due:
        assert source.confirmed_at is not None
        age = now - source.confirmed_at
        source.results = results_of([source])[source.pk]
        source.count_at = now + COUNT_EVERY + age / 10 if age < CONVERSION_LIFE + timedelta(days=1) else None
        source.save(update_fields=["results", "count_at"])
    return len(due)


def results_of(imports: Iterable[Import]) -> dict[int, dict[str, int]]:
    """Return how many rows of each import ended in each status, by its key: `delivered`, `retracted` and so on.

    Two queries, however many imports: an import's rows are those that were received when it was confirmed.
    """
    confirmed = {(source.site_id, source.confirmed_at): source.pk for source in imports if source.confirmed_at}
    results: dict[int, dict[str, int]] = {pk: {} for pk in confirmed.values()}
    if not confirmed:
        return results
    sites, moments = {site for site, _ in confirmed}, {moment for _, moment in confirmed}
    conversions = Delivery.objects.filter(
        event__site__in=sites, event__received_at__in=moments, event__source=Source.IMPORT, kind=Kind.CONVERSION
    )
    counted = conversions.values_list("event__site", "event__received_at", "status").annotate(Count("pk"))
    for site, moment, status, count in counted.order_by():
        results[confirmed[site, moment]][status] = count
    corrections = Correction.objects.filter(adjustment__site__in=sites, adjustment__received_at__in=moments)
    columns = ("adjustment__site", "adjustment__received_at", "delivery__kind", "delivery__status")
    for site, moment, kind, status, count in corrections.values_list(*columns).annotate(Count("pk")).order_by():
        done = {Kind.RESTATE.value: "restated", Kind.RETRACT.value: "retracted"}[kind]
        name = done if status == Status.DELIVERED else status
        result = results.get(confirmed.get((site, moment), 0), {})
        result[name] = result.get(name, 0) + count
    return results


def being_planned(source: Import) -> int:
    """Return how many rows of a confirmed import are stored and in no result yet. Goes by the index of what waits."""
    assert source.confirmed_at is not None
    site, at = source.site_id, source.confirmed_at
    events = Event.objects.unplanned().filter(site=site, received_at=at, source=Source.IMPORT)
    return events.count() + Adjustment.objects.unplanned().filter(site=site, received_at=at).count()


def _idle(now: datetime) -> QuerySet[Import]:
    return Import.objects.unfinished().filter(Q(rung_at__isnull=True) | Q(rung_at__lte=now - LOST_AFTER))


def _ask(import_id: int) -> None:
    async_task("forwarding.importing.work_on", import_id)


def _give_way() -> None:
    """Let other writers have their turn where there is one lock for all."""
    if connection.vendor == "sqlite":
        time.sleep(TURN_SECONDS)


def _still_here(source: Import, now: datetime) -> None:
    """Note that somebody is at it, so that nobody else is asked."""
    Import.objects.filter(pk=source.pk).update(rung_at=now)


def _find(site: Site, originals: Sequence[Original], exact: Collection[str]) -> list[list[str]]:
    """Return the event ids of the conversions that went, or will go, to a goal of this name for a click and second.

    A name that is spelled like one of the `exact` ones means that one only.
    """
    accounts = list(AdAccount.objects.active().filter(site=site).values_list("pk", flat=True))
    keys = {
        (account, click_id, utc_second(each.occurred_at))
        for account in accounts
        for each in originals
        for click_id in any_case([each.msclkid])
    }
    columns = ("account_id", "msclkid", "conversion_time")
    rows = Delivery.objects.forwarded().filter(
        pk__in=matching(Delivery, columns, keys, "NOT (msclkid = '')"), kind=Kind.CONVERSION
    )
    found: dict[tuple[bool, str, str, str], set[str]] = defaultdict(set)
    names = ("goal_name", "event__name", "msclkid", "conversion_time", "event__event_id")
    for goal, event_name, click_id, at, event_id in rows.exclude(dedupe_key__startswith=NO_LANE).values_list(*names):
        for name in (goal, event_name):
            found[True, name, click_id.lower(), at].add(event_id)
            found[False, name.casefold(), click_id.lower(), at].add(event_id)
    event_ids = []
    for each in originals:
        is_exact = each.goal_name in exact
        name = each.goal_name if is_exact else each.goal_name.casefold()
        event_ids.append(sorted(found[is_exact, name, each.msclkid.lower(), utc_second(each.occurred_at)]))
    return event_ids
