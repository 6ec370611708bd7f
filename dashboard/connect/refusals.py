"""Why Microsoft was not connected, kept in the session until the next page has shown it."""

from dataclasses import dataclass

from django.http import HttpRequest

_KEY = "connect_refusal"


@dataclass(frozen=True)
class Refusal:
    """What happened, and what to do."""

    title: str
    what_to_do: str


def keep_refusal(request: HttpRequest, title: str, what_to_do: str) -> None:
    """Remember a refusal for the page that the person is sent to."""
    request.session[_KEY] = [title.rstrip("."), what_to_do]


def take_refusal(request: HttpRequest) -> Refusal | None:
    """Return the refusal once; the second page does not show it again."""
    kept = request.session.pop(_KEY, None)
    return Refusal(*kept) if kept else None
