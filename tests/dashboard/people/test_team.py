"""The team page: who is on it, who may change it, and what the audit log keeps of that."""

from typing import TYPE_CHECKING
from uuid import uuid4

from django.urls import reverse
from django.utils import timezone

from dashboard.people import memberships, rules
from dashboard.people.memberships import TeamRefused
from ingest.models import AuditEntry, Membership, Organisation, Role, Site
from tests.cast import CastTestCase, make_site, make_user

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Answer


class TeamCase(CastTestCase):
    organisation: Organisation
    bobs: Membership
    alices: Membership

    @classmethod
    def setUpTestData(cls) -> None:
        super().setUpTestData()
        cls.organisation = cls.site.organisation
        cls.alices, cls.bobs = (Membership.objects.get(user=user) for user in (cls.alice, cls.bob))

    def setUp(self) -> None:
        self.client.force_login(self.alice)

    def url(self, name: str, *args: object) -> str:
        return reverse(f"dashboard:{name}", args=[self.organisation.public_id, *args])

    def be(self, role: Role, all_sites: bool = True) -> None:
        Membership.objects.filter(pk=self.bobs.pk).update(role=role, all_sites=all_sites)
        self.client.force_login(self.bob)

    def change(self, member: Membership, role: Role, **more: object) -> "Answer":
        return self.client.post(self.url("team-member", member.pk), {"role": role, "reach": "all", **more})


class Doors(TeamCase):
    def pages(self) -> list[str]:
        invitation = uuid4()
        return [
            *(self.url(name, self.bobs.pk) for name in ("team-member", "team-remove")),
            *(self.url(name) for name in ("team-invite", "organisation-rename")),
            *(self.url(name, invitation) for name in ("invitation-resend", "invitation-revoke")),
        ]

    def test_a_stranger_finds_nothing(self) -> None:
        self.client.force_login(self.charlie)
        for page in [*self.pages(), self.url("team-leave"), f"/org/team/?org={self.organisation.public_id}"]:
            with self.subTest(page):
                self.assertIn(404, {self.client.get(page).status_code, self.client.post(page).status_code})
        self.assertEqual(self.client.get(f"/org/team/?org={self.organisation.public_id}").status_code, 404)

    def test_who_does_not_run_the_team_is_told_which_role_it_takes(self) -> None:
        for role in (Role.MARKETER, Role.DEVELOPER, Role.VIEWER):
            self.be(role)
            for page in self.pages():
                with self.subTest(role=role, page=page):
                    self.assertContains(self.client.post(page), "It needs the Owner or Admin role", status_code=403)

    def test_every_role_sees_the_team_and_only_some_may_invite(self) -> None:
        for role in Role:
            self.be(role)
            answer = self.client.get("/org/team/")
            self.assertContains(answer, "alice@example.com")
            self.assertEqual("Send invitation" in answer.content.decode(), role in (Role.OWNER, Role.ADMIN))

    def test_nonsense_in_an_address_is_not_found(self) -> None:
        for path in ("/org/team/?org=x", "/org/team/?org=%00", f"/org/{self.organisation.public_id}/people/{9**40}/"):
            with self.subTest(path):
                self.assertEqual(self.client.get(path).status_code, 404)

    def test_who_belongs_nowhere_has_no_team(self) -> None:
        self.client.force_login(make_user("dora"))
        self.assertEqual(self.client.get("/org/team/").status_code, 404)

    def test_a_member_of_another_organisation_is_not_reached_through_ones_own(self) -> None:
        theirs = Membership.objects.get(user=self.charlie)
        self.assertEqual(self.change(theirs, Role.VIEWER).status_code, 404)


class ThePage(TeamCase):
    def test_who_sees_some_sites_meets_only_themselves_and_who_runs_the_team(self) -> None:
        dora = make_user("dora")
        Membership.objects.create(user=dora, organisation=self.organisation, role=Role.VIEWER)
        self.be(Role.MARKETER, all_sites=False)
        answer = self.client.get("/org/team/")
        self.assertContains(answer, "bob@example.com")
        self.assertNotContains(answer, "dora@example.com")
        self.assertNotContains(answer, "2 people")
        self.assertNotContains(answer, "All 1")
        self.assertContains(answer, "All sites")

    def test_a_person_of_two_organisations_chooses(self) -> None:
        second = make_site("Elsewhere", self.alice).organisation
        self.assertContains(self.client.get("/org/team/"), "bob@example.com")
        answer = self.client.get(f"/org/team/?org={second.public_id}")
        self.assertNotContains(answer, "bob@example.com")
        self.assertContains(answer, f"?org={self.organisation.public_id}")

    def test_its_queries_do_not_grow_with_the_people(self) -> None:
        with self.assertNumQueries(9):
            self.client.get("/org/team/")
        for number in range(5):
            user = make_user(f"d{number}")
            Membership.objects.create(user=user, organisation=self.organisation, all_sites=False).sites.add(self.site)
        with self.assertNumQueries(9):
            self.client.get("/org/team/")

    def test_a_name_that_is_markup_stays_text(self) -> None:
        self.bob.first_name = "<script>x</script>"
        self.bob.save()
        self.assertNotContains(self.client.get("/org/team/"), "<script>x")


