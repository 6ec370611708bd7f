"""Which pages may call, and what their browsers are told."""

from django.http import HttpResponse
from django.test import SimpleTestCase

from ingest.cors import normalise_origin
from ingest.models import BlockedOrigin
from tests.ingest.calls import ORIGIN, PURCHASE, CallsTestCase


class CorsTests(CallsTestCase):
    def preflight(self, origin: str, path: str = "") -> HttpResponse:
        """Ask what a browser asks before it posts JSON."""
        asked = {
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type",
        }
        return self.client.options(path or f"/v1/{self.site.write_key}/events", headers=asked)  # type: ignore[return-value]

    def test_a_page_of_the_site_may_ask_and_is_remembered_for_a_day(self) -> None:
        response = self.preflight(ORIGIN)
        self.assertEqual((response.status_code, response.content), (204, b""))
        self.assertEqual(response["Access-Control-Allow-Origin"], ORIGIN)
        self.assertEqual(response["Access-Control-Allow-Methods"], "POST")
        self.assertEqual(response["Access-Control-Allow-Headers"], "Content-Type")
        self.assertEqual(response["Access-Control-Max-Age"], "86400")

    def test_its_page_may_read_every_answer(self) -> None:
        bodies: list[object] = [{"events": [PURCHASE]}, {"events": []}, b"nonsense"]
        for body in bodies:
            with self.subTest(body):
                response = self.post_from_page("events", body)
                self.assertEqual(response["Access-Control-Allow-Origin"], ORIGIN)

    def test_another_page_may_neither_ask_nor_send(self) -> None:
        for origin in ("https://evil.example", "https://shop.example.evil.example", "http://shop.example", "null"):
            with self.subTest(origin):
                asked = self.preflight(origin)
                sent = self.post_from_page("events", {"events": [PURCHASE]}, Origin=origin)
                for response in (asked, sent):
                    self.assert_problem(response, 403, "origin_not_allowed")
                    self.assertNotIn("Access-Control-Allow-Origin", response)
        self.assert_nothing_is_stored()

    def test_a_page_that_is_turned_away_is_noted_once(self) -> None:
        for origin in ("https://evil.example", "http://shop.example", "https://evil.example", "null"):
            self.assert_problem(self.preflight(origin), 403, "origin_not_allowed")
            sent = self.post_from_page("events", {"events": [PURCHASE]}, Origin=origin)
            self.assert_problem(sent, 403, "origin_not_allowed")
        noted = BlockedOrigin.objects.order_by("pk").values_list("site", "origin")
        self.assertEqual(list(noted), [(self.site.pk, "https://evil.example"), (self.site.pk, "http://shop.example")])

    def test_nobody_else_is_noted(self) -> None:
        events = {"events": [PURCHASE]}
        told = [
            self.preflight(ORIGIN),
            self.post_from_page("events", events),
            self.post_from_page("events", {"events": []}),
            self.post_from_page("events", events, "text/html"),
            self.post_from_page("events", events, Origin=""),
            self.preflight("https://evil.example", f"/v1/wk_{'0' * 32}/events"),
            self.post_from_backend(events, Origin="https://evil.example"),
        ]
        self.assertEqual([each.status_code for each in told], [204, 202, 422, 415, 202, 404, 403])
        self.assertFalse(BlockedOrigin.objects.exists())

    def test_without_a_list_any_page_may_send(self) -> None:
        self.site.allowed_origins = []
        self.site.save(update_fields=["allowed_origins"])
        response = self.post_from_page("events", {"events": [PURCHASE]}, Origin="https://elsewhere.example")
        self.assertEqual(response.status_code, 202)
        self.assertEqual(response["Access-Control-Allow-Origin"], "https://elsewhere.example")
        self.assertFalse(BlockedOrigin.objects.exists())

    def test_the_answer_depends_on_the_origin_and_never_takes_cookies(self) -> None:
        for response in (
            self.preflight(ORIGIN),
            self.preflight("https://evil.example"),
            self.post_from_page("events", {"events": [PURCHASE]}),
            self.post_from_page("events", {"events": [PURCHASE]}, Origin=""),
        ):
            self.assertIn("Origin", response["Vary"])
            self.assertNotIn("Access-Control-Allow-Credentials", response)

    def test_a_page_may_read_that_its_key_is_wrong(self) -> None:
        response = self.preflight(ORIGIN, "/v1/wk_nonsense/events")
        self.assert_problem(response, 404, "unknown_key")
        self.assertEqual(response["Access-Control-Allow-Origin"], ORIGIN)

    def test_the_backends_call_knows_no_preflight(self) -> None:
        response = self.preflight(ORIGIN, "/v1/events")
        self.assert_problem(response, 405, "method_not_allowed")
        self.assertNotIn("Access-Control-Allow-Origin", response)


class NormaliseOriginTests(SimpleTestCase):
    def test_it_writes_an_origin_as_browsers_do(self) -> None:
        for text, origin in (
            (" HTTPS://Shop.Example/ ", "https://shop.example"),
            ("https://shop.example:443", "https://shop.example"),
            ("http://shop.example:80", "http://shop.example"),
            ("https://shop.example:80", "https://shop.example:80"),
            ("http://localhost:8000", "http://localhost:8000"),
            ("http://[::1]:8000", "http://[::1]:8000"),
        ):
            with self.subTest(text):
                self.assertEqual(normalise_origin(text), origin)

    def test_it_refuses_what_is_no_origin(self) -> None:
        for text in (
            "",
            "shop.example",
            "ftp://shop.example",
            "https://*.example",
            "https://a@b.example",
            "https://é.fr",
        ):
            with self.subTest(text), self.assertRaisesMessage(ValueError, "An origin is like https://shop.example"):
                normalise_origin(text)
