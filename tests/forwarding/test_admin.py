"""The staff's lists of what was sent: they open, cost the same for many rows as for few, and show nobody's hash."""

from datetime import timedelta
from typing import Any

from django.contrib.admin.exceptions import DisallowedModelAdminLookup
from django.contrib.auth.models import User
from django.db import connection, models
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from forwarding.models import Alert, Attempt, DailyCount, Delivery, Heartbeat, Hold, Status, Upload
from integrations.models import Connection
from tests.cast import CLICK_ID, NOON, CastTestCase, store_event
from tests.support.signing_in import work_on_ticket

MODELS: tuple[type[models.Model], ...] = (Upload, Delivery, Attempt, DailyCount, Heartbeat)
HASH = "ec81f3ac7b2b19675bab9d54cf416f9f18cff87c97da5cca82c0f0891bc40602"


class StaffTestCase(CastTestCase):
    """A member of staff, and a row of every kind."""

    staff: User
    delivery: Delivery
    upload: Upload

    @classmethod
    def setUpTestData(cls) -> None:
        super().setUpTestData()
        cls.staff = User.objects.create_superuser("staff", "staff@example.com", "x", first_name="Ines")
        cls.delivery = cls.refused("HP-1")
        assert cls.delivery.last_upload is not None
        cls.upload = cls.delivery.last_upload

    @classmethod
    def refused(cls, order: str, **fields: Any) -> Delivery:
        """Write down an order that Microsoft refused, in an upload of its own, with customer data."""
        delivery = Delivery.objects.create(
            account=cls.account,
            event=store_event(cls.site, transaction_id=order, email_sha256=HASH, phone_sha256=HASH),
            **{
                "goal": cls.goal,
                "goal_name": cls.goal.name,
                "dedupe_key": order,
                "transaction_id": order,
                "msclkid": CLICK_ID,
                "email_sha256": HASH,
                "phone_sha256": HASH,
                "status": Status.FAILED,
                "error_code": 5606,
                "created_at": NOON,
                "changed_at": NOON,
                **fields,
            },
        )
        delivery.last_upload = Upload.objects.create(
            account=cls.account,
            operation="conversions",
            delivery_ids=[delivery.pk],
            started_at=NOON,
            leased_until=NOON,
            finished_at=NOON,
            tracking_id=f"tracking-{order}",
            refused=1,
        )
        delivery.save(update_fields=["last_upload"])
        Attempt.objects.create(
            delivery=delivery, upload=delivery.last_upload, outcome="refused", error_code=5606, created_at=NOON
        )
        DailyCount.objects.create(account=cls.account, day=NOON, goal_name=order, status=Status.FAILED, count=1)
        Heartbeat.objects.create(name=order, beat_at=NOON)
        return delivery

    def setUp(self) -> None:
        self.client.force_login(self.staff)
        work_on_ticket(self.client)

    def url(self, model: type[models.Model], page: str, *arguments: object) -> str:
        return reverse(f"admin:forwarding_{model._meta.model_name}_{page}", args=arguments)

    def deliveries(self, **query: str) -> Any:
        """Open the list of deliveries."""
        r = self.client.get(self.url(Delivery, "changelist"), query)
        self.assertEqual(r.status_code, 200)
        return r


class TestLists(StaffTestCase):
    def queries(self, model: type[models.Model]) -> int:
        with CaptureQueriesContext(connection) as captured:
            self.assertEqual(self.client.get(self.url(model, "changelist")).status_code, 200)
        return len(captured)

    def test_a_list_asks_as_much_for_many_rows_as_for_few(self) -> None:
        few = {model: self.queries(model) for model in MODELS}
        for number in range(2, 6):
            self.refused(f"HP-{number}")
        self.assertEqual({model: self.queries(model) for model in MODELS}, few)

    def test_an_order_without_value_goal_upload_or_transaction_is_listed(self) -> None:
        self.refused("HP-2", goal=None, goal_name="", transaction_id="", msclkid="", value=None)
        Delivery.objects.filter(dedupe_key="HP-2").update(last_upload=None)
        self.assertContains(self.deliveries(), "No transaction")

    def test_big_tables_are_neither_counted_to_their_end_nor_sorted_at_will(self) -> None:
        with CaptureQueriesContext(connection) as captured:
            self.deliveries(o="1")
        asked = [query["sql"] for query in captured if 'FROM "forwarding_delivery"' in query["sql"]]
        self.assertTrue(any("COUNT(*)" in sql and "LIMIT 10000" in sql for sql in asked))
        self.assertTrue(any('ORDER BY "forwarding_delivery"."id" DESC' in sql for sql in asked))

    def test_a_list_does_not_read_what_uploads_carry(self) -> None:
        with CaptureQueriesContext(connection) as captured:
            self.deliveries()
        self.assertFalse(any("delivery_ids" in query["sql"] for query in captured))

    def test_the_customer_has_no_access(self) -> None:
        self.client.force_login(self.alice)
        self.assertEqual(self.client.get(self.url(Delivery, "changelist")).status_code, 302)


