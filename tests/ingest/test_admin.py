"""The staff's lists open, cost the same for many rows as for few, and show no hash of a person and no secret."""

from django.contrib.admin.sites import site as admin_site
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import Model
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from convultra.staff import CappedPaginator
from ingest import audit
from ingest.models import (
    Adjustment,
    AuditEntry,
    Click,
    Event,
    Import,
    ImportChunk,
    Membership,
    Organisation,
    RefusedItem,
    Role,
    ServerKey,
    Site,
)
from tests.cast import CLICK_ID, NOON, CastTestCase, make_site, make_user, store_event
from tests.support.signing_in import TICKET, work_on_ticket

MODELS = (
    Organisation,
    Membership,
    Site,
    ServerKey,
    Click,
    Event,
    Adjustment,
    Import,
    ImportChunk,
    AuditEntry,
    RefusedItem,
)
HISTORY = (Click, Event, Adjustment, Import, ImportChunk, AuditEntry, RefusedItem)
HASH = "ec81f3ac7b2b19675bab9d54cf416f9f18cff87c97da5cca82c0f0891bc40602"


class AdminTests(CastTestCase):
    staff: User

    @classmethod
    def setUpTestData(cls) -> None:
        super().setUpTestData()
        cls.staff = User.objects.create_superuser("staff", "staff@example.com", "correct horse battery")
        cls.add_rows("first")

    @classmethod
    def add_rows(cls, name: str) -> None:
        site = make_site(name, make_user(name))
        ServerKey.objects.mint(site)
        Click.objects.create(site=site, msclkid=CLICK_ID, visitor_id=name, captured_at=NOON)
        store_event(site, email_sha256=HASH, phone_sha256=HASH)
        site.adjustments.create(adjustment_id=name, type="retract", event_id=name, occurred_at=NOON, received_at=NOON)
        source = site.imports.create(
            file_name=name, format="convultra", time_zone="UTC", actor_name=name, created_at=NOON
        )
        source.chunks.create(number=0, rows=[], created_at=NOON)
        site.refused_items.create(source="browser", what="events", code="invalid_json", first_at=NOON, last_at=NOON)
        audit.record(cls.staff, "site.change", organisation=site.organisation, site=site, target=name, now=NOON)

    def setUp(self) -> None:
        self.client.force_login(self.staff)
        work_on_ticket(self.client)

    def queries(self, url: str) -> int:
        """Open the page and count what it asks of the database."""
        with CaptureQueriesContext(connection) as captured:
            self.assertEqual(self.client.get(url).status_code, 200)
        return len(captured)

    def test_every_model_has_a_list_whose_cost_does_not_grow(self) -> None:
        urls = [reverse(f"admin:ingest_{model._meta.model_name}_changelist") for model in MODELS]
        few = [self.queries(url) for url in urls]
        for n in range(5):
            self.add_rows(f"more{n}")
        self.assertEqual([self.queries(url) for url in urls], few)

    def test_every_list_can_be_searched(self) -> None:
        for model in MODELS:
            with self.subTest(model):
                url = reverse(f"admin:ingest_{model._meta.model_name}_changelist")
                self.assertEqual(self.client.get(url, {"q": "anything"}).status_code, 200)

    def test_every_row_has_a_page(self) -> None:
        for model in MODELS:
            with self.subTest(model):
                row = model._default_manager.get(pk=model._default_manager.values_list("pk")[0][0])
                url = reverse(f"admin:ingest_{model._meta.model_name}_change", args=[row.pk])
                self.assertEqual(self.client.get(url).status_code, 200)

    def test_history_is_neither_added_nor_changed_nor_deleted(self) -> None:
        for model in HISTORY:
            name = model._meta.model_name
            pk = model._default_manager.values_list("pk", flat=True)[0]
            for url in (
                reverse(f"admin:ingest_{name}_add"),
                reverse(f"admin:ingest_{name}_change", args=[pk]),
                reverse(f"admin:ingest_{name}_delete", args=[pk]),
            ):
                with self.subTest(url):
                    self.assertEqual(self.client.post(url).status_code, 403)

    def test_hashes_of_people_are_not_shown_or_searched(self) -> None:
        event = Event.objects.get()
        for url in (
            reverse("admin:ingest_event_changelist"),
            reverse("admin:ingest_event_change", args=[event.pk]),
        ):
            self.assertNotContains(self.client.get(url), HASH)
        found = self.client.get(reverse("admin:ingest_event_changelist"), {"q": HASH})
        self.assertNotContains(found, event.event_id)

    def test_the_hash_of_a_server_key_is_not_shown(self) -> None:
        key = ServerKey.objects.get()
        page = self.client.get(reverse("admin:ingest_serverkey_change", args=[key.pk]))
        self.assertContains(page, key.prefix)
        self.assertNotContains(page, key.secret_sha256)
        self.assertEqual(self.client.get(reverse("admin:ingest_serverkey_add")).status_code, 403)

    def test_a_write_key_cannot_be_changed(self) -> None:
        page = self.client.get(reverse("admin:ingest_site_change", args=[self.site.pk]))
        self.assertContains(page, self.site.write_key)
        self.assertNotContains(page, 'name="write_key"')

    def test_big_tables_are_not_counted_to_their_end(self) -> None:
        for model in HISTORY:
            model_admin = admin_site.get_model_admin(model)
            self.assertIs(model_admin.paginator, CappedPaginator)
            self.assertFalse(model_admin.show_full_result_count)
        with CaptureQueriesContext(connection) as captured:
            self.assertEqual(CappedPaginator(Event.objects.order_by("pk"), 100).count, 1)
        self.assertIn("LIMIT 10000", captured[0]["sql"])

    def test_the_customer_has_no_access(self) -> None:
        self.client.force_login(self.alice)
        self.assertEqual(self.client.get(reverse("admin:ingest_event_changelist")).status_code, 302)

    def test_history_begins_with_the_newest(self) -> None:
        self.add_rows("second")
        for model in (Adjustment, AuditEntry):
            page = self.client.get(reverse(f"admin:ingest_{model._meta.model_name}_changelist"))
            listed = list(page.context["cl"].result_list)
            self.assertEqual(listed, list(model._default_manager.order_by("-pk")))


