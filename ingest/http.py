"""A request and its answer as the ingest API sees them, whoever carries them: the collector or a Django view."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import msgspec

from convultra.problems import CONTENT_TYPE, FieldError, problem_body

JSON = {"Content-Type": "application/json", "Cache-Control": "no-store"}


@dataclass(slots=True)
class Request:
    """One request, first without its body. Header names are in lower case.

    The body, when it was read, is whole, or one byte longer than its door takes.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""
    # The sender's address as the server or its own proxy saw it; empty when nobody knows.
    address: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, to be sent as it is; whoever carries it adds Content-Length."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def json_answer(status: int, said: object) -> Answer:
    """Answer JSON that no cache keeps."""
    return Answer(status, msgspec.json.encode(said), dict(JSON))


def problem_answer(
    status: int,
    code: str,
    title: str,
    detail: str = "",
    errors: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Answer `application/problem+json`; the arguments are those of `convultra.problems.problem`."""
    body = msgspec.json.encode(problem_body(status, code, title, detail, [asdict(error) for error in errors]))
    return Answer(status, body, {"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store", **(headers or {})})
