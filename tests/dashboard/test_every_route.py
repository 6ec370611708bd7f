"""Every address of the product, every kind of visitor, GET and POST: who gets in is said once, in DOORS below.

The addresses come from the resolver. A new one that is not in the table fails, with a sentence that says what to add.
"""

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from html.parser import HTMLParser
from http.cookies import SimpleCookie
from uuid import uuid4

from django.conf import settings
from django.db import transaction
from django.http import HttpResponseBase
from django.test import Client, TestCase
from django.utils import timezone

from dashboard.guards import CONNECT, CORRECT, IMPORT, INSTALL, MAP, SEND, TEAM, role_names
from ingest.models import Role
from tests.pages.routes import Route, routes
from tests.pages.world import ROLES, World, build
from tests.support.microsoft import EmulatedMicrosoft
from tests.support.signing_in import work_on_ticket


class Kind(Enum):
    """Who an address is for, where roles do not say."""

    ANYONE = "anyone, signed in or not"
    SIGNED_IN = "everybody who is signed in"
    KEY = "programs with a key; a session changes nothing"
    STAFF = "staff"


ANYONE, SIGNED_IN, KEY, STAFF = Kind
ALL = tuple(Role)
Who = Kind | tuple[Role, ...] | None


@dataclass(frozen=True)
class Door:
    """Who may GET and who may POST: a kind, or the roles of dashboard/guards.py; None where the answer is 405."""

    get: Who = None
    post: Who = None


PUBLIC, API, ADMIN = Door(ANYONE, ANYONE), Door(KEY, KEY), Door(STAFF, STAFF)
SEEN = Door(get=ALL)
OWN = Door(SIGNED_IN, SIGNED_IN)


def asked(roles: tuple[Role, ...]) -> Door:
    """Return the door of an action that asks before it is done."""
    return Door(get=roles, post=roles)


def done(roles: tuple[Role, ...]) -> Door:
    """Return the door of an action that is done at once."""
    return Door(post=roles)


