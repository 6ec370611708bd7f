import json
import re
from typing import TYPE_CHECKING

from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.test import Client, RequestFactory, SimpleTestCase, override_settings
from django.urls import path

from convultra import errors

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse

FAULTS = {
    "odd": SuspiciousOperation("secret detail"),
    "closed": PermissionDenied("secret detail"),
    "gone": Http404("secret detail"),
    "bug": ValueError("secret detail"),
    "away": OperationalError("secret detail"),
    "dropped": InterfaceError("secret detail"),
}


def fail(_: HttpRequest, fault: str) -> HttpResponse:
    raise FAULTS[fault]


urlpatterns = [path("v1/<fault>", fail), path("pages/<fault>", fail)]
handler400, handler403 = errors.bad_request, errors.forbidden
handler404, handler500 = errors.not_found, errors.server_error

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "OPTIONS": {
            "loaders": [
                (
                    "django.template.loaders.locmem.Loader",
                    {
                        f"{status}.html": f"Page {status}{{% if form_expired %}} Reload the page.{{% endif %}}"
                        for status in (400, 403, 404, 500, 503)
                    },
                )
            ]
        },
    }
]


# No session, user or message: what a page must do without when the database is away.
@override_settings(ROOT_URLCONF=__name__, TEMPLATES=TEMPLATES, MIDDLEWARE=[], DEBUG=False)
class ErrorTests(SimpleTestCase):
    def get(self, address: str) -> "_MonkeyPatchedWSGIResponse":
        client = Client(raise_request_exception=False)
        with self.assertLogs("django", "WARNING"):
            return client.get(address)

    def test_a_program_gets_a_problem(self) -> None:
        for fault, status, code in (
            ("odd", 400, "bad_request"),
            ("closed", 403, "forbidden"),
            ("gone", 404, "not_found"),
            ("bug", 500, "server_error"),
            ("away", 503, "unavailable"),
            ("dropped", 503, "unavailable"),
        ):
            with self.subTest(fault=fault):
                r = self.get(f"/v1/{fault}")
                self.assertEqual((r.status_code, r["Content-Type"]), (status, "application/problem+json"))
                body = json.loads(r.content)
                self.assertEqual((body["type"], body["status"]), (f"/problems/{code}", status))
                self.assertNotIn("secret detail", r.text)

    def test_a_person_gets_a_page(self) -> None:
        for fault, status, text in (
            ("odd", 400, "Page 400"),
            ("closed", 403, "Page 403"),
            ("gone", 404, "Page 404"),
            ("bug", 500, "Page 500"),
            ("away", 503, "Page 503"),
        ):
            with self.subTest(fault=fault):
                r = self.get(f"/pages/{fault}")
                self.assertEqual((r.status_code, r.text), (status, text))

    def test_an_unknown_address_is_answered_for_whoever_asked(self) -> None:
        self.assertEqual(self.get("/v1/a/b")["Content-Type"], "application/problem+json")
        self.assertEqual(self.get("/nowhere").text, "Page 404")

    def test_it_says_when_to_come_back_while_the_database_is_away(self) -> None:
        for address in ("/v1/away", "/pages/away"):
            with self.subTest(address=address):
                self.assertEqual(self.get(address)["Retry-After"], "5")
        self.assertNotIn("Retry-After", self.get("/v1/bug"))

    def test_an_expired_form_is_told_apart_from_a_closed_door(self) -> None:
        r = errors.forbidden(HttpRequest(), reason="CSRF token missing.")
        self.assertEqual((r.status_code, r.text), (403, "Page 403 Reload the page."))


class PageTests(SimpleTestCase):
    """The pages themselves; a SimpleTestCase fails at the first query."""

    def test_a_busy_database_is_told_to_who_sent_something_and_to_who_only_looked(self) -> None:
        for method, words in (("POST", "so nothing of it was taken"), ("GET", "This page could not be read")):
            request = HttpRequest()
            request.method, request.path = method, "/s/1/imports/"
            try:
                raise OperationalError("database is locked")
            except OperationalError:
                r = errors.server_error(request)
            with self.subTest(method=method):
                self.assertEqual((r.status_code, r["Retry-After"]), (503, "5"))
                self.assertIn(words, r.text)
                self.assertIn("<title>The server is busy", r.text)
                self.assertNotIn("500", re.sub("req_[0-9a-f]+|font-[^;]*", "", r.text.partition("<body")[2]))

    def test_they_need_neither_request_nor_database(self) -> None:
        for status, heading in (
            (400, "We cannot read that request"),
            (500, "Something broke on our side"),
            (503, "The server is busy"),
        ):
            with self.subTest(status=status):
                self.assertIn(heading, render_to_string(f"{status}.html"))

    def test_the_others_are_rendered_for_a_stranger(self) -> None:
        for status, heading in ((403, "This is not allowed"), (404, "We cannot find that page")):
            with self.subTest(status=status):
                page = render_to_string(f"{status}.html", request=RequestFactory().get("/nowhere"))
                self.assertIn(heading, page)
