"""The deliveries of an upload as sending and marking need them: a thousand whole model instances cost more than the
call that carries them.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from django.db import connection
from django.db.models.expressions import RawSQL

from forwarding.models import Delivery, Upload


class UploadRow(NamedTuple):
    """Columns of one delivery, as they were when it was read."""

    pk: int
    account_id: int
    kind: str
    original_id: int | None
    adjustment_time: str
    goal_name: str
    conversion_time: str
    msclkid: str
    email_sha256: str
    phone_sha256: str
    value: Decimal | None
    currency: str
    status: str
    attempts: int
    created_at: datetime
    error_code: int | None
    error_symbol: str

    @property
    def skip_reason(self) -> str:
        """Nothing: what is skipped is in no upload."""
        return ""


def rows_of(upload: Upload) -> list[UploadRow]:
    """Read the upload's deliveries in the order in which they are sent."""
    rows = Delivery.objects.filter(pk__in=among(upload.delivery_ids)).values_list(*UploadRow._fields)
    by_pk = {row[0]: UploadRow(*row) for row in rows}
    return [by_pk[pk] for pk in upload.delivery_ids]


def among(pks: Sequence[int]) -> RawSQL:
    """Return the right side of `pk__in` for many keys: one parameter instead of one each."""
    if connection.vendor == "postgresql":
        return RawSQL("SELECT unnest(%s::bigint[])", [list(pks)])
    return RawSQL("SELECT value FROM json_each(%s)", [json.dumps(list(pks))])
