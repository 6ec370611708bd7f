"""The state file: what outlives a restart, and what a torn or damaged file does."""

import json
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import requests

from integrations.microsoft_ads.emulator.app import create_app
from integrations.microsoft_ads.emulator.books import Books
from integrations.microsoft_ads.emulator.journal import DamagedJournalError, open_books
from tests.support.emulator import EMAIL_HASH, HOST, NOON, EmulatorTestCase, adjustment, conversion
from tests.support.wsgi_adapter import WSGIAdapter


class JournalTests(EmulatorTestCase):
    def setUp(self) -> None:
        super().setUp()
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "state.jsonl"
        self.restart()
        self.act_as("ads@harborpine.example")

    def restart(self) -> None:
        """Put books read from the file in the place of the ones in use."""
        self.books = self.opened()
        self.session.mount(HOST, WSGIAdapter(create_app(self.books, lambda: self.now)))

    def opened(self) -> Books:
        books = open_books(self.path, self.now)
        self.addCleanup(books.close)
        return books

    def kept(self) -> dict[str, Any]:
        return {
            "accounts": self.books.accounts,
            "goals": self.books.goals,
            "clicks": self.books.clicks,
            "grants": self.books.grants,
            "bookings": self.books.bookings,
            "received": self.books.received,
            "calls": self.books.calls,
        }

    def live(self) -> None:
        """Do a bit of everything that changes the books."""
        self.control("settings", {"adjustment_settle_seconds": 0})
        self.apply(conversion(HashedEmailAddress=EMAIL_HASH), conversion(ConversionName="Nobody"), None)
        self.apply(conversion(ConversionName="Account Registration"))
        self.adjust(adjustment(HashedEmailAddress=EMAIL_HASH))
        self.control("goals", {"id": "90010006", "name": "Phone  Sale ", "status": "Paused"})
        self.control("accounts", {"account_id": "138204431", "user": "ads@harborpine.example", "access": False})
        self.session.get(f"{HOST}/_emulator/click", allow_redirects=False)
        self.plan("503")
        self.apply(conversion())

    def test_everything_is_there_after_a_restart(self) -> None:
        self.live()
        before = self.kept()
        self.restart()
        self.assertEqual(self.kept(), before)

    def test_a_token_and_a_key_still_hold(self) -> None:
        self.apply(conversion())
        self.restart()
        self.assert_taken(self.apply(conversion()))
        self.assertEqual(self.outcomes(), ["booked", "DuplicateConversionKey"])

    def test_a_unique_goal_still_counts_once(self) -> None:
        self.apply(conversion(ConversionName="Account Registration"))
        self.restart()
        self.apply(conversion(ConversionName="Account Registration", ConversionTime="2026-11-21T11:30:00Z"))
        self.assertEqual([one.counted for one in self.books.bookings], [True, False])

    def test_a_young_goal_ages_on(self) -> None:
        self.now = NOON + timedelta(hours=3)
        self.restart()
        age = self.now - self.books.goals["90010006"].created_at
        self.assertEqual(age, timedelta(hours=3, minutes=27))

    def test_a_torn_last_line_is_cut_off(self) -> None:
        self.apply(conversion())
        whole = self.path.read_bytes()
        self.path.write_bytes(whole + b'["Booking", {"id": 2, "ke')
        self.restart()
        self.assertEqual(len(self.books.bookings), 1)
        self.assertEqual(self.path.read_bytes(), whole)

    def test_a_file_torn_in_its_first_line_begins_again(self) -> None:
        self.path.write_bytes(b'["opened", "2026-11')
        self.restart()
        self.assertEqual(self.books.opened_at, NOON)

    def test_a_damaged_line_stops_the_start(self) -> None:
        lines = self.path.read_text().splitlines()
        for damage in ("{", '["Nobody", {}]', '["Goal", {"id": "1"}]', '["Goal"]', "7"):
            self.path.write_text("\n".join([lines[0], damage, *lines[1:]]) + "\n")
            with self.assertRaisesMessage(DamagedJournalError, "line 2"):
                open_books(self.path, NOON)

    def test_another_file_stops_the_start(self) -> None:
        for text in ('{"a": 1}\n', "hello\n", '["closed", "2026-11-21T12:00:00Z"]\n', '["opened", "noon"]\n'):
            self.path.write_text(text)
            with self.assertRaisesMessage(DamagedJournalError, "first line"):
                open_books(self.path, NOON)

    def test_a_line_is_written_before_the_answer(self) -> None:
        self.plan("close_after")
        with self.assertRaises(requests.ConnectionError):
            self.apply(conversion())
        kinds = [json.loads(line)[0] for line in self.path.read_text().splitlines()]
        self.assertIn("Booking", kinds)
