"""A site's Microsoft sign-ins and sources, and the way to Microsoft and back."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django import forms
from django.conf import settings
from django.db.models import Count, Max, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_htmx.http import HttpResponseClientRedirect

from dashboard import wording
from dashboard.asking import Asking, Question, ask_of_site
from dashboard.connect.refusals import keep_refusal, take_refusal
from dashboard.frame import Crumb, account_url, site_frame, url_or_nothing
from dashboard.guards import (
    CONNECT,
    IMPORT,
    INSTALL,
    TEAM,
    SiteEntry,
    by_htmx,
    connection_for,
    may,
    person,
    role_names,
    signed_in,
    site_for,
)
from dashboard.health import Figures, Health, Held, account_health, figures_by_account, held_by, last_accepted
from dashboard.toasts import say_next
from dashboard.trouble import in_words
from forwarding.errors import Words, held_for_somebody
from forwarding.goal_changes import read_goals
from ingest.click_ids import TEST_PREFIX
from ingest.models import Event, Role, Site, Source
from integrations import connecting
from integrations.connecting import ConnectRefused
from integrations.microsoft_ads.errors import MicrosoftAdsError
from integrations.models import AdAccount, Connection

SYNC_AGAIN_AFTER = timedelta(minutes=1)
NEWEST_EVENTS_LOOKED_AT = 10_000


class ReconnectForm(forms.Form):
    """Which sign-in of the site a person means to renew."""

    sign_in = forms.UUIDField()


@dataclass(frozen=True)
class AccountLine:
    """An account under its sign-in. `held` is how many conversions wait for a person, None where none has to act.

    `stop` is why nothing goes out though the sign-in is good, and what to do about it.
    """

    account: AdAccount
    health: Health
    figures: Figures
    held: int | None
    accepted_at: datetime | None
    href: str
    mapping_href: str
    logs_href: str
    stop: Words | None


@dataclass(frozen=True)
class SignInCard:
    """A Microsoft sign-in with its accounts and what waits for it."""

    connection: Connection
    lines: list[AccountLine]
    held: Held
    held_worth: str

    @property
    def needs_reconnect(self) -> bool:
        """Say whether the person has to sign in at Microsoft again."""
        return self.connection.status == Connection.Status.NEEDS_RECONNECT

    @property
    def needs_operator(self) -> bool:
        """Say whether whoever runs this server has to act."""
        return self.connection.status == Connection.Status.NEEDS_OPERATOR

    @property
    def is_stopped(self) -> bool:
        """Say whether Microsoft takes nothing for any of its accounts, though the sign-in is good."""
        return bool(self.lines) and all(line.stop is not None for line in self.lines)

    @property
    def may_help_to_reconnect(self) -> bool:
        """Say whether an account is held for want of access, which another sign-in may have."""
        return any(line.stop is not None and line.stop.page == "integrations" for line in self.lines)

    @property
    def has_access(self) -> bool:
        """Say whether there is a token left to destroy: a sign-in that was disconnected here has none."""
        return bool(self.connection.refresh_token)

    @property
    def rank(self) -> tuple[int, int]:
        """Sort what needs someone first."""
        return (0 if self.needs_reconnect else 1 if self.needs_operator or self.is_stopped else 2, self.connection.pk)


@dataclass(frozen=True)
class SourceCard:
    """Where events come from, and when the last one came. `needs` names who may follow the link, where they may not."""

    title: str
    text: str
    icon: str
    last_at: datetime | None
    verb: str
    href: str
    link: str
    needs: str = ""


@dataclass(frozen=True)
class ArrivedClicks:
    """How many events came with a click id while nothing is connected; there may be more where `is_least`."""

    count: int
    is_least: bool


@signed_in
@require_GET
def integrations(request: HttpRequest, site_id: UUID) -> HttpResponse:
    """Show the site's sources and Microsoft sign-ins, those that need someone first."""
    site, role = site_for(request, site_id)
    frame = site_frame(request, site, role, "integrations", Crumb("Integrations"))
    now = timezone.now()
    ctx = {
        **frame,
        "cards": sign_in_cards(site, frame.accounts, now),
        "sources": source_cards(site, role),
        "invite_href": f"{reverse('dashboard:team')}?org={site.organisation.public_id}&new=1"
        if may(role, TEAM)
        else "",
        "arrived": None if site.connections.exists() else arrived_clicks(site),
        "refusal": take_refusal(request),
    }
    return may_go_to_microsoft(render(request, "dashboard/integrations.html", ctx))


