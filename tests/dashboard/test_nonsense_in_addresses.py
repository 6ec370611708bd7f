"""Nonsense in every parameter of every address: never a 500, and on lists either said on the page or without effect.

What a page reads of its address is watched, so a parameter of a list that is in no row of LISTS fails.
"""

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from unittest import mock
from urllib.parse import quote

from django.http import HttpResponseBase, QueryDict
from django.test import TestCase
from django.utils import timezone

from tests.dashboard.test_every_route import DOORS
from tests.pages.routes import Route, routes
from tests.pages.serving import BACKEND, NOW, is_walked
from tests.pages.world import World, build
from tests.support.microsoft import EmulatedMicrosoft

LONG = "x." * 5_000
BACKWARDS, DEVANAGARI = quote("\u202e\u200fabc"), quote("१२३४")
# A parameter's part of an address, as it is sent, by what is wrong with it.
NONSENSE: Mapping[str, str] = {
    "an unknown choice": "{}=no+such+thing",
    "10 kB": f"{{}}={LONG}",
    "a NUL": "{}=a%00b",
    "text from right to left": f"{{}}={BACKWARDS}",
    "a negative number": "{}=-1",
    "a huge number": f"{{}}={'9' * 40}",
    "a number that is no key": f"{{}}={2**63}",
    "an impossible date": "{}=2026-02-31",
    "a day of no calendar": "{}=0000-00-00",
    "half a surrogate pair": "{}=%ED%A0%80",
    "twice": "{0}=failed&{0}=no+such+thing",
}
# What breaks a page that does not expect it, and what some parameters understand, however odd it is.
HARSH: Mapping[str, str] = {
    **{kind: NONSENSE[kind] for kind in ("10 kB", "a NUL", "a number that is no key", "an impossible date")},
    "half a surrogate pair": NONSENSE["half a surrogate pair"],
    "digits of another script": f"{{}}={DEVANAGARI}",
    "a place beyond all time": "{}=99999999999999999-999999999999999999",
    "a list": "{0}=&{0}[]=1&{0}[a]=2",
}
VARIES = re.compile(r"[A-Za-z0-9]{64}")  # the form's token against forgery


@dataclass(frozen=True)
class Asks:
    """What a list's address asks for. Nonsense in `said` is named on the page, by the word beside it.

    In `left_out` it changes nothing. `any_text` takes any, or is not what a person types; of `named` there is a row
    or no page.
    """

    said: Mapping[str, str] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    any_text: tuple[str, ...] = ()
    named: tuple[str, ...] = ()

    @property
    def every(self) -> list[str]:
        """Return all of them."""
        return [*self.said, *self.left_out, *self.any_text, *self.named]


DAYS_OF_UTC = {"utc_since": "from (UTC)", "utc_until": "to (UTC)", "currency": "currency"}
CHOICES = {"status": "status", "period": "period", "since": "from", "until": "to", "reason": "reason", "kind": "kind"}
ONLY_LOGS = {"event": "event", "click": "click ID", "stage": "stage"}
LISTS: Mapping[str, Asks] = {
    "account-logs": Asks(
        said=CHOICES | DAYS_OF_UTC | ONLY_LOGS, left_out=("before", "after"), any_text=("goal", "error", "q")
    ),
    "events": Asks(
        said={"name": "event", "outcome": "outcome"} | DAYS_OF_UTC, left_out=("before",), any_text=("q", "find")
    ),
    "audit": Asks(
        said={"site": "site", "person": "person", "kind": "action", "days": "period"},
        left_out=("before",),
        any_text=("q",),
        named=("org",),
    ),
    "reconciliation": Asks(left_out=("account", "event", "currency", "days")),
    "overview": Asks(left_out=("account", "days"), any_text=("more", "status", "goal")),
    "sites": Asks(any_text=("q", "attention", "new")),
    "team": Asks(any_text=("new",), named=("org",)),
    "imports": Asks(left_out=("before",), any_text=("new",)),
    "account-mapping": Asks(left_out=("before", "use")),
}
# What the polls of lists and the fragments of pages are asked with besides, once a script has something to say.
OF_SCRIPTS = ("row", "hold", "waiting", "one", "seen", "was", "wizard", "data")


