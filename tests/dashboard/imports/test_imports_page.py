"""Imports: who may, what the page says at each step, and that nothing of a file is ever run."""

import io
from datetime import timedelta
from typing import Any
from unittest.mock import patch

from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import DataError
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from forwarding.importing import check, store
from ingest import storing
from ingest.models import AuditEntry, Event, Import, ImportChunk, Membership, Role
from tests.cast import CLICK_ID, CastTestCase

HEADER = "event_id,name,occurred_at,value,currency,transaction_id,msclkid,email"


class ImportsTestCase(CastTestCase):
    """A test case that knows the addresses of Imports."""

    def url(self, name: str = "imports", *args: object) -> str:
        return reverse(f"dashboard:{name}", args=[self.site.public_id, *args])

    def upload(self, *rows: str, header: str = HEADER, **said: Any) -> Any:
        """Send a file as the form does."""
        file = SimpleUploadedFile("deals.csv", "\n".join([header, *rows]).encode())
        return self.client.post(self.url(), {"file": file, **said})

    def row(self, number: int = 1, **changes: str) -> str:
        """Return a good row, an hour old."""
        at = f"{timezone.now() - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
        cells = {
            "id": f"deal-{number}", "name": "purchase", "at": at, "value": "10.00", "currency": "USD",
            "order": f"D-{number}", "click": CLICK_ID, "email": "",
        }  # fmt: skip
        return ",".join((cells | changes).values())

    def checked(self, *rows: str, **said: Any) -> Import:
        """Send a file, and let the worker check it."""
        self.upload(*rows, **said)
        source = Import.objects.latest("pk")
        check(source)
        source.refresh_from_db()
        return source


class TestDoors(ImportsTestCase):
    def test_owners_admins_and_marketers_import(self) -> None:
        self.client.force_login(self.bob)
        for role in (Role.OWNER, Role.ADMIN, Role.MARKETER):
            Membership.objects.filter(user=self.bob).update(role=role)
            self.assertContains(self.client.get(self.url()), "Import a file")

    def test_others_are_told_which_role_it_takes(self) -> None:
        self.client.force_login(self.bob)
        for role in (Role.VIEWER, Role.DEVELOPER):
            Membership.objects.filter(user=self.bob).update(role=role)
            self.assertContains(self.client.get(self.url()), "Owner, Admin or Marketer", status_code=403)
            self.assertEqual(self.upload(self.row()).status_code, 403)
        self.assertFalse(Import.objects.exists())

    def test_a_stranger_finds_nothing_at_any_address(self) -> None:
        self.client.force_login(self.alice)
        source = self.checked(self.row())
        self.client.force_login(self.charlie)
        for name, *args in (("imports",), ("import", source.public_id), ("import-rows", source.public_id)):
            self.assertEqual(self.client.get(self.url(name, *args)).status_code, 404)
        for name in ("import-confirm", "import-cancel"):
            self.assertEqual(self.client.post(self.url(name, source.public_id)).status_code, 404)
        self.assertEqual(self.client.get(self.url("import-template", "convultra")).status_code, 404)
        self.assertEqual(self.upload(self.row()).status_code, 404)

    def test_an_import_of_another_site_is_not_found_through_ones_own(self) -> None:
        self.client.force_login(self.alice)
        source = self.checked(self.row())
        self.client.force_login(self.charlie)
        mine = self.charlie.memberships.get().organisation.sites.get()
        url = reverse("dashboard:import", args=[mine.public_id, source.public_id])
        self.assertEqual(self.client.get(url).status_code, 404)


