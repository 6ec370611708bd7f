"""What the soak calls broken; the soak itself takes minutes and is a command."""

from django.test import SimpleTestCase

from tests.door.soak import Answer, Books, report, violations


def told(*statuses: int) -> list[Answer]:
    return [Answer(f"e-{number}", status, 0.01, 100.0) for number, status in enumerate(statuses)]


def books(stored: str, booked: str) -> Books:
    return Books([f"e-{number}" for number in stored], len(booked), [(f"e-{number}", 101.0) for number in booked], 0.0)


class SoakTests(SimpleTestCase):
    def test_nothing_is_broken_when_all_books_name_the_same_events(self) -> None:
        self.assertEqual(violations(told(202, 202), books("01", "10")), [])

    def test_each_difference_between_the_books_is_named(self) -> None:
        for there, what in (
            (
                books("0", "0"),
                ["1 events were acknowledged and are not stored", "1 events were acknowledged and never booked"],
            ),
            (books("01", "0"), ["1 events were acknowledged and never booked"]),
            (books("01", "012"), ["1 events were booked and are not stored"]),
            (books("011", "01"), ["1 events are stored twice"]),
            (books("01", "011"), ["1 events were booked twice"]),
        ):
            with self.subTest(what):
                self.assertEqual(violations(told(202, 202), there), what)

    def test_every_other_answer_is_broken_and_so_is_none(self) -> None:
        found = violations(told(202, 503, 503, 0), books("0", "0"))
        self.assertEqual(found, ["1 requests were not answered", "2 requests were answered 503"])

    def test_what_was_stored_without_an_answer_may_be_booked(self) -> None:
        self.assertEqual(len(violations(told(202, 0), books("01", "01"))), 1)

    def test_it_says_how_long_answers_and_bookings_took(self) -> None:
        said = "\n".join(report(told(202, 202), books("01", "01"), 200))
        self.assertIn("2 × 202; p50 10.00, p99 10.00, worst 10.00 ms", said)
        self.assertIn("until booked: p50 1.00, p99 1.00, worst 1.00 s", said)
