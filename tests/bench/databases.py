"""Databases of a bench or a chaos run: made for it, and gone after it."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

SUFFIX = "_bench"


def refuse_foreign(name: str, suffix: str = SUFFIX) -> None:
    """Raise ValueError for a database that must not be emptied: one whose name does not end in `suffix`."""
    if not Path(name).stem.endswith(suffix):
        raise ValueError(f"{name} does not end in {suffix}. What is not named so is not emptied.")


@contextmanager
def sqlite(suffix: str = SUFFIX) -> Iterator[str]:
    """Give the URL of a file in a directory of its own."""
    with tempfile.TemporaryDirectory(prefix=f"convultra{suffix}-") as home:
        yield f"sqlite:///{home}/convultra{suffix}.sqlite3"


@contextmanager
def postgres(url: str, suffix: str = SUFFIX) -> Iterator[str]:
    """Give the URL of a new database on the server of `url`: its name with the suffix after it, where it has none."""
    parts = urlsplit(url)
    name = parts.path.lstrip("/")
    own = name if name.endswith(suffix) else f"{name}{suffix}"
    refuse_foreign(own, suffix)
    server = parts._replace(path="/postgres").geturl()
    _execute(server, "DROP DATABASE IF EXISTS {} WITH (FORCE)", own)
    _execute(server, "CREATE DATABASE {}", own)
    try:
        yield parts._replace(path=f"/{own}").geturl()
    finally:
        _execute(server, "DROP DATABASE IF EXISTS {} WITH (FORCE)", own)


def _execute(server: str, statement: str, database: str) -> None:
    with psycopg.connect(server, autocommit=True, connect_timeout=5) as connection:
        connection.execute(sql.SQL(statement).format(sql.Identifier(database)))
