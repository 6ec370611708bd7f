"""The steps after a Microsoft sign-in, walked through against a Microsoft that answers."""

import uuid
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import time_machine
from django.http import QueryDict
from django.urls import reverse
from django.utils import timezone

from forwarding import tasks
from forwarding.models import TestConversion
from forwarding.planning.planner import plan_all
from integrations.mapping import Rule, set_mapping
from integrations.microsoft_ads.emulator.world import AGENCY_USER, VIEW_ONLY_USER
from integrations.models import AdAccount, Connection, GoalMapping
from tests.cast import NOON, CastTestCase, make_connection, make_site, store_event
from tests.support.microsoft import EmulatedMicrosoft

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Response

SEARCH, SHOPPING, BRAND = "138204417", "138204422", "138204431"


class Steps(CastTestCase):
    """Alice, signed in at Microsoft, before any account is chosen."""

    user_name = "ads@harborpine.example"

    def setUp(self) -> None:
        AdAccount.objects.all().delete()
        Connection.objects.all().delete()
        self.time = self.enterContext(time_machine.travel(NOON, tick=False))
        self.microsoft = self.enterContext(EmulatedMicrosoft())
        self.connection = self.microsoft.connect(self.site, self.alice, self.user_name)
        self.client.force_login(self.alice)

    def url(self, step: str, **query: str) -> str:
        given = QueryDict(mutable=True)
        given.update({"sign_in": str(self.connection.public_id)} | query)
        return f"{reverse(f'dashboard:connect-{step}', args=[self.site.public_id])}?{given.urlencode()}"

    def page(self, step: str, **query: str) -> str:
        answer = self.client.get(self.url(step, **query))
        self.assertEqual(answer.status_code, 200)
        return answer.content.decode()

    def choose(self, *account_ids: str) -> None:
        self.client.post(self.url("accounts"), {"account": account_ids})

    def row(self, account_id: str = SEARCH) -> AdAccount:
        return AdAccount.objects.get(account_id=account_id)


class ChoosingAccounts(Steps):
    def test_it_lists_what_the_sign_in_reaches(self) -> None:
        page = self.page("accounts")
        for words in ("Signed in to Microsoft as", "Search – US", "F118Q2TX · 138204417", "Customer 251093876"):
            self.assertIn(words, page)

    def test_what_is_chosen_becomes_accounts_with_their_goals(self) -> None:
        answer = self.client.post(self.url("accounts"), {"account": [SEARCH, SHOPPING]})
        self.assertRedirects(answer, self.url("uet"), fetch_redirect_response=False)
        self.assertEqual(set(AdAccount.objects.values_list("account_id", flat=True)), {SEARCH, SHOPPING})
        self.assertTrue(self.row().goals.filter(name="Purchase").exists())

    def test_nothing_chosen_is_asked_again(self) -> None:
        answer = self.client.post(self.url("accounts"), {})
        self.assertContains(answer, "Choose at least one account", status_code=422)
        first, *_ = (line for line in answer.content.decode().split("<input") if 'name="account"' in line)
        self.assertIn(" autofocus", first)
        self.assertContains(answer, " autofocus", count=1, status_code=422)

    def test_a_paused_account_is_called_so(self) -> None:
        page = self.page("accounts")
        self.assertIn("USD · Paused<", page)
        self.assertNotIn("Pause<", page)

    def test_an_account_that_was_not_listed_is_refused_and_nothing_is_added(self) -> None:
        for smuggled in ("999999999", "x", "\0", "9" * 3000):
            with self.subTest(account=smuggled[:5]):
                answer = self.client.post(self.url("accounts"), {"account": [SEARCH, smuggled]})
                self.assertContains(answer, "does not reach one of the accounts", status_code=422)
        self.assertFalse(AdAccount.objects.exists())

    def test_connected_ones_stay_connected_when_more_are_added(self) -> None:
        self.choose(SEARCH)
        self.assertIn("Connected, ", self.page("accounts"))
        self.choose(SHOPPING)
        self.assertEqual(AdAccount.objects.filter(is_active=True).count(), 2)

    def test_an_account_of_another_sign_in_is_announced_before_it_moves(self) -> None:
        other = make_connection(self.site, microsoft_user_id="77", microsoft_user_name="old@harborpine.example")
        AdAccount.objects.create(site=self.site, connection=other, account_id=SEARCH, customer_id="1", name="Search")
        self.assertIn("Now through old@harborpine.example", self.page("accounts"))
        self.choose(SEARCH)
        self.assertEqual(self.row().connection, self.connection)

    def test_microsoft_away_is_told_with_a_way_to_try_again(self) -> None:
        self.microsoft.fault("Accounts/Search", "503")
        page = self.page("accounts")
        self.assertIn("Try again", page)
        self.assertIn("disabled", page)

    def test_microsoft_away_while_adding_is_told_and_nothing_is_added(self) -> None:
        self.microsoft.fault("Accounts/Search", "503", times=2)
        self.assertEqual(self.client.post(self.url("accounts"), {"account": [SEARCH]}).status_code, 422)
        self.assertFalse(AdAccount.objects.exists())

    def test_the_form_of_another_sign_in_may_end_at_microsoft(self) -> None:
        policy = self.client.get(self.url("accounts")).headers["Content-Security-Policy"]
        self.assertIn("form-action 'self' http://127.0.0.1:9", policy)


