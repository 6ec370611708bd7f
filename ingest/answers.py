"""What a sender is told: the results of a batch, item by item, and the problems that concern a whole request."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from convultra.errors import RETRY_AFTER_SECONDS
from convultra.problems import FieldError
from ingest.http import Answer, json_answer, problem_answer
from ingest.judging import Outcome, Refusal
from ingest.parsing import Item
from ingest.refusals import fault

# Faults of an item against which stands what was accepted before; every other is its own.
_CONTRADICTIONS = {"conflict", "already_retracted"}


def results(items: Sequence[Item[Any]], outcomes: Sequence[Outcome | Refusal], label: str) -> Answer:
    """Answer a batch: 202 with one result per item, or the problem when nothing of it could be taken.

    `outcomes` are those of the items with a row, in their order; `label` names the member that holds an item's id.
    """
    judged = list(_judge(items, outcomes, label))
    statuses = {status for _, status, _ in judged}
    errors = [error for _, _, errors in judged for error in errors]
    if statuses & {"accepted", "duplicate"}:
        return json_answer(
            202,
            {
                "results": [
                    {label: name, "status": status, "errors": [asdict(error) for error in errors]}
                    for name, status, errors in judged
                ]
            },
        )
    if {error.code for error in errors} <= _CONTRADICTIONS:
        return problem_answer(409, "conflict", "What was accepted before speaks against it", errors=errors)
    return problem_answer(422, "nothing_accepted", "Nothing of the batch could be taken", errors=errors)


def _judge(
    items: Sequence[Item[Any]], outcomes: Sequence[Outcome | Refusal], label: str
) -> Iterator[tuple[str | None, str, Sequence[FieldError]]]:
    left = iter(outcomes)
    for item in items:
        outcome = next(left) if item.row is not None else None
        match outcome:
            case None:
                yield item.label, "refused", item.errors
            case Refusal():
                member = f"{item.path}.{outcome.member}" if outcome.member else item.path
                yield item.label, "refused", [fault(member, outcome.code, outcome.hint)]
            case Outcome.CONFLICT:
                yield item.label, outcome.value, [fault(f"{item.path}.{label}", "conflict")]
            case _:
                yield item.label, outcome.value, item.errors


def unknown_key() -> Answer:
    """Answer a write key that no site has, or has no longer."""
    return problem_answer(404, "unknown_key", "No site has this write key")


def unauthorized() -> Answer:
    """Answer a backend that shows no live server key. Source: RFC 6750, section 3."""
    detail = "Send `Authorization: Bearer sk_…` with a server key of the site that has not been revoked."
    headers = {"WWW-Authenticate": 'Bearer realm="convultra"'}
    return problem_answer(401, "unauthorized", "A server key is needed", detail, headers=headers)


def server_key_in_browser() -> Answer:
    """Answer a server key that came with an Origin header: then the secret is in a page."""
    detail = "Anybody could read it there. Revoke this key and send from the page with the site's write key."
    return problem_answer(403, "server_key_in_browser", "A server key does not belong into a browser", detail)


def origin_not_allowed() -> Answer:
    """Answer a page that is not on its site's list."""
    detail = "The site's settings list the origins of its pages."
    return problem_answer(403, "origin_not_allowed", "This site takes nothing from this origin", detail)


def method_not_allowed(allowed: str) -> Answer:
    """Answer a method that the address does not take."""
    return problem_answer(405, "method_not_allowed", "This address takes another method", headers={"Allow": allowed})


def body_too_slow(seconds: float) -> Answer:
    """Answer a sender whose body does not come to its end."""
    detail = f"It has to be here after {seconds:g} s."
    # Else the connection would be the sender's for as long as it goes on. Source: RFC 9110, section 15.5.9.
    headers = {"Connection": "close"}
    return problem_answer(408, "body_too_slow", "The body came too slowly", detail, headers=headers)


def too_many_requests(whose: str, retry_after: int) -> Answer:
    """Answer a key or an address that calls too often; `retry_after` is in seconds."""
    detail = f"This {whose} sends faster than this server takes. Nothing was stored. Send the same request again later."
    headers = {"Retry-After": str(retry_after)}
    return problem_answer(429, "too_many_requests", "Too many requests", detail, headers=headers)


def daily_cap_reached(retry_after: int) -> Answer:
    """Answer a site that had its day's events; `retry_after` is the rest of its day in seconds."""
    detail = "The site has had its events of this day. Nothing was stored. Send the same request again tomorrow."
    headers = {"Retry-After": str(retry_after)}
    return problem_answer(429, "daily_cap_reached", "The site's daily cap is reached", detail, headers=headers)


def unavailable() -> Answer:
    """Answer while the database cannot work, or too many wait for it."""
    # A commit may have been cut off from its answer, so this promises nothing.
    detail = "Send the same request again: what is stored already is not stored twice."
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
    return problem_answer(503, "unavailable", "Try again shortly", detail, headers=headers)


def failed() -> Answer:
    """Answer a fault of ours."""
    return problem_answer(500, "server_error", "We failed")
