"""UUIDs that sort by the moment at which they were made."""

import uuid
from datetime import UTC, datetime, timedelta
from unittest import TestCase

import time_machine

from convultra.ids import ordered_uuid

MOMENT = datetime(2026, 11, 21, 12, tzinfo=UTC)
A_MILLISECOND = timedelta(milliseconds=1)


class TestOrderedUuid(TestCase):
    def test_it_is_one_of_version_7(self) -> None:
        made = ordered_uuid()
        self.assertEqual((made.version, made.variant), (7, uuid.RFC_4122))

    def test_later_ones_come_later(self) -> None:
        made = []
        for number in range(100):
            with time_machine.travel(MOMENT + number * A_MILLISECOND, tick=False):
                made.append(ordered_uuid())
        self.assertEqual(made, sorted(made))

    def test_no_two_of_a_millisecond_are_the_same(self) -> None:
        with time_machine.travel(MOMENT, tick=False):
            made = {ordered_uuid() for _ in range(1000)}
        self.assertEqual(len(made), 1000)
        self.assertEqual({one.int >> 80 for one in made}, {int(MOMENT.timestamp() * 1000)})

    def test_its_chance_fills_every_bit_that_is_left(self) -> None:
        made = [ordered_uuid().int for _ in range(200)]
        ever, always = 0, ~0
        for one in made:
            ever, always = ever | one, always & one
        self.assertEqual((ever & ~always & ((1 << 76) - 1)).bit_count(), 74)
