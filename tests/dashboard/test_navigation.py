"""The navigation: a page that needs another role is there, leads nowhere and says which role opens it."""

import re

from django.urls import reverse

from ingest.models import Membership, Role
from tests.cast import CastTestCase


class TheNavigation(CastTestCase):
    def lines(self, role: Role) -> str:
        Membership.objects.filter(user=self.alice).update(role=role)
        self.client.force_login(self.alice)
        page = self.client.get(reverse("dashboard:integrations", args=[self.site.public_id])).content.decode()
        return re.sub(r"<svg.*?</svg>", "", page.partition('aria-label="Pages"')[2].partition("</nav>")[0])

    def test_it_leads_an_owner_everywhere(self) -> None:
        lines = self.lines(Role.OWNER)
        for name in ("imports", "keys"):
            self.assertIn(reverse(f"dashboard:{name}", args=[self.site.public_id]), lines)
        self.assertNotIn("aria-disabled", lines)

    def test_it_names_the_roles_that_a_viewer_would_need(self) -> None:
        lines = self.lines(Role.VIEWER)
        self.assertIn("Imports<small>Needs Owner, Admin or Marketer</small>", lines)
        self.assertIn("API keys<small>Needs Owner, Admin or Developer</small>", lines)
        self.assertEqual(lines.count("aria-disabled"), 2)
        self.assertNotIn(reverse("dashboard:imports", args=[self.site.public_id]), lines)
