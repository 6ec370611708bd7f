"""What an account's pages do by script, in a real browser, and what they do without any."""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from unittest import mock

import pytest
from django.utils import timezone
from playwright.sync_api import Browser, Page, Route, expect
from pytest_django.live_server_helper import LiveServer

from dashboard.logs import listing as forward_logs
from forwarding.hands import bulk
from forwarding.models import BulkJob, Delivery, Kind, Status
from integrations.mapping import Rule, set_mapping
from integrations.microsoft_ads.shapes import UetTag
from integrations.models import AdAccount, ConversionGoal, GoalMapping
from tests.cast import NOON, make_account, make_connection, make_goal, make_site, make_user
from tests.dashboard.accounts import deliver
from tests.support import signing_in
from tests.support.chromium import Console

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

Opens = Callable[[str], Page]
POLL_MILLISECONDS = 5_000
SECOND_MILLISECONDS = 1_100


@pytest.fixture
def goal() -> ConversionGoal:
    """Return the goal that Alice's purchases go to."""
    site = make_site("Harbor & Pine", make_user("alice"))
    goal = make_goal(make_account(site, connection=make_connection(site)), "Purchase")
    GoalMapping.objects.create(account=goal.account, event_name="purchase", goal=goal)
    return goal


def sign_in(page: Page, live_server: LiveServer, account: AdAccount, path: str) -> None:
    """Sign Alice in and open a page of the account."""
    target = f"/s/{account.site.public_id}/accounts/{account.account_id}/{path}"
    signing_in.sign_in(page, live_server.url, target)


def sticking_out(page: Page) -> list[str]:
    """Return the elements that can be seen and reach beyond the window, but those that scroll or end in dots."""
    found: list[str] = page.evaluate("""() => [...document.querySelectorAll("body *")]
        .filter((one) => one.checkVisibility() && one.getBoundingClientRect().right > innerWidth + 1)
        .filter((one) => !one.closest(".tabs, .trunc, .crumbs, .visually-hidden, .modal, .app-side, thead"))
        .map((one) => one.outerHTML.slice(0, 120))""")
    return found


@pytest.fixture
def opens(page: Page, live_server: LiveServer, goal: ConversionGoal) -> Opens:
    """Return a function that opens a page of the account, its clock under the test's control."""
    page.emulate_media(reduced_motion="reduce")

    def opening(path: str) -> Page:
        page.clock.install()
        sign_in(page, live_server, goal.account, path)
        return page

    return opening


def row(delivery: Delivery) -> str:
    """Return the selector of a delivery's row."""
    return f"#row-{delivery.public_id}"


# Forward Logs


def test_a_row_opens_with_its_story_and_closes_again(opens: Opens, goal: ConversionGoal) -> None:
    failed = deliver(goal, Status.FAILED, error_code=5604)
    page = opens("logs/")
    details = page.get_by_role("link", name=f"Details of {failed.transaction_id}")
    details.click()
    expect(page.get_by_role("heading", name="Timeline")).to_be_visible()
    expect(details).to_have_attribute("aria-expanded", "true")
    details.click()
    expect(page.get_by_role("heading", name="Timeline")).to_be_hidden()
    assert page.url.endswith("/logs/")


def test_what_happens_meanwhile_comes_by_itself(opens: Opens, goal: ConversionGoal) -> None:
    waiting = deliver(goal, Status.PENDING, at=timezone.now() - timedelta(minutes=9))
    page = opens("logs/")
    expect(page.locator(row(waiting))).to_contain_text("Pending")
    Delivery.objects.update(status=Status.DELIVERED, delivered_at=timezone.now(), changed_at=timezone.now())
    new = deliver(goal)
    page.clock.fast_forward(POLL_MILLISECONDS)
    expect(page.locator(row(waiting))).to_contain_text("Delivered")
    expect(page.locator("#log-rows > tr").first).to_have_id(f"row-{new.public_id}")
    expect(page.locator("#status-tabs")).to_contain_text("All 2")


