"""The person's own page: name, password, devices and theme."""

from datetime import timedelta

import time_machine
from allauth.usersessions.models import UserSession
from django.core.cache import cache
from django.test import Client, SimpleTestCase

from dashboard.people.browsers import browser_named
from tests.cast import NOON, PASSWORD, CastTestCase

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


class MeCase(CastTestCase):
    def setUp(self) -> None:
        cache.clear()
        self.time = self.enterContext(time_machine.travel(NOON, tick=False))
        self.sign_in(self.client)

    def sign_in(self, client: Client, email: str = "alice@example.com") -> Client:
        client.post("/login/", {"login": email, "password": PASSWORD}, headers={"User-Agent": FIREFOX})
        return client


class Name(MeCase):
    def test_it_is_saved_and_shown(self) -> None:
        answer = self.client.post("/me/name/", {"name": " Alice <b>  Ito"}, follow=True)
        self.assertContains(answer, "Alice &lt;b&gt; Ito")

    def test_no_name_is_refused_in_place(self) -> None:
        for name in ("", " ", "\0", "x" * 101):
            self.assertEqual(self.client.post("/me/name/", {"name": name}).status_code, 422)

    def test_characters_that_turn_text_around_are_refused_and_joiners_are_not(self) -> None:
        for sign in "\u202a\u202e\u2066\u2069\x1b\x9f":
            with self.subTest(f"U+{ord(sign):04X}"):
                answer = self.client.post("/me/name/", {"name": f"Ali{sign}ce"})
                self.assertContains(answer, "characters that cannot be seen", status_code=422)
        self.assertEqual(self.client.post("/me/name/", {"name": "علی\u200cرضا"}).status_code, 302)

    def test_it_is_for_signed_in_people_only(self) -> None:
        for path in ("/me/", "/me/password/", "/me/confirm/", "/me/two-step/on/"):
            self.assertEqual(Client().get(path).status_code, 302)


class Password(MeCase):
    def change(self, old: str = PASSWORD, new: str = "quite-another-one") -> int:
        form = {"oldpassword": old, "password1": new, "password2": new}
        return self.client.post("/me/password/", form).status_code

    def test_it_changes_keeps_this_device_and_signs_the_others_out(self) -> None:
        other = self.sign_in(Client())
        self.assertEqual(self.change(), 302)
        self.assertEqual(self.client.get("/me/").status_code, 200)
        self.assertEqual(other.get("/me/").status_code, 302)
        self.alice.refresh_from_db()
        self.assertTrue(self.alice.check_password("quite-another-one"))

    def test_a_weak_one_is_refused(self) -> None:
        self.assertEqual(self.change(new="short"), 422)

    def test_what_is_wrong_has_the_focus_and_all_three_are_asked_again(self) -> None:
        cache.clear()
        for field, old, new, again in (
            ("oldpassword", "wrong", "quite-another-one", "quite-another-one"),
            ("oldpassword", "wrong", "short", "short"),
            ("password1", PASSWORD, "short", "short"),
            ("password2", PASSWORD, "quite-another-one", "quite-another-two"),
        ):
            with self.subTest(field=field, new=new):
                form = {"oldpassword": old, "password1": new, "password2": again}
                page = self.client.post("/me/password/", form).content.decode()
                self.assertIn("Type all three again: a page never gets a password back.", page)
                self.assertRegex(page, rf'name="{field}"[^>]* aria-invalid="true"[^>]* autofocus>')
                self.assertEqual(page.count(" autofocus"), 1)

    def test_a_wrong_present_one_counts_as_a_failed_sign_in(self) -> None:
        cache.clear()
        answers = []
        for _ in range(5):
            cache.clear()  # allauth's own limit of changes, which comes before
            answers.append(self.change(old="wrong"))
        self.assertEqual(answers, [422, 422, 422, 422, 429])


class Devices(MeCase):
    def test_each_sign_in_is_listed_with_its_browser(self) -> None:
        self.sign_in(Client())
        answer = self.client.get("/me/")
        self.assertContains(answer, "Firefox on Linux", count=3)  # two lines, and the words for a screen reader
        self.assertContains(answer, "(this one)", count=1)

    def test_one_is_signed_out(self) -> None:
        other = self.sign_in(Client())
        device = UserSession.objects.order_by("-pk").first()
        assert device
        self.client.post(f"/me/devices/{device.pk}/end/")
        self.assertEqual(other.get("/me/").status_code, 302)
        self.assertEqual(self.client.get("/me/").status_code, 200)

    def test_all_others_are_signed_out(self) -> None:
        others = [self.sign_in(Client()) for _ in range(2)]
        self.client.post("/me/devices/others/end/")
        self.assertEqual([other.get("/me/").status_code for other in others], [302, 302])
        self.assertEqual(self.client.get("/me/").status_code, 200)

    def test_somebody_elses_device_is_not_found(self) -> None:
        bob = self.sign_in(Client(), "bob@example.com")
        device = UserSession.objects.get(user=self.bob)
        self.assertEqual(self.client.post(f"/me/devices/{device.pk}/end/").status_code, 404)
        self.assertEqual(self.client.post(f"/me/devices/{9**40}/end/").status_code, 404)
        self.assertEqual(bob.get("/me/").status_code, 200)

    def test_last_active_is_noted_every_five_minutes_and_not_more_often(self) -> None:
        self.time.shift(timedelta(minutes=4))
        self.client.get("/sites/")
        self.assertEqual(UserSession.objects.get().last_seen_at, NOON)
        self.time.shift(timedelta(minutes=2))
        self.client.get("/sites/")
        self.assertEqual(UserSession.objects.get().last_seen_at, NOON + timedelta(minutes=6))


class Theme(MeCase):
    def test_the_choice_is_painted_by_the_server(self) -> None:
        self.assertContains(self.client.post("/me/theme/", {"theme": "dark"}, follow=True), 'data-bs-theme="dark"')
        answer = self.client.post("/me/theme/", {"theme": "system"}, follow=True)
        self.assertNotContains(answer, "data-bs-theme=")

    def test_nonsense_is_the_systems(self) -> None:
        self.assertNotContains(self.client.post("/me/theme/", {"theme": '"><x'}, follow=True), "data-bs-theme=")


class BrowserNames(SimpleTestCase):
    def test_they_are_told_apart(self) -> None:
        chrome = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/140.0.0.0 Safari/537.36"
        self.assertEqual(browser_named(chrome), "Chrome on Windows")
        self.assertEqual(browser_named(f"{chrome} Edg/140.0.0.0"), "Edge on Windows")
        self.assertEqual(browser_named(FIREFOX), "Firefox on Linux")
        self.assertEqual(browser_named("curl/8"), "Program")
