"""The mapping page: what it draws, what it saves, and two people at once."""

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import time_machine
from django.conf import settings
from django.utils import timezone

from dashboard.mapping import forms as mapping_forms
from dashboard.mapping.forms import Row, version_of
from forwarding.models import OTHER_NAMES, EventDay
from forwarding.planning.planner import plan_all
from integrations.connecting import add_accounts, remove_account
from integrations.mapping import Rule, rule_of, set_mapping
from integrations.microsoft_ads.emulator.world import SEARCH_US
from integrations.models import AdAccount, Connection, GoalMapping
from tests.cast import NOON, make_account, make_goal, store_event
from tests.dashboard.accounts import AccountTestCase
from tests.support.microsoft import EmulatedMicrosoft

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Response


class MappingTestCase(AccountTestCase):
    def setUp(self) -> None:
        self.lead = make_goal(self.account, "Trade enquiry")
        self.client.force_login(self.alice)

    def page_rows(self) -> dict[str, Row]:
        """Return the rows that the page draws now, by event."""
        context = self.client.get(self.url("account-mapping")).context
        rows = [*context["above"], *context["below"], context["new_row"]]
        return {row.event: row for row in rows}

    def posted(self, rows: dict[str, Row] | None = None, **changes: dict[str, str]) -> dict[str, str]:
        """Return the form as the page drew it, with the fields of some events changed; `new` is the empty row."""
        data: dict[str, str] = {}
        for event, row in (rows or self.page_rows()).items():
            fields = {"goal": row.goal, "value": row.value, "amount": row.amount, "when": row.when}
            fields |= {"event": event, "version": row.version} | changes.get(event or "new", {})
            data |= {f"{row.key}-{name}": text for name, text in fields.items()}
        return data

    def save(self, /, rows: dict[str, Row] | None = None, **changes: dict[str, str]) -> "Response":
        return self.client.post(self.url("account-mapping"), self.posted(rows, **changes))

    def in_force(self, event: str) -> Rule | None:
        return rule_of(self.account.mappings.filter(event_name=event).first())


