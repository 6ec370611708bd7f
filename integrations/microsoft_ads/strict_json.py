"""JSON read strictly: a member of the wrong type raises ShapeError and is never believed.

Microsoft's rules for JSON: names in PascalCase, 64-bit ids as strings (numbers are taken too, as .NET does), nulls for
what is absent, members added over time. Source: the operation pages' templates, and msads.
"""

import json
import re
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import TypeAlias

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | Decimal | bool | None"

_ID = re.compile(r"[0-9]{1,19}", re.ASCII)
_COUNT = re.compile(r"[0-9]{1,9}", re.ASCII)
_MAX_MONEY = Decimal(10) ** 15  # Microsoft's own bound is below 10 ** 12 (help: hlp_BA_CONC_UETv2OfflineConversion)


class ShapeError(ValueError):
    """An answer is not what the documents say. The message names the member, never its content."""


class Members:
    """One JSON object, read member by member. A member of the wrong type raises ShapeError; null is absent."""

    def __init__(self, value: Json, name: str = "answer") -> None:
        if not isinstance(value, dict):
            raise ShapeError(f"{name} is not an object")
        self.names = frozenset(value)
        self._value = value
        self._name = name

    def text(self, member: str) -> str:
        """Return a string, "" if absent. What no database stores is replaced."""
        value = self._value.get(member)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self._wrong(member, "a string")
        return storable(value)

    def required_text(self, member: str) -> str:
        """Return a string that is there and not empty."""
        text = self.text(member)
        if not text:
            raise self._wrong(member, "there")
        return text

    def identifier(self, member: str) -> str:
        """Return a 64-bit id as a string, "" if absent."""
        value = self._value.get(member)
        return "" if value is None else _identifier(value, self._path(member))

    def required_identifier(self, member: str) -> str:
        """Return a 64-bit id that is there."""
        identifier = self.identifier(member)
        if not identifier:
            raise self._wrong(member, "there")
        return identifier

    def identifiers(self, member: str) -> tuple[str, ...]:
        """Return a list of 64-bit ids, empty if absent."""
        return tuple(_identifier(value, self._path(member)) for value in self._list(member))

    def integer(self, member: str) -> int | None:
        """Return a whole number. true is not one, nor is 1.0."""
        value = self._value.get(member)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            raise self._wrong(member, "a whole number")
        return value

    def required_integer(self, member: str) -> int:
        """Return a whole number that is there."""
        integer = self.integer(member)
        if integer is None:
            raise self._wrong(member, "there")
        return integer

    def count(self, member: str) -> int:
        """Return how many of something there are, written as a number or as its digits; 0 if absent."""
        value = self._value.get(member)
        if value is None:
            return 0
        if isinstance(value, bool) or not isinstance(value, int | str) or not _COUNT.fullmatch(str(value)):
            raise self._wrong(member, "a count")
        return int(value)

    def day(self, member: str) -> date:
        """Return the day of a moment such as `2026-11-21T00:00:00Z`, as it is written; it has to be there."""
        text = self.required_text(member)
        try:
            return datetime.fromisoformat(text).date()
        except ValueError:
            raise self._wrong(member, "a moment") from None

    def integers(self, member: str) -> tuple[int, ...]:
        """Return a list of whole numbers, empty if absent."""
        values = self._list(member)
        if not all(isinstance(value, int) and not isinstance(value, bool) for value in values):
            raise self._wrong(member, "a list of whole numbers")
        return tuple(value for value in values if isinstance(value, int))

    def boolean(self, member: str) -> bool | None:
        """Return true or false; None if absent."""
        value = self._value.get(member)
        if value is not None and not isinstance(value, bool):
            raise self._wrong(member, "true or false")
        return value

    def money(self, member: str) -> Decimal | None:
        """Return an amount exactly as written; None if absent."""
        value = self._value.get(member)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | Decimal) or not -_MAX_MONEY < value < _MAX_MONEY:
            raise self._wrong(member, "an amount")
        return Decimal(value)

    def child(self, member: str) -> "Members":
        """Return the object of a member, an empty one if absent."""
        value = self._value.get(member)
        return Members({} if value is None else value, self._path(member))

    def children(self, member: str) -> Iterator["Members"]:
        """Yield the objects of a list, none if absent. A null among them is the wrong type."""
        return (Members(value, f"{self._path(member)}[]") for value in self._list(member))

    def found(self, member: str) -> "Iterator[Members]":
        """Yield the objects of a list, none if absent. A null is left out: it stands for what PartialErrors refuses."""
        return (Members(value, f"{self._path(member)}[]") for value in self._list(member) if value is not None)

    def require(self, member: str) -> None:
        """Raise ShapeError unless a member is there, be it null."""
        if member not in self.names:
            raise self._wrong(member, "there")

    def has_items(self, member: str) -> bool:
        """Say whether a member is a list that is not empty."""
        value = self._value.get(member)
        return isinstance(value, list) and bool(value)

    def _list(self, member: str) -> list[Json]:
        value = self._value.get(member)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self._wrong(member, "a list")
        return value

    def _path(self, member: str) -> str:
        return f"{self._name}.{member}"

    def _wrong(self, member: str, wanted: str) -> ShapeError:
        return ShapeError(f"{self._path(member)} is not {wanted}")


def parse_object(body: bytes) -> Members:
    """Parse a body as one JSON object. Raises ShapeError for anything else, a repeated name included."""
    try:
        value: Json = json.loads(
            body, parse_float=Decimal, parse_constant=_refuse_constant, object_pairs_hook=_unique_members
        )
    except (ValueError, InvalidOperation, RecursionError):
        raise ShapeError("answer is not JSON") from None
    return Members(value)


def is_identifier(text: str) -> bool:
    """Say whether a string is one of Microsoft's 64-bit ids."""
    return bool(_ID.fullmatch(text))


def _unique_members(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ShapeError("a name appears twice in one object")
    return members


def _refuse_constant(name: str) -> Json:
    raise ShapeError(f"{name} is not JSON")


def _identifier(value: Json, path: str) -> str:
    text = str(value) if isinstance(value, str | int) else ""
    if not is_identifier(text):
        raise ShapeError(f"{path} is not an id")
    return text


def storable(text: str) -> str:
    """Replace what JSON can carry and no database stores: NUL and lone surrogates."""
    return text.replace("\x00", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
