"""Events: which a page lists, how it pages, what became of each in every account, and what is new since. No HTML here.

A site may have millions of events, and none is counted or skipped over. Pages go by keys. A filter that no index serves
looks through a bounded number of events and says how far it came.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from django import forms
from django.db.models import BooleanField, Exists, OuterRef, Q, QuerySet, Value

from dashboard import wording
from dashboard.events import searching
from dashboard.events.reasons import (
    CONVERSION_NAMES,
    NO_ACCOUNT,
    NOT_PLANNED,
    NOT_THERE_YET,
    why_skipped,
)
from dashboard.list_filters import ListFilter
from dashboard.logs.listing import LogRow, Second, drawn_rows, with_correction
from forwarding.filters import CURRENCY, EVENT_NAME, DayField, midnight
from forwarding.models import OTHER_NAMES, WAITING, Delivery, EventDay, Kind, Status
from forwarding.stops import read_stops
from forwarding.stretches import Cursor, beyond, micros
from ingest.hashing import is_sha256
from ingest.models import MAX_ID_CHARS, Event, Site
from integrations.models import AdAccount, GoalMapping

# By what the list is in order.
MOMENT = "received_at"
PAGE_ROWS = 50
# How many events a filter without an index looks through at a time.
WINDOW = 10_000
MAX_FOLLOWED = 100
# Events that arrive together are committed in any order, so a live page looks this far behind what it shows.
OVERLAP = timedelta(seconds=10)
NAMES_LOOKED_BACK = timedelta(days=90)
# More than anybody reads through; pages may send any name, so there is no end to them.
MAX_NAMES = 500
ALL_ACCOUNTS = "All accounts"
# No event's name begins with a tilde.
CONVERSIONS_ONLY = "~conversions"
FORWARDED, NOT_FORWARDED, FAILED = "forwarded", "not-forwarded", "failed"
OUTCOMES = [("", "Any outcome"), (FORWARDED, "Forwarded"), (NOT_FORWARDED, "Not forwarded"), (FAILED, "Failed")]

_FOLLOWED = re.compile(r"([0-9]{1,17}-[0-9]{1,18})\.([0-9]{1,17}-[0-9]{1,6})", re.ASCII)


@dataclass(frozen=True)
class Wanted:
    """What the reader asks for; empty means no such limit."""

    name: str = ""
    outcome: str = ""
    search: str = ""
    currency: str = ""
    # The first moment of the time that is asked for, and the first after it.
    since: datetime | None = None
    until: datetime | None = None

    @property
    def is_windowed(self) -> bool:
        """Say whether no index serves it, so that it is looked for event by event. A search finds few."""
        return bool(self.name or self.outcome or self.currency) and not self.search


class EventFilterForm(ListFilter):
    """The page's query string."""

    name = forms.RegexField(rf"^{CONVERSIONS_ONLY}\Z|{EVENT_NAME}", required=False)
    outcome = forms.ChoiceField(choices=OUTCOMES, required=False)
    q = forms.CharField(max_length=MAX_ID_CHARS, required=False)
    # These only come with an address. The days are days of UTC, like those of the reports.
    currency = forms.RegexField(CURRENCY, required=False)
    utc_since = DayField(required=False)
    utc_until = DayField(required=False)

    names = {
        "name": "event", "outcome": "outcome", "q": "search", "currency": "currency", "utc_since": "from (UTC)",
        "utc_until": "to (UTC)",
    }  # fmt: skip

    def wanted(self) -> Wanted:
        """Return what to list."""
        self.is_valid()
        first, last = self.cleaned_data.get("utc_since"), self.cleaned_data.get("utc_until")
        return Wanted(
            self.value("name"),
            self.value("outcome"),
            self.value("q"),
            self.value("currency"),
            since=None if first is None else midnight(first, UTC),
            until=None if last is None else midnight(last + timedelta(days=1), UTC),
        )

    @property
    def unshown(self) -> list[tuple[str, str]]:
        """Return the fields that have no control, which are kept until their chip is removed."""
        return [(name, self.value(name)) for name in ("currency", "utc_since", "utc_until") if self.value(name)]

    def labels(self) -> dict[str, str]:
        """Return what the chips say."""
        name = self.value("name")
        return {
            "name": "Conversions only" if name == CONVERSIONS_ONLY else f"Event: {name}",
            "outcome": f"Outcome: {dict(OUTCOMES).get(self.value('outcome'), '')}",
            "q": f"Search: {shown_search(self.value('q'))}",
            "currency": f"Currency: {self.value('currency')}",
            "utc_since": f"From: {self.value('utc_since')} (UTC)",
            "utc_until": f"To: {self.value('utc_until')} (UTC)",
        }


