"""The mapping as YAML: out, into Git, and back in, all of it or nothing."""

import io
import tempfile
from pathlib import Path
from unittest import mock

from django.core.management import CommandError, call_command

from integrations.mapping import Rule, rule_of, set_mapping
from integrations.mapping_file import ImportRefused, ImportReport, export_mapping, import_mapping
from integrations.models import AdAccount, GoalMapping, MappingChange
from tests.cast import NOON, CastTestCase, make_account, make_goal

FILE = """\
accounts:
  "138204417":  # Search – US
    purchase: {goal: Purchase}
    qualified_lead: {goal: 'Qualified: Lead ', value: none}
    phone_sale: {goal: Purchase, value: 12.5, when: value >= 50}
    zebra: {goal: Purchase, when: currency == "EUR"}
  "138204422":  # Shopping – US
    purchase: {goal: Shopping Purchase}
"""


ODD_NAMES = (
    *(" Lead  Form ", "yes", "null", "~", "123", "1.5", "0x1F", "2026-11-21", "12:30", "- x", "# x", "a # b", "a: b"),
    *("{a}", "[a]", "a, b", '"', "'", 'it\'s "it"', "&a", "*a", "!a", "%a", "@a", "`a`", "|", ">", "?", "=", "<<"),
    *("ünï 🛒", "line\nbreak", "tab\there", "\x85", "\u2028", "\ufeff", "\x7f", "x" * 100),
)


class MappingFile(CastTestCase):
    def setUp(self) -> None:
        make_goal(self.account, "Qualified: Lead ")
        self.shopping = make_account(self.site, "138204422", name="Shopping – US")
        make_goal(self.shopping, "Shopping Purchase")

    def load(self, text: str) -> ImportReport:
        return import_mapping(self.site, text, self.alice, NOON)

    def rules(self) -> dict[tuple[str, str], Rule | None]:
        rows = GoalMapping.objects.select_related("account", "goal")
        return {(row.account.account_id, row.event_name): rule_of(row) for row in rows}


class RoundTripTest(MappingFile):
    def test_what_is_imported_is_exported_to_the_letter(self) -> None:
        self.load(FILE)
        self.assertEqual(export_mapping(self.site), FILE)

    def test_a_second_import_changes_nothing(self) -> None:
        self.load(FILE)
        MappingChange.objects.all().delete()
        self.assertEqual(self.load(FILE), ImportReport((), (), 5))
        self.assertFalse(MappingChange.objects.exists())

    def test_the_report_names_what_was_set(self) -> None:
        report = self.load(FILE)
        self.assertEqual(report.unchanged, 1)
        self.assertIn("138204417 qualified_lead", report.changed)
        self.assertEqual(MappingChange.objects.count(), 4)

    def test_an_event_left_out_is_unmapped_and_an_account_left_out_stays(self) -> None:
        self.load(FILE)
        report = self.load('accounts: {"138204417": {purchase: {goal: Purchase}}}')
        self.assertEqual(report.removed, ("138204417 phone_sale", "138204417 qualified_lead", "138204417 zebra"))
        self.assertIn(("138204422", "purchase"), self.rules())

    def test_an_account_without_events_loses_its_mapping(self) -> None:
        self.assertEqual(self.load('accounts: {"138204417": }').removed, ("138204417 purchase",))

    def test_an_empty_mapping_is_a_file_too(self) -> None:
        self.account.mappings.all().delete()
        text = export_mapping(self.site)
        self.assertEqual(self.load(text), ImportReport((), (), 0))
        AdAccount.objects.update(is_active=False)
        self.assertEqual(export_mapping(self.site), "accounts: {}\n")

    def test_a_mapping_to_a_goal_that_is_gone_survives_the_trip(self) -> None:
        self.account.goals.update(gone_at=NOON)
        self.assertEqual(self.load(export_mapping(self.site)).unchanged, 1)

    def test_an_account_id_without_quotes_is_the_same_account(self) -> None:
        self.assertEqual(self.load("accounts: {138204417: {purchase: {goal: Purchase}}}").unchanged, 1)

    def test_any_goal_name_survives_the_trip(self) -> None:
        for number, name in enumerate(ODD_NAMES):
            goal = make_goal(self.account, name, f"55{number}")
            set_mapping(self.account, "lead", Rule(goal.goal_id), None, NOON)
            text = export_mapping(self.site)
            set_mapping(self.account, "lead", None, None, NOON)
            with self.subTest(name):
                self.load(text)
                self.assertEqual(self.rules()["138204417", "lead"], Rule(goal.goal_id))

    def test_an_accounts_odd_name_does_no_harm(self) -> None:
        AdAccount.objects.update(name="# \n- {a: \u2028 \x85 \"'")
        self.assertEqual(self.load(export_mapping(self.site)).unchanged, 1)


