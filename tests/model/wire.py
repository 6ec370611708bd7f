"""A Microsoft that is overheard: every row of every upload, whose it is, and what the sender can know of its outcome.

Checked as it is said: a row that may have arrived is never said in other words again, and no two are said alike.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from io import BytesIO
from typing import TYPE_CHECKING, Any

from integrations.microsoft_ads.emulator.books import Books, Received
from tests.support.microsoft import EmulatedMicrosoft

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

UPLOADS = {
    "OfflineConversions/Apply": "OfflineConversions",
    "OfflineConversionAdjustments/Apply": "OfflineConversionAdjustments",
}
Words = tuple[tuple[str, object], ...]


@dataclass
class Call:
    """One upload as it was sent. `refused` holds the rows by index that Microsoft named, with their codes."""

    account_id: str
    deliveries: Sequence[int]
    rows: Sequence[dict[str, Any]]
    token_owner: str = ""
    outcome: str = "unknown"
    refused: dict[int, int] = field(default_factory=dict)


class OverheardMicrosoft(EmulatedMicrosoft):
    """`sending` names the deliveries of the upload under way; `uploads` is what was sent, in order."""

    def __init__(self, books: Books) -> None:
        super().__init__(books)
        self.sending: Sequence[int] = ()
        self.uploads: list[Call] = []
        self.said: dict[int, Words] = {}  # by the deliveries that may have arrived
        self.taken: set[int] = set()
        self._speakers: dict[Words, int] = {}

    def _app(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        array = next((array for path, array in UPLOADS.items() if environ["PATH_INFO"].endswith(path)), None)
        if array is None:
            return super()._app(environ, start_response)
        body = environ["wsgi.input"].read()
        environ["wsgi.input"] = BytesIO(body)
        call = self._overhear(environ["HTTP_CUSTOMERACCOUNTID"], json.loads(body, parse_float=Decimal)[array])
        received, calls = len(self.books.received), len(self.books.calls)
        try:
            return super()._app(environ, start_response)
        finally:
            [said] = self.books.calls[calls:]
            call.token_owner = said.user_id
            self._conclude(call, said.status, said.fault, self.books.received[received:])

    def _overhear(self, account_id: str, rows: list[dict[str, Any]]) -> Call:
        call = Call(account_id, tuple(self.sending), rows)
        assert len(call.deliveries) == len(rows) <= 1000, "the rows sent are not the rows of the upload"
        for pk, row in zip(call.deliveries, rows, strict=True):
            words = _words(row)
            assert self.said.get(pk, words) == words, f"delivery {pk} was {self.said[pk]} and now is {words}"
            assert self._speakers.get(_key(row), pk) == pk, f"{_key(row)} is of two deliveries"
        self.uploads.append(call)
        return call

    def _conclude(self, call: Call, status: int, fault: str, received: Sequence[Received]) -> None:
        """Note which rows may have arrived: those can never be said otherwise.

        What is said for the first time counts: it is booked, or applied, or refused by name. Nothing is dropped.
        """
        call.refused = {row.index: row.code for row in received if row.code is not None}
        if 400 <= status < 500 and status != 408:
            call.outcome = "refused"
            return
        call.outcome = "answered" if received and fault in ("", "partial_error") else "unknown"
        for entry in received:
            pk = call.deliveries[entry.index]
            if entry.outcome in ("booked", "applied"):
                self.taken.add(pk)
            assert pk in self.taken or entry.code is not None, f"{entry.outcome}: {entry.row}"
        for index, (pk, row) in enumerate(zip(call.deliveries, call.rows, strict=True)):
            if index not in call.refused or call.outcome == "unknown":
                self.said[pk] = _words(row)
                self._speakers[_key(row)] = pk


def _words(row: dict[str, Any]) -> Words:
    return tuple(sorted(row.items()))


def _key(row: dict[str, Any]) -> Words:
    """Return what Microsoft tells two rows apart by; click ids compare without case."""
    names = ("ConversionName", "ConversionTime", "HashedEmailAddress", "HashedPhoneNumber", "AdjustmentTime")
    return (*((name, row.get(name)) for name in names), ("MicrosoftClickId", row.get("MicrosoftClickId", "").lower()))
