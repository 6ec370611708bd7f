"""Forward Logs: what is listed, found, counted and paged, and what an open list learns."""

import json
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from unittest import mock
from zoneinfo import ZoneInfo

from django.db import connection
from django.test import SimpleTestCase
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from dashboard import wording
from dashboard.logs import listing as forward_logs
from dashboard.logs.listing import LogFilterForm
from forwarding import stretches
from forwarding.models import Attempt, Correction, Delivery, Kind, Skip, Status, Upload
from forwarding.stretches import Cursor
from integrations.connecting import remove_account
from integrations.models import Connection
from tests.cast import make_account, store_event
from tests.dashboard.accounts import AccountTestCase

UTC_ZONE = ZoneInfo("UTC")
NONSENSE = [
    "before=\0", "before=9", "before=99999999999999999-999999999999999999", "after=" + "9" * 500, "after=-1--1",
    "before=1-1&after=1-1", "q=%00", "q=" + "x" * 5000, "q=%F0%9F%92%A5", "status=gone", "period=-3", "period=1e9",
    "error=%27%3B--", "error=999999999999999999999", "kind=bogus", "goal=" + "g" * 500, "goal=%00", "row=a&row=b.c",
    "since=0001-01-01", "until=9999-12-31", "since=%00", "since=2026-13-99&until=x",
    "since=2026-11-22&until=2026-11-01",
]  # fmt: skip


class LogsTestCase(AccountTestCase):
    def setUp(self) -> None:
        self.client.force_login(self.alice)

    def listed(self, query: str = "") -> list[Delivery]:
        """Return the deliveries that the page lists, in its order."""
        response = self.client.get(f"{self.url('account-logs')}{query}")
        self.assertEqual(response.status_code, 200)
        return [row.delivery for row in response.context["listing"].rows]


class TestList(LogsTestCase):
    def test_the_newest_comes_first(self) -> None:
        old = self.deliver(at=timezone.now() - timedelta(hours=2))
        new = self.deliver()
        self.assertEqual(self.listed(), [new, old])

    def test_the_first_column_and_the_order_are_of_the_same_moment(self) -> None:
        at = timezone.now() - timedelta(hours=2)
        sent_last = self.deliver(at=at, delivered_at=at + timedelta(minutes=62))
        received_last = self.deliver(at=at + timedelta(minutes=1))
        self.assertEqual(self.listed(), [received_last, sent_last])
        page = self.client.get(self.url("account-logs"))
        self.assertContains(page, "Received <span")
        self.assertContains(page, f">{at:%H:%M:%S}</time>")
        self.assertNotContains(page, f">{sent_last.delivered_at:%H:%M:%S}</time>")

    def test_a_row_of_an_event_that_came_long_before_says_so(self) -> None:
        at = timezone.now() - timedelta(days=3)
        self.deliver(event=store_event(self.site, occurred_at=at, received_at=at))
        self.assertContains(self.client.get(self.url("account-logs")), '<small class="d-block t3">event of', count=1)

    def test_a_test_is_listed_where_tests_are_asked_for_and_where_it_is_searched_for(self) -> None:
        order, test = self.deliver(), self.deliver(is_test=True)
        self.assertEqual(self.listed(), [order])
        self.assertEqual(self.listed("?status=delivered"), [order])
        self.assertEqual(self.listed("?kind=test"), [test])
        self.assertEqual(self.listed(f"?q={test.transaction_id}"), [test])

    def test_what_was_not_forwarded_has_a_tab_of_its_own(self) -> None:
        sent = self.deliver()
        skipped = self.deliver(Status.SKIPPED, skip_reason=Skip.NO_CONSENT)
        self.assertEqual(self.listed(), [sent])
        self.assertEqual(self.listed("?status=skipped"), [skipped])
        self.assertContains(self.client.get(self.url("account-logs") + "?status=skipped"), "Ad consent refused")

    def test_a_row_says_what_how_much_by_which_click_and_why_it_failed(self) -> None:
        self.deliver(Status.FAILED, error_code=5604, click_source="visitor", transaction_id="HP-48211")
        page = self.client.get(self.url("account-logs"))
        for words in (
            "Purchase",
            "HP-48211",
            "$49.90",
            "f894f6…8f8e3",
            "Same visitor",
            "Click ID is not valid",
            "5604",
        ):
            self.assertContains(page, words)

    def test_a_row_leads_to_its_conversion(self) -> None:
        one = self.deliver()
        page = self.client.get(self.url("account-logs"))
        self.assertContains(page, f'href="{self.url("account-delivery", one.public_id)}"', count=2)
        self.assertContains(page, f'hx-get="{self.url("account-delivery-detail", one.public_id)}"', count=1)

    def test_a_waiting_row_says_what_it_waits_for_and_until_when(self) -> None:
        ready = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=30)
        self.deliver(Status.PENDING, hold_reason="click_settling", next_attempt_at=ready)
        page = self.client.get(self.url("account-logs"))
        self.assertContains(page, "Waits an hour after the click")
        self.assertContains(page, f"{ready:%H:%M:%S}")

    def test_a_stopped_account_is_the_reason_of_its_waiting_rows(self) -> None:
        Connection.objects.update(status=Connection.Status.NEEDS_RECONNECT)
        self.deliver(Status.PENDING)
        self.assertContains(self.client.get(self.url("account-logs")), "Safe until")

    def test_times_are_in_the_sites_zone(self) -> None:
        self.site.time_zone = "Asia/Tokyo"
        self.site.save(update_fields=["time_zone"])
        at = timezone.now() - timedelta(minutes=1)
        self.deliver(at=at)
        self.assertContains(self.client.get(self.url("account-logs")), f"{at + timedelta(hours=9):%H:%M:%S}")

    def test_markup_in_an_order_number_stays_text(self) -> None:
        self.deliver(transaction_id="<script>alert(1)</script>")
        page = self.client.get(self.url("account-logs"))
        self.assertNotContains(page, "<script>alert")
        self.assertContains(page, "&lt;script&gt;alert")

    def test_the_list_of_a_removed_account_stays_readable(self) -> None:
        delivery = self.deliver()
        remove_account(self.account, self.alice, timezone.now())
        self.assertEqual(self.listed(), [delivery])

    def test_another_accounts_rows_are_not_listed(self) -> None:
        other = make_account(self.site, "138204422")
        Delivery.objects.filter(pk=self.deliver().pk).update(account=other)
        self.assertEqual(self.listed(), [])

    def test_nonsense_in_the_address_is_never_an_error(self) -> None:
        self.deliver()
        for query in NONSENSE:
            for name in ("account-logs", "account-logs-news"):
                with self.subTest(query=query[:40], name=name):
                    self.assertIn(self.client.get(f"{self.url(name)}?{query}").status_code, (200, 204))

    def test_a_filter_that_makes_no_sense_is_named(self) -> None:
        delivery = self.deliver()
        self.assertEqual(self.listed("?status=gone"), [delivery])
        self.assertContains(self.client.get(self.url("account-logs") + "?status=gone"), "Not understood: status")

    def test_htmx_gets_the_list_alone_and_its_clean_address(self) -> None:
        self.deliver()
        response = self.client.get(
            self.url("account-logs") + "?q=&goal=&status=delivered", headers={"HX-Request": "true"}
        )
        self.assertNotContains(response, "<html")
        self.assertEqual(response.headers["HX-Push-Url"], self.url("account-logs") + "?status=delivered")
        self.assertIn("HX-Request", response.headers["Vary"])


