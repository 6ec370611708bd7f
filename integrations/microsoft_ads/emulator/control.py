"""The control prefix: what Microsoft cannot have. Pages for people, JSON for tests.

Changes are JSON by POST or DELETE. The content type is insisted on, so that a page of another site cannot send one
from a browser.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TypeAlias
from urllib.parse import urlencode, urlsplit

from integrations.microsoft_ads.emulator import pages
from integrations.microsoft_ads.emulator.books import Account, Booking, Books, Call, Goal, Received, totals
from integrations.microsoft_ads.emulator.faults import KINDS, OPERATIONS, FaultQueue
from integrations.microsoft_ads.emulator.wire import (
    ApiError,
    Json,
    JsonObject,
    Reader,
    Request,
    Response,
    format_moment,
    html_response,
    is_address,
    json_response,
    read_body,
    redirect,
    text_response,
    unbindable,
)

PREFIX = "/_emulator/"
COUNT = re.compile(r"\d{1,9}", re.ASCII)
PAGE_ROWS, MAX_PAGE_ROWS = 1000, 10_000
MAX_SECONDS, MAX_MILLISECONDS = 400 * 24 * 3600, 60_000
_MILLISECOND = timedelta(milliseconds=1)

View: TypeAlias = Callable[[Books, FaultQueue, Request], Response]


def answer(books: Books, faults: FaultQueue, request: Request) -> Response:
    """Answer a request under the prefix; a refused one is 400 with one JSON line naming the member."""
    name = request.path.removeprefix(PREFIX)
    view = VIEWS.get((request.method, name))
    if view is None:
        known = any(name == other for _, other in VIEWS)
        return text_response(f"Nothing answers {request.method} {request.path}.", 405 if known else 404)
    try:
        if request.method != "GET" and not request.header("Content-Type").lower().startswith("application/json"):
            raise unbindable("Content-Type", "application/json is due")
        return view(books, faults, request)
    except ApiError as error:
        return json_response({"error": error.message, "member": error.detail}, 400)


def _account_id(books: Books, request: Request) -> str:
    account_id = request.query().get("account_id", "")
    if account_id and account_id not in books.accounts:
        raise unbindable("account_id", "no account has this id")
    return account_id


# Pages


def _index(books: Books, _faults: FaultQueue, _request: Request) -> Response:
    return html_response(pages.index(books, KINDS, OPERATIONS))


def _ledger(books: Books, faults: FaultQueue, request: Request) -> Response:
    return html_response(pages.ledger(books, faults.waiting(), _account_id(books, request)))


def _search(books: Books, _faults: FaultQueue, request: Request) -> Response:
    ads = [account for account in books.accounts.values() if account.status == "Active"][:2]
    return html_response(pages.search(request.query().get("q", ""), ads, books.settings.landing_url))


def _follow_ad(books: Books, _faults: FaultQueue, request: Request) -> Response:
    account_id = _account_id(books, request) or next(iter(books.accounts))
    click = books.mint_click(account_id, books.accounts[account_id].name, request.received_at)
    return redirect(with_click_id(books.settings.landing_url, click.click_id))


def with_click_id(url: str, click_id: str) -> str:
    """Return a landing URL with msclkid after `?` or `&` and before the fragment.

    Source: help:hlp_BA_CONC_MicrosoftClickIDCheck.
    """
    parts = urlsplit(url)
    query = f"{parts.query}&msclkid={click_id}" if parts.query else f"msclkid={click_id}"
    return parts._replace(query=query).geturl()


# What was taken, for tests


def _ledger_json(books: Books, _faults: FaultQueue, request: Request) -> Response:
    account_id = _account_id(books, request)
    booked = [one for one in books.bookings if account_id in ("", one.account_id)]
    received = [one for one in books.received if account_id in ("", one.account_id)]
    rows: JsonObject = {
        "account_id": account_id or None,
        "booked": [booking_json(one) for one in booked],
        "received": [received_json(one) for one in received],
        "totals": list(totals(booked)),
        "clicks": [
            {"click_id": one.click_id, "account_id": one.account_id, "clicked_at": format_moment(one.clicked_at)}
            for one in books.clicks.values()
            if account_id in ("", one.account_id)
        ],
        "sink": {"calls": books.sink_calls, "rows": books.sink_rows},
    }
    return json_response(rows)


def _page_json(books: Books, _faults: FaultQueue, request: Request) -> Response:
    """Return rows `of` one kind in the order they came, `limit` of them `after` so many; `next` goes on from there."""
    query = request.query()
    after, limit = _count(query, "after", 0), min(_count(query, "limit", PAGE_ROWS), MAX_PAGE_ROWS)
    rows: list[Json]
    match query.get("of"):
        case "booked":
            rows = [booking_json(one) for one in books.bookings[after : after + limit]]
        case "received":
            rows = [received_json(one) for one in books.received[after : after + limit]]
        case "calls":
            rows = [call_json(one) for one in books.calls[after : after + limit]]
        case _:
            raise unbindable("of", "booked, received or calls is due")
    return json_response({"rows": rows, "next": after + len(rows) if rows else None})


def _count(query: dict[str, str], name: str, default: int) -> int:
    given = query.get(name, str(default))
    if not COUNT.fullmatch(given):
        raise unbindable(name, "a number from 0 is due")
    return int(given)


def booking_json(booking: Booking) -> JsonObject:
    """Return one booked conversion with what it is worth now."""
    return {
        "id": booking.id,
        "account_id": booking.account_id,
        "goal_id": booking.goal_id,
        "goal": booking.goal_name,
        "click_id": booking.click_id,
        "hashed_email": booking.email_hash,
        "hashed_phone": booking.phone_hash,
        "conversion_time": booking.conversion_time_text,
        "value": booking.value,
        "currency": booking.currency,
        "received_at": format_moment(booking.received_at),
        "tracking_id": booking.tracking_id,
        "counted": booking.counted,
        "unattributed": booking.unattributed,
        "adjusted_at": format_moment(booking.adjusted_at) if booking.adjusted_at else None,
        "restated_value": booking.restated_value,
        "retracted": booking.retracted,
        "effective_count": booking.effective_count(),
        "effective_value": booking.effective_value(),
    }


def received_json(received: Received) -> JsonObject:
    """Return one row as it came and what became of it."""
    return {
        "tracking_id": received.tracking_id,
        "received_at": format_moment(received.received_at),
        "operation": received.operation,
        "account_id": received.account_id,
        "index": received.index,
        "row": received.row,
        "body_sha256": received.body_sha256,
        "outcome": received.outcome,
        "code": received.code,
        "booking_id": received.booking_id,
    }


def call_json(call: Call) -> JsonObject:
    """Return one API call; status 0 means that the connection was closed instead."""
    return {
        "tracking_id": call.tracking_id,
        "received_at": format_moment(call.received_at),
        "operation": call.operation,
        "account_id": call.account_id,
        "customer_id": call.customer_id,
        "user_id": call.user_id,
        "body_sha256": call.body_sha256,
        "bytes": call.bytes,
        "rows": call.rows,
        "refused": call.refused,
        "status": call.status,
        "result": call.result,
        "fault": call.fault,
    }


def _calls_json(books: Books, _faults: FaultQueue, _request: Request) -> Response:
    return json_response({"calls": [call_json(call) for call in books.calls]})


def _goals_json(books: Books, _faults: FaultQueue, request: Request) -> Response:
    account_id = _account_id(books, request)
    rows: list[Json] = [goal_json(goal) for goal in books.goals.values() if account_id in ("", goal.account_id)]
    return json_response({"goals": rows})


def goal_json(goal: Goal) -> JsonObject:
    return {
        "id": goal.id,
        "account_id": goal.account_id,
        "type": goal.type,
        "name": goal.name,
        "status": goal.status,
        "created_at": format_moment(goal.created_at),
    }


# Faults


def _faults_list(_books: Books, faults: FaultQueue, _request: Request) -> Response:
    return json_response({"faults": [fault.to_json() for fault in faults.waiting()]})


def _faults_add(_books: Books, faults: FaultQueue, request: Request) -> Response:
    return json_response(faults.add(read_body(request.body)).to_json(), 201)


def _faults_clear(_books: Books, faults: FaultQueue, _request: Request) -> Response:
    return json_response({"dropped": faults.clear()})


# The state of things


def _expire_tokens(books: Books, _faults: FaultQueue, request: Request) -> Response:
    return json_response({"expired": books.expire_access_tokens(request.received_at)})


def _revoke(books: Books, _faults: FaultQueue, request: Request) -> Response:
    name = read_body(request.body).only(("user",)).text("user") or ""
    user = books.user_named(name) or books.users.get(name)
    if user is None:
        raise unbindable("user", "no user has this name or id")
    return json_response({"revoked": books.revoke(user.id, request.received_at)})


def _settings_show(books: Books, _faults: FaultQueue, _request: Request) -> Response:
    return json_response(_settings_json(books))


def _settings_json(books: Books) -> JsonObject:
    settings = books.settings
    return {
        "goal_settle_seconds": int(settings.goal_settle.total_seconds()),
        "click_settle_seconds": int(settings.click_settle.total_seconds()),
        "adjustment_settle_seconds": int(settings.adjustment_settle.total_seconds()),
        "access_token_seconds": int(settings.access_token_life.total_seconds()),
        "upload_milliseconds": int(settings.upload_time / _MILLISECOND),
        "strict_rotation": settings.strict_rotation,
        "dedupe_hash_only": settings.dedupe_hash_only,
        "sink": settings.sink,
        "landing_url": settings.landing_url,
        "redirect_uris": list(settings.redirect_uris),
    }


def _settings_change(books: Books, _faults: FaultQueue, request: Request) -> Response:
    settings = books.settings
    reader = read_body(request.body).only(_settings_json(books))
    changed = replace(
        settings,
        goal_settle=_seconds(reader, "goal_settle_seconds", settings.goal_settle),
        click_settle=_seconds(reader, "click_settle_seconds", settings.click_settle),
        adjustment_settle=_seconds(reader, "adjustment_settle_seconds", settings.adjustment_settle),
        access_token_life=_seconds(reader, "access_token_seconds", settings.access_token_life),
        upload_time=_milliseconds(reader, "upload_milliseconds", settings.upload_time),
        strict_rotation=_flag(reader, "strict_rotation", settings.strict_rotation),
        dedupe_hash_only=_flag(reader, "dedupe_hash_only", settings.dedupe_hash_only),
        sink=_flag(reader, "sink", settings.sink),
        landing_url=reader.text("landing_url") or settings.landing_url,
        redirect_uris=_redirect_uris(reader, settings.redirect_uris),
    )
    if not is_address(changed.landing_url):
        raise unbindable("landing_url", "an http or https address is due")
    books.settings = changed
    return json_response(_settings_json(books))


def _seconds(reader: Reader, name: str, current: timedelta) -> timedelta:
    seconds = reader.integer(name)
    if seconds is None:
        return current
    if not 0 <= seconds <= MAX_SECONDS:
        raise unbindable(name, f"seconds from 0 to {MAX_SECONDS} are due")
    return timedelta(seconds=seconds)


def _milliseconds(reader: Reader, name: str, current: timedelta) -> timedelta:
    milliseconds = reader.integer(name)
    if milliseconds is None:
        return current
    if not 0 <= milliseconds <= MAX_MILLISECONDS:
        raise unbindable(name, f"milliseconds from 0 to {MAX_MILLISECONDS} are due")
    return milliseconds * _MILLISECOND


def _flag(reader: Reader, name: str, current: bool) -> bool:
    value = reader.flag(name)
    return current if value is None else value


def _redirect_uris(reader: Reader, current: tuple[str, ...]) -> tuple[str, ...]:
    items = reader.items("redirect_uris")
    if items is None:
        return current
    if not all(isinstance(item, str) and is_address(item) for item in items):
        raise unbindable("redirect_uris", "an array of addresses is due")
    return tuple(str(item) for item in items)


def _goal_put(books: Books, _faults: FaultQueue, request: Request) -> Response:
    """Add a goal (account_id, name, age_seconds), or change one (id, then name, status, age_seconds)."""
    reader = read_body(request.body).only(
        (
            "id",
            "account_id",
            "name",
            "type",
            "status",
            "age_seconds",
            "count_type",
            "enhanced",
            "external",
            "scope",
            "window_minutes",
        )
    )
    goal_id = reader.long_id("id")
    goal = books.goals.get(goal_id) if goal_id else _new_goal(books, reader, request)
    if goal is None:
        raise unbindable("id", "no goal has this id")
    changed = replace(
        goal,
        name=reader.text("name") or goal.name,
        status=reader.choice("status", ("Active", "Paused", "Deleted")) or goal.status,
        count_type=reader.choice("count_type", ("All", "Unique")) or goal.count_type,
        scope=reader.choice("scope", ("Account", "Customer")) or goal.scope,
        window_minutes=reader.integer("window_minutes") or goal.window_minutes,
        is_enhanced=_flag(reader, "enhanced", goal.is_enhanced),
        is_externally_attributed=_flag(reader, "external", goal.is_externally_attributed),
    )
    if reader.has("age_seconds"):
        changed.created_at = request.received_at - _seconds(reader, "age_seconds", timedelta(0))
    books.put(changed)
    return json_response(goal_json(changed), 200 if goal_id else 201)


def _new_goal(books: Books, reader: Reader, request: Request) -> Goal:
    account = _named_account(books, reader)
    name = reader.text("name")
    if not name:
        raise unbindable("name", "a new goal needs a name")
    return Goal(
        id=books.next_goal_id(),
        type=reader.choice("type", ("OfflineConversion", "Event", "Url")) or "OfflineConversion",
        name=name,
        account_id=account.id,
        customer_id=account.customer_id,
        created_at=request.received_at,
        revenue_type="VariableValue",
        revenue_value=None,
        revenue_currency=account.currency,
    )


def _named_account(books: Books, reader: Reader) -> Account:
    account = books.accounts.get(reader.long_id("account_id") or "")
    if account is None:
        raise unbindable("account_id", "no account has this id")
    return account


def _account_put(books: Books, _faults: FaultQueue, request: Request) -> Response:
    """Change an account: its status, or whether a user reaches it (user with access true or false)."""
    reader = read_body(request.body).only(("account_id", "status", "user", "access"))
    account = _named_account(books, reader)
    status = reader.choice("status", ("Draft", "Active", "Inactive", "Pause", "Pending", "Suspended")) or account.status
    barred = set(account.barred_user_ids)
    if reader.has("access") or reader.has("user"):
        user = books.user_named(reader.text("user") or "")
        if user is None:
            raise unbindable("user", "no user has this name")
        barred = barred - {user.id} if _flag(reader, "access", current=True) else barred | {user.id}
    changed = replace(account, status=status, barred_user_ids=tuple(sorted(barred)))
    books.put(changed)
    return json_response(
        {"account_id": changed.id, "status": changed.status, "barred_user_ids": list(changed.barred_user_ids)}
    )


def ad_address(account_id: str) -> str:
    """Return where an ad of the account leads: a click is recorded, then the landing page follows."""
    return f"{PREFIX}click?{urlencode({'account_id': account_id})}"


VIEWS: dict[tuple[str, str], View] = {
    ("GET", ""): _index,
    ("GET", "ledger"): _ledger,
    ("GET", "search"): _search,
    ("GET", "click"): _follow_ad,
    ("GET", "ledger.json"): _ledger_json,
    ("GET", "calls.json"): _calls_json,
    ("GET", "page.json"): _page_json,
    ("GET", "goals"): _goals_json,
    ("POST", "goals"): _goal_put,
    ("POST", "accounts"): _account_put,
    ("GET", "faults"): _faults_list,
    ("POST", "faults"): _faults_add,
    ("DELETE", "faults"): _faults_clear,
    ("GET", "settings"): _settings_show,
    ("POST", "settings"): _settings_change,
    ("POST", "expire-tokens"): _expire_tokens,
    ("POST", "revoke"): _revoke,
}
