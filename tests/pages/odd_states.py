"""Pages that the owner's own walk never shows: before the door, refused, broken, staff's, or with something under way.

Each is entered in a session of its own. They change the world (a key is made, a job runs), so they come last.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from unittest import mock

from allauth.account.forms import default_token_generator
from allauth.account.utils import user_pk_to_url_str
from allauth.mfa.totp.internal.auth import TOTP
from django.test import Client
from django.urls import reverse
from playwright.sync_api import Page

from dashboard.people import invitations
from forwarding.models import BulkJob, Delivery
from ingest.models import Membership, Organisation, Role, Site
from tests.cast import PASSWORD, make_user
from tests.pages.serving import BACKEND, Served

# Forty-three characters, as a secret has; the same in each picture.
SECRET = "Qm3vX9aBzT1nK8wLrE5yHs0uJdPfGc7iVo2xMb4tNqA"
TWO_STEP_SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


@dataclass(frozen=True)
class State:
    """A state to draw: its name, whose session shows it and at which path, its heading, and what is done there."""

    name: str
    client: Client
    path: str
    says: str
    act: Callable[[Page], None] = lambda _: None
    only_phones: bool = False


@contextmanager
def odd_states(served: Served) -> Iterator[list[State]]:
    """Yield the states. What the product makes by chance is the same each time meanwhile, and one page is broken."""
    with (
        mock.patch("ingest.models.secrets.token_urlsafe", return_value=SECRET),
        mock.patch("allauth.mfa.totp.internal.auth.generate_totp_secret", return_value=TWO_STEP_SECRET),
        mock.patch("convultra.errors.uuid4", return_value=mock.Mock(hex="5d41402abc4b2a76b9719d911017c592")),
        mock.patch("dashboard.help.views.reference.calls", side_effect=RuntimeError("a page that broke")),
    ):
        yield [*_at_the_door(served), *_refused(served), *_busy(served), *_staffs(served)]


def _at_the_door(served: Served) -> list[State]:
    people, nobody = served.world.people, Client()
    key = f"{user_pk_to_url_str(people['lin'])}-{default_token_generator.make_token(people['lin'])}"
    uidb36, _, token = key.partition("-")
    asked_to = served.world.site.organisation
    invited = invitations.invite(
        people["maya"], asked_to, "nora@brightpath.example", Role.MARKETER, None, served.world.now
    )
    TOTP.activate(people["jonas"], TWO_STEP_SECRET)
    second_step = Client()
    second_step.post(reverse("account_login"), {"login": people["jonas"].email, "password": PASSWORD})
    confirmed = served.client("maya")
    confirmed.post(reverse("account_reauthenticate"), {"password": PASSWORD})
    sign_in = reverse("account_login")
    reset = reverse("account_reset_password_from_key", args=[uidb36, token])
    return [
        State("sign-in", nobody, sign_in, "Sign in"),
        State("sign-in-error", nobody, sign_in, "Sign in", _mistyped),
        State("password-reset", nobody, reverse("account_reset_password"), "Reset your password"),
        State("password-new", nobody, reset, "Choose a new password"),
        State("invitation", Client(), reverse("dashboard:invitation", args=[invited.token]), "Join Brightpath Media"),
        State(
            "invitation-ended",
            Client(),
            reverse("dashboard:invitation", args=["ended"]),
            "This invitation does not work",
        ),
        State("two-step", second_step, reverse("mfa_authenticate"), "Enter your code"),
        State("two-step-on", confirmed, reverse("mfa_activate_totp"), "Turn two-step sign-in on"),
    ]


def _mistyped(tab: Page) -> None:
    tab.fill("input[name=login]", "maya@brightpath.example")
    tab.fill("input[name=password]", "not my password")
    tab.press("input[name=password]", "Enter")
    tab.wait_for_load_state("load")


def _refused(served: Served) -> list[State]:
    keys = reverse("dashboard:keys", args=[served.world.site.public_id])
    return [
        State("403", served.client("sofia"), keys, "Your role does not include this"),
        State("500", served.client("maya"), reverse("dashboard:help-api"), "Something broke on our side"),
    ]


def _busy(served: Served) -> list[State]:
    world, maya = served.world, served.client("maya")
    newcomer = Client()
    nora = make_user("nora")
    Membership.objects.create(
        user=nora, organisation=Organisation.objects.create(name="Orchard & Mill"), role=Role.OWNER
    )
    newcomer.force_login(nora, backend=BACKEND)
    BulkJob.objects.filter(account=world.account).update(
        status=BulkJob.Status.RUNNING, total=1_204, seen=612, changed=588, refused={}, finished_at=None
    )
    logs = reverse("dashboard:account-logs", args=[world.site.public_id, world.account.account_id])
    overview = reverse("dashboard:overview", args=[world.site.public_id])
    new_key = f"{reverse('dashboard:keys', args=[world.site.public_id])}?new"
    return [
        State("sites-empty", newcomer, reverse("dashboard:sites"), "Add your first site"),
        State("job-running", maya, logs, "612"),
        State("keys-created", maya, new_key, "Create a secret key", _key_created),
        State("menu-open", maya, overview, "Overview", _menu_open, only_phones=True),
    ]


def _key_created(tab: Page) -> None:
    form = tab.locator("form").filter(has=tab.locator("input[name=key_id]")).first
    form.locator("input[name=name]").fill("Order service")
    form.locator("button[type=submit]").click()
    tab.locator("#new-key").wait_for()


def _menu_open(tab: Page) -> None:
    tab.get_by_role("button", name="Open navigation").click()


def _staffs(served: Served) -> list[State]:
    sam, row = served.client("sam"), Delivery.objects.filter(account=served.world.account).latest("pk")
    site = Site.objects.get(pk=served.world.site.pk)
    return [
        State("admin-index", sam, reverse("admin:index"), "Operations"),
        State("admin-list", sam, reverse("admin:forwarding_delivery_changelist"), "deliver"),
        State("admin-view", sam, reverse("admin:forwarding_delivery_change", args=[row.pk]), "deliver"),
        State("admin-form", sam, reverse("admin:ingest_site_change", args=[site.pk]), site.write_key),
    ]
