"""The person's own page: name, password, two-step sign-in, signed-in devices, theme, and where they belong."""

from dataclasses import dataclass
from datetime import datetime

from allauth.account.adapter import get_adapter
from allauth.account.forms import ChangePasswordForm
from allauth.account.views import PasswordChangeView
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django import forms
from django.conf import settings
from django.contrib.auth.models import User
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from dashboard.frame import Crumb, organisation_frame
from dashboard.guards import memberships_of, person, signed_in
from dashboard.people.browsers import browser_named
from dashboard.people.forms import NameForm
from dashboard.people.two_step import InPlace
from dashboard.templatetags.ui import THEMES
from dashboard.toasts import say_next

DEVICES_SHOWN = 50
YEAR_SECONDS = 365 * 24 * 60 * 60
SYSTEM = "system"


@dataclass(frozen=True)
class Device:
    """A browser that is signed in."""

    id: int
    browser: str
    address: str
    last_seen_at: datetime
    is_this: bool


class PasswordForm(ChangePasswordForm):  # type: ignore[misc]  # allauth ships no types
    """A new password; the present one is asked, and axes counts when it is wrong."""

    def clean_oldpassword(self) -> str:
        """Check the present password as a sign-in would."""
        password: str = self.cleaned_data["oldpassword"]
        if not get_adapter().reauthenticate(self.user, password):
            raise forms.ValidationError("This is not your present password.")
        return password


@method_decorator(never_cache, name="dispatch")
class ChangePassword(InPlace, PasswordChangeView):  # type: ignore[misc]
    """A new password; every other device is signed out by it."""

    template_name = "account/password_change.html"


@signed_in
@require_GET
def me(request: HttpRequest) -> HttpResponse:
    """Show the person's own page."""
    return _me(request, NameForm({"name": person(request).get_full_name()}))


@signed_in
@require_POST
def name(request: HttpRequest) -> HttpResponse:
    """Change what the person is called."""
    form = NameForm(request.POST)
    if not form.is_valid():
        return _me(request, form)
    user = person(request)
    user.first_name, user.last_name = form.cleaned_data["name"], ""
    user.save(update_fields=["first_name", "last_name"])
    say_next(request, "ok", "Name saved", "Your team sees it from now on.")
    return redirect("dashboard:me")


@signed_in
@require_POST
def theme(request: HttpRequest) -> HttpResponse:
    """Keep the theme in its cookie, or forget it, so that the system's counts."""
    response = redirect("dashboard:me")
    chosen = request.POST.get("theme", SYSTEM)
    if chosen in THEMES:
        # Scripts read it: theme.js paints by it, and the button in the top bar writes it.
        response.set_cookie("theme", chosen, max_age=YEAR_SECONDS, samesite="Lax", secure=settings.IS_SECURE)
    else:
        response.delete_cookie("theme")
    say_next(request, "ok", "Theme saved", "It holds for this browser.")
    return response


@signed_in
@require_POST
def end_device(request: HttpRequest, device_id: int) -> HttpResponse:
    """Sign one of the person's devices out."""
    found = UserSession.objects.filter(user=person(request), pk=device_id).first()
    if found is None:
        raise Http404
    if found.session_key == request.session.session_key:
        return redirect("account_logout")
    found.end()
    say_next(request, "ok", "Device signed out", "It needs the password to come back.")
    return redirect("dashboard:me")


@signed_in
@require_POST
def end_other_devices(request: HttpRequest) -> HttpResponse:
    """Sign every device out but this one."""
    others = UserSession.objects.filter(user=person(request)).exclude(session_key=request.session.session_key)
    for other in others:
        other.end()
    say_next(request, "ok", "Signed out everywhere else", "Only this device is signed in.")
    return redirect("dashboard:me")


def _me(request: HttpRequest, form: NameForm) -> HttpResponse:
    user = person(request)
    ctx = {
        **organisation_frame(request, "me"),
        "crumbs": [Crumb("Your account")],
        "form": form,
        "email": user.email or user.get_username(),
        "factors": {factor.type: factor for factor in Authenticator.objects.filter(user=user)},
        "devices": _devices(request, user),
        "themes": [(SYSTEM, "Like the system"), ("light", "Light"), ("dark", "Dark")],
        "chosen_theme": request.COOKIES.get("theme") if request.COOKIES.get("theme") in THEMES else SYSTEM,
        "memberships": memberships_of(request),
    }
    return render(request, "dashboard/people/me.html", ctx, status=422 if request.method == "POST" else 200)


def _devices(request: HttpRequest, user: User) -> list[Device]:
    rows = UserSession.objects.filter(user=user).order_by("-last_seen_at")[:DEVICES_SHOWN]
    this = request.session.session_key
    return [
        Device(row.pk, browser_named(row.user_agent), row.ip, row.last_seen_at, row.session_key == this) for row in rows
    ]
