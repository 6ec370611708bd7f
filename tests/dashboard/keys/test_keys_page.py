"""API keys: a secret is shown once and nowhere else, and a revoked one opens nothing any more."""

import json
import logging
import re
from datetime import timedelta
from unittest import mock

from django.contrib.sessions.models import Session
from django.db import connection
from django.test import SimpleTestCase
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from dashboard.keys.views import key_row
from ingest import server_keys
from ingest.models import AuditEntry, Membership, Role, ServerKey
from tests.cast import NOON, CastTestCase

SECRET = re.compile(r"sk_[A-Za-z0-9_-]{40,}")


class KeysTestCase(CastTestCase):
    def setUp(self) -> None:
        self.client.force_login(self.alice)
        self.url = reverse("dashboard:keys", args=[self.site.public_id])

    def create(self, name: str = "Order service") -> tuple[ServerKey, str]:
        """Create a key on the page; return it with the secret that the answer shows."""
        answer = self.client.post(self.url, {"name": name})
        self.assertEqual(answer.status_code, 200)
        (secret,) = set(SECRET.findall(answer.content.decode()))
        return ServerKey.objects.latest("pk"), secret

    def revoke_url(self, key: ServerKey) -> str:
        return reverse("dashboard:key-revoke", args=[self.site.public_id, key.public_id])

    def knock(self, secret: str) -> int:
        """Report an event with a secret, as a backend does; return the status."""
        body = json.dumps({"events": [{"name": "lead", "occurred_at": timezone.now().isoformat()}]})
        answer = self.client.post(
            "/v1/events", body, content_type="application/json", headers={"Authorization": f"Bearer {secret}"}
        )
        return answer.status_code


class TestCreate(KeysTestCase):
    def test_the_secret_opens_the_door_at_once(self) -> None:
        _, secret = self.create()
        self.assertEqual(self.knock(secret), 202)

    def test_it_is_shown_once_and_kept_nowhere(self) -> None:
        with self.assertLogs(level=logging.DEBUG) as logs:
            logging.getLogger("dashboard").debug("so that there is a line")
            key, secret = self.create()
        self.assertNotIn(secret, self.client.get(self.url).content.decode())
        sessions = [json.dumps(session.get_decoded()) for session in Session.objects.all()]
        entries = [f"{entry.target} {entry.details}" for entry in AuditEntry.objects.all()]
        for kept in (*sessions, *entries, *logs.output, key.secret_sha256, key.prefix):
            self.assertNotIn(secret, kept)

    def test_the_answer_is_in_no_cache_and_leads_nowhere_with_it(self) -> None:
        answer = self.client.post(self.url, {"name": "Order service"})
        self.assertEqual(answer.headers["Cache-Control"], "no-store")
        self.assertNotIn("Location", answer.headers)

    def test_a_name_is_needed_and_stays_text(self) -> None:
        self.assertContains(self.client.post(self.url, {"name": " "}), "Enter where the key is used", status_code=422)
        self.assertEqual(self.client.post(self.url, {"name": "x" * 101}).status_code, 422)
        self.assertEqual(self.client.post(self.url, {"name": "a\0b"}).status_code, 422)
        self.create("<script>alert(1)</script>")
        self.assertNotContains(self.client.get(self.url), "<script>alert")

    def test_two_live_at_once(self) -> None:
        (_, old), (_, new) = self.create("Old"), self.create("New")
        self.assertEqual((self.knock(old), self.knock(new)), (202, 202))

    def test_there_are_never_too_many(self) -> None:
        with mock.patch.object(server_keys, "MAX_LIVE_KEYS", 1):
            self.create()
            answer = self.client.post(self.url, {"name": "One more"})
        self.assertContains(answer, "Revoke one that is not used any more", status_code=422)
        self.assertEqual(ServerKey.objects.count(), 1)

    def test_a_form_that_is_sent_twice_makes_one_key(self) -> None:
        form = {"name": "Order service", "key_id": self.client.get(f"{self.url}?new").context["form"]["key_id"].value()}
        self.assertContains(self.client.post(self.url, form), "it is shown only once")
        again = self.client.post(self.url, form, follow=True)
        self.assertEqual((again.redirect_chain, ServerKey.objects.count()), ([(self.url, 302)], 1))
        self.assertContains(again, "This key exists already")
        self.assertNotRegex(again.content.decode(), SECRET)

    def test_it_says_who_made_and_who_revoked_a_key(self) -> None:
        key, _ = self.create()
        self.assertContains(self.client.get(self.url), ", <bdi>Alice</bdi>")
        self.client.force_login(self.bob)
        Membership.objects.filter(user=self.bob).update(role=Role.ADMIN)
        self.client.post(self.revoke_url(key))
        self.assertContains(self.client.get(self.url), " by <bdi>Bob</bdi>")

    def test_who_made_it_is_in_the_audit_log(self) -> None:
        key, _ = self.create()
        entry = AuditEntry.objects.get()
        self.assertEqual((entry.action, entry.actor, entry.target), ("server_key.create", self.alice, "Order service"))
        self.assertEqual(entry.details, {"key": f"{key.prefix}…"})