def test_nothing_moves_under_an_open_row(opens: Opens, goal: ConversionGoal) -> None:
    read = deliver(goal, at=timezone.now() - timedelta(minutes=9))
    page = opens("logs/")
    page.get_by_role("link", name=f"Details of {read.transaction_id}").click()
    expect(page.get_by_role("heading", name="Timeline")).to_be_visible()
    new = deliver(goal)
    page.clock.fast_forward(POLL_MILLISECONDS)
    page.get_by_role("link", name="1 new").click()
    expect(page.locator("#log-rows > tr").first).to_have_id(f"row-{new.public_id}")


def test_nothing_moves_under_the_pointer_or_the_focus(opens: Opens, goal: ConversionGoal) -> None:
    read = deliver(goal, at=timezone.now() - timedelta(minutes=9))
    page = opens("logs/")
    page.locator(row(read)).hover()
    new = deliver(goal)
    page.clock.fast_forward(POLL_MILLISECONDS)
    expect(page.get_by_role("link", name="1 new")).to_be_visible()
    page.mouse.move(0, 0)
    page.get_by_role("link", name=f"Details of {read.transaction_id}").focus()
    page.clock.fast_forward(POLL_MILLISECONDS)
    expect(page.locator(row(new))).to_have_count(0)
    page.locator("#logs-q").focus()
    page.clock.fast_forward(POLL_MILLISECONDS)
    expect(page.locator("#log-rows > tr").first).to_have_id(f"row-{new.public_id}")


def test_nothing_moves_while_a_row_is_chosen_or_a_dialog_asks(opens: Opens, goal: ConversionGoal) -> None:
    chosen = deliver(goal, Status.PENDING, at=timezone.now() - timedelta(minutes=9))
    page = opens("logs/")
    box = page.get_by_label(f"Select {chosen.transaction_id}")
    box.check()
    page.locator("#logs-q").focus()
    page.mouse.move(0, 0)
    before = box.bounding_box()
    new = deliver(goal)
    Delivery.objects.filter(pk=chosen.pk).update(attempts=1, changed_at=timezone.now())
    page.clock.fast_forward(POLL_MILLISECONDS)
    expect(page.get_by_role("link", name="1 new")).to_be_visible()
    expect(box).to_be_checked()
    assert box.bounding_box() == before
    page.get_by_role("button", name="Hold").click()
    expect(page.get_by_role("heading", name="Hold 1 selected conversion?")).to_be_visible()
    page.clock.fast_forward(POLL_MILLISECONDS)
    expect(page.locator(row(new))).to_have_count(0)


def test_what_came_while_somebody_began_to_read_waits(opens: Opens, goal: ConversionGoal) -> None:
    read = deliver(goal, at=timezone.now() - timedelta(minutes=9))
    page = opens("logs/")
    new = deliver(goal)

    def begin_to_read(route: Route) -> None:
        page.get_by_label(f"Select {read.transaction_id}").check()
        route.continue_()

    page.route("**/logs/news/**", begin_to_read, times=1)
    with page.expect_response("**/logs/news/**"):
        page.clock.fast_forward(POLL_MILLISECONDS)
    page.clock.fast_forward(POLL_MILLISECONDS)
    expect(page.get_by_role("link", name="1 new")).to_be_visible()
    expect(page.locator(row(new))).to_have_count(0)


def test_all_that_match_are_chosen_from_the_bar_and_the_heads_of_the_columns_stay(
    opens: Opens, goal: ConversionGoal
) -> None:
    for _ in range(3):
        deliver(goal, Status.PENDING)
    with mock.patch.object(forward_logs, "PAGE_ROWS", 2):
        page = opens("logs/?status=pending")
    bar, whole = page.locator("#chosen-bar"), page.get_by_label("Select all on this page")
    head = page.get_by_role("columnheader", name="Conversion goal").bounding_box()
    whole.check()
    over = bar.locator(".bulk").bounding_box()
    assert head
    assert over
    assert over["y"] + over["height"] <= head["y"] + 1
    assert page.get_by_role("columnheader", name="Conversion goal").bounding_box() == head
    bar.get_by_role("button", name="Select all 3 that match").click()
    expect(bar).to_be_hidden()
    expect(page.locator("#bulk-said")).to_have_text("All 3 that match")
    page.get_by_role("button", name="Select only the 2 on this page").click()
    expect(bar).to_contain_text("2 selected")
    bar.get_by_role("button", name="Select all 3 that match").click()
    page.locator("#for-all").get_by_role("link", name="Hold").click()
    expect(page.get_by_role("dialog")).to_contain_text("3")


