"""The Test Center's page: what it sends, what it shows of the answer, and who may send."""

import uuid
from datetime import timedelta
from typing import TYPE_CHECKING

import time_machine
from django.urls import reverse
from django.utils import timezone

from dashboard.test_center.forms import UNMAPPED_EVENT
from forwarding import tasks
from forwarding.models import DailyCount, Delivery, TestConversion
from ingest.click_ids import new_test_click_id
from ingest.models import AuditEntry, Click, Consent, ConsentPolicy, Event, Membership, Role
from integrations.connecting import add_accounts
from integrations.mapping import Rule, set_mapping
from integrations.microsoft_ads.emulator.world import SEARCH_US
from integrations.models import AdAccount, Connection
from tests.cast import NOON, make_account
from tests.dashboard.accounts import AccountTestCase
from tests.support.microsoft import EmulatedMicrosoft

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Response

PURCHASE, TRADE_ENQUIRY = "90010001", "90010003"
CLICK = "dd4afc0000000000000000000006f1c0"


class PageTestCase(AccountTestCase):
    def setUp(self) -> None:
        AdAccount.objects.all().delete()
        Connection.objects.all().delete()
        self.time = self.enterContext(time_machine.travel(NOON, tick=False))
        self.microsoft = self.enterContext(EmulatedMicrosoft())
        connection = self.microsoft.connect(self.site, self.alice)
        (self.account,) = add_accounts(connection, [SEARCH_US], self.alice, timezone.now())
        set_mapping(self.account, "purchase", Rule(PURCHASE), self.alice, NOON)
        self.catch_click(CLICK)
        self.client.force_login(self.alice)

    def catch_click(self, click_id: str, consent: str = "", hours: float = 2) -> None:
        at = timezone.now() - timedelta(hours=hours)
        Click.objects.create(site=self.site, msclkid=click_id, visitor_id=click_id, captured_at=at, consent=consent)

    def fields(self, **changes: str) -> dict[str, str]:
        """Return the form as the page draws it."""
        form = self.client.get(self.url("account-test")).context["form"]
        given = {name: str(form[name].value()) for name in ("target", "value", "currency", "click", "token")}
        return given | {"do": "send", "retract": "on"} | changes

    def send(self, **changes: str) -> "Response":
        return self.client.post(self.url("account-test"), self.fields(**changes))

    def result(self, **changes: str) -> "Response":
        """Send a test, let a worker do it, and open its page."""
        answer = self.send(**changes)
        self.assertEqual(answer.status_code, 302, answer.content[:2000])
        tasks.send_test(TestConversion.objects.latest("pk").pk)
        return self.client.get(answer.headers["Location"])

    def be(self, role: Role) -> None:
        Membership.objects.filter(user=self.bob).update(role=role)
        self.client.force_login(self.bob)


class Sending(PageTestCase):
    def test_refunds_are_nothing_to_test_a_goal_with(self) -> None:
        set_mapping(self.account, "refund", Rule(PURCHASE), self.alice, NOON)
        labels = [target.label for target in self.client.get(self.url("account-test")).context["form"].targets]
        self.assertNotIn("Purchase · from refund", labels)

    def test_a_green_result_has_microsofts_answer_and_what_was_sent(self) -> None:
        page = self.result()
        self.assertContains(page, "Microsoft accepted the test conversion")
        self.assertContains(page, "PartialErrors")
        self.assertContains(page, "ConversionName")
        self.assertContains(page, "The test will be retracted at")
        self.assertEqual([booking.click_id for booking in self.microsoft.bookings], [CLICK])

    def test_the_same_form_twice_is_one_conversion(self) -> None:
        fields = self.fields()
        first, second = (self.client.post(self.url("account-test"), fields) for _ in range(2))
        self.assertEqual(first.headers["Location"], second.headers["Location"])
        for _ in range(2):
            tasks.send_test(TestConversion.objects.get().pk)
        self.assertEqual(len(self.microsoft.bookings), 1)

    def test_a_goal_that_is_gone_is_red_with_the_cause_and_the_way_out(self) -> None:
        self.microsoft.books.goals[PURCHASE].status = "Deleted"
        page = self.result()
        self.assertContains(page, "Microsoft does not know a goal called “Purchase”")
        self.assertContains(page, '<span class="mono">5606</span>')
        self.assertContains(page, "How to fix it")
        self.assertContains(page, f"{self.url('account-goal-create')}?name=Purchase")
        self.assertContains(page, "Open goal mapping")
        self.assertContains(page, "Nothing to retract")

    def test_a_check_that_stops_it_says_so(self) -> None:
        self.microsoft.books.accounts[SEARCH_US].status = "Suspended"
        page = self.result()
        self.assertContains(page, "The test was not sent: account is suspended at Microsoft")
        self.assertEqual(self.microsoft.bookings, [])

    def test_an_unanswered_one_is_red(self) -> None:
        self.microsoft.fault("OfflineConversions/Apply", "close_after")
        self.assertContains(self.result(), "A test is sent once and never again")

    def test_one_without_a_value_is_worth_what_the_goal_says(self) -> None:
        self.assertContains(self.result(value=""), "No value")
        self.assertIsNone(Delivery.objects.get(kind="conversion").value)

    def test_an_unmapped_goal_can_be_tested_too(self) -> None:
        self.result(target=f"{SEARCH_US}/90010003/")
        delivery = Delivery.objects.get(kind="conversion")
        self.assertEqual((delivery.goal_name, delivery.event.name), ("Trade enquiry", UNMAPPED_EVENT))

    def test_it_stands_in_the_audit_log(self) -> None:
        self.send()
        entry = AuditEntry.objects.get(action="test.send")
        self.assertEqual((entry.actor, entry.details["goal"]), (self.alice, "Purchase"))

    def test_a_token_of_another_accounts_test_finds_nothing(self) -> None:
        fields = self.fields()
        self.client.post(self.url("account-test"), fields)
        TestConversion.objects.update(account=make_account(self.site, "138209999", connection=self.account.connection))
        self.assertEqual(self.client.post(self.url("account-test"), fields).status_code, 404)


