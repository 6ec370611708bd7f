"""Which event goes to which goal of an account: the page, and reading the goals anew."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from dashboard.account.frame import account_frame
from dashboard.connect.integrations import was_read_just_now
from dashboard.event_counts import seen_in_30_days
from dashboard.frame import account_url
from dashboard.guards import MAP, AccountEntry, account_for, by_htmx, may, person, role_names, signed_in
from dashboard.mapping import forms as mapping_forms
from dashboard.mapping.forms import History, Row
from dashboard.mapping.preview import MOST_EVENTS, previews
from dashboard.toasts import say_next, say_now
from dashboard.trouble import in_words
from forwarding.errors import NO_GOALS, account_stop
from forwarding.goal_changes import read_goals
from forwarding.models import OTHER_NAMES
from forwarding.planning import replaying
from forwarding.rows.own_names import MOST_NAMES
from forwarding.stretches import Cursor
from integrations.goals import GoalSync
from integrations.microsoft_ads.errors import MicrosoftAdsError
from integrations.models import ConversionGoal

TEMPLATE = "dashboard/account/mapping.html"
HEADING = "map-h"
PREVIEW_HEADING = "pre-h"
FROM_NOW_ON = "It applies to events received from now on."


@signed_in
@require_http_methods(["GET", "POST"])
def mapping(request: HttpRequest, site_id: UUID, account_id: str) -> HttpResponse:
    """Show the mapping; POST saves it as a whole: 422 with field errors, 409 when somebody else came first.

    `?use=` names an event whose goal is gone: the nearest one is chosen in its place, and not saved. The button
    `preview` of the same form saves nothing, and shows what the changes would have done.
    """
    roles = MAP if request.method == "POST" else ()
    entry = account_for(request, site_id, account_id, *roles)
    account, site, _ = entry
    if not account.is_active:
        return redirect(account_url(site, account))
    now = timezone.now()
    page = _Page.read(entry, now, Cursor.parse(request.GET.get("before", "")))
    if request.method == "GET":
        return render(request, TEMPLATE, page.context(request, page.use_nearest(request.GET.get("use", ""))))
    changed = mapping_forms.posted_rows(request.POST, page.rows, page.goals)
    if "preview" in request.POST:
        return _preview(request, page, changed)
    outcome = mapping_forms.save(account, changed, page.goals, person(request), now)
    title, text = "Mapping saved" if outcome.said else "Nothing changed", _in_short(outcome.said)
    if outcome.status == 200 and not by_htmx(request):
        say_next(request, "ok", title, text)
        return redirect("dashboard:account-mapping", site.public_id, account.account_id)
    if outcome.status == 200:
        saved = _Page.read(entry, now).context(request, HEADING)
        return say_now(render(request, TEMPLATE, saved), "ok", title, text)
    return render(request, TEMPLATE, page.context(request, page.first_in_error), status=outcome.status)


def _preview(request: HttpRequest, page: "_Page", changed: list[Row]) -> HttpResponse:
    """Show what was posted, unsaved, and what it would have done with the newest events; 422 where a row is wrong."""
    tried = mapping_forms.try_out(page.entry.account, changed, page.goals)
    current = {row.event: row.mapping for row in page.rows if row.mapping is not None}
    context = page.context(request, page.first_in_error or PREVIEW_HEADING)
    context["previews"] = previews(page.entry.account, tried, current)
    context["not_previewed"] = max(0, len(tried) - MOST_EVENTS)
    return render(request, TEMPLATE, context, status=422 if context["has_errors"] else 200)


@dataclass(frozen=True)
class _Page:
    """What the page is drawn from."""

    entry: AccountEntry
    rows: list[Row]
    goals: list[ConversionGoal]
    history: History
    before: Cursor | None = None
    # How often names came that are counted together, in words.
    others: str = ""

    @classmethod
    def read(cls, entry: AccountEntry, now: datetime, before: Cursor | None = None) -> "_Page":
        """Read what is in force; `before` is where a page of older changes begins."""
        goals = list(entry.account.goals.order_by("name", "pk"))
        newest = History.read(entry.account)
        stop = account_stop(entry.account)
        seen = seen_in_30_days(entry.site, now)
        others = seen.pop(OTHER_NAMES, "")
        rows = mapping_forms.drawn_rows(entry.account, seen, goals, newest.changes, now, stop.title if stop else "")
        missed = replaying.missed(entry.account, [row.event for row in rows if row.is_mapped], now)
        for row in rows:
            row.missed = missed.get(row.event, 0)
        history = newest if before is None else History.read(entry.account, before)
        return cls(entry, rows, goals, history, before, others)

    @property
    def first_in_error(self) -> str:
        """Return the first field that is to be mended, in the order of the page; "" when there is none."""
        above = [row for row in self.rows if row.stands_above]
        below = [row for row in self.rows if not row.stands_above]
        fields = ((row.key, row.field_in_error) for row in (*above, *below))
        return next((f"{key}-{name}" for key, name in fields if name), "")

    def use_nearest(self, event_name: str) -> str:
        """Choose the nearest goal where an event's own is gone; return the field, "" where there is none to choose."""
        row = next((row for row in self.rows if row.event == event_name and row.suggestion is not None), None)
        if row is None or row.suggestion is None or not may(self.entry.role, MAP):
            return ""
        row.goal, row.is_replaced = str(row.suggestion.pk), True
        return f"{row.key}-goal"

    def context(self, request: HttpRequest, focus: str = "") -> dict[str, object]:
        """Return what the page is drawn with; `focus` is the element that an answer moves the focus to."""
        return {
            "focus": focus,
            **account_frame(request, self.entry, "mapping"),
            "may_edit": may(self.entry.role, MAP),
            "needed": role_names(MAP),
            "above": [row for row in self.rows if row.stands_above],
            "below": [row for row in self.rows if not row.stands_above and row.key != mapping_forms.NEW_ROW],
            "new_row": self.rows[-1],
            "others": self.others,
            "most_names": MOST_NAMES,
            "no_goals": NO_GOALS,
            "create_goal_href": account_url(self.entry.site, self.entry.account, "goal-create"),
            "create_needs": "" if may(self.entry.role, MAP) else role_names(MAP),
            "has_goals": any(goal.gone_at is None for goal in self.goals),
            "has_errors": any(row.errors for row in self.rows),
            "has_conflicts": any(row.conflict for row in self.rows),
            "history": [
                {
                    "change": change,
                    "who": mapping_forms.who_changed(change),
                    "before": mapping_forms.rule_in_words(change.before),
                    "after": mapping_forms.rule_in_words(change.after),
                }
                for change in self.history.changes
            ],
            "older": self.history.older,
            "is_older": self.before is not None,
        }


