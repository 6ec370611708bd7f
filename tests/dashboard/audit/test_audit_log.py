"""The audit log: who reads what of it, in which words, by which filter, and as a file."""

import csv
import io
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from unittest import mock
from uuid import uuid4

import time_machine
from django.contrib.auth.models import User

from dashboard.audit import listing
from ingest.audit import record
from ingest.models import AuditEntry, Membership, Organisation, Role, Site
from integrations.mapping import Rule, set_mapping
from tests.cast import NOON, CastTestCase, make_site, make_user

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Answer


class AuditCase(CastTestCase):
    organisation: Organisation
    outlet: Site

    @classmethod
    def setUpTestData(cls) -> None:
        super().setUpTestData()
        cls.organisation = cls.site.organisation
        cls.outlet = Site.objects.create(organisation=cls.organisation, name="Outlet")

    def setUp(self) -> None:
        self.client.force_login(self.alice)

    def note(self, target: str, site: Site | None = None, actor: User | None = None, **details: Any) -> None:
        action = details.pop("action", "delivery.retry")
        record(
            actor or self.alice,
            action,
            organisation=self.organisation,
            site=site,
            target=target,
            details=details,
            now=NOON,
        )

    def read(self, query: str = "") -> "Answer":
        return self.client.get(f"/org/audit/?{query}")

    def targets(self, query: str = "") -> list[str]:
        return [line.what.target for line in self.read(query).context["lines"]]

    def line(self, action: str, target: str, details: dict[str, object]) -> listing.Line:
        """Note something and return how it reads."""
        org = self.organisation
        record(self.alice, action, organisation=org, site=self.site, target=target, details=details, now=NOON)
        newest: listing.Line = self.read().context["lines"][0]
        return newest

    def hold_bob_to(self, *sites: Site) -> None:
        member = Membership.objects.get(user=self.bob)
        member.all_sites = False
        member.save()
        member.sites.set(sites)
        self.client.force_login(self.bob)


class WhoReads(AuditCase):
    def setUp(self) -> None:
        super().setUp()
        self.note("of the shop", self.site)
        self.note("of the outlet", self.outlet)
        self.note("of no site")

    def test_a_member_of_all_sites_reads_everything_newest_first(self) -> None:
        self.client.force_login(self.bob)
        self.assertEqual(self.targets(), ["of no site", "of the outlet", "of the shop"])

    def test_a_member_of_one_site_reads_of_that_site_only(self) -> None:
        self.hold_bob_to(self.outlet)
        self.assertEqual(self.targets(), ["of the outlet"])
        self.assertEqual(self.targets(f"site={self.site.public_id}"), ["of the outlet"])
        self.assertNotContains(self.read(), "Harbor &amp; Pine<")

    def test_a_member_of_one_site_is_offered_nobody_whom_the_team_page_hides(self) -> None:
        Membership.objects.create(user=make_user("dora"), organisation=self.organisation, role="viewer")
        self.assertContains(self.read(), "Dora<")
        self.hold_bob_to(self.outlet)
        self.assertNotContains(self.read(), "Dora")
        self.assertContains(self.read(), "Alice<")

    def test_the_file_holds_no_more_than_the_page(self) -> None:
        self.hold_bob_to(self.outlet)
        self.assertEqual(len(rows_of(self.client.get("/org/audit/export.csv"))), 1)

    def test_a_stranger_finds_nothing(self) -> None:
        self.client.force_login(self.charlie)
        for path in ("/org/audit/", "/org/audit/export.csv"):
            self.assertEqual(self.client.get(f"{path}?org={self.organisation.public_id}").status_code, 404)
        self.assertEqual(self.targets(), [])

    def test_of_two_organisations_each_keeps_its_own(self) -> None:
        second = make_site("Elsewhere", self.alice).organisation
        self.assertEqual(self.targets(f"org={second.public_id}"), [])
        self.assertEqual(len(self.targets(f"org={self.organisation.public_id}")), 3)


