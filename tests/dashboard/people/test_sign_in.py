"""Signing in: the right password, the wrong one, the pause, and a forgotten password."""

import os
import re
import runpy
from typing import TYPE_CHECKING
from unittest import mock

import time_machine
from django.conf import settings
from django.core import mail
from django.test import override_settings
from django.urls import reverse

from tests.cast import NOON, PASSWORD, CastTestCase

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Answer

MISMATCH = "That email and password do not match"


class SignInCase(CastTestCase):
    def setUp(self) -> None:
        self.time = self.enterContext(time_machine.travel(NOON, tick=False))

    def sign_in(self, email: str = "alice@example.com", password: str = PASSWORD, **more: str) -> "Answer":
        return self.client.post("/login/", {"login": email, "password": password, **more})

    def fail_to(self, times: int, email: str = "alice@example.com") -> "Answer":
        return [self.sign_in(email, "wrong") for _ in range(times)][-1]


class SigningIn(SignInCase):
    def test_the_right_password_opens_the_sites(self) -> None:
        self.assertRedirects(self.sign_in(), "/sites/")

    def test_the_email_may_be_typed_in_any_case(self) -> None:
        self.assertRedirects(self.sign_in("ALICE@Example.com "), "/sites/")

    def test_it_goes_on_to_the_page_that_was_asked_for(self) -> None:
        url = reverse("dashboard:integrations", args=[self.site.public_id])
        self.assertRedirects(self.sign_in(next=url), url)

    def test_it_never_goes_on_to_another_host(self) -> None:
        for target in ("https://evil.example/", "//evil.example/", "/\\evil.example/", "javascript:alert(1)"):
            with self.subTest(target=target):
                self.assertRedirects(self.sign_in(next=target), "/sites/")
                self.client.logout()

    def test_an_unknown_address_and_a_wrong_password_are_told_alike(self) -> None:
        wrong, unknown = self.sign_in(password="wrong"), self.sign_in("nobody@example.com")
        for answer in (wrong, unknown):
            self.assertContains(answer, MISMATCH, status_code=422)
            self.assertContains(answer, "4 tries left before a 15-minute pause", status_code=422)

    def test_nonsense_is_refused_beside_its_field(self) -> None:
        for email, password in (("", ""), ("no address", "x"), ("a\0@example.com", "x"), ("a@example.com", "x\0")):
            with self.subTest(email=email, password=password):
                self.assertContains(self.sign_in(email, password), "form-hint down", status_code=422)

    def test_an_address_longer_than_any_is_a_mismatch_like_another(self) -> None:
        for domain in ("example.com", "a." * 120 + "example.com"):
            with self.subTest(domain=domain[:10]):
                self.assertEqual(self.sign_in(f"{'x' * 60}@{domain}").status_code, 422)
        answer = self.client.post("/admin/login/", {"username": "x" * 5000 + "\0", "password": "x"})
        self.assertEqual(answer.status_code, 200)

    def test_odd_fields_beside_a_failure_do_not_break_its_record(self) -> None:
        answer = self.client.post(
            "/login/?next=%00&x=%00", {"login": "a@b.co", "password": "x", "next": "\0", "y\0": "1"}
        )
        self.assertEqual(answer.status_code, 422)

    def test_signing_out_takes_a_click_and_says_so(self) -> None:
        self.client.force_login(self.alice)
        self.assertContains(self.client.get("/logout/"), "Sign out?")
        self.assertContains(self.client.post("/logout/", follow=True), "Signed out")
        self.assertEqual(self.client.get("/sites/").status_code, 302)

    def test_nobody_signs_up_by_themselves(self) -> None:
        self.assertContains(self.client.get("/signup/"), "Accounts are by invitation")
        answer = self.client.post("/signup/", {"email": "x@example.com", "password1": "a-very-long-one"})
        self.assertContains(answer, "Accounts are by invitation")

    def test_the_demos_login_is_shown_only_in_the_demo(self) -> None:
        self.assertNotContains(self.client.get("/login/"), "harbor-and-pine")
        with override_settings(DEMO=True):
            self.assertContains(self.client.get("/login/"), "harbor-and-pine")


class ThePause(SignInCase):
    def test_the_fifth_failure_pauses_the_sign_in(self) -> None:
        answer = self.fail_to(5)
        self.assertContains(answer, "Wait 15 minutes", status_code=429)
        self.assertEqual(answer.headers["Retry-After"], "900")

    def test_the_last_try_is_announced(self) -> None:
        self.assertContains(self.fail_to(4), "1 try left", status_code=422)

    def test_the_right_password_does_not_end_it(self) -> None:
        self.fail_to(5)
        self.assertEqual(self.sign_in().status_code, 429)

    def test_it_ends_by_itself(self) -> None:
        self.fail_to(5)
        self.time.shift(15 * 60 + 1)
        self.assertRedirects(self.sign_in(), "/sites/")

    def test_it_holds_for_the_admins_form_too(self) -> None:
        self.alice.is_staff = True
        self.alice.save()
        self.fail_to(5)
        answer = self.client.post("/admin/login/", {"username": "alice@example.com", "password": PASSWORD})
        self.assertEqual(answer.status_code, 429)

    def test_failures_at_the_admin_count(self) -> None:
        for _ in range(5):
            answer = self.client.post("/admin/login/", {"username": "alice@example.com", "password": "wrong"})
        self.assertEqual(answer.status_code, 429)

    def test_it_is_told_alike_for_an_address_that_nobody_has(self) -> None:
        self.assertContains(self.fail_to(5, "nobody@example.com"), "Wait 15 minutes", status_code=429)

    def test_somebody_else_at_the_same_address_may_still_sign_in(self) -> None:
        self.fail_to(5)
        self.assertRedirects(self.sign_in("bob@example.com"), "/sites/")


