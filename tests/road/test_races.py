"""Planners, senders and refunds at the same moment, in threads on a real database: sums are right whoever wins."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from django.db import OperationalError, connections
from django.test import TransactionTestCase
from django.utils import timezone

from forwarding.models import DailyCount, Delivery, Kind, Status
from forwarding.planning.planner import plan_all
from forwarding.rows.counts import rebuild
from forwarding.sweeping import sweep
from forwarding.tasks import deliver, read_goals
from ingest.models import Site, Source
from integrations.connecting import add_accounts
from integrations.mapping import Rule, set_mapping
from integrations.microsoft_ads.emulator.world import SEARCH_US
from integrations.models import AdAccount
from tests.cast import make_site, make_user, store_event
from tests.support.microsoft import EmulatedMicrosoft

ORDERS = 40
ROUNDS = 5
SHIFT = random.Random(7)


class RaceTestCase(TransactionTestCase):
    site: Site
    account: AdAccount

    def setUp(self) -> None:
        self.microsoft = self.enterContext(EmulatedMicrosoft())
        self.microsoft.books.settings.adjustment_settle = timedelta(0)
        waits = ("UPLOAD_LINGER", "CLICK_SETTLE", "GOAL_SETTLE", "ADJUSTMENT_SETTLE")
        self.enterContext(self.settings(**{f"{name}_SECONDS": 0 for name in waits}))
        alice = make_user("alice")
        self.site = make_site("Harbor & Pine", alice)
        [self.account] = add_accounts(self.microsoft.connect(self.site, alice), [SEARCH_US], alice, timezone.now())
        goal = self.account.goals.get(name="Purchase")
        for name in ("purchase", "refund"):
            set_mapping(self.account, name, Rule(goal.goal_id), alice, timezone.now())

    def report(self, name: str, order: int, value: Decimal | None, source: Source = Source.SERVER) -> None:
        at = datetime.now(UTC) - timedelta(hours=2) + timedelta(seconds=order)
        click = {"msclkid": f"{order:032x}"} if name == "purchase" else {"msclkid": ""}
        if name == "refund":
            at += timedelta(minutes=30)
        store_event(self.site, name, transaction_id=f"HP-{order}", value=value, source=source, occurred_at=at, **click)

    def at_once(self, *works: Callable[[], object]) -> None:
        """Do all of it in threads of their own, each with its own connection to the database."""

        def run(work: Callable[[], object]) -> None:
            try:
                work()
            except OperationalError as error:
                if "locked" not in str(error):  # SQLite has one writer; who loses its turn comes again
                    raise
            finally:
                connections.close_all()

        with ThreadPoolExecutor(len(works)) as pool:
            list(pool.map(run, works))

    def settle(self) -> None:
        """Let everything come to rest."""
        for _ in range(4):
            sweep(timezone.now(), deliver, read_goals)

    def assert_counted(self, values: dict[int, Decimal]) -> None:
        """Assert that Microsoft counts exactly these orders with these values, and that our figures agree."""
        counted = {
            int(row.click_id or "", 16): row.effective_value()
            for row in self.microsoft.bookings
            if row.effective_count()
        }
        self.assertEqual(counted, values)
        figures = DailyCount.objects.filter(status=Status.DELIVERED).values_list("count", "value")
        before = sorted(figures)
        rebuild(timezone.now())
        self.assertEqual(sorted(figures.all()), before)


class TestRefundAgainstClaim(RaceTestCase):
    def test_the_sum_is_right_in_all(self) -> None:
        wanted: dict[int, Decimal] = {}
        for round_ in range(ROUNDS):
            orders = range(round_ * ORDERS + 1, (round_ + 1) * ORDERS + 1)
            for order in orders:
                self.report("purchase", order, Decimal(100))
            plan_all(timezone.now())
            for order in orders:
                back = Decimal(SHIFT.choice([0, 30, 100]))
                if back:
                    self.report("refund", order, back)
                if back < 100:
                    wanted[order] = Decimal(100) - back
            self.at_once(lambda: plan_all(timezone.now()), lambda: deliver(self.account.pk))
        self.settle()
        self.assert_counted(wanted)


class TestTwoPlanners(RaceTestCase):
    def test_events_of_one_order_meet_whoever_plans_them(self) -> None:
        for order in range(1, ORDERS + 1):
            self.report("purchase", order, Decimal(90), Source.BROWSER)
        for order in range(1, ORDERS + 1):
            self.report("purchase", order, Decimal(100))
        self.at_once(*[lambda: plan_all(timezone.now())] * 3, lambda: deliver(self.account.pk))
        self.settle()
        self.assert_counted(dict.fromkeys(range(1, ORDERS + 1), Decimal(100)))
        standing = Delivery.objects.filter(kind=Kind.CONVERSION, status=Status.DELIVERED).count()
        self.assertEqual(standing, ORDERS)
