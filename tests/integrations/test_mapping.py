"""The mapping of events to goals: one door, a history of every change, and a likely goal chosen beforehand."""

from datetime import timedelta
from decimal import Decimal

from django.test import SimpleTestCase

from integrations.mapping import OFFERED_EVENTS, MappingRefused, Rule, Value, rule_of, set_mapping, suggest_goal
from integrations.models import ConversionGoal, GoalMapping, MappingChange
from tests.cast import NOON, CastTestCase, make_account, make_goal, make_site

LATER = NOON + timedelta(hours=1)


class SetMappingTest(CastTestCase):
    def set(self, event_name: str, rule: Rule | None) -> GoalMapping | None:
        return set_mapping(self.account, event_name, rule, self.bob, LATER)

    def in_force(self, event_name: str) -> Rule | None:
        return rule_of(self.account.mappings.filter(event_name=event_name).first())

    def test_it_maps_an_event_to_a_goal(self) -> None:
        self.set("lead", Rule(self.goal.goal_id, "none", ' currency == "USD" '))
        self.assertEqual(self.in_force("lead"), Rule(self.goal.goal_id, "none", 'currency == "USD"'))

    def test_several_events_may_share_a_goal(self) -> None:
        self.set("phone_sale", Rule(self.goal.goal_id))
        self.assertEqual(self.account.mappings.filter(goal=self.goal).count(), 2)

    def test_a_fixed_value_is_kept_exactly(self) -> None:
        self.set("lead", Rule(self.goal.goal_id, Decimal("12.50")))
        self.assertEqual(self.in_force("lead"), Rule(self.goal.goal_id, Decimal("12.5")))

    def test_a_refund_has_no_value_of_its_own(self) -> None:
        for value in ("none", Decimal(5)):
            with self.subTest(value), self.assertRaisesMessage(MappingRefused, "A refund takes no value here"):
                self.set("refund", Rule(self.goal.goal_id, value))

    def test_a_value_that_a_refund_was_given_once_is_read_as_none_of_its_own(self) -> None:
        GoalMapping.objects.create(account=self.account, event_name="refund", goal=self.goal, value_rule="none")
        self.assertEqual(self.in_force("refund"), Rule(self.goal.goal_id))

    def test_a_change_is_in_the_history_with_who_and_when(self) -> None:
        self.set("purchase", Rule(self.goal.goal_id, Decimal("12.50"), "value > 5"))
        change = MappingChange.objects.get()
        self.assertEqual((change.changed_by, change.created_at), (self.bob, LATER))
        self.assertEqual(change.before, {"goal": "Purchase", "goal_id": "9001", "value": "event", "when": ""})
        self.assertEqual(change.after, {"goal": "Purchase", "goal_id": "9001", "value": "12.5", "when": "value > 5"})

    def test_saving_what_is_in_force_writes_nothing(self) -> None:
        self.set("purchase", Rule(self.goal.goal_id))
        self.assertFalse(MappingChange.objects.exists())

    def test_none_removes_a_mapping(self) -> None:
        self.assertIsNone(self.set("purchase", None))
        self.assertIsNone(self.in_force("purchase"))
        self.assertEqual(MappingChange.objects.get().after, {})

    def test_removing_what_is_not_there_writes_nothing(self) -> None:
        self.set("lead", None)
        self.assertFalse(MappingChange.objects.exists())

    def test_a_mapping_that_was_switched_off_is_set_anew(self) -> None:
        self.account.mappings.update(is_active=False)
        self.set("purchase", Rule(self.goal.goal_id))
        self.assertEqual(self.in_force("purchase"), Rule(self.goal.goal_id))
        self.assertEqual(MappingChange.objects.get().before, {})

    def test_a_goal_of_another_account_is_refused(self) -> None:
        other = make_account(make_site("Other", self.charlie), "99")
        foreign = make_goal(other, "Purchase", "777")
        with self.assertRaisesMessage(MappingRefused, "not a goal of Search – US"):
            self.set("lead", Rule(foreign.goal_id))
        self.assertFalse(MappingChange.objects.exists())

    def test_a_goal_that_takes_no_conversions_is_refused(self) -> None:
        paused = make_goal(self.account, "Store visit", status="Paused")
        gone = make_goal(self.account, "Old lead", gone_at=NOON)
        for goal, words in ((paused, "Store visit is paused"), (gone, "Old lead no longer exists")):
            with self.subTest(words), self.assertRaisesMessage(MappingRefused, words):
                self.set("lead", Rule(goal.goal_id))

    def test_a_mapping_whose_goal_was_paused_later_can_still_change_its_value(self) -> None:
        ConversionGoal.objects.update(status="Paused")
        self.set("purchase", Rule(self.goal.goal_id, "none"))
        self.assertEqual(self.in_force("purchase"), Rule(self.goal.goal_id, "none"))

    def test_a_wrong_value_is_refused(self) -> None:
        wrong: dict[str, Value] = {
            "zero or more": Decimal("-0.01"),
            "number of zero": Decimal("NaN"),
            "such as 25": Decimal("Infinity"),
            "at most 3 decimals": Decimal("1.0001"),
            "at most 999,999,999,999": Decimal("1E+12"),
        }
        for words, value in wrong.items():
            with self.subTest(words), self.assertRaisesMessage(MappingRefused, words) as refused:
                self.set("lead", Rule(self.goal.goal_id, value))
            self.assertEqual(refused.exception.field, "value")

    def test_a_wrong_condition_is_refused(self) -> None:
        with self.assertRaises(MappingRefused) as refused:
            self.set("lead", Rule(self.goal.goal_id, when="value >> 5"))
        self.assertEqual(refused.exception.field, "when")

    def test_a_wrong_event_name_is_refused(self) -> None:
        for name in ("", "9lives", "a b", "a" * 65, "naïve", "lead\n", "\0"):
            with self.subTest(name), self.assertRaises(MappingRefused) as refused:
                self.set(name, Rule(self.goal.goal_id))
            self.assertEqual(refused.exception.field, "event_name")
            with self.subTest(f"remove {name}"), self.assertRaises(MappingRefused):
                self.set(name, None)

    def test_a_nonsense_goal_id_is_refused(self) -> None:
        for goal_id in ("", "\0", "9" * 400, "null", "9001 "):
            with self.subTest(goal_id), self.assertRaises(MappingRefused) as refused:
                self.set("lead", Rule(goal_id))
            self.assertEqual(refused.exception.field, "goal")


