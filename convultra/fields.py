"""The one kind of column that holds secrets.

django-encrypted-model-fields encrypts, but forgives what must not be forgiven: a wrong key, a changed or plain text,
an expression, a ciphertext moved to another row. `EncryptedText` refuses each of these. What is encrypted is a small
JSON document naming the row and the column it belongs to, and it is opened only when an attribute is read, because
only then is the row at hand:

    database text --from_db_value--> Sealed --attribute read--> str
    str --save(), create(), bulk_create()--> Ciphertext --> database text

None is stored as NULL and "" as "": both say that there is no secret.
"""

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import FieldError
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.lookups import IsNull, Lookup
from django.db.models.query_utils import DeferredAttribute
from django.db.models.sql.compiler import SQLCompiler

if TYPE_CHECKING:
    # The library is untyped; to a type checker the column is the text column that it extends.
    EncryptedTextField = models.TextField[str, str]
else:
    from encrypted_model_fields.fields import EncryptedTextField


ROW_ID = "public_id"


class DecryptionFailed(Exception):  # noqa: N818
    """A stored secret cannot be read: wrong key, changed, plain, or of another row. Never carries the text itself."""

    def __init__(self, model: str, field: str, pk: object, reason: str) -> None:
        super().__init__(f"{model} {pk}: {field} cannot be read, {reason}.")
        self.model = model
        self.field = field
        self.pk = pk


def key_ring(newest_only: bool = False) -> MultiFernet:
    """Return the keys of FIELD_ENCRYPTION_KEY: the first encrypts, all decrypt. Read when used, so a key can change."""
    keys: str | Sequence[str] = settings.FIELD_ENCRYPTION_KEY
    keys = [keys] if isinstance(keys, str) else keys
    return MultiFernet([Fernet(key) for key in keys[: 1 if newest_only else None]])


@dataclass(frozen=True, slots=True)
class Sealed:
    """A stored secret whose row is not at hand: what `values()` gives. It shows nothing and refuses to become text."""

    text: str = field(repr=False)

    def __str__(self) -> NoReturn:
        raise TypeError("An encrypted value is read from its model instance, not through values() or values_list().")


class Ciphertext(str):
    """A secret already encrypted for the row it is about to be written to."""

    __slots__ = ()


class _UnsealedAttribute(DeferredAttribute):
    """Opens the secret on each read: what a query loaded stays sealed. `__set__` is what puts it before `__dict__`."""

    field: "EncryptedText"

    def __get__(self, instance: models.Model | None, cls: type[models.Model] | None = None) -> object:
        value = super().__get__(instance, cls)
        if instance is None or not isinstance(value, Sealed):
            return value
        return self.field.unseal(value, instance, key_ring())

    def __set__(self, instance: models.Model, value: object) -> None:
        instance.__dict__[self.field.attname] = value


class EncryptedText(EncryptedTextField):
    """A text encrypted at rest and bound to its row's `public_id`, a UUID made before the row is inserted.

    Reading raises DecryptionFailed. Writing needs the instance: `update()` with a text or an expression and
    `bulk_update()` raise TypeError before anything is written, None and "" excepted. Lookups but `isnull` and every
    kind of export raise; no form shows it. Renaming the model, the column or `public_id` orphans stored values.
    """

    descriptor_class = _UnsealedAttribute

    def contribute_to_class(self, cls: type[models.Model], name: str, private_only: bool = False) -> None:
        super().contribute_to_class(cls, name, private_only)
        self.editable = False  # or a form would put the secret into its initial values

    def seal(self, value: str, instance: models.Model) -> Ciphertext:
        """Encrypt `value` for this column of `instance` under the newest key."""
        document = json.dumps({**self._address(instance), "value": value})
        return Ciphertext(key_ring().encrypt(document.encode()).decode())

    def unseal(self, sealed: Sealed, instance: models.Model, ring: MultiFernet) -> str:
        """Decrypt what this column of `instance` holds, or raise DecryptionFailed."""
        try:
            document = json.loads(ring.decrypt(sealed.text))
        except (InvalidToken, ValueError):
            reason = "it was changed, stored plain, or encrypted under another key"
            raise DecryptionFailed(self.model._meta.label, self.name, instance.pk, reason) from None
        value = document.pop("value", None) if isinstance(document, dict) else None
        if not isinstance(value, str) or document != self._address(instance):
            raise DecryptionFailed(self.model._meta.label, self.name, instance.pk, "it was encrypted for another row")
        return value

    def _address(self, instance: models.Model) -> dict[str, str]:
        row_id = uuid.UUID(str(getattr(instance, ROW_ID)))
        return {"row": f"{self.model._meta.label}:{row_id}", "field": self.name}

    def from_db_value(self, value: str | None, *_: object) -> Sealed | str | None:
        return Sealed(value) if value else value

    def to_python(self, value: str | None) -> str | None:
        """Return `value` as it is. A text that looks encrypted stays one: a form must not become a way to decrypt."""
        return value

    def pre_save(self, instance: models.Model, add: bool) -> str | None:
        value = super().pre_save(instance, add)
        return self.seal(value, instance) if value and isinstance(value, str) else value

    def get_db_prep_save(self, value: object, connection: BaseDatabaseWrapper) -> str | None:  # noqa: ARG002
        if value is None or value == "" or isinstance(value, Ciphertext):
            return value if value is None else str(value)
        raise TypeError(
            f"{self.model._meta.label}.{self.name} is encrypted for one row: set it on an instance and call "
            f'save(update_fields=["{self.name}"]). update() and bulk_update() cannot write it.'
        )

    def get_placeholder(self, value: object, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> str:  # noqa: ARG002
        # An upsert that met an old row would leave that row's id beside a secret sealed for the new one.
        overwritten: list[models.Field[object, object]] = getattr(compiler.query, "update_fields", [])
        matched: list[models.Field[object, object]] = getattr(compiler.query, "unique_fields", [])
        if self in overwritten and ROW_ID not in {column.name for column in (*overwritten, *matched)}:
            raise TypeError(f"{self.model._meta.label}.{self.name} is encrypted: upsert by {ROW_ID}, or write it too.")
        return "%s"

    def get_lookup(self, lookup_name: str) -> type[Lookup] | None:
        if lookup_name == "isnull":
            return IsNull
        raise FieldError(f"{self.model._meta.label}.{self.name} is encrypted and cannot be searched or compared.")

    def value_to_string(self, obj: models.Model) -> NoReturn:  # noqa: ARG002
        raise TypeError(f"{self.model._meta.label}.{self.name} is encrypted and is never exported; exclude the model.")

    def formfield(self, *_: object, **__: object) -> None:
        """Return None: a form, the admin's included, has no such field."""
