"""docs/ingest-api.md tells the truth: its example works, and it names every code."""

import json
import re

import time_machine
from django.conf import settings

from ingest.models import Adjustment, Event
from ingest.parsing import BACKEND, BROWSER
from ingest.refusals import REFUSALS
from tests.cast import NOON
from tests.ingest.calls import CLICK, CallsTestCase

PAGE = (settings.BASE_DIR / "docs" / "ingest-api.md").read_text(encoding="utf-8")
CALLS = re.findall(r"-d '(.*?)'\n```\n```json\n(.*?)\n```", PAGE, re.DOTALL)
SOURCES = [path.read_text(encoding="utf-8") for path in (settings.BASE_DIR / "ingest").glob("*.py")]


class IngestApiPageTests(CallsTestCase):
    def test_it_names_every_code_of_a_refusal(self) -> None:
        self.assertEqual([code for code in REFUSALS if f"`{code}`" not in PAGE], [])

    def test_it_names_every_code_of_a_problem(self) -> None:
        codes = {
            code
            for text in SOURCES
            for code in re.findall(r"(?:problem|problem_answer|BodyRefused)\(\s*\d+,\s*\"(\w+)\"", text)
        }
        self.assertGreater(len(codes), 12)
        self.assertEqual([code for code in codes if f"`{code}`" not in PAGE], [])

    def test_it_names_no_code_that_does_not_exist(self) -> None:
        rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", PAGE.partition("| code | meaning |")[2], re.MULTILINE)
        named = {code for row in rows for code in re.findall(r"\w+", row)}
        self.assertEqual(named, set(REFUSALS))

    def test_it_names_the_limits(self) -> None:
        self.assertIn(f"| {BROWSER.max_bytes // 1024} KiB, {BROWSER.max_items} events |", PAGE)
        for what in ("events", "adjustments"):
            self.assertIn(f"| {BACKEND.max_bytes // 1024**2} MiB, {BACKEND.max_items:,} {what} |", PAGE)

    def test_its_call_is_answered_as_it_says(self) -> None:
        (call, answer), _ = CALLS
        response = self.post_from_backend(call.encode())
        self.assertEqual(json.loads(response.content), json.loads(answer))
        self.assertEqual(Event.objects.get().event_id, "order-1042-paid")

    def test_its_adjustments_are_answered_as_it_says(self) -> None:
        _, (call, answer) = CALLS
        response = self.post_adjustments_body(call.encode())
        self.assertEqual(json.loads(response.content), json.loads(answer))
        self.assertEqual(Adjustment.objects.count(), 2)

    def test_what_became_of_an_adjustment_is_told_as_it_says(self) -> None:
        with time_machine.travel("2026-11-22T09:30:01Z", tick=False):
            self.post_adjustments_body(CALLS[1][0].encode())
        Adjustment.objects.update(planned_at=NOON)
        path, answer = re.findall(r"convultra\.example(/v1/adjustments/\S+) .*?```json\n(.*?)\n```", PAGE, re.DOTALL)[0]
        response = self.client.get(path, headers={"Authorization": f"Bearer {self.secret}"})
        self.assertEqual(response.json(), json.loads(answer))

    def test_its_click_is_taken(self) -> None:
        clicks = re.findall(r"```json\n(\{\"clicks\".*?)\n```", PAGE, re.DOTALL)[0]
        self.assertEqual(json.loads(clicks)["clicks"][0].keys(), CLICK.keys() | {"consent"})
        self.assertEqual(self.post_from_page("clicks", clicks.encode()).status_code, 202)