def test_rows_are_chosen_and_held_at_once(opens: Opens, goal: ConversionGoal) -> None:
    rows = [deliver(goal, Status.PENDING, at=timezone.now() - timedelta(minutes=9 - n)) for n in range(4)]
    page = opens("logs/?status=pending")
    whole, bar = page.get_by_label("Select all on this page"), page.locator("#chosen-bar")
    expect(bar).to_be_hidden()
    before = page.locator(row(rows[0])).bounding_box()
    page.get_by_label(f"Select {rows[0].transaction_id}").focus()
    page.keyboard.press("Space")
    expect(bar).to_contain_text("1 selected")
    assert page.locator(row(rows[0])).bounding_box() == before
    assert whole.evaluate("box => box.indeterminate")
    page.get_by_label(f"Select {rows[2].transaction_id}").click(modifiers=["Shift"])
    expect(bar).to_contain_text("3 selected")
    whole.check()
    expect(bar).to_contain_text("4 selected")
    page.get_by_label(f"Select {rows[3].transaction_id}").uncheck()
    bar.get_by_role("button", name="Hold").click()
    page.get_by_role("button", name="Hold all of them").click()
    expect(page.locator("#toasts")).to_contain_text("3 held")
    expect(page.locator(row(rows[0]))).to_contain_text("Held by a person")
    expect(page.locator(row(rows[3]))).not_to_contain_text("Held by a person")
    expect(bar).to_be_hidden()
    expect(whole).not_to_be_checked()
    expect(whole).to_be_focused()


def test_a_click_anywhere_on_a_row_opens_it(opens: Opens, goal: ConversionGoal) -> None:
    one = deliver(goal, transaction_id="HP-48211")
    page = opens("logs/")
    page.get_by_label("Select HP-48211").check()
    expect(page.get_by_role("heading", name="Timeline")).to_be_hidden()
    order = page.get_by_text("HP-48211", exact=True).bounding_box()
    assert order is not None
    page.mouse.move(order["x"] + 1, order["y"] + order["height"] / 2)
    page.mouse.down()
    page.mouse.move(order["x"] + order["width"] - 1, order["y"] + order["height"] / 2)
    page.mouse.up()
    assert "HP-48211" in page.evaluate("String(getSelection())")
    expect(page.get_by_role("link", name="Details of HP-48211")).to_have_attribute("aria-expanded", "false")
    page.evaluate("getSelection().removeAllRanges()")
    page.locator(row(one)).get_by_text("$49.90").click()
    expect(page.get_by_role("heading", name="Timeline")).to_be_visible()
    expect(page.get_by_role("link", name="Details of HP-48211")).to_have_attribute("aria-expanded", "true")
    page.locator(row(one)).get_by_text("$49.90").click()
    expect(page.get_by_role("heading", name="Timeline")).to_be_hidden()


def test_an_open_row_that_changes_stays_open(opens: Opens, goal: ConversionGoal) -> None:
    read = deliver(goal, Status.PENDING, at=timezone.now() - timedelta(minutes=9))
    page = opens("logs/")
    details = page.get_by_role("link", name=f"Details of {read.transaction_id}")
    details.click()
    expect(page.get_by_role("heading", name="Timeline")).to_be_visible()
    Delivery.objects.update(status=Status.DELIVERED, delivered_at=timezone.now(), changed_at=timezone.now())
    page.clock.fast_forward(POLL_MILLISECONDS)
    expect(page.locator(row(read))).to_contain_text("Delivered")
    expect(details).to_be_focused()
    details.click()
    expect(page.get_by_role("heading", name="Timeline")).to_be_hidden()
    expect(details).to_have_attribute("aria-expanded", "false")


def test_the_first_row_comes_onto_an_empty_page(opens: Opens, goal: ConversionGoal) -> None:
    page = opens("logs/")
    expect(page.get_by_role("heading", name="Nothing forwarded in the last 7 days")).to_be_visible()
    new = deliver(goal)
    page.clock.fast_forward(POLL_MILLISECONDS)
    expect(page.locator(row(new))).to_be_visible()


