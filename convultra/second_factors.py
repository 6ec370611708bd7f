"""The secrets of two-step sign-in, encrypted: allauth keeps them in a JSON column, so they are not `EncryptedText`.

An authenticator app's secret and the seed of recovery codes. Both are sealed under the newest of
FIELD_ENCRYPTION_KEYS, and read and renewed by the commands that do so for every other secret.
"""

from collections.abc import Iterator

from cryptography.fernet import InvalidToken
from django.apps import apps
from django.db import models, transaction

from convultra.encryption import BATCH_ROWS, Tally
from convultra.fields import DecryptionFailed, key_ring

MODEL = "mfa.Authenticator"
COLUMN = "data"
SECRETS = ("secret", "seed")


def seal(text: str) -> str:
    """Encrypt a secret under the newest key."""
    return key_ring().encrypt(text.encode()).decode()


def unseal(sealed: str, pk: object = "", newest_only: bool = False) -> str:
    """Decrypt a secret; raises DecryptionFailed when no key opens it."""
    try:
        return key_ring(newest_only).decrypt(sealed).decode()
    except (InvalidToken, ValueError):
        raise DecryptionFailed(MODEL, COLUMN, pk, "it was changed, or encrypted under another key") from None


def verify(newest_only: bool = False) -> Tally:
    """Read every secret with the ring, or with its newest key alone. Writes nothing."""
    tally = Tally(MODEL)
    for row in _rows().order_by("pk").iterator(BATCH_ROWS):
        for _name, sealed in _sealed(row):
            tally.read += 1
            try:
                unseal(sealed, row.pk, newest_only)
            except DecryptionFailed as error:
                tally.failures.append(str(error))
    return tally


def reencrypt() -> Tally:
    """Write every secret that the newest key does not open again under it. What no key opens stays as it is."""
    tally = Tally(MODEL)
    for pk in list(_rows().order_by("pk").values_list("pk", flat=True)):
        with transaction.atomic():
            row = _rows().select_for_update().filter(pk=pk).first()
            if row is not None:
                _renew(row, tally)
    return tally


def _renew(row: models.Model, tally: Tally) -> None:
    for name, sealed in list(_sealed(row)):
        tally.read += 1
        try:
            unseal(sealed, row.pk, newest_only=True)
        except DecryptionFailed:
            try:
                row.data[name] = seal(unseal(sealed, row.pk))  # type: ignore[attr-defined]
            except DecryptionFailed as error:
                tally.failures.append(str(error))
                continue
            row.save(update_fields=[COLUMN])
            tally.written += 1


def _sealed(row: models.Model) -> Iterator[tuple[str, str]]:
    data: dict[str, str] = row.data  # type: ignore[attr-defined]
    yield from ((name, data[name]) for name in SECRETS if name in data)


def _rows() -> models.QuerySet[models.Model]:
    model: type[models.Model] = apps.get_model(MODEL)
    return model._base_manager.all()