class TestFailed(LogsTestCase):
    def test_it_says_until_when_each_can_be_sent(self) -> None:
        ends = timezone.now() + timedelta(days=40)
        self.deliver(Status.FAILED, error_code=5606, expires_at=ends)
        page = self.client.get(self.url("account-logs"), {"status": "failed"})
        self.assertContains(page, 'class=" of-failed"')
        self.assertContains(page, '<th scope="col" class="until hide-m">Send until</th>')
        day = wording.day(ends, ZoneInfo(self.site.time_zone), timezone.now())
        self.assertContains(page, f'<td class="until hide-m nowrap">{day}</td>')


class TestFilters(LogsTestCase):
    def test_by_status(self) -> None:
        failed = self.deliver(Status.FAILED, error_code=5604)
        self.deliver()
        self.assertEqual(self.listed("?status=failed"), [failed])

    def test_by_goal(self) -> None:
        lead = self.deliver(goal_name="Trade Lead")
        self.deliver()
        self.assertEqual(self.listed("?goal=Trade+Lead"), [lead])

    def test_by_error_code_and_by_symbol(self) -> None:
        renamed = self.deliver(Status.FAILED, error_code=5606)
        expired = self.deliver(Status.FAILED, error_symbol="Expired")
        self.assertEqual(self.listed("?error=5606"), [renamed])
        self.assertEqual(self.listed("?error=Expired"), [expired])

    def test_errors_that_are_told_in_the_same_words_are_one_choice(self) -> None:
        renamed, nameless = (self.deliver(Status.FAILED, error_code=code) for code in (5606, 5605))
        expired = self.deliver(Status.FAILED, error_symbol="Expired")
        page = self.client.get(self.url("account-logs"))
        self.assertContains(page, '<option value="5605-5606">Goal not found</option>', html=True)
        titles = [title for _, title in page.context["form"].error_options]
        self.assertEqual(len(titles), len(set(titles)))
        self.assertEqual(self.listed("?error=5605-5606"), [nameless, renamed])
        self.assertEqual(self.listed("?error=5606-Expired"), [expired, renamed])

    def test_one_code_of_several_is_shown_with_its_number(self) -> None:
        page = self.client.get(self.url("account-logs") + "?error=5606")
        self.assertContains(page, '<option value="5606" selected>Goal not found (5606)</option>', html=True)
        self.assertContains(page, "Remove filter Error: Goal not found (5606)")

    def test_by_what_was_corrected(self) -> None:
        restated, retracted, _ = (self.deliver() for _ in range(3))
        self.deliver(kind=Kind.RESTATE, original=restated, event=restated.event)
        self.deliver(kind=Kind.RETRACT, original=retracted, event=retracted.event)
        self.deliver(Status.SKIPPED, kind=Kind.RESTATE, original=retracted, event=retracted.event)
        self.assertEqual(self.listed("?kind=restate"), [restated])
        self.assertEqual(self.listed("?kind=retract"), [retracted])
        self.assertEqual(self.listed("?kind=adjusted"), [retracted, restated])

    def test_what_was_adjusted_has_a_tab(self) -> None:
        restated, _ = self.deliver(), self.deliver()
        self.deliver(kind=Kind.RESTATE, original=restated, event=restated.event)
        page = self.client.get(self.url("account-logs") + "?kind=adjusted&goal=Purchase")
        tabs = {tab["label"]: tab for tab in page.context["status_tabs"]}
        self.assertTrue(tabs["Adjusted"]["is_current"])
        self.assertEqual(tabs["Adjusted"]["count_words"], "1")
        self.assertFalse(tabs["All"]["is_current"])
        self.assertEqual(tabs["All"]["href"], "?goal=Purchase")
        self.assertEqual(tabs["Failed"]["href"], "?status=failed&goal=Purchase")
        self.assertEqual(tabs["All"]["count_words"], "2")

    def test_refunds_without_their_order_have_a_list(self) -> None:
        self.deliver()
        loose = self.deliver(Status.PENDING, kind=Kind.RESTATE, hold_reason="original_pending")
        unmapped = self.deliver(Status.SKIPPED, kind=Kind.RETRACT, skip_reason=Skip.NOT_MAPPED)
        self.assertEqual(self.listed("?kind=loose"), [unmapped, loose])

    def test_by_period(self) -> None:
        old = self.deliver(at=timezone.now() - timedelta(days=20))
        self.assertEqual(self.listed(), [])
        self.assertEqual(self.listed("?period=30"), [old])
        self.assertEqual(self.listed("?period=all"), [old])

    def test_filters_in_force_can_be_taken_away_one_by_one(self) -> None:
        page = self.client.get(self.url("account-logs") + "?goal=Purchase&error=5606")
        self.assertContains(page, "Remove filter Goal: Purchase")
        self.assertContains(page, 'href="?error=5606"')


