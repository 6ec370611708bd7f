"""Pages that were turned away are kept by name, few of them, and written seldom."""

from datetime import timedelta
from unittest import mock

from django.db import IntegrityError

from ingest.blocked_origins import MAX_ORIGINS, note
from ingest.models import BlockedOrigin
from ingest.notes import Notes
from tests.cast import NOON, CastTestCase

SHOP = "https://www.shop.example"


class BlockedOriginTests(CastTestCase):
    def origins(self) -> list[str]:
        return list(self.site.blocked_origins.order_by("pk").values_list("origin", flat=True))

    def test_it_is_kept_as_browsers_write_it(self) -> None:
        note(self.site.pk, "HTTPS://WWW.shop.example:443", NOON)
        row = self.site.blocked_origins.get()
        self.assertEqual((row.origin, row.first_at, row.last_at), (SHOP, NOON, NOON))

    def test_a_later_refusal_moves_the_last_moment_only(self) -> None:
        later = NOON + timedelta(minutes=1)
        note(self.site.pk, SHOP, NOON)
        note(self.site.pk, SHOP, later)
        row = self.site.blocked_origins.get()
        self.assertEqual((row.first_at, row.last_at), (NOON, later))

    def test_within_a_minute_it_is_not_written_again(self) -> None:
        note(self.site.pk, SHOP, NOON)
        with self.assertNumQueries(0):
            note(self.site.pk, SHOP, NOON + timedelta(seconds=59))

    def test_what_is_no_origin_is_not_kept(self) -> None:
        for text in ("", "null", "chrome-extension://abc", "https://a/b", "<script>", f"https://{'a' * 300}.example"):
            with self.subTest(text):
                note(self.site.pk, text, NOON)
                self.assertEqual(self.origins(), [])

    def test_no_more_than_twenty_are_taken_in_a_minute(self) -> None:
        for number in range(MAX_ORIGINS + 5):
            note(self.site.pk, f"https://n{number}.example", NOON)
        self.assertEqual(len(self.origins()), MAX_ORIGINS)

    def test_of_more_than_twenty_those_turned_away_last_are_kept(self) -> None:
        for number in range(MAX_ORIGINS + 1):
            note(self.site.pk, f"https://n{number}.example", NOON + timedelta(minutes=number))
        self.assertEqual(len(self.origins()), MAX_ORIGINS)
        self.assertNotIn("https://n0.example", self.origins())

    def test_another_process_may_have_written_it_already(self) -> None:
        BlockedOrigin.objects.create(site=self.site, origin=SHOP, first_at=NOON, last_at=NOON)
        note(self.site.pk, SHOP, NOON)
        self.assertEqual(self.origins(), [SHOP])

    def test_a_site_that_is_gone_is_no_trouble(self) -> None:
        gone = mock.patch.object(Notes, "_write", side_effect=IntegrityError)
        with gone, self.assertLogs("ingest.notes", "WARNING"):
            note(self.site.pk, SHOP, NOON)
        self.assertFalse(BlockedOrigin.objects.exists())