@signed_in
@require_POST
def connect(request: HttpRequest, site_id: UUID) -> HttpResponse:
    """Start a sign-in at Microsoft: 302, or HX-Redirect for htmx, whose fetch could not follow it."""
    site, _ = site_for(request, site_id, *CONNECT)
    try:
        target = connecting.begin(request.session, person(request), site, timezone.now(), _to_reconnect(request, site))
    except ConnectRefused as refusal:
        target = _back_with(request, refusal)
    return HttpResponseClientRedirect(target) if by_htmx(request) else redirect(target)


def _to_reconnect(request: HttpRequest, site: Site) -> Connection | None:
    """Return the sign-in that the Reconnect button is of; None for a new one."""
    form = ReconnectForm(request.POST)
    return site.connections.filter(public_id=form.cleaned_data["sign_in"]).first() if form.is_valid() else None


@require_GET
def callback(request: HttpRequest) -> HttpResponse:
    """Take what Microsoft sends back, and leave at once for an address without the code.

    The address that holds the code is never shown, linked to or remembered as a place to return to.
    """
    response = redirect(_came_back(request))
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cache-Control"] = "no-store"
    return response


def _came_back(request: HttpRequest) -> str:
    if not request.user.is_authenticated:
        text = "Microsoft was not connected, because nobody was signed in here. Sign in, then choose Connect again."
        say_next(request, "bad", "Sign in first", text)
        return reverse(settings.LOGIN_URL)
    try:
        connection = connecting.finish(request.session, person(request), request.GET.dict(), timezone.now())
    except ConnectRefused as refusal:
        return _back_with(request, refusal)
    beside = connecting.waiting_beside(connection)
    if beside:
        say_next(request, "bad", "Another sign-in still waits", beside)
    if connection.ad_accounts.filter(is_active=True).exists():
        say_next(request, "ok", f"{connection} is connected", "Held conversions go out with the next batches.")
        return reverse("dashboard:integrations", args=[connection.site.public_id])
    accounts = reverse("dashboard:connect-accounts", args=[connection.site.public_id])
    return f"{accounts}?sign_in={connection.public_id}"


def _back_with(request: HttpRequest, refusal: ConnectRefused) -> str:
    keep_refusal(request, refusal.title, refusal.what_to_do)
    if refusal.site is None:
        return reverse("dashboard:sites")
    return reverse("dashboard:integrations", args=[refusal.site.public_id])


def was_read_just_now(account: AdAccount, now: datetime) -> bool:
    """Say whether an account's goals are too fresh to ask Microsoft again; a reading ahead of the clock is not."""
    read_at = account.goals_synced_at
    return read_at is not None and timedelta(0) <= now - read_at < SYNC_AGAIN_AFTER


@signed_in
@require_POST
def sync(request: HttpRequest, site_id: UUID, connection_id: UUID) -> HttpResponse:
    """Read the goals of every account of a sign-in anew, each at most once a minute unless it is held."""
    connection, site, _ = connection_for(request, site_id, connection_id, *CONNECT)
    accounts = connection.ad_accounts.filter(is_active=True)
    goals = changed = 0
    read = []
    for account in accounts:
        now = timezone.now()
        if was_read_just_now(account, now) and not account.hold_reason:  # a reading is what lets a held one go on
            continue
        try:
            result = read_goals(account, now)
        except MicrosoftAdsError as error:
            trouble = in_words(error)
            say_next(request, "bad", f"{account.name}: {trouble.title}", trouble.text)
            return redirect("dashboard:integrations", site.public_id)
        read.append(account)
        goals += result.total
        changed += len(
            {*result.added, *(one.goal for one in result.renamed), *result.gone, *result.restored, *result.stopped}
        )
    if not read:
        say_next(request, "info", "Accounts are up to date", "They were read less than a minute ago.")
        return redirect("dashboard:integrations", site.public_id)
    what = f"{_counted(len(read), 'account')} and {_counted(goals, 'goal')}"
    say_next(request, "ok", "Accounts synced", f"{what} read from Microsoft Advertising, {changed or 'none'} changed.")
    return redirect("dashboard:integrations", site.public_id)


@signed_in
@require_http_methods(["GET", "POST"])
def disconnect(request: HttpRequest, site_id: UUID, connection_id: UUID) -> HttpResponse:
    """Ask, as a page or as a dialog, then destroy a sign-in's tokens."""
    connection, site, role = connection_for(request, site_id, connection_id, *CONNECT)
    if request.method == "POST":
        connecting.disconnect(connection, person(request), timezone.now())
        text = "Its accounts wait. Convultra stays listed among this Microsoft user’s apps until you remove it there."
        say_next(request, "ok", f"{connection} is disconnected", text)
        return redirect("dashboard:integrations", site.public_id)
    back = reverse("dashboard:integrations", args=[site.public_id])
    asking = Asking(_about_disconnecting(connection), request.path, back)
    crumbs = Crumb("Integrations", back), Crumb("Disconnect")
    return ask_of_site(request, SiteEntry(site, role), asking, "integrations", *crumbs)


