"""To Microsoft's sign-in and back, as a browser does it: every way it can end, nothing stored when it fails."""

from datetime import timedelta
from typing import TYPE_CHECKING
from unittest import mock
from urllib.parse import urlencode

import time_machine
from django.test import Client, override_settings
from django.urls import reverse

from ingest.models import Membership, Role
from integrations.microsoft_ads.emulator.world import AGENCY_USER, NO_ACCOUNTS_USER
from integrations.models import AdAccount, Connection
from tests.cast import NOON, CastTestCase, make_site
from tests.support.microsoft import EmulatedMicrosoft

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Answer

CALLBACK = "/integrations/microsoft/callback/"


class Journey(CastTestCase):
    """Alice's site with nothing connected, a Microsoft beside it, and a clock that stands at noon."""

    def setUp(self) -> None:
        AdAccount.objects.all().delete()
        Connection.objects.all().delete()
        self.time = self.enterContext(time_machine.travel(NOON, tick=False))
        self.microsoft = self.enterContext(EmulatedMicrosoft())
        self.client.force_login(self.alice)
        self.start_url = reverse("dashboard:microsoft-connect", args=[self.site.public_id])
        self.page_url = reverse("dashboard:integrations", args=[self.site.public_id])

    def begin(self) -> str:
        return self.client.post(self.start_url).headers["Location"]

    def consent(self, accept: bool = True) -> dict[str, str]:
        return self.microsoft.sign_in(self.begin(), accept=accept)

    def come_back(self, query: dict[str, str], client: Client | None = None) -> "Answer":
        return (client or self.client).get(f"{CALLBACK}?{urlencode(query)}")

    def assert_refused(self, answer: "Answer", words: str) -> None:
        """The way back leads to a clean page that says what happened, and nothing was stored."""
        self.assertEqual(answer.status_code, 302)
        self.assertNotIn("?", answer.headers["Location"])
        self.assertContains(self.client.get(answer.headers["Location"]), words)
        self.assertFalse(Connection.objects.exists())


class TheWayOut(Journey):
    def test_a_form_is_sent_on_to_microsoft(self) -> None:
        self.assertTrue(self.begin().startswith("http://127.0.0.1:9/common/oauth2/v2.0/authorize?"))

    def test_htmx_is_told_to_go_there(self) -> None:
        answer = self.client.post(self.start_url, headers={"HX-Request": "true"})
        self.assertTrue(answer.headers["HX-Redirect"].startswith("http://127.0.0.1:9/common/"))

    def test_a_link_cannot_start_it(self) -> None:
        self.assertEqual(self.client.get(self.start_url).status_code, 405)

    def test_the_page_with_the_form_lets_it_end_at_microsoft(self) -> None:
        policy = self.client.get(self.page_url).headers["Content-Security-Policy"]
        self.assertIn("form-action 'self' http://127.0.0.1:9", policy)

    def test_other_pages_do_not(self) -> None:
        self.assertIn("form-action 'self';", self.client.get("/sites/").headers["Content-Security-Policy"] + ";")

    def test_a_missing_setting_is_told_and_is_not_the_persons_fault(self) -> None:
        with override_settings(MICROSOFT_CLIENT_ID=""):
            self.assert_refused(self.client.post(self.start_url), "This is not your fault")


class TheWayBack(Journey):
    def test_consent_makes_a_connection_and_leads_to_the_accounts(self) -> None:
        answer = self.come_back(self.consent())
        connection = Connection.objects.get()
        accounts = reverse("dashboard:connect-accounts", args=[self.site.public_id])
        self.assertRedirects(answer, f"{accounts}?sign_in={connection.public_id}")
        self.assertEqual(str(connection), "ads@harborpine.example")

    def test_it_leaves_the_address_with_the_code_at_once_and_without_a_trace(self) -> None:
        answer = self.come_back(self.consent())
        self.assertEqual(answer.status_code, 302)
        self.assertEqual(answer.headers["Referrer-Policy"], "no-referrer")
        self.assertEqual(answer.headers["Cache-Control"], "no-store")
        self.assertNotIn("code=", answer.headers["Location"])

    def test_a_user_without_accounts_is_connected_and_told_what_is_missing(self) -> None:
        answer = self.come_back(self.microsoft.sign_in(self.begin(), NO_ACCOUNTS_USER))
        self.assertContains(self.client.get(answer.headers["Location"]), "reaches no advertising account")

    def test_nothing_of_the_attempt_is_left_in_the_session(self) -> None:
        self.come_back(self.consent())
        self.assertEqual(self.client.session.get("microsoft_sign_ins"), {})

    def test_reconnecting_leads_back_to_the_integrations(self) -> None:
        connection = self.microsoft.connect(self.site, self.alice)
        AdAccount.objects.create(site=self.site, connection=connection, account_id="1", customer_id="2", name="Search")
        answer = self.come_back(self.consent())
        self.assertRedirects(answer, self.page_url, fetch_redirect_response=False)
        self.assertContains(self.client.get(self.page_url), "is connected")

    def test_reconnecting_as_somebody_else_changes_nothing_and_says_so(self) -> None:
        connection = self.microsoft.connect(self.site, self.alice)
        start = self.client.post(self.start_url, {"sign_in": str(connection.public_id)})
        query = self.microsoft.sign_in(start.headers["Location"], AGENCY_USER)
        answer = self.come_back(query)
        self.assertRedirects(answer, self.page_url, fetch_redirect_response=False)
        page = self.client.get(self.page_url)
        self.assertContains(page, f"as {AGENCY_USER}, and this sign-in is {connection}’s")
        self.assertContains(page, "Nothing was changed")
        self.assertEqual(Connection.objects.get(), connection)

    def test_the_reconnect_button_names_its_sign_in(self) -> None:
        connection = self.microsoft.connect(self.site, self.alice)
        Connection.objects.update(status=Connection.Status.NEEDS_RECONNECT)
        hidden = f'<input type="hidden" name="sign_in" value="{connection.public_id}">'
        self.assertContains(self.client.get(self.page_url), hidden, html=True)

    def test_signing_in_as_somebody_else_is_said(self) -> None:
        other = Connection.objects.create(
            site=self.site, microsoft_user_id="77", microsoft_user_name="old@harborpine.example", connected_at=NOON,
            status=Connection.Status.NEEDS_RECONNECT,
        )  # fmt: skip
        AdAccount.objects.create(site=self.site, connection=other, account_id="1", customer_id="2", name="Search")
        answer = self.come_back(self.consent())
        self.assertContains(self.client.get(answer.headers["Location"]), "old@harborpine.example still needs")