class TestCorrections(LogsTestCase):
    """A correction is no row of its own: it is shown on its conversion."""

    def row(
        self, status: str = "", kind: Kind = Kind.RESTATE, correction: dict[str, Any] | None = None, **fields: Any
    ) -> Any:
        """Return the list's one row: a conversion, with a correction in a status."""
        original = self.deliver(**fields)
        if status:
            self.deliver(status, kind=kind, original=original, event=original.event, **(correction or {}))
        [row] = self.client.get(self.url("account-logs")).context["listing"].rows
        return row

    def words(self, row: Any) -> str:
        return row.second.word if row.second else ""

    def test_one_that_waits_says_what_is_under_way(self) -> None:
        self.assertEqual(self.words(self.row("pending")), "Restating…")
        Delivery.objects.all().delete()
        self.assertEqual(self.words(self.row("retrying", Kind.RETRACT)), "Retracting…")

    def test_one_that_microsoft_took_shows_what_counts_and_what_was(self) -> None:
        row = self.row("delivered", restated_value=Decimal("19.90"))
        self.assertEqual((self.words(row), row.value, row.note), ("Restated", Decimal("19.90"), "was $49.90"))
        page = self.client.get(self.url("account-logs"))
        for words in ("st-delivered", "st-restated", "$19.90", "was $49.90"):
            self.assertContains(page, words)

    def test_a_retracted_one_says_so(self) -> None:
        row = self.row("delivered", Kind.RETRACT, restated_value=Decimal(5), retracted_at=timezone.now())
        self.assertEqual((self.words(row), row.note), ("Retracted", ""))

    def test_one_that_microsoft_refused_says_why(self) -> None:
        row = self.row("failed", correction={"error_code": 5627, "error_symbol": ""})
        self.assertEqual((self.words(row), row.note), ("Restate failed", "Adjustment refused"))
        self.assertEqual(row.delivery.status, Status.DELIVERED)

    def test_one_that_changed_nothing_leaves_no_badge(self) -> None:
        row = self.row("skipped", correction={"skip_reason": Skip.NO_CHANGE})
        self.assertIsNone(row.second)

    def test_the_newest_counts(self) -> None:
        original = self.deliver(restated_value=Decimal(30))
        for status in (Status.FAILED, Status.DELIVERED):
            self.deliver(status, kind=Kind.RESTATE, original=original, event=original.event)
        [row] = self.client.get(self.url("account-logs")).context["listing"].rows
        self.assertEqual(self.words(row), "Restated")

    def test_every_id_of_a_correction_leads_to_its_conversion(self) -> None:
        original = self.deliver(transaction_id="HP-1")
        refund = store_event(self.site, "refund", transaction_id="HP-1")
        at = timezone.now()
        upload = Upload.objects.create(
            account=self.account, operation="adjustments", delivery_ids=[], started_at=at, leased_until=at,
            finished_at=at, tracking_id=str(uuid.uuid4()),
        )  # fmt: skip
        correction = self.deliver(
            Status.DELIVERED,
            kind=Kind.RESTATE,
            original=original,
            event=refund,
            transaction_id="HP-1",
            last_upload=upload,
        )
        for text in ("HP-1", refund.event_id, str(correction.public_id), upload.tracking_id):
            with self.subTest(text=text):
                self.assertEqual(self.listed(f"?q={text}"), [original])

    def test_one_without_its_order_is_found_itself(self) -> None:
        loose = self.deliver(Status.PENDING, kind=Kind.RETRACT, transaction_id="HP-1", hold_reason="original_pending")
        self.assertEqual(self.listed("?q=HP-1"), [loose])

    def test_its_own_address_leads_to_its_conversion(self) -> None:
        original = self.deliver()
        at = timezone.now()
        correction = self.deliver(Status.PENDING, kind=Kind.RETRACT, original=original, event=original.event)
        Correction.objects.create(delivery=correction, said="retract", occurred_at=at, created_at=at)
        response = self.client.get(self.url("account-delivery", correction.public_id))
        self.assertRedirects(response, self.url("account-delivery", original.public_id))

    def test_one_perhaps_sent_twice_is_marked(self) -> None:
        row = self.row(possibly_twice=True, msclkid="")
        self.assertEqual(row.note, "Possibly sent twice")
        page = self.client.get(self.url("account-delivery", row.delivery.public_id))
        self.assertContains(page, "It has no click ID, and Microsoft does not say")