def test_live_updates_can_be_paused(opens: Opens, goal: ConversionGoal) -> None:
    deliver(goal, at=timezone.now() - timedelta(minutes=9))
    page = opens("logs/")
    live = page.locator("[data-live]")
    live.click()
    expect(live).to_have_attribute("aria-pressed", "false")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.clock.fast_forward(3 * POLL_MILLISECONDS)
    live.click()
    with page.expect_request("**/logs/news/**"):
        page.clock.fast_forward(POLL_MILLISECONDS)
    assert len(asked) == 1


def test_a_server_that_does_not_answer_stops_the_light_and_makes_no_noise(
    opens: Opens, goal: ConversionGoal, console: Console
) -> None:
    console.expect_error("500")
    deliver(goal)
    page = opens("logs/")
    page.route("**/logs/news/**", lambda route: route.fulfill(status=500))
    page.clock.fast_forward(POLL_MILLISECONDS)
    expect(page.locator("[data-live]")).to_contain_text("Live updates stopped")
    expect(page.locator("#toasts")).to_be_empty()
    page.unroute("**/logs/news/**")
    page.clock.fast_forward(2 * POLL_MILLISECONDS)
    expect(page.locator("[data-live]")).to_contain_text("updates every 5 s")


def test_typing_finds_an_order_and_back_restores_the_list(opens: Opens, goal: ConversionGoal) -> None:
    wanted, other = deliver(goal, transaction_id="HP-48211"), deliver(goal)
    page = opens("logs/")
    search = page.locator("#logs-q")
    search.press_sequentially("HP-48211")
    page.clock.fast_forward(400)
    expect(page.locator(row(other))).to_have_count(0)
    expect(page.locator(row(wanted))).to_be_visible()
    expect(search).to_be_focused()
    expect(page).to_have_url(re.compile(r"/logs/\?q=HP-48211$"))
    page.go_back()
    expect(page.locator(row(other))).to_be_visible()


# Lists, by hand


def test_a_list_is_retried_behind_a_card_that_follows_the_work(opens: Opens, goal: ConversionGoal) -> None:
    failed = [deliver(goal, Status.FAILED, error_code=code) for code in (5606, 5606, 5604)]
    page = opens("logs/?status=failed")
    page.get_by_role("link", name="Retry", exact=True).click()
    dialog = page.get_by_role("dialog", name="Retry 3 failed conversions?")
    expect(dialog).to_contain_text("1 will fail again")
    dialog.get_by_role("button", name="Retry the 2 that can succeed").click()
    card = page.get_by_role("region", name="Retrying 3 conversions")
    expect(card).to_contain_text("0 of 3")
    page.reload()
    expect(card).to_contain_text("0 of 3")
    bulk.work_on(BulkJob.objects.get().pk)
    page.clock.fast_forward(SECOND_MILLISECONDS)
    expect(page.locator("#bulk-jobs")).to_contain_text("2 retried, 1 left as it was: click ID is not valid.")
    page.clock.fast_forward(POLL_MILLISECONDS)
    expect(page.locator(row(failed[0]))).to_contain_text("Pending")
    page.get_by_role("button", name="Dismiss").click()
    expect(page.locator("#bulk-jobs")).to_be_empty()


# Conversions, by hand


def open_row(page: Page, delivery: Delivery) -> None:
    """Open a delivery's story under its row."""
    page.get_by_role("link", name=f"Details of {delivery.transaction_id}").click()
    expect(page.get_by_role("heading", name="Timeline")).to_be_visible()


def test_a_retry_asks_then_changes_the_row_where_it_stands(opens: Opens, goal: ConversionGoal) -> None:
    failed = deliver(goal, Status.FAILED, error_code=5606)
    page = opens("logs/")
    open_row(page, failed)
    page.get_by_role("link", name="Retry now").click()
    dialog = page.get_by_role("dialog", name=f"Retry {failed.transaction_id} now?")
    dialog.get_by_role("button", name="Retry now").click()
    expect(page.locator(row(failed))).to_contain_text("Pending")
    page.clock.run_for(1000)
    expect(dialog).to_be_hidden()
    expect(page.locator("#toasts")).to_contain_text("Retry queued")
    expect(page.locator("#status-tabs")).to_contain_text("Pending 1")
    expect(page.get_by_role("heading", name="Timeline")).to_be_visible()
    expect(page.get_by_role("link", name=f"Details of {failed.transaction_id}")).to_be_focused()


