"""The mapping of a whole site as one YAML file: downloaded, and read back in two steps, first shown, then confirmed."""

from dataclasses import dataclass
from uuid import UUID

from django import forms
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.text import slugify
from django.views.decorators.http import require_GET, require_http_methods

from dashboard.account.frame import account_frame
from dashboard.frame import account_url
from dashboard.guards import MAP, AccountEntry, account_for, may, person, role_names, signed_in
from dashboard.mapping.forms import rule_in_words
from dashboard.mapping.views import FROM_NOW_ON
from dashboard.toasts import say_next
from integrations.mapping import noted
from integrations.mapping_file import (
    Comparison,
    Difference,
    ImportRefused,
    MappingMoved,
    compare_mapping,
    export_mapping,
    import_mapping,
)

TEMPLATE = "dashboard/account/mapping_file.html"
# What comes back with the confirmation has to fit into a request; larger files are for `manage.py mapping`.
MAX_PAGE_CHARS = 200_000
# Of the account on whose page it stands; its goals are only an example.
EXAMPLE = """\
accounts:
  "{account_id}":
    purchase: {{goal: Purchase}}
    # A value is event, which is usual, none, or a number.
    qualified_lead: {{goal: Qualified Lead, value: none}}
    phone_sale: {{goal: Purchase, when: "value >= 50"}}
"""
MAX_LINES = 200
MAX_MISTAKES = 30


class FileForm(forms.Form):
    """A mapping as a file or as a text; with `shown`, the fingerprint of what was shown, it is confirmed."""

    file = forms.FileField(required=False, allow_empty_file=True, max_length=255)
    text = forms.CharField(required=False, max_length=MAX_PAGE_CHARS, strip=False)
    shown = forms.RegexField(r"^[0-9a-f]{64}\Z", required=False)

    def clean(self) -> dict[str, object]:
        """Put the file's text into `text`; refuse a file that is none, and nothing at all."""
        given = dict(super().clean() or self.cleaned_data)
        file = given.get("file")
        if isinstance(file, UploadedFile):
            given["text"] = self._read(file)
        if not self.errors and not str(given.get("text", "")).strip():
            self.add_error(None, "Choose a file, or paste its text.")
        return given

    def _read(self, file: "UploadedFile[bytes]") -> str:
        if (file.size or 0) > 4 * MAX_PAGE_CHARS:
            self.add_error("file", f"The file has more than {MAX_PAGE_CHARS:,} characters.")
            return ""
        try:
            return str(file.read(), "utf-8-sig")
        except UnicodeDecodeError:
            self.add_error(
                "file", "This is no text file in UTF-8. Choose a YAML file, such as the one to download here."
            )
            return ""


@dataclass(frozen=True)
class Line:
    """An event that the file maps otherwise, in words."""

    account: str
    event: str
    before: str
    after: str

    @classmethod
    def of(cls, difference: Difference) -> "Line":
        """Put a difference in words."""
        before, after = (rule_in_words(noted(mapping)) for mapping in (difference.before, difference.after))
        return cls(str(difference.account), difference.event_name, before, after)


@signed_in
@require_GET
def export(request: HttpRequest, site_id: UUID, account_id: str) -> HttpResponse:
    """Download the mapping of all accounts of the site."""
    site = account_for(request, site_id, account_id).site
    response = HttpResponse(export_mapping(site), content_type="application/yaml; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{slugify(site.name) or "site"}-mapping.yaml"'
    response["X-Content-Type-Options"] = "nosniff"
    return response


@signed_in
@require_http_methods(["GET", "POST"])
def mapping_file(request: HttpRequest, site_id: UUID, account_id: str) -> HttpResponse:
    """Take a mapping file in: show what it would change, then change it, all or nothing.

    422 with every mistake and its line; 409 when the mapping was changed since it was shown.
    """
    entry = account_for(request, site_id, account_id, *(MAP if request.method == "POST" else ()))
    if not entry.account.is_active:
        return redirect(account_url(entry.site, entry.account))
    if request.method == "GET":
        return _page(request, entry)
    form = FileForm(request.POST, request.FILES)
    text = str(form.cleaned_data.get("text", "")) if form.is_valid() else request.POST.get("text", "")
    if form.errors:
        mistakes = [str(message) for messages in form.errors.values() for message in messages]
        return _page(request, entry, text=text, mistakes=mistakes)
    shown = str(form.cleaned_data["shown"])
    try:
        return _import(request, entry, text, shown) if shown else _show(request, entry, text)
    except ImportRefused as refused:
        return _page(request, entry, text=text, mistakes=list(refused.errors))


def _show(request: HttpRequest, entry: AccountEntry, text: str, *, moved: bool = False) -> HttpResponse:
    return _page(request, entry, text=text, comparison=compare_mapping(entry.site, text), moved=moved)


def _import(request: HttpRequest, entry: AccountEntry, text: str, shown: str) -> HttpResponse:
    try:
        report = import_mapping(entry.site, text, person(request), timezone.now(), expected=shown)
    except MappingMoved:
        return _show(request, entry, text, moved=True)
    count = len(report.changed) + len(report.removed)
    title = "Mapping imported" if count else "Nothing changed"
    say_next(request, "ok", title, f"{count} event{'' if count == 1 else 's'} changed. {FROM_NOW_ON}" if count else "")
    return redirect("dashboard:account-mapping", entry.site.public_id, entry.account.account_id)


def _page(
    request: HttpRequest,
    entry: AccountEntry,
    *,
    text: str = "",
    mistakes: list[str] | None = None,
    comparison: Comparison | None = None,
    moved: bool = False,
) -> HttpResponse:
    differences = comparison.differences if comparison else ()
    context = {
        **account_frame(request, entry, "mapping"),
        "may_edit": may(entry.role, MAP),
        "needed": role_names(MAP),
        "text": text,
        "mistakes": (mistakes or [])[:MAX_MISTAKES],
        "more_mistakes": max(0, len(mistakes or ()) - MAX_MISTAKES),
        "comparison": comparison,
        "lines": [Line.of(difference) for difference in differences[:MAX_LINES]],
        "more_lines": max(0, len(differences) - MAX_LINES),
        "moved": moved,
        "example": EXAMPLE.format(account_id=entry.account.account_id),
    }
    return render(request, TEMPLATE, context, status=409 if moved else 422 if mistakes else 200)
