"""Browser and backend report one order: they meet in one conversion, before and after it was sent."""

import uuid
from datetime import timedelta
from decimal import Decimal
from itertools import permutations
from typing import Any

from django.utils import timezone

from forwarding.models import Correction, DailyCount, Delivery, Hold, Kind, Said, Skip, Status
from forwarding.rows.counts import rebuild
from forwarding.tasks import read_goals
from ingest.models import ConfirmMode, ConsentPolicy
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

    def land(self, visitor_id: str) -> None:
        """Report the visitor's click, an hour ago."""
        click = {"msclkid": "b" * 32, "visitor_id": visitor_id, "captured_at": an_hour_ago()}
        url = f"/v1/{self.site.write_key}/clicks"
        headers = {"Origin": "https://shop.example"}
        r = self.client.post(url, {"clicks": [click]}, content_type="application/json", headers=headers)
        self.assertEqual(r.status_code, 202, r.content)

    def adjust(self, adjustment: dict[str, Any]) -> None:
        """Say from the backend what became of an order."""
        headers = {"Authorization": f"Bearer {self.secret}"}
        said = {"adjustments": [adjustment]}
        r = self.client.post("/v1/adjustments", said, content_type="application/json", headers=headers)
        self.assertEqual(r.status_code, 202, r.content)

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
        self.land("v1")
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

    def test_a_mapping_that_changes_between_two_events_changes_no_currency(self) -> None:
        for value in ("none", Decimal(5)):
            with self.subTest(value):
                self.forget()
                self.map("purchase", "Purchase")
                self.browser(value="49.90", currency="EUR")
                self.go()
                self.map("purchase", "Purchase", value)
                self.backend(value="45.00", currency="EUR")
                self.go()
                self.assertEqual((self.standing().value, self.standing().currency), (Decimal(45), "EUR"))

    def test_silence_about_consent_is_no_refusal(self) -> None:
        self.site.consent_policy = ConsentPolicy.REQUIRE
        self.site.save(update_fields=["consent_policy"])
        for first, second in permutations([self.browser, self.backend]):
            with self.subTest(first=first.__name__):
                self.forget()
                for report in (first, second):
                    report(consent={"ad_storage": "granted"}) if report == self.browser else report()
                    self.go()
                row = self.standing()
                self.assertEqual((row.value, row.status), (Decimal("55.00"), Status.PENDING))

    def test_who_was_not_asked_for_consent_lends_no_identifier(self) -> None:
        self.site.consent_policy = ConsentPolicy.REQUIRE
        self.site.save(update_fields=["consent_policy"])
        asked, unasked = uuid.uuid4().hex, "f" * 32
        for first, second in permutations([self.browser, self.backend]):
            with self.subTest(first=first.__name__):
                self.forget()
                for report in (first, second):
                    consent = {"ad_storage": "granted"} if report == self.browser else None
                    report(consent=consent, msclkid=asked if consent else unasked)
                    self.go()
                self.assertEqual((self.standing().value, self.standing().msclkid), (Decimal("55.00"), asked))

    def test_an_events_own_click_comes_before_a_found_one_whoever_arrives_first(self) -> None:
        old, own = "a" * 32, "b" * 32
        long_ago = (timezone.now() - timedelta(days=20)).isoformat()
        person = {"email_sha256": EMAIL}
        for first, second in permutations([self.browser, self.backend]):
            with self.subTest(first=first.__name__):
                self.forget()
                self.post(purchase(name="lead", msclkid=old, occurred_at=long_ago, user_data=person))
                for report in (first, second):
                    report(msclkid=own) if report == self.browser else report(user_data=person)
                    self.go()
                self.assertEqual((self.standing().msclkid, self.standing().click_source), (own, "event"))

    def test_an_adjustment_of_an_event_that_named_nobody_finds_its_order(self) -> None:
        nameless = self.backend()
        self.go()
        adjustment = {"adjustment_id": "A-1", "event_id": nameless["event_id"], "type": "retract"}
        self.adjust(adjustment | {"occurred_at": timezone.now().isoformat()})
        self.go()
        self.browser()
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


