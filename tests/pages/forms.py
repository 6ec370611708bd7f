"""Every form of the product, one row each: where it is met, what is typed, what the page answers.

`post account-test do=send` names a form by method, route and the button that sends it; a form that is in no row fails
`test_forms.py`. What is typed is by field: text, the label of an option, the value of a radio button, "on" for a box.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial

from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import SECRET_SESSION_KEY, TOTP
from allauth.usersessions.models import UserSession
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core import mail
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from dashboard.people import invitations
from forwarding.hands.rules import Action
from forwarding.models import BulkJob, Delivery, TestConversion
from ingest.models import BlockedOrigin, Import, Invitation, Membership, Organisation, Role, ServerKey, Site
from integrations.models import AdAccount, Connection, ConversionGoal, GoalMapping
from tests.cast import PASSWORD
from tests.dashboard.people.test_two_step import SECRET, code_of
from tests.pages.routes import Route, routes
from tests.pages.world import World

NEW_PASSWORD = "kelp-harbour-7-lanterns"
HOSTILE = '"><img src=x onerror=alert(2)>'
CSV = "event_id,name,occurred_at,value,currency,msclkid\nnew-1,purchase,2026-11-20T10:00:00Z,20.00,USD,{}\n".format(
    "a1" * 16
)
BACKEND = "allauth.account.auth_backends.AuthenticationBackend"
MAYA = "maya@brightpath.example"
Prepare = Callable[[World], object]
# Who stands before a form where it is not Maya, signed in, and the address that they open.
Enter = Callable[[World], tuple[Client, str]]


@dataclass(frozen=True, kw_only=True)
class Form:
    """A form, what is typed into it, and what must come of that.

    `page` is the route it is met on, its own where none is said; `rows` are rows of the world other than `World.own`.
    `prepare` makes what the world has not, `enter` somebody who is not signed in, or not all the way. `opens` is what
    opens the form where scripts run, and `plain` the query that does without. Typed nonsense answers `error`, at the
    fields of `wrong`; a form of buttons only takes none.
    """

    key: str
    page: str = ""
    query: str = ""
    rows: Mapping[str, str] = field(default_factory=dict)
    prepare: Prepare | None = None
    enter: Enter | None = None
    opens: str = ""
    plain: str = ""
    fill: Mapping[str, str] = field(default_factory=dict)
    toast: str = ""
    says: str = ""
    shows: str = ""
    lands: str = ""
    changes: type[Model] | None = None
    nonsense: Mapping[str, str] = field(default_factory=dict)
    error: str = ""
    is_answer: bool = False

    def __str__(self) -> str:
        return self.key

    @property
    def method(self) -> str:
        """Return "get" or "post"."""
        return self.key.split()[0]

    @property
    def action(self) -> str:
        """Return the name of the route that answers it."""
        return self.key.split()[1]

    @property
    def submit(self) -> tuple[str, str]:
        """Return the name and value of the button that sends it, empty where it carries none."""
        name, _, value = [*self.key.split(), ""][2].partition("=")
        return name, value

    def path(self, world: World) -> str:
        """Return the address of the page it is met on."""
        return url_of(self.page or self.action, world, self.rows) + self.query.format(**world.own)

    def target(self, world: World) -> str:
        """Return the address that it is sent to."""
        return url_of(self.action, world, self.rows)


def url_of(route: str, world: World, rows: Mapping[str, str]) -> str:
    """Return a route's address with the world's rows; a delivery is named by its state."""
    values = {**world.own, **rows}
    if "delivery_id" in rows:
        values["delivery_id"] = world.deliveries[rows["delivery_id"]].public_id
    return _routes()[route].url(values)


@cache
def _routes() -> dict[str, Route]:
    return {route.key.removeprefix("dashboard:"): route for route in routes()}


def _devices(world: World) -> None:
    """Let Maya be signed in on two other devices."""
    for number in (1, 2):
        UserSession.objects.create(
            pk=number,
            user=world.people["maya"],
            session_key=f"elsewhere-{number}",
            ip=f"192.0.2.{number}",
            user_agent="Firefox",
        )


def _running_job(world: World) -> None:
    BulkJob.objects.filter(account=world.account).update(status=BulkJob.Status.RUNNING, finished_at=None)


def _refused_for_its_goal(world: World) -> None:
    """Let Microsoft have refused a conversion for a goal that is there again."""
    Delivery.objects.filter(pk=world.deliveries["failed"].pk).update(error_code=5606, error_symbol="")


def _second_owner(world: World) -> None:
    """Let Maya not be the only owner: who is cannot leave."""
    Membership.objects.filter(user=world.people["jonas"]).update(role=Role.OWNER)


def _no_auto_tagging(world: World) -> None:
    AdAccount.objects.filter(pk=world.account.pk).update(auto_tagging=False)


def _goal_of_page_views(world: World) -> None:
    """Map what came before it had a goal."""
    goal = world.account.goals.get(name="Purchase")
    GoalMapping.objects.create(account=world.account, event_name="page_view", goal=goal)


def _nobody(route: str, world: World) -> tuple[Client, str]:  # noqa: ARG001 - an Enter
    """Open a page without having signed in."""
    return Client(), reverse(route)


def _after_the_password(world: World) -> tuple[Client, str]:
    """Let Maya have two-step sign-in, and have given her password."""
    _two_step(world)
    client = Client()
    client.post(reverse("account_login"), {"login": MAYA, "password": PASSWORD})
    return client, reverse("mfa_authenticate")


def _by_the_mail(world: World) -> tuple[Client, str]:  # noqa: ARG001 - an Enter
    """Let Maya have asked for a link to a new password."""
    client = Client()
    client.post(reverse("account_reset_password"), {"email": MAYA})
    found = re.search(r"/password/reset/key/\S+", str(mail.outbox[-1].body))
    assert found
    return client, found[0]


def _invited(email: str, world: World) -> str:
    """Return the path of an invitation's link."""
    made = invitations.invite(world.people["maya"], world.site.organisation, email, Role.MARKETER, None, world.now)
    return reverse("dashboard:invitation", args=[made.token])


