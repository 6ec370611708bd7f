"""A process with a wrong key does not start."""

from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from django.test import override_settings

from convultra.encryption import why_unreadable
from tests.cast import CastTestCase


class TestWrongKey(CastTestCase):
    def test_the_right_key_has_nothing_against_a_start(self) -> None:
        self.assertEqual(why_unreadable(), "")

    def test_web_and_worker_refuse_to_start_and_say_why(self) -> None:
        with override_settings(FIELD_ENCRYPTION_KEY=[Fernet.generate_key().decode()]):
            for command in ("web", "worker"):
                with self.assertRaisesRegex(CommandError, "FIELD_ENCRYPTION_KEYS must hold the key"):
                    call_command(command)
