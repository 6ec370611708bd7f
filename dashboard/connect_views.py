"""The steps after a Microsoft sign-in: accounts, UET tag, goals, enhanced conversions. Each is a POST and a redirect.

A step's address names the sign-in (`?sign_in=`), and for goals the account, so that leaving, Back and a second window
lose nothing: what was saved is in the rows.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple
from urllib.parse import urlencode
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods

from dashboard import wording
from dashboard.frame import account_url, zone_of
from dashboard.guards import CONNECT, person, signed_in, site_for
from dashboard.integration_views import SYNC_AGAIN_AFTER, may_go_to_microsoft
from dashboard.toasts import say_next
from dashboard.trouble import Trouble, in_words
from ingest.models import Event, Site, event_names_seen
from integrations.account_settings import change_settings
from integrations.connecting import AccountsRefused, ReachableAccount, add_accounts, reachable_accounts
from integrations.goals import check_uet_tag, sync_goals, tag_note, uet_tags
from integrations.mapping import EVENT_NAME, OFFERED_EVENTS, MappingRefused, Rule, rule_of, set_mapping, suggest_goal
from integrations.microsoft_ads.errors import MicrosoftAdsError
from integrations.microsoft_ads.shapes import UetTag
from integrations.models import AdAccount, Connection, ConversionGoal

EVENTS_LOOKED_AT = 10_000
EVENTS_LOOKED_BACK = timedelta(days=30)
MAX_NAMES = 100
OTHER = "other"


class Step(NamedTuple):
    """A step of the set-up; the key is also the end of its URL and of its URL's name."""

    key: str
    label: str


STEPS = (
    Step("accounts", "Accounts"),
    Step("uet", "UET tag"),
    Step("goals", "Goals"),
    Step("enhanced", "Enhanced conversions"),
    Step("done", "Done"),
)


class Setup(NamedTuple):
    """What every step works on: the site, the sign-in and its active accounts, by name."""

    site: Site
    connection: Connection
    accounts: list[AdAccount]

    def url(self, step: str, account: AdAccount | None = None) -> str:
        """Return the address of a step of this set-up."""
        query = {"sign_in": str(self.connection.public_id)} | ({"account": account.account_id} if account else {})
        return f"{reverse(f'dashboard:connect-{step}', args=[self.site.public_id])}?{urlencode(query)}"


# Accounts


@dataclass(frozen=True)
class AccountChoice:
    """An account that can be chosen, and what the site has of it already."""

    found: ReachableAccount
    is_connected: bool
    is_chosen: bool
    elsewhere: str
    goal_count: int


@signed_in
@require_http_methods(["GET", "POST"])
def accounts(request: HttpRequest, site_id: UUID) -> HttpResponse:
    """Choose accounts among those that the sign-in reaches now."""
    setup = _enter(request, site_id)
    if isinstance(setup, HttpResponse):
        return setup
    chosen = request.POST.getlist("account")
    error = ""
    if request.method == "POST":
        new = [one for one in chosen if one not in {account.account_id for account in setup.accounts}]
        try:
            added = add_accounts(setup.connection, new, person(request), timezone.now()) if new else []
        except AccountsRefused as refusal:
            error = str(refusal)
        except MicrosoftAdsError as failure:
            error = " ".join(in_words(failure))
        else:
            if added or setup.accounts:
                return redirect(setup.url("uet"))
            error = "Choose at least one account."
    customers, trouble = _reachable_by_customer(setup, chosen)
    ctx = {**_frame(request, setup, "accounts"), "customers": customers, "trouble": trouble, "error": error}
    response = render(request, "dashboard/connect/accounts.html", ctx, status=422 if error else 200)
    return may_go_to_microsoft(response)


