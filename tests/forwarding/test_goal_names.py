"""Which goal was meant by a name that Microsoft does not know."""

from django.test import SimpleTestCase

from forwarding.goal_names import Difference, nearest

GOALS = ["Trade Lead", "Purchase", "Newsletter sign-up"]


class NearestTests(SimpleTestCase):
    def assert_told(self, name: str, goal: str, words: str) -> None:
        found = nearest(name, GOALS)
        assert found is not None, name
        self.assertEqual((found.name, found.words), (goal, words))

    def test_it_names_the_words_whose_case_differs(self) -> None:
        self.assert_told("trade Lead", "Trade Lead", "Only upper and lower case differ: “trade” instead of “Trade”.")

    def test_it_says_where_a_space_is_too_many_or_missing(self) -> None:
        self.assert_told("Purchase ", "Purchase", "Only spaces differ: a space too many at the end.")
        self.assert_told("Trade  Lead", "Trade Lead", "Only spaces differ: a space too many after “Trade”.")
        self.assert_told("TradeLead", "Trade Lead", "Only spaces differ: a space missing after “Trade”.")

    def test_it_names_a_character_that_cannot_be_seen(self) -> None:
        self.assert_told("Trade\xa0Lead", "Trade Lead", "Only spaces differ: a no-break space instead of a space.")
        self.assert_told("Pur\u200bchase", "Purchase", "Only spaces differ: a zero width space too many after “Pur”.")

    def test_it_tells_case_and_spaces_together(self) -> None:
        found = nearest(" purchase", GOALS)
        assert found is not None
        self.assertEqual(found.difference, Difference.CASE_AND_SPACES)

    def test_it_names_a_dash_that_looks_like_another(self) -> None:
        self.assert_told(
            "Newsletter sign–up",
            "Newsletter sign-up",
            "Some characters look alike and are not the same: “–” (en dash) instead of “-”.",
        )

    def test_it_finds_a_name_that_is_misspelled(self) -> None:
        self.assert_told("Purchse", "Purchase", "It is spelled almost the same: “a” missing after “Purch”.")

    def test_the_smaller_difference_wins(self) -> None:
        found = nearest("purchase", ["Purchases", "Purchase"])
        assert found is not None
        self.assertEqual(found.name, "Purchase")

    def test_it_finds_nothing_for_a_name_that_is_right_or_like_none(self) -> None:
        for name in ("Purchase", "Store visit", "", "\x00", "\ud800", "p" * 10_000):
            with self.subTest(name=name[:20]):
                self.assertIsNone(nearest(name, GOALS))
        self.assertIsNone(nearest("Purchase", []))