class Words(AuditCase):
    def test_what_was_and_what_became_stand_side_by_side(self) -> None:
        self.note("bob@example.com", action="membership.change", role=["viewer", "admin"])
        answer = self.read()
        self.assertContains(answer, "Changed the role or sites of")
        self.assertContains(answer, '<del class="t2"><bdi>viewer</bdi></del>')

    def test_an_action_that_nobody_foresaw_still_reads(self) -> None:
        self.note("Order service", action="server_key.rotate_twice")
        self.assertContains(self.read(), "Rotate twice the secret key")

    def test_a_correction_says_what_it_did_to_the_money(self) -> None:
        details: dict[str, object] = {"before": {"USD": "129.95"}, "after": {"USD": "99.95"}}
        line = self.line("delivery.restate", "HP-48211", details)
        self.assertEqual(str(line.what), "Restated the conversion HP-48211 from $129.95 to $99.95")
        line = self.line("delivery.retract", "HP-48198", {"before": {"USD": "64.75"}})
        self.assertEqual(str(line.what), "Retracted the conversion HP-48198 ($64.75)")
        line = self.line("delivery.retract", "HP-1", {"before": {"pending": 1}, "after": "odd"})
        self.assertNotIn("odd", str(line.what))

    def test_a_changed_mapping_is_in_the_log(self) -> None:
        set_mapping(self.account, "lead", Rule(self.goal.goal_id), self.alice, NOON)
        line = self.read().context["lines"][0]
        self.assertEqual(str(line.what), "Changed the mapping of lead in Search – US")
        self.assertEqual(line.changes[0], ("goal", "–", "Purchase"))

    def test_a_test_conversion_says_to_which_account_it_went(self) -> None:
        line = self.line("test.send", str(self.account), {"value": "1.00"})
        self.assertEqual(str(line.what), "Sent a test conversion to Search – US (138204417)")

    def test_an_import_says_nothing_that_only_a_machine_reads(self) -> None:
        line = self.line("import.upload", "deals.csv", {"import": str(uuid4()), "rows": 12})
        self.assertEqual(line.changes, [("rows", "–", "12")])

    def test_a_list_is_told_with_what_was_done_to_it(self) -> None:
        line = self.line("bulk.start", "Search – US", {"action": "retry", "account": "138204417"})
        self.assertEqual(str(line.what), "Started to retry the listed conversions of Search – US")

    def test_without_an_object_a_sentence_ends_earlier(self) -> None:
        self.assertEqual(str(self.line("delivery.retry", "", {}).what), "Retried the conversion")

    def test_staff_is_not_named(self) -> None:
        sam = make_user("sam")
        User.objects.filter(pk=sam.pk).update(is_staff=True)
        sam.refresh_from_db()
        self.note("HP-1", actor=sam)
        self.note("HP-2", actor=self.alice, by_staff=True)
        answer = self.read()
        self.assertContains(answer, "Convultra staff</span>", count=2)
        self.assertNotContains(answer, "sam")
        self.assertEqual(self.targets("q=sam"), [])
        self.assertEqual(self.targets("person=staff"), ["HP-2", "HP-1"])

    def test_markup_and_long_texts_stay_text(self) -> None:
        self.note("<script>x</script>", note="<b>" * 4000, action="import.upload")
        answer = self.read()
        self.assertNotContains(answer, "<script>x")
        self.assertNotContains(answer, "<b>")


class Links(AuditCase):
    def href(self, action: str, target: str, **details: object) -> str:
        named = {name.removesuffix("_"): value for name, value in details.items()}
        return self.line(action, target, named).href

    def test_each_object_leads_to_where_it_is_found(self) -> None:
        one, site = str(uuid4()), f"/s/{self.site.public_id}"
        account = f"{site}/accounts/{self.account.account_id}"
        found = {
            self.href(
                "delivery.retry", "HP-1", account=self.account.account_id, delivery=one
            ): f"{account}/logs/{one}/",
            self.href(
                "delivery.retry", "2 of Search", account=self.account.account_id, deliveries=2
            ): f"{account}/logs/",
            self.href("account.pause", str(self.account)): f"{account}/",
            self.href("goal.create", "Lead", account=str(self.account)): f"{account}/mapping/",
            self.href("import.upload", "a.csv", import_=one): f"{site}/imports/{one}/",
            self.href("server_key.create", "Shop"): f"{site}/keys/",
            self.href("membership.change", "bob@example.com"): f"/org/team/?org={self.organisation.public_id}",
        }
        self.assertEqual(list(found), list(found.values()))

    def test_nobody_is_led_to_what_their_role_may_not_open(self) -> None:
        Membership.objects.filter(user=self.alice).update(role=Role.VIEWER)
        self.assertEqual(self.href("server_key.create", "Shop"), "")
        self.assertEqual(self.href("import.upload", "a.csv", import_=str(uuid4())), "")

    def test_nonsense_in_the_details_leads_nowhere(self) -> None:
        self.assertEqual(self.href("delivery.retry", "HP-1", account="x", delivery="../.."), "")
        self.assertEqual(self.href("import.upload", "a.csv", import_="x"), "")