def _reachable_by_customer(
    setup: Setup, chosen: Iterable[str]
) -> tuple[dict[str, list[AccountChoice]], Trouble | None]:
    try:
        found = reachable_accounts(setup.connection)
    except MicrosoftAdsError as error:
        return {}, in_words(error)
    known = {
        account.account_id: account
        for account in setup.site.ad_accounts.filter(is_active=True).select_related("connection")
    }
    goal_counts = dict(
        ConversionGoal.objects.filter(account__in=known.values(), gone_at__isnull=True)
        .values_list("account__account_id")
        .annotate(count=Count("pk"))
    )
    picked, customers = set(chosen), defaultdict(list)
    for account in found:
        ours = known.get(account.account_id)
        is_connected = ours is not None and ours.connection_id == setup.connection.pk
        elsewhere = str(ours.connection) if ours is not None and not is_connected else ""
        customers[account.customer_id].append(
            AccountChoice(
                account,
                is_connected,
                is_connected or account.account_id in picked,
                elsewhere,
                goal_counts.get(account.account_id, 0),
            )
        )
    return dict(customers), None


# UET tag


@dataclass(frozen=True)
class TagChoice:
    """An account's tags to choose from, what is chosen, and what is wrong with it."""

    account: AdAccount
    tags: list[tuple[UetTag, str]]
    chosen: str
    other: str
    error: str
    trouble: Trouble | None


@signed_in
@require_http_methods(["GET", "POST"])
def uet(request: HttpRequest, site_id: UUID) -> HttpResponse:
    """Link each account's UET tag, or leave it unlinked."""
    setup = _enter(request, site_id, needs_accounts=True)
    if isinstance(setup, HttpResponse):
        return setup
    errors: dict[str, str] = {}
    if request.method == "POST":
        wanted = {account.pk: _posted_tag(request, account) for account in setup.accounts}
        errors = {account.account_id: _tag_error(account, wanted[account.pk]) for account in setup.accounts}
        if not any(errors.values()):
            for account in setup.accounts:
                change_settings(
                    account,
                    uet_tag_id=wanted[account.pk],
                    enhanced_conversions=account.enhanced_conversions,
                    actor=person(request),
                )
            return redirect(setup.url("goals"))
    ctx = {**_frame(request, setup, "uet"), "choices": _tag_choices(request, setup, errors)}
    return render(request, "dashboard/connect/uet.html", ctx, status=422 if errors else 200)


def _posted_tag(request: HttpRequest, account: AdAccount) -> str:
    chosen = request.POST.get(f"tag-{account.account_id}", "")
    return (request.POST.get(f"other-{account.account_id}", "") if chosen == OTHER else chosen).strip()


def _tag_error(account: AdAccount, tag_id: str) -> str:
    if tag_id == account.uet_tag_id:
        return ""
    try:
        return check_uet_tag(account, tag_id)
    except MicrosoftAdsError as error:
        return f"The tag could not be checked. {' '.join(in_words(error))}"


def _tag_choices(request: HttpRequest, setup: Setup, errors: Mapping[str, str]) -> list[TagChoice]:
    # Tags belong to the customer: one call serves all of its accounts.
    by_customer: dict[str, list[UetTag] | Trouble] = {}
    choices = []
    for account in setup.accounts:
        if account.customer_id not in by_customer:
            by_customer[account.customer_id] = _tags_of(account)
        found = by_customer[account.customer_id]
        trouble = found if isinstance(found, Trouble) else None
        tags = [] if isinstance(found, Trouble) else found
        wanted = _posted_tag(request, account) if request.method == "POST" else _likely_tag(account, tags)
        is_listed = any(tag.tag_id == wanted for tag in tags)
        is_other = bool(wanted) and not is_listed
        if request.method == "POST" and request.POST.get(f"tag-{account.account_id}") == OTHER:
            is_other = True
        choices.append(
            TagChoice(
                account,
                [(tag, tag_note(tag)) for tag in tags],
                OTHER if is_other else wanted,
                wanted if is_other else "",
                errors.get(account.account_id, ""),
                trouble,
            )
        )
    return choices


def _tags_of(account: AdAccount) -> list[UetTag] | Trouble:
    try:
        return uet_tags(account)
    except MicrosoftAdsError as error:
        return in_words(error)