class TestSearch(LogsTestCase):
    def test_every_id_leads_to_its_delivery(self) -> None:
        upload = self.upload_of(delivery := self.deliver(transaction_id="HP-48211"))
        self.deliver(msclkid="0" * 32)
        ids = ["HP-48211", delivery.msclkid, delivery.msclkid.upper(), delivery.event.event_id, upload.tracking_id]
        for text in [*ids, str(delivery.public_id), f" {ids[0]} "]:
            with self.subTest(text=text):
                self.assertEqual(self.listed(f"?q={text}"), [delivery])

    def test_a_tracking_id_finds_rows_that_this_call_refused_before_another_took_them(self) -> None:
        delivery = self.deliver()
        first = self.upload_of(None)
        Attempt.objects.create(delivery=delivery, upload=first, outcome="retry", created_at=timezone.now())
        self.assertEqual(self.listed(f"?q={first.tracking_id}"), [delivery])

    def test_it_finds_what_is_old_or_was_not_forwarded(self) -> None:
        old = self.deliver(at=timezone.now() - timedelta(days=80), transaction_id="OLD")
        skipped = self.deliver(Status.SKIPPED, skip_reason=Skip.NO_CONSENT, transaction_id="NO")
        self.assertEqual(self.listed("?q=OLD"), [old])
        self.assertEqual(self.listed("?q=NO"), [skipped])

    def test_it_never_finds_another_accounts_rows(self) -> None:
        theirs = make_account(self.site, "138204422")
        Delivery.objects.filter(pk=self.deliver(transaction_id="THEIRS").pk).update(account=theirs)
        self.assertEqual(self.listed("?q=THEIRS"), [])

    def test_half_an_id_finds_nothing_and_says_so(self) -> None:
        self.deliver(transaction_id="HP-48211")
        self.assertContains(self.client.get(self.url("account-logs") + "?q=HP-482"), "IDs are compared whole")

    def upload_of(self, delivery: Delivery | None) -> Upload:
        at = timezone.now()
        upload = Upload.objects.create(
            account=self.account,
            operation="conversions",
            delivery_ids=[delivery.pk] if delivery else [],
            started_at=at,
            leased_until=at,
            finished_at=at,
            tracking_id=str(uuid.uuid4()),
        )
        if delivery is not None:
            Delivery.objects.filter(pk=delivery.pk).update(last_upload=upload)
        return upload