class TestAfterARefusal(MeetingTestCase):
    def refuse(self, code: int) -> None:
        self.microsoft.fault("OfflineConversions/Apply", "partial_error", indexes=[0], code=code, error_code="Refused")
        self.browser()
        self.go()
        self.assertEqual(self.standing().error_code, code)

    def test_another_click_of_the_order_takes_a_refused_ones_place(self) -> None:
        for code in (5603, 5604, 5616, 5617):
            with self.subTest(code=code):
                self.forget()
                self.microsoft.bookings.clear()
                self.refuse(code)
                self.backend(msclkid=uuid.uuid4().hex)
                self.go()
                row = self.standing()
                self.assertEqual((row.status, row.error_code, row.error_symbol), (Status.DELIVERED, None, ""))
                self.assertEqual(self.booked(), [Decimal(55)])

    def test_the_counts_follow(self) -> None:
        self.test_another_click_of_the_order_takes_a_refused_ones_place()
        counts = DailyCount.objects.exclude(count=0).order_by("status").values_list("status", "count", "value")
        before = list(counts)
        rebuild(timezone.now())
        self.assertEqual(before, list(counts))

    def test_a_refusal_of_anything_else_stands(self) -> None:
        self.refuse(5610)
        self.backend(msclkid=uuid.uuid4().hex)
        self.go()
        self.assertEqual((self.standing().status, self.booked()), (Status.FAILED, []))

    def test_the_refused_click_is_not_sent_again(self) -> None:
        self.refuse(5604)
        self.backend(msclkid=self.standing().msclkid.upper())
        self.go()
        self.assertEqual((self.standing().status, self.booked()), (Status.FAILED, []))

    def test_what_may_have_arrived_keeps_its_click(self) -> None:
        self.microsoft.fault("OfflineConversions/Apply", "close_after")
        click = self.browser()["msclkid"]
        self.go()
        Delivery.objects.update(status=Status.FAILED, error_code=5604, next_attempt_at=None)
        self.backend(msclkid=uuid.uuid4().hex)
        self.go()
        self.assertEqual((self.standing().msclkid, self.standing().status), (click, Status.FAILED))


