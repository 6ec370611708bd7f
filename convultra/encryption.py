"""Every encrypted value of the database read, and written again under the newest key.

A row is replaced only in a transaction that has read the new text back with the newest key alone. So a process killed
at any moment leaves every row readable with the ring, and running it again goes on where it stopped.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from cryptography.fernet import MultiFernet
from django.apps import apps
from django.db import OperationalError, models, transaction

from convultra.fields import ROW_ID, DecryptionFailed, EncryptedText, Sealed, key_ring

BATCH_ROWS = 100  # small, because the rows of a batch are locked while it is written


@dataclass
class Tally:
    """What happened to the values of one model; `failures` names each that no key opens, and why."""

    label: str
    read: int = 0
    written: int = 0
    failures: list[str] = field(default_factory=list)


def encrypted_columns(model: type[models.Model]) -> list[EncryptedText]:
    """Return the encrypted columns of the model's own table."""
    return [column for column in model._meta.local_fields if isinstance(column, EncryptedText)]


def encrypted_models() -> list[type[models.Model]]:
    """Return the models that have encrypted columns."""
    return [model for model in apps.get_models() if encrypted_columns(model)]


def verify(model: type[models.Model], newest_only: bool = False) -> Tally:
    """Read every value with the ring, or with its newest key alone. Writes nothing."""
    tally, ring, after = Tally(model._meta.label), key_ring(newest_only), None
    while rows := list(_rows_after(model, after)[:BATCH_ROWS]):
        for row, column, sealed in _values(rows):
            tally.read += 1
            try:
                column.unseal(sealed, row, ring)
            except DecryptionFailed as error:
                tally.failures.append(str(error))
        after = rows[-1].pk
    return tally


def why_unreadable() -> str:
    """Return why the newest row of some model cannot be read, empty when all can: asked before a process starts.

    With a wrong key nothing could be sent, and it is better said at once than by a thousand held conversions. A
    database that is away is another trouble, and none to stay down for.
    """
    for model in encrypted_models():
        try:
            newest = _rows_after(model, None).order_by("-pk").first()
        except OperationalError:
            return ""
        for row, column, sealed in _values([newest] if newest else []):
            try:
                column.unseal(sealed, row, key_ring())
            except DecryptionFailed as error:
                return f"{error} FIELD_ENCRYPTION_KEYS must hold the key that the database was written with."
    return ""


def reencrypt(model: type[models.Model]) -> Tally:
    """Write every value that the newest key does not open again under it. What no key opens stays as it is."""
    tally, after = Tally(model._meta.label), None
    while True:
        with transaction.atomic():
            rows = list(_rows_after(model, after).select_for_update()[:BATCH_ROWS])
            for row, column, sealed in _values(rows):
                tally.read += 1
                try:
                    tally.written += _renew(row, column, sealed)
                except DecryptionFailed as error:
                    tally.failures.append(str(error))
        if not rows:
            return tally
        after = rows[-1].pk


def _rows_after(model: type[models.Model], pk: object) -> models.QuerySet[models.Model]:
    rows = model._base_manager.only(ROW_ID, *(column.name for column in encrypted_columns(model))).order_by("pk")
    return rows if pk is None else rows.filter(pk__gt=pk)


def _values(rows: Iterable[models.Model]) -> Iterator[tuple[models.Model, EncryptedText, Sealed]]:
    """Yield what is stored without opening it; None and "" are no values."""
    for row in rows:
        for column in encrypted_columns(type(row)):
            if isinstance(sealed := row.__dict__[column.attname], Sealed):
                yield row, column, sealed


def _renew(row: models.Model, column: EncryptedText, sealed: Sealed) -> bool:
    """Bring one value under the newest key; return whether that took a write."""
    newest = key_ring(newest_only=True)
    if _opens(newest, row, column, sealed):
        return False
    value = column.unseal(sealed, row, key_ring())
    rows = type(row)._base_manager.filter(pk=row.pk)
    rows.update(**{column.name: column.seal(value, row)})
    if not _opens(newest, row, column, rows.values_list(column.name, flat=True).get()):
        raise RuntimeError(f"{row._meta.label} {row.pk}: {column.name} was not stored as written; the batch is undone.")
    return True


def _opens(ring: MultiFernet, row: models.Model, column: EncryptedText, sealed: Sealed) -> bool:
    try:
        column.unseal(sealed, row, ring)
    except DecryptionFailed:
        return False
    return True
