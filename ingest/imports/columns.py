"""The columns of the two templates, ours and Microsoft's, and how a header is recognised. Pure.

Source of Microsoft's: help "Offline conversions" (import file) and bulk/offline-conversion, whose spellings differ.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ingest.models import ImportFormat

# Plain personal data: hashed as it is read, and kept nowhere.
PLAIN = ("email", "phone")
HASHED = ("email_sha256", "phone_sha256")

_OURS = {
    "event id": "event_id",
    "name": "name",
    "event name": "name",
    "occurred at": "occurred_at",
    "value": "value",
    "currency": "currency",
    "transaction id": "transaction_id",
    "external id": "external_id",
    "visitor id": "visitor_id",
    "session id": "session_id",
    "msclkid": "msclkid",
    "email": "email",
    "email sha256": "email_sha256",
    "phone": "phone",
    "phone sha256": "phone_sha256",
    "country": "country",
    "consent": "consent",
}
_MICROSOFTS = {
    "microsoft click id": "msclkid",
    "msclkid": "msclkid",
    "conversion name": "name",
    "conversion time": "occurred_at",
    "conversion value": "value",
    "conversion currency": "currency",
    "conversion currency code": "currency",
    "hashed email": "email_sha256",
    "hashed email address": "email_sha256",
    "hashed phone": "phone_sha256",
    "hashed phone number": "phone_sha256",
    "email": "email",
    "email address": "email",
    "phone": "phone",
    "phone number": "phone",
    "country": "country",
    "event id": "event_id",
    "transaction id": "transaction_id",
    "adjustment type": "adjustment_type",
    "adjustment time": "adjustment_time",
    "adjustment value": "adjustment_value",
    "adjusted value": "adjustment_value",
    "adjustment currency": "adjustment_currency",
    "adjustment currency code": "adjustment_currency",
    "adjusted currency": "adjustment_currency",
}
_KNOWN: Mapping[str, Mapping[str, str]] = {ImportFormat.CONVULTRA: _OURS, ImportFormat.MICROSOFT: _MICROSOFTS}
_REQUIRED = ("name", "occurred_at")
_GAPS = re.compile(r"[\s_-]+")

# What a person downloads and fills: a header, and a row by example.
OUR_TEMPLATE = (
    "event_id,name,occurred_at,value,currency,transaction_id,msclkid,email,phone,country",
    (
        "deal-8841-won,purchase,2026-11-18T14:05:00-06:00,1250.00,USD,DEAL-8841,"
        "f894f652ea334e739002f7167ab8f8e3,jane@example.com,+14255551234,US"
    ),
)
MICROSOFTS_TEMPLATE = (
    "Parameters:TimeZone=+0000",
    "Microsoft Click ID,Conversion Name,Conversion Time,Conversion Value,Conversion Currency",
    "f894f652ea334e739002f7167ab8f8e3,Purchase,2026-11-18 20:05:00,1250.00,USD",
)


@dataclass(frozen=True)
class Header:
    """A recognised header: the template, its columns by position (None: ignored), and what they are called there."""

    format: ImportFormat
    fields: tuple[str | None, ...]
    labels: Mapping[str, str]
    ignored: tuple[str, ...]
    repeated: tuple[str, ...]

    @property
    def missing(self) -> tuple[str, ...]:
        """What a row cannot do without, as the template calls it."""
        names = {field: label for label, field in reversed(list(_KNOWN[self.format].items()))}
        labels = (_written(names[field], self.format) for field in _REQUIRED if field not in self.labels)
        return tuple(labels)


def recognise(cells: Sequence[str], wanted: str = "") -> Header | None:
    """Return the header that these cells are, of the wanted template or of the one that fits better; None for none."""
    formats = [ImportFormat(wanted)] if wanted else list(ImportFormat)
    headers = [_header(cells, format_) for format_ in formats]
    best = max(headers, key=lambda header: (-len(header.missing), len(header.labels)))
    return best if len(best.missing) < len(_REQUIRED) and len(best.labels) > 1 else None


def in_order(labels: Mapping[str, str]) -> list[str]:
    """Return the columns of a file in the order of the templates; a database keeps none."""
    order = dict.fromkeys((*_OURS.values(), *_MICROSOFTS.values()))
    return [field for field in order if field in labels]


def _header(cells: Sequence[str], format_: ImportFormat) -> Header:
    known = _KNOWN[format_]
    fields: list[str | None] = []
    labels: dict[str, str] = {}
    ignored, repeated = [], []
    for cell in cells:
        label = cell.strip()
        field = known.get(_GAPS.sub(" ", label.casefold()).strip())
        if field is None and label:
            ignored.append(label)
        if field in labels:
            repeated.append(label)
        elif field is not None:
            labels[field] = label
        fields.append(field)
    return Header(format_, tuple(fields), labels, tuple(ignored), tuple(repeated))


def _written(label: str, format_: ImportFormat) -> str:
    return label.title() if format_ == ImportFormat.MICROSOFT else label.replace(" ", "_")
