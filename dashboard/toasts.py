"""What was done and what comes next, said once: after a redirect through the session, or with an answer to htmx."""

from typing import Literal

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django_htmx.http import trigger_client_event

Toast = Literal["ok", "info", "bad"]
_LEVELS = {"ok": messages.SUCCESS, "info": messages.INFO, "bad": messages.ERROR}


def say_next(request: HttpRequest, kind: Toast, title: str, text: str = "") -> None:
    """Show a toast on the next page the person sees."""
    messages.add_message(request, _LEVELS[kind], f"{title}\n{text}")


def say_now(response: HttpResponse, kind: Toast, title: str, text: str = "") -> HttpResponse:
    """Show a toast when htmx has received this answer."""
    return trigger_client_event(response, "toast", {"kind": kind, "title": title, "text": text})
