"""Every form in a real browser, with the keyboard only: with scripts and without, with what is valid and with nonsense.

What is typed and what must come of it is in `forms.py`. One world is made for all of them and put back before each.
"""

import html
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.core.cache import cache
from django.test import Client
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Request, expect

from dashboard.guards import role_names
from ingest.models import Role
from tests.dashboard.test_every_route import ANYONE, DOORS, SIGNED_IN
from tests.pages.finding import forms_of, route_of
from tests.pages.forms import DRIVEN_ELSEWHERE, FORMLESS, FORMS, NOT_SENT, Form, spelled
from tests.pages.keyboard import Keyboard
from tests.pages.serving import PageAt, Served, serve
from tests.pages.undoing import Undo, rows_of, stored
from tests.pages.world import ROLES

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

PATIENCE = 30_000  # milliseconds; the machine may be busy with other tests
FORMS_OF_FIELDS = [form for form in FORMS if form.nonsense]
EVERYWHERE = pytest.mark.parametrize(
    "scripts", [pytest.param(True, id="scripts"), pytest.param(False, id="no-scripts")]
)
# Chromium says on the console that an answer was no 200; that one is wanted where nonsense was sent.
REFUSED = "the server responded with a status of 422"
# How htmx tells the console that a newer request took the place of one: what `hx-sync` is for.
OVERTAKEN = ("htmx:afterRequest", "htmx:sendAbort")
OPENERS = '[hx-target="#modal"],[data-opens]'
# What an opener opens: the address it asks for, or the dialog that is on the page.
OPENED = "(opener) => opener.getAttribute('hx-get') || opener.dataset.opens"
FEWEST_DIALOGS = 8
# Between a dialog's last stop and its first, Tab passes the browser's own controls; the page has no focus then.
HAS_FOCUS = "(dialog) => [document.body, ...dialog.querySelectorAll('*'), dialog].includes(document.activeElement)"
# A code that works once is as secret as a password.
KIND = "(field) => field.autocomplete === 'one-time-code' ? field.autocomplete : field.type"
DESCRIBED = """(field) => (field.getAttribute("aria-describedby") || "").split(" ")
    .map((id) => document.getElementById(id)).filter((one) => one && one.checkVisibility())
    .map((one) => one.innerText).join(" ")"""


class Visit:
    """A person in front of a form, and what the page did behind their back."""

    def __init__(self, served: Served, page: Page, form: Form, *, scripts: bool) -> None:
        self.served, self.page, self.form, self.scripts = served, page, form, scripts
        self.keyboard = Keyboard(page)
        self.faults: list[str] = []
        self.navigations: list[str] = []
        page.set_default_timeout(PATIENCE)
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.faults.append(f"uncaught {error}"))
        page.on("request", self._follow)

    def open(self) -> Locator:
        """Go to the page and return the form on it, opened where it has to be."""
        form, world = self.form, self.served.world
        if form.prepare:
            form.prepare(world)
        if form.enter:
            client, path = form.enter(world)
            self.served.hand_over(client, self.page.context)
        else:
            path = form.path(world) + ("" if self.scripts else form.plain)
        self.page.goto(self.served.url + path)
        if self.scripts and form.opens:
            self.keyboard.press(self.page.locator(form.opens).first)
        # An entrance keeps its secret in its address; its form leads where it stands.
        target = urlsplit(self.page.url).path if form.enter else form.target(world)
        method = "" if form.method == "get" else "[method=post]"
        found = [
            f'form{method}[action="{target}"]',
            f'form{method}[action^="{target}?"]',
            f"main form{method}:not([action])",
        ]
        place = "dialog[open]" if self.scripts and form.opens else "body"
        return self.page.locator(place).locator(", ".join(found)).locator("visible=true").first

    def fill(self, form: Locator, values: Mapping[str, str]) -> None:
        """Type what is said, field by field."""
        for name, value in values.items():
            self.keyboard.fill(form, name, spelled(value, self.served.world))

    def submit(self, form: Locator) -> None:
        """Press the form's button, with Enter or Space; a form without one takes Enter in its field."""
        name, value = self.form.submit
        wanted = f'[name="{name}"][value="{value}"]' if name else ":not([name])"
        button = form.locator(f"button[type=submit]:not([form]){wanted}").locator("visible=true")
        if button.count():
            self.keyboard.press(button.first, "Enter" if self.scripts else "Space")
        else:
            self.page.keyboard.press("Enter")

    def demand(self, words: str, within: str = "main") -> None:
        """Fail with what the page says where it does not say the words."""
        try:
            expect(self.saying(words, within).first).to_be_visible(timeout=PATIENCE)
        except AssertionError:
            said = " ".join(self.page.locator("main, #toasts").all_inner_texts())
            pytest.fail(f"{self.page.url} does not say {words!r} but: {said[:1500]}", pytrace=False)

    def saying(self, words: str, within: str = "main") -> Locator:
        """Return what says the words where a person sees them."""
        return self.page.locator(within).get_by_text(re.compile(re.escape(words))).locator("visible=true")

    def _hear(self, message: ConsoleMessage) -> None:
        is_elsewhere = self.form.lands and "404" in message.text  # Microsoft's own page is not behind this server
        is_overtaken = message.text.startswith(OVERTAKEN)
        if message.type == "error" and not (is_elsewhere or is_overtaken):
            self.faults.append(message.text)

    def _follow(self, request: Request) -> None:
        if request.is_navigation_request():
            self.navigations.append(request.method)


