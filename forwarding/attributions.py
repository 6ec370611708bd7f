"""Microsoft's report of what it attributed, read daily for each account into `Attribution`.

The days of the last two weeks are read each time, because Microsoft still changes them. A reading that fails is tried
again an hour later, and what was read before stays.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple

from django.db import transaction
from django.db.models import Q

from forwarding.errors import words_of_failure
from forwarding.models import Attribution
from integrations.microsoft import client_for
from integrations.microsoft_ads.client import REPORT_DAYS, REPORT_GOALS, MicrosoftAdsClient
from integrations.microsoft_ads.errors import MicrosoftAdsError
from integrations.microsoft_ads.shapes import GoalReport
from integrations.models import MAX_GOAL_NAME_CHARS, AdAccount, Connection

READ_EVERY = timedelta(days=1)
TRY_AGAIN_AFTER = timedelta(hours=1)
ASK_AGAIN_AFTER = timedelta(minutes=1)
DAYS_READ = 14
MOST_AT_ONCE = 50

logger = logging.getLogger(__name__)


class _Reading(NamedTuple):
    """What Microsoft said of one goal for the days from `first` to `last`."""

    first: date
    last: date
    report: GoalReport


@transaction.atomic
def reports_due(now: datetime) -> list[int]:
    """Take the accounts whose report is to be read now, by key; nobody else takes them for an hour.

    Nobody is asked about an account whose sign-in needs a person.
    """
    due = AdAccount.objects.active().filter(next_report_at__lte=now, connection__status=Connection.Status.CONNECTED)
    first = due.select_for_update(skip_locked=True, of=("self",)).order_by("next_report_at")[:MOST_AT_ONCE]
    taken = list(first.values_list("pk", flat=True))
    if taken:
        AdAccount.objects.filter(pk__in=taken).update(next_report_at=now + TRY_AGAIN_AFTER)
    return taken


def take_now(account: AdAccount, now: datetime) -> bool:
    """Take an account's turn before its time, because a person asks; False when it was taken within the last minute."""
    taken_at = Q(next_report_at__gt=now + TRY_AGAIN_AFTER - ASK_AGAIN_AFTER, next_report_at__lte=now + TRY_AGAIN_AFTER)
    read_at = Q(report_read_at__isnull=False, report_read_at__gt=now - ASK_AGAIN_AFTER)
    free = AdAccount.objects.active().filter(pk=account.pk).exclude(taken_at | read_at)
    return bool(free.update(next_report_at=now + TRY_AGAIN_AFTER))


def read_attributions(account: AdAccount, now: datetime) -> bool:
    """Read an account's report and keep it; False when Microsoft gave none, which is kept in words.

    Safe to do twice: a goal's days are written anew, whatever they were.
    """
    known = account.goals.filter(gone_at__isnull=True).order_by("pk")
    goal_ids = list(known.values_list("goal_id", flat=True))
    try:
        readings = list(_readings(client_for(account), goal_ids, now.date()))
    except MicrosoftAdsError as error:
        logger.warning("The report of account %s was not read: %s", account.account_id, error)
        said = words_of_failure(error).title
        AdAccount.objects.filter(pk=account.pk).update(report_error=said, next_report_at=now + TRY_AGAIN_AFTER)
        return False
    _keep(account, readings, now)
    return True


def windows(today: date) -> list[tuple[date, date]]:
    """Return the first and the last day of each call: the days that are read, as many a call as Microsoft takes."""
    firsts = range(DAYS_READ - 1, -1, -REPORT_DAYS)
    return [(today - timedelta(days=ago), today - timedelta(days=ago - REPORT_DAYS + 1)) for ago in firsts]


def _readings(client: MicrosoftAdsClient, goal_ids: Sequence[str], today: date) -> Iterator[_Reading]:
    for first, last in windows(today):
        for start in range(0, len(goal_ids), REPORT_GOALS):
            for report in client.get_offline_conversion_report(goal_ids[start : start + REPORT_GOALS], first, last):
                yield _Reading(first, last, report)


@transaction.atomic
def _keep(account: AdAccount, readings: Iterable[_Reading], now: datetime) -> None:
    locked = AdAccount.objects.select_for_update(no_key=True).get(pk=account.pk)
    if locked.report_read_at is not None and locked.report_read_at > now:
        return  # a reading that began later was faster: ours is the older news
    rows: list[Attribution] = []
    for first, last, report in readings:
        Attribution.objects.filter(account=locked, goal_id=report.goal_id, day__range=(first, last)).delete()
        rows += _rows(locked, report, now)
    Attribution.objects.bulk_create(rows)
    locked.report_read_at, locked.next_report_at, locked.report_error = now, now + READ_EVERY, ""
    locked.save(update_fields=["report_read_at", "next_report_at", "report_error"])


def _rows(account: AdAccount, report: GoalReport, now: datetime) -> list[Attribution]:
    return [
        Attribution(
            account=account,
            goal_id=report.goal_id,
            goal_name=report.goal_name[:MAX_GOAL_NAME_CHARS],
            day=one.day,
            success=one.success,
            unattributed=one.unattributed,
            reasons={symbol: count for symbol, count in one.reasons.items() if count},
            read_at=now,
        )
        for one in report.days
        if one.success or one.unattributed
    ]
