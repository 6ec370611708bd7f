"""Which rows of a batch Microsoft took: by index, and only by index."""

import random

from django.test import SimpleTestCase

from integrations.microsoft_ads.answers import item_results
from integrations.microsoft_ads.errors import WhatToDo
from integrations.microsoft_ads.strict_json import Json, Members
from tests.integrations.microsoft_ads.canned import apply_answered


def batch_error(index: int, code: int | None, symbol: str | None = None, **more: Json) -> dict[str, Json]:
    """Return a BatchError as cm/batcherror prints it."""
    shape: dict[str, Json] = {"Type": "BatchError", "Index": index, "Code": code, "ErrorCode": symbol}
    return {**shape, "Message": "Refused.", "Details": None, "FieldPath": None, "ForwardCompatibilityMap": None, **more}


def answer(*errors: Json) -> Members:
    """Return an answer that lists these errors."""
    return Members({"PartialErrors": list(errors)})


class PartialErrorTests(SimpleTestCase):
    def test_an_empty_list_accepts_every_row(self) -> None:
        self.assertEqual(apply_answered({"PartialErrors": []}), [None, None])

    def test_null_or_no_list_accepts_every_row(self) -> None:
        self.assertEqual(apply_answered({"PartialErrors": None}), [None, None])
        self.assertEqual(apply_answered({}), [None, None])

    def test_a_listed_row_is_refused_and_the_others_are_accepted(self) -> None:
        self.assertEqual(apply_answered({"PartialErrors": [batch_error(1, 5609)]}, rows=3), [None, 5609, None])

    def test_the_order_of_the_list_does_not_matter(self) -> None:
        self.assertEqual(apply_answered({"PartialErrors": [batch_error(1, 5604), batch_error(0, 5606)]}), [5606, 5604])

    def test_an_editorial_error_refuses_as_well(self) -> None:
        editorial = batch_error(0, 5610, Type="EditorialError", Appealable=False, Location="Text")
        self.assertEqual(apply_answered({"PartialErrors": [editorial]}), [5610, None])

    def test_an_error_without_code_or_symbol_still_refuses(self) -> None:
        (item, _) = item_results(answer({"Index": 0}), 2)
        self.assertFalse(item.accepted)
        self.assertIs(item.error and item.error.what_to_do, WhatToDo.UNKNOWN)

    def test_of_several_errors_of_a_row_the_gravest_stays(self) -> None:
        errors = [batch_error(0, 5612), batch_error(0, 5604), batch_error(0, 5606)]
        for order in (errors, errors[::-1]):
            (item,) = item_results(answer(*order), 1)
            self.assertEqual(item.error and item.error.code, 5604)

    def test_a_symbol_without_a_number_is_kept(self) -> None:
        (item,) = item_results(answer(batch_error(0, None, "NotEligibleForEnhancedConversions")), 1)
        self.assertEqual(item.error and (item.error.code, item.error.what_to_do), (None, WhatToDo.GOAL))

    def test_microsofts_words_fit_a_column(self) -> None:
        (item,) = item_results(answer(batch_error(0, 5604, "S" * 5_000, Message="m\x00\ud800" * 5_000)), 1)
        assert item.error
        self.assertLessEqual((len(item.error.symbol), len(item.error.message)), (100, 1_000))
        self.assertNotIn("\x00", item.error.message)
        item.error.message.encode()

    def test_any_set_of_refusals_among_a_thousand_is_told_apart_exactly(self) -> None:
        chance = random.Random(5609)
        for _ in range(50):
            refused = set(chance.sample(range(1_000), chance.randrange(300)))
            listed = [batch_error(index, 5609) for index in chance.sample(sorted(refused), len(refused))]
            items = item_results(answer(*listed), 1_000)
            self.assertEqual({index for index, item in enumerate(items) if not item.accepted}, refused)
