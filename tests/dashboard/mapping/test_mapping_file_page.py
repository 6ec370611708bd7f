"""The mapping as a file on the page: downloaded, shown before it is imported, and imported whole or not at all."""

from typing import TYPE_CHECKING

from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone

from ingest.models import Membership, Role
from integrations.mapping import Rule, set_mapping
from integrations.mapping_file import export_mapping
from tests.cast import make_account, make_goal
from tests.dashboard.mapping.test_mapping_page import MappingTestCase

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Response

WITH_LEAD = """\
accounts:
  "138204417":
    purchase: {goal: Purchase}
    lead: {goal: Trade enquiry, value: none}
"""


class FilePageTestCase(MappingTestCase):
    def post(self, text: str = "", **fields: object) -> "Response":
        return self.client.post(self.url("account-mapping-file"), {"text": text, **fields})

    def shown(self, text: str) -> str:
        return str(self.post(text).context["comparison"].fingerprint)


class TestDownload(FilePageTestCase):
    def test_it_is_the_sites_mapping_as_yaml(self) -> None:
        response = self.client.get(self.url("account-mapping-export"))
        self.assertEqual(response.content.decode(), export_mapping(self.site))
        self.assertIn('filename="harbor-pine-mapping.yaml"', response["Content-Disposition"])


class TestImport(FilePageTestCase):
    def test_it_shows_what_would_change_and_changes_nothing(self) -> None:
        response = self.post(WITH_LEAD)
        self.assertContains(response, "Import 1 change")
        self.assertContains(response, "“Trade enquiry”, no value")
        self.assertIsNone(self.in_force("lead"))

    def test_confirmed_it_is_in_force_with_who_did_it(self) -> None:
        response = self.post(WITH_LEAD, shown=self.shown(WITH_LEAD))
        self.assertRedirects(response, self.url("account-mapping"))
        self.assertEqual(self.in_force("lead"), Rule(self.lead.goal_id, "none"))
        self.assertEqual(self.account.mapping_changes.get().changed_by, self.alice)

    def test_a_file_may_be_uploaded_too(self) -> None:
        file = SimpleUploadedFile("mapping.yaml", b"\xef\xbb\xbf" + WITH_LEAD.encode())
        self.assertContains(self.post(file=file), "Import 1 change")

    def test_an_event_that_it_leaves_out_is_said_to_be_unmapped(self) -> None:
        response = self.post('accounts:\n  "138204417": {}\n')
        self.assertContains(response, "Not forwarded")
        self.assertContains(response, "Import 1 change")

    def test_a_wrong_file_says_line_and_rule_and_half_of_it_is_not_imported(self) -> None:
        response = self.post(WITH_LEAD + "    signup: {goal: Sign up}\n    order: {goal: Purchase, when: price > 3}\n")
        self.assertContains(response, "Line 5, account 138204417, event signup", status_code=422)
        self.assertContains(response, "Line 6, account 138204417, event order", status_code=422)
        self.assertIsNone(self.in_force("lead"))

    def test_confirming_what_is_something_else_by_now_shows_it_again(self) -> None:
        shown = self.shown(WITH_LEAD)
        set_mapping(self.account, "purchase", Rule(self.lead.goal_id), self.bob, timezone.now())
        response = self.post(WITH_LEAD, shown=shown)
        self.assertContains(response, "Somebody changed the mapping while you looked", status_code=409)
        self.assertIsNone(self.in_force("lead"))

    def test_nonsense_is_refused_in_words(self) -> None:
        binary = SimpleUploadedFile("mapping.yaml", b"\xff\xfe\x00")
        large = SimpleUploadedFile("mapping.yaml", b"#" * 800_001)
        for fields in (
            {"text": ""},
            {"file": binary},
            {"file": large},
            {"text": "\0"},
            {"text": "[" * 5000},
            {"text": "x"},
        ):
            with self.subTest(fields=str(fields)[:40]):
                response = self.client.post(self.url("account-mapping-file"), fields)
                self.assertContains(response, "This file was not taken", status_code=422)

    def test_what_it_shows_by_example_is_of_this_account(self) -> None:
        example = self.client.get(self.url("account-mapping-file")).context["example"]
        mistake = f"account {self.account.account_id}, event qualified_lead"  # the one goal that the account lacks
        self.assertContains(self.post(example), mistake, status_code=422)

    def test_hostile_texts_are_escaped(self) -> None:
        page = self.post("accounts:\n  '</textarea><script>alert(1)</script>': {}\n").content.decode()
        self.assertNotIn("<script>alert", page)

    def test_more_accounts_and_rules_cost_no_more_queries(self) -> None:
        self.post(WITH_LEAD)
        with self.assertNumQueries(9):
            self.post(WITH_LEAD)
        second = make_account(self.site, "138204422")
        make_goal(second, "Purchase")
        rules = "".join(f"    event_{number}: {{goal: Purchase}}\n" for number in range(30))
        with self.assertNumQueries(9):
            self.post(WITH_LEAD + f'  "138204422":\n{rules}')

    def test_a_viewer_may_download_and_not_import(self) -> None:
        Membership.objects.filter(user=self.bob).update(role=Role.VIEWER)
        self.client.force_login(self.bob)
        self.assertEqual(self.client.get(self.url("account-mapping-export")).status_code, 200)
        self.assertContains(self.client.get(self.url("account-mapping-file")), "Owner, Admin or Marketer")
        self.assertEqual(self.post(WITH_LEAD).status_code, 403)

    def test_a_stranger_finds_nothing(self) -> None:
        self.client.force_login(self.charlie)
        for name in ("account-mapping-file", "account-mapping-export"):
            self.assertEqual(self.client.get(self.url(name)).status_code, 404)
