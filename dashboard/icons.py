"""The icon sprite: which icons the pages use, and how `static/icons.svg` is made from Tabler's package.

    npm pack @tabler/icons@3.51.0 && tar xzf tabler-icons-3.51.0.tgz
    python -m dashboard.icons package/icons/outline

writes the sprite anew with every icon that a template, a page's code or a script names. Nothing runs this at run
time: the sprite is committed, and a test says which icon is missing from it.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SPRITE = ROOT / "static" / "icons.svg"

# {% icon "check" %} in templates; icon="check" in page code; icon("check") in scripts.
_NAMED = re.compile(r"""\bicon(?:=|\(|\s+)["']([a-z0-9-]+)["']""")
_SHAPE = re.compile(r"<(?:path|circle|rect|line|polyline)\b[^>]*/>", re.DOTALL)
_BLANK = re.compile(r'<path\s+stroke="none"[^>]*/>')


def used_icons() -> set[str]:
    """Return the name of every icon that templates, page code and scripts ask for."""
    files = [
        *(ROOT / "templates").rglob("*.html"),
        *(ROOT / "dashboard").rglob("*.py"),
        *(ROOT / "static" / "js").glob("*.js"),
    ]
    return {name for file in files if file != Path(__file__) for name in _NAMED.findall(file.read_text())}


def sprite_icons() -> set[str]:
    """Return the names that the committed sprite holds."""
    return set(re.findall(r'<symbol id="([a-z0-9-]+)"', SPRITE.read_text()))


def build(outline: Path, names: set[str]) -> str:
    """Return a sprite of the named icons; `outline` is icons/outline of the npm package @tabler/icons.

    Raises FileNotFoundError for a name that Tabler does not have.
    """
    symbols = []
    for name in sorted(names):
        shapes = _SHAPE.findall(_BLANK.sub("", (outline / f"{name}.svg").read_text()))
        body = "".join(re.sub(r"\s+", " ", shape) for shape in shapes)
        symbols.append(f'<symbol id="{name}" viewBox="0 0 24 24">{body}</symbol>')
    return '<svg xmlns="http://www.w3.org/2000/svg">\n' + "\n".join(symbols) + "\n</svg>\n"


if __name__ == "__main__":
    SPRITE.write_text(build(Path(sys.argv[1]), used_icons()))
