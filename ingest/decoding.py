"""From bytes to the shapes that parsing.py declares, strictly.

What msgspec lets pass is caught here: names used twice, bytes that are no UTF-8, the deepest nesting. msgspec's own
sentences may quote the body, so refusals take only names and types from them.
"""

import json
import re
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import Raw

from convultra.problems import FieldError
from ingest.refusals import REFUSALS, Complaints, fault

Said = TypeVar("Said")

_TYPES = {"str": "text", "object": "an object", "array": "a list"}
_MESSAGE_PATH = re.compile(r" - at `\$([A-Za-z0-9_.]*)[^`]*`$")
_MESSAGE_MEMBER = re.compile(r"field `([A-Za-z0-9_.-]{1,64})`")
_MESSAGE_TYPE = re.compile(r"Expected `(\w+)")
_MESSAGE_PLACE = re.compile(r"\((byte \d+)\)")


class BodyRefused(Exception):  # noqa: N818  # it is an answer, not a fault of ours
    """Nothing of the body can be taken: the answer is a problem with this status and code."""

    def __init__(self, status: int, code: str, title: str, detail: str = "", errors: Sequence[FieldError] = ()) -> None:
        super().__init__(title)
        self.status, self.code, self.title, self.detail, self.errors = status, code, title, detail, errors


def body_too_large(max_bytes: int) -> BodyRefused:
    """Return the refusal of a body with more bytes than are read."""
    return BodyRefused(413, "body_too_large", "The body is too large", f"At most {max_bytes} bytes are read.")


def body_malformed(error: FieldError) -> BodyRefused:
    """Return the refusal of JSON whose outermost object is not the documented one."""
    return BodyRefused(422, "body_malformed", "The body is not of the documented shape", errors=[error])


def decode_body(body: bytes, decoder: msgspec.json.Decoder[Said], max_bytes: int) -> Said:
    """Return the outermost object of a body; its items may stay raw. Raises BodyRefused."""
    if len(body) > max_bytes:
        raise body_too_large(max_bytes)
    _check_utf8(body)
    try:
        said = decoder.decode(body)
        is_ambiguous = _has_lost_something(body, said) and _repeats_an_outer_name(body)
    except msgspec.ValidationError as error:
        raise body_malformed(fault(*_fault_in(str(error)))) from error
    except msgspec.DecodeError as error:
        raise BodyRefused(400, "invalid_json", "The body is not JSON", _place_in(str(error))) from error
    except RecursionError as error:
        raise BodyRefused(400, "too_deep", "The body is nested too deep", REFUSALS["too_deep"]) from error
    if is_ambiguous:
        raise body_malformed(fault("", "duplicate_member"))
    return said


def decode_item(raw: Raw, decoder: msgspec.json.Decoder[Said], complaints: Complaints) -> Said | None:
    """Return one item of a body that decode_body has read; None after a complaint about its shape."""
    try:
        said = decoder.decode(raw)
        is_ambiguous = _has_lost_something(bytes(raw), said) and _repeats_a_name(bytes(raw))
    except msgspec.ValidationError as error:
        complaints.add(*_fault_in(str(error)))
        return None
    except RecursionError:
        complaints.add("", "too_deep")
        return None
    if is_ambiguous:
        complaints.add("", "duplicate_member")
        return None
    return said


def _check_utf8(body: bytes) -> None:
    try:
        body.decode()
    except UnicodeDecodeError as error:
        where = f"Byte {error.start} cannot be read."
        raise BodyRefused(400, "invalid_utf8", "The body is not UTF-8", where) from error


def _has_lost_something(raw: bytes, said: Any) -> bool:
    """Say whether the decoder may have dropped the first of two members with one name, as decoders do.

    What was kept, written again, has as many colons as what came: then nothing was dropped. An explicit null or an
    escaped colon break the sum too; they only cost the slower look that follows.
    """
    return raw.count(b":") != msgspec.json.encode(said).count(b":") or b"\\u003" in raw


def _repeats_an_outer_name(body: bytes) -> bool:
    pairs = json.loads(body, object_pairs_hook=list, parse_int=str, parse_float=str)
    return len(dict(pairs)) < len(pairs)


def _repeats_a_name(raw: bytes) -> bool:
    try:
        # Numbers stay text: int() refuses thousands of digits.
        json.loads(raw, object_pairs_hook=_unique, parse_int=str, parse_float=str)
    except KeyError:
        return True
    return False


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) < len(pairs):
        raise KeyError
    return unique


def _fault_in(message: str) -> tuple[str, str, str]:
    """Return member, code and hint of msgspec's sentence about a shape."""
    path = _MESSAGE_PATH.search(message)
    named = _MESSAGE_MEMBER.search(message)
    member = ".".join(filter(None, (path[1].removeprefix(".") if path else "", named[1] if named else "")))
    expected = _MESSAGE_TYPE.search(message)
    if "unknown field" in message:
        return member, "unknown_member", ""
    if "missing required" in message:
        return member, "required", ""
    return (member, "wrong_type", _TYPES[expected[1]]) if expected else (member, "number_out_of_range", "")


def _place_in(message: str) -> str:
    found = _MESSAGE_PLACE.search(message)
    where = f"It cannot be read from {found[1]} on." if found else "It ends too early."
    return f"{where} RFC 8259 knows no comments, NaN, Infinity or half of a surrogate pair."
