"""What `test_every_route.py` cannot see of who may open which page: people who change, words, ways back."""

from django.urls import reverse

from ingest.models import Membership, Role
from tests.cast import CastTestCase, make_connection, make_user


class Doors(CastTestCase):
    def url(self, name: str) -> str:
        return reverse(f"dashboard:{name}", args=[self.site.public_id])

    def be(self, role: Role) -> None:
        Membership.objects.filter(user=self.bob).update(role=role)
        self.client.force_login(self.bob)

    def test_the_owner_of_another_site_cannot_reach_a_sign_in_through_their_own(self) -> None:
        mine = make_connection(self.charlie.memberships.get().organisation.sites.get(), microsoft_user_id="77")
        url = reverse("dashboard:connection-disconnect", args=[self.site.public_id, mine.public_id])
        self.client.force_login(self.alice)
        self.assertEqual(self.client.post(url).status_code, 404)

    def test_a_removed_member_with_a_live_session_finds_nothing(self) -> None:
        self.be(Role.ADMIN)
        Membership.objects.filter(user=self.bob).delete()
        self.assertEqual(self.client.get(self.url("integrations")).status_code, 404)

    def test_someone_switched_off_is_signed_out(self) -> None:
        self.be(Role.ADMIN)
        self.bob.is_active = False
        self.bob.save()
        self.assertEqual(self.client.get(self.url("integrations")).status_code, 302)

    def test_staff_without_a_role_use_the_admin(self) -> None:
        staff = make_user("sam")
        staff.is_staff = staff.is_superuser = True
        staff.save()
        self.client.force_login(staff)
        self.assertEqual(self.client.get(self.url("integrations")).status_code, 404)

    def test_a_viewer_sees_the_button_disabled_with_the_reason(self) -> None:
        self.be(Role.VIEWER)
        answer = self.client.get(self.url("integrations"))
        self.assertContains(answer, "Needs the Owner or Admin role")
        self.assertNotContains(answer, self.url("microsoft-connect"))


class NobodySignedIn(CastTestCase):
    def setUp(self) -> None:
        self.url = reverse("dashboard:integrations", args=[self.site.public_id])

    def test_a_page_leads_to_the_sign_in_and_back(self) -> None:
        self.assertRedirects(self.client.get(self.url), f"/login/?next={self.url}")

    def test_a_form_leads_to_the_sign_in_without_a_way_back(self) -> None:
        url = reverse("dashboard:microsoft-connect", args=[self.site.public_id])
        self.assertRedirects(self.client.post(url), "/login/")

    def test_htmx_takes_the_whole_window_to_the_sign_in(self) -> None:
        headers = {"HX-Request": "true", "HX-Current-URL": f"http://testserver{self.url}?a=1"}
        answer = self.client.get(self.url, headers=headers)
        self.assertEqual(answer.status_code, 401)
        self.assertEqual(answer.headers["HX-Redirect"], f"/login/?next={self.url}%3Fa%3D1")

    def test_a_page_of_elsewhere_is_no_way_back(self) -> None:
        headers = {"HX-Request": "true", "HX-Current-URL": "https://evil.example//evil.example/x"}
        answer = self.client.get(self.url, headers=headers)
        self.assertNotIn("evil", answer.headers["HX-Redirect"])

    def test_a_page_that_is_no_address_leads_back_to_what_was_asked_for(self) -> None:
        headers = {"HX-Request": "true", "HX-Current-URL": "http://["}
        self.assertEqual(self.client.get(self.url, headers=headers).headers["HX-Redirect"], f"/login/?next={self.url}")


class Addresses(CastTestCase):
    def setUp(self) -> None:
        self.client.force_login(self.alice)

    def test_nonsense_in_an_address_is_not_found(self) -> None:
        site = self.site.public_id
        for path in (
            "/s/1/integrations/",
            "/s/%00/integrations/",
            f"/s/{site}/integrations/x/sync/",
            f"/s/{site}/nope/",
        ):
            with self.subTest(path=path):
                self.assertEqual(self.client.get(path).status_code, 404)

    def test_the_root_leads_to_the_sites(self) -> None:
        self.assertRedirects(self.client.get("/"), "/sites/")