class TestRevoke(KeysTestCase):
    def test_it_asks_first_and_names_the_key(self) -> None:
        key, _ = self.create()
        self.assertContains(self.client.get(self.revoke_url(key)), "Revoke the key “Order service”?")
        dialog = self.client.get(self.revoke_url(key), headers={"HX-Request": "true"})
        self.assertNotContains(dialog, "<html")
        key.refresh_from_db()
        self.assertIsNone(key.revoked_at)

    def test_from_then_on_it_opens_nothing_and_others_do(self) -> None:
        (key, secret), (_, other) = self.create("Old"), self.create("New")
        self.assertEqual(self.knock(secret), 202)
        page = self.client.post(self.revoke_url(key), follow=True)
        self.assertEqual((self.knock(secret), self.knock(other)), (401, 202))
        self.assertContains(page, "Key “Old” is revoked")
        self.assertContains(page, "within 2 seconds")

    def test_twice_is_once(self) -> None:
        key, _ = self.create()
        self.client.post(self.revoke_url(key))
        at = ServerKey.objects.get().revoked_at
        self.client.post(self.revoke_url(key))
        self.assertEqual(ServerKey.objects.get().revoked_at, at)
        self.assertEqual(AuditEntry.objects.filter(action="server_key.revoke").count(), 1)
        self.assertEqual(self.client.get(self.revoke_url(key)).status_code, 404)

    def test_another_sites_key_is_not_found_and_lives_on(self) -> None:
        theirs, _ = ServerKey.objects.mint(self.charlie.memberships.get().organisation.sites.get())
        self.assertEqual(self.client.get(self.revoke_url(theirs)).status_code, 404)
        self.client.post(self.revoke_url(theirs))
        theirs.refresh_from_db()
        self.assertIsNone(theirs.revoked_at)


class TestDoors(KeysTestCase):
    def test_owners_admins_and_developers_only_and_others_are_told(self) -> None:
        key, _ = self.create()
        for role in Role:
            Membership.objects.filter(user=self.bob).update(role=role)
            self.client.force_login(self.bob)
            allowed = role in (Role.OWNER, Role.ADMIN, Role.DEVELOPER)
            for url in (self.url, self.revoke_url(key)):
                self.assertEqual(self.client.get(url).status_code, 200 if allowed else 403, (role, url))
        answer = self.client.post(self.url, {"name": "Mine"})
        self.assertContains(answer, "Owner, Admin or Developer role", status_code=403)

    def test_a_stranger_finds_nothing(self) -> None:
        key, _ = self.create()
        self.client.force_login(self.charlie)
        for url in (self.url, self.revoke_url(key)):
            self.assertEqual(self.client.get(url).status_code, 404)
            self.assertEqual(self.client.post(url).status_code, 404)


class TestPage(KeysTestCase):
    def test_the_public_key_can_be_copied_and_a_first_key_is_offered(self) -> None:
        page = self.client.get(self.url)
        self.assertContains(page, f'data-copy-text="{self.site.write_key}"')
        self.assertContains(page, "Create a secret key for your server")

    def test_last_use_is_what_the_door_saw(self) -> None:
        _, secret = self.create()
        self.assertContains(self.client.get(self.url), "Not used yet")
        self.knock(secret)
        self.assertNotContains(self.client.get(self.url), "Not used yet")

    def test_queries_do_not_grow_with_keys(self) -> None:
        def queries() -> int:
            with CaptureQueriesContext(connection) as seen:
                self.client.get(self.url)
            return len(seen)

        self.create()
        before = queries()
        for _ in range(5):
            key, _ = self.create()
        self.client.post(self.revoke_url(key))
        self.client.get(self.url)
        self.assertEqual(queries(), before)
        self.assertLessEqual(before, 10)


class TestUse(SimpleTestCase):
    def test_a_key_that_nobody_uses_is_named(self) -> None:
        def words(created: int, used: int | None) -> str:
            at = None if used is None else NOON - timedelta(days=used)
            return key_row(ServerKey(created_at=NOON - timedelta(days=created), last_used_at=at), NOON).unused

        self.assertEqual(words(100, 91), "Not used for 91 days")
        self.assertEqual(words(40, None), "Never used in 40 days")
        self.assertEqual((words(100, 29), words(2, None)), ("", ""))
