"""Who may open which page."""

from django.urls import reverse

from tests.cast import CastTestCase


class SitesAndIntegrations(CastTestCase):
    def urls(self) -> list[str]:
        return [reverse("dashboard:sites"), reverse("dashboard:integrations", args=[self.site.public_id])]

    def test_they_open_for_everyone_of_the_team(self) -> None:
        for person in (self.alice, self.bob):
            self.client.force_login(person)
            for url in self.urls():
                with self.subTest(person=person, url=url):
                    self.assertContains(self.client.get(url), "Harbor &amp; Pine")
