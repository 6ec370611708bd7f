"""Answers that no page of Microsoft has: whatever they are, no row counts as accepted."""

import gzip

from django.test import SimpleTestCase

from integrations.microsoft_ads.errors import MicrosoftAdsError, UnexpectedAnswer, WhatToDo
from tests.integrations.microsoft_ads.canned import apply_answered

NONSENSE: dict[str, bytes] = {
    "nothing": b"",
    "a blank": b" \r\n",
    "HTML": b"<!doctype html><title>Sign in to the guest network</title>",
    "a word": b"OK",
    "null": b"null",
    "true": b"true",
    "a number": b"200",
    "a string": b'"PartialErrors"',
    "a list": b"[]",
    "a list of answers": b'[{"PartialErrors":[]}]',
    "cut off": b'{"PartialErrors":[',
    "cut off after the list": b'{"PartialErrors":[]',
    "two answers": b'{"PartialErrors":[]}{"PartialErrors":[]}',
    "more after the end": b'{"PartialErrors":[]} ok',
    "single quotes": b"{'PartialErrors':[]}",
    "a comment": b'{"PartialErrors":[]/* none */}',
    "NaN": b'{"PartialErrors":NaN}',
    "an endless number": b'{"PartialErrors":' + b"9" * 5_000 + b"}",
    "a number beyond Decimal": b'{"PartialErrors":1e99999999999999999999}',
    "deep nesting": b'{"PartialErrors":' + b"[" * 100_000,
    "a name twice": b'{"PartialErrors":[{"Index":0,"Code":5604}],"PartialErrors":[]}',
    "not UTF-8": b'{"PartialErrors":[],"x":"\xff"}',
    "camelCase": b'{"partialErrors":[]}',
    "another service's answer": b'{"status":"ok"}',
    "another service's error": b'{"error":{"code":"Unauthorized","message":"no"}}',
    "goals instead": b'{"ConversionGoals":[]}',
    "a list that is an object": b'{"PartialErrors":{}}',
    "a list that is a string": b'{"PartialErrors":"[]"}',
    "a list that is a number": b'{"PartialErrors":0}',
    "a list that is false": b'{"PartialErrors":false}',
    "an error that is null": b'{"PartialErrors":[null]}',
    "an error that is a number": b'{"PartialErrors":[5604]}',
    "an error that is a list": b'{"PartialErrors":[[0,5604]]}',
    "no index": b'{"PartialErrors":[{"Code":5604}]}',
    "a null index": b'{"PartialErrors":[{"Index":null,"Code":5604}]}',
    "an index that is true": b'{"PartialErrors":[{"Index":true,"Code":5604}]}',
    "an index that is a string": b'{"PartialErrors":[{"Index":"0","Code":5604}]}',
    "an index that is a fraction": b'{"PartialErrors":[{"Index":0.0,"Code":5604}]}',
    "an index below the first row": b'{"PartialErrors":[{"Index":-1,"Code":5604}]}',
    "an index past the last row": b'{"PartialErrors":[{"Index":2,"Code":5604}]}',
    "one good and one bad index": b'{"PartialErrors":[{"Index":0,"Code":5604},{"Index":9,"Code":5604}]}',
    "a code that is a string": b'{"PartialErrors":[{"Index":0,"Code":"5604"}]}',
    "a code that is true": b'{"PartialErrors":[{"Index":0,"Code":true}]}',
    "a symbol that is a number": b'{"PartialErrors":[{"Index":0,"ErrorCode":5604}]}',
    "a message that is an object": b'{"PartialErrors":[{"Index":0,"Message":{}}]}',
    "a type that is a number": b'{"PartialErrors":[],"Type":5}',
}


def outcome(answered: object) -> MicrosoftAdsError:
    """Return the error that a call ended with; rows that were accepted end the test."""
    assert isinstance(answered, MicrosoftAdsError), f"taken for an answer: {answered}"
    return answered


class NonsenseTests(SimpleTestCase):
    def test_no_nonsense_is_ever_taken_for_acceptance(self) -> None:
        for name, body in NONSENSE.items():
            with self.subTest(name):
                error = outcome(apply_answered(body))
                self.assertIsInstance(error, UnexpectedAnswer)
                self.assertTrue(error.outcome_unknown)
                self.assertFalse(error.permanent)

    def test_no_status_but_200_is_a_success(self) -> None:
        for status in (201, 202, 206, 301, 302, 307, 308, 400, 401, 403, 404, 409, 429, 500, 502, 503, 504):
            with self.subTest(status):
                error = outcome(
                    apply_answered({"PartialErrors": []}, status, {"Location": "https://elsewhere.example"})
                )
                self.assertIsInstance(error, UnexpectedAnswer)
                self.assertEqual(error.http_status, status)

    def test_a_refusing_status_says_that_nothing_was_taken(self) -> None:
        for status, what in {403: WhatToDo.PERMISSION, 413: WhatToDo.SPLIT, 429: WhatToDo.THROTTLE}.items():
            error = outcome(apply_answered(b"<html>", status))
            self.assertEqual((error.what_to_do, error.outcome_unknown), (what, False))

    def test_a_gateways_failure_leaves_the_outcome_unknown(self) -> None:
        for status in (500, 502, 503, 504):
            error = outcome(apply_answered(b"<html>", status))
            self.assertEqual((error.what_to_do, error.outcome_unknown), (WhatToDo.RETRY, True))

    def test_a_service_that_is_away_is_left_alone_for_an_hour(self) -> None:
        error = outcome(apply_answered(b"", 404))
        self.assertEqual((error.what_to_do, error.retry_after_seconds), (WhatToDo.RETRY, 3_600))

    def test_an_oversized_answer_is_not_read_to_its_end(self) -> None:
        error = outcome(apply_answered(b'{"PartialErrors":[]' + b" " * (8 * 1024 * 1024) + b"}"))
        self.assertIn("larger than 8 MiB", str(error))
        self.assertTrue(error.outcome_unknown)

    def test_a_bomb_is_not_unpacked(self) -> None:
        bomb = gzip.compress(b'{"PartialErrors":[]' + b" " * (16 * 1024 * 1024) + b"}", 9)
        error = outcome(apply_answered(bomb, headers={"Content-Encoding": "gzip"}))
        self.assertIn("larger than 8 MiB", str(error))

    def test_an_answer_that_is_not_encoded_as_it_says_is_not_believed(self) -> None:
        error = outcome(apply_answered({"PartialErrors": []}, headers={"Content-Encoding": "gzip"}))
        self.assertIn("not encoded as it says", str(error))
        self.assertTrue(error.outcome_unknown)

    def test_the_answer_is_kept_for_the_log_and_cut(self) -> None:
        error = outcome(apply_answered("é".encode() * 100_000))
        self.assertTrue(error.body.startswith("éé"))
        self.assertLessEqual(len(error.body.encode()), 64 * 1024)
