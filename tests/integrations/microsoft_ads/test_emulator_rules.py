"""One test per documented rule for uploaded rows."""

from datetime import timedelta

from integrations.microsoft_ads.emulator.books import Click
from integrations.microsoft_ads.emulator.world import BRAND_US, SEARCH_US
from tests.support.emulator import (
    CLICK_ID,
    EMAIL_HASH,
    NOON,
    PHONE_HASH,
    EmulatorTestCase,
    adjustment,
    at,
    conversion,
)

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NINETY_DAYS = 90 * DAY


class BatchTests(EmulatorTestCase):
    def test_it_takes_a_good_row(self) -> None:
        self.assert_taken(self.apply(conversion()))
        self.assertEqual(self.outcomes(), ["booked"])

    def test_it_takes_a_thousand_rows(self) -> None:
        self.assert_taken(self.apply(*[conversion(MicrosoftClickId=f"{number:032x}") for number in range(1000)]))
        self.assertEqual(len(self.books.bookings), 1000)

    def test_it_refuses_an_empty_batch(self) -> None:
        self.assert_fault(self.apply(), 400, 5600, "ApiFaultDetail")

    def test_it_refuses_a_null_batch(self) -> None:
        r = self.call("OfflineConversions/Apply", {"OfflineConversions": None})
        self.assert_fault(r, 400, 5600, "ApiFaultDetail")

    def test_it_refuses_more_than_a_thousand_rows(self) -> None:
        self.assert_fault(self.apply(*[conversion()] * 1001), 400, 5601, "ApiFaultDetail")
        self.assertEqual(self.books.bookings, [])

    def test_adjustments_have_the_same_limit(self) -> None:
        self.assert_fault(self.adjust(*[adjustment()] * 1001), 400, 5601, "ApiFaultDetail")

    def test_it_refuses_a_null_row_and_takes_the_others(self) -> None:
        errors = self.apply(None, conversion()).json()["PartialErrors"]
        self.assertEqual([(error["Index"], error["Code"]) for error in errors], [(0, 5602)])
        self.assertEqual(len(self.books.bookings), 1)

    def test_errors_are_found_by_index_and_name_their_member(self) -> None:
        r = self.apply(conversion(), conversion(ConversionName="Nobody"), conversion(MicrosoftClickId="a" * 32))
        error = r.json()["PartialErrors"][0]
        self.assertEqual((error["Index"], error["Code"], error["Type"]), (1, 5606, "BatchError"))
        self.assertEqual(error["FieldPath"], "OfflineConversions[1].ConversionName")

    def test_a_row_may_be_refused_twice_over(self) -> None:
        r = self.apply(conversion(MicrosoftClickId="x", ConversionValue=-1))
        symbols = {error["ErrorCode"] for error in r.json()["PartialErrors"]}
        self.assertEqual(symbols, {"OfflineConversionMicrosoftClickIdInvalid", "OfflineConversionValueInvalid"})


class NameTests(EmulatorTestCase):
    def test_it_needs_a_name(self) -> None:
        self.assert_refused(self.apply(conversion(ConversionName=None)), "OfflineConversionNameNullOrEmpty")
        self.assert_refused(self.apply(conversion(ConversionName="")), "OfflineConversionNameNullOrEmpty")

    def test_it_refuses_a_name_without_a_goal(self) -> None:
        self.assert_refused(self.apply(conversion(ConversionName="Trade Lead")), "OfflineConversionNameInvalid")

    def test_case_and_spaces_are_part_of_a_name(self) -> None:
        for name in ("purchase", "Purchase ", " Purchase"):
            self.assert_refused(self.apply(conversion(ConversionName=name)), "OfflineConversionNameInvalid")

    def test_an_event_goal_takes_no_upload(self) -> None:
        self.assert_refused(self.apply(conversion(ConversionName="Checkout")), "OfflineConversionNameInvalid")

    def test_another_accounts_goal_takes_no_upload(self) -> None:
        r = self.apply(conversion(ConversionName="Shopping Purchase"))
        self.assert_refused(r, "OfflineConversionNameInvalid")

    def test_a_goal_of_the_whole_customer_takes_it(self) -> None:
        self.books.goals["90010021"].scope = "Customer"
        self.assert_taken(self.apply(conversion(ConversionName="Shopping Purchase")))

    def test_a_goal_two_hours_young_is_refused(self) -> None:
        self.books.goals["90010001"].created_at = NOON - 2 * HOUR + timedelta(seconds=1)
        self.assert_refused(self.apply(conversion()), "OfflineConversionNotAcceptedForGoal")

    def test_a_goal_two_hours_old_is_taken(self) -> None:
        self.books.goals["90010001"].created_at = NOON - 2 * HOUR
        self.assert_taken(self.apply(conversion()))


