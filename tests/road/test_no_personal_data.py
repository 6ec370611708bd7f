"""No plain e-mail, phone number or token is in any table, log or page after the whole road was walked."""

import base64
import io
import json
import logging
import zlib
from collections.abc import Iterator

from django.apps import apps
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from django.urls import reverse
from django.utils import timezone

from forwarding import importing
from forwarding.models import Delivery
from ingest.imports import working
from ingest.imports.uploading import FileOptions, take_file
from ingest.models import Import
from integrations.models import Connection
from tests.road.road import RoadTestCase, purchase
from tests.support.signing_in import work_on_ticket

EMAIL, PHONE = "canary.bird@canaries.example", "+14255550199"
# The people of the cast and Microsoft's users are named by their e-mail on purpose; the canaries are not.


class TestCanaries(RoadTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.canaries = {EMAIL, "canary.bird", PHONE, PHONE[1:], self.secret}
        self.canaries |= {settings.MICROSOFT_CLIENT_SECRET, settings.MICROSOFT_DEVELOPER_TOKEN}
        self.watch_tokens()

    def watch_tokens(self) -> None:
        row = Connection.objects.get()
        self.assertTrue(row.access_token and row.refresh_token)
        self.canaries |= {row.access_token, row.refresh_token}

    def test_they_are_nowhere(self) -> None:
        with self.assertLogs(level=logging.DEBUG) as logs:
            logging.getLogger("road").debug("The road begins")
            self.microsoft.connect(self.site, self.alice)
            self.watch_tokens()
            event = purchase(user_data={"email": EMAIL, "phone": PHONE})
            self.post(event, purchase(msclkid=None, user_data={"email": EMAIL}))
            self.post_nonsense()
            self.import_file()
            self.microsoft.fault("OfflineConversions/Apply", "html")
            self.go()
            self.microsoft.expire_tokens()
            self.post(purchase(user_data={"phone": PHONE}))
            self.go()
            self.watch_tokens()
        self.assertEqual(len(self.canaries), 7 + 3 * 2)  # two pairs of sign-ins and a renewed one
        for text in (*self.tables(), *logs.output, *self.pages()):
            for canary in self.canaries:
                self.assertNotIn(canary, text)

    def post_nonsense(self) -> None:
        """Send events that are refused for what they hold, and a body that is no JSON, with the right key."""
        refused = json.dumps({"events": [{"name": EMAIL}, purchase(value=EMAIL, user_data={"email": PHONE})]})
        for body in (refused, f'{{"events": {EMAIL}'):
            r = self.client.post(
                "/v1/events", body, "application/json", headers={"Authorization": f"Bearer {self.secret}"}
            )
            self.assertIn(r.status_code, (400, 422))
            self.assertNotIn(EMAIL, r.content.decode())

    def import_file(self) -> None:
        """Import a file that has them where they belong, and where they do not."""
        header = "name,occurred_at,transaction_id,email,phone,email_sha256,msclkid"
        rows = [f"purchase,2026-11-20,,{EMAIL},{PHONE},,", f"purchase,2026-11-20,{EMAIL},{EMAIL},no {PHONE},{EMAIL},"]
        file = io.BytesIO("\n".join([f"{header},{EMAIL}", *rows]).encode())
        source = take_file(self.site, file, f"{EMAIL}.csv", FileOptions(), self.alice, timezone.now())
        importing.check(source)
        source.refresh_from_db()
        working.confirm(source, self.alice, timezone.now())
        importing.store(source)

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
        """Every page of the site and of its deliveries, and the staff's lists and rows, as its owner and staff."""
        User.objects.filter(pk=self.alice.pk).update(is_staff=True, is_superuser=True)
        self.client.force_login(User.objects.get(pk=self.alice.pk))
        work_on_ticket(self.client)
        account = [self.site.public_id, self.account.account_id]
        names: list[tuple[str, list[object]]] = [("sites", []), ("integrations", [account[0]])]
        names += [(f"account-{page}", [*account]) for page in ("overview", "mapping", "settings", "logs")]
        for delivery in Delivery.objects.all():
            names += [(f"account-{page}", [*account, delivery.public_id]) for page in ("delivery", "delivery-detail")]
        names += [("imports", [account[0]]), ("import", [account[0], Import.objects.get().public_id])]
        names += [("import-rows", [account[0], Import.objects.get().public_id])]
        addresses = [reverse(f"dashboard:{name}", args=args) for name, args in names]
        for address in (*addresses, *_staff_pages()):
            r = self.client.get(address)
            self.assertEqual(r.status_code, 200, address)
            yield r.content.decode()


def _staff_pages() -> Iterator[str]:
    for label in ("ingest", "integrations", "forwarding"):
        for model in apps.get_app_config(label).get_models():
            name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
            yield reverse(f"{name}_changelist")
            row = model._default_manager.first()
            if row is not None:
                yield reverse(f"{name}_change", args=[row.pk])


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
