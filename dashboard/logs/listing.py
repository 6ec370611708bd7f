"""Forward Logs: which deliveries a page lists, how it pages, what its counts are, and what is new since. No HTML here.

Which rows a filter means is `forwarding/filters.py`, how a list walks along them `forwarding/stretches.py`. Nothing
here counts whole or skips over rows: counts come from `DailyCount` or end at a cap, pages from keys.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.models import OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import JSONObject

from dashboard import wording
from dashboard.list_filters import ListFilter
from forwarding.errors import (
    SKIPS,
    filterable_codes,
    is_parked,
    lacks_order,
    told_code,
    waits_for_somebody,
    words_for,
    words_of,
)
from forwarding.filters import ADJUSTED, CLICKS, DATES, KINDS, PERIODS, STAGES, FilterForm, Wanted, together
from forwarding.models import WAITING, Attempt, DailyCount, Delivery, Kind, Skip, Status
from forwarding.rows.upload_rows import among
from forwarding.stretches import Counted, Cursor, Stretch, micros, stretch
from integrations.models import AdAccount

PAGE_ROWS = 50
MAX_FOLLOWED = 200
# An event that was taken up for an account so much later than it came is told with both moments.
NOT_AT_ONCE = timedelta(minutes=1)
LISTED = (Status.DELIVERED, *WAITING, Status.FAILED)
# Filters that only come with an address, and are kept as they are until their chip is removed.
UNSHOWN = ("reason", "event", "currency", "click", "stage", "utc_since", "utc_until")
_UNCOUNTED = ("error", "q", *DATES, *UNSHOWN)

_FOLLOWED = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.([0-9]{1,17})", re.ASCII)


class LogFilterForm(ListFilter, FilterForm):
    """The page's query string, and how the page shows it."""

    names = {
        "status": "status", "period": "period", "since": "from", "until": "to", "goal": "goal", "error": "error",
        "reason": "reason", "kind": "kind", "q": "search", "event": "event", "currency": "currency",
        "click": "click ID", "stage": "stage", "utc_since": "from (UTC)", "utc_until": "to (UTC)",
    }  # fmt: skip

    @property
    def has_counts(self) -> bool:
        """Say whether the roll-up knows how many rows there are: it knows whole days, statuses and goals."""
        return not any(self.value(name) for name in (*_UNCOUNTED, "kind"))

    @property
    def is_adjusted(self) -> bool:
        """Say whether the tab of what was restated or retracted is open."""
        return self.value("kind") == ADJUSTED and not self.value("status")

    @property
    def is_only_adjusted(self) -> bool:
        """Say whether nothing but that tab keeps the roll-up from knowing."""
        return self.is_adjusted and not any(self.value(name) for name in _UNCOUNTED)

    @property
    def period_options(self) -> list[tuple[str, str]]:
        """Return the choices; the one in force by default has no value, so that it stays out of addresses."""
        return [("" if key == self.default_period else key, label) for key, label in PERIODS]

    @property
    def period_label(self) -> str:
        """Return the period in force, in words."""
        return dict(PERIODS)[self.period_chosen]

    @property
    def error_options(self) -> list[tuple[str, str]]:
        """Return one choice for each title of the catalogue, and the codes asked for where they are another."""
        known = _errors_by_title()
        asked = self.value("error")
        missing = [(asked, _error_words(asked))] if asked and asked not in dict(known) else []
        return [("", "Any error"), *missing, *known]

    def labels(self) -> dict[str, str]:
        """Return what the chips say."""
        return {
            "since": f"From: {self.value('since')}",
            "until": f"To: {self.value('until')}",
            "goal": f"Goal: {self.value('goal')}",
            "error": f"Error: {dict(self.error_options).get(self.value('error'), '')}",
            "reason": f"Reason: {SKIPS[Skip(self.value('reason'))].title if self.value('reason') else ''}",
            "kind": f"Kind: {dict(KINDS).get(self.value('kind'), '')}",
            "q": f"Search: {self.value('q')}",
            "event": f"Event: {self.value('event')}",
            "currency": f"Currency: {self.value('currency')}",
            "click": dict(CLICKS)[self.value("click")],
            "stage": dict(STAGES)[self.value("stage")],
            "utc_since": f"From: {self.value('utc_since')} (UTC)",
            "utc_until": f"To: {self.value('utc_until')} (UTC)",
        }


