from django.core.management.base import BaseCommand, CommandError, CommandParser

from convultra import second_factors
from convultra.encryption import encrypted_models, verify


class Command(BaseCommand):
    """Read every stored secret; exit 1 and name the rows when some do not decrypt."""

    help = "Check that FIELD_ENCRYPTION_KEYS opens every stored secret."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--newest-only", action="store_true", help="use the first key alone: what would remain without the others"
        )

    def handle(self, *_: object, newest_only: bool, **__: object) -> None:
        unreadable = 0
        tallies = [verify(model, newest_only) for model in encrypted_models()]
        for tally in [*tallies, second_factors.verify(newest_only)]:
            for failure in tally.failures:
                self.stderr.write(failure)
            unreadable += len(tally.failures)
            self.stdout.write(f"{tally.label}: {tally.read} read, {len(tally.failures)} unreadable.")
        if unreadable:
            raise CommandError(f"{unreadable} cannot be read.")
