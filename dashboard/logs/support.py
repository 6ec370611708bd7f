"""What a person copies for support about one conversion: ids, codes and times in UTC, and nothing about anybody."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

from forwarding.models import Attempt, Delivery

LEFT_OUT = "left out, as it looks like an address"


def support_text(delivery: Delivery, attempts: Sequence[Attempt], corrected: Iterable[Delivery], now: datetime) -> str:
    """Return the text, one fact a line. Reads `delivery.event`, `goal`, `account` and `last_upload`."""
    account, event, goal = delivery.account, delivery.event, delivery.goal
    facts = [
        ("Written at", _moment(now)),
        ("Conversion", str(delivery.public_id)),
        ("Site", str(account.site.public_id)),
        ("Microsoft account", f"{account.account_id}, customer {account.customer_id}"),
        ("Event", _plain(event.event_id)),
        ("Transaction", _plain(delivery.transaction_id)),
        ("Goal", f"{delivery.goal_name}, id {goal.goal_id}" if goal else delivery.goal_name),
        (
            "Click ID",
            f"{delivery.msclkid}, found by: {delivery.get_click_source_display()}" if delivery.msclkid else "",
        ),
        ("Happened at", _moment(event.occurred_at)),
        ("Received at", _moment(event.received_at)),
        ("Planned at", _moment(delivery.created_at)),
        ("Conversion time sent", delivery.conversion_time),
        ("Status", _status(delivery)),
        ("Next attempt", _moment(delivery.next_attempt_at)),
        ("Too old from", _moment(delivery.expires_at)),
        *_calls(delivery, attempts),
        *((f"{row.get_kind_display()} {row.public_id}", f"{_status(row)}{_tracked(row)}") for row in corrected),
    ]
    return "\n".join(f"{name}: {fact}" for name, fact in facts if fact)


def _status(row: Delivery) -> str:
    code = "" if row.error_code is None else f"code {row.error_code}"
    parts = (row.status, row.skip_reason, row.hold_reason, code, row.error_symbol)
    # A delivered row changes again with each of its corrections.
    at = f"at {_moment(row.delivered_at)}" if row.delivered_at else f"last changed {_moment(row.changed_at)}"
    return ", ".join(part for part in (*parts, at) if part)


def _calls(delivery: Delivery, attempts: Sequence[Attempt]) -> Iterator[tuple[str, str]]:
    for number, attempt in enumerate(attempts, 1):
        upload = attempt.upload
        code = "" if attempt.error_code is None else f"code {attempt.error_code}"
        http = f"HTTP {upload.http_status}" if upload.http_status else "no answer"
        parts = (attempt.outcome, http, code, attempt.error_symbol, f"at {_moment(attempt.created_at)}")
        yield f"Attempt {number}", f"{', '.join(part for part in parts if part)}{_tracking(upload.tracking_id)}"
    if delivery.delivered_at is not None:
        yield "Accepted", f"{_moment(delivery.delivered_at)}{_tracked(delivery)}"


def _tracked(row: Delivery) -> str:
    return _tracking(row.last_upload.tracking_id) if row.last_upload else ""


def _tracking(tracking_id: str) -> str:
    return f", TrackingId {tracking_id}" if tracking_id else ""


def _plain(text: str) -> str:
    """Return an id on one line. Some shops use e-mail addresses as ids: those say who somebody is."""
    return LEFT_OUT if "@" in text else " ".join(text.split())


def _moment(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