@dataclass(frozen=True)
class Second:
    """The badge beside the status, of a conversion's corrections: a status's look, and the word on it."""

    look: str
    word: str


@dataclass(frozen=True)
class LogRow:
    """A delivery with what stands beside it."""

    delivery: Delivery
    title: str
    code: str
    note: str
    second: Second | None = None

    @property
    def value(self) -> Decimal | None:
        """Return what it is worth to Microsoft now; of a retracted one what it was worth.

        Of a refund whose order has not come, what was given back.
        """
        one = self.delivery
        if lacks_order(one):
            return one.event.value
        return one.value if one.restated_value is None else one.restated_value

    @property
    def currency(self) -> str:
        """Return the currency of `value`."""
        return self.delivery.event.currency if lacks_order(self.delivery) else self.delivery.currency

    @property
    def key(self) -> str:
        """Return what names the row on its page."""
        return str(self.delivery.public_id)

    @property
    def version(self) -> str:
        """Return the row's identity and state: a live page sends it back to ask whether it changed."""
        return f"{self.key}.{_last_change(self.delivery)}"

    @property
    def came_before(self) -> datetime | None:
        """Return when its event came, where that was long before it was taken up for this account."""
        came = self.delivery.event.received_at
        return came if self.delivery.created_at - came >= NOT_AT_ONCE else None


@dataclass(frozen=True)
class Page:
    """One page of the list, newest first, with the cursors of its neighbours ("" where there is none).

    `looked_to` is set where looking ended before the page was full: the older rows were not looked at yet. `known` is
    how many rows the whole list has, where the page saw its end or found few of what it looked at.
    """

    rows: list[LogRow] = field(default_factory=list)
    newer: str = ""
    older: str = ""
    looked_to: datetime | None = None
    known: Counted | None = None

    @property
    def is_first(self) -> bool:
        """Say whether newer rows would come on top of this page."""
        return not self.newer


@dataclass(frozen=True)
class Counts:
    """What the roll-up knows of the period: rows by status, and the goals that were sent to."""

    by_status: dict[str, int]
    goals: list[str]

    @property
    def listed(self) -> int:
        """Return how many rows were forwarded, whatever became of them."""
        return sum(self.by_status.get(status, 0) for status in LISTED)


@dataclass(frozen=True)
class News:
    """What a live page has to do: rows to put on top, and rows to draw anew."""

    new: list[LogRow]
    changed: list[LogRow]


def counts(account: AdAccount, wanted: Wanted) -> Counts:
    """Return the counts of the period, narrowed to the goal that is asked for; its goals are all of the period's."""
    days = DailyCount.objects.filter(account=account)
    if wanted.since is not None:
        days = days.filter(day__gte=wanted.since.date())
    if wanted.until is not None:
        days = days.filter(day__lte=wanted.until.date())
    by_status: Counter[str] = Counter()
    goals = set()
    for goal, status, count in days.values_list("goal_name", "status").annotate(total=Sum("count")).order_by():
        if status == Status.SKIPPED:
            # A skipped row is counted under its reason, so a goal's filter has none of them.
            by_status[status] += 0 if wanted.goal else count
            continue
        if count:
            goals.add(goal)
        if wanted.goal in ("", goal):
            by_status[status] += count
    return Counts(by_status, sorted(goals, key=str.casefold))


