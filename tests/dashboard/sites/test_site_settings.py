"""A site's settings: who may change them, what is refused in which words, and what is noted."""

from django.contrib.auth.models import User
from django.urls import reverse
from django.utils import timezone

from forwarding.models import Hold, Status
from ingest.models import AuditEntry, BlockedOrigin, Membership, Role
from ingest.site_settings import change_settings
from tests.dashboard.accounts import AccountTestCase

FORM = {
    "name": "Harbor & Pine",
    "time_zone": "America/Chicago",
    "currency": "USD",
    "allowed_origins": "https://shop.example",
    "consent_policy": "assume",
    "confirm_mode": "off",
    "confirm_minutes": "1440",
    "click_retention_days": "90",
    "event_retention_days": "400",
    "daily_event_cap": "1000000",
}


class SettingsCase(AccountTestCase):
    def setUp(self) -> None:
        self.client.force_login(self.alice)
        self.at = reverse("dashboard:site-settings", args=[self.site.public_id])

    def save(self, **fields: str) -> str:
        return self.client.post(self.at, FORM | fields, follow=True).content.decode()

    def page(self) -> str:
        return self.client.get(self.at).content.decode()

    def be(self, role: Role) -> None:
        Membership.objects.filter(user=self.bob).update(role=role)
        self.client.force_login(self.bob)


class TestDoors(SettingsCase):
    def test_all_look_and_owners_and_admins_change(self) -> None:
        for role in Role:
            with self.subTest(role=role):
                self.be(role)
                may = role in (Role.OWNER, Role.ADMIN)
                self.assertEqual("Save settings" in self.page(), may)
                self.assertEqual("Changing them needs the Owner or Admin role" in self.page(), not may)
                self.assertEqual(self.client.post(self.at, FORM).status_code, 302 if may else 403)

    def test_a_stranger_finds_nothing(self) -> None:
        self.client.force_login(self.charlie)
        self.assertEqual(self.client.get(self.at).status_code, 404)
        self.assertEqual(self.client.post(self.at, FORM).status_code, 404)

    def test_only_who_may_change_them_reads_the_addresses_that_are_mailed(self) -> None:
        self.assertIn("alice@example.com", self.page())
        self.be(Role.VIEWER)
        self.assertNotIn("alice@example.com", self.page())


class TestTwoAtOnce(SettingsCase):
    def setUp(self) -> None:
        super().setUp()
        self.save()
        self.seen = self.drawn()
        Membership.objects.filter(user=self.bob).update(role=Role.ADMIN)

    def drawn(self) -> str:
        return str(self.client.get(self.at).context["seen"])

    def bob_saves(self, **fields: str) -> None:
        self.client.force_login(self.bob)
        self.save(**fields)
        self.client.force_login(self.alice)

    def test_the_second_is_told_what_the_first_changed_and_keeps_their_own(self) -> None:
        self.bob_saves(currency="CAD")
        answer = self.client.post(self.at, FORM | {"name": "Outlet", "seen": self.seen})
        self.assertContains(answer, "Bob set", status_code=409)
        self.assertContains(answer, "The form has it now", status_code=409)
        form = answer.context["form"]
        self.assertEqual((form["name"].value(), form["currency"].value()), ("Outlet", "CAD"))
        self.site.refresh_from_db()
        self.assertEqual((self.site.name, self.site.currency), ("Harbor & Pine", "CAD"))

    def test_who_saves_again_has_the_last_word(self) -> None:
        self.bob_saves(currency="CAD")
        mine = FORM | {"currency": "EUR"}
        answer = self.client.post(self.at, mine | {"seen": self.seen})
        self.assertContains(answer, "Your own value is kept below", status_code=409)
        self.assertEqual(answer.context["form"]["currency"].value(), "EUR")
        self.assertIn("Settings saved", self.save(**mine, seen=answer.context["seen"]))
        self.site.refresh_from_db()
        self.assertEqual(self.site.currency, "EUR")

    def test_the_same_change_twice_is_no_conflict(self) -> None:
        self.bob_saves(currency="CAD")
        self.assertIn("Nothing changed", self.save(currency="CAD", seen=self.seen))

    def test_a_refused_form_is_still_held_against_what_it_showed(self) -> None:
        self.bob_saves(currency="CAD")
        refused = self.client.post(self.at, FORM | {"name": "", "seen": self.seen})
        self.assertEqual((refused.status_code, refused.context["seen"]), (422, self.seen))

    def test_staff_is_not_named(self) -> None:
        User.objects.filter(pk=self.charlie.pk).update(is_staff=True)
        self.charlie.refresh_from_db()
        change_settings(self.site, {"name": "Outlet"}, self.charlie, timezone.now())
        answer = self.client.post(self.at, FORM | {"name": "Mine", "seen": self.seen})
        self.assertContains(answer, "Convultra staff set", status_code=409)


