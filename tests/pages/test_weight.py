"""What a page weighs on its way: compressed, and from the second page on little but itself."""

import re
from pathlib import PurePosixPath

from django.conf import settings
from django.http.response import ResponseHeaders
from django.test import Client, TestCase
from django.urls import reverse
from django.utils import timezone

from tests.pages.routes import routes
from tests.pages.serving import BACKEND, is_walked, is_whole_page
from tests.pages.world import World, build
from tests.support.microsoft import EmulatedMicrosoft

KILOBYTE = 1000
MAX_LATER_PAGE = 15 * KILOBYTE
# What is measured, and what of it is what: docs/performance.md, "What a visit weighs".
MAX_FIRST_VISIT, MAX_WITH_CHARTS = 110 * KILOBYTE, 150 * KILOBYTE
OF_A_PAGE = re.compile(rf'(?:src|href|data-icons)="({re.escape(settings.STATIC_URL)}[^"#]+)')
# The fonts that English needs: those that have the letters of ASCII.
OF_A_STYLE = re.compile(r"url\(([^)\"']+\.woff2)\)[^}]*unicode-range:U\+0-")


class Weights(TestCase):
    world: World

    @classmethod
    def setUpTestData(cls) -> None:
        cls.world = build(cls.enterClassContext(EmulatedMicrosoft()), timezone.now())

    def setUp(self) -> None:
        self.client.force_login(self.world.people["maya"], backend=BACKEND)

    def test_every_page_is_light(self) -> None:
        heavy = {}
        for route in routes():
            if not is_walked(route) or not is_whole_page(answer := self.client.get(route.url(self.world.own))):
                continue
            weight = weigh(self.client, route.url(self.world.own))
            if weight > MAX_LATER_PAGE and answer.status_code == 200:
                heavy[route.key] = weight
        self.assertEqual(heavy, {})

    def test_a_first_visit_is_bearable(self) -> None:
        account = reverse("dashboard:account-overview", args=[self.world.site.public_id, self.world.account.account_id])
        overview = reverse("dashboard:overview", args=[self.world.site.public_id])
        for url, most in (("/sites/", MAX_FIRST_VISIT), (account, MAX_WITH_CHARTS), (overview, MAX_WITH_CHARTS)):
            weights = {PurePosixPath(path).name: weigh(self.client, path) for path in assets(self.client, url)}
            self.assertLessEqual(weigh(self.client, url) + sum(weights.values()), most, weights)

    def test_files_are_kept_by_browsers_for_ever(self) -> None:
        for path in assets(self.client, "/sites/"):
            with self.subTest(path=path):
                self.assertIn("immutable", fetch(self.client, path)[0]["Cache-Control"])

    def test_charts_come_only_where_a_chart_is(self) -> None:
        for path in ("/sites/", "/login/"):
            self.assertNotIn("chart-", self.client.get(path).content.decode())

    def test_text_is_compressed_and_fonts_are_not(self) -> None:
        for path, wanted in (("css/app.css", "gzip"), ("icons.svg", "gzip"), ("vendor/inter.woff2", None)):
            headers, _ = fetch(self.client, settings.STATIC_URL + path, {"Accept-Encoding": "gzip"})
            self.assertEqual(headers.get("Content-Encoding"), wanted, path)


def weigh(client: Client, path: str) -> int:
    """Return how many bytes of an answer travel to a browser that takes gzip."""
    return len(fetch(client, path, {"Accept-Encoding": "gzip"})[1])


def fetch(client: Client, path: str, headers: dict[str, str] | None = None) -> tuple[ResponseHeaders, bytes]:
    """Return an answer's headers and its bytes as they travel; a file is closed by being read to its end."""
    answer = client.get(path, headers=headers)
    return answer.headers, b"".join(answer) if answer.streaming else answer.content


def assets(client: Client, page: str) -> set[str]:
    """Return the files that a page asks for, and the fonts that its styles ask for."""
    found = set(OF_A_PAGE.findall(client.get(page).content.decode()))
    styles = [path for path in found if path.endswith("fonts.css")]
    for path in styles:
        text = fetch(client, path)[1].decode()
        found |= {f"{settings.STATIC_URL}vendor/{PurePosixPath(font).name}" for font in OF_A_STYLE.findall(text)}
    return found
