"""Every list and form of the staff's admin in a real browser, light and dark, on a desk and on a phone.

The pages come from the resolver; a table that is registered is walked without being named here.
"""

from datetime import datetime
from unittest import mock

import pytest
from django.contrib.admin import ModelAdmin
from django.contrib.auth.models import Group
from django.db.models import Model
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django_q.models import Failure, OrmQ, Schedule, Success
from playwright.sync_api import Browser

from forwarding.models import Alert, Breaker
from ingest.models import Bucket
from tests.pages.routes import Route, routes
from tests.pages.serving import PageAt, Served, is_whole_page
from tests.pages.test_walk import NARROW, OF_COLOURS, WIDE, Walk, demand_none
from tests.support.signing_in import work_on_ticket

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

# One of each is enough: they look the same for every table.
ONCE = ("history", "delete")
# A page of a list with its paginator: a hundred rows alike would take a minute to look through.
ROWS = 8


def test_every_page_of_the_admin_is_accessible(browser: Browser, served: Served, axe: str) -> None:
    add_rows(timezone.now())
    client = served.client("sam")
    work_on_ticket(client)
    with mock.patch.object(ModelAdmin, "list_per_page", ROWS), served.context(browser, "sam", viewport=WIDE) as context:
        served.hand_over(client, context)
        walk = Walk(served, context, axe)
        for number, at in enumerate(pages(served, client)):
            walk.open(at)
            walk.look()
            if number:  # the same list of tables is on every page
                walk.page.evaluate("document.querySelector('#nav-sidebar')?.replaceChildren()")
            check(walk)
    demand_none(walk)


def check(walk: Walk) -> None:
    """Run axe light and dark, and demand that a phone does not scroll sideways."""
    for theme, rules in (("light", None), ("dark", OF_COLOURS)):
        # Preloading, axe puts a style element in for each style sheet that imports another. The policy refuses those.
        walk.page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
        for violation in walk.page.evaluate("rules => looking.axe(rules, { preload: false })", rules):
            walk.note(f"{theme}: {violation}")
    walk.page.set_viewport_size(NARROW)
    if (over := walk.page.evaluate("looking.sideways()")) > 0:
        walk.note(f"scrolls sideways by {over} px on a phone")
    walk.page.set_viewport_size(WIDE)


def pages(served: Served, client: Client) -> list[PageAt]:
    """Return every list, and the pages to add and to change a row, that staff can open."""
    found = [PageAt(route.key, route.key, route.url({})) for route in routes() if route.is_admins and is_walked(route)]
    found += [page_of(row) for state, row in served.world.deliveries.items() if state in ("restated", "failed")]
    return [at for at in found if (r := client.get(at.path)).status_code == 200 and is_whole_page(r)]


def is_walked(route: Route) -> bool:
    """Say whether an address is no repetition of another."""
    page = route.key.rpartition("_")[2]
    return page not in ONCE or route.key.startswith("admin:ingest_site_")


def page_of(row: Model) -> PageAt:
    """Return the page of one row."""
    key = f"admin:{row._meta.app_label}_{row._meta.model_name}_change"
    return PageAt(key, key, reverse(key, args=[row.pk]))


def add_rows(now: datetime) -> None:
    """Add what customers' pages never show, and the staff's do."""
    Group.objects.create(name="Support")
    OrmQ.objects.create(key="convultra", payload="", lock=now)
    Schedule.objects.create(name="Nightly", func="forwarding.tasks.sweep", next_run=now)
    for number, model in enumerate((Success, Failure)):
        model.objects.create(
            id=f"{number}" * 32,
            name="sweep",
            func="forwarding.tasks.sweep",
            started=now,
            stopped=now,
            success=not number,
        )
    Breaker.objects.create(name="developer token", failures=3, open_until=now)
    Alert.objects.create(cause="worker", subject="Nothing is sent", text="…", opened_at=now)
    Bucket.objects.create(name="key:1", used=3, granted=1, at=now.timestamp())
