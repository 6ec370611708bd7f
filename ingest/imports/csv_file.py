"""From the bytes of a file to its rows, as a stream: nothing is held but the row in hand. Pure.

Encoding (UTF-8, UTF-16), delimiter (comma, semicolon, tab) and template are recognised; what cannot be is refused in
words. Plain personal data is hashed here, so that nothing behind this line ever sees it.
"""

import codecs
import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from ingest import hashing
from ingest.imports.columns import HASHED, PLAIN, Header, recognise
from ingest.imports.no_csv import what_else
from ingest.imports.times import zone_named
from ingest.members import looks_like_email

MEBIBYTE = 1024 * 1024
MAX_FILE_BYTES = 20 * MEBIBYTE
MAX_ROWS = 100_000
MAX_CELL_CHARS = 512
# Instructions may stand above the header, as they do in Microsoft's template.
HEADER_WITHIN = 30
_HEAD_BYTES = 64 * 1024
DELIMITERS = (",", ";", "\t")
_TIME_ZONE = "parameters:timezone"
_SPACES = str.maketrans("\u00a0\u202f", "  ")


class FileRefused(ValueError):  # noqa: N818 - a refusal, told to the person whose file it is
    """A file of which no row can be taken. The text is for a person."""


@dataclass(frozen=True)
class Layout:
    """How a file is read: found by looking at its beginning."""

    encoding: str
    delimiter: str
    header: Header
    header_row: int  # counted from 1, as a spreadsheet does
    time_zone: str  # as the file says it; empty where it says none


class SaidRow(NamedTuple):
    """A row as it may be kept: its number in the file, its texts by column, and what is wrong with a cell of it."""

    number: int
    cells: dict[str, str]
    faults: list[tuple[str, str]]


def look_at(file: BinaryIO, wanted: str = "") -> Layout:
    """Return how a seekable file has to be read, as the `wanted` template where one is given. Raises FileRefused."""
    size = file.seek(0, io.SEEK_END)
    if size > MAX_FILE_BYTES:
        raise FileRefused(f"The file has {size / MEBIBYTE:.0f} MB; {MAX_FILE_BYTES // MEBIBYTE} are taken. Split it.")
    if size == 0:
        raise FileRefused("The file is empty: it has 0 bytes. Export it again, and look at it before you import it.")
    file.seek(0)
    head = file.read(_HEAD_BYTES)
    if other := what_else(head):
        raise FileRefused(other)
    encoding = _encoding(head)
    # A character may be cut in two at the end of the head.
    text = codecs.getincrementaldecoder(encoding)(errors="replace").decode(head)
    for delimiter in DELIMITERS:
        layout = _layout(text, encoding, delimiter, wanted)
        if layout is not None:
            return layout
    if "\0" in text:
        raise FileRefused("This is no text file. Export the conversions as CSV (UTF-8) where they come from.")
    raise FileRefused(
        "The file has no header that we know. Its columns have to be named as in our template or in Microsoft's: "
        "at least name and occurred_at, or Conversion Name and Conversion Time."
    )


def rows_of(file: BinaryIO, layout: Layout) -> Iterator[SaidRow]:
    """Yield the rows below the header; empty ones are left out. Raises FileRefused where reading cannot go on."""
    file.seek(0)
    text = io.TextIOWrapper(file, layout.encoding, newline="")
    count = number = 0
    # A quote that is not closed would swallow the rows below it, unseen where it stands in a column that is not read.
    reader = csv.reader(text, delimiter=layout.delimiter, strict=True)
    try:
        for number, cells in enumerate(reader, start=1):
            if number <= layout.header_row or not any(cell.strip() for cell in cells):
                continue
            count += 1
            if count > MAX_ROWS:
                raise FileRefused(f"The file has more than {MAX_ROWS:,} rows. Split it.")
            yield _said(number, cells, layout.header)
    except UnicodeDecodeError as error:
        raise FileRefused(
            "The file is neither UTF-8 nor UTF-16. In Excel, save it as “CSV UTF-8 (Comma delimited)”."
        ) from error
    except csv.Error as error:
        at_fault = "a quote in it is not closed, or not doubled"
        if "field larger" in str(error):
            at_fault = f"a cell has more than {csv.field_size_limit():,} characters, or a quote in it is not closed"
        raise FileRefused(f"The file cannot be read on from row {number + 1}: {at_fault}.") from error
    finally:
        text.detach()  # the file is its owner's to close
    if not count:
        raise FileRefused("The file has a header and no rows.")


