"""What people change is kept for their organisation to read."""

import uuid
from decimal import Decimal

from ingest import audit
from ingest.models import AuditEntry
from tests.cast import NOON, CastTestCase


class AuditTests(CastTestCase):
    def test_it_keeps_who_did_what_to_what_and_when(self) -> None:
        entry = audit.record(
            self.alice,
            "delivery.retract",
            organisation=self.site.organisation,
            site=self.site,
            target="Order 1042",
            details={"value": ["79.99", None]},
            now=NOON,
        )
        entry.refresh_from_db()
        self.assertEqual((entry.actor, entry.actor_name), (self.alice, "alice@example.com"))
        self.assertEqual((entry.action, entry.target, entry.created_at), ("delivery.retract", "Order 1042", NOON))
        self.assertEqual((entry.organisation, entry.site), (self.site.organisation, self.site))
        self.assertEqual(entry.details, {"value": ["79.99", None]})

    def test_what_nobody_signed_in_did_is_the_servers(self) -> None:
        entry = audit.record(None, "site.add", organisation=self.site.organisation, now=NOON)
        self.assertEqual((entry.actor, entry.actor_name, entry.site, entry.details), (None, "Convultra", None, {}))

    def test_what_json_does_not_know_becomes_text(self) -> None:
        some_id = uuid.uuid4()
        details = {"value": Decimal("5.000"), "at": NOON, "ids": [some_id], "whole": 3}
        entry = audit.record(self.alice, "x.y", organisation=self.site.organisation, details=details, now=NOON)
        kept = {"value": "5.000", "at": "2026-11-21 12:00:00+00:00", "ids": [str(some_id)], "whole": 3}
        self.assertEqual(entry.details, kept)
        self.assertEqual(AuditEntry.objects.get().details, kept)

    def test_long_names_are_cut_where_their_column_ends(self) -> None:
        self.alice.email, self.alice.username = "", "a" * 300
        entry = audit.record(self.alice, "x.y", organisation=self.site.organisation, target="t" * 300, now=NOON)
        self.assertEqual((len(entry.actor_name), len(entry.target)), (254, 200))

    def test_it_outlives_the_person_and_the_site(self) -> None:
        audit.record(self.bob, "x.y", organisation=self.site.organisation, site=self.site, now=NOON)
        self.bob.delete()
        self.account.delete()
        self.site.connections.all().delete()
        self.site.delete()
        entry = AuditEntry.objects.get()
        self.assertEqual((entry.actor, entry.actor_name, entry.site), (None, "bob@example.com", None))
