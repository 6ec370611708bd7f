import base64
import pickle
import traceback
import uuid
from datetime import UTC, datetime
from typing import Any
from unittest import mock

from cryptography.fernet import Fernet
from django.conf import settings
from django.core import serializers
from django.core.exceptions import FieldError
from django.db import connection as database
from django.db import transaction
from django.db.models import Case, F, Model, Value, When
from django.forms.models import fields_for_model, model_to_dict
from django.test import TestCase, override_settings

from convultra.fields import DecryptionFailed, EncryptedText, Sealed
from ingest.models import Organisation, Site
from integrations.models import Connection

OTHER_KEY = Fernet.generate_key().decode()


class ConnectionTestCase(TestCase):
    """A connection holding two secrets, and ways to look at and change what the database really holds."""

    site: Site
    connection: Connection

    @classmethod
    def setUpTestData(cls) -> None:
        cls.site = Site.objects.create(organisation=Organisation.objects.create(name="Shop"), name="Shop")
        cls.connection = Connection.objects.create(**cls.row("1"), access_token="access-1", refresh_token="refresh-1")

    @classmethod
    def row(cls, microsoft_user_id: str) -> dict[str, Any]:
        return {
            "site": cls.site,
            "microsoft_user_id": microsoft_user_id,
            "connected_at": datetime(2026, 3, 1, tzinfo=UTC),
        }

    def stored(self, pk: int, column: str = "access_token") -> str:
        with database.cursor() as cursor:
            cursor.execute(f"SELECT {column} FROM integrations_connection WHERE id = %s", [pk])  # noqa: S608
            return str(cursor.fetchone()[0])

    def store(self, pk: int, text: str, column: str = "access_token") -> None:
        with database.cursor() as cursor:
            cursor.execute(f"UPDATE integrations_connection SET {column} = %s WHERE id = %s", [text, pk])  # noqa: S608

    def load(self, pk: int | None = None) -> Connection:
        return Connection.objects.get(pk=pk or self.connection.pk)


