"""What a person reads before and after doing something by hand."""

from collections import Counter
from decimal import Decimal
from typing import Any

from django.test import SimpleTestCase

from forwarding.hands.actions import Tally
from forwarding.hands.rules import DUE, TOO_OLD, Action, WhyNot
from forwarding.hands.words import forecast, outcome, refused_sentence

BAD_CLICK = WhyNot("click ID is not valid", would_fail_again=True)


def tally(action: Action = Action.RETRY, **fields: Any) -> Tally:
    return Tally(action, **fields)


def said(counted: Tally) -> list[tuple[str, str]]:
    return [(line.text, line.note) for line in forecast(counted, lambda values: f"${sum(values.values())}")]


class TestForecast(SimpleTestCase):
    def test_the_good_comes_first_then_what_fails_again_then_what_cannot(self) -> None:
        refused = Counter({TOO_OLD: 3, BAD_CLICK: 8, DUE: 1})
        counted = tally(able=12, values={"USD": Decimal(99)}, refused=refused, moved=Counter({"Trade enquiry": 5}))
        self.assertEqual(
            said(counted),
            [
                ("12 can succeed", "$99"),
                ("5 of them go to “Trade enquiry”", "not the goal or name before"),
                ("8 will fail again", "click ID is not valid"),
                ("3 cannot be retried", "older than 90 days"),
                ("1 cannot be retried", "due already"),
            ],
        )

    def test_what_stops_an_account_is_told(self) -> None:
        counted = tally(able=2, stopped=Counter({"Forwarding is paused": 2}))
        self.assertIn(("2 of them wait on", "forwarding is paused"), said(counted))

    def test_more_than_a_request_can_bear_is_told(self) -> None:
        self.assertEqual(said(tally(able=50_000, is_all=False))[-1][0], "Only the first 50,000 are looked at")

    def test_nothing_to_do_has_no_first_line(self) -> None:
        self.assertEqual(
            said(tally(Action.CANCEL, refused=Counter({DUE: 1}))), [("1 cannot be cancelled", "due already")]
        )

    def test_every_action_has_its_word(self) -> None:
        words = [said(tally(action, able=1))[0][0] for action in Action]
        self.assertEqual(
            words[1:], [f"1 can be {word}" for word in ("held", "released", "cancelled", "restated", "retracted")]
        )


class TestAfterwards(SimpleTestCase):
    def test_what_was_done_is_said_with_what_was_not_and_why(self) -> None:
        self.assertEqual(outcome(tally(able=3)), "3 retried")
        self.assertEqual(outcome(tally(able=3, refused=Counter({DUE: 1}))), "3 retried, 1 left as it was: due already")
        many = Counter({TOO_OLD: 2, DUE: 1})
        self.assertEqual(
            outcome(tally(refused=many)), "0 retried, 3 left as they were: older than 90 days, due already"
        )

    def test_one_that_stays_says_why(self) -> None:
        self.assertEqual(refused_sentence(Action.RETRY, BAD_CLICK), "It would fail again: click ID is not valid.")
        self.assertEqual(refused_sentence(Action.HOLD, TOO_OLD), "It cannot be held: older than 90 days.")
