"""Why a conversion is not there: each trouble of the guide, met on its page, with what to do one click away."""

from datetime import timedelta
from typing import Any

from django.urls import reverse
from django.utils import timezone

from forwarding.models import AcceptedDay, Attribution, Delivery, Skip, Status, TestConversion
from forwarding.tasks import send_test
from ingest.models import Click
from integrations.microsoft_ads.emulator.world import VIEW_ONLY_USER
from integrations.models import AdAccount, Connection
from tests.cast import CLICK_ID
from tests.road.road import RoadTestCase, purchase


class WhyNotTestCase(RoadTestCase):
    """Alice, signed in, before the pages of an account that an emulated Microsoft knows."""

    def setUp(self) -> None:
        super().setUp()
        self.client.force_login(self.alice)

    def url(self, name: str, *args: object) -> str:
        return reverse(f"dashboard:{name}", args=[self.site.public_id, self.account.account_id, *args])

    def site_url(self, name: str) -> str:
        return reverse(f"dashboard:{name}", args=[self.site.public_id])

    def send(self, **changes: Any) -> Delivery:
        """Send a purchase the whole way; return its newest delivery."""
        self.post(purchase(**changes))
        self.go()
        return Delivery.objects.latest("pk")

    def sent_test(self) -> str:
        """Send a test conversion the whole way; return the address of its result."""
        at = timezone.now() - timedelta(hours=2)
        Click.objects.create(site=self.site, msclkid=CLICK_ID, visitor_id="v1", captured_at=at)
        form = self.client.get(self.url("account-test")).context["form"]
        given = {name: str(form[name].value()) for name in ("target", "value", "currency", "click", "token")}
        answer = self.client.post(self.url("account-test"), given | {"do": "send", "retract": "on"})
        send_test(TestConversion.objects.latest("pk").pk)
        return answer.headers["Location"]

    def assert_says(self, url: str, *words: str) -> None:
        page = self.client.get(url).content.decode()
        for each in words:
            self.assertIn(each, page)

    def assert_story_says(self, delivery: Delivery, *words: str) -> None:
        self.assert_says(self.url("account-delivery", delivery.public_id), *words)

    def sign_in_dies(self) -> None:
        self.microsoft.expire_tokens()
        Connection.objects.update(expires_at=timezone.now() - timedelta(hours=1))
        self.microsoft.fault("token", "oauth_error", times=1, error="invalid_grant", code=50173, status=400)
        self.send()


