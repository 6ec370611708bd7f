"""From stored events to deliveries."""

import uuid
from datetime import timedelta
from decimal import Decimal

from django.db import connection
from django.test.utils import CaptureQueriesContext

from forwarding.models import ClickSource, DailyCount, Delivery, Skip, Status
from forwarding.planning.free_seconds import MAX_SHIFT_SECONDS
from forwarding.planning.planner import plan_all, plan_batch
from ingest.click_ids import new_test_click_id
from ingest.models import Click, Event
from integrations.models import GoalMapping
from tests.cast import CLICK_ID, NOON, CastTestCase, make_account, make_goal, make_site, store_event

OTHER_CLICK = "0123456789abcdef0123456789abcdef"


def land(case: CastTestCase, msclkid: str, minutes_before_noon: int, **fields: str) -> Click:
    """Report a landing of the site with a click id."""
    at = NOON - timedelta(minutes=minutes_before_noon)
    return Click.objects.create(site=case.site, msclkid=msclkid, captured_at=at, **fields)


class TestPlanning(CastTestCase):
    def test_an_event_becomes_one_delivery_in_each_account_of_its_site(self) -> None:
        second = make_account(self.site, "138204422")
        event = store_event(self.site)
        self.assertEqual(plan_all(NOON), 1)
        self.assertEqual({row.account for row in event.deliveries.all()}, {self.account, second})

    def test_an_unmapped_event_is_skipped_with_its_reason(self) -> None:
        event = store_event(self.site, "add_to_cart")
        plan_all(NOON)
        self.assertEqual(event.deliveries.get().skip_reason, Skip.NOT_MAPPED)

    def test_a_removed_account_gets_nothing(self) -> None:
        self.account.is_active = False
        self.account.save(update_fields=["is_active"])
        event = store_event(self.site)
        plan_all(NOON)
        self.assertFalse(event.deliveries.exists())

    def test_another_sites_account_never_gets_it(self) -> None:
        stranger = make_account(make_site("Other", self.charlie))
        GoalMapping.objects.create(account=stranger, event_name="purchase", goal=make_goal(stranger, "Purchase"))
        event = store_event(self.site)
        plan_all(NOON)
        self.assertEqual(event.deliveries.get().account, self.account)

    def test_planning_twice_makes_nothing_new(self) -> None:
        store_event(self.site)
        self.assertEqual([plan_all(NOON), plan_all(NOON)], [1, 0])
        self.assertEqual(Delivery.objects.count(), 1)

    def test_a_changed_mapping_takes_effect_with_the_next_event(self) -> None:
        first = store_event(self.site, transaction_id="A")
        plan_all(NOON)
        self.mapping.goal = make_goal(self.account, "Sale")
        self.mapping.save(update_fields=["goal"])
        second = store_event(self.site, transaction_id="B", occurred_at=NOON - timedelta(hours=3))
        plan_all(NOON)
        self.assertEqual([e.deliveries.get().goal_name for e in (first, second)], ["Purchase", "Sale"])

    def test_the_queries_do_not_grow_with_the_events(self) -> None:
        counts = []
        store_event(self.site)
        plan_batch(NOON)  # a name that comes for the first time is written down
        for events in (2, 25):
            for number in range(events):
                fields = {"visitor_id": f"v{number}", "external_id": f"x{number}", "transaction_id": uuid.uuid4().hex}
                store_event(self.site, msclkid="", email_sha256="0" * 64, **fields)
            with CaptureQueriesContext(connection) as queries:
                plan_batch(NOON)
            counts.append(len(queries))
        self.assertEqual(counts[0], counts[1])


