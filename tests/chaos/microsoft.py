"""The emulator of a run, as the run sees it: its ledger by pages, and the faults that it is fed."""

import json
import random
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from typing import Any

import requests

APPLY, ADJUST, TOKEN = "OfflineConversions/Apply", "OfflineConversionAdjustments/Apply", "token"
EXPIRED = "token_expired"
ENOUGH_FAULTS = 15
TIMEOUT_SECONDS = 10.0
PAGE_ROWS = 5000
# Microsoft's own words for "not now": internal error, execution failed, concurrent change, uploads not applied.
PASSING = ((0, "InternalError"), (202, "ApiExecutionError"), (5612, "OfflineConversionsApplyFailed"))

Fault = dict[str, Any]


class Microsoft:
    """The emulator at an address. Between faults it lets `passes` uploads pass, the fewest and the most."""

    def __init__(self, address: str, rng: random.Random, timeout_seconds: float, passes: tuple[int, int]) -> None:
        self.address, self._rng, self._timeout_seconds, self._passes = address, rng, timeout_seconds, passes
        self._last: dict[str, str] = {}  # the kind fed last, by operation

    def rows(self, of: str) -> Iterator[dict[str, Any]]:
        """Yield the `booked` or `received` rows or the `calls`, in order, amounts exact."""
        after: int | None = 0
        while after is not None:
            query = f"of={of}&after={after}&limit={PAGE_ROWS}"
            answer = requests.get(f"{self.address}/_emulator/page.json?{query}", timeout=60)
            answer.raise_for_status()
            page = json.loads(answer.content, parse_float=Decimal)
            yield from page["rows"]
            after = page["next"]

    def is_up(self) -> bool:
        """Say whether it answers."""
        with suppress(requests.RequestException):
            return requests.get(f"{self.address}/_emulator/settings", timeout=2).ok
        return False

    def set_times(self, token_seconds: int, upload_milliseconds: int) -> None:
        """Give out access tokens that live so long from now on, and take so long for an upload."""
        times = {"access_token_seconds": token_seconds, "upload_milliseconds": upload_milliseconds}
        self._control("POST", "settings", times)

    def feed(self) -> None:
        """See that faults wait for the calls to come."""
        waiting = requests.get(f"{self.address}/_emulator/faults", timeout=TIMEOUT_SECONDS).json()["faults"]
        for operation in (APPLY, ADJUST, TOKEN):
            left = sum(fault["operation"] == operation for fault in waiting)
            for _ in range(ENOUGH_FAULTS - left):
                fault = self._of_sign_in() if operation == TOKEN else self._of_upload(self._last.get(operation, ""))
                self._control("POST", "faults", {"operation": operation} | fault)
                self._last[operation] = fault["fault"]

    def heal(self) -> None:
        """Drop what waits."""
        self._control("DELETE", "faults")

    def _control(self, method: str, name: str, body: object = None) -> None:
        address = f"{self.address}/_emulator/{name}"
        requests.request(method, address, json=body or {}, timeout=TIMEOUT_SECONDS).raise_for_status()

    def _of_upload(self, last: str) -> Fault:
        """Make up a fault. Never twice in a row that a token expired: refused again with a new one, we give up."""
        rng = self._rng
        code, symbol = rng.choice(PASSING)
        kinds: list[Fault] = [
            {"fault": "throttled", "retry_after": rng.randint(0, 2)},
            {"fault": rng.choice(("429", "500", "502", "503", "504"))},
            {"fault": EXPIRED},
            {"fault": "fault_code", "code": code, "error_code": symbol},
            {"fault": "partial_error", "code": code, "error_code": symbol, "indexes": rng.sample(range(8), 3)},
            {"fault": "delay", "seconds": rng.choice((0.5, 1.5, self._timeout_seconds + 1))},
            *({"fault": kind} for kind in ("close_before", "close_after", "truncated", "html", "empty")),
            *({"fault": kind} for kind in ("wrong_shape", "index_out_of_range")),
        ]
        fitting = [one for one in kinds if last != EXPIRED or one["fault"] != EXPIRED]
        return rng.choice(fitting) | {"after": rng.randint(*self._passes)}

    def _of_sign_in(self) -> Fault:
        kinds: list[Fault] = [
            {"fault": "oauth_error", "error": "temporarily_unavailable", "code": 90033, "status": 503},
            *({"fault": kind} for kind in ("503", "close_before", "close_after", "truncated", "html")),
        ]
        return self._rng.choice(kinds) | {"after": self._rng.randint(1, 4)}
