"""Keeps what pages and backends sent and were refused, by rule, so that the install page can say what is lost, and why.

Contradictions are no refusals, and neither is a click whose visitor did not agree: both are as they should be.
"""

import logging
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import msgspec

from ingest.door import Route
from ingest.http import Answer
from ingest.keys import Caller
from ingest.limits import day_began_at
from ingest.models import MAX_MEMBER_CHARS, RefusedItem
from ingest.notes import Lately, Notes
from ingest.parsing import BROWSER
from ingest.refusals import BODY_RULES

logger = logging.getLogger(__name__)

# Of a site's pages, whose key is public, and as many of its backends.
MAX_ITEMS = 30
# What was not refused for so long was mended; it is no longer shown, and begins anew.
MENDED_AFTER = timedelta(hours=24)
DAILY_CAP, TOO_MANY = "daily_cap_reached", "too_many_requests"

_AS_IT_SHOULD_BE = {"conflict", "already_retracted", "consent_denied"}
_OF_WHOLE_BODIES = {*BODY_RULES, DAILY_CAP, TOO_MANY}
# As `answers.results` writes it; an id has no quotation marks.
_REFUSED = b'"status":"refused"'
_PATH_OF_ITEM = re.compile(r"[a-z]+\[\d+\]\.?")

notes = Notes(RefusedItem, MAX_ITEMS)
capped = Lately(1)


def has_news(way: Route, caller: Caller, answer: Answer, now: datetime) -> bool:
    """Say whether `note` would write, without the database; of what was accepted after one look."""
    if answer.status < 400 and _REFUSED not in answer.body:
        return False
    return any(notes.is_news(_owner(way, caller), _said(way, *found), now) for found in refusals_in(answer))


def note(way: Route, caller: Caller, answer: Answer, now: datetime) -> None:
    """Keep which rules an answer refused items by, to the minute; best effort.

    A site keeps the MAX_ITEMS that were met last by its pages, and as many by its backends.
    """
    for member, code in refusals_in(answer):
        since = now - MENDED_AFTER
        if code == DAILY_CAP:
            since = day_began_at(caller.time_zone, now)
            if capped.take(caller.site.site_id, code, now):
                logger.warning("Site %s has reached its daily cap and is answered 429.", caller.site.site_id)
        notes.keep(_owner(way, caller), _said(way, member, code), now, since)


def refusals_in(answer: Answer) -> list[tuple[str, str]]:
    """Return which members an answer refuses by which codes, each once; the member is empty for a whole body."""
    said = msgspec.json.decode(answer.body) if answer.body else {}
    return list(dict.fromkeys(_refusals(said)))


def _refusals(said: dict[str, Any]) -> Iterator[tuple[str, str]]:
    kind = said.get("type", "").rpartition("/")[2]
    if kind in _OF_WHOLE_BODIES:
        yield "", kind
    refused = (result for result in said.get("results", ()) if result["status"] == "refused")
    for problem in (said, *refused):
        for error in problem.get("errors", ()):
            if error["code"] not in _AS_IT_SHOULD_BE:
                yield _PATH_OF_ITEM.sub("", error["field"], count=1)[:MAX_MEMBER_CHARS], error["code"]


def _owner(way: Route, caller: Caller) -> dict[str, object]:
    return {"site_id": caller.site.site_id, "source": way.door.source.value}


def _said(way: Route, member: str, code: str) -> dict[str, str]:
    if way.door is BROWSER and (code == "unknown_member" or member.startswith("properties.")):
        # Names that anybody can make up, who has the pages' key: they would push out the others.
        member = "properties" if member.startswith("properties.") else ""
    return {"what": way.post.items, "member": member, "code": code}
