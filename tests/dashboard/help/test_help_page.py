"""Help: one place on every page, about that page, with a link to where each problem is mended."""

import re
from html import escape, unescape
from typing import TYPE_CHECKING

from django.urls import reverse

from dashboard.help import reference
from dashboard.help.words import DEFINITIONS, STATUSES, TROUBLES, topic_of
from dashboard.install import snippets
from dashboard.templatetags import ui
from ingest import openapi
from ingest.models import Membership, Role
from tests.cast import CastTestCase

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Answer


class HelpCase(CastTestCase):
    def setUp(self) -> None:
        self.client.force_login(self.alice)
        self.mapping_url = reverse("dashboard:account-mapping", args=[self.site.public_id, self.account.account_id])
        self.of_mapping = f"/help/?page=account-mapping&site={self.site.public_id}&account={self.account.account_id}"

    def dialog(self, url: str) -> "Answer":
        return self.client.get(url, headers={"HX-Request": "true"})


class TheControl(HelpCase):
    def test_every_page_leads_to_its_own_help(self) -> None:
        self.assertContains(self.client.get(self.mapping_url), f'href="{self.of_mapping.replace("&", "&amp;")}"')
        self.assertContains(self.client.get("/sites/"), 'href="/help/?page=sites"')
        self.assertContains(self.client.get(self.of_mapping), f'hx-get="{self.of_mapping.replace("&", "&amp;")}"')


class TheHelp(HelpCase):
    def test_the_page_has_every_word_and_every_problem(self) -> None:
        page = self.client.get("/help/").content.decode()
        said = [one.text for one in DEFINITIONS.values()] + [one.problem for one in TROUBLES.values()]
        self.assertEqual([words for words in said if words not in page], [])

    def test_the_dialog_is_about_the_page_that_asks(self) -> None:
        answer = self.dialog(self.of_mapping)
        self.assertContains(answer, "Help with goal mapping")
        self.assertContains(answer, "No conversion goals in the list")
        self.assertNotContains(answer, "Invalid UET tag")

    def test_a_problem_leads_to_where_it_is_mended(self) -> None:
        create = reverse("dashboard:account-goal-create", args=[self.site.public_id, self.account.account_id])
        self.assertContains(self.dialog(self.of_mapping), f'href="{create}"')

    def test_nobody_is_led_to_what_their_role_may_not_do(self) -> None:
        Membership.objects.filter(user=self.bob).update(role=Role.VIEWER)
        self.client.force_login(self.bob)
        answer = self.dialog(self.of_mapping)
        self.assertNotContains(answer, "Create a goal")
        self.assertContains(answer, f'href="{self.mapping_url}"')

    def test_without_an_account_it_leads_to_the_accounts(self) -> None:
        answer = self.client.get(f"/help/?page=overview&site={self.site.public_id}")
        self.assertContains(answer, reverse("dashboard:integrations", args=[self.site.public_id]))
        self.assertNotContains(answer, "/accounts//")

    def test_nonsense_asks_for_everything(self) -> None:
        for query in ("page=%00&site=x&account=y", "page=" + "x" * 500, "site=&account="):
            self.assertContains(self.client.get(f"/help/?{query}"), "What words and figures mean")

    def test_another_teams_site_is_not_found(self) -> None:
        self.client.force_login(self.charlie)
        self.assertEqual(self.client.get(self.of_mapping).status_code, 404)


class TheWords(HelpCase):
    def test_a_hint_beside_a_figure_says_what_the_help_says(self) -> None:
        self.assertIn(DEFINITIONS["success-rate"].text, ui.definition("success-rate"))

    def test_every_status_is_told(self) -> None:
        self.assertEqual(STATUSES.keys(), ui.STATUSES.keys())

    def test_the_nearest_topic_counts(self) -> None:
        self.assertEqual(topic_of("account-logs-retry"), topic_of("account-logs"))
        self.assertEqual(topic_of("me").definitions, tuple(DEFINITIONS))


class TheReference(HelpCase):
    def test_it_has_every_call_of_the_script(self) -> None:
        stub = re.findall(r'"(\w+)"', snippets.STUB.partition("[")[2].partition("]")[0])
        page = self.client.get("/help/api/").content.decode()
        self.assertEqual([name for name in [*stub, "clickId", "visitorId"] if f"{name}(" not in page], [])

    def test_it_has_every_call_and_field_of_the_api(self) -> None:
        document = openapi.read()
        fields = document["components"]["schemas"]["BackendEvent"]["properties"]
        page = unescape(self.client.get("/help/api/").content.decode())
        wanted = [*document["paths"], *(f"<code>{name}</code>" for name in fields)]
        self.assertEqual([words for words in wanted if words not in page], [])

    def test_every_field_is_explained(self) -> None:
        shapes = reference.shapes()
        unsaid = [(shape.title, one.name) for shape in shapes for one in shape.members if one.text == (("", False),)]
        self.assertEqual(unsaid, [("user_data of an event", "email"), ("user_data of an event", "phone")])

    def test_install_sdk_leads_there_within_the_site(self) -> None:
        href = f"/help/api/?site={self.site.public_id}"
        self.assertContains(self.client.get(reverse("dashboard:install", args=[self.site.public_id])), href)
        self.assertContains(self.client.get(href), escape(self.site.name))