class TestCounts(LogsTestCase):
    def counts(self, query: str = "") -> dict[str, str]:
        tabs = self.client.get(f"{self.url('account-logs')}{query}").context["status_tabs"]
        return {tab["label"]: tab["count_words"] for tab in tabs}

    def test_they_come_from_the_roll_up_and_match_the_rows(self) -> None:
        for status in (Status.DELIVERED, Status.DELIVERED, Status.FAILED, Status.PENDING, Status.SKIPPED):
            self.deliver(status, skip_reason=Skip.NO_CONSENT if status == Status.SKIPPED else "")
        counts = self.counts()
        self.assertEqual(counts["All"], "4")
        self.assertEqual((counts["Delivered"], counts["Failed"], counts["Not forwarded"]), ("2", "1", "1"))

    def test_they_follow_period_and_goal(self) -> None:
        self.deliver(at=timezone.now() - timedelta(days=20))
        self.deliver(goal_name="Trade Lead")
        self.assertEqual((self.counts()["All"], self.counts("?period=30")["All"]), ("1", "2"))
        self.assertEqual(self.counts("?period=30&goal=Trade+Lead")["All"], "1")

    def test_what_was_adjusted_is_counted_on_every_tab_where_that_is_quickly_done(self) -> None:
        restated, _ = self.deliver(), self.deliver()
        self.deliver(kind=Kind.RESTATE, original=restated, event=restated.event)
        for query in ("", "?status=failed", "?kind=adjusted"):
            with self.subTest(query):
                self.assertEqual(self.counts(query)["Adjusted"], "1")
        with mock.patch("dashboard.logs.views.MOST_LOOKED_THROUGH", 1):
            self.assertEqual(self.counts()["Adjusted"], "")

    def test_a_search_has_none(self) -> None:
        self.deliver()
        self.assertEqual(set(self.counts("?q=HP").values()), {""})

    def test_no_row_is_counted(self) -> None:
        self.deliver()
        with mock.patch("django.db.models.QuerySet.count", side_effect=AssertionError):
            self.assertEqual(self.counts()["All"], "1")


