"""Takes a file in: its rows into chunks, its personal data hashed on the way. Nothing is judged here."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from itertools import islice
from pathlib import PurePath
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from django.db import transaction

from ingest import audit
from ingest.imports.csv_file import FileRefused, Layout, SaidRow, look_at, rows_of
from ingest.imports.times import zone_named
from ingest.members import looks_like_email
from ingest.models import Import, ImportChunk, Site

if TYPE_CHECKING:
    from django.contrib.auth.models import User

CHUNK_ROWS = 1000
MAX_IGNORED_TOLD = 20
# An upload that takes longer was cut off, as was a dry run, and nothing of it is of use.
CUT_OFF_AFTER = timedelta(hours=1)


class FileOptions(NamedTuple):
    """What a person says of the whole file; empty is to be recognised, or the site's zone."""

    format: str = ""
    time_zone: str = ""
    dates: str = ""


def take_file(
    site: Site, file: BinaryIO, name: str, options: FileOptions, actor: "User | None", now: datetime
) -> Import:
    """Keep a seekable file's rows and return the import, which waits to be checked. Raises FileRefused.

    Chunk after chunk is committed, so that no lock is held for the length of an upload; until the last one nobody
    sees the import.
    """
    source = keep_rows(site, file, name, options, actor, now)
    with transaction.atomic():
        source.status = Import.Status.CHECKING
        source.save(update_fields=["status"])
        note(source, "import.upload", actor, now, {"rows": source.total_rows, "format": source.format})
    return source


def keep_rows(
    site: Site, file: BinaryIO, name: str, options: FileOptions, actor: "User | None", now: datetime
) -> Import:
    """Keep a seekable file's rows; return an import that nobody sees or goes on with. Raises FileRefused."""
    layout = look_at(file, options.format)
    _forget_cut_off(site, now)
    source = _begin(site, name, layout, options, actor, now)
    try:
        for number, rows in enumerate(_in_chunks(rows_of(file, layout))):
            ImportChunk.objects.create(source=source, number=number, rows=rows, created_at=now)
            source.total_rows += len(rows)
    except FileRefused:
        source.delete()
        raise
    source.save(update_fields=["total_rows"])
    return source


def note(source: Import, action: str, actor: "User | None", now: datetime, details: Mapping[str, object]) -> None:
    """Write down in the customer's log what somebody did with an import."""
    audit.record(
        actor,
        action,
        organisation=source.site.organisation,
        site=source.site,
        target=source.file_name,
        details={"import": source.public_id, **details},
        now=now,
    )


def _begin(site: Site, name: str, layout: Layout, options: FileOptions, actor: "User | None", now: datetime) -> Import:
    time_zone = layout.time_zone or options.time_zone or site.time_zone
    try:
        zone_named(time_zone)
    except ValueError as error:
        raise FileRefused(
            f"The time zone {time_zone[:40]} is unknown. Use a name such as America/Chicago, or an offset."
        ) from error
    return Import.objects.create(
        site=site,
        file_name=_file_name(name),
        format=layout.header.format,
        time_zone=time_zone,
        date_order=options.dates,
        delimiter=layout.delimiter,
        labels={field: label[:100] for field, label in layout.header.labels.items()},
        ignored=[_told(label) for label in layout.header.ignored[:MAX_IGNORED_TOLD]],
        actor=actor,
        actor_name=(actor.get_full_name() or actor.email) if actor else audit.SERVER,
        created_at=now,
    )


def _file_name(name: str) -> str:
    """Return a file's own name as a person may read it."""
    printable = "".join(character for character in PurePath(name).name if character.isprintable())
    return _told(printable)[:200] or "conversions.csv"


def _told(label: str) -> str:
    # A file without a header may have an address where a column's name should be.
    return "(an email address)" if looks_like_email(label) else "".join(c for c in label if c.isprintable())[:100]


def _in_chunks(rows: Iterable[SaidRow]) -> Iterator[list[SaidRow]]:
    iterator = iter(rows)
    while chunk := list(islice(iterator, CHUNK_ROWS)):
        yield chunk


def _forget_cut_off(site: Site, now: datetime) -> None:
    site.imports.filter(status=Import.Status.READING, created_at__lt=now - CUT_OFF_AFTER).delete()
