"""What is taken for a Microsoft click id."""

import uuid
from datetime import timedelta

from django.test import SimpleTestCase

from ingest.click_ids import TEST_PREFIX, is_click_id, is_test_click_id, new_test_click_id
from tests.cast import CLICK_ID, NOON

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


class TestTestClickIds(SimpleTestCase):
    def test_the_install_pages_ids_are_told_from_real_ones(self) -> None:
        made = new_test_click_id(NOON)
        for text in (made, made.upper(), str(uuid.UUID(made))):
            with self.subTest(text):
                self.assertEqual((is_test_click_id(text), is_click_id(text)), (True, False))
        self.assertFalse(is_test_click_id(CLICK_ID))

    def test_they_have_the_look_that_the_sdk_keeps(self) -> None:
        self.assertRegex(new_test_click_id(NOON), "^[0-9a-f]{32}$")
        self.assertNotEqual(new_test_click_id(NOON), new_test_click_id(NOON))

    def test_later_ones_sort_behind_earlier_ones(self) -> None:
        self.assertLess(new_test_click_id(NOON), new_test_click_id(NOON + timedelta(seconds=1)))

    def test_the_prefix_alone_is_none(self) -> None:
        self.assertFalse(is_test_click_id(TEST_PREFIX))
