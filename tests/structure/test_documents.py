"""The documents tell the truth: what the code has is named, and what is named is there."""

import ast
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from urllib.parse import unquote
from uuid import uuid4

from django.conf import settings
from django.test import SimpleTestCase, override_settings

from convultra.checks import microsoft_credentials_are_set
from dashboard.frame import _ORGANISATION_PAGES, _SET_UP_PAGES, _SITE_PAGES, url_or_nothing
from tests.structure.sources import ROOMS, ROOT, read, tracked_files

READERS = {"_base_address", "_fernet_keys", "_number", "_whole_number"}
COMMANDS = "management/commands"
FIRST_CELL = re.compile(r"^\| `([\w-]+)` \| (.*)$", re.MULTILINE)
PINNED = re.compile(r"^([\w.-]+)(?:\[[\w,]+\])?==(\S+)$", re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
EVERYWHERE = re.compile("/" + "(?:work|farm|home|root)/")
BUT_IN_TESTS = re.compile("/" + "tmp/")


def settings_read(source: str) -> dict[str, ast.expr | None]:
    """Return each name that a settings file reads from the environment, with the expression of its default."""
    found: dict[str, ast.expr | None] = {}
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Name(id=reader), args=[ast.Constant(value=str(name)), *rest]) if reader in READERS:
                found[name] = rest[0] if rest else None
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="env")), args=[ast.Constant(value=str(name)), *_], keywords=given
            ):
                found[name] = next((keyword.value for keyword in given if keyword.arg == "default"), None)
    return found


def folded(node: ast.expr | None) -> object:
    """Return the value of a constant, or of a product of numbers and MINUTE or HOUR; None for anything else."""
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=("MINUTE" | "HOUR") as name):
            return {"MINUTE": 60, "HOUR": 3600}[name]
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            factors = folded(left), folded(right)
            return factors[0] * factors[1] if all(isinstance(one, int) for one in factors) else None  # type: ignore[operator]
    return None


def table(page: str, heading: str) -> dict[str, str]:
    """Return the rows of the tables under a heading of the second level: code in the first cell -> the other cells."""
    section = re.split(r"^## ", read(page), flags=re.MULTILINE)
    text = next(part for part in section if part.startswith(f"{heading}\n"))
    return dict(FIRST_CELL.findall(text))


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as Git hosts make them."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", text), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: str, text: str) -> Iterator[str]:
    """Yield the relative links of a page that lead nowhere, as `page: link`."""
    for link in LINK.findall(FENCED.sub("", text)):
        path, _, anchor = link.partition("#")
        if "://" in link or link.startswith("mailto:"):
            continue
        target = (ROOT / PurePosixPath(page).parent / unquote(path)) if path else ROOT / page
        if not target.resolve().exists() or (anchor and anchor not in anchors(target.read_text())):
            yield f"{page}: {link}"


def machine_paths(path: str, text: str) -> list[str]:
    """Return the lines of a file that name a directory of somebody's machine."""
    patterns = [EVERYWHERE] if path.startswith("tests/") else [EVERYWHERE, BUT_IN_TESTS]
    return [f"{path}: {line}" for line in text.splitlines() if any(pattern.search(line) for pattern in patterns)]


def texts() -> Iterator[tuple[str, str]]:
    """Yield every tracked text file of ours, as its path and its text."""
    for path in tracked_files():
        if not path.startswith("static/vendor/") and not path.endswith((".jpg", ".png", ".woff2")):
            yield path, read(path)


def pages() -> Iterator[tuple[str, str]]:
    """Yield every tracked Markdown page, as its path and its text."""
    return ((path, text) for path, text in texts() if path.endswith(".md"))


class SettingsPageTests(SimpleTestCase):
    def test_it_names_every_setting_and_no_other(self) -> None:
        self.assertEqual(set(table("docs/settings.md", "Settings")), set(settings_read(read("convultra/settings.py"))))

    def test_it_gives_every_default_that_is_a_plain_value(self) -> None:
        page = table("docs/settings.md", "Settings")
        for name, node in settings_read(read("convultra/settings.py")).items():
            value = folded(node)
            if value not in (None, ""):
                self.assertTrue(page[name].startswith(f"`{value}` |"), f"{name} is {value}: {page[name]}")

    def test_it_explains_the_ladder_as_it_is(self) -> None:
        minutes, hourly, last = [30, 60, 120, 240, 480, 960, 1800], [3600] * 23, [21600]
        self.assertEqual(settings.RETRY_LADDER_SECONDS, [*minutes, *hourly, *last])
        self.assertIn(
            "30 s, 1, 2, 4, 8, 16 and 30 minutes, then hourly 23 times, then 6 hours", read("docs/settings.md")
        )

    def test_the_example_file_sets_settings_that_exist(self) -> None:
        named = re.findall(r"^([A-Z_]+)=", read(".env.example"), flags=re.MULTILINE)
        self.assertLessEqual(set(named), set(settings_read(read("convultra/settings.py"))))

    def test_a_new_setting_is_seen_however_it_is_read(self) -> None:
        source = 'A = _number("A", 2 * HOUR)\nB = env.str("B", default="x")\nC = {"c": env.list("C")}'
        found = {name: folded(node) for name, node in settings_read(source).items()}
        self.assertEqual(found, {"A": 7200, "B": "x", "C": None})


