"""How a date in a spreadsheet is read: exactly, or not at all. Pure.

ISO 8601, `2026/11/21 14:05`, `21.11.2026 14:05`, `11/21/2026 2:05 PM` and `Nov 21, 2026 14:05`, each with its own zone
or in the file's. Where day and month could be either, the file has to say which comes first.
"""

import re
from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from ingest.models import DateOrder

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_HALF = r"\s*(?P<half>[AaPp]\.?[Mm]\.?)?"
_CLOCK = rf"(?:[T ,]\s*(?P<hour>\d{{1,2}}):(?P<minute>\d{{2}})(?::(?P<second>\d{{2}})(?:[.,]\d{{1,9}})?)?{_HALF})?"
_ZONE = r"\s*(?P<zone>Z|UTC|GMT|[+-]\d{2}:?\d{2}|[A-Z][A-Za-z_]+/[A-Za-z_/+-]+)?"
_YEAR_FIRST = re.compile(
    rf"(?P<year>\d{{4}})[-/.](?P<first>\d{{1,2}})[-/.](?P<last>\d{{1,2}}){_CLOCK}{_ZONE}", re.ASCII
)
_YEAR_LAST = re.compile(rf"(?P<first>\d{{1,2}})[-/.](?P<last>\d{{1,2}})[-/.](?P<year>\d{{4}}){_CLOCK}{_ZONE}", re.ASCII)
_IN_WORDS = re.compile(
    rf"(?P<month>[A-Za-z]{{3,9}})\.?\s+(?P<day>\d{{1,2}}),?\s*(?P<year>\d{{4}}){_CLOCK}{_ZONE}", re.ASCII
)
_OFFSET = re.compile(r"([+-])(\d{2}):?(\d{2})", re.ASCII)
_END_OF_DAY = time(23, 59, 59)


class TimeRefused(ValueError):  # noqa: N818 - a refusal, told with the row
    """A text that is no moment, or that could be two. `code` is one of `ingest/imports/problems.py`."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def zone_named(text: str) -> tzinfo:
    """Return a zone by its offset (`+0000`, `-06:00`) or name (`UTC`, `America/Chicago`); ValueError for neither."""
    if text.upper() in {"Z", "UTC", "GMT"}:
        return UTC
    offset = _OFFSET.fullmatch(text)
    if offset:
        hours, minutes = int(offset[2]), int(offset[3])
        if hours > 14 or minutes > 59:
            raise ValueError("no such offset")
        ahead = timedelta(hours=hours, minutes=minutes)
        return timezone(ahead if offset[1] == "+" else -ahead)
    try:
        return ZoneInfo(text)
    except (OSError, ValueError, LookupError) as error:  # a folder, a bad name, an unknown name
        raise ValueError("no such time zone") from error


def read_moment(text: str, zone: tzinfo, order: str = "") -> datetime:
    """Return the moment that a cell names, as aware UTC to the second; `zone` is for those that name none.

    A date without a time is the last second of its day: a sale never lies before the click of the same day.
    Raises TimeRefused.
    """
    found = _YEAR_FIRST.fullmatch(text) or _YEAR_LAST.fullmatch(text) or _IN_WORDS.fullmatch(text)
    if found is None:
        raise TimeRefused("time_malformed")
    month, day = _month_and_day(found, order)
    try:
        local = datetime.combine(datetime(int(found["year"]), month, day), _clock(found))  # noqa: DTZ001 - zoned below
    except ValueError as error:
        raise TimeRefused("time_malformed") from error
    if not 1970 <= local.year <= 2200:
        raise TimeRefused("time_malformed")
    return _moment(local, _zone(found["zone"], zone))


def _month_and_day(found: re.Match[str], order: str) -> tuple[int, int]:
    if found.re is _IN_WORDS:
        name = found["month"].lower()
        if name[:3] not in _MONTHS:
            raise TimeRefused("time_malformed")
        return _MONTHS.index(name[:3]) + 1, int(found["day"])
    first, last = int(found["first"]), int(found["last"])
    if found.re is _YEAR_FIRST:
        return first, last
    if order:
        return (last, first) if order == DateOrder.DAY_FIRST else (first, last)
    if first <= 12 and last <= 12 and first != last:
        raise TimeRefused("date_unclear")
    return (last, first) if first > 12 else (first, last)


def _clock(found: re.Match[str]) -> time:
    if found["hour"] is None:
        return _END_OF_DAY
    hour, half = int(found["hour"]), (found["half"] or "")[:1].lower()
    if half:
        if not 1 <= hour <= 12:
            raise ValueError("no such hour of half a day")
        hour = hour % 12 + (12 if half == "p" else 0)
    return time(hour, int(found["minute"]), int(found["second"] or 0))


def _zone(said: str | None, zone: tzinfo) -> tzinfo:
    if said is None:
        return zone
    try:
        return zone_named(said)
    except ValueError as error:
        raise TimeRefused("zone_unknown") from error


def _moment(local: datetime, zone: tzinfo) -> datetime:
    # Of the hour that autumn has twice the second one: it does not lie before a click in the first.
    moment = local.replace(tzinfo=zone, fold=1).astimezone(UTC)
    if moment.astimezone(zone).replace(tzinfo=None, fold=0) != local:
        raise TimeRefused("time_skipped")  # the hour that spring does not have
    return moment