class ChoosingAsViewer(Steps):
    user_name = VIEW_ONLY_USER

    def test_what_can_only_be_viewed_is_shown_with_the_reason(self) -> None:
        self.assertIn("Ask its owner for the Standard user role", self.page("accounts"))

    def test_it_cannot_be_smuggled_in(self) -> None:
        self.assertEqual(self.client.post(self.url("accounts"), {"account": [SEARCH]}).status_code, 422)
        self.assertFalse(AdAccount.objects.exists())


class ChoosingAsAgency(Steps):
    user_name = AGENCY_USER

    def test_accounts_are_grouped_by_customer(self) -> None:
        self.assertGreater(self.page("accounts").count("Customer 2"), 2)

    def test_an_id_beyond_2_to_the_53_comes_through_whole(self) -> None:
        page = self.page("accounts")
        long = max((part for part in page.split('"') if part.isdigit()), key=int)
        self.assertGreater(int(long), 2**53)
        self.choose(long)
        self.assertTrue(AdAccount.objects.filter(account_id=long).exists())


class LinkingATag(Steps):
    def setUp(self) -> None:
        super().setUp()
        self.choose(SEARCH, SHOPPING)

    def link(self, tag: str, other: str = "") -> int:
        posted = {f"tag-{SEARCH}": tag, f"other-{SEARCH}": other, f"tag-{SHOPPING}": ""}
        return self.client.post(self.url("uet"), posted).status_code

    def test_the_one_active_tag_is_chosen_beforehand(self) -> None:
        self.assertRegex(self.page("uet"), rf'name="tag-{SEARCH}" value="343118260" checked')

    def test_a_listed_tag_is_linked_to_its_account_only(self) -> None:
        self.assertEqual(self.link("343118260"), 302)
        self.assertEqual((self.row().uet_tag_id, self.row(SHOPPING).uet_tag_id), ("343118260", ""))

    def test_no_tag_is_fine(self) -> None:
        self.link("343118260")
        self.assertEqual(self.link(""), 302)
        self.assertEqual(self.row().uet_tag_id, "")

    def test_a_typed_id_is_checked_with_microsoft(self) -> None:
        self.assertEqual(self.link("other", " 343118260 "), 302)
        self.assertEqual(self.row().uet_tag_id, "343118260")

    def test_a_wrong_id_is_reported_as_such_and_stays_typed(self) -> None:
        for wrong in ("123", "abc", "<script>", "\0", "9" * 3000):
            with self.subTest(tag=wrong[:10]):
                self.assertEqual(self.link("other", wrong), 422)
        answer = self.client.post(self.url("uet"), {f"tag-{SEARCH}": "other", f"other-{SEARCH}": "123"})
        self.assertContains(answer, "Microsoft lists no tag 123", status_code=422)
        self.assertContains(answer, 'value="123"', status_code=422)
        self.assertRegex(answer.content.decode(), rf'name="other-{SEARCH}"[^>]* autofocus>')
        self.assertEqual(self.row().uet_tag_id, "")

    def test_a_tag_chosen_by_hand_that_is_not_in_the_list_is_refused(self) -> None:
        self.assertEqual(self.link("5"), 422)

    def test_microsoft_away_leaves_the_field_to_type_in(self) -> None:
        self.microsoft.fault("UetTags/QueryByIds", "503", times=2)
        page = self.page("uet")
        self.assertIn("The tags could not be read", page)
        self.assertIn(f'name="other-{SEARCH}"', page)

    def test_accounts_of_one_customer_ask_once(self) -> None:
        before = len(self.microsoft.calls("UetTags/QueryByIds"))
        self.page("uet")
        self.assertEqual(len(self.microsoft.calls("UetTags/QueryByIds")), before + 1)