class Stage:
    """The world, a browser profile for each way of looking at it, and the way back."""

    def __init__(self, served: Served, browser: Browser) -> None:
        self.served = served
        self._contexts = {
            scripts: served.context(browser, "maya", java_script_enabled=scripts) for scripts in (True, False)
        }
        self._cookies = {key: context.cookies() for key, context in self._contexts.items()}
        self._undo = Undo(served.microsoft.books)

    def visit(self, form: Form, *, scripts: bool) -> Visit:
        """Return the owner in front of a form."""
        return Visit(self.served, self._contexts[scripts].new_page(), form, scripts=scripts)

    def page(self) -> Page:
        """Return an empty page of the owner's, with scripts."""
        return self._contexts[True].new_page()

    def restore(self) -> None:
        """Close what is open, and let everything be as it was."""
        for key, context in self._contexts.items():
            for page in context.pages:
                page.close()
            context.clear_cookies()
            context.add_cookies(self._cookies[key])  # type: ignore[arg-type]  # what a profile gives, it takes
        cache.clear()  # of codes that were used, and of how often somebody tried
        self._undo.restore()

    def close(self) -> None:
        """End the profiles."""
        for context in self._contexts.values():
            context.close()


@pytest.fixture(scope="module")
def made(
    django_db_setup: None,  # noqa: ARG001 - there has to be a database
    django_db_blocker: Any,
    browser: Browser,
) -> Iterator[Stage]:
    """Yield the one world of this file."""
    with ExitStack() as stack:
        with django_db_blocker.unblock():
            stage = Stage(stack.enter_context(serve()), browser)
        stack.callback(stage.close)
        yield stage


@pytest.fixture
def stage(made: Stage, transactional_db: None) -> Stage:  # noqa: ARG001 - what is served is committed
    """Return the world as it was made: every test leaves an empty database behind."""
    made.restore()
    return made


@EVERYWHERE
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_what_is_valid_is_done_and_said(stage: Stage, form: Form, scripts: bool) -> None:
    visit = stage.visit(form, scripts=scripts)
    found = visit.open()
    before = rows_of([form.changes]) if form.changes else stored()
    assert not form.says or not visit.saying(form.says).count(), "the page says it before it is done"
    visit.fill(found, form.fill)
    visit.submit(found)
    if form.toast:
        visit.demand(form.toast, "#toasts")
    if form.says:
        visit.demand(form.says)
    if form.shows:
        expect(visit.page.locator(form.shows)).to_be_visible(timeout=PATIENCE)
    if not (form.toast or form.says or form.shows or form.lands):
        expect(found).to_have_count(0, timeout=PATIENCE)  # what was dismissed is gone
    if form.lands:
        visit.page.wait_for_url(re.compile(re.escape(form.lands)))
    after = rows_of([form.changes]) if form.changes else stored()
    assert (before != after) == (form.changes is not None)
    assert visit.navigations[-1] == "GET" or form.is_answer, "loading the page again would send the form again"
    assert visit.faults == []


@EVERYWHERE
@pytest.mark.parametrize("form", FORMS_OF_FIELDS, ids=str)
def test_nonsense_is_said_where_it_was_typed_and_stores_nothing(stage: Stage, form: Form, scripts: bool) -> None:
    visit = stage.visit(form, scripts=scripts)
    found = visit.open()
    before = stored()
    visit.fill(found, form.nonsense)
    visit.submit(found)
    visit.demand(form.error)
    wrong = visit.page.locator("[aria-invalid=true]").locator("visible=true")
    expect(wrong.first).to_be_focused()
    assert form.error in wrong.first.evaluate(DESCRIBED), "the field does not say what is wrong with it"
    demand_kept(visit.page.locator("form:has([aria-invalid=true])"), form.nonsense)
    assert stored() == before
    assert [fault for fault in visit.faults if REFUSED not in fault] == []


def demand_kept(form: Locator, typed: Mapping[str, str]) -> None:
    """Demand that nobody has to type again what they typed; secrets and files are no page's to repeat."""
    for name, value in typed.items():
        field = form.locator(f'[name="{name}"]:not([type=hidden])')
        kind = field.first.evaluate(KIND)
        if kind == "radio":
            expect(form.locator(f'[name="{name}"][value="{value}"]')).to_be_checked()
        elif kind == "select-one":
            expect(field.locator("option:checked")).to_have_text(value)
        elif kind not in ("password", "one-time-code", "file"):
            expect(field.first).to_have_value(value)


def test_every_form_of_every_page_is_in_the_table(stage: Stage) -> None:
    client = stage.served.client("maya")
    known = {form.key for form in FORMS} | NOT_SENT | DRIVEN_ELSEWHERE
    unknown: dict[str, str] = {}
    for at in stage.served.pages():
        for form in forms_of(at.path, client.get(at.path).content.decode()):
            unknown.update((key, at.path) for key in form.keys - known)
    assert unknown == {}, "give each a row in tests/pages/forms.py: what is typed, and what the page answers"