class TheWayBackRefused(Journey):
    def test_cancelled(self) -> None:
        self.assert_refused(self.come_back(self.consent(accept=False)), "Access was not granted")

    def test_the_refusal_is_told_once(self) -> None:
        self.come_back(self.consent(accept=False))
        self.client.get(self.page_url)
        self.assertNotContains(self.client.get(self.page_url), "Access was not granted")

    def test_the_state_is_missing(self) -> None:
        query = self.consent()
        del query["state"]
        self.assert_refused(self.come_back(query), "did not begin here")

    def test_the_state_is_made_up(self) -> None:
        self.assert_refused(self.come_back(self.consent() | {"state": "x" * 43}), "did not begin here")

    def test_the_state_is_gone_from_the_session(self) -> None:
        query = self.consent()
        self.client.logout()
        self.client.force_login(self.alice)
        self.assert_refused(self.come_back(query), "did not begin here")

    def test_the_state_is_another_persons(self) -> None:
        query = self.consent()
        stranger = Client()
        stranger.force_login(self.charlie)
        self.come_back(query, stranger)
        self.assertFalse(Connection.objects.exists())

    def test_it_took_more_than_ten_minutes(self) -> None:
        query = self.consent()
        self.time.shift(timedelta(minutes=10, seconds=1))
        self.assert_refused(self.come_back(query), "took more than ten minutes")

    def test_a_second_time(self) -> None:
        query = self.consent()
        self.come_back(query)
        Connection.objects.all().delete()
        self.assert_refused(self.come_back(query), "did not begin here")

    def test_the_role_was_taken_away_meanwhile(self) -> None:
        query = self.consent()
        Membership.objects.filter(user=self.alice).update(role=Role.VIEWER)
        self.assert_refused(self.come_back(query), "You may no longer connect accounts")

    def test_membership_was_taken_away_meanwhile(self) -> None:
        make_site("Alice's other shop", self.alice)
        query = self.consent()
        Membership.objects.filter(user=self.alice, organisation=self.site.organisation).delete()
        self.assert_refused(self.come_back(query), "no longer a member")

    def test_microsoft_does_not_know_the_code(self) -> None:
        self.assert_refused(
            self.come_back(self.consent() | {"code": "made-up"}),
            "did not accept the sign-in’s code".replace("’", "&#x27;"),
        )

    def test_the_users_access_is_missing(self) -> None:
        query = self.consent()
        self.microsoft.fault("User/Query", "fault_code", code=106, error_code="UserIsNotAuthorized", shape="ApiFault")
        self.assert_refused(self.come_back(query), "did not accept this user")

    def test_microsoft_is_away(self) -> None:
        query = self.consent()
        self.microsoft.fault("token", "503")
        self.assert_refused(self.come_back(query), "could not be reached")

    def test_a_setting_went_missing(self) -> None:
        query = self.consent()
        with override_settings(MICROSOFT_CLIENT_SECRET=""):
            self.assert_refused(self.come_back(query), "This is not your fault")

    def test_odd_queries_are_refused_not_failed(self) -> None:
        state = self.consent()["state"]
        queries = ["", "?", "?state", "?code=x", "?state=%00&code=%00", f"?state={'x' * 5000}", "?error=%FF%FE&state=1"]
        for query in [*queries, f"?state={state}", f"?state={state}&code=1&state=2"]:
            with self.subTest(query=query[:40]):
                self.assertEqual(self.client.get(CALLBACK + query).status_code, 302)
        self.assertFalse(Connection.objects.exists())

    def test_an_error_that_nobody_knows_is_told_without_its_text(self) -> None:
        state = self.consent()["state"]
        answer = self.come_back({"state": state, "error": "<b>odd</b>", "error_description": "call 555-0100"})
        page = self.client.get(answer.headers["Location"]).content.decode()
        self.assertIn('role="alert"', page)
        self.assertNotIn("555-0100", page)
        self.assertNotIn("<b>odd", page)

    def test_nobody_is_signed_in_here(self) -> None:
        query = self.consent()
        stranger = Client()
        answer = self.come_back(query, stranger)
        self.assertEqual(answer.headers["Location"], "/login/")
        self.assertContains(stranger.get("/login/"), "Sign in first")
        self.assertFalse(Connection.objects.exists())

    def test_only_a_visit_ends_it(self) -> None:
        self.assertEqual(self.client.post(CALLBACK).status_code, 405)


class NoTrace(Journey):
    def test_neither_code_nor_token_is_logged(self) -> None:
        with (
            mock.patch("secrets.token_urlsafe", side_effect=iter(f"s{n}" * 22 for n in range(9))),
            self.assertLogs() as logs,
        ):
            query = self.consent()
            self.come_back(query)
        connection = Connection.objects.get()
        written = "\n".join(logs.output)
        for secret in (query["code"], connection.access_token, connection.refresh_token):
            self.assertNotIn(secret, written)