class Offered(PageTestCase):
    def map_and_use(self, event: str, goal: str, count: int) -> None:
        set_mapping(self.account, event, Rule(goal), self.alice, NOON)
        found = self.account.goals.get(goal_id=goal).name
        DailyCount.objects.create(
            account=self.account, day=NOON.date(), event_name=event, goal_name=found, status="delivered", count=count
        )

    def offered(self, **asked: str) -> str:
        form = self.client.get(self.url("account-test"), asked).context["form"]
        return str(form["target"].value())

    def test_the_goal_that_is_used_most_is_offered_first(self) -> None:
        self.map_and_use("lead", TRADE_ENQUIRY, 5)
        self.assertEqual(self.offered(), f"{SEARCH_US}/{TRADE_ENQUIRY}/lead")
        self.map_and_use("purchase", PURCHASE, 9)
        self.assertEqual(self.offered(), f"{SEARCH_US}/{PURCHASE}/purchase")

    def test_a_goal_that_is_gone_is_offered_last_and_says_so(self) -> None:
        self.map_and_use("lead", TRADE_ENQUIRY, 5)
        self.account.goals.filter(goal_id=TRADE_ENQUIRY).update(gone_at=NOON)
        self.assertEqual(self.offered(), f"{SEARCH_US}/{PURCHASE}/purchase")
        self.assertContains(self.client.get(self.url("account-test")), "Trade enquiry · from lead · not found")

    def test_beside_a_result_the_form_offers_the_same_goal_again(self) -> None:
        self.result(target=f"{SEARCH_US}/{TRADE_ENQUIRY}/")
        test = TestConversion.objects.get()
        self.assertEqual(self.offered(test=str(test.public_id)), f"{SEARCH_US}/{TRADE_ENQUIRY}/")

    def test_what_is_wrong_with_a_value_is_told_in_words_of_ours(self) -> None:
        for value, words in (
            ("1.23456", "Microsoft takes 3 decimals at most"),
            ("-1", "cannot be negative"),
            ("$5", "as a number, such as 99.95"),
            ("9999999999999", "Microsoft takes 999,999,999,999 at most"),
        ):
            with self.subTest(value):
                self.assertContains(self.send(value=value), words, status_code=422)


class DryRun(PageTestCase):
    def test_it_shows_the_json_and_stores_nothing(self) -> None:
        called = len(self.microsoft.paths)
        page = self.send(do="dry", value="12.50")
        self.assertContains(page, "Nothing was sent")
        self.assertContains(page, "12.5</span>")
        self.assertContains(page, CLICK)
        self.assertEqual((Event.objects.count(), Delivery.objects.count(), TestConversion.objects.count()), (0, 0, 0))
        self.assertEqual(len(self.microsoft.paths), called)