class TestPage(MappingTestCase):
    def test_offered_events_come_first_then_custom_ones_that_came(self) -> None:
        store_event(self.site, "begin_checkout", received_at=timezone.now())
        plan_all(timezone.now())
        context = self.client.get(self.url("account-mapping")).context
        self.assertEqual([row.event for row in context["above"]][:2], ["purchase", "lead"])
        self.assertEqual([row.event for row in context["below"]], ["begin_checkout"])

    def test_names_that_are_counted_together_are_told_and_not_offered(self) -> None:
        EventDay.objects.create(site=self.site, day=timezone.now().date(), name=OTHER_NAMES, count=9_800)
        self.assertNotIn(OTHER_NAMES, self.page_rows())
        self.assertContains(self.client.get(self.url("account-mapping")), "Other event names: 9,800 in 30 days.")

    def test_a_refund_is_asked_for_no_value(self) -> None:
        GoalMapping.objects.create(account=self.account, event_name="refund", goal=self.goal, value_rule="none")
        self.assertNotContains(self.client.get(self.url("account-mapping")), "Value for refund")
        self.assertEqual(self.page_rows()["refund"].value, "event")

    def test_a_value_of_a_refund_that_is_posted_all_the_same_is_refused_in_words(self) -> None:
        answer = self.save(refund={"goal": str(self.goal.pk), "value": "none"})
        self.assertContains(answer, "A refund takes no value here", status_code=422)

    def test_only_goals_that_take_conversions_can_be_picked(self) -> None:
        make_goal(self.account, "Gone", gone_at=NOON)
        make_goal(self.account, "Asleep", status="Paused")
        labels = [label for _, label in self.page_rows()["lead"].options]
        self.assertEqual(labels, ["Purchase", "Trade enquiry"])

    def test_a_goal_that_is_gone_is_flagged_and_the_nearest_one_named(self) -> None:
        gone = make_goal(self.account, "Trade Lead", gone_at=NOON)
        GoalMapping.objects.create(account=self.account, event_name="lead", goal=gone)
        page = self.client.get(self.url("account-mapping"))
        for words in ("Trade Lead (not found)", "Goal not found", "no longer exists in Microsoft Advertising"):
            self.assertContains(page, words)

    def test_an_address_chooses_the_nearest_goal_and_saves_nothing(self) -> None:
        gone, near = make_goal(self.account, "Trade Lead", gone_at=NOON), make_goal(self.account, "Trade Leads")
        GoalMapping.objects.create(account=self.account, event_name="lead", goal=gone)
        page = self.client.get(self.url("account-mapping") + "?use=lead")
        self.assertContains(page, f'<option value="{near.pk}" selected>')
        self.assertContains(page, "It is chosen now: Save mapping keeps it.")
        self.assertRegex(page.content.decode(), rf'id="r1-goal"[^>]* data-saved="{gone.pk}" autofocus')
        self.assertEqual(self.in_force("lead"), Rule(gone.goal_id))

    def test_an_address_chooses_nothing_for_an_event_whose_goal_is_there(self) -> None:
        usual = self.page_rows()["purchase"].goal
        for name in ("purchase", "lead", "", "no-such-event"):
            page = self.client.get(self.url("account-mapping"), {"use": name})
            self.assertEqual(page.context["above"][0].goal, usual)
            self.assertNotContains(page, " autofocus")

    def test_a_paused_goal_is_flagged(self) -> None:
        self.goal.status = "Paused"
        self.goal.save(update_fields=["status"])
        self.assertContains(
            self.client.get(self.url("account-mapping")), "This goal is paused in Microsoft Advertising"
        )

    def test_a_renamed_goal_says_its_old_name(self) -> None:
        set_mapping(self.account, "lead", Rule(self.lead.goal_id), self.alice, NOON)
        self.lead.name = "Enquiry"
        self.lead.save(update_fields=["name"])
        self.assertContains(self.client.get(self.url("account-mapping")), "Was called “Trade enquiry”")

    def test_a_new_goal_says_when_it_is_ready(self) -> None:
        self.goal.first_seen_at = timezone.now() - timedelta(minutes=5)
        self.goal.save(update_fields=["first_seen_at"])
        ready = self.goal.first_seen_at + timedelta(seconds=settings.GOAL_SETTLE_SECONDS)
        self.assertContains(self.client.get(self.url("account-mapping")), "Ready at")
        self.assertContains(self.client.get(self.url("account-mapping")), f"{ready:%H:%M}")

    def test_an_account_without_goals_says_how_to_make_one(self) -> None:
        self.mapping.delete()
        self.account.goals.all().delete()
        self.assertContains(self.client.get(self.url("account-mapping")), "Tools → Conversion goals")

    def test_every_change_is_told_with_who_and_what(self) -> None:
        set_mapping(self.account, "lead", Rule(self.lead.goal_id, Decimal(25), "value > 1"), self.bob, NOON)
        page = self.client.get(self.url("account-mapping"))
        self.assertContains(page, "“Trade enquiry”, fixed value 25, when value &gt; 1")
        self.assertContains(page, "Bob")


