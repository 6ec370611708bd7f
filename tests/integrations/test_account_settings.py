"""Switching forwarding off and on, and an account's settings."""

from forwarding.errors import words_of
from forwarding.models import Delivery, Operation, Status
from forwarding.planning.planner import plan_all
from forwarding.sending.claims import accounts_to_serve, claim
from ingest.models import AuditEntry
from integrations.account_settings import change_settings, pause, resume
from integrations.connecting import remove_account
from tests.cast import NOON, CastTestCase, store_event


class TestPause(CastTestCase):
    def plan_one(self) -> Delivery:
        event = store_event(self.site)
        plan_all(NOON)
        return event.deliveries.get()

    def test_what_comes_while_paused_is_kept_as_pending(self) -> None:
        pause(self.account, self.alice, NOON)
        self.assertEqual(self.plan_one().status, Status.PENDING)

    def test_nothing_is_sent_while_paused(self) -> None:
        self.plan_one()
        pause(self.account, self.alice, NOON)
        self.assertEqual(accounts_to_serve(NOON), [])
        self.assertIsNone(claim(self.account.pk, Operation.CONVERSIONS, NOON))

    def test_it_is_sent_after_resuming(self) -> None:
        pause(self.account, self.alice, NOON)
        delivery = self.plan_one()
        Delivery.objects.update(next_attempt_at=delivery.created_at.replace(year=2025))
        resume(self.account, self.alice, NOON)
        self.assertEqual(accounts_to_serve(NOON), [self.account.pk])
        upload = claim(self.account.pk, Operation.CONVERSIONS, NOON)
        assert upload is not None
        self.assertEqual(upload.delivery_ids, [delivery.pk])

    def test_a_waiting_conversion_says_that_the_account_is_paused(self) -> None:
        pause(self.account, self.alice, NOON)
        words = words_of(self.plan_one())
        assert words is not None
        self.assertEqual(words.title, "Forwarding is paused")

    def test_pausing_twice_keeps_the_first_moment(self) -> None:
        pause(self.account, self.alice, NOON)
        pause(self.account, self.alice, NOON.replace(hour=13))
        self.account.refresh_from_db()
        self.assertEqual(self.account.paused_at, NOON)


class TestRemoval(CastTestCase):
    def test_a_waiting_conversion_says_that_the_account_was_removed(self) -> None:
        event = store_event(self.site)
        plan_all(NOON)
        remove_account(self.account, self.alice, NOON)
        words = words_of(event.deliveries.get())
        assert words is not None
        self.assertEqual(words.title, "Account was removed")


class TestSettings(CastTestCase):
    def test_they_are_saved(self) -> None:
        change_settings(self.account, {"uet_tag_id": "343118260", "enhanced_conversions": True}, self.alice, NOON)
        self.account.refresh_from_db()
        self.assertEqual((self.account.uet_tag_id, self.account.enhanced_conversions), ("343118260", True))

    def test_who_changed_what_from_what_is_kept(self) -> None:
        change_settings(self.account, {"restates_from_backend": False, "uet_tag_id": ""}, self.alice, NOON)
        entry = AuditEntry.objects.get()
        self.assertEqual((entry.actor, entry.action, entry.site), (self.alice, "account.settings", self.site))
        self.assertEqual(entry.details, {"restates_from_backend": [True, False]})

    def test_saving_the_same_again_changes_nothing(self) -> None:
        same: dict[str, str | bool] = {"uet_tag_id": "", "enhanced_conversions": False}
        self.assertFalse(change_settings(self.account, same, self.alice, NOON))
        self.assertFalse(AuditEntry.objects.exists())
