"""No text is too small to read: design reference, section 7."""

import re
from pathlib import Path

from django.test import SimpleTestCase

STYLES = Path(__file__).resolve().parents[2] / "static/css/app.css"
SMALLEST = 11.5


class TheStylesheet(SimpleTestCase):
    def test_it_writes_nothing_smaller_than_eleven_and_a_half(self) -> None:
        sizes = re.findall(r"(?:font-size:|font:\d+ )([\d.]+)px", STYLES.read_text())
        self.assertGreater(len(sizes), 50)
        self.assertEqual([size for size in sizes if float(size) < SMALLEST], [])

    def test_what_is_a_share_of_its_surroundings_has_that_as_its_least(self) -> None:
        shares = re.findall(r"font-size:([^;}]*\dem[^;}]*)", STYLES.read_text())
        self.assertEqual([size for size in shares if not size.endswith(",11.5px)")], [])
