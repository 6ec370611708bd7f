"""Report orders, correct one, and ask what became of it. Needs Python 3.10 or newer and nothing else.

CONVULTRA_URL=https://convultra.example CONVULTRA_SERVER_KEY=sk_… python orders_plain.py
"""

import json
import os
import time
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

URL = os.environ["CONVULTRA_URL"]
HEADERS = {"Authorization": f"Bearer {os.environ['CONVULTRA_SERVER_KEY']}", "Content-Type": "application/json"}


def call(path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Send a body, or ask, and again where that can help: the same ids make it count once."""
    for attempt in range(5):
        wait = 2.0**attempt
        request = Request(URL + path, json.dumps(body).encode() if body else None, HEADERS)  # noqa: S310
        try:
            with urlopen(request, timeout=10) as answer:  # noqa: S310
                said: dict[str, Any] = json.load(answer)
                return said
        except HTTPError as refused:
            if refused.code not in {408, 429, 500, 502, 503, 504}:
                raise SystemExit(refused.read().decode()) from refused
            wait = float(refused.headers.get("Retry-After", wait))
            refused.close()
        except (URLError, TimeoutError):
            pass
        if wait > 60:
            break  # the site's day is used up
        time.sleep(wait)
    raise SystemExit("Keep what you wanted to send, and send the same later.")


def show(answer: dict[str, Any]) -> None:
    """Print what became of each item of a batch."""
    for result in answer["results"]:
        own_id = result.get("event_id") or result.get("adjustment_id")
        print(f"{own_id}: {result['status']}")
        for error in result["errors"]:
            print(f"  {error['field']}: {error['detail']}")


# An event with its buyer: e-mail and phone are hashed on arrival and kept nowhere.
paid = {
    "name": "purchase",
    "event_id": "order-1042-paid",
    "occurred_at": "2026-11-21T10:00:00Z",
    "value": "79.99",
    "currency": "EUR",
    "transaction_id": "1042",
    "user_data": {"email": "jane@example.com", "phone": "(425) 555-1234", "country": "US"},
}
show(call("/v1/events", {"events": [paid]}))

# A batch. Good events are stored whatever becomes of the others: look at each result.
orders = [
    {"name": "purchase", "event_id": "order-1043-paid", "value": "12.00", "currency": "EUR", "transaction_id": "1043"},
    {"name": "purchase", "event_id": "order-1044-paid", "value": "8.50", "currency": "eur", "transaction_id": "1044"},
]
show(call("/v1/events", {"events": orders}))

# Something of the order came back: say its new total, never the difference.
returned = {
    "adjustment_id": "1042-returned-one",
    "transaction_id": "1042",
    "type": "restate",
    "value": "59.99",
    "currency": "EUR",
    "occurred_at": "2026-11-21T12:00:00Z",
}
show(call("/v1/adjustments", {"adjustments": [returned]}))

# What became of it, per account.
event = call("/v1/events/order-1042-paid")
print(f"{event['event_id']}: {len(event['deliveries'])} deliveries" if event["planned"] else "not planned yet")
for delivery in event["deliveries"]:
    print(f"  {delivery['account_id']}: {delivery['status']}")