class WritingTests(ConnectionTestCase):
    def assert_refused_and_unchanged(self, write: Any) -> None:
        before = self.stored(self.connection.pk)
        with self.assertRaisesMessage(TypeError, 'save(update_fields=["access_token"])'), transaction.atomic():
            write()
        self.assertEqual(self.stored(self.connection.pk), before)

    def test_it_keeps_no_plain_text_in_the_database(self) -> None:
        self.assertNotIn("access-1", self.stored(self.connection.pk))
        self.assertTrue(self.stored(self.connection.pk).startswith("gAAAA"))

    def test_it_reads_back_what_create_wrote(self) -> None:
        self.assertEqual(self.load().access_token, "access-1")
        self.assertEqual(self.load().refresh_token, "refresh-1")

    def test_it_reads_back_any_text(self) -> None:
        for text in ("é 漢字 🦊", '{"value": "x"}', "a\nb\x00c", "x" * 20_000, "gAAAA", " "):
            with self.subTest(text=text[:10]):
                row = self.load()
                row.access_token = text
                row.save(update_fields=["access_token"])
                self.assertEqual(self.load().access_token, text)

    def test_a_full_save_of_a_loaded_row_keeps_its_secrets(self) -> None:
        row = self.load()
        row.microsoft_user_name = "Alice"
        row.save()
        self.assertEqual(self.load().access_token, "access-1")

    def test_update_or_create_replaces_the_secret(self) -> None:
        Connection.objects.update_or_create(
            site=self.site, microsoft_user_id="1", defaults={"access_token": "access-2"}
        )
        self.assertEqual(self.load().access_token, "access-2")

    def test_bulk_create_binds_every_row(self) -> None:
        rows = Connection.objects.bulk_create(
            Connection(**self.row(str(number)), access_token=f"access-{number}") for number in (2, 3)
        )
        self.assertEqual([self.load(row.pk).access_token for row in rows], ["access-2", "access-3"])

    def test_an_upsert_by_public_id_replaces_the_secret(self) -> None:
        row = Connection(**self.row("1"), public_id=self.connection.public_id, access_token="access-2")
        Connection.objects.bulk_create(
            [row], update_conflicts=True, unique_fields=["public_id"], update_fields=["access_token"]
        )
        self.assertEqual(self.load().access_token, "access-2")

    def test_an_upsert_that_takes_the_new_public_id_replaces_the_secret(self) -> None:
        Connection.objects.bulk_create(
            [Connection(**self.row("1"), access_token="access-2")],
            update_conflicts=True,
            unique_fields=["site", "microsoft_user_id"],
            update_fields=["public_id", "access_token"],
        )
        self.assertEqual(self.load().access_token, "access-2")

    def test_an_upsert_that_would_orphan_the_secret_is_refused(self) -> None:
        before = self.stored(self.connection.pk)
        with self.assertRaisesMessage(TypeError, "upsert by public_id"), transaction.atomic():
            Connection.objects.bulk_create(
                [Connection(**self.row("1"), access_token="access-2")],
                update_conflicts=True,
                unique_fields=["site", "microsoft_user_id"],
                update_fields=["access_token"],
            )
        self.assertEqual(self.stored(self.connection.pk), before)

    def test_an_upsert_of_other_columns_leaves_the_secret_alone(self) -> None:
        Connection.objects.bulk_create(
            [Connection(**self.row("1"), access_token="access-2", microsoft_user_name="Alice")],
            update_conflicts=True,
            unique_fields=["site", "microsoft_user_id"],
            update_fields=["microsoft_user_name"],
        )
        self.assertEqual((self.load().access_token, self.load().microsoft_user_name), ("access-1", "Alice"))

    def test_update_refuses_a_text_because_it_has_no_row(self) -> None:
        self.assert_refused_and_unchanged(lambda: Connection.objects.update(access_token="access-2"))

    def test_update_refuses_expressions(self) -> None:
        case = Case(When(pk=self.connection.pk, then=Value("x")), default=Value("y"))
        for expression in (F("refresh_token"), Value("access-2"), case):
            with self.subTest(expression=type(expression).__name__):
                self.assert_refused_and_unchanged(
                    lambda value=expression: Connection.objects.update(access_token=value)
                )

    def test_update_refuses_a_sealed_value_of_another_row(self) -> None:
        sealed = Connection.objects.values_list("refresh_token", flat=True).get()
        self.assert_refused_and_unchanged(lambda: Connection.objects.update(access_token=sealed))

    def test_bulk_update_is_refused(self) -> None:
        self.assert_refused_and_unchanged(lambda: Connection.objects.bulk_update([self.load()], ["access_token"]))

    def test_saving_an_expression_is_refused(self) -> None:
        row = self.load()
        row.access_token = F("refresh_token")  # type: ignore[assignment]
        self.assert_refused_and_unchanged(row.save)

    def test_a_fixture_cannot_bring_a_plain_secret(self) -> None:
        self.assert_refused_and_unchanged(lambda: self.connection.save_base(raw=True))

    def test_the_empty_text_is_stored_as_it_is_and_may_be_set_by_update(self) -> None:
        Connection.objects.update(access_token="")
        self.assertEqual(self.stored(self.connection.pk), "")
        self.assertEqual(self.load().access_token, "")

    def test_null_is_stored_as_null(self) -> None:
        column = EncryptedText()
        self.assertIsNone(column.get_db_prep_save(None, database))
        self.assertIsNone(column.from_db_value(None))

    def test_the_newest_key_encrypts_as_soon_as_it_is_configured(self) -> None:
        with override_settings(FIELD_ENCRYPTION_KEY=[OTHER_KEY, *settings.FIELD_ENCRYPTION_KEY]):
            self.connection.save()
        Fernet(OTHER_KEY).decrypt(self.stored(self.connection.pk))