class NonsenseInAddresses(TestCase):
    world: World

    @classmethod
    def setUpTestData(cls) -> None:
        cls.enterClassContext(mock.patch.object(timezone, "now", return_value=NOW))
        cls.world = build(cls.enterClassContext(EmulatedMicrosoft()), NOW)

    def setUp(self) -> None:
        logging.disable()
        self.addCleanup(logging.disable, logging.NOTSET)
        self.client.raise_request_exception = False
        self.client.force_login(self.world.people["maya"], backend=BACKEND)
        self.wrong: list[str] = []

    def test_on_a_list_it_is_said_or_left_out(self) -> None:
        for route, asks in lists():
            url = route.url(self.world.own)
            usual = text_of(self.client.get(url))
            for name in asks.every:
                for kind, written in NONSENSE.items():
                    answer = self.client.get(f"{url}?{written.format(name)}")
                    if fault := self.fault(asks, name, answer, usual):
                        self.wrong.append(f"{route.key}?{name}, {kind}: {fault}")
        self.demand_none()

    def fault(self, asks: Asks, name: str, answer: HttpResponseBase, usual: str) -> str:
        """Return what is wrong with an answer to nonsense in one parameter."""
        status, text = answer.status_code, text_of(answer)
        if status >= 400 and not (name in asks.named and status == 404):
            return f"answers {status}"
        if LONG in text:
            return "is said again as it came"
        if name in asks.said and f"Not understood: {asks.said[name]}" not in text:
            return "is not said"
        return "changes the list" if name in asks.left_out and text != usual else ""

    def test_no_page_breaks_where_all_of_its_parameters_are_nonsense(self) -> None:
        for route in opened():
            url = route.url(self.world.own)
            names = self.read_by(url)
            for kind, written in HARSH.items() if names else ():
                answer = self.client.get(f"{url}?{'&'.join(written.format(name) for name in (*names, *OF_SCRIPTS))}")
                text_of(answer)  # a file is made while it is read
                if answer.status_code >= 500:
                    self.wrong.append(f"{route.key}?{'&'.join(names)}, {kind}: answers {answer.status_code}")
        self.demand_none()

    def test_the_table_has_every_parameter_of_the_lists(self) -> None:
        for route, asks in lists():
            url = route.url(self.world.own)
            tried = "&".join(f"{name}=1" for name in asks.every)
            if unknown := {*self.read_by(url), *self.read_by(f"{url}?{tried}")} - set(asks.every):
                self.wrong.append(f"{route.key} asks for {sorted(unknown)} too: say in LISTS what nonsense there does")
        self.demand_none()

    def demand_none(self) -> None:
        """Fail with everything that is wrong."""
        if self.wrong:
            self.fail("\n".join(self.wrong))

    def read_by(self, url: str) -> list[str]:
        """Return the parameters that a page looks for in its address."""
        with watched() as read:
            text_of(self.client.get(url))
        return sorted(read)


@contextmanager
def watched() -> Iterator[set[str]]:
    """Yield the names that are looked for in a query string, or in a form that was not sent."""
    read: set[str] = set()
    with ExitStack() as stack:
        for method in ("get", "getlist", "__getitem__", "__contains__"):
            real = getattr(QueryDict, method)

            def look(query: QueryDict, name: str, *rest: object, _real: object = real) -> object:
                read.add(name)
                return _real(query, name, *rest)  # type: ignore[operator]  # a method of QueryDict

            stack.enter_context(mock.patch.object(QueryDict, method, look))
        yield read


def opened() -> Iterator[Route]:
    """Yield every address that a person opens."""
    yield from (route for route in routes() if is_walked(route) and DOORS[route.key].get is not None)


def lists() -> list[tuple[Route, Asks]]:
    """Return the lists, and what their addresses ask for."""
    return [(route, LISTS[name]) for route in opened() if (name := route.key.removeprefix("dashboard:")) in LISTS]


def text_of(answer: HttpResponseBase) -> str:
    """Return all that an answer says, but what is another each time."""
    body = b"".join(answer) if answer.streaming else answer.content  # type: ignore[attr-defined]  # it is one or the other
    return VARIES.sub("", body.decode())