class MappingGoals(Steps):
    def setUp(self) -> None:
        super().setUp()
        self.choose(SEARCH)

    def goal_of(self, name: str = "Purchase") -> str:
        return self.row().goals.get(name=name).goal_id

    def post(self, **more: str) -> int:
        posted = {"name-0": "purchase", "goal-0": self.goal_of(), "value-0": "event"} | more
        return self.client.post(self.url("goals"), posted).status_code

    def test_offered_events_come_first_then_what_the_site_sent(self) -> None:
        store_event(self.site, name="add_to_cart")
        plan_all(timezone.now())
        page = self.page("goals")
        self.assertLess(page.index(">refund<"), page.index(">add_to_cart<"))
        self.assertIn("1 in 30 days", page)

    def test_a_goal_of_a_similar_name_is_chosen_beforehand(self) -> None:
        self.assertIn(f'<option value="{self.goal_of()}" selected>Purchase</option>', self.page("goals"))

    def test_who_took_a_mapping_away_does_not_find_it_again(self) -> None:
        set_mapping(self.row(), "purchase", Rule(self.goal_of()), self.alice, NOON)
        set_mapping(self.row(), "purchase", None, self.alice, NOON)
        self.assertNotIn(" selected>Purchase</option>", self.page("goals"))

    def test_saving_maps_and_goes_on(self) -> None:
        posted = {"name-0": "purchase", "goal-0": self.goal_of(), "value-0": "none"}
        self.assertRedirects(self.client.post(self.url("goals"), posted), self.url("enhanced"))
        mapping = GoalMapping.objects.get()
        self.assertEqual((mapping.event_name, mapping.goal.name, mapping.value_rule), ("purchase", "Purchase", "none"))

    def test_do_not_forward_takes_a_mapping_away(self) -> None:
        self.post()
        self.post(**{"goal-0": ""})
        self.assertFalse(GoalMapping.objects.exists())

    def test_rows_that_were_not_in_the_form_stay(self) -> None:
        set_mapping(self.row(), "lead", Rule(self.goal_of()), self.alice, NOON)
        self.post()
        self.assertEqual(GoalMapping.objects.count(), 2)

    def test_a_fixed_value_and_a_condition_survive(self) -> None:
        rule = Rule(self.goal_of(), Decimal("12.5"), "value >= 50")
        set_mapping(self.row(), "purchase", rule, self.alice, NOON)
        self.assertIn("Fixed value", self.page("goals"))
        self.post(**{"value-0": "fixed"})
        mapping = GoalMapping.objects.get()
        self.assertEqual((mapping.fixed_value, mapping.condition), (Decimal("12.5"), "value >= 50"))

    def test_a_goal_that_is_not_the_accounts_is_refused_and_nothing_is_saved(self) -> None:
        for wrong in ("1", "x", "\0", "9" * 3000):
            with self.subTest(goal=wrong[:5]):
                more = {"name-1": "lead", "goal-1": wrong, "value-1": "event"}
                self.assertEqual(self.post(**more), 422)
        self.assertFalse(GoalMapping.objects.exists())

    def test_nonsense_values_fall_back_to_the_events_own(self) -> None:
        self.assertEqual(self.post(**{"value-0": "\0nonsense", "goal-99999": "1", "name-x": "y"}), 302)
        self.assertEqual(GoalMapping.objects.get().value_rule, "event")

    def test_a_new_goal_appears_after_a_sync_with_its_time(self) -> None:
        self.time.shift(timedelta(minutes=5))
        self.row().goals.filter(name="Purchase").delete()
        answer = self.client.post(
            self.url("goals"), {"sync": "1", "name-0": "purchase", "goal-0": "", "value-0": "none"}
        )
        self.assertContains(answer, "“Purchase” is new. Microsoft accepts its conversions from")
        self.assertContains(answer, "14:05")
        self.assertFalse(GoalMapping.objects.exists())

    def test_microsoft_away_during_a_sync_is_told(self) -> None:
        self.time.shift(timedelta(minutes=5))
        self.microsoft.fault("ConversionGoals/QueryByIds", "503")
        self.assertContains(self.client.post(self.url("goals"), {"sync": "1"}), "The goals could not be read")

    def test_an_account_without_goals_is_told_where_to_make_one(self) -> None:
        self.choose(BRAND)
        self.assertIn("No offline conversion goals in Brand – US", self.page("goals", account=BRAND))

    def test_several_accounts_are_mapped_one_after_the_other(self) -> None:
        self.choose(SHOPPING)
        self.assertIn("Account 1 of 2", self.page("goals"))
        answer = self.client.post(self.url("goals"), {})
        self.assertRedirects(answer, self.url("goals", account=SHOPPING))

    def test_an_account_that_is_not_of_the_sign_in_is_not_found(self) -> None:
        for account in ("1", "x", "\0"):
            with self.subTest(account=account):
                self.assertEqual(self.client.get(self.url("goals", account=account)).status_code, 404)


