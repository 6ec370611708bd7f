"""A long queue of one account, and a Microsoft that answers by a rule: for what takes a thousand rows to show."""

from collections.abc import Callable, Collection
from datetime import timedelta

from forwarding.models import Delivery, Operation, Status, Upload
from forwarding.planning.planner import plan_all
from forwarding.rows.upload_rows import UploadRow, rows_of
from forwarding.sending.claims import claim
from forwarding.sending.marking import record_answer, record_failure
from integrations.microsoft_ads.errors import MicrosoftAdsError
from integrations.microsoft_ads.shapes import ApplyResult, ItemResult
from integrations.models import AdAccount
from tests.cast import NOON, CastTestCase, store_event

# What a call of these rows fails with; None when Microsoft takes them all.
Rule = Callable[[Collection[int]], MicrosoftAdsError | None]


class BacklogTestCase(CastTestCase):
    """Rows that are due, each second of noon one, and workers that send them, or die over them."""

    def setUp(self) -> None:
        self.enterContext(self.settings(UPLOAD_LINGER_SECONDS=0))
        self.now = NOON + timedelta(hours=1)
        self.calls = 0
        self.deaths = 0
        self.sizes: list[int] = []

    def queue(self, number: int) -> list[int]:
        """Queue so many rows; return their keys in the order in which they are due."""
        event = store_event(self.site)
        plan_all(NOON)
        [planned] = Delivery.objects.all()
        rows = [self._copy(planned, order) for order in range(1, number)]
        Delivery.objects.bulk_create(rows)
        event.refresh_from_db()
        return [planned.pk, *(row.pk for row in rows)]

    def _copy(self, planned: Delivery, order: int) -> Delivery:
        return Delivery(
            account_id=planned.account_id,
            event_id=planned.event_id,
            goal_id=planned.goal_id,
            goal_name=planned.goal_name,
            dedupe_key=f"{planned.dedupe_key}-{order}",
            conversion_time=planned.conversion_time,
            msclkid=f"{order:032x}",
            status=Status.PENDING,
            next_attempt_at=NOON + timedelta(milliseconds=order),
            expires_at=planned.expires_at,
            created_at=NOON,
            changed_at=NOON,
        )

    def claimed(self) -> Upload | None:
        upload = claim(self.account.pk, Operation.CONVERSIONS, self.now)
        if upload is not None:
            self.calls += 1
            self.sizes.append(len(upload.delivery_ids))
        return upload

    def die(self, upload: Upload) -> None:
        """Let the worker be killed over an upload, and its lease end."""
        self.deaths += 1
        self.now = max(self.now, upload.leased_until)

    def answer(self, upload: Upload, error: MicrosoftAdsError | None = None) -> None:
        rows: list[UploadRow] = rows_of(upload)
        if error is None:
            taken = ApplyResult((ItemResult(None),) * len(rows), "", 200, "")
            record_answer(upload, rows, taken, 0.1, self.now)
        else:
            record_failure(upload, rows, error, 0.1, self.now)

    def drain(self, rule: Rule) -> None:
        """Send until nothing is due."""
        while (upload := self.claimed()) is not None:
            self.answer(upload, rule(upload.delivery_ids))

    def drain_with_deaths(self, deadly: Collection[int]) -> None:
        """Send until nothing is due, by workers that die over some rows."""
        while (upload := self.claimed()) is not None:
            if set(deadly) & set(upload.delivery_ids):
                self.die(upload)
            else:
                self.answer(upload)

    def reloaded(self) -> AdAccount:
        self.account.refresh_from_db()
        return self.account

    def at_status(self, status: Status) -> int:
        return Delivery.objects.filter(status=status).count()
