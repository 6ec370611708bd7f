"""Faults that someone asked for: finite, ordered per operation, inspectable. Nothing here happens by chance.

A fault either replaces the operation, and nothing is booked, or spoils the answer after the work is done, and rows are
booked. KINDS says which. A kind of three digits is that HTTP status.
"""

import threading
from collections import deque
from dataclasses import dataclass, field

from integrations.microsoft_ads.emulator.wire import (
    ApiError,
    JsonObject,
    Reader,
    Request,
    Response,
    campaign_fault,
    customer_fault,
    dump_json,
    generic_fault,
    json_response,
    names,
)

OPERATIONS = (
    "*",
    "authorize",
    "token",
    "User/Query",
    "Accounts/Search",
    "ConversionGoals",
    "ConversionGoals/QueryByIds",
    "ConversionGoals/QueryByTagIds",
    "UetTags/QueryByIds",
    "AccountProperties/Query",
    "AccountProperties/Set",
    "OfflineConversions/Apply",
    "OfflineConversionAdjustments/Apply",
    "OfflineConversionReport/QueryByGoalIds",
)

# What each kind does, as the control page prints it.
KINDS = {
    "status": "answers an HTTP status, the kind being its number; takes body, retry_after. Nothing is booked",
    "throttled": "answers 117 CallRateExceeded as 429; takes retry_after. Nothing is booked",
    "token_expired": "answers 109 AuthenticationTokenExpired as 401. Nothing is booked",
    "fault_code": "answers a fault of code, error_code, message, shape, status. Nothing is booked",
    "oauth_error": "answers the token endpoint's error with error, code. No token is issued",
    "close_before": "closes the connection without an answer. Nothing is booked",
    "partial_error": "refuses the rows of indexes with code and error_code. The other rows are booked",
    "delay": "books, then waits for seconds before the answer",
    "close_after": "books, then closes the connection without an answer",
    "truncated": "books, then breaks the answer off in its middle",
    "html": "books, then answers an HTML page with status 200",
    "empty": "books, then answers an empty body with status 200",
    "wrong_shape": "books, then answers JSON of another shape",
    "index_out_of_range": "books, then answers a partial error for a row that was never sent",
}
BEFORE = frozenset({"status", "throttled", "token_expired", "fault_code", "oauth_error", "close_before"})
MEMBERS = names(
    """
    operation times after fault code error error_code message shape status retry_after body indexes seconds
    """
)
MAX_TIMES = 1_000_000
MAX_SECONDS = 600


class ConnectionLostError(ConnectionError):
    """The emulator drops the connection. A server closes the socket, having written nothing."""


@dataclass(slots=True)
class Fault:
    """One planned fault. It lets `after` calls pass, strikes `remaining` times, and leaves the queue."""

    number: int
    operation: str
    kind: str
    remaining: int
    after: int = 0
    code: int = 0
    error: str = "temporarily_unavailable"
    error_code: str = "InternalError"
    message: str = "A fault that was asked for."
    shape: str = "AdApiFaultDetail"
    status: int = 500
    retry_after: int | None = None
    body: str = ""
    indexes: tuple[int, ...] = ()
    seconds: float = 0.0

    def to_json(self) -> JsonObject:
        return {
            "number": self.number,
            "operation": self.operation,
            "fault": self.name,
            "remaining": self.remaining,
            "after": self.after,
            "code": self.code,
            "error": self.error,
            "error_code": self.error_code,
            "message": self.message,
            "shape": self.shape,
            "status": self.status,
            "retry_after": self.retry_after,
            "body": self.body,
            "indexes": list(self.indexes),
            "seconds": self.seconds,
        }

    @property
    def name(self) -> str:
        return str(self.status) if self.kind == "status" else self.kind

    @property
    def strikes_before(self) -> bool:
        return self.kind in BEFORE

    def refuses(self, index: int) -> bool:
        return self.kind == "partial_error" and index in self.indexes


@dataclass
class FaultQueue:
    """Planned faults in the order they were asked for. A call meets the first one of its operation, or of `*`."""

    _faults: deque[Fault] = field(default_factory=deque)
    _count: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, reader: Reader) -> Fault:
        """Plan one fault from its JSON. Raises ApiError naming the member that is wrong."""
        fault = read_fault(reader)
        with self._lock:
            self._count += 1
            fault.number = self._count
            self._faults.append(fault)
        return fault

    def take(self, operation: str) -> Fault | None:
        """Return the fault this call meets and count it as having struck; None for a call that it lets pass."""
        if not self._faults:
            return None
        with self._lock:
            for fault in self._faults:
                if fault.operation in (operation, "*"):
                    if fault.after:
                        fault.after -= 1
                        return None
                    fault.remaining -= 1
                    if not fault.remaining:
                        self._faults.remove(fault)
                    return fault
        return None

    def waiting(self) -> list[Fault]:
        with self._lock:
            return list(self._faults)

    def clear(self) -> int:
        """Drop every waiting fault; return how many there were."""
        with self._lock:
            count = len(self._faults)
            self._faults.clear()
        return count


