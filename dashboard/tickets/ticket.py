"""The ticket that a member of staff works on, kept in their session for a working day."""

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.http import HttpRequest

LASTS = timedelta(hours=8)
# With a digit, so that "test" or "asdf" is none.
NUMBER = re.compile(r"\A(?=[^0-9]*[0-9])[A-Za-z0-9#][A-Za-z0-9#._/-]{1,39}\Z", re.ASCII)
_KEY = "staff_ticket"
# More than anybody opens in a day. What is forgotten beyond them is written down once more.
_MOST_NOTED = 2000


@dataclass(frozen=True)
class Ticket:
    """A ticket's number, and until when it opens customers' data."""

    number: str
    until: datetime


def ticket_of(request: HttpRequest, now: datetime) -> Ticket | None:
    """Return the ticket that the session works on, None where there is none any more."""
    kept = request.session.get(_KEY)
    if kept is None:
        return None
    ticket = Ticket(kept["number"], datetime.fromtimestamp(kept["until"], UTC))
    return ticket if now < ticket.until else None


def begin(request: HttpRequest, number: str, now: datetime) -> None:
    """Work on a ticket from now on, in the place of any before."""
    request.session[_KEY] = {"number": number, "until": (now + LASTS).timestamp(), "noted": []}


def end(request: HttpRequest) -> None:
    """Work on none any more."""
    request.session.pop(_KEY, None)


def is_new(request: HttpRequest, thing: str) -> bool:
    """Say whether something is done for the first time under this ticket, and remember that it was."""
    kept, mark = request.session[_KEY], hashlib.sha256(thing.encode()).hexdigest()[:16]
    if mark in kept["noted"]:
        return False
    kept["noted"] = [*kept["noted"][-_MOST_NOTED + 1 :], mark]
    request.session.modified = True
    return True
