"""What we serve of others is what the pinned packages give, cut to what our pages use."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.vendor.fonts import VENDOR, fonts

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
TABLER, CHARTS = "tabler-1.6.1.used.css", "chart-4.6.1.bars.js"


def _built(name: str, tree: Path = ROOT) -> str:
    """Return a file as the sources of a tree make it now."""
    node = shutil.which("node")
    if node is None or not (HERE / "node_modules").is_dir():
        pytest.fail("Node or tests/vendor/node_modules is missing; `make test` installs the second")
    command = [node, "tests/vendor/build.mjs", "--print", name]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _selectors(css: str) -> set[str]:
    return {one.strip() for many in re.findall(r"([^{}]+)\{", css) for one in many.split(",")}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a copy of what decides which rules are kept."""
    shutil.copytree(ROOT / "templates", tmp_path / "templates")
    for folder in ("dashboard", "convultra", "static/js", "static/css"):
        (tmp_path / folder).parent.mkdir(exist_ok=True)
        (tmp_path / folder).symlink_to(ROOT / folder)
    (tmp_path / "tests/vendor").mkdir(parents=True)
    shutil.copy(HERE / "build.mjs", tmp_path / "tests/vendor")
    (tmp_path / "tests/vendor/node_modules").symlink_to(HERE / "node_modules")
    return tmp_path


class TestTheStylesheet:
    def test_it_has_every_rule_that_a_page_can_use(self) -> None:
        served, built = ((VENDOR / TABLER).read_text(), _built(TABLER))
        missing = sorted(_selectors(built) - _selectors(served))
        assert not missing, f"pages use rules that are not served: {missing[:9]}; run `make vendor`"
        assert served == built, "pages use fewer rules than are served: run `make vendor`"

    def test_a_class_that_a_template_begins_to_use_is_brought(self, tree: Path) -> None:
        assert ".ribbon" not in (VENDOR / TABLER).read_text()
        (tree / "templates/new.html").write_text(
            '{% if yes %}<p class="{% if yes %}ribbon{% endif %}">…</p>{% endif %}'
        )
        assert ".ribbon{" in _built(TABLER, tree)

    def test_a_word_of_a_sentence_brings_nothing(self, tree: Path) -> None:
        (tree / "templates/new.html").write_text("<p>A ribbon is a strip of cloth.</p>")
        assert ".ribbon" not in _built(TABLER, tree)

    def test_no_page_asks_for_the_scripts_that_are_not_served(self) -> None:
        pages = {path.name: path.read_text() for path in (ROOT / "templates").rglob("*.html")}
        assert [name for name, text in pages.items() if re.search(r"data-bs-(?!theme)|<div class=\"modal ", text)] == []


class TestTheRest:
    def test_building_the_charts_again_gives_the_same_bytes(self) -> None:
        assert _built(CHARTS) == (VENDOR / CHARTS).read_text()

    def test_making_the_fonts_again_gives_the_same_bytes(self) -> None:
        assert [name for name, font in fonts() if (VENDOR / name).read_bytes() != font] == []

    def test_the_packages_are_pinned(self) -> None:
        versions = re.findall(r'^    "[^"]+": "([^"]+)"', (HERE / "package.json").read_text(), flags=re.MULTILINE)
        assert len(versions) == 7
        assert [version for version in versions if not re.fullmatch(r"[\d.]+", version)] == []
        assert '"resolved"' not in (HERE / "package-lock.json").read_text()
