"""An invitation's life: mailed, accepted once by its address, or ended."""

import re
from datetime import timedelta
from typing import TYPE_CHECKING
from unittest import mock

import time_machine
from django.contrib.auth.models import User
from django.core import mail
from django.test import Client, override_settings
from django.urls import reverse
from django.utils import timezone

from convultra.logging import redact
from dashboard.people import invitations
from ingest.models import AuditEntry, Invitation, Membership, Organisation, Role, Site
from tests.cast import NOON, PASSWORD, CastTestCase, make_user

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Answer

DORA = "dora@example.com"


class InvitationCase(CastTestCase):
    organisation: Organisation

    @classmethod
    def setUpTestData(cls) -> None:
        super().setUpTestData()
        cls.organisation = cls.site.organisation

    def setUp(self) -> None:
        self.time = self.enterContext(time_machine.travel(NOON, tick=False))
        self.client.force_login(self.alice)

    def invite(self, email: str = DORA, role: str = Role.MARKETER, **more: object) -> "Answer":
        url = reverse("dashboard:team-invite", args=[self.organisation.public_id])
        return self.client.post(url, {"email": email, "role": role, "reach": "all", **more})

    def link(self) -> str:
        found = re.search(r"http://testserver(/invite/\S+)", str(mail.outbox[-1].body))
        assert found
        return found[1]

    def act(self, name: str) -> "Answer":
        args = [self.organisation.public_id, Invitation.objects.get().public_id]
        return self.client.post(reverse(f"dashboard:invitation-{name}", args=args), follow=True)

    def somebody(self) -> Client:
        return Client()

    def join(self, link: str, name: str = "Dora Ito", password: str = PASSWORD) -> "Answer":
        return Client().post(link, {"name": name, "password": password})


class Inviting(InvitationCase):
    def test_the_mail_has_the_link_and_the_database_has_not(self) -> None:
        self.invite("Dora@Example.com")
        self.assertEqual(mail.outbox[0].to, [DORA])
        self.assertIn("as Marketer, with all sites", str(mail.outbox[0].body))
        token = self.link().split("/")[2]
        row = Invitation.objects.get()
        self.assertNotIn(token, str(vars(row)))
        self.assertEqual(row.expires_at, NOON + timedelta(days=7))

    def test_the_link_leads_to_the_configured_address(self) -> None:
        with override_settings(PUBLIC_URL="https://convultra.example"):
            self.invite()
        self.assertIn("https://convultra.example/invite/", str(mail.outbox[0].body))

    def test_a_mail_server_that_refuses_is_told_and_the_invitation_stays(self) -> None:
        with mock.patch("django.core.mail.EmailMessage.send", side_effect=OSError):
            self.invite()
        self.assertContains(self.client.get("/org/team/"), "The mail did not go out")
        self.assertTrue(Invitation.objects.exists())

    def test_a_member_is_not_invited_again(self) -> None:
        self.assertContains(self.invite("BOB@example.com"), "is on the team already", status_code=422)

    def test_an_admin_invites_no_owner(self) -> None:
        Membership.objects.filter(user=self.bob).update(role=Role.ADMIN)
        self.client.force_login(self.bob)
        self.assertEqual(self.invite(role=Role.OWNER).status_code, 422)
        self.assertFalse(mail.outbox)

    def test_nonsense_is_refused_in_place(self) -> None:
        for email, role in (("", "viewer"), ("x", "viewer"), ("a\0@b.co", "viewer"), (DORA, "king"), (DORA, "\0")):
            with self.subTest(email=email, role=role):
                self.assertEqual(self.invite(email, role).status_code, 422)
        self.assertFalse(mail.outbox)

    def test_an_address_too_long_for_an_account_is_refused_before_it_is_mailed(self) -> None:
        host = f"{'b' * 60}.{'c' * 60}.example"
        self.assertEqual(self.invite(f"{'a' * (150 - len(host))}@{host}").status_code, 422)
        self.invite(f"{'a' * (149 - len(host))}@{host}")
        self.join(self.link())
        self.assertTrue(User.objects.filter(email__endswith=host).exists())

    def test_asking_twice_at_once_sends_one_mail(self) -> None:
        self.invite()
        self.assertContains(self.invite(), "Wait a minute", status_code=422)
        self.assertEqual(len(mail.outbox), 1)

    def test_there_is_an_end_to_open_invitations(self) -> None:
        with mock.patch.object(invitations, "MAX_OPEN", 1):
            self.invite()
            self.assertContains(self.invite("eve@example.com"), "1 invitations are open", status_code=422)

    def test_expired_invitations_leave_room_for_others(self) -> None:
        self.invite()
        self.time.shift(timedelta(days=7))
        with mock.patch.object(invitations, "MAX_OPEN", 1):
            self.invite("eve@example.com")
            self.assertEqual(Invitation.objects.count(), 2)
            args = [self.organisation.public_id, Invitation.objects.get(email=DORA).public_id]
            again = self.client.post(reverse("dashboard:invitation-resend", args=args), follow=True)
        self.assertContains(again, "1 invitations are open")

    def test_another_link_ends_the_first(self) -> None:
        self.invite()
        first = self.link()
        self.time.shift(61)
        self.act("resend")
        self.assertEqual(Client().get(first).status_code, 404)
        self.assertEqual(Client().get(self.link()).status_code, 200)

    def test_the_log_keeps_what_was_given_and_no_token(self) -> None:
        self.invite()
        entry = AuditEntry.objects.get(action="invitation.send")
        self.assertEqual((entry.target, entry.details), (DORA, {"role": "marketer", "sites": "all sites"}))