def _likely_tag(account: AdAccount, tags: list[UetTag]) -> str:
    if account.uet_tag_id:
        return account.uet_tag_id
    seen = [tag.tag_id for tag in tags if not tag_note(tag)]
    return seen[0] if len(seen) == 1 else ""


# Goals


@dataclass(frozen=True)
class GoalRow:
    """An event name, how often it came, and the goal and value that are chosen for it."""

    index: int
    event_name: str
    seen: str
    goal_id: str
    value: str
    error: str
    hint: str


@signed_in
@require_http_methods(["GET", "POST"])
def goals(request: HttpRequest, site_id: UUID) -> HttpResponse:
    """Map events to goals, one account after the other; `sync` reads the goals anew and keeps what is chosen."""
    setup = _enter(request, site_id, needs_accounts=True)
    if isinstance(setup, HttpResponse):
        return setup
    account, following = _account_in_turn(request, setup)
    now = timezone.now()
    trouble, errors = None, dict[str, str]()
    posted = request.POST if request.method == "POST" else None
    names = event_names(setup.site)
    if account.goals_synced_at is None or (posted is not None and "sync" in posted):
        trouble = _sync(account, now)
    if posted is not None and "sync" not in posted:
        errors = _save_mapping(account, names, posted, request, now)
        if not errors:
            return redirect(setup.url("goals", following) if following else setup.url("enhanced"))
    available = [goal for goal in account.goals.order_by("name", "pk") if goal.is_available]
    rows = _goal_rows(setup.site, account, names, available, posted, errors, now)
    ctx = {
        **_frame(request, setup, "goals"),
        "account": account,
        "account_number": setup.accounts.index(account) + 1,
        "goals": available,
        "too_new": too_new(available, now),
        "rows": rows,
        "mapped_count": sum(bool(row.goal_id) for row in rows),
        "error_count": len(errors),
        "trouble": trouble,
        "skip_url": setup.url("goals", following) if following else setup.url("enhanced"),
    }
    return render(request, "dashboard/connect/goals.html", ctx, status=422 if errors else 200)


def event_names(site: Site) -> list[str]:
    """Return the names that can be mapped: those offered, then those that the site has sent."""
    return [name for name in event_names_seen(site, OFFERED_EVENTS) if EVENT_NAME.fullmatch(name)][:MAX_NAMES]


def too_new(available: Iterable[ConversionGoal], now: datetime) -> list[tuple[ConversionGoal, datetime]]:
    """Return the goals that Microsoft refuses until a moment ahead, with that moment (error 5615)."""
    settle = timedelta(seconds=settings.GOAL_SETTLE_SECONDS)
    moments = [(goal, goal.settles_at(settle)) for goal in available]
    return [(goal, moment) for goal, moment in moments if moment is not None and moment > now]


def seen_in_30_days(site: Site, now: datetime) -> dict[str, str]:
    """Return how often each event name came, in words; of busy sites the newest 10,000 events are looked at."""
    newest = site.events.filter(received_at__gte=now - EVENTS_LOOKED_BACK).order_by("-received_at", "-pk")
    rows = Event.objects.filter(pk__in=newest.values("pk")[:EVENTS_LOOKED_AT]).values_list("name")
    counts = dict(rows.annotate(count=Count("pk")))
    of = "in 30 days" if sum(counts.values()) < EVENTS_LOOKED_AT else f"of the newest {EVENTS_LOOKED_AT:,}"
    return {name: f"{count:,} {of}" for name, count in counts.items()}


def _account_in_turn(request: HttpRequest, setup: Setup) -> tuple[AdAccount, AdAccount | None]:
    asked = request.GET.get("account", "")
    place = next((i for i, account in enumerate(setup.accounts) if account.account_id == asked), None)
    if place is None:
        if asked:
            raise Http404
        place = 0
    following = setup.accounts[place + 1] if place + 1 < len(setup.accounts) else None
    return setup.accounts[place], following


def _sync(account: AdAccount, now: datetime) -> Trouble | None:
    if account.goals_synced_at and now - account.goals_synced_at < SYNC_AGAIN_AFTER:
        return None
    try:
        sync_goals(account, now)
    except MicrosoftAdsError as error:
        return in_words(error)
    return None