def page(account: AdAccount, wanted: Wanted, now: datetime, zone: ZoneInfo, before: str = "", after: str = "") -> Page:
    """Return the page before or after a cursor, or the first one; a cursor that is none is the first page's."""
    older_than, newer_than = Cursor.parse(before), Cursor.parse(after)
    if newer_than is not None:
        upwards = stretch(account, wanted, PAGE_ROWS + 1, newer_than, upwards=True)
        if upwards.end is not None:
            shown = upwards.rows[:PAGE_ROWS][::-1]
            newer = shown[0] if len(upwards.rows) > PAGE_ROWS else upwards.end
            older = shown[-1] if shown else newer_than
            return Page(_drawn_at(account, shown, now, zone), str(newer), str(older))
        older_than = None
    found = stretch(account, wanted, PAGE_ROWS + 1, older_than)
    if older_than is not None and not found.rows and found.end is None:
        return page(account, wanted, now, zone)
    shown = found.rows[:PAGE_ROWS]
    newer_than = None if older_than is None else shown[0] if shown else older_than
    is_full = len(found.rows) > PAGE_ROWS
    end = shown[-1] if is_full else found.end
    looked_to = None if is_full or end is None else end.created_at
    known = _known(found, len(shown), is_first=newer_than is None)
    return Page(_drawn_at(account, shown, now, zone), _written(newer_than), _written(end), looked_to, known)


def _known(found: Stretch, shown: int, *, is_first: bool) -> Counted | None:
    """Return how many rows a list has as far as a page of it says; None where it is worth counting them."""
    if is_first and found.end is None and len(found.rows) <= PAGE_ROWS:
        return Counted(shown, is_more=False)
    return Counted(shown, is_more=True) if found.is_sparse else None


def news(account: AdAccount, wanted: Wanted, followed: Iterable[str], now: datetime, zone: ZoneInfo) -> News:
    """Return what changed among the rows that a page shows, and what came on top of them.

    `followed` are the rows' versions as the page has them. What is nonsense among them, or of another account, is
    as if it were not there.
    """
    shown = {UUID(hex=found[1]): int(found[2]) for text in followed if (found := _FOLLOWED.fullmatch(text))}
    ids = list(shown)[:MAX_FOLLOWED]
    rows = account.deliveries.filter(public_id__in=ids).select_related("event")
    known = list(with_correction(rows)) if ids else []
    changed = [row for row in known if _last_change(row) != shown[row.public_id]]
    newest = max((Cursor.of(row) for row in known), default=None)
    if newest is None:
        new = stretch(account, wanted, PAGE_ROWS).rows
    else:
        new = stretch(account, wanted, PAGE_ROWS, newest, upwards=True).rows[::-1]
    return News(_drawn_at(account, new, now, zone), drawn_rows(changed, account, now, zone))


def with_correction(deliveries: "QuerySet[Delivery]") -> "QuerySet[Delivery]":
    """Return deliveries with what their badge is drawn from: the newest correction that is sent, waits or failed.

    `corrected_at` is when any correction of them changed.
    """
    corrections = Delivery.objects.filter(original=OuterRef("pk")).exclude(kind=Kind.CONVERSION)
    told = JSONObject(kind="kind", status="status", code="error_code", symbol="error_symbol")
    newest = corrections.exclude(status=Status.SKIPPED).order_by("-pk").values(told=told)
    changed = corrections.order_by("-changed_at").values("changed_at")
    return deliveries.annotate(newest_correction=Subquery(newest[:1]), corrected_at=Subquery(changed[:1]))


def drawn_rows(deliveries: Iterable[Delivery], account: AdAccount, now: datetime, zone: ZoneInfo) -> list[LogRow]:
    """Return rows of `with_correction` with their words. The account is put on them, so that no row asks for it."""
    rows = []
    for delivery in deliveries:
        delivery.account = account
        rows.append(_drawn(delivery, now, zone))
    return rows


def with_last_try(deliveries: "QuerySet[Delivery]") -> "QuerySet[Delivery]":
    """Return deliveries with what `sent_at` reads: when a call last came back without delivering them."""
    tries = Attempt.objects.filter(delivery=OuterRef("pk")).order_by("-created_at").values("created_at")
    return deliveries.annotate(last_tried_at=Subquery(tries[:1]))