class ANewPerson(InvitationCase):
    def test_they_join_with_a_name_and_a_password_and_are_signed_in(self) -> None:
        self.invite()
        visitor = Client()
        answer = visitor.post(self.link(), {"name": "Dora Ito", "password": PASSWORD})
        self.assertRedirects(answer, "/sites/")
        self.assertContains(visitor.get("/sites/"), "Harbor &amp; Pine")
        member = Membership.objects.get(user__email=DORA)
        self.assertEqual((member.role, member.user.first_name), (Role.MARKETER, "Dora Ito"))
        self.assertEqual(AuditEntry.objects.latest("pk").action, "invitation.accept")

    def test_they_see_the_sites_that_they_were_given(self) -> None:
        Site.objects.create(organisation=self.organisation, name="Outlet")
        self.invite(reach="some", sites=[str(self.site.public_id)])
        self.join(self.link())
        self.assertEqual(list(Site.objects.for_user(User.objects.get(email=DORA))), [self.site])

    def test_a_weak_password_is_refused_in_place_and_nothing_is_made(self) -> None:
        self.invite()
        for password in ("short", "password123", "dora@example.com"):
            with self.subTest(password):
                self.assertEqual(self.join(self.link(), password=password).status_code, 422)
        self.assertEqual(self.join(self.link(), name="\0").status_code, 422)
        self.assertFalse(User.objects.filter(email=DORA).exists())

    def test_the_link_works_once(self) -> None:
        self.invite()
        self.join(self.link())
        self.assertContains(self.join(self.link(), "Eve"), "It was used already", status_code=410)
        self.assertEqual(Membership.objects.filter(organisation=self.organisation).count(), 3)

    def test_whatever_address_is_posted_the_invitations_counts(self) -> None:
        self.invite()
        Client().post(self.link(), {"name": "Eve", "password": PASSWORD, "email": "eve@example.com"})
        self.assertTrue(User.objects.filter(email=DORA).exists())
        self.assertFalse(User.objects.filter(email="eve@example.com").exists())


