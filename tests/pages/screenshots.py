"""Draw every page into docs/screenshots/: light and dark at 1440 px, and on a phone. `make screenshots` runs this.

The same world and clock as the walk's (`serving.py`), so pictures change only where pages do. JPEG, because pages of
text at a quality that keeps letters sharp are a third of what PNG makes of them.
"""

import argparse
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import django
from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

if TYPE_CHECKING:
    from tests.pages.serving import Served

TARGET = Path(__file__).resolve().parent.parent.parent / "docs/screenshots"
WIDE: ViewportSize = {"width": 1440, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}
# The end of each picture's name, its size and its theme.
LOOKS = (("", WIDE, "light"), ("-dark", WIDE, "dark"), ("-phone", PHONE, "light"))
QUALITY = 50
MAX_HEIGHT = 1600


def main() -> None:
    """Read the command line and draw."""
    parser = argparse.ArgumentParser(prog="python -m tests.pages.screenshots", description="Draw every page.")
    parser.add_argument("--only", default="", help="draw pages whose name begins so")
    parser.add_argument("--target", type=Path, default=TARGET)
    given = parser.parse_args()
    given.target.mkdir(parents=True, exist_ok=True)
    with _database(), sync_playwright() as playwright:
        from tests.support.chromium import ARGUMENTS, CHROMIUM

        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        drawn = _draw(browser, given.only, given.target)
        browser.close()
    size = sum(path.stat().st_size for path in given.target.iterdir())
    print(f"{drawn} pictures in {given.target.name}/, {size / 1e6:.1f} MB in all")


def _draw(browser: Browser, only: str, target: Path) -> int:
    from tests.pages.serving import serve

    drawn = 0
    with serve(is_hostile=False) as served:
        pages = [page for page in served.pages() if page.name.startswith(only)]
        for end, size, theme in LOOKS:
            with served.context(browser, "maya", viewport=size, color_scheme=theme) as context:
                context.add_cookies([{"name": "theme", "value": theme, "url": served.url}])
                tab = context.new_page()
                for page in pages:
                    tab.set_viewport_size(size)
                    tab.goto(served.url + page.path, wait_until="load")
                    _take(tab, size, target / f"{page.name}{end}.jpg")
                    drawn += 1
        return drawn + _draw_odd_states(browser, served, only, target)


def _draw_odd_states(browser: Browser, served: "Served", only: str, target: Path) -> int:
    """Draw what has a session of its own, after all pages: it changes what they show."""
    from tests.pages.odd_states import odd_states

    drawn = 0
    with odd_states(served) as states:
        for end, size, theme in LOOKS:
            with served.context(browser, "nobody", viewport=size, color_scheme=theme) as context:
                tab = context.new_page()
                for state in states:
                    if not state.name.startswith(only) or (state.only_phones and size is not PHONE):
                        continue
                    served.hand_over(state.client, context)
                    context.add_cookies([{"name": "theme", "value": theme, "url": served.url}])
                    tab.set_viewport_size(size)
                    tab.goto(served.url + state.path, wait_until="load")
                    state.act(tab)
                    _take(tab, size, target / f"{state.name}{end}.jpg")
                    drawn += 1
    return drawn


def _take(tab: Page, size: ViewportSize, path: Path) -> None:
    """Take the whole page, down to where it becomes a list of much the same."""
    tab.evaluate("document.fonts.ready.then(() => true)")
    tab.wait_for_timeout(150)  # charts draw, and parts of a page that come after it
    height = min(int(tab.evaluate("document.documentElement.scrollHeight")), MAX_HEIGHT)
    tab.set_viewport_size({"width": size["width"], "height": max(height, size["height"])})
    tab.screenshot(path=path, type="jpeg", quality=QUALITY)


@contextmanager
def _database() -> Iterator[None]:
    """Make an empty database of its own, on SQLite, and drop it at the end."""
    with tempfile.TemporaryDirectory() as directory:
        url = f"sqlite:///{directory}/pages.sqlite3"
        with mock.patch.dict(os.environ, {"DATABASE_URL": url, "DJANGO_ALLOW_ASYNC_UNSAFE": "true"}):
            os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
            django.setup()
            from django.core.management import call_command
            from django.db import connections

            call_command("migrate", verbosity=0)
            yield
            connections.close_all()


if __name__ == "__main__":
    main()