class TestSteps(ImportsTestCase):
    def setUp(self) -> None:
        self.client.force_login(self.alice)

    def page(self, source: Import) -> str:
        return self.client.get(self.url("import", source.public_id)).content.decode()

    def test_a_file_leads_to_its_page_which_follows_the_worker(self) -> None:
        response = self.upload(self.row())
        source = Import.objects.get()
        self.assertRedirects(response, self.url("import", source.public_id))
        page = self.page(source)
        self.assertIn("Nothing is sent until you confirm", page)
        self.assertIn("0 of 1 row checked", page)
        fragment = self.client.get(self.url("import", source.public_id), headers={"HX-Request": "true"})
        self.assertContains(fragment, "data-poll")
        self.assertNotContains(fragment, "<html")

    def test_a_checked_file_asks_and_then_stops_polling(self) -> None:
        page = self.page(self.checked(self.row(1), self.row(2), self.row(3, value='"1.250,00"')))
        self.assertIn("Import 2 rows", page)
        self.assertNotIn("data-poll", page)
        self.assertIn("Value has separators or a sign", page)
        self.assertIn("1.250,00", page)

    def test_a_file_without_a_usable_row_is_through_with_its_check(self) -> None:
        source = self.checked(self.row(1, value="much"), self.row(2, value="more"))
        page = self.page(source)
        self.assertIn("Nothing to import: all 2 rows need a fix.", page)
        self.assertIn("Download these rows", page)
        self.assertNotIn("until you confirm", page)
        self.assertNotIn(self.url("import-cancel", source.public_id), page)
        self.assertIsNone(self.client.get(self.url()).context["source"])
        self.assertContains(self.client.get(self.url()), "Nothing to import")

    def test_a_file_that_brings_nothing_new_says_so(self) -> None:
        row = self.row()
        source = self.checked(row)
        self.client.post(self.url("import-confirm", source.public_id))
        store(source)
        again = self.checked(row.replace("10.00", "10.0"))
        self.assertIn("Nothing to import: the only row was imported before.", self.page(again))

    def test_what_is_worth_knowing_stands_apart_from_what_needs_a_fix(self) -> None:
        page = self.page(self.checked(self.row(1, name="visit"), self.row(2, value="much")))
        fixes, _, notes = page.partition("Worth knowing")
        self.assertIn("except 1 whose name is mapped to no goal", fixes)
        self.assertIn("Value is no number", fixes)
        self.assertIn("Name is mapped to no goal", notes)
        self.assertIn("The rows are stored and not forwarded", notes)

    def test_what_the_database_refuses_is_told_and_can_be_downloaded(self) -> None:
        source = self.checked(self.row(1), self.row(2))
        self.client.post(self.url("import-confirm", source.public_id))
        self.assertNotIn("Download these rows", self.page(source))
        refusing = patch.object(storing, "_insert", side_effect=DataError("value too long"))
        with refusing, self.assertLogs("ingest.committing", "ERROR"):
            store(source)
        page = self.page(source)
        self.assertIn("The database refused it", page)
        self.assertIn("Download these rows", page)
        self.assertContains(self.client.get(self.url("import-rows", source.public_id)), "deal-2")

    def test_confirming_stores_and_says_so(self) -> None:
        source = self.checked(self.row())
        self.client.post(self.url("import-confirm", source.public_id))
        store(source)
        self.assertIn("1 row imported", self.page(source))
        self.assertEqual(Event.objects.get().source, "import")
        actions = AuditEntry.objects.order_by("pk").values_list("action", "actor_name", "target")
        self.assertEqual(
            list(actions),
            [("import.upload", "alice@example.com", "deals.csv"), ("import.confirm", "alice@example.com", "deals.csv")],
        )

    def test_what_is_stored_and_not_planned_yet_is_told_and_followed(self) -> None:
        source = self.checked(self.row(1), self.row(2), self.row(3))
        self.client.post(self.url("import-confirm", source.public_id))
        store(source)
        Event.objects.filter(event_id="deal-1").update(planned_at=timezone.now())
        page = self.page(source)
        self.assertIn("3 rows imported", page)
        self.assertIn("2 more are stored and still being planned", page)
        self.assertIn("data-poll", page)
        Event.objects.update(planned_at=timezone.now())
        page = self.page(source)
        self.assertNotIn("being planned", page)
        self.assertNotIn("data-poll", page)

    def test_cancelling_forgets_the_rows(self) -> None:
        source = self.checked(self.row())
        self.client.post(self.url("import-cancel", source.public_id))
        self.client.post(self.url("import-confirm", source.public_id))
        store(source)
        self.assertIn("Nothing of it was imported", self.page(source))
        self.assertEqual((Event.objects.count(), ImportChunk.objects.count()), (0, 0))
        self.assertEqual(AuditEntry.objects.latest("pk").action, "import.cancel")

    def test_confirming_twice_stores_once(self) -> None:
        source = self.checked(self.row())
        for _ in range(2):
            self.client.post(self.url("import-confirm", source.public_id))
        store(source)
        self.assertEqual(Event.objects.count(), 1)
        self.assertEqual(AuditEntry.objects.filter(action="import.confirm").count(), 1)

    def test_each_refusal_of_a_file_is_told_in_words(self) -> None:
        for header, rows, words in (
            ("", (), "empty"),
            ("first,second", ("1,2",), "no header that we know"),
            ("name,value,msclkid", ("a,1,b",), "The column occurred_at is missing"),
            ("name,occurred_at,name", ("a,1,b",), "two columns for the same thing"),
            (HEADER, (), "a header and no rows"),
            ("%PDF-1.7", (), "This is a PDF, from which rows cannot be read"),
        ):
            with self.subTest(words):
                self.assertContains(self.upload(*rows, header=header), words, status_code=422)
        self.assertContains(self.client.post(self.url()), "Choose the CSV file", status_code=422)
        self.assertFalse(Import.objects.exists())

    def test_dates_that_could_be_either_are_taken_once_the_file_says_which(self) -> None:
        at = timezone.now() - timedelta(days=1)
        source = self.checked(self.row(at=f"{at:%d/%m/%Y %H:%M}"), dates="day-first", time_zone="UTC")
        self.assertEqual(source.verdicts, {"new": 1})

    def test_nonsense_in_the_form_is_refused(self) -> None:
        for said in ({"time_zone": "Mars/Olympus"}, {"dates": "year-first"}, {"format": "xml"}):
            with self.subTest(said):
                self.assertEqual(self.upload(self.row(), **said).status_code, 422)

    def test_the_list_takes_a_fixed_number_of_queries(self) -> None:
        def queries() -> int:
            with CaptureQueriesContext(database) as captured:
                self.assertEqual(self.client.get(self.url()).status_code, 200)
            return len(captured)

        for number in range(2):
            self.client.post(self.url("import-cancel", self.checked(self.row(number)).public_id))
        few = queries()
        for number in range(5):
            source = self.checked(self.row(number))
            self.client.post(self.url("import-confirm", source.public_id))
            store(source)
        self.assertLessEqual(queries(), few + 3)
        self.assertLess(queries(), 16)

    def test_older_imports_have_pages_of_their_own(self) -> None:
        now = timezone.now()
        for number in range(25):
            Import.objects.create(
                site=self.site, file_name=f"file-{number}.csv", format="convultra", time_zone="UTC", delimiter=",",
                actor_name="Alice", status="done", created_at=now,
            )  # fmt: skip
        first = self.client.get(self.url())
        self.assertContains(first, "file-24.csv")
        self.assertNotContains(first, "file-4.csv")
        self.assertContains(self.client.get(first.context["older"]), "file-4.csv")


