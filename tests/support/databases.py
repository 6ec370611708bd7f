"""Databases for tests that start other processes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
from django.db import connection


def database_url() -> str:
    """Return the address of the test's own database, for another process."""
    given = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{given['NAME']}"
    return f"postgres://{_server()}/{given['NAME']}"


@contextmanager
def scratch_database(directory: Path) -> Iterator[str]:
    """Give the address of an empty database of the kind that the suite runs on; gone afterwards."""
    if connection.vendor == "sqlite":
        yield f"sqlite:///{directory / 'convultra.sqlite3'}"
        return
    name, place = f"scratch_{uuid4().hex}", _server()
    with psycopg.connect(f"postgres://{place}/postgres", autocommit=True) as server:
        server.execute(f'CREATE DATABASE "{name}"')
        try:
            yield f"postgres://{place}/{name}"
        finally:
            server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def _server() -> str:
    given = connection.settings_dict
    return f"{given['USER']}@{given['HOST']}" + (f":{given['PORT']}" if given["PORT"] else "")