class TimeTests(EmulatorTestCase):
    def test_it_needs_a_time(self) -> None:
        self.assert_refused(self.apply(conversion(ConversionTime=None)), "OfflineConversionTimeNullOrEmpty")

    def test_it_refuses_a_time_that_is_not_utc(self) -> None:
        for text in ("2026-11-21T11:00:00", "2026-11-21T11:00:00+01:00"):
            self.assert_refused(self.apply(conversion(ConversionTime=text)), "OfflineConversionTimeInvalid")

    def test_it_takes_utc_written_as_an_offset(self) -> None:
        self.assert_taken(self.apply(conversion(ConversionTime="2026-11-21T11:00:00+00:00")))

    def test_it_refuses_the_future(self) -> None:
        r = self.apply(conversion(ConversionTime=at(NOON + timedelta(seconds=1))))
        self.assert_refused(r, "FutureConversionTimeCannotBeSet")

    def test_it_takes_this_very_second(self) -> None:
        self.assert_taken(self.apply(conversion(ConversionTime=at(NOON))))

    def test_it_takes_ninety_days(self) -> None:
        self.assert_taken(self.apply(conversion(ConversionTime=at(NOON - NINETY_DAYS))))

    def test_it_refuses_more_than_ninety_days(self) -> None:
        r = self.apply(conversion(ConversionTime=at(NOON - NINETY_DAYS - timedelta(seconds=1))))
        self.assert_refused(r, "OfflineConversionTimeOutOfWindow")

    def test_it_refuses_a_conversion_before_its_click(self) -> None:
        self.books.put(Click(CLICK_ID, SEARCH_US, NOON - HOUR + timedelta(seconds=1)))
        self.assert_refused(self.apply(conversion()), "ConversionTimeEarlierThanClickTime")

    def test_it_takes_a_conversion_in_the_second_of_its_click(self) -> None:
        self.books.put(Click(CLICK_ID, SEARCH_US, NOON - HOUR + timedelta(milliseconds=900)))
        self.assert_taken(self.apply(conversion()))

    def test_it_refuses_a_click_outside_the_goals_window(self) -> None:
        self.books.put(Click(CLICK_ID, SEARCH_US, NOON - HOUR - 31 * DAY))
        r = self.apply(conversion(ConversionName="Subscription"))
        self.assert_refused(r, "ClickIdDateTimeOutsideGoalConversionWindow")

    def test_it_takes_a_click_at_the_windows_end(self) -> None:
        self.books.put(Click(CLICK_ID, SEARCH_US, NOON - HOUR - 30 * DAY))
        self.assert_taken(self.apply(conversion(ConversionName="Subscription")))


