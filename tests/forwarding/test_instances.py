"""Rows made by the thousand are the rows that Django makes."""

from typing import Any

from django.db.models import Model

from forwarding.models import Delivery
from forwarding.rows.instances import defaults_of, new_row, stored_row
from ingest.models import Event
from tests.cast import NOON, CastTestCase, store_event


def columns(row: Model) -> dict[str, Any]:
    return {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}


class TestNewRow(CastTestCase):
    def test_it_has_the_columns_and_relations_that_the_constructor_gives(self) -> None:
        event = store_event(self.site)
        django = Delivery(account=self.account, event=event, goal=None, created_at=NOON)
        ours = new_row(Delivery, defaults_of(Delivery), account=self.account, event=event, goal=None)
        ours.created_at, ours.public_id = NOON, django.public_id
        self.assertEqual(columns(ours), columns(django))
        with self.assertNumQueries(0):
            self.assertEqual((ours.account, ours.event, ours.goal), (self.account, event, None))

    def test_it_can_be_saved(self) -> None:
        row = new_row(Delivery, defaults_of(Delivery), account=self.account, event=store_event(self.site), goal=None)
        row.created_at = row.changed_at = NOON
        row.save()
        self.assertEqual(Delivery.objects.get(), row)

    def test_two_of_them_share_nothing(self) -> None:
        event, other = store_event(self.site), store_event(self.site)
        first, second = (
            new_row(Delivery, defaults_of(Delivery), account=self.account, event=event) for event in (event, other)
        )
        second.goal_name = "Purchase"
        self.assertEqual((first.goal_name, first.event, second.event), ("", event, other))


class TestStoredRow(CastTestCase):
    def test_it_is_the_row_of_the_database(self) -> None:
        event = store_event(self.site)
        row = stored_row(Event, {"id": event.pk, "name": "purchase", "site_id": self.site.pk}, "default")
        self.assertEqual((row, row.site), (event, self.site))

    def test_what_was_not_read_is_read_when_it_is_asked_for(self) -> None:
        event = store_event(self.site, transaction_id="HP-1")
        row = stored_row(Event, {"id": event.pk}, "default")
        with self.assertNumQueries(1):
            self.assertEqual(row.transaction_id, "HP-1")