def test_escape_changes_nothing_and_gives_the_focus_back(opens: Opens, goal: ConversionGoal) -> None:
    delivered = deliver(goal)
    page = opens("logs/")
    open_row(page, delivered)
    button = page.get_by_role("link", name="Retract")
    button.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.clock.run_for(1000)
    page.keyboard.press("Escape")
    page.clock.run_for(1000)
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(button).to_be_focused()
    assert not Delivery.objects.filter(kind=Kind.RETRACT).exists()


def test_a_value_that_is_none_is_asked_again_in_the_same_dialog(
    opens: Opens,
    goal: ConversionGoal,
    console: Console,
) -> None:
    console.expect_error("422")
    delivered = deliver(goal)
    page = opens("logs/")
    open_row(page, delivered)
    page.get_by_role("link", name="Restate value").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("New value").fill("a lot")
    dialog.get_by_role("button", name="Restate value").click()
    expect(dialog.get_by_text("Enter the value as a number")).to_be_visible()
    expect(dialog.get_by_label("New value")).to_be_focused()
    dialog.get_by_label("New value").fill("19.90")
    dialog.get_by_role("button", name="Restate value").click()
    expect(page.locator(row(delivered))).to_contain_text("Restating…")
    page.clock.run_for(1000)
    expect(page.locator(".modal-backdrop")).to_have_count(0)


def test_a_retraction_is_typed_and_told(opens: Opens, goal: ConversionGoal) -> None:
    delivered = deliver(goal, transaction_id="HP-48198")
    page = opens("logs/")
    open_row(page, delivered)
    page.get_by_role("link", name="Retract").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Type HP-48198 to confirm").fill("HP-48198")
    dialog.get_by_role("button", name="Retract conversion").click()
    expect(page.locator(row(delivered))).to_contain_text("Retracting…")
    expect(page.get_by_role("link", name="Cancel the retraction")).to_be_visible()


def test_a_deliverys_own_page_asks_in_a_dialog_and_stays(opens: Opens, goal: ConversionGoal) -> None:
    waiting = deliver(goal, Status.PENDING, next_attempt_at=timezone.now() + timedelta(hours=1))
    page = opens(f"logs/{waiting.public_id}/")
    page.get_by_role("link", name="Hold").click()
    page.get_by_role("dialog").get_by_role("button", name="Hold", exact=True).click()
    expect(page.get_by_text("Held by a person").first).to_be_visible()
    expect(page).to_have_url(re.compile(f"/logs/{waiting.public_id}/$"))


def test_a_phone_shows_badges_and_dialog_without_sideways_scroll(opens: Opens, goal: ConversionGoal) -> None:
    delivered = deliver(goal, restated_value=Decimal("19.90"))
    page = opens("logs/")
    page.set_viewport_size({"width": 320, "height": 700})
    open_row(page, delivered)
    page.get_by_role("link", name="Retract").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 320


# Mapping, settings, pause


@pytest.mark.parametrize("width", [320, 390])
def test_the_longest_values_fit_a_phone(opens: Opens, goal: ConversionGoal, width: int) -> None:
    long = deliver(
        goal, Status.FAILED, error_code=5604, transaction_id="W" * 128, value=Decimal("999999999999.999"),
        restated_value=Decimal("999999999998.999"), goal_name="G" * 100, error_message="M" * 1000,
    )  # fmt: skip
    page = opens("logs/?q=" + "W" * 128)
    page.set_viewport_size({"width": width, "height": 800})
    page.locator(row(long)).get_by_role("link", name="Details").click()
    expect(page.get_by_role("heading", name="Timeline")).to_be_visible()
    assert sticking_out(page) == []
    page.locator(row(long)).get_by_role("link", name="G" * 100, exact=True).click()
    expect(page.get_by_text("Text for support").first).to_be_visible()
    expect(page.get_by_text("W" * 128, exact=True).last).to_be_visible()
    assert sticking_out(page) == []


