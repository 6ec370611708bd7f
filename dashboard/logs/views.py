"""Forward Logs: the list, what is new on it, and one delivery with everything about it."""

from dataclasses import replace
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET

from dashboard import wording
from dashboard.account.frame import account_frame, fragment_frame
from dashboard.frame import Crumb, account_url, url_or_nothing, zone_of
from dashboard.guards import IMPORT, AccountEntry, account_for, by_htmx, may, signed_in
from dashboard.logs import bulk
from dashboard.logs import buttons as delivery_buttons
from dashboard.logs import listing as forward_logs
from dashboard.logs import story as delivery_story
from dashboard.logs.by_whom import deeds
from dashboard.logs.export import csv_of
from dashboard.logs.listing import LISTED, LogFilterForm
from dashboard.logs.support import support_text
from forwarding.filters import ADJUSTED, KINDS
from forwarding.models import WAITING, Delivery, Kind, Status
from forwarding.stretches import Counted, count

STATUS_TABS = ("", *LISTED, Status.SKIPPED)
# Among so many a page counts those that were corrected, beside everything else that it does.
MOST_LOOKED_THROUGH = 2_000
_LOOKS: dict[str, str] = {Status.RETRYING: "warn", Status.FAILED: "bad"}


@signed_in
@require_GET
def logs(request: HttpRequest, site_id: UUID, account_id: str) -> HttpResponse:
    """List what was forwarded to an account; htmx gets the list alone."""
    entry = account_for(request, site_id, account_id)
    context = list_context(request, entry)
    if by_htmx(request):
        response = render(request, "dashboard/account/_logs.html", context)
        response.headers["HX-Push-Url"] = f"{request.path}{context['here']}"
        return response
    context["cards"] = bulk.cards(entry, timezone.now())
    return render(request, "dashboard/account/logs.html", {**account_frame(request, entry, "logs"), **context})


@signed_in
@require_GET
def logs_news(request: HttpRequest, site_id: UUID, account_id: str) -> HttpResponse:
    """Answer an open list what changed on it and what came on top: 204 when nothing did.

    `row` are the rows that it shows, each with its version; with `hold` it wants only to know how many came on top.
    """
    entry = account_for(request, site_id, account_id)
    form = LogFilterForm(request.GET)
    now, zone = timezone.now(), zone_of(entry.site)
    wanted, followed = form.wanted(now, zone), request.GET.getlist("row")[: forward_logs.MAX_FOLLOWED]
    found = forward_logs.news(entry.account, wanted, followed, now, zone)
    if not found.new and not found.changed:
        return HttpResponse(status=204)
    if not followed:
        # The list was empty, so it is drawn as a whole.
        return render(request, "dashboard/account/_logs.html", list_context(request, entry))
    counts, is_held = forward_logs.counts(entry.account, wanted), "hold" in request.GET
    total = _total(entry, form, counts)
    context = {
        **fragment_frame(entry, now),
        "news": found,
        "here": form.address(),
        "status_tabs": _status_tabs(entry, form, counts, total),
        "pager_words": _pager_words(len(followed) + (0 if is_held else len(found.new)), total),
    }
    if not is_held:
        return render(request, "dashboard/account/_logs_news.html", context)
    response = render(request, "dashboard/account/_logs_waiting.html", context)
    response.headers["HX-Retarget"], response.headers["HX-Reswap"] = "#logs-waiting", "innerHTML"
    return response


@signed_in
@require_GET
def delivery(request: HttpRequest, site_id: UUID, account_id: str, delivery_id: UUID) -> HttpResponse:
    """Show one delivery as a page of its own."""
    entry = account_for(request, site_id, account_id)
    context = story_context(entry, delivery_id)
    found = context["delivery"]
    assert isinstance(found, Delivery)
    if found.kind != Kind.CONVERSION and found.original is not None:
        # A correction is shown on its conversion.
        return redirect("dashboard:account-delivery", site_id, account_id, found.original.public_id)
    frame = account_frame(request, entry, "logs")
    row = context["row"]
    assert isinstance(row, forward_logs.LogRow)
    logs_crumb = Crumb("Forward Logs", account_url(entry.site, entry.account, "logs"))
    crumbs = frame["crumbs"]
    assert isinstance(crumbs, list)
    frame["crumbs"] = [*crumbs[:-1], logs_crumb, Crumb(row.delivery.transaction_id or "Conversion")]
    return render(request, "dashboard/account/delivery.html", {**frame, **context})