class ReadingTests(ConnectionTestCase):
    def assert_unreadable(self, reason: str) -> None:
        with self.assertRaises(DecryptionFailed) as caught:
            _ = self.load().access_token
        error = caught.exception
        self.assertEqual(
            str(error), f"integrations.Connection {self.connection.pk}: access_token cannot be read, {reason}."
        )
        self.assertEqual(
            (error.model, error.field, error.pk), ("integrations.Connection", "access_token", self.connection.pk)
        )
        self.assertNotIn(self.stored(self.connection.pk), "".join(traceback.format_exception(error)))

    def test_every_key_of_the_ring_reads(self) -> None:
        with override_settings(FIELD_ENCRYPTION_KEY=[OTHER_KEY, *settings.FIELD_ENCRYPTION_KEY]):
            self.assertEqual(self.load().access_token, "access-1")

    def test_a_single_key_may_be_configured_as_a_text(self) -> None:
        with override_settings(FIELD_ENCRYPTION_KEY=settings.FIELD_ENCRYPTION_KEY[0]):
            self.assertEqual(self.load().access_token, "access-1")

    @override_settings(FIELD_ENCRYPTION_KEY=[OTHER_KEY])
    def test_a_wrong_key_raises(self) -> None:
        self.assert_unreadable("it was changed, stored plain, or encrypted under another key")

    def test_a_wrong_key_changes_nothing_on_save(self) -> None:
        before = self.stored(self.connection.pk)
        wrong_key = override_settings(FIELD_ENCRYPTION_KEY=[OTHER_KEY])
        with wrong_key, self.assertRaises(DecryptionFailed), transaction.atomic():
            self.load().save()
        self.assertEqual(self.stored(self.connection.pk), before)

    def test_a_wrong_key_does_not_keep_the_other_columns_from_being_read_and_saved(self) -> None:
        with override_settings(FIELD_ENCRYPTION_KEY=[OTHER_KEY]):
            row = self.load()
            row.status = Connection.Status.NEEDS_OPERATOR
            row.save(update_fields=["status"])
        self.assertEqual((self.load().status, self.load().access_token), ("needs_operator", "access-1"))

    def test_changed_plain_and_foreign_texts_raise(self) -> None:
        token = self.stored(self.connection.pk)
        flipped = bytearray(base64.urlsafe_b64decode(token))
        flipped[40] ^= 1
        for text in (base64.urlsafe_b64encode(flipped).decode(), token[:-4], "access-1", "é", "gAAAA"):
            with self.subTest(text=text[:8]):
                self.store(self.connection.pk, text)
                self.assert_unreadable("it was changed, stored plain, or encrypted under another key")

    def test_a_token_that_the_library_itself_made_raises(self) -> None:
        ring = Fernet(settings.FIELD_ENCRYPTION_KEY[0])
        for document, reason in (
            (b"access-1", "it was changed, stored plain, or encrypted under another key"),
            (b'"access-1"', "it was encrypted for another row"),
            (b'{"value": "access-1"}', "it was encrypted for another row"),
        ):
            with self.subTest(document=document):
                self.store(self.connection.pk, ring.encrypt(document).decode())
                self.assert_unreadable(reason)

    def test_a_token_copied_from_another_row_raises(self) -> None:
        other = Connection.objects.create(**self.row("2"), access_token="access-2")
        self.store(self.connection.pk, self.stored(other.pk))
        self.assert_unreadable("it was encrypted for another row")

    def test_a_token_copied_from_another_column_raises(self) -> None:
        self.store(self.connection.pk, self.stored(self.connection.pk, "refresh_token"))
        self.assert_unreadable("it was encrypted for another row")

    def test_a_copied_row_does_not_take_the_secret_along(self) -> None:
        copy = self.load()
        copy.pk, copy.public_id, copy.microsoft_user_id = None, uuid.uuid4(), "2"
        with self.assertRaisesMessage(DecryptionFailed, "another row"), transaction.atomic():
            copy.save()

    def test_assigning_a_token_does_not_decrypt_it(self) -> None:
        token = self.stored(self.connection.pk)
        row = self.load()
        row.access_token = token
        row.full_clean()
        self.assertEqual(row.access_token, token)
        row.save()
        self.assertEqual(self.load().access_token, token)

    def test_a_deferred_column_is_read_when_asked_for(self) -> None:
        for rows in (Connection.objects.only("status"), Connection.objects.defer("access_token")):
            self.assertEqual(rows.get().access_token, "access-1")

    def test_refresh_from_db_brings_the_new_secret(self) -> None:
        row = self.load()
        self.connection.access_token = "access-2"
        self.connection.save()
        row.refresh_from_db()
        self.assertEqual(row.access_token, "access-2")

    def test_a_joined_row_is_read(self) -> None:
        row = Site.objects.prefetch_related("connections").get().connections.all()[0]
        self.assertEqual(row.access_token, "access-1")


