"""API keys: who may send events in a site's name. A secret is in the answer to its form, and nowhere else."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from django import forms
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from dashboard import wording
from dashboard.asking import Asking, Question, ask_of_site
from dashboard.audit.by_whom import newest
from dashboard.frame import Crumb, site_frame, zone_of
from dashboard.guards import INSTALL, SiteEntry, by_htmx, person, signed_in, site_for
from dashboard.toasts import say_next
from ingest.keys import KNOWN_SECONDS
from ingest.models import ServerKey, Site
from ingest.server_keys import MAX_LIVE_KEYS, MadeBeforeError, TooManyKeysError, create_key, revoke_key

UNUSED_AFTER = timedelta(days=30)
REVOKED_SHOWN = 20
# As the audit log calls it.
CREATED, REVOKED = "server_key.create", "server_key.revoke"


class NewKeyForm(forms.Form):
    """What a person calls a key: where it is used. `key_id` is the key to be, so that a form sent twice makes one."""

    name = forms.CharField(
        max_length=100,
        error_messages={
            "required": "Enter where the key is used, such as Order service.",
            "max_length": "A name has at most 100 characters.",
        },
    )
    key_id = forms.UUIDField(initial=uuid4, required=False, error_messages={"invalid": "Load the page again."})


@dataclass(frozen=True)
class KeyRow:
    """A key; `unused` says for how long it has not been used, where that is worth a look; who made and revoked it.

    "" where the log does not say it, as of a key that the command made.
    """

    key: ServerKey
    unused: str
    made_by: str = ""
    revoked_by: str = ""


@signed_in
@require_http_methods(["GET", "POST"])
def keys(request: HttpRequest, site_id: UUID) -> HttpResponse:
    """List the keys; POST makes a secret one and shows it in its answer. With `new` the form is open."""
    entry = site_for(request, site_id, *INSTALL)
    if request.method == "POST":
        return _create(request, entry)
    if by_htmx(request):
        return render(request, "dashboard/keys/_new_dialog.html", {"site": entry.site, "form": NewKeyForm()})
    return _page(request, entry, shows_form="new" in request.GET)


@signed_in
@require_http_methods(["GET", "POST"])
def revoke(request: HttpRequest, site_id: UUID, key_id: UUID) -> HttpResponse:
    """Ask, as a page or as a dialog, then let a key open nothing any more."""
    entry = site_for(request, site_id, *INSTALL)
    if request.method == "POST":
        revoked = revoke_key(entry.site, key_id, person(request), timezone.now())
        if revoked is None:
            say_next(request, "info", "Nothing was changed", "This key was revoked before, or never was.")
        else:
            text = f"Calls with it are refused within {KNOWN_SECONDS:.0f} seconds."
            say_next(request, "ok", f"Key “{revoked.name or revoked}” is revoked", text)
        return redirect("dashboard:keys", site_id)
    key = entry.site.server_keys.filter(public_id=key_id, revoked_at__isnull=True).first()
    if key is None:
        raise Http404
    back = reverse("dashboard:keys", args=[site_id])
    asking = Asking(_about_revoking(key, entry.site, timezone.now()), request.path, back)
    return ask_of_site(request, entry, asking, "keys", Crumb("API keys", back), Crumb("Revoke"))


def key_row(key: ServerKey, now: datetime, people: Mapping[tuple[str, str], str] | None = None) -> KeyRow:
    """Return a key with what is to be said of its use. `people` are who did an action to the key that it names."""
    idle = now - (key.last_used_at or key.created_at)
    words = f"Not used for {idle.days} days" if key.last_used_at else f"Never used in {idle.days} days"
    made_by, revoked_by = ((people or {}).get((action, str(key)), "") for action in (CREATED, REVOKED))
    return KeyRow(key, words if idle >= UNUSED_AFTER else "", made_by, revoked_by)


def _people(site: Site) -> dict[tuple[str, str], str]:
    return {(entry.action, str(entry.details.get("key"))): who for entry, who in newest(site, CREATED, REVOKED)}


def _about_revoking(key: ServerKey, site: Site, now: datetime) -> Question:
    ago = wording.ago(key.last_used_at, zone_of(site), now) if key.last_used_at else ""
    used = key_row(key, now).unused or (f"It was last used {ago}" if ago else "It was not used yet")
    refused = f"Every call with {key.prefix}… is refused within {KNOWN_SECONDS:.0f} seconds"
    return Question(
        title=f"Revoke the key “{key.name or key.prefix}”?",
        texts=(
            f"{refused}, and what it would have sent is not received. {used}.",
            "Other keys and everything received so far stay. A revoked key cannot be brought back.",
        ),
        keep="Keep the key",
        do="Revoke key",
        is_danger=True,
    )


def _create(request: HttpRequest, entry: SiteEntry) -> HttpResponse:
    form = NewKeyForm(request.POST)
    if not form.is_valid():
        return _page(request, entry, form, shows_form=True)
    given = form.cleaned_data
    try:
        key, secret = create_key(entry.site, given["name"], person(request), timezone.now(), given["key_id"])
    except MadeBeforeError:
        text = "The form was sent a second time, so no second key was made. The secret was shown the first time only."
        say_next(request, "info", "This key exists already", text)
        return redirect("dashboard:keys", entry.site.public_id)
    except TooManyKeysError:
        form.add_error("name", f"A site has at most {MAX_LIVE_KEYS} live keys. Revoke one that is not used any more.")
        return _page(request, entry, form, shows_form=True)
    return _page(request, entry, made=key, secret=secret)


def _page(
    request: HttpRequest,
    entry: SiteEntry,
    form: NewKeyForm | None = None,
    *,
    shows_form: bool = False,
    made: ServerKey | None = None,
    secret: str = "",
) -> HttpResponse:
    site, now = entry.site, timezone.now()
    live = site.server_keys.filter(revoked_at__isnull=True).order_by("pk")[:MAX_LIVE_KEYS]
    revoked = site.server_keys.filter(revoked_at__isnull=False).order_by("-revoked_at", "-pk")[:REVOKED_SHOWN]
    people = _people(site)
    ctx = {
        **site_frame(request, site, entry.role, "keys", Crumb("API keys")),
        "rows": [key_row(key, now, people) for key in live],
        "revoked": [key_row(key, now, people) for key in revoked],
        "origins": wording.listed([origin.partition("//")[2] for origin in site.allowed_origins]),
        "form": form or NewKeyForm(),
        "shows_form": shows_form,
        "made": made,
        "secret": secret,
        "seconds": f"{KNOWN_SECONDS:.0f}",
    }
    return render(request, "dashboard/keys/keys.html", ctx, status=422 if form is not None and form.errors else 200)
