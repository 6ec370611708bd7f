"""Whatever a spreadsheet saves is read as it was meant, and nothing personal leaves the reader in plain."""

import csv
import io
import zipfile

from django.test import SimpleTestCase
from hypothesis import given
from hypothesis import strategies as st

from ingest.hashing import hash_email, hash_phone
from ingest.imports import csv_file
from ingest.imports.columns import MICROSOFTS_TEMPLATE, OUR_TEMPLATE
from ingest.imports.csv_file import FileRefused, Layout, SaidRow, look_at, rows_of

HEADER = "name,occurred_at,value"


def laid_out(text: str, encoding: str = "utf-8", wanted: str = "") -> Layout:
    return look_at(io.BytesIO(text.encode(encoding)), wanted)


def rows(text: str, encoding: str = "utf-8") -> list[SaidRow]:
    file = io.BytesIO(text.encode(encoding))
    return list(rows_of(file, look_at(file)))


def _zipped(name: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, "name,occurred_at\na,b\n")
    return file.getvalue()


class TestLayout(SimpleTestCase):
    def test_every_encoding_and_delimiter_gives_the_same_rows(self) -> None:
        for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"):
            for delimiter in (",", ";", "\t"):
                with self.subTest(encoding=encoding, delimiter=delimiter):
                    text = f"{HEADER},transaction_id\r\nkäufe,2026-11-20,5,Müller 1\r\n".replace(",", delimiter)
                    [row] = rows(text, encoding)
                    self.assertEqual((row.number, row.cells["transaction_id"]), (2, "Müller 1"))

    def test_both_templates_are_recognised(self) -> None:
        self.assertEqual(laid_out("\n".join(OUR_TEMPLATE)).header.format, "convultra")
        layout = laid_out("\n".join(MICROSOFTS_TEMPLATE))
        self.assertEqual((layout.header.format, layout.time_zone, layout.header_row), ("microsoft", "+0000", 2))

    def test_headers_may_be_written_as_people_do(self) -> None:
        header = laid_out("Event Name;OCCURRED-AT;  Value ;Notes").header
        self.assertEqual(header.fields, ("name", "occurred_at", "value", None))
        self.assertEqual(header.ignored, ("Notes",))

    def test_lines_above_the_header_are_skipped(self) -> None:
        above = "### INSTRUCTIONS ###,,\n# Set the zone,,\nParameters:TimeZone=America/Chicago;,,\n\n"
        text = f"{above}{HEADER}\npurchase,2026-11-20,5"
        self.assertEqual(laid_out(text).time_zone, "America/Chicago")
        self.assertEqual([row.number for row in rows(text)], [6])

    def test_a_file_is_refused_in_words(self) -> None:
        for text, encoding, words in (
            ("", "utf-8", "empty"),
            ("a,b\n1,2", "utf-8", "no header"),
            ("name,value\na,1", "utf-8", "occurred_at is missing"),
            ("Conversion Name,Conversion Value\na,1", "utf-8", "Conversion Time is missing"),
            (f"{HEADER},value\n", "utf-8", "two columns"),
            (f"Parameters:TimeZone=Mars\n{HEADER}\n", "utf-8", "Mars, is unknown"),
            (f"{HEADER}\nkäufe,2026-11-20,5", "latin-1", "neither UTF-8 nor UTF-16"),
            (f"{HEADER}\n\n,,\n", "utf-8", "no rows"),
            (f'{HEADER},notes\na,b,c,d\na,b,c,"d\na,b,c,d', "utf-8", "on from row 3: a quote"),
            (f'{HEADER},notes\na,b,c,"d\na,b,c,"d"', "utf-8", "on from row 2: a quote"),
            (f"{HEADER}\na,b,c\na,b,{'c' * 131_073}", "utf-8", "on from row 3: a cell has more than 131,072"),
        ):
            with self.subTest(words), self.assertRaisesRegex(FileRefused, words):
                rows(text, encoding)

    def test_what_is_no_csv_is_told_as_what_it_is(self) -> None:
        for name, words in (("xl/workbook.xml", "workbook.*CSV UTF-8"), ("orders.csv", "ZIP archive. Unpack it")):
            with self.subTest(name), self.assertRaisesRegex(FileRefused, words):
                look_at(io.BytesIO(_zipped(name)))
        for head, words in (
            (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Excel workbook"),
            (b"%PDF-1.7\n", "a PDF"),
            (b"\x1f\x8b\x08", "gzip"),
            (b"\x89PNG\r\n", "a picture"),
            (b"\n<!DOCTYPE html><table>", "a web page"),
            (b"\x7fELF\x02\x01\x01\0\0\0\0\0", "no text file"),
        ):
            with self.subTest(words), self.assertRaisesRegex(FileRefused, words):
                look_at(io.BytesIO(head))

    def test_a_template_that_is_named_is_the_only_one_looked_for(self) -> None:
        with self.assertRaisesRegex(FileRefused, "no header"):
            laid_out("\n".join(OUR_TEMPLATE), wanted="microsoft")

    def test_too_much_is_refused(self) -> None:
        with self.assertRaisesRegex(FileRefused, "21 MB; 20 are taken"):
            look_at(io.BytesIO(b"x" * (21 * csv_file.MEBIBYTE)))
        with self.assertRaisesRegex(FileRefused, "more than 100,000 rows"):
            rows(f"{HEADER}\n" + "a,b,c\n" * 100_001)


class TestRows(SimpleTestCase):
    def test_personal_data_is_hashed_as_it_is_read(self) -> None:
        [row] = rows(f"{HEADER},email,phone,country\npurchase,2026-11-20,5,Jane@Example.com,(425) 555-1234,US")
        self.assertEqual(row.cells["email_sha256"], hash_email("jane@example.com"))
        self.assertEqual(row.cells["phone_sha256"], hash_phone("+14255551234"))
        self.assertNotIn("Jane", str(row))
        self.assertNotIn("555", str(row))

    def test_what_cannot_be_read_or_kept_is_left_out_and_named(self) -> None:
        for column, text, code in (
            ("email", "jane at home", "email_malformed"),
            ("phone", "0123", "phone_malformed"),
            ("email_sha256", "jane@example.com", "hash_malformed"),
            ("transaction_id", "jane@example.com", "personal_data"),
            ("transaction_id", "a\0b", "bad_character"),
            ("transaction_id", "x" * 513, "too_long"),
            ("country", "Texas", "country_unknown"),
        ):
            with self.subTest(column=column, code=code):
                [row] = rows(f"{HEADER},{column}\npurchase,2026-11-20,5,{text}")
                self.assertEqual(row.faults, [(column, code)])
                self.assertNotIn(text, str(row.cells) if column != "country" else "")

    def test_a_person_is_given_plain_or_hashed(self) -> None:
        [row] = rows(f"{HEADER},email,email_sha256\npurchase,2026-11-20,5,jane@example.com,{'a' * 64}")
        self.assertEqual(row.faults, [("email", "given_twice")])

    def test_a_comma_without_quotes_is_noticed(self) -> None:
        [row] = rows(f"{HEADER}\npurchase,2026-11-20,1,250.00")
        self.assertEqual(row.faults, [("", "too_many_cells")])

    def test_rows_are_numbered_as_a_spreadsheet_does(self) -> None:
        numbers = [row.number for row in rows(f'{HEADER}\na,b,c\n\n,,\n"d\ne",f,g\nh,i,j')]
        self.assertEqual(numbers, [2, 5, 6])

    @given(st.text(st.characters(codec="utf-8"), max_size=40), st.sampled_from(csv_file.DELIMITERS))
    def test_a_cell_is_kept_as_it_was_or_not_at_all(self, cell: str, delimiter: str) -> None:
        text = io.StringIO(newline="")
        csv.writer(text, delimiter=delimiter).writerows([[*HEADER.split(","), "transaction_id"], ["a", "b", "c", cell]])
        [row] = rows(text.getvalue())
        meant = cell.replace("\u00a0", " ").replace("\u202f", " ").strip()
        self.assertIn(row.cells.get("transaction_id", ""), ("", meant))
        self.assertEqual("transaction_id" in row.cells or not meant, not row.faults)

    @given(st.binary(max_size=300))
    def test_any_bytes_are_read_or_refused(self, raw: bytes) -> None:
        file = io.BytesIO(raw)
        try:
            list(rows_of(file, look_at(file)))
        except FileRefused as refused:
            self.assertTrue(str(refused))