class Changing(TeamCase):
    def test_an_owner_changes_a_role_and_the_log_keeps_both(self) -> None:
        self.assertRedirects(self.change(self.bobs, Role.ADMIN), f"/org/team/?org={self.organisation.public_id}")
        self.bobs.refresh_from_db()
        self.assertEqual(self.bobs.role, Role.ADMIN)
        entry = AuditEntry.objects.get(action="membership.change")
        self.assertEqual((entry.target, entry.details), ("bob@example.com", {"role": ["marketer", "admin"]}))

    def test_a_member_is_held_to_one_site(self) -> None:
        outlet = Site.objects.create(organisation=self.organisation, name="Outlet")
        self.change(self.bobs, Role.MARKETER, reach="some", sites=[str(outlet.public_id)])
        self.assertEqual(list(Site.objects.for_user(self.bob)), [outlet])
        self.assertEqual(AuditEntry.objects.get().details, {"sites": ["all sites", "Outlet"]})

    def test_nothing_is_logged_where_nothing_changes(self) -> None:
        self.change(self.bobs, Role.MARKETER)
        self.assertFalse(AuditEntry.objects.exists())

    def test_an_admin_neither_makes_nor_touches_an_owner(self) -> None:
        self.be(Role.ADMIN)
        self.assertContains(self.change(self.alices, Role.VIEWER), rules.ONLY_AN_OWNER, status_code=422)
        dora = Membership.objects.create(user=make_user("dora"), organisation=self.organisation)
        self.assertEqual(self.change(dora, Role.OWNER).status_code, 422)
        self.client.post(self.url("team-remove", self.alices.pk))
        self.alices.refresh_from_db()
        dora.refresh_from_db()
        self.assertEqual((self.alices.role, dora.role), (Role.OWNER, Role.VIEWER))

    def test_one_cannot_change_oneself(self) -> None:
        self.assertContains(self.change(self.alices, Role.VIEWER), rules.NOT_YOURSELF, status_code=422)

    def test_an_admin_of_some_sites_is_refused_in_place(self) -> None:
        answer = self.change(self.bobs, Role.ADMIN, reach="some", sites=[str(self.site.public_id)])
        self.assertContains(answer, rules.SEES_EVERYTHING, status_code=422)

    def test_sites_of_others_and_nonsense_are_refused_in_place(self) -> None:
        elsewhere = self.charlie.memberships.get().organisation.sites.get()
        for sites in ([], [str(elsewhere.public_id)], ["x"], ["\0"]):
            with self.subTest(sites=sites):
                answer = self.change(self.bobs, Role.VIEWER, reach="some", sites=sites)
                self.assertEqual(answer.status_code, 422)

    def test_a_removed_person_finds_nothing_any_more(self) -> None:
        self.client.post(self.url("team-remove", self.bobs.pk))
        self.client.force_login(self.bob)
        self.assertEqual(self.client.get("/org/team/").status_code, 404)
        self.assertEqual(AuditEntry.objects.get().action, "membership.remove")

    def test_the_role_is_asked_again_when_it_is_done(self) -> None:
        # Alice loaded the page as an owner; meanwhile another owner took that away.
        Membership.objects.filter(pk=self.alices.pk).update(role=Role.VIEWER)
        with self.assertRaises(TeamRefused):
            memberships.change(self.alice, self.organisation, self.bobs.pk, Role.ADMIN, None, timezone.now())


class Leaving(TeamCase):
    def test_the_last_owner_is_kept_and_told_why(self) -> None:
        self.assertContains(self.client.get(self.url("team-leave")), rules.LAST_OWNER)
        answer = self.client.post(self.url("team-leave"), follow=True)
        self.assertContains(answer, rules.LAST_OWNER)
        self.assertTrue(Membership.objects.filter(pk=self.alices.pk).exists())

    def test_an_owner_who_is_switched_off_does_not_count(self) -> None:
        Membership.objects.filter(pk=self.bobs.pk).update(role=Role.OWNER)
        self.bob.is_active = False
        self.bob.save()
        self.client.post(self.url("team-leave"))
        self.assertTrue(Membership.objects.filter(pk=self.alices.pk).exists())

    def test_a_marketer_leaves_and_it_is_logged(self) -> None:
        self.be(Role.MARKETER)
        self.client.post(self.url("team-leave"))
        self.assertFalse(Membership.objects.filter(pk=self.bobs.pk).exists())
        self.assertEqual(AuditEntry.objects.get().action, "membership.leave")


class Renaming(TeamCase):
    def test_the_name_is_put_in_order_and_logged(self) -> None:
        self.client.post(self.url("organisation-rename"), {"name": "  Brightpath \t Media "})
        self.organisation.refresh_from_db()
        self.assertEqual(self.organisation.name, "Brightpath Media")
        self.assertEqual(AuditEntry.objects.get().details, {"name": ["Harbor & Pine Inc.", "Brightpath Media"]})

    def test_no_name_and_too_long_a_name_are_refused(self) -> None:
        for name in ("", "   ", "x" * 101, "\0"):
            with self.subTest(name[:3]):
                self.assertEqual(self.client.post(self.url("organisation-rename"), {"name": name}).status_code, 422)