class Filters(AuditCase):
    def setUp(self) -> None:
        super().setUp()
        self.note("HP-1", self.site)
        self.note("HP-2", self.outlet, actor=self.bob)
        record(None, "account.pause", organisation=self.organisation, site=self.site, target="Search", now=NOON)

    def test_by_site_person_and_text(self) -> None:
        bobs = Membership.objects.get(user=self.bob).pk
        expected = {
            f"site={self.outlet.public_id}": ["HP-2"],
            f"person={bobs}": ["HP-2"],
            "person=server": ["Search"],
            "q=hp-": ["HP-2", "HP-1"],
            "q=bob@": ["HP-2"],
            "q=pause": ["Search"],
        }
        self.assertEqual({query: self.targets(query) for query in expected}, expected)

    def test_nonsense_filters_nothing(self) -> None:
        for query in ("site=x", "person=%00", "q=%00", "before=x", f"before={9**40}", "before=-1", f"q={'x' * 5000}"):
            with self.subTest(query):
                self.assertEqual(len(self.targets(query)), 3)

    def test_no_match_says_so_and_offers_the_way_back(self) -> None:
        self.assertContains(self.read("q=nothing-like-it"), "Clear filters")


class Pages(AuditCase):
    def test_older_pages_go_on_where_the_first_ended(self) -> None:
        for number in range(listing.PAGE_ROWS + 5):
            self.note(f"HP-{number}")
        older = self.read("q=HP").context["older"]
        self.assertIn("q=HP", older)
        self.assertEqual(self.targets(older.lstrip("?")), [f"HP-{number}" for number in (4, 3, 2, 1, 0)])

    def test_its_queries_do_not_grow_with_the_entries(self) -> None:
        self.note("HP-1", self.site)
        with self.assertNumQueries(9):
            self.read()
        for number in range(20):
            self.note(f"HP-{number}", self.outlet, actor=self.bob, value=["1", "2"])
        with self.assertNumQueries(9):
            self.read()


class TheFile(AuditCase):
    def test_it_has_a_row_for_each_field_and_follows_the_filter(self) -> None:
        self.note("HP-1", self.site, value=["129.95", "99.95"], scope="one", action="delivery.restate")
        self.note("HP-2", self.outlet)
        rows = rows_of(self.client.get(f"/org/audit/export.csv?site={self.site.public_id}"))
        self.assertEqual([row["Field"] for row in rows], ["value", "scope"])
        self.assertEqual((rows[0]["Before"], rows[0]["After"]), ("129.95", "99.95"))
        self.assertEqual((rows[0]["Who"], rows[0]["When (UTC)"]), ("Alice", f"{NOON:%Y-%m-%dT%H:%M:%SZ}"))

    def test_no_cell_is_a_formula(self) -> None:
        self.note("=HYPERLINK(1)", self.site, value=["@x", "+1+1"])
        row = rows_of(self.client.get("/org/audit/export.csv"))[0]
        self.assertFalse([cell for cell in row.values() if cell[:1] in "=@+"])

    def test_it_goes_on_beyond_one_stretch(self) -> None:
        for number in range(5):
            self.note(f"HP-{number}")
        with mock.patch.object(listing, "ROWS_AT_ONCE", 2):
            self.assertEqual(len(rows_of(self.client.get("/org/audit/export.csv"))), 5)


def rows_of(answer: "Answer") -> list[dict[str, str]]:
    """Return a CSV answer as its rows."""
    text = answer.getvalue().decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text)))


class KindAndPeriod(AuditCase):
    def test_entries_of_a_kind_of_action(self) -> None:
        self.note("HP-1")
        self.note("Order service", action="server_key.create")
        self.assertEqual(self.targets("kind=keys"), ["Order service"])
        self.assertEqual(self.targets("kind=conversions"), ["HP-1"])

    def test_entries_of_a_period_on_the_page_and_in_the_file(self) -> None:
        self.note("of now")
        AuditEntry.objects.create(
            organisation=self.organisation, action="site.add", target="old", created_at=NOON - timedelta(days=8)
        )
        with time_machine.travel(NOON, tick=False):
            self.client.force_login(self.alice)
            self.assertEqual(self.targets("days=7"), ["of now"])
            self.assertEqual(self.targets("days=30"), ["old", "of now"])
            self.assertEqual(len(rows_of(self.client.get("/org/audit/export.csv?days=7"))), 1)

    def test_nonsense_is_named(self) -> None:
        self.assertContains(self.read("kind=x&days=x"), "Not understood: action and period")