class TestHarmless(ImportsTestCase):
    def setUp(self) -> None:
        self.client.force_login(self.alice)

    def test_what_looks_like_a_page_or_a_formula_is_only_text(self) -> None:
        header = HEADER.replace("email", "<script>alert(1)</script>")
        source = self.checked(self.row(order="=cmd()|' /C calc'!A0", value="<script>x</script>"), header=header)
        page = self.client.get(self.url("import", source.public_id)).content.decode()
        self.assertNotIn("<script>alert", page)
        self.assertNotIn("<script>x", page)
        self.assertIn("&lt;script&gt;x", page)
        told = self.client.get(self.url("import-rows", source.public_id)).content.decode()
        self.assertIn("'=cmd()", told)
        self.assertNotIn(",=cmd()", told)

    def test_no_address_is_kept_in_plain_wherever_it_stands(self) -> None:
        self.checked(
            self.row(1, email="jane@example.com"),
            self.row(2, order="jane@example.com"),
            self.row(3, email="jane at home"),
        )
        kept = str(list(ImportChunk.objects.values_list("rows", "verdicts"))) + str(list(Import.objects.values()))
        self.assertNotIn("jane@", kept)
        self.assertNotIn("jane at", kept)
        self.assertIn("personal_data", kept)

    def test_the_rows_to_fix_come_with_what_is_wrong(self) -> None:
        source = self.checked(self.row(1), self.row(2, value="1.234,5"))
        told = self.client.get(self.url("import-rows", source.public_id))
        self.assertEqual(told["Content-Disposition"], 'attachment; filename="deals-to-fix.csv"')
        lines = told.content.decode().splitlines()
        self.assertEqual(len(lines), 2)

    def test_both_templates_are_taken_as_they_are_downloaded(self) -> None:
        for name in ("convultra", "microsoft"):
            with self.subTest(name):
                template = self.client.get(self.url("import-template", name))
                file = io.BytesIO(template.content)
                file.name = f"{name}.csv"
                self.client.post(self.url(), {"file": file})
                source = Import.objects.latest("pk")
                check(source)
                source.refresh_from_db()
                self.assertEqual((source.format, source.total_rows, source.problems), (name, 1, {}))
        self.assertEqual(self.client.get(self.url("import-template", "xml")).status_code, 404)
