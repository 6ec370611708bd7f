"""What is taken for a Microsoft click id."""

import uuid

from django.test import SimpleTestCase

from ingest.click_ids import is_click_id

HEX = "0123456789abcdef" * 3


class TestClickIds(SimpleTestCase):
    def test_what_microsoft_writes_is_one(self) -> None:
        for text in (uuid.uuid4().hex, str(uuid.uuid4()), uuid.uuid4().hex.upper(), HEX[:29], HEX[:24], HEX[:40]):
            with self.subTest(text):
                self.assertTrue(is_click_id(text))

    def test_what_is_too_short_or_too_long_is_none(self) -> None:
        for text in ("", HEX[:23], HEX[:41], "undefined", "Example-123", "{msclkid}", "g" * 32):
            with self.subTest(text):
                self.assertFalse(is_click_id(text))

    def test_dashes_alone_make_none(self) -> None:
        for text in ("-" * 32, "-".join("1234567890abcdef"), HEX[:23] + "-"):
            with self.subTest(text):
                self.assertFalse(is_click_id(text))