DOORS: dict[str, Door] = {
    "favicon.ico": PUBLIC,
    "healthz": PUBLIC,
    "sdk": PUBLIC,
    "forwarding:event-status": API,
    "forwarding:adjustment-status": API,
    "ingest:openapi": API,
    "ingest:backend-events": API,
    "ingest:backend-adjustments": API,
    "ingest:browser-events": API,
    "ingest:browser-clicks": API,
    "admin:login": PUBLIC,
    "admin:logout": PUBLIC,
    "account_login": PUBLIC,
    "account_logout": PUBLIC,
    "account_inactive": PUBLIC,
    "account_signup": PUBLIC,
    "account_reset_password": PUBLIC,
    "account_reset_password_done": PUBLIC,
    "account_reset_password_from_key": PUBLIC,
    "account_reset_password_from_key_done": PUBLIC,
    "dashboard:home": PUBLIC,
    "dashboard:help": Door(get=SIGNED_IN),
    "dashboard:search": Door(get=SIGNED_IN),
    "dashboard:help-api": Door(get=SIGNED_IN),
    # Adding one takes CONNECT in the organisation that is chosen.
    "dashboard:sites": Door(SIGNED_IN, ANYONE),
    # Microsoft sends people here; the state that it sends along says who began, and where.
    "dashboard:microsoft-callback": Door(get=ANYONE),
    "account_reauthenticate": OWN,
    "account_change_password": OWN,
    "mfa_authenticate": PUBLIC,
    "mfa_index": PUBLIC,
    "mfa_activate_totp": OWN,
    "mfa_deactivate_totp": OWN,
    "mfa_view_recovery_codes": Door(get=SIGNED_IN),
    "mfa_generate_recovery_codes": OWN,
    "dashboard:me": Door(get=SIGNED_IN),
    "dashboard:me-name": Door(post=SIGNED_IN),
    "dashboard:me-theme": Door(post=SIGNED_IN),
    "dashboard:me-devices-end": Door(post=SIGNED_IN),
    "dashboard:me-device-end": Door(post=SIGNED_IN),
    "dashboard:audit": SEEN,
    "dashboard:audit-export": SEEN,
    "dashboard:team": SEEN,
    "dashboard:team-invite": done(TEAM),
    "dashboard:invitation-resend": done(TEAM),
    "dashboard:invitation-revoke": done(TEAM),
    "dashboard:team-member": asked(TEAM),
    "dashboard:team-remove": asked(TEAM),
    "dashboard:team-leave": asked(ALL),
    "dashboard:organisation-rename": asked(TEAM),
    # The secret in the address opens it.
    "dashboard:invitation": PUBLIC,
    "dashboard:invitation-kept": PUBLIC,
    "dashboard:overview": SEEN,
    "dashboard:overview-attention": SEEN,
    "dashboard:overview-figures": SEEN,
    "dashboard:overview-latest": SEEN,
    "dashboard:overview-start": SEEN,
    "dashboard:events": SEEN,
    "dashboard:events-news": SEEN,
    "dashboard:event": SEEN,
    "dashboard:reconciliation": SEEN,
    "dashboard:reconciliation-export": SEEN,
    "dashboard:reconciliation-read": done(SEND),
    "dashboard:integrations": SEEN,
    "dashboard:microsoft-connect": done(CONNECT),
    "dashboard:connection-sync": done(CONNECT),
    "dashboard:connection-reading": Door(get=CONNECT),
    "dashboard:connection-disconnect": asked(CONNECT),
    "dashboard:connect-accounts": asked(CONNECT),
    "dashboard:connect-uet": asked(CONNECT),
    "dashboard:connect-goals": asked(CONNECT),
    "dashboard:connect-enhanced": asked(CONNECT),
    "dashboard:connect-test": asked(CONNECT),
    "dashboard:connect-done": Door(get=CONNECT),
    "dashboard:install": SEEN,
    "dashboard:install-checks": SEEN,
    "dashboard:install-page": SEEN,
    "dashboard:install-allow": done(INSTALL),
    "dashboard:hash-inspector": SEEN,
    "dashboard:keys": asked(INSTALL),
    "dashboard:key-revoke": asked(INSTALL),
    "dashboard:site-settings": Door(get=ALL, post=CONNECT),
    "dashboard:imports": asked(IMPORT),
    "dashboard:import-template": Door(get=IMPORT),
    "dashboard:import": Door(get=IMPORT),
    "dashboard:import-confirm": done(IMPORT),
    "dashboard:import-cancel": done(IMPORT),
    "dashboard:import-rows": Door(get=IMPORT),
    "dashboard:account-overview": SEEN,
    "dashboard:account-mapping": Door(get=ALL, post=MAP),
    "dashboard:account-goals-sync": done(MAP),
    "dashboard:account-mapping-file": Door(get=ALL, post=MAP),
    "dashboard:account-mapping-export": SEEN,
    "dashboard:account-mapping-replay": Door(get=ALL, post=MAP),
    "dashboard:account-goal-create": asked(MAP),
    "dashboard:account-test": Door(get=ALL, post=SEND),
    "dashboard:account-test-result": SEEN,
    "dashboard:account-auto-tagging": asked(CONNECT),
    "dashboard:account-settings": Door(get=ALL, post=CONNECT),
    "dashboard:account-uet-tags": Door(get=CONNECT),
    "dashboard:account-pause": asked(CONNECT),
    "dashboard:account-resume": done(CONNECT),
    "dashboard:account-remove": asked(CONNECT),
    "dashboard:account-logs": SEEN,
    "dashboard:account-logs-news": SEEN,
    "dashboard:account-logs-export": SEEN,
    "dashboard:account-logs-retry": asked(SEND),
    "dashboard:account-logs-hold": asked(SEND),
    "dashboard:account-logs-release": asked(SEND),
    "dashboard:account-logs-cancel": asked(SEND),
    "dashboard:account-logs-restate": asked(CORRECT),
    "dashboard:account-logs-retract": asked(CORRECT),
    "dashboard:account-logs-chosen-retry": asked(SEND),
    "dashboard:account-logs-chosen-hold": asked(SEND),
    "dashboard:account-logs-chosen-release": asked(SEND),
    "dashboard:account-logs-chosen-cancel": asked(SEND),
    "dashboard:account-logs-chosen-restate": asked(CORRECT),
    "dashboard:account-logs-chosen-retract": asked(CORRECT),
    "dashboard:account-job": SEEN,
    "dashboard:account-job-stop": done(SEND),
    "dashboard:account-job-dismiss": done(SEND),
    "dashboard:account-delivery": SEEN,
    "dashboard:account-delivery-detail": SEEN,
    "dashboard:account-delivery-retry": asked(SEND),
    "dashboard:account-delivery-hold": asked(SEND),
    "dashboard:account-delivery-release": asked(SEND),
    "dashboard:account-delivery-cancel": asked(SEND),
    "dashboard:account-delivery-restate": asked(CORRECT),
    "dashboard:account-delivery-retract": asked(CORRECT),
}
# The steps of a set-up are of one sign-in, which their query names.
QUERIES = {"dashboard:connect-": "?sign_in={connection_id}"}
NOT_CLASSIFIED = (
    "{key} is a new address. Add it to DOORS in tests/dashboard/test_every_route.py and say who may GET and who may"
    " POST it, with a role table of dashboard/guards.py or a Kind; a new parameter gets its value in `_values` of"
    " tests/pages/world.py."
)
ODD = "\0<script>=cmd()\u202e" + "9" * 40
ODD_QUERY = (
    "?page=%00&before=%ed%a0%80&after=x&cursor=99999999999999999999999&q=%F0%9F%92%A5&status=%00&from=0000-00-00&to=x"
)


