"""Model instances by the thousand. Django's constructor asks every column for its default, looks at every argument and
sends two signals, which takes longer than all that planning does with a row.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

from django.db.models import Model
from django.db.models.base import ModelState

Row = TypeVar("Row", bound=Model)


def defaults_of(model: type[Model]) -> dict[str, Any]:
    """Return what each column holds of which a new row says nothing. A default made for each row is made once here."""
    row = model()
    return {field.attname: getattr(row, field.attname) for field in model._meta.concrete_fields}


def new_row(model: type[Row], columns: Mapping[str, Any], **related: Model | None) -> Row:
    """Return what `model(...)` would: an unsaved row with all its columns, pointing to other rows that are stored."""
    row = model.__new__(model)
    row.__dict__ = {**columns, "_state": ModelState()}
    row._state.fields_cache = related
    for name, other in related.items():
        row.__dict__[f"{name}_id"] = None if other is None else other.pk
    return row


def stored_row(model: type[Row], columns: Mapping[str, Any], database: str) -> Row:
    """Return what a query would: a row with its key and these columns. Others are read when they are asked for."""
    row = new_row(model, columns)
    row._state.adding, row._state.db = False, database
    return row
