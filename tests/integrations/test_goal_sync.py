"""An account's goals and tags, read from Microsoft again and again while people change them there."""

from datetime import timedelta

import time_machine
from django.utils import timezone

from integrations.connecting import add_accounts
from integrations.goals import GoalSync, check_uet_tag, sync_goals, tag_note, uet_tags
from integrations.mapping import Rule, set_mapping
from integrations.microsoft_ads.emulator.world import SEARCH_US
from integrations.microsoft_ads.errors import MicrosoftAdsError
from integrations.models import AdAccount, Connection, ConversionGoal
from tests.cast import NOON, CastTestCase
from tests.support.microsoft import EmulatedMicrosoft

PURCHASE = "90010001"


class AtMicrosoft(CastTestCase):
    """Alice's account `Search – US`, connected, its goals read once at noon."""

    def setUp(self) -> None:
        AdAccount.objects.all().delete()
        Connection.objects.all().delete()
        self.time = self.enterContext(time_machine.travel(NOON, tick=False))
        self.microsoft = self.enterContext(EmulatedMicrosoft())
        connection = self.microsoft.connect(self.site, self.alice)
        (self.search,) = add_accounts(connection, [SEARCH_US], self.alice, timezone.now())

    def listed(self, goal_id: str = PURCHASE) -> ConversionGoal:
        return self.search.goals.get(goal_id=goal_id)


class SyncGoalsTest(AtMicrosoft):
    def sync_later(self) -> GoalSync:
        self.time.shift(timedelta(hours=1))
        return sync_goals(self.search, timezone.now())

    def test_the_first_reading_does_not_say_when_goals_were_made(self) -> None:
        self.assertFalse(self.search.goals.filter(first_seen_at__isnull=False).exists())

    def test_it_keeps_what_microsoft_says_of_a_goal(self) -> None:
        goal = self.listed("90010004")
        self.assertEqual(goal.name, "Account Registration")
        self.assertEqual((goal.count_type, goal.category, goal.revenue_type), ("Unique", "Signup", "NoValue"))
        self.assertEqual((goal.window_minutes, goal.is_enhanced, goal.scope), (129_600, True, "Account"))

    def test_goals_of_other_types_are_left_out(self) -> None:
        self.assertFalse(self.search.goals.filter(name__in=["Checkout", "Thank-you page"]).exists())

    def test_a_goal_that_appears_later_is_noted_with_its_moment(self) -> None:
        self.microsoft.control("goals", {"account_id": SEARCH_US, "name": "Brand new"})
        sync = self.sync_later()
        self.assertEqual([goal.name for goal in sync.added], ["Brand new"])
        self.assertEqual(sync.added[0].first_seen_at, NOON + timedelta(hours=1))

    def test_a_renamed_goal_keeps_its_row_and_its_mapping(self) -> None:
        mapping = set_mapping(self.search, "purchase", Rule(PURCHASE), self.alice, NOON)
        assert mapping is not None
        self.microsoft.books.goals[PURCHASE].name = "Completed purchase"
        sync = self.sync_later()
        self.assertEqual([(one.old_name, one.goal.name) for one in sync.renamed], [("Purchase", "Completed purchase")])
        mapping.refresh_from_db()
        self.assertEqual(mapping.goal.name, "Completed purchase")

    def test_a_goal_that_is_no_longer_listed_is_marked_gone(self) -> None:
        del self.microsoft.books.goals[PURCHASE]
        sync = self.sync_later()
        self.assertEqual([goal.name for goal in sync.gone], ["Purchase"])
        self.assertEqual(self.listed().gone_at, NOON + timedelta(hours=1))
        self.assertFalse(self.listed().is_available)

    def test_a_goal_that_is_listed_again_is_back(self) -> None:
        kept = self.microsoft.books.goals.pop(PURCHASE)
        self.sync_later()
        self.microsoft.books.goals[PURCHASE] = kept
        sync = self.sync_later()
        self.assertEqual([goal.name for goal in sync.added], ["Purchase"])
        self.assertIsNone(self.listed().gone_at)

    def test_a_second_reading_of_the_same_changes_nothing(self) -> None:
        before = list(self.search.goals.order_by("pk").values("pk", "goal_id", "name", "first_seen_at", "gone_at"))
        sync = self.sync_later()
        self.assertEqual((sync.added, sync.renamed, sync.gone), ((), (), ()))
        self.assertEqual(sync.total, len(before))
        after = list(self.search.goals.order_by("pk").values("pk", "goal_id", "name", "first_seen_at", "gone_at"))
        self.assertEqual(after, before)

    def test_a_reading_that_began_earlier_does_not_undo_a_later_one(self) -> None:
        self.sync_later()
        del self.microsoft.books.goals[PURCHASE]
        sync = sync_goals(self.search, NOON)
        self.assertEqual(sync.gone, ())
        self.assertTrue(self.listed().is_available)

    def test_nothing_changes_while_microsoft_is_away(self) -> None:
        self.microsoft.fault("ConversionGoals/QueryByIds", "wrong_shape")
        with self.assertRaises(MicrosoftAdsError):
            self.sync_later()
        self.assertTrue(self.listed().is_available)

    def test_its_queries_do_not_grow_with_the_goals(self) -> None:
        self.time.shift(timedelta(minutes=1))
        # its token; then a savepoint's two ends, the account's lock, its goals, two moments
        with self.assertNumQueries(7):
            sync_goals(self.search, timezone.now())

    def test_a_name_with_its_own_spaces_is_kept_to_the_letter(self) -> None:
        self.microsoft.books.goals[PURCHASE].name = " Lead  Form "
        self.sync_later()
        self.assertEqual(self.listed().name, " Lead  Form ")


class UetTagTest(AtMicrosoft):
    def test_it_lists_the_customers_tags(self) -> None:
        self.assertEqual({tag.tag_id for tag in uet_tags(self.search)}, {"343118260", "187009441", "343118299"})

    def test_a_tag_of_the_customer_is_right(self) -> None:
        self.assertEqual(check_uet_tag(self.search, "343118260"), "")

    def test_no_tag_is_right(self) -> None:
        self.assertEqual(check_uet_tag(self.search, ""), "")

    def test_a_tag_of_somebody_else_is_reported_as_wrong(self) -> None:
        self.assertIn("no tag 343120517 that Search – US can use", check_uet_tag(self.search, "343120517"))

    def test_what_is_no_number_is_reported_without_asking(self) -> None:
        calls = len(self.microsoft.paths)
        for wrong in ("UA-1234", "12 34", "١٢٣", "\0", "-1"):
            with self.subTest(wrong):
                self.assertIn("is a number", check_uet_tag(self.search, wrong))
        self.assertEqual(len(self.microsoft.paths), calls)

    def test_a_tag_that_was_never_seen_has_a_note_and_is_right(self) -> None:
        notes = {tag.tag_id: tag_note(tag) for tag in uet_tags(self.search)}
        self.assertEqual(notes["343118260"], "")
        self.assertIn("has not seen this tag", notes["343118299"])
        self.assertIn("24 hours", notes["187009441"])