def _goal_rows(
    site: Site,
    account: AdAccount,
    names: list[str],
    available: list[ConversionGoal],
    posted: Mapping[str, str] | None,
    errors: Mapping[str, str],
    now: datetime,
) -> list[GoalRow]:
    mapped = {mapping.event_name: mapping for mapping in account.mappings.select_related("goal")}
    # Names are matched once: who has taken a mapping away does not find it chosen again.
    is_first_time = not mapped and not account.mapping_changes.exists()
    seen = seen_in_30_days(site, now)
    rows = []
    for index, name in enumerate(names):
        current = rule_of(mapped.get(name))
        goal_id, value, hint = (current.goal_id, _value_word(current), "") if current else ("", "event", "")
        if posted is not None:
            goal_id, value = posted.get(f"goal-{index}", goal_id), posted.get(f"value-{index}", value)
        elif is_first_time:
            likely = suggest_goal(name, available)
            goal_id = likely.goal_id if likely else ""
            hint = "" if likely or name not in seen else "No goal has a similar name."
        rows.append(GoalRow(index, name, seen.get(name, "not seen yet"), goal_id, value, errors.get(name, ""), hint))
    return rows


def _value_word(rule: Rule) -> str:
    return "fixed" if isinstance(rule.value, Decimal) else rule.value


def _save_mapping(
    account: AdAccount, names: list[str], posted: Mapping[str, str], request: HttpRequest, now: datetime
) -> dict[str, str]:
    """Save every row or none; return what is wrong, per event name."""
    mapped = {mapping.event_name: rule_of(mapping) for mapping in account.mappings.select_related("goal")}
    errors: dict[str, str] = {}
    with transaction.atomic():
        for index, name in enumerate(names):
            # A name that came while the page was open is not in the form: it stays as it is.
            if posted.get(f"name-{index}") != name:
                continue
            try:
                set_mapping(account, name, _posted_rule(posted, index, mapped.get(name)), person(request), now)
            except MappingRefused as refusal:
                errors[name] = refusal.message
        if errors:
            transaction.set_rollback(True)
    return errors


def _posted_rule(posted: Mapping[str, str], index: int, current: Rule | None) -> Rule | None:
    goal_id, value = posted.get(f"goal-{index}", ""), posted.get(f"value-{index}", "event")
    if not goal_id:
        return None
    when = current.when if current else ""
    if value == "fixed" and current is not None:
        return Rule(goal_id, current.value, when)
    return Rule(goal_id, "none" if value == "none" else "event", when)


# Enhanced conversions, and done


@dataclass(frozen=True)
class Coverage:
    """How many of an event's newest occurrences carry hashed customer data, in whole per cent."""

    event_name: str
    email: int
    phone: int


@signed_in
@require_http_methods(["GET", "POST"])
def enhanced(request: HttpRequest, site_id: UUID) -> HttpResponse:
    """Switch hashed customer data on or off, per account."""
    setup = _enter(request, site_id, needs_accounts=True)
    if isinstance(setup, HttpResponse):
        return setup
    if request.method == "POST":
        for account in setup.accounts:
            change_settings(
                account,
                uet_tag_id=account.uet_tag_id,
                enhanced_conversions=f"enhanced-{account.account_id}" in request.POST,
                actor=person(request),
            )
        return redirect(setup.url("done"))
    names = {mapping.event_name for account in setup.accounts for mapping in account.mappings.all()}
    plain = [account.name for account in setup.accounts if _has_plain_goals_only(account)]
    ctx = {
        **_frame(request, setup, "enhanced"),
        "coverage": coverage(setup.site, names or set(OFFERED_EVENTS), timezone.now()),
        "plain_named": wording.listed(plain),
    }
    return render(request, "dashboard/connect/enhanced.html", ctx)