class WhereItComesFrom(SignInCase):
    """A stranger at 203.0.113.9 has failed until the pause; Alice is somewhere else."""

    def fail_from(self, forwarded_for: str) -> "Answer":
        return [self.sign_in("alice@example.com", "wrong", forwarded_for=forwarded_for) for _ in range(5)][-1]

    def sign_in(
        self, email: str = "alice@example.com", password: str = PASSWORD, *, forwarded_for: str = "", **more: str
    ) -> "Answer":
        headers = {"X-Forwarded-For": forwarded_for} if forwarded_for else {}
        return self.client.post("/login/", {"login": email, "password": password, **more}, headers=headers)

    @override_settings(ALLAUTH_TRUSTED_PROXY_COUNT=1)
    def test_behind_a_proxy_a_strangers_failures_pause_the_stranger_only(self) -> None:
        self.assertEqual(self.fail_from("203.0.113.9").status_code, 429)
        self.assertRedirects(self.sign_in(forwarded_for="198.51.100.7"), "/sites/")

    @override_settings(ALLAUTH_TRUSTED_PROXY_COUNT=1)
    def test_what_a_client_says_before_the_proxy_counts_for_nothing(self) -> None:
        self.fail_from("203.0.113.9")
        self.assertEqual(self.sign_in(forwarded_for="198.51.100.7, 203.0.113.9").status_code, 429)

    def test_without_a_proxy_the_header_counts_for_nothing(self) -> None:
        self.fail_from("203.0.113.9")
        self.assertEqual(self.sign_in(forwarded_for="198.51.100.7").status_code, 429)

    @override_settings(ALLAUTH_TRUSTED_PROXY_COUNT=1)
    def test_an_address_that_is_none_is_refused(self) -> None:
        for nonsense in ("unknown", "203.0.113.9, x", "1.2.3.4.5"):
            with self.subTest(nonsense):
                self.assertEqual(self.sign_in(forwarded_for=nonsense).status_code, 403)

    @override_settings(ALLAUTH_TRUSTED_PROXY_COUNT=1)
    def test_a_proxy_that_says_nothing_is_the_address_itself(self) -> None:
        self.assertRedirects(self.sign_in(), "/sites/")

    def test_one_setting_decides_whether_a_proxy_is_believed(self) -> None:
        for behind, count in (("True", 1), ("False", 0)):
            with mock.patch.dict(os.environ, BEHIND_PROXY=behind):
                read = runpy.run_path(str(settings.BASE_DIR / "convultra" / "settings.py"))
            self.assertEqual(read["ALLAUTH_TRUSTED_PROXY_COUNT"], count)
            self.assertEqual(bool(read["SECURE_PROXY_SSL_HEADER"]), bool(count))


class AForgottenPassword(SignInCase):
    def ask(self, email: str, **headers: str) -> "Answer":
        return self.client.post("/password/reset/", {"email": email}, follow=True, headers=headers)

    def link(self) -> str:
        self.ask("alice@example.com")
        found = re.search(r"http://testserver(/password/reset/key/\S+)", str(mail.outbox[-1].body))
        assert found
        return found[1]

    def test_known_and_unknown_addresses_are_answered_alike(self) -> None:
        known, unknown = self.ask("alice@example.com"), self.ask("nobody@example.com")
        self.assertContains(known, "If that address has an account")
        self.assertContains(unknown, "If that address has an account")

    def test_the_link_leads_to_the_configured_address_whatever_host_was_asked(self) -> None:
        with override_settings(ALLOWED_HOSTS=["*"], PUBLIC_URL="https://convultra.example"):
            self.ask("alice@example.com", host="evil.example")
        self.assertIn("https://convultra.example/password/reset/key/", str(mail.outbox[0].body))
        self.assertNotIn("evil.example", str(mail.outbox[0].body))

    def test_the_link_sets_a_new_password_once(self) -> None:
        link = self.link()
        form = self.client.get(link, follow=True)
        self.assertContains(form, "Choose a new password")
        new = {"password1": "quite-another-one", "password2": "quite-another-one"}
        answer = self.client.post(form.request["PATH_INFO"], new, follow=True)
        self.assertContains(answer, "Your password is changed")
        self.assertRedirects(self.sign_in(password="quite-another-one"), "/sites/")
        self.client.logout()
        self.assertContains(self.client.get(link, follow=True), "This link no longer works")

    def test_a_weak_password_is_refused_in_place(self) -> None:
        form = self.client.get(self.link(), follow=True)
        answer = self.client.post(form.request["PATH_INFO"], {"password1": "short", "password2": "short"})
        self.assertContains(answer, "at least 10 characters")

    def test_a_made_up_link_is_told_as_spent(self) -> None:
        self.assertContains(self.client.get("/password/reset/key/1-x/"), "This link no longer works")
