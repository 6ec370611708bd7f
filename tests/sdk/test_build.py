"""What pages load is what the source says: minified by the pinned tool, typed, small, and unchanged once released."""

import gzip
import hashlib
import re
import shutil
import subprocess
from base64 import b64encode
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SDK = HERE.parents[1] / "static/sdk"
SOURCE = SDK / "source/convultra.v1.js"
SERVED = SDK / "convultra.v1.js"
RELEASED = SDK / "versions/RELEASED"
LIMIT_BYTES = 4096


def _node(*arguments: str) -> str:
    """Run a program of Node here and return what it printed."""
    node = shutil.which("node")
    if node is None or not (HERE / "node_modules").is_dir():
        pytest.fail("Node or tests/sdk/node_modules is missing; `make test` installs the second")
    done = subprocess.run([node, *arguments], cwd=HERE, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _version(path: Path) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", path.name)]


def _integrity(path: Path) -> str:
    return "sha384-" + b64encode(hashlib.sha384(path.read_bytes()).digest()).decode()


def _recorded(path: Path) -> dict[str, str]:
    return dict(line.split("  ")[::-1] for line in path.read_text().splitlines() if line and line[0] != "#")


def _build(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [shutil.which("node") or "node", "tests/sdk/build.mjs", *arguments]
    return subprocess.run(command, cwd=tree, capture_output=True, text=True, timeout=600, check=False)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a copy of the source and what builds it, with no version released yet."""
    (tmp_path / "tests/sdk").mkdir(parents=True)
    shutil.copy(HERE / "build.mjs", tmp_path / "tests/sdk")
    (tmp_path / "tests/sdk/node_modules").symlink_to(HERE / "node_modules")
    shutil.copytree(SDK / "source", tmp_path / "static/sdk/source")
    (tmp_path / "static/sdk/versions").mkdir()
    (tmp_path / "static/sdk/versions/RELEASED").write_text("# none\n")
    return tmp_path


class TestTheServedFile:
    def test_building_again_gives_the_same_bytes(self) -> None:
        assert _node("build.mjs", "--print").encode() == SERVED.read_bytes()

    def test_it_is_small(self) -> None:
        # `gzip -9` also writes the file's name; a program like ours does not.
        assert len(gzip.compress(SERVED.read_bytes(), 9)) + len(SERVED.name) + 1 <= LIMIT_BYTES

    def test_it_begins_with_name_licence_and_manual(self) -> None:
        assert re.match(r"/\*! Convultra SDK [\d.]+ \| MIT \| docs/sdk\.md \*/\n", SERVED.read_text())


class TestTheSource:
    def test_its_types_hold(self) -> None:
        assert _node("node_modules/typescript/bin/tsc", "--project", "tsconfig.json") == ""

    def test_the_tools_are_pinned_and_name_no_host(self) -> None:
        assert re.findall(r'"(?:terser|typescript)": "([^"]+)"', (HERE / "package.json").read_text()) == [
            "5.51.2",
            "6.0.3",
        ]
        assert "://" not in (HERE / "package-lock.json").read_text()


class TestTheVersions:
    def test_the_newest_is_what_pages_load(self) -> None:
        newest = max((SDK / "versions").glob("convultra.v*.js"), key=_version)
        said = set(re.findall(r"SDK (\d+\.\d+\.\d+) |\.version = \"(\d+\.\d+\.\d+)\"", SOURCE.read_text()))
        assert newest.name == f"convultra.v{max(said)[0] or max(said)[1]}.js"
        assert len({one or other for one, other in said}) == 1
        assert newest.read_bytes() == SERVED.read_bytes()

    def test_a_released_one_is_never_changed(self) -> None:
        recorded = _recorded(RELEASED)
        assert {name: _integrity(SDK / "versions" / name) for name in recorded} == recorded

    def test_every_one_before_the_newest_is_recorded(self) -> None:
        *older, _newest = sorted((SDK / "versions").glob("convultra.v*.js"), key=_version)
        assert {path.name for path in older} <= set(_recorded(RELEASED))


class TestTheBuild:
    """It writes an unreleased version as often as it likes, and a released one never again."""

    def test_a_release_is_recorded_once(self, tree: Path) -> None:
        for _ in range(2):
            assert _build(tree, "--release").returncode == 0
        (path,) = (tree / "static/sdk/versions").glob("convultra.v*.js")
        assert _recorded(path.with_name("RELEASED")) == {path.name: _integrity(path)}

    def test_a_released_version_is_not_written_again(self, tree: Path) -> None:
        _build(tree, "--release")
        (path,) = (tree / "static/sdk/versions").glob("convultra.v*.js")
        before = path.read_bytes()
        source = tree / "static/sdk/source/convultra.v1.js"
        source.write_text(source.read_text().replace("nothing is stored or sent", "all is silent"))
        done = _build(tree)
        assert (done.returncode, path.read_bytes()) == (1, before)
        assert f"{path.name} is released" in done.stderr
        assert "raise the version" in done.stderr

    def test_an_unreleased_one_may_change(self, tree: Path) -> None:
        source = tree / "static/sdk/source/convultra.v1.js"
        source.write_text(source.read_text().replace("nothing is stored or sent", "all is silent"))
        assert _build(tree).returncode == 0
        (path,) = (tree / "static/sdk/versions").glob("convultra.v*.js")
        assert "all is silent" in path.read_text()
