"""Browser and backend report one order: they meet in one conversion, before and after it was sent."""

import uuid
from datetime import timedelta
from decimal import Decimal
from itertools import permutations
from typing import Any

from django.utils import timezone

from forwarding.models import Correction, Delivery, Hold, Kind, Said, Skip, Status
from ingest.models import ConfirmMode
from integrations.mapping import Rule, set_mapping
from integrations.models import ConversionGoal
from tests.road.road import RoadTestCase, purchase

ORDER = "HP-1"
EMAIL = "62a8040a00736e70808e43009b5c63c4f6229ced98f486d0968441b292b9858a"


class MeetingTestCase(RoadTestCase):
    def browser(self, **changes: Any) -> dict[str, Any]:
        """Report the order from the page: 49.90 with a click id."""
        event = purchase(**({"transaction_id": ORDER, "value": "49.90"} | changes))
        r = self.client.post(
            f"/v1/{self.site.write_key}/events",
            {"events": [event]},
            content_type="application/json",
            headers={"Origin": "https://shop.example"},
        )
        self.assertEqual(r.status_code, 202, r.content)
        return event

    def backend(self, **changes: Any) -> dict[str, Any]:
        """Report the order from the backend: 55.00 and no click id."""
        event = purchase(transaction_id=ORDER, **({"value": "55.00", "msclkid": None} | changes))
        self.post(event)
        return event

    def standing(self) -> Delivery:
        return Delivery.objects.exclude(dedupe_key__startswith="skip:").get(kind=Kind.CONVERSION)

    def forget(self) -> None:
        """Begin anew within one test."""
        Delivery.objects.filter(original__isnull=False).delete()
        Delivery.objects.all().delete()
        self.site.events.all().delete()

    def booked(self) -> list[Decimal]:
        return [row.effective_value() for row in self.microsoft.bookings]

    def wait_for_clicks(self) -> None:
        self.enterContext(self.settings(CLICK_SETTLE_SECONDS=2 * 60 * 60))


