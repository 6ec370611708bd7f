"""No plain e-mail, phone number or token is in any table, log or page after the whole road was walked."""

import base64
import logging
import zlib
from collections.abc import Iterator

from django.apps import apps
from django.contrib.auth.models import User
from django.db import connection
from django.urls import reverse

from integrations.models import Connection
from tests.road.road import RoadTestCase, purchase

EMAIL, PHONE = "canary.bird@canaries.example", "+14255550199"
# The people of the cast and Microsoft's users are named by their e-mail on purpose; the canaries are not.


class TestCanaries(RoadTestCase):
    def secrets(self) -> list[str]:
        row = Connection.objects.get()
        return [
            text
            for text in (EMAIL, "canary.bird", PHONE, PHONE[1:], row.access_token, row.refresh_token, self.secret)
            if text
        ]

    def test_they_are_nowhere(self) -> None:
        with self.assertLogs(level=logging.DEBUG) as logs:
            logging.getLogger("road").debug("The road begins")
            event = purchase(user_data={"email": EMAIL, "phone": PHONE})
            self.post(event, purchase(msclkid=None, user_data={"email": EMAIL}))
            self.client.post("/v1/events", f'{{"events": [{{"name": "{EMAIL}"}}]}}', content_type="application/json")
            self.microsoft.fault("OfflineConversions/Apply", "html")
            self.go()
            self.microsoft.expire_tokens()
            self.go()
        secrets = self.secrets()
        for text in (*self.tables(), *logs.output, *self.pages()):
            for secret in secrets:
                self.assertNotIn(secret, text)

    def tables(self) -> Iterator[str]:
        """Every column of every row as text, encoded ones decoded too: a queue hides its tasks in base64 and zlib."""
        with connection.cursor() as cursor:
            for model in apps.get_models(include_auto_created=True):
                cursor.execute(f'SELECT * FROM "{model._meta.db_table}"')  # noqa: S608 - our own tables
                for row in cursor.fetchall():
                    for value in row:
                        text = str(value)
                        yield text
                        yield from _decoded(text)

    def pages(self) -> Iterator[str]:
        """Every page of the site and the staff's lists, as its owner and staff sees them."""
        User.objects.filter(pk=self.alice.pk).update(is_staff=True, is_superuser=True)
        self.client.force_login(User.objects.get(pk=self.alice.pk))
        account = [self.site.public_id, self.account.account_id]
        names = [("integrations", account[:1])]
        names += [(f"account-{page}", account) for page in ("overview", "mapping", "settings", "logs")]
        addresses = [reverse(f"dashboard:{name}", args=args) for name, args in names]
        addresses += [
            reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
            for label in ("ingest", "integrations", "forwarding")
            for model in apps.get_app_config(label).get_models()
        ]
        for address in addresses:
            r = self.client.get(address)
            self.assertEqual(r.status_code, 200, address)
            yield r.content.decode()


def _decoded(text: str) -> Iterator[str]:
    for decode in (base64.b64decode, base64.urlsafe_b64decode):
        try:
            raw = decode(text + "=" * (-len(text) % 4))
        except ValueError:
            continue
        yield raw.decode(errors="replace")
        try:
            yield zlib.decompress(raw).decode(errors="replace")
        except zlib.error:
            continue
