"""What people do to a whole filter of Forward Logs: the forecast that asks first, and the card that follows the job."""

import re
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from dashboard import wording
from dashboard.account.frame import fragment_frame
from dashboard.asking import Asking, Question, ValueForm, ask_of_account, close_dialog, what_is_wrong
from dashboard.frame import account_url, zone_of
from dashboard.guards import (
    CORRECT,
    SEND,
    AccountEntry,
    RoleMissing,
    account_for,
    by_htmx,
    may,
    person,
    role_names,
    signed_in,
)
from dashboard.logs import listing as forward_logs
from dashboard.logs import questions
from dashboard.logs.buttons import LOOKS, Button
from dashboard.logs.listing import LogFilterForm
from dashboard.toasts import Toast, say_next, say_now
from forwarding.filters import WITHOUT_ORDER
from forwarding.hands import bulk
from forwarding.hands.rules import Action
from forwarding.hands.words import done_sentence
from forwarding.models import BulkJob, Status
from ingest.models import Role

# Finished jobs whose result nobody has read yet are listed, the newest ones.
LISTED = 5
# A job is asked after every second at first, and less often later.
FAST_SECONDS, FAST_EVERY, SLOW_EVERY = 30, 1, 3
# Before this share of the work is done, how long the rest takes is a guess that jumps.
TELL_TIME_FROM = 0.02
# Said aloud when they are passed, and not with every row.
TOLD_PERCENTS = (50, 100)

_OFFERED: dict[Status, Sequence[Action]] = {
    Status.FAILED: (Action.RETRY,),
    Status.RETRYING: (Action.RETRY, Action.HOLD, Action.RELEASE, Action.CANCEL),
    Status.PENDING: (Action.HOLD, Action.RELEASE, Action.CANCEL),
    Status.DELIVERED: (Action.RESTATE, Action.RETRACT),
    Status.SKIPPED: (),
}
_UNFINISHED = (Action.RETRY, Action.HOLD, Action.RELEASE, Action.CANCEL)


class JobCard(NamedTuple):
    """A job as its card shows it. `percent` is None where nobody knows how many rows there are."""

    job: BulkJob
    title: str
    filters: str
    percent: int | None
    progress: str
    time_left: str
    result: str
    every: int
    # The roles that ending it takes, where the person has none of them.
    needs: str

    @property
    def is_running(self) -> bool:
        """Say whether a worker is at it, or will be."""
        return self.job.status == BulkJob.Status.RUNNING

    @property
    def left(self) -> int:
        """Return how many rows stayed as they were."""
        return self.job.seen - self.job.changed


def offered(entry: AccountEntry, form: LogFilterForm) -> list[Button]:
    """Return what can be done to all rows of a list; nothing while the list is not narrowed to anything."""
    if not form.value("status") and not form.chips():
        return []
    return [_button(entry, form, action, "account-logs", form.address()) for action in _fitting(form)]


def for_chosen(entry: AccountEntry, form: LogFilterForm) -> list[Button]:
    """Return what can be done to rows that somebody chooses in a list; nothing where its rows can have nothing done."""
    return [_button(entry, form, action, "account-logs-chosen") for action in _fitting(form)]


def cards(entry: AccountEntry, now: datetime) -> list[JobCard]:
    """Return the account's jobs that run, or whose result was not dismissed yet, the newest first."""
    jobs = BulkJob.objects.filter(account=entry.account, dismissed_at=None).order_by("-pk")[:LISTED]
    return [_card(entry, job, now) for job in jobs]


@signed_in
@require_http_methods(["GET", "POST"])
def act_on_all(request: HttpRequest, site_id: UUID, account_id: str, action: Action) -> HttpResponse:
    """Say what an action would do to the rows that a list shows; POST lets a worker do it."""
    entry = account_for(request, site_id, account_id)
    form, now = LogFilterForm(request.GET), timezone.now()
    _check_role(entry, action, form)
    total = _total(entry, action, form, now)
    typed = ValueForm(request.POST)
    value: Decimal | None = None
    if request.method == "POST" and action is Action.RESTATE and typed.is_valid():
        value = typed.cleaned_data["value"]
    tally = bulk.forecast(action, entry.account, form.wanted(now, zone_of(entry.site)), now, value)
    question = questions.about_all(tally, total, form.value("status"), entry.account.name, entry.site.currency)
    if request.method == "GET":
        return _ask(request, entry, form, action, question)
    if not question.do:
        return _done(request, entry, form, "info", "Nothing was changed", question.texts[0])
    error = what_is_wrong(request, question, typed)
    if error:
        return _ask(request, entry, form, action, question, error)
    if len(form.address()) > bulk.MAX_FILTER_CHARS:
        return _done(
            request, entry, form, "info", "Nothing was started", "This filter is too long. Shorten the search."
        )
    known = total or (tally.looked_at if tally.is_all else 0)
    job = bulk.start(entry.account, action, form.address(), person(request), now, value=value, total=known)
    if job is None:
        return _done(request, entry, form, "info", "Nothing was started", "The same is being done already.")
    return _done(request, entry, form, "ok", f"{_doing(action)} started", "You can leave this page: it goes on.")


