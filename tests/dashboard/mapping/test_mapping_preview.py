"""The preview of a mapping: what unsaved changes would have done with the newest events, before anything is saved."""

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from unittest import mock

from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from forwarding.models import Skip
from forwarding.planning import forecast
from forwarding.planning.planner import plan_all
from ingest.models import Consent, Source
from integrations.mapping import Rule, set_mapping
from tests.cast import store_event
from tests.dashboard.mapping.test_mapping_page import MappingTestCase

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Response


class PreviewTestCase(MappingTestCase):
    def come(self, *values: int, name: str = "purchase", **fields: Any) -> None:
        """Let events of these values come, a minute apart, the first of them first."""
        for minutes, value in enumerate(reversed(values), 1):
            at = timezone.now() - timedelta(minutes=minutes)
            store_event(self.site, name, value=Decimal(value), received_at=at, occurred_at=at, **fields)

    def preview(self, **changes: dict[str, str]) -> "Response":
        return self.client.post(self.url("account-mapping"), self.posted(None, **changes) | {"preview": "1"})


class TestPreview(PreviewTestCase):
    def test_it_says_how_many_would_be_forwarded_and_why_the_others_not(self) -> None:
        self.come(40, 60, 70)
        response = self.preview(purchase={"when": "value >= 50"})
        self.assertContains(response, "Of the last 3 events")
        self.assertContains(response, "2 would have been forwarded")
        self.assertContains(response, "value below 50")
        self.assertContains(response, "With the mapping in force it is 3.")

    def test_nothing_is_saved_and_what_was_typed_stays(self) -> None:
        self.come(40)
        response = self.preview(purchase={"when": "value >= 50"})
        self.assertEqual(self.in_force("purchase"), Rule(self.goal.goal_id))
        self.assertFalse(self.account.mapping_changes.exists())
        self.assertRegex(response.content.decode(), 'value="value &gt;= 50"[^>]* data-saved=""')

    def test_it_agrees_with_what_the_planner_then_does(self) -> None:
        self.come(40, 60)
        self.come(70, consent=Consent.DENIED)
        self.come(80, msclkid="")
        (preview,) = self.preview(purchase={"when": "value >= 50"}).context["previews"]
        foreseen = {line.judged.event.pk: line.judged.skip for line in preview.lines}
        set_mapping(self.account, "purchase", Rule(self.goal.goal_id, "event", "value >= 50"), None, timezone.now())
        plan_all(timezone.now())
        planned = {
            row.event_id: Skip(row.skip_reason) if row.skip_reason else None for row in self.account.deliveries.all()
        }
        self.assertEqual(foreseen, planned)
        self.assertEqual(set(planned.values()), {None, Skip.FILTERED, Skip.NO_CONSENT, Skip.NO_IDENTIFIER})

    def test_an_order_that_came_twice_counts_once_as_the_planner_has_it(self) -> None:
        for _ in range(2):
            self.come(40, transaction_id="HP-1")
        self.come(60, transaction_id="HP-2")
        response = self.preview(purchase={"when": "value >= 30"})
        self.assertContains(response, "2 would have been forwarded")
        self.assertContains(response, "With the mapping in force it is 2.")
        self.assertContains(response, "Same order")
        plan_all(timezone.now())
        self.assertEqual(self.account.deliveries.filter(skip_reason="").count(), 2)

    def test_the_value_that_would_travel_is_shown(self) -> None:
        self.come(40)
        self.assertContains(self.preview(purchase={"value": "fixed", "amount": "12.50"}), "$12.50")

    def test_only_the_newest_hundred_are_looked_at(self) -> None:
        self.come(1, 2, 3)
        with mock.patch.object(forecast, "NEWEST", 2):
            (preview,) = self.preview(purchase={"when": "value > 1"}).context["previews"]
        self.assertEqual([line.judged.event.value for line in preview.lines], [3, 2])

    def test_tests_are_left_out(self) -> None:
        self.come(40, source=Source.TEST)
        self.assertContains(self.preview(purchase={"when": "value > 1"}), "No event of this name came lately")

    def test_a_condition_that_is_wrong_is_not_called_unsaved(self) -> None:
        self.come(40)
        response = self.preview(purchase={"when": "price > 3"})
        self.assertContains(response, "The marked rows cannot be tried out yet", status_code=422)
        self.assertNotContains(response, "Not saved", status_code=422)

    def test_only_what_is_changed_is_previewed(self) -> None:
        self.come(40)
        self.come(40, name="lead")
        previews = self.preview(lead={"goal": str(self.lead.pk)}).context["previews"]
        self.assertEqual([one.event for one in previews], ["lead"])
        self.assertContains(self.preview(), "Nothing is changed yet")

    def test_a_wrong_row_says_so_and_the_others_are_previewed(self) -> None:
        self.come(40, name="lead")
        response = self.preview(lead={"goal": str(self.lead.pk)}, purchase={"when": "price > 3"})
        self.assertContains(response, "A comparison begins with", status_code=422)
        self.assertContains(response, "1 would have been forwarded", status_code=422)

    def test_a_refund_says_that_it_is_never_a_conversion(self) -> None:
        self.come(40, name="refund")
        self.assertContains(self.preview(refund={"goal": str(self.goal.pk)}), "never sent as a conversion of its own")

    def test_more_events_and_changes_cost_no_more_queries(self) -> None:
        self.come(40)
        posted = self.posted(purchase={"when": "value > 1"}) | {"preview": "1"}
        few = self.queries(posted)
        self.come(*range(50), name="lead")
        self.come(*range(50), name="signup")
        changes = {name: {"goal": str(self.lead.pk)} for name in ("lead", "signup")}
        many = self.queries(self.posted(None, purchase={"when": "value > 1"}, **changes) | {"preview": "1"})
        self.assertEqual(few, many)

    def queries(self, posted: dict[str, str]) -> int:
        with CaptureQueriesContext(connection) as captured:
            self.client.post(self.url("account-mapping"), posted)
        return len(captured)

    def test_hostile_texts_are_escaped(self) -> None:
        self.come(40, transaction_id="<script>alert(1)</script>" + "x" * 60)
        page = self.preview(purchase={"when": 'currency == "<img src=x>"'}).content.decode()
        self.assertNotIn("<script>alert", page)
        self.assertNotIn("<img src=x>", page)


class TestHistory(MappingTestCase):
    def test_older_changes_are_pages_away_and_none_is_shown_twice(self) -> None:
        for number in range(45):
            set_mapping(self.account, "lead", Rule(self.lead.goal_id, Decimal(number)), self.bob, timezone.now())
        url, seen = self.url("account-mapping"), []
        query = ""
        while True:
            context = self.client.get(url + query).context
            seen += [line["change"].pk for line in context["history"]]
            if not context["older"]:
                break
            query = f"?before={context['older']}"
        self.assertEqual(len(seen), 45)
        self.assertEqual(seen, sorted(seen, reverse=True))

    def test_a_cursor_that_is_none_shows_the_newest(self) -> None:
        for cursor in ("x", "1-x", "9" * 40, "\0", "١-١", "-1-1"):
            with self.subTest(cursor=cursor):
                response = self.client.get(self.url("account-mapping"), {"before": cursor})
                self.assertContains(response, "Nothing was changed yet")
