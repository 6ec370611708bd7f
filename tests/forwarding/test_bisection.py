"""One row for which Microsoft refuses the whole batch is found, and the others go on."""

from collections.abc import Collection

from forwarding.models import Attempt, Delivery, Hold, Status
from integrations.microsoft_ads.errors import Fault, MicrosoftAdsError, WhatToDo
from tests.forwarding.backlog import BacklogTestCase, Rule

REFUSED = Fault("Bad date", what_to_do=WhatToDo.REFUSE, code=113, http_status=400)
INTERNAL_ERROR = Fault("?", what_to_do=WhatToDo.RETRY, code=0, symbol="InternalError", outcome_unknown=True)
NEVER_SEEN = Fault("?", what_to_do=WhatToDo.UNKNOWN, code=987_654, symbol="NeverSeen", outcome_unknown=True)


def spoiling(error: MicrosoftAdsError, *rows: int) -> Rule:
    """Return a Microsoft that fails every call with one of these rows in it."""

    def rule(sent: Collection[int]) -> MicrosoftAdsError | None:
        return error if set(rows) & set(sent) else None

    return rule


class TestRefusedWhole(BacklogTestCase):
    def test_one_in_a_thousand_is_found_within_21_calls_wherever_it_lies(self) -> None:
        for place in (0, 1, 499, 500, 777, 998, 999):
            with self.subTest(place):
                Delivery.objects.all().delete()
                self.calls = 0
                rows = self.queue(1000)
                self.drain(spoiling(REFUSED, rows[place]))
                self.assertLessEqual(self.calls, 21 + 1)  # and one for what is left
                self.assertEqual(Delivery.objects.get(status=Status.FAILED).pk, rows[place])
                self.assertEqual(self.at_status(Status.DELIVERED), 999)

    def test_with_a_queue_behind_it_nobody_else_is_slowed(self) -> None:
        rows = self.queue(3000)
        self.drain(spoiling(REFUSED, rows[999]))
        self.assertEqual(self.at_status(Status.DELIVERED), 2999)
        found = len(self.sizes) - self.sizes[::-1].index(1)
        self.assertLessEqual(found, 21)
        self.assertEqual((self.sizes[found], len(self.sizes)), (1000, found + 2))
        account = self.reloaded()
        self.assertEqual((account.batch_limit, account.limited_rows), (None, None))

    def test_a_row_that_is_gone_leaves_the_account_in_no_small_calls(self) -> None:
        rows = self.queue(1500)
        upload = self.claimed()
        assert upload is not None
        self.answer(upload, REFUSED)
        Delivery.objects.filter(pk=rows[700]).delete()
        self.drain(spoiling(REFUSED))
        self.assertEqual(self.sizes, [1000, 500, 500, 499])
        self.assertIsNone(self.reloaded().batch_limit)


class TestInternalErrors(BacklogTestCase):
    """Microsoft answers InternalError for an outage, and for an input that it does not map to a code."""

    def later(self, rule: Rule, times: int = 1) -> None:
        """Send what is due, and again as often when the waits of rows and account are over."""
        for _ in range(times):
            self.drain(rule)
            account = self.reloaded()
            waits = Delivery.objects.filter(status__in=(Status.PENDING, Status.RETRYING), hold_reason="")
            moments = [moment for moment in waits.values_list("next_attempt_at", flat=True) if moment is not None]
            self.now = max([self.now, *moments, account.held_until or self.now])

    def test_at_the_third_the_row_is_looked_for_and_set_aside_alone(self) -> None:
        rows = self.queue(100)
        self.later(spoiling(INTERNAL_ERROR, rows[50]), times=4)
        self.assertEqual(self.at_status(Status.DELIVERED), 99)
        self.assertEqual(self.sizes[:3], [100, 100, 100])
        spoiler = Delivery.objects.get(pk=rows[50])
        self.assertEqual((spoiler.hold_reason, spoiler.error_code), (Hold.OPERATOR, 0))
        self.assertLessEqual(self.calls, 3 + 25 + 4)

    def test_in_an_outage_nothing_is_set_aside_however_long_it_lasts(self) -> None:
        rows = self.queue(40)
        self.later(spoiling(INTERNAL_ERROR, *rows), times=12)
        self.assertFalse(Delivery.objects.exclude(status=Status.RETRYING, hold_reason="").exists())
        self.later(spoiling(INTERNAL_ERROR), times=3)
        self.assertEqual(self.at_status(Status.DELIVERED), 40)

    def test_whatever_was_sent_is_known_to_have_been(self) -> None:
        rows = self.queue(3)
        self.later(spoiling(INTERNAL_ERROR, rows[1]), times=3)
        self.assertEqual(set(Attempt.objects.values_list("outcome", flat=True)), {Attempt.Outcome.UNKNOWN})

    def test_a_code_of_no_page_is_tried_after_an_hour_and_then_held_alone(self) -> None:
        rows = self.queue(10)
        self.later(spoiling(NEVER_SEEN, rows[4]), times=3)
        self.assertEqual(self.at_status(Status.DELIVERED), 9)
        held = Delivery.objects.get(pk=rows[4])
        self.assertEqual((held.hold_reason, held.error_symbol), (Hold.OPERATOR, "NeverSeen"))
