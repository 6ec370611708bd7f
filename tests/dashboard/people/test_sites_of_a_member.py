"""A membership opens all sites of its organisation or those it lists: elsewhere the person finds nothing."""

import uuid
from collections.abc import Iterator

from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import URLPattern, URLResolver, reverse
from django.urls.converters import UUIDConverter

from dashboard.urls import of_a_site
from forwarding.models import Delivery, Kind, Status
from ingest.models import Import, ImportFormat, Membership, Role, Site
from integrations.models import AdAccount
from tests.cast import NOON, CastTestCase, make_account, store_event

Parts = dict[str, object]


def named(patterns: list[URLPattern | URLResolver], outer: Parts) -> Iterator[tuple[str, Parts]]:
    """Yield the name of every address of a site, with the parts that its path takes."""
    for pattern in patterns:
        parts = {**outer, **pattern.pattern.converters}
        if isinstance(pattern, URLResolver):
            yield from named(pattern.url_patterns, parts)
        elif pattern.name:
            yield f"dashboard:{pattern.name}", parts


class OneSiteOfTwo(CastTestCase):
    """Bob works for the outlet only; the shop is of the same organisation and has rows of every kind."""

    outlet: Site
    member: Membership
    rows: Parts

    @classmethod
    def setUpTestData(cls) -> None:
        super().setUpTestData()
        cls.outlet = Site.objects.create(organisation=cls.site.organisation, name="Outlet")
        make_account(cls.outlet, "31415")
        cls.member = Membership.objects.get(user=cls.bob)
        cls.member.all_sites = False
        cls.member.save(update_fields=["all_sites"])
        cls.member.sites.set([cls.outlet])
        cls.rows = {
            "account_id": cls.account.account_id,
            "delivery_id": a_delivery(cls.account).public_id,
            "connection_id": cls.account.connection.public_id,
            "import_id": an_import(cls.site).public_id,
        }

    def setUp(self) -> None:
        self.client.force_login(self.bob)

    def addresses(self, site: Site) -> Iterator[str]:
        for name, parts in named(of_a_site, {}):
            guessed = {key: uuid.uuid4() if isinstance(kind, UUIDConverter) else "x" for key, kind in parts.items()}
            known = {key: self.rows.get(key, guess) for key, guess in guessed.items()}
            yield reverse(name, kwargs={"site_id": site.public_id, **known})

    def test_every_address_of_the_other_site_is_not_found(self) -> None:
        for address in self.addresses(self.site):
            answers = {self.client.get(address).status_code, self.client.post(address).status_code}
            with self.subTest(address):
                self.assertIn(404, answers)
                self.assertLessEqual(answers, {404, 405})

    def test_the_sites_page_and_the_switcher_show_their_site_only(self) -> None:
        answer = self.client.get("/sites/")
        self.assertContains(answer, "Outlet")
        self.assertNotContains(answer, "Harbor &amp; Pine<")
        self.assertNotContains(answer, str(self.site.public_id))

    def test_an_account_of_the_other_site_is_not_reached_through_their_own(self) -> None:
        kwargs = {"site_id": self.outlet.public_id, "account_id": self.account.account_id}
        self.assertEqual(self.client.get(reverse("dashboard:account-overview", kwargs=kwargs)).status_code, 404)

    def test_their_own_site_opens_with_its_account(self) -> None:
        kwargs = {"site_id": self.outlet.public_id, "account_id": "31415"}
        self.assertEqual(self.client.get(reverse("dashboard:account-overview", kwargs=kwargs)).status_code, 200)

    def test_rows_are_found_once_however_many_sites_are_listed(self) -> None:
        self.member.sites.set([self.outlet, self.site])
        self.assertEqual(Site.objects.for_user(self.bob).count(), 2)
        self.assertEqual(AdAccount.objects.for_user(self.bob).count(), 2)
        self.assertEqual(Delivery.objects.for_user(self.bob).count(), 1)

    def test_a_listed_site_of_another_organisation_stays_closed(self) -> None:
        elsewhere = self.charlie.memberships.get().organisation.sites.get()
        self.member.sites.add(elsewhere)
        self.assertNotIn(elsewhere, Site.objects.for_user(self.bob))

    def test_nothing_is_left_when_the_last_site_is_taken_away(self) -> None:
        self.member.sites.clear()
        self.assertFalse(Site.objects.for_user(self.bob).exists())

    def test_the_rule_costs_one_query_however_many_sites_there_are(self) -> None:
        Membership.objects.filter(user=self.bob).update(role=Role.ADMIN, all_sites=True)
        for number in range(20):
            Site.objects.create(organisation=self.site.organisation, name=f"Shop {number}")
        with CaptureQueriesContext(connection) as captured:
            self.assertEqual(len(AdAccount.objects.for_user(self.bob)), 2)
        self.assertEqual(len(captured), 1)


def a_delivery(account: AdAccount) -> Delivery:
    """Create a delivered purchase of an account."""
    return Delivery.objects.create(
        account=account,
        event=store_event(account.site),
        kind=Kind.CONVERSION,
        dedupe_key="a key",
        status=Status.DELIVERED,
        created_at=NOON,
        changed_at=NOON,
    )


def an_import(site: Site) -> Import:
    """Create an import of a site that waits for a person."""
    return Import.objects.create(
        site=site,
        file_name="a.csv",
        format=ImportFormat.CONVULTRA,
        time_zone="UTC",
        status=Import.Status.CHECKED,
        created_at=NOON,
    )
