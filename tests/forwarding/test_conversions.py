"""What one event becomes in one account: the pure decision."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.test import SimpleTestCase

from forwarding.models import ClickSource, Delivery, Hold, Skip, Status
from forwarding.planning.click_resolution import NO_CLICK, FoundClick
from forwarding.planning.conversions import Settle, draft, match_key
from forwarding.times import utc_second
from ingest.models import Consent, ConsentPolicy, Event, Site, Source
from integrations.models import AdAccount, ConversionGoal, GoalMapping, ValueRule
from tests.cast import CLICK_ID, NOON

HOUR = timedelta(hours=1)
SETTLE = Settle(click=HOUR, goal=2 * HOUR)
AN_OLD_CLICK = FoundClick(CLICK_ID, ClickSource.VISITOR, NOON - 5 * HOUR)
EMAIL_SHA256 = "62a8040a00736e70808e43009b5c63c4f6229ced98f486d0968441b292b9858a"


def decide(
    *,
    click: FoundClick = AN_OLD_CLICK,
    mapped: bool = True,
    policy: str = ConsentPolicy.ASSUME,
    goal: dict[str, Any] | None = None,
    mapping: dict[str, Any] | None = None,
    enhanced: bool = False,
    now: datetime = NOON,
    **event_fields: Any,
) -> Delivery:
    """Draft the delivery of a purchase of 49.90 USD, two hours old, with what the test changes."""
    site = Site(id=1, consent_policy=policy, currency="USD")
    account = AdAccount(id=2, site=site, account_id="138204417", currency="USD", enhanced_conversions=enhanced)
    its_goal = ConversionGoal(id=3, account=account, goal_id="9001", **({"name": "Purchase"} | (goal or {})))
    rule = GoalMapping(id=4, account=account, event_name="purchase", goal=its_goal, **(mapping or {}))
    given: dict[str, Any] = {
        "event_id": "evt-1",
        "name": "purchase",
        "occurred_at": NOON - 2 * HOUR,
        "received_at": NOON - 2 * HOUR,
        "source": Source.SERVER,
        "value": Decimal("49.90"),
        "currency": "EUR",
        "transaction_id": "HP-1",
    }
    event = Event(id=5, site=site, **(given | event_fields))
    return draft(event, account, rule if mapped else None, click, now, SETTLE)


class TestWhatIsSent(SimpleTestCase):
    def test_it_carries_the_events_own_time_value_currency_and_click(self) -> None:
        delivery = decide()
        self.assertEqual(delivery.status, Status.PENDING)
        self.assertEqual(delivery.conversion_time, "2026-11-21T10:00:00Z")
        self.assertEqual((delivery.value, delivery.currency), (Decimal("49.90"), "EUR"))
        self.assertEqual((delivery.msclkid, delivery.click_source), (CLICK_ID, ClickSource.VISITOR))
        self.assertEqual(delivery.goal_name, "Purchase")

    def test_it_cuts_the_time_to_whole_seconds(self) -> None:
        self.assertEqual(utc_second(datetime(2026, 11, 21, 9, 0, 0, 999_999, tzinfo=UTC)), "2026-11-21T09:00:00Z")

    def test_the_key_is_the_goal_with_the_transaction(self) -> None:
        self.assertEqual(decide().dedupe_key, "9001:t:HP-1")

    def test_the_key_is_the_goal_with_the_event_where_there_is_no_transaction(self) -> None:
        self.assertEqual(decide(transaction_id="").dedupe_key, "9001:e:evt-1")

    def test_a_fixed_value_replaces_the_events_own(self) -> None:
        delivery = decide(mapping={"value_rule": ValueRule.FIXED, "fixed_value": Decimal("7.5")})
        self.assertEqual((delivery.value, delivery.currency), (Decimal("7.5"), "USD"))  # not the event's EUR

    def test_no_value_means_no_currency_either(self) -> None:
        delivery = decide(mapping={"value_rule": ValueRule.NONE})
        self.assertEqual((delivery.value, delivery.currency), (None, ""))

    def test_hashes_go_along_only_where_account_and_goal_take_them(self) -> None:
        sent = decide(enhanced=True, goal={"is_enhanced": True}, email_sha256=EMAIL_SHA256)
        off = decide(enhanced=False, goal={"is_enhanced": True}, email_sha256=EMAIL_SHA256)
        plain = decide(enhanced=True, goal={"is_enhanced": False}, email_sha256=EMAIL_SHA256)
        self.assertEqual([row.email_sha256 for row in (sent, off, plain)], [EMAIL_SHA256, "", ""])

    def test_it_expires_six_hours_before_its_ninety_days(self) -> None:
        self.assertEqual(decide().expires_at, NOON - 2 * HOUR + timedelta(days=90) - 6 * HOUR)


class TestWhatIsNotSent(SimpleTestCase):
    def test_each_reason_is_named(self) -> None:
        reasons = {
            Skip.NOT_MAPPED: decide(mapped=False),
            Skip.FILTERED: decide(mapping={"condition": "value >= 50"}),
            Skip.NO_CONSENT: decide(consent=Consent.DENIED),
            Skip.TOO_OLD: decide(occurred_at=NOON - timedelta(days=90)),
            Skip.NO_IDENTIFIER: decide(click=NO_CLICK),
        }
        for reason, delivery in reasons.items():
            with self.subTest(reason):
                self.assertEqual((delivery.status, delivery.skip_reason), (Status.SKIPPED, reason))
                self.assertIsNone(delivery.next_attempt_at)

    def test_silence_about_consent_is_read_by_the_sites_policy(self) -> None:
        self.assertEqual(decide(policy=ConsentPolicy.REQUIRE).skip_reason, Skip.NO_CONSENT)
        self.assertEqual(decide(policy=ConsentPolicy.ASSUME).skip_reason, "")

    def test_a_hash_alone_is_enough_for_an_enhanced_goal(self) -> None:
        delivery = decide(click=NO_CLICK, enhanced=True, goal={"is_enhanced": True}, email_sha256=EMAIL_SHA256)
        self.assertEqual(delivery.status, Status.PENDING)

    def test_a_skipped_event_leaves_the_orders_key_free(self) -> None:
        self.assertEqual(decide(click=NO_CLICK).dedupe_key, "skip:evt-1")


class TestWhatItWaitsFor(SimpleTestCase):
    def test_an_old_click_and_goal_wait_for_nothing(self) -> None:
        delivery = decide()
        self.assertEqual((delivery.next_attempt_at, delivery.hold_reason), (NOON, ""))

    def test_a_fresh_click_waits_an_hour(self) -> None:
        delivery = decide(click=FoundClick(CLICK_ID, ClickSource.VISITOR, NOON - timedelta(minutes=10)))
        self.assertEqual(delivery.next_attempt_at, NOON + timedelta(minutes=50))
        self.assertEqual(delivery.hold_reason, Hold.CLICK_SETTLING)

    def test_a_click_of_unknown_moment_waits_an_hour_after_the_conversion(self) -> None:
        delivery = decide(click=FoundClick(CLICK_ID, ClickSource.EVENT, None), occurred_at=NOON - HOUR / 2)
        self.assertEqual(delivery.next_attempt_at, NOON + HOUR / 2)

    def test_a_goal_that_appeared_lately_waits_two_hours(self) -> None:
        delivery = decide(goal={"first_seen_at": NOON - HOUR})
        self.assertEqual((delivery.next_attempt_at, delivery.hold_reason), (NOON + HOUR, Hold.GOAL_TOO_NEW))

    def test_a_time_ahead_of_the_clock_is_waited_for_not_changed(self) -> None:
        delivery = decide(occurred_at=NOON + HOUR)
        self.assertEqual(delivery.conversion_time, "2026-11-21T13:00:00Z")
        self.assertEqual(delivery.next_attempt_at, NOON + HOUR + timedelta(minutes=1))

    def test_an_event_of_this_very_moment_is_not_taken_for_the_future(self) -> None:
        a_blink = timedelta(milliseconds=20)  # the planner looked at the clock just before the event arrived
        old_click = FoundClick(CLICK_ID, ClickSource.VISITOR, NOON - 5 * HOUR)
        delivery = decide(click=old_click, occurred_at=NOON + a_blink, received_at=NOON + a_blink)
        self.assertEqual(delivery.next_attempt_at, NOON)

    def test_a_goal_that_is_gone_or_paused_is_waited_for_until_the_last_minute(self) -> None:
        for state in ({"gone_at": NOON}, {"status": "Paused"}):
            delivery = decide(goal=state)
            assert delivery.expires_at is not None
            self.assertEqual((delivery.status, delivery.hold_reason), (Status.PENDING, Hold.GOAL_MISSING))
            self.assertEqual(delivery.next_attempt_at, delivery.expires_at - timedelta(minutes=1))


class TestMatchKey(SimpleTestCase):
    def test_the_case_of_a_click_id_does_not_make_it_another(self) -> None:
        in_capitals = decide(click=FoundClick(CLICK_ID.upper(), ClickSource.EVENT, NOON - 5 * HOUR))
        self.assertEqual(match_key(decide()), match_key(in_capitals))

    def test_another_goal_or_second_does(self) -> None:
        keys = {match_key(row) for row in (decide(), decide(goal={"name": "Lead"}), decide(occurred_at=NOON - HOUR))}
        self.assertEqual(len(keys), 3)
