"""What is refused is kept by rule, never with what was sent: little of a site, and written seldom."""

from datetime import datetime, timedelta
from unittest import mock

import time_machine
from django.db import OperationalError
from django.test import SimpleTestCase

from ingest import answers, refused_items
from ingest.decoding import BodyRefused
from ingest.door import ADJUSTMENTS, EVENTS, Route
from ingest.http import Answer, problem_answer
from ingest.judging import Outcome, Refusal
from ingest.keys import WRITE_KEYS
from ingest.models import RefusedItem
from ingest.notes import Notes
from ingest.parsing import BACKEND, BROWSER, SiteFacts, parse_events
from ingest.refusals import BODY_RULES, REFUSALS, fault, rule
from ingest.refused_items import MAX_ITEMS, has_news, note, refusals_in
from tests.cast import NOON, CastTestCase
from tests.ingest.calls import ADJUSTMENT, CLICK, PURCHASE, CallsTestCase

PAGES, BACKENDS = Route(EVENTS, BROWSER), Route(EVENTS, BACKEND)


def refused(*members: str) -> Answer:
    """Return the answer to one event of which these members are too long."""
    errors = [fault(f"events[7].{member}", "too_long") for member in members]
    return problem_answer(422, "nothing_accepted", "Nothing", errors=errors)


class RefusalsInTests(SimpleTestCase):
    def test_a_member_is_named_by_its_path_inside_the_item(self) -> None:
        errors = [
            fault("events[0].user_data.email_sha256", "hash_malformed"),
            fault("events[41].user_data.email_sha256", "hash_malformed"),
            fault("events[2]", "too_deep"),
        ]
        found = refusals_in(problem_answer(422, "nothing_accepted", "Nothing", errors=errors))
        self.assertEqual(found, [("user_data.email_sha256", "hash_malformed"), ("", "too_deep")])

    def test_of_a_body_that_is_no_batch_it_names_what_is_wrong(self) -> None:
        for body, expected in (
            (b"{", ("", "invalid_json")),
            (b'"\xff"', ("", "invalid_utf8")),
            (b'{"events": []}', ("events", "empty_batch")),
            (b'{"events": [{}], "sent_at": "now"}', ("sent_at", "time_malformed")),
            (b'{"events": %s}' % str([{}] * 200).encode(), ("", "too_many_items")),
            (b" " * 70_000, ("", "body_too_large")),
        ):
            with self.subTest(expected), self.assertRaises(BodyRefused) as caught:
                parse_events(body, SiteFacts(1, "USD"), BROWSER, NOON)
            said = caught.exception
            answer = problem_answer(said.status, said.code, said.title, said.detail, said.errors)
            self.assertEqual(refusals_in(answer), [expected])

    def test_what_is_as_it_should_be_is_no_refusal(self) -> None:
        for answer in (
            answers.unknown_key(),
            answers.unauthorized(),
            answers.origin_not_allowed(),
            answers.unavailable(),
            answers.failed(),
            problem_answer(409, "conflict", "Spoken against", errors=[fault("events[0].event_id", "conflict")]),
            problem_answer(
                422, "nothing_accepted", "No", errors=[fault("clicks[0].consent.ad_storage", "consent_denied")]
            ),
        ):
            with self.subTest(answer.body):
                self.assertEqual(refusals_in(answer), [])

    def test_limits_are_named(self) -> None:
        self.assertEqual(refusals_in(answers.daily_cap_reached(60)), [("", "daily_cap_reached")])
        self.assertEqual(refusals_in(answers.too_many_requests("key", 1)), [("", "too_many_requests")])

    def test_what_the_commit_refuses_is_found_beside_what_it_took(self) -> None:
        items = parse_events(
            b'{"events": [{"name": "a", "event_id": "1", "user_data": {"email": "none"}}, {"name": "a"}]}',
            SiteFacts(1, "USD"), BACKEND, NOON,
        )  # fmt: skip
        answer = answers.results(items, [Outcome.ACCEPTED, Refusal("", "not_storable")], "event_id")
        self.assertEqual((answer.status, refusals_in(answer)), (202, [("", "not_storable")]))

    def test_every_rule_is_a_sentence_of_its_own(self) -> None:
        for code in {*REFUSALS, *BODY_RULES}:
            with self.subTest(code):
                self.assertRegex(rule(code), r"^[A-Za-z][^{}]*[^ :;]\.$")
                self.assertNotRegex(rule(code), r"  | be\.|, not both")