@dataclass(frozen=True)
class Line:
    """What became of an event in one account, or in all of them alike: a status, and why or how."""

    account: str
    status: str
    why: str
    second: Second | None = None

    @property
    def outcome(self) -> tuple[str, str, Second | None]:
        """Return what is compared between accounts."""
        return self.status, self.why, self.second


@dataclass(frozen=True)
class EventRow:
    """An event with what became of it."""

    event: Event
    lines: Sequence[Line]
    version: str

    @property
    def key(self) -> str:
        """Return what names the row on its page."""
        return str(self.event.pk)


@dataclass(frozen=True)
class Page:
    """One page of the list, newest first, with the cursor of the next one ("" where there is none).

    `looked_back_to` is the oldest event that a filter looked at without filling the page; `further` goes on there.
    """

    rows: list[EventRow] = field(default_factory=list)
    older: str = ""
    is_first: bool = True
    looked_back_to: datetime | None = None
    further: str = ""


@dataclass(frozen=True)
class News:
    """What a live page has to do: rows to put on top, and rows to draw anew."""

    new: list[EventRow]
    changed: list[EventRow]


@dataclass(frozen=True)
class Names:
    """The event names of a site: those that an account maps to a goal, and every other one seen lately."""

    mapped: frozenset[str]
    others: Sequence[str]

    @property
    def listed(self) -> list[str]:
        """Return all of them, mapped ones first."""
        return [*sorted(self.mapped), *self.others]


@dataclass(frozen=True)
class Scene:
    """What every row is drawn with: the active accounts, by name, what is mapped, and the reader's clock."""

    site: Site
    accounts: Sequence[AdAccount]
    mapped: Collection[str]
    now: datetime
    zone: ZoneInfo


def names_of(site: Site, now: datetime) -> Names:
    """Return the site's event names, of its mappings and of the days that a page looks back, in one query.

    Of very many, the mapped ones and the first of the others.
    """
    days = EventDay.objects.filter(site=site, day__gte=(now - NAMES_LOOKED_BACK).date()).exclude(name=OTHER_NAMES)
    seen = days.order_by().annotate(is_mapped=_flag(False)).values_list("name", "is_mapped")
    mappings = GoalMapping.objects.filter(account__site=site, account__is_active=True, is_active=True)
    mapped = mappings.order_by().annotate(is_mapped=_flag(True)).values_list("event_name", "is_mapped")
    found = list(seen.union(mapped).order_by("-is_mapped", "name")[:MAX_NAMES])
    goals = frozenset(name for name, is_mapped in found if is_mapped)
    return Names(goals, sorted({name for name, _ in found} - goals))


def mapped_names(site: Site) -> frozenset[str]:
    """Return the event names that an account of the site maps to a goal."""
    mappings = GoalMapping.objects.filter(account__site=site, account__is_active=True, is_active=True)
    return frozenset(mappings.values_list("event_name", flat=True))


def page(scene: Scene, wanted: Wanted, before: str = "") -> Page:
    """Return the page that begins below a cursor, or the first one; a cursor that is none is the first page's."""
    cursor = Cursor.parse(before)
    floor = _floor(scene.site, wanted, cursor) if wanted.is_windowed else None
    rows = beyond(beyond(_matching(scene, wanted), cursor, MOMENT), floor, MOMENT, upwards=True)
    found = list(rows.order_by("-received_at", "-pk")[: PAGE_ROWS + 1])
    shown = found[:PAGE_ROWS]
    drawn = drawn_events(shown, scene)
    if len(found) > PAGE_ROWS:
        return Page(drawn, str(cursor_of(shown[-1])), cursor is None)
    if floor is None:
        return Page(drawn, is_first=cursor is None)
    return Page(drawn, "", cursor is None, floor.created_at, str(_above(floor)))