class TestWhyNot(WhyNotTestCase):
    def test_no_goals_in_the_picker_leads_to_making_one(self) -> None:
        self.account.mappings.all().delete()
        self.account.goals.all().delete()
        for url in (self.url("account-mapping"), self.site_url("connect-goals")):
            self.assert_says(url, "No offline conversion goals", "Tools → Conversion goals", "Sync goals")
            self.assert_says(url, self.url("account-goal-create"))

    def test_permission_denied_names_the_role_and_leads_to_the_sign_ins(self) -> None:
        self.microsoft.fault(
            "OfflineConversions/Apply", "fault_code", code=106, error_code="UserIsNotAuthorized", status=403
        )
        delivery = self.send()
        for url in (self.url("account-overview"), self.url("account-delivery", delivery.public_id)):
            self.assert_says(url, "No permission for this account", "Standard user role", self.site_url("integrations"))

    def test_a_user_who_may_only_look_is_told_so_where_accounts_are_chosen(self) -> None:
        connection = self.microsoft.connect(self.site, self.alice, VIEW_ONLY_USER)
        url = f"{self.site_url('connect-accounts')}?sign_in={connection.public_id}"
        self.assert_says(url, "Standard user role")

    def test_what_microsoft_ads_does_not_show_yet_is_accepted_and_will_be_there(self) -> None:
        delivery = self.send()
        self.assertEqual(delivery.status, Status.DELIVERED)
        self.assert_story_says(delivery, "Accepted. Microsoft Ads shows it within 24 to 48 hours")
        self.assert_says(self.site_url("connect-done"), "within 24 to 48 hours")
        Delivery.objects.update(delivered_at=timezone.now() - timedelta(hours=49))
        self.assertNotContains(self.client.get(self.url("account-delivery", delivery.public_id)), "24 to 48 hours")

    def test_a_sign_in_that_died_is_disconnected_or_reconnected_by_a_button(self) -> None:
        self.sign_in_dies()
        self.assert_says(self.site_url("integrations"), "Needs reconnect", "Reconnect</button>", "Disconnect</a>")
        self.assert_says(self.url("account-overview"), "Needs reconnect", self.site_url("integrations"))

    def test_a_uet_tag_that_is_none_is_refused_with_where_to_look(self) -> None:
        response = self.client.post(self.url("account-settings"), {"uet_tag_id": "123"})
        self.assertContains(response, "Tools → UET tag", status_code=422)
        self.assertContains(response, "Show tags from Microsoft", status_code=422)

    def test_a_test_that_fails_for_its_goal_says_which_and_leads_to_another(self) -> None:
        self.microsoft.books.goals["90010001"].status = "Deleted"
        self.assert_says(self.sent_test(), "Microsoft does not know a goal called “Purchase”", "5606", "goals/new/")

    def test_a_test_that_fails_for_want_of_access_names_the_role(self) -> None:
        self.microsoft.fault(
            "OfflineConversions/Apply", "fault_code", code=106, error_code="UserIsNotAuthorized", status=403
        )
        self.assert_says(self.sent_test(), "no permission for this account", "Standard user role")

    def test_a_test_that_fails_for_its_sign_in_leads_to_reconnecting(self) -> None:
        self.microsoft.expire_tokens()
        Connection.objects.update(expires_at=timezone.now() - timedelta(hours=1))
        self.microsoft.fault("token", "oauth_error", times=1, error="invalid_grant", code=50173, status=400)
        self.assert_says(
            self.sent_test(), "The test was not sent: needs reconnect", "Reconnect the sign-in", "to reconnect</a>"
        )

    def test_authentication_failed_says_its_causes_and_leads_to_the_sign_ins(self) -> None:
        self.microsoft.fault(
            "OfflineConversions/Apply", "fault_code", times=2, code=105, error_code="InvalidCredentials", status=401
        )
        delivery = self.send()
        for url in (self.url("account-overview"), self.url("account-delivery", delivery.public_id)):
            self.assert_says(url, "did not accept our access", "another scope", self.site_url("integrations"))

    def test_a_goal_name_that_is_wrong_is_compared_with_the_nearest(self) -> None:
        AdAccount.objects.update(next_sync_at=timezone.now() + timedelta(days=1))
        self.account.goals.filter(name="Purchase").update(name="purchase ")
        delivery = self.send()
        self.assertEqual(delivery.error_code, 5606)
        self.account.goals.filter(name="purchase ").update(gone_at=timezone.now())
        self.account.goals.create(goal_id="1", name="Purchase", synced_at=timezone.now())
        self.assert_story_says(
            delivery, "The nearest is “Purchase”", "Only case and spaces differ", self.url("account-mapping")
        )

    def test_a_conversion_that_is_too_old_is_told_to_send_its_own_time(self) -> None:
        too_old = (timezone.now() - timedelta(days=89, hours=20)).isoformat()
        delivery = self.send(occurred_at=too_old)
        self.assertEqual(delivery.skip_reason, Skip.TOO_OLD)
        self.assert_story_says(delivery, "Older than 90 days", "own time as occurred_at", self.site_url("install"))

    def test_what_microsoft_finds_too_old_says_the_same(self) -> None:
        self.microsoft.fault(
            "OfflineConversions/Apply",
            "partial_error",
            indexes=[0],
            code=5609,
            error_code="OfflineConversionTimeOutOfWindow",
        )
        delivery = self.send()
        self.assert_story_says(delivery, "Older than 90 days", "own time as occurred_at")
        event = reverse("dashboard:event", args=[self.site.public_id, delivery.event.event_id])
        self.assert_says(event, "Older than 90 days", self.site_url("install"))

    def test_an_order_that_was_sent_twice_names_the_key(self) -> None:
        self.send(transaction_id="HP-1")
        second = self.send(transaction_id="HP-1")
        self.assertEqual(second.skip_reason, Skip.SAME_ORDER)
        self.assert_story_says(second, "Same order sent twice", "Goal and transaction ID are the key")
        self.assertEqual(len(self.microsoft.bookings), 1)

    def test_what_is_accepted_and_not_attributed_says_to_check_capture_before_bids(self) -> None:
        now = timezone.now()
        AdAccount.objects.update(report_read_at=now)
        goal, day = self.account.goals.get(name="Purchase"), (now - timedelta(days=5)).date()
        AcceptedDay.objects.create(account=self.account, day=day, goal=goal, event_name="purchase", count=3)
        Attribution.objects.create(
            account=self.account,
            goal_id=goal.goal_id,
            goal_name=goal.name,
            day=day,
            unattributed=3,
            reasons={"NoMatchingClickFound": 3},
            read_at=now,
        )
        self.assert_says(
            self.url("account-overview"),
            "No matching click found",
            "before you change bids",
            self.site_url("install"),
        )