def test_every_form_of_the_entrances_is_in_the_table(stage: Stage) -> None:
    known = {form.key for form in FORMS}
    unknown: dict[str, str] = {}
    drawn: set[str] = set()
    for form in FORMS:
        if form.key.startswith(("post account_", "post mfa_", "post invitation")):
            stage.restore()
            client, path = form.enter(stage.served.world) if form.enter else _at_home(stage, form)
            answer = client.get(path, follow=True)
            drawn.update(str(one.name) for one in answer.templates)
            unknown.update(
                (key, path) for one in forms_of(path, answer.content.decode()) for key in one.keys - known - NOT_SENT
            )
    assert unknown == {}, "give each a row in tests/pages/forms.py: what is typed, and what the page answers"
    assert entrances_with_forms() - drawn == set(), "nobody stands before these: give their forms a row with `enter`"


def _at_home(stage: Stage, form: Form) -> tuple[Client, str]:
    """Return Maya before a form's own page."""
    return stage.served.client("maya"), form.target(stage.served.world)


def entrances_with_forms() -> set[str]:
    """Return the templates of sign-in and all around it that have a form, by name."""
    folder = Path(settings.BASE_DIR) / "templates"
    return {str(one.relative_to(folder)) for one in folder.glob("account/*.html") if "<form" in one.read_text()}


def test_every_door_that_takes_a_post_has_its_form_in_the_table() -> None:
    taken = {key.split()[1] for key in {form.key for form in FORMS} | DRIVEN_ELSEWHERE if key.startswith("post ")}
    doors = {
        key.removeprefix("dashboard:")
        for key, door in DOORS.items()
        if key.startswith(("dashboard:", "account_", "mfa_"))
        and (door.post in (ANYONE, SIGNED_IN) or isinstance(door.post, tuple))
    }
    assert doors - taken - FORMLESS == set()


@pytest.mark.parametrize("name", ["sofia", "lin"])
def test_a_form_of_another_role_is_shut_and_says_whose_it_is(stage: Stage, name: str) -> None:
    client = stage.served.client(name)
    wrong = []
    for form in FORMS:
        roles = of_roles(form)
        if not roles or ROLES[name] in roles:
            continue
        answer = client.get(form.path(stage.served.world))
        if answer.status_code != 200:
            continue  # tests/dashboard/test_every_route.py reads what a 403 says
        page = html.unescape(answer.content.decode())
        shown = [one for one in forms_of(form.path(stage.served.world), page) if form.key in one.keys]
        if any(one.is_usable for one in shown):
            wrong.append(f"{form} can be pressed")
        elif shown and f"the {role_names(roles)} role" not in page:
            wrong.append(f"{form} does not say that it needs the {role_names(roles)} role")
    assert wrong == []


def of_roles(form: Form) -> tuple[Role, ...]:
    """Return the roles that may send a form; none where roles have no say."""
    door = DOORS.get(f"dashboard:{form.action}")
    return door.post if door and form.method == "post" and isinstance(door.post, tuple) else ()


def test_every_dialog_opens_and_closes_by_keyboard_and_gives_the_focus_back(stage: Stage) -> None:
    page = stage.page()
    page.set_default_timeout(PATIENCE)
    wrong: list[str] = []
    met: set[str] = set()
    for at in pages_with_dialogs(stage.served):
        page.goto(stage.served.url + at.path)
        openers = page.locator(OPENERS).locator("visible=true")
        for number in range(openers.count()):
            name = openers.nth(number).evaluate(OPENED)
            if route_of(name) not in met:
                met.add(route_of(name))
                wrong += [f"{at.name}, {name}: {what}" for what in faults_of_dialog(page, openers.nth(number))]
    assert wrong == []
    assert len(met) >= FEWEST_DIALOGS, met


def pages_with_dialogs(served: Served) -> Iterator[PageAt]:
    """Yield one page of each route that has something which opens a dialog."""
    client = served.client("maya")
    opened: set[str] = set()
    for at in served.pages():
        markup = client.get(at.path).content.decode()
        if at.key not in opened and ('hx-target="#modal"' in markup or "data-opens=" in markup):
            opened.add(at.key)
            yield at


def faults_of_dialog(page: Page, opener: Locator) -> Iterator[str]:
    """Yield what is wrong with a dialog on its way from Enter to Escape."""
    opener.focus()
    page.keyboard.press("Enter")
    dialog = page.locator("dialog[open]")
    expect(dialog).to_be_visible(timeout=PATIENCE)
    if not dialog.evaluate(HAS_FOCUS):
        yield "it opens without the focus"
    stops = dialog.locator("a, button, input, select, textarea").count()
    for _ in range(stops + 2):
        page.keyboard.press("Tab")
        if not dialog.evaluate(HAS_FOCUS):
            yield "Tab leaves it"
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0, timeout=PATIENCE)
    if not opener.evaluate("e => e === document.activeElement"):
        yield "it does not give the focus back"
