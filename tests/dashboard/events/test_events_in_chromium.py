"""What the events page does by script, in a real browser: it follows what arrives, and is found again by a search."""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from forwarding.models import Status
from ingest.models import Event, Site
from integrations.models import ConversionGoal
from tests.cast import make_account, make_connection, make_goal, make_site, make_user, store_event
from tests.dashboard.accounts import deliver
from tests.support.chromium import Console
from tests.support.signing_in import sign_in

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

Opens = Callable[[str], Page]
POLL = 2_000
SECOND = 1_000


@pytest.fixture
def goal() -> ConversionGoal:
    """Return the goal of Alice's account."""
    site = make_site("Harbor & Pine", make_user("alice"))
    return make_goal(make_account(site, connection=make_connection(site)), "Purchase")


@pytest.fixture
def opens(page: Page, live_server: LiveServer, goal: ConversionGoal) -> Opens:
    """Return a function that opens a page of the site, its clock under the test's control."""
    page.emulate_media(reduced_motion="reduce")

    def opening(path: str) -> Page:
        page.clock.install()
        sign_in(page, live_server.url)
        page.goto(f"{live_server.url}/s/{goal.account.site.public_id}/{path}")
        return page

    return opening


def arrive(site: Site, order: str, seconds_ago: int = 0) -> Event:
    """Store a purchase that was planned when it came."""
    at = timezone.now() - timedelta(seconds=seconds_ago)
    return store_event(site, transaction_id=order, received_at=at, occurred_at=at, planned_at=at)


def row(event: Event) -> str:
    """Return the selector of an event's row."""
    return f"#event-{event.pk}"


def test_what_arrives_comes_by_itself_and_changes_where_it_stands(opens: Opens, goal: ConversionGoal) -> None:
    first = arrive(goal.account.site, "HP-1", seconds_ago=60)
    page = opens("events/")
    second = arrive(goal.account.site, "HP-2")
    page.clock.run_for(POLL)
    expect(page.locator("#event-rows tr").first).to_have_id(f"event-{second.pk}")
    deliver(goal, Status.DELIVERED, event=first)
    page.clock.run_for(POLL)
    expect(page.locator(row(first))).to_contain_text("Delivered")


def test_the_first_event_ends_the_waiting(opens: Opens, goal: ConversionGoal) -> None:
    page = opens("events/")
    expect(page.get_by_role("heading", name="Waiting for the first event")).to_be_visible()
    event = arrive(goal.account.site, "HP-1")
    page.clock.run_for(POLL)
    expect(page.locator(row(event))).to_be_visible()


def test_a_row_never_moves_under_the_hand(opens: Opens, goal: ConversionGoal) -> None:
    first = arrive(goal.account.site, "HP-1", seconds_ago=60)
    page = opens("events/")
    page.locator(row(first)).hover()
    before = page.locator(row(first)).bounding_box()
    second = arrive(goal.account.site, "HP-2")
    page.clock.run_for(POLL)
    offer = page.get_by_role("link", name="Show 1 new event")
    expect(offer).to_be_visible()
    assert page.locator(row(first)).bounding_box() == before
    expect(page.locator("#event-rows tr")).to_have_count(1)
    offer.click()
    expect(page.locator(row(second))).to_be_visible()


def test_an_event_opens_beside_the_list_and_closes_again(opens: Opens, goal: ConversionGoal) -> None:
    deliver(goal, Status.FAILED, event=arrive(goal.account.site, "HP-1"), error_code=5606)
    page = opens("events/")
    page.get_by_role("link", name="purchase").click()
    expect(page.locator("#inspect")).to_contain_text("Accepted by Microsoft")
    expect(page.get_by_role("link", name="purchase")).to_have_attribute("aria-current", "true")
    page.get_by_role("tab", name="Sent").click()
    expect(page.locator("#data-sent")).to_contain_text("OfflineConversions")
    page.get_by_role("link", name="Close").click()
    expect(page.get_by_role("heading", name="No event open")).to_be_visible()
    expect(page.get_by_role("link", name="purchase")).to_be_focused()


