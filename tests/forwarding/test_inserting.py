"""A batch of deliveries is stored exactly as Django would store it row by row."""

import copy
from datetime import UTC, datetime
from typing import Any

from django.db import IntegrityError, connection, models, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import django as hypothesis

from forwarding.models import Delivery, Skip, Status, Upload
from forwarding.rows.inserting import insert_deliveries
from ingest.models import Event
from integrations.models import AdAccount
from tests.cast import NOON, CastTestCase, store_event

COLUMNS = [field for field in Delivery._meta.concrete_fields if not field.primary_key]
# What no column takes: PostgreSQL has no NUL in text, and half of a surrogate pair is no text at all.
TEXT = st.characters(exclude_characters="\0", exclude_categories=["Cs"])


def anything(field: Any) -> st.SearchStrategy[Any]:
    """Return values that the column can hold, its default often."""
    kind = field.get_internal_type()
    if kind == "CharField" and field.choices:
        values: st.SearchStrategy[Any] = st.sampled_from([value for value, _ in field.choices])
    elif kind == "CharField":
        values = st.text(TEXT, max_size=field.max_length)
    elif kind == "DecimalField":
        values = st.decimals(-(10**11), 10**11, allow_nan=False, places=field.decimal_places)
    elif kind == "DateTimeField":
        values = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
    elif kind == "UUIDField":
        return st.uuids()
    elif kind == "BooleanField":
        values = st.booleans()
    else:
        values = st.integers(0, 2**31 - 1)
    usual = [st.just(field.get_default())] if field.has_default() else [st.none()] if field.null else []
    return st.one_of(*usual, values)


def deliveries(account: AdAccount, event: Event, **foreign: Any) -> st.SearchStrategy[Delivery]:
    """Return unsaved deliveries of an event with anything in every column; other foreign keys are empty or as given."""
    columns = {field.attname: anything(field) for field in COLUMNS if not isinstance(field, models.ForeignKey)}
    keys = {name: st.sampled_from([None, row]) for name, row in foreign.items()}
    return st.builds(Delivery, account=st.just(account), event=st.just(event), **columns, **keys)


def stored() -> list[tuple[object, ...]]:
    """Return the rows as the database keeps them, their types too where a column does not fix them, but for the key."""
    names = ", ".join(field.attname for field in COLUMNS)
    if connection.vendor == "sqlite":
        names += "".join(f", typeof({field.attname})" for field in COLUMNS)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {names} FROM forwarding_delivery ORDER BY id")  # noqa: S608  # names of ours
        return list(cursor.fetchall())


class TestAnyRow(hypothesis.TestCase, CastTestCase):
    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(data=st.data())
    def test_it_is_stored_as_bulk_create_stores_it(self, data: st.DataObject) -> None:
        upload = Upload.objects.create(
            account=self.account, operation="conversions", delivery_ids=[], started_at=NOON, leased_until=NOON
        )
        row = deliveries(self.account, store_event(self.site), goal=self.goal, last_upload=upload)
        rows = data.draw(st.lists(row, max_size=5, unique_by=(lambda row: row.public_id, lambda row: row.dedupe_key)))
        insert_deliveries(copy.deepcopy(rows))
        ours = stored()
        Delivery.objects.all().delete()
        Delivery.objects.bulk_create(rows)
        self.assertEqual(ours, stored())


class TestInserting(CastTestCase):
    def row(self, **fields: Any) -> Delivery:
        given: dict[str, Any] = {"dedupe_key": "1:t:A", "created_at": NOON, "changed_at": NOON}
        return Delivery(account=self.account, event=self.event, **(given | fields))

    def setUp(self) -> None:
        self.event = store_event(self.site)

    def test_each_row_gets_its_own_key(self) -> None:
        rows = [self.row(dedupe_key=f"1:t:{number}") for number in range(50)]
        insert_deliveries(rows)
        stored_keys = dict(Delivery.objects.values_list("pk", "dedupe_key"))
        self.assertEqual(stored_keys, {row.pk: row.dedupe_key for row in rows})

    def test_a_row_is_stored_from_then_on(self) -> None:
        row = self.row()
        insert_deliveries([row])
        row.goal_name = "Purchase"
        row.save()
        self.assertEqual(Delivery.objects.get().goal_name, "Purchase")

    def test_rows_may_point_to_rows_that_were_there(self) -> None:
        original = self.row()
        insert_deliveries([original])
        other = self.row(dedupe_key="skip:x", original=original, status=Status.SKIPPED, skip_reason=Skip.SAME_ORDER)
        insert_deliveries([other])
        self.assertEqual(Delivery.objects.get(pk=other.pk).original, original)

    def test_a_key_that_is_taken_stores_nothing(self) -> None:
        with self.assertRaises(IntegrityError), transaction.atomic():
            insert_deliveries([self.row(dedupe_key="1:t:B"), self.row(), self.row()])
        self.assertFalse(Delivery.objects.exists())

    def test_a_batch_is_one_statement_and_none_is_none(self) -> None:
        with self.assertNumQueries(1):
            insert_deliveries([self.row(dedupe_key=f"1:t:{number}") for number in range(1000)])
        with self.assertNumQueries(0):
            insert_deliveries([])
