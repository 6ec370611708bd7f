"""The admin says of a row what the customers' pages say of it, in the same words."""

from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Model
from django.urls import reverse
from django.utils import timezone
from django.utils.html import escape
from django_q.models import OrmQ

from forwarding.models import ADJUSTED, BulkJob, ClickSource, DailyCount, EventName, Hold, Kind, Skip, Status
from forwarding.rows.own_names import ALWAYS
from ingest import audit
from ingest.models import AuditEntry
from integrations.models import AdAccount, Connection
from tests.cast import NOON
from tests.dashboard.accounts import AccountTestCase
from tests.support.signing_in import work_on_ticket


class StaffWords(AccountTestCase):
    def setUp(self) -> None:
        self.client.force_login(User.objects.create_superuser("ines", "ines@example.com", "pw"))
        work_on_ticket(self.client)

    def page(self, row: Model) -> Any:
        return self.client.get(reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk]))

    def listed(self, model: type[Model], **query: str) -> Any:
        return self.client.get(reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"), query)


class TestDailyCounts(StaffWords):
    def count(self, **fields: Any) -> DailyCount:
        return DailyCount.objects.create(account=self.account, day=NOON, count=1, **{"currency": "USD", **fields})

    def test_a_reason_is_said_in_words_and_a_status_by_its_badge(self) -> None:
        for skip in Skip:
            self.count(goal_name=skip, status=Status.SKIPPED)
        page = self.listed(DailyCount)
        for skip in Skip:
            self.assertContains(page, f">{escape(skip.label)}<")
        self.assertContains(page, 'class="st st-skipped">Not forwarded<')

    def test_a_goal_may_be_named_like_a_reason(self) -> None:
        self.count(goal_name="too_old", status=Status.DELIVERED)
        self.assertContains(self.listed(DailyCount), ">too_old<")

    def test_what_corrections_changed_is_no_error(self) -> None:
        self.count(goal_name="Purchase", status=Status.DELIVERED, error=ADJUSTED, value="-199.950")
        page = self.listed(DailyCount)
        self.assertContains(page, "What corrections changed of the value")
        self.assertContains(page, "−199.95 USD")

    def test_an_error_has_its_title(self) -> None:
        self.count(goal_name="Purchase", status=Status.FAILED, error="5606", value="102.110")
        page = self.listed(DailyCount)
        self.assertContains(page, "Goal not found (5606)")
        self.assertContains(page, "102.11 USD")


class TestAccounts(StaffWords):
    def test_an_account_has_the_badge_that_its_customer_sees(self) -> None:
        Connection.objects.update(status=Connection.Status.NEEDS_RECONNECT)
        for page in (self.listed(AdAccount), self.page(self.account)):
            self.assertContains(page, 'class="st st-failed">Needs reconnect<')
            self.assertContains(page, f"{self.account.name} needs reconnect")

    def test_one_that_was_removed_is_listed_as_such(self) -> None:
        AdAccount.objects.update(is_active=False)
        self.assertContains(self.listed(AdAccount), "Nothing is forwarded to this account any more")

    def test_a_hold_is_said_and_filtered_in_words(self) -> None:
        AdAccount.objects.filter(pk=self.account.pk).update(hold_reason=Hold.THROTTLED)
        page = self.listed(AdAccount)
        self.assertContains(page, "Not held</a>")
        self.assertContains(page, f"{Hold.THROTTLED.label}</a>")
        self.assertContains(self.listed(AdAccount, hold=Hold.THROTTLED), "1 ad account")
        self.assertNotContains(self.listed(AdAccount, hold="none"), f">{self.account.name}</a>")


class TestAuditEntries(StaffWords):
    def test_an_entry_is_said_as_its_customer_reads_it(self) -> None:
        whose = self.site.organisation
        entry = audit.record(self.alice, "delivery.restate", organisation=whose, target="HP-1", now=NOON)
        self.assertContains(self.listed(AuditEntry), "Restated the conversion HP-1")
        self.assertContains(self.listed(AuditEntry), "Restated the conversion</a>")
        self.assertContains(self.page(entry), "<h2>Restated the conversion HP-1</h2>")


class TestDeliveries(StaffWords):
    def test_a_retraction_that_waits_for_its_conversion_is_not_to_be_retried(self) -> None:
        self.assertContains(self.page(self.deliver(Status.FAILED, error_code=5606)), "Retry now")
        waits = self.deliver(Status.PENDING, kind=Kind.RETRACT, hold_reason=Hold.ORIGINAL_PENDING, next_attempt_at=None)
        self.assertNotContains(self.page(waits), "Retry now")

    def test_how_the_click_was_found_is_asked_as_such(self) -> None:
        found = self.page(self.deliver(msclkid="b" * 32, click_source=ClickSource.VISITOR))
        self.assertContains(found, "How the click was found")
        self.assertContains(found, "Same visitor")
        correction = self.deliver(msclkid="b" * 32, click_source="", kind=Kind.RETRACT)
        self.assertNotContains(self.page(correction), ">No click ID<")
        self.assertContains(self.page(correction), "As that of its conversion")


class TestOthers(StaffWords):
    def test_a_name_that_was_always_counted_has_no_moment(self) -> None:
        EventName.objects.create(site=self.site, name="always", since=ALWAYS)
        page = self.listed(EventName)
        self.assertContains(page, "The beginning")
        self.assertNotContains(page, "1970")

    def test_a_bulk_job_says_what_is_done_and_how_far_it_is(self) -> None:
        BulkJob.objects.create(account=self.account, action="retry", actor_name="alice", created_at=NOON)
        page = self.listed(BulkJob)
        self.assertContains(page, ">Retry<")
        self.assertContains(page, 'class="st st-pending">Running<')

    def test_a_task_of_the_queue_is_not_named_by_its_row(self) -> None:
        task = OrmQ.objects.create(key="convultra", payload="", lock=timezone.now())
        self.assertNotContains(self.page(task), "OrmQ object")

    def test_moments_are_of_24_hours_and_their_columns_name_utc(self) -> None:
        AuditEntry.objects.all().delete()
        at = NOON + timedelta(hours=8, minutes=32, seconds=8)
        audit.record(None, "site.change", organisation=self.site.organisation, now=at)
        page = self.listed(AuditEntry)
        self.assertContains(page, "Created at (UTC)")
        self.assertContains(page, "Nov 21, 2026, 20:32:08")