class SomebodyKnown(InvitationCase):
    def accept_as(self, user: User) -> "Answer":
        visitor = Client()
        visitor.force_login(user)
        return visitor.post(self.link(), follow=True)

    def test_they_sign_in_first_and_come_back(self) -> None:
        self.invite("CHARLIE@example.com")
        answer = Client().get(self.link())
        self.assertContains(answer, "Sign in to accept")
        self.assertContains(answer, '/login/?next=/invite/"')
        made = Client().post(self.link(), {"name": "Eve", "password": PASSWORD})
        self.assertEqual(made.status_code, 200)
        self.assertFalse(Membership.objects.filter(user=self.charlie, organisation=self.organisation).exists())

    def test_the_session_leads_back_and_holds_no_token(self) -> None:
        self.invite("charlie@example.com")
        visitor = Client()
        visitor.get(self.link())
        self.assertNotIn(self.link().split("/")[2], str(dict(visitor.session)))
        given = {"login": "charlie@example.com", "password": PASSWORD}
        self.assertRedirects(visitor.post("/login/?next=/invite/", given), "/invite/")
        self.assertContains(visitor.post("/invite/", follow=True), "You joined")
        self.assertEqual(visitor.get("/invite/").status_code, 404)

    def test_they_accept_in_whatever_case_their_address_is_written(self) -> None:
        User.objects.filter(pk=self.charlie.pk).update(email="Charlie@Example.com")
        self.invite("charlie@example.com")
        self.charlie.refresh_from_db()
        self.assertContains(self.accept_as(self.charlie), "You joined")
        self.assertTrue(Membership.objects.filter(user=self.charlie, organisation=self.organisation).exists())

    def test_another_person_is_told_and_does_not_get_in(self) -> None:
        self.invite()
        self.assertContains(self.accept_as(self.charlie), "This invitation is for another address")
        self.assertEqual(Membership.objects.filter(organisation=self.organisation).count(), 2)

    def test_nobody_is_upgraded_silently(self) -> None:
        self.invite(DORA, Role.ADMIN)
        dora = make_user("dora")
        Membership.objects.create(user=dora, organisation=self.organisation, role=Role.VIEWER)
        self.assertContains(self.accept_as(dora), "Your role stays Viewer")
        self.assertEqual(Membership.objects.get(user=dora).role, Role.VIEWER)


class TheEnd(InvitationCase):
    def test_after_a_week_it_says_who_can_send_another(self) -> None:
        self.invite()
        self.time.shift(timedelta(days=7))
        answer = self.join(self.link())
        self.assertContains(answer, "Alice can send a new one", status_code=410)
        self.assertFalse(User.objects.filter(email=DORA).exists())

    def test_a_revoked_one_does_not_work(self) -> None:
        self.invite()
        self.assertContains(self.act("revoke"), "Invitation revoked")
        self.assertContains(self.join(self.link()), "It was taken back", status_code=410)
        self.assertContains(self.act("resend"), "no longer open")

    def test_a_made_up_link_tells_nothing(self) -> None:
        for token in ("x", "x" * 5000, "%00", "%ED%A0%80"):
            with self.subTest(token[:5]):
                self.assertContains(Client().get(f"/invite/{token}/"), "does not work", status_code=404)

    def test_it_ends_with_the_right_of_who_sent_it(self) -> None:
        bobs = Membership.objects.get(user=self.bob)
        Membership.objects.filter(pk=bobs.pk).update(role=Role.ADMIN)
        self.client.force_login(self.bob)
        self.invite()
        self.client.force_login(self.alice)
        self.client.post(reverse("dashboard:team-remove", args=[self.organisation.public_id, bobs.pk]))
        self.assertEqual(self.join(self.link()).status_code, 410)

    def test_a_link_that_ends_while_the_form_is_filled_leaves_no_account(self) -> None:
        self.invite()
        found = Invitation.objects.get()
        with mock.patch("dashboard.people.accepting.find", return_value=found):
            Invitation.objects.update(revoked_at=timezone.now())
            self.assertEqual(self.join(self.link()).status_code, 302)
        self.assertFalse(User.objects.filter(email=DORA).exists())


class TheToken(InvitationCase):
    def test_no_log_line_has_it(self) -> None:
        self.invite()
        token = self.link().split("/")[2]
        for text in (
            f"Not Found: /invite/{token}/",
            f"GET /login/?next=%2Finvite%2F{token}%2F",
            f"https://a.b/invite/{token}",
        ):
            self.assertNotIn(token, redact(text))

    def test_the_page_is_kept_by_no_cache_and_named_to_no_other_site(self) -> None:
        self.invite()
        headers = Client().get(self.link()).headers
        self.assertIn("no-store", headers["Cache-Control"])
        self.assertEqual(headers["Referrer-Policy"], "same-origin")
