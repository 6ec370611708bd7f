"""The SDK's file is served to any page, and only once to each."""

import tempfile
from pathlib import Path

from django.http import HttpResponse
from django.test import RequestFactory, SimpleTestCase, override_settings

from ingest.views import sdk


class SdkTests(SimpleTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.file = Path(folder.name, "static", "sdk", "convultra.v1.js")
        self.file.parent.mkdir(parents=True)
        self.file.write_text("window.Convultra = {};", encoding="utf-8")
        settings = override_settings(BASE_DIR=Path(folder.name))
        settings.enable()
        self.addCleanup(settings.disable)

    def get(self, **headers: str) -> HttpResponse:
        """Ask for the file as a page does."""
        return sdk(RequestFactory().get("/sdk/convultra.v1.js", headers=headers))

    def test_any_page_may_load_it(self) -> None:
        response = self.get()
        self.assertEqual((response.status_code, response.content), (200, b"window.Convultra = {};"))
        self.assertEqual(response["Content-Type"], "text/javascript; charset=utf-8")
        self.assertEqual(response["Access-Control-Allow-Origin"], "*")
        self.assertEqual(response["Cross-Origin-Resource-Policy"], "cross-origin")
        self.assertEqual(response["Cache-Control"], "public, max-age=300")

    def test_who_has_it_is_not_sent_it_again(self) -> None:
        etag = self.get()["ETag"]
        response = self.get(**{"If-None-Match": etag})
        self.assertEqual((response.status_code, response.content, response["ETag"]), (304, b"", etag))
        self.assertEqual(response["Access-Control-Allow-Origin"], "*")

    def test_a_changed_file_is_sent(self) -> None:
        etag = self.get()["ETag"]
        self.file.write_text("window.Convultra = {track() {}};", encoding="utf-8")
        self.assertEqual(self.get(**{"If-None-Match": etag}).status_code, 200)

    def test_it_is_read_only(self) -> None:
        self.assertEqual(sdk(RequestFactory().post("/sdk/convultra.v1.js")).status_code, 405)
