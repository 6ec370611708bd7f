"""Every code and symbol of Microsoft's pages is known, and asks for the right thing."""

from django.test import SimpleTestCase

from integrations.microsoft_ads.errors import KNOWN_ERRORS, WhatToDo, urgency, what_to_do, what_to_do_by_status

CODES = {
    *(0, 100, 105, 106, 108, 109, 113, 116, 117, 120, 122, 123, 124, 125, 126),
    *(201, 202, 203, 204, 205, 206, 207, 208, 210, 303, 474, 513, 514, 515, 516, 517),
    *(1001, 1008, 1010, 1029, 1030, 1031, 1102, 1490, 2928, 4149),
    *range(5600, 5628),
    8004,
    *(*range(5314, 5330), 5331, 5332, 5333, 5337, 5347, 5351, 5352, 5355, 5356, 6608, 6609, 6610),
    *(*range(5300, 5314), 5330),
}
SYMBOLS_WITHOUT_A_NUMBER = {
    "NotEligibleForEnhancedConversions",
    "ConversionEmailAddressIsNotHashed",
    "ConversionPhoneNumberIsNotHashed",
    "GoalNotEligibleForExternalAttribution",
    "ExternalAttributionRequiredFieldEmpty",
    "ExternalAttributionModelTooLong",
    "ExternalAttributionCreditValueInvalid",
}
TWO_SPELLINGS = {
    5601: ("OfflineConversionsLimitExceeded", "OfflineConversionBatchSizeExceedsLimit"),
    5603: ("OfflineConversionMicrosoftClickIdNullOrEmpty", "OfflineConversionMSClickIdNullOrEmpty"),
    5604: ("OfflineConversionMicrosoftClickIdInvalid", "OfflineConversionMSClickIdInvalid"),
    5615: ("OfflineConversionNotAcceptedForGoal", "OfflineConversionGoalTooRecent"),
}
# What a row or a batch of conversions can be answered with, by what it asks for.
BY_WHAT_TO_DO: dict[WhatToDo, tuple[int, ...]] = {
    WhatToDo.RETRY: (0, 202, 1010, 2928, 4149, 5612),
    WhatToDo.THROTTLE: (117, 207),
    WhatToDo.RENEW_TOKEN: (105, 109),
    WhatToDo.RECONNECT: (108, 120, 122, 123, 124, 125, 126, 1001),
    WhatToDo.PERMISSION: (106,),
    WhatToDo.ACCOUNT: (208, 1008, 5613),
    WhatToDo.GOAL: (5605, 5606),
    WhatToDo.GOAL_TOO_NEW: (5615,),
    WhatToDo.WAIT_FOR_TIME: (5614, 5622),
    WhatToDo.EXPIRED: (5609, 5623),
    WhatToDo.SPLIT: (5601,),
    WhatToDo.OPERATOR: (100, 116, 201, 203, 206, 1029, 1030, 5600, 5602, 5618, 5619, 5624, 5625, 5626),
    WhatToDo.REFUSE: (*(5603, 5604, 5607, 5608, 5610, 5611, 5616, 5617, 5620, 5621, 5627),),
}


class KnownErrorTests(SimpleTestCase):
    def test_every_documented_code_is_in_the_table_once(self) -> None:
        codes = [known.code for known in KNOWN_ERRORS if known.code is not None]
        self.assertEqual(sorted(codes), sorted(CODES))

    def test_every_symbol_without_a_number_is_in_the_table(self) -> None:
        symbols = {symbol for known in KNOWN_ERRORS if known.code is None for symbol in known.symbols}
        self.assertEqual(symbols, SYMBOLS_WITHOUT_A_NUMBER)

    def test_both_spellings_of_a_symbol_are_known(self) -> None:
        spelled = {known.code: known.symbols for known in KNOWN_ERRORS if known.code in TWO_SPELLINGS}
        self.assertEqual(spelled, TWO_SPELLINGS)

    def test_only_two_errors_have_a_number_alone(self) -> None:
        self.assertEqual([known.code for known in KNOWN_ERRORS if not known.symbols], [474, 1001])

    def test_a_symbol_means_one_thing(self) -> None:
        meanings: dict[str, set[WhatToDo]] = {}
        for known in KNOWN_ERRORS:
            for symbol in known.symbols:
                meanings.setdefault(symbol, set()).add(known.what_to_do)
        self.assertEqual([symbol for symbol, whats in meanings.items() if len(whats) > 1], [])

    def test_every_entry_names_its_page(self) -> None:
        self.assertEqual([known for known in KNOWN_ERRORS if not known.source], [])


class WhatToDoTests(SimpleTestCase):
    def test_each_code_asks_for_what_its_page_says(self) -> None:
        for what, codes in BY_WHAT_TO_DO.items():
            for code in codes:
                with self.subTest(code=code):
                    self.assertIs(what_to_do(code, ""), what)

    def test_a_known_symbol_wins_over_the_number(self) -> None:
        self.assertIs(what_to_do(5606, "OfflineConversionGoalTooRecent"), WhatToDo.GOAL_TOO_NEW)

    def test_the_number_helps_where_the_symbol_is_new(self) -> None:
        self.assertIs(what_to_do(5609, "SpelledAnew"), WhatToDo.EXPIRED)

    def test_what_no_page_has_is_unknown(self) -> None:
        self.assertIs(what_to_do(999_999, "SpelledAnew"), WhatToDo.UNKNOWN)
        self.assertIs(what_to_do(None, ""), WhatToDo.UNKNOWN)

    def test_the_detail_of_105_tells_a_stale_token_from_a_user_who_is_gone(self) -> None:
        self.assertIs(what_to_do(105, "InvalidCredentials", "InvalidAccessToken"), WhatToDo.RENEW_TOKEN)
        self.assertIs(what_to_do(105, "InvalidCredentials", "UserNotFound"), WhatToDo.RECONNECT)
        self.assertIs(what_to_do(105, "", "AccountInactive"), WhatToDo.RECONNECT)

    def test_only_a_refused_or_expired_record_is_beyond_help(self) -> None:
        self.assertEqual([what for what in WhatToDo if what.permanent], [WhatToDo.REFUSE, WhatToDo.EXPIRED])

    def test_a_permanent_refusal_outranks_a_passing_trouble(self) -> None:
        self.assertLess(urgency(WhatToDo.REFUSE), urgency(WhatToDo.GOAL))
        self.assertLess(urgency(WhatToDo.GOAL), urgency(WhatToDo.RETRY))

    def test_a_bare_status_is_read_as_microsofts_own_client_does(self) -> None:
        expected = {401: WhatToDo.RENEW_TOKEN, 403: WhatToDo.PERMISSION, 429: WhatToDo.THROTTLE, 413: WhatToDo.SPLIT}
        expected |= {500: WhatToDo.RETRY, 503: WhatToDo.RETRY, 404: WhatToDo.RETRY, 501: WhatToDo.RETRY}
        expected |= {400: WhatToDo.OPERATOR, 405: WhatToDo.OPERATOR, 200: WhatToDo.UNKNOWN, 302: WhatToDo.UNKNOWN}
        self.assertEqual({status: what_to_do_by_status(status) for status in expected}, expected)