class TestPaging(LogsTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.enterContext(mock.patch.object(forward_logs, "PAGE_ROWS", 3))
        at = timezone.now() - timedelta(minutes=5)
        # Rows of one moment, as one batch of planning makes them, fall on both sides of the page's edge.
        self.rows = [self.deliver(at=at) for _ in range(4)] + [
            self.deliver(at=at + timedelta(seconds=1)) for _ in range(4)
        ]
        self.rows.reverse()

    def walk(self, href: str, query: str) -> tuple[list[Delivery], str]:
        context = self.client.get(f"{self.url('account-logs')}{query}").context
        return [row.delivery for row in context["listing"].rows], context[href]

    def test_older_pages_show_every_row_once(self) -> None:
        first, older = self.walk("older_href", "")
        second, older = self.walk("older_href", older)
        third, older = self.walk("older_href", older)
        self.assertEqual([*first, *second, *third], self.rows)
        self.assertEqual(older, "")

    def test_newer_leads_back(self) -> None:
        _, older = self.walk("older_href", "")
        _, older = self.walk("older_href", older)
        third, newer = self.walk("newer_href", older)
        second, newer = self.walk("newer_href", newer)
        first, newer = self.walk("newer_href", newer)
        self.assertEqual([*first, *second, *third], self.rows)
        self.assertEqual(newer, "")

    def test_filters_stay_on_the_way(self) -> None:
        _, older = self.walk("older_href", "?status=delivered&goal=Purchase")
        self.assertIn("status=delivered", older)
        self.assertIn("goal=Purchase", older)

    def test_a_cursor_before_everything_shows_the_first_page(self) -> None:
        self.assertEqual(self.listed("?before=0-1"), self.rows[:3])


class TestCursor(SimpleTestCase):
    def test_it_comes_back_as_it_was_to_the_microsecond(self) -> None:
        cursor = Cursor(datetime(2026, 11, 21, 12, 0, 0, 123457, tzinfo=UTC), 7)
        self.assertEqual(Cursor.parse(str(cursor)), cursor)

    def test_what_is_none_is_none(self) -> None:
        for text in ("", "7", "a-b", "1-", "1-" + "9" * 19, "9" * 18 + "-1", "١-٢", "1-1\n"):
            with self.subTest(text=text):
                self.assertIsNone(Cursor.parse(text))


class TestEmptyLists(LogsTestCase):
    def test_nothing_yet(self) -> None:
        self.assertContains(self.client.get(self.url("account-logs")), "Nothing forwarded in the last 7 days")

    def test_nothing_but_unforwarded_events_says_how_many(self) -> None:
        self.deliver(Status.SKIPPED, skip_reason=Skip.NOT_MAPPED)
        self.assertContains(self.client.get(self.url("account-logs")), "1 event came and was not forwarded")

    def test_no_failures(self) -> None:
        self.deliver()
        page = self.client.get(self.url("account-logs") + "?status=failed")
        self.assertContains(page, "No failures in the last 7 days")
        self.assertContains(page, "1 of 1 conversions are accepted")

    def test_no_match_repeats_what_was_asked(self) -> None:
        page = self.client.get(self.url("account-logs") + "?q=HP-99999&status=failed")
        self.assertContains(page, "No failed conversion matches “HP-99999”")
        self.assertContains(page, "Clear filters")


class TestNews(LogsTestCase):
    def news(self, *rows: Delivery, query: str = "") -> tuple[int, str]:
        asked = "&".join(f"row={self.version(row)}" for row in rows)
        response = self.client.get(f"{self.url('account-logs-news')}?{asked}{query}", headers={"HX-Request": "true"})
        return response.status_code, response.content.decode()

    def version(self, row: Delivery) -> str:
        page = self.client.get(self.url("account-logs") + "?period=all").context["listing"].rows
        return str(next(drawn.version for drawn in page if drawn.delivery == row))

    def test_nothing_new_is_no_content(self) -> None:
        self.assertEqual(self.news(self.deliver())[0], 204)

    def test_a_new_row_comes_on_top(self) -> None:
        shown = self.deliver(at=timezone.now() - timedelta(hours=1))
        new = self.deliver()
        status, body = self.news(shown)
        self.assertEqual(status, 200)
        self.assertIn(f'id="row-{new.public_id}"', body)
        self.assertNotIn(f'id="row-{shown.public_id}"', body)

    def test_a_changed_row_is_swapped_where_it_stands(self) -> None:
        shown = self.deliver(Status.PENDING)
        asked = f"row={self.version(shown)}"
        Delivery.objects.filter(pk=shown.pk).update(status=Status.DELIVERED, changed_at=timezone.now())
        body = self.client.get(f"{self.url('account-logs-news')}?{asked}").content.decode()
        self.assertIn(f'id="row-{shown.public_id}" class="rowlink" hx-swap-oob="true"', body)
        self.assertIn("st-delivered", body)

    def test_a_row_that_left_its_tab_is_drawn_anew_and_not_moved(self) -> None:
        shown = self.deliver(Status.PENDING)
        asked = f"status=pending&row={self.version(shown)}"
        Delivery.objects.filter(pk=shown.pk).update(status=Status.FAILED, error_code=5604, changed_at=timezone.now())
        self.assertContains(self.client.get(f"{self.url('account-logs-news')}?{asked}"), "Click ID is not valid")

    def test_a_row_whose_correction_changed_is_drawn_anew(self) -> None:
        shown = self.deliver(at=timezone.now() - timedelta(hours=1))
        correction = self.deliver(Status.PENDING, kind=Kind.RETRACT, original=shown, event=shown.event)
        asked = f"row={self.version(shown)}"
        self.assertEqual(self.client.get(f"{self.url('account-logs-news')}?{asked}").status_code, 204)
        Delivery.objects.filter(pk=correction.pk).update(
            status=Status.FAILED, error_code=5627, changed_at=timezone.now()
        )
        self.assertContains(self.client.get(f"{self.url('account-logs-news')}?{asked}"), "Retract failed")

    def test_with_a_row_open_only_the_number_is_told(self) -> None:
        shown = self.deliver(at=timezone.now() - timedelta(hours=1))
        self.deliver()
        status, body = self.news(shown, query="&hold=1")
        self.assertEqual(status, 200)
        self.assertIn("1 new", body)
        self.assertNotIn("<tr", body)
        self.assertEqual(self.news(*Delivery.objects.all(), query="&hold=1")[0], 204)

    def test_with_a_row_open_what_changed_is_swapped_all_the_same(self) -> None:
        shown = self.deliver(Status.PENDING)
        asked = f"hold=1&row={self.version(shown)}"
        Delivery.objects.filter(pk=shown.pk).update(status=Status.DELIVERED, changed_at=timezone.now())
        new = self.deliver()
        body = self.client.get(f"{self.url('account-logs-news')}?{asked}").content.decode()
        self.assertIn(f'id="row-{shown.public_id}" class="rowlink" hx-swap-oob="true"', body)
        self.assertNotIn(f'id="row-{new.public_id}"', body)

    def test_the_pager_follows(self) -> None:
        shown = self.deliver(at=timezone.now() - timedelta(hours=1))
        self.deliver()
        self.assertIn('id="pager-words" hx-swap-oob="true">2 rows of 2, newest first', self.news(shown)[1])
        self.assertIn(">1 row of 2, newest first", self.news(shown, query="&hold=1")[1])

    def test_an_empty_list_is_drawn_as_a_whole_when_something_comes(self) -> None:
        self.deliver()
        response = self.client.get(self.url("account-logs-news"), headers={"HX-Request": "true"})
        self.assertContains(response, 'id="logs"')

    def test_news_keep_to_the_filter(self) -> None:
        shown = self.deliver(Status.FAILED, error_code=5604, at=timezone.now() - timedelta(hours=1))
        self.deliver()
        self.assertEqual(self.news(shown, query="&status=failed")[0], 204)

    def test_it_tells_nothing_of_another_accounts_rows(self) -> None:
        theirs = self.deliver(at=timezone.now() - timedelta(hours=1))
        asked = f"row={theirs.public_id}.1"
        Delivery.objects.filter(pk=theirs.pk).update(account=make_account(self.site, "138204422"))
        self.assertEqual(self.client.get(f"{self.url('account-logs-news')}?{asked}").status_code, 204)


class TestOneDelivery(LogsTestCase):
    def failed(self) -> Delivery:
        first = self.deliver()
        delivery = self.deliver(
            Status.FAILED, error_code=5606, email_sha256="7c5b" + "0" * 56 + "e19f", goal_name="Gone"
        )
        at = timezone.now()
        answer = {"PartialErrors": [{"Index": 0, "Code": 5604, "Message": "not mine"}, {"Index": 1, "Code": 5606}]}
        upload = Upload.objects.create(
            account=self.account, operation="conversions", delivery_ids=[first.pk, delivery.pk], started_at=at,
            leased_until=at, finished_at=at, seconds=0.412, http_status=200, tracking_id="6f0c",
            answer=json.dumps(answer),
        )  # fmt: skip
        Attempt.objects.create(delivery=delivery, upload=upload, outcome="refused", error_code=5606, created_at=at)
        Delivery.objects.filter(pk=delivery.pk).update(last_upload=upload)
        return delivery

    def detail(self, delivery: Delivery) -> str:
        return self.client.get(self.url("account-delivery-detail", delivery.public_id)).content.decode()

    def test_a_refusal_says_what_happened_why_and_until_when_it_counts(self) -> None:
        page = self.detail(self.failed())
        self.assertIn("Microsoft does not know a goal called “Gone”", page)
        self.assertIn("is called “Purchase” now", page)
        self.assertIn("Microsoft would count this conversion until", page)

    def test_what_is_mended_on_a_page_leads_there(self) -> None:
        delivery = self.failed()
        self.goal.gone_at = timezone.now()
        self.goal.save(update_fields=["gone_at"])
        self.assertIn(self.url("account-mapping"), self.detail(delivery))

    def test_it_shows_the_attempt_the_request_and_microsofts_answer_about_this_row(self) -> None:
        page = self.detail(self.failed())
        for words in ("Attempt 1 refused", "412 ms", "HTTP 200", "code 5606", "6f0c", "of 2 conversions"):
            self.assertIn(words, page)
        self.assertIn("ConversionName", page)
        self.assertNotIn("not mine", page)

    def test_a_final_refusal_says_that_it_is_final(self) -> None:
        self.assertIn("Trying again cannot fix the cause", self.detail(self.failed()))
        final = self.deliver(Status.FAILED, error_code=5610)
        Attempt.objects.create(
            delivery=final, upload=Upload.objects.get(), outcome="refused", error_code=5610, created_at=timezone.now()
        )
        self.assertIn("answer is final for this conversion", self.detail(final))

    def test_hashes_of_people_are_shortened(self) -> None:
        page = self.detail(self.failed())
        self.assertIn("7c5b…e19f", page)
        self.assertNotIn("7c5b0000", page)

    def test_a_waiting_one_says_when_it_goes_out_and_shows_what_will_be_sent(self) -> None:
        waiting = self.deliver(
            Status.RETRYING, attempts=1, error_code=117, next_attempt_at=timezone.now() + timedelta(seconds=250)
        )
        page = self.detail(waiting)
        self.assertIn("Attempt 1 in 4 min", page)
        self.assertIn("The next attempt is at", page)
        self.assertIn("Microsoft has not been asked yet", page)

    def test_a_delivered_one_says_that_microsoft_took_it(self) -> None:
        delivery = self.failed()
        Delivery.objects.filter(pk=delivery.pk).update(
            status=Status.DELIVERED, delivered_at=timezone.now(), error_code=None
        )
        page = self.detail(delivery)
        self.assertIn("Accepted by Microsoft", page)
        self.assertIn("no entry for this conversion in PartialErrors", page)

    def test_an_unforwarded_event_says_why_and_shows_no_request(self) -> None:
        skipped = self.deliver(Status.SKIPPED, skip_reason=Skip.NOT_MAPPED, conversion_time="")
        page = self.detail(skipped)
        self.assertIn("No goal mapped", page)
        self.assertNotIn("ConversionName", page)

    def test_a_fragment_is_part_of_its_page(self) -> None:
        delivery = self.failed()
        page = self.client.get(self.url("account-delivery", delivery.public_id))
        self.assertContains(page, "<html")
        self.assertContains(page, "Attempt 1 refused")

    def test_an_answer_that_is_no_json_is_shown_as_it_came(self) -> None:
        delivery = self.failed()
        Upload.objects.update(answer="<html>Bad gateway</html>", http_status=502)
        self.assertIn("&lt;html&gt;Bad gateway", self.detail(delivery))


class TestForm(SimpleTestCase):
    def test_only_what_is_asked_for_is_in_the_address(self) -> None:
        form = LogFilterForm({"q": "", "goal": "Purchase", "status": "failed", "period": ""})
        self.assertEqual(form.address(), "?status=failed&goal=Purchase")
        self.assertEqual(form.address(goal=""), "?status=failed")

    def test_a_search_looks_through_any_time_unless_told_otherwise(self) -> None:
        now = datetime(2026, 11, 21, 12, tzinfo=UTC)
        self.assertIsNone(LogFilterForm({"q": "HP-1"}).wanted(now, UTC_ZONE).since)
        self.assertEqual(LogFilterForm({}).wanted(now, UTC_ZONE).since, datetime(2026, 11, 15, tzinfo=UTC))
        wanted = LogFilterForm({"q": "HP-1", "period": "30"}).wanted(now, UTC_ZONE)
        self.assertEqual(wanted.since, datetime(2026, 10, 23, tzinfo=UTC))


class TestQueries(LogsTestCase):
    def asked(self, query: str) -> int:
        with CaptureQueriesContext(connection) as captured:
            self.client.get(self.url("account-logs") + query)
        return len(captured)

    def test_a_list_asks_as_much_for_many_rows_as_for_one(self) -> None:
        queries = ("", "?status=failed&error=5606", "?goal=Purchase&kind=restate", "?q=HP-1")
        self.deliver(Status.FAILED, error_code=5606, transaction_id="HP-1")
        few = [self.asked(query) for query in queries]
        for _ in range(30):
            self.deliver(Status.FAILED, error_code=5606, transaction_id="HP-1")
        self.assertEqual([self.asked(query) for query in queries], few)

    def test_no_list_asks_more_than_ten_times_however_long_it_is_and_however_few_are_meant(self) -> None:
        self.enterContext(mock.patch.object(stretches, "LOOKS", (2, 4)))
        self.enterContext(mock.patch.object(forward_logs, "PAGE_ROWS", 1))
        at = timezone.now() - timedelta(days=3)
        self.deliver(Status.FAILED, error_code=5604, at=at, goal_name="Rare", msclkid="0" * 32, transaction_id="HP-1")
        for status in (Status.DELIVERED, Status.FAILED, Status.RETRYING, Status.PENDING) * 6:
            self.deliver(status, error_code=None if status == Status.DELIVERED else 117)
        for query in (
            "", "?status=failed", "?goal=Purchase", "?goal=Rare", "?error=117&period=all", "?error=5604&period=all",
            "?goal=Rare&error=5604", "?kind=restate", "?since=2026-01-01", "?q=HP-1", "?q=" + "0" * 32, "?q=nothing",
        ):  # fmt: skip
            with self.subTest(query):
                self.assertLessEqual(self.asked(query), 10)

    def test_what_is_found_rarely_is_not_counted_besides(self) -> None:
        self.enterContext(mock.patch.object(stretches, "LOOKS", (2, 60)))
        for code in [5604] + [117] * 55 + [5604] * 3:
            self.deliver(Status.FAILED, error_code=code)
        page = self.client.get(self.url("account-logs") + "?status=failed&error=5604")
        self.assertContains(page, "4 rows of 4, newest first")
        with mock.patch.object(stretches, "LOOKS", (2, 3)), mock.patch.object(stretches, "COUNT_LOOK", 3):
            page = self.client.get(self.url("account-logs") + "?status=failed&error=5604")
        self.assertContains(page, "3 rows of 3+, newest first")