@signed_in
@require_GET
def job(request: HttpRequest, site_id: UUID, account_id: str, job_id: UUID) -> HttpResponse:
    """Return the card of a job, which asks for itself again while the job runs."""
    entry = account_for(request, site_id, account_id)
    now = timezone.now()
    card = _card(entry, _job(entry, job_id), now)
    context = {**fragment_frame(entry, now), "card": card, "said": _passed(request.GET.get("was", ""), card)}
    return render(request, "dashboard/account/_bulk_job_news.html", context)


@signed_in
@require_POST
def stop(request: HttpRequest, site_id: UUID, account_id: str, job_id: UUID) -> HttpResponse:
    """End a job after the batch that it is at."""
    entry = account_for(request, site_id, account_id)
    found = _job(entry, job_id)
    _check_role(entry, Action(found.action), _form_of(found))
    bulk.stop(found, person(request), timezone.now())
    return _cards_again(request, entry)


@signed_in
@require_POST
def dismiss(request: HttpRequest, site_id: UUID, account_id: str, job_id: UUID) -> HttpResponse:
    """Take a result off the page."""
    entry = account_for(request, site_id, account_id)
    found = _job(entry, job_id)
    _check_role(entry, Action(found.action), _form_of(found))
    bulk.dismiss(found, timezone.now())
    return _cards_again(request, entry)


def _roles_for(action: Action, form: LogFilterForm) -> tuple[Role, ...]:
    """Return who may do it: lists that may hold corrections take more, as stopping one changes Microsoft's figures."""
    has_corrections = form.value("kind") == WITHOUT_ORDER or bool(form.value("q"))
    return CORRECT if action.corrects or (has_corrections and action is not Action.RETRY) else SEND


def _check_role(entry: AccountEntry, action: Action, form: LogFilterForm) -> None:
    roles = _roles_for(action, form)
    if not may(entry.role, roles):
        raise RoleMissing(entry.role, roles)


def _fitting(form: LogFilterForm) -> Sequence[Action]:
    """Return what can be done to rows such as a list's at all."""
    if status := form.value("status"):
        return _OFFERED[Status(status)]
    if form.value("stage"):
        return _OFFERED[Status.RETRYING]
    return _UNFINISHED if form.value("error") else tuple(Action)


def _button(entry: AccountEntry, form: LogFilterForm, action: Action, door: str, query: str = "") -> Button:
    roles, look = _roles_for(action, form), LOOKS[action]
    place = [entry.site.public_id, entry.account.account_id]
    return Button(
        label=action.label,
        icon=look.icon,
        href=f"{reverse(f'dashboard:{door}-{action}', args=place)}{query}",
        is_danger=action in (Action.CANCEL, Action.RETRACT),
        needs="" if may(entry.role, roles) else role_names(roles),
    )


def _total(entry: AccountEntry, action: Action, form: LogFilterForm, now: datetime) -> int:
    """Return how many rows an action is aimed at, from the roll-up; 0 where that does not know."""
    wanted = form.wanted(now, zone_of(entry.site))
    aimed = bulk.aim(action, wanted)
    if aimed is None or not form.has_counts:
        return 0
    by_status = forward_logs.counts(entry.account, wanted).by_status
    return sum(by_status.get(status, 0) for status in aimed.statuses)