def coverage(site: Site, names: Iterable[str], now: datetime) -> list[Coverage]:
    """Return which share of the newest events carries hashed e-mail and phone, per name, the most frequent first."""
    newest = site.events.filter(received_at__gte=now - EVENTS_LOOKED_BACK).order_by("-received_at", "-pk")
    rows = (
        Event.objects.filter(pk__in=newest.values("pk")[:EVENTS_LOOKED_AT], name__in=list(names))
        .values_list("name")
        .annotate(
            count=Count("pk"),
            emails=Count("pk", filter=~Q(email_sha256="")),
            phones=Count("pk", filter=~Q(phone_sha256="")),
        )
        .order_by("-count", "name")
    )
    return [Coverage(name, emails * 100 // number, phones * 100 // number) for name, number, emails, phones in rows]


def _has_plain_goals_only(account: AdAccount) -> bool:
    mapped = [mapping.goal for mapping in account.mappings.select_related("goal")]
    return bool(mapped) and all(goal.is_enhanced is False for goal in mapped)


@signed_in
@require_GET
def done(request: HttpRequest, site_id: UUID) -> HttpResponse:
    """Say what is set up, and what is not."""
    setup = _enter(request, site_id, needs_accounts=True)
    if isinstance(setup, HttpResponse):
        return setup
    mapped = [(account, account.mappings.filter(is_active=True).count()) for account in setup.accounts]
    first = setup.accounts[0]
    ctx = {
        **_frame(request, setup, "done"),
        "live_named": wording.listed([account.name for account, count in mapped if count]),
        "live_count": sum(bool(count) for _, count in mapped),
        "mapped": [
            (account, count, account_url(setup.site, account, "mapping") or setup.url("goals", account))
            for account, count in mapped
        ],
        "enhanced_named": wording.listed([account.name for account in setup.accounts if account.enhanced_conversions]),
        "tag_named": wording.listed([account.name for account in setup.accounts if account.uet_tag_id]),
        "logs_url": account_url(setup.site, first, "logs"),
    }
    return render(request, "dashboard/connect/done.html", ctx)


# Every step


def _enter(request: HttpRequest, site_id: UUID, *, needs_accounts: bool = False) -> Setup | HttpResponse:
    """Return what the step works on, or where to go instead.

    Raises Http404 for a sign-in that the site does not have.
    """
    site, _ = site_for(request, site_id, *CONNECT)
    connection = _sign_in(request, site)
    if connection is None:
        say_next(request, "info", "Connect Microsoft Advertising first", "The steps follow after the sign-in.")
        return redirect("dashboard:integrations", site.public_id)
    if not connection.is_usable:
        say_next(request, "bad", f"{connection} needs someone first", "Its card says what to do.")
        return redirect("dashboard:integrations", site.public_id)
    accounts = list(connection.ad_accounts.filter(is_active=True).order_by("name", "pk"))
    setup = Setup(site, connection, accounts)
    if needs_accounts and not accounts:
        return redirect(setup.url("accounts"))
    return setup


def _sign_in(request: HttpRequest, site: Site) -> Connection | None:
    asked = request.GET.get("sign_in", "")
    if not asked:
        usable = site.connections.filter(status=Connection.Status.CONNECTED)
        return usable.order_by("-connected_at", "-pk").first()
    try:
        found = site.connections.filter(public_id=UUID(asked)).first()
    except ValueError as error:
        raise Http404 from error
    if found is None:
        raise Http404
    return found


def _frame(request: HttpRequest, setup: Setup, key: str) -> dict[str, object]:
    place = next(i for i, step in enumerate(STEPS) if step.key == key)
    steps = [
        (step.label, setup.url(step.key) if i < place else "", "done" if i < place else "", i == place)
        for i, step in enumerate(STEPS)
    ]
    return {
        "site": setup.site,
        "zone": zone_of(setup.site),
        "now": timezone.now(),
        "connection": setup.connection,
        "accounts": setup.accounts,
        "step": STEPS[place],
        "steps": steps,
        "here": request.get_full_path(),
        "previous": setup.url(STEPS[place - 1].key) if place else "",
        "next": setup.url(STEPS[place + 1].key) if place + 1 < len(STEPS) else "",
        "can_connect": True,
    }
