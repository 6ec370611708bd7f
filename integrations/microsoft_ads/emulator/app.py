"""The emulator as a WSGI program: sign-in, the two services and a control prefix that Microsoft cannot have.

    /common/oauth2/v2.0/…       login.microsoftonline.com
    /CustomerManagement/v13/…   clientcenter.api.bingads.microsoft.com
    /CampaignManagement/v13/…   campaign.api.bingads.microsoft.com
    /_emulator/…                ledger, faults, settings, search page (control.py)

Every API call meets the same steps: a planned fault, the operation under the lock of the books, the ledger, perhaps a
spoilt answer.
"""

import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias, cast

from integrations.microsoft_ads.emulator import (
    campaign_management,
    control,
    customer_management,
    faults,
    oauth,
    reports,
    uploads,
)
from integrations.microsoft_ads.emulator.books import Books, Call
from integrations.microsoft_ads.emulator.faults import Fault, FaultQueue
from integrations.microsoft_ads.emulator.wire import (
    ApiError,
    Clock,
    JsonObject,
    Request,
    Response,
    json_response,
    redirect,
    text_response,
)

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

Operation: TypeAlias = Callable[[Books, Request], JsonObject]
Sleep: TypeAlias = Callable[[float], object]

MAX_BODY = 8 * 1024 * 1024
LOGIN = "/common/oauth2/v2.0/"
CUSTOMER = "/CustomerManagement/v13/"
CAMPAIGN = "/CampaignManagement/v13/"

CUSTOMER_OPERATIONS: dict[str, Operation] = {
    "User/Query": customer_management.get_user,
    "Accounts/Search": customer_management.search_accounts,
}
CAMPAIGN_OPERATIONS: dict[str, Operation] = {
    "ConversionGoals/QueryByIds": campaign_management.get_conversion_goals_by_ids,
    "ConversionGoals/QueryByTagIds": campaign_management.get_conversion_goals_by_tag_ids,
    "ConversionGoals": campaign_management.add_conversion_goals,
    "UetTags/QueryByIds": campaign_management.get_uet_tags_by_ids,
    "AccountProperties/Query": campaign_management.get_account_properties,
    "AccountProperties/Set": campaign_management.set_account_properties,
    "OfflineConversions/Apply": uploads.apply_offline_conversions,
    "OfflineConversionAdjustments/Apply": uploads.apply_offline_conversion_adjustments,
    "OfflineConversionReport/QueryByGoalIds": reports.get_offline_conversion_report_by_goal_ids,
}
OPERATIONS: dict[tuple[str, str], Operation] = {
    **{("POST", CUSTOMER + name): operation for name, operation in CUSTOMER_OPERATIONS.items()},
    **{("POST", CAMPAIGN + name): operation for name, operation in CAMPAIGN_OPERATIONS.items()},
    ("PUT", f"{CAMPAIGN}ConversionGoals"): campaign_management.update_conversion_goals,
}
UPLOADS = {
    f"{CAMPAIGN}OfflineConversions/Apply": "OfflineConversions",
    f"{CAMPAIGN}OfflineConversionAdjustments/Apply": "OfflineConversionAdjustments",
}
PATHS = frozenset(path for _, path in OPERATIONS)


def now_utc() -> datetime:
    return datetime.now(UTC)


def create_app(books: Books, clock: Clock = now_utc, sleep: Sleep = time.sleep) -> "WSGIApplication":
    """Return the WSGI program over these books.

    `clock` gives aware UTC. `sleep` waits out a delay fault; an environ may bring its own as `emulator.sleep`. The
    program raises ConnectionLostError, a ConnectionError, when it wants the connection dropped without an answer.
    """
    return Emulator(books, clock, sleep)


