"""Who may import whom: dashboard -> forwarding -> integrations -> ingest -> convultra, never back."""

import ast
import re
from collections.abc import Callable, Iterator

from django.test import SimpleTestCase

from tests.structure.sources import ROOMS, product_files, tracked_files

MICROSOFT, EMULATOR = "integrations.microsoft_ads", "integrations.microsoft_ads.emulator"
EMULATOR_COMMAND = "integrations/management/commands/emulator.py"
FOR_TESTS_ONLY = ("hypothesis", "msads", "openapi_client", "playwright", "pytest", "responses", "tests", "time_machine")
TOP_LEVEL = {
    *(".ci", "docs", "static", "templates", "tests", *ROOMS),
    *(".env.example", ".gitignore", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md"),
    *("manage.py", "pyproject.toml", "requirements-dev.txt", "requirements.txt"),
}
# The folders of forwarding, each above what it may import.
FOLDERS = {
    "rows": 1,
    "corrections": 2,
    "planning": 3,
    "sending": 3,
    "hands": 4,
    "test_center": 4,
    "worker": 4,
    "alerts": 5,
}
DOTTED = re.compile(rf"(?:{'|'.join(ROOMS)})(?:\.\w+)+")

# A rule looks at the file that imports, and at the module imported, and says whether that is wrong.
Rule = Callable[[str, str], bool]


def imports_of(path: str, source: str) -> Iterator[str]:
    """Yield every module that a file names: at its top, in functions, for types only, and dotted in a text.

    A text counts when all of it is a dotted name of ours, as in `import_module("forwarding.tasks")` or
    `ForeignKey("forwarding.Delivery")`.
    """
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                base = ".".join(filter(None, [_package(path, level), module]))
                yield from (f"{base}.{alias.name}" for alias in names)
            case ast.Constant(value=str(text)) if DOTTED.fullmatch(text):
                yield text


def breaches(rule: Rule, files: Iterator[tuple[str, str]]) -> list[str]:
    """Return what breaks a rule, as `path: module`."""
    return [f"{path}: {module}" for path, source in files for module in imports_of(path, source) if rule(path, module)]


def looks_back(path: str, module: str) -> bool:
    room, imported = path.split("/")[0], module.split(".")[0]
    return imported in ROOMS and ROOMS.index(imported) > ROOMS.index(room) and not _wires_rooms(path)


def looks_back_in_forwarding(path: str, module: str) -> bool:
    if not (path.startswith("forwarding/") and _is_of(module, "forwarding")):
        return False
    folder, imported = path.split("/")[1], (*module.split("."), "")[1]
    both_known = folder in FOLDERS and imported in FOLDERS
    return both_known and folder != imported and FOLDERS[imported] >= FOLDERS[folder]


def brings_django_to_the_client(path: str, module: str) -> bool:
    return _is_in(path, MICROSOFT) and re.match(r"django(_\w+)?(\.|$)", module) is not None


def brings_us_to_the_client(path: str, module: str) -> bool:
    return _is_in(path, MICROSOFT) and module.split(".")[0] in ROOMS and not _is_of(module, MICROSOFT)


def mixes_client_and_emulator(path: str, module: str) -> bool:
    if not _is_in(path, MICROSOFT) or not _is_of(module, MICROSOFT):
        return False
    return _is_in(path, EMULATOR) != _is_of(module, EMULATOR)


def leans_on_the_emulator(path: str, module: str) -> bool:
    return _is_of(module, EMULATOR) and not _is_in(path, EMULATOR) and path != EMULATOR_COMMAND


def needs_what_only_tests_have(_path: str, module: str) -> bool:
    return any(_is_of(module, package) for package in FOR_TESTS_ONLY)


class ImportTests(SimpleTestCase):
    def assert_kept(self, rule: Rule) -> None:
        self.assertEqual(breaches(rule, product_files()), [])

    def test_rooms_never_import_back(self) -> None:
        self.assert_kept(looks_back)

    def test_the_folders_of_forwarding_never_import_back(self) -> None:
        self.assert_kept(looks_back_in_forwarding)

    def test_the_microsoft_client_knows_no_django(self) -> None:
        self.assert_kept(brings_django_to_the_client)

    def test_the_microsoft_client_knows_no_other_room(self) -> None:
        self.assert_kept(brings_us_to_the_client)

    def test_client_and_emulator_are_strangers(self) -> None:
        self.assert_kept(mixes_client_and_emulator)

    def test_only_its_command_imports_the_emulator(self) -> None:
        self.assert_kept(leans_on_the_emulator)

    def test_the_product_needs_nothing_that_only_tests_have(self) -> None:
        self.assert_kept(needs_what_only_tests_have)

    def test_the_top_level_holds_what_was_agreed_on(self) -> None:
        self.assertEqual({path.split("/")[0] for path in tracked_files()} - TOP_LEVEL, set())


class WalkerTests(SimpleTestCase):
    """The rules above hold only as far as the walker sees: each way to import, planted and found."""

    def assert_caught(self, rule: Rule, path: str, source: str) -> None:
        self.assertTrue(breaches(rule, iter([(path, source)])), source)

    def test_it_sees_every_way_to_import(self) -> None:
        for source in (
            "import forwarding",
            "import os, forwarding.tasks as t",
            "from forwarding import models",
            "from forwarding.models import Delivery",
            "def f():\n    from forwarding import models",
            "if TYPE_CHECKING:\n    from forwarding import models",
            "import_module('forwarding.tasks')",
            "ForeignKey('forwarding.Delivery')",
        ):
            self.assert_caught(looks_back, "ingest/views.py", source)

    def test_it_resolves_relative_imports(self) -> None:
        path = "integrations/microsoft_ads/client.py"
        self.assert_caught(mixes_client_and_emulator, path, "from .emulator import rules")
        self.assert_caught(mixes_client_and_emulator, path, "from . import emulator")
        self.assert_caught(brings_us_to_the_client, path, "from ..models import AdAccount")

    def test_it_lets_the_way_forward_pass(self) -> None:
        source = "from ingest.models import Event\nfrom . import mapping\nname = 'forwarding.'"
        self.assertEqual(breaches(looks_back, iter([("integrations/goals.py", source)])), [])

    def test_it_catches_each_planted_breach(self) -> None:
        for rule, path, source in (
            (looks_back_in_forwarding, "forwarding/rows/counts.py", "from forwarding.sending import claims"),
            (looks_back_in_forwarding, "forwarding/planning/orders.py", "from forwarding.sending.retry import Waits"),
            (brings_django_to_the_client, "integrations/microsoft_ads/auth.py", "from django.conf import settings"),
            (brings_django_to_the_client, "integrations/microsoft_ads/auth.py", "import django_htmx"),
            (brings_us_to_the_client, "integrations/microsoft_ads/auth.py", "from ingest import hashing"),
            (mixes_client_and_emulator, "integrations/microsoft_ads/emulator/app.py", f"from {MICROSOFT} import wire"),
            (leans_on_the_emulator, "dashboard/demo/seeding.py", f"from {EMULATOR}.world import MARKETER"),
            (needs_what_only_tests_have, "integrations/mapping.py", "import msads"),
            (needs_what_only_tests_have, "integrations/mapping.py", "from openapi_client.models import User"),
        ):
            self.assert_caught(rule, path, source)


def _package(path: str, level: int) -> str:
    return ".".join(path.removesuffix(".py").split("/")[:-level]) if level else ""


def _is_of(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def _is_in(path: str, package: str) -> bool:
    return path.startswith(f"{package.replace('.', '/')}/")


def _wires_rooms(path: str) -> bool:
    """Settings, addresses and the ASGI entry name rooms in words, for Django to import; they import none themselves."""
    return path in {"convultra/asgi.py", "convultra/settings.py", "convultra/urls.py"}
