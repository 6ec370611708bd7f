"""How the overview keeps itself up to date in a real browser: quietly, and around whoever is reading."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal

import pytest
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from forwarding.models import DailyCount, Status
from integrations.models import ConversionGoal, GoalMapping
from tests.cast import make_account, make_connection, make_goal, make_site, make_user
from tests.dashboard.accounts import deliver
from tests.support.signing_in import sign_in

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
MINUTE = 61_000


@pytest.fixture
def goal() -> ConversionGoal:
    """Return the goal of Alice's purchases; one was delivered and one failed."""
    site = make_site("Harbor & Pine", make_user("alice"))
    goal = make_goal(make_account(site, connection=make_connection(site)), "Purchase")
    GoalMapping.objects.create(account=goal.account, event_name="purchase", goal=goal)
    deliver(goal)
    deliver(goal, Status.FAILED, error_code=5604)
    return goal


def open_overview(page: Page, live_server: LiveServer, goal: ConversionGoal) -> Page:
    """Sign Alice in and open her site."""
    path = reverse("dashboard:overview", args=[goal.account.site.public_id])
    sign_in(page, live_server.url, path)
    expect(page.get_by_role("heading", name="Overview", exact=True)).to_be_visible()
    return page


@pytest.fixture
def plain(browser: Browser) -> Iterator[Page]:
    """Yield a page in which no script runs."""
    context = browser.new_context(java_script_enabled=False)
    yield context.new_page()
    context.close()


def test_figures_and_charts_are_drawn_anew_every_minute(
    page: Page, live_server: LiveServer, goal: ConversionGoal
) -> None:
    page.clock.install()
    open_overview(page, live_server, goal)
    expect(page.get_by_text("1 delivered, 1 failed")).to_be_visible()
    page.get_by_text("View as table").click()
    page.locator("main").focus()
    deliver(goal)
    page.clock.run_for(MINUTE)
    expect(page.get_by_text("2 delivered, 1 failed")).to_be_visible()
    expect(page.get_by_role("img", name="2 delivered, 0 pending")).to_be_visible()
    assert page.evaluate("Boolean(Chart.getChart(document.querySelector('canvas[data-chart=by-day]')))")
    expect(page.get_by_role("table", name="Conversions by day of UTC")).to_be_visible()


def test_a_section_with_the_focus_stays_as_it_is(page: Page, live_server: LiveServer, goal: ConversionGoal) -> None:
    page.clock.install()
    open_overview(page, live_server, goal)
    link = page.locator("#attention").get_by_role("link", name="See why")
    link.focus()
    for _ in range(2):
        deliver(goal, Status.FAILED, error_code=5604)
    page.clock.run_for(MINUTE)
    expect(page.get_by_text("1 delivered, 3 failed")).to_be_visible()
    expect(link).to_be_focused()
    expect(page.get_by_text("1 conversion for “Purchase” failed")).to_be_visible()
    page.locator("main").focus()
    page.clock.run_for(MINUTE)
    expect(page.get_by_text("3 conversions for “Purchase” failed")).to_be_visible()


def test_without_scripts_one_link_shows_the_rest(plain: Page, live_server: LiveServer, goal: ConversionGoal) -> None:
    open_overview(plain, live_server, goal)
    expect(plain.get_by_role("table", name="Conversions by day of UTC")).to_be_visible()
    plain.get_by_role("link", name="Show the newest events").click()
    expect(plain.get_by_role("table", name="The newest events and what became of them")).to_be_visible()


@pytest.mark.parametrize("width", [1440, 390])
def test_a_very_large_amount_keeps_off_its_line(
    page: Page, live_server: LiveServer, goal: ConversionGoal, width: int
) -> None:
    deliver(goal, at=timezone.now() - timedelta(days=2))
    DailyCount.objects.filter(status=Status.DELIVERED).update(value=Decimal(123_456_789_012_000), count=98_765_432)
    page.set_viewport_size({"width": width, "height": 900})
    open_overview(page, live_server, goal)
    expect(page.locator(".stat-value", has_text="$246.9T")).to_be_visible()
    meeting = page.evaluate(
        """() => [...document.querySelectorAll(".stat")].filter((stat) => {
          const text = document.createRange();
          text.selectNodeContents(stat.querySelector(".stat-value"));
          const [words, line] = [text.getBoundingClientRect(), stat.querySelector(".spark")?.getBoundingClientRect()];
          return words.right > stat.getBoundingClientRect().right || (line?.width && words.right > line.left);
        }).map((stat) => stat.textContent)"""
    )
    assert meeting == []
