"""docs/microsoft-ads.md names every error that the client knows, with what is done about it."""

from pathlib import Path

from django.test import SimpleTestCase

from integrations.microsoft_ads.errors import KNOWN_ERRORS, TOKEN_ERRORS, WhatToDo

PAGE = Path(__file__).parents[3] / "docs" / "microsoft-ads.md"


class DocumentedErrorTests(SimpleTestCase):
    def setUp(self) -> None:
        lines = PAGE.read_text(encoding="utf-8").splitlines()
        self.rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]

    def test_every_code_and_symbol_has_its_row(self) -> None:
        documented = {(row[0], row[1], row[2].split(",")[0]) for row in self.rows if len(row) == 4}
        for known in KNOWN_ERRORS:
            code = "–" if known.code is None else str(known.code)
            symbols = ", ".join(f"`{symbol}`" for symbol in known.symbols) or "–"
            self.assertIn((code, symbols, f"`{known.what_to_do}`"), documented)

    def test_no_row_is_about_an_error_that_is_gone(self) -> None:
        table = [row for row in self.rows if len(row) == 4 and "code" not in row and "---" not in row]
        self.assertEqual(len(table), len(KNOWN_ERRORS))

    def test_every_error_of_the_sign_in_has_its_row(self) -> None:
        documented = {(row[0], row[1]) for row in self.rows if len(row) == 2}
        for error, found in TOKEN_ERRORS.items():
            self.assertIn((f"`{error}`", f"`{found.default_what_to_do}`"), documented)

    def test_every_way_to_react_is_explained(self) -> None:
        explained = {row[0] for row in self.rows if len(row) == 2}
        self.assertEqual([what for what in WhatToDo if f"`{what}`" not in explained], [])
