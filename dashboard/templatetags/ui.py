"""The tags that every page is written with. Words and classes: one place, so that a status looks the same anywhere.

`zone` (ZoneInfo) and `now` (aware UTC) come from the page's frame; a page without a frame shows UTC.
"""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache, lru_cache
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo

from django import template
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import escape, format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from dashboard import wording
from dashboard.help.words import DEFINITIONS

if TYPE_CHECKING:
    from django.template.context import Context

register = template.Library()


class Badge(NamedTuple):
    """What stands on a status's badge; its class is st-<value>."""

    word: str
    icon: str


# The only words there are for what became of a conversion.
STATUSES = {
    "delivered": Badge("Delivered", icon="check"),
    "pending": Badge("Pending", icon="clock"),
    "retrying": Badge("Retrying", icon="refresh"),
    "failed": Badge("Failed", icon="x"),
    "skipped": Badge("Not forwarded", icon="minus"),
    "restated": Badge("Restated", icon="pencil"),
    "retracted": Badge("Retracted", icon="arrow-back-up"),
}
THEMES = {"light", "dark"}
SQUARES = ("", "b", "c", "d")


@register.simple_tag
@cache
def icon(name: str, css: str = "") -> SafeString:
    """Draw an icon of the sprite; it says nothing to a screen reader. Drawn once: a list has hundreds of the same."""
    return format_html(
        '<svg class="icon {}" aria-hidden="true"><use href="{}#{}"/></svg>', css, static("icons.svg"), name
    )


@register.simple_tag(takes_context=True)
def theme(context: "Context") -> SafeString:
    """Write the attribute of the theme that the person chose; without a choice theme.js asks the system."""
    request = context.get("request")
    chosen = request.COOKIES.get("theme", "") if request is not None else ""
    return format_html(' data-bs-theme="{}"', chosen) if chosen in THEMES else SafeString("")


@register.simple_tag
@lru_cache(maxsize=256)
def status(value: str, label: str = "") -> SafeString:
    """Draw the badge of a status; a label replaces its word where the page has a more exact one. Drawn once, too."""
    badge = STATUSES[value]
    return format_html('<span class="st st-{}">{}{}</span>', value, icon(badge.icon), label or badge.word)


@register.simple_tag
def dot(look: str) -> SafeString:
    """Draw the dot of a health: ok, warn, bad, paused, off, each with a shape of its own."""
    return format_html('<span class="dot {}"></span>', look)


@register.simple_tag
def definition(name: str) -> SafeString:
    """Draw the hint beside a figure's name: its definition, as the help has it."""
    text = DEFINITIONS[name].text
    spoken = text.replace("÷", "divided by").replace("(", "").replace(")", "")
    return format_html(
        '<span class="hint" title="{}" tabindex="0" role="img" id="hint-{}" aria-label="{}">{}</span>',
        text, name, spoken, icon("info-circle", "icon-sm"),
    )  # fmt: skip


@register.simple_tag
def square(name: str, css: str = "") -> SafeString:
    """Draw the coloured square that stands for a site; its colour is the name's, on every page."""
    colour = SQUARES[sum(name.encode()) % len(SQUARES)]
    return format_html('<span class="sq {} {}" aria-hidden="true">{}</span>', colour, css, wording.initials(name))


@register.simple_tag
def clickid(value: str) -> SafeString:
    """Write a click id short, the whole of it as title."""
    return format_html('<span class="mono nowrap" title="{}">{}</span>', value, wording.short_click_id(value))


@register.simple_tag
def cp(value: object, what: str = "value") -> SafeString:
    """Draw the button that copies a value; `what` names it."""
    return format_html(
        '<button class="copy" type="button" data-copy-text="{}" aria-label="Copy {}">{}</button>',
        value, what, icon("copy"),
    )  # fmt: skip


@register.simple_tag
def code(title: str, body: object, element_id: str, lang: str = "json") -> SafeString:
    """Draw a block of code with a copy button. JSON is given as text or as an object; any other language as text."""
    inner = highlighted(body) if lang == "json" else coloured(str(body))
    return format_html(
        '<div class="code"><div class="hd"><span>{}</span><button class="copy end" type="button" data-copy="#{}" '
        'aria-label="Copy {}">{}</button></div><pre id="{}" tabindex="0">{}</pre></div>',
        title, element_id, title, icon("copy"), element_id, inner,
    )  # fmt: skip


_TOKEN = re.compile(
    r"(&quot;(?:[^&\\]|\\.|&(?!quot;))*&quot;)(\s*:)|(&quot;(?:[^&\\]|\\.|&(?!quot;))*&quot;)"
    r"|(?<![\w;])(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)(?![\w])"
)


def highlighted(body: object) -> SafeString:
    """Return JSON as HTML, escaped first: what colours it only ever adds spans."""
    text = body if isinstance(body, str) else json.dumps(body, indent=2, ensure_ascii=False)

    def colour(found: re.Match[str]) -> str:
        key, colon, string, other = found.groups()
        if key:
            return f'<span class="k">{key}</span>{colon}'
        return f'<span class="s">{string}</span>' if string else f'<span class="n">{other}</span>'

    return mark_safe(_TOKEN.sub(colour, escape(text)))  # noqa: S308 - escaped on the same line