class TestSameOrder(CastTestCase):
    def test_the_first_event_of_an_order_stands_for_it(self) -> None:
        first, second = (store_event(self.site, transaction_id="HP-1") for _ in range(2))
        plan_all(NOON)
        self.assertEqual(first.deliveries.get().status, Status.PENDING)
        self.assertEqual(second.deliveries.get().skip_reason, Skip.SAME_ORDER)

    def test_it_is_known_again_in_a_later_batch(self) -> None:
        store_event(self.site, transaction_id="HP-1")
        plan_all(NOON)
        late = store_event(self.site, transaction_id="HP-1")
        plan_all(NOON)
        self.assertEqual(late.deliveries.get().skip_reason, Skip.SAME_ORDER)

    def test_two_orders_of_one_click_in_one_second_are_a_second_apart(self) -> None:
        for order in ("A", "B"):
            store_event(self.site, transaction_id=order)
        plan_all(NOON)
        store_event(self.site, transaction_id="C")
        plan_all(NOON)
        times = list(Delivery.objects.order_by("pk").values_list("conversion_time", flat=True))
        self.assertEqual(times, ["2026-11-21T10:00:00Z", "2026-11-21T10:00:01Z", "2026-11-21T10:00:02Z"])

    def test_a_click_id_in_capitals_planned_later_is_the_same_click(self) -> None:
        for order, click_id in (("A", CLICK_ID), ("B", CLICK_ID.upper())):
            store_event(self.site, transaction_id=order, msclkid=click_id)
            plan_all(NOON)
        times = list(Delivery.objects.order_by("pk").values_list("conversion_time", flat=True))
        self.assertEqual(times, ["2026-11-21T10:00:00Z", "2026-11-21T10:00:01Z"])

    def test_a_flood_in_one_second_is_bounded_and_says_so(self) -> None:
        for order in range(MAX_SHIFT_SECONDS + 10):
            store_event(self.site, transaction_id=f"HP-{order}")
        plan_all(NOON)
        seconds = Delivery.objects.forwarded().values("conversion_time").distinct().count()
        self.assertEqual(seconds, MAX_SHIFT_SECONDS + 1)
        self.assertEqual(Delivery.objects.filter(skip_reason=Skip.SAME_SECOND).count(), 9)

    def test_what_is_moved_on_is_not_sent_before_its_time(self) -> None:
        for order in ("A", "B"):
            store_event(self.site, transaction_id=order, occurred_at=NOON)
        with self.settings(CLICK_SETTLE_SECONDS=0):
            plan_all(NOON)
        first, second = Delivery.objects.order_by("pk")
        self.assertEqual(first.next_attempt_at, NOON)
        self.assertEqual(second.next_attempt_at, NOON + timedelta(seconds=6))