class NotingTests(CastTestCase):
    def note(self, answer: Answer, now: datetime = NOON, way: Route = PAGES) -> None:
        caller = WRITE_KEYS.find(self.site.write_key)
        assert caller is not None
        if has_news(way, caller, answer, now):
            note(way, caller, answer, now)

    def members(self) -> list[str]:
        return list(self.site.refused_items.order_by("last_at", "pk").values_list("member", flat=True))

    def test_it_is_kept_with_the_first_and_the_last_time(self) -> None:
        later = NOON + timedelta(minutes=1)
        self.note(refused("x"))
        self.note(refused("x"), later)
        row = self.site.refused_items.get()
        self.assertEqual((row.source, row.what, row.member, row.code), ("browser", "events", "x", "too_long"))
        self.assertEqual((row.first_at, row.last_at), (NOON, later))

    def test_within_a_minute_it_is_not_written_again(self) -> None:
        self.note(refused("x"))
        with self.assertNumQueries(0):
            self.note(refused("x"), NOON + timedelta(seconds=59))

    def test_of_pages_and_of_backends_it_is_kept_apart(self) -> None:
        for way in (PAGES, BACKENDS, Route(ADJUSTMENTS, BACKEND)):
            self.note(refused("x"), way=way)
        kept = self.site.refused_items.order_by("pk").values_list("source", "what")
        self.assertEqual(list(kept), [("browser", "events"), ("server", "events"), ("server", "adjustments")])

    def test_no_more_than_a_few_are_taken_in_a_minute(self) -> None:
        self.note(refused(*(f"n{number}" for number in range(MAX_ITEMS + 5))))
        self.assertEqual(len(self.members()), MAX_ITEMS)

    def test_of_too_many_the_oldest_go_and_those_of_backends_stay(self) -> None:
        self.note(refused("of-a-backend"), way=BACKENDS)
        for number in range(MAX_ITEMS + 1):
            self.note(refused(f"n{number}"), NOON + timedelta(minutes=number))
        self.assertEqual(len(self.members()), MAX_ITEMS + 1)
        self.assertEqual(self.members()[:2], ["of-a-backend", "n1"])

    def test_a_long_name_is_cut(self) -> None:
        self.note(refused("properties." * 20), way=BACKENDS)
        self.assertEqual(len(self.members()[0]), 128)

    def test_names_that_a_stranger_makes_up_are_one_row(self) -> None:
        made_up = [fault(f"events[0].n{number}", "unknown_member") for number in range(MAX_ITEMS)]
        made_up += [fault(f"events[0].properties.n{number}", "personal_data") for number in range(MAX_ITEMS)]
        self.note(problem_answer(422, "nothing_accepted", "Nothing", errors=made_up))
        self.note(refused("transaction_id"))
        self.assertEqual(self.members(), ["", "properties", "transaction_id"])

    def test_what_was_mended_begins_anew(self) -> None:
        later = NOON + timedelta(hours=25)
        self.note(refused("x"))
        self.note(refused("x"), later)
        self.assertEqual(self.site.refused_items.get().first_at, later)

    def test_a_daily_cap_begins_anew_at_the_sites_midnight(self) -> None:
        type(self.site).objects.filter(pk=self.site.pk).update(time_zone="America/Chicago")
        before, after = NOON.replace(hour=5, minute=59), NOON.replace(hour=6)
        for now in (before, after, after + timedelta(hours=1)):
            with self.assertLogs("ingest.refused_items", "WARNING"):
                self.note(answers.daily_cap_reached(60), now)
        self.assertEqual(self.site.refused_items.get().first_at, after)

    def test_a_daily_cap_is_logged_once_a_minute_for_a_site(self) -> None:
        with self.assertLogs("ingest.refused_items", "WARNING") as logs:
            for way in (PAGES, BACKENDS, Route(ADJUSTMENTS, BACKEND)):
                self.note(answers.daily_cap_reached(60), way=way)
        said = [record.getMessage() for record in logs.records]
        self.assertEqual(said, [f"Site {self.site.pk} has reached its daily cap and is answered 429."])

    def test_while_the_database_is_away_nothing_happens(self) -> None:
        away = mock.patch.object(Notes, "_write", side_effect=OperationalError("terminating connection"))
        with away, self.assertLogs("ingest.notes", "WARNING"):
            self.note(refused("x"))
        self.assertEqual(self.members(), [])


class ThroughDjangoTests(CallsTestCase):
    """The views note what the collector does."""

    def setUp(self) -> None:
        self.enterContext(time_machine.travel(NOON, tick=False))

    def noted(self) -> list[tuple[str, str, str, str]]:
        return list(RefusedItem.objects.order_by("pk").values_list("source", "what", "member", "code"))

    def test_what_a_page_sends_in_vain_is_noted(self) -> None:
        self.post_from_page("events", {"events": [PURCHASE | {"currency": "$"}]})
        self.post_from_page("clicks", {"clicks": [CLICK | {"msclkid": "secret"}]})
        self.post_from_page("events", {"events": [PURCHASE]}, "text/html")
        self.assertEqual(
            self.noted(),
            [
                ("browser", "events", "currency", "currency_unknown"),
                ("browser", "clicks", "msclkid", "click_id_malformed"),
                ("browser", "events", "", "unsupported_media_type"),
            ],
        )

    def test_a_total_in_another_currency_is_noted(self) -> None:
        self.post_from_backend({"events": [PURCHASE | {"transaction_id": "1042"}]})
        self.post_adjustments(ADJUSTMENT | {"currency": "USD"})
        self.assertEqual(self.noted(), [("server", "adjustments", "currency", "currency_differs")])

    def test_what_is_taken_is_not(self) -> None:
        self.post_from_page("events", {"events": [PURCHASE]})
        self.post_from_page("clicks", {"clicks": [CLICK]}, **{"Sec-GPC": "1"})
        self.assertEqual(self.noted(), [])

    def test_a_site_that_reached_its_daily_cap_is_noted(self) -> None:
        type(self.site).objects.filter(pk=self.site.pk).update(daily_event_cap=1)
        with self.assertLogs(refused_items.logger, "WARNING"):
            for number in range(2):
                self.post_from_page("events", {"events": [PURCHASE | {"event_id": f"e-{number}"}]})
        self.assertEqual(self.noted(), [("browser", "events", "", "daily_cap_reached")])