def read_fault(reader: Reader) -> Fault:
    """Read `{"operation", "fault", "times", ...}`; raises ApiError for anything that could not strike as asked."""
    reader.only(MEMBERS)
    operation = _must(reader.text("operation"), "operation", OPERATIONS)
    asked = reader.text("fault") or ""
    kind, status = (
        ("status", int(asked)) if asked.isdecimal() and len(asked) == 3 else (asked, reader.integer("status"))
    )
    _must(kind if kind in KINDS else None, "fault", (*KINDS, "503"))
    fault = Fault(0, operation, kind, 1 if (times := reader.integer("times")) is None else times)
    fault.after = reader.integer("after") or 0
    fault.status = fault.status if status is None else status
    fault.code = reader.integer("code") or 0
    fault.error = reader.text("error") or fault.error
    fault.error_code = reader.text("error_code") or fault.error_code
    fault.message = reader.text("message") or fault.message
    fault.shape = _must(
        reader.text("shape") or fault.shape, "shape", ("AdApiFaultDetail", "ApiFaultDetail", "ApiFault")
    )
    fault.retry_after = reader.integer("retry_after")
    fault.body = reader.text("body") or ""
    fault.indexes = tuple(_index(item) for item in reader.items("indexes") or [])
    fault.seconds = float(reader.number("seconds") or 0)
    _check(fault)
    return fault


def _must(value: str | None, member: str, known: tuple[str, ...]) -> str:
    if value in known:
        return str(value)
    raise _bad(member, f"one of {', '.join(known)} is due")


def _index(item: object) -> int:
    if isinstance(item, int) and not isinstance(item, bool) and item >= 0:
        return item
    raise _bad("indexes", "whole numbers from 0 are due")


def _check(fault: Fault) -> None:
    if not 1 <= fault.remaining <= MAX_TIMES:
        raise _bad("times", f"a number from 1 to {MAX_TIMES} is due")
    if not 0 <= fault.after <= MAX_TIMES:
        raise _bad("after", f"a number from 0 to {MAX_TIMES} is due")
    if not 200 <= fault.status <= 599:
        raise _bad("status", "an HTTP status from 200 to 599 is due")
    if not 0 <= fault.seconds <= MAX_SECONDS:
        raise _bad("seconds", f"a number from 0 to {MAX_SECONDS} is due")
    if fault.retry_after is not None and fault.retry_after < 0:
        raise _bad("retry_after", "a number from 0 is due")
    if fault.kind == "partial_error" and not fault.indexes:
        raise _bad("indexes", "the rows to refuse are due")


def _bad(member: str, problem: str) -> ApiError:
    return generic_fault(201, "ApiInputValidationError", f"{member}: {problem}", detail=member)


def answer_instead(fault: Fault, request: Request) -> Response:
    """Return what a fault answers in place of the operation. Raises ConnectionLostError when it answers nothing."""
    if fault.kind == "close_before":
        raise ConnectionLostError("closed before the request was read")
    if fault.kind == "oauth_error":
        return _oauth_answer(fault, request)
    if fault.kind == "status":
        response = Response(fault.status, fault.body.encode("utf-8", "replace"), _body_type(fault.body))
    else:
        error = _fault_error(fault)
        response = json_response(error.to_json(request.tracking_id), error.status)
    if fault.retry_after is not None:
        response.headers.append(("Retry-After", str(fault.retry_after)))
    return response


def _oauth_answer(fault: Fault, request: Request) -> Response:
    body: JsonObject = {
        "error": fault.error,
        "error_description": f"AADSTS{fault.code}: {fault.message}",
        "error_codes": [fault.code],
        "timestamp": request.received_at.strftime("%Y-%m-%d %H:%M:%SZ"),
        "trace_id": request.tracking_id,
        "correlation_id": request.tracking_id,
    }
    return json_response(body, fault.status)


def _fault_error(fault: Fault) -> ApiError:
    if fault.kind == "throttled":
        message = "You have exceeded the number of calls you are allowed to make in a minute."
        return generic_fault(117, "CallRateExceeded", message, status=429)
    if fault.kind == "token_expired":
        message = "The authentication token has expired."
        return generic_fault(109, "AuthenticationTokenExpired", message, status=401)
    if fault.shape == "ApiFaultDetail":
        return campaign_fault(fault.code, fault.error_code, fault.message, fault.status)
    if fault.shape == "ApiFault":
        return customer_fault(fault.code, fault.message, fault.status)
    return generic_fault(fault.code, fault.error_code, fault.message, fault.status)


def _body_type(body: str) -> str:
    if body.lstrip().startswith("<"):
        return "text/html; charset=utf-8"
    return "application/json; charset=utf-8" if body.lstrip().startswith(("{", "[")) else "text/plain; charset=utf-8"


def spoil(fault: Fault, response: Response, rows: int) -> Response:
    """Return what is left of the answer once the work is done. Raises ConnectionLostError when nothing is."""
    match fault.kind:
        case "close_after":
            raise ConnectionLostError("closed after the request was served")
        case "delay" | "partial_error":
            return response
        case "truncated":
            response.declared_length = len(response.body)
            response.body = response.body[: len(response.body) // 2]
            return response
        case "html":
            response.body = b"<!doctype html><title>Service</title><h1>Our services are not available right now</h1>"
            response.content_type = "text/html; charset=utf-8"
        case "empty":
            response.body = b""
        case "wrong_shape":
            response.body = dump_json({"PartialErrors": {"Index": "0"}, "Accounts": "none"})
        case "index_out_of_range":
            error: JsonObject = {
                "Type": "BatchError",
                "Index": rows,
                "Code": 5604,
                "ErrorCode": "OfflineConversionMicrosoftClickIdInvalid",
            }
            response.body = dump_json({"PartialErrors": [error]})
    response.status = 200
    return response
