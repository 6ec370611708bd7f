"""The catalogue of words: nobody is ever shown a bare code."""

from django.test import SimpleTestCase

from forwarding.errors import HOLDS, SKIPS, words_for
from forwarding.models import Hold, Skip
from integrations.microsoft_ads.errors import KNOWN_ERRORS, WhatToDo

# What mends itself has nothing for a person to do.
NOTHING_TO_DO = {WhatToDo.RETRY, WhatToDo.THROTTLE, WhatToDo.RENEW_TOKEN, WhatToDo.GOAL_TOO_NEW, WhatToDo.SPLIT}

# Renewing the token is tried by itself; a person who meets this one is told what else it may be.
WHEN_RENEWING_DID_NOT_HELP = {105}


class TestWords(SimpleTestCase):
    def test_every_error_of_microsoft_has_a_title_a_cause_and_a_fix_where_one_is_due(self) -> None:
        for known in KNOWN_ERRORS:
            for symbol in known.symbols or ("",):
                with self.subTest(code=known.code, symbol=symbol):
                    words = words_for(known.code, symbol)
                    self.assertTrue(words.title and words.cause)
                    is_due = known.what_to_do not in NOTHING_TO_DO or known.code in WHEN_RENEWING_DID_NOT_HELP
                    self.assertEqual(bool(words.fix), is_due)

    def test_both_spellings_of_an_error_say_the_same(self) -> None:
        for known in KNOWN_ERRORS:
            said = {words_for(known.code, symbol) for symbol in known.symbols}
            self.assertLessEqual(len(said), 1, known)

    def test_an_unknown_code_is_told_with_microsofts_own_message(self) -> None:
        self.assertIn("Microsoft's own message", words_for(9999, "NeverSeen").fix)

    def test_every_hold_and_every_reason_not_to_send_has_words(self) -> None:
        self.assertEqual(set(HOLDS), set(Hold))
        self.assertEqual(set(SKIPS), set(Skip))
