"""Databases for tests that start other processes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
from django.db import connection


@contextmanager
def scratch_database(directory: Path) -> Iterator[str]:
    """Give the address of an empty database of the kind that the suite runs on; gone afterwards."""
    if connection.vendor == "sqlite":
        yield f"sqlite:///{directory / 'convultra.sqlite3'}"
        return
    given = connection.settings_dict
    name = f"scratch_{uuid4().hex}"
    place = f"{given['USER']}@{given['HOST']}" + (f":{given['PORT']}" if given["PORT"] else "")
    with psycopg.connect(f"postgres://{place}/postgres", autocommit=True) as server:
        server.execute(f'CREATE DATABASE "{name}"')
        try:
            yield f"postgres://{place}/{name}"
        finally:
            server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