class RefusedTest(MappingFile):
    def assert_refused(self, text: str, *lines: str) -> None:
        before = self.rules()
        with self.assertRaises(ImportRefused) as refused:
            self.load(text)
        for line in lines:
            self.assertIn(line, "\n".join(refused.exception.errors))
        self.assertEqual(self.rules(), before)
        self.assertFalse(MappingChange.objects.exists())

    def one(self, rule: str) -> str:
        return f'accounts:\n  "138204417":\n    lead: {rule}\n'

    def test_every_mistake_has_a_line_of_its_own_and_nothing_is_changed(self) -> None:
        text = FILE + '    lead: {goal: Purchase}\n  "404":\n    purchase: {goal: Purchase}\n'
        self.assert_refused(
            text,
            "Line 9, account 138204422, event lead: the account has no goal with exactly the name `Purchase`.",
            "Line 10, account 404: this site has no such account.",
        )

    def test_a_goal_is_named_exactly(self) -> None:
        self.assert_refused(self.one("{goal: purchase}"), "Did you mean `Purchase`?")
        self.assert_refused(self.one("{goal: 'Purchase '}"), "exactly the name `Purchase `")

    def test_a_name_that_two_goals_share_is_refused(self) -> None:
        make_goal(self.account, "Purchase", "9100")
        self.assert_refused(self.one("{goal: Purchase}"), "2 goals have the name `Purchase` (9001, 9100)")

    def test_a_goal_that_takes_no_conversions_is_refused(self) -> None:
        make_goal(self.account, "Store visit", status="Paused")
        self.assert_refused(
            self.one("{goal: Store visit}"), "Line 3, account 138204417, event lead: Store visit is paused"
        )

    def test_an_account_of_another_site_is_unknown(self) -> None:
        make_account(self.charlie.memberships.get().organisation.sites.get(), "31415")
        self.assert_refused('accounts: {"31415": {purchase: {goal: Purchase}}}', "account 31415: this site has no such")

    def test_a_wrong_rule_is_refused(self) -> None:
        for rule, words in {
            "{}": "`goal` is missing",
            "Purchase": "names and values are due",
            "[Purchase]": "names and values are due",
            "{goal: }": "a text is due",
            "{goal: [Purchase]}": "a text is due",
            "{goal: Purchase, goals: x}": "but here stands `goals`",
            "{goal: Purchase, goal: Purchase}": "each once",
            "{goal: Purchase, value: -1}": "not `-1`",
            "{goal: Purchase, value: 1e3}": "not `1e3`",
            "{goal: Purchase, value: .inf}": "not `.inf`",
            "{goal: Purchase, value: 1_000}": "not `1_000`",
            "{goal: Purchase, value: 1.2345}": "at most 3 decimals",
            "{goal: Purchase, value: 1000000000000}": "at most 999,999,999,999",
            "{goal: Purchase, when: value >> 5}": "After `value >` comes a number",
            "{goal: Purchase, when: {a: b}}": "a text is due",
            "{? [a] : b}": "a name is due",
        }.items():
            with self.subTest(rule):
                self.assert_refused(self.one(rule), "Line 3", words)

    def test_a_file_of_another_shape_is_refused(self) -> None:
        for text, words in {
            "": "`accounts:` at its top",
            "[]": "names and values are due",
            "just a text": "names and values are due",
            "account: {}": "`accounts:` at its top",
            "accounts: {}\nother: 1": "nothing beside it",
            "accounts: [1]": "names and values are due",
            "accounts: {1: [": "Line 1: this is not YAML",
            "accounts:\n\t- x": "Line 2: this is not YAML",
            "accounts: {1: \0}": "not YAML",
            "--- {}\n--- {}": "not YAML",
            "accounts: !!python/object/apply:os.system [true]": "names and values are due",
            "accounts: *missing": "not YAML",
            "[" * 5_000: "not YAML",
            "accounts: &a {1: *a}": "account 1: this site has no such account",
            "x" * 1_000_001: "at most 1,000,000 characters",
        }.items():
            with self.subTest(text[:40]):
                self.assert_refused(text, words)

    def test_a_thing_that_is_named_twice_is_refused(self) -> None:
        self.assert_refused('accounts: {"138204417": {}, "138204417": {}}', "it is in the file twice")
        self.assert_refused(
            self.one("{goal: Purchase}") + "    lead: {goal: Purchase}", "Line 4", "in the account twice"
        )

    def test_a_wrong_event_name_is_refused(self) -> None:
        self.assert_refused('accounts: {"138204417": {"a b": {goal: Purchase}}}', "An event name begins with a letter")


