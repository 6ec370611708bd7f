"""Events that were not forwarded because their name had no goal, planned anew now that it has one.

The row that said "No goal mapped" gives way to what planning the event now makes of it: one order is still one
conversion, and what is too old, without consent or without a click is still not forwarded, for that reason.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import NamedTuple

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import QuerySet, Sum

from forwarding.models import DailyCount, Delivery, Kind, Skip, Status
from forwarding.planning.forecast import Forecast, forecasts
from forwarding.planning.planner import plan_again
from forwarding.ringing import sweep_soon
from forwarding.rows.counts import Move, record_moves
from forwarding.rows.upload_rows import among
from forwarding.times import CONVERSION_LIFE
from ingest import audit
from ingest.models import REFUND_EVENT, Event, Site
from integrations.models import AdAccount, GoalMapping

BATCH = 1000
# What a request can bear. The rest is done by doing it again.
MOST_AT_ONCE = 5 * BATCH


class Replayed(NamedTuple):
    """How many events were planned anew, and what became of them: how many go out, and why the others do not."""

    events: int
    forwarded: int
    reasons: Counter[Skip]


def missed(account: AdAccount, names: Collection[str], now: datetime) -> dict[str, int]:
    """Return how many events of each name came in the last 90 days and were not forwarded for want of a goal.

    Names without any are left out. One query of the roll-up.
    """
    rows = _counted(account, now).filter(event_name__in=set(names) - {REFUND_EVENT})
    return dict(rows.values_list("event_name").annotate(Sum("count")).order_by())


def forecast_of(account: AdAccount, mapping: GoalMapping, now: datetime) -> Forecast:
    """Return what planning a name's missed events now would make of them, of up to MOST_AT_ONCE the oldest.

    Reads `account.site`.
    """
    keys = _missed(account, mapping.event_name, now, MOST_AT_ONCE)
    rows = Delivery.objects.filter(pk__in=among(keys)).select_related("event")
    events = {mapping.event_name: [row.event for row in rows]}
    (by_name,) = forecasts(account, events, {mapping.event_name: mapping}, at=now)
    return by_name[mapping.event_name]


def replay(account: AdAccount, event_name: str, actor: User, now: datetime) -> Replayed:
    """Plan a name's missed events anew, up to MOST_AT_ONCE, a batch and an audit entry per transaction.

    What a crash leaves undone is done by doing it again. Nothing is done where the name is not mapped.
    """
    total = Replayed(0, 0, Counter())
    while total.events < MOST_AT_ONCE and (batch := _replay_batch(account, event_name, actor, now)).events:
        total = Replayed(total.events + batch.events, total.forwarded + batch.forwarded, total.reasons + batch.reasons)
    if total.forwarded:
        sweep_soon()
    return total


def _missed(account: AdAccount, name: str, now: datetime, limit: int) -> list[int]:
    """Return up to `limit` rows of a name that say "No goal mapped", the oldest first, which soon expire.

    The roll-up knows their days, so a query looks through one day's rows, and none through a day that has none. It
    does not know what it counted together with other names, which stays as it is.
    """
    if name == REFUND_EVENT:
        return []
    skipped = Delivery.objects.filter(account=account, status=Status.SKIPPED, created_at__gt=now - CONVERSION_LIFE)
    mine = skipped.filter(skip_reason=Skip.NOT_MAPPED, kind=Kind.CONVERSION, is_test=False, event__name=name)
    found: list[int] = []
    for day in _counted(account, now).filter(event_name=name).order_by("day").values_list("day", flat=True).distinct():
        midnight = datetime.combine(day, time.min, UTC)
        rows = mine.filter(created_at__gte=midnight, created_at__lt=midnight + timedelta(days=1))
        found += rows.order_by("created_at", "pk").values_list("pk", flat=True)[: limit - len(found)]
        if len(found) == limit:
            break
    return found


def _counted(account: AdAccount, now: datetime) -> "QuerySet[DailyCount]":
    since = (now - CONVERSION_LIFE).astimezone(UTC).date()
    counts = DailyCount.objects.filter(account=account, day__gte=since, count__gt=0)
    return counts.filter(status=Status.SKIPPED, goal_name=Skip.NOT_MAPPED)


@transaction.atomic
def _replay_batch(account: AdAccount, event_name: str, actor: User, now: datetime) -> Replayed:
    # As the planner does it: with the site, events of one order that two hold meet.
    site = Site.objects.select_for_update(no_key=True).select_related(None).get(pk=account.site_id)
    if event_name == REFUND_EVENT or not account.mappings.filter(event_name=event_name, is_active=True).exists():
        return Replayed(0, 0, Counter())
    keys = _missed(account, event_name, now, BATCH)
    rows = list(Delivery.objects.filter(pk__in=among(keys)).select_related("event"))
    if not rows:
        return Replayed(0, 0, Counter())
    account.site = site
    gone = [Move(row, row.status, None) for row in rows]
    Delivery.objects.filter(pk__in=among([row.pk for row in rows])).delete()
    moves = plan_again([row.event for row in rows], account, now)
    record_moves([*gone, *moves], now)
    done = _outcome(account, [row.event for row in rows])
    _audit(account, event_name, done, actor, now)
    return done


def _outcome(account: AdAccount, events: Sequence[Event]) -> Replayed:
    rows = Delivery.objects.filter(account=account, event__in=[event.pk for event in events], kind=Kind.CONVERSION)
    skips = Counter(Skip(row) for row in rows.exclude(skip_reason="").values_list("skip_reason", flat=True))
    return Replayed(len(events), len(events) - skips.total(), skips)


def _audit(account: AdAccount, event_name: str, done: Replayed, actor: User, now: datetime) -> None:
    audit.record(
        actor,
        "event.replay",
        organisation=account.site.organisation,
        site=account.site,
        target=f"{event_name} to {account.name}",
        details={
            "account": account.account_id,
            "events": done.events,
            "forwarded": done.forwarded,
            "not_forwarded": {skip.value: count for skip, count in done.reasons.items()},
        },
        now=now,
    )