class EnhancedConversions(Steps):
    def setUp(self) -> None:
        super().setUp()
        self.choose(SEARCH, SHOPPING)

    def test_it_is_switched_per_account(self) -> None:
        answer = self.client.post(self.url("enhanced"), {f"enhanced-{SEARCH}": "on"})
        self.assertRedirects(answer, self.url("test"))
        self.assertTrue(self.row().enhanced_conversions)
        self.assertFalse(self.row(SHOPPING).enhanced_conversions)

    def test_it_shows_what_events_carry(self) -> None:
        for digest in ("a" * 64, "", "", ""):
            store_event(self.site, email_sha256=digest, received_at=NOON - timedelta(hours=1))
        self.assertIn("width:25%", self.page("enhanced"))

    def test_it_says_where_data_is_hashed_and_leads_to_the_code_and_to_microsofts_terms(self) -> None:
        page = self.page("enhanced")
        self.assertIn("or on arrival where a server or a CSV file brings it", page)
        self.assertIn(f'href="/help/api/?site={self.site.public_id}#script"', page)
        self.assertIn('href="https://ads.microsoft.com/"', page)

    def test_it_says_so_when_nothing_has_arrived(self) -> None:
        self.assertIn("No event of the mapped kinds has arrived", self.page("enhanced"))


