"""Which goal was probably meant by a name that Microsoft does not know (5606), and in what the two differ. Pure.

Microsoft wants a goal's name exactly as it stands there, and does not say which name it had expected.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher, get_close_matches
from enum import StrEnum

# Below this share of equal characters two names are two names, not one misspelled.
SIMILAR = 0.75
MAX_DETAILS = 3
_DASHES = re.compile(r"[\u2010-\u2015\u2212]")
_SINGLE_QUOTES, _DOUBLE_QUOTES = re.compile(r"[\u2018\u2019\u201b\u2032]"), re.compile(r"[\u201c\u201d\u2033]")

# Spaces where none is looked for, and each other character.
_UNSEEN = re.compile(r"^ +| +$| {2,}|[^ ]")


class Difference(StrEnum):
    """In what two names differ, in words that stand before the details."""

    CASE = "Only upper and lower case differ"
    SPACES = "Only spaces differ"
    CASE_AND_SPACES = "Only case and spaces differ"
    LOOK_ALIKES = "Some characters look alike and are not the same"
    SPELLING = "It is spelled almost the same"


@dataclass(frozen=True, slots=True)
class Nearest:
    """The goal that is most like a name, and where the name differs from it: "“trade” instead of “Trade”"."""

    name: str
    difference: Difference
    details: str

    @property
    def words(self) -> str:
        """Return a sentence: "Only spaces differ: a space too many at the end."."""
        return f"{self.difference}: {self.details}."


def nearest(name: str, names: Iterable[str]) -> Nearest | None:
    """Return the one of an account's goals that `name` most likely means; None when it is one of them or like none.

    The smaller the difference the nearer: case, spaces, characters that look alike, then spelling.
    """
    others = sorted(set(names))
    if not name or name in others:
        return None
    for difference, folded in _FOLDS:
        for other in others:
            if folded(other) == folded(name):
                return Nearest(other, difference, _details(name, other, difference))
    alike = {_folded(other): other for other in others}
    found = get_close_matches(_folded(name), alike, n=1, cutoff=SIMILAR)
    if not found:
        return None
    other = alike[found[0]]
    return Nearest(other, Difference.SPELLING, _details(name, other, Difference.SPELLING))


def quoted(name: str) -> str:
    """Return a name in quotation marks, and beside it what nobody sees of it: “Purchase ” (a space at the end)."""
    parts = [found for found in _UNSEEN.finditer(name) if found[0].isspace() or not found[0].isprintable()]
    unseen = [f"{_shown(found[0])}{_where(*found.span(), name)}" for found in parts[:MAX_DETAILS]]
    return f"“{name}”" + (f" ({', '.join(unseen)})" if unseen else "")


def _unspaced(name: str) -> str:
    """Take out what separates words or cannot be seen."""
    return "".join(char for char in name if not (char.isspace() or unicodedata.category(char) == "Cf"))


def _folded(name: str) -> str:
    plain = _DASHES.sub("-", unicodedata.normalize("NFKC", name))
    return _unspaced(_DOUBLE_QUOTES.sub('"', _SINGLE_QUOTES.sub("'", plain))).casefold()


_FOLDS = (
    (Difference.CASE, str.casefold),
    (Difference.SPACES, _unspaced),
    (Difference.CASE_AND_SPACES, lambda name: _unspaced(name).casefold()),
    (Difference.LOOK_ALIKES, _folded),
)


def _details(name: str, other: str, difference: Difference) -> str:
    told = _words(name, other) if difference is Difference.CASE else _characters(name, other)
    more = ", and more" if len(told) > MAX_DETAILS else ""
    return ", ".join(told[:MAX_DETAILS]) + more


def _words(name: str, other: str) -> list[str]:
    pairs = zip(name.split(), other.split(), strict=False)
    return [f"{_shown(mine)} instead of {_shown(theirs)}" for mine, theirs in pairs if mine != theirs]


def _characters(name: str, other: str) -> list[str]:
    told = []
    for what, start, end, from_, to in SequenceMatcher(None, name, other, autojunk=False).get_opcodes():
        mine, theirs = name[start:end], other[from_:to]
        if what == "replace":
            told.append(f"{_shown(mine)} instead of {_shown(theirs)}")
        elif what == "delete":
            told.append(f"{_shown(mine)} too many{_where(start, end, name)}")
        elif what == "insert":
            told.append(f"{_shown(theirs)} missing{_where(from_, to, other)}")
    return told


def _where(start: int, end: int, name: str) -> str:
    if start == 0:
        return " at the beginning"
    return " at the end" if end == len(name) else f" after “{name[:start].split()[-1] if name[:start].split() else ''}”"


def _shown(text: str) -> str:
    """Write characters so that they can be told apart: a space in words, an uncommon one with its Unicode name."""
    if text.strip(" ") == "":
        return "a space" if len(text) == 1 else f"{len(text)} spaces"
    if len(text) == 1 and not text.isascii():
        name = unicodedata.name(text, f"character U+{ord(text):04X}").lower()
        return f"“{text}” ({name})" if text.isprintable() and not text.isspace() else f"a {name}"
    return f"“{text}”"
