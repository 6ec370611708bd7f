"""Sign-in: who may have an account, how failures are counted, and what a locked-out person is told."""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter, get_adapter
from allauth.account.views import LoginView
from allauth.core import context
from axes.handlers.proxy import AxesProxyHandler
from axes.helpers import get_cool_off
from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import PermissionDenied
from django.forms import Form
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

DEMO_EMAIL = "maya@harborpine.example"
DEMO_PASSWORD = "harbor-and-pine"  # noqa: S105 - public: `make demo` makes this person on this machine only
MAX_EMAIL_CHARS = 254  # RFC 3696, erratum 1690


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # allauth ships no types
    """People are invited or made by `manage.py create_site`; nobody signs up by themselves."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:  # noqa: ARG002
        return False

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Leave failures to axes: its count is in the database, shared by all processes and by the admin's form."""

    def reauthenticate(self, user: User, password: str) -> bool:
        """Ask a signed-in person's password again, by the address that everybody signs in with; axes counts it."""
        found = self.authenticate(context.request, email=user.email, password=password)
        return found is not None and found.pk == user.pk

    def get_reauthentication_methods(self, user: User | AnonymousUser) -> list[dict[str, str]]:
        """Before two-step sign-in is changed the password is asked again, and nothing else."""
        if not user.is_authenticated:
            return []
        url = reverse("account_reauthenticate")
        return [{"id": "reauthenticate", "description": "Use your password", "url": url}]

    def get_password_change_redirect_url(self, request: HttpRequest) -> str:  # noqa: ARG002
        """Return where a changed password leads: back to the person's own page."""
        return reverse("dashboard:me")

    def get_reset_password_from_key_url(self, key: str) -> str:
        """Return the link of the e-mail, on the configured address: a Host header must not choose where it leads."""
        path: str = super().get_reset_password_from_key_url(key)
        return settings.PUBLIC_URL + "/" + path.partition("://")[2].partition("/")[2]

    def format_email_subject(self, subject: str) -> str:
        """Return the subject as it is written."""
        return subject


class SignIn(LoginView):  # type: ignore[misc]
    """The sign-in page; after a failure it says how many tries are left."""

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        ctx: dict[str, Any] = super().get_context_data(**kwargs)
        demo = (DEMO_EMAIL, DEMO_PASSWORD) if settings.DEMO else ("", "")
        return ctx | dict(zip(("demo_email", "demo_password"), demo, strict=True))

    def form_invalid(self, form: Form) -> HttpResponse:
        """Answer 422. An unknown address and a wrong password are told in the same words."""
        ctx = self.get_context_data(form=form, tries_left=tries_left(self.request), pause_minutes=pause_minutes())
        response: HttpResponse = self.render_to_response(ctx, status=422)
        return response


def attempted_email(request: HttpRequest | None, credentials: dict[str, Any] | None = None) -> str:
    """Return the e-mail address that a sign-in was tried with, for the counter of failures."""
    given = credentials or {}
    posted = request.POST if request is not None else {}
    email = given.get("email") or given.get("username") or posted.get("login") or posted.get("username") or ""
    # What no address can be must not fail the counter's own columns.
    return str(email).replace("\0", "").strip().lower()[:MAX_EMAIL_CHARS]


def client_address(request: HttpRequest) -> str | None:
    """Return where a sign-in comes from: what the one proxy says (BEHIND_PROXY), else the connection's other end.

    One rule for both who count by address, allauth and axes. None when it is no address; allauth then refuses to sign
    in, while axes, which is also told of sign-outs, has to go on.
    """
    try:
        address: str = get_adapter().get_client_ip(request)
    except PermissionDenied:
        return None
    return address


def tries_left(request: HttpRequest, email: str = "") -> int:
    """Return how often an address, the posted one if none is named, may still be tried from here before the pause."""
    failures: int = AxesProxyHandler.get_failures(request, {"username": email or attempted_email(request)})
    left: int = settings.AXES_FAILURE_LIMIT - failures
    return max(left, 0)


def pause_minutes() -> int:
    """Return how long a pause lasts, counted from the last try."""
    minutes: float = get_cool_off().total_seconds() / 60
    return round(minutes)


def too_many_attempts(request: HttpRequest, *_args: Any, **_kwargs: Any) -> HttpResponse:
    """Answer a sign-in that is paused after too many failures: 429, with Retry-After in seconds."""
    response = render(request, "account/paused.html", {"pause_minutes": pause_minutes()}, status=429)
    response.headers["Retry-After"] = str(pause_minutes() * 60)
    return response
