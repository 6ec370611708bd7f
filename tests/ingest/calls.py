"""Calls of the ingest API, as a page and as a backend make them."""

import json
from typing import Any

from django.http import HttpResponse

from ingest.models import Adjustment, Click, Event, ServerKey
from tests.cast import CLICK_ID, CastTestCase

ORIGIN = "https://shop.example"
PURCHASE: dict[str, Any] = {
    "name": "purchase",
    "event_id": "e-1",
    "occurred_at": "2026-11-21T10:00:00Z",
    "value": 79.99,
    "currency": "EUR",
    "msclkid": CLICK_ID,
}
CLICK: dict[str, Any] = {
    "msclkid": CLICK_ID,
    "visitor_id": "v-1",
    "session_id": "s-1",
    "landing_url": f"https://shop.example/pines?msclkid={CLICK_ID}",
    "captured_at": "2026-11-21T10:00:00Z",
}
ADJUSTMENT: dict[str, Any] = {
    "adjustment_id": "a-1",
    "transaction_id": "1042",
    "type": "restate",
    "value": 59.99,
    "currency": "EUR",
    "occurred_at": "2026-11-21T11:00:00Z",
}


class CallsTestCase(CastTestCase):
    """The cast, a server key of Alice's site, and a method for each call."""

    server_key: ServerKey
    secret: str

    @classmethod
    def setUpTestData(cls) -> None:
        super().setUpTestData()
        cls.server_key, cls.secret = ServerKey.objects.mint(cls.site)

    def post_from_page(self, what: str, body: object, content_type: str = "text/plain", **headers: str) -> HttpResponse:
        """Post `events` or `clicks` with the write key; a body that is not bytes is written as JSON."""
        return self._post(f"/v1/{self.site.write_key}/{what}", body, content_type, {"Origin": ORIGIN} | headers)

    def post_from_backend(self, body: object, content_type: str = "application/json", **headers: str) -> HttpResponse:
        """Post events with the server key."""
        return self._post("/v1/events", body, content_type, {"Authorization": f"Bearer {self.secret}"} | headers)

    def post_adjustments(self, *items: dict[str, Any], **headers: str) -> HttpResponse:
        """Post adjustments with the server key."""
        return self.post_adjustments_body({"adjustments": items}, **headers)

    def post_adjustments_body(
        self, body: object, content_type: str = "application/json", **headers: str
    ) -> HttpResponse:
        """Post a body of any shape with the server key."""
        headers = {"Authorization": f"Bearer {self.secret}"} | headers
        return self._post("/v1/adjustments", body, content_type, headers)

    def _post(self, path: str, body: object, content_type: str, headers: dict[str, str]) -> HttpResponse:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": content_type} | headers  # the test client forgets it where the body is empty
        return self.client.generic("POST", path, raw, content_type, headers=headers)  # type: ignore[return-value]

    def assert_problem(self, response: HttpResponse, status: int, code: str) -> dict[str, Any]:
        """Check that the answer is a problem of this kind, and return it."""
        self.assertEqual(response.status_code, status, response.content)
        self.assertEqual(response["Content-Type"], "application/problem+json")
        said: dict[str, Any] = json.loads(response.content)
        self.assertEqual((said["type"], said["status"]), (f"/problems/{code}", status))
        return said

    def assert_nothing_is_stored(self) -> None:
        for model in (Event, Click, Adjustment):
            self.assertFalse(model._default_manager.exists(), model)


def statuses(response: HttpResponse) -> list[str]:
    """Return what became of each item of a batch that was taken."""
    return [result["status"] for result in json.loads(response.content)["results"]]
