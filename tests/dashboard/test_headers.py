"""What every page's headers and markup must hold, error pages included."""

import re

from django.conf import settings
from django.contrib.staticfiles import finders
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.test import SimpleTestCase, override_settings
from django.urls import include, path, reverse

from convultra import urls
from tests.cast import CastTestCase


def broken(_request: HttpRequest) -> HttpResponse:
    raise RuntimeError("a page that breaks")


class Breaking:
    """The product's addresses and one that always breaks."""

    handler500 = urls.handler500
    urlpatterns = [path("broken/", broken), path("", include("convultra.urls"))]


class Pages(CastTestCase):
    def setUp(self) -> None:
        self.client.force_login(self.alice)
        self.urls = ["/sites/", reverse("dashboard:integrations", args=[self.site.public_id])]

    def test_signed_in_pages_are_not_kept_by_caches(self) -> None:
        for url in self.urls:
            with self.subTest(url=url):
                answer = self.client.get(url)
                self.assertEqual(answer.headers["Cache-Control"], "no-store")
                self.assertIn("HX-Request", answer.headers["Vary"])

    def test_scripts_and_styles_come_from_files_only(self) -> None:
        for url in [*self.urls, "/login/", "/nope/"]:
            with self.subTest(url=url):
                answer = self.client.get(url)
                policy = answer.headers["Content-Security-Policy"]
                self.assertIn("script-src 'self'", policy)
                self.assertNotIn("'unsafe-inline'", policy.replace("style-src-attr 'unsafe-inline'", ""))
                page = answer.content.decode()
                self.assertNotRegex(page, r"<script(?![^>]*\bsrc=)")
                self.assertNotRegex(page, r"<style|\son[a-z]+=|href=[\"']javascript:")

    def test_every_file_that_a_page_asks_for_exists(self) -> None:
        page = self.client.get(self.urls[1]).content.decode()
        asked = re.findall(rf'(?:src|href)="{settings.STATIC_URL}([^"#]+)', page)
        self.assertGreater(len(asked), 6)
        self.assertEqual([name for name in asked if finders.find(name) is None], [])

    def test_htmx_may_neither_evaluate_nor_keep_pages(self) -> None:
        page = self.client.get("/sites/").content.decode()
        for word in (
            '"allowEval":false',
            '"historyCacheSize":0',
            '"selfRequestsOnly":true',
            '"includeIndicatorStyles":false',
        ):
            self.assertIn(word, page)

    def test_the_chosen_theme_comes_with_the_page(self) -> None:
        self.client.cookies["theme"] = "dark"
        self.assertContains(self.client.get("/sites/"), 'data-bs-theme="dark"')

    def test_a_page_that_is_missing_is_told_like_one_that_is_not_yours(self) -> None:
        self.client.force_login(self.charlie)
        missing = self.client.get("/s/00000000-0000-4000-8000-000000000000/integrations/")
        strange = self.client.get(self.urls[1])
        self.assertEqual(missing.status_code, strange.status_code)
        self.assertEqual(_without_token(missing.content), _without_token(strange.content))


class ErrorPages(SimpleTestCase):
    @override_settings(ROOT_URLCONF=Breaking)
    def test_a_page_that_breaks_says_that_forwarding_goes_on(self) -> None:
        self.client.raise_request_exception = False
        answer = self.client.get("/broken/")
        self.assertContains(answer, "Receiving and forwarding run separately and go on", status_code=500)
        self.assertIn("Content-Security-Policy", answer.headers)

    def test_400_and_500_need_no_request(self) -> None:
        for name in ("400.html", "500.html"):
            with self.subTest(page=name):
                self.assertIn("Back to your sites", render_to_string(name))

    def test_an_expired_form_says_what_happened(self) -> None:
        self.assertIn("This form is too old", render_to_string("403.html", {"form_expired": True}))

    def test_too_many_requests_have_a_page(self) -> None:
        self.assertIn("Wait a minute", render_to_string("429.html"))


def _without_token(page: bytes) -> bytes:
    return re.sub(rb'"x-csrftoken": "[^"]+"', b"", page)