class IdentifierTests(EmulatorTestCase):
    def test_it_needs_someone(self) -> None:
        for absent in (None, ""):
            r = self.apply(conversion(MicrosoftClickId=absent))
            self.assert_refused(r, "OfflineConversionMicrosoftClickIdNullOrEmpty")

    def test_it_refuses_a_click_id_that_is_not_32_hex(self) -> None:
        for click_id in ("undefined", CLICK_ID[:-1], f"{CLICK_ID}0", "f894f652-ea33-4e73-9002-f7167ab8f8e3"):
            r = self.apply(conversion(MicrosoftClickId=click_id))
            self.assert_refused(r, "OfflineConversionMicrosoftClickIdInvalid")

    def test_an_enhanced_goal_takes_hashes_alone(self) -> None:
        self.assert_taken(self.apply(conversion(MicrosoftClickId=None, HashedEmailAddress=EMAIL_HASH)))
        self.assert_taken(self.apply(conversion(MicrosoftClickId=None, HashedPhoneNumber=PHONE_HASH)))

    def test_another_goal_refuses_hashes_alone(self) -> None:
        r = self.apply(conversion(ConversionName="Closed Deal", MicrosoftClickId=None, HashedEmailAddress=EMAIL_HASH))
        self.assert_refused(r, "NotEligibleForEnhancedConversions")

    def test_another_goal_drops_hashes_beside_a_click_id(self) -> None:
        self.assert_taken(self.apply(conversion(ConversionName="Closed Deal", HashedEmailAddress=EMAIL_HASH)))
        self.assertIsNone(self.books.bookings[0].email_hash)

    def test_it_refuses_an_email_that_is_not_hashed(self) -> None:
        for email in ("jane@contoso.com", EMAIL_HASH.upper(), EMAIL_HASH[:-1]):
            r = self.apply(conversion(HashedEmailAddress=email))
            self.assert_refused(r, "ConversionEmailAddressIsNotHashed")

    def test_it_refuses_a_phone_that_is_not_hashed(self) -> None:
        r = self.apply(conversion(HashedPhoneNumber="+14255551234"))
        self.assert_refused(r, "ConversionPhoneNumberIsNotHashed")


class MoneyTests(EmulatorTestCase):
    def test_it_refuses_a_value_out_of_range(self) -> None:
        for value in (-0.01, 1_000_000_000_000, 1.2345):
            self.assert_refused(self.apply(conversion(ConversionValue=value)), "OfflineConversionValueInvalid")

    def test_it_takes_the_values_at_the_ends(self) -> None:
        rows = [
            conversion(ConversionValue=value, MicrosoftClickId=f"{i:032x}")
            for i, value in enumerate((0, 0.001, 999999999999))
        ]
        self.assert_taken(self.apply(*rows))

    def test_it_refuses_a_currency_that_is_not_listed(self) -> None:
        for currency in ("TRY", "usd", "XXX", ""):
            r = self.apply(conversion(ConversionCurrencyCode=currency))
            self.assert_refused(r, "OfflineConversionCurrencyCodeInvalid")

    def test_the_goal_fills_in_what_the_row_leaves_out(self) -> None:
        row = conversion(ConversionName="Closed Deal", ConversionValue=None, ConversionCurrencyCode=None)
        self.assert_taken(self.apply(row))
        booked = self.ledger()["booked"][0]
        self.assertEqual((booked["value"], booked["currency"]), (250, "USD"))


class ExternalAttributionTests(EmulatorTestCase):
    def external(self, **changes: object) -> dict[str, object]:
        given: dict[str, object] = {"ExternalAttributionCredit": 0.4, "ExternalAttributionModel": "Linear"}
        return conversion(ConversionName="CRM Revenue (shared)", **(given | changes))

    def test_an_external_goal_takes_credit_and_model(self) -> None:
        self.assert_taken(self.apply(self.external()))

    def test_an_external_goal_needs_both(self) -> None:
        for member in ("ExternalAttributionCredit", "ExternalAttributionModel"):
            r = self.apply(self.external(**{member: None}))
            self.assert_refused(r, "ExternalAttributionRequiredFieldEmpty")

    def test_credit_is_a_share(self) -> None:
        for credit in (0, -0.5, 1.01):
            r = self.apply(self.external(ExternalAttributionCredit=credit))
            self.assert_refused(r, "ExternalAttributionCreditValueInvalid")

    def test_an_ordinary_goal_takes_neither(self) -> None:
        r = self.apply(conversion(ExternalAttributionModel="Linear"))
        self.assert_refused(r, "GoalNotEligibleForExternalAttribution")


