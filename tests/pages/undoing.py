"""A database and a Microsoft that go back to what they were, in milliseconds: each test finds the same world."""

import copy
import dataclasses
import sqlite3

from django.apps import apps
from django.db import connection
from django.db.models import Model

from integrations.microsoft_ads.emulator.books import Books

# Rows that are about the visit and not about what was asked for.
OF_VISITS = {
    *("sessions.Session", "usersessions.UserSession", "axes.AccessAttempt", "axes.AccessLog"),
    "account.EmailAddress",  # the sign-in library notes a person's address when it first needs it
    "integrations.Connection",  # its tokens are renewed when Microsoft is asked anything
}
Rows = dict[str, list[tuple[object, ...]]]


class Undo:
    """What there was when it was made. SQLite only: it copies the file's pages, whatever the rows are."""

    def __init__(self, books: Books) -> None:
        self._books, self._kept = books, copy.deepcopy(_contents(books))
        self._pages = sqlite3.connect(":memory:")
        _connection().backup(self._pages)

    def restore(self) -> None:
        """Put back every row, sessions included, and Microsoft's books."""
        self._pages.backup(_connection())
        for name, value in copy.deepcopy(self._kept).items():
            setattr(self._books, name, value)


def rows_of(models: list[type[Model]]) -> Rows:
    """Return every row of the models."""
    return {model._meta.label: list(model._default_manager.order_by("pk").values_list()) for model in models}


def stored() -> Rows:
    """Return every row there is, but those that any visit leaves."""
    return rows_of([model for model in apps.get_models() if model._meta.label not in OF_VISITS])


def _contents(books: Books) -> dict[str, object]:
    """Return the rows of the books: all but what they are locked and recorded with."""
    names = (one.name for one in dataclasses.fields(books))
    return {name: getattr(books, name) for name in names if name not in ("lock", "recorder", "close")}


def _connection() -> sqlite3.Connection:
    connection.ensure_connection()
    found = connection.connection
    assert isinstance(found, sqlite3.Connection), "forms are the same on both databases; they are walked on SQLite"
    return found
