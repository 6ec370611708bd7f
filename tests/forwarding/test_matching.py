"""Rows are found by several columns together, many at once, and by an index."""

from django.db import connection
from django.db.models import QuerySet

from forwarding.models import Delivery
from forwarding.planning.planner import plan_all
from forwarding.rows.matching import matching, of_orders
from ingest.models import Event
from tests.cast import NOON, CastTestCase, make_site, store_event


def of_these_orders(*keys: tuple[int | str, ...]) -> QuerySet[Event]:
    return Event.objects.filter(pk__in=matching(Event, ("site_id", "transaction_id"), keys))


class TestMatching(CastTestCase):
    def test_a_row_matches_by_all_columns_of_one_key(self) -> None:
        other = make_site("Other", self.charlie)
        ours, theirs = store_event(self.site, transaction_id="A"), store_event(other, transaction_id="B")
        store_event(self.site, transaction_id="B")
        store_event(other, transaction_id="A")
        found = of_these_orders((self.site.pk, "A"), (other.pk, "B"), (self.site.pk, "C"))
        self.assertEqual(set(found), {ours, theirs})

    def test_no_key_matches_nothing(self) -> None:
        store_event(self.site, transaction_id="A")
        self.assertFalse(of_these_orders().exists())

    def test_text_is_taken_as_it_is(self) -> None:
        for text in ("1", "\"'%s", "ключ", "a\\nb", "[]"):
            with self.subTest(text):
                event = store_event(self.site, transaction_id=text)
                self.assertEqual(of_these_orders((self.site.pk, text)).get(), event)

    def test_each_key_is_looked_up_in_the_index_that_has_the_condition(self) -> None:
        store_event(self.site, transaction_id="HP-1")
        plan_all(NOON)
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL enable_seqscan = off")  # so few rows are read whole, were it not forbidden
        orders = {(self.account.pk, f"HP-{number}") for number in range(300)}
        self.assertIn("delivery_by_transaction", Delivery.objects.filter(pk__in=of_orders(orders)).explain())
