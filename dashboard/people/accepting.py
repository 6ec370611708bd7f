"""The link of an invitation: a new person chooses name and password, an old one signs in and accepts.

Who signs in comes back by the session, which knows the link as its SHA-256: the sign-in's address, which servers log
and browsers keep, never holds it.
"""

from collections.abc import Mapping
from typing import Literal

from allauth.account.utils import perform_login
from django import forms
from django.contrib.auth.models import User
from django.contrib.auth.password_validation import validate_password
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from dashboard.people.forms import NameForm
from dashboard.people.invitations import (
    Joined,
    NotAcceptable,
    State,
    accept,
    find,
    find_kept,
    is_for,
    name_of,
    state_of,
)
from dashboard.people.memberships import reach
from dashboard.toasts import say_next
from ingest.models import Invitation

MAX_PASSWORD_CHARS = 200
KEPT = "invitation"  # in the session

Visitor = Literal["new", "known", "invited", "other"]


class NewPersonForm(NameForm):
    """The name and password of somebody who has no account yet; the address is the invitation's."""

    password = forms.CharField(
        max_length=MAX_PASSWORD_CHARS, strip=False, error_messages={"required": "Choose a password."}
    )

    def __init__(self, data: Mapping[str, object] | None, email: str) -> None:
        super().__init__(data)
        self.email = email

    def clean(self) -> dict[str, object]:
        """Hold the password against the rules, the person's name and address among them."""
        cleaned = super().clean() or {}
        if "password" in cleaned:
            person = User(username=self.email, email=self.email, first_name=cleaned.get("name", ""))
            try:
                validate_password(cleaned["password"], person)
            except forms.ValidationError as refused:
                self.add_error("password", refused)
        return cleaned


@never_cache
@require_http_methods(["GET", "POST"])
def invitation(request: HttpRequest, token: str) -> HttpResponse:
    """Show an invitation to whoever holds its link, and accept it."""
    return _answer(request, find(token))


@never_cache
@require_http_methods(["GET", "POST"])
def kept_invitation(request: HttpRequest) -> HttpResponse:
    """Go on with the invitation whose link this browser opened before its person signed in."""
    return _answer(request, find_kept(str(request.session.get(KEPT, ""))))


def _answer(request: HttpRequest, found: Invitation | None) -> HttpResponse:
    if found is None:
        return _ended(request, None, "unknown", 404)
    state = state_of(found, timezone.now())
    if state is not State.OPEN:
        return _ended(request, found, state.value, 410)
    visitor = _visitor(request, found)
    if request.method == "POST" and visitor == "invited":
        return _accepted_by(request, found)
    form = NewPersonForm(request.POST if request.method == "POST" and visitor == "new" else None, found.email)
    if form.is_bound and form.is_valid():
        return _new_person(request, found, form)
    if visitor == "known":
        request.session[KEPT] = found.token_sha256
    ctx = {
        "invitation": found,
        "inviter": name_of(found.invited_by) if found.invited_by else "Someone",
        "reach": reach(found),
        "visitor": visitor,
        "form": form,
        "path": request.path,
    }
    return render(request, "account/invitation.html", ctx, status=422 if form.errors else 200)


def known_person(email: str) -> User | None:
    """Return who has this address already, in whatever case it is written."""
    return User.objects.filter(Q(email__iexact=email) | Q(username__iexact=email)).order_by("pk").first()


def _visitor(request: HttpRequest, found: Invitation) -> Visitor:
    user = request.user
    if isinstance(user, User):
        return "invited" if is_for(found, user) else "other"
    return "known" if known_person(found.email) else "new"


def _accepted_by(request: HttpRequest, found: Invitation) -> HttpResponse:
    assert isinstance(request.user, User)
    try:
        joined = accept(found, request.user, timezone.now())
    except NotAcceptable:
        return redirect(request.path)  # it ended meanwhile, and the page says how
    request.session.pop(KEPT, None)
    _welcome(request, joined)
    return redirect("dashboard:sites")


def _new_person(request: HttpRequest, found: Invitation, form: NewPersonForm) -> HttpResponse:
    """Make the account and the membership in one transaction: a link that was used meanwhile leaves no account."""
    email = found.email
    try:
        with transaction.atomic():
            user = User(username=email, email=email, first_name=form.cleaned_data["name"])
            user.set_password(form.cleaned_data["password"])
            user.save()
            joined = accept(found, user, timezone.now())
    except (NotAcceptable, IntegrityError):
        return redirect(request.path)  # it ended, or the address got an account, meanwhile: the page says which
    _welcome(request, joined)
    response: HttpResponse = perform_login(request, user)
    return response


def _welcome(request: HttpRequest, joined: Joined) -> None:
    name, role = joined.membership.organisation.name, joined.membership.get_role_display()
    if joined.is_new:
        say_next(request, "ok", f"You joined {name}", f"Your role is {role}.")
    else:
        say_next(request, "info", f"You are in {name} already", f"Your role stays {role}.")


def _ended(request: HttpRequest, found: Invitation | None, state: str, status: int) -> HttpResponse:
    inviter = found.invited_by if found else None
    ctx = {"invitation": found, "state": state, "inviter": name_of(inviter) if inviter else ""}
    return render(request, "account/invitation_ended.html", ctx, status=status)
