import json

from django.test import SimpleTestCase

from convultra.problems import FieldError, problem


class ProblemTests(SimpleTestCase):
    def test_it_says_what_kind_of_problem_this_is(self) -> None:
        r = problem(413, "too_large", "The body is too large")
        self.assertEqual((r.status_code, r["Content-Type"]), (413, "application/problem+json"))
        self.assertEqual(
            json.loads(r.content), {"type": "/problems/too_large", "status": 413, "title": "The body is too large"}
        )

    def test_it_names_every_faulty_field(self) -> None:
        faults = [FieldError("events[0].value", "negative", "A value is never below zero.")]
        r = problem(422, "invalid", "Nothing could be stored", "One event was refused.", faults)
        body = json.loads(r.content)
        self.assertEqual(body["detail"], "One event was refused.")
        self.assertEqual(
            body["errors"],
            [{"field": "events[0].value", "code": "negative", "detail": "A value is never below zero."}],
        )

    def test_it_carries_headers_and_is_not_cached(self) -> None:
        r = problem(429, "too_many", "Too many requests", headers={"Retry-After": "7"})
        self.assertEqual((r["Retry-After"], r["Cache-Control"]), ("7", "no-store"))