class TestSearch(StaffTestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        super().setUpTestData()
        cls.refused("HP-2", msclkid="0" * 32)

    def test_a_delivery_is_found_by_all_that_support_is_told(self) -> None:
        for term in ("HP-1", CLICK_ID, str(self.delivery.public_id), "tracking-HP-1", "  HP-1 "):
            with self.subTest(term):
                r = self.deliveries(q=term)
                self.assertContains(r, "HP-1</a>")
                self.assertNotContains(r, "HP-2</a>")

    def test_what_is_nobodys_finds_nothing(self) -> None:
        for term in ("HP-", "none", "'; --", HASH):
            with self.subTest(term):
                self.assertNotContains(self.deliveries(q=term), "HP-1</a>")

    def test_an_upload_is_found_by_its_ids(self) -> None:
        for term in ("tracking-HP-1", str(self.upload.public_id)):
            with self.subTest(term):
                r = self.client.get(self.url(Upload, "changelist"), {"q": term})
                self.assertContains(r, "tracking-HP-1")
                self.assertNotContains(r, "tracking-HP-2")

    def test_every_list_takes_any_search(self) -> None:
        for model in MODELS:
            with self.subTest(model):
                r = self.client.get(self.url(model, "changelist"), {"q": "anything"})
                self.assertEqual(r.status_code, 200)

    def test_uploads_are_filtered_by_their_state(self) -> None:
        Upload.objects.filter(tracking_id="tracking-HP-2").update(finished_at=None, refused=0)
        for state, expected in (("open", "HP-2"), ("refused", "HP-1"), ("failed", ""), ("nonsense", "HP-1")):
            with self.subTest(state):
                r = self.client.get(self.url(Upload, "changelist"), {"state": state})
                self.assertContains(r, f"tracking-{expected}" if expected else "0 uploads")


class TestLinks(StaffTestCase):
    def test_a_delivery_leads_to_its_event_account_and_upload(self) -> None:
        for page in (self.url(Delivery, "changelist"), self.url(Delivery, "change", self.delivery.pk)):
            r = self.client.get(page)
            self.assertContains(r, reverse("admin:ingest_event_change", args=[self.delivery.event_id]))
            self.assertContains(r, reverse("admin:integrations_adaccount_change", args=[self.account.pk]))
            self.assertContains(r, self.url(Upload, "change", self.upload.pk))

    def test_an_upload_leads_to_the_deliveries_that_it_listed(self) -> None:
        self.refused("HP-2")
        page = self.client.get(self.url(Upload, "change", self.upload.pk))
        address = f"{self.url(Delivery, 'changelist')}?upload={self.upload.public_id}"
        self.assertContains(page, address)
        listed = self.client.get(address)
        self.assertContains(listed, "HP-1</a>")
        self.assertNotContains(listed, "HP-2</a>")

    def test_an_upload_that_is_none_lists_nothing(self) -> None:
        for nonsense in ("1", "x", self.delivery.public_id):
            self.assertContains(self.deliveries(upload=str(nonsense)), "0 deliveries")

    def test_a_delivery_says_what_its_error_means(self) -> None:
        page = self.client.get(self.url(Delivery, "change", self.delivery.pk))
        self.assertContains(page, "Goal not found.")


class TestReadOnly(StaffTestCase):
    def test_nothing_is_added_changed_or_deleted(self) -> None:
        for model in MODELS:
            pk = model._default_manager.values_list("pk", flat=True)[0]
            for page, arguments in (("add", ()), ("change", (pk,)), ("delete", (pk,))):
                with self.subTest(f"{model.__name__} {page}"):
                    self.assertEqual(self.client.post(self.url(model, page, *arguments)).status_code, 403)

    def test_a_list_offers_no_action(self) -> None:
        self.assertNotContains(self.deliveries(), "delete_selected")


class TestPeople(StaffTestCase):
    def test_no_page_shows_a_hash(self) -> None:
        for model in MODELS:
            pk = model._default_manager.values_list("pk", flat=True)[0]
            for page, arguments in (("changelist", ()), ("change", (pk,)), ("history", (pk,))):
                with self.subTest(f"{model.__name__} {page}"):
                    r = self.client.get(self.url(model, page, *arguments))
                    self.assertEqual(r.status_code, 200)
                    self.assertNotContains(r, HASH)

    def test_an_address_cannot_ask_for_a_person(self) -> None:
        for model in ("forwarding_delivery", "ingest_event"):
            for lookup in ("email_sha256", "phone_sha256__startswith"):
                with self.subTest(f"{model} {lookup}"), self.assertLogs("django.security", "ERROR") as logged:
                    r = self.client.get(reverse(f"admin:{model}_changelist"), {lookup: HASH})
                    self.assertEqual(r.status_code, 400)
                self.assertEqual(logged.records[0].name, f"django.security.{DisallowedModelAdminLookup.__name__}")


class TestOperations(StaffTestCase):
    """The start page, from the rows alone."""

    def page(self) -> Any:
        r = self.client.get(reverse("admin:index"))
        self.assertEqual(r.status_code, 200)
        return r

    def test_a_quiet_system_has_nothing_to_say(self) -> None:
        Heartbeat.objects.create(name="sweep", beat_at=timezone.now())
        page = self.page()
        for text in ("nothing waits", "nothing is held", "of 1 connection<"):
            self.assertContains(page, text)
        self.assertNotContains(page, "ops-alert")

    def test_what_is_due_held_and_on_its_way_is_counted(self) -> None:
        now = timezone.now()
        self.refused("HP-2", status=Status.PENDING, next_attempt_at=now - timedelta(minutes=5))
        later = now + timedelta(hours=1)
        self.refused("HP-3", status=Status.PENDING, next_attempt_at=later, hold_reason=Hold.CLICK_SETTLING)
        Upload.objects.filter(tracking_id="tracking-HP-3").update(finished_at=None, leased_until=NOON)
        page = self.page()
        for text in ("oldest 5 min", "Waits an hour after the click", "1 upload to take over"):
            self.assertContains(page, text)

    def test_the_last_hour_is_told_with_who_was_refused_most_and_why(self) -> None:
        self.refused("HP-2")
        Upload.objects.filter(tracking_id="tracking-HP-2").update(
            started_at=timezone.now() - timedelta(minutes=5), accepted=9, refused=1, seconds=0.412, http_status=200
        )
        page = self.page()
        for text in (
            "90.0% success",
            "412 ms",
            "0.0% rate limited",
            "1 refused in the last hour",
            "Goal not found (5606)",
        ):
            self.assertContains(page, text)

    def test_the_last_hour_is_not_the_hour_before(self) -> None:
        Upload.objects.update(started_at=timezone.now() - timedelta(minutes=61), accepted=9, refused=1)
        self.assertNotContains(self.page(), "refused in the last hour")

    def test_a_worker_that_went_away_is_told(self) -> None:
        self.assertContains(self.page(), "Nothing has ever swept")
        Heartbeat.objects.create(name="sweep", beat_at=timezone.now() - timedelta(minutes=4))
        self.assertContains(self.page(), "No sweep has come back for 4 min")

    def test_a_sign_in_that_waits_for_the_operator_is_told(self) -> None:
        Connection.objects.update(status=Connection.Status.NEEDS_OPERATOR)
        self.assertContains(self.page(), "1 connection waits for you")

    def test_what_is_not_over_is_listed_with_who_was_told(self) -> None:
        Alert.objects.create(cause="late", subject="Conversions are not going out", opened_at=NOON)
        told = {
            "organisation": self.site.organisation,
            "subject": "Needs reconnect",
            "opened_at": NOON,
            "told_at": NOON,
        }
        Alert.objects.create(cause="reconnect:1", **told)
        Alert.objects.create(cause="worker", subject="Long over", opened_at=NOON, resolved_at=NOON)
        page = self.page()
        self.assertContains(page, "Conversions are not going out</strong><br>Since Nov 21, 12:00 UTC; nobody was told")
        self.assertContains(page, "Needs reconnect</strong><br>Since Nov 21, 12:00 UTC; its customer was told at 12:00")
        self.assertNotContains(page, "Long over")
