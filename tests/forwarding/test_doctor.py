"""What the doctor of the Test Center says about each fact, and what it lets through."""

from dataclasses import replace
from datetime import timedelta

from django.test import SimpleTestCase

from forwarding.test_center import doctor
from forwarding.test_center.doctor import Check, Goal, Help, State
from integrations.microsoft_ads.shapes import UetTag
from tests.cast import NOON

PURCHASE = Goal("Purchase", "Active", is_listed=True, count_type="All", window_minutes=129_600, is_enhanced=True)
HOUR = timedelta(hours=1)


class DoctorTests(SimpleTestCase):
    def assert_found(self, check: Check, state: State, note: str, *, is_sent: bool = True) -> None:
        self.assertEqual((check.state, check.is_sent), (state, is_sent), check)
        self.assertIn(note, check.note)
        self.assertEqual(bool(check.fix), state in (State.WARN, State.BAD), "what is wrong has a fix")

    def test_a_refused_sign_in_leads_to_reconnecting(self) -> None:
        check = doctor.signed_in("", "Needs reconnect", "Reconnect.")
        self.assert_found(check, State.BAD, "Needs reconnect", is_sent=False)
        self.assertEqual(check.help, Help.RECONNECT)

    def test_an_account_has_to_be_active_here_and_there(self) -> None:
        for status, paused, until, note in (
            ("Active", True, None, "Forwarding is paused"),
            ("Active", False, NOON, "wants a pause"),
            (None, False, None, "out of this user's reach"),
            ("Pause", False, None, "paused at Microsoft"),
            ("Suspended", False, None, "suspended at Microsoft"),
        ):
            with self.subTest(note):
                check = doctor.takes_conversions(status, is_paused_here=paused, left_alone_until=until)
                self.assert_found(check, State.BAD, note, is_sent=False)
        self.assertEqual(check.until, None)

    def test_a_viewer_may_not_upload_unless_another_role_lets_them(self) -> None:
        self.assert_found(doctor.may_upload([100]), State.BAD, "only a viewer", is_sent=False)
        self.assert_found(doctor.may_upload([100, 203]), State.OK, "Standard user")
        self.assert_found(doctor.may_upload([]), State.OK, "Role not named")

    def test_a_name_that_is_almost_right_names_the_goal_and_the_difference(self) -> None:
        goal = replace(PURCHASE, name="Trade  Lead", is_listed=False)
        check = doctor.goal_exists(goal, ["Trade Lead", "Purchase"])
        self.assert_found(check, State.BAD, "“Trade  Lead” not found")
        self.assertIn("Microsoft has “Trade Lead”. Only spaces differ", check.fix)

    def test_a_name_like_no_other_offers_to_create_the_goal(self) -> None:
        check = doctor.goal_exists(replace(PURCHASE, is_listed=False), ["Something else"])
        self.assertEqual((check.state, check.help), (State.BAD, Help.CREATE_GOAL))

    def test_a_goal_of_another_type_takes_no_uploads(self) -> None:
        check = doctor.goal_exists(replace(PURCHASE, goal_type="Event"), ["Purchase"])
        self.assert_found(check, State.BAD, "of type Event")

    def test_a_paused_goal_is_not_sent_to_as_microsoft_would_lose_it(self) -> None:
        check = doctor.goal_exists(replace(PURCHASE, status="Paused"), ["Purchase"])
        self.assert_found(check, State.BAD, "is paused", is_sent=False)

    def test_a_new_goal_has_a_countdown(self) -> None:
        goal = replace(PURCHASE, takes_from=NOON + HOUR)
        check = doctor.goal_is_old_enough(goal, NOON)
        self.assert_found(check, State.BAD, "too new", is_sent=False)
        self.assertEqual(check.until, NOON + HOUR)
        self.assertEqual(doctor.goal_is_old_enough(goal, NOON + HOUR).state, State.OK)

    def test_what_a_goal_would_not_count_is_a_warning(self) -> None:
        without_revenue = replace(PURCHASE, revenue_type="NoValue")
        self.assert_found(doctor.goal_counts(without_revenue, has_value=True), State.WARN, "no revenue")
        self.assert_found(doctor.goal_counts(without_revenue, has_value=False), State.OK, "counts all, 90 days")
        short = replace(PURCHASE, window_minutes=43_200)
        self.assert_found(doctor.goal_counts(short, has_value=False), State.WARN, "30 days")
        fixed = replace(PURCHASE, revenue_type="FixedValue")
        self.assert_found(doctor.goal_counts(fixed, has_value=True), State.OK, "fixed value")

    def test_hashes_are_a_trouble_only_where_they_are_sent(self) -> None:
        plain = replace(PURCHASE, is_enhanced=False)
        for goal, sends, state, note in (
            (PURCHASE, True, State.OK, "terms accepted"),
            (PURCHASE, False, State.WAIT, "this account sends none"),
            (plain, False, State.WAIT, "Not used"),
            (plain, True, State.WARN, "takes none"),
        ):
            with self.subTest(note):
                check = doctor.takes_hashes(goal, sends_hashes=sends)
                self.assertEqual((check.state, check.is_sent), (state, True))
                self.assertIn(note, check.note)
        self.assertIn("customer-data terms", doctor.takes_hashes(plain, sends_hashes=True).fix)

    def test_what_is_mended_at_microsoft_or_by_another_user_leads_there(self) -> None:
        for check, where in (
            (doctor.takes_conversions(None, is_paused_here=False, left_alone_until=None), Help.OTHER_USER),
            (doctor.takes_conversions("Pause", is_paused_here=False, left_alone_until=None), Help.MICROSOFT),
            (doctor.may_upload([100]), Help.OTHER_USER),
            (doctor.goal_exists(replace(PURCHASE, status="Paused"), ["Purchase"]), Help.MICROSOFT),
            (doctor.goal_counts(replace(PURCHASE, window_minutes=43_200), has_value=True), Help.MICROSOFT),
        ):
            with self.subTest(check.title):
                self.assertEqual(check.help, where)

    def test_every_fact_of_a_goal_that_is_well_is_named(self) -> None:
        facts = doctor.goal_counts(replace(PURCHASE, revenue_type="VariableValue"), has_value=True)
        self.assert_found(facts, State.OK, "counts all, 90 days, variable value")

    def test_auto_tagging_that_is_off_can_be_turned_on(self) -> None:
        self.assertEqual(doctor.auto_tagging(False).help, Help.AUTO_TAGGING)
        self.assert_found(doctor.auto_tagging(None), State.WARN, "Could not be read")
        self.assert_found(doctor.auto_tagging(True), State.OK, "On")

    def test_a_tag_is_looked_up_in_microsofts_list(self) -> None:
        tags = [UetTag("1", "A", "", "Active"), UetTag("2", "B", "", "Unverified"), UetTag("3", "C", "", "Inactive")]
        self.assert_found(doctor.uet_tag("1", tags), State.OK, "active")
        self.assert_found(doctor.uet_tag("2", tags), State.WARN, "unverified")
        self.assert_found(doctor.uet_tag("3", tags), State.WARN, "inactive")
        self.assertIn("Invalid UET tag: check it under Tools → UET tag", doctor.uet_tag("4", tags).fix)
        self.assertEqual(doctor.uet_tag("", tags).state, State.WAIT)

    def test_a_click_is_judged_by_its_age(self) -> None:
        for age, state in ((timedelta(minutes=3), State.WARN), (2 * HOUR, State.OK), (timedelta(days=91), State.BAD)):
            with self.subTest(age=age):
                check = doctor.click("dd4afc…06f1c", NOON - age, PURCHASE, HOUR, NOON)
                self.assert_found(check, state, "dd4afc…06f1c")
        self.assert_found(doctor.click("dd4afc…06f1c", None, PURCHASE, HOUR, NOON), State.OK, "not known")

    def test_what_was_not_reached_is_listed_after_what_was(self) -> None:
        reached = [doctor.signed_in("me"), doctor.may_upload([100])]
        titles = [check.title for check in doctor.unreached(reached)]
        self.assertEqual(titles[0], doctor.GOAL)
        self.assertNotIn(doctor.ACCOUNT, titles)
        self.assertEqual(len(doctor.unreached([])), len(doctor.ORDER))