class TestSaving(MappingTestCase):
    def test_an_event_is_mapped(self) -> None:
        response = self.save(lead={"goal": str(self.lead.pk), "value": "none"})
        self.assertRedirects(response, self.url("account-mapping"))
        self.assertEqual(self.in_force("lead"), Rule(self.lead.goal_id, "none"))

    def test_it_counts_from_the_next_event_on_and_says_so(self) -> None:
        response = self.client.post(
            self.url("account-mapping"), self.posted(lead={"goal": str(self.lead.pk)}), follow=True
        )
        self.assertContains(response, "It applies to events received from now on.")
        event = store_event(self.site, "lead")
        plan_all(NOON)
        self.assertEqual(event.deliveries.get().goal_name, "Trade enquiry")

    def test_several_changes_are_saved_at_once_with_who_made_them(self) -> None:
        self.client.force_login(self.bob)
        self.save(
            lead={"goal": str(self.lead.pk)}, signup={"goal": str(self.goal.pk), "value": "fixed", "amount": "4.50"}
        )
        self.assertEqual(self.in_force("signup"), Rule(self.goal.goal_id, Decimal("4.5")))
        self.assertEqual({change.changed_by for change in self.account.mapping_changes.all()}, {self.bob})

    def test_an_event_is_no_longer_forwarded(self) -> None:
        self.save(purchase={"goal": ""})
        self.assertIsNone(self.in_force("purchase"))

    def test_a_condition_is_kept(self) -> None:
        self.save(purchase={"when": "value >= 50"})
        self.assertEqual(self.in_force("purchase"), Rule(self.goal.goal_id, "event", "value >= 50"))

    def test_an_event_that_never_came_can_be_mapped_by_its_name(self) -> None:
        self.save(new={"event": "trial_start", "goal": str(self.goal.pk)})
        self.assertEqual(self.in_force("trial_start"), Rule(self.goal.goal_id))

    def test_saving_without_a_change_writes_nothing(self) -> None:
        response = self.client.post(self.url("account-mapping"), self.posted(), follow=True)
        self.assertContains(response, "Nothing changed")
        self.assertFalse(self.account.mapping_changes.exists())

    def test_a_broken_mapping_that_nobody_touched_stays(self) -> None:
        self.goal.gone_at = NOON
        self.goal.save(update_fields=["gone_at"])
        self.save(lead={"goal": str(self.lead.pk)})
        self.assertEqual(self.in_force("purchase"), Rule(self.goal.goal_id))
        self.assertEqual(self.in_force("lead"), Rule(self.lead.goal_id))

    def test_htmx_gets_the_page_and_a_toast(self) -> None:
        data = self.posted(lead={"goal": str(self.lead.pk)})
        response = self.client.post(self.url("account-mapping"), data, headers={"HX-Request": "true"})
        self.assertEqual(response.status_code, 200)
        self.assertIn("Mapping saved", response.headers["HX-Trigger"])
        self.assertEqual(response.context["above"][1].goal, str(self.lead.pk))


