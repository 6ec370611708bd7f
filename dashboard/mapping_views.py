"""Which event goes to which goal of an account: the page, and reading the goals anew."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from dashboard import mapping_forms
from dashboard.account_frame import account_frame
from dashboard.event_counts import seen_in_30_days
from dashboard.frame import account_url
from dashboard.guards import MAP, AccountEntry, account_for, by_htmx, may, person, role_names, signed_in
from dashboard.integration_views import SYNC_AGAIN_AFTER
from dashboard.mapping_forms import Row
from dashboard.toasts import say_next, say_now
from dashboard.trouble import in_words
from forwarding.errors import account_stop
from forwarding.goal_changes import read_goals
from integrations.goals import GoalSync
from integrations.microsoft_ads.errors import MicrosoftAdsError
from integrations.models import ConversionGoal, MappingChange

TEMPLATE = "dashboard/account/mapping.html"
HEADING = "map-h"
FROM_NOW_ON = "It applies to events received from now on."


@signed_in
@require_http_methods(["GET", "POST"])
def mapping(request: HttpRequest, site_id: UUID, account_id: str) -> HttpResponse:
    """Show the mapping; POST saves it as a whole: 422 with field errors, 409 when somebody else came first."""
    roles = MAP if request.method == "POST" else ()
    entry = account_for(request, site_id, account_id, *roles)
    account, site, _ = entry
    if not account.is_active:
        return redirect(account_url(site, account))
    now = timezone.now()
    page = _Page.read(entry, now)
    if request.method == "GET":
        return render(request, TEMPLATE, page.context(request))
    changed = mapping_forms.posted_rows(request.POST, page.rows, page.goals)
    outcome = mapping_forms.save(account, changed, page.goals, person(request), now)
    title, text = "Mapping saved" if outcome.said else "Nothing changed", _in_short(outcome.said)
    if outcome.status == 200 and not by_htmx(request):
        say_next(request, "ok", title, text)
        return redirect("dashboard:account-mapping", site.public_id, account.account_id)
    if outcome.status == 200:
        saved = _Page.read(entry, now).context(request, HEADING)
        return say_now(render(request, TEMPLATE, saved), "ok", title, text)
    return render(request, TEMPLATE, page.context(request, page.first_in_error), status=outcome.status)


@dataclass(frozen=True)
class _Page:
    """What the page is drawn from."""

    entry: AccountEntry
    rows: list[Row]
    goals: list[ConversionGoal]
    history: list[MappingChange]

    @classmethod
    def read(cls, entry: AccountEntry, now: datetime) -> "_Page":
        goals = list(entry.account.goals.order_by("name", "pk"))
        history = mapping_forms.newest_changes(entry.account)
        stop = account_stop(entry.account)
        seen = seen_in_30_days(entry.site, now)
        rows = mapping_forms.drawn_rows(entry.account, seen, goals, history, now, stop.title if stop else "")
        return cls(entry, rows, goals, history)

    @property
    def first_in_error(self) -> str:
        """Return the first field that is to be mended, in the order of the page; "" when there is none."""
        above = [row for row in self.rows if row.stands_above]
        below = [row for row in self.rows if not row.stands_above]
        fields = ((row.key, row.field_in_error) for row in (*above, *below))
        return next((f"{key}-{name}" for key, name in fields if name), "")

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
            "has_goals": any(goal.gone_at is None for goal in self.goals),
            "has_errors": any(row.errors for row in self.rows),
            "has_conflicts": any(row.conflict for row in self.rows),
            "history": [
                {
                    "change": change,
                    "who": mapping_forms.name_of(change.changed_by),
                    "before": mapping_forms.rule_in_words(change.before),
                    "after": mapping_forms.rule_in_words(change.after),
                }
                for change in self.history
            ],
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
    if account.goals_synced_at is not None and timedelta(0) <= now - account.goals_synced_at < SYNC_AGAIN_AFTER:
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
    parts += [f"Gone: {', '.join(f'“{goal.name}”' for goal in result.gone)}."] if result.gone else []
    return " ".join(parts) or "Nothing changed."


def _in_short(said: list[str]) -> str:
    if not said:
        return ""
    shown = " ".join(said[:2]) if len(said) <= 2 else f"{len(said)} events changed."
    return f"{shown} {FROM_NOW_ON}"
