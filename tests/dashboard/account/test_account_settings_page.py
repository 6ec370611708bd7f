"""An account's settings page, against a Microsoft that knows its tags."""

from typing import TYPE_CHECKING

import time_machine
from django.utils import timezone

from integrations.account_settings import change_settings
from integrations.connecting import add_accounts
from integrations.mapping import Rule, set_mapping
from integrations.microsoft_ads.emulator.world import SEARCH_US
from integrations.models import AdAccount, Connection
from tests.cast import NOON
from tests.dashboard.accounts import AccountTestCase
from tests.support.microsoft import EmulatedMicrosoft

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Response

TAG = "343118260"


class TestSettings(AccountTestCase):
    def setUp(self) -> None:
        AdAccount.objects.all().delete()
        Connection.objects.all().delete()
        self.enterContext(time_machine.travel(NOON, tick=False))
        self.microsoft = self.enterContext(EmulatedMicrosoft())
        connection = self.microsoft.connect(self.site, self.alice)
        (self.account,) = add_accounts(connection, [SEARCH_US], self.alice, timezone.now())
        self.client.force_login(self.alice)

    def save(self, tag: str = "", **fields: str) -> "Response":
        response = self.client.post(self.url("account-settings"), {"uet_tag_id": tag, **fields})
        self.account.refresh_from_db()
        return response

    def test_a_tag_of_the_account_is_saved(self) -> None:
        self.assertRedirects(self.save(TAG), self.url("account-settings"))
        self.assertEqual(self.account.uet_tag_id, TAG)

    def test_it_says_who_changed_it_last_and_when(self) -> None:
        self.assertNotContains(self.client.get(self.url("account-settings")), "Last changed by")
        self.save(enhanced_conversions="on")
        self.assertContains(self.client.get(self.url("account-settings")), "Last changed by <bdi>Alice</bdi>, ")

    def test_settings_and_logs_lead_to_a_test(self) -> None:
        for page in ("account-settings", "account-logs"):
            self.assertContains(self.client.get(self.url(page)), 'test/"><svg', msg_prefix=page)

    def test_it_says_whether_refunds_are_told(self) -> None:
        self.assertContains(self.client.get(self.url("account-settings")), "Refunds are not told: ")
        set_mapping(self.account, "refund", Rule("90010001"), self.alice, NOON)
        self.assertContains(self.client.get(self.url("account-settings")), "Refunds are told whether this is on or off")

    def test_a_tag_is_picked_from_microsofts_list_without_scripts(self) -> None:
        self.save("", pick=TAG)
        self.assertEqual(self.account.uet_tag_id, TAG)

    def test_the_linked_tag_is_shown_with_its_state(self) -> None:
        for tag, said in ((TAG, "active"), ("187009441", "inactive"), ("343118299", "unverified")):
            AdAccount.objects.update(uet_tag_id=tag)
            with self.subTest(said):
                self.assertContains(self.client.get(self.url("account-uet-tags")), f", {said}</p>")

    def test_a_linked_tag_that_microsoft_no_longer_lists_is_told(self) -> None:
        AdAccount.objects.update(uet_tag_id="999")
        page = self.client.get(self.url("account-uet-tags"))
        self.assertContains(page, "Invalid UET tag: check it under Tools → UET tag.")

    def test_a_wrong_tag_is_told_with_the_list_to_pick_from(self) -> None:
        answer = self.save("999")
        self.assertContains(answer, "Invalid UET tag: check it under Tools → UET tag.", status_code=422)
        self.assertContains(answer, "Harbor &amp; Pine web", status_code=422)

    def test_no_tag_is_fine(self) -> None:
        self.save(TAG)
        self.assertEqual(self.save("").status_code, 302)
        self.assertEqual(self.account.uet_tag_id, "")

    def test_a_wrong_tag_is_reported_and_nothing_is_saved(self) -> None:
        for tag in ("UA-343118", "999", "9" * 5000, "\0", "<b>"):
            with self.subTest(tag=tag[:10]):
                response = self.save(tag, enhanced_conversions="on")
                self.assertContains(response, 'id="uet-error"', status_code=422)
                self.assertEqual((self.account.uet_tag_id, self.account.enhanced_conversions), ("", False))

    def test_what_was_typed_stays_in_its_field(self) -> None:
        self.assertContains(self.save("UA-343118"), 'value="UA-343118"', status_code=422)

    def test_a_tag_that_cannot_be_checked_now_is_not_saved(self) -> None:
        self.microsoft.fault("UetTags/QueryByIds", "status", status=500)
        self.assertContains(self.save(TAG), "The tag could not be checked", status_code=422)
        self.assertEqual(self.account.uet_tag_id, "")

    def test_an_unchanged_tag_asks_microsoft_nothing(self) -> None:
        self.save(TAG)
        asked = len(self.microsoft.paths)
        self.save(TAG, enhanced_conversions="on")
        self.assertEqual(len(self.microsoft.paths), asked)
        self.assertTrue(self.account.enhanced_conversions)

    def test_what_somebody_else_set_meanwhile_is_told_and_not_overwritten(self) -> None:
        seen = self.client.get(self.url("account-settings")).context["seen"]
        change_settings(self.account, {"enhanced_conversions": True}, self.alice, timezone.now())
        answer = self.save(TAG, seen=seen)
        self.assertContains(answer, "Alice set", status_code=409)
        form = answer.context["form"]
        self.assertEqual((form["uet_tag_id"].value(), form["enhanced_conversions"].value()), (TAG, True))
        self.assertEqual((self.account.uet_tag_id, self.account.enhanced_conversions), ("", True))
        self.save(TAG, seen=answer.context["seen"])
        self.assertEqual((self.account.uet_tag_id, self.account.enhanced_conversions), (TAG, False))

    def test_the_switch_goes_off_again(self) -> None:
        self.save(enhanced_conversions="on")
        self.save()
        self.assertFalse(self.account.enhanced_conversions)

    def test_restating_with_the_backends_value_is_on_until_it_is_switched_off(self) -> None:
        page = self.client.get(self.url("account-settings"))
        self.assertContains(page, 'name="restates_from_backend" checked')
        self.save()
        self.assertFalse(self.account.restates_from_backend)

    def test_it_says_which_goals_take_hashed_data(self) -> None:
        self.assertContains(self.client.get(self.url("account-settings")), "goals take hashed data: ")

    def test_it_says_what_to_do_when_no_goal_takes_hashed_data(self) -> None:
        self.account.goals.update(is_enhanced=False)
        self.assertContains(
            self.client.get(self.url("account-settings")), "No goal of this account takes hashed data yet"
        )

    def test_microsofts_tags_are_shown_with_their_state(self) -> None:
        for url in (self.url("account-uet-tags"), self.url("account-settings") + "?tags=1"):
            with self.subTest(url=url):
                page = self.client.get(url)
                self.assertContains(page, "Harbor &amp; Pine web")
                self.assertContains(page, "Microsoft has not seen this tag on any page yet")

    def test_tags_that_cannot_be_read_are_told_in_words(self) -> None:
        self.microsoft.fault("UetTags/QueryByIds", "status", status=500)
        self.assertContains(self.client.get(self.url("account-uet-tags")), "The tags could not be read")

    def test_a_marketer_looks_and_does_not_ask_microsoft(self) -> None:
        self.client.force_login(self.bob)
        asked = len(self.microsoft.paths)
        page = self.client.get(self.url("account-settings") + "?tags=1")
        self.assertContains(page, "Changing them needs the Owner or Admin role.")
        self.assertEqual(len(self.microsoft.paths), asked)
        self.assertEqual(self.client.get(self.url("account-uet-tags")).status_code, 403)