class SuggestGoalTest(SimpleTestCase):
    def suggested(self, event_name: str, *names: str) -> str | None:
        goal = suggest_goal(event_name, [ConversionGoal(name=name) for name in names])
        return None if goal is None else goal.name

    def test_it_finds_the_goal_that_means_the_event(self) -> None:
        names = ("Purchase", "Qualified Lead", "Trade enquiry", "Account Registration", "Subscription", "Phone Sale")
        expected = {
            "purchase": "Purchase",
            "lead": "Trade enquiry",
            "qualified_lead": "Qualified Lead",
            "signup": "Account Registration",
            "subscription": "Subscription",
            "phone_sale": "Phone Sale",
            "subscription_start": "Subscription",
            "refund": "Purchase",
        }
        self.assertEqual({event: self.suggested(event, *names) for event in OFFERED_EVENTS}, expected)

    def test_case_and_spelling_do_not_hide_a_goal(self) -> None:
        self.assertEqual(self.suggested("signup", "Newsletter", "Sign Up (web)"), "Sign Up (web)")
        self.assertEqual(self.suggested("qualified_lead", "QualifiedLead"), "QualifiedLead")
        self.assertEqual(self.suggested("subscription", "Subscriptions"), "Subscriptions")

    def test_nothing_alike_suggests_nothing(self) -> None:
        self.assertIsNone(self.suggested("purchase", "Newsletter", "Store visit", "…"))
        self.assertIsNone(self.suggested("purchase"))

    def test_a_goal_that_takes_no_conversions_is_not_suggested(self) -> None:
        self.assertIsNone(suggest_goal("purchase", [ConversionGoal(name="Purchase", status="Paused")]))

    def test_the_order_of_the_goals_does_not_matter(self) -> None:
        names = ("Purchase EU", "Purchase US", "purchase")
        self.assertEqual(self.suggested("purchase", *names), self.suggested("purchase", *reversed(names)))