def _new_person(world: World) -> tuple[Client, str]:
    """Invite somebody who has no account."""
    return Client(), _invited("nora@brightpath.example", world)


def _known_person(world: World) -> tuple[Client, str]:
    """Invite Theo of Tallis Vinyl, who opened the link and then signed in."""
    client, kept = Client(), reverse("dashboard:invitation-kept")
    client.get(_invited("theo@brightpath.example", world))
    client.post(reverse("account_login"), {"login": "theo@brightpath.example", "password": PASSWORD, "next": kept})
    return client, kept


def _confirmed(route: str, world: World) -> tuple[Client, str]:
    """Let Maya have given her password again."""
    if route != "mfa_activate_totp":
        _two_step(world)
    client = Client()
    client.force_login(world.people["maya"], backend=BACKEND)
    client.post(reverse("account_reauthenticate"), {"password": PASSWORD})
    return client, reverse(route)


def _two_step(world: World) -> None:
    TOTP.activate(world.people["maya"], SECRET)
    RecoveryCodes.activate(world.people["maya"])


def _recovery_code(world: World) -> str:
    kept = Authenticator.objects.get(user=world.people["maya"], type=Authenticator.Type.RECOVERY_CODES)
    codes: list[str] = kept.wrap().get_unused_codes()
    return codes[0]


def _shown_secret() -> str:
    """Return the secret that a page has just shown for an app: no other session holds one."""
    sessions = (one.get_decoded() for one in Session.objects.all())
    return next(str(kept[SECRET_SESSION_KEY]) for kept in sessions if SECRET_SESSION_KEY in kept)


# What is typed that only the world knows.
TYPED: Mapping[str, Callable[[World], str]] = {
    "account": lambda world: world.account.name,
    "order": lambda world: world.deliveries["delivered"].transaction_id,
    "code": lambda world: code_of(SECRET, world.now.timestamp()),
    "new_code": lambda world: code_of(_shown_secret(), world.now.timestamp()),
    "recovery": _recovery_code,
}


def spelled(value: str, world: World) -> str:
    """Return what is typed, with the world's words in it."""
    return value.format(**{name: word(world) for name, word in TYPED.items() if f"{{{name}}}" in value})


