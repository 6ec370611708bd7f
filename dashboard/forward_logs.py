"""Forward Logs: which deliveries a page lists, how it pages, what its counts are, and what is new since. No HTML here.

It lists conversions; a correction is shown on the conversion that it corrects. Nothing here counts rows or skips over
them: counts come from `DailyCount`, pages from keys, a search from indexes.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

from django import forms
from django.db.models import Case, F, OuterRef, Q, QuerySet, Subquery, Sum, When
from django.db.models.functions import JSONObject
from django.http import QueryDict

from dashboard import wording
from forwarding.errors import filterable_codes, waits_for_somebody, words_for, words_of
from forwarding.models import WAITING, Attempt, DailyCount, Delivery, Kind, Status
from ingest.models import MAX_ID_CHARS
from integrations.models import MAX_GOAL_NAME_CHARS, AdAccount

PAGE_ROWS = 50
MAX_FOUND = 1000  # an upload, the largest thing that one search finds, has no more
MAX_FOLLOWED = 200
DEFAULT_PERIOD = "7"
EVER = "all"
PERIODS = [("7", "Last 7 days"), ("30", "Last 30 days"), ("90", "Last 90 days"), (EVER, "Any time")]
WITHOUT_ORDER = "loose"
KINDS = [
    ("", "All conversions"),
    (Kind.RESTATE.value, "Restated"),
    (Kind.RETRACT.value, "Retracted"),
    (WITHOUT_ORDER, "Refunds without their order"),
]
LISTED = (Status.DELIVERED, *WAITING, Status.FAILED)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_CURSOR = re.compile(r"([0-9]{1,17})-([0-9]{1,18})", re.ASCII)
_FOLLOWED = re.compile(r"([0-9a-f]{32})\.([0-9]{1,17})", re.ASCII)


@dataclass(frozen=True, order=True)
class Cursor:
    """A row's place in the list: newest first, the later written first among those of one moment."""

    created_at: datetime
    pk: int

    def __str__(self) -> str:
        return f"{_micros(self.created_at)}-{self.pk}"

    @classmethod
    def of(cls, delivery: Delivery) -> "Cursor":
        """Return where a delivery stands."""
        return cls(delivery.created_at, delivery.pk)

    @classmethod
    def parse(cls, text: str) -> "Cursor | None":
        """Read a cursor from an address; None for anything else."""
        found = _CURSOR.fullmatch(text)
        return cls(_EPOCH + int(found[1]) * _MICROSECOND, int(found[2])) if found else None


@dataclass(frozen=True)
class Wanted:
    """What the reader asks for; empty means no such limit. `since` is the first moment of the period."""

    status: str = ""
    since: datetime | None = None
    goal: str = ""
    error: str = ""
    kind: str = ""
    search: str = ""

    @property
    def has_counts(self) -> bool:
        """Say whether the roll-up knows how many rows there are: it does not know searches, errors or kinds."""
        return not (self.error or self.kind or self.search)


