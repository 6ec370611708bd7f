"""Imports: a CSV file is uploaded, checked, confirmed and stored. Each import has a page, which follows its work."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import BinaryIO, NamedTuple, cast
from uuid import UUID
from zoneinfo import available_timezones

from django import forms
from django.core.files.uploadedfile import UploadedFile
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.datastructures import MultiValueDict
from django.utils.text import slugify
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from dashboard import wording
from dashboard.frame import Crumb, site_frame, zone_of
from dashboard.guards import IMPORT, SiteEntry, by_htmx, person, signed_in, site_for
from dashboard.toasts import say_next
from forwarding.importing import being_planned, results_of, ring_for_import
from forwarding.models import Status as DeliveryStatus
from ingest.imports import working
from ingest.imports.checking import Verdict
from ingest.imports.columns import MICROSOFTS_TEMPLATE, OUR_TEMPLATE
from ingest.imports.csv_file import MAX_FILE_BYTES, MAX_ROWS, MEBIBYTE, FileRefused
from ingest.imports.problems import told_of
from ingest.imports.report import TO_FIX, report
from ingest.imports.uploading import FileOptions, take_file
from ingest.judging import Outcome
from ingest.models import DateOrder, Import, ImportFormat, Site

LISTED = 20
# Shown in this order; the first four are the words of every list of conversions.
RESULTS = (*DeliveryStatus.values, "restated", "retracted")
RUNNING = (Import.Status.CHECKING, Import.Status.IMPORTING)
UNFINISHED = (*RUNNING, Import.Status.CHECKED)
# Before this share of the work is done, how long the rest takes is a guess that jumps.
TELL_TIME_FROM = 0.02


class UploadForm(forms.Form):
    """A file, and what only a person can say of it."""

    file = forms.FileField(
        allow_empty_file=True, max_length=255, error_messages={"required": "Choose the CSV file to import."}
    )
    format = forms.ChoiceField(choices=[("", "Recognise it"), *ImportFormat.choices], required=False)
    time_zone = forms.ChoiceField(required=False)
    dates = forms.ChoiceField(choices=[("", "Refuse what could be either"), *DateOrder.choices], required=False)

    def __init__(
        self, data: Mapping[str, object] | None, files: "MultiValueDict[str, UploadedFile[bytes]] | None", site: Site
    ) -> None:
        super().__init__(data, files)
        zone = self.fields["time_zone"]
        assert isinstance(zone, forms.ChoiceField)
        others = sorted(
            name for name in available_timezones() if "/" in name and not name.startswith(("Etc/", "posix"))
        )
        zone.choices = [
            ("", f"{site.time_zone} (site time zone)"),
            ("UTC", "UTC"),
            *((name, name) for name in others if name != site.time_zone),
        ]


class Badge(NamedTuple):
    """A result of an import: a status and how many conversions are in it."""

    status: str
    words: str


class ImportLine(NamedTuple):
    """A line of the earlier imports."""

    source: Import
    href: str
    badges: Sequence[Badge]


@signed_in
@require_http_methods(["GET", "POST"])
def imports(request: HttpRequest, site_id: UUID) -> HttpResponse:
    """Show what is being imported and what was; POST takes a file in and leads to its page."""
    entry = site_for(request, site_id, *IMPORT)
    form = UploadForm(request.POST or None, request.FILES or None, entry.site)
    if request.method == "POST":
        form = UploadForm(request.POST, request.FILES, entry.site)
        source = _taken(request, entry.site, form) if form.is_valid() else None
        if source is not None:
            return redirect("dashboard:import", site_id, source.public_id)
    current = entry.site.imports.shown().filter(status__in=UNFINISHED).first()
    context = _page(request, entry, current, form)
    context["shows_form"] = form.is_bound or "new" in request.GET
    return render(request, "dashboard/imports/imports.html", context, status=422 if form.is_bound else 200)


@signed_in
@require_GET
def import_(request: HttpRequest, site_id: UUID, import_id: UUID) -> HttpResponse:
    """Show one import; htmx gets what changes while it runs."""
    entry = site_for(request, site_id, *IMPORT)
    source = _import(entry, import_id)
    if by_htmx(request):
        context = {"site": entry.site, "zone": zone_of(entry.site), "now": timezone.now()}
        return render(request, "dashboard/imports/_run.html", {**context, **_run(source, timezone.now())})
    return render(
        request, "dashboard/imports/imports.html", _page(request, entry, source, UploadForm(None, None, entry.site))
    )


@signed_in
@require_POST
def confirm(request: HttpRequest, site_id: UUID, import_id: UUID) -> HttpResponse:
    """Let the worker store the rows that can be."""
    entry = site_for(request, site_id, *IMPORT)
    source, now = _import(entry, import_id), timezone.now()
    if source.to_store and working.confirm(source, person(request), now):
        ring_for_import(source.pk, now)
    else:
        say_next(request, "info", "Nothing was started", "This import does not wait for you any more.")
    return redirect("dashboard:import", site_id, import_id)


@signed_in
@require_POST
def cancel(request: HttpRequest, site_id: UUID, import_id: UUID) -> HttpResponse:
    """End an import; what is stored by then stays."""
    entry = site_for(request, site_id, *IMPORT)
    source = _import(entry, import_id)
    if working.cancel(source, person(request), timezone.now()):
        stored = source.outcomes.get(Outcome.ACCEPTED.value, 0)
        kept = f"{stored:,} rows were imported before that and stay." if stored else "Nothing of it was imported."
        say_next(request, "info", f"{source.file_name} {'stopped' if stored else 'cancelled'}", kept)
    else:
        say_next(request, "info", "Nothing to cancel", "This import has ended before.")
    return redirect("dashboard:import", site_id, import_id)


@signed_in
@require_GET
def rows_to_fix(request: HttpRequest, site_id: UUID, import_id: UUID) -> HttpResponse:
    """Return the rows that need a fix as CSV, each with what is wrong and how to put it right."""
    entry = site_for(request, site_id, *IMPORT)
    source = _import(entry, import_id)
    stem = slugify(source.file_name.rpartition(".")[0]) or "import"
    return _csv("".join(report(source, TO_FIX)), f"{stem}-to-fix.csv")


@signed_in
@require_GET
def template(request: HttpRequest, site_id: UUID, format_: str) -> HttpResponse:
    """Return a template as CSV: a header, and a row by example."""
    site_for(request, site_id, *IMPORT)
    templates = {ImportFormat.CONVULTRA.value: OUR_TEMPLATE, ImportFormat.MICROSOFT.value: MICROSOFTS_TEMPLATE}
    if format_ not in templates:
        raise Http404
    return _csv("".join(f"{line}\r\n" for line in templates[format_]), f"{format_}-conversions.csv")


def _taken(request: HttpRequest, site: Site, form: UploadForm) -> Import | None:
    uploaded = form.cleaned_data["file"]
    assert isinstance(uploaded, UploadedFile)
    options = FileOptions(form.cleaned_data["format"], form.cleaned_data["time_zone"], form.cleaned_data["dates"])
    file, name = cast(BinaryIO, uploaded.file), uploaded.name or ""
    try:
        source = take_file(site, file, name, options, person(request), timezone.now())
    except FileRefused as refused:
        form.add_error("file", str(refused))
        return None
    ring_for_import(source.pk, timezone.now())
    return source


def _import(entry: SiteEntry, import_id: UUID) -> Import:
    source = entry.site.imports.shown().filter(public_id=import_id).first()
    if source is None:
        raise Http404
    source.site = entry.site
    return source


def _page(request: HttpRequest, entry: SiteEntry, current: Import | None, form: UploadForm) -> dict[str, object]:
    """Return what the page is drawn with: the import in hand, and the others below it, newest first."""
    now = timezone.now()
    here = reverse("dashboard:imports", args=[entry.site.public_id])
    crumbs = [Crumb("Imports", here), Crumb(current.file_name)] if current else [Crumb("Imports")]
    others = entry.site.imports.shown()
    before = _before(request, entry.site)
    if before is not None:
        others = others.filter(pk__lt=before.pk)
    listed = list((others.exclude(pk=current.pk) if current else others)[: LISTED + 1])
    older = f"?before={listed[LISTED - 1].public_id}" if len(listed) > LISTED else ""
    lines = _lines(entry.site, listed[:LISTED])
    return {
        **site_frame(request, entry.site, entry.role, "imports", *crumbs),
        **(_run(current, now) if current else {"source": None}),
        "form": form,
        "lines": lines,
        "older": f"{here}{older}" if older else "",
        "is_first": before is None,
        "max_megabytes": MAX_FILE_BYTES // MEBIBYTE,
        "max_rows": MAX_ROWS,
    }


def _before(request: HttpRequest, site: Site) -> Import | None:
    try:
        wanted = UUID(request.GET.get("before", ""))
    except ValueError:
        return None
    return site.imports.filter(public_id=wanted).first()


def _run(source: Import, now: datetime) -> dict[str, object]:
    """Return what the card of an import is drawn with."""
    done, total = source.progress
    verdicts = source.verdicts
    left_out = sum(source.outcomes.get(name, 0) for name in (Outcome.CONFLICT.value, working.REFUSED))
    refused = source.outcomes.get(working.NOT_STORABLE, 0)
    to_fix = sum(verdicts.get(verdict, 0) for verdict in TO_FIX) + left_out + refused
    groups = told_of(source)
    is_through = source.status not in UNFINISHED
    # Asked before the results, so that what is planned meanwhile is told twice rather than not at all.
    planning = being_planned(source) if is_through and source.confirmed_at else 0
    return {
        "source": source,
        "is_running": source.status in RUNNING,
        "can_end": source.status in UNFINISHED,
        "done": done,
        "total": total,
        "percent": done * 100 // total if total else 0,
        "time_left": _time_left(source, done, total, now),
        "known": verdicts.get(Verdict.DUPLICATE, 0),
        "repeated": verdicts.get(Verdict.REPEATED, 0),
        "to_fix": to_fix,
        "too_old": verdicts.get(Verdict.TOO_OLD, 0),
        "stored": source.outcomes.get(Outcome.ACCEPTED.value, 0),
        "left_out": left_out,
        "why_nothing": _why_nothing(source, to_fix) if source.has_nothing else "",
        "not_mapped": sum(found["count"] for found in source.problems.values() if found["code"] == "not_mapped"),
        "to_mend": [group for group in groups if not group.is_note],
        "to_know": [group for group in groups if group.is_note],
        "ignored": wording.listed(source.ignored),
        # Counted anew for the one import that somebody looks at, once it is through.
        "badges": _badges(results_of([source]).get(source.pk, {})) if is_through else [],
        "planning": planning,
        "can_download": bool(to_fix) and source.status != Import.Status.CANCELLED,
    }


def _why_nothing(source: Import, to_fix: int) -> str:
    """Say why none of the rows can be imported, and what to do."""
    found, rows = source.verdicts, source.total_rows
    all_of = "the only row" if rows == 1 else f"all {rows:,} rows"
    if to_fix == rows:
        return f"{all_of} need{'s' if rows == 1 else ''} a fix. Correct the file and import it again."
    if found.get(Verdict.DUPLICATE, 0) + found.get(Verdict.REPEATED, 0) == rows:
        return f"{all_of} {'was' if rows == 1 else 'were'} imported before."
    if found.get(Verdict.TOO_OLD, 0) == rows:
        return f"{all_of} {'is' if rows == 1 else 'are'} too old for Microsoft."
    again = " Correct those that need a fix and import the file again." if to_fix else ""
    return f"none of the {rows:,} rows can be imported as it is.{again}"


def _time_left(source: Import, done: int, total: int, now: datetime) -> str:
    if source.status not in RUNNING or not total or done / total < TELL_TIME_FROM:
        return ""
    elapsed = (now - (source.confirmed_at or source.created_at)).total_seconds()
    return f"about {wording.duration(max(elapsed * (total - done) / done, 1))} left"


def _lines(site: Site, listed: Sequence[Import]) -> list[ImportLine]:
    return [
        ImportLine(
            source, reverse("dashboard:import", args=[site.public_id, source.public_id]), _badges(source.results)
        )
        for source in listed
    ]


def _badges(result: Mapping[str, int]) -> list[Badge]:
    words = {"skipped": "not forwarded"}
    return [
        Badge(status, f"{result[status]:,} {words.get(status, status)}") for status in RESULTS if result.get(status)
    ]


def _csv(text: str, name: str) -> HttpResponse:
    # With its mark a spreadsheet reads UTF-8 as such.
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "X-Content-Type-Options": "nosniff"}
    return HttpResponse(f"\ufeff{text}", content_type="text/csv; charset=utf-8", headers=headers)
