"""What the steps after a Microsoft sign-in have in common.

A step's address names the sign-in (`?sign_in=`), and for goals the account, so that leaving, Back and a second window
lose nothing: what was saved is in the rows.
"""

from typing import NamedTuple
from urllib.parse import urlencode
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone

from dashboard.frame import zone_of
from dashboard.guards import CONNECT, site_for
from dashboard.toasts import say_next
from ingest.models import Site
from integrations.models import AdAccount, Connection


class Step(NamedTuple):
    """A step of the set-up; the key is also the end of its URL and of its URL's name."""

    key: str
    label: str


STEPS = (
    Step("accounts", "Accounts"),
    Step("uet", "UET tag"),
    Step("goals", "Goals"),
    Step("enhanced", "Enhanced conversions"),
    Step("test", "Send a test"),
    Step("done", "Done"),
)


class Setup(NamedTuple):
    """What every step works on: the site, the sign-in and its active accounts, by name."""

    site: Site
    connection: Connection
    accounts: list[AdAccount]

    def url(self, step: str, account: AdAccount | None = None) -> str:
        """Return the address of a step of this set-up."""
        query = {"sign_in": str(self.connection.public_id)} | ({"account": account.account_id} if account else {})
        return f"{reverse(f'dashboard:connect-{step}', args=[self.site.public_id])}?{urlencode(query)}"


def enter(request: HttpRequest, site_id: UUID, *, needs_accounts: bool = False) -> Setup | HttpResponse:
    """Return what the step works on, or where to go instead.

    Raises Http404 for a sign-in that the site does not have.
    """
    site, _ = site_for(request, site_id, *CONNECT)
    connection = _sign_in(request, site)
    if connection is None:
        say_next(request, "info", "Connect Microsoft Advertising first", "The steps follow after the sign-in.")
        return redirect("dashboard:integrations", site.public_id)
    if not connection.is_usable:
        say_next(request, "bad", f"{connection} needs someone first", "Its card says what to do.")
        return redirect("dashboard:integrations", site.public_id)
    accounts = list(connection.ad_accounts.filter(is_active=True).order_by("name", "pk"))
    setup = Setup(site, connection, accounts)
    if needs_accounts and not accounts:
        return redirect(setup.url("accounts"))
    return setup


def _sign_in(request: HttpRequest, site: Site) -> Connection | None:
    asked = request.GET.get("sign_in", "")
    if not asked:
        usable = site.connections.filter(status=Connection.Status.CONNECTED)
        return usable.order_by("-connected_at", "-pk").first()
    try:
        found = site.connections.filter(public_id=UUID(asked)).first()
    except ValueError as error:
        raise Http404 from error
    if found is None:
        raise Http404
    return found


def step_frame(request: HttpRequest, setup: Setup, key: str) -> dict[str, object]:
    """Return the context that every step's page needs; `key` is the step's."""
    place = next(i for i, step in enumerate(STEPS) if step.key == key)
    steps = [
        (step.label, setup.url(step.key) if i < place else "", "done" if i < place else "", i == place)
        for i, step in enumerate(STEPS)
    ]
    return {
        "site": setup.site,
        "zone": zone_of(setup.site),
        "now": timezone.now(),
        "connection": setup.connection,
        "accounts": setup.accounts,
        "step": STEPS[place],
        "steps": steps,
        "here": request.get_full_path(),
        "previous": setup.url(STEPS[place - 1].key) if place else "",
        "next": setup.url(STEPS[place + 1].key) if place + 1 < len(STEPS) else "",
        "can_connect": True,
    }
