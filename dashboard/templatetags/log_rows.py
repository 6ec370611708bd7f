"""What a row of Forward Logs is written with. A page has fifty rows and each value stands in several places of its row,
so that all are made once: looking them up in the template, and asking for each row's address, took most of its time.
"""

from typing import TYPE_CHECKING, TypedDict

from django import template
from django.utils.safestring import SafeString, mark_safe

from dashboard import wording
from dashboard.logs.listing import LogRow
from dashboard.templatetags.ui import clickid, cp, status, when
from forwarding.errors import send_until
from forwarding.models import ClickSource, Kind, Status

if TYPE_CHECKING:
    from datetime import datetime

    from django.template.context import Context

register = template.Library()


class Cells(TypedDict):
    """A row's values, "" where there is none. `called` is what a screen reader hears of the row."""

    key: SafeString
    version: SafeString
    href: str
    received: SafeString
    came_before: "datetime | None"
    name: str
    kind: str
    transaction: str
    event_id: str
    called: str
    value: str
    click: SafeString
    found_by: str
    hashed: str
    status: SafeString
    second: SafeString
    is_failed: bool
    title: str
    code: str
    note: str
    whole_note: str
    until: str


@register.simple_tag(takes_context=True)
def cells(context: "Context", row: LogRow) -> Cells:
    """Return what a row shows. Reads `logs_url`, `site`, `zone` and `now`, which every fragment of an account has."""
    one, event = row.delivery, row.delivery.event
    key, transaction = row.key, one.transaction_id
    is_own_click = one.click_source == ClickSource.EVENT
    words = f"{row.title} {row.code}".rstrip() if row.title else ""
    return {
        "key": _plain(key),
        "version": _plain(row.version),
        "href": f"{context['logs_url']}{key}/",
        "received": when(context, one.created_at),
        "came_before": row.came_before,
        "name": one.goal_name or event.name,
        "kind": "" if one.kind == Kind.CONVERSION else Kind(one.kind).label,
        "transaction": transaction,
        "event_id": event.event_id,
        "called": transaction or event.event_id,
        "value": "" if row.value is None else wording.money(row.value, row.currency, context["site"].currency),
        "click": clickid(one.msclkid) + cp(one.msclkid, "click ID") if one.msclkid else SafeString(""),
        "found_by": ClickSource(one.click_source).label if one.msclkid and not is_own_click else "",
        "hashed": "email" if one.email_sha256 else "phone" if one.phone_sha256 else "",
        "status": status(one.status),
        "second": status(row.second.look, row.second.word) if row.second else SafeString(""),
        "is_failed": one.status == Status.FAILED,
        "title": row.title,
        "code": row.code,
        "note": row.note,
        "whole_note": " · ".join(part for part in (words, row.note) if part),
        "until": send_until(one, context["now"], lambda moment: wording.day(moment, context["zone"], context["now"])),
    }


def _plain(text: str) -> SafeString:
    """Return digits, letters, hyphens and dots as what needs no escaping."""
    return mark_safe(text)  # noqa: S308 - a UUID, or one with a number after it
