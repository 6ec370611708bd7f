"""What others made and we serve: unchanged since it was taken in, and each with its licence."""

import hashlib

from django.test import SimpleTestCase

from tests.structure.sources import ROOT

VENDOR = ROOT / "static" / "vendor"
OURS = {"CHECKSUMS", "LICENSES.txt"}


def recorded() -> dict[str, str]:
    """Return the SHA-256 of each file as CHECKSUMS has it, in the format of `sha256sum`."""
    lines = (VENDOR / "CHECKSUMS").read_text().splitlines()
    return {name: digest for digest, name in (line.split("  ") for line in lines)}


class VendoredTests(SimpleTestCase):
    def test_every_file_is_as_it_was_taken_in(self) -> None:
        found = {
            path.relative_to(VENDOR).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in VENDOR.rglob("*")
            if path.is_file() and path.name not in OURS
        }
        self.assertEqual(found, recorded())

    def test_every_file_has_its_licence(self) -> None:
        licences = (VENDOR / "LICENSES.txt").read_text()
        self.assertEqual([name for name in recorded() if name not in licences], [])