@signed_in
@require_GET
def delivery_detail(request: HttpRequest, site_id: UUID, account_id: str, delivery_id: UUID) -> HttpResponse:
    """Return the fragment that opens under a delivery's row."""
    entry = account_for(request, site_id, account_id)
    return render(request, "dashboard/account/_delivery_detail.html", story_context(entry, delivery_id, in_list=True))


@signed_in
@require_GET
def logs_export(request: HttpRequest, site_id: UUID, account_id: str) -> HttpResponseBase:
    """Return all rows of the list as CSV, sent while they are read."""
    entry, now = account_for(request, site_id, account_id), timezone.now()
    return csv_of(request, entry.account, LogFilterForm(request.GET).wanted(now, zone_of(entry.site)), now)


def list_context(request: HttpRequest, entry: AccountEntry) -> dict[str, object]:
    """Return what the list is drawn with: rows, counts, filters, and the pages beside this one."""
    form = LogFilterForm(request.GET)
    now, zone = timezone.now(), zone_of(entry.site)
    wanted = form.wanted(now, zone)
    before, after = request.GET.get("before", ""), request.GET.get("after", "")
    counts = forward_logs.counts(entry.account, wanted)
    for_all, for_chosen = bulk.offered(entry, form), bulk.for_chosen(entry, form)
    page = forward_logs.page(entry.account, wanted, now, zone, before, after)
    total = _total(entry, form, counts, page.known)
    goals = counts.goals if form.value("goal") in ("", *counts.goals) else [form.value("goal"), *counts.goals]
    return {
        **fragment_frame(entry, now),
        "form": form,
        "listing": page,
        "goals": goals,
        "counts": counts,
        "status_tabs": _status_tabs(entry, form, counts, total),
        "here": form.address(
            **({"before": before} if page.newer and before else {"after": after} if page.newer else {})
        ),
        "all_here": form.address(),
        "period": form.period_label,
        "clear_href": form.address(**{name: "" for name in form.names if name != "status"}),
        "chips": form.chips(),
        "kinds": KINDS,
        "q": form.value("q"),
        "status": form.value("status"),
        "status_word": Status(form.value("status")).label if form.value("status") else "",
        "goal": form.value("goal"),
        "error": form.value("error"),
        "reason": form.value("reason"),
        "error_words": dict(form.error_options).get(form.value("error"), ""),
        "kind": form.value("kind"),
        "delivered": counts.by_status.get(Status.DELIVERED, 0),
        "waits": sum(counts.by_status.get(status, 0) for status in WAITING),
        "not_forwarded": counts.by_status.get(Status.SKIPPED, 0),
        "pager_words": _pager_words(len(page.rows), total),
        "total": total,
        "older_href": form.address(before=page.older) if page.older else "",
        "newer_href": form.address(after=page.newer) if page.newer else "",
        "mapping_href": account_url(entry.site, entry.account, "mapping"),
        "is_narrowed": bool(form.chips()) or bool(form.value("period")),
        "since": form.value("since"),
        "until": form.value("until"),
        "shows_more": bool(form.value("since") or form.value("until") or form.value("kind") not in ("", ADJUSTED)),
        "export_href": account_url(entry.site, entry.account, "logs-export") + form.address(),
        "for_all": for_all,
        "for_chosen": for_chosen,
        "for_chosen_hint": delivery_buttons.hint(for_chosen),
        "unshown": [(name, form.value(name)) for name in forward_logs.UNSHOWN if form.value(name)],
        "filter_fields": list(form.query().items()),
        "for_all_hint": delivery_buttons.hint(for_all),
    }


def tabs_context(entry: AccountEntry, query: QueryDict) -> dict[str, object]:
    """Return what the tabs with their counts are drawn with, for the list of a query string."""
    form = LogFilterForm(query)
    counts = forward_logs.counts(entry.account, form.wanted(timezone.now(), zone_of(entry.site)))
    return {"status_tabs": _status_tabs(entry, form, counts, _total(entry, form, counts) if form.is_adjusted else "")}


