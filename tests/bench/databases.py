"""The bench's own databases: made for a run, and gone after it."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

SUFFIX = "_bench"


def refuse_foreign(name: str) -> None:
    """Raise ValueError for a database that the bench must not empty: one whose name does not end in `_bench`."""
    if not Path(name).stem.endswith(SUFFIX):
        raise ValueError(f"{name} does not end in {SUFFIX}. The bench empties its database and takes no other.")


@contextmanager
def sqlite() -> Iterator[str]:
    """Give the URL of a file in a directory of its own."""
    with tempfile.TemporaryDirectory(prefix="convultra-bench-") as home:
        yield f"sqlite:///{home}/convultra{SUFFIX}.sqlite3"


@contextmanager
def postgres(url: str) -> Iterator[str]:
    """Give the URL of a new database on the server of `url`: its name with `_bench` after it, where it has none yet."""
    parts = urlsplit(url)
    name = parts.path.lstrip("/")
    own = name if name.endswith(SUFFIX) else f"{name}{SUFFIX}"
    refuse_foreign(own)
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
