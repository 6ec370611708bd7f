"""Click ids are kept as the landing page caught them."""

import json
from datetime import UTC, datetime

import time_machine

from ingest.click_ids import new_test_click_id
from ingest.models import Click
from tests.cast import CLICK_ID, NOON
from tests.ingest.calls import CLICK, CallsTestCase, statuses


class ClickTests(CallsTestCase):
    def landing_url(self, said: str) -> str:
        """Send a click with this landing URL and return the one that is stored."""
        Click.objects.all().delete()
        response = self.post_from_page("clicks", {"clicks": [CLICK | {"landing_url": said}]})
        self.assertEqual(response.status_code, 202, response.content)
        return Click.objects.get().landing_url

    def test_a_click_is_accepted_and_stored(self) -> None:
        response = self.post_from_page("clicks", {"clicks": [CLICK | {"consent": {"ad_storage": "granted"}}]})
        self.assertEqual(response.status_code, 202)
        self.assertEqual(
            json.loads(response.content), {"results": [{"msclkid": CLICK_ID, "status": "accepted", "errors": []}]}
        )
        click = Click.objects.get()
        self.assertEqual((click.site, click.msclkid, click.consent), (self.site, CLICK_ID, "granted"))
        self.assertEqual((click.visitor_id, click.session_id), ("v-1", "s-1"))
        self.assertEqual(click.captured_at, datetime(2026, 11, 21, 10, tzinfo=UTC))

    def test_ids_of_every_published_look_are_kept_verbatim(self) -> None:
        ids = ["F894F652EA334E739002F7167AB8F8E3", "f894f652-ea33-4e73-9002-f7167ab8f8e3", "f" * 29]
        self.post_from_page("clicks", {"clicks": [CLICK | {"msclkid": each} for each in ids]})
        self.assertEqual(list(Click.objects.order_by("pk").values_list("msclkid", flat=True)), ids)

    def test_the_install_pages_test_click_is_stored_like_any_other(self) -> None:
        test_click = new_test_click_id(NOON)
        response = self.post_from_page("clicks", {"clicks": [CLICK | {"msclkid": test_click}]})
        self.assertEqual((statuses(response), Click.objects.get().msclkid), (["accepted"], test_click))

    def test_a_reloaded_landing_page_is_a_duplicate(self) -> None:
        self.post_from_page("clicks", {"clicks": [CLICK]})
        response = self.post_from_page("clicks", {"clicks": [CLICK | {"captured_at": "2026-11-21T10:05:00Z"}]})
        self.assertEqual(statuses(response), ["duplicate"])
        self.assertEqual(Click.objects.get().captured_at, datetime(2026, 11, 21, 10, tzinfo=UTC))

    def test_good_clicks_of_a_mixed_batch_are_stored(self) -> None:
        batch = [CLICK | {"msclkid": "undefined"}, CLICK, CLICK | {"consent": {"ad_storage": "denied"}}]
        response = self.post_from_page("clicks", {"clicks": batch})
        self.assertEqual(statuses(response), ["refused", "accepted", "refused"])
        self.assertEqual(Click.objects.count(), 1)

    def test_a_clock_that_is_off_is_corrected(self) -> None:
        body = {"sent_at": "2026-11-20T12:00:00Z", "clicks": [CLICK | {"captured_at": "2026-11-20T11:59:00Z"}]}
        with time_machine.travel(NOON, tick=False):
            self.post_from_page("clicks", body)
        self.assertEqual(Click.objects.get().captured_at, datetime(2026, 11, 21, 11, 59, tzinfo=UTC))

    def test_of_the_landing_url_only_advertising_parameters_are_kept(self) -> None:
        kept = "https://shop.example/pines?utm_source=bing&msclkid=abc"
        for said in (
            kept,
            "https://shop.example/pines?utm_source=bing&email=jane%40example.com&msclkid=abc#jane",
            "https://jane:secret@shop.example/pines?token=1&utm_source=bing&msclkid=abc",
            "https://shop.example/pines?utm_source=bing&utm_content=jane@example.com&msclkid=abc",
        ):
            with self.subTest(said):
                self.assertEqual(self.landing_url(said), kept)

    def test_a_path_with_an_address_in_it_is_left_out(self) -> None:
        self.assertEqual(self.landing_url("https://shop.example/hello/jane%40example.com"), "https://shop.example")

    def test_of_a_landing_url_that_is_too_long_the_beginning_is_kept(self) -> None:
        self.assertEqual(
            self.landing_url("https://shop.example/pines?utm_term=" + "x" * 5000), "https://shop.example/pines"
        )
        self.assertEqual(self.landing_url("https://shop.example/" + "x" * 5000), "https://shop.example")