def _encoding(head: bytes) -> str:
    if head.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if b"\0" in head[:4]:
        return "utf-16-le" if head[1:2] == b"\0" else "utf-16-be"
    return "utf-8"


def _layout(text: str, encoding: str, delimiter: str, wanted: str) -> Layout | None:
    time_zone = ""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        for number, cells in enumerate(reader, start=1):
            if number > HEADER_WITHIN:
                break
            time_zone = _time_zone(cells) or time_zone
            header = recognise(cells, wanted)
            if header is not None:
                _check(header)
                return Layout(encoding, delimiter, header, number, time_zone)
    except csv.Error:
        pass  # with another delimiter it may be one
    return None


def _time_zone(cells: list[str]) -> str:
    """Return the zone of Microsoft's `Parameters:TimeZone=+0000`; empty for any other line."""
    said = "".join(cells[:1]).replace(" ", "")
    name, _, zone = said.partition("=")
    if name.lower() != _TIME_ZONE or not zone:
        return ""
    zone = zone.partition(";")[0]
    try:
        zone_named(zone)
    except ValueError as error:
        raise FileRefused(
            f"The file's time zone, {zone[:40]}, is unknown. Write an offset such as +0000, or a name such as "
            "America/Chicago."
        ) from error
    return zone


def _check(header: Header) -> None:
    if header.repeated:
        raise FileRefused(f"The file has two columns for the same thing: {header.repeated[0][:40]}. Delete one.")
    if header.missing:
        raise FileRefused(f"The column {header.missing[0]} is missing.")


def _said(number: int, cells: list[str], header: Header) -> SaidRow:
    texts: dict[str, str] = {}
    faults: list[tuple[str, str]] = []
    for field, cell in zip(header.fields, cells, strict=False):
        text = cell.translate(_SPACES).strip() if field else ""
        if not field or not text:
            continue
        fault = _fault(field, text)
        if fault:
            faults.append((field, fault))
        else:
            texts[field] = text
    if any(cell.strip() for cell in cells[len(header.fields) :]):
        faults.append(("", "too_many_cells"))
    return SaidRow(number, _hashed(texts, faults), faults)


def _fault(field: str, text: str) -> str:
    """Return why a cell must not be kept, so that no address gets into a row by a column of another name."""
    if field in PLAIN:
        return ""
    if field in HASHED:
        return "" if hashing.is_sha256(text) else "hash_malformed"
    if len(text) > MAX_CELL_CHARS:
        return "too_long"
    if not text.isprintable():
        return "bad_character"
    return "personal_data" if looks_like_email(text) else ""


def _hashed(texts: Mapping[str, str], faults: list[tuple[str, str]]) -> dict[str, str]:
    """Return the texts with hashes in place of what is plain; what cannot be read is left out, and told."""
    kept = {field: text for field, text in texts.items() if field not in PLAIN}
    country = texts.get("country", "")
    if country and not hashing.is_country(country):
        faults.append(("country", "country_unknown"))
        country = ""
    for plain in PLAIN:
        if plain not in texts:
            continue
        if f"{plain}_sha256" in kept:
            faults.append((plain, "given_twice"))
            continue
        try:
            hashed = hashing.hash_email(texts[plain]) if plain == "email" else hashing.hash_phone(texts[plain], country)
        except ValueError:
            faults.append((plain, f"{plain}_malformed"))
        else:
            kept[f"{plain}_sha256"] = hashed
    return kept