class TestAfterTheSend(MeetingTestCase):
    def test_the_backends_other_value_becomes_a_restatement(self) -> None:
        self.browser()
        self.go()
        event = self.backend()
        self.go()
        row = Delivery.objects.get(event__event_id=event["event_id"])
        self.assertEqual((row.kind, row.status, self.booked()), (Kind.RESTATE, Status.DELIVERED, [Decimal(55)]))
        self.assertEqual(Correction.objects.get().said, Said.ORDER)

    def test_silence_about_consent_does_not_silence_the_value(self) -> None:
        self.site.consent_policy = ConsentPolicy.REQUIRE
        self.site.save(update_fields=["consent_policy"])
        self.browser(consent={"ad_storage": "granted"})
        self.go()
        self.backend()
        self.go()
        self.assertEqual(self.booked(), [Decimal(55)])

    def test_it_does_although_the_event_is_mapped_to_another_value_by_now(self) -> None:
        self.browser()
        self.go()
        self.map("purchase", "Purchase", "none")
        self.backend()
        self.go()
        self.assertEqual(self.booked(), [Decimal(55)])

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
    def confirm(self, mode: ConfirmMode, minutes: int = 60) -> None:
        self.site.confirm_mode, self.site.confirm_minutes = mode, minutes
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

    def test_a_word_that_says_nothing_of_consent_confirms(self) -> None:
        self.site.consent_policy = ConsentPolicy.REQUIRE
        self.site.save(update_fields=["consent_policy"])
        self.confirm(ConfirmMode.REQUIRE)
        self.browser(consent={"ad_storage": "granted"})
        self.go()
        self.backend()
        self.go()
        self.assertEqual(self.booked(), [Decimal(55)])

    def test_a_click_that_settles_later_than_the_wait_opens_no_way_around_it(self) -> None:
        self.confirm(ConfirmMode.REQUIRE)
        self.wait_for_clicks()
        self.browser(occurred_at=timezone.now().isoformat())
        self.go()
        self.assertEqual(self.standing().hold_reason, Hold.CONFIRMATION)
        self.go(timezone.now() + timedelta(minutes=61))
        self.go(timezone.now() + timedelta(hours=3))
        self.assertEqual((self.standing().skip_reason, self.booked()), (Skip.UNCONFIRMED, []))

    def test_another_click_of_the_page_opens_none_either(self) -> None:
        self.confirm(ConfirmMode.REQUIRE)
        self.wait_for_clicks()
        self.browser(msclkid="1" * 32)
        self.go()
        self.browser(msclkid="2" * 32)
        self.go()
        self.assertEqual((self.standing().msclkid, self.standing().hold_reason), ("2" * 32, Hold.CONFIRMATION))

    def test_a_goal_that_comes_back_opens_none_either(self) -> None:
        self.confirm(ConfirmMode.REQUIRE)
        self.go()  # reads the goals
        self.account.goals.filter(name="Purchase").update(status="Paused")
        self.browser()
        self.go()
        read_goals(self.account.pk)
        self.go()
        self.assertEqual((self.standing().hold_reason, self.booked()), (Hold.CONFIRMATION, []))

    def test_confirmed_it_waits_for_its_goal_as_any_other(self) -> None:
        self.confirm(ConfirmMode.REQUIRE)
        self.go()
        self.account.goals.filter(name="Purchase").update(status="Paused")
        for report in (self.browser, self.backend):
            report()
            self.go()
        self.assertEqual((self.standing().hold_reason, self.booked()), (Hold.GOAL_MISSING, []))
        read_goals(self.account.pk)
        self.go()
        self.assertEqual(self.booked(), [Decimal(55)])

    def test_a_word_without_an_identifier_does_not_send_to_a_goal_that_is_too_new(self) -> None:
        self.confirm(ConfirmMode.REQUIRE, minutes=240)
        seen_at = timezone.now()
        self.account.goals.update(first_seen_at=seen_at)
        self.enterContext(self.settings(GOAL_SETTLE_SECONDS=7200))
        self.land("v1")
        self.browser(msclkid=None, visitor_id="v1", occurred_at=seen_at.isoformat())
        self.go()
        self.backend()  # its draft names nobody
        self.go()
        row = self.standing()
        self.assertEqual((row.hold_reason, row.next_attempt_at), (Hold.GOAL_TOO_NEW, seen_at + timedelta(hours=2)))

    def test_where_it_goes_out_anyway_it_waits_for_the_later_of_both(self) -> None:
        self.confirm(ConfirmMode.WAIT)
        self.wait_for_clicks()
        ordered_at = timezone.now() - timedelta(minutes=30)
        self.browser(occurred_at=ordered_at.isoformat())
        self.go()
        self.go(timezone.now() + timedelta(minutes=61))
        row = self.standing()
        self.assertEqual((row.hold_reason, row.next_attempt_at), (Hold.CLICK_SETTLING, ordered_at + timedelta(hours=2)))

    def test_where_nobody_asks_for_the_word_any_more_nothing_waits_for_it(self) -> None:
        self.confirm(ConfirmMode.REQUIRE)
        self.browser()
        self.go()
        self.confirm(ConfirmMode.OFF)
        self.go()
        self.assertEqual(self.booked(), [Decimal("49.90")])

    def test_what_is_let_go_waits_for_its_click(self) -> None:
        self.confirm(ConfirmMode.REQUIRE)
        self.wait_for_clicks()
        self.browser()
        self.go()
        self.confirm(ConfirmMode.OFF)
        self.go()
        self.assertEqual((self.standing().hold_reason, self.booked()), (Hold.CLICK_SETTLING, []))

    def test_a_lead_without_an_order_does_not_wait(self) -> None:
        self.confirm(ConfirmMode.REQUIRE)
        self.browser(transaction_id=None)
        self.go()
        self.assertEqual(self.booked(), [Decimal("49.90")])


def an_hour_ago() -> str:
    return (timezone.now() - timedelta(hours=1)).isoformat()
