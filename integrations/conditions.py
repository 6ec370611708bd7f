"""What an event must satisfy to be forwarded: a small language of our own, read without `eval`.

    condition  = comparison { "and" comparison }
    comparison = name operator literal
    name       = "value" | "currency" | "source" | "transaction_id" | "external_id" | "properties." key { "." key }
    operator   = "==" | "!=" | "<" | "<=" | ">" | ">="
    literal    = number | "text" | true | false

Numbers are compared as numbers and texts exactly, never one with the other. What an event does not have equals
nothing and is neither greater nor less, so it satisfies `!=` only.
"""

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Final, TypeAlias

from integrations.models import MAX_CONDITION_CHARS

if TYPE_CHECKING:
    from ingest.models import Event

Literal: TypeAlias = "Decimal | str | bool"

NUMBER_FIELDS: Final = ("value",)
TEXT_FIELDS: Final = ("currency", "source", "transaction_id", "external_id")
PROPERTIES: Final = "properties."
EQUALITY: Final = ("==", "!=")

_ORDERINGS: dict[str, Callable[[Decimal, Decimal], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
# What is true of an event that does not satisfy the operator.
_UNMET = {"<": "not below", "<=": "above", ">": "not above", ">=": "below", "==": "is not", "!=": "is"}
_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>-?[0-9]+(?:\.[0-9]+)?)(?![\w.])
      | (?P<text>"[^"]*")
      | (?P<operator>==|!=|<=|>=|<|>)
      | (?P<word>[A-Za-z_][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*)
    )""",
    re.VERBOSE,
)
_END = ("", "")


class ConditionError(ValueError):
    """A condition that cannot be read. Its text says where and what would be right, for a person to read."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One `name operator literal`."""

    name: str
    operator: str
    literal: Literal

    def matches(self, event: "Event") -> bool:
        """Say whether the event satisfies it."""
        found = _look_up(event, self.name)
        if self.operator in EQUALITY:
            return _equal(found, self.literal) == (self.operator == "==")
        number = _as_number(found)
        return number is not None and _ORDERINGS[self.operator](number, Decimal(self.literal))

    def unmet(self, event: "Event") -> str:
        """Say, of an event that does not satisfy it, how it does not: `value below 50`, `no currency`."""
        found = _look_up(event, self.name)
        if found is None and self.operator != "!=":
            return f"no {self.name}"
        if self.operator in _ORDERINGS and _as_number(found) is None:
            return f"{self.name} is no number"
        return f"{self.name} {_UNMET[self.operator]} {_written(self.literal)}"


@dataclass(frozen=True, slots=True)
class Condition:
    """Comparisons that must all hold; none at all holds for every event."""

    comparisons: tuple[Comparison, ...] = ()

    def matches(self, event: "Event") -> bool:
        """Say whether the event satisfies every comparison."""
        return all(comparison.matches(event) for comparison in self.comparisons)

    def unmet(self, event: "Event") -> str:
        """Return the first comparison that the event does not satisfy, in words; "" when it satisfies all."""
        return next((each.unmet(event) for each in self.comparisons if not each.matches(event)), "")


@lru_cache(maxsize=1024)  # asked again for each event that is planned
def parse_condition(text: str) -> Condition:
    """Read a condition such as `value >= 50 and currency == "EUR"`; an empty text is the condition of every event.

    Raises ConditionError.
    """
    if len(text) > MAX_CONDITION_CHARS:
        raise ConditionError(f"A condition has at most {MAX_CONDITION_CHARS} characters, this one has {len(text)}.")
    if not text.isprintable():
        raise ConditionError("A condition is one line of printable characters.")
    if not text.strip():
        return Condition()
    tokens = _tokens(text)
    comparisons = [_comparison(tokens)]
    while tokens:
        kind, word = tokens.pop(0)
        if (kind, word.lower()) != ("word", "and"):
            raise ConditionError(f"Comparisons are joined by `and`, but here stands `{word}`.")
        comparisons.append(_comparison(tokens))
    return Condition(tuple(comparisons))


def _tokens(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    position, end = 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            rest = text[position:end].lstrip()
            raise ConditionError(f"This cannot be read from character {end - len(rest) + 1} on: `{rest}`.")
        found.append((match.lastgroup, match[match.lastgroup]))
        position = match.end()
    return found


def _comparison(tokens: list[tuple[str, str]]) -> Comparison:
    parts = [tokens.pop(0) if tokens else _END for _ in range(3)]
    (kind, name), (operator_kind, sign), (literal_kind, written) = parts
    if kind != "word" or not _is_known(name):
        known = ", ".join((*NUMBER_FIELDS, *TEXT_FIELDS))
        raise ConditionError(f"A comparison begins with {known} or properties.<name>, {_instead(name, 'not with')}.")
    if operator_kind != "operator":
        raise ConditionError(f"After `{name}` comes one of ==, !=, <, <=, >, >=, {_instead(sign)}.")
    literal = _literal(literal_kind, written, f"{name} {sign}")
    _check_types(name, sign, literal)
    return Comparison(name, sign, literal)


def _is_known(name: str) -> bool:
    return name in NUMBER_FIELDS or name in TEXT_FIELDS or (name.startswith(PROPERTIES) and name != PROPERTIES)


def _literal(kind: str, written: str, before: str) -> Literal:
    if kind == "number":
        return Decimal(written)
    if kind == "text":
        return written[1:-1]
    if written in ("true", "false"):
        return written == "true"
    instead = _instead(written)
    raise ConditionError(f'After `{before}` comes a number, a "text" in double quotes, true or false, {instead}.')


def _instead(found: str, not_this: str = "not") -> str:
    """Say what stands where something else was expected."""
    return f"{not_this} `{found}`" if found else "but the condition ends there"


def _check_types(name: str, sign: str, literal: Literal) -> None:
    if name in NUMBER_FIELDS and not isinstance(literal, Decimal):
        raise ConditionError(f"`{name}` is a number and is compared with a number, such as `{name} >= 50`.")
    if name in TEXT_FIELDS and not isinstance(literal, str):
        raise ConditionError(f'`{name}` is a text and is compared with a text in quotes, such as `{name} == "…"`.')
    if sign not in EQUALITY and not isinstance(literal, Decimal):
        raise ConditionError(f"`{sign}` compares numbers; a text, true or false is compared with == or !=.")


def _look_up(event: "Event", name: str) -> object:
    if not name.startswith(PROPERTIES):
        found: object = getattr(event, name)
        return None if found == "" else found
    found = event.properties
    for key in name.removeprefix(PROPERTIES).split("."):
        found = found.get(key) if isinstance(found, dict) else None
    return found


def _as_number(found: object) -> Decimal | None:
    if isinstance(found, bool) or not isinstance(found, Decimal | int | float):
        return None
    return Decimal(str(found))


def _equal(found: object, literal: Literal) -> bool:
    if isinstance(literal, Decimal):
        return _as_number(found) == literal
    # `is`, because 1 == True.
    return found is literal if isinstance(literal, bool) else found == literal


def _written(literal: Literal) -> str:
    return str(literal).lower() if isinstance(literal, bool) else str(literal)
