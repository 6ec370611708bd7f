"""A funnel's days as a CSV file."""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal

from django.http import HttpRequest, StreamingHttpResponse

from dashboard.csv_files import file_name, head, streamed, written
from dashboard.reconciliation.figures import Asked
from dashboard.reconciliation.funnel import Day, Funnel
from dashboard.wording import amount
from forwarding.money import Money
from integrations.models import AdAccount

HEADER = (
    "Day (UTC)", "Account", "Event", "Currency", "Received", "With a Microsoft click", "Forwarded", "Accepted",
    "Uploaded", "Attributed", "Settled", "Match rate", "Accepted value", "Adjusted", "Net",
)  # fmt: skip


def csv_of(
    request: HttpRequest, account: AdAccount, asked: Asked, funnel: Funnel, now: datetime
) -> StreamingHttpResponse:
    """Answer the days, newest first. What nobody knows yet is an empty cell; a match rate is a share of 1."""
    name = file_name(account.name, account.account_id, "reconciliation", now)
    return streamed(request, _lines(account, asked, funnel), name)


def _lines(account: AdAccount, asked: Asked, funnel: Funnel) -> Iterator[str]:
    yield head(HEADER)
    yield written([_cells(account, asked, day) for day in reversed(funnel.days)])


def _cells(account: AdAccount, asked: Asked, day: Day) -> list[str]:
    is_known = day.is_settled and day.uploaded and day.attributed is not None
    return [
        day.day.isoformat(),
        account.name,
        asked.event,
        asked.currency or "all",
        str(day.received),
        str(day.matched),
        str(day.forwarded),
        str(day.accepted),
        str(day.uploaded),
        "" if day.attributed is None else str(day.attributed),
        "yes" if day.is_settled else "no",
        f"{(day.attributed or 0) / day.uploaded:.4f}" if is_known else "",
        *(_money(sums, asked.currency) for sums in (day.worth, day.adjusted, day.net)),
    ]


def _money(sums: Money, currency: str) -> str:
    """Write a number of the currency that was asked for; of all currencies, each sum with its own."""
    if currency:
        return amount(sums.get(currency, Decimal(0)), currency)
    return " ".join(f"{code} {amount(value, code)}" for code, value in sorted(sums.items()))
