"""What error pages say and lead to: the way back, a search, and an id that is in the log."""

import json
import logging
import re
from unittest import mock

from django.test import Client
from django.urls import reverse

from convultra.logging import JsonLines
from tests.dashboard.accounts import AccountTestCase


class TestNotFound(AccountTestCase):
    def test_it_leads_back_to_the_site_of_the_address(self) -> None:
        self.client.force_login(self.alice)
        page = self.client.get(f"/s/{self.site.public_id}/nowhere/")
        self.assertContains(page, reverse("dashboard:integrations", args=[self.site.public_id])[:40], status_code=404)
        self.assertContains(page, "Harbor &amp; Pine", status_code=404)

    def test_its_title_is_words(self) -> None:
        self.assertContains(
            self.client.get("/nowhere/"), "<title>We cannot find that page · Convultra</title>", status_code=404
        )

    def test_it_offers_to_search_the_events(self) -> None:
        self.client.force_login(self.alice)
        page = self.client.get("/nowhere/")
        self.assertContains(page, 'role="search"', status_code=404)
        self.assertContains(page, "Search events", status_code=404)

    def test_a_stranger_learns_nothing_of_the_site(self) -> None:
        self.client.force_login(self.charlie)
        page = self.client.get(f"/s/{self.site.public_id}/integrations/")
        self.assertNotContains(page, "Harbor", status_code=404)

    def test_nobody_signed_in_is_led_to_sign_in(self) -> None:
        self.assertContains(self.client.get("/nowhere/"), "Sign in", status_code=404)

    def test_nonsense_in_the_address_is_not_found(self) -> None:
        self.client.force_login(self.alice)
        for path in ("/s/0/", "/s/%00/", "/s/" + "f" * 32 + "/", "/s/%ED%A0%80/", "/s/" + "9" * 4000 + "/"):
            with self.subTest(path=path[:20]):
                self.assertEqual(self.client.get(path).status_code, 404)


class TestServerError(AccountTestCase):
    def test_it_shows_an_id_that_is_in_the_log_and_says_that_forwarding_goes_on(self) -> None:
        client = Client(raise_request_exception=False)
        client.force_login(self.alice)
        with (
            mock.patch("dashboard.sites.views.render", side_effect=ValueError("a bug")),
            self.assertLogs("django.request", logging.ERROR) as logged,
        ):
            page = client.get(reverse("dashboard:sites"))
        self.assertContains(page, "Receiving and forwarding run separately and go on", status_code=500)
        (shown,) = set(re.findall(r"req_[0-9a-f]{12}", page.content.decode()))
        self.assertEqual(page.headers["X-Request-Id"], shown)
        self.assertEqual(json.loads(JsonLines().format(logged.records[0]))["request_id"], shown)
