"""The forms of a page as its markup has them, each known by where its answer goes and by which button."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

from django.urls import Resolver404, resolve

Attributes = dict[str, str | None]


@dataclass
class Button:
    """A button that submits; `says` is everything a person may read or hear of it."""

    name: str
    value: str
    is_disabled: bool


@dataclass
class FoundForm:
    """A form of a page, with the buttons that submit it, also those that stand elsewhere."""

    method: str
    path: str
    buttons: list[Button] = field(default_factory=list)

    @property
    def keys(self) -> set[str]:
        """Return `post account-test do=send` for each button; a button that carries nothing adds nothing."""
        base = f"{self.method} {route_of(self.path)}"
        return {f"{base} {one.name}={one.value}" if one.name else base for one in self.buttons} or {base}

    @property
    def is_usable(self) -> bool:
        """Say whether a button of it can be pressed."""
        return any(not one.is_disabled for one in self.buttons)


def route_of(path: str) -> str:
    """Return the name of the route behind a path, without the dashboard's namespace."""
    try:
        return resolve(urlsplit(path).path).view_name.removeprefix("dashboard:")
    except Resolver404:
        return path


def forms_of(page: str, markup: str) -> list[FoundForm]:
    """Return the forms in a page's markup; `page` is the path it came from."""
    parser = _Parser(page)
    parser.feed(markup)
    return list(parser.finish())


class _Parser(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self._page = page
        self._forms: list[FoundForm] = []
        self._by_id: dict[str, FoundForm] = {}
        self._elsewhere: list[tuple[str, Button]] = []
        self._open: FoundForm | None = None
        self._disabled: list[bool] = []  # of the fieldsets around

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "form":
            self._begin(given)
        elif tag == "fieldset":
            self._disabled.append("disabled" in given)
        elif tag == "button" and given.get("type", "submit") == "submit":
            self._add(given)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = None
        elif tag == "fieldset":
            self._disabled.pop()

    def finish(self) -> Iterator[FoundForm]:
        for form_id, button in self._elsewhere:
            self._by_id[form_id].buttons.append(button)
        yield from self._forms

    def _begin(self, given: Attributes) -> None:
        path = urlsplit(urljoin(self._page, given.get("action") or "")).path
        self._open = FoundForm(given.get("method") or "get", path)
        self._forms.append(self._open)
        self._by_id[given.get("id") or ""] = self._open

    def _add(self, given: Attributes) -> None:
        button = Button(given.get("name") or "", given.get("value") or "", "disabled" in given or any(self._disabled))
        if form_id := given.get("form"):
            self._elsewhere.append((form_id, button))
        elif self._open is not None:
            self._open.buttons.append(button)