def _status_tabs(
    entry: AccountEntry, form: LogFilterForm, counts: forward_logs.Counts, total: str
) -> list[dict[str, object]]:
    """Return the tabs with their counts. `total` is that of the open list, which the tab of what was adjusted tells."""
    kind = "" if form.is_adjusted else form.value("kind")
    tabs: list[dict[str, object]] = []
    for status in STATUS_TABS:
        number = counts.listed if status == "" else counts.by_status.get(status, 0)
        tabs.append(
            {
                "label": Status(status).label if status else "All",
                "href": form.address(status=status, kind=kind),
                "is_current": form.value("status") == status and not form.is_adjusted,
                "count_words": wording.capped(number) if form.has_counts or form.is_only_adjusted else "",
                "look": _LOOKS.get(status, "") if number else "",
            }
        )
    adjusted = {
        "label": "Adjusted",
        "href": form.address(status="", kind=ADJUSTED),
        "is_current": form.is_adjusted,
        "count_words": total if form.is_adjusted else _adjusted(entry, form, counts),
        "look": "",
    }
    return [*tabs[:-1], adjusted, tabs[-1]]


def _adjusted(entry: AccountEntry, form: LogFilterForm, counts: forward_logs.Counts) -> str:
    """Return how many were restated or retracted, in words; "" where that takes looking through too many.

    No roll-up knows it: they are counted among what was forwarded, of which the roll-up knows how many there are.
    """
    if not form.has_counts or counts.listed > MOST_LOOKED_THROUGH:
        return ""
    meant = form.wanted(timezone.now(), zone_of(entry.site))
    return wording.capped(count(entry.account, replace(meant, status="", kind=ADJUSTED)).number)


def _total(entry: AccountEntry, form: LogFilterForm, counts: forward_logs.Counts, known: Counted | None = None) -> str:
    """Return how many rows the whole list has, in words: by the roll-up, by its page, or counted up to a cap."""
    status = form.value("status")
    if form.has_counts:
        return wording.capped(counts.by_status.get(status, 0) if status else counts.listed)
    found = known or count(entry.account, form.wanted(timezone.now(), zone_of(entry.site)))
    return wording.thousands(found.number) + ("+" if found.is_more else "")


def _pager_words(shown: int, total: str) -> str:
    # A page follows no more rows than that, so how many it shows beyond them is not known here.
    or_more = "+" if shown >= forward_logs.MAX_FOLLOWED else ""
    return f"{shown}{or_more} row{'' if shown == 1 else 's'} of {total}, newest first"


def story_context(entry: AccountEntry, delivery_id: UUID, *, in_list: bool = False) -> dict[str, object]:
    """Return what one delivery is drawn with; `in_list` when its row stands above it.

    Raises Http404 where the account has no such delivery.
    """
    now = timezone.now()
    zone = zone_of(entry.site)
    found = _delivery(entry, delivery_id)
    attempts = delivery_story.attempts_of(found)
    corrected = delivery_story.corrections(found)
    shown = delivery_buttons.buttons(entry, found, corrected, now)
    told = delivery_story.exchange(found)
    done = deeds(found)
    notice = delivery_story.notice(found, done, now, zone)
    pages = {
        "mapping": ("Open goal mapping", account_url(entry.site, entry.account, "mapping")),
        "settings": ("Open settings", account_url(entry.site, entry.account, "settings")),
        "integrations": ("Open integrations", url_or_nothing("integrations", entry.site.public_id)),
        "install": ("Open Install SDK", url_or_nothing("install", entry.site.public_id)),
    }
    if may(entry.role, IMPORT):
        pages["imports"] = ("Import another click ID", url_or_nothing("imports", entry.site.public_id))
    label, href = pages.get(notice.page if notice else "", ("", ""))
    (row,) = forward_logs.drawn_rows([found], entry.account, now, zone)
    attribution = delivery_story.attributed(found, now)
    steps = delivery_story.timeline(found, attempts, corrected, done, now)
    return {
        **fragment_frame(entry, now),
        "row": row,
        "delivery": found,
        "events_value": delivery_story.events_value(found),
        "notice": notice,
        "action_label": label,
        "action_href": href,
        "timeline": [*steps, attribution] if attribution else steps,
        "support": support_text(found, attempts, corrected, now),
        "support_id": f"support-{found.public_id}",
        "event_href": url_or_nothing("event", entry.site.public_id, found.event.event_id),
        "buttons": shown,
        "buttons_hint": delivery_buttons.hint(shown),
        "in_list": in_list,
        "exchange": told,
        "took": wording.duration(told.upload.seconds) if told and told.upload and told.upload.seconds else "",
        "request_id": f"request-{found.public_id}",
        "answer_id": f"answer-{found.public_id}",
    }


def _delivery(entry: AccountEntry, delivery_id: UUID) -> Delivery:
    rows = entry.account.deliveries.select_related("event", "goal", "last_upload").filter(public_id=delivery_id)
    found = forward_logs.with_correction(rows).first()
    if found is None:
        raise Http404
    found.account = entry.account
    return found
