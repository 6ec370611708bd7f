"""What goes over the wire: requests, responses, faults and strict binding of JSON. Knows no operation.

Three shapes of fault, one per origin (cm/adapifaultdetail, cm/apifaultdetail, cust/apifault):
AdApiFaultDetail for what every service shares (sign-in, throttling, JSON), ApiFaultDetail for Campaign Management's
operations, ApiFault for Customer Management's, which has numbers but no ErrorCode.
"""

import hashlib
import json
import re
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from http import HTTPStatus
from types import NoneType
from typing import Literal, NoReturn, TypeAlias, TypeVar, cast
from urllib.parse import parse_qs, urlsplit

Json: TypeAlias = "bool | int | float | Decimal | str | list[Json] | dict[str, Json] | None"
JsonObject: TypeAlias = dict[str, "Json"]
Clock: TypeAlias = Callable[[], datetime]
FaultShape = Literal["AdApiFaultDetail", "ApiFaultDetail", "ApiFault"]

# A date as .NET writes one: seconds, up to seven digits of a fraction, a zone or none.
MOMENT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,7}))?(Z|[+-]\d\d:\d\d)?", re.ASCII)
ADDRESS = re.compile(r"https?://[!-~]+", re.ASCII)
INT32_MAX = 2**31 - 1
DOUBLE_MAX = sys.float_info.max
INT64 = re.compile(r"-?\d{1,19}", re.ASCII)

T = TypeVar("T")


@dataclass(slots=True)
class Request:
    """One HTTP request, read whole, and what the ledger wants to know of its handling."""

    method: str
    path: str
    environ: dict[str, object]
    body: bytes
    received_at: datetime
    tracking_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    planned_refusals: dict[int, tuple[int, str]] = field(default_factory=dict)
    user_id: str = ""
    result: str = "OK"
    rows: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    set_aside: Counter[str] = field(default_factory=Counter)
    _body_sha256: str = ""

    def body_sha256(self) -> str:
        if not self._body_sha256:
            self._body_sha256 = hashlib.sha256(self.body).hexdigest()
        return self._body_sha256

    def header(self, name: str) -> str:
        """Return the header's value without surrounding space, or an empty string."""
        key = name.upper().replace("-", "_")
        return str(self.environ.get(key if key == "CONTENT_TYPE" else f"HTTP_{key}", "")).strip()

    def query(self) -> dict[str, str]:
        return first_values(str(self.environ.get("QUERY_STRING", "")))

    def form(self) -> dict[str, str]:
        """Return the fields of a urlencoded body; nothing when the body is of another type."""
        if not self.header("Content-Type").lower().startswith("application/x-www-form-urlencoded"):
            return {}
        return first_values(self.body.decode("utf-8", "replace"))


@dataclass(slots=True)
class Response:
    """One HTTP response. `declared_length` lies about the length when an answer is to be cut short."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json; charset=utf-8"
    headers: list[tuple[str, str]] = field(default_factory=list)
    declared_length: int | None = None

    def status_line(self) -> str:
        try:
            return f"{self.status} {HTTPStatus(self.status).phrase}"
        except ValueError:
            return f"{self.status} Unknown"

    def header_lines(self) -> list[tuple[str, str]]:
        length = len(self.body) if self.declared_length is None else self.declared_length
        return [("Content-Type", self.content_type), ("Content-Length", str(length)), *self.headers]


class ApiError(Exception):
    """A request that Microsoft refuses whole. Nothing of it is taken.

    Which HTTP status goes with which code is not documented; the ones used are 400, 401, 403 and 429 (.NET client,
    cm/adapierror).
    """

    def __init__(
        self, code: int, symbol: str, message: str, *, shape: FaultShape, status: int = 400, detail: str | None = None
    ) -> None:
        super().__init__(message)
        self.code, self.symbol, self.message = code, symbol, message
        self.shape, self.status, self.detail = shape, status, detail

    def to_json(self, tracking_id: str) -> JsonObject:
        """Return the fault's body: `Errors[].Detail`, or `OperationErrors[].Details` with or without ErrorCode."""
        if self.shape == "AdApiFaultDetail":
            error: JsonObject = {
                "Code": self.code,
                "ErrorCode": self.symbol,
                "Message": self.message,
                "Detail": self.detail,
            }
            return {"TrackingId": tracking_id, "Type": self.shape, "Errors": [error]}
        operation_error: JsonObject = {"Code": self.code, "Details": self.detail, "Message": self.message}
        if self.shape == "ApiFault":
            return {"TrackingId": tracking_id, "Type": self.shape, "OperationErrors": [operation_error]}
        operation_error["ErrorCode"] = self.symbol
        return {"TrackingId": tracking_id, "Type": self.shape, "BatchErrors": [], "OperationErrors": [operation_error]}


