from typing import Any
from unittest import mock

from django.apps import apps
from django.contrib import admin
from django.core import checks
from django.db import models
from django.test import SimpleTestCase, override_settings
from django.test.utils import isolate_apps

from convultra import checks as our_checks
from convultra.encryption import encrypted_models
from convultra.fields import EncryptedText
from integrations.models import AdAccount, Connection

HTTP = "http://convultra.example"


class ChecksTestCase(SimpleTestCase):
    def ids(self) -> list[str]:
        """Return the ids of our own messages, as `manage.py check` would print them."""
        return sorted(str(m.id) for m in checks.run_checks() if str(m.id).startswith("convultra."))

    def message(self, check_id: str) -> checks.CheckMessage:
        return next(message for message in checks.run_checks() if message.id == check_id)


@override_settings(PUBLIC_URL="https://convultra.example", DEBUG=False, DEMO=False)
class SettingsTests(ChecksTestCase):
    def test_a_sound_configuration_is_not_remarked_upon(self) -> None:
        self.assertEqual(self.ids(), [])

    def test_every_message_has_a_hint(self) -> None:
        wrong = {"SECRET_KEY": "x", "PUBLIC_URL": HTTP, "MICROSOFT_LOGIN_URL": HTTP, "DEMO": True}
        with override_settings(**wrong, MICROSOFT_CLIENT_ID=""):
            ours = [m for m in checks.run_checks() if str(m.id).startswith("convultra.")]
        self.assertEqual([m.id for m in ours if not m.hint], [])
        self.assertEqual(len(ours), 5)

    def test_it_refuses_a_weak_secret_key(self) -> None:
        for key in ("0123456789" * 4, "x" * 80, "django-insecure-" + "abcdefgh" * 8):
            with self.subTest(key=key), override_settings(SECRET_KEY=key):
                self.assertEqual(self.ids(), ["convultra.E001"])
                self.assertTrue(self.message("convultra.E001").is_serious())

    @override_settings(SECRET_KEY="short", DEBUG=True)
    def test_a_weak_secret_key_is_fine_while_debugging(self) -> None:
        self.assertEqual(self.ids(), [])

    def test_it_warns_of_a_public_address_in_clear(self) -> None:
        with override_settings(PUBLIC_URL=HTTP):
            self.assertEqual(self.ids(), ["convultra.W001"])
            self.assertFalse(self.message("convultra.W001").is_serious())

    def test_loopback_may_be_in_clear(self) -> None:
        for url in ("http://localhost:8000", "http://127.0.0.1:8000", "http://[::1]:8000", "http://shop.localhost"):
            with self.subTest(url=url), override_settings(PUBLIC_URL=url, MICROSOFT_LOGIN_URL=url):
                self.assertEqual(self.ids(), [])

    def test_it_names_the_missing_credentials(self) -> None:
        with override_settings(MICROSOFT_CLIENT_SECRET="", MICROSOFT_DEVELOPER_TOKEN=""):
            self.assertEqual(
                self.message("convultra.W002").msg,
                "Connecting Microsoft Ads cannot work: MICROSOFT_CLIENT_SECRET, MICROSOFT_DEVELOPER_TOKEN not set.",
            )

    def test_it_warns_of_a_microsoft_address_in_clear(self) -> None:
        for name in our_checks.MICROSOFT_ADDRESSES:
            with self.subTest(name=name), override_settings(**{name: HTTP}):
                self.assertEqual(self.ids(), ["convultra.W003"])

    def test_it_warns_of_a_demo_that_others_can_reach(self) -> None:
        with override_settings(DEMO=True):
            self.assertEqual(self.ids(), ["convultra.W004"])

    @override_settings(DEMO=True, PUBLIC_URL="http://localhost:8000")
    def test_a_demo_at_home_is_fine(self) -> None:
        self.assertEqual(self.ids(), [])


class RowIdTests(ChecksTestCase):
    @isolate_apps("integrations")
    def test_it_refuses_an_encrypted_column_without_a_row_to_bind_to(self) -> None:
        class Nowhere(models.Model):
            token = EncryptedText()

            class Meta:
                app_label = "integrations"

        with mock.patch.object(our_checks, "encrypted_models", return_value=[Nowhere]):
            self.assertEqual([m.id for m in our_checks.secrets_are_bound_to_a_row()], ["convultra.E002"])

    @isolate_apps("integrations")
    def test_it_refuses_a_row_id_that_the_database_makes(self) -> None:
        class Late(models.Model):
            public_id = models.UUIDField()
            token = EncryptedText()

            class Meta:
                app_label = "integrations"

        with mock.patch.object(our_checks, "encrypted_models", return_value=[Late]):
            self.assertEqual([m.id for m in our_checks.secrets_are_bound_to_a_row()], ["convultra.E002"])

    def test_every_model_of_ours_is_bound(self) -> None:
        self.assertIn(Connection, encrypted_models())
        self.assertEqual(our_checks.secrets_are_bound_to_a_row(), [])


class AdminTests(ChecksTestCase):
    def found(self, model: type[models.Model], **options: Any) -> list[str]:
        page = type("Page", (admin.ModelAdmin,), options)(model, admin.site)
        with mock.patch.dict(admin.site._registry, {model: page}, clear=True):
            return [message.msg for message in our_checks.admin_names_no_secret()]

    def test_it_finds_a_secret_wherever_the_admin_can_name_it(self) -> None:
        for options in (
            {"list_display": ["__str__", "access_token"]},
            {"readonly_fields": ["access_token"]},
            {"fields": ["status", ("site", "access_token")]},
            {"fieldsets": [(None, {"fields": ["access_token"]})]},
            {"search_fields": ["=access_token"]},
            {"search_fields": ["access_token__icontains"]},
            {"list_filter": [("access_token", admin.EmptyFieldListFilter)]},
            {"ordering": ["-access_token"]},
        ):
            with self.subTest(options=options):
                self.assertEqual(len(self.found(Connection, **options)), 1)

    def test_it_finds_a_secret_behind_a_relation(self) -> None:
        self.assertEqual(
            self.found(AdAccount, list_display=["connection__refresh_token"]),
            ["Page names the encrypted column 'connection__refresh_token'."],
        )

    def test_it_finds_a_secret_in_an_inline(self) -> None:
        inline = type("Inline", (admin.TabularInline,), {"model": Connection, "readonly_fields": ["access_token"]})
        self.assertEqual(
            self.found(apps.get_model("ingest.Site"), inlines=[inline]),
            ["Inline names the encrypted column 'access_token'."],
        )

    def test_other_columns_and_methods_are_fine(self) -> None:
        options = {"list_display": ["__str__", "status", "site__name", "has_token"], "search_fields": ["site__name"]}
        self.assertEqual(self.found(Connection, **options), [])

    def test_our_own_admin_names_no_secret(self) -> None:
        self.assertEqual(our_checks.admin_names_no_secret(), [])