def news(scene: Scene, wanted: Wanted, followed: Iterable[str]) -> News:
    """Return what changed among the rows that a page shows, and what came on top of them.

    `followed` are the rows' versions as the page has them, nonsense among them left out.
    """
    shown: dict[Cursor, str] = {}
    for text in list(followed)[:MAX_FOLLOWED]:
        parts = _FOLLOWED.fullmatch(text)
        cursor = Cursor.parse(parts[1]) if parts else None
        if parts and cursor:
            shown[cursor] = text
    pks = [cursor.pk for cursor in shown]
    known = list(scene.site.events.filter(pk__in=pks).defer("properties")) if pks else []
    new = _came_since(scene, wanted, known)
    drawn = {row.event.pk: row for row in drawn_events([*new, *known], scene)}
    versions = {cursor.pk: version for cursor, version in shown.items()}
    changed = [drawn[event.pk] for event in known if drawn[event.pk].version != versions[event.pk]]
    return News([drawn[event.pk] for event in new], changed)


def _came_since(scene: Scene, wanted: Wanted, known: Sequence[Event]) -> list[Event]:
    rows = _matching(scene, wanted).exclude(pk__in=[event.pk for event in known])
    if known:
        newest, oldest = (max(known, key=cursor_of), min(known, key=cursor_of))
        rows = rows.filter(received_at__gte=max(newest.received_at - OVERLAP, oldest.received_at))
        rows = beyond(rows, cursor_of(oldest), MOMENT, upwards=True)
    if wanted.is_windowed:
        # The newest row of a rare name may be months old: everything since would be looked through.
        rows = beyond(rows, _floor(scene.site, wanted, None), MOMENT, upwards=True)
    return list(rows.order_by("-received_at", "-pk")[:PAGE_ROWS])


def cursor_of(event: Event) -> Cursor:
    """Return where an event stands in the list."""
    return Cursor(event.received_at, event.pk)


def drawn_events(events: Sequence[Event], scene: Scene) -> list[EventRow]:
    """Return events with what became of them, in the order given. One query, however many events there are."""
    deliveries = deliveries_of([event.pk for event in events], scene) if events else {}
    return [_drawn(event, deliveries.get(event.pk, []), scene) for event in events]


def deliveries_of(event_pks: Collection[int], scene: Scene, *also: str) -> Mapping[int, list[LogRow]]:
    """Return by event what was made of it, one row per account, by the account's name; `also` are relations to join."""
    rows = with_correction(Delivery.objects.filter(event__in=event_pks))
    rows = rows.select_related("account__connection", "goal", *also)
    by_event: dict[int, list[Delivery]] = defaultdict(list)
    for row in rows:
        row.account.site = scene.site
        by_event[row.event_id].append(row)
    read_stops(row.account for of in by_event.values() for row in of)
    return {
        event_pk: [drawn_rows([row], row.account, scene.now, scene.zone)[0] for row in one_per_account(of)]
        for event_pk, of in by_event.items()
    }


def one_per_account(rows: Iterable[Delivery]) -> list[Delivery]:
    """Return of an event's deliveries the one that says what became of it in each account, by the account's name.

    A conversion comes before the corrections of it that a person made, and what is told before what is not: a refund
    of an order in two goals may be told of one.
    """
    chosen: dict[int, Delivery] = {}
    for row in sorted(rows, key=lambda row: (row.kind != Kind.CONVERSION, row.status == Status.SKIPPED, -row.pk)):
        chosen.setdefault(row.account_id, row)
    return sorted(chosen.values(), key=lambda row: (row.account.name, row.account_id))


def lines_of(event: Event, rows: Sequence[LogRow], scene: Scene) -> list[Line]:
    """Return what became of an event in each account, or one line where it is the same in all."""
    if event.planned_at is None:
        return [Line(ALL_ACCOUNTS, Status.PENDING, NOT_PLANNED.title)]
    having = {row.delivery.account_id for row in rows}
    lines = [_line(event, row, scene) for row in rows]
    lines += [
        Line(account.name, Status.SKIPPED, NOT_THERE_YET.title)
        for account in scene.accounts
        if account.pk not in having
    ]
    if not lines:
        return [Line(ALL_ACCOUNTS, Status.SKIPPED, NO_ACCOUNT.title)]
    if len(lines) > 1 and len({line.outcome for line in lines}) == 1:
        return [Line(ALL_ACCOUNTS, *lines[0].outcome)]
    return lines