class HidingTests(ConnectionTestCase):
    def test_values_give_something_sealed_that_shows_nothing(self) -> None:
        sealed = Connection.objects.values_list("access_token", flat=True).get()
        self.assertIsInstance(sealed, Sealed)
        self.assertEqual(repr(sealed), "Sealed()")
        with self.assertRaisesMessage(TypeError, "read from its model instance"):
            str(sealed)
        self.assertIsInstance(Connection.objects.values("access_token").get()["access_token"], Sealed)

    def test_a_loaded_row_is_pickled_without_its_secret(self) -> None:
        row = self.load()
        _ = row.access_token
        copy = pickle.dumps(row)
        self.assertNotIn(b"access-1", copy)
        self.assertEqual(pickle.loads(copy).access_token, "access-1")  # noqa: S301

    def test_lookups_raise(self) -> None:
        for lookup in ("", "__exact", "__in", "__contains", "__gt", "__iexact", "__regex"):
            with self.subTest(lookup=lookup), self.assertRaisesMessage(FieldError, "cannot be searched or compared"):
                Connection.objects.filter(**{f"access_token{lookup}": "access-1"}).exists()

    def test_get_or_create_by_a_secret_raises(self) -> None:
        with self.assertRaises(FieldError):
            Connection.objects.get_or_create(access_token="access-1", defaults=self.row("2"))

    def test_isnull_is_allowed(self) -> None:
        self.assertEqual(Connection.objects.filter(access_token__isnull=False).count(), 1)

    def test_dumpdata_refuses(self) -> None:
        with self.assertRaisesMessage(TypeError, "integrations.Connection.access_token is encrypted"):
            serializers.serialize("json", Connection.objects.all())

    def test_no_form_shows_it(self) -> None:
        columns = {column.name for column in Connection._meta.fields if isinstance(column, EncryptedText)}
        self.assertEqual(columns, {"access_token", "refresh_token", "previous_refresh_token"})
        self.assertFalse(columns & set(fields_for_model(Connection)))
        self.assertFalse(columns & set(model_to_dict(self.load())))

    def test_its_migration_names_our_column_and_no_key(self) -> None:
        _, path, args, kwargs = EncryptedText(blank=True, default="").deconstruct()
        self.assertEqual((path, args), ("convultra.fields.EncryptedText", []))
        self.assertEqual(kwargs, {"blank": True, "default": ""})

    def test_the_row_id_may_be_written_as_any_uuid(self) -> None:
        column = Connection._meta.get_field("access_token")
        assert isinstance(column, EncryptedText)
        row = mock.Mock(spec=Model, public_id=str(self.connection.public_id).upper(), pk=1)
        sealed = Sealed(column.seal("x", row))
        self.connection.__dict__["access_token"] = sealed
        self.assertEqual(self.connection.access_token, "x")