class SettingsTests(CastTestCase):
    """Staff set what a customer's site, people and keys are, and the customer's audit log says so."""

    def setUp(self) -> None:
        self.staff = User.objects.create_superuser("staff", "staff@example.com", "correct horse battery")
        self.client.force_login(self.staff)
        work_on_ticket(self.client)

    def post(self, model: type[Model], pk: int, **changed: object) -> None:
        """Fill in the row's form as a browser would, but for what is changed, and send it."""
        url = reverse(f"admin:ingest_{model._meta.model_name}_change", args=[pk])
        page = self.client.get(url)
        forms = [page.context["adminform"].form]
        for inline in page.context["inline_admin_formsets"]:
            forms += [inline.formset.management_form, *inline.formset.initial_forms]
        fields = [form[name] for form in forms for name in form.fields]
        held = {field.html_name: field.value() for field in fields if field.value() is not None}
        held |= {field.html_initial_name: field.value() for field in fields if field.field.show_hidden_initial}
        response = self.client.post(url, held | changed)
        self.assertRedirects(response, reverse(f"admin:ingest_{model._meta.model_name}_changelist"))

    def logged(self) -> list[tuple[str, str, dict[str, object]]]:
        """Return what was changed; each entry names the ticket, and that it was staff."""
        entries = AuditEntry.objects.filter(organisation=self.site.organisation, actor=self.staff).order_by("pk")
        changes = list(entries.exclude(action__endswith=".open").values_list("action", "target", "details"))
        for _, _, details in changes:
            self.assertEqual((details.pop("ticket"), details.pop("by_staff")), (TICKET, True))
        return changes

    def test_whether_orders_wait_for_the_backend_is_set_per_site(self) -> None:
        page = self.client.get(reverse("admin:ingest_site_change", args=[self.site.pk]))
        self.assertContains(page, "What an order from a page needs before it is forwarded.")
        self.post(Site, self.site.pk, confirm_mode="wait", confirm_minutes=90)
        self.site.refresh_from_db()
        self.assertEqual((self.site.confirm_mode, self.site.confirm_minutes), ("wait", 90))

    def test_a_changed_setting_is_logged_from_what_to_what(self) -> None:
        self.post(Site, self.site.pk, confirm_mode="require")
        details = {"confirm_mode": ["off", "require"]}
        self.assertEqual(self.logged(), [("site.change", "Harbor & Pine", details)])
        self.assertEqual(AuditEntry.objects.get(action="site.change").site, self.site)

    def test_a_changed_role_is_logged_wherever_it_is_changed(self) -> None:
        bob = Membership.objects.get(user=self.bob)
        self.post(Membership, bob.pk, role=Role.ADMIN)
        self.post(Organisation, self.site.organisation_id, **{"memberships-1-role": Role.VIEWER})
        changes = [(action, details) for action, _, details in self.logged() if action == "membership.change"]
        self.assertEqual(
            [details for _, details in changes], [{"role": ["marketer", "admin"]}, {"role": ["admin", "viewer"]}]
        )

    def test_the_sites_of_a_member_are_logged_by_number(self) -> None:
        bob = Membership.objects.get(user=self.bob)
        self.post(Membership, bob.pk, all_sites="", sites=str(self.site.pk))
        [(action, _, details)] = self.logged()
        self.assertEqual((action, details["sites"]), ("membership.change", [[], [self.site.pk]]))

    def test_a_revoked_key_is_logged_without_its_secret(self) -> None:
        key, secret = ServerKey.objects.mint(self.site)
        self.post(ServerKey, key.pk, revoked_at_0="2026-11-21", revoked_at_1="12:00:00")
        [(action, target, details)] = self.logged()
        self.assertEqual((action, target), ("serverkey.change", f"{key.prefix}…"))
        self.assertEqual(details, {"revoked_at": [None, "2026-11-21 12:00:00+00:00"]})
        self.assertNotIn(secret, repr(AuditEntry.objects.values()))

    def test_what_is_added_and_deleted_is_logged(self) -> None:
        add = {"user": self.charlie.pk, "organisation": self.site.organisation_id, "role": Role.VIEWER}
        self.client.post(reverse("admin:ingest_membership_add"), add)
        added = Membership.objects.get(user=self.charlie, organisation=self.site.organisation)
        self.client.post(reverse("admin:ingest_membership_delete", args=[added.pk]), {"post": "yes"})
        self.assertEqual([action for action, _, _ in self.logged()], ["membership.add", "membership.delete"])
        self.assertFalse(Membership.objects.filter(pk=added.pk).exists())
