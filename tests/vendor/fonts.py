"""Make the fonts in static/vendor of the packages that package.json pins: letters, weights and features that pages use.

`python -m tests.vendor.fonts` writes them and CHECKSUMS; `make vendor` does that after the rest of static/vendor.
"""

import hashlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont
from fontTools.varLib.instancer import instantiateVariableFont

HERE = Path(__file__).parent
VENDOR = HERE.parents[1] / "static/vendor"
PACKAGES = HERE / "node_modules/@fontsource-variable"
# Every page has the first; browsers ask for the second only where a letter of it stands, such as the ł of Paweł.
LATIN = [
    *range(0x20, 0x7F), *range(0xA0, 0x100), 0x131, 0x152, 0x153, 0x2BC, 0x2C6, 0x2DA, 0x2DC,
    *range(0x2000, 0x2070), 0x20AC, 0x2122, 0x2191, 0x2193, 0x2212, 0xFEFF,
]  # fmt: skip
LATIN_EXTENDED_A = sorted({*range(0x100, 0x180)} - {*LATIN})
# Regular to bold; nothing is set lighter or heavier.
WEIGHTS = (400, 700)
# Code is set without ligatures, and figures of equal width are all it has.
FEATURES = {
    "inter": ["calt", "ccmp", "kern", "locl", "tnum"],
    "jetbrains-mono": ["ccmp", "locl"],
}


def main() -> None:
    """Write the fonts, and the checksum of everything in static/vendor."""
    for name, font in fonts():
        (VENDOR / name).write_bytes(font)
    made = sorted(path for path in VENDOR.iterdir() if path.name not in {"CHECKSUMS", "LICENSES.txt"})
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in made]
    (VENDOR / "CHECKSUMS").write_text("".join(lines))


def fonts() -> Iterator[tuple[str, bytes]]:
    """Yield each font's file name and its bytes, the same ones every time."""
    for family, features in FEATURES.items():
        for part, letters, end in (("latin", LATIN, ""), ("latin-ext", LATIN_EXTENDED_A, "-extended")):
            source = PACKAGES / family / f"files/{family}-{part}-wght-normal.woff2"
            yield f"{family}{end}.woff2", _subset(source, letters, features)


def _subset(source: Path, letters: list[int], features: list[str]) -> bytes:
    font = TTFont(source, recalcTimestamp=False)
    average = font["OS/2"].xAvgCharWidth
    options = Options()
    options.layout_features = features
    subsetter = Subsetter(options)
    subsetter.populate(unicodes=letters)
    subsetter.subset(font)
    instantiateVariableFont(font, {"wght": WEIGHTS}, inplace=True)
    font["OS/2"].xAvgCharWidth = average  # browsers take the width of fields from it
    font.flavor = "woff2"
    target = BytesIO()
    font.save(target)
    return target.getvalue()


if __name__ == "__main__":
    main()