class TestSaving(SettingsCase):
    def test_what_changed_is_saved_and_noted_and_the_rest_is_not(self) -> None:
        self.save()
        page = self.save(currency="cad", allowed_origins="https://shop.example\r\nHTTPS://www.Shop.example/ \r\n")
        self.assertIn("Settings saved", page)
        self.site.refresh_from_db()
        self.assertEqual(self.site.currency, "CAD")
        self.assertEqual(self.site.allowed_origins, ["https://shop.example", "https://www.shop.example"])
        entry = AuditEntry.objects.latest("pk")
        self.assertEqual(entry.action, "site.settings")
        self.assertEqual(set(entry.details), {"currency", "allowed_origins"})

    def test_saving_what_stands_there_notes_nothing(self) -> None:
        self.save()
        before = AuditEntry.objects.count()
        self.assertIn("Nothing changed", self.save())
        self.assertEqual(AuditEntry.objects.count(), before)

    def test_an_origin_that_is_allowed_is_no_longer_turned_away(self) -> None:
        now = timezone.now()
        for origin in ("https://new.example", "https://evil.example"):
            BlockedOrigin.objects.create(site=self.site, origin=origin, first_at=now, last_at=now)
        self.save(allowed_origins="https://shop.example https://new.example")
        self.assertEqual([row.origin for row in BlockedOrigin.objects.all()], ["https://evil.example"])

    def test_each_field_says_what_it_expects_and_nothing_is_saved(self) -> None:
        for field, typed, said in (
            ("name", " ", "Enter a name."),
            ("name", "x" * 101, "100 characters"),
            ("time_zone", "Mars/Olympus", "such as America/Chicago"),
            ("currency", "XXX", "such as USD"),
            ("allowed_origins", "https://ok.example\nshop.example/path", "“shop.example/path” is no address"),
            ("allowed_origins", "\n".join(f"https://{n}.example" for n in range(51)), "50 addresses at most"),
            ("consent_policy", "maybe", "one of the two"),
            ("confirm_mode", "", "Choose one."),
            ("confirm_minutes", "0", "from 1 to 43,200"),
            ("click_retention_days", "91", "from 1 to 90"),
            ("event_retention_days", "30", "from 90 to 3,650"),
            ("daily_event_cap", "9" * 400, "from 1 to 100,000,000"),
            ("daily_event_cap", "1\0", "from 1 to 100,000,000"),
        ):
            with self.subTest(field=field, typed=typed[:20]):
                answer = self.client.post(self.at, FORM | {field: typed, "name": typed if field == "name" else "New"})
                self.assertContains(answer, said, status_code=422)
                self.assertContains(answer, "Nothing was saved", status_code=422)
        self.site.refresh_from_db()
        self.assertEqual(self.site.name, "Harbor & Pine")

    def test_a_number_that_staff_set_beyond_a_limit_may_stay(self) -> None:
        self.site.click_retention_days = 180
        self.site.save(update_fields=["click_retention_days"])
        self.assertIn("Settings saved", self.save(click_retention_days="180", name="Renamed"))
        self.site.refresh_from_db()
        self.assertEqual((self.site.click_retention_days, self.site.name), (180, "Renamed"))

    def test_a_name_is_escaped(self) -> None:
        self.assertNotIn("<script>alert", self.save(name="<script>alert(1)</script>"))

    def test_it_says_what_becomes_of_orders_that_wait_for_the_backend(self) -> None:
        self.assertNotIn("for the backend now", self.page())
        self.deliver(Status.PENDING, hold_reason=Hold.CONFIRMATION)
        self.deliver(Status.PENDING)
        page = self.page()
        self.assertIn("1 order waits for the backend now", page)
        self.assertIn("What waits for the backend goes out.", page)
