"""Every helper, executed, sets the cookie again in the same cases, in the same way, and in no others."""

import re
from email.utils import parsedate_to_datetime

import pytest

from tests.server_helpers.cases import CASES, DAY, GOOD, RESPONSES, SECOND, Case
from tests.server_helpers.sites import HELPERS, LoopbackSite, Site

NAME = "_convultra"
SITES = ["django", "express", "node_http", "php", "wordpress"]
ADDED, LEFT = [case for case in CASES if case.added], [case for case in CASES if not case.added]


@pytest.fixture(params=SITES)
def site(request: pytest.FixtureRequest) -> Site:
    """Return each site in turn."""
    found: Site = request.getfixturevalue(request.param)
    return found


class TestACookieThatIsSetAgain:
    @pytest.mark.parametrize("case", ADDED, ids=str)
    def test_it_keeps_its_value_and_its_end(self, site: Site, case: Case) -> None:
        [cookie] = site(case).cookies(NAME)
        assert cookie.value == case.value
        end = parsedate_to_datetime(cookie["expires"]).timestamp()
        assert end == (case.lives_from + 90 * DAY) // SECOND
        assert cookie["max-age"] == ""  # it would count from the answer, not from the click

    @pytest.mark.parametrize("case", ADDED, ids=str)
    def test_its_attributes_are_those_of_the_sdk(self, site: Site, case: Case) -> None:
        [cookie] = site(case).cookies(NAME)
        assert (cookie["domain"], cookie["path"], cookie["samesite"]) == ("shop.test", "/", "Lax")
        assert bool(cookie["secure"]) is bool(case.https)
        assert not cookie["httponly"]

    @pytest.mark.parametrize("case", ADDED, ids=str)
    def test_its_response_is_one_visitor_s(self, site: Site, case: Case) -> None:
        caching = site(case).get("Cache-Control")
        assert "private" in caching or "no-store" in caching
        assert caching.startswith(case.caching)

    def test_other_cookies_of_the_response_stay(self, site: Site) -> None:
        (case,) = (case for case in RESPONSES if case.name == "a page that sets another")
        assert [cookie.value for cookie in site(case).cookies("session")] == ["1"]


class TestACookieThatIsLeftToItself:
    @pytest.mark.parametrize("case", LEFT, ids=str)
    def test_the_response_is_as_the_site_made_it(self, site: Site, case: Case) -> None:
        answer = site(case)
        own = [f"{NAME}={cookie.value}" for cookie in answer.cookies(NAME)]
        assert own == [line.split(";")[0] for line in [case.own] if line]
        assert answer.get("Cache-Control") == case.caching

    @pytest.mark.parametrize("case", LEFT, ids=str)
    def test_nothing_that_was_sent_comes_back(self, site: Site, case: Case) -> None:
        said = str(site(case).headers).lower()
        assert "evil" not in said
        assert GOOD not in said


class TestTheManual:
    def test_its_lines_are_those_that_the_files_themselves_give(self) -> None:
        blocks = re.findall(r"```(?:python|js|php)\n(.*?)```", (HELPERS / "README.md").read_text(), re.DOTALL)
        sources = "".join(path.read_text() for path in HELPERS.iterdir() if path.suffix in {".py", ".js", ".php"})
        lines = [line for block in blocks for line in block.splitlines()]
        assert (len(lines), [line for line in lines if line not in sources]) == (7, [])


class TestNode:
    def test_headers_that_are_handed_to_write_head_are_left_alone(self, node_http: LoopbackSite) -> None:
        answer = LoopbackSite(node_http.port, handed="1")(Case("a page"))
        assert answer.get("Content-Type") == "text/html; charset=utf-8"
        assert answer.cookies(NAME) == []


class TestWordPress:
    def test_page_caches_are_told_to_leave_one_visitor_s_page(self, wordpress: Site) -> None:
        assert wordpress(Case("a page")).get("X-Stored") == "no"

    def test_they_keep_the_pages_of_visitors_without_the_cookie(self, wordpress: Site) -> None:
        assert wordpress(Case("a page", cookie="")).get("X-Stored") == "yes"