def _ask(
    request: HttpRequest,
    entry: AccountEntry,
    form: LogFilterForm,
    action: Action,
    question: Question,
    error: str = "",
) -> HttpResponse:
    place = [entry.site.public_id, entry.account.account_id]
    asking = Asking(
        question,
        action_url=f"{reverse(f'dashboard:account-logs-{action}', args=place)}{form.address()}",
        back_url=f"{reverse('dashboard:account-logs', args=place)}{form.address()}",
        error=error,
        swaps="#bulk-jobs",
    )
    return ask_of_account(request, entry, asking, "logs")


def _done(
    request: HttpRequest, entry: AccountEntry, form: LogFilterForm, kind: Toast, title: str, text: str
) -> HttpResponse:
    if not by_htmx(request):
        say_next(request, kind, title, text)
        return redirect(f"{account_url(entry.site, entry.account, 'logs')}{form.address()}")
    return close_dialog(say_now(_drawn_cards(request, entry), kind, title, text))


def _cards_again(request: HttpRequest, entry: AccountEntry) -> HttpResponse:
    if by_htmx(request):
        return _drawn_cards(request, entry)
    return redirect(account_url(entry.site, entry.account, "logs"))


def _drawn_cards(request: HttpRequest, entry: AccountEntry) -> HttpResponse:
    now = timezone.now()
    context = {**fragment_frame(entry, now), "cards": cards(entry, now)}
    return render(request, "dashboard/account/_bulk_jobs.html", context)


def _job(entry: AccountEntry, job_id: UUID) -> BulkJob:
    found = entry.account.bulk_jobs.filter(public_id=job_id).first()
    if found is None:
        raise Http404
    found.account = entry.account
    return found


def _card(entry: AccountEntry, job: BulkJob, now: datetime) -> JobCard:
    action, form = Action(job.action), _form_of(job)
    roles = _roles_for(action, form)
    total = max(job.total, job.seen) if job.total else 0
    percent = min(job.seen * 100 // total, 100) if total else None
    ran = (now - job.created_at).total_seconds()
    rows = f"{job.seen:,} of {total:,}" if total else f"{job.seen:,} so far"
    return JobCard(
        job,
        title=_title(job, action, total),
        filters=_filter_words(form),
        percent=100 if job.status == BulkJob.Status.DONE else percent,
        progress=rows,
        time_left=_time_left(job, total, ran),
        result=_result(job, action),
        every=FAST_EVERY if ran < FAST_SECONDS else SLOW_EVERY,
        needs="" if may(entry.role, roles) else role_names(roles),
    )


def _result(job: BulkJob, action: Action) -> str:
    if job.status == BulkJob.Status.DONE and not job.seen:
        # Its forecast had found some, or it would not have started.
        return "Nothing was left to do: another action had changed these conversions before"
    return done_sentence(action, job.changed, job.refused)


def _title(job: BulkJob, action: Action, total: int) -> str:
    many = f"{total:,} conversion{'' if total == 1 else 's'}" if total else "conversions"
    to_what = "" if job.value is None else f" to {job.value:,.2f}"
    if job.status == BulkJob.Status.RUNNING:
        return f"{_doing(action)} {many}{to_what}"
    return f"{BulkJob.Status(job.status).label}: {_doing(action).lower()} {many}{to_what}"


def _form_of(job: BulkJob) -> LogFilterForm:
    return LogFilterForm(QueryDict(job.filters.removeprefix("?")))


def _filter_words(form: LogFilterForm) -> str:
    """Return a filter in words: its status, its chips and its period."""
    status = form.value("status")
    words = [Status(status).label] if status else []
    return " · ".join([*words, *(label for label, _ in form.chips()), form.period_label])


def _time_left(job: BulkJob, total: int, ran: float) -> str:
    if not total or job.seen < total * TELL_TIME_FROM or ran <= 0:
        return ""
    left = ran / job.seen * (total - job.seen)
    return f"about {wording.duration(max(left, 1))} left"


def _passed(was: str, card: JobCard) -> int | None:
    """Return the percentage that is said aloud because a job has come past it since the page asked last."""
    if not re.fullmatch(r"[0-9]{1,3}", was, re.ASCII):
        return None
    reached = card.percent or 0 if card.is_running else 100
    return max((told for told in TOLD_PERCENTS if int(was) < told <= reached), default=None)


def _doing(action: Action) -> str:
    return {
        Action.RETRY: "Retrying",
        Action.HOLD: "Holding",
        Action.RELEASE: "Releasing",
        Action.CANCEL: "Cancelling",
        Action.RESTATE: "Restating",
        Action.RETRACT: "Retracting",
    }[action]
