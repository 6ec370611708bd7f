"""Every page in a real browser: as three people, light and dark, wide and narrow, with the keyboard, without scripts.

The pages come from the resolver (`serving.py`); a new one is walked without being named here.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Dialog, Page, Request, ViewportSize, expect

from tests.pages.serving import PageAt, Served

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

LOOKING = (Path(__file__).parent / "looking.js").read_text()
WIDE: ViewportSize = {"width": 1440, "height": 900}
NARROW: ViewportSize = {"width": 390, "height": 844}
WIDTHS = (320, 390, 768)
# A fifth of what web.dev calls good: a figure or a word may take its last pixels when it comes.
MAX_SHIFT = 0.02
# What differs between the themes; everything else is the same markup.
OF_COLOURS = ["color-contrast", "link-in-text-block"]


class Walk:
    """One person's way through pages, and everything that is wrong on it."""

    def __init__(self, served: Served, context: BrowserContext, axe: str = "") -> None:
        self.served, self.axe = served, axe
        self.wrong: list[str] = []
        self.at = PageAt("", "", "")
        self.page: Page = context.new_page()
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.note(f"uncaught {error}"))
        self.page.on("dialog", self._dismiss)
        self.page.on("request", self._follow)

    def open(self, at: PageAt) -> int:
        """Go to a page and return its status."""
        self.at = at
        answer = self.page.goto(self.served.url + at.path, wait_until="load")
        assert answer is not None
        if answer.status >= 500:
            self.note(f"answers {answer.status}")
        return answer.status

    def look(self) -> None:
        """Put the questions of looking.js, and axe, into the page."""
        self.settle()
        if self.axe:
            self.page.evaluate(self.axe)
        self.page.evaluate(LOOKING)

    def settle(self) -> None:
        """Wait for the parts that a page asks for by itself, and for its fonts."""
        expect(self.page.locator(".htmx-request")).to_have_count(0)
        self.page.evaluate("document.fonts.ready.then(() => true)")

    def note(self, what: str) -> None:
        """Note something wrong with the page that is open."""
        self.wrong.append(f"{self.at.name} {self.at.path}: {what}")

    def _hear(self, message: ConsoleMessage) -> None:
        refused = "403 (Forbidden)" in message.text or (self.at.key == "404" and "404" in message.text)
        if message.type == "error" and not refused:
            self.note(f"console: {message.text}")

    def _dismiss(self, dialog: Dialog) -> None:
        self.note(f"a dialog: {dialog.message}")
        dialog.dismiss()

    def _follow(self, request: Request) -> None:
        if not request.url.startswith((self.served.url, "data:")):
            self.note(f"asks another origin: {request.url}")


@pytest.fixture
def walks(browser: Browser, served: Served, axe: str) -> Iterator[list[Walk]]:
    """Yield a walk for the owner, the marketer and the viewer; at the end nothing may be wrong on any."""
    walks = []
    contexts = []
    for name in ("maya", "sofia", "lin"):
        contexts.append(served.context(browser, name, viewport=WIDE))
        walks.append(Walk(served, contexts[-1], axe))
    yield walks
    for context in contexts:
        context.close()
    demand_none(*walks)


def demand_none(*walks: Walk) -> None:
    """Fail with everything that is wrong."""
    wrong = [line for walk in walks for line in walk.wrong]
    if wrong:
        pytest.fail(f"{len(wrong)} faults\n" + "\n".join(wrong), pytrace=False)


def test_every_page_is_accessible_to_everybody_at_every_width(served: Served, walks: list[Walk]) -> None:
    seen: set[tuple[str, str]] = set()
    for at in served.pages():
        for walk in walks:
            walk.open(at)
            walk.look()
            markup = walk.page.evaluate("document.querySelector('main').innerHTML.replace(/[A-Za-z0-9]{64}/g, '')")
            check_facts(walk)
            if (at.path, markup) not in seen:  # what two people see alike is looked at once
                seen.add((at.path, markup))
                check_looks(walk)


def check_facts(walk: Walk) -> None:
    """Demand one heading of the first level, a language, a title of its own, and that nothing jumped while loading."""
    facts = walk.page.evaluate("looking.facts()")
    if facts["headings"] != 1:
        walk.note(f"has {facts['headings']} h1")
    if not facts["lang"] or "Convultra" not in facts["title"]:
        walk.note(f"has the title {facts['title']!r} and the language {facts['lang']!r}")
    check_shift(walk)


def check_shift(walk: Walk) -> None:
    """Demand that hardly anything moved since the page was opened."""
    shift = walk.page.evaluate("looking.shift()")
    if shift > MAX_SHIFT:
        walk.note(f"shifts by {shift:.3f} while it loads")


def check_looks(walk: Walk) -> None:
    """Run axe wide and narrow, light and dark, and demand that no width scrolls sideways."""
    for size in (WIDE, NARROW):
        walk.page.set_viewport_size(size)
        for theme, rules in (("light", None), ("dark", OF_COLOURS)):
            walk.page.evaluate("theme => looking.theme(theme)", theme)
            for violation in walk.page.evaluate("rules => looking.axe(rules)", rules):
                walk.note(f"{size['width']} px, {theme}: {violation}")
    for width in WIDTHS:
        walk.page.set_viewport_size({"width": width, "height": 800})
        if (over := walk.page.evaluate("looking.sideways()")) > 0:
            walk.note(f"scrolls sideways by {over} px at {width} px")
    walk.page.set_viewport_size(WIDE)


def test_nothing_moves_on_a_phones_first_visit(browser: Browser, served: Served) -> None:
    walks = []
    for at in served.pages():
        with served.context(browser, "maya", viewport=NARROW) as context:  # nothing is cached, fonts come late
            walks.append(walk := Walk(served, context))
            walk.open(at)
            walk.look()
            check_shift(walk)
    demand_none(*walks)


def test_every_page_has_a_title_of_its_own(served: Served) -> None:
    client = served.client("maya")
    titles: dict[tuple[str, str], set[str]] = {}
    for at in served.pages():
        page = client.get(at.path).content.decode()
        title = page.partition("<title>")[2].partition("</title>")[0]
        titles.setdefault((title, "outlet" if at.name.endswith("-empty") else ""), set()).add(at.key)
    assert {title: keys for title, keys in titles.items() if len(keys) > 1} == {}


def test_the_keyboard_reaches_everything_and_shows_where_it_is(browser: Browser, served: Served) -> None:
    with served.context(browser, "maya", viewport=WIDE) as context:
        walk = Walk(served, context)
        opened: set[str] = set()
        for at in served.pages():
            if at.key in opened:  # one state of each page: the others have the same controls
                continue
            opened.add(at.key)
            walk.open(at)
            walk.page.wait_for_load_state("networkidle")  # parts that come after the page have controls too
            walk.look()
            stops = walk.page.evaluate("looking.follow()")
            for _ in range(2):  # what comes when it is scrolled to is met on the second round
                for _ in range(stops + 5):
                    walk.page.keyboard.press("Tab")
                result = walk.page.evaluate("looking.result()")
                if not result["missed"]:
                    break
            for problem in ("missed", "unseen"):
                if result[problem]:
                    walk.note(f"{problem} by Tab: {result[problem][:6]}")
    demand_none(walk)


def test_every_page_works_without_scripts(browser: Browser, served: Served) -> None:
    with served.context(browser, "maya", viewport=NARROW, java_script_enabled=False) as context:
        walk = Walk(served, context)
        for at in served.pages():
            status = walk.open(at)
            if status not in (200, 404) or walk.page.locator("h1").count() != 1:
                walk.note(f"answers {status} without its heading")
    demand_none(walk)
