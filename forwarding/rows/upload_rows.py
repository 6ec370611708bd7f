"""The deliveries of an upload as sending and marking need them: a thousand whole model instances cost more than the
call that carries them.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import CharField, Func
from django.db.models.expressions import RawSQL
from django.db.models.sql.compiler import SQLCompiler

from forwarding.models import Delivery, Kind, Upload


class UploadRow(NamedTuple):
    """Columns of one delivery, as they were when it was read."""

    pk: int
    account_id: int
    kind: str
    original_id: int | None
    adjustment_time: str
    goal_id: int | None
    goal_name: str
    conversion_time: str
    msclkid: str
    email_sha256: str
    phone_sha256: str
    value: Decimal | None
    currency: str
    status: str
    attempts: int
    error_code: int | None
    error_symbol: str
    is_test: bool
    event_name: str
    day: str  # of `created_at`, in UTC: a thousand moments cost three times as much as all other columns together

    @property
    def is_sent_once(self) -> bool:
        """Say whether it is a test conversion, never tried again. What takes it back is, like any correction."""
        return self.is_test and self.kind == Kind.CONVERSION

    @property
    def skip_reason(self) -> str:
        """Nothing: what is skipped is in no upload."""
        return ""


class _Day(Func):
    """The day of a moment in UTC, such as `2026-11-22`."""

    template = "to_char(%(expressions)s AT TIME ZONE 'UTC', 'YYYY-MM-DD')"
    output_field = CharField()

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any
    ) -> tuple[str, tuple[str | int, ...]]:
        """Cut it from the text that Django keeps."""
        return self.as_sql(compiler, connection, template="substr(%(expressions)s, 1, 10)", **context)


def rows_of(upload: Upload) -> list[UploadRow]:
    """Read the upload's deliveries in the order in which they are sent."""
    *columns, _event_name, _day = UploadRow._fields
    rows = Delivery.objects.filter(pk__in=among(upload.delivery_ids)).values_list(
        *columns, "event__name", _Day("created_at")
    )
    by_pk = {row[0]: UploadRow(*row) for row in rows}
    return [by_pk[pk] for pk in upload.delivery_ids]


def among(pks: Sequence[int]) -> RawSQL:
    """Return the right side of `pk__in` for many keys: one parameter instead of one each."""
    listed = ",".join(map(str, pks))
    if connection.vendor == "postgresql":
        return RawSQL("SELECT unnest(%s::bigint[])", [f"{{{listed}}}"])
    return RawSQL("SELECT value FROM json_each(%s)", [f"[{listed}]"])