class AdjustmentTests(EmulatorTestCase):
    def test_it_takes_a_good_row(self) -> None:
        self.assert_taken(self.adjust(adjustment()))

    def test_it_meets_the_rules_of_conversions(self) -> None:
        r = self.adjust(adjustment(ConversionName="Trade Lead"), adjustment(MicrosoftClickId=None))
        codes = [error["Code"] for error in r.json()["PartialErrors"]]
        self.assertEqual(codes, [5606, 5603])

    def test_it_knows_two_types(self) -> None:
        for kind in (None, "Refund", "restate"):
            r = self.adjust(adjustment(AdjustmentType=kind))
            self.assert_refused(r, "OfflineConversionInvalidAdjustmentType")

    def test_it_needs_an_adjustment_time(self) -> None:
        r = self.adjust(adjustment(AdjustmentTime=None))
        self.assert_refused(r, "OfflineConversionAdjustmentTimeNullOrEmpty")

    def test_the_adjustment_time_is_utc(self) -> None:
        r = self.adjust(adjustment(AdjustmentTime="2026-11-21T11:30:00"))
        self.assert_refused(r, "OfflineConversionAdjustmentTimeInvalid")

    def test_it_refuses_an_adjustment_before_its_conversion(self) -> None:
        r = self.adjust(adjustment(AdjustmentTime=at(NOON - HOUR - timedelta(seconds=1))))
        self.assert_refused(r, "OfflineConversionAdjustmentTimeEarlierThanConversionTime")

    def test_it_refuses_an_adjustment_in_the_future(self) -> None:
        r = self.adjust(adjustment(AdjustmentTime=at(NOON + timedelta(seconds=1))))
        self.assert_refused(r, "OfflineConversionFutureAdjustmentTimeCannotBeSet")

    def test_it_refuses_a_conversion_older_than_ninety_days(self) -> None:
        r = self.adjust(adjustment(ConversionTime=at(NOON - NINETY_DAYS - HOUR)))
        self.assert_refused(r, "OfflineConversionTimeOutOfWindow")

    def test_a_retract_takes_no_value(self) -> None:
        r = self.adjust(adjustment(AdjustmentType="Retract"))
        self.assert_refused(r, "OfflineConversionAdjustmentValueNotExpected")

    def test_a_restate_needs_a_value(self) -> None:
        r = self.adjust(adjustment(AdjustmentValue=None))
        self.assert_refused(r, "OfflineConversionAdjustmentValueRequired")

    def test_a_restate_needs_a_currency_from_somewhere(self) -> None:
        r = self.adjust(adjustment(ConversionName="Qualified Lead", AdjustmentCurrencyCode=None))
        self.assert_refused(r, "OfflineConversionCurrencyValueRequired")
        self.assert_taken(self.adjust(adjustment(AdjustmentCurrencyCode=None)))

    def test_its_value_is_in_range(self) -> None:
        self.assert_refused(self.adjust(adjustment(AdjustmentValue=-1)), "OfflineConversionValueInvalid")

    def test_its_currency_is_listed(self) -> None:
        r = self.adjust(adjustment(AdjustmentCurrencyCode="EURO"))
        self.assert_refused(r, "OfflineConversionCurrencyCodeInvalid")


class AccountTests(EmulatorTestCase):
    def test_an_account_without_goals_takes_nothing(self) -> None:
        self.headers["CustomerAccountId"] = BRAND_US
        self.assert_refused(self.apply(conversion()), "OfflineConversionNameInvalid")
