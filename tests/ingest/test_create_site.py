"""`manage.py create_site` makes all that a newcomer needs, and says clearly what it cannot take."""

import json
from io import StringIO
from typing import Any

from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import TestCase

from ingest.models import Membership, Organisation, Role, ServerKey, Site
from tests.cast import make_site, make_user


def create_site(*arguments: str) -> dict[str, Any]:
    """Run the command for Harbor & Pine and return the one object it prints."""
    out = StringIO()
    call_command("create_site", "Harbor & Pine", *arguments, "--json", stdout=out)
    printed: dict[str, Any] = json.loads(out.getvalue())
    return printed


class CreateSiteTests(TestCase):
    def test_it_makes_a_site_with_its_keys(self) -> None:
        made = create_site("--owner", "alice@example.com")
        site = Site.objects.get()
        self.assertEqual((made["site_id"], made["write_key"]), (str(site.public_id), site.write_key))
        key = ServerKey.objects.find(made["server_key"])
        assert key is not None
        self.assertEqual(key.site, site)

    def test_it_makes_the_owner_with_a_password_that_works(self) -> None:
        made = create_site("--owner", "Alice@Example.com")
        alice = User.objects.get(email="alice@example.com")
        self.assertTrue(alice.check_password(made["password"]))
        self.assertEqual(Membership.objects.get().role, Role.OWNER)
        self.assertFalse(alice.is_staff or alice.is_superuser)

    def test_a_given_password_is_set_and_not_printed(self) -> None:
        made = create_site("--owner", "alice@example.com", "--password", "correct horse battery")
        self.assertNotIn("password", made)
        self.assertTrue(User.objects.get().check_password("correct horse battery"))

    def test_it_adds_to_what_the_owner_has(self) -> None:
        first = make_site("First", make_user("alice"))
        made = create_site("--owner", "ALICE@example.com")
        self.assertNotIn("password", made)
        self.assertEqual(User.objects.count(), 1)
        self.assertEqual(Site.objects.get(public_id=made["site_id"]).organisation, first.organisation)

    def test_it_leaves_alone_organisations_of_others(self) -> None:
        theirs = make_site("Theirs", make_user("alice")).organisation
        Membership.objects.create(user=make_user("bob"), organisation=theirs, role=Role.ADMIN)
        made = create_site("--owner", "bob@example.com")
        self.assertNotEqual(Site.objects.get(public_id=made["site_id"]).organisation, theirs)

    def test_it_sets_what_it_is_told(self) -> None:
        origins = ["--origin", "HTTPS://Shop.example/", "--origin", "http://localhost:8000"]
        create_site("--owner", "alice@example.com", *origins, "--currency", "SEK", "--time-zone", "Europe/Stockholm")
        site = Site.objects.get()
        self.assertEqual(site.allowed_origins, ["https://shop.example", "http://localhost:8000"])
        self.assertEqual((site.currency, site.time_zone), ("SEK", "Europe/Stockholm"))

    def test_without_json_it_prints_lines(self) -> None:
        out = StringIO()
        call_command("create_site", "Harbor & Pine", "--owner", "alice@example.com", stdout=out)
        self.assertIn(f"write_key: {Site.objects.get().write_key}\n", out.getvalue())


class BadArgumentTests(TestCase):
    def test_it_says_what_it_cannot_take_and_makes_nothing(self) -> None:
        make_user("alice")
        good = ["--owner", "new@example.com"]
        for arguments, sentence in (
            (["--owner", "alice"], "--owner must be an e-mail address, not 'alice'."),
            (["--owner", f"a@{'b' * 60}.{'c' * 60}.{'d' * 60}.com"], "--owner is too long"),
            ([*good, "--time-zone", "Mars/Olympus"], "'Mars/Olympus' is no time zone."),
            ([*good, "--currency", "usd"], "'usd' is no currency"),
            ([*good, "--origin", "shop.example"], "--origin must be like https://shop.example"),
            ([*good, "--origin", "https://shop.example/path"], "--origin must be like"),
            ([*good, "--origin", "https://*.example?"], "--origin must be like"),
            ([*good, "--origin", "https://a:b@shop.example"], "--origin must be like"),
            ([*good, "--origin", "http://[::1"], "--origin must be like"),
            ([*good, "--password", "short"], "The password cannot be taken."),
            (["--owner", "alice@example.com", "--password", "correct horse"], "has an account already"),
        ):
            with self.subTest(arguments), self.assertRaisesMessage(CommandError, sentence):
                create_site(*arguments)
        counts = (Site.objects.count(), Organisation.objects.count(), User.objects.count())
        self.assertEqual(counts, (0, 0, 1))

    def test_a_site_needs_a_name(self) -> None:
        for name in ("", "  ", "n" * 101, "a\nb"):
            with self.subTest(name), self.assertRaisesMessage(CommandError, "name must have 1 to 100"):
                call_command("create_site", name, "--owner", "alice@example.com")
