"""What an answer, or no answer, does to the rows of an upload."""

import uuid
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal

from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from forwarding.models import Attempt, DailyCount, Delivery, Hold, Operation, Status, Upload
from forwarding.planning.planner import plan_all
from forwarding.rows.counts import rebuild
from forwarding.rows.upload_rows import UploadRow, rows_of
from forwarding.sending.claims import claim
from forwarding.sending.marking import record_answer, record_failure
from ingest.models import Site
from integrations.microsoft_ads.errors import Fault, MicrosoftAdsError, NoAnswer, WhatToDo
from integrations.microsoft_ads.shapes import ApplyResult, ItemError, ItemResult
from integrations.models import AdAccount, Connection
from tests.cast import NOON, CastTestCase, make_account, make_connection, store_event

NOW = NOON + timedelta(minutes=5)
ACCEPTED = ItemResult(None)
REFUSED = ItemResult(ItemError(5604, "OfflineConversionMicrosoftClickIdInvalid", "The click id is not valid."))


def answer(*items: ItemResult) -> ApplyResult:
    return ApplyResult(items, "tracking-1", 200, '{"PartialErrors": []}')


def counted() -> list[tuple[str, int, Decimal]]:
    """Return the roll-up's statuses that are not empty."""
    rows = DailyCount.objects.exclude(count=0).order_by("status")
    return list(rows.values_list("status", "count", "value"))


class MarkTestCase(CastTestCase):
    upload: Upload
    rows: list[UploadRow]

    def open(self, orders: int = 1) -> None:
        for order in range(orders):
            store_event(self.site, transaction_id=f"HP-{order}")
        plan_all(NOON)
        self.reopen()

    def reopen(self) -> None:
        upload = claim(self.account.pk, Operation.CONVERSIONS, NOW)
        assert upload is not None
        self.upload = upload
        self.rows = rows_of(upload)

    def answered(self, *items: ItemResult) -> bool:
        return record_answer(self.upload, self.rows, answer(*items), 0.4, NOW)

    def failed(self, error: MicrosoftAdsError) -> bool:
        return record_failure(self.upload, self.rows, error, 0.4, NOW)

    def statuses(self) -> Sequence[str]:
        return list(Delivery.objects.order_by("pk").values_list("status", flat=True))


class TestAnswers(MarkTestCase):
    def test_rows_that_microsoft_did_not_name_are_delivered(self) -> None:
        self.open(3)
        self.answered(ACCEPTED, REFUSED, ACCEPTED)
        self.assertEqual(self.statuses(), [Status.DELIVERED, Status.FAILED, Status.DELIVERED])
        refused = Delivery.objects.get(status=Status.FAILED)
        self.assertEqual((refused.error_code, refused.attempts), (5604, 1))

    def test_an_index_speaks_of_the_order_in_which_rows_were_sent(self) -> None:
        for order in range(3):
            store_event(self.site, transaction_id=f"HP-{order}")
        plan_all(NOON)
        for number, row in enumerate(Delivery.objects.order_by("-pk")):
            Delivery.objects.filter(pk=row.pk).update(next_attempt_at=NOON + timedelta(seconds=number))
        self.reopen()
        self.answered(REFUSED, ACCEPTED, ACCEPTED)
        self.assertEqual(self.statuses(), [Status.DELIVERED, Status.DELIVERED, Status.FAILED])

    def test_the_upload_keeps_what_support_asks_for(self) -> None:
        self.open(2)
        self.answered(ACCEPTED, REFUSED)
        upload = Upload.objects.get()
        self.assertEqual((upload.tracking_id, upload.http_status), ("tracking-1", 200))
        self.assertEqual((upload.accepted, upload.refused, upload.finished_at), (1, 1, NOW))

    def test_an_attempt_is_written_only_for_what_was_not_delivered(self) -> None:
        self.open(2)
        self.answered(ACCEPTED, REFUSED)
        attempt = Attempt.objects.get()
        self.assertEqual((attempt.delivery_id, attempt.outcome), (self.rows[1].pk, Attempt.Outcome.REFUSED))

    def test_a_late_answer_after_a_takeover_changes_nothing(self) -> None:
        self.open()
        Upload.objects.update(lease_token=uuid.uuid4())
        self.assertFalse(self.answered(ACCEPTED))
        self.assertEqual(self.statuses(), [Status.PENDING])
        self.assertIsNone(Upload.objects.get().finished_at)

    def test_the_counts_follow_and_equal_a_count_of_the_rows(self) -> None:
        self.open(3)
        self.answered(ACCEPTED, REFUSED, ACCEPTED)
        expected = [("delivered", 2, Decimal("99.8")), ("failed", 1, Decimal("49.9"))]
        self.assertEqual(counted(), expected)
        rebuild(timezone.now())
        self.assertEqual(counted(), expected)


