"""The step that maps events to goals, one account after the other."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from dashboard.connect.integrations import was_read_just_now
from dashboard.connect.steps import Setup, enter, step_frame
from dashboard.event_counts import seen_in_30_days
from dashboard.frame import account_url
from dashboard.guards import person, signed_in
from dashboard.trouble import Trouble, in_words
from forwarding.errors import NO_GOALS
from forwarding.goal_changes import read_goals
from ingest.models import Site, event_names_seen
from integrations.mapping import EVENT_NAME, OFFERED_EVENTS, MappingRefused, Rule, rule_of, set_mapping, suggest_goal
from integrations.microsoft_ads.errors import MicrosoftAdsError
from integrations.models import AdAccount, ConversionGoal

MAX_NAMES = 100


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
    setup = enter(request, site_id, needs_accounts=True)
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
        **step_frame(request, setup, "goals"),
        "account": account,
        "account_number": setup.accounts.index(account) + 1,
        "goals": available,
        "too_new": too_new(available, now),
        "rows": rows,
        "mapped_count": sum(bool(row.goal_id) for row in rows),
        "error_count": len(errors),
        "trouble": trouble,
        "is_synced": posted is not None and "sync" in posted and trouble is None,
        "no_goals": NO_GOALS,
        "create_goal_href": account_url(setup.site, account, "goal-create"),
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
    if was_read_just_now(account, now):
        return None
    try:
        read_goals(account, now)
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
