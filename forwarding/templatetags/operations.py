"""What the staff's start page asks of forwarding."""

from datetime import timedelta

from django import template
from django.utils import timezone

from forwarding.hands.actions import preview
from forwarding.hands.rules import Action
from forwarding.models import Delivery
from forwarding.operations import MAX_COUNTED, LastHour, Operations, last_hour, operations_at

register = template.Library()


@register.simple_tag
def operations_now() -> Operations:
    """Return how forwarding stands now."""
    return operations_at(timezone.now())


@register.simple_tag
def operations_lately() -> LastHour:
    """Return what the calls of the last hour brought."""
    return last_hour(timezone.now())


@register.simple_tag
def can_be_retried(delivery: Delivery) -> bool:
    """Say whether trying it again now can help."""
    return bool(preview(Action.RETRY, Delivery.objects.filter(pk=delivery.pk), timezone.now()).able)


@register.filter
def share(part: int, whole: int) -> str:
    """Write a share in per cent with one decimal; a dash of nothing."""
    return f"{part * 100 / whole:.1f}%" if whole else "–"


@register.filter
def milliseconds(seconds: float) -> str:
    """Write a duration of seconds as `412 ms` or `2.1 s`."""
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


@register.filter
def counted(rows: int) -> str:
    """Write a count that was not taken further than MAX_COUNTED."""
    return f"{rows:,}+" if rows >= MAX_COUNTED else f"{rows:,}"


@register.filter
def age(passed: timedelta) -> str:
    """Write a duration in its largest unit: `9 s`, `4 min`, `3 h`, `12 d`."""
    seconds = max(0, int(passed.total_seconds()))
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
