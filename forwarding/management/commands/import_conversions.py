"""A CSV file of conversions from the command line: the same road as the page's, in the foreground."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from forwarding import importing
from ingest.imports import working
from ingest.imports.checking import Verdict
from ingest.imports.csv_file import FileRefused
from ingest.imports.problems import told_of
from ingest.imports.report import TO_FIX, WORDS, report
from ingest.imports.uploading import FileOptions, keep_rows, take_file
from ingest.judging import Outcome
from ingest.models import DateOrder, Import, ImportFormat, Site

TURN_SECONDS = 0.2


class Command(BaseCommand):
    help = (
        "Import conversions from a CSV file, in our template or Microsoft's. Run it again to go on where it was "
        "stopped: what is stored is not stored twice."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file")
        parser.add_argument("--site", required=True, help="the site's UUID, as in its address")
        parser.add_argument(
            "--format", choices=ImportFormat.values, default="", help="recognised where it is not given"
        )
        parser.add_argument("--time-zone", default="", help="of times that name none; the site's where it is not given")
        parser.add_argument("--dates", choices=DateOrder.values, default="", help="what comes first in 03/04/2026")
        parser.add_argument("--dry-run", action="store_true", help="check every row, store none")
        parser.add_argument("--report", help="write the verdict on every row to this CSV file")

    def handle(self, *, file: str, site: str, report: str | None, dry_run: bool, **options: str) -> None:
        where = _site(site)
        given = FileOptions(options["format"], options["time_zone"], options["dates"])
        take = keep_rows if dry_run else take_file
        with _opened(file) as opened:
            try:
                source = take(where, opened, Path(file).name, given, None, timezone.now())
            except FileRefused as refused:
                raise CommandError(str(refused)) from refused
        self._tell_layout(source)
        not_taken = self._try(source, report) if dry_run else self._import(source, report)
        if not_taken:
            raise CommandError(f"{not_taken:,} of {source.total_rows:,} rows cannot be taken as they are.")

    def _try(self, source: Import, report: str | None) -> int:
        """Check the rows and forget them; return how many cannot be taken."""
        try:
            importing.check(source, tell=lambda: self._tell_progress(source))
            not_taken = self._tell_verdicts(source, report)
        finally:
            source.delete()
        self.stdout.write("Nothing was stored: this was a dry run.")
        return not_taken

    def _import(self, source: Import, report: str | None) -> int:
        """Check the rows and store them; return how many were not taken."""
        self._go_through(source, Import.Status.CHECKING, importing.check)
        not_taken = self._tell_verdicts(source, report)
        working.confirm(source, None, timezone.now())  # unless somebody was faster, on the page
        self._go_through(source, Import.Status.IMPORTING, importing.store)
        return not_taken + self._tell_outcomes(source)

    def _tell_layout(self, source: Import) -> None:
        self.stdout.write(f"{source.file_name}: {source.total_rows:,} rows, {source.get_format_display()}.")
        self.stdout.write(f"Times that name no zone are in {source.time_zone}.")
        if source.ignored:
            self.stdout.write(f"Columns that are not read: {', '.join(source.ignored)}.")

    def _go_through(self, source: Import, status: str, work: Callable[..., bool]) -> None:
        """Work until the import is in another status, in turns with a worker that is at it too."""
        source.refresh_from_db()
        while source.status == status:
            work(source, tell=lambda: self._tell_progress(source))
            source.refresh_from_db()
            if source.status == status:
                time.sleep(TURN_SECONDS)
        if source.status == Import.Status.CANCELLED:
            stored = source.outcomes.get(Outcome.ACCEPTED.value, 0)
            raise CommandError(f"It was cancelled meanwhile. {stored:,} rows were stored before that, and stay.")

    def _tell_progress(self, source: Import) -> None:
        source.refresh_from_db()
        done, total = source.progress
        verb = "stored" if source.confirmed_at else "checked"
        self.stderr.write(f"{done:,} of {total:,} rows {verb}")

    def _tell_verdicts(self, source: Import, report: str | None) -> int:
        """Say what will become of the rows; return how many cannot be taken."""
        source.refresh_from_db()
        for verdict in Verdict:
            if source.verdicts.get(verdict):
                self.stdout.write(f"{source.verdicts[verdict]:>9,} {WORDS[verdict]}")
        for problem in told_of(source):
            example = f"row {problem.row}" + (f", {problem.example}" if problem.example else "")
            self.stdout.write(f"{problem.rows:>9,} {problem.title} ({example}): {problem.fix}")
        if report is not None:
            _write(report, source)
        return sum(source.verdicts.get(verdict, 0) for verdict in (*TO_FIX, Verdict.TOO_OLD))

    def _tell_outcomes(self, source: Import) -> int:
        """Say what became of the rows; return how many were not taken after all."""
        accepted = source.outcomes.get(Outcome.ACCEPTED.value, 0)
        self.stdout.write(f"{accepted:,} rows stored. The worker forwards them.")
        changed: int = sum(source.outcomes.get(name, 0) for name in (Outcome.CONFLICT.value, working.REFUSED))
        if changed:
            self.stdout.write(f"{changed:,} rows changed between check and storing, and were left out.")
        refused: int = source.outcomes.get(working.NOT_STORABLE, 0)
        if refused:
            self.stdout.write(
                f"{refused:,} rows were refused by the database. That is a fault of ours; it is in the log."
            )
        return changed + refused


def _site(site_id: str) -> Site:
    try:
        return Site.objects.select_related("organisation").get(public_id=UUID(site_id))
    except (ValueError, Site.DoesNotExist):
        raise CommandError(f"There is no site {site_id}. Its UUID is in the address of its pages.") from None


@contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    try:
        opened = Path(file).open("rb")  # noqa: SIM115 - closed below; the reason why it cannot be opened is told here
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}.") from error
    with opened:
        if not opened.seekable():
            raise CommandError(f"{file} is a stream. Save it to a file first.")
        yield opened


def _write(file: str, source: Import) -> None:
    try:
        with Path(file).open("w", encoding="utf-8", newline="") as opened:
            opened.writelines(report(source))
    except OSError as error:
        raise CommandError(f"{file} cannot be written: {error.strerror}. Nothing was stored.") from error
