"""Which deliveries of an account a filter means. Forward Logs, its export and its bulk actions read the same one.

A filter means conversions; a correction belongs to the conversion that it corrects. Nothing here counts rows or puts
them in order: `forwarding/stretches.py` walks along them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from uuid import UUID
from zoneinfo import ZoneInfo

from django import forms
from django.db import connection
from django.db.models import Case, F, OuterRef, Q, QuerySet, Subquery, When

from forwarding.models import HAS_ERROR, WAITING, Attempt, Delivery, Kind, Skip, Status
from ingest.models import MAX_ID_CHARS, MAX_NAME_CHARS, Event
from integrations.models import MAX_GOAL_NAME_CHARS, AdAccount

MAX_FOUND = 1000  # an upload, the largest thing that one search finds, has no more
DEFAULT_PERIOD = "7"
EVER = "all"
PERIODS = [
    ("1", "Today (UTC)"),
    ("7", "Last 7 days"),
    ("30", "Last 30 days"),
    ("90", "Last 90 days"),
    (EVER, "Any time"),
]
UNCORRECTED, ADJUSTED, WITHOUT_ORDER, TESTS = "conversion", "adjusted", "loose", "test"
KINDS = [
    ("", "All kinds"),
    (UNCORRECTED, "Conversions without a correction"),
    (ADJUSTED, "Restated or retracted"),
    (Kind.RESTATE.value, "Restated"),
    (Kind.RETRACT.value, "Retracted"),
    (WITHOUT_ORDER, "Refunds without their order"),
    (TESTS, "Tests"),
]
WITH_CLICK, WITHOUT_CLICK = "with", "without"
CLICKS = [("", ""), (WITH_CLICK, "With a click ID"), (WITHOUT_CLICK, "Without a click ID")]
NOT_SENT = "not-sent"
STAGES = [("", ""), (NOT_SENT, "Not sent yet")]
# What may carry an error: what was delivered has none, and what was not forwarded has a reason instead.
WITH_ERRORS = (Status.FAILED, Status.RETRYING, Status.PENDING)
# The lane of the rows that have an error, beside those of statuses.
_ERRORS = "errors"
# Microsoft's code or our symbol; errors that are told in the same words are asked for together: 5605-5606.
_ERROR = r"(?:[0-9]{1,9}|[A-Za-z][A-Za-z0-9]{0,99})"
_TOGETHER, MAX_TOGETHER = "-", 20
EVENT_NAME = rf"^[A-Za-z][A-Za-z0-9_.-]{{0,{MAX_NAME_CHARS - 1}}}\Z"
CURRENCY = r"^[A-Z]{3}\Z"
DATES = ("since", "until", "utc_since", "utc_until")
FIRST_DAY, LAST_DAY = date(2000, 1, 1), date(2100, 1, 1)


@dataclass(frozen=True)
class Wanted:
    """What a filter asks for; empty means no such limit.

    `since` is the first moment of its time, `until` the first after it; `event` is an event's name. `statuses` narrow
    it further, to what an action can be done to.
    """

    status: str = ""
    since: datetime | None = None
    until: datetime | None = None
    goal: str = ""
    error: str = ""
    reason: str = ""
    kind: str = ""
    search: str = ""
    event: str = ""
    currency: str = ""
    click: str = ""
    statuses: Sequence[str] = ()

    @property
    def errors(self) -> Sequence[str]:
        """Return the codes and symbols that are asked for, none for any."""
        return self.error.split(_TOGETHER) if self.error else ()


class DayField(forms.DateField):
    """A day as an address writes it. A year that is still being typed is none."""

    def __init__(self, *, required: bool) -> None:
        super().__init__(input_formats=["%Y-%m-%d"], required=required)

    def validate(self, value: date | None) -> None:
        """Refuse what is no day of ours."""
        super().validate(value)
        if value is not None and not FIRST_DAY <= value <= LAST_DAY:
            raise forms.ValidationError("This is no day of ours.")


class FilterForm(forms.Form):
    """A filter as an address writes it. What makes no sense is left out."""

    status = forms.ChoiceField(choices=[("", "All"), *Status.choices], required=False)
    period = forms.ChoiceField(choices=[("", ""), *PERIODS], required=False)
    since = DayField(required=False)
    until = DayField(required=False)
    goal = forms.CharField(max_length=MAX_GOAL_NAME_CHARS, required=False, strip=False)
    error = forms.RegexField(rf"^{_ERROR}(?:{_TOGETHER}{_ERROR}){{0,{MAX_TOGETHER - 1}}}\Z", required=False)
    # Why something was not forwarded.
    reason = forms.ChoiceField(choices=[("", ""), *Skip.choices], required=False)
    kind = forms.ChoiceField(choices=KINDS, required=False)
    q = forms.CharField(max_length=MAX_ID_CHARS, required=False)
    # What a line of a report narrows its rows to. Its days are days of UTC, like those of the counts.
    event = forms.RegexField(EVENT_NAME, required=False)
    currency = forms.RegexField(CURRENCY, required=False)
    click = forms.ChoiceField(choices=CLICKS, required=False)
    stage = forms.ChoiceField(choices=STAGES, required=False)
    utc_since = DayField(required=False)
    utc_until = DayField(required=False)

    def value(self, name: str) -> str:
        """Return what a field asks for, "" when it asks for nothing or for nonsense."""
        self.is_valid()
        return str(self.cleaned_data.get(name) or "")

    @property
    def default_period(self) -> str:
        """Return the period in force where none is chosen: seven days, or any time beside a search or dates."""
        return EVER if any(self.value(name) for name in ("q", *DATES)) else DEFAULT_PERIOD

    @property
    def period_chosen(self) -> str:
        """Return the period in force."""
        return self.value("period") or self.default_period

    def wanted(self, now: datetime, zone: ZoneInfo) -> Wanted:
        """Return what is asked for. A period begins at a midnight of UTC, like the days of the counts; dates are the
        site's.
        """
        self.is_valid()
        in_zones = (("since", "until", zone), ("utc_since", "utc_until", UTC))
        firsts = [(self.cleaned_data.get(since), its) for since, _, its in in_zones]
        lasts = [(self.cleaned_data.get(until), its) for _, until, its in in_zones]
        begins = [midnight(day, its) for day, its in firsts if day is not None]
        if self.period_chosen != EVER:
            days = timedelta(days=int(self.period_chosen) - 1)
            begins.append(midnight(now.astimezone(UTC).date() - days, UTC))
        return Wanted(
            status=self.value("status"),
            since=max(begins, default=None),
            until=min((midnight(day + timedelta(days=1), its) for day, its in lasts if day is not None), default=None),
            goal=self.value("goal"),
            error=self.value("error"),
            reason=self.value("reason"),
            kind=self.value("kind"),
            search=self.value("q"),
            event=self.value("event"),
            currency=self.value("currency"),
            click=self.value("click"),
            statuses=WAITING if self.value("stage") else (),
        )


def together(errors: Sequence[str]) -> str:
    """Write errors that are asked for at once as an address does."""
    return _TOGETHER.join(errors)


def lanes(wanted: Wanted) -> Sequence[str]:
    """Return what of the filter an index keeps apart: statuses, or all rows with an error; [""] for all there are."""
    statuses = _statuses(wanted)
    if wanted.search or not statuses or Status.DELIVERED in statuses:
        return [""]
    return [_ERRORS] if wanted.errors and len(statuses) > 1 else statuses


def of_lane(account: AdAccount, wanted: Wanted, lane: str) -> "QuerySet[Delivery]":
    """Return the rows that an index of their moments leads to: nothing but account, lane and time is asked."""
    rows: QuerySet[Delivery] = Delivery.objects.filter(account=account)
    if lane == _ERRORS:
        rows = rows.filter(HAS_ERROR)
    elif lane:
        rows = rows.filter(status=lane)
    if wanted.search:
        # Whoever looks for one order wants it whatever became of it, so a search lists what was not forwarded too.
        rows = rows.filter(pk__in=_found(account, wanted.search))
    if wanted.since is not None:
        rows = rows.filter(created_at__gte=wanted.since)
    return rows if wanted.until is None else rows.filter(created_at__lt=wanted.until)


def narrowed(rows: "QuerySet[Delivery]", wanted: Wanted, lane: str) -> "QuerySet[Delivery]":
    """Keep of a lane's rows those that the filter means."""
    statuses = _statuses(wanted)
    if statuses and lane not in statuses:
        rows = rows.filter(status__in=statuses)
    elif not statuses and not wanted.search and wanted.kind != WITHOUT_ORDER:
        rows = rows.exclude(status=Status.SKIPPED)
    if wanted.goal:
        rows = rows.filter(goal_name=wanted.goal)
    if wanted.reason:
        rows = rows.filter(skip_reason=wanted.reason)
    if wanted.errors:
        codes = [int(error) for error in wanted.errors if error.isdigit()]
        symbols = [error for error in wanted.errors if not error.isdigit()]
        rows = rows.filter(Q(error_code__in=codes) | Q(error_symbol__in=symbols))
    if wanted.currency:
        rows = rows.filter(currency=wanted.currency)
    if wanted.click:
        rows = rows.filter(msclkid="") if wanted.click == WITHOUT_CLICK else rows.exclude(msclkid="")
    if wanted.event:
        # Asked row by row: of a join, PostgreSQL may make a walk along all events of that name.
        name = Event.objects.filter(pk=OuterRef("event_id")).values("name")[:1]
        rows = rows.alias(event_named=Subquery(name)).filter(event_named=wanted.event)
    return _of_kind(rows, wanted)


