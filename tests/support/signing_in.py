"""Somebody signed in in a real browser, without the form: that one has tests of its own."""

from django.contrib.auth.models import User
from django.http import HttpRequest
from django.test import Client
from django.utils import timezone
from playwright.sync_api import Page

from dashboard.tickets import ticket

BACKEND = "allauth.account.auth_backends.AuthenticationBackend"
TICKET = "SUP-1042"


def work_on_ticket(client: Client) -> None:
    """Let staff who are signed in work on TICKET, which the admin asks for before it shows customers' rows."""
    request = HttpRequest()
    request.session = client.session
    ticket.begin(request, TICKET, timezone.now())
    request.session.save()


def sign_in(page: Page, url: str, path: str = "", *, name: str = "alice") -> None:
    """Sign `<name>@example.com` in at the server `url` and, with a path, open that page: its scripts have run then."""
    client = Client()
    client.force_login(User.objects.get(email=f"{name}@example.com"), backend=BACKEND)
    page.context.add_cookies(
        [{"name": key, "value": morsel.value, "url": url} for key, morsel in client.cookies.items()]
    )
    if path:
        page.goto(url + path)