class SendingATest(Steps):
    def setUp(self) -> None:
        super().setUp()
        self.choose(SEARCH, SHOPPING)
        goal = self.row().goals.get(name="Purchase")
        set_mapping(self.row(), "purchase", Rule(goal.goal_id), self.alice, NOON)

    def send(self, pasted: str) -> "Response":
        form = self.client.get(self.url("test")).context["form"]
        given = {name: str(form[name].value()) for name in ("target", "value", "currency", "token")}
        return self.client.post(self.url("test"), given | {"pasted": pasted, "retract": "on"})

    def test_it_may_be_skipped(self) -> None:
        page = self.page("test")
        self.assertIn("Finish without a test", page)
        self.assertIn("Search – US · Purchase · from purchase", page)

    def test_one_is_sent_and_its_answer_shown(self) -> None:
        answer = self.send("ab" * 16)
        self.assertContains(self.client.get(answer.headers["Location"]), "every 1s")
        tasks.send_test(TestConversion.objects.get().pk)
        page = self.client.get(answer.headers["Location"])
        self.assertContains(page, "Microsoft accepted the test conversion")
        self.assertContains(page, "Test another goal")

    def test_a_wrong_click_is_told_and_nothing_is_sent(self) -> None:
        self.assertContains(self.send("hello"), 'id="tp-error"', status_code=422)
        self.assertFalse(TestConversion.objects.exists())

    def test_a_test_that_is_not_there_is_not_found(self) -> None:
        for asked in ("x", str(uuid.uuid4())):
            self.assertEqual(self.client.get(self.url("test", test=asked)).status_code, 404)


class TheEnd(Steps):
    def setUp(self) -> None:
        super().setUp()
        self.choose(SEARCH)

    def test_without_a_mapping_it_does_not_claim_to_be_live(self) -> None:
        page = self.page("done")
        self.assertIn("nothing is forwarded yet", page)
        self.assertNotIn("You are live", page)

    def test_with_a_mapping_it_is_live(self) -> None:
        goal = self.row().goals.get(name="Purchase")
        set_mapping(self.row(), "purchase", Rule(goal.goal_id), self.alice, NOON)
        page = self.page("done")
        self.assertIn("You are live", page)
        self.assertIn("1 event mapped", page)
        self.assertNotIn("Accepted", page)

    def test_with_a_goal_that_is_paused_it_says_so_instead(self) -> None:
        goal = self.row().goals.get(name="Purchase")
        set_mapping(self.row(), "purchase", Rule(goal.goal_id), self.alice, NOON)
        self.row().goals.update(status="Paused")
        page = self.page("done")
        self.assertIn("1 of 1 goals needs mapping in", page)
        self.assertNotIn("You are live", page)


class EnteringAStep(Steps):
    def test_without_a_sign_in_in_the_address_the_newest_is_meant(self) -> None:
        url = reverse("dashboard:connect-accounts", args=[self.site.public_id])
        self.assertContains(self.client.get(url), "ads@harborpine.example")

    def test_without_any_sign_in_it_leads_back(self) -> None:
        Connection.objects.all().delete()
        url = reverse("dashboard:connect-uet", args=[self.site.public_id])
        self.assertContains(self.client.get(url, follow=True), "Connect Microsoft Advertising first")

    def test_before_accounts_are_chosen_later_steps_lead_to_them(self) -> None:
        for step in ("uet", "goals", "enhanced", "test", "done"):
            with self.subTest(step=step):
                self.assertRedirects(self.client.get(self.url(step)), self.url("accounts"))

    def test_a_sign_in_that_needs_reconnecting_leads_back(self) -> None:
        self.connection.status = Connection.Status.NEEDS_RECONNECT
        self.connection.save(update_fields=["status"])
        self.assertContains(self.client.get(self.url("uet"), follow=True), "needs someone first")

    def test_the_sign_in_of_another_site_is_not_found(self) -> None:
        theirs = make_connection(make_site("Other", self.charlie), microsoft_user_id="9")
        for sign_in in (str(theirs.public_id), "x", "\0", "1" * 5000):
            with self.subTest(sign_in=sign_in[:8]):
                self.assertEqual(self.client.get(self.url("accounts", sign_in=sign_in)).status_code, 404)