def test_unsaved_changes_are_counted_and_saved_without_leaving(opens: Opens, goal: ConversionGoal) -> None:
    page = opens("mapping/")
    page.get_by_label("Goal for lead", exact=True).select_option("Purchase")
    expect(page.locator("[data-changes]")).to_have_text("1 unsaved change")
    page.get_by_role("button", name="Save mapping").click()
    expect(page.get_by_text("lead goes to “Purchase”")).to_be_visible()
    expect(page.locator("[data-changes]")).to_have_text("Changes")
    expect(page.get_by_role("heading", name="Events sent to Search – US")).to_be_focused()
    assert goal.account.mappings.filter(event_name="lead").exists()


def test_a_fixed_value_has_a_labelled_field_where_it_is_chosen(opens: Opens, goal: ConversionGoal) -> None:
    page = opens("mapping/")
    amount = page.get_by_label(f"Fixed value for {goal.mappings.get().event_name}", exact=True)
    expect(amount).to_be_hidden()
    page.get_by_label("Value for purchase", exact=True).select_option("Fixed value")
    expect(amount).to_be_visible()


def test_the_buttons_of_the_mapping_file_stay_in_their_card(opens: Opens) -> None:
    page = opens("mapping/file/")
    page.set_viewport_size({"width": 320, "height": 700})
    button, card = (page.locator(one).bounding_box() for one in ("fieldset button[type=submit]", "fieldset"))
    assert button is not None
    assert card is not None
    assert button["x"] + button["width"] <= card["x"] + card["width"]


def test_a_refused_change_is_still_unsaved(opens: Opens, console: Console) -> None:
    console.expect_error("422")
    page = opens("mapping/")
    condition = page.get_by_label("Condition for purchase", exact=True)
    condition.fill("value >")
    page.get_by_role("button", name="Save mapping").click()
    expect(page.get_by_text("but the condition ends there")).to_be_visible()
    expect(condition).to_be_focused()
    expect(page.locator("[data-changes]")).to_have_text("1 unsaved change")
    expect(page.locator("#toasts")).to_be_empty()


def test_an_amount_is_asked_for_only_with_a_fixed_value(opens: Opens, console: Console) -> None:
    console.expect_error("422")
    page = opens("mapping/")
    amount = page.get_by_label("Fixed value for purchase", exact=True)
    expect(amount).to_be_hidden()
    page.get_by_label("Value for purchase", exact=True).select_option("Fixed value")
    expect(amount).to_be_visible()
    page.get_by_role("button", name="Save mapping").click()
    expect(page.get_by_text("Enter the fixed value as a number")).to_be_visible()
    expect(amount).to_be_focused()


def test_a_broken_goal_is_replaced_by_one_click(opens: Opens, goal: ConversionGoal) -> None:
    gone = make_goal(goal.account, "Trade Lead", gone_at=NOON)
    make_goal(goal.account, "Trade Leads")
    GoalMapping.objects.create(account=goal.account, event_name="lead", goal=gone)
    page = opens("mapping/")
    page.get_by_role("link", name="Use “Trade Leads”").click()
    page.get_by_role("button", name="Save mapping").click()
    expect(page.get_by_text("lead goes to “Trade Leads”")).to_be_visible()


def test_whoever_is_late_reads_both(opens: Opens, goal: ConversionGoal, console: Console) -> None:
    console.expect_error("409")
    other = make_goal(goal.account, "Sale")
    page = opens("mapping/")
    set_mapping(goal.account, "purchase", Rule(other.goal_id), make_user("bob"), timezone.now())
    page.get_by_label("Condition for purchase", exact=True).fill("value > 1")
    page.get_by_role("button", name="Save mapping").click()
    expect(page.get_by_text("Bob changed this")).to_be_visible()
    expect(page.get_by_text("It is now: “Sale”")).to_be_visible()


@pytest.fixture
def tags() -> Iterator[None]:
    """Let Microsoft list one tag."""
    listed = [UetTag("343118260", "Harbor & Pine web", "", "Active")]
    with mock.patch("dashboard.account.views.uet_tags", return_value=listed):
        yield


@pytest.mark.usefixtures("tags")
def test_a_tag_of_microsofts_list_is_picked(opens: Opens) -> None:
    page = opens("settings/")
    page.get_by_role("link", name="Show tags from Microsoft").click()
    page.get_by_role("button", name="Use this tag").click()
    expect(page.get_by_label("UET tag ID")).to_have_value("343118260")