class TestClickResolution(CastTestCase):
    def found(self, event: Event) -> tuple[str, str]:
        plan_all(NOON)
        delivery = event.deliveries.get()
        return delivery.msclkid, delivery.click_source

    def test_the_events_own_click_id_comes_first(self) -> None:
        land(self, OTHER_CLICK, 180, visitor_id="v1")
        self.assertEqual(self.found(store_event(self.site, visitor_id="v1")), (CLICK_ID, ClickSource.EVENT))

    def test_a_malformed_id_never_displaces_a_good_one(self) -> None:
        land(self, OTHER_CLICK, 180, visitor_id="v1")
        event = store_event(self.site, msclkid="Example-123", visitor_id="v1")
        self.assertEqual(self.found(event), (OTHER_CLICK, ClickSource.VISITOR))

    def test_the_install_pages_test_click_is_never_used(self) -> None:
        test_click = new_test_click_id(NOON)
        land(self, OTHER_CLICK, 180, visitor_id="v1")
        land(self, test_click, 170, visitor_id="v1")
        event = store_event(self.site, msclkid=test_click, visitor_id="v1")
        self.assertEqual(self.found(event), (OTHER_CLICK, ClickSource.VISITOR))

    def test_an_event_with_a_test_click_lends_it_to_nobody(self) -> None:
        before = NOON - timedelta(hours=4)
        store_event(self.site, "lead", occurred_at=before, msclkid=new_test_click_id(NOON), transaction_id="T")
        self.assertEqual(self.found(store_event(self.site, msclkid="", transaction_id="T")), ("", ""))

    def test_the_newest_click_before_the_conversion_wins(self) -> None:
        for minutes, click_id in ((300, CLICK_ID), (180, OTHER_CLICK), (30, "f" * 32)):
            land(self, click_id, minutes, visitor_id="v1")
        self.assertEqual(self.found(store_event(self.site, msclkid="", visitor_id="v1"))[0], OTHER_CLICK)

    def test_a_click_older_than_the_sites_retention_is_not_used(self) -> None:
        land(self, CLICK_ID, 91 * 24 * 60, visitor_id="v1")
        self.assertEqual(self.found(store_event(self.site, msclkid="", visitor_id="v1")), ("", ""))

    def test_each_road_leads_to_the_click(self) -> None:
        land(self, OTHER_CLICK, 180, session_id="s1")
        self.assertEqual(
            self.found(store_event(self.site, msclkid="", session_id="s1")), (OTHER_CLICK, ClickSource.SESSION)
        )
        for source, field, value in (
            (ClickSource.EXTERNAL_ID, "external_id", "lead-7"),
            (ClickSource.EMAIL, "email_sha256", "a" * 64),
            (ClickSource.PHONE, "phone_sha256", "b" * 64),
        ):
            with self.subTest(field):
                before = NOON - timedelta(hours=4)
                store_event(self.site, "lead", occurred_at=before, msclkid=CLICK_ID, **{field: value})
                event = store_event(self.site, msclkid="", **{field: value})
                self.assertEqual(self.found(event), (CLICK_ID, source))

    def test_a_sale_finds_the_click_of_the_lead_with_its_transaction(self) -> None:
        store_event(self.site, "lead", occurred_at=NOON - timedelta(hours=4), transaction_id="T")
        event = store_event(self.site, msclkid="", transaction_id="T")
        self.assertEqual(self.found(event), (CLICK_ID, ClickSource.TRANSACTION))

    def test_the_page_may_tell_of_the_order_a_little_later_than_the_backend(self) -> None:
        for after, found in ((timedelta(seconds=3), CLICK_ID), (timedelta(days=1, seconds=1), "")):
            with self.subTest(after=after):
                order = uuid.uuid4().hex
                sold = NOON - timedelta(days=3)
                store_event(self.site, "other", transaction_id=order, occurred_at=sold + after)
                event = store_event(self.site, msclkid="", transaction_id=order, occurred_at=sold)
                self.assertEqual(self.found(event)[0], found)

    def test_what_was_told_of_the_order_before_counts_more_than_what_comes_after(self) -> None:
        for minutes, click_id in ((-1, CLICK_ID), (1, OTHER_CLICK)):
            at = NOON - timedelta(hours=2) + timedelta(minutes=minutes)
            store_event(self.site, "other", transaction_id="T", occurred_at=at, msclkid=click_id)
        event = store_event(self.site, msclkid="", transaction_id="T")
        self.assertEqual(self.found(event), (CLICK_ID, ClickSource.TRANSACTION))

    def test_a_person_seen_later_lends_no_click(self) -> None:
        store_event(self.site, "lead", occurred_at=NOON - timedelta(hours=1), email_sha256="a" * 64)
        event = store_event(self.site, msclkid="", email_sha256="a" * 64)
        self.assertEqual(self.found(event), ("", ""))

    def test_another_sites_click_is_never_found(self) -> None:
        other = make_site("Other", self.charlie)
        Click.objects.create(site=other, msclkid=CLICK_ID, captured_at=NOON - timedelta(hours=3), visitor_id="v1")
        self.assertEqual(self.found(store_event(self.site, msclkid="", visitor_id="v1")), ("", ""))


class TestCounts(CastTestCase):
    def test_what_is_planned_is_counted_by_day_goal_and_status(self) -> None:
        for order in ("A", "B"):
            store_event(self.site, transaction_id=order)
        store_event(self.site, "add_to_cart")
        plan_all(NOON)
        rows = DailyCount.objects.order_by("status").values_list("status", "goal_name", "count", "value")
        self.assertEqual(
            list(rows),
            [("pending", "Purchase", 2, Decimal("99.8")), ("skipped", Skip.NOT_MAPPED, 1, Decimal("49.9"))],
        )