class Clicks(PageTestCase):
    def test_a_landing_page_address_has_its_click_in_it(self) -> None:
        mine = uuid.uuid4().hex
        self.result(pasted=f"https://shop.example/?utm_source=bing&msclkid={mine}#top")
        self.assertEqual(self.microsoft.bookings[0].click_id, mine)

    def test_what_is_no_click_id_is_told_at_the_field(self) -> None:
        for wrong in ("hello", "https://shop.example/?a=1", "Example-123", new_test_click_id(NOON), "é" * 40, "\x00"):
            with self.subTest(wrong=wrong):
                self.assertContains(self.send(pasted=wrong), 'id="tp-error"', status_code=422)
        self.assertContains(self.send(pasted="http://[?msclkid=1"), "Paste its 32 characters", status_code=422)
        self.assertFalse(TestConversion.objects.exists())

    def test_a_visitor_who_refused_lends_no_click(self) -> None:
        self.catch_click("ab" * 16, consent=Consent.DENIED, hours=1)
        self.assertEqual(self.client.get(self.url("account-test")).context["latest"].msclkid, CLICK)
        self.site.consent_policy = ConsentPolicy.REQUIRE
        self.site.save()
        self.assertIsNone(self.client.get(self.url("account-test")).context["latest"])

    def test_without_a_captured_click_one_has_to_be_pasted(self) -> None:
        Click.objects.all().delete()
        self.assertContains(self.client.get(self.url("account-test")), "No click was captured yet")
        self.assertEqual(self.send().status_code, 422)


class Looking(PageTestCase):
    def test_before_any_test_it_says_what_a_test_is(self) -> None:
        self.assertContains(self.client.get(self.url("account-test")), "No test sent yet")

    def test_an_account_without_goals_leads_to_creating_one(self) -> None:
        self.account.mappings.all().delete()
        self.account.goals.all().delete()
        self.assertContains(self.client.get(self.url("account-test")), "Create a goal")
        self.be(Role.DEVELOPER)
        for page in ("account-test", "account-mapping"):
            shown = self.client.get(self.url(page))
            self.assertContains(shown, "eeds the Owner, Admin or Marketer role")
            self.assertNotContains(shown, self.url("account-goal-create"))

    def test_the_checks_come_one_by_one_and_then_the_result(self) -> None:
        address = self.send().headers["Location"]
        page = self.client.get(address)
        self.assertContains(page, 'hx-trigger="every 1s"')
        test = TestConversion.objects.get()
        url = self.url("account-test-result", test.public_id)
        htmx = {"HX-Request": "true"}
        self.assertEqual(self.client.get(f"{url}?seen=0-checking", headers=htmx).status_code, 204)
        TestConversion.objects.update(checks=[{"title": "Signed in to Microsoft", "state": "ok", "note": "me@x"}])
        self.assertContains(self.client.get(f"{url}?seen=0-checking", headers=htmx), "me@x")
        tasks.send_test(test.pk)
        over = self.client.get(f"{url}?seen=0-checking", headers=htmx)
        self.assertContains(over, 'id="tr" tabindex="-1" autofocus')
        self.assertContains(over, 'hx-swap-oob="true"')
        self.assertNotContains(over, "every 1s")

    def test_a_person_who_opens_a_fragment_gets_the_page(self) -> None:
        self.send()
        test = TestConversion.objects.get()
        answer = self.client.get(self.url("account-test-result", test.public_id))
        self.assertRedirects(answer, f"{self.url('account-test')}?test={test.public_id}")

    def test_nobody_coming_is_said(self) -> None:
        address = self.send().headers["Location"]
        self.time.shift(timedelta(seconds=30))
        self.assertContains(self.client.get(address), "No worker has come to it yet")

    def test_a_retracted_test_says_so(self) -> None:
        with self.settings(ADJUSTMENT_SETTLE_SECONDS=0, UPLOAD_LINGER_SECONDS=0):
            self.result()
            tasks.deliver(self.account.pk)
        self.assertContains(self.client.get(self.url("account-test")), "st-retracted")

    def test_nonsense_in_the_address_is_not_found(self) -> None:
        for asked in ("x", "\x00", str(uuid.uuid4()), "9" * 500):
            with self.subTest(asked=asked):
                answer = self.client.get(self.url("account-test"), {"test": asked})
                self.assertEqual(answer.status_code, 404)

    def test_nonsense_in_the_form_is_refused(self) -> None:
        for changes in (
            {"target": "1/2/3"},
            {"value": "-1"},
            {"value": "NaN"},
            {"value": "1e400"},
            {"value": "9" * 400},
            {"currency": "<b>"},
            {"token": "x"},
            {"pasted": "x" * 5000},
        ):
            with self.subTest(changes=changes):
                self.assertEqual(self.send(**changes).status_code, 422)

    def test_its_queries_do_not_grow_with_the_tests(self) -> None:
        with self.assertNumQueries(11):
            self.client.get(self.url("account-test"))
        for _ in range(3):
            self.result()
        with self.assertNumQueries(12):
            self.client.get(self.url("account-test"))


