"""Every gap's number is that of the rows behind its links, whatever a site sends: made-up mixtures of conversions."""

import random
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from django.http import HttpResponse, QueryDict
from django.urls import reverse
from django.utils import timezone

from dashboard.logs.export import HEADER
from dashboard.reconciliation.views import Line
from forwarding.filters import FilterForm
from forwarding.models import BulkJob, Delivery, EventName, Kind, Skip, Status
from forwarding.rows.counts import rebuild
from forwarding.rows.own_names import ALWAYS
from forwarding.stretches import stretch
from forwarding.times import zone_named
from integrations.account_settings import pause
from integrations.models import AdAccount
from tests.cast import CLICK_ID, make_account, make_goal, store_event
from tests.dashboard.accounts import AccountTestCase, deliver, parked_refund

DAY = timedelta(days=1)
EVENTS, CURRENCIES = ("purchase", "purchase", "lead"), ("USD", "USD", "EUR", "")
ENDS: Sequence[dict[str, Any]] = (
    {"status": Status.DELIVERED},
    {"status": Status.DELIVERED, "restated_value": Decimal(7)},
    {"status": Status.DELIVERED, "is_test": True},
    {"status": Status.PENDING},
    {"status": Status.RETRYING, "error_symbol": "Throttled"},
    {"status": Status.FAILED, "error_code": 5606, "error_symbol": "GoalNotFound"},
    {"status": Status.FAILED, "error_code": 5605},
    {"status": Status.FAILED, "error_code": 5604},
    {"status": Status.FAILED, "error_symbol": "Expired"},
    {"status": Status.FAILED, "error_code": 5606, "is_test": True},
    {"status": Status.SKIPPED, "skip_reason": Skip.NO_CONSENT},
    {"status": Status.SKIPPED, "skip_reason": Skip.NO_IDENTIFIER, "msclkid": ""},
    {"status": Status.SKIPPED, "skip_reason": Skip.TOO_OLD},
)


class GapTestCase(AccountTestCase):
    def setUp(self) -> None:
        self.now = timezone.now()
        AdAccount.objects.update(created_at=self.now - 100 * DAY)
        # A day there begins in the middle of one of the report's.
        self.site.time_zone = "Asia/Tokyo"
        self.site.save(update_fields=["time_zone"])
        self.other = make_goal(make_account(self.site, "77", name="Another"), "Purchase")
        self.client.force_login(self.alice)

    def mix(self, seed: int, rows: int) -> None:
        """Write down conversions of all kinds, most of them near the edges of the report's days."""
        dice = random.Random(seed)
        today = datetime.combine(self.now.date(), time(), UTC)
        for _ in range(rows):
            ends = dice.choice(ENDS)
            moment = today - dice.choice((0, 1, 5, 6, 7, 28, 29, 30)) * DAY
            moment += dice.choice((timedelta(), timedelta(hours=1), timedelta(hours=23, minutes=59)))
            moment = min(moment, self.now)
            currency = dice.choice(CURRENCIES)
            value = Decimal(dice.randint(1, 900)) / 10 if currency else None
            event = store_event(
                self.site, dice.choice(EVENTS), occurred_at=moment, received_at=moment, value=value, currency=currency
            )
            click: dict[str, Any] = {"msclkid": dice.choice((CLICK_ID, CLICK_ID, ""))}
            deliver(dice.choice((self.goal, self.goal, self.other)), at=moment, event=event, **(click | ends))
        Delivery.objects.filter(status=Status.SKIPPED).update(goal=None, goal_name="")
        EventName.objects.bulk_create(EventName(site=self.site, name=name, since=ALWAYS) for name in set(EVENTS))
        deliver(self.goal, Status.FAILED, self.now, kind=Kind.RETRACT, error_code=5606)
        parked_refund(self.account)
        rebuild(self.now)

    def page(self, **query: str) -> HttpResponse:
        asked = {"account": self.account.account_id, **query}
        return self.client.get(reverse("dashboard:reconciliation", args=[self.site.public_id]), asked)  # type: ignore[return-value]

    def lines(self, page: HttpResponse, *, at_microsoft: bool = False) -> list[Line]:
        """Return the lines of the gaps; those of the last step, whose rows nobody can tell apart, by themselves."""
        groups = page.context["groups"]  # type: ignore[attr-defined]
        last = page.context["funnel"].groups[3]  # type: ignore[attr-defined]
        return [line for one in groups if (one["group"] is last) is at_microsoft for line in one["lines"]]

    def rows(self, href: str) -> list[int]:
        form = FilterForm(QueryDict(urlsplit(href).query))
        wanted = form.wanted(timezone.now(), zone_named(self.site.time_zone))
        return stretch(self.account, wanted, 500).pks