def shown_search(text: str) -> str:
    """Write what is looked for; a hash of a person is shortened like everywhere."""
    return short_hash(text) if is_sha256(text) else text


def short_hash(sha256: str) -> str:
    """Write a hash as its first and last four characters: enough to compare."""
    return f"{sha256[:4]}…{sha256[-4:]}"


def _line(event: Event, row: LogRow, scene: Scene) -> Line:
    one = row.delivery
    name = one.account.name if one.account.is_active else f"{one.account.name} (removed)"
    parts = [row.title + (f" ({row.code})" if row.code else ""), row.note]
    if one.status == Status.SKIPPED:
        parts = [why_skipped(event, one, scene.mapped).title]
    elif one.status == Status.DELIVERED and one.delivered_at is not None:
        took = max((one.delivered_at - event.received_at).total_seconds(), 0)
        parts = [one.goal_name, wording.duration(took), row.note]
    return Line(name, one.status, " · ".join(part for part in parts if part), row.second)


def _drawn(event: Event, rows: Sequence[LogRow], scene: Scene) -> EventRow:
    changes = [int(row.version.rpartition(".")[2]) for row in rows]
    changed = max([micros(event.planned_at or event.received_at), *changes])
    return EventRow(event, lines_of(event, rows, scene), f"{cursor_of(event)}.{changed}-{len(rows)}")


def _matching(scene: Scene, wanted: Wanted) -> "QuerySet[Event]":
    every = Event.objects.filter(site=scene.site).defer("properties")
    rows = searching.found(scene.site, wanted.search, has_accounts=bool(scene.accounts)) if wanted.search else every
    if wanted.name == CONVERSIONS_ONLY:
        named = Q(name__in={*scene.mapped, *CONVERSION_NAMES})
        rows = rows.filter(named | Q(value__isnull=False) | ~Q(transaction_id=""))
    elif wanted.name:
        rows = rows.filter(name=wanted.name)
    if wanted.currency:
        rows = rows.filter(currency=wanted.currency)
    return _of_outcome(_of_days(rows, wanted), wanted.outcome)


def _of_days(rows: "QuerySet[Event]", wanted: Wanted) -> "QuerySet[Event]":
    if wanted.since is not None:
        rows = rows.filter(received_at__gte=wanted.since)
    return rows if wanted.until is None else rows.filter(received_at__lt=wanted.until)


def _of_outcome(rows: "QuerySet[Event]", outcome: str) -> "QuerySet[Event]":
    made = Delivery.objects.filter(event=OuterRef("pk"))
    if outcome == FAILED:
        return rows.filter(Exists(made.filter(status=Status.FAILED)))
    if outcome == FORWARDED:
        return rows.filter(Exists(made.filter(status__in=(Status.DELIVERED, *WAITING))))
    if outcome == NOT_FORWARDED:
        return rows.filter(~Exists(made.exclude(status=Status.SKIPPED)), planned_at__isnull=False)
    return rows


def _floor(site: Site, wanted: Wanted, cursor: Cursor | None) -> Cursor | None:
    """Return the first event below a window, which begins at a cursor; None where the window holds all of the days.

    Told the database as a moment, so that a filter is one short range of the index and no join.
    """
    rows: QuerySet[Event] = beyond(_of_days(site.events.all(), wanted), cursor, MOMENT)
    ordered = rows.order_by("-received_at", "-pk").values_list("received_at", "pk")
    found = list(ordered[WINDOW : WINDOW + 1])
    return Cursor(*found[0]) if found else None


def _above(floor: Cursor) -> Cursor:
    """Return the cursor whose page begins with the event at a floor."""
    return Cursor(floor.created_at, floor.pk + 1)


def _flag(value: bool) -> Value:
    return Value(value, output_field=BooleanField())