class Doors(PageTestCase):
    def test_a_stranger_finds_nothing(self) -> None:
        self.send()
        test = TestConversion.objects.get()
        self.client.force_login(self.charlie)
        for name, *args in (
            ("account-test",),
            ("account-test-result", test.public_id),
            ("account-auto-tagging",),
            ("account-goal-create",),
        ):
            with self.subTest(name=name):
                self.assertEqual(self.client.get(self.url(name, *args)).status_code, 404)
                if name != "account-test-result":
                    self.assertEqual(self.client.post(self.url(name, *args)).status_code, 404)

    def test_a_viewer_looks_and_does_not_send(self) -> None:
        fields = self.fields()
        self.be(Role.VIEWER)
        page = self.client.get(self.url("account-test"))
        self.assertContains(page, "Needs the Owner, Admin, Marketer or Developer role")
        answer = self.client.post(self.url("account-test"), fields)
        self.assertContains(answer, "It needs the Owner, Admin, Marketer or Developer role", status_code=403)

    def test_a_developer_sends_and_changes_nothing_at_microsoft(self) -> None:
        self.be(Role.DEVELOPER)
        self.assertEqual(self.send().status_code, 302)
        for name in ("account-auto-tagging", "account-goal-create"):
            self.assertEqual(self.client.post(self.url(name)).status_code, 403)

    def test_a_test_of_another_account_is_not_found(self) -> None:
        self.send()
        test = TestConversion.objects.get()
        other = make_account(self.site, "138209999", connection=self.account.connection)
        url = reverse("dashboard:account-test", args=[self.site.public_id, other.account_id])
        self.assertEqual(self.client.get(url, {"test": str(test.public_id)}).status_code, 404)

    def test_a_removed_account_has_no_test_center(self) -> None:
        AdAccount.objects.update(is_active=False)
        self.assertRedirects(self.client.get(self.url("account-test")), self.url("account-overview"))


class Mending(PageTestCase):
    def test_auto_tagging_is_offered_where_it_is_off_and_turned_on_after_a_question(self) -> None:
        self.microsoft.books.accounts[SEARCH_US].auto_tagging = False
        self.assertContains(self.result(), self.url("account-auto-tagging"))
        self.assertContains(
            self.client.get(self.url("account-auto-tagging")), "This changes a setting of your Microsoft"
        )
        self.assertFalse(self.microsoft.books.accounts[SEARCH_US].auto_tagging)
        self.client.post(self.url("account-auto-tagging"))
        self.assertTrue(self.microsoft.books.accounts[SEARCH_US].auto_tagging)
        entry = AuditEntry.objects.get(action="account.auto_tagging")
        self.assertEqual(entry.details, {"auto_tagging": [False, True]})

    def test_a_marketer_sees_which_role_turns_it_on(self) -> None:
        self.microsoft.books.accounts[SEARCH_US].auto_tagging = False
        self.be(Role.MARKETER)
        self.assertContains(self.result(), "Needs the Owner or Admin role.")

    def test_a_refusal_to_turn_it_on_is_told(self) -> None:
        self.microsoft.fault("AccountProperties/Set", "status", status=500)
        answer = self.client.post(self.url("account-auto-tagging"), follow=True)
        self.assertContains(answer, "Auto-tagging was not turned on")

    def create(self, **changes: str) -> "Response":
        fields = {"name": "Web sale", "category": "Purchase", "count_type": "Unique", "currency": "usd"}
        return self.client.post(self.url("account-goal-create"), fields | changes)

    def test_a_goal_is_created_and_read_anew(self) -> None:
        self.time.shift(timedelta(minutes=5))
        self.assertRedirects(self.create(), self.url("account-mapping"))
        goal = self.account.goals.get(name="Web sale")
        self.assertEqual(
            (goal.count_type, goal.window_minutes, goal.revenue_type), ("Unique", 129_600, "VariableValue")
        )
        self.assertEqual(goal.first_seen_at, timezone.now())
        self.assertEqual(AuditEntry.objects.get(action="goal.create").details["goal"], "Web sale")

    def test_a_name_that_is_taken_is_told_at_its_field(self) -> None:
        answer = self.create(name="Purchase")
        self.assertContains(answer, "A goal of this name exists already", status_code=422)
        self.assertContains(answer, 'id="gn-error"', status_code=422)

    def test_wrong_fields_ask_microsoft_nothing(self) -> None:
        called = len(self.microsoft.paths)
        for changes in (
            {"name": ""},
            {"name": "x" * 101},
            {"category": "Download"},
            {"currency": "1$"},
            {"name": "\x00"},
        ):
            with self.subTest(changes=changes):
                self.assertEqual(self.create(**changes).status_code, 422)
        self.assertEqual(len(self.microsoft.paths), called)

    def test_a_goal_that_may_have_been_made_is_not_called_unmade(self) -> None:
        self.microsoft.fault("ConversionGoals", "close_after")
        self.assertContains(self.create(), "It may have been made", status_code=422)