class LogFilterForm(forms.Form):
    """The page's query string. What makes no sense is left out, and `problems` says so."""

    status = forms.ChoiceField(choices=[("", "All"), *Status.choices], required=False)
    period = forms.ChoiceField(choices=[("", ""), *PERIODS], required=False)
    goal = forms.CharField(max_length=MAX_GOAL_NAME_CHARS, required=False, strip=False)
    error = forms.RegexField(r"^(?:[0-9]{1,9}|[A-Za-z][A-Za-z0-9]{0,99})\Z", required=False)
    kind = forms.ChoiceField(choices=KINDS, required=False)
    q = forms.CharField(max_length=MAX_ID_CHARS, required=False)

    _names = {"status": "status", "period": "period", "goal": "goal", "error": "error", "kind": "kind", "q": "search"}

    @property
    def problems(self) -> str:
        """Return which filters were not understood, in words; empty when all were."""
        return wording.listed([self._names[name] for name in self.errors if name in self._names])

    def value(self, name: str) -> str:
        """Return what a field asks for, "" when it asks for nothing or for nonsense."""
        self.is_valid()
        return str(self.cleaned_data.get(name, ""))

    @property
    def period_chosen(self) -> str:
        """Return the period in force: seven days, or any time while something is searched for."""
        return self.value("period") or (EVER if self.value("q") else DEFAULT_PERIOD)

    def wanted(self, now: datetime) -> Wanted:
        """Return what to list. A period begins at a midnight of UTC, like the days of the counts."""
        since = None
        if self.period_chosen != EVER:
            first = now.astimezone(UTC).date() - timedelta(days=int(self.period_chosen) - 1)
            since = datetime.combine(first, time.min, UTC)
        return Wanted(
            status=self.value("status"),
            since=since,
            goal=self.value("goal"),
            error=self.value("error"),
            kind=self.value("kind"),
            search=self.value("q"),
        )

    def address(self, **changes: str) -> str:
        """Return the query string with some fields changed; what says nothing is left out."""
        fields = {name: self.value(name) for name in self._names} | changes
        query = QueryDict(mutable=True)
        query.update({name: text for name, text in fields.items() if text})
        return f"?{query.urlencode()}"

    @property
    def period_options(self) -> list[tuple[str, str]]:
        """Return the choices; the one in force by default has no value, so that it stays out of addresses."""
        default = EVER if self.value("q") else DEFAULT_PERIOD
        return [("" if key == default else key, label) for key, label in PERIODS]

    @property
    def error_options(self) -> list[tuple[str, str]]:
        """Return the catalogue's codes, and the one asked for when it is another."""
        known = [(code, f"{title} ({code})") for code, title in filterable_codes()]
        asked = self.value("error")
        missing = [(asked, asked)] if asked and asked not in dict(known) else []
        return [("", "Any error"), *missing, *known]

    def chips(self) -> list[tuple[str, str]]:
        """Return each filter in force, in words, with the address of the list without it."""
        labels = {
            "goal": f"Goal: {self.value('goal')}",
            "error": f"Error: {dict(self.error_options).get(self.value('error'), '')}",
            "kind": f"Kind: {dict(KINDS).get(self.value('kind'), '')}",
            "q": f"Search: {self.value('q')}",
        }
        return [(label, self.address(**{name: ""})) for name, label in labels.items() if self.value(name)]


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
        """Return what it is worth to Microsoft now; of a retracted one what it was worth."""
        one = self.delivery
        return one.value if one.restated_value is None else one.restated_value

    @property
    def version(self) -> str:
        """Return the row's identity and state: a live page sends it back to ask whether it changed."""
        return f"{self.delivery.public_id.hex}.{_last_change(self.delivery)}"

    @property
    def sent_at(self) -> datetime | None:
        """Return when it was last sent; None while it was not."""
        return sent_at(self.delivery)


@dataclass(frozen=True)
class Page:
    """One page of the list, newest first, with the cursors of its neighbours ("" where there is none)."""

    rows: list[LogRow] = field(default_factory=list)
    newer: str = ""
    older: str = ""

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
    rows = _matching(account, wanted)
    older_than, newer_than = Cursor.parse(before), Cursor.parse(after)
    if newer_than is not None:
        upwards = _newer(rows, newer_than).order_by("created_at", "pk")[: PAGE_ROWS + 1]
        found = list(upwards)
        if len(found) > PAGE_ROWS:
            shown = found[:PAGE_ROWS][::-1]
            drawn = drawn_rows(shown, account, now, zone)
            return Page(drawn, str(Cursor.of(shown[0])), str(Cursor.of(shown[-1])))
    elif older_than is not None:
        rows = _older(rows, older_than)
    found = list(rows.order_by("-created_at", "-pk")[: PAGE_ROWS + 1])
    if older_than is not None and not found:
        return page(account, wanted, now, zone)
    shown = found[:PAGE_ROWS]
    newer = str(Cursor.of(shown[0])) if shown and older_than is not None and newer_than is None else ""
    older = str(Cursor.of(shown[-1])) if len(found) > PAGE_ROWS else ""
    return Page(drawn_rows(shown, account, now, zone), newer, older)


def news(account: AdAccount, wanted: Wanted, followed: Iterable[str], now: datetime, zone: ZoneInfo) -> News:
    """Return what changed among the rows that a page shows, and what came on top of them.

    `followed` are the rows' versions as the page has them. What is nonsense among them, or of another account, is
    as if it were not there.
    """
    shown = {UUID(hex=found[1]): int(found[2]) for text in followed if (found := _FOLLOWED.fullmatch(text))}
    ids = list(shown)[:MAX_FOLLOWED]
    known = list(with_correction(account.deliveries.filter(public_id__in=ids))) if ids else []
    changed = [row for row in known if _last_change(row) != shown[row.public_id]]
    rows = _matching(account, wanted)
    if known:
        rows = _newer(rows, max(Cursor.of(row) for row in known))
    new = list(rows.order_by("-created_at", "-pk")[:PAGE_ROWS])
    return News(drawn_rows(new, account, now, zone), drawn_rows(changed, account, now, zone))


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