class RouteTestCase(TestCase):
    """A test case with the world's rows and a browser for each kind of visitor."""

    world: World

    @classmethod
    def setUpTestData(cls) -> None:
        microsoft = cls.enterClassContext(EmulatedMicrosoft())
        cls.world = build(microsoft, timezone.now())

    def setUp(self) -> None:
        logging.disable()  # thousands of refusals are not news
        self.addCleanup(logging.disable, logging.NOTSET)
        self.problems: list[str] = []

    def be(self, visitor: str) -> None:
        """Sign somebody in; "nobody" signs out."""
        self.client = self.client_class(raise_request_exception=False)
        if visitor != "nobody":
            self.client.force_login(
                self.world.people[visitor], backend="allauth.account.auth_backends.AuthenticationBackend"
            )
        if visitor == "sam":
            work_on_ticket(self.client)

    def ask(self, method: str, url: str, data: Mapping[str, str] | None = None) -> HttpResponseBase:
        """Ask for a page, and undo what that changed: the rows, and whether somebody is signed in."""
        cookies = SimpleCookie(self.client.cookies)
        with undone():
            answer = self.client.post(url, data or {}) if method == "POST" else self.client.get(url, data or {})
        self.client.cookies = cookies
        return answer

    def demand_none(self) -> None:
        """Fail with every problem that was found."""
        if self.problems:
            self.fail("\n".join(self.problems))

    def url(self, route: Route, values: Mapping[str, object]) -> str:
        """Return a route's address with its query."""
        query = next((query for start, query in QUERIES.items() if route.key.startswith(start)), "")
        return route.url(values) + query.format(**values)


class TheTable(TestCase):
    def test_it_names_every_route_and_no_other(self) -> None:
        keys = {route.key for route in routes()}
        unsaid = [NOT_CLASSIFIED.format(key=key) for key in sorted(keys - {route.key for route in _known()})]
        self.assertEqual(unsaid, [])
        self.assertEqual(DOORS.keys() - keys, set())