def generic_fault(code: int, symbol: str, message: str, status: int = 400, detail: str | None = None) -> ApiError:
    return ApiError(code, symbol, message, shape="AdApiFaultDetail", status=status, detail=detail)


def campaign_fault(code: int, symbol: str, message: str, status: int = 400) -> ApiError:
    return ApiError(code, symbol, message, shape="ApiFaultDetail", status=status)


def customer_fault(code: int, message: str, status: int = 400) -> ApiError:
    return ApiError(code, "", message, shape="ApiFault", status=status)


def names(text: str) -> frozenset[str]:
    """Return the names of a text, which are separated by space."""
    return frozenset(text.split())


def first_values(query: str) -> dict[str, str]:
    """Return the first value of each name in a query string, empty values included."""
    return {name: values[0] for name, values in parse_qs(query, keep_blank_values=True).items()}


def dump_json(value: Json) -> bytes:
    return json.dumps(value, default=_plain_number, separators=(",", ":")).encode()


def json_response(value: Json, status: int = 200) -> Response:
    return Response(status, dump_json(value))


def text_response(text: str, status: int) -> Response:
    return Response(status, f"{text}\n".encode(), "text/plain; charset=utf-8")


def html_response(html: str, status: int = 200) -> Response:
    return Response(
        status, html.encode("utf-8", "replace"), "text/html; charset=utf-8", [("Cache-Control", "no-store")]
    )


def is_address(text: str) -> bool:
    """Return whether a text is an http(s) address that can stand in a header: printable ASCII, with a host."""
    if not ADDRESS.fullmatch(text):
        return False
    try:
        return bool(urlsplit(text).hostname)
    except ValueError:
        return False


def redirect(location: str) -> Response:
    return Response(302, b"", "text/plain; charset=utf-8", [("Location", location), ("Cache-Control", "no-store")])


def format_moment(moment: datetime) -> str:
    """Return a UTC moment with `Z`, fractions only when there are any."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _plain_number(value: object) -> float | int:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def unbindable(member: str, problem: str) -> ApiError:
    """Return the fault for JSON that cannot be bound to the operation's types; nothing of the request is taken.

    Source: cm/applyofflineconversions; BingAds-PHP-SDK issue 41. The code is 201 (guides/operation-error-codes).
    """
    text = f"{member}: {problem}"
    return generic_fault(201, "ApiInputValidationError", f"The request cannot be read. {text}.", detail=text)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def parse_json(body: bytes) -> Json:
    """Parse strict JSON, decimals kept exact. Raises ValueError, also for NaN and for nesting too deep to read."""
    try:
        return cast(Json, json.loads(body, parse_float=Decimal, parse_constant=_refuse_constant))
    except (RecursionError, InvalidOperation) as error:
        raise ValueError("the JSON cannot be read") from error


def read_body(body: bytes) -> "Reader":
    """Return a reader of the request's object. Raises ApiError 100 for an empty or null body, 201 for other JSON."""
    if not body.strip():
        raise generic_fault(100, "NullRequest", "The request body is empty.")
    try:
        value = parse_json(body)
    except ValueError as error:
        raise unbindable("The body", f"not JSON ({error})") from error
    if value is None:
        raise generic_fault(100, "NullRequest", "The request is null.")
    return Reader(value, "")


@dataclass(frozen=True, slots=True)
class SentMoment:
    """A date as it came.

    `utc` is None when its zone is missing or is not UTC, because the documents do not say what such a time means.
    """

    text: str
    utc: datetime | None


