"""What charts show, and what they say to who cannot see them: numbers by day in the colours of statuses. No HTML here.

`static/js/charts.js` draws what `Chart.data` returns from `{{ chart.data|json_script:"id" }}`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from forwarding.models import Status

# Colours are variables of static/css/app.css, so that a chart follows the theme.
OK, WAITS, AGAIN, BAD = "--cv-chart-ok", "--st-pending-dot", "--cv-chart-warn", "--cv-chart-bad"


@dataclass(frozen=True, slots=True)
class Series:
    """One number per day under a label; `colour` is a variable of the style sheet."""

    label: str
    colour: str
    numbers: Sequence[int]


@dataclass(frozen=True, slots=True)
class Chart:
    """Stacked bars by day. The last `unfinished` days are hatched: their numbers still move.

    `finding` is what the chart says, as a sentence. Of charts under each other only the last writes its days.
    """

    days: Sequence[date]
    series: Sequence[Series]
    finding: str
    unfinished: int = 0
    has_days: bool = True

    @property
    def data(self) -> dict[str, object]:
        """Return what charts.js draws."""
        return {
            "labels": [short_day(day) for day in self.days],
            "series": [
                {"label": one.label, "color": one.colour, "data": list(one.numbers)} for one in self.series
            ],
            "unfinished": self.unfinished,
            "days": self.has_days,
        }  # fmt: skip


@dataclass(slots=True)
class DayFigures:
    """What became of the conversions of one UTC day so far."""

    day: date
    delivered: int = 0
    pending: int = 0
    retrying: int = 0
    failed: int = 0

    @property
    def waiting(self) -> int:
        """Return how many are neither delivered nor failed."""
        return self.pending + self.retrying

    @property
    def total(self) -> int:
        """Return all of the day's conversions that were forwarded."""
        return self.delivered + self.waiting + self.failed

    def add(self, status: str, count: int) -> None:
        """Count conversions that are in a status; those that are not forwarded are none of its business."""
        if status in _COUNTED:
            setattr(self, status, getattr(self, status) + count)


_COUNTED = {Status.DELIVERED, Status.PENDING, Status.RETRYING, Status.FAILED}


@dataclass(frozen=True, slots=True)
class ConversionsByDay:
    """Conversions by day, oldest first, today last: two charts, because failures would vanish in one, and a table."""

    days: Sequence[DayFigures]

    @property
    def total(self) -> int:
        """Return how many conversions there are to draw."""
        return sum(day.total for day in self.days)

    @property
    def main(self) -> Chart:
        """Return the chart of what was delivered or waits."""
        delivered, pending, retrying = (
            [day.delivered for day in self.days],
            [day.pending for day in self.days],
            [day.retrying for day in self.days],
        )
        finding = (
            f"Conversions by day, {self.span}: {sum(delivered):,} delivered, {sum(pending):,} pending,"
            f" {sum(retrying):,} retrying."
        )
        series = (
            Series("Delivered", OK, delivered),
            Series("Pending", WAITS, pending),
            Series("Retrying", AGAIN, retrying),
        )
        return Chart([day.day for day in self.days], series, finding, unfinished=1, has_days=False)

    @property
    def failed(self) -> Chart:
        """Return the chart of what failed, on a scale of its own."""
        numbers = [day.failed for day in self.days]
        finding = f"Failed by day, {self.span}: none."
        if any(numbers):
            worst = max(self.days, key=lambda day: day.failed)
            finding = (
                f"Failed by day, {self.span}: {sum(numbers):,} in total, most on {short_day(worst.day)}"
                f" with {worst.failed:,}."
            )
        return Chart([day.day for day in self.days], (Series("Failed", BAD, numbers),), finding, unfinished=1)

    @property
    def finding(self) -> str:
        """Return what there is to see in both charts at once, as a sentence: on which day the most failed."""
        failed = sum(day.failed for day in self.days)
        if not failed:
            return "Nothing failed."
        worst = max(self.days, key=lambda day: day.failed)
        if worst.failed == failed:
            return (
                f"All {failed:,} that failed did so on {short_day(worst.day)}."
                if failed > 1
                else (f"One failed, on {short_day(worst.day)}.")
            )
        return f"Failures peaked on {short_day(worst.day)}: {worst.failed:,} of {failed:,}."

    @property
    def span(self) -> str:
        """Write the first and the last day: Nov 8 – Nov 21; one where it is the same."""
        first, last = short_day(self.days[0].day), short_day(self.days[-1].day)
        return first if first == last else f"{first} – {last}"

    @property
    def newest_first(self) -> Sequence[DayFigures]:
        """Return the days as the table lists them."""
        return self.days[::-1]


def empty_days(count: int, now: datetime) -> dict[date, DayFigures]:
    """Return today and the days before it, oldest first, by their date; days are UTC's, as the roll-ups'."""
    first = now.date() - timedelta(days=count - 1)
    return {day: DayFigures(day) for day in (first + timedelta(days=number) for number in range(count))}


def short_day(day: date) -> str:
    """Write a day as an axis does: Nov 8."""
    return f"{day:%b} {day.day}"