class EveryVisitor(RouteTestCase):
    """Each test is one kind of visitor before every door."""

    def visit(self, visitor: str) -> None:
        self.be(visitor)
        for route in _known():
            if route.is_admins and visitor not in ("nobody", "maya", "sam"):
                continue  # in the admin people are staff or not
            url = self.url(route, self.world.own)
            for method in ("GET",) if route.is_admins else ("GET", "POST"):
                answer = self.ask(method, url)
                if wrong := self.judge(visitor, route, method, answer):
                    self.problems.append(f"{visitor} {method} {url} ({route.key}): {wrong}")
        self.demand_none()

    def judge(self, visitor: str, route: Route, method: str, answer: HttpResponseBase) -> str:
        door = _door(route)
        who = door.get if method == "GET" else door.post
        status, goes_to = answer.status_code, answer.headers.get("Location", "")
        if status >= 500:
            return f"{status}"
        if who is ANYONE or who is KEY:
            return ""
        if who is STAFF:
            to_sign_in = goes_to.startswith("/admin/login/")
            return "" if to_sign_in == (visitor != "sam") else f"{status} {goes_to}"
        if visitor == "nobody" and (who is not None or status != 405):
            return "" if status == 302 and goes_to.startswith("/login/") else f"{status} and not to the sign-in"
        if who is None:
            return "" if status == 405 else f"{status} and not 405"
        return self.judge_person(visitor, route, who, answer)

    def judge_person(self, visitor: str, route: Route, who: Kind | tuple[Role, ...], answer: HttpResponseBase) -> str:
        status = answer.status_code
        of_elsewhere = {"site_id": ("theo", "amelie", "sam"), "organisation_id": ("theo", "sam")}
        if any(visitor in of_elsewhere.get(name, ()) for name in route.parameters):
            return "" if status == 404 else f"{status} and not 404 for somebody of elsewhere"
        role = Role.OWNER if visitor == "theo" else ROLES.get(visitor)
        if who is SIGNED_IN:
            return "" if status not in (401, 403, 405) else f"{status} for somebody who is signed in"
        assert isinstance(who, tuple)
        if role in who:
            is_in = status not in (401, 403, 404, 405) and not answer.headers.get("Location", "").startswith("/login/")
            return "" if is_in else f"{status} for somebody who may"
        if role is None:
            return "" if status in (403, 404) else f"{status} for somebody of no team"
        if status != 403:
            return f"{status} and not 403"
        says = _text(answer)
        return "" if f"It needs the {role_names(who)} role" in says else f"403 without the words {role_names(who)}"

    def test_nobody(self) -> None:
        self.visit("nobody")

    def test_the_owner(self) -> None:
        self.visit("maya")

    def test_an_admin(self) -> None:
        self.visit("jonas")

    def test_a_marketer(self) -> None:
        self.visit("sofia")

    def test_a_developer(self) -> None:
        self.visit("daniel")

    def test_a_viewer(self) -> None:
        self.visit("lin")

    def test_a_marketer_of_another_site_of_the_organisation(self) -> None:
        self.visit("amelie")

    def test_the_owner_of_another_organisation(self) -> None:
        self.visit("theo")

    def test_staff(self) -> None:
        self.visit("sam")


class RowsOfOthers(RouteTestCase):
    """What belongs to somebody else is answered like what does not exist, to the letter."""

    def test_a_row_of_another_customer_is_not_found_through_ones_own_site(self) -> None:
        self.be("maya")
        for route, method, name in self.with_rows():
            mixed = self.world.own | {name: self.world.foreign[name]}
            gone = self.world.own | {name: _missing(self.world.own[name])}
            self.compare(route, method, route.url(mixed), route.url(gone))
        self.demand_none()

    def test_a_site_of_another_customer_is_not_found_even_with_all_that_is_in_it(self) -> None:
        self.be("maya")
        missing = {name: _missing(value) for name, value in self.world.foreign.items()}
        for route in _known():
            if "site_id" in route.parameters or "organisation_id" in route.parameters:
                for method in ("GET", "POST"):
                    self.compare(route, method, route.url(self.world.foreign), route.url(missing))
        self.demand_none()

    def with_rows(self) -> Iterator[tuple[Route, str, str]]:
        for route in _known():
            for name in route.parameters:
                if route.key.startswith("dashboard:") and name not in ("site_id", "organisation_id", "format_"):
                    yield from ((route, method, name) for method in ("GET", "POST"))

    def compare(self, route: Route, method: str, theirs: str, missing: str) -> None:
        door = _door(route)
        if (door.get if method == "GET" else door.post) is None:
            return
        one, other = self.ask(method, theirs), self.ask(method, missing)
        if one.status_code == other.status_code == 302 and _leads(one) == _leads(other):
            return  # back to a list, which says that it is gone
        if (one.status_code, other.status_code) != (404, 404):
            self.problems.append(f"{method} {theirs}: {one.status_code}, and {other.status_code} for no row")
        elif _without_token(one) != _without_token(other):
            self.problems.append(f"{method} {theirs}: told otherwise than a row that does not exist")