def sent_at(delivery: Delivery) -> datetime | None:
    """Return when a delivery was last sent: its last mark, if it was ever sent."""
    return delivery.delivered_at or (delivery.changed_at if delivery.attempts else None)


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
    code = "" if delivery.error_code is None or waits_for_somebody(delivery) else str(delivery.error_code)
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
    if waits_for_somebody(delivery):
        return f"Safe until {wording.day(delivery.expires_at, zone, now)}" if delivery.expires_at else ""
    if delivery.next_attempt_at <= now:
        return "Next batch"
    moment = wording.clock(delivery.next_attempt_at, zone, now)
    return f"Next attempt at {moment}" if delivery.status == Status.RETRYING else f"Goes out at {moment}"


def _matching(account: AdAccount, wanted: Wanted) -> "QuerySet[Delivery]":
    rows = matching(account, wanted)
    return with_correction(rows).select_related("event")


def matching(account: AdAccount, wanted: Wanted) -> "QuerySet[Delivery]":
    """Return the deliveries that a list shows, in no order."""
    rows: QuerySet[Delivery] = account.deliveries.all()
    if wanted.search:
        # Whoever looks for one order wants it whatever became of it, so a search lists what was not forwarded too.
        rows = rows.filter(pk__in=_found(account, wanted.search))
    elif wanted.kind != WITHOUT_ORDER:
        rows = rows.filter(kind=Kind.CONVERSION)
    rows = _of_status(rows, wanted)
    if wanted.since is not None:
        rows = rows.filter(created_at__gte=wanted.since)
    if wanted.goal:
        rows = rows.filter(goal_name=wanted.goal)
    if wanted.kind == WITHOUT_ORDER:
        rows = rows.filter(original=None).exclude(kind=Kind.CONVERSION)
    elif wanted.kind:
        corrections = Delivery.objects.filter(account=account, kind=wanted.kind, original__isnull=False)
        rows = rows.filter(pk__in=corrections.exclude(status=Status.SKIPPED).values("original"))
    if wanted.error.isdigit():
        rows = rows.filter(error_code=int(wanted.error))
    elif wanted.error:
        rows = rows.filter(error_symbol=wanted.error)
    return rows


def _of_status(rows: "QuerySet[Delivery]", wanted: Wanted) -> "QuerySet[Delivery]":
    if wanted.status:
        return rows.filter(status=wanted.status)
    if wanted.error:
        # The index of what is not delivered serves this; no delivered row has an error.
        return rows.exclude(status=Status.DELIVERED)
    is_whatever_became_of_it = wanted.search or wanted.kind == WITHOUT_ORDER
    return rows if is_whatever_became_of_it else rows.exclude(status=Status.SKIPPED)


def _found(account: AdAccount, text: str) -> list[int]:
    """Return the deliveries that an id of any kind leads to: one indexed query per kind, united, never an OR.

    A correction leads to its conversion.
    """
    mine = Delivery.objects.filter(account=account)
    roads: list[QuerySet[Delivery]] = [
        mine.filter(transaction_id=text),
        # Kept as it came and compared without case: ids come in both.
        mine.filter(msclkid__in={text, text.lower(), text.upper()} - {""}),
        mine.filter(event__site_id=account.site_id, event__event_id=text),
    ]
    if guid := _guid(text):
        uploads = account.uploads.filter(tracking_id__in={text, str(guid), str(guid).upper()}).values("pk")
        roads += [
            mine.filter(public_id=guid),
            mine.filter(last_upload__in=uploads),
            mine.filter(pk__in=Attempt.objects.filter(upload__in=uploads).values("delivery_id")),
        ]
    is_shown_elsewhere = Q(original__isnull=False) & ~Q(kind=Kind.CONVERSION)
    shown = Case(When(is_shown_elsewhere, then=F("original_id")), default=F("pk"))
    first, *others = (road.order_by().annotate(shown=shown).values_list("shown", flat=True) for road in roads)
    return list(first.union(*others)[:MAX_FOUND])


def _guid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _older(rows: "QuerySet[Delivery]", than: Cursor) -> "QuerySet[Delivery]":
    # The first condition bounds the index scan; the second one settles rows of the very same moment.
    return rows.filter(Q(created_at__lt=than.created_at) | Q(pk__lt=than.pk), created_at__lte=than.created_at)


def _newer(rows: "QuerySet[Delivery]", than: Cursor) -> "QuerySet[Delivery]":
    return rows.filter(Q(created_at__gt=than.created_at) | Q(pk__gt=than.pk), created_at__gte=than.created_at)


def _last_change(delivery: Delivery) -> int:
    return _micros(max(delivery.changed_at, getattr(delivery, "corrected_at", None) or delivery.changed_at))


def _micros(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND
