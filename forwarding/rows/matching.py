"""Looking up many rows at once by several columns together.

All keys travel as one JSON parameter that the database takes apart, and each is looked up in an index over the columns.
Two lists, one for each column, would ask for every combination of their members, and with long ones neither database
sees any more that an index with a condition would do.
"""

from collections.abc import Iterable, Sequence

import msgspec
from django.db import connection
from django.db.models import ForeignKey, Model
from django.db.models.expressions import RawSQL

from forwarding.models import Delivery


def matching(
    model: type[Model], columns: Sequence[str], keys: Iterable[tuple[int | str, ...]], condition: str = "true"
) -> RawSQL:
    """Return the right side of `pk__in`: the rows whose columns, in this order, are one of the keys.

    Foreign keys are named by their column, such as `site_id`; all other columns have to be text. `condition` is the
    index's own, in SQL and word for word, which tells the database that the index has all that is asked for.
    """
    is_postgresql = connection.vendor == "postgresql"
    source = "jsonb_array_elements(%s::jsonb) AS wanted(key)" if is_postgresql else "json_each(%s) AS wanted"
    member = _of_jsonb if is_postgresql else _of_json1
    equal = " AND ".join(f"its.{column} = {member(model, column, place)}" for place, column in enumerate(columns))
    # SQLite takes CROSS JOIN as an order: first the keys, then the index for each. PostgreSQL judges for itself.
    rows = f"SELECT its.id FROM {source} CROSS JOIN {model._meta.db_table} AS its WHERE {equal} AND {condition}"  # noqa: S608  # names of ours, no input
    return RawSQL(rows, [msgspec.json.encode(set(keys)).decode()])  # noqa: S611


def of_orders(orders: Iterable[tuple[int, str]]) -> RawSQL:
    """Return the right side of `pk__in`: the deliveries of these orders, each an account and a transaction id."""
    return matching(Delivery, ("account_id", "transaction_id"), orders, "NOT (transaction_id = '')")


def _of_jsonb(model: type[Model], column: str, place: int) -> str:
    is_key = isinstance(model._meta.get_field(column), ForeignKey)
    return f"(wanted.key->>{place})::bigint" if is_key else f"wanted.key->>{place}"


def _of_json1(_model: type[Model], _column: str, place: int) -> str:
    return f"json_extract(wanted.value, '$[{place}]')"