def _statuses(wanted: Wanted) -> Sequence[str]:
    if wanted.status:
        return [wanted.status]
    if wanted.reason:
        return [Status.SKIPPED]
    return wanted.statuses or (WITH_ERRORS if wanted.error else ())


def _of_kind(rows: "QuerySet[Delivery]", wanted: Wanted) -> "QuerySet[Delivery]":
    if wanted.kind == WITHOUT_ORDER:
        return rows.filter(original=None).exclude(kind=Kind.CONVERSION)
    if wanted.kind == TESTS:
        return rows.filter(kind=Kind.CONVERSION, is_test=True)
    if not wanted.search:
        # Tests are in no count, so they are in no list but their own: what a page counts is what it lists.
        rows = rows.filter(kind=Kind.CONVERSION, is_test=False)
    if not wanted.kind:
        return rows
    corrections = Delivery.objects.filter(original=OuterRef("pk")).exclude(status=Status.SKIPPED)
    if wanted.kind in (UNCORRECTED, ADJUSTED):
        rows, asked = rows.filter(kind=Kind.CONVERSION), corrections.exclude(kind=Kind.CONVERSION)
    else:
        asked = corrections.filter(kind=wanted.kind)
    # Asked row by row: of EXISTS, PostgreSQL makes a join with the corrections of everybody.
    return rows.alias(one=Subquery(asked.values("pk")[:1])).filter(one__isnull=wanted.kind == UNCORRECTED)


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
        uploads = account.uploads.exclude(tracking_id="")
        uploads = uploads.filter(tracking_id__in={text, str(guid), str(guid).upper()})
        roads += [
            mine.filter(public_id=guid),
            mine.filter(last_upload__in=uploads.values("pk")),
            mine.filter(pk__in=Attempt.objects.filter(upload__in=uploads.values("pk")).values("delivery_id")),
        ]
    is_shown_elsewhere = Q(original__isnull=False) & ~Q(kind=Kind.CONVERSION)
    shown = Case(When(is_shown_elsewhere, then=F("original_id")), default=F("pk"))
    # Each road ends by itself: an id that millions share, such as "undefined", is not read to its end to be united.
    if connection.features.supports_slicing_ordering_in_compound:
        ends = [road.order_by()[:MAX_FOUND] for road in roads]
    else:
        # SQLite cuts no part of a union. PostgreSQL would run each road anew for every row until it knows its tables.
        ends = [mine.filter(pk__in=road.order_by().values("pk")[:MAX_FOUND]).order_by() for road in roads]
    first, *others = (end.annotate(shown=shown).values_list("shown", flat=True) for end in ends)
    return list(first.union(*others)[:MAX_FOUND])


def _guid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def midnight(day: date, zone: tzinfo) -> datetime:
    """Return the moment at which a day begins in a zone."""
    return datetime.combine(day, time.min, zone).astimezone(UTC)
