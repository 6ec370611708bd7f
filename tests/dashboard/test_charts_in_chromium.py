"""The charts in a real browser, under the real security policy: drawn, hatched, in the theme's colours."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from forwarding.models import DailyCount, Status
from tests.cast import make_account, make_connection, make_goal, make_site, make_user
from tests.dashboard.accounts import deliver
from tests.support.signing_in import sign_in

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
# How many of a canvas's points have a colour, near enough for what smooths edges.
COUNT = """([id, [red, green, blue]]) => {
  const canvas = document.querySelector(`canvas[data-chart="${id}"]`);
  const points = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  let count = 0;
  for (let at = 0; at < points.length; at += 4)
    count += points[at + 3] > 200
      && Math.abs(points[at] - red) + Math.abs(points[at + 1] - green) + Math.abs(points[at + 2] - blue) < 9;
  return count;
}"""
GREEN = {"light": [0x33, 0xA3, 0x74], "dark": [0x2F, 0x9D, 0x6D]}
RED = {"light": [0xD6, 0x3A, 0x30], "dark": [0xEE, 0x6A, 0x60]}


@pytest.fixture
def path() -> str:
    """Return the path of an account's overview: three days with deliveries, one of them with a failure."""
    site = make_site("Harbor & Pine", make_user("alice"))
    goal = make_goal(make_account(site, connection=make_connection(site)), "Purchase")
    for days, count in ((2, 9), (1, 6), (0, 3)):
        for _ in range(count):
            deliver(goal, at=timezone.now() - timedelta(days=days))
    deliver(goal, Status.FAILED, timezone.now() - timedelta(days=1), error_code=5604)
    return reverse("dashboard:account-overview", args=[site.public_id, goal.account.account_id])


def open_page(page: Page, live_server: LiveServer, path: str) -> Page:
    """Sign Alice in and open a page."""
    sign_in(page, live_server.url, path)
    expect(page.get_by_role("heading", name="Conversions by day")).to_be_visible()
    return page


def painted(page: Page, chart: str, colour: list[int]) -> bool:
    """Say whether a chart has an area of a colour."""
    return bool(page.evaluate(COUNT, [chart, colour]) > 100)


@pytest.fixture
def plain(browser: Browser) -> Iterator[Page]:
    """Yield a page in which no script runs."""
    context = browser.new_context(java_script_enabled=False)
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_bars_have_the_colours_of_the_theme_and_follow_it(
    page: Page, live_server: LiveServer, path: str, theme: str
) -> None:
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    open_page(page, live_server, path)
    assert painted(page, "by-day", GREEN[theme])
    assert painted(page, "by-day-failed", RED[theme])
    page.get_by_role("button", name="Switch between light and dark").click()
    other = "light" if theme == "dark" else "dark"
    page.wait_for_function(f"(at) => ({COUNT})(at) > 100", arg=["by-day", GREEN[other]])
    assert not painted(page, "by-day", GREEN[theme])


def test_the_day_that_is_not_over_is_hatched(page: Page, live_server: LiveServer, path: str) -> None:
    open_page(page, live_server, path)
    kinds = page.evaluate(
        """Chart.getChart(document.querySelector('canvas[data-chart="by-day"]')).data.datasets[0].backgroundColor
           .map((colour) => typeof colour === "string" ? "full" : colour.constructor.name)"""
    )
    assert kinds == ["full"] * 13 + ["CanvasPattern"]


def test_who_cannot_see_a_chart_hears_its_finding_and_opens_the_table(
    page: Page, live_server: LiveServer, path: str
) -> None:
    open_page(page, live_server, path)
    expect(page.get_by_role("img", name="18 delivered, 0 pending, 0 retrying")).to_be_visible()
    expect(page.get_by_role("img", name="Failed by day")).to_be_visible()
    table = page.get_by_role("table", name="Conversions by day of UTC")
    expect(table).to_be_hidden()
    page.get_by_text("View as table").click()
    expect(table.get_by_role("row")).to_have_count(15)


def test_without_scripts_the_table_stands_instead(plain: Page, live_server: LiveServer, path: str) -> None:
    open_page(plain, live_server, path)
    expect(plain.get_by_role("table", name="Conversions by day of UTC")).to_be_visible()
    expect(plain.locator("canvas[data-chart='by-day']")).to_be_hidden()


def test_very_large_numbers_have_room_on_the_scale(page: Page, live_server: LiveServer, path: str) -> None:
    DailyCount.objects.filter(status=Status.DELIVERED).update(count=12_345_678)
    open_page(page, live_server, path)
    labels = page.evaluate(
        "Chart.getChart(document.querySelector('canvas[data-chart=by-day]')).scales.y.ticks.map((tick) => tick.label)"
    )
    assert labels == ["0", "5M", "10M", "15M"]
    expect(page.get_by_role("img", name="37,037,034 delivered")).to_be_visible()


def test_one_day_of_data_is_drawn_in_the_room_that_was_kept(page: Page, live_server: LiveServer, path: str) -> None:
    DailyCount.objects.exclude(day=timezone.now().date()).delete()
    open_page(page, live_server, path)
    expect(page.get_by_role("img", name="3 delivered, 0 pending")).to_be_visible()
    kept = page.locator(".cv-chart").evaluate_all("(all) => all.map((one) => [one.style.height, one.offsetHeight])")
    assert kept == [["170px", 170], ["72px", 72]]


def test_no_data_is_said_and_not_drawn(page: Page, live_server: LiveServer, path: str) -> None:
    DailyCount.objects.all().delete()
    open_page(page, live_server, path)
    expect(page.get_by_text("Nothing was forwarded from")).to_be_visible()
    expect(page.locator("canvas")).to_have_count(0)