class TestRefusals(MappingTestCase):
    def assert_refused(self, words: str, **changes: dict[str, str]) -> "Response":
        response = self.save(None, **changes)
        self.assertContains(response, words, status_code=422)
        self.assertFalse(self.account.mapping_changes.exists())
        return response

    def test_a_goal_of_another_account(self) -> None:
        other = make_goal(make_account(self.site, "138204422"), "Theirs")
        self.assert_refused("Choose a goal of the list", lead={"goal": str(other.pk)})

    def test_goals_that_are_none(self) -> None:
        for goal in ("x", "9" * 18, "9" * 5000, "\0", "-1", "1e3"):
            with self.subTest(goal=goal[:10]):
                self.assert_refused("Choose a goal of the list", lead={"goal": goal})

    def test_fixed_values_that_are_none(self) -> None:
        for amount in ("", "free", "-1", "1e9", "NaN", "1,50", "٣", "9" * 15 + ".1"):
            with self.subTest(amount=amount):
                self.assert_refused(
                    '-amount-say">', lead={"goal": str(self.lead.pk), "value": "fixed", "amount": amount}
                )

    def test_a_value_of_5000_digits(self) -> None:
        changed = {"goal": str(self.lead.pk), "value": "fixed", "amount": "9" * 5000}
        self.assert_refused("at most 24 characters", lead=changed)

    def test_a_value_rule_that_is_none(self) -> None:
        self.assert_refused("Choose a value rule", lead={"goal": str(self.lead.pk), "value": "guess"})

    def test_a_condition_that_cannot_be_read_keeps_what_was_typed(self) -> None:
        response = self.assert_refused("A comparison begins with", purchase={"when": "price > 3"})
        self.assertContains(response, 'value="price &gt; 3"', status_code=422)

    def test_htmx_gets_the_notice_and_no_toast_beside_it(self) -> None:
        data = self.posted(purchase={"when": "value >"})
        response = self.client.post(self.url("account-mapping"), data, headers={"HX-Request": "true"})
        self.assertContains(response, "Nothing was changed. The marked rows say what is wrong.", status_code=422)
        self.assertNotIn("HX-Trigger", response.headers)

    def test_what_was_typed_stays_unsaved(self) -> None:
        response = self.assert_refused(
            "A comparison begins with", purchase={"when": "price > 3", "goal": str(self.lead.pk)}
        )
        self.assertRegex(response.content.decode(), rf'id="r0-goal"[^>]* data-saved="{self.goal.pk}"')
        self.assertRegex(response.content.decode(), 'value="price &gt; 3"[^>]* data-saved=""')

    def test_the_first_field_to_mend_has_the_focus(self) -> None:
        for field, changes in {
            "r0-when": {"purchase": {"when": "price > 3"}},
            "r0-amount": {"purchase": {"value": "fixed", "amount": "free"}, "lead": {"goal": "x"}},
            "new-event": {"new": {"event": "", "goal": str(self.goal.pk)}},
            "new-goal": {"new": {"event": "trial", "goal": ""}},
        }.items():
            with self.subTest(field=field):
                page = self.save(None, **changes).content.decode()
                self.assertRegex(page, rf'name="{field}"[^>]* autofocus')
                self.assertEqual(page.count(" autofocus"), 1)

    def test_names_that_are_none(self) -> None:
        for name in ("", "1st", "two words", "x" * 65, "ev\0nt"):
            with self.subTest(name=name[:10]):
                self.assert_refused("Not saved", new={"event": name, "goal": str(self.goal.pk)})

    def test_a_name_that_is_in_the_list(self) -> None:
        self.assert_refused("purchase is in the list above", new={"event": "purchase", "goal": str(self.goal.pk)})

    def test_a_name_without_a_goal(self) -> None:
        self.assert_refused("Choose the goal that it goes to", new={"event": "trial_start"})

    def test_a_good_change_beside_a_bad_one_waits_too(self) -> None:
        self.assert_refused("price", lead={"goal": str(self.lead.pk)}, purchase={"when": "price > 3"})
        self.assertIsNone(self.in_force("lead"))

    def test_a_goal_that_went_away_meanwhile(self) -> None:
        rows = self.page_rows()
        self.lead.gone_at = NOON
        self.lead.save(update_fields=["gone_at"])
        response = self.save(rows, lead={"goal": str(self.lead.pk)})
        self.assertContains(response, "no longer exists in Microsoft Advertising", status_code=422)


