"""Events that came before their name was mapped: offered with a forecast, forwarded once, and never twice."""

from datetime import timedelta
from typing import Any
from unittest import mock

import time_machine
from django.urls import reverse
from django.utils import timezone

from forwarding.models import DailyCount, Delivery, Skip, Status
from forwarding.planning import replaying
from ingest.models import AuditEntry, Membership, Role
from tests.road.road import RoadTestCase, purchase


class ReplayTestCase(RoadTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.client.force_login(self.alice)

    def url(self, name: str = "account-mapping-replay") -> str:
        return reverse(f"dashboard:{name}", args=[self.site.public_id, self.account.account_id])

    def come_unmapped(self, *changes: dict[str, Any]) -> None:
        """Let leads come and be planned, and only then map them."""
        self.post(*(purchase(name="lead", **each) for each in changes))
        self.go()
        self.map("lead", "Trade enquiry")

    def replay(self) -> Any:
        return self.client.post(self.url(), {"event": "lead"}, follow=True)


class TestReplay(ReplayTestCase):
    def test_the_mapping_offers_it_with_how_many_there_are(self) -> None:
        self.come_unmapped({}, {})
        self.assertContains(self.client.get(self.url("account-mapping")), "2 came before it was mapped")

    def test_it_says_first_what_would_become_of_them_and_changes_nothing(self) -> None:
        self.come_unmapped({}, {"msclkid": None})
        page = self.client.get(self.url(), {"event": "lead"})
        self.assertContains(page, "Forward 1 event")
        self.assertContains(page, "1 cannot: No Microsoft click ID")
        self.assertEqual(Delivery.objects.filter(skip_reason=Skip.NOT_MAPPED).count(), 2)

    def test_they_arrive_at_microsoft_once_however_often_it_is_done(self) -> None:
        self.come_unmapped({}, {})
        self.replay()
        self.go()
        self.assertContains(self.replay(), "Nothing was left to forward")
        self.go()
        self.assertEqual(len(self.microsoft.bookings), 2)
        self.assertEqual(set(Delivery.objects.values_list("status", flat=True)), {Status.DELIVERED})

    def test_what_cannot_be_forwarded_says_why_from_now_on(self) -> None:
        self.come_unmapped({"msclkid": None})
        self.assertContains(self.replay(), "0 of 1 lead events go out")
        self.assertEqual(Delivery.objects.get().skip_reason, Skip.NO_IDENTIFIER)

    def test_events_of_one_order_become_one_conversion(self) -> None:
        self.come_unmapped({"transaction_id": "HP-1"}, {"transaction_id": "HP-1"})
        self.replay()
        self.go()
        self.assertEqual(len(self.microsoft.bookings), 1)

    def test_the_counts_stay_those_of_the_rows(self) -> None:
        self.come_unmapped({}, {"msclkid": None})
        self.replay()
        self.go()
        counts = {(row.goal_name, row.status): row.count for row in DailyCount.objects.filter(count__gt=0)}
        self.assertEqual(counts, {("Trade enquiry", "delivered"): 1, ("no_identifier", "skipped"): 1})

    def test_however_many_others_were_not_forwarded_the_days_of_a_name_are_looked_at_and_no_others(self) -> None:
        self.come_unmapped({}, {})
        rare = Delivery.objects.order_by("pk").first()
        assert rare is not None
        with time_machine.travel(timezone.now() - timedelta(days=3), tick=False):
            self.post(*(purchase(name="scroll") for _ in range(5)))
            self.go()
        with self.assertNumQueries(2):
            self.assertEqual(replaying._missed(self.account, "lead", timezone.now(), 5)[:1], [rare.pk])
        with self.assertNumQueries(1):
            counted = replaying.missed(self.account, ["lead", "purchase"], timezone.now())
        self.assertEqual(counted, {"lead": 2})

    def test_the_oldest_go_first(self) -> None:
        self.come_unmapped({}, {}, {})
        rows = list(Delivery.objects.order_by("created_at", "pk").values_list("pk", flat=True))
        with mock.patch.object(replaying, "BATCH", 2), mock.patch.object(replaying, "MOST_AT_ONCE", 2):
            self.assertContains(self.replay(), "2 of 2 lead events go out")
        self.assertEqual(list(Delivery.objects.filter(skip_reason=Skip.NOT_MAPPED)), [Delivery.objects.get(pk=rows[2])])
        self.assertContains(self.client.get(self.url("account-mapping")), "1 came before it was mapped")

    def test_the_audit_log_says_who_and_how_many(self) -> None:
        self.come_unmapped({}, {})
        self.replay()
        entry = AuditEntry.objects.get(action="event.replay")
        self.assertEqual((entry.actor, entry.details["forwarded"]), (self.alice, 2))

    def test_what_is_older_than_90_days_is_not_offered(self) -> None:
        self.come_unmapped({})
        Delivery.objects.update(created_at=timezone.now() - timedelta(days=91))
        self.assertContains(self.client.get(self.url(), {"event": "lead"}), "Nothing is left to forward")


class TestDoors(ReplayTestCase):
    def test_an_event_that_is_not_mapped_leads_back_to_the_mapping(self) -> None:
        for event in ("signup", "", "\0", "<script>"):
            with self.subTest(event=event):
                for answer in (self.client.get, self.client.post):
                    self.assertRedirects(answer(self.url(), {"event": event}), self.url("account-mapping"))

    def test_a_viewer_sees_the_forecast_and_may_not_do_it(self) -> None:
        self.come_unmapped({})
        Membership.objects.filter(user=self.alice).update(role=Role.VIEWER)
        self.assertContains(self.client.get(self.url(), {"event": "lead"}), "Needs the Owner, Admin or Marketer role")
        self.assertEqual(self.client.post(self.url(), {"event": "lead"}).status_code, 403)