def _about_disconnecting(connection: Connection) -> Question:
    names = list(connection.ad_accounts.filter(is_active=True).order_by("name").values_list("name", flat=True))
    stops = (
        f"{wording.listed(names)} {'stops' if len(names) == 1 else 'stop'} receiving conversions at once. New "
        "conversions are kept as Pending and go out when you reconnect; Microsoft takes them up to 90 days after the "
        "sale."
    )
    return Question(
        title=f"Disconnect {connection}?",
        texts=(
            stops if names else "No account receives conversions through this sign-in.",
            "Mappings and Forward Logs stay. Our access is destroyed; to have it again, someone signs in at Microsoft.",
        ),
        keep="Keep connected",
        do="Disconnect",
        is_danger=True,
    )


def sign_in_cards(site: Site, accounts: list[AdAccount], now: datetime) -> list[SignInCard]:
    """Return a card per sign-in of the site; `accounts` are those of its frame."""
    figures, accepted = figures_by_account(accounts, now), last_accepted(accounts)
    by_connection: dict[int, list[AdAccount]] = defaultdict(list)
    for account in accounts:
        by_connection[account.connection_id].append(account)
    cards = []
    for connection in site.connections.select_related("connected_by"):
        mine = by_connection[connection.pk]
        held = held_by(mine, now)
        lines = [
            AccountLine(
                account,
                account_health(account),
                figures[account.pk],
                held.by_account.get(account.pk),
                accepted.get(account.pk),
                account_url(site, account),
                account_url(site, account, "mapping"),
                account_url(site, account, "logs"),
                held_for_somebody(account),
            )
            for account in mine
        ]
        cards.append(SignInCard(connection, lines, held, wording.sums(held.values, site.currency)))
    return sorted(cards, key=lambda card: card.rank)


def arrived_clicks(site: Site) -> ArrivedClicks:
    """Count the events with a click id among the site's newest."""
    looked_at = _newest_events(site, NEWEST_EVENTS_LOOKED_AT + 1)
    with_click = ~Q(msclkid="") & ~Q(msclkid__startswith=TEST_PREFIX)
    found = looked_at.aggregate(events=Count("pk"), clicks=Count("pk", filter=with_click))
    return ArrivedClicks(found["clicks"], found["events"] > NEWEST_EVENTS_LOOKED_AT)


def source_cards(site: Site, role: Role) -> list[SourceCard]:
    """Return the ways events come by; what a role may not open names who may."""
    newest = _newest_events(site, NEWEST_EVENTS_LOOKED_AT)
    last = dict(newest.values_list("source").annotate(last=Max("received_at")))
    return [
        SourceCard(
            "JS SDK",
            "Captures msclkid on landing and sends events from the browser.",
            icon="code",
            last_at=last.get(Source.BROWSER),
            verb="Last event",
            href=url_or_nothing("install", site.public_id),
            link="Install guide",
        ),
        SourceCard(
            "Server API",
            "Send confirmed orders, refunds and qualified leads from your backend.",
            icon="terminal-2",
            last_at=last.get(Source.SERVER),
            verb="Last call",
            href=url_or_nothing("keys", site.public_id),
            link="API keys",
            needs=_needed(role, INSTALL),
        ),
        SourceCard(
            "CSV import",
            "Upload closed deals or phone sales exported from your CRM.",
            icon="file-import",
            last_at=site.imports.shown().values_list("created_at", flat=True).first(),
            verb="Last import",
            href=url_or_nothing("imports", site.public_id),
            link="Import a file",
            needs=_needed(role, IMPORT),
        ),
    ]


def _needed(role: Role, roles: tuple[Role, ...]) -> str:
    return "" if may(role, roles) else role_names(roles)


def _newest_events(site: Site, number: int) -> QuerySet[Event]:
    newest = site.events.order_by("-received_at", "-pk").values("pk")[:number]
    return Event.objects.filter(pk__in=newest)


def may_go_to_microsoft(response: HttpResponse) -> HttpResponse:
    """Let the forms of a page end at Microsoft's sign-in; needed by every page with a Connect button."""
    # Without scripts the form is a plain POST, and browsers hold form-action against the redirect that answers it.
    response._csp_update = {"form-action": [settings.MICROSOFT_LOGIN_URL]}  # type: ignore[attr-defined]
    return response


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
