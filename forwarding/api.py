"""What became of one event or adjustment, for the backend that sent it: `GET /v1/events/<event_id>` and its like."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.db.models import Q
from django.http import HttpRequest, HttpResponse, JsonResponse

from convultra.problems import problem
from forwarding.errors import words_of
from forwarding.models import WAITING, Delivery, Hold, Kind
from ingest.keys import Caller
from ingest.models import Adjustment, Event
from ingest.views import for_backend

NOT_CACHED = {"Cache-Control": "no-store"}  # the next sweep may change it


@for_backend
def event_status(_request: HttpRequest, caller: Caller, event_id: str) -> HttpResponse:
    """Answer an event of the key's site with its deliveries per account; 404 for any other id."""
    event = Event.objects.filter(site=caller.site.site_id, event_id=_without_nul(event_id)).first()
    if event is None:
        return problem(404, "event_not_found", "No event of this site has this event_id.")
    rows = event.deliveries.select_related("account__connection", "original__event").order_by("account_id", "pk")
    conversions = [row for row in rows if row.kind == Kind.CONVERSION]
    adjustments = _adjustments_of(event, conversions)
    return JsonResponse(
        {
            "event_id": event.event_id,
            "name": event.name,
            "occurred_at": _moment(event.occurred_at),
            "received_at": _moment(event.received_at),
            "source": event.source,
            "value": _money(event.value),
            "currency": event.currency or None,
            "transaction_id": event.transaction_id or None,
            "planned": event.planned_at is not None,
            "deliveries": [_conversion(row) for row in conversions],
            "adjustments": [_adjustment(row) for row in adjustments],
        },
        headers=NOT_CACHED,
    )


@for_backend
def adjustment_status(_request: HttpRequest, caller: Caller, adjustment_id: str) -> HttpResponse:
    """Answer an adjustment of the key's site with what came of it per account; 404 for any other id."""
    said = Adjustment.objects.filter(site=caller.site.site_id, adjustment_id=_without_nul(adjustment_id)).first()
    if said is None:
        return problem(404, "adjustment_not_found", "No adjustment of this site has this adjustment_id.")
    rows = Delivery.objects.filter(correction__adjustment=said).select_related("account__connection")
    corrections = [_adjustment(row) for row in rows.order_by("account_id", "pk")]
    is_planned = said.planned_at is not None
    return JsonResponse(
        {
            "adjustment_id": said.adjustment_id,
            "transaction_id": said.transaction_id or None,
            "event_id": said.event_id or None,
            "type": said.type,
            "value": _money(said.value),
            "currency": said.currency or None,
            "occurred_at": _moment(said.occurred_at),
            "received_at": _moment(said.received_at),
            "planned": is_planned,
            "waiting_for_order": is_planned and not corrections,
            "adjustments": corrections,
        },
        headers=NOT_CACHED,
    )


def _without_nul(said: str) -> str:
    """Return an id that can be asked for: PostgreSQL refuses a NUL in a text parameter, and no stored id is empty."""
    return "" if "\0" in said else said


def _adjustments_of(event: Event, conversions: list[Delivery]) -> list[Delivery]:
    """Return the corrections of an event's conversions, and those that the event itself is, such as a refund."""
    corrections = Delivery.objects.exclude(kind=Kind.CONVERSION).select_related("account__connection")
    return list(corrections.filter(Q(event=event) | Q(original__in=conversions)).order_by("account_id", "pk"))


def _conversion(delivery: Delivery) -> dict[str, Any]:
    return _delivery(delivery) | {
        "same_order_as": _other_event(delivery),
        "value_at_microsoft": _value_at_microsoft(delivery),
        "retracted_at": _moment(delivery.retracted_at),
    }


def _adjustment(correction: Delivery) -> dict[str, Any]:
    return _delivery(correction) | {
        "type": correction.kind,
        "adjustment_time": correction.adjustment_time or None,
    }


def _delivery(delivery: Delivery) -> dict[str, Any]:
    words = words_of(delivery)
    return {
        "account_id": delivery.account.account_id,
        "status": delivery.status,
        "reason": _reason(delivery),
        "goal": delivery.goal_name or None,
        "conversion_time": delivery.conversion_time or None,
        "value": _money(delivery.value),
        "currency": delivery.currency or None,
        "click_id": delivery.msclkid or None,
        "click_found_by": delivery.click_source or None,
        "possibly_sent_twice": delivery.possibly_twice,
        "attempts": delivery.attempts,
        "next_attempt_at": _moment(delivery.next_attempt_at),
        "delivered_at": _moment(delivery.delivered_at),
        "error": _error(delivery),
        "explanation": None
        if words is None
        else {"title": words.title, "cause": words.cause, "fix": words.fix or None},
    }


def _other_event(delivery: Delivery) -> str | None:
    """Return the event whose conversion stands for this one's order too."""
    return delivery.original.event.event_id if delivery.original else None


def _value_at_microsoft(delivery: Delivery) -> str | None:
    """Return what Microsoft counts after corrections; null before it has the conversion and after a retraction."""
    if delivery.delivered_at is None or delivery.retracted_at is not None:
        return None
    return _money(delivery.value if delivery.restated_value is None else delivery.restated_value)


def _reason(delivery: Delivery) -> str | None:
    """Return in one word what keeps it: its own reason, or what stops its whole account."""
    account = delivery.account
    if delivery.status in WAITING:
        if account.paused_at is not None:
            return "paused"
        if not account.connection.is_usable:
            return Hold.RECONNECT.value
        if account.hold_reason:
            return account.hold_reason
    return delivery.skip_reason or delivery.hold_reason or None


def _error(delivery: Delivery) -> dict[str, Any] | None:
    if delivery.error_code is None and not delivery.error_symbol and not delivery.error_message:
        return None
    return {
        "code": delivery.error_code,
        "symbol": delivery.error_symbol or None,
        "message": delivery.error_message or None,
    }


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _money(value: Decimal | None) -> str | None:
    """Write money as text, so that no reader turns it into a binary fraction."""
    return None if value is None else f"{value:f}"
