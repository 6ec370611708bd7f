"""What Microsoft takes without a word: repeats, paused goals, unknown clicks, adjustments without an original."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal

from integrations.microsoft_ads.emulator.books import Click
from integrations.microsoft_ads.emulator.world import SEARCH_US, SHOPPING_US
from tests.support.emulator import CLICK_ID, EMAIL_HASH, NOON, EmulatorTestCase, adjustment, at, conversion

HOUR = timedelta(hours=1)


class RepeatTests(EmulatorTestCase):
    def test_the_first_of_a_key_wins(self) -> None:
        self.assert_taken(self.apply(conversion(ConversionValue=10)))
        self.assert_taken(self.apply(conversion(ConversionValue=99)))
        self.assertEqual([booking.value for booking in self.books.bookings], [Decimal(10)])
        self.assertEqual(self.outcomes(), ["booked", "DuplicateConversionKey"])

    def test_a_repeat_within_one_batch_is_one_conversion(self) -> None:
        self.assert_taken(self.apply(conversion(), conversion()))
        self.assertEqual(len(self.books.bookings), 1)

    def test_every_part_of_the_key_makes_another_conversion(self) -> None:
        others = [
            {"MicrosoftClickId": "a" * 32},
            {"ConversionName": "Closed Deal"},
            {"ConversionTime": at(NOON - timedelta(minutes=59))},
            {"HashedEmailAddress": EMAIL_HASH},
            {"HashedPhoneNumber": EMAIL_HASH},
        ]
        self.assert_taken(self.apply(conversion(), *[conversion(**other) for other in others]))
        self.assertEqual(len(self.books.bookings), 1 + len(others))

    def test_the_same_instant_written_otherwise_is_the_same_key(self) -> None:
        self.apply(conversion(ConversionTime="2026-11-21T11:00:00Z"))
        self.apply(conversion(ConversionTime="2026-11-21T11:00:00.000+00:00"))
        self.assertEqual(self.outcomes(), ["booked", "DuplicateConversionKey"])

    def test_repeats_without_a_click_id_can_be_let_through(self) -> None:
        self.control("settings", {"dedupe_hash_only": False})
        row = conversion(MicrosoftClickId=None, HashedEmailAddress=EMAIL_HASH)
        self.apply(row, row, conversion(), conversion())
        self.assertEqual(self.outcomes(), ["booked", "booked", "booked", "DuplicateConversionKey"])

    def test_many_callers_at_once_book_one_conversion(self) -> None:
        with ThreadPoolExecutor(8) as callers:
            answers = list(callers.map(lambda _number: self.apply(conversion()).status_code, range(40)))
        self.assertEqual((set(answers), len(self.books.bookings), len(self.books.received)), ({200}, 1, 40))

    def test_a_unique_goal_counts_the_first_of_a_click(self) -> None:
        self.apply(
            conversion(ConversionName="Account Registration"),
            conversion(ConversionName="Account Registration", ConversionTime=at(NOON - timedelta(minutes=5))),
            conversion(ConversionName="Account Registration", MicrosoftClickId="a" * 32),
        )
        self.assertEqual([booking.effective_count() for booking in self.books.bookings], [1, 0, 1])


class SilenceTests(EmulatorTestCase):
    def test_a_paused_goal_counts_nothing(self) -> None:
        self.assert_taken(self.apply(conversion(ConversionName="Store visit")))
        self.assertEqual((self.outcomes(), self.books.bookings), (["GoalNotFoundOrInactive"], []))

    def unattributed(self, clicked_hours_ago: float, account_id: str = SEARCH_US) -> str | None:
        self.books.put(Click(CLICK_ID, account_id, NOON - clicked_hours_ago * HOUR))
        self.assert_taken(self.apply(conversion()))
        return self.books.bookings[0].unattributed

    def test_a_known_click_is_attributed(self) -> None:
        self.assertIsNone(self.unattributed(2))

    def test_another_accounts_click_is_not(self) -> None:
        self.assertEqual(self.unattributed(2, SHOPPING_US), "AccountMismatch")

    def test_an_old_click_is_not(self) -> None:
        self.assertEqual(self.unattributed(90 * 24 + 0.5), "NoMatchingClickFound")

    def test_an_unsettled_click_is_not(self) -> None:
        self.control("settings", {"click_settle_seconds": 3 * 3600})
        self.assertEqual(self.unattributed(2), "NoMatchingClickFound")

    def test_an_unknown_click_is_not(self) -> None:
        self.assert_taken(self.apply(conversion()))
        self.assertEqual(self.books.bookings[0].unattributed, "NoMatchingClickFound")

    def test_hashes_match_nobody_here(self) -> None:
        self.assert_taken(self.apply(conversion(MicrosoftClickId=None, HashedEmailAddress=EMAIL_HASH)))
        self.assertEqual(self.books.bookings[0].unattributed, "MissingMatchIdentifiers")


class AdjustmentTests(EmulatorTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.assert_taken(self.apply(conversion()))
        self.now = NOON + timedelta(hours=6)
        self.headers["Authorization"] = f"Bearer {self.sign_in('ads@harborpine.example')['access_token']}"

    def worth(self) -> tuple[int, Decimal]:
        booking = self.books.bookings[0]
        return booking.effective_count(), booking.effective_value()

    def test_a_restate_sets_the_new_total(self) -> None:
        self.assert_taken(self.adjust(adjustment(AdjustmentValue=20)))
        self.assertEqual((self.outcomes()[-1], self.worth()), ("applied", (1, Decimal(20))))

    def test_the_latest_restate_stands(self) -> None:
        self.adjust(adjustment(AdjustmentValue=20), adjustment(AdjustmentValue=30, AdjustmentTime=at(NOON)))
        self.assertEqual(self.worth(), (1, Decimal(30)))

    def test_an_older_restate_changes_nothing(self) -> None:
        self.adjust(adjustment(AdjustmentValue=30, AdjustmentTime=at(NOON)), adjustment(AdjustmentValue=20))
        self.assertEqual((self.outcomes()[-1], self.worth()), ("Unknown", (1, Decimal(30))))

    def test_a_repeated_restate_changes_nothing(self) -> None:
        self.adjust(adjustment(), adjustment())
        self.assertEqual(self.outcomes()[-2:], ["applied", "DuplicateConversionKey"])

    def test_a_retract_removes_it(self) -> None:
        self.assert_taken(self.adjust(adjustment(AdjustmentType="Retract", AdjustmentValue=None)))
        self.assertEqual(self.worth(), (0, Decimal(0)))

    def test_nothing_follows_a_retract(self) -> None:
        self.adjust(adjustment(AdjustmentType="Retract", AdjustmentValue=None))
        self.assert_taken(self.adjust(adjustment(AdjustmentTime=at(NOON))))
        self.assertEqual((self.outcomes()[-1], self.worth()), ("ConversionAlreadyRetracted", (0, Decimal(0))))

    def test_another_identifier_finds_no_original(self) -> None:
        self.assert_taken(self.adjust(adjustment(HashedEmailAddress=EMAIL_HASH)))
        self.assertEqual((self.outcomes()[-1], self.worth()), ("AdjustmentOriginalNotFound", (1, Decimal("49.9"))))

    def test_another_second_finds_no_original(self) -> None:
        self.adjust(adjustment(ConversionTime=at(NOON - HOUR + timedelta(seconds=1))))
        self.assertEqual(self.outcomes()[-1], "AdjustmentOriginalNotFound")

    def test_it_comes_too_early_before_the_original_has_settled(self) -> None:
        self.now -= timedelta(seconds=1)
        self.assert_taken(self.adjust(adjustment()))
        self.assertEqual((self.outcomes()[-1], self.worth()), ("AdjustmentOriginalNotFound", (1, Decimal("49.9"))))

    def test_totals_follow_the_adjustments(self) -> None:
        self.apply(conversion(MicrosoftClickId="a" * 32, ConversionValue=5))
        self.adjust(adjustment(AdjustmentValue=20))
        totals = self.ledger()["totals"]
        self.assertEqual([(one["goal"], one["count"], one["value"]) for one in totals], [("Purchase", 2, 25)])
