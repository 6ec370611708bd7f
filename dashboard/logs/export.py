"""Forward Logs as a CSV file: all rows of a filter, however many, a stretch at a time.

Amounts are written as the page shows them. People's hashes are left out.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal

from django.http import HttpRequest, StreamingHttpResponse

from dashboard.csv_files import file_name, give_back, head, moment, streamed, written
from dashboard.logs.listing import second_badge, sent_at, with_correction, with_last_try
from dashboard.wording import amount
from forwarding.errors import words_of
from forwarding.filters import Wanted
from forwarding.models import Delivery, Kind, Status
from forwarding.rows.upload_rows import among
from forwarding.stretches import Cursor, stretch
from integrations.models import AdAccount

ROWS_AT_ONCE = 1000
HEADER = (
    "Received (UTC)", "Sent (UTC)", "Conversion time (UTC)", "Conversion goal", "Event", "Event ID", "Transaction ID",
    "Value", "Currency", "Value after corrections", "Click ID (msclkid)", "Click ID found by", "Status", "Correction",
    "Error code", "What happened", "What to do", "Microsoft's message", "Attempts", "Test", "TrackingId",
    "Conversion ID",
)  # fmt: skip
_LEFT_BEHIND = ("last_upload__delivery_ids", "last_upload__answer", "event__properties")


def csv_of(request: HttpRequest, account: AdAccount, wanted: Wanted, now: datetime) -> StreamingHttpResponse:
    """Answer the rows of a filter as a file, newest first. No more than ROWS_AT_ONCE are ever held."""
    name = file_name(account.name, account.account_id, "forward-logs", now)
    return streamed(request, lines(account, wanted), name)


def lines(account: AdAccount, wanted: Wanted) -> Iterator[str]:
    """Yield the file in pieces: its header, then up to ROWS_AT_ONCE rows at a time."""
    yield head(HEADER)
    start: Cursor | None = None
    while True:
        found = stretch(account, wanted, ROWS_AT_ONCE, start)
        if found.rows:
            yield written([_cells(row) for row in _rows(account, found.pks)])
        give_back()
        if found.end is None:
            return
        start = found.end


def _rows(account: AdAccount, pks: list[int]) -> list[Delivery]:
    rows = Delivery.objects.filter(pk__in=among(pks)).select_related("event", "last_upload").defer(*_LEFT_BEHIND)
    by_pk = with_last_try(with_correction(rows)).in_bulk()
    found = [by_pk[pk] for pk in pks if pk in by_pk]
    for row in found:
        row.account = account
    return found


def _counted(row: Delivery) -> str:
    """Write what Microsoft counts of a row now, so that the column adds up to the revenue forwarded."""
    if row.status != Status.DELIVERED or row.kind != Kind.CONVERSION or row.is_test:
        return ""
    if row.retracted_at is not None:
        return amount(Decimal(0), row.currency)
    return amount(row.value if row.restated_value is None else row.restated_value, row.currency)


def _cells(row: Delivery) -> Sequence[str]:
    words, second = words_of(row), second_badge(row)
    upload = row.last_upload
    return [
        moment(row.created_at),
        moment(sent_at(row)),
        row.conversion_time,
        row.goal_name,
        row.event.name,
        row.event.event_id,
        row.transaction_id,
        amount(row.value, row.currency),
        row.currency,
        _counted(row),
        row.msclkid,
        row.get_click_source_display(),
        row.get_status_display(),
        second.word if second else "",
        "" if row.error_code is None else str(row.error_code),
        words.title if words else "",
        words.fix if words else "",
        row.error_message,
        str(row.attempts),
        "yes" if row.is_test else "no",
        upload.tracking_id if upload else "",
        str(row.public_id),
    ]