def test_pause_stops_asking_and_resume_goes_on(opens: Opens, goal: ConversionGoal) -> None:
    arrive(goal.account.site, "HP-1", seconds_ago=60)
    page = opens("events/")
    page.get_by_role("button", name="Pause", exact=True).click()
    second = arrive(goal.account.site, "HP-2")
    page.clock.run_for(5 * POLL)
    expect(page.get_by_text("Paused")).to_be_visible()
    expect(page.locator(row(second))).to_have_count(0)
    page.get_by_role("button", name="Resume", exact=True).click()
    page.clock.run_for(POLL)
    expect(page.locator(row(second))).to_be_visible()


def test_after_ten_minutes_alone_it_asks_every_thirty_seconds_and_says_so(opens: Opens, goal: ConversionGoal) -> None:
    arrive(goal.account.site, "HP-1", seconds_ago=60)
    page = opens("events/")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "events-news" in request.url else None)
    page.clock.fast_forward(602 * SECOND)
    expect(page.get_by_text("every 30 s while nobody is here")).to_be_visible()
    asked.clear()
    for _ in range(16):
        page.clock.run_for(POLL)
        page.evaluate("fetch('/healthz')")  # an answer later, what was asked before is answered too
    assert len(asked) == 1
    page.mouse.move(5, 5)
    expect(page.get_by_text("updates every 2 s")).to_be_visible()


def test_lost_updates_are_said_and_found_again(opens: Opens, goal: ConversionGoal, console: Console) -> None:
    console.expect_error("503")
    arrive(goal.account.site, "HP-1", seconds_ago=60)
    page = opens("events/")
    page.route("**/events-news/**", lambda route: route.fulfill(status=503))
    page.clock.run_for(POLL)
    expect(page.get_by_text("Live updates stopped, reconnecting")).to_be_visible()
    page.unroute("**/events-news/**")
    page.clock.run_for(6 * SECOND)
    expect(page.get_by_text("updates every 2 s")).to_be_visible()


def test_a_slash_focuses_the_search_whose_one_match_opens(opens: Opens, goal: ConversionGoal) -> None:
    event = arrive(goal.account.site, "HP-48211")
    arrive(goal.account.site, "HP-48212")
    page = opens("integrations/")
    page.keyboard.press("/")
    page.keyboard.type("HP-48211")
    page.keyboard.press("Enter")
    expect(page.locator("#inspect h2")).to_have_text("purchase")
    expect(page.locator("#event-rows tr")).to_have_count(1)
    expect(page.locator(row(event))).to_have_class(re.compile("sel"))


@pytest.fixture
def plain(browser: Browser) -> Iterator[Page]:
    """Yield a page without scripts, on a phone."""
    context = browser.new_context(java_script_enabled=False, viewport={"width": 320, "height": 700})
    page = context.new_page()
    yield page
    context.close()


def test_without_scripts_the_search_and_the_events_are_links(
    plain: Page, live_server: LiveServer, goal: ConversionGoal
) -> None:
    arrive(goal.account.site, "HP-1" + "x" * 100)
    sign_in(plain, live_server.url)
    plain.goto(f"{live_server.url}/s/{goal.account.site.public_id}/integrations/")
    plain.get_by_role("link", name="Find an order").click()
    plain.get_by_role("searchbox").fill("HP-1" + "x" * 100)
    plain.keyboard.press("Enter")
    plain.locator("#event-rows").get_by_role("link", name="purchase").click()
    expect(plain.get_by_role("heading", name="What happened in each account")).to_be_visible()
    plain.get_by_role("tab", name="Response").click()
    expect(plain.get_by_text("Microsoft was not asked about this event.")).to_be_visible()


@pytest.mark.parametrize("width", [320, 768, 1440])
def test_it_never_scrolls_sideways(opens: Opens, goal: ConversionGoal, width: int) -> None:
    event = arrive(goal.account.site, "<b>" + "W" * 120)
    Event.objects.update(msclkid="M" * 128, external_id="E" * 128, properties={"k" * 60: "v" * 9000})
    deliver(goal, Status.FAILED, event=event, error_code=5606)
    page = opens("events/")
    page.set_viewport_size({"width": width, "height": 800})
    for path in ("events/", f"events/{event.event_id}/", "events/?q=" + "Q" * 128):
        page.goto(re.sub(r"events/.*", path, page.url))
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