class Reader:
    """Reads members of one JSON object, each of one type. A wrong type or an unknown member fails the whole request.

    The documents do not say what Microsoft does with a member it does not know; refusing shows a misspelt one at once.
    """

    __slots__ = ("_members", "_path")

    def __init__(self, value: Json, path: str) -> None:
        if not isinstance(value, dict):
            raise unbindable(path or "The body", "an object is due")
        self._members, self._path = value, path

    def only(self, known: Iterable[str]) -> "Reader":
        for name in self._members:
            if name not in known:
                raise unbindable(self._at(name), "no member of this name exists")
        return self

    def has(self, name: str) -> bool:
        return self._members.get(name) is not None

    def raw(self) -> JsonObject:
        return self._members

    def text(self, name: str) -> str | None:
        value = self._members.get(name)
        if value is None or type(value) is str:
            return value
        raise unbindable(self._at(name), "a string is due")

    def number(self, name: str) -> Decimal | None:
        """Return a JSON number exactly as written. One in quotes, or beyond what a double holds, does not bind."""
        value = self._members.get(name)
        if value is None:
            return None
        if isinstance(value, int | Decimal) and not isinstance(value, bool) and -DOUBLE_MAX <= value <= DOUBLE_MAX:
            return Decimal(value)
        raise unbindable(self._at(name), "a number is due")

    def integer(self, name: str) -> int | None:
        value = self._members.get(name)
        if value is None:
            return None
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= INT32_MAX:
            return value
        raise unbindable(self._at(name), "a 32-bit integer is due")

    def flag(self, name: str) -> bool | None:
        value = self._members.get(name)
        if value is None or type(value) is bool:
            return value
        raise unbindable(self._at(name), "true or false is due")

    def moment(self, name: str) -> SentMoment | None:
        """Return a date. Raises ApiError 113 when the text is no date at all (guides/operation-error-codes)."""
        text = self.text(name)
        if text is None:
            return None
        match = MOMENT.fullmatch(text)
        try:
            return _sent_moment(text, match)
        except (ValueError, OverflowError) as error:
            place = self._at(name)
            raise generic_fault(
                113, "InvalidDateObject", f"{place} is not a valid date: {text[:40]!r}.", detail=place
            ) from error

    def long_id(self, name: str) -> str | None:
        """Return a 64-bit id, which travels as a string of digits."""
        return self._id(self._members.get(name), self._at(name))

    def long_ids(self, name: str) -> list[str] | None:
        """Return an array of 64-bit ids, or None when it is absent, null or empty. Its elements are strings too."""
        items = self.items(name)
        if not items:
            return None
        ids = [self._id(item, f"{self._at(name)}[{i}]") for i, item in enumerate(items)]
        return ["" if value is None else value for value in ids]

    def items(self, name: str) -> list[Json] | None:
        value = self._members.get(name)
        if isinstance(value, list | NoneType):
            return value
        raise unbindable(self._at(name), "an array is due")

    def flags(self, name: str, known: frozenset[str]) -> set[str]:
        """Return the names of a flags enum, which is one string joined by `, `; empty when absent."""
        text = self.text(name)
        names = set(text.split(", ")) if text else set()
        for unknown in sorted(names - known):
            raise unbindable(self._at(name), f"{unknown[:60]!r} is no member of the enumeration")
        return names - {"None"}

    def choice(self, name: str, known: Iterable[str]) -> str | None:
        text = self.text(name)
        if text is not None and text not in known:
            raise unbindable(self._at(name), f"{text[:60]!r} is no member of the enumeration")
        return text

    def object(self, name: str) -> "Reader | None":
        value = self._members.get(name)
        return None if value is None else Reader(value, self._at(name))

    def objects(self, name: str, read: "Callable[[Reader], T]") -> list[T | None] | None:
        """Read an array of objects, nulls kept in their places; None when the array is absent."""
        items = self.items(name)
        if items is None:
            return None
        place = self._at(name)
        return [None if item is None else read(Reader(item, f"{place}[{i}]")) for i, item in enumerate(items)]

    def _id(self, value: Json, place: str) -> str | None:
        if value is None or (isinstance(value, str) and INT64.fullmatch(value)):
            return value
        raise unbindable(place, "a 64-bit id is due, as a string of digits")

    def _at(self, name: str) -> str:
        return f"{self._path}.{name[:60]}" if self._path else name[:60]


def _sent_moment(text: str, match: re.Match[str] | None) -> SentMoment:
    if match is None:
        raise ValueError(text)
    seconds, fraction, zone = match.groups()
    moment = datetime.fromisoformat(f"{seconds}.{(fraction or '0')[:6].ljust(6, '0')}+00:00")
    return SentMoment(text, moment if zone in ("Z", "+00:00") else None)