@signed_in
@require_POST
def sync(request: HttpRequest, site_id: UUID, account_id: str) -> HttpResponse:
    """Read the account's goals from Microsoft, at most once a minute, and say what changed."""
    account, site, _ = account_for(request, site_id, account_id, *MAP)
    if not account.is_active:
        return redirect(account_url(site, account))
    now = timezone.now()
    back = redirect("dashboard:account-mapping", site.public_id, account.account_id)
    if was_read_just_now(account, now):
        say_next(request, "info", "Goals are up to date", "They were read less than a minute ago.")
        return back
    try:
        result = read_goals(account, now)
    except MicrosoftAdsError as error:
        trouble = in_words(error)
        say_next(request, "bad", f"Goals were not read. {trouble.title}", trouble.text)
    else:
        count = f"{result.total} offline goal{'' if result.total == 1 else 's'} read from Microsoft Advertising."
        say_next(request, "ok", "Goals synced", f"{count} {_changes(result)}")
    return back


def _changes(result: GoalSync) -> str:
    parts = [f"New: {', '.join(f'“{goal.name}”' for goal in result.added)}."] if result.added else []
    parts += [f"“{one.old_name}” is called “{one.goal.name}” now." for one in result.renamed]
    told = {*result.added, *(one.goal for one in result.renamed)}
    parts += [
        f"“{goal.name}” takes conversions again; what waited for it goes out."
        for goal in result.restored
        if goal not in told
    ]
    parts += [f"“{goal.name}” is {goal.status.lower()} now; its conversions wait." for goal in result.stopped]
    parts += [f"Gone: {', '.join(f'“{goal.name}”' for goal in result.gone)}."] if result.gone else []
    return " ".join(parts) or "Nothing changed."


def _in_short(said: list[str]) -> str:
    if not said:
        return ""
    shown = " ".join(said[:2]) if len(said) <= 2 else f"{len(said)} events changed."
    return f"{shown} {FROM_NOW_ON}"
