"""The SDK's files are served to any page, compressed, once to each, and exact versions for ever."""

import base64
import gzip
import hashlib
import os
import tempfile
from pathlib import Path

from django.test import SimpleTestCase, override_settings

from ingest import sdk
from ingest.http import Answer, Request

SCRIPT = b"window.Convultra = {};\n" * 20
OLDER = b"window.Convultra = {version: 1};\n"


class SdkTestCase(SimpleTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name, "static", "sdk")
        self.file = self.write("convultra.v1.js", SCRIPT)
        settings = override_settings(BASE_DIR=Path(folder.name))
        settings.enable()
        self.addCleanup(settings.disable)

    def write(self, name: str, script: bytes) -> Path:
        """Put a file of the SDK where it is looked for."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(script)
        return path

    def ask(self, name: str = "convultra.v1.js", method: str = "GET", **headers: str) -> Answer:
        """Ask for a file as a page does; `if_none_match` is a header."""
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        return sdk.serve(Request(method, f"/sdk/{name}", named))


class TheFileTests(SdkTestCase):
    def test_any_page_may_load_it_under_both_moving_names(self) -> None:
        for name in ("convultra.v1.js", "convultra.js"):
            with self.subTest(name):
                answer = self.ask(name)
                self.assertEqual((answer.status, answer.body), (200, SCRIPT))
                self.assertEqual(answer.headers["Content-Type"], "text/javascript; charset=utf-8")
                self.assertEqual(answer.headers["Access-Control-Allow-Origin"], "*")
                self.assertEqual(answer.headers["Cross-Origin-Resource-Policy"], "cross-origin")
                self.assertEqual(answer.headers["X-Content-Type-Options"], "nosniff")
                self.assertEqual(answer.headers["Cache-Control"], "public, max-age=300")

    def test_it_goes_compressed_to_who_can_read_that(self) -> None:
        answer = self.ask(accept_encoding="gzip, deflate, br")
        self.assertEqual((answer.headers["Content-Encoding"], gzip.decompress(answer.body)), ("gzip", SCRIPT))
        self.assertEqual(answer.headers["Vary"], "Accept-Encoding")
        self.assertEqual(answer.body, gzip.compress(SCRIPT, 9, mtime=0))

    def test_accept_encoding_is_read_by_its_weights(self) -> None:
        said = {"": False, "br": False, "gzip;q=0": False, "*": True, "*;q=0": False, "gzip;q=0.000, *": False}
        for header, compressed in {**said, "br, GZIP ; q=0.1": True, "gzip, *;q=0": True}.items():
            with self.subTest(header):
                self.assertEqual("Content-Encoding" in self.ask(accept_encoding=header).headers, compressed)

    def test_who_has_it_is_not_sent_it_again(self) -> None:
        etag = self.ask().headers["ETag"]
        for known in (etag, f'"other", W/{etag}', "*"):
            with self.subTest(known):
                answer = self.ask(if_none_match=known)
                self.assertEqual((answer.status, answer.body, answer.headers["ETag"]), (304, b"", etag))
                self.assertEqual(answer.headers["Access-Control-Allow-Origin"], "*")

    def test_who_has_the_plain_one_has_not_the_compressed_one(self) -> None:
        plain = self.ask().headers["ETag"]
        self.assertEqual(self.ask(if_none_match=plain, accept_encoding="gzip").status, 200)

    def test_a_file_is_read_again_only_when_it_was_written_anew(self) -> None:
        first = self.ask()
        os.utime(self.file, ns=(0, 0))
        self.ask()
        self.write("convultra.v1.js", OLDER)
        os.utime(self.file, ns=(0, 0))
        self.assertEqual(self.ask().body, SCRIPT)
        os.utime(self.file, ns=(0, 1))
        self.assertEqual(self.ask(if_none_match=first.headers["ETag"]).body, OLDER)

    def test_head_names_the_length_and_has_no_body(self) -> None:
        answer = self.ask(method="HEAD")
        self.assertEqual((answer.status, answer.body, answer.headers["Content-Length"]), (200, b"", str(len(SCRIPT))))

    def test_it_is_read_only(self) -> None:
        answer = self.ask(method="POST")
        self.assertEqual((answer.status, answer.headers["Allow"]), (405, "GET, HEAD"))

    def test_a_file_that_is_away_is_not_found(self) -> None:
        self.file.unlink()
        self.assertEqual(self.ask().status, 404)
        self.assertIsNone(sdk.current())


class ExactVersionTests(SdkTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.write("versions/convultra.v1.0.0.js", OLDER)

    def test_an_exact_version_may_be_kept_for_ever(self) -> None:
        answer = self.ask("convultra.v1.0.0.js")
        self.assertEqual((answer.status, answer.body), (200, OLDER))
        self.assertEqual(answer.headers["Cache-Control"], "public, max-age=31536000, immutable")

    def test_its_integrity_is_that_of_the_uncompressed_file(self) -> None:
        digest = base64.b64encode(hashlib.sha384(OLDER).digest()).decode()
        self.assertEqual(sdk.integrity("1.0.0"), f"sha384-{digest}")

    def test_a_version_that_is_not_kept_has_no_integrity(self) -> None:
        for version in ("2.0.0", "", "../../convultra.v1"):
            with self.subTest(version), self.assertRaises(LookupError):
                sdk.integrity(version)

    def test_the_newest_is_the_highest_number(self) -> None:
        self.write("versions/convultra.v1.9.2.js", SCRIPT)
        self.write("versions/convultra.v1.10.0.js", SCRIPT)
        self.write("versions/convultra.vnext.js", SCRIPT)
        self.assertEqual(sdk.newest_version(), "1.10.0")

    def test_no_other_name_leads_anywhere(self) -> None:
        self.write("secret.js", b"secret")
        self.write("versions/other.js", b"secret")
        names = ("secret.js", "versions/other.js", "../sdk/secret.js", "..%2fsecret.js", "convultra.v1.0.0.js/")
        for name in (*names, "convultra.v1.0.js", "convultra.v1.0.0.js\n", "convultra.v../../secret.0.0.js", ""):
            with self.subTest(name):
                self.assertEqual(self.ask(name).status, 404)


class WithoutVersionsTests(SdkTestCase):
    def test_there_is_no_newest_one(self) -> None:
        self.assertIsNone(sdk.newest_version())


class ThroughDjangoTests(SimpleTestCase):
    def test_the_view_carries_the_same_answer(self) -> None:
        response = self.client.get("/sdk/convultra.v1.js", headers={"accept-encoding": "gzip"})
        current = sdk.current()
        assert current is not None
        self.assertEqual((response.status_code, response.content), (200, current.gzipped))
        self.assertEqual(response["Content-Encoding"], "gzip")

    def test_head_and_other_methods_are_answered_there_too(self) -> None:
        current = sdk.current()
        assert current is not None
        self.assertEqual(self.client.head("/sdk/convultra.js")["Content-Length"], str(len(current.plain)))
        self.assertEqual(self.client.post("/sdk/convultra.js").status_code, 405)
