"""A real Chromium for the tests marked `browser`: one per run, a fresh profile per test, and no silent errors.

Debian's package is driven, not a download. Where it is missing the tests fail: one that is skipped proves nothing.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, WebError, expect, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
PATIENCE = 30_000  # milliseconds: what a page does at once takes seconds on a machine that runs two suites
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class Console:
    """What the pages of one test said on their console, and which errors the test foresees."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.errors: list[str] = []
        self._expected: list[str] = []

    def expect_error(self, pattern: str) -> None:
        """Let errors that match the regular expression pass; the test fails when none comes."""
        self._expected.append(pattern)

    def verdict(self) -> list[str]:
        """Return what is wrong: errors that nobody foresaw, and foreseen ones that never came."""
        unforeseen = [error for error in self.errors if not any(re.search(p, error) for p in self._expected)]
        missing = [f"expected: {p}" for p in self._expected if not any(re.search(p, error) for error in self.errors)]
        return unforeseen + missing

    def hear(self, message: ConsoleMessage) -> None:
        """Keep a console message of the kinds that matter."""
        if message.type == "error":
            self.errors.append(message.text)
        elif message.type == "warning":
            self.warnings.append(message.text)

    def catch(self, error: WebError) -> None:
        """Keep an exception, or a rejected promise, that no page caught."""
        self.errors.append(f"uncaught: {error.error}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give a browser test a second run when the first fails; the summary counts it as rerun.

    Chromium shares the machine with two suites. What fails twice is a fault of ours; all other tests have one run.
    """
    for item in items:
        if item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Yield the run's one Chromium."""
    if not CHROMIUM.exists():
        pytest.fail(f"{CHROMIUM} is missing; install Debian's chromium package to run the browser tests")
    # Playwright's loop runs in the test's own thread, where Django would refuse every query.
    with mock.patch.dict(os.environ, DJANGO_ALLOW_ASYNC_UNSAFE="true"), sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        expect.set_options(timeout=PATIENCE)
        yield chromium
        chromium.close()


@pytest.fixture
def console() -> Console:
    """Return the test's ear on the console."""
    return Console()


@pytest.fixture
def context(browser: Browser, console: Console) -> Iterator[BrowserContext]:
    """Yield a fresh browser profile; at its end, an error on any page's console fails the test."""
    context = browser.new_context()
    context.set_default_timeout(PATIENCE)
    context.on("console", console.hear)
    context.on("weberror", console.catch)
    yield context
    context.close()
    assert not console.verdict()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """Return a page of the test's own profile."""
    return context.new_page()