class CommandTests(SimpleTestCase):
    def test_every_command_is_named_and_no_other(self) -> None:
        ours = {path.stem for room in ROOMS for path in (ROOT / room / COMMANDS).glob("[!_]*.py")}
        self.assertEqual(set(table("docs/settings.md", "Commands")), ours)

    def test_every_make_target_is_named(self) -> None:
        phony = re.findall(r"^\.PHONY: (.*)$", read("Makefile"), flags=re.MULTILINE)
        named = set(re.findall(r"^\| `make ([\w-]+)`", read("CONTRIBUTING.md"), flags=re.MULTILINE))
        self.assertEqual(named, set(" ".join(phony).split()))


class DecisionsPageTests(SimpleTestCase):
    def test_it_gives_every_pinned_library_with_its_version_and_no_other(self) -> None:
        pinned = dict(PINNED.findall(read("requirements.txt") + read("requirements-dev.txt")))
        for part in ("pages", "sdk", "server_helpers", "vendor"):
            pinned |= json.loads(read(f"tests/{part}/package.json"))["devDependencies"]
        rows = re.findall(r"^\| ([\w./@-]+) \| (\d[\w.]*) \|", read("docs/decisions.md"), flags=re.MULTILINE)
        self.assertEqual(dict(rows), pinned)

    def test_every_library_is_pinned(self) -> None:
        for path in ("requirements.txt", "requirements-dev.txt"):
            lines = [line for line in read(path).splitlines() if line and not line.startswith(("#", "-r "))]
            self.assertEqual([line for line in lines if not PINNED.fullmatch(line)], [])


class ReadmeTests(SimpleTestCase):
    @override_settings(MICROSOFT_CLIENT_ID="")
    def test_it_has_the_section_that_the_check_points_to(self) -> None:
        (warning,) = microsoft_credentials_are_set()
        self.assertIn("README.md, “Credentials from Microsoft”", str(warning.hint))
        self.assertIn("credentials-from-microsoft", anchors(read("README.md")))

    def test_it_leads_to_every_document(self) -> None:
        links = {link.partition("#")[0] for link in LINK.findall(read("README.md"))}
        self.assertEqual([path for path, _ in pages() if path != "README.md" and path not in links], [])

    def test_the_pages_that_are_not_there_yet_are_those_that_the_navigation_leaves_out(self) -> None:
        said = not_done_yet("Pages").split(". ")[0]
        of_a_site, of_everybody = (*_SITE_PAGES, *_SET_UP_PAGES), _ORGANISATION_PAGES
        missing = {page.label for page in of_a_site if not url_or_nothing(page.key, uuid4())}
        missing |= {page.label for page in of_everybody if not url_or_nothing(page.key)}
        self.assertEqual({page.label for page in (*of_a_site, *of_everybody) if page.label in said}, missing)


class EveryFileTests(SimpleTestCase):
    def test_every_link_between_documents_leads_somewhere(self) -> None:
        self.assertEqual([broken for page, text in pages() for broken in broken_links(page, text)], [])

    def test_a_link_that_leads_nowhere_is_found(self) -> None:
        for link in ("docs/nowhere.md", "README.md#no-such-heading", "#no-such-heading"):
            self.assertEqual(list(broken_links("README.md", f"see [it]({link})")), [f"README.md: {link}"])

    def test_no_file_names_a_directory_of_somebodys_machine(self) -> None:
        self.assertEqual(flat(machine_paths(path, text) for path, text in texts()), [])

    def test_a_directory_of_somebodys_machine_is_found(self) -> None:
        for directory in ("work", "farm", "home", "root", "tmp"):
            self.assertTrue(machine_paths("ingest/views.py", f'open("/{directory}/x")'), directory)


def not_done_yet(thing: str) -> str:
    """Return what the README says of one thing that this release does not do yet; nothing when it is done."""
    section = read("README.md").split("## What this release does not do yet\n")[1].split("\n## ")[0]
    return next((entry for entry in section.split("\n- **") if entry.startswith(thing)), "")


def flat(lists: Iterable[list[str]]) -> list[str]:
    """Return the items of all lists."""
    return [item for one in lists for item in one]