def test_pausing_asks_in_a_dialog(opens: Opens, goal: ConversionGoal) -> None:
    page = opens("")
    page.get_by_role("link", name="Pause").click()
    page.get_by_role("dialog").get_by_role("button", name="Pause forwarding").click()
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    goal.account.refresh_from_db()
    assert goal.account.paused_at is not None


# Without scripts


def test_everything_works_without_scripts(browser: Browser, live_server: LiveServer, goal: ConversionGoal) -> None:
    found = deliver(goal, transaction_id="HP-48211")
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    sign_in(page, live_server, goal.account, "logs/")
    page.locator("#logs-q").fill("HP-48211")
    page.get_by_role("button", name="Apply").click()
    page.get_by_role("link", name="Details of HP-48211").click()
    expect(page.get_by_role("heading", name="Timeline")).to_be_visible()
    assert page.url.endswith(f"/logs/{found.public_id}/")
    page.get_by_role("link", name="Goal mapping").click()
    page.get_by_label("Goal for lead", exact=True).select_option("Purchase")
    page.get_by_role("button", name="Save mapping").click()
    expect(page.get_by_text("Mapping saved")).to_be_visible()
    page.get_by_role("link", name="Settings", exact=True).click()
    page.get_by_role("link", name="Remove Search – US").click()
    page.get_by_label("Type Search – US to confirm").fill("Search – US")
    page.get_by_role("button", name="Remove account").click()
    expect(page.get_by_text("Search – US removed")).to_be_visible()
    context.close()


def test_a_broken_goal_is_replaced_without_scripts(
    browser: Browser, live_server: LiveServer, goal: ConversionGoal
) -> None:
    gone = make_goal(goal.account, "Trade Lead", gone_at=NOON)
    make_goal(goal.account, "Trade Leads")
    GoalMapping.objects.create(account=goal.account, event_name="lead", goal=gone)
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    sign_in(page, live_server, goal.account, "mapping/")
    page.get_by_role("link", name="Use “Trade Leads”").click()
    expect(page.get_by_label("Goal for lead", exact=True)).to_be_focused()
    page.get_by_role("button", name="Save mapping").click()
    expect(page.get_by_text("lead goes to “Trade Leads”")).to_be_visible()
    context.close()


def test_chosen_rows_are_held_without_scripts(browser: Browser, live_server: LiveServer, goal: ConversionGoal) -> None:
    held, other = (deliver(goal, Status.PENDING) for _ in range(2))
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    sign_in(page, live_server, goal.account, "logs/?status=pending")
    page.get_by_label(f"Select {held.transaction_id}").check()
    page.locator("#chosen-bar").get_by_role("button", name="Hold").click()
    page.get_by_role("button", name="Hold it").click()
    expect(page).to_have_url(re.compile(r"/logs/\?status=pending$"))
    expect(page.locator(row(held))).to_contain_text("Held by a person")
    expect(page.locator(row(other))).not_to_contain_text("Held by a person")
    context.close()


def test_hands_work_without_scripts(browser: Browser, live_server: LiveServer, goal: ConversionGoal) -> None:
    delivered = deliver(goal, transaction_id="HP-48198")
    deliver(goal, Status.FAILED, error_code=5606)
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    sign_in(page, live_server, goal.account, f"logs/{delivered.public_id}/")
    page.get_by_role("link", name="Restate value").click()
    page.get_by_label("New value").fill("-1")
    page.get_by_role("button", name="Restate value").click()
    expect(page.get_by_text("The value cannot be negative.")).to_be_visible()
    page.get_by_label("New value").fill("19.90")
    page.get_by_role("button", name="Restate value").click()
    expect(page.get_by_text("HP-48198 changes from $49.90 to $19.90.")).to_be_visible()
    page.get_by_role("link", name="Forward Logs").first.click()
    page.get_by_role("link", name="Failed").click()
    page.get_by_role("link", name="Retry", exact=True).click()
    page.get_by_role("button", name="Retry it").click()
    expect(page.get_by_text("0 of 1")).to_be_visible()
    context.close()
