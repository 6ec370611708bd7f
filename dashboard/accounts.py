"""Sign-in: who may have an account, and what a locked-out person is told."""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # allauth ships no types
    """People are invited or made by `manage.py create_site`; nobody signs up by themselves."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:  # noqa: ARG002
        return False


def attempted_email(request: HttpRequest | None, credentials: dict[str, Any] | None = None) -> str:
    """Return the e-mail address that a sign-in was tried with, for the counter of failures."""
    given = credentials or {}
    posted = request.POST if request is not None else {}
    email = given.get("email") or given.get("username") or posted.get("login") or posted.get("username") or ""
    return str(email).strip().lower()


def too_many_attempts(request: HttpRequest, *_args: Any, **_kwargs: Any) -> HttpResponse:
    """Answer a sign-in that is paused after too many failures."""
    return render(request, "account/paused.html", status=429)