class TestRowsBehindGaps(GapTestCase):
    def check(self, **asked: str) -> None:
        page = self.page(**asked)
        for line in self.lines(page):
            with self.subTest(asked=asked, gap=line.loss.title, rows=line.rows):
                listed = self.client.get(line.rows)
                self.assertEqual(len(self.rows(line.rows)), line.loss.orders)
                self.assertEqual(listed.context["total"], f"{line.loss.orders:,}")
                if line.label == "Send now":
                    question = self.client.get(line.href).context["question"]
                    self.assertIn(f"Retry {line.loss.orders:,} failed conversion", question.title)
        for line in self.lines(page, at_microsoft=True):
            with self.subTest(asked=asked, gap=line.loss.title):
                self.assertEqual(len(self.rows(line.rows)), page.context["accepted"])  # type: ignore[attr-defined]

    def test_every_gap_counts_the_rows_that_its_links_lead_to(self) -> None:
        self.mix(seed=1, rows=120)
        for asked in (
            {"event": "purchase", "days": "30"},
            {"event": "purchase", "days": "7", "currency": "USD"},
            {"event": "lead", "days": "7"},
            {"event": "lead", "days": "30", "currency": "EUR"},
        ):
            self.check(**asked)

    def test_a_paused_account_has_what_waits_in_one_gap(self) -> None:
        self.mix(seed=2, rows=80)
        for status in (Status.PENDING, Status.RETRYING):
            deliver(self.goal, status)
        pause(self.account, self.alice, self.now)
        self.check(event="purchase", days="30")
        waiting = [line for line in self.lines(self.page(event="purchase", days="30")) if not line.loss.status]
        self.assertTrue(waiting)

    def test_no_row_is_behind_two_gaps(self) -> None:
        self.mix(seed=3, rows=120)
        page = self.page(event="purchase", days="30")
        behind = Counter(row for line in self.lines(page) for row in self.rows(line.rows))
        self.assertEqual(set(behind.values()), {1})
        self.assertEqual(behind.total() + page.context["accepted"], page.context["funnel"].steps[0].orders)  # type: ignore[attr-defined]

    def test_send_now_sends_what_its_line_counts_and_nothing_else(self) -> None:
        lead = store_event(self.site, "lead", received_at=self.now)
        purchase = deliver(self.goal, Status.FAILED, error_code=5606)
        leads = [deliver(self.goal, Status.FAILED, error_code=5606, event=lead) for _ in range(2)]
        [line] = self.lines(self.page(event="purchase"))
        self.client.post(line.href, {"name": self.account.name})
        job = BulkJob.objects.get()
        self.assertEqual(job.total or 1, 1)
        self.assertIn("event=purchase", job.filters)
        self.assertEqual(self.rows(line.href), [purchase.pk])
        self.assertNotIn(leads[0].pk, self.rows(line.href))

    def test_the_file_has_the_rows_too(self) -> None:
        self.mix(seed=4, rows=60)
        for line in self.lines(self.page(event="purchase", days="30")):
            listed = self.client.get(line.rows)
            file = self.client.get(listed.context["export_href"])
            lines = b"".join(file.streaming_content).decode().strip().split("\r\n")  # type: ignore[attr-defined]
            self.assertEqual(len(lines) - 1, line.loss.orders)
            self.assertIn(HEADER[0], lines[0])


class TestItsFilters(GapTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.mix(seed=5, rows=60)
        self.line = max(self.lines(self.page(event="purchase", currency="USD")), key=lambda line: line.loss.orders)

    def test_each_is_a_chip_that_can_be_removed(self) -> None:
        listed = self.client.get(self.line.rows)
        labels = dict(listed.context["chips"])
        first, last = self.now.date() - 29 * DAY, self.now.date()
        for label in ("Event: purchase", "Currency: USD", f"From: {first} (UTC)", f"To: {last} (UTC)"):
            with self.subTest(label=label):
                self.assertContains(listed, f"Remove filter {label}")
                without = dict(self.client.get(f"{self.url('account-logs')}{labels[label]}").context["chips"])
                self.assertEqual(without.keys(), labels.keys() - {label})

    def test_all_are_kept_by_other_filters_live_updates_and_actions(self) -> None:
        listed = self.client.get(self.line.rows)
        self.assertContains(listed, '<input type="hidden" name="event" value="purchase">', 2)
        query = urlsplit(self.line.rows).query
        for name in ("here", "all_here", "export_href"):
            self.assertEqual(QueryDict(urlsplit(listed.context[name]).query).dict(), QueryDict(query).dict(), msg=name)
        self.assertEqual(self.client.get(f"{self.url('account-logs-news')}?{query}").status_code, 200)

    def test_clear_filters_clears_them(self) -> None:
        listed = self.client.get(self.line.rows)
        self.assertEqual(
            dict(self.client.get(f"{self.url('account-logs')}{listed.context['clear_href']}").context["chips"]), {}
        )
