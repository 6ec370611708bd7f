"""The Turkish lira: `TRY` in ISO 4217, `TRL` in Microsoft's list of conversion currencies (guides/currencies).

Which one the API takes is documented nowhere. So a conversion goes out with the currency it came with, and once with
the other name when that is refused (5611). The currency is no part of the key by which Microsoft drops repeats.
"""

from forwarding.models import Delivery
from forwarding.rows.upload_rows import UploadRow
from integrations.microsoft_ads.shapes import ItemError

_LIRA, _LIRA_AT_MICROSOFT = "TRY", "TRL"
_CODE, _SYMBOL = 5611, "OfflineConversionCurrencyCodeInvalid"


def currency_to_send(row: Delivery | UploadRow) -> str:
    """Return the currency's name for Microsoft: from the row and what it was last refused for, and nothing else."""
    was_refused = row.error_code == _CODE or row.error_symbol == _SYMBOL
    return _LIRA_AT_MICROSOFT if row.currency == _LIRA and was_refused else row.currency


def has_another_name(row: UploadRow, error: ItemError) -> bool:
    """Say whether a row was refused for its currency's name, and has not gone out under the other one yet."""
    is_refused = error.code == _CODE or error.symbol == _SYMBOL
    return is_refused and currency_to_send(row) == _LIRA