class TestTwoAtOnce(MappingTestCase):
    def test_whoever_is_late_sees_both_and_nothing_is_saved(self) -> None:
        rows = self.page_rows()
        set_mapping(self.account, "purchase", Rule(self.lead.goal_id), self.bob, timezone.now())
        response = self.save(rows, purchase={"when": "value > 1"}, signup={"goal": str(self.lead.pk)})
        self.assertContains(response, "Bob changed this", status_code=409)
        self.assertContains(response, "It is now: “Trade enquiry”, value from event", status_code=409)
        self.assertEqual(self.in_force("purchase"), Rule(self.lead.goal_id))
        self.assertIsNone(self.in_force("signup"))

    def test_saving_again_puts_ones_own_in_its_place(self) -> None:
        rows = self.page_rows()
        set_mapping(self.account, "purchase", Rule(self.lead.goal_id), self.bob, timezone.now())
        late = self.save(rows, purchase={"when": "value > 1"})
        context = late.context
        again = {row.event: row for row in [*context["above"], *context["below"], context["new_row"]]}
        self.assertEqual(self.save(again).status_code, 302)
        self.assertEqual(self.in_force("purchase"), Rule(self.goal.goal_id, "event", "value > 1"))

    def test_different_events_never_meet(self) -> None:
        rows = self.page_rows()
        set_mapping(self.account, "purchase", Rule(self.lead.goal_id), self.bob, timezone.now())
        self.assertEqual(self.save(rows, lead={"goal": str(self.lead.pk)}).status_code, 302)
        self.assertEqual(self.in_force("purchase"), Rule(self.lead.goal_id))

    def test_the_same_change_by_two_is_no_conflict(self) -> None:
        rows = self.page_rows()
        set_mapping(self.account, "lead", Rule(self.lead.goal_id), self.bob, timezone.now())
        self.assertEqual(self.save(rows, lead={"goal": str(self.lead.pk)}).status_code, 302)

    def test_a_change_of_an_event_that_left_the_page_is_not_dropped(self) -> None:
        set_mapping(self.account, "trial_start", Rule(self.goal.goal_id), self.alice, NOON)
        rows = self.page_rows()
        set_mapping(self.account, "trial_start", None, self.bob, timezone.now())
        response = self.save(rows, trial_start={"goal": str(self.lead.pk)})
        self.assertContains(response, "It is now: Not forwarded", status_code=409)

    def test_the_same_rule_has_the_same_version_however_it_is_written(self) -> None:
        self.assertEqual(version_of(Rule("1", Decimal("4.50"), " a ")), version_of(Rule("1", Decimal("4.5"), "a")))
        self.assertNotEqual(version_of(Rule("1", "event")), version_of(Rule("1", "none")))


class TestSync(AccountTestCase):
    def setUp(self) -> None:
        AdAccount.objects.all().delete()
        Connection.objects.all().delete()
        self.time = self.enterContext(time_machine.travel(NOON, tick=False))
        self.microsoft = self.enterContext(EmulatedMicrosoft())
        connection = self.microsoft.connect(self.site, self.alice)
        (self.account,) = add_accounts(connection, [SEARCH_US], self.alice, timezone.now())
        self.client.force_login(self.alice)

    def sync(self) -> "Response":
        return self.client.post(self.url("account-goals-sync"), follow=True)

    def test_it_says_what_is_new(self) -> None:
        self.microsoft.control("goals", {"account_id": SEARCH_US, "name": "Brand new"})
        self.time.shift(timedelta(minutes=2))
        self.assertContains(self.sync(), "New: “Brand new”.")

    def test_a_goal_that_was_paused_or_is_back_is_told(self) -> None:
        for status, words in (("Paused", "is paused now; its conversions wait"), ("Active", "takes conversions again")):
            self.microsoft.control("goals", {"id": "90010001", "status": status})
            AdAccount.objects.update(goals_synced_at=None)
            self.assertContains(self.sync(), words)

    def test_it_asks_microsoft_once_a_minute_at_most(self) -> None:
        asked = len(self.microsoft.paths)
        self.assertContains(self.sync(), "read less than a minute ago")
        self.assertEqual(len(self.microsoft.paths), asked)

    def test_a_removed_account_is_not_read(self) -> None:
        remove_account(self.account, self.alice, timezone.now())
        asked = len(self.microsoft.paths)
        self.assertRedirects(self.client.post(self.url("account-goals-sync")), self.url("account-overview"))
        self.assertEqual(len(self.microsoft.paths), asked)

    def test_a_refusal_of_microsofts_is_told_in_words(self) -> None:
        self.time.shift(timedelta(minutes=2))
        self.microsoft.fault("ConversionGoals/QueryByIds", "status", status=500)
        self.assertContains(self.sync(), "Goals were not read.")

    def test_there_are_never_more_fields_than_django_takes(self) -> None:
        fields = len(mapping_forms.RowForm.base_fields)
        self.assertLess((mapping_forms.MAX_ROWS + 1) * fields, settings.DATA_UPLOAD_MAX_NUMBER_FIELDS)
