"""The whole road of a comparison: events in, Microsoft's books, its report read, and the page that says why."""

import uuid
from datetime import datetime, timedelta
from unittest.mock import patch

from django.http import HttpResponse
from django.urls import reverse
from django.utils import timezone

from forwarding.attributions import reports_due
from forwarding.models import AcceptedDay, DailyCount, EventDay
from forwarding.rows.counts import rebuild
from forwarding.rows.event_days import rebuild_event_days
from forwarding.tasks import read_report
from integrations.microsoft_ads.emulator.books import Click
from integrations.microsoft_ads.emulator.world import SEARCH_US, SHOPPING_US
from tests.road.road import RoadTestCase, purchase


class ReconciliationTests(RoadTestCase):
    """Ten orders on one day: five of clicks on an ad of ours, one on another account's, one on nobody's; one whose
    click id Microsoft refuses, one without any and one without consent.
    """

    def setUp(self) -> None:
        super().setUp()
        self.map("lead", "Qualified Lead")
        self.sold_at = timezone.now()
        clicks = [uuid.uuid4().hex for _ in range(7)]
        for number, click_id in enumerate(clicks[:6]):
            account = SEARCH_US if number < 5 else SHOPPING_US
            self.microsoft.books.put(Click(click_id, account, self.sold_at - timedelta(hours=3)))
        orders = [purchase(msclkid=click_id) for click_id in clicks]
        self.post(
            *orders,
            purchase(msclkid=None),
            purchase(consent={"ad_storage": "denied"}),
            purchase(msclkid="e" * 24 + "-"),
        )
        self.post(purchase(name="lead", value=None, currency=None))
        self.go()

    def page(self, now: datetime) -> HttpResponse:
        self.client.force_login(self.alice)
        with patch.object(timezone, "now", return_value=now):
            for account_id in reports_due(now):
                read_report(account_id)
            return self.client.get(reverse("dashboard:reconciliation", args=[self.site.public_id]))  # type: ignore[return-value]

    def funnel(self, page: HttpResponse) -> list[int]:
        return [step.orders for step in page.context["funnel"].steps]  # type: ignore[attr-defined]

    def test_the_page_shows_accepted_beside_attributed_with_microsofts_reasons(self) -> None:
        page = self.page(self.sold_at + timedelta(minutes=5))
        self.assertEqual(self.funnel(page), [10, 8, 8, 7, 5])
        for reason in (
            "No Microsoft click ID",
            "Ad consent refused",
            "Click ID is not valid",
            "Click was on another account",
            "No matching click found",
        ):
            self.assertContains(page, reason)
        self.assertContains(page, "Attribution read from Microsoft on")
        self.assertContains(page, "5 of 7 sent on this day, still settling")
        self.assertContains(page, '">settling</span>')
        self.assertNotContains(page, "71.4%")

    def test_a_settled_day_has_a_match_rate(self) -> None:
        page = self.page(self.sold_at + timedelta(days=4))
        self.assertContains(page, "71.4%")  # 5 of 7
        self.assertNotContains(page, "Needs one settled day")

    def test_a_late_attribution_moves_the_page(self) -> None:
        self.page(self.sold_at + timedelta(minutes=5))
        late = next(one for one in self.microsoft.bookings if one.unattributed == "AccountMismatch")
        late.unattributed = ""
        page = self.page(self.sold_at + timedelta(days=4))
        self.assertEqual(self.funnel(page)[4], 6)

    def test_the_sums_are_those_of_a_recount(self) -> None:
        kept = [sums() for sums in _SUMS]
        rebuild(timezone.now())
        rebuild_event_days(timezone.now())
        self.assertEqual([sums() for sums in _SUMS], kept)


def _daily() -> list[tuple[object, ...]]:
    columns = ("day", "event_name", "goal_name", "status", "error", "with_click", "currency", "count", "value")
    return sorted(DailyCount.objects.exclude(count=0, value=0).values_list(*columns), key=str)


def _accepted() -> list[tuple[object, ...]]:
    return sorted(AcceptedDay.objects.exclude(count=0).values_list("day", "goal", "event_name", "count"), key=str)


def _arrived() -> list[tuple[object, ...]]:
    return sorted(EventDay.objects.values_list("day", "name", "currency", "count", "value", "with_click"), key=str)


_SUMS = (_daily, _accepted, _arrived)
