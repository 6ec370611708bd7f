"""A field for an amount of money, with words of its own for each thing that may be wrong with it."""

import re
from decimal import Decimal

from django import forms

from ingest.models import VALUE_DECIMALS, VALUE_DIGITS
from ingest.refusals import MAX_VALUE

_PLAIN = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)", re.ASCII)


class PlainDecimalField(forms.DecimalField):
    """A number as people write amounts: 1e9 and 1_000 are slips here, and each would be a lot of money."""

    def to_python(self, value: object) -> Decimal | None:  # type: ignore[override]  # as Django's own DecimalField
        """Refuse what Python reads as a number and a person hardly meant."""
        typed = str(value).strip() if value is not None else ""
        if typed and not _PLAIN.fullmatch(typed):
            raise forms.ValidationError(self.error_messages["invalid"], code="invalid")
        return super().to_python(value)

    def run_validators(self, value: object) -> None:
        """Say once what more than one limit has to say."""
        try:
            super().run_validators(value)
        except forms.ValidationError as error:
            raise forms.ValidationError(list(dict.fromkeys(error.messages))) from error


def money_field(*, required: bool) -> forms.DecimalField:
    """Return a field that takes what Microsoft takes as a value."""
    no_number = "Enter the value as a number, such as 99.95, without a currency sign or separators."
    return PlainDecimalField(
        required=required,
        min_value=0,
        max_value=MAX_VALUE,
        max_digits=VALUE_DIGITS,
        decimal_places=VALUE_DECIMALS,
        error_messages={
            "required": "Enter the new value as a number, such as 99.95.",
            "invalid": no_number,
            "min_value": "The value cannot be negative.",
            "max_value": f"Microsoft takes {MAX_VALUE:,} at most.",
            "max_digits": f"Microsoft takes {MAX_VALUE:,} at most.",
            "max_whole_digits": f"Microsoft takes {MAX_VALUE:,} at most.",
            "max_decimal_places": f"Microsoft takes {VALUE_DECIMALS} decimals at most. Round it first.",
        },
    )