def sent_at(delivery: Delivery) -> datetime | None:
    """Return when a delivery was last sent, None where it never was. Needs `with_last_try`.

    What people or the mapping do to it later changes the row, and not this.
    """
    return delivery.delivered_at or getattr(delivery, "last_tried_at", None)


def second_badge(delivery: Delivery) -> Second | None:
    """Return what became of a conversion's corrections; None when it has none. Needs `with_correction`."""
    newest: dict[str, str] = getattr(delivery, "newest_correction", None) or {}
    is_retraction = newest.get("kind") == Kind.RETRACT
    if delivery.retracted_at is not None:
        return Second("retracted", "Retracted")
    if newest.get("status") in WAITING:
        return Second("retracted", "Retracting…") if is_retraction else Second("restated", "Restating…")
    if newest.get("status") == Status.FAILED:
        return Second("failed", "Retract failed" if is_retraction else "Restate failed")
    return None if delivery.restated_value is None else Second("restated", "Restated")


def _drawn(delivery: Delivery, now: datetime, zone: ZoneInfo) -> LogRow:
    words = words_of(delivery)
    code = told_code(delivery, words)
    second = second_badge(delivery)
    notes = [
        "Test" if delivery.is_test else "",
        _correction_note(delivery, second),
        "Possibly sent twice" if delivery.possibly_twice else "",
        _timing(delivery, now, zone),
    ]
    title = words.title if words else ""
    return LogRow(delivery, title, code, " · ".join(note for note in notes if note), second)


def _correction_note(delivery: Delivery, second: Second | None) -> str:
    if second is not None and second.look == "failed":
        newest = getattr(delivery, "newest_correction")  # noqa: B009 - an annotation, unknown to the model's type
        return words_for(newest["code"], newest["symbol"]).title
    if delivery.retracted_at is not None or delivery.restated_value is None:
        return ""
    return f"was {wording.money(delivery.value, delivery.currency, delivery.account.site.currency)}"


def _timing(delivery: Delivery, now: datetime, zone: ZoneInfo) -> str:
    if delivery.status == Status.DELIVERED:
        return f"After {delivery.attempts} attempts" if delivery.attempts > 1 else ""
    if delivery.status not in WAITING or delivery.next_attempt_at is None:
        return ""
    if lacks_order(delivery):
        return (
            f"No order yet; dropped after {wording.day(delivery.expires_at, zone, now)}" if delivery.expires_at else ""
        )
    if waits_for_somebody(delivery):
        return f"Safe until {wording.day(delivery.expires_at, zone, now)}" if delivery.expires_at else ""
    if is_parked(delivery):
        return "After its conversion"
    if delivery.next_attempt_at <= now:
        return "Next batch"
    moment = wording.clock(delivery.next_attempt_at, zone, now)
    return f"Next attempt at {moment}" if delivery.status == Status.RETRYING else f"Goes out at {moment}"


def _drawn_at(account: AdAccount, places: Sequence[Cursor], now: datetime, zone: ZoneInfo) -> list[LogRow]:
    """Return the rows of these places in their order."""
    if not places:
        return []
    pks = [place.pk for place in places]
    by_pk = with_correction(Delivery.objects.filter(pk__in=among(pks)).select_related("event")).in_bulk()
    return drawn_rows([by_pk[pk] for pk in pks if pk in by_pk], account, now, zone)


def _errors_by_title() -> list[tuple[str, str]]:
    """Return the catalogue's titles in their order, each with its codes as a filter asks for them."""
    by_title: dict[str, list[str]] = {}
    for code, title in filterable_codes():
        by_title.setdefault(title, []).append(code)
    return [(together(codes), title) for title, codes in by_title.items()]


def _error_words(asked: str) -> str:
    titles = dict(filterable_codes())
    return f"{titles[asked]} ({asked})" if asked in titles else asked


def _written(cursor: Cursor | None) -> str:
    return "" if cursor is None else str(cursor)


def _last_change(delivery: Delivery) -> int:
    return micros(max(delivery.changed_at, getattr(delivery, "corrected_at", None) or delivery.changed_at))
