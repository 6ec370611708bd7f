"""`GET /v1/events/<event_id>`: what a backend learns of its event."""

from typing import Any

from django.utils import timezone

from forwarding.models import Delivery, Hold, Status
from forwarding.planning.planner import plan_all
from ingest.models import ServerKey, Site
from integrations.models import AdAccount
from tests.cast import CastTestCase, store_event


class TestEventStatus(CastTestCase):
    def setUp(self) -> None:
        _, self.secret = ServerKey.objects.mint(self.site)
        self.event = store_event(self.site, event_id="order-1", transaction_id="HP-1")

    def get(self, event_id: str = "order-1", secret: str = "", method: str = "get") -> Any:
        headers = {"Authorization": f"Bearer {secret or self.secret}"}
        return getattr(self.client, method)(f"/v1/events/{event_id}", headers=headers)

    def delivery(self) -> dict[str, Any]:
        [found] = self.get().json()["deliveries"]
        return dict(found)

    def test_it_tells_the_event_and_its_delivery_in_each_account(self) -> None:
        plan_all(timezone.now())
        answer = self.get().json()
        self.assertEqual((answer["name"], answer["value"], answer["planned"]), ("purchase", "49.900", True))
        self.assertEqual((self.delivery()["account_id"], self.delivery()["status"]), ("138204417", "pending"))
        self.assertEqual(self.delivery()["conversion_time"], "2026-11-21T10:00:00Z")

    def test_it_tells_microsofts_refusal_with_cause_and_fix(self) -> None:
        plan_all(timezone.now())
        Delivery.objects.update(
            status=Status.FAILED, error_code=5606, error_symbol="OfflineConversionNameInvalid", error_message="No goal."
        )
        said = self.delivery()
        self.assertEqual(said["error"]["code"], 5606)
        self.assertEqual(said["explanation"]["title"], "Goal not found")

    def test_it_tells_what_a_whole_account_waits_for(self) -> None:
        plan_all(timezone.now())
        AdAccount.objects.update(hold_reason=Hold.PERMISSION, held_until=timezone.now())
        self.assertEqual(self.delivery()["explanation"]["title"], "No permission for this account")
        self.assertEqual(self.delivery()["reason"], "permission")

    def test_it_never_tells_another_sites_event(self) -> None:
        _, strangers = ServerKey.objects.mint(Site.objects.exclude(pk=self.site.pk).get())
        r = self.get(secret=strangers)
        self.assertEqual((r.status_code, r["Content-Type"]), (404, "application/problem+json"))
        self.assertEqual(r.content, self.get("never-was").content)

    def test_nonsense_is_refused_in_words(self) -> None:
        for event_id in ("%00", "a%00b", "%ff", "x" * 2000, "<script>"):
            with self.subTest(event_id):
                r = self.get(event_id)
                self.assertEqual((r.status_code, r["Content-Type"]), (404, "application/problem+json"))

    def test_only_reading_is_possible(self) -> None:
        for method in ("post", "put", "delete", "patch"):
            r = self.get(method=method)
            self.assertEqual((r.status_code, r["Allow"]), (405, "GET, HEAD"))

    def test_a_wrong_or_revoked_key_is_told_nothing(self) -> None:
        ServerKey.objects.update(revoked_at=timezone.now())
        for secret in (self.secret, "sk_nonsense", "x"):
            self.assertEqual(self.get(secret=secret).status_code, 401)