class Emulator:
    """The WSGI callable. Holds the books, the clock and the planned faults."""

    def __init__(self, books: Books, clock: Clock, sleep: Sleep) -> None:
        self.books, self._clock, self._sleep = books, clock, sleep
        self.faults = FaultQueue()

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        response = self.answer(environ)
        start_response(response.status_line(), response.header_lines())
        return [response.body]

    def answer(self, environ: "WSGIEnvironment") -> Response:
        """Answer one request. Raises ConnectionLostError where a fault asks for it."""
        path = str(environ.get("PATH_INFO", ""))
        length = str(environ.get("CONTENT_LENGTH") or "0")
        if not length.isdecimal() or int(length) > MAX_BODY:
            return text_response(f"A body of at most {MAX_BODY} bytes is due.", 413)
        body = environ["wsgi.input"].read(int(length))
        method = str(environ["REQUEST_METHOD"])
        request = Request(method, path, cast("dict[str, object]", environ), body, self._clock())
        if path == "/":
            return redirect(control.PREFIX)
        if path.startswith(control.PREFIX):
            with self.books.lock:
                return control.answer(self.books, self.faults, request)
        if path.startswith(LOGIN):
            return self._login(request)
        return self._call(request)

    def _login(self, request: Request) -> Response:
        name = request.path.removeprefix(LOGIN)
        served = {
            ("GET", "authorize"): oauth.authorize,
            ("POST", "authorize"): oauth.authorize,
            ("POST", "token"): oauth.token,
        }
        view = served.get((request.method, name))
        if view is None:
            return text_response(f"Nothing answers {request.method} {request.path}.", 404)
        fault = self.faults.take(name)
        if fault and fault.strikes_before:
            return self._replaced(fault, request)
        with self.books.lock:
            response = view(self.books, request)
            if name == "token":
                self._note(request, response.status, fault)
        return self._after(fault, request, response)

    def _call(self, request: Request) -> Response:
        operation = OPERATIONS.get((request.method, request.path))
        if operation is None:
            status = 405 if request.path in PATHS else 404
            return text_response(f"Nothing answers {request.method} {request.path}.", status)
        fault = self.faults.take(_operation_name(request.path))
        if self.books.settings.sink and request.path in UPLOADS and fault is None:
            return self._swallow(request)
        if fault and fault.strikes_before:
            return self._replaced(fault, request)
        if fault and fault.kind == "partial_error":
            request.planned_refusals = dict.fromkeys(fault.indexes, (fault.code, fault.error_code))
        half_seconds = self.books.settings.upload_time.total_seconds() / 2 if request.path in UPLOADS else 0
        self._wait(request, half_seconds)
        with self.books.lock:
            response = self._operate(operation, request)
            self._note(request, response.status, fault)
        self._wait(request, half_seconds)
        response.headers.append(("TrackingId", request.tracking_id))
        return self._after(fault, request, response)

    def _operate(self, operation: Operation, request: Request) -> Response:
        try:
            answer = operation(self.books, request)
        except ApiError as error:
            request.result = f"{error.code} {error.symbol or error.message}"
            return json_response(error.to_json(request.tracking_id), error.status)
        refused = [f"{count} × {what}" for what, count in request.refused.items()]
        set_aside = [f"{count} × {what} (set aside silently)" for what, count in request.set_aside.items()]
        request.result = ", ".join(refused + set_aside) or "OK"
        return json_response(answer)

    def _swallow(self, request: Request) -> Response:
        try:
            return uploads.swallow(self.books, request, UPLOADS[request.path])
        except ApiError as error:
            return json_response(error.to_json(request.tracking_id), error.status)

    def _replaced(self, fault: Fault, request: Request) -> Response:
        request.result, status = "answered by a fault", 0
        try:
            response = faults.answer_instead(fault, request)
            status = response.status
            response.headers.append(("TrackingId", request.tracking_id))
            return response
        finally:
            with self.books.lock:
                self._note(request, status, fault)

    def _after(self, fault: Fault | None, request: Request, response: Response) -> Response:
        if fault is None:
            return response
        if fault.kind == "delay":
            self._wait(request, fault.seconds)
        return faults.spoil(fault, response, request.rows)

    def _wait(self, request: Request, seconds: float) -> None:
        if seconds:
            cast(Sleep, request.environ.get("emulator.sleep", self._sleep))(seconds)

    def _note(self, request: Request, status: int, fault: Fault | None) -> None:
        call = Call(
            tracking_id=request.tracking_id,
            received_at=request.received_at,
            operation=_operation_name(request.path) + (" (PUT)" if request.method == "PUT" else ""),
            account_id=request.header("CustomerAccountId"),
            customer_id=request.header("CustomerId"),
            user_id=request.user_id,
            body_sha256=request.body_sha256(),
            bytes=len(request.body),
            rows=request.rows,
            refused=request.refused.total(),
            status=status,
            result=request.result,
            fault=fault.name if fault else "",
        )
        self.books.put(call)


def _operation_name(path: str) -> str:
    return path.removeprefix(LOGIN).split("/v13/")[-1]
