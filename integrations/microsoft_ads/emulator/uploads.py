"""Uploads of conversions and adjustments: bind all rows, judge each, book what no rule refuses.

A row that does not bind fails the whole request and nothing is taken. A row that a rule refuses gets its own partial
error, and the others are taken (cm/applyofflineconversions). What is taken and yet does not count is kept with its
reason; no answer tells it.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from integrations.microsoft_ads.emulator import rules
from integrations.microsoft_ads.emulator.access import account_of, signed_in_user
from integrations.microsoft_ads.emulator.books import Account, Booking, Books, MatchKey, Received
from integrations.microsoft_ads.emulator.rules import AdjustmentRow, AnyRow, ConversionRow, Refusal, Scene
from integrations.microsoft_ads.emulator.wire import (
    ApiError,
    Json,
    JsonObject,
    Reader,
    Request,
    Response,
    parse_json,
    read_body,
    unbindable,
)

RowT = TypeVar("RowT", ConversionRow, AdjustmentRow)
SINK_ANSWER = b'{"PartialErrors":[]}'


def apply_offline_conversions(books: Books, request: Request) -> JsonObject:
    """Answer ApplyOfflineConversions: partial errors by index, nothing for the rows that were taken."""
    return _upload(books, request, "OfflineConversions", rules.read_conversion, rules.refusals_of_conversion, _book)


def apply_offline_conversion_adjustments(books: Books, request: Request) -> JsonObject:
    """Answer ApplyOfflineConversionAdjustments; an adjustment without its original is taken silently."""
    return _upload(
        books, request, "OfflineConversionAdjustments", rules.read_adjustment, rules.refusals_of_adjustment, _adjust
    )


def _upload(
    books: Books,
    request: Request,
    array: str,
    read: Callable[[Reader], RowT],
    judge: Callable[[RowT, Scene], list[Refusal]],
    take: Callable[[Books, Request, Received, RowT, Scene], None],
) -> JsonObject:
    account, rows = _rows(books, request, array, read)
    errors: list[Json] = []
    for index, row in enumerate(rows):
        scene = _scene(books, request, account, row)
        entry = _entry(request, account, array, index, row)
        refusals = _planned(request, index) or ([rules.null_row()] if row is None else judge(row, scene))
        if row is None or refusals:
            errors.extend(_refuse(books, request, entry, refusals, array))
        else:
            take(books, request, entry, row, scene)
    return {"PartialErrors": errors}


def _rows(
    books: Books, request: Request, array: str, read: Callable[[Reader], RowT]
) -> tuple[Account, list[RowT | None]]:
    account = account_of(books, request, signed_in_user(books, request), writes=True)
    reader = read_body(request.body).only((array,))
    count = len(reader.items(array) or [])
    for trouble in (rules.batch_is_not_empty(count), rules.batch_is_within_limit(count)):
        if trouble:
            raise trouble
    request.rows = count
    return account, reader.objects(array, read) or []


def _scene(books: Books, request: Request, account: Account, row: AnyRow | None) -> Scene:
    goal = books.offline_goal(account, row.name) if row and row.name else None
    click = books.clicks.get(row.click_id.lower()) if row and row.click_id else None
    return Scene(request.received_at, books.settings, account, goal, click)


def _planned(request: Request, index: int) -> list[Refusal]:
    if index not in request.planned_refusals:
        return []
    code, symbol = request.planned_refusals[index]
    return [Refusal(code, symbol, "A fault that was asked for.", "")]


def _entry(request: Request, account: Account, array: str, index: int, row: AnyRow | None) -> Received:
    return Received(
        tracking_id=request.tracking_id,
        received_at=request.received_at,
        operation=f"{array}/Apply",
        account_id=account.id,
        index=index,
        row=row.as_sent if row else None,
        body_sha256=request.body_sha256(),
        outcome="",
    )


def _refuse(books: Books, request: Request, entry: Received, refusals: list[Refusal], array: str) -> list[JsonObject]:
    entry.outcome, entry.code = refusals[0].symbol, refusals[0].code
    books.put(entry)
    request.refused[f"{entry.code} {entry.outcome}"] += 1
    return [refusal.to_json(entry.index, array) for refusal in refusals]


def match_key(account: Account, row: AnyRow) -> MatchKey:
    """Return what repeats and adjustments are matched by: all identifiers as sent, the name and the time (section 4.3).

    The customer stands in it because goal names are unique per customer only.
    """
    assert row.name is not None
    assert row.time is not None
    assert row.time.utc is not None
    return (account.customer_id, row.click_id or "", row.name, row.time.utc, row.email_hash or "", row.phone_hash or "")


def _book(books: Books, request: Request, entry: Received, row: ConversionRow, scene: Scene) -> None:
    assert scene.goal is not None
    key = match_key(scene.account, row)
    silence = rules.is_to_a_paused_goal(scene.goal) or rules.is_repeat(row, books.booking_of(key), books.settings)
    if silence:
        request.set_aside[silence] += 1
        entry.outcome = silence
    else:
        booking = _booking(books, row, scene, key, entry)
        books.put(booking)
        entry.outcome, entry.booking_id = "booked", booking.id
    books.put(entry)


def _booking(books: Books, row: ConversionRow, scene: Scene, key: MatchKey, entry: Received) -> Booking:
    assert scene.goal is not None
    assert row.time is not None
    assert row.time.utc is not None
    goal = scene.goal
    return Booking(
        id=len(books.bookings) + 1,
        key=key,
        account_id=scene.account.id,
        goal_id=goal.id,
        goal_name=goal.name,
        click_id=row.click_id,
        email_hash=row.email_hash if goal.is_enhanced else None,
        phone_hash=row.phone_hash if goal.is_enhanced else None,
        conversion_time=row.time.utc,
        conversion_time_text=row.time.text,
        value=goal.revenue_value if row.value is None else row.value,
        currency=row.currency or goal.revenue_currency,
        received_at=scene.now,
        tracking_id=entry.tracking_id,
        counted=rules.is_counted(
            goal, row.click_id, already=bool(row.click_id and books.has_counted(goal, row.click_id))
        ),
        unattributed=rules.is_unattributed(row, scene),
    )


def _adjust(books: Books, request: Request, entry: Received, row: AdjustmentRow, scene: Scene) -> None:
    assert scene.goal is not None
    assert row.adjustment_time is not None
    assert row.adjustment_time.utc is not None
    original = books.booking_of(match_key(scene.account, row))
    missing = rules.original_is_missing(original, scene.now, books.settings) or rules.is_to_a_paused_goal(scene.goal)
    if missing or original is None:
        entry.outcome = missing or ""
        request.set_aside[entry.outcome] += 1
        books.put(entry)
        return
    entry.booking_id = original.id
    adjusted_at = row.adjustment_time.utc
    silence = rules.original_is_retracted(original) or rules.adjustment_is_not_newer(original, adjusted_at)
    entry.outcome = silence or "applied"
    if silence:
        request.set_aside[silence] += 1
    else:
        retracted = row.adjustment_type == "Retract"
        value = original.restated_value if retracted else row.value
        currency = original.currency if retracted else row.currency or scene.goal.revenue_currency
        books.put(
            replace(original, adjusted_at=adjusted_at, retracted=retracted, restated_value=value, currency=currency)
        )
    books.put(entry)


def swallow(books: Books, request: Request, array: str) -> Response:
    """Answer an upload in sink mode: check JSON and batch size, count the rows, book nothing.

    For measuring a sender.
    """
    try:
        value = parse_json(request.body)
    except ValueError as error:
        raise unbindable("The body", f"not JSON ({error})") from error
    rows = value.get(array) if isinstance(value, dict) else None
    count = len(rows) if isinstance(rows, list) else 0
    trouble: ApiError | None = rules.batch_is_not_empty(count) or rules.batch_is_within_limit(count)
    if trouble:
        raise trouble
    with books.lock:
        books.sink_rows += count
        books.sink_calls += 1
    return Response(200, SINK_ANSWER, headers=[("TrackingId", request.tracking_id)])
