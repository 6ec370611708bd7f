from io import StringIO
from unittest import mock

from cryptography.fernet import Fernet
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection as database
from django.test import TestCase, override_settings

from convultra import encryption
from convultra.fields import EncryptedText
from integrations.models import Connection
from tests.cast import make_connection, make_site, make_user

OLD_KEYS: list[str] = settings.FIELD_ENCRYPTION_KEY
NEW_KEY = Fernet.generate_key().decode()
NEW_ALONE = override_settings(FIELD_ENCRYPTION_KEY=[NEW_KEY])
ROTATING = override_settings(FIELD_ENCRYPTION_KEY=[NEW_KEY, *OLD_KEYS])
SEAL = EncryptedText.seal


def seal_with_the_old_keys(column: EncryptedText, value: str, row: Connection) -> str:
    with override_settings(FIELD_ENCRYPTION_KEY=OLD_KEYS):
        return SEAL(column, value, row)


class RotationTestCase(TestCase):
    """Five connections, two secrets each, encrypted before the new key came."""

    rows: list[Connection]

    @classmethod
    def setUpTestData(cls) -> None:
        site = make_site("Shop", make_user("alice"))
        cls.rows = [
            make_connection(site, microsoft_user_id=str(n), access_token=f"access-{n}", refresh_token=f"refresh-{n}")
            for n in range(5)
        ]

    def run_command(self, name: str, **options: bool) -> str:
        out = StringIO()
        call_command(name, stdout=out, stderr=out, **options)
        return out.getvalue()

    def assert_fails(self, name: str, message: str, **options: bool) -> str:
        out = StringIO()
        with self.assertRaisesMessage(CommandError, message):
            call_command(name, stdout=out, stderr=out, **options)
        return out.getvalue()

    def assert_every_secret_is_read(self) -> None:
        stored = [(row.access_token, row.refresh_token) for row in Connection.objects.order_by("pk")]
        self.assertEqual(stored, [(f"access-{n}", f"refresh-{n}") for n in range(5)])

    def spoil(self, row: Connection) -> None:
        with database.cursor() as cursor:
            cursor.execute("UPDATE integrations_connection SET access_token = 'plain' WHERE id = %s", [row.pk])


class ReencryptTests(RotationTestCase):
    @ROTATING
    def test_it_leaves_every_secret_to_the_newest_key_alone(self) -> None:
        out = self.run_command("reencrypt")
        self.assertIn("integrations.Connection: 10 read, 10 encrypted again, 0 unreadable.\n", out)
        with NEW_ALONE:
            self.assert_every_secret_is_read()

    @ROTATING
    def test_a_second_run_writes_nothing(self) -> None:
        self.run_command("reencrypt")
        self.assertIn("10 read, 0 encrypted again", self.run_command("reencrypt"))

    @ROTATING
    @mock.patch.object(encryption, "BATCH_ROWS", 2)
    def test_it_goes_through_all_batches(self) -> None:
        self.assertIn("10 read, 10 encrypted again", self.run_command("reencrypt"))

    @ROTATING
    @mock.patch.object(encryption, "BATCH_ROWS", 2)
    def test_stopped_midway_it_leaves_every_row_readable_and_goes_on_later(self) -> None:
        texts = iter(range(7))  # the eighth value stops the process: in the second row of the second batch

        def seal(column: EncryptedText, value: str, row: Connection) -> str:
            if next(texts, None) is None:
                raise KeyboardInterrupt
            return SEAL(column, value, row)

        with mock.patch.object(EncryptedText, "seal", seal), self.assertRaises(KeyboardInterrupt):
            self.run_command("reencrypt")
        self.assert_every_secret_is_read()
        self.assertIn("10 read, 6 encrypted again", self.run_command("reencrypt"))

    @ROTATING
    def test_a_text_that_does_not_read_back_undoes_the_batch(self) -> None:
        patch = mock.patch.object(EncryptedText, "seal", seal_with_the_old_keys)
        with patch, self.assertRaisesMessage(RuntimeError, "was not stored as written"):
            self.run_command("reencrypt")
        self.assert_every_secret_is_read()

    @ROTATING
    def test_what_no_key_opens_is_named_and_left_alone(self) -> None:
        self.spoil(self.rows[3])
        out = self.assert_fails("reencrypt", "1 left as they were: keep the old keys, or connect these again.")
        self.assertIn(f"integrations.Connection {self.rows[3].pk}: access_token cannot be read", out)
        self.assertIn("10 read, 9 encrypted again, 1 unreadable.", out)
        with database.cursor() as cursor:
            cursor.execute("SELECT access_token FROM integrations_connection WHERE id = %s", [self.rows[3].pk])
            self.assertEqual(cursor.fetchone()[0], "plain")

    @ROTATING
    def test_empty_columns_are_no_secrets(self) -> None:
        Connection.objects.update(access_token="", refresh_token="")
        self.assertIn("0 read, 0 encrypted again", self.run_command("reencrypt"))

    @ROTATING
    def test_it_touches_no_other_column(self) -> None:
        columns = [c.name for c in Connection._meta.fields if not isinstance(c, EncryptedText)]
        before = list(Connection.objects.order_by("pk").values(*columns))
        self.run_command("reencrypt")
        self.assertEqual(list(Connection.objects.order_by("pk").values(*columns)), before)


class VerifyTests(RotationTestCase):
    def test_it_says_that_all_is_well(self) -> None:
        out = self.run_command("verify_encryption")
        self.assertIn("integrations.Connection: 10 read, 0 unreadable.\n", out)

    @mock.patch.object(encryption, "BATCH_ROWS", 2)
    def test_it_goes_through_all_batches(self) -> None:
        self.assertIn("10 read, 0 unreadable", self.run_command("verify_encryption"))

    def test_it_names_the_row_and_fails(self) -> None:
        self.spoil(self.rows[1])
        out = self.assert_fails("verify_encryption", "1 cannot be read.")
        self.assertIn(f"integrations.Connection {self.rows[1].pk}: access_token cannot be read", out)
        self.assertNotIn("plain\n", out)

    @ROTATING
    def test_the_ring_reads_what_the_newest_key_alone_does_not(self) -> None:
        self.assertIn("0 unreadable", self.run_command("verify_encryption"))
        out = self.assert_fails("verify_encryption", "10 cannot be read.", newest_only=True)
        self.assertIn("integrations.Connection: 10 read, 10 unreadable.", out)

    @NEW_ALONE
    def test_a_wrong_key_fails_for_every_value(self) -> None:
        self.assert_fails("verify_encryption", "10 cannot be read.")