SIGN_IN = "?sign_in={connection_id}"
OF_DELIVERIES = (
    Form(
        key="post account-delivery-retry",
        rows={"delivery_id": "failed"},
        prepare=_refused_for_its_goal,
        toast="Retry queued",
        changes=Delivery,
    ),
    Form(key="post account-delivery-hold", rows={"delivery_id": "pending"}, toast="Held", changes=Delivery),
    Form(key="post account-delivery-release", rows={"delivery_id": "held"}, toast="Released", changes=Delivery),
    Form(key="post account-delivery-cancel", rows={"delivery_id": "pending"}, toast="Cancelled", changes=Delivery),
    Form(
        key="post account-delivery-restate",
        rows={"delivery_id": "delivered"},
        fill={"value": "99.95"},
        toast="Restatement queued",
        changes=Delivery,
        nonsense={"value": "a lot"},
        error="as a number, such as 99.95",
    ),
    Form(
        key="post account-delivery-retract",
        rows={"delivery_id": "delivered"},
        fill={"name": "{order}"},
        toast="Retraction queued",
        changes=Delivery,
        nonsense={"name": HOSTILE},
        error="exactly as it is written here",
    ),
)
OF_LISTS = (
    Form(
        key="post account-logs-retry",
        query="?status=failed",
        prepare=_refused_for_its_goal,
        says="Retrying",
        changes=BulkJob,
    ),
    Form(key="post account-logs-hold", query="?status=pending", says="Holding", changes=BulkJob),
    Form(key="post account-logs-release", query="?status=pending", says="Releasing", changes=BulkJob),
    Form(key="post account-logs-cancel", query="?status=pending", says="Cancelling", changes=BulkJob),
    Form(
        key="post account-logs-restate",
        fill={"value": "9.50"},
        says="Restating",
        changes=BulkJob,
        nonsense={"value": "-1"},
        error="cannot be negative",
    ),
    Form(
        key="post account-logs-retract",
        fill={"name": "{account}"},
        says="Retracting",
        changes=BulkJob,
        nonsense={"name": "another"},
        error="exactly as it is written here",
    ),
    Form(key="post account-job-stop", page="account-logs", prepare=_running_job, says="Stopped", changes=BulkJob),
    Form(key="post account-job-dismiss", page="account-logs", says="", changes=BulkJob),
)
OF_ACCOUNTS = (
    Form(key="post account-pause", toast="Forwarding paused", changes=AdAccount),
    Form(
        key="post account-resume",
        page="account-overview",
        rows={"account_id": "138204422"},
        toast="Forwarding resumed",
        changes=AdAccount,
    ),
    Form(
        key="post account-remove",
        fill={"name": "{account}"},
        toast="Search – US removed",
        changes=AdAccount,
        nonsense={"name": "another"},
        error="exactly as it is written here",
    ),
    Form(
        key="post account-settings",
        fill={"uet_tag_id": "187009441", "restates_from_backend": "on"},
        toast="Settings saved",
        changes=AdAccount,
        nonsense={"uet_tag_id": "no tag"},
        error="tag",
    ),
    Form(
        key="post account-mapping",
        fill={"new-event": "newsletter", "new-goal": "Account Registration"},
        toast="Mapping saved",
        changes=GoalMapping,
        nonsense={"r0-value": "Fixed value", "r0-when": "value is 10"},
        error="Enter the fixed value as a number",
    ),
    Form(
        key="post account-mapping preview=1",
        page="account-mapping",
        fill={"r0-when": "value > 10"},
        is_answer=True,
        says="Nothing is saved yet.",
        nonsense={"r0-when": "value >"},
        error="condition",
    ),
    Form(key="post account-goals-sync", page="account-mapping", toast="Goals synced", changes=ConversionGoal),
    Form(
        key="post account-mapping-file",
        fill={"text": "accounts: {{}}"},
        says="This file changes",
        is_answer=True,
        nonsense={"text": "accounts: ["},
        error="This file was not taken",
    ),
    Form(
        key="post account-mapping-replay",
        query="?event=page_view",
        prepare=_goal_of_page_views,
        toast="See Forward Logs.",
        changes=Delivery,
    ),
    Form(
        key="post account-goal-create",
        fill={"name": "Phone order", "currency": "USD"},
        toast="Goal “Phone order” created",
        changes=ConversionGoal,
        nonsense={"name": "Phone order", "currency": "US1"},
        error="three letters",
    ),
    Form(
        key="post account-test do=send",
        fill={"value": "1.50"},
        says="Checking…",
        changes=TestConversion,
        nonsense={"value": "free"},
        error="as a number, such as 99.95",
    ),
    Form(
        key="post account-test do=dry",
        fill={"value": "1.50"},
        says="Nothing was sent",
        is_answer=True,
        nonsense={"value": "free"},
        error="as a number, such as 99.95",
    ),
    Form(key="post account-auto-tagging", prepare=_no_auto_tagging, toast="Auto-tagging is on", changes=AdAccount),
)
CONNECTING = (
    Form(
        key="post connect-accounts",
        query=SIGN_IN,
        fill={"account": "138204431"},
        says="We match by click ID alone.",
        changes=AdAccount,
    ),
    Form(
        key="post connect-uet",
        query=SIGN_IN,
        fill={"tag-138204417": "187009441"},
        says="Map your events to goals",
        changes=AdAccount,
        nonsense={"tag-138204417": "other", "other-138204417": "no tag"},
        error="tag",
    ),
    Form(
        key="post connect-goals",
        query=SIGN_IN,
        fill={"goal-2": "Purchase"},
        says="Account 2 of 2",
        changes=GoalMapping,
    ),
    Form(
        key="post connect-goals sync=1",
        query=SIGN_IN,
        says="Goals are up to date",
        is_answer=True,
        changes=ConversionGoal,
    ),
    Form(
        key="post connect-enhanced",
        query=SIGN_IN,
        fill={"enhanced-138204422": "on"},
        says="Send a test conversion",
        changes=AdAccount,
    ),
    Form(
        key="post connect-test",
        query=SIGN_IN,
        fill={"value": "1.50"},
        says="Checking…",
        changes=TestConversion,
        nonsense={"value": "free"},
        error="as a number, such as 99.95",
    ),
    Form(
        key="post microsoft-connect",
        page="integrations",
        opens='[data-opens="m-connect"]',
        lands="/oauth2/v2.0/authorize?",
    ),
    Form(key="post connection-sync", page="integrations", toast="Accounts synced", changes=AdAccount),
    Form(key="post connection-disconnect", toast="is disconnected", changes=Connection),
)
OF_THE_SITE = (
    Form(
        key="post site-settings",
        fill={"name": "Harbor", "currency": "EUR", "event_retention_days": "400", "consent_policy": "require"},
        toast="Settings saved",
        changes=Site,
        nonsense={"name": " ", "event_retention_days": "soon"},
        error="Enter a name.",
    ),
    Form(
        key="post sites",
        query="?new=1",
        fill={"address": "www.harborpine.example"},
        toast="added",
        changes=Site,
        nonsense={"address": "no address"},
        error="Enter the address of a website",
    ),
    Form(
        key="post keys",
        query="?new",
        fill={"name": "Order service"},
        says="Copy it now",
        is_answer=True,
        changes=ServerKey,
        nonsense={"name": " "},
        error="Enter where the key is used",
    ),
    Form(key="post key-revoke", toast="is revoked", changes=ServerKey),
    Form(key="post install-allow", page="install", toast="is allowed", changes=BlockedOrigin),
    Form(
        key="post imports",
        opens='a[href$="?new=1"]',
        plain="?new=1",
        fill={"file": CSV},
        says="typed.csv",
        changes=Import,
        nonsense={"file": ""},
        error="empty",
    ),
    Form(key="post import-confirm", page="import", says="Importing", changes=Import),
    Form(key="post import-cancel", page="import", says="ancelled", changes=Import),
    Form(key="post reconciliation-read", page="reconciliation", toast="Reading Microsoft’s report", changes=AdAccount),
)
OF_PEOPLE = (
    Form(
        key="post team-invite",
        page="team",
        opens='a[href*="new=1"]',
        plain="?new=1",
        fill={"email": "nora@brightpath.example"},
        toast="Invitation sent",
        changes=Invitation,
        nonsense={"email": "nora@brightpath"},
        error="Enter an email address, such as name@example.com.",
    ),
    Form(key="post invitation-resend", page="team", toast="Invitation sent", changes=Invitation),
    Form(key="post invitation-revoke", page="team", toast="Invitation revoked", changes=Invitation),
    Form(key="post team-member", fill={"reach": "all"}, toast="It holds from the next page on.", changes=Membership),
    Form(key="post team-leave", prepare=_second_owner, toast="You left Brightpath Media", changes=Membership),
    Form(key="post team-remove", toast="is removed", changes=Membership),
    Form(
        key="post organisation-rename",
        fill={"name": "Brightpath"},
        toast="Name saved",
        changes=Organisation,
        nonsense={"name": " "},
        error="Enter a name.",
    ),
    Form(
        key="post me-name",
        page="me",
        fill={"name": "Maya O."},
        toast="Name saved",
        changes=User,
        nonsense={"name": " "},
        error="Enter a name.",
    ),
    Form(key="post me-theme", page="me", fill={"theme": "dark"}, toast="Theme saved"),
    Form(key="post me-device-end", page="me", prepare=_devices, toast="Device signed out", changes=UserSession),
    Form(
        key="post me-devices-end", page="me", prepare=_devices, toast="Signed out everywhere else", changes=UserSession
    ),
)
SIGNING_IN = (
    Form(
        key="post account_change_password",
        fill={"oldpassword": PASSWORD, "password1": NEW_PASSWORD, "password2": NEW_PASSWORD},
        toast="Password changed",
        changes=User,
        nonsense={"oldpassword": "not it", "password1": NEW_PASSWORD, "password2": NEW_PASSWORD},
        error="This is not your present password.",
    ),
    Form(
        key="post account_reauthenticate",
        fill={"password": PASSWORD},
        says="Sites",
        nonsense={"password": "not it"},
        error="password",
    ),
    Form(
        key="post account_login",
        enter=partial(_nobody, "account_login"),
        fill={"login": MAYA, "password": PASSWORD},
        says="Sites",
        changes=Session,
        nonsense={"login": MAYA, "password": "not it"},
        error="That email and password do not match",
    ),
    Form(
        key="post mfa_authenticate",
        enter=_after_the_password,
        fill={"code": "{code}"},
        says="Sites",
        changes=Authenticator,
        nonsense={"code": "no code"},
        error="That code is not right",
    ),
    Form(
        key="post mfa_authenticate",
        enter=_after_the_password,
        fill={"code": "{recovery}"},
        says="Sites",
        changes=Authenticator,
    ),
    Form(
        key="post account_reset_password",
        enter=partial(_nobody, "account_reset_password"),
        fill={"email": MAYA},
        says="a link is on its way",
        nonsense={"email": "maya@nowhere"},
        error="email address",
    ),
    Form(
        key="post account_reset_password_from_key",
        enter=_by_the_mail,
        fill={"password1": NEW_PASSWORD, "password2": NEW_PASSWORD},
        says="Your password is changed",
        changes=User,
        nonsense={"password1": NEW_PASSWORD, "password2": "kelp-harbour-7-lantern"},
        error="You must type the same password each time.",
    ),
    Form(
        key="post invitation",
        enter=_new_person,
        fill={"name": "Nora Lind", "password": NEW_PASSWORD},
        toast="You joined Brightpath Media",
        changes=User,
        nonsense={"name": " ", "password": NEW_PASSWORD},
        error="Enter a name.",
    ),
    Form(key="post invitation-kept", enter=_known_person, toast="You joined Brightpath Media", changes=Membership),
    Form(
        key="post mfa_activate_totp",
        enter=partial(_confirmed, "mfa_activate_totp"),
        fill={"code": "{new_code}"},
        says="10 of 10 are left",
        changes=Authenticator,
        nonsense={"code": "no code"},
        error="This code is not right",
    ),
    Form(
        key="post mfa_deactivate_totp",
        enter=partial(_confirmed, "mfa_deactivate_totp"),
        says="Your account",
        changes=Authenticator,
    ),
    Form(
        key="post mfa_generate_recovery_codes",
        enter=partial(_confirmed, "mfa_generate_recovery_codes"),
        says="10 of 10 are left",
        changes=Authenticator,
    ),
    Form(key="post account_logout", page="me", toast="Signed out", changes=Session),
)
FILTERS = (
    Form(key="get account-logs", fill={"q": "no-such-order"}, says="no-such-order"),
    Form(key="get audit", fill={"q": "nothing-like-it"}, says="Nothing"),
    Form(key="get events", page="site-settings", fill={"q": "no-such-order"}, says="no-such-order"),
    Form(key="get search", page="me", fill={"q": "no-such-order"}, says="no-such-order"),
    Form(key="get install", fill={"page": "https://shop.harborpine.example/sale"}, shows='#open-page[href*="/sale"]'),
    Form(key="get overview", fill={"account": "Canada"}, lands="account=138204460"),
    Form(key="get reconciliation", fill={"days": "Last 90 days"}, lands="days=90"),
)
FORMS = (*OF_DELIVERIES, *OF_LISTS, *OF_ACCOUNTS, *CONNECTING, *OF_THE_SITE, *OF_PEOPLE, *SIGNING_IN, *FILTERS)
# A form without a button: its boxes are links, or the step that it frames is the last.
NOT_SENT = {"get sites", "post connect-done"}
# Doors of people who are not signed in, or not all the way, that have no form behind them.
FORMLESS = {
    *("account_inactive", "account_signup", "account_reset_password_done", "account_reset_password_from_key_done"),
    *("mfa_index", "home"),
}
# What is chosen in a list of Forward Logs; tests/dashboard/logs/test_chosen.py sends these.
DRIVEN_ELSEWHERE = {f"post account-logs-chosen-{action}" for action in Action}
