"""The search of pages above the sites: it leads to the site that has it, and names them where several have."""

from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from forwarding.models import Status
from ingest.hashing import hash_email
from ingest.models import Membership, Site
from tests.cast import CLICK_ID, CastTestCase, store_event
from tests.dashboard.accounts import deliver

URL = "/search/"
MAX_QUERIES = 12


class TheSearch(CastTestCase):
    def setUp(self) -> None:
        self.client.force_login(self.alice)
        self.other = self.sibling("Outlet")

    def sibling(self, name: str) -> Site:
        return Site.objects.create(organisation=self.site.organisation, name=name)

    def events_of(self, site: Site, text: str) -> str:
        return f"{reverse('dashboard:events', args=[site.public_id])}?q={text}"

    def test_it_is_on_every_page_of_the_organisation(self) -> None:
        for name in ("sites", "team", "audit", "me", "help", "search"):
            with self.subTest(name):
                page = self.client.get(reverse(f"dashboard:{name}"))
                self.assertContains(
                    page, f'class="gsearch" role="search" aria-label="All your sites" method="get" action="{URL}"'
                )
                self.assertContains(page, "data-main-search")

    def test_it_goes_to_the_one_site_that_has_it_by_whatever_id(self) -> None:
        event = store_event(
            self.other, transaction_id="HP-7", external_id="crm-7", email_sha256=hash_email("jane@example.com")
        )
        for text in (event.event_id, "HP-7", "crm-7", event.email_sha256):
            with self.subTest(text):
                self.assertRedirects(
                    self.client.get(URL, {"q": text}), self.events_of(self.other, text), fetch_redirect_response=False
                )

    def test_it_finds_a_click_id_in_what_was_made_of_events(self) -> None:
        deliver(self.goal, Status.DELIVERED)
        answer = self.client.get(URL, {"q": CLICK_ID.upper()})
        self.assertRedirects(answer, self.events_of(self.site, CLICK_ID.upper()), fetch_redirect_response=False)

    def test_an_address_of_a_person_stays_in_no_address_of_a_page(self) -> None:
        answer = self.client.get(URL, {"q": "Jane@Example.com"})
        self.assertRedirects(answer, f"{URL}?q={hash_email('jane@example.com')}", fetch_redirect_response=False)

    def test_it_names_the_sites_where_several_have_it(self) -> None:
        for site in (self.site, self.other):
            store_event(site, transaction_id="HP-8")
        page = self.client.get(URL, {"q": "HP-8"})
        self.assertContains(page, "2 sites have")
        for site in (self.site, self.other):
            self.assertContains(page, self.events_of(site, "HP-8"))

    def test_it_says_that_none_has_it_and_offers_to_look_in_one(self) -> None:
        page = self.client.get(URL, {"q": "HP-9"})
        self.assertContains(page, "No site has")
        self.assertContains(page, self.events_of(self.other, "HP-9"))

    def test_it_knows_nothing_of_a_strangers_site_or_of_one_that_the_person_may_not_see(self) -> None:
        store_event(self.charlie_site(), transaction_id="HP-10")
        hidden = self.sibling("Hidden")
        store_event(hidden, transaction_id="HP-10")
        bobs = Membership.objects.get(user=self.bob)
        bobs.all_sites = False
        bobs.save(update_fields=["all_sites"])
        bobs.sites.set([self.site])
        self.client.force_login(self.bob)
        page = self.client.get(URL, {"q": "HP-10"})
        self.assertContains(page, "No site has")
        self.assertNotContains(page, "Hidden")

    def charlie_site(self) -> Site:
        return Site.objects.get(name="Charlie's shop")

    def test_nonsense_finds_nothing(self) -> None:
        for query in ("", "q=", "q=%00", "q=%ED%A0%80", "q=" + "x" * 5000, "q=@", "find"):
            with self.subTest(query=query[:20]):
                self.assertEqual(self.client.get(f"{URL}?{query}").status_code, 200)

    def test_the_number_of_queries_does_not_grow_with_the_sites(self) -> None:
        for number in range(9):
            store_event(self.sibling(f"Site {number}"), transaction_id="HP-11")
        with CaptureQueriesContext(
            connection,
        ) as seen:
            self.client.get(URL, {"q": "HP-11"})
        self.assertLess(len(seen), MAX_QUERIES)