class CommandTest(MappingFile):
    def run_command(self, *arguments: str, stdin: str = "") -> tuple[str, str]:
        out, err = io.StringIO(), io.StringIO()
        with mock.patch("sys.stdin", io.StringIO(stdin)):
            call_command("mapping", *arguments, stdout=out, stderr=err)
        return out.getvalue(), err.getvalue()

    @property
    def site_id(self) -> str:
        return str(self.site.public_id)

    def test_it_writes_to_standard_output(self) -> None:
        out, err = self.run_command("export", self.site_id)
        self.assertEqual(out, export_mapping(self.site))
        self.assertEqual(err, "")

    def test_it_reads_from_standard_input_and_says_what_it_did(self) -> None:
        _, err = self.run_command("import", self.site_id, stdin=FILE)
        self.assertIn("Set 138204422 purchase", err)
        self.assertIn("Harbor & Pine: 4 set, 0 removed, 1 unchanged.", err)

    def test_it_moves_a_mapping_by_a_file(self) -> None:
        self.load(FILE)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "mapping.yaml"
            self.run_command("export", self.site_id, str(path))
            self.assertEqual(path.read_text(encoding="utf-8"), FILE)
            self.account.mappings.all().delete()
            self.run_command("import", self.site_id, str(path))
        self.assertEqual(export_mapping(self.site), FILE)

    def test_a_mistake_stops_it_with_nothing_changed(self) -> None:
        with self.assertRaisesMessage(CommandError, "Nothing was changed."):
            self.run_command("import", self.site_id, stdin="accounts: {404: {}}")

    def test_what_is_not_there_is_said_in_a_sentence(self) -> None:
        for arguments, words in (
            (("export", "not-a-uuid"), "There is no site not-a-uuid."),
            (("export", str(self.account.connection.public_id)), "There is no site"),
            (("import", self.site_id, "/nonexistent/file"), "cannot be read: No such file"),
            (("export", self.site_id, "/nonexistent/file"), "cannot be written: No such file"),
        ):
            with self.subTest(words), self.assertRaisesMessage(CommandError, words):
                self.run_command(*arguments)

    def test_a_file_that_is_not_utf_8_is_refused(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "mapping.yaml"
            path.write_bytes(b"\xff\xfe")
            with self.assertRaisesMessage(CommandError, "is not UTF-8"):
                self.run_command("import", self.site_id, str(path))