class TestBeforeTheSend(MeetingTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.wait_for_clicks()

    def test_the_backends_value_and_the_browsers_click_make_one_conversion(self) -> None:
        click = uuid.uuid4().hex
        for first, second in permutations([self.browser, self.backend]):
            with self.subTest(first=first.__name__):
                self.forget()
                for report in (first, second):
                    report(msclkid=click) if report == self.browser else report()
                    self.go()
                row = self.standing()
                self.assertEqual((row.value, row.msclkid, row.status), (Decimal("55.00"), click, Status.PENDING))

    def test_a_backends_event_that_names_nobody_joins_what_a_visitors_click_stands_for(self) -> None:
        click = {"msclkid": "b" * 32, "visitor_id": "v1", "captured_at": an_hour_ago()}
        url = f"/v1/{self.site.write_key}/clicks"
        headers = {"Origin": "https://shop.example"}
        self.client.post(url, {"clicks": [click]}, content_type="application/json", headers=headers)
        self.browser(msclkid=None, visitor_id="v1", occurred_at=timezone.now().isoformat())
        self.go()
        self.backend()
        self.go()
        self.assertEqual((self.standing().value, self.standing().click_source), (Decimal("55.00"), "visitor"))

    def test_the_other_event_says_where_it_went(self) -> None:
        self.browser()
        self.go()
        other = self.backend()
        self.go()
        row = Delivery.objects.get(event__event_id=other["event_id"])
        self.assertEqual((row.skip_reason, row.original), (Skip.SAME_ORDER, self.standing()))
        [told] = self.status(other["event_id"])["deliveries"]
        self.assertEqual(told["same_order_as"], self.standing().event.event_id)

    def test_they_meet_in_one_batch_too(self) -> None:
        self.browser()
        self.backend()
        self.go()
        self.assertEqual(self.standing().value, Decimal("55.00"))

    def test_hashes_fill_in(self) -> None:
        self.account.enhanced_conversions = True
        self.account.save(update_fields=["enhanced_conversions"])
        ConversionGoal.objects.update(is_enhanced=True)
        self.browser()
        self.go()
        self.backend(user_data={"email_sha256": EMAIL})
        self.go()
        self.assertEqual(self.standing().email_sha256, EMAIL)

    def test_a_second_backend_event_changes_nothing(self) -> None:
        self.backend(msclkid=uuid.uuid4().hex)
        self.go()
        self.backend(value="70.00")
        self.go()
        self.assertEqual(self.standing().value, Decimal("55.00"))

    def test_one_refusal_of_consent_is_enough(self) -> None:
        for refused_first in (True, False):
            with self.subTest(refused_first=refused_first):
                self.forget()
                reports = [
                    lambda: self.browser(consent={"ad_storage": "denied"}),
                    lambda: self.backend(msclkid="a" * 32),
                ]
                for report in reports if refused_first else reversed(reports):
                    report()
                    self.go()
                self.assertEqual(set(Delivery.objects.values_list("skip_reason", flat=True)), {Skip.NO_CONSENT})

    def test_a_goal_with_a_fixed_value_knows_what_the_order_is_worth_in_the_backends_currency(self) -> None:
        goal = self.account.goals.get(name="Purchase")
        set_mapping(self.account, "purchase", Rule(goal.goal_id, Decimal(5)), self.alice, timezone.now())
        self.map("refund", "Purchase")
        self.browser()
        self.go()
        for name in ("purchase", "refund"):
            self.backend(name=name, value="45.00", currency="EUR")
            self.go()
        self.assertEqual(self.standing().skip_reason, Skip.CANCELLED)

    def test_what_is_on_its_way_is_left_alone(self) -> None:
        self.enterContext(self.settings(CLICK_SETTLE_SECONDS=0))
        self.microsoft.fault("OfflineConversions/Apply", "close_after")
        click = self.browser()["msclkid"]
        self.go()
        self.backend(user_data={"email_sha256": EMAIL})
        self.go()
        row = self.standing()
        self.assertEqual((row.value, row.msclkid, row.email_sha256), (Decimal("49.90"), click, ""))


class TestAfterTheSend(MeetingTestCase):
    def test_the_backends_other_value_becomes_a_restatement(self) -> None:
        self.browser()
        self.go()
        event = self.backend()
        self.go()
        row = Delivery.objects.get(event__event_id=event["event_id"])
        self.assertEqual((row.kind, row.status, self.booked()), (Kind.RESTATE, Status.DELIVERED, [Decimal(55)]))
        self.assertEqual(Correction.objects.get().said, Said.ORDER)

    def test_the_same_value_is_not_told_again(self) -> None:
        self.browser()
        self.go()
        event = self.backend(value="49.90")
        self.go()
        self.assertEqual(Delivery.objects.get(event__event_id=event["event_id"]).skip_reason, Skip.SAME_ORDER)

    def test_an_account_can_switch_it_off(self) -> None:
        self.account.restates_from_backend = False
        self.account.save(update_fields=["restates_from_backend"])
        self.browser()
        self.go()
        self.backend()
        self.go()
        self.assertEqual((self.booked(), Correction.objects.count()), ([Decimal("49.90")], 0))

    def test_a_refund_is_taken_from_the_backends_value(self) -> None:
        self.map("refund", "Purchase")
        self.browser()
        self.go()
        self.backend()
        self.go()
        self.backend(name="refund", value="5.00")
        self.go()
        self.go(timezone.now() + timedelta(minutes=2))
        self.assertEqual(self.booked(), [Decimal(50)])


class TestConfirmation(MeetingTestCase):
    def confirm(self, mode: ConfirmMode) -> None:
        self.site.confirm_mode, self.site.confirm_minutes = mode, 60
        self.site.save(update_fields=["confirm_mode", "confirm_minutes"])

    def test_a_browsers_order_waits_for_the_backend(self) -> None:
        self.confirm(ConfirmMode.REQUIRE)
        self.browser()
        self.go()
        self.assertEqual((self.standing().hold_reason, self.booked()), (Hold.CONFIRMATION, []))
        self.backend()
        self.go()
        self.assertEqual(self.booked(), [Decimal(55)])

    def test_unconfirmed_it_goes_out_after_its_time_where_that_is_wanted(self) -> None:
        self.confirm(ConfirmMode.WAIT)
        self.browser()
        self.go()
        Delivery.objects.update(next_attempt_at=timezone.now())
        self.go()
        self.assertEqual(self.booked(), [Decimal("49.90")])

    def test_unconfirmed_it_is_not_forwarded_where_the_word_is_required(self) -> None:
        self.confirm(ConfirmMode.REQUIRE)
        self.browser()
        self.go()
        self.go(timezone.now() + timedelta(minutes=61))
        self.assertEqual((self.standing().skip_reason, self.booked()), (Skip.UNCONFIRMED, []))

    def test_the_backends_word_that_comes_late_still_counts(self) -> None:
        self.test_unconfirmed_it_is_not_forwarded_where_the_word_is_required()
        self.backend()
        self.go()
        self.assertEqual(self.booked(), [Decimal(55)])

    def test_a_lead_without_an_order_does_not_wait(self) -> None:
        self.confirm(ConfirmMode.REQUIRE)
        self.browser(transaction_id=None)
        self.go()
        self.assertEqual(self.booked(), [Decimal("49.90")])


def an_hour_ago() -> str:
    return (timezone.now() - timedelta(hours=1)).isoformat()
