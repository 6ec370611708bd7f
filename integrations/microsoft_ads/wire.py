"""Conversions and adjustments as the bytes that Microsoft receives.

The same rows give the same bytes, today and in a later release: that is what makes a resend after an unknown
outcome safe, as Microsoft drops what it has seen. So keys have a fixed order, empty fields are left out,
and a Decimal is written as the number it is, without passing through a float.

Source: cm/applyofflineconversions, cm/applyofflineconversionadjustments, and msads for the names.
"""

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from json import JSONEncoder
from typing import TypeVar

from integrations.microsoft_ads.shapes import OfflineConversion, OfflineConversionAdjustment

MAX_ROWS = 1_000  # per call; more is refused whole with 5601 (cm/applyofflineconversions)

_Fields = Iterable[tuple[str, str | Decimal | None]]
_Row = TypeVar("_Row")

_quote = JSONEncoder(ensure_ascii=False).encode


def conversions_body(conversions: Sequence[OfflineConversion]) -> bytes:
    """Return the body of ApplyOfflineConversions. Raises ValueError for no rows or more than 1,000."""
    return _body("OfflineConversions", _conversion_fields, conversions)


def adjustments_body(adjustments: Sequence[OfflineConversionAdjustment]) -> bytes:
    """Return the body of ApplyOfflineConversionAdjustments. Raises ValueError for no rows or more than 1,000."""
    return _body("OfflineConversionAdjustments", _adjustment_fields, adjustments)


def _conversion_fields(row: OfflineConversion) -> _Fields:
    return (
        ("ConversionName", row.goal_name),
        ("ConversionTime", row.conversion_time),
        ("ConversionValue", row.value),
        ("ConversionCurrencyCode", row.currency),
        ("MicrosoftClickId", row.click_id),
        ("HashedEmailAddress", row.hashed_email),
        ("HashedPhoneNumber", row.hashed_phone),
    )


def _adjustment_fields(row: OfflineConversionAdjustment) -> _Fields:
    return (
        ("AdjustmentType", row.adjustment_type),
        ("AdjustmentTime", row.adjustment_time),
        ("AdjustmentValue", row.value),
        ("AdjustmentCurrencyCode", row.currency),
        ("ConversionName", row.goal_name),
        ("ConversionTime", row.conversion_time),
        ("MicrosoftClickId", row.click_id),
        ("HashedEmailAddress", row.hashed_email),
        ("HashedPhoneNumber", row.hashed_phone),
    )


def _body(name: str, fields: Callable[[_Row], _Fields], rows: Sequence[_Row]) -> bytes:
    if not 0 < len(rows) <= MAX_ROWS:
        raise ValueError(f"{name}: 1 to {MAX_ROWS} rows go into one call, not {len(rows)}")
    return f'{{"{name}":[{",".join(_object(fields(row)) for row in rows)}]}}'.encode()


def _object(fields: _Fields) -> str:
    members = (f'"{name}":{_value(value)}' for name, value in fields if value is not None and value != "")
    return f"{{{','.join(members)}}}"


def _value(value: str | Decimal) -> str:
    return _number(value) if isinstance(value, Decimal) else _quote(value)


def _number(value: Decimal) -> str:
    # normalize() would round to the context's precision, and str() writes 1E+2.
    if not value.is_finite():
        raise ValueError("A value must be a finite number")
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
