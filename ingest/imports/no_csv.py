"""What a file is that is no CSV, by its first bytes, and what to do about it: people upload what they have. Pure."""

_SAVE_AS_CSV = "Save it as “CSV UTF-8 (Comma delimited)”, and import that file."
_ZIP = b"PK\x03\x04"
# Every workbook since 2007 is a ZIP archive, with one of these names near its beginning.
_IN_WORKBOOKS = (b"[Content_Types].xml", b"xl/", b"opendocument.spreadsheet")
_BEGINNINGS = {
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": f"This is an Excel workbook. {_SAVE_AS_CSV}",  # .xls, until 2003
    _ZIP: "This is a ZIP archive. Unpack it, and import the CSV file that is in it.",
    b"\x1f\x8b": "This is a compressed file (gzip). Unpack it, and import the CSV file that is in it.",
    b"%PDF-": "This is a PDF, from which rows cannot be read. Export the conversions as CSV where they come from.",
    b"\x89PNG": "This is a picture. Export the conversions as CSV where they come from.",
    b"\xff\xd8\xff": "This is a picture. Export the conversions as CSV where they come from.",
}
_MARKUP = (b"<!doctype html", b"<html", b"<?xml")


def what_else(head: bytes) -> str:
    """Return what the beginning of a file shows it to be instead of CSV, with what to do; "" where it shows nothing."""
    if head.startswith(_ZIP) and any(name in head for name in _IN_WORKBOOKS):
        return f"This is a spreadsheet workbook, such as Excel saves. {_SAVE_AS_CSV}"
    if head.lstrip().lower().startswith(_MARKUP):
        return f"This is a web page or XML, even if its name ends in .xls or .csv. Open it in Excel. {_SAVE_AS_CSV}"
    return next((words for beginning, words in _BEGINNINGS.items() if head.startswith(beginning)), "")
