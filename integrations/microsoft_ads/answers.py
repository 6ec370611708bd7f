"""What an answer means: a success to read, a documented fault, or something else that is never believed.

Three shapes of fault are documented, and which HTTP status comes with which code is not: so the body is read first and
decides, and the status counts only where no body tells. Source: cm/adapifaultdetail, cm/apifaultdetail, cust/apifault,
cm/batcherror, guides/handle-service-errors-exceptions.
"""

from collections.abc import Callable
from typing import TypeVar

from integrations.microsoft_ads.errors import (
    Fault,
    MicrosoftAdsError,
    UnexpectedAnswer,
    WhatToDo,
    urgency,
    what_to_do,
    what_to_do_by_status,
)
from integrations.microsoft_ads.shapes import ItemError, ItemResult
from integrations.microsoft_ads.strict_json import Members, ShapeError, parse_object, storable

MAX_LOGGED_BYTES = 64 * 1024
MAX_SYMBOL_CHARS = 100
MAX_MESSAGE_CHARS = 1_000
MAX_TRACKING_ID_CHARS = 100
_AWAY_SECONDS = 3_600.0
_MIN_SECRET_CHARS = 8  # a shorter one is no secret, and would be cut out of ordinary words

_FAULT_TYPES = frozenset({"AdApiFaultDetail", "ApiFaultDetail", "EditorialApiFaultDetail", "ApiFault"})
_FAULT_LISTS = ("Errors", "OperationErrors", "BatchErrors")

_Read = TypeVar("_Read")


class Answer:
    """One whole answer. `text` is its body for the log: cut at 64 KiB, and without the secrets of the request."""

    def __init__(
        self,
        http_status: int,
        body: bytes,
        *,
        tracking_id: str = "",
        retry_after_seconds: float | None = None,
        secrets: tuple[str, ...] = (),
    ) -> None:
        self.http_status = http_status
        self.retry_after_seconds = retry_after_seconds
        self._secrets = secrets
        self._members: Members | None = None
        self._complaint = "The status is none of a success"
        try:
            self._members = parse_object(body)
        except ShapeError as error:
            self._complaint = f"The {error}"
        self.text = _at_most(MAX_LOGGED_BYTES, self._clean(body.decode("utf-8", "replace")))
        self.tracking_id = self._clean(tracking_id)[:MAX_TRACKING_ID_CHARS]

    def failure(self) -> MicrosoftAdsError | None:
        """Return the error that this answer is, or None for a success."""
        try:
            if self._members is not None and _is_fault(self._members):
                return self._fault(_fault_errors(self._members))
        except ShapeError as error:
            return self._unexpected(f"The {error}")
        if self._members is None or self.http_status != 200:
            return self._unexpected(self._complaint)
        return None

    def read(self, parse: Callable[[Members], _Read]) -> _Read:
        """Parse a success. Raises UnexpectedAnswer where it is not the operation's documented shape."""
        if self._members is None:
            raise self._unexpected(self._complaint)
        try:
            return parse(self._members)
        except ShapeError as error:
            raise self._unexpected(f"The {error}") from None

    def read_whole(self, parse: Callable[[Members], _Read]) -> _Read:
        """Parse a success of which no part may be missing. Raises Fault where PartialErrors lists anything."""
        errors = self.read(lambda members: [_error(entry) for entry in members.children("PartialErrors")])
        if errors:
            raise self._fault(errors)
        return self.read(parse)

    def _fault(self, errors: list[ItemError]) -> Fault:
        first = min(errors, key=_order, default=ItemError(None, "", "No reason given"))
        what = first.what_to_do
        if what is WhatToDo.UNKNOWN and self.http_status not in (200, 400):
            what = what_to_do_by_status(self.http_status)
        return Fault(
            self._clean(first.message),
            what_to_do=what,
            # Their own servers failed, perhaps halfway; what the other codes say happens before any row is taken.
            outcome_unknown=what in (WhatToDo.RETRY, WhatToDo.UNKNOWN),
            code=first.code,
            symbol=self._clean(first.symbol),
            http_status=self.http_status,
            tracking_id=self._tracking_id(),
            body=self.text,
            retry_after_seconds=self.retry_after_seconds,
        )

    def _unexpected(self, message: str) -> UnexpectedAnswer:
        is_away = self.http_status in (404, 501)  # Microsoft's .NET client stays off for an hour then
        return UnexpectedAnswer(
            message,
            what_to_do=what_to_do_by_status(self.http_status),
            outcome_unknown=not 400 <= self.http_status < 500 or self.http_status == 408,
            http_status=self.http_status,
            tracking_id=self.tracking_id,
            body=self.text,
            retry_after_seconds=_AWAY_SECONDS
            if is_away and self.retry_after_seconds is None
            else self.retry_after_seconds,
        )

    def _tracking_id(self) -> str:
        if self.tracking_id or self._members is None:
            return self.tracking_id
        return self._clean(self._members.text("TrackingId"))[:MAX_TRACKING_ID_CHARS]

    def _clean(self, text: str) -> str:
        for secret in self._secrets:
            if len(secret) >= _MIN_SECRET_CHARS:
                text = text.replace(secret, "[removed]")
        return storable(text)


def item_results(answer: Members, rows: int) -> tuple[ItemResult, ...]:
    """Read an answer to Apply: one result per row sent, refused if and only if PartialErrors lists its index.

    The list is sparse and in no promised order, and may name an index more than once; null or absent it is empty
    (cm/applyofflineconversions, cm/batcherror). An object that lacks it and has something else instead is not this
    answer: some proxy wrote it.
    """
    if "PartialErrors" not in answer.names and answer.names - {"TrackingId", "Type"}:
        raise ShapeError("answer.PartialErrors is not there")
    refused: dict[int, ItemError] = {}
    for entry in answer.children("PartialErrors"):
        index = entry.required_integer("Index")
        if not 0 <= index < rows:
            raise ShapeError("answer.PartialErrors[].Index is none of the rows sent")
        error = _error(entry)
        refused[index] = min(refused.get(index, error), error, key=_order)
    return tuple(ItemResult(refused.get(index)) for index in range(rows))


def _is_fault(answer: Members) -> bool:
    return any(answer.has_items(name) for name in _FAULT_LISTS) or answer.text("Type") in _FAULT_TYPES


def _fault_errors(answer: Members) -> list[ItemError]:
    return [_error(entry) for name in _FAULT_LISTS for entry in answer.children(name)]


def _error(entry: Members) -> ItemError:
    """Read a BatchError, EditorialError, AdApiError (`Detail`) or OperationError (`Details`)."""
    message = entry.text("Message")
    details = entry.text("Detail") or entry.text("Details")
    return ItemError(
        code=entry.integer("Code"),
        symbol=entry.text("ErrorCode")[:MAX_SYMBOL_CHARS],
        message=": ".join(part for part in (message, details) if part)[:MAX_MESSAGE_CHARS],
    )


def _order(error: ItemError) -> tuple[int, int, str, str]:
    what = what_to_do(error.code, error.symbol, error.message)
    return urgency(what), -1 if error.code is None else error.code, error.symbol, error.message


def _at_most(limit: int, text: str) -> str:
    return text.encode()[:limit].decode("utf-8", "ignore")