class TestFailures(MarkTestCase):
    def test_an_unknown_outcome_sends_the_same_rows_again(self) -> None:
        self.open(2)
        self.failed(NoAnswer("No answer within 60 s.", what_to_do=WhatToDo.RETRY, outcome_unknown=True))
        self.assertEqual(self.statuses(), [Status.RETRYING] * 2)
        self.assertEqual(set(Attempt.objects.values_list("outcome", flat=True)), {Attempt.Outcome.UNKNOWN})
        self.assertEqual(Delivery.objects.values_list("next_attempt_at").distinct().count(), 1)

    def test_microsofts_own_trouble_climbs_the_ladder(self) -> None:
        self.open()
        self.failed(Fault("Internal error", what_to_do=WhatToDo.RETRY, code=0, http_status=500))
        row = Delivery.objects.get()
        self.assertEqual((row.status, row.attempts), (Status.RETRYING, 1))
        assert row.next_attempt_at is not None
        self.assertTrue(NOW < row.next_attempt_at <= NOW + timedelta(seconds=30))

    def test_a_throttle_holds_the_account_and_burns_no_attempt(self) -> None:
        self.open(2)
        self.failed(Fault("Slow down", what_to_do=WhatToDo.THROTTLE, code=117, retry_after_seconds=90))
        self.account.refresh_from_db()
        self.assertEqual(self.account.hold_reason, Hold.THROTTLED)
        assert self.account.held_until is not None
        self.assertTrue(NOW + timedelta(seconds=90) <= self.account.held_until <= NOW + timedelta(seconds=108))
        self.assertEqual(set(Delivery.objects.values_list("attempts", "status")), {(0, Status.PENDING)})

    def test_a_throttle_holds_every_account_of_the_sign_in_and_of_the_customer(self) -> None:
        self.open()
        sibling = make_account(self.site, "138204422", customer_id="1")
        elsewhere = make_account(self.site, "138204431", connection=make_connection(self.site, microsoft_user_id="7"))
        make_account(Site.objects.exclude(pk=self.site.pk).get(), "9", customer_id="2")
        self.failed(Fault("Slow down", what_to_do=WhatToDo.THROTTLE, code=117))
        held = set(AdAccount.objects.filter(hold_reason=Hold.THROTTLED))
        self.assertEqual(held, {self.account, sibling, elsewhere})

    def test_a_sign_in_that_was_renewed_meanwhile_is_not_blamed(self) -> None:
        self.open()
        Connection.objects.update(token_version=F("token_version") + 1)
        self.failed(Fault("Locked", what_to_do=WhatToDo.RECONNECT, code=108))
        self.assertEqual(Connection.objects.get().status, Connection.Status.CONNECTED)

    def test_a_dead_sign_in_waits_for_a_person_and_loses_nothing(self) -> None:
        self.open()
        self.failed(Fault("Locked", what_to_do=WhatToDo.RECONNECT, code=108))
        connection = Connection.objects.get(pk=self.account.connection_id)
        self.assertEqual(connection.status, Connection.Status.NEEDS_RECONNECT)
        self.assertEqual(self.statuses(), [Status.PENDING])

    def test_missing_access_holds_the_account_under_its_name(self) -> None:
        for what, hold in (
            (WhatToDo.PERMISSION, Hold.PERMISSION),
            (WhatToDo.ACCOUNT, Hold.ACCOUNT_INACTIVE),
            (WhatToDo.OPERATOR, Hold.OPERATOR),
            (WhatToDo.RENEW_TOKEN, Hold.OPERATOR),
        ):
            with self.subTest(what):
                AdAccount.objects.update(hold_reason="", held_until=None)
                Upload.objects.all().delete()
                if not Delivery.objects.exists():
                    self.open()
                else:
                    self.reopen()
                self.failed(Fault("No", what_to_do=what))
                self.account.refresh_from_db()
                self.assertEqual(self.account.hold_reason, hold)
                self.assertEqual(self.statuses(), [Status.PENDING])

    def test_an_answer_about_rows_releases_the_account(self) -> None:
        self.open()
        AdAccount.objects.update(hold_reason=Hold.PERMISSION, held_until=NOW)
        self.upload.account.refresh_from_db()
        self.answered(ACCEPTED)
        self.account.refresh_from_db()
        self.assertEqual((self.account.hold_reason, self.account.held_until), ("", None))

    def test_a_batch_refused_for_its_content_is_halved_and_burns_no_attempt(self) -> None:
        self.open(5)
        self.failed(Fault("Bad date", what_to_do=WhatToDo.OPERATOR, code=113, http_status=400))
        self.assertEqual(set(Delivery.objects.values_list("status", "attempts")), {(Status.PENDING, 0)})
        self.reopen()
        self.assertEqual(len(self.upload.delivery_ids), 3)

    def test_batches_are_whole_again_once_the_queue_is_empty(self) -> None:
        self.open(2)
        for limit, left in ((2, 2), (3, None)):
            AdAccount.objects.update(batch_limit=limit)
            self.upload.account.refresh_from_db()
            Upload.objects.update(finished_at=None)
            self.answered(ACCEPTED, ACCEPTED)
            self.account.refresh_from_db()
            self.assertEqual(self.account.batch_limit, left)

    def test_a_row_that_alone_looks_like_our_fault_waits_for_a_second_look(self) -> None:
        self.open()
        self.failed(Fault("Bad input", what_to_do=WhatToDo.OPERATOR, code=201, http_status=400))
        self.account.refresh_from_db()
        row = Delivery.objects.get()
        self.assertEqual((row.status, row.next_attempt_at), (Status.RETRYING, NOW + timedelta(hours=1)))
        self.assertEqual(self.account.held_until, NOW + timedelta(minutes=1))

    def test_rows_that_fare_alike_are_marked_together(self) -> None:
        queries = []
        for orders in (3, 30):
            Delivery.objects.all().delete()
            self.open(orders)
            with CaptureQueriesContext(connection) as captured:
                self.answered(*[REFUSED] * orders)
            queries.append(len(captured))
        self.assertEqual(queries[0], queries[1])

    def test_a_row_alone_in_its_call_is_the_one_that_was_refused(self) -> None:
        self.open()
        self.failed(Fault("Too old", what_to_do=WhatToDo.EXPIRED, code=5609))
        self.assertEqual(self.statuses(), [Status.FAILED])
