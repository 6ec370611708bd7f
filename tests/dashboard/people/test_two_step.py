"""Two-step sign-in, the whole road: turned on, asked at the sign-in, passed, failed, lost, and turned off."""

import base64
import hashlib
import hmac
import struct
import time
from io import StringIO
from typing import TYPE_CHECKING

import time_machine
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP
from cryptography.fernet import Fernet
from django.conf import settings
from django.core.cache import cache
from django.core.management import call_command
from django.test import Client, override_settings

from tests.cast import NOON, PASSWORD, CastTestCase
from tests.support.signing_in import work_on_ticket

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Answer

SECRET = base64.b32encode(b"twenty-bytes-of-a-ke").decode()
CONFIRM_TO_TURN_ON = "/me/confirm/?next=/me/two-step/on/"
PAGES = ("/me/two-step/off/", "/me/two-step/codes/", "/me/two-step/codes/new/", "/me/confirm/", "/me/password/")


def code_of(secret: str, at: float) -> str:
    """Return what an authenticator app shows: RFC 6238 over RFC 4226, written anew so that both must agree."""
    counter = struct.pack(">Q", int(at) // 30)
    digest = hmac.new(base64.b32decode(secret), counter, hashlib.sha1).digest()
    offset = digest[-1] & 15
    number: int = struct.unpack(">I", digest[offset : offset + 4])[0] & 0x7FFFFFFF
    return f"{number % 1_000_000:06}"


class TwoStepCase(CastTestCase):
    def setUp(self) -> None:
        cache.clear()
        self.time = self.enterContext(time_machine.travel(NOON, tick=False))
        self.addCleanup(cache.clear)

    def code(self) -> str:
        return code_of(SECRET, time.time())

    def turn_on_for_alice(self) -> None:
        TOTP.activate(self.alice, SECRET)
        RecoveryCodes.activate(self.alice)

    def password(self, password: str = PASSWORD, **more: str) -> "Answer":
        return self.client.post("/login/", {"login": "alice@example.com", "password": password, **more})

    def second(self, code: str) -> "Answer":
        return self.client.post("/login/2fa/", {"code": code})

    def is_in(self) -> bool:
        return self.client.get("/sites/").status_code == 200


class SigningIn(TwoStepCase):
    def setUp(self) -> None:
        super().setUp()
        self.turn_on_for_alice()

    def test_the_password_alone_does_not_sign_in(self) -> None:
        self.assertRedirects(self.password(), "/login/2fa/")
        self.assertFalse(self.is_in())

    def test_the_code_of_the_app_does_and_goes_on_to_the_page_asked_for(self) -> None:
        url = f"/s/{self.site.public_id}/integrations/"
        self.password(next=url)
        self.assertRedirects(self.second(self.code()), url)
        self.assertTrue(self.is_in())

    def test_a_code_of_half_a_minute_ago_still_works_and_of_two_minutes_ago_does_not(self) -> None:
        old = self.code()
        self.password()
        self.time.shift(120)
        self.assertEqual(self.second(old).status_code, 422)
        just_now = self.code()
        self.time.shift(30)
        self.assertEqual(self.second(just_now).status_code, 302)

    def test_a_code_works_once(self) -> None:
        code = self.code()
        self.password()
        self.second(code)
        self.client.logout()
        self.password()
        self.assertEqual(self.second(code).status_code, 422)

    def test_a_code_works_once_also_in_another_process(self) -> None:
        code = self.code()
        self.password()
        self.second(code)
        cache.clear()  # what another process has not heard of
        self.client = Client()
        self.password()
        self.assertEqual(self.second(code).status_code, 422)

    def test_each_recovery_code_works_once(self) -> None:
        codes = Authenticator.objects.get(user=self.alice, type="recovery_codes").wrap().get_unused_codes()
        self.password()
        self.assertEqual(self.second(codes[0]).status_code, 302)
        self.client.logout()
        self.password()
        self.assertEqual(self.second(codes[0]).status_code, 422)

    def test_nobody_comes_to_the_second_step_without_the_first(self) -> None:
        self.assertRedirects(self.client.get("/login/2fa/"), "/login/")
        self.assertRedirects(self.second(self.code()), "/login/")
        self.assertFalse(self.is_in())

    def test_nonsense_is_a_wrong_code(self) -> None:
        self.password()
        for code in ("", "x" * 5000, "\0", "१२३४५६"):
            with self.subTest(code[:6]):
                self.assertEqual(self.second(code).status_code, 422)

    def test_a_form_without_a_code_is_refused(self) -> None:
        self.password()
        self.assertIn(self.client.post("/login/2fa/", {}).status_code, (400, 422))

    def test_a_new_password_by_mail_does_not_get_around_it(self) -> None:
        self.alice.set_password("quite-another-one")
        self.alice.save()
        self.assertRedirects(self.password("quite-another-one"), "/login/2fa/")

    def test_the_admins_own_sign_in_does_not_get_around_it(self) -> None:
        self.alice.is_staff = self.alice.is_superuser = True
        self.alice.save()
        answer = self.client.post("/admin/login/", {"username": "alice@example.com", "password": PASSWORD})
        self.assertContains(answer, "Two-step sign-in is on for you")
        self.assertEqual(self.client.get("/admin/").status_code, 302)


class ThePause(TwoStepCase):
    def setUp(self) -> None:
        super().setUp()
        self.turn_on_for_alice()
        self.password()

    def test_wrong_codes_count_as_wrong_passwords(self) -> None:
        self.assertContains(self.second("000000"), "4 tries left before a 15-minute pause", status_code=422)
        for _ in range(3):
            self.second("000000")
        self.assertEqual(self.second("000000").status_code, 429)

    def test_in_the_pause_neither_the_code_nor_the_password_helps(self) -> None:
        for _ in range(5):
            self.second("000000")
        self.assertEqual(self.second(self.code()).status_code, 429)
        self.client = Client()
        self.assertEqual(self.password().status_code, 429)
        self.assertFalse(self.is_in())

    def test_the_right_password_does_not_forgive_wrong_codes(self) -> None:
        for _ in range(4):
            self.second("000000")
            self.client = Client()
            self.password()
        self.assertEqual(self.second("000000").status_code, 429)


class TurningOn(TwoStepCase):
    def setUp(self) -> None:
        super().setUp()
        self.password()

    def begin(self) -> str:
        """Come to the page with the QR code, and return the secret that it holds."""
        self.assertRedirects(self.client.get("/me/two-step/on/"), CONFIRM_TO_TURN_ON)
        self.client.post("/me/confirm/", {"password": PASSWORD, "next": "/me/two-step/on/"})
        page = self.client.get("/me/two-step/on/")
        self.assertContains(page, "data:image/svg+xml;base64,")
        secret: str = page.context["form"].secret
        self.assertContains(page, secret)
        return secret

    def test_the_whole_road_from_the_password_to_the_recovery_codes(self) -> None:
        secret = self.begin()
        with self.captureOnCommitCallbacks(execute=True):
            answer = self.client.post("/me/two-step/on/", {"code": code_of(secret, time.time())}, follow=True)
        self.assertContains(answer, "10 of 10 are left")
        self.client.logout()
        self.time.shift(60)
        self.assertRedirects(self.password(), "/login/2fa/")
        self.assertRedirects(self.second(code_of(secret, time.time())), "/sites/")

    def test_a_wrong_code_turns_nothing_on(self) -> None:
        self.begin()
        answer = self.client.post("/me/two-step/on/", {"code": "000000"})
        self.assertContains(answer, "This code is not right", status_code=422)
        self.assertFalse(Authenticator.objects.exists())

    def test_the_password_is_asked_again_and_a_wrong_one_counts(self) -> None:
        answers = [self.client.post("/me/confirm/", {"password": "wrong"}).status_code for _ in range(5)]
        self.assertEqual(answers, [422, 422, 422, 422, 429])
        self.assertRedirects(
            self.client.get("/me/two-step/on/"), "/me/confirm/?next=/me/two-step/on/", target_status_code=200
        )

    def test_the_database_has_the_secret_encrypted_only(self) -> None:
        secret = self.begin()
        self.client.post("/me/two-step/on/", {"code": code_of(secret, time.time())})
        for row in Authenticator.objects.all():
            self.assertNotIn(secret, str(row.data))
            self.assertIn("gAAAA", str(row.data))


class TurningOff(TwoStepCase):
    def setUp(self) -> None:
        super().setUp()
        self.turn_on_for_alice()
        self.password()
        self.second(self.code())

    def confirm(self) -> None:
        self.client.post("/me/confirm/", {"password": PASSWORD})

    def test_it_asks_for_the_password_first(self) -> None:
        self.assertEqual(self.client.post("/me/two-step/off/").status_code, 302)
        self.assertTrue(Authenticator.objects.exists())

    def test_app_and_codes_are_gone_and_the_password_alone_signs_in(self) -> None:
        self.confirm()
        self.assertContains(self.client.get("/me/two-step/off/"), "Turn two-step sign-in off?")
        self.client.post("/me/two-step/off/")
        self.assertFalse(Authenticator.objects.exists())
        self.client.logout()
        self.assertRedirects(self.password(), "/sites/")

    def test_new_recovery_codes_end_the_old(self) -> None:
        old = Authenticator.objects.get(user=self.alice, type="recovery_codes").wrap().get_unused_codes()
        self.confirm()
        answer = self.client.post("/me/two-step/codes/new/", follow=True)
        self.assertContains(answer, "10 of 10 are left")
        self.assertNotContains(answer, old[0])

    def test_codes_are_shown_after_the_password_only(self) -> None:
        answer = self.client.get("/me/two-step/codes/")
        self.assertEqual(answer.status_code, 302)

    def test_no_page_of_the_library_is_left_in_its_own_look(self) -> None:
        self.confirm()
        for path in (
            "/me/two-step/off/",
            "/me/two-step/codes/",
            "/me/two-step/codes/new/",
            "/me/confirm/",
            "/me/password/",
        ):
            with self.subTest(path):
                self.assertContains(self.client.get(path), "auth-form")
                self.assertIn("no-store", self.client.get(path).headers["Cache-Control"])
        for path in ("/accounts/2fa/", "/2fa/", "/me/two-step/webauthn/", "/email/", "/password/set/"):
            self.assertEqual(self.client.get(path).status_code, 404)


class TheKeys(TwoStepCase):
    def test_a_rotated_key_takes_the_second_factors_along(self) -> None:
        self.turn_on_for_alice()
        newer, older = Fernet.generate_key().decode(), settings.FIELD_ENCRYPTION_KEY[0]
        with override_settings(FIELD_ENCRYPTION_KEY=[newer, older]):
            said = StringIO()
            call_command("reencrypt", stdout=said)
            self.assertIn("mfa.Authenticator: 2 read, 2 encrypted again, 0 unreadable", said.getvalue())
        with override_settings(FIELD_ENCRYPTION_KEY=[newer]):
            call_command("verify_encryption", stdout=StringIO())
            self.password()
            self.assertEqual(self.second(self.code()).status_code, 302)

    def test_staff_see_no_secret_and_can_take_a_lost_phone_off(self) -> None:
        self.turn_on_for_alice()
        self.bob.is_staff = self.bob.is_superuser = True
        self.bob.save()
        self.client.force_login(self.bob)
        work_on_ticket(self.client)
        row = Authenticator.objects.get(type="totp")
        self.assertNotContains(self.client.get(f"/admin/mfa/authenticator/{row.pk}/change/"), "gAAAA")
        self.client.post(f"/admin/mfa/authenticator/{row.pk}/delete/", {"post": "yes"})
        self.assertFalse(Authenticator.objects.exists())
