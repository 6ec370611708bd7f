"""The project's own files, as its structure tests read them."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
# Each may import itself and those before it: dashboard knows everyone, convultra nobody.
ROOMS = ("convultra", "ingest", "integrations", "forwarding", "dashboard")


def product_files() -> Iterator[tuple[str, str]]:
    """Yield every Python file of the rooms, as its path from the root and its text; uncommitted ones too."""
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


def tracked_files() -> list[str]:
    """Return the paths of all files that git tracks and that are there, from the root."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True)
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def read(path: str) -> str:
    """Return the text of a file of the project."""
    return (ROOT / path).read_text(encoding="utf-8")
