"""The export of Forward Logs in a real browser: a bar that says what has arrived, and a file once all of it has."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from forwarding.planning.planner import plan_all
from tests.cast import NOON, make_account, make_site, make_user, store_event
from tests.support.signing_in import sign_in

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

# A server that sends when the test says so.
HELD = """() => { window.fetch = async (url, {signal}) => new Response(new ReadableStream({start(stream) {
  window.send = (text) => stream.enqueue(new TextEncoder().encode(text));
  window.finish = () => stream.close();
  window.breakOff = () => stream.error(new TypeError("network"));
  signal.addEventListener("abort", () => stream.error(new DOMException("", "AbortError")));
}}), {headers: {"Content-Type": "text/csv", "Content-Disposition": 'attachment; filename="held.csv"'}}); }"""


@pytest.fixture
def logs(page: Page, live_server: LiveServer) -> Page:
    """Return Forward Logs with four conversions that are not forwarded."""
    site = make_site("Harbor & Pine", make_user("alice"))
    account = make_account(site)
    for n in range(4):
        store_event(site, event_id=f"e{n}", transaction_id=f"HP-{n}")
    plan_all(NOON)
    sign_in(page, live_server.url, f"/s/{site.public_id}/accounts/{account.account_id}/logs/?status=skipped&period=all")
    return page


def begin(logs: Page) -> None:
    logs.evaluate(HELD)
    logs.get_by_role("link", name="Export CSV").click()
    expect(logs.get_by_role("progressbar")).to_be_visible()


def test_the_file_has_every_row(logs: Page, tmp_path: Path) -> None:
    with logs.expect_download() as waiting:
        logs.get_by_role("link", name="Export CSV").click()
    waiting.value.save_as(tmp_path / "file.csv")
    lines = (tmp_path / "file.csv").read_bytes().decode("utf-8-sig").splitlines()
    assert [line.split(",")[6] for line in lines[1:]] == ["HP-3", "HP-2", "HP-1", "HP-0"]
    assert "forward-logs" in waiting.value.suggested_filename
    expect(logs.get_by_text("4 rows in the file.")).to_be_visible()
    expect(logs.get_by_role("progressbar")).to_be_hidden()


def test_the_bar_says_what_has_arrived_of_what_the_list_counts(logs: Page) -> None:
    begin(logs)
    logs.evaluate("send('head\\r\\na\\r\\nb\\r\\n')")
    expect(logs.get_by_text("2 of 4 rows")).to_be_visible()
    expect(logs.get_by_role("progressbar", name="Exporting conversions")).to_have_attribute("aria-valuenow", "50")
    with logs.expect_download() as waiting:
        logs.evaluate("finish()")
    assert waiting.value.suggested_filename == "held.csv"


def test_more_than_are_counted_have_a_bar_without_an_end(logs: Page) -> None:
    logs.evaluate("document.querySelector('[data-export]').dataset.total = '10,000+'")
    begin(logs)
    logs.evaluate("send('head\\r\\n' + 'x\\r\\n'.repeat(12000))")
    expect(logs.get_by_text("12,000 of 10,000+ rows")).to_be_visible()
    expect(logs.get_by_role("progressbar")).not_to_have_attribute("aria-valuenow", "100")


@pytest.mark.parametrize(("how", "says"), [("breakOff()", "The export broke off"), ("", "Export stopped")])
def test_a_part_is_never_kept_as_the_whole(logs: Page, how: str, says: str) -> None:
    kept: list[object] = []
    logs.on("download", lambda download: kept.append(download))
    begin(logs)
    logs.evaluate("send('head\\r\\na\\r\\n')")
    if how:
        logs.evaluate(how)
    else:
        logs.get_by_role("button", name="Stop", exact=True).click()
    expect(logs.get_by_text(says)).to_be_visible()
    expect(logs.get_by_role("progressbar")).to_be_hidden()
    assert kept == []