class Nonsense(RouteTestCase):
    """What no person would send gets a clear answer, never a failure of ours."""

    def test_odd_queries_are_survived(self) -> None:
        for visitor in ("maya", "sam"):
            self.be(visitor)
            for route in _known():
                if route.is_admins == (visitor == "sam"):
                    self.demand("GET", route.url(self.world.own) + ODD_QUERY)
        self.demand_none()

    def test_odd_addresses_are_not_found(self) -> None:
        self.be("maya")
        for route in _known():
            for name in route.parameters:
                if not route.key.startswith("dashboard:"):
                    continue
                pattern = route.url(self.world.own)
                for odd in ("%00", "%ed%a0%80", "9" * 60):
                    url = pattern.replace(str(self.world.own[name]), odd)
                    answer = self.ask("GET", url)
                    if answer.status_code not in (404, 405):
                        self.problems.append(f"{url}: {answer.status_code}")
        self.demand_none()

    def test_every_form_survives_nonsense_in_each_field(self) -> None:
        self.be("maya")
        forms = set()
        for route in _known():
            if route.key.startswith("dashboard:") and _door(route).get:
                url = self.url(route, self.world.own)
                page = self.ask("GET", url)
                forms |= set(_forms(page, url)) if page.status_code == 200 else set()
        self.assertGreater(len(forms), 10)
        for url, names in sorted(forms):
            for odd in ("", ODD, "9" * 5000, "nan", "-1"):
                self.demand("POST", url, dict.fromkeys(names, odd))
        self.demand_none()

    def test_a_form_without_its_token_is_refused(self) -> None:
        client = Client(enforce_csrf_checks=True)
        client.force_login(self.world.people["maya"], backend="allauth.account.auth_backends.AuthenticationBackend")
        for route in _known():
            if route.key.startswith("dashboard:") and _door(route).post:
                with undone():
                    answer = client.post(route.url(self.world.own))
                if answer.status_code != 403:
                    self.problems.append(f"{route.key}: {answer.status_code}")
        self.demand_none()

    def demand(self, method: str, url: str, data: Mapping[str, str] | None = None) -> None:
        answer = self.ask(method, url, data)
        if answer.status_code >= 500:
            self.problems.append(f"{method} {url} {data}: {answer.status_code}")


class Programs(RouteTestCase):
    """The API asks for a key; being signed in opens nothing."""

    def test_a_session_changes_no_answer(self) -> None:
        keyed = [route for route in _known() if _door(route) is API]
        answers = []
        for visitor in ("nobody", "maya", "sam"):
            self.be(visitor)
            answers.append(
                [self.ask(m, route.url(self.world.own)).status_code for route in keyed for m in ("GET", "POST")]
            )
        self.assertEqual(answers[0], answers[1])
        self.assertEqual(answers[0], answers[2])


@contextmanager
def undone() -> Iterator[None]:
    """Undo what the body does to the rows."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


class _FormsOf(HTMLParser):
    """Collects the POST forms of a page: where each goes and the names of its fields."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self.found: list[tuple[str, list[str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "form":
            is_post = (given.get("method") or "").lower() == "post"
            self.found.append(((given.get("action") or self.url) if is_post else "", []))
        name = given.get("name")
        if self.found and name and tag in ("input", "select", "textarea", "button"):
            self.found[-1][1].append(name)


def _forms(page: HttpResponseBase, url: str) -> list[tuple[str, tuple[str, ...]]]:
    if not page.headers["Content-Type"].startswith("text/html"):
        return []
    parser = _FormsOf(url)
    parser.feed(_text(page))
    leave = settings.LOGIN_REDIRECT_URL and "/logout/"
    return [(action, tuple(names)) for action, names in parser.found if action and action != leave]


def _known() -> list[Route]:
    """Return the routes that the table knows; the others are told of by one test, not by all."""
    return [route for route in routes() if route.is_admins or (route.key in DOORS and route.can_be_filled)]


def _door(route: Route) -> Door:
    return DOORS.get(route.key, ADMIN)


def _missing(value: object) -> object:
    """Return a value of the same shape that no row has."""
    if isinstance(value, int):
        return 987_654_321
    text = str(value)
    if text.isdigit():
        return "987654321"
    return uuid4() if len(text) == 36 else "nowhere"


def _leads(answer: HttpResponseBase) -> str:
    return answer.headers["Location"].partition("?")[0]


def _text(answer: HttpResponseBase) -> str:
    return b"".join(answer).decode() if answer.streaming else answer.content.decode()  # type: ignore[attr-defined]


def _without_token(answer: HttpResponseBase) -> str:
    return re.sub(r'("x-csrftoken": |name="csrfmiddlewaretoken" value=)"[^"]+"', "", _text(answer))
