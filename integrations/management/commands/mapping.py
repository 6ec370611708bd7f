"""Move a site's mapping between the database and a YAML file."""

import sys
from pathlib import Path
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from ingest.models import Site
from integrations.mapping_file import ImportRefused, export_mapping, import_mapping


class Command(BaseCommand):
    help = "Write a site's event-to-goal mapping as YAML, or make a YAML file the mapping of the accounts it names."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("direction", choices=["export", "import"])
        parser.add_argument("site_id", help="the site's UUID, as in its address")
        parser.add_argument("file", nargs="?", help="standard output, or standard input, where there is none")

    def handle(self, *, direction: str, site_id: str, file: str | None, **_options: object) -> None:
        site = _site(site_id)
        if direction == "export":
            self._export(site, file)
        else:
            self._import(site, file)

    def _export(self, site: Site, file: str | None) -> None:
        text = export_mapping(site)
        if file is None:
            self.stdout.write(text, ending="")
            return
        try:
            Path(file).write_text(text, encoding="utf-8")
        except OSError as error:
            raise CommandError(f"{file} cannot be written: {error.strerror}.") from error
        self.stderr.write(f"Wrote the mapping of {site.name} to {file}.")

    def _import(self, site: Site, file: str | None) -> None:
        try:
            report = import_mapping(site, _text(file), None, timezone.now())
        except ImportRefused as refused:
            raise CommandError("\n".join([*refused.errors, "Nothing was changed."])) from refused
        for label, names in (("Set", report.changed), ("Removed", report.removed)):
            for name in names:
                self.stderr.write(f"{label} {name}")
        self.stderr.write(
            f"{site.name}: {len(report.changed)} set, {len(report.removed)} removed, {report.unchanged} unchanged."
        )


def _site(site_id: str) -> Site:
    try:
        return Site.objects.get(public_id=UUID(site_id))
    except (ValueError, Site.DoesNotExist):
        raise CommandError(f"There is no site {site_id}. Its UUID is in the address of its pages.") from None


def _text(file: str | None) -> str:
    try:
        return sys.stdin.read() if file is None else Path(file).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CommandError(f"{file or 'Standard input'} is not UTF-8.") from error
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}.") from error
