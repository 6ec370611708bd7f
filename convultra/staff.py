"""The staff's admin: tables of facts that nobody changes by hand, lists that open fast, links from row to row."""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import Any

from django.contrib import admin
from django.core.exceptions import FieldDoesNotExist
from django.core.paginator import Paginator
from django.db.models import DateTimeField, Field, Model, QuerySet
from django.forms import Field as FormField
from django.forms import ModelForm
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.formats import localize
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst

MAX_ROWS_COUNTED = 10_000


class CappedPaginator(Paginator):  # type: ignore[type-arg]  # generic for the type checker only
    """Counts no further than a person pages, so that a list of millions opens as fast as a short one."""

    @cached_property
    def count(self) -> int:
        """The number of rows, MAX_ROWS_COUNTED at most."""
        rows = self.object_list
        return rows[:MAX_ROWS_COUNTED].count() if isinstance(rows, QuerySet) else len(rows)


class TimesInUtc(admin.ModelAdmin):  # type: ignore[type-arg]  # generic for the type checker only
    """Says in the head of each column of moments that they are UTC."""

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        return [_in_utc(self.model, column) for column in super().get_list_display(request)]


class NoHashLookups(admin.ModelAdmin):  # type: ignore[type-arg]  # generic for the type checker only
    """Takes no hash in an address: `?email_sha256=…` would tell whether a person is among the rows."""

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        return "sha256" not in lookup and super().lookup_allowed(lookup, value, request)


class HistoryAdmin(TimesInUtc, NoHashLookups):
    """A table of facts: nobody adds, changes or deletes one by hand."""

    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # a count per filter would read the table once for each
    paginator = CappedPaginator

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        title = capfirst(str(self.opts.verbose_name_plural))  # "Select event to view" is no name for a list
        return super().changelist_view(request, {"title": title, **(extra_context or {})})

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:  # noqa: ARG002
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:  # noqa: ARG002
        return False


class LabelledFormSet(BaseInlineFormSet):  # type: ignore[type-arg]
    """Rows whose box to delete them has a name too."""

    def add_fields(self, form: "ModelForm[Any]", index: int | None) -> None:
        super().add_fields(form, index)
        if "DELETE" in form.fields:
            name = f"Delete {form.instance}" if form.instance.pk else "Delete"
            form.fields["DELETE"].widget.attrs["aria-label"] = name


class LabelledTabularInline(admin.TabularInline):  # type: ignore[type-arg]
    """A table of inputs, each with a name for those who do not see its column: stock ones have none."""

    formset = LabelledFormSet

    def formfield_for_dbfield(
        self, db_field: "Field[Any, Any]", request: HttpRequest, **kwargs: Any
    ) -> FormField | None:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None:
            field.widget.attrs["aria-label"] = capfirst(str(db_field.verbose_name))
        return field


def link_to(row: Model | None, text: str = "") -> SafeString:
    """Return a link to a row's page in the admin; a dash for no row."""
    if row is None:
        return SafeString("–")
    address = reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])
    return format_html('<a href="{}">{}</a>', address, text or str(row))


def list_address(model: type[Model], **query: object) -> str:
    """Return the address of a table's list, filtered by `field__id__exact=…` and such."""
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist", query=query)


def link_to_list(model: type[Model], text: str, **query: object) -> SafeString:
    """Return a link to a table's list."""
    return format_html('<a href="{}">{}</a>', list_address(model, **query), text)


def badge(status: str, text: str) -> SafeString:
    """Return a status as every page shows it: the look of one of the statuses, and a word."""
    return format_html('<span class="st st-{}">{}</span>', status, text)


def moment(when: datetime | None) -> str:
    """Write a moment, which is UTC here, as all of the admin does; a dash for none."""
    return "–" if when is None else str(localize(when))


def money(value: Decimal | None, currency: str) -> str:
    """Write a value with its currency, to the cent, to the third decimal where there is one."""
    if value is None:
        return "No value"
    digits = f"{abs(value):,.3f}".removesuffix("0")
    return f"{'−' if value < 0 else ''}{digits} {currency}".rstrip()


def _in_utc(model: type[Model], column: Any) -> Any:
    """Return what stands for a column of moments in a list; any other column as it is."""
    try:
        field = model._meta.get_field(column) if isinstance(column, str) else None
    except FieldDoesNotExist:
        return column
    return _moments_of(field) if isinstance(field, DateTimeField) else column


def _moments_of(field: "DateTimeField[Any, Any]") -> Callable[[Model], str]:
    @admin.display(description=f"{capfirst(str(field.verbose_name))} (UTC)", ordering=field.name)
    def moments(row: Model) -> str:
        return moment(getattr(row, field.name))

    moments.__name__ = field.name  # the column's class in the table
    return moments