_COMMENT_OR_STRING = re.compile(r"^(\s*(?://|#).*)$|(&quot;.*?&quot;|&#x27;.*?&#x27;)", re.MULTILINE)


def coloured(text: str) -> SafeString:
    """Return code of any language as HTML, escaped first: lines that are comments, and strings within a line."""

    def colour(found: re.Match[str]) -> str:
        comment, string = found.groups()
        return f'<span class="cm">{comment}</span>' if comment else f'<span class="s">{string}</span>'

    return mark_safe(_COMMENT_OR_STRING.sub(colour, escape(text)))  # noqa: S308 - escaped on the same line


@register.simple_tag(takes_context=True)
def money(context: "Context", value: Decimal | None, currency: str) -> str:
    """Write a value in its currency; the site's own is plain."""
    return wording.money(value, currency, _home(context))


@register.filter
def thousands(number: int) -> SafeString:
    """Write a count with separators; a shortened one carries the whole number as title."""
    short, whole = wording.thousands(number), f"{number:,}"
    return SafeString(short) if short == whole else format_html('<span title="{}">{}</span>', whole, short)


@register.filter
def names(given: str | Sequence[str]) -> SafeString:
    """Write names into a sentence, several as A, B and C, each for itself: marks of direction in one end with it."""
    several = [given] if isinstance(given, str) else given
    # Escaped one by one, so that joining them makes nothing of them.
    return mark_safe(wording.listed([format_html("<bdi>{}</bdi>", name) for name in several]))  # noqa: S308


@register.filter
def brief(written: str) -> SafeString:
    """Write a sum for a large figure; a shortened one carries the whole of it as title."""
    short = wording.brief(written)
    return format_html("{}", short) if short == written else format_html('<span title="{}">{}</span>', written, short)


@register.simple_tag
def rate(part: int, whole: int) -> str:
    """Write a share with one decimal."""
    return wording.rate(part, whole)


def _minute(moment: datetime, zone: ZoneInfo, now: datetime) -> str:
    return wording.clock(moment, zone, now)[:-3]


_WRITERS = {
    "clock": wording.clock,
    "day": wording.day,
    "ago": wording.ago,
    "sentence": wording.sentence,
    "minute": _minute,
}


@register.simple_tag(takes_context=True)
def when(context: "Context", moment: datetime | None, style: str = "clock") -> SafeString:
    """Write a moment as <time>: `clock` (to the second), `day`, `minute`, `sentence` or `ago`; nothing is a dash."""
    if moment is None:
        return SafeString(wording.DASH)
    zone, now = _zone(context), _now(context)
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        moment.astimezone(zone).isoformat(), wording.full(moment, zone), _WRITERS[style](moment, zone, now),
    )  # fmt: skip


@register.simple_tag(takes_context=True)
def zone_name(context: "Context") -> str:
    """Write the zone's short name now, for the head of a column: CST."""
    return _now(context).astimezone(_zone(context)).strftime("%Z")


@register.simple_tag
def spark(values: Sequence[float], width: int = 84, height: int = 24) -> SafeString:
    """Draw a line of values, oldest first; decoration beside figures, so nothing is said to a screen reader."""
    low, high = min(values), max(values)
    span = (high - low) or 1
    step = (width - 2) / max(len(values) - 1, 1)
    line = " ".join(
        f"{index * step + 1:.1f},{height - 3 - (value - low) / span * (height - 6):.1f}"
        for index, value in enumerate(values)
    )
    return format_html(
        '<svg class="t-spark" viewBox="0 0 {0} {1}" width="{0}" height="{1}" aria-hidden="true">'
        '<polygon points="1,{1} {2} {3},{1}" fill="currentColor" opacity=".10"/><polyline points="{2}" fill="none" '
        'stroke="currentColor" stroke-width="1.5" stroke-linejoin="round" stroke-linecap="round"/></svg>',
        width, height, line, width - 1,
    )  # fmt: skip


@register.inclusion_tag("parts/toast.html")
def toast(message: object, level: str = "info") -> dict[str, str]:
    """Draw a message of the session as a toast: its first line is the title."""
    title, _, text = str(message).partition("\n")
    kind = {"error": "bad", "success": "ok"}.get(level, "info")
    return {"kind": kind, "title": title, "text": text}


@register.simple_tag
def field_error(errors: Sequence[str], element_id: str) -> SafeString:
    """Write a field's errors under it; the field names `element_id` in aria-describedby."""
    if not errors:
        return SafeString("")
    lines = format_html_join(" ", "{}", ((error,) for error in errors))
    return format_html('<p class="form-hint down" id="{}">{}</p>', element_id, lines)


def _zone(context: "Context") -> ZoneInfo:
    zone = context.get("zone")
    return zone if isinstance(zone, ZoneInfo) else ZoneInfo("UTC")


def _now(context: "Context") -> datetime:
    now = context.get("now")
    return now if isinstance(now, datetime) else timezone.now().astimezone(UTC)


def _home(context: "Context") -> str:
    return getattr(context.get("site"), "currency", "")
