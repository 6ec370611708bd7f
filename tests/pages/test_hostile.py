"""What customers' pages and backends send may hold anything: no page runs it, and no file hands a formula on."""

import csv
import io
import logging
from collections.abc import Iterator
from urllib.parse import quote

from django.test import TestCase
from django.urls import reverse
from django.utils import timezone

from forwarding.models import Delivery
from tests.pages.routes import routes
from tests.pages.serving import BACKEND, is_walked
from tests.pages.world import HANDLER, LONG, SCRIPT, World, build
from tests.support.microsoft import EmulatedMicrosoft

# What a spreadsheet takes for the beginning of a formula.
FORMULAS = ("=", "+", "-", "@", "\t", "\r")


class HostileContents(TestCase):
    world: World

    @classmethod
    def setUpTestData(cls) -> None:
        cls.world = build(cls.enterClassContext(EmulatedMicrosoft()), timezone.now())

    def setUp(self) -> None:
        logging.disable()
        self.addCleanup(logging.disable, logging.NOTSET)
        self.client.force_login(self.world.people["maya"], backend=BACKEND)

    def addresses(self) -> Iterator[str]:
        """Yield every address with believable rows, and with each hostile delivery and event."""
        for route in routes():
            if is_walked(route) and route.key.startswith("dashboard:"):
                yield route.url(self.world.own)
                for row in Delivery.objects.filter(account=self.world.account, error_message__startswith=SCRIPT[:1]):
                    given = {"delivery_id": row.public_id, "event_id": row.event.event_id}
                    if given.keys() & set(route.parameters):
                        yield route.url(self.world.own | given)

    def test_pages_tell_markup_as_text_and_files_hold_no_formula(self) -> None:
        told = files = 0
        for url in self.addresses():
            kind, text = self.read(url)
            if kind == "text/html":
                told += "&lt;script&gt;alert" in text
                self.assertEqual([raw for raw in (SCRIPT, HANDLER, "<img src=x") if raw in text], [], url)
            elif kind == "text/csv":
                files += 1
                self.assertEqual(_formulas(text), [], url)
        self.assertGreater(told, 3)  # it was there, and told as text
        self.assertGreater(files, 2)

    def test_what_is_typed_into_an_address_comes_back_as_text(self) -> None:
        query = "&".join(f"{name}={quote(SCRIPT)}" for name in ("q", "name", "code", "how", "page", "before"))
        for route in routes():
            if is_walked(route) and route.key.startswith("dashboard:"):
                kind, text = self.read(f"{route.url(self.world.own)}?{query}")
                self.assertFalse(kind == "text/html" and SCRIPT in text, route.key)

    def read(self, url: str) -> tuple[str, str]:
        """Return an answer's media type and its text."""
        answer = self.client.get(url)
        text = b"".join(answer) if answer.streaming else answer.content
        return answer.headers.get("Content-Type", "").partition(";")[0], text.decode()

    def test_a_page_with_very_long_values_stays_small(self) -> None:
        page = self.client.get(reverse("dashboard:events", args=[self.world.site.public_id]))
        self.assertNotContains(page, LONG)


def _formulas(text: str) -> list[str]:
    cells = [cell for row in csv.reader(io.StringIO(text.lstrip("\ufeff"))) for cell in row]
    return [cell for cell in cells if cell.startswith(FORMULAS) and not cell.lstrip("+-").replace(".", "", 1).isdigit()]
