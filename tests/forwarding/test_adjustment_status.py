"""`GET /v1/adjustments/<adjustment_id>`: what a backend learns of its adjustment."""

from decimal import Decimal
from typing import Any

from forwarding.models import Correction, Delivery, Kind, Said, Skip, Status
from forwarding.planning.planner import plan_all
from ingest.models import Adjustment, ServerKey, Site
from tests.cast import NOON, CastTestCase, make_account, store_event


class AdjustmentStatusTests(CastTestCase):
    said: Adjustment

    def setUp(self) -> None:
        _, self.secret = ServerKey.objects.mint(self.site)
        self.said = Adjustment.objects.create(
            site=self.site,
            adjustment_id="a-1",
            transaction_id="1042",
            type="restate",
            value=Decimal("59.99"),
            currency="USD",
            occurred_at=NOON,
            received_at=NOON,
            planned_at=NOON,
        )

    def get(self, adjustment_id: str = "a-1", secret: str = "", method: str = "get") -> Any:
        headers = {"Authorization": f"Bearer {secret or self.secret}"}
        return getattr(self.client, method)(f"/v1/adjustments/{adjustment_id}", headers=headers)

    def correct(self, account: Any, **fields: Any) -> Delivery:
        """Write what came of the adjustment in an account."""
        event = store_event(self.site, transaction_id="1042")
        given = {"kind": Kind.RESTATE, "dedupe_key": "adjustment:a-1", "created_at": NOON, "changed_at": NOON}
        delivery = Delivery.objects.create(account=account, event=event, **(given | fields))
        Correction.objects.create(
            delivery=delivery, said=Said.RESTATE, adjustment=self.said, occurred_at=NOON, created_at=NOON
        )
        return delivery

    def test_it_tells_what_was_said(self) -> None:
        answer = self.get().json()
        self.assertEqual((answer["adjustment_id"], answer["type"], answer["planned"]), ("a-1", "restate", True))
        self.assertEqual((answer["transaction_id"], answer["event_id"]), ("1042", None))
        self.assertEqual((answer["value"], answer["currency"]), ("59.990", "USD"))
        self.assertEqual((answer["occurred_at"], answer["received_at"]), ("2026-11-21T12:00:00Z",) * 2)

    def test_it_waits_for_its_order_once_none_was_found(self) -> None:
        self.assertEqual((self.get().json()["waiting_for_order"], self.get().json()["adjustments"]), (True, []))
        Adjustment.objects.update(planned_at=None)
        answer = self.get().json()
        self.assertEqual((answer["planned"], answer["waiting_for_order"]), (False, False))

    def test_it_tells_what_came_of_it_in_each_account(self) -> None:
        second = make_account(self.site, "138204418")
        self.correct(second, status=Status.SKIPPED, skip_reason=Skip.APPLIED)
        sent = self.correct(self.account, status=Status.DELIVERED, adjustment_time="2026-11-21T12:00:00Z")
        Delivery.objects.create(
            account=self.account, event=sent.event, dedupe_key="another", created_at=NOON, changed_at=NOON
        )
        answer = self.get().json()
        self.assertIs(answer["waiting_for_order"], False)
        first, other = answer["adjustments"]
        self.assertEqual((first["account_id"], first["status"], first["type"]), ("138204417", "delivered", "restate"))
        self.assertEqual(first["adjustment_time"], "2026-11-21T12:00:00Z")
        self.assertEqual((other["account_id"], other["reason"]), ("138204418", "applied"))
        self.assertEqual(other["explanation"]["title"], "Corrected before it was sent")

    def test_an_order_that_comes_later_ends_the_wait(self) -> None:
        store_event(self.site, transaction_id="1042", value=Decimal("79.99"))
        plan_all(NOON)
        answer = self.get().json()
        self.assertIs(answer["waiting_for_order"], False)
        [correction] = answer["adjustments"]
        self.assertEqual((correction["status"], correction["reason"]), ("skipped", "applied"))
        self.assertEqual(Delivery.objects.get(kind=Kind.CONVERSION).value, Decimal("59.990"))

    def test_its_cost_does_not_grow_with_the_accounts(self) -> None:
        for n in range(4):
            self.correct(make_account(self.site, f"13820500{n}"))
        self.get()  # the key is known now, and counted
        with self.assertNumQueries(3):  # its limit, the adjustment, what came of it
            self.assertEqual(len(self.get().json()["adjustments"]), 4)

    def test_it_never_tells_another_sites_adjustment(self) -> None:
        _, strangers = ServerKey.objects.mint(Site.objects.exclude(pk=self.site.pk).get())
        r = self.get(secret=strangers)
        self.assertEqual((r.status_code, r["Content-Type"]), (404, "application/problem+json"))
        self.assertEqual(r.content, self.get("never-was").content)

    def test_nonsense_is_refused_in_words(self) -> None:
        for adjustment_id in ("%00", "a%00b", "%ff", "x" * 2000, "<script>"):
            with self.subTest(adjustment_id):
                r = self.get(adjustment_id)
                self.assertEqual((r.status_code, r["Content-Type"]), (404, "application/problem+json"))

    def test_only_reading_is_possible(self) -> None:
        for method in ("post", "put", "delete", "patch"):
            r = self.get(method=method)
            self.assertEqual((r.status_code, r["Allow"]), (405, "GET, HEAD"))

    def test_a_wrong_or_revoked_key_is_told_nothing(self) -> None:
        ServerKey.objects.update(revoked_at=NOON)
        for secret in (self.secret, "sk_nonsense", "x"):
            self.assertEqual(self.get(secret=secret).status_code, 401)
