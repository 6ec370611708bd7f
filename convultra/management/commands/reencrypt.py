from django.core.management.base import BaseCommand, CommandError

from convultra import second_factors
from convultra.encryption import encrypted_models, reencrypt


class Command(BaseCommand):
    """Bring every stored secret under the newest key; exit 1 when some could not be read and were left as they are."""

    help = "Encrypt every stored secret under the first of FIELD_ENCRYPTION_KEYS. May be stopped and run again."

    def handle(self, *_: object, **__: object) -> None:
        unreadable = 0
        for tally in [*map(reencrypt, encrypted_models()), second_factors.reencrypt()]:
            for failure in tally.failures:
                self.stderr.write(failure)
            unreadable += len(tally.failures)
            self.stdout.write(
                f"{tally.label}: {tally.read} read, {tally.written} encrypted again, {len(tally.failures)} unreadable."
            )
        if unreadable:
            raise CommandError(f"{unreadable} left as they were: keep the old keys, or connect these again.")
